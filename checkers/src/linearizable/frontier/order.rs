//! From what was placed, and when, to an order of all operations.

use super::super::model::{Action, INITIAL};
use super::super::search::{NEVER, Timed};
use super::configs::Entry;
use super::{NONE, Start};

/// An operation that was placed when another returned.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub op: u32,
    /// That return.
    pub now: u32,
}

/// Steps, each with the one before it.
#[derive(Default)]
pub struct Trail {
    nodes: Vec<(u32, Step)>,
    /// How many were left when the dead ones were last thrown out.
    left: usize,
}

impl Trail {
    pub fn push(&mut self, before: u32, step: Step) -> u32 {
        self.nodes.push((before, step));
        self.nodes.len() as u32 - 1
    }

    /// All steps up to this one, the first one first.
    pub fn path(&self, last: u32) -> Vec<Step> {
        let mut path = Vec::new();
        let mut at = last;
        while at != NONE {
            let (before, step) = self.nodes[at as usize];
            path.push(step);
            at = before;
        }
        path.reverse();
        path
    }

    /// Throws out the steps that lead to none of the entries, once they may be the most.
    pub fn compact(&mut self, entries: &mut [Entry]) {
        if self.nodes.len() < 2 * self.left + 1024 {
            return;
        }
        let mut number = vec![NONE; self.nodes.len()];
        for entry in entries.iter() {
            let mut at = entry.trail;
            while at != NONE && number[at as usize] == NONE {
                number[at as usize] = 0;
                at = self.nodes[at as usize].0;
            }
        }
        let mut kept = 0;
        for at in 0..self.nodes.len() {
            if number[at] == NONE {
                continue;
            }
            let (before, step) = self.nodes[at];
            // A step stands behind the one before it, which has its new number already.
            let before = match before {
                NONE => NONE,
                before => number[before as usize],
            };
            self.nodes[kept] = (before, step);
            number[at] = kept as u32;
            kept += 1;
        }
        self.nodes.truncate(kept);
        self.left = kept;
        for entry in entries.iter_mut().filter(|e| e.trail != NONE) {
            entry.trail = number[entry.trail as usize];
        }
    }

    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<(u32, Step)>() + 4 * self.nodes.len()
    }
}

/// Puts the operations that were settled without a step between the steps: reads where their value
/// is, writes that nobody saw in front of the next write.
pub fn order(ops: &[Timed<Action>], start: Start, steps: &[Step]) -> Vec<u32> {
    let mut placed = vec![false; ops.len()];
    // What stands behind so many steps: reads and then unseen writes, each by call.
    let mut reads: Vec<Vec<u32>> = vec![Vec::new(); steps.len() + 1];
    let mut unseen: Vec<Vec<u32>> = vec![Vec::new(); steps.len() + 1];
    let mut values = vec![start.values.first().copied().unwrap_or(INITIAL)];
    for step in steps {
        placed[step.op as usize] = true;
        values.extend(ops[step.op as usize].op.written());
    }
    for (i, timed) in ops.iter().enumerate() {
        if placed[i] || timed.ret == NEVER {
            continue;
        }
        // So many steps were made before it was called.
        let first = steps.partition_point(|step| step.now < timed.call);
        match timed.op {
            Action::Read(v) => {
                let at = (first..values.len()).find(|at| values[*at] == v);
                reads[at.expect("it was settled")].push(i as u32);
            }
            _ => {
                let is_write = |step: &Step| ops[step.op as usize].op.found().is_none();
                let at = (first..steps.len()).find(|at| is_write(&steps[*at]));
                unseen[at.expect("it was settled")].push(i as u32);
            }
        }
    }
    let mut order = Vec::with_capacity(ops.len());
    for at in 0..=steps.len() {
        order.append(&mut reads[at]);
        order.append(&mut unseen[at]);
        order.extend(steps.get(at).map(|step| step.op));
    }
    order
}
