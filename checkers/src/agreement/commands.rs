//! Logs against the clients. Whatever was applied, somebody asked for, at least as often; and
//! whatever was acknowledged is in the log.
//!
//! An operation writes at most one value at a time, so operations and commands are matched by what
//! they write. An operation that was not acknowledged may have taken effect or not, also if its
//! client gave up.

use history::{Op, Outcome, Time, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::Recorded;
use super::logs::{Entry, Log, name};
use crate::findings::Findings;
use crate::{Anomaly, Exhausted, Meter};

pub struct Judged {
    /// Commands that were held against what was asked.
    pub compared: usize,
    pub lacking: Option<String>,
}

/// What clients asked to be written.
struct Asked<'h> {
    /// How often.
    times: usize,
    /// The first who asked.
    first: &'h Op,
}

impl Judged {
    pub fn nothing(why: Option<&str>) -> Judged {
        Judged {
            compared: 0,
            lacking: why.map(str::to_string),
        }
    }
}

/// Every command of every log, with its entry.
fn commands<'r, 'h>(
    recorded: &'r Recorded<'h>,
) -> impl Iterator<Item = (&'r Log<'h>, &'r Entry<'h>, &'h Value)> {
    let entries = recorded.logs.iter().flat_map(|log| {
        let entries = log.entries.iter();
        entries.map(move |entry| (log, entry))
    });
    entries.flat_map(|(log, entry)| {
        let commands = entry.commands.unwrap_or_default().iter();
        commands.map(move |command| (log, entry, command))
    })
}

/// Why commands cannot be held against what was asked, if they cannot.
fn not_judged(recorded: &Recorded) -> Option<Judged> {
    let mut entries = recorded.logs.iter().flat_map(|log| &log.entries);
    if !entries.any(|entry| entry.commands.is_some()) {
        let why = "the logs do not name commands, so repeats are not judged";
        return Some(Judged::nothing(
            Some(why).filter(|_| !recorded.logs.is_empty()),
        ));
    }
    let mut all = commands(recorded).peekable();
    if all.peek().is_some() && all.all(|(_, _, command)| content(command).is_none()) {
        let why = "the logs do not tell what commands do, so who asked for them is not judged";
        return Some(Judged::nothing(Some(why)));
    }
    None
}

/// What clients asked to be written; none if nothing at all was asked.
fn asked<'h>(
    recorded: &Recorded<'h>,
    meter: &mut Meter,
) -> Result<Option<FxHashMap<&'h Value, Asked<'h>>>, Exhausted> {
    let mut asked: FxHashMap<&Value, Asked> = FxHashMap::default();
    let mut anybody = false;
    for op in recorded.history.asked() {
        meter.tick(64 * asked.len() as u64)?;
        anybody = true;
        for value in written(op) {
            let known = asked.entry(value).or_insert(Asked {
                times: 0,
                first: op,
            });
            known.times += 1;
        }
    }
    Ok(anybody.then_some(asked))
}

pub fn judge(
    recorded: &Recorded,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<Judged, Exhausted> {
    if let Some(judged) = not_judged(recorded) {
        return Ok(judged);
    }
    let Some(asked) = asked(recorded, meter)? else {
        return Ok(Judged::nothing(None));
    };
    let mut applied: FxHashSet<(&Value, &Value)> = FxHashSet::default();
    let mut times: FxHashMap<&Value, usize> = FxHashMap::default();
    let mut compared = 0;
    for (log, entry, command) in commands(recorded) {
        meter.tick(64 * (applied.len() + times.len()) as u64)?;
        let mut unasked = |why: &str| {
            found.add("command that nobody issued", || {
                of(log, entry, command, why)
            });
        };
        let Some(name) = name(command) else {
            unasked("which has no name");
            continue;
        };
        // Each counts once, however many logs have it.
        if !applied.insert(name) {
            continue;
        }
        compared += 1;
        let value = match content(command) {
            None => {
                unasked("which does not tell what it does");
                continue;
            }
            Some(Content::Nothing) => continue,
            Some(Content::Writes(value)) => value,
        };
        let Some(asked) = asked.get(value) else {
            unasked(&format!("and no client asked to write {value}"));
            continue;
        };
        let times = times.entry(value).or_default();
        *times += 1;
        if *times == asked.times + 1 {
            found.add("applied more often than asked", || {
                let why = format!(
                    "and {value} was asked to be written {}, first by op {}",
                    history::wording::times(asked.times),
                    asked.first.index
                );
                of(log, entry, command, &why)
            });
        }
    }
    for log in &recorded.logs {
        acknowledged(log, &asked, found, meter)?;
    }
    Ok(Judged {
        compared,
        lacking: None,
    })
}

fn of(log: &Log, entry: &Entry, command: &Value, why: &str) -> Anomaly {
    Anomaly {
        object: Some(format!("slot {}", entry.slot)),
        ops: vec![log.op],
        reason: format!(
            "{} applied {command} in slot {}, {why}",
            log.node, entry.slot
        ),
        ..Anomaly::default()
    }
}

enum Content<'h> {
    Writes(&'h Value),
    /// It deletes.
    Nothing,
}

/// What a command writes; none if it does not tell what it does.
fn content(command: &Value) -> Option<Content<'_>> {
    match command.as_list()? {
        [_, _, what, _key] if what.as_text() == Some("delete") => Some(Content::Nothing),
        [_, _, _what, _key, .., value] => Some(Content::Writes(value)),
        _ => None,
    }
}

/// What an operation asks to be written: of `[key value]` the value, of a compare-and-set what it
/// puts there, of a transaction what its writes write; of what is not known, everything.
fn written(op: &Op) -> Vec<&Value> {
    let input = &op.input;
    match op.f.as_str() {
        "read" | "get" => Vec::new(),
        "txn" => {
            let parts = input.as_list().unwrap_or_default().iter();
            let parts = parts.filter_map(|part| match part.as_list() {
                Some([f, _, value]) if f.as_text() != Some("r") => Some(value),
                _ => None,
            });
            parts.collect()
        }
        "add" => vec![input],
        "write" | "put" => input
            .as_pair()
            .map_or(vec![input], |(_, value)| vec![value]),
        "cas" => {
            let swap = input.as_pair().map(|(_, swap)| swap);
            let to = swap.and_then(Value::as_pair).map(|(_, to)| to);
            to.map_or_else(|| everything(input), |to| vec![to])
        }
        _ => everything(input),
    }
}

fn everything(value: &Value) -> Vec<&Value> {
    let (mut left, mut all) = (vec![value], Vec::new());
    while let Some(value) = left.pop() {
        all.push(value);
        if let Value::Map(entries) = value {
            left.extend(entries.iter().map(|(_, value)| value));
        }
        left.extend(value.as_list().unwrap_or_default());
    }
    all
}

/// What was acknowledged before somebody asked for something that is in a log, is in that log
/// before it: if it is whole from the beginning.
fn acknowledged(
    log: &Log,
    asked: &FxHashMap<&Value, Asked>,
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    if log.entries.first().is_none_or(|entry| entry.slot > 1) {
        return Ok(());
    }
    let mut there: FxHashSet<&Value> = FxHashSet::default();
    let mut latest: Option<&Op> = None;
    for entry in &log.entries {
        for command in entry.commands.unwrap_or_default() {
            meter.tick(32 * there.len() as u64)?;
            let Some(Content::Writes(value)) = content(command) else {
                continue;
            };
            there.insert(value);
            let once = asked.get(value).filter(|asked| asked.times == 1);
            latest = [latest, once.map(|asked| asked.first)]
                .into_iter()
                .flatten()
                .max_by_key(|op| op.call);
        }
    }
    let until = latest.map_or(Time(0), |op| op.call);
    let mut gone: Vec<(&Value, &Op)> = asked
        .iter()
        .filter(|(_, asked)| asked.times == 1 && asked.first.outcome == Outcome::Ok)
        .map(|(value, asked)| (*value, asked.first))
        .filter(|(value, op)| op.ret < until && !there.contains(value))
        .collect();
    gone.sort_by_key(|(_, op)| op.index);
    // Of an operation of a kind that is not known, any part may be what it writes.
    let plain = |op: &Op| matches!(op.f.as_str(), "write" | "put" | "add" | "txn" | "cas");
    for (value, op) in gone.into_iter().filter(|(_, op)| plain(op)) {
        let later = latest.map_or(0, |op| op.index);
        found.add("acknowledged command in no slot", || Anomaly {
            object: Some(format!("log of {}", log.node)),
            ops: vec![op.index, log.op],
            reason: format!(
                "op {} ({} {}) was acknowledged before op {later} was invoked, which is in the log of {}, but no \
                 command there writes {value}",
                op.index, op.f, op.input, log.node
            ),
            ..Anomaly::default()
        });
    }
    Ok(())
}
