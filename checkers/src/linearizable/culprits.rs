//! Which answers of a register are wrong, each counted once.
//!
//! A violation is a pair of values that stand in each other's way, and one stale read stands in the
//! way of every value since. So of each violation one operation is taken for the culprit: the read
//! that comes last in it. It is left out, and the rest is judged again, until nothing is wrong any
//! more. What a read shows by itself, against operations that stay, it shows whatever else is left
//! out: so no violation is made up.
//!
//! A culprit that is no read cannot be left out, for others saw what it wrote. It counts once.

use rustc_hash::{FxHashMap, FxHashSet};

use super::model::Action;
use super::zones::{self, Found, Kind, Op, Violation};
use crate::Meter;

/// As many as are told, by register; all are counted.
const MOST_TOLD: usize = 16;

/// What is wrong with a register.
pub struct Wrong {
    /// One for each culprit, in order of time.
    pub violations: Vec<Violation>,
    pub count: usize,
    /// False if the budget ended before all were counted.
    pub all: bool,
}

/// Takes all culprits apart, beginning with these violations.
pub fn of(ops: &[Op], values: usize, first: Vec<Violation>, meter: &mut Meter) -> Wrong {
    let mut culprits = Culprits {
        ops,
        reads: FxHashMap::default(),
        left_out: vec![false; ops.len()],
        blamed: FxHashSet::default(),
        found: Vec::new(),
    };
    for (at, op) in (0..).zip(ops) {
        if let Action::Read(value) = op.op {
            culprits.reads.entry(value).or_default().push(at);
        }
    }
    let mut violations = first;
    let mut all = true;
    while culprits.blame(violations) {
        match culprits.rest(values, meter) {
            Ok(rest) => violations = rest,
            Err(()) => {
                all = false;
                break;
            }
        }
    }
    let mut found = culprits.found;
    let seen = |v: &Violation| v.ops.iter().map(|at| ops[*at as usize].call).max();
    found.sort_by_key(|violation| (seen(violation), violation.ops.last().copied()));
    let count = found.len();
    found.truncate(MOST_TOLD);
    Wrong {
        violations: found,
        count,
        all,
    }
}

struct Culprits<'a> {
    ops: &'a [Op],
    /// By value, in the order of their calls.
    reads: FxHashMap<u32, Vec<u32>>,
    left_out: Vec<bool>,
    /// Culprits that are no reads.
    blamed: FxHashSet<u32>,
    found: Vec<Violation>,
}

impl Culprits<'_> {
    /// Returns whether anything more was left out.
    fn blame(&mut self, mut violations: Vec<Violation>) -> bool {
        let mut more = false;
        violations.sort_by_key(|v| v.ops.iter().map(|at| self.ops[*at as usize].call).max());
        for violation in violations {
            let stays = violation.ops.iter().all(|at| !self.left_out[*at as usize]);
            let culprit = self.culprit(&violation);
            match self.ops[culprit as usize].op {
                _ if !stays => {}
                Action::Read(value) => {
                    more = true;
                    for read in self.alike(&violation, culprit, value) {
                        self.left_out[read as usize] = true;
                        let mut own = violation.clone();
                        for at in own.ops.iter_mut().filter(|at| **at == culprit) {
                            *at = read;
                        }
                        self.found.push(own);
                    }
                }
                Action::Write(_) | Action::Cas(..) => {
                    if self.blamed.insert(culprit) {
                        self.found.push(violation);
                    }
                }
            }
        }
        more
    }

    /// The last read of a violation, or its last operation if none of them reads.
    fn culprit(&self, violation: &Violation) -> u32 {
        let call = |at: &u32| self.ops[*at as usize].call;
        let reads = |at: &&u32| matches!(self.ops[**at as usize].op, Action::Read(_));
        let all = violation.ops.iter();
        let last = match violation.ops.last() {
            Some(last) if reads(&last) => Some(last),
            _ => all.clone().filter(reads).max_by_key(|at| call(at)),
        };
        let last = last.or(all.max_by_key(|at| call(at)));
        *last.expect("a violation has operations")
    }

    /// Other reads of the value that the same operations contradict, and the culprit.
    fn alike(&self, violation: &Violation, culprit: u32, value: u32) -> Vec<u32> {
        let op = |at: u32| &self.ops[at as usize];
        let before = match violation.ops[..] {
            [.., before, last] if last == culprit => Some(op(before)),
            _ => None,
        };
        let alike = |read: u32| match (violation.kind, before) {
            (Kind::FromNowhere { .. }, _) => true,
            // The one before was over when the read was asked.
            (
                Kind::StaleInChain { .. }
                | Kind::Interrupted { .. }
                | Kind::InterruptedByTwo { .. },
                Some(before),
            ) => before.ret < op(read).call,
            // The one before was asked when the read was over.
            (Kind::Future { .. }, Some(before)) => op(read).ret < before.call,
            _ => false,
        };
        let all = self.reads.get(&value).map_or(&[][..], Vec::as_slice);
        let all = all.iter().copied().filter(|read| {
            !self.left_out[*read as usize] && !violation.ops.contains(read) && alike(*read)
        });
        all.chain([culprit]).collect()
    }

    /// What is wrong without those that are left out.
    fn rest(&self, values: usize, meter: &mut Meter) -> Result<Vec<Violation>, ()> {
        let kept: Vec<u32> = (0..self.ops.len() as u32)
            .filter(|at| !self.left_out[*at as usize])
            .collect();
        let ops: Vec<Op> = kept.iter().map(|at| self.ops[*at as usize]).collect();
        match zones::check(&ops, values, meter) {
            Ok(Ok(Found::Order(_))) => Ok(Vec::new()),
            Ok(Ok(Found::Violations(mut rest))) => {
                let back = |at: &mut u32| *at = kept[*at as usize];
                for violation in &mut rest {
                    violation.ops.iter_mut().for_each(back);
                    for (lost, by) in &mut violation.shown {
                        back(lost);
                        back(by);
                    }
                }
                Ok(rest)
            }
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }
}
