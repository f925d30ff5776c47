//! Cores that prove themselves: what an engine names, and what else it takes.

use std::collections::BTreeSet;

use history::History;

use super::{Core, Doubt, Refutation, impossible, relaxed};
use crate::{Budget, Meter, accounts};

/// So many operations are seldom too many to try.
const MOST: usize = 40;

/// How often what has to do with a core is added to it.
const ROUNDS: usize = 3;

/// What one attempt may cost, of which there are many.
const STEPS: u64 = 400_000;

/// Those cores that have no order, each with the operations that it lacked for that: an engine
/// names those that tell the story, and not who shows that one came first, or that it was never
/// taken back.
///
/// # Errors
/// Why none of them is confirmed.
pub fn confirmed(
    history: &History,
    found: &Refutation,
    budget: &Budget,
) -> Result<Refutation, Doubt> {
    let meter = budget.start();
    let mut cores = Vec::new();
    let mut doubt = Doubt::Wrong("it names no operations".into());
    for core in &found.cores {
        match grown(history, found, core, &meter) {
            Ok(core) => cores.push(core),
            Err(why @ Doubt::Exhausted(_)) if meter.look(0).is_err() => {
                doubt = why;
                break;
            }
            Err(why) => doubt = why,
        }
    }
    match cores.is_empty() {
        true => Err(doubt),
        false => Ok(Refutation {
            cores,
            ..found.clone()
        }),
    }
}

fn grown(history: &History, found: &Refutation, core: &Core, meter: &Meter) -> Result<Core, Doubt> {
    let is_core = |ops: &[u64]| {
        let core = Core {
            ops: ops.to_vec(),
            ..core.clone()
        };
        impossible(history, found, &core, STEPS, meter).map(|()| core)
    };
    let mut answer = is_core(&core.ops);
    if accounts::counts(found.model) {
        return answer;
    }
    let mut ops = core.ops.clone();
    for _ in 0..ROUNDS {
        if answer.is_ok() {
            break;
        }
        let whole = Core {
            ops: ops.clone(),
            ..core.clone()
        };
        let last = relaxed::levels(found.model) - 1;
        let puzzle = relaxed::puzzle(history, found, &whole, last, &mut meter.clone())?;
        let related: BTreeSet<u64> = puzzle.related.into_iter().collect();
        let mut related: Vec<u64> = related.into_iter().filter(|op| !ops.contains(op)).collect();
        let distance = |op: &u64| core.ops.iter().map(|own| own.abs_diff(*op)).min();
        related.sort_by_key(distance);
        related.truncate(MOST.saturating_sub(ops.len()));
        if related.is_empty() {
            break;
        }
        ops.extend(related);
        answer = is_core(&ops);
    }
    let mut grown = answer?;
    for added in ops.into_iter().skip(core.ops.len()) {
        let mut fewer = grown.ops.clone();
        fewer.retain(|op| *op != added);
        grown = is_core(&fewer).unwrap_or(grown);
    }
    Ok(grown)
}
