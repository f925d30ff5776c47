//! Every engine on one small history, against brute force.

use std::fmt::Debug;
use std::time::Duration;

use checkers::linearizable::decide::{self, Outcome};
use checkers::linearizable::frontier::{Death, Start, Sweep, Swept};
use checkers::linearizable::model::Register;
use checkers::linearizable::search::{self, Found, NEVER};
use checkers::linearizable::window::{Reach, Window};
use checkers::linearizable::zones;
use checkers::{Budget, Meter};

use crate::small::{self, Brute, Dice, Op, Shape};

/// Judges histories named by their seeds; odd ones have unique values.
pub struct Judge {
    pub ops: Vec<Op>,
    prefix: Vec<Op>,
    brute: Brute,
    meter: Meter,
}

impl Judge {
    pub fn new() -> Judge {
        Judge {
            ops: Vec::new(),
            prefix: Vec::new(),
            brute: Brute::default(),
            meter: Budget {
                time: Duration::MAX,
                ..Budget::default()
            }
            .start(),
        }
    }

    /// What all agree on, or who does not.
    pub fn judge(&mut self, seed: u64, most: u32) -> Result<bool, String> {
        let mut dice = Dice::new(seed);
        let unique = seed % 2 == 1;
        let shape = Shape::any(&mut dice, unique, most);
        let values = small::history(&mut dice, shape, &mut self.ops);
        let ops = &self.ops[..];
        let right = self.brute.linearizable(ops, &[0], 0);
        let blocked = match right {
            true => None,
            false => Some(self.first_blocked()),
        };
        let ops = &self.ops[..];
        let meter = &mut self.meter;
        let say = |engine: &str, found: &dyn Debug| {
            format!("{right}, blocked at {blocked:?}, but {engine}: {found:?}")
        };
        if unique {
            match zones::check(ops, values, meter) {
                Ok(Ok(zones::Found::Order(order))) if right => {
                    let order = order.operations();
                    explains(ops, &order).map_err(|why| say("zones", &(why, &order)))?;
                }
                Ok(Ok(zones::Found::Violations(_))) if !right => {}
                Ok(Err(_)) => {}
                _ => return Err(say("zones", &"the contrary")),
            }
        }
        match search::search(&Register, ops, meter) {
            Ok(Found::Order(order)) if right => {
                explains(ops, &order).map_err(|why| say("search", &(why, &order)))?;
            }
            Ok(Found::Blocked(op)) if Some(op) == blocked => {}
            found => return Err(say("search", &found)),
        }
        for (width, foresees) in [(usize::MAX, false), (usize::MAX, true), (2, false)] {
            let sweep = Sweep::new(ops, values, Start::INITIAL, width, meter);
            let sweep = sweep.expect("there is time").expect("few are open");
            let mut sweep = sweep.with_order();
            if foresees {
                sweep = sweep.with_foresight();
            }
            match sweep.run(usize::MAX, meter) {
                Ok(Swept::Through(Some(order))) if right => {
                    explains(ops, &order).map_err(|why| say("frontier", &(why, &order)))?;
                }
                Ok(Swept::Died {
                    op,
                    by: Death::Exact,
                }) if Some(op) == blocked => {}
                Ok(Swept::Died {
                    by: Death::Foreseen,
                    ..
                }) if !right && foresees => {}
                // A beam that found nothing says nothing.
                Ok(Swept::Died { by: Death::Cut, .. }) if width == 2 => {}
                swept => return Err(say("frontier", &(width, foresees, swept))),
            }
        }
        let by_ret = by_ret(ops);
        if !by_ret.is_empty() {
            let at = dice.below(by_ret.len() as u32) as usize;
            let reach = Reach {
                back: 1 + dice.below(6) as usize,
                counted: dice.below(5) as usize,
            };
            let window = Window::new(ops, &by_ret, at, reach, meter);
            let window = window.expect("there is time");
            let impossible = window.is_impossible(None, meter);
            let end = blocked.map(|op| by_ret.iter().position(|b| *b == op));
            let may = end.is_some_and(|end| end.is_some_and(|end| end <= at));
            if impossible != Ok(false) && !may || window.is_exact() && impossible != Ok(may) {
                return Err(say("window", &(at, reach, impossible)));
            }
            // Some of it relaxed: what is impossible then is so in the history, relaxed likewise.
            let kept: Vec<bool> = window.ids().iter().map(|_| dice.percent(70)).collect();
            if window.is_impossible(Some(&kept), meter) == Ok(true) {
                self.prefix.clear();
                let end = (ops[by_ret[at] as usize].ret, by_ret[at]);
                let relaxed = window.ids().iter().zip(&kept).filter(|(_, kept)| !**kept);
                let relaxed = relaxed.fold(0u32, |mask, (id, _)| mask | 1 << id);
                for (i, op) in ops.iter().enumerate() {
                    let reads = op.op.written().is_none();
                    let (call, ret) = match relaxed & 1 << i == 0 {
                        true if (op.ret, i as u32) <= end => (op.call, op.ret),
                        _ if reads => continue,
                        true => (op.call, NEVER),
                        false => (0, NEVER),
                    };
                    self.prefix.push(Op { call, ret, ..*op });
                }
                if self.brute.linearizable(&self.prefix, &[0], 0) {
                    return Err(say("relaxed window", &(at, reach, kept)));
                }
            }
        }
        let decided = decide::decide(ops, values, None, true, meter);
        match decided.found {
            Ok(Outcome::Order(Some(order))) if right => {
                explains(ops, &order).map_err(|why| say("both", &(why, &order)))?;
            }
            Ok(Outcome::Blocked(op, _)) if Some(op) == blocked => {}
            _ => return Err(say("both", &decided.engine)),
        }
        Ok(right)
    }

    /// The return at which the shortest prefix without an order ends.
    fn first_blocked(&mut self) -> u32 {
        let by_ret = by_ret(&self.ops);
        for last in by_ret {
            let end = (self.ops[last as usize].ret, last);
            self.prefix.clear();
            for (i, op) in self.ops.iter().enumerate() {
                let returned = (op.ret, i as u32) <= end;
                let reads = op.op.written().is_none();
                if op.call < end.0 && (returned || !reads) {
                    let ret = if returned { op.ret } else { NEVER };
                    self.prefix.push(Op { ret, ..*op });
                }
            }
            if !self.brute.linearizable(&self.prefix, &[0], 0) {
                return last;
            }
        }
        unreachable!("the whole has no order")
    }
}

pub fn by_ret(ops: &[Op]) -> Vec<u32> {
    let mut by_ret: Vec<u32> = (0..ops.len() as u32)
        .filter(|i| ops[*i as usize].ret != NEVER)
        .collect();
    by_ret.sort_by_key(|i| ops[*i as usize].ret);
    by_ret
}

/// Replays an order.
pub fn explains(ops: &[Op], order: &[u32]) -> Result<(), &'static str> {
    let (mut now, mut latest, mut placed) = (0, 0, 0u32);
    for at in order {
        let op = &ops[*at as usize];
        if placed & 1 << at != 0 {
            return Err("it is placed twice");
        }
        if op.ret < latest {
            return Err("it returned before one placed ahead of it was called");
        }
        if op.op.found().is_some_and(|found| found != now) {
            return Err("it finds something else");
        }
        placed |= 1 << at;
        latest = latest.max(op.call);
        now = op.op.written().unwrap_or(now);
    }
    let missing = |(i, op): (usize, &Op)| op.ret != NEVER && placed & 1 << i == 0;
    match ops.iter().enumerate().any(missing) {
        true => Err("one is missing"),
        false => Ok(()),
    }
}
