//! Findings in words. An operation is named by its index, a value as the history writes it.

use super::core::Core;
use super::model::{Action, INITIAL};
use super::parts::Part;
use super::search::{GaveUp, NEVER};
use super::versions::NoOrder;
use super::zones::{Kind, NotUnique, Violation};
use crate::{Anomaly, Stretch};
use history::wording::{counted, either, times};

/// `write 5 (op 12)`
fn op(part: &Part, at: u32) -> String {
    let value = |v: u32| part.value(v);
    let id = part.ids[at as usize];
    match part.ops[at as usize].op {
        Action::Read(v) => format!("read of {} (op {id})", value(v)),
        Action::Write(v) => format!("write {} (op {id})", value(v)),
        Action::Cas(a, b) => format!("cas {} to {} (op {id})", value(a), value(b)),
    }
}

/// `key 3: `, or nothing where there is one register.
pub fn object(part: &Part) -> String {
    part.key
        .as_ref()
        .map(|key| format!("key {key}: "))
        .unwrap_or_default()
}

pub fn of_violation(part: &Part, violation: &Violation) -> Anomaly {
    let value = |v: u32| part.value(v);
    let named: Vec<String> = violation.ops.iter().map(|at| op(part, *at)).collect();
    let mut ops: Vec<u64> = violation
        .ops
        .iter()
        .map(|at| part.ids[*at as usize].into())
        .collect();
    let last = violation.ops.last().map(|at| part.ops[*at as usize].op);
    let is_read = |action: Option<Action>| matches!(action, Some(Action::Read(_)));
    let apart = |v: u32, between: u32, later: u32| {
        let how = match v == later {
            true if v == INITIAL => format!("{} was there only at the start", value(v)),
            true => format!("{} was written once", value(v)),
            false => format!(
                "{} was made from {} by compare-and-set",
                value(later),
                value(v)
            ),
        };
        format!("{how}, and {} stood between", value(between))
    };
    let (kind, mut reason) = match violation.kind {
        Kind::FromNowhere { value: v } => match part.aborted.get(&v) {
            Some(write) => {
                ops.push((*write).into());
                let reason = format!(
                    "the {} saw {}, whose only writer, op {write}, failed: it did not happen",
                    named[0],
                    value(v)
                );
                ("aborted read", reason)
            }
            None => {
                let reason = format!(
                    "the {} depends on {}, which nobody wrote",
                    named[0],
                    value(v)
                );
                ("value from nowhere", reason)
            }
        },
        Kind::LostUpdate { value: v } => {
            let came = if v == INITIAL { "there" } else { "written" };
            let reason = format!(
                "{} and {} both replaced {}, which was {came} once: one of the two updates is lost",
                named[0],
                named[1],
                value(v)
            );
            ("lost update", reason)
        }
        Kind::Circle { value: v, length } => {
            let reason = format!(
                "{} feed each other in a circle through {}, and none can be the first: {}",
                counted(length, "compare-and-set"),
                value(v),
                named.join(", ")
            );
            ("circular compare-and-set", reason)
        }
        Kind::Future { value: v, origin } => {
            let derives = match v == origin
                || part.ops[violation.ops[1] as usize].op.found() == Some(origin)
            {
                true => String::new(),
                false => format!(", from which {} derives,", value(v)),
            };
            let reason = format!(
                "the {} had returned before {}{derives} was invoked",
                named[1], named[0]
            );
            ("future read", reason)
        }
        Kind::StaleInChain { newer, stale } => {
            let reason = format!(
                "the {} was invoked after {} had returned, and {} had replaced {}",
                named[1],
                named[0],
                value(newer),
                value(stale)
            );
            ("stale read", reason)
        }
        Kind::Interrupted {
            value: v,
            between,
            later,
        } => {
            let apart = apart(v, between, later);
            let reason = match &named[..] {
                [middle, after] => {
                    format!("{middle} had returned before {after} was invoked: {apart}")
                }
                _ => format!(
                    "{} had returned before {} was invoked, which returned before {} was invoked: {apart}",
                    named[0], named[1], named[2]
                ),
            };
            (stale_or_inverted(is_read(last)), reason)
        }
        Kind::InterruptedByTwo {
            value: v,
            between,
            later,
        } => {
            let reason = format!(
                "{} had returned before {} was invoked, and {} returned before {} was invoked: {}",
                named[0],
                named[1],
                named[2],
                named[3],
                apart(v, between, later)
            );
            (stale_or_inverted(is_read(last)), reason)
        }
        Kind::Crossed { one, other } => {
            let with = match part.ops.iter().any(|op| matches!(op.op, Action::Cas(..))) {
                true => ", with what is made from it by compare-and-set,",
                false => "",
            };
            let reason = format!(
                "{} had returned before {} was invoked, so {} came before {}; {} had returned before {} was invoked, so it came after: a value{with} is current only once",
                named[0],
                named[1],
                value(one),
                value(other),
                named[2],
                named[3]
            );
            ("order inverted", reason)
        }
    };
    for (lost, by) in &violation.shown {
        let lost = part.ids[*lost as usize];
        let by_id = u64::from(part.ids[*by as usize]);
        if !ops.contains(&by_id) {
            ops.push(by_id);
        }
        reason += &format!(
            "; nobody was told how op {lost} ended, but the {} shows that it happened",
            op(part, *by)
        );
    }
    Anomaly {
        kind: kind.to_string(),
        object: part.key.as_ref().map(|key| key.to_string()),
        ops,
        reason,
        ..Anomaly::default()
    }
}

fn stale_or_inverted(read: bool) -> &'static str {
    match read {
        true => "stale read",
        false => "order inverted",
    }
}

pub fn of_core(part: &Part, blocked: u32, core: &Core) -> Anomaly {
    // Beyond this, a sentence helps nobody; the operations are all in the list.
    const NAMED: usize = 6;
    let others: Vec<u32> = core
        .ops
        .iter()
        .copied()
        .filter(|at| *at != blocked)
        .collect();
    let mut named: Vec<String> = others.iter().take(NAMED).map(|at| op(part, *at)).collect();
    if others.len() > NAMED {
        named.push(format!("{} more", others.len() - NAMED));
    }
    let last = op(part, blocked);
    let with = match named.is_empty() {
        true => "whatever else happened".to_string(),
        false => format!("together with {}", named.join(", ")),
    };
    let minimal = match core.minimal {
        true => "",
        false => " (the budget ended before the list could be made shorter)",
    };
    let before = match core.after {
        None => String::new(),
        Some(after) => format!(
            ", and whatever had happened before op {} returned",
            part.ids[after as usize]
        ),
    };
    let rank = |at: usize| (part.ops[at].ret, at);
    let explained = (0..part.ops.len())
        .filter(|at| rank(*at) < rank(blocked as usize))
        .count();
    let explained = match explained {
        0 => format!("nothing had returned before {last}, and there is no order"),
        n => format!(
            "the {} that returned before {last} {} an order, but together with it there is none",
            counted(n, "operation"),
            either(n, "has", "have")
        ),
    };
    Anomaly {
        kind: "not linearizable".to_string(),
        object: part.key.as_ref().map(|key| key.to_string()),
        ops: [blocked]
            .iter()
            .chain(&others)
            .map(|at| part.ids[*at as usize].into())
            .collect(),
        reason: format!(
            "{explained}: it cannot be placed {with}, wherever the other operations stand that were invoked by then{before}{minimal}"
        ),
        stretch: Some(Stretch {
            after: core.after.map(|at| part.ids[at as usize].into()),
            until: part.ids[blocked as usize].into(),
        }),
        ..Anomaly::default()
    }
}

pub fn of_giving_up(part: &Part, gave_up: &GaveUp) -> String {
    let GaveUp {
        why,
        explained,
        open,
        lost,
        configurations,
    } = gave_up;
    let hardest = match hardest(part) {
        None => String::new(),
        Some((value, written, 0)) => {
            format!(
                "; {} alone was written {}",
                part.value(value),
                times(written)
            )
        }
        Some((value, written, lost)) => format!(
            "; {} alone was written {}, {lost} of them by writes that were lost",
            part.value(value),
            times(written)
        ),
    };
    let power = match weakness(part) {
        None => String::new(),
        Some(why) => format!("; {why}"),
    };
    format!(
        "{}{why} after {}; {}; up to {} open at once and {} lost, with values that are not unique{hardest}{power}; write every value once (the client's number with a counter), and this takes no search",
        object(part),
        counted(*configurations, "configuration"),
        have_an_order(*explained),
        were(*open, "operation"),
        were(*lost, "write")
    )
}

/// `the first 7 operations to return have an order`
pub fn have_an_order(explained: usize) -> String {
    match explained {
        0 => "no operation had an order yet".to_string(),
        1 => "the first operation to return has an order".to_string(),
        n => format!("the first {n} operations to return have an order"),
    }
}

/// `1 write was`, `2 writes were`
fn were(n: usize, one: &str) -> String {
    format!("{} {}", counted(n, one), either(n, "was", "were"))
}

/// The value that leaves most to choose: how often it was written, and how often by lost
/// operations.
fn hardest(part: &Part) -> Option<(u32, usize, usize)> {
    let mut written = vec![(0, 0); part.values()];
    for op in &part.ops {
        if let Some(value) = op.op.written() {
            written[value as usize].0 += 1;
            written[value as usize].1 += usize::from(op.ret == NEVER);
        }
    }
    let counted = (0..)
        .zip(written)
        .map(|(value, (all, lost))| (value, all, lost));
    counted
        .filter(|(_, all, _)| *all > 1)
        .max_by_key(|(_, all, lost)| (*lost, *all))
}

/// That most answers would have been accepted whatever happened, if it is so.
pub fn weakness(part: &Part) -> Option<String> {
    // When a write of each value was lost first: it can stand in front of any later answer.
    let mut lost = vec![NEVER; part.values()];
    for op in part.ops.iter().rev() {
        if let (Action::Write(value), NEVER) = (op.op, op.ret) {
            lost[value as usize] = op.call;
        }
    }
    let (mut answers, mut excused) = (0, 0);
    for op in part.ops.iter().filter(|op| op.ret != NEVER) {
        if let Some(found) = op.op.found() {
            answers += 1;
            excused += usize::from(lost[found as usize] < op.ret);
        }
    }
    (2 * excused > answers).then(|| {
        format!(
            "the test has lost its power: each of {excused} of the {} can be explained by a write of the same value whose outcome nobody knows",
            counted(answers, "answer")
        )
    })
}

pub fn of_searching(part: &Part, why: &NotUnique) -> String {
    let id = |at: &u32| part.ids[*at as usize];
    match why {
        NotUnique::Twice {
            value,
            first,
            second,
        } => format!(
            "{}{} is written twice, by ops {} and {}",
            object(part),
            part.value(*value),
            id(first),
            id(second)
        ),
        NotUnique::Initial { op } => format!(
            "{}the initial value, {}, is written by op {}",
            object(part),
            part.value(0),
            id(op)
        ),
    }
}

pub fn of_versions(part: &Part, why: Option<&NoOrder>) -> String {
    let object = object(part);
    match why {
        None => format!("{object}answers have no versions"),
        Some(NoOrder::Missing { op: at }) => {
            format!("{object}the {} has no version", op(part, *at))
        }
        Some(NoOrder::Answer { op: at, there, .. }) => format!(
            "{object}versions are no order: at its own the {} finds {}",
            op(part, *at),
            part.value(*there)
        ),
        Some(NoOrder::Time { op: at, later }) => format!(
            "{object}versions are no order: the {} returned before {}, whose version is smaller, was invoked",
            op(part, *at),
            op(part, *later)
        ),
    }
}
