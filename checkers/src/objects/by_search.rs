//! The general engine, where an object has none of its own or that gave up.

use history::wording::counted;
use rustc_hash::FxHashMap;

use super::{Call, Finding, Found, Judged, Part};
use crate::linearizable::core::core;
use crate::linearizable::have_an_order;
use crate::linearizable::model::Model;
use crate::linearizable::search::{self, NONE, Timed};
use crate::{Meter, ranks};

/// `ops` are positions among `calls` with what they do, by call.
pub(super) fn searched<M: Model>(
    model: &M,
    part: &Part,
    ops: Vec<(u32, M::Op)>,
    why: &str,
    meter: &mut Meter,
) -> Judged {
    let calls = &part.calls[..];
    let (positions, timed): (Vec<u32>, Vec<Timed<M::Op>>) = ops
        .into_iter()
        .map(|(at, op)| {
            let Call { call, ret, .. } = calls[at as usize];
            (at, Timed { op, call, ret })
        })
        .unzip();
    let index = |i: &u32| calls[positions[*i as usize] as usize].op.index;
    let awaits = awaits(part, &positions);
    let found = match search::search_after(model, &timed, &awaits, meter) {
        Ok(search::Found::Order(order)) => {
            Found::Order(order.iter().map(|i| positions[*i as usize]).collect())
        }
        Ok(search::Found::Blocked(blocked)) => {
            let core = core(model, &timed, &awaits, blocked, meter);
            let others: Vec<u64> = core
                .ops
                .iter()
                .filter(|i| **i != blocked)
                .map(index)
                .collect();
            let last = index(&blocked);
            let more = match core.minimal {
                true => "",
                false => " (the budget ended before the list could be made shorter)",
            };
            let with = match others.is_empty() {
                true => String::new(),
                false => format!(" together with ops {others:?}"),
            };
            Found::Wrong(vec![Finding {
                kind: "not linearizable",
                ops: [vec![last], others.clone()].concat(),
                reason: format!(
                    "everything that returned before op {last} has an order, but with it there is \
                     none: it cannot be placed{with}, wherever all others are put that were \
                     invoked by then{more}"
                ),
                until: Some(last),
            }])
        }
        Err(gave_up) => Found::Unknown(format!(
            "{} after {}; {}; at most {} open at once",
            gave_up.why,
            counted(gave_up.configurations, "configuration"),
            have_an_order(gave_up.explained),
            match gave_up.open {
                1 => "1 operation was".to_string(),
                n => format!("{} were", counted(n, "operation")),
            }
        )),
    };
    Judged::new(found, &format!("by search: {why}"))
}

/// Which of these calls await which: what one awaits may itself be none of them, and then what that
/// awaits.
fn awaits(part: &Part, positions: &[u32]) -> Vec<u32> {
    let all = ranks::awaits(&part.follows, part.calls.len());
    if all.is_empty() {
        return all;
    }
    let own: FxHashMap<u32, u32> = positions.iter().copied().zip(0..).collect();
    let nearest = |at: &u32| {
        let mut before = all[*at as usize];
        while before != NONE && !own.contains_key(&before) {
            before = all[before as usize];
        }
        own.get(&before).copied().unwrap_or(NONE)
    };
    positions.iter().map(nearest).collect()
}
