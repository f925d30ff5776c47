//! Total queues: what comes out went in, and what was acknowledged comes out.

use history::{Op, Value};
use rustc_hash::FxHashMap;

use super::Entry;

#[derive(Default)]
struct Tally<'h> {
    /// That happened or may have.
    puts: Vec<&'h Op>,
    acknowledged: Vec<&'h Op>,
    /// Once for each time that it was taken.
    takes: Vec<&'h Op>,
}

struct Tallies<'h> {
    by_value: FxHashMap<&'h Value, Tally<'h>>,
    /// What found the queue empty.
    emptied: Vec<&'h Op>,
    /// Takes of one value and drains that nobody knows the answer of.
    lost_takes: usize,
    lost_drains: usize,
}

fn tally<'h>(entries: &[Entry<'h>]) -> Result<Tallies<'h>, String> {
    let mut all = Tallies {
        by_value: FxHashMap::default(),
        emptied: Vec::new(),
        lost_takes: 0,
        lost_drains: 0,
    };
    for Entry { op, input, output } in entries.iter().copied() {
        match (op.f.as_str(), output) {
            ("enqueue", output) => {
                let tally = all.by_value.entry(input).or_default();
                tally.puts.push(op);
                tally.acknowledged.extend(output.map(|_| op));
            }
            ("drain", None) => all.lost_drains += 1,
            (_, None) => all.lost_takes += 1,
            ("drain", Some(Value::Nil)) | (_, Some(Value::Nil)) => all.emptied.push(op),
            ("drain", Some(list)) => {
                all.emptied.push(op);
                let not_a_list = || format!("op {} drained {list}, not a list", op.index);
                for value in list.as_list().ok_or_else(not_a_list)? {
                    all.by_value.entry(value).or_default().takes.push(op);
                }
            }
            (_, Some(value)) => all.by_value.entry(value).or_default().takes.push(op),
        }
    }
    Ok(all)
}

/// Whether a value was taken that nobody can have put in by then.
fn from_nowhere(tally: &Tally, take: &Op) -> bool {
    tally.puts.iter().all(|put| take.precedes(put))
}

pub fn sound(entries: &[Entry]) -> Result<(), String> {
    let all = tally(entries)?;
    for (value, tally) in &all.by_value {
        if let Some(take) = tally.takes.iter().find(|take| from_nowhere(tally, take)) {
            return Err(format!("op {} took {value}, which was not in", take.index));
        }
        if tally.takes.len() < tally.acknowledged.len() {
            let (acknowledged, taken) = (tally.acknowledged.len(), tally.takes.len());
            return Err(format!(
                "{value} was acknowledged {acknowledged} times and taken {taken} times"
            ));
        }
    }
    Ok(())
}

/// Whether one of these took what was not in, or put in what is surely lost.
pub fn impossible(entries: &[Entry], named: &[&Entry]) -> Result<bool, String> {
    let all = tally(entries)?;
    let is_named = |op: &Op| named.iter().any(|entry| entry.op.index == op.index);
    let early = all.by_value.values().any(|tally| {
        let mut takes = tally.takes.iter();
        takes.any(|take| is_named(take) && from_nowhere(tally, take))
    });
    // Values that were in before something found the queue empty, and were never taken.
    let missing = |tally: &Tally| {
        let then_empty = |put: &&Op| all.emptied.iter().any(|empty| put.precedes(empty));
        match tally.acknowledged.iter().all(then_empty) {
            true => tally.acknowledged.len().saturating_sub(tally.takes.len()),
            false => 0,
        }
    };
    let count: usize = all.by_value.values().map(missing).sum();
    let lost = all.lost_drains == 0 && count > all.lost_takes;
    let mut own = all.by_value.values();
    let own = own.any(|tally| missing(tally) > 0 && tally.puts.iter().any(|put| is_named(put)));
    Ok(early || lost && own)
}
