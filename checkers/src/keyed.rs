//! Many objects of one kind, each with a key, for checkers that judge one: what holds of all holds
//! of each (linearizability is local: Herlihy and Wing 1990), and a finding says of which.
//!
//! Values are `[key, value]`. Every key's operations become a history of their own, of the same
//! events, so that operations keep their indices.

use history::columns::Row;
use history::word::Stored;
use history::wording::counted;
use history::{History, Value};
use rustc_hash::FxHashMap;

use crate::consistency::Scope;
use crate::counts::{KEYS, KEYS_FOUND_WRONG, KEYS_UNDECIDED, WRONG_KEYS, told_wrong};
use crate::linearizable::parts::Flaw;
use crate::model::{Choice, Model};
use crate::{Account, Analysis, Anomaly, Budget, Certificate, Checker, Figure, Order, Verdict};

/// As many as a report shows; the number of wrong keys is a figure.
const MOST_ANOMALIES: usize = 16;

/// Judges each key by a checker of one object.
pub struct Keyed<C>(pub C);

/// What there is of one key.
struct Part {
    key: Value,
    history: History,
    /// What cannot be judged of it, if anything.
    flaw: Option<Flaw>,
}

/// Every key with its history, and what cannot be judged of none of them in particular; or why
/// nothing can be. What only reads, and cannot be judged, is left out.
fn split(history: &History) -> Result<(Vec<Part>, Option<Flaw>), String> {
    let columns = history.columns();
    let mut calls = columns.cursor();
    let mut rets = columns.cursor();
    let read = columns.names().find("read");
    let (mut of_none, mut flaws) = (None, FxHashMap::<Value, Option<Flaw>>::default());
    let mut odd = Vec::new();
    for pair in history.pairs() {
        let call = calls.row(pair.invocation);
        let ret = pair.completion().map(|at| rets.row(at));
        let ret = ret.filter(|ret| ret.kind() == history::Kind::Ok);
        let key = |value: Stored| value.as_pair().map(|(key, _)| key.to_value());
        let changes = Some(call.f()) != read;
        let Some(asked) = key(call.value()) else {
            let why = format!("{} is not [key, value]", call.value().to_value());
            Flaw::add(&mut of_none, pair.invocation.into(), &why, changes);
            odd.push(pair.invocation);
            continue;
        };
        if ret.is_some_and(|ret| key(ret.value()).as_ref() != Some(&asked)) {
            let why = "it asks for one key and is answered with another";
            let flaw = flaws.entry(asked).or_default();
            Flaw::add(flaw, pair.invocation.into(), why, changes);
            odd.push(pair.invocation);
        }
    }
    // Nobody knows which key it changed.
    if let Some(flaw) = of_none.as_ref().filter(|flaw| flaw.changes) {
        return Err(flaw.to_string());
    }
    let is_odd = |call: &Row| odd.binary_search(&call.index()).is_ok();
    let judged = match odd.is_empty() {
        true => history.clone(),
        false => history.without_ops(|call, _| is_odd(&call)),
    };
    let parts = judged.by_key(|row| Some(row.value().as_pair()?.0.to_value()));
    let mut parts: Vec<Part> = parts
        .into_iter()
        .map(|(key, history)| Part {
            flaw: flaws.remove(&key).flatten(),
            key,
            history,
        })
        .collect();
    // Of some keys nothing else is there.
    let mut left: Vec<Part> = flaws
        .into_iter()
        .map(|(key, flaw)| Part {
            history: History::default(),
            key,
            flaw,
        })
        .collect();
    left.sort_by(|a, b| a.key.cmp(&b.key));
    parts.extend(left);
    Ok((parts, of_none))
}

/// The same of what can be judged whole, or why it cannot.
fn whole(history: &History) -> Result<Vec<Part>, String> {
    let (parts, of_none) = split(history)?;
    let flaw = of_none
        .as_ref()
        .or(parts.iter().find_map(|part| part.flaw.as_ref()));
    match flaw {
        Some(flaw) => Err(flaw.to_string()),
        None => Ok(parts),
    }
}

/// The same history with values without their keys.
fn unwrapped(history: &History) -> History {
    let content = |value: Stored| value.as_pair().map(|(_, content)| content.to_value());
    history.clone().with_values(|row| content(row.value()))
}

impl<C: Checker> Keyed<C> {
    /// What the checker says of all keys, or why nothing can be judged.
    fn judge(&self, history: &History, budget: &Budget) -> Result<Analysis, String> {
        let (keys, of_none) = split(history)?;
        let plain = unwrapped(history);
        let meter = budget.start();
        let unjudged = |flaw: &Flaw| Analysis::unknown(self.0.name(), flaw.to_string());
        let parts = keys.into_iter().map(|part| {
            let history = part.history.with_events_of(&plain);
            let judged = || self.0.check(&history, &meter.left());
            let analysis = match part.flaw {
                None => judged(),
                Some(flaw) if flaw.changes => unjudged(&flaw),
                Some(flaw) => match judged() {
                    found if found.verdict == Verdict::Invalid => found,
                    _ => unjudged(&flaw),
                },
            };
            (part.key, analysis)
        });
        let merged = self.merged(parts.collect());
        Ok(match of_none {
            Some(flaw) if merged.verdict != Verdict::Invalid => unjudged(&flaw),
            _ => merged,
        })
    }

    fn merged(&self, parts: Vec<(Value, Analysis)>) -> Analysis {
        let name = self.0.name();
        let keys = parts.len();
        let of = |verdict| move |part: &&(Value, Analysis)| part.1.verdict == verdict;
        let count = |verdict| parts.iter().filter(of(verdict)).count();
        let (wrong, unknown) = (count(Verdict::Invalid), count(Verdict::Unknown));
        let vacuous = count(Verdict::Vacuous);
        let said = |verdict| {
            let (key, analysis) = parts.iter().find(of(verdict)).expect("one is so");
            format!(
                "{}, and of {key}: {}",
                counted(keys, "key"),
                analysis.summary
            )
        };
        let anomalies = parts.iter().flat_map(|(key, analysis)| {
            analysis.anomalies.iter().map(move |anomaly| Anomaly {
                object: Some(match &anomaly.object {
                    None => key.to_string(),
                    Some(object) => format!("{object} of {key}"),
                }),
                ..anomaly.clone()
            })
        });
        let anomalies: Vec<Anomaly> = anomalies.take(MOST_ANOMALIES).collect();
        let analysis = match () {
            () if wrong > 0 => {
                let named = parts
                    .iter()
                    .filter(of(Verdict::Invalid))
                    .map(|part| &part.0);
                let named: Vec<String> = named.map(Value::to_string).collect();
                let names: Vec<&str> = named.iter().map(String::as_str).collect();
                let first = parts.iter().find(of(Verdict::Invalid));
                let first = first.map_or("", |(_, analysis)| &analysis.summary);
                let of_first = match &names[..] {
                    [_] => String::new(),
                    names => format!("; of {}", names[0]),
                };
                let told = told_wrong(&names);
                let summary = format!("{}; {told}{of_first}: {first}", counted(keys, "key"));
                let all = parts.iter().map(|(_, analysis)| analysis.found()).sum();
                Analysis::valid(name, summary)
                    .with_anomalies(anomalies, all)
                    .with_figure(WRONG_KEYS.figure(named))
            }
            () if unknown > 0 => Analysis::unknown(name, said(Verdict::Unknown)),
            () if vacuous == keys && keys > 0 => Analysis::vacuous(name, said(Verdict::Vacuous)),
            () if keys == 1 => Analysis::valid(name, parts[0].1.summary.clone()),
            () => Analysis::valid(
                name,
                format!("{keys} keys, each by itself: nothing is wrong with any"),
            ),
        };
        let analysis = sums(&parts)
            .into_iter()
            .fold(analysis, Analysis::with_figure);
        analysis
            .with_figure(KEYS.figure(keys))
            .with_figure(KEYS_FOUND_WRONG.figure(wrong))
            .with_figure(KEYS_UNDECIDED.figure(unknown))
    }
}

/// Figures that are counts, over all keys.
fn sums(parts: &[(Value, Analysis)]) -> Vec<Figure> {
    let mut sums: Vec<Figure> = Vec::new();
    for figure in parts.iter().flat_map(|(_, analysis)| &analysis.figures) {
        let Some(count) = figure.value.as_u64() else {
            continue;
        };
        match sums.iter_mut().find(|sum| sum.name == figure.name) {
            Some(sum) => sum.value = (sum.value.as_u64().unwrap_or(0) + count).into(),
            None => sums.push(figure.clone()),
        }
    }
    sums
}

impl<C: Checker> Checker for Keyed<C> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        match self.judge(history, budget) {
            Ok(analysis) => analysis,
            Err(why) => Analysis::unknown(self.name(), why),
        }
    }

    fn asks(&self) -> Option<Choice> {
        let choice = self.0.asks()?;
        Some(Choice {
            keyed: true,
            ..choice
        })
    }
}

impl Keyed<crate::bank::Bank> {
    /// What explains the reads of every key.
    ///
    /// # Errors
    /// Why those of one key are not explained.
    pub fn accounts(&self, history: &History, budget: &Budget) -> Result<Vec<Account>, String> {
        let plain = unwrapped(history);
        let meter = budget.start();
        let keys = whole(history)?.into_iter();
        keys.map(|Part { key, history, .. }| {
            let part = history.with_events_of(&plain);
            Ok(Account {
                reads: self.0.certify(&part, &meter.left())?,
                key: Some(key),
            })
        })
        .collect()
    }
}

impl Keyed<crate::set::GrowOnlySet> {
    /// An order for every key.
    ///
    /// # Errors
    /// The analysis that [`Checker::check`] gives, if the history is not found to be linearizable.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Certificate, Analysis> {
        let unknown = |why: String| Analysis::unknown(self.name(), why);
        let keys = whole(history).map_err(unknown)?;
        let plain = unwrapped(history);
        let meter = budget.start();
        let mut orders = Vec::with_capacity(keys.len());
        for Part {
            key, history: part, ..
        } in keys
        {
            let part = part.with_events_of(&plain);
            match self.0.certify(&part, &meter.left()) {
                Ok(certificate) => {
                    orders.extend(certificate.orders.into_iter().map(|order| Order {
                        key: Some(key.clone()),
                        ..order
                    }))
                }
                Err(_) => return Err(self.check(history, budget)),
            }
        }
        Ok(Certificate {
            model: Model::Set,
            keyed: true,
            initial: Value::Nil,
            scope: Scope::Realtime,
            orders,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::Bank;
    use crate::drawing;
    use crate::set::GrowOnlySet;

    fn check(checker: &impl Checker, drawn: &str) -> Analysis {
        let history = drawing::history(drawn).unwrap();
        checker.check(&history, &Budget::default())
    }

    #[test]
    fn each_key_is_judged_by_itself() {
        let sets = "
            P0 |-7:add 1-| |-8:add 2-|
            P1                         |-7:read [1]-| |-8:read [2]-|";
        let found = check(&Keyed(GrowOnlySet), sets);
        assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
        let found = check(
            &Keyed(GrowOnlySet),
            &sets.replace("8:read [2]", "8:read []"),
        );
        assert_eq!(found.verdict, Verdict::Invalid);
        assert_eq!(found.anomalies[0].object.as_deref(), Some("8"));
        assert_eq!(found.anomalies[0].kind, "lost element");
        let history = drawing::history(sets).unwrap();
        let certificate = Keyed(GrowOnlySet).certify(&history, &Budget::default());
        crate::verify(&history, &certificate.unwrap()).unwrap();
        let banks = "
            P0 |-7:read [[0 5] [1 5]]-| |-8:read [[0 9] [1 9]]-| |-7:transfer [0 1 2]-|
            P1                                                                         |-7:read [[0 3] [1 7]]-|";
        assert_eq!(check(&Keyed(Bank), banks).verdict, Verdict::Valid);
        let found = check(&Keyed(Bank), &banks.replace("[0 3]", "[0 4]"));
        assert_eq!(found.verdict, Verdict::Invalid);
        assert_eq!(found.anomalies[0].object.as_deref(), Some("7"));
        let odd = check(&Keyed(GrowOnlySet), "P0 |-add 1-| |-7:read [1]-|");
        assert_eq!(odd.verdict, Verdict::Unknown);
        assert_eq!(
            odd.summary,
            "operation 0 cannot be read: 1 is not [key, value]"
        );
    }
}
