//! Histories of a shape, the same for the same seed.
//!
//! Every client keeps an operation open nearly all the time (0.2 + Exp(1) long, Exp(0.1) apart),
//! which is the worst case for a search.

use history::{Event, History, Kind, Process, Time, Value};

use crate::splitmix::Random;

fn exponential(random: &mut Random, mean: f64) -> f64 {
    -mean * (1.0 - random.unit()).ln()
}

#[derive(Clone, Copy)]
pub enum Ops {
    /// Reads and writes.
    Register,
    /// Half reads, a quarter writes, a quarter compare-and-sets.
    Cas,
    /// One append or one read a transaction.
    Append,
    /// Adds, and a read of everything after each thousand.
    Set,
}

pub struct Shape {
    pub seed: u64,
    pub ops: usize,
    pub clients: usize,
    pub keys: u64,
    /// So many values, or unique ones.
    pub values: Option<u64>,
    pub lost_per_mille: u64,
    pub stale: bool,
    /// Whether answers say how many writes their key had seen.
    pub versions: bool,
    pub kind: Ops,
}

struct Op {
    client: u64,
    call: f64,
    point: f64,
    ret: f64,
    f: &'static str,
    key: u64,
    /// Of a read: what it returned.
    value: Value,
    /// Writes that its key had seen.
    version: i64,
    kind: Kind,
}

pub fn history(shape: &Shape) -> History {
    let mut random = Random(shape.seed);
    let mut free: Vec<f64> = vec![0.0; shape.clients];
    let mut ops: Vec<Op> = (0..shape.ops)
        .map(|i| {
            let client = i % shape.clients;
            let call = free[client] + exponential(&mut random, 0.1);
            let length = 0.2 + exponential(&mut random, 1.0);
            free[client] = call + length;
            let f = match (shape.kind, random.below(4)) {
                (Ops::Set, _) if i % 1000 == 999 => "read",
                (Ops::Set, _) => "add",
                (_, 0 | 1) => "read",
                (Ops::Cas, 2) => "cas",
                _ => "write",
            };
            let lost = random.below(1000) < shape.lost_per_mille;
            Op {
                client: client as u64,
                call,
                point: call + length * random.unit(),
                ret: call + length,
                f,
                key: random.below(shape.keys),
                value: Value::Nil,
                version: 0,
                kind: if lost { Kind::Info } else { Kind::Ok },
            }
        })
        .collect();
    answer(shape, &mut ops, &mut random);
    events(shape, &ops)
}

/// Lets the operations happen at their points.
fn answer(shape: &Shape, ops: &mut [Op], random: &mut Random) {
    ops.sort_by(|a, b| a.point.total_cmp(&b.point));
    // All values of each key, the current one last.
    let mut past: Vec<Vec<Value>> = vec![vec![Value::Nil]; shape.keys as usize];
    let ops_len = ops.len();
    let spoil_from = ops_len * 95 / 100;
    let mut spoilt = !shape.stale;
    for (i, op) in ops.iter_mut().enumerate() {
        let past = &mut past[op.key as usize];
        let now = past.last().cloned().unwrap_or_default();
        let fresh = match shape.values {
            None => Value::Int(i as i64 + 1),
            // One more value, which is seldom and early written: to read it late is wrong.
            Some(n) if shape.stale && i < ops_len / 20 && random.below(50) == 0 => {
                Value::Int(n as i64)
            }
            Some(n) => Value::Int(random.below(n) as i64),
        };
        match op.f {
            "read" if op.kind == Kind::Ok => {
                op.value = match shape.kind {
                    Ops::Set | Ops::Append => Value::List(past[1..].to_vec()),
                    _ => now.clone(),
                };
                // Old enough that every operation on it has long returned.
                let old = match shape.values {
                    Some(n) => (now != Value::Int(n as i64)).then_some(0),
                    None => past.len().checked_sub(400),
                };
                if let (false, true, Some(old)) = (spoilt, i >= spoil_from, old) {
                    op.value = match (shape.kind, shape.values) {
                        (Ops::Set | Ops::Append, _) => Value::List(past[1..=old].to_vec()),
                        (_, Some(n)) => Value::Int(n as i64),
                        (_, None) => past[old].clone(),
                    };
                    spoilt = true;
                }
            }
            "read" => {}
            "cas" => {
                let from = match random.below(3) {
                    0 => Value::Int(random.below(5) as i64),
                    _ => now.clone(),
                };
                op.value = Value::pair(from.clone(), fresh.clone());
                // Half of the lost ones never happened.
                let happens = op.kind == Kind::Ok || random.below(2) == 0;
                match from == now {
                    true if happens => past.push(fresh),
                    false if op.kind == Kind::Ok => op.kind = Kind::Fail,
                    _ => {}
                }
            }
            _ => {
                op.value = fresh.clone();
                if op.kind == Kind::Ok || random.below(2) == 0 {
                    past.push(fresh);
                }
            }
        }
        op.version = past.len() as i64 - 1;
    }
    assert!(spoilt, "no read came late enough to be spoilt");
}

fn events(shape: &Shape, ops: &[Op]) -> History {
    let mut moments: Vec<(f64, usize, bool)> = Vec::with_capacity(2 * ops.len());
    for (i, op) in ops.iter().enumerate() {
        moments.push((op.call, i, true));
        moments.push((op.ret, i, false));
    }
    moments.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut names: Vec<u64> = (0..shape.clients as u64).collect();
    let mut fresh = shape.clients as u64;
    let event = |(index, (time, i, is_call)): (usize, (f64, usize, bool))| {
        let op = &ops[i];
        let process = Process::Client(names[op.client as usize]);
        let value = match (op.f, is_call || op.kind != Kind::Ok) {
            ("read", true) => Value::Nil,
            _ => op.value.clone(),
        };
        let (f, value) = match shape.kind {
            Ops::Register | Ops::Cas => (op.f, Value::pair(op.key as i64, value)),
            Ops::Set => (op.f, value),
            Ops::Append => {
                let f = if op.f == "read" { "r" } else { "append" };
                let mop = Value::List(vec![f.into(), (op.key as i64).into(), value]);
                ("txn", Value::List(vec![mop]))
            }
        };
        if !is_call && op.kind == Kind::Info {
            names[op.client as usize] = fresh;
            fresh += 1;
        }
        Event {
            index: index as u64,
            time: Time((time * 1e6) as u64),
            process,
            kind: if is_call { Kind::Invoke } else { op.kind },
            f: f.into(),
            value,
            error: None,
            node: None,
            version: (shape.versions && !is_call && op.kind == Kind::Ok)
                .then_some(Value::Int(op.version)),
            due: None,
        }
    };
    History::new(moments.into_iter().enumerate().map(event).collect()).expect("a history")
}
