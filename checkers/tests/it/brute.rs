//! Linearizability by trying everything: the definition, written down.

use std::collections::HashSet;

use history::{History, Op, Outcome, Value};

/// Whether some order explains the operations of `key`. If there are `kept` ones, all others are
/// relaxed: they may have happened at any time, or never, and what they read does not matter.
pub fn linearizable(history: &History, key: i64, kept: Option<&[u64]>) -> bool {
    linearizable_until(history, key, kept, None)
}

/// The same of a text, which is empty at the start.
pub fn linearizable_text(
    history: &History,
    key: i64,
    kept: Option<&[u64]>,
    last: Option<u64>,
) -> bool {
    linearizable_from(history, key, kept, last, &Value::text(""))
}

/// The same of the history as it was when operation `last` had returned.
pub fn linearizable_until(
    history: &History,
    key: i64,
    kept: Option<&[u64]>,
    last: Option<u64>,
) -> bool {
    linearizable_from(history, key, kept, last, &Value::Nil)
}

fn linearizable_from(
    history: &History,
    key: i64,
    kept: Option<&[u64]>,
    last: Option<u64>,
    initial: &Value,
) -> bool {
    let end = last
        .and_then(|op| history.op(op))
        .map(|op| (op.ret, op.index));
    let ops: Vec<(&Op, Option<bool>)> = history
        .ops()
        .iter()
        .filter(|op| {
            op.input
                .as_pair()
                .is_some_and(|(k, _)| *k == Value::Int(key))
        })
        .filter(|op| op.outcome != Outcome::Fail)
        .filter(|op| end.is_none_or(|end| op.call <= end.0))
        .map(|op| {
            let kept = kept.is_none_or(|kept| kept.contains(&op.index));
            // None: relaxed. An operation that must have happened has returned.
            let returned = end.is_none_or(|end| (op.ret, op.index) <= end);
            (op, kept.then_some(returned && op.outcome == Outcome::Ok))
        })
        .collect();
    assert!(ops.len() <= 32, "brute force is for small histories");
    explore(&ops, 0, initial, &mut HashSet::new())
}

fn explore(
    ops: &[(&Op, Option<bool>)],
    placed: u32,
    now: &Value,
    seen: &mut HashSet<(u32, Value)>,
) -> bool {
    let is_open = |i: usize| placed & (1 << i) == 0;
    let must = |i: usize| ops[i].1 == Some(true);
    if (0..ops.len()).all(|i| !is_open(i) || !must(i)) {
        return true;
    }
    if !seen.insert((placed, now.clone())) {
        return false;
    }
    (0..ops.len()).filter(|i| is_open(*i)).any(|i| {
        let (op, kept) = ops[i];
        let precedes = |j: usize| is_open(j) && must(j) && ops[j].0.ret < op.call;
        let waits = kept.is_some() && (0..ops.len()).any(precedes);
        let then = match op.f.as_str() {
            "write" | "put" => content(&op.input).cloned(),
            "append" => {
                let more = content(&op.input).and_then(Value::as_text).expect("a text");
                now.as_text()
                    .map(|text| Value::text(format!("{text}{more}")))
            }
            "cas" => {
                let (from, to) = content(&op.input).and_then(Value::as_pair).expect("a pair");
                (from == now).then(|| to.clone())
            }
            _ => (must(i) && content(&op.output) == Some(now)).then(|| now.clone()),
        };
        match then {
            Some(then) if !waits => explore(ops, placed | (1 << i), &then, seen),
            _ => false,
        }
    })
}

fn content(value: &Value) -> Option<&Value> {
    value.as_pair().map(|(_, content)| content)
}
