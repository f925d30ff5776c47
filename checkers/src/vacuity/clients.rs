//! What speaks against the clients: answers that make no sense, and reads that never find anything.
//! A mistake there would be taken for the system's.

use std::collections::BTreeMap;

use history::wording::{counted, shortened};
use history::{Op, Outcome, Value};

use super::{Service, note};
use crate::Anomaly;
use crate::role::{Role, senseless as makes_none};

/// Of an error, in characters. The history has all of it.
const MOST_CHARS: usize = 160;

/// So many answers of a kind that make no sense are one mistake too many, in per cent.
const MOST_SENSELESS: usize = 10;
/// Fewer say nothing: a client may die once.
const LEAST_SENSELESS: usize = 5;

/// What most of those that did not succeed were answered, as the end of a sentence.
pub(super) fn commonest_error<'a>(ops: impl Iterator<Item = &'a Op>) -> String {
    let mut by_code: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut many = 0;
    for op in ops.filter(|op| op.outcome != Outcome::Ok) {
        many += 1;
        let Some(error) = op.error.as_deref() else {
            continue;
        };
        let code = error.split(':').next().unwrap_or_default();
        by_code.entry(code).or_default().push(error);
    }
    // While a client that ended starts anew, it is the cause and not that it does.
    if by_code.contains_key("client-failed") {
        by_code.remove("no-client");
    }
    let most = by_code.values().max_by_key(|errors| errors.len());
    most.map_or(String::new(), |errors| {
        format!(
            "; of those that did not, {} of {many} had the error `{}`",
            errors.len(),
            shortened(errors[0], MOST_CHARS)
        )
    })
}

/// Kinds of operations of which many were answered with what nobody understands.
pub(super) fn senseless(asked: &[&Op]) -> Vec<Anomaly> {
    let mut by_f: BTreeMap<&str, (usize, Vec<&Op>)> = BTreeMap::new();
    for op in asked {
        let (all, wrong) = by_f.entry(&op.f).or_default();
        *all += 1;
        wrong.extend(makes_none(op).then_some(*op));
    }
    let many = |(_, (all, wrong)): &(&str, (usize, Vec<&Op>))| {
        wrong.len() >= LEAST_SENSELESS && wrong.len() * 100 >= all * MOST_SENSELESS
    };
    let tell = |(f, (all, wrong)): (&str, (usize, Vec<&Op>))| {
        let error = wrong[0].error.as_deref().unwrap_or_default();
        let reason = format!(
            "{} of {} {f} had an answer that makes no sense, such as `{}`: the client is to be mended first",
            wrong.len(),
            counted(all, "operation"),
            shortened(error, MOST_CHARS)
        );
        note("answers without sense", Some(f.to_string()), reason)
    };
    by_f.into_iter().filter(many).map(tell).collect()
}

/// Much was written and much was read, and no read found anything.
pub(super) fn found_nothing(asked: &[&Op], service: &Service) -> Option<Anomaly> {
    let role = |op: &Op| (service.roles)(&op.f, &op.input);
    let did = |what: fn(&Role) -> bool| {
        let ok = asked.iter().filter(|op| op.outcome == Outcome::Ok);
        ok.filter(|op| what(&role(op))).collect::<Vec<_>>()
    };
    let writes = did(|role| !role.writes.is_empty() && role.reads.is_empty());
    let reads = did(|role| !role.reads.is_empty() && role.writes.is_empty());
    let enough = writes.len() >= service.least_writes.max(1)
        && service.least_reads > 0
        && reads.len() >= service.least_reads;
    (enough && reads.iter().all(|op| is_nothing(&op.output))).then(|| {
        let reason = format!(
            "none of {} found anything, though {} succeeded: do clients read where they write?",
            counted(reads.len(), "read"),
            counted(writes.len(), "write")
        );
        note("nothing was ever read", None, reason)
    })
}

/// No value, or an object without one.
fn is_nothing(found: &Value) -> bool {
    match found {
        Value::Nil => true,
        Value::List(items) => match &items[..] {
            [] => true,
            [_, Value::Nil] => true,
            [_, Value::List(items)] => items.is_empty(),
            _ => false,
        },
        _ => false,
    }
}
