//! Values of which some are lower bounds: waits that were still going on when nobody looked any
//! more. To leave them out would leave out the worst.

use serde_json::{Value as Json, json};
use std::time::Duration;

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Censored {
    pub seconds: f64,
    /// It may be longer.
    pub is_bound: bool,
}

impl Censored {
    pub fn exact(length: Duration) -> Censored {
        Censored {
            seconds: length.as_secs_f64(),
            is_bound: false,
        }
    }

    pub fn at_least(length: Duration) -> Censored {
        Censored {
            is_bound: true,
            ..Censored::exact(length)
        }
    }

    /// A number, or what it is at least.
    pub fn json(self) -> Json {
        match self.is_bound {
            false => self.seconds.into(),
            true => json!({"at least": self.seconds}),
        }
    }

    pub fn max(values: &[Censored]) -> Option<Censored> {
        ranked(values, values.len())
    }
}

/// The value of this rank, from 1. Every value is at least what is known of it, so that rank is at
/// least what it is of the bounds; and it is just that where enough values are known to be no
/// larger.
fn ranked(values: &[Censored], rank: usize) -> Option<Censored> {
    let mut seconds: Vec<f64> = values.iter().map(|v| v.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let seconds = *seconds.get(rank.checked_sub(1)?)?;
    let known = values
        .iter()
        .filter(|v| !v.is_bound && v.seconds <= seconds);
    Some(Censored {
        seconds,
        is_bound: known.count() < rank,
    })
}

/// Median, the lower one, and worst; which of them are bounds; of how many values, and how many of
/// those had not ended. None of none.
pub fn spread(values: Vec<Censored>) -> Option<Json> {
    let p50 = ranked(&values, values.len().div_ceil(2))?;
    let max = Censored::max(&values)?;
    let bounds = [("p50", p50), ("max", max)];
    let bounds: Vec<&str> = bounds
        .iter()
        .filter(|(_, value)| value.is_bound)
        .map(|(name, _)| *name)
        .collect();
    let mut spread = json!({"p50": p50.seconds, "max": max.seconds, "of": values.len()});
    if !bounds.is_empty() {
        spread["at least"] = bounds.into();
        spread["unfinished"] = values.iter().filter(|v| v.is_bound).count().into();
    }
    Some(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(given: &[(f64, bool)]) -> Vec<Censored> {
        let value = |(seconds, is_bound): &(f64, bool)| Censored {
            seconds: *seconds,
            is_bound: *is_bound,
        };
        given.iter().map(value).collect()
    }

    /// Whatever the unknown values are, a rank that is called exact is that, and a bound is none
    /// too high.
    #[test]
    fn ranks_are_what_they_say_whatever_the_unknown_values_are() {
        for mask in 0..64u32 {
            let known = [1.0, 2.0, 2.0, 3.0, 5.0, 8.0];
            let given: Vec<(f64, bool)> = (0..6).map(|i| (known[i], mask >> i & 1 == 1)).collect();
            for rank in 1..=6 {
                let told = ranked(&values(&given), rank).unwrap();
                for larger in [0.0, 0.5, 1.5, 100.0] {
                    let mut truth: Vec<f64> = given
                        .iter()
                        .map(|(v, is_bound)| if *is_bound { v + larger } else { *v })
                        .collect();
                    truth.sort_by(f64::total_cmp);
                    let truth = truth[rank - 1];
                    match told.is_bound {
                        true => assert!(truth >= told.seconds),
                        false => assert_eq!(truth, told.seconds, "{given:?} {rank} {larger}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_spread_says_which_parts_are_bounds() {
        let spread_of = |given: &[(f64, bool)]| spread(values(given));
        assert_eq!(spread_of(&[]), None);
        assert_eq!(
            spread_of(&[(1.0, false), (2.0, false)]),
            Some(json!({"p50": 1.0, "max": 2.0, "of": 2}))
        );
        assert_eq!(
            spread_of(&[(1.0, false), (2.0, false), (9.0, true)]),
            Some(json!({"p50": 2.0, "max": 9.0, "of": 3, "at least": ["max"], "unfinished": 1}))
        );
        assert_eq!(
            spread_of(&[(0.5, true), (2.0, false)]),
            Some(
                json!({"p50": 0.5, "max": 2.0, "of": 2, "at least": ["p50", "max"], "unfinished": 1})
            )
        );
    }
}
