//! What a cell has come to, and what is still to be done for it: all of it follows from its runs.

use super::record::{Ending, Planned, Purpose, Ran, Terms};

/// What is next for a cell.
#[derive(Debug, PartialEq)]
pub enum Next {
    Run(Purpose),
    Done,
}

/// What a cell has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Came {
    pub ending: Ending,
    /// The run that decided it.
    pub by: Option<Ran>,
    /// Runs that went wrong before it.
    pub infra: usize,
    /// Of the runs that were to confirm an anomaly, how many did, and how many had a verdict.
    pub confirmed: Option<(usize, usize)>,
}

impl Came {
    /// In how many of its runs with a verdict it was invalid, if it was run more than once.
    pub fn flaky(&self) -> Option<f64> {
        let (k, n) = self.confirmed.filter(|(_, n)| *n > 0)?;
        Some((k + 1) as f64 / (n + 1) as f64)
    }
}

/// What is next for a cell that had these runs, in their order. `infra` is tried again; an anomaly
/// that nobody expected is confirmed, and stays one however that comes out.
pub fn next<'a>(cell: &Planned, runs: impl IntoIterator<Item = &'a Ran>, terms: &Terms) -> Next {
    if cell.absent.is_some() {
        return Next::Done;
    }
    let (mut infra, mut confirmations, mut first) = (0, 0, None);
    for ran in runs {
        match (first, ran.purpose) {
            (Some(_), _) => confirmations += 1,
            (None, _) if ran.ending.is_infra() => infra += 1,
            (None, _) => first = Some(ran.ending),
        }
    }
    match first {
        None if infra == 0 => Next::Run(Purpose::First),
        None if infra <= terms.infra_retries => Next::Run(Purpose::Retry),
        Some(Ending::Invalid) if !cell.is_canary() && confirmations < terms.confirm => {
            Next::Run(Purpose::Confirm)
        }
        _ => Next::Done,
    }
}

/// What a cell has come to, if it is done.
pub fn came<'a>(
    cell: &Planned,
    runs: impl IntoIterator<Item = &'a Ran> + Clone,
    terms: &Terms,
) -> Option<Came> {
    if let Some(absent) = &cell.absent {
        return Some(Came {
            ending: absent.ending,
            by: None,
            infra: 0,
            confirmed: None,
        });
    }
    if next(cell, runs.clone(), terms) != Next::Done {
        return None;
    }
    let runs: Vec<&Ran> = runs.into_iter().collect();
    let decided = runs.iter().position(|ran| !ran.ending.is_infra());
    let (before, after) = runs.split_at(decided.map_or(runs.len(), |at| at + 1));
    let by = before.last()?;
    let confirmed = (!after.is_empty()).then(|| {
        let tell = after.iter().filter(|ran| ran.ending.is_verdict());
        let alike = tell.clone().filter(|ran| ran.ending == Ending::Invalid);
        (alike.count(), tell.count())
    });
    Some(Came {
        ending: by.ending,
        by: Some((*by).clone()),
        infra: before.iter().filter(|ran| ran.ending.is_infra()).count(),
        confirmed,
    })
}

impl Planned {
    pub fn is_canary(&self) -> bool {
        self.expect != super::cells::Expected::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::cells::Expected;

    const TERMS: Terms = Terms {
        verdicts: 90.0,
        infra_retries: 2,
        confirm: 3,
    };

    fn cell(expect: Expected) -> Planned {
        Planned {
            id: "a/b/c/1".into(),
            system: "a".into(),
            workload: "b".into(),
            nemesis: "c".into(),
            seed: 1,
            expect,
            expected_s: 1.0,
            absent: None,
        }
    }

    fn runs(text: &str) -> Vec<Ran> {
        let mut first = true;
        let letters = text.chars().map(|letter| {
            let ending = match letter {
                'v' => Ending::Valid,
                'x' => Ending::Invalid,
                '?' => Ending::Unknown,
                't' => Ending::Timeout,
                'm' => Ending::OutOfMemory,
                'i' => Ending::Infra,
                other => unreachable!("{other}"),
            };
            let purpose = if std::mem::take(&mut first) {
                Purpose::First
            } else {
                Purpose::Retry
            };
            Ran {
                cell: "a/b/c/1".into(),
                purpose,
                ending,
                run: None,
                anomalies: Vec::new(),
                fingerprint: None,
                why: String::new(),
                took_s: 1.0,
                figures: Default::default(),
                again: String::new(),
            }
        });
        letters.collect()
    }

    /// Each letter is a run: what comes next, and what it comes to.
    #[test]
    fn infra_is_retried_invalid_is_confirmed_and_nothing_is_retried_into_green() {
        use Purpose::{Confirm, First, Retry};
        let canary = Expected::Invalid(Vec::new());
        for (so_far, expect, wanted) in [
            ("", Expected::Valid, Err(First)),
            ("i", Expected::Valid, Err(Retry)),
            ("ti", Expected::Valid, Err(Retry)),
            ("iit", Expected::Valid, Ok((Ending::Timeout, 3, None))),
            ("iv", Expected::Valid, Ok((Ending::Valid, 1, None))),
            ("x", Expected::Valid, Err(Confirm)),
            ("xvv", Expected::Valid, Err(Confirm)),
            (
                "xvvv",
                Expected::Valid,
                Ok((Ending::Invalid, 0, Some((0, 3)))),
            ),
            (
                "xxiv",
                Expected::Valid,
                Ok((Ending::Invalid, 0, Some((1, 2)))),
            ),
            ("ix", Expected::Valid, Err(Confirm)),
            ("?", Expected::Valid, Ok((Ending::Unknown, 0, None))),
            ("m", Expected::Valid, Ok((Ending::OutOfMemory, 0, None))),
            ("x", canary.clone(), Ok((Ending::Invalid, 0, None))),
            ("v", canary, Ok((Ending::Valid, 0, None))),
        ] {
            let (cell, runs) = (cell(expect), runs(so_far));
            let came = came(&cell, &runs, &TERMS);
            match wanted {
                Err(purpose) => {
                    assert_eq!(next(&cell, &runs, &TERMS), Next::Run(purpose), "{so_far}");
                    assert_eq!(came, None, "{so_far}");
                }
                Ok(wanted) => {
                    let came = came.unwrap_or_else(|| panic!("{so_far}: not done"));
                    assert_eq!(
                        (came.ending, came.infra, came.confirmed),
                        wanted,
                        "{so_far}"
                    );
                }
            }
        }
    }
}
