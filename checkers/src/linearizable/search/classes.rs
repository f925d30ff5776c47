//! Lost operations, which may have happened at any time or never. Equal ones are one class, and it
//! is needed until no later operation is helped by it.

use rustc_hash::FxHashMap;

use super::{NEVER, Timed, awaited};
use crate::linearizable::model::Model;
use crate::{Exhausted, Meter};

/// Lost operations that are equal.
pub struct Class<O> {
    pub op: O,
    /// By call.
    pub members: Vec<u32>,
    pub used: u32,
    /// No operation after this one, in order of returns, is helped by it.
    pub needed_until: u32,
}

/// The lost operations in classes, and the classes by what they give.
pub type Lost<O> = (Vec<Class<O>>, Givers);

/// Classes by what they give.
type Givers = FxHashMap<u32, Vec<u32>>;

pub fn classes<M: Model>(
    model: &M,
    ops: &[Timed<M::Op>],
    awaits: &[u32],
    by_ret: &[u32],
    meter: &mut Meter,
) -> Result<Lost<M::Op>, Exhausted> {
    let mut classes: Vec<Class<M::Op>> = Vec::new();
    let mut class_ids: FxHashMap<&M::Op, u32> = FxHashMap::default();
    let mut givers: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for (i, timed) in ops.iter().enumerate() {
        meter.tick(0)?;
        // A lost read helps nobody.
        if timed.ret != NEVER || model.reads_only(&timed.op) {
            continue;
        }
        let mut new = || {
            let id = classes.len() as u32;
            if let Some(token) = model.gives(&timed.op) {
                givers.entry(token).or_default().push(id);
            }
            classes.push(Class {
                op: timed.op.clone(),
                members: Vec::new(),
                used: 0,
                needed_until: 0,
            });
            id
        };
        // One that awaits another is like none.
        let id = match awaited(awaits, i as u32) {
            Some(_) => new(),
            None => *class_ids.entry(&timed.op).or_insert_with(new),
        };
        classes[id as usize].members.push(i as u32);
    }
    need(model, ops, by_ret, (&mut classes, &givers), meter)?;
    Ok((classes, givers))
}

/// Until when each class is needed.
fn need<M: Model>(
    model: &M,
    ops: &[Timed<M::Op>],
    by_ret: &[u32],
    (classes, givers): (&mut [Class<M::Op>], &Givers),
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let mut needed_until: FxHashMap<u32, u32> = FxHashMap::default();
    for (position, op) in by_ret.iter().enumerate() {
        meter.tick(0)?;
        if let Some(token) = model.needs(&ops[*op as usize].op) {
            needed_until.insert(token, position as u32 + 1);
        }
    }
    // What a lost operation needs is needed as long as what it gives. What is needed longest
    // comes first, so that nothing is prolonged twice.
    let mut changed: Vec<u32> = needed_until.keys().copied().collect();
    changed.sort_unstable_by_key(|token| needed_until[token]);
    while let Some(token) = changed.pop() {
        let until = needed_until[&token];
        for id in givers.get(&token).into_iter().flatten() {
            meter.tick(0)?;
            let class = &mut classes[*id as usize];
            class.needed_until = class.needed_until.max(until);
            if let Some(needs) = model.needs(&class.op) {
                let known = needed_until.entry(needs).or_default();
                if *known < until {
                    *known = until;
                    changed.push(needs);
                }
            }
        }
    }
    Ok(())
}
