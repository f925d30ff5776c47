//! Small histories of one register, as the engines see them, made and judged in a microsecond or
//! two: for tests by the million.

use checkers::linearizable::model::Action;
use checkers::linearizable::search::{NEVER, Timed};

use crate::splitmix::Random;

pub type Op = Timed<Action>;

pub struct Dice(Random);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        // Neighbouring seeds would give shifted sequences.
        Dice(Random(Random(seed).next()))
    }

    pub fn below(&mut self, n: u32) -> u32 {
        (((self.0.next() >> 32) * u64::from(n)) >> 32) as u32
    }

    pub fn percent(&mut self, n: u32) -> bool {
        self.below(100) < n
    }
}

/// What kind of histories.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub ops: u32,
    pub processes: u32,
    /// Values are written once; otherwise there are so many.
    pub values: Option<u32>,
    pub cas_percent: u32,
    pub lost_percent: u32,
    /// Whether answers and times are spoilt afterwards.
    pub spoilt: bool,
}

impl Shape {
    pub fn any(dice: &mut Dice, unique: bool, most: u32) -> Shape {
        let pick = |dice: &mut Dice, from: &[u32]| from[dice.below(from.len() as u32) as usize];
        Shape {
            ops: 3 + dice.below(most - 2),
            processes: 1 + dice.below(6),
            values: (!unique).then(|| 1 + dice.below(4)),
            cas_percent: pick(dice, &[0, 20, 60]),
            lost_percent: pick(dice, &[0, 10, 30]),
            spoilt: dice.percent(60),
        }
    }
}

#[derive(Clone, Copy)]
struct Running {
    action: Action,
    call: u32,
    /// Whether it happened.
    done: bool,
}

/// Lets processes work on a real register, and then spoils some of what they saw. Operations are
/// sorted by call; values are below the second of the pair.
pub fn history(dice: &mut Dice, shape: Shape, ops: &mut Vec<Op>) -> usize {
    ops.clear();
    let mut running: [Option<Running>; 8] = [None; 8];
    let (mut now, mut fresh, mut moment, mut invoked) = (0, 0, 1, 0);
    while invoked < shape.ops || running.iter().any(Option::is_some) {
        moment += dice.below(3);
        let who = dice.below(shape.processes) as usize;
        match running[who].take() {
            None if invoked < shape.ops => {
                invoked += 1;
                let mut value = |dice: &mut Dice| match shape.values {
                    Some(n) => dice.below(n + 1),
                    None => {
                        fresh += 1;
                        fresh
                    }
                };
                let kind = dice.below(100);
                let action = if kind < shape.cas_percent {
                    let from = if dice.percent(75) { now } else { value(dice) };
                    let to = value(dice);
                    Action::Cas(from, to)
                } else if kind < (100 + shape.cas_percent) / 2 {
                    Action::Write(value(dice))
                } else {
                    Action::Read(0)
                };
                running[who] = Some(Running {
                    action,
                    call: 2 * moment,
                    done: false,
                });
            }
            None => {}
            Some(mut op) if !op.done => {
                let lost = dice.percent(shape.lost_percent);
                if !lost || dice.percent(50) {
                    match &mut op.action {
                        Action::Read(seen) => *seen = now,
                        Action::Write(value) => now = *value,
                        Action::Cas(from, to) if *from == now => now = *to,
                        // It found something else: it did not happen, and is no operation.
                        Action::Cas(..) if !lost => continue,
                        Action::Cas(..) => {}
                    }
                }
                op.done = true;
                match lost {
                    // A lost read tells nothing.
                    true if matches!(op.action, Action::Read(_)) => {}
                    true => push(ops, op, NEVER),
                    false => running[who] = Some(op),
                }
            }
            Some(op) => push(ops, op, 2 * moment + 1),
        }
    }
    let mut values = match shape.values {
        Some(n) => n + 1,
        None => fresh + 1,
    };
    if shape.spoilt && !ops.is_empty() {
        for _ in 0..1 + dice.below(3) {
            spoil(dice, ops, &mut values, shape.values.is_none());
        }
    }
    ops.sort_by_key(|op| op.call);
    values as usize
}

fn push(ops: &mut Vec<Op>, op: Running, ret: u32) {
    ops.push(Op {
        op: op.action,
        call: op.call,
        ret,
    });
}

/// Changes one thing; written values stay as they are if they are unique.
fn spoil(dice: &mut Dice, ops: &mut [Op], values: &mut u32, unique: bool) {
    let at = dice.below(ops.len() as u32) as usize;
    let moment = 1 + dice.below(2 + ops.iter().map(|op| op.call / 2).max().unwrap_or(0));
    let any = dice.below(*values);
    let op = &mut ops[at];
    match (dice.below(5), &mut op.op) {
        (0 | 1, Action::Read(value) | Action::Cas(value, _)) => *value = any,
        (0 | 1, Action::Write(value)) if !unique => *value = any,
        // Called later, or returned earlier: others have to precede it, or it others.
        (2, _) if 2 * moment < op.ret => op.call = op.call.max(2 * moment),
        (3, _) if 2 * moment + 1 > op.call => op.ret = op.ret.min(2 * moment + 1),
        (4, Action::Write(_) | Action::Cas(..)) => op.ret = NEVER,
        _ => {}
    }
    // A value that nobody writes.
    if let Action::Read(value) = &mut ops[at].op
        && dice.percent(2)
    {
        *value = *values;
        *values += 1;
    }
}

/// Linearizability by trying everything, with a memory of what was tried.
#[derive(Default)]
pub struct Brute {
    /// By operations placed: the values with which that was reached.
    seen: Vec<u32>,
    touched: Vec<u32>,
    stack: Vec<(u32, u32)>,
    /// Of each operation: what has to stand before it, and what must not.
    before: Vec<(u32, u32)>,
}

impl Brute {
    /// Whether there is an order, if the register starts with one of `start`, and those called
    /// before `from` need not be placed. At most 16 operations, and 32 values.
    pub fn linearizable(&mut self, ops: &[Op], start: &[u32], from: u32) -> bool {
        assert!(ops.len() <= 16, "brute force is for small histories");
        self.seen.resize(1 << 16, 0);
        let must = |op: &Op| op.ret != NEVER && op.call >= from;
        let mask = |is: &dyn Fn(&Op) -> bool| {
            let these = ops.iter().enumerate().filter(|(_, op)| is(op));
            these.fold(0u32, |mask, (i, _)| mask | 1 << i)
        };
        let all = mask(&must);
        self.before.clear();
        for op in ops {
            // Of the others that may have happened, each can be left out or stands before.
            let before = mask(&|o| o.ret < op.call && must(o));
            self.before.push((before, mask(&|o| op.ret < o.call)));
        }
        for at in self.touched.drain(..) {
            self.seen[at as usize] = 0;
        }
        self.stack.clear();
        self.stack.extend(start.iter().map(|value| (0, *value)));
        while let Some((placed, now)) = self.stack.pop() {
            if placed & all == all {
                return true;
            }
            let seen = &mut self.seen[placed as usize];
            if *seen & 1 << now != 0 {
                continue;
            }
            if *seen == 0 {
                self.touched.push(placed);
            }
            *seen |= 1 << now;
            for (i, op) in ops.iter().enumerate() {
                let bit = 1 << i;
                let (before, after) = self.before[i];
                if placed & (bit | after) != 0 || before & !placed != 0 {
                    continue;
                }
                let then = match op.op {
                    Action::Read(value) | Action::Cas(value, _) if value != now => continue,
                    Action::Read(value) | Action::Write(value) | Action::Cas(_, value) => value,
                };
                self.stack.push((placed | bit, then));
            }
        }
        false
    }
}
