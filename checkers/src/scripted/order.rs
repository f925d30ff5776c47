//! The search for an order of one object's operations, and what is named where there is none.

use rustc_hash::FxHashMap;

use super::spec::Spec;
use super::{Part, Placed};
use crate::linearizable::core::core;
use crate::linearizable::search::{Found, GaveUp, Timed, search_after};
use crate::{Meter, ranks};

/// An operation that fits nowhere is told with those that are needed for that, if no more could be:
/// to try them without their times takes the longer the more there are, and a script does not say
/// which of them could matter.
const MOST_TRIED: usize = 48;

/// Else with as many as overlap it or came last before it.
const MOST_NAMED: usize = 8;

/// What the search found. Operations are named by their place in the list.
pub enum Tried {
    Order(Vec<u32>),
    Blocked(u32),
    GaveUp(GaveUp),
}

/// Operations as the search wants them.
pub struct Puzzle {
    timed: Vec<Timed<u32>>,
    awaits: Vec<u32>,
}

impl Puzzle {
    /// Of these, by call, of an object.
    pub fn new(ops: &[Placed], part: &Part) -> Puzzle {
        let timed = ops.iter().map(|(_, (call, ret), number)| Timed {
            op: *number,
            call: *call,
            ret: *ret,
        });
        let mut places: FxHashMap<u64, u32> = FxHashMap::default();
        if !part.follows.is_empty() {
            places.extend(ops.iter().map(|(op, ..)| op.index).zip(0..));
        }
        let place = |op: &u32| places.get(&u64::from(*op)).copied();
        let follows = part.follows.iter();
        let follows = follows.filter_map(|(before, op)| Some((place(before)?, place(op)?)));
        let follows: Vec<(u32, u32)> = follows.collect();
        Puzzle {
            awaits: ranks::awaits(&follows, ops.len()),
            timed: timed.collect(),
        }
    }

    pub fn order(&self, spec: &Spec, meter: &mut Meter) -> Tried {
        match search_after(spec, &self.timed, &self.awaits, meter) {
            Ok(Found::Order(order)) => Tried::Order(order),
            Ok(Found::Blocked(op)) => Tried::Blocked(op),
            Err(gave_up) => Tried::GaveUp(gave_up),
        }
    }

    /// Those that cannot be placed together with the one that fits nowhere, wherever all others
    /// are put, and whether each of them is needed. None if there are too many to find that out.
    pub fn needed(&self, spec: &Spec, blocked: u32, meter: &Meter) -> Option<(Vec<u32>, bool)> {
        let end = self.timed[blocked as usize].ret;
        if self.timed.iter().filter(|op| op.call < end).count() > MOST_TRIED {
            return None;
        }
        let core = core(spec, &self.timed, &self.awaits, blocked, meter);
        let others = core.ops.into_iter().filter(|op| *op != blocked);
        Some((others.collect(), core.minimal))
    }

    /// Those that overlap it, or else came last before it.
    pub fn near(&self, blocked: u32) -> Vec<u32> {
        let own = &self.timed[blocked as usize];
        let others = (0..self.timed.len() as u32).filter(|op| *op != blocked);
        let mut others: Vec<u32> = others
            .filter(|op| self.timed[*op as usize].call < own.ret)
            .collect();
        // By return: those that have not returned when it is called overlap it.
        others.sort_by_key(|op| self.timed[*op as usize].ret.min(own.ret));
        let mut near = others.split_off(others.len().saturating_sub(MOST_NAMED));
        near.sort_unstable();
        near
    }
}
