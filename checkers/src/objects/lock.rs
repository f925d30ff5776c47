//! Locks and semaphores: `acquire` and `release`, by the process that holds.
//!
//! A process holds from some moment of its acquisition to some moment of its release. To hold as
//! shortly as possible, from the return of the one to the call of the other, gives every order that
//! there is room: if more processes than there are permits surely hold at one time there is no
//! order, and else these sections are one. Linear after sorting.
//!
//! An acquisition of unknown outcome did not happen (nobody can have released it: its process is
//! gone), a release of unknown outcome did so at its call.
//!
//! An acquisition may be answered with a fencing token, a number: tokens grow from section to
//! section.

use history::{Process, Value};
use rustc_hash::FxHashMap;

use super::{Call, Finding, Found, Judged, Part, searched};
use crate::linearizable::model::Model;
use crate::{Exhausted, Meter};

/// The token that an acquisition is answered with: a number that is not what was asked.
fn token(call: &Call) -> Option<i64> {
    let number = call.output?.as_int()?;
    (call.input != &Value::Int(number)).then_some(number)
}

/// Sections in which a process surely holds.
struct Section {
    acquire: u32,
    /// None: it was never released.
    release: Option<u32>,
}

pub fn judge(
    part: &Part,
    permits: u32,
    by_search: bool,
    meter: &mut Meter,
) -> Result<Judged, Exhausted> {
    meter.tick(100 * part.calls.len() as u64)?;
    let why = match goes_on(part) {
        _ if by_search => "it was asked for".to_string(),
        Some(op) => format!("op {op} is of unknown outcome, and its process went on"),
        None => {
            let found = match sections(part, permits) {
                Ok(order) => Found::Order(order),
                Err(findings) if part.follows.is_empty() => Found::Wrong(findings),
                // Sections of one time are not told apart, and the wrong ones would be named.
                Err(_) => {
                    let why = "some processes ask again at the very time of their last answer";
                    return Ok(by_trying(part, permits, why, meter));
                }
            };
            return Ok(Judged::new(found, "by sections"));
        }
    };
    Ok(by_trying(part, permits, &why, meter))
}

fn by_trying(part: &Part, permits: u32, why: &str, meter: &mut Meter) -> Judged {
    let mut processes: FxHashMap<Process, u32> = FxHashMap::default();
    let ops = part.calls.iter().enumerate().map(|(i, call)| {
        let next = processes.len() as u32;
        let process = *processes.entry(call.op.process).or_insert(next);
        let action = match call.op.f.as_str() {
            "acquire" => Action::Acquire(process, token(call)),
            _ => Action::Release(process),
        };
        (i as u32, action)
    });
    let ops = ops.collect();
    searched(&Lock(permits), part, ops, why, meter)
}

/// An operation of unknown outcome after which its process did another.
fn goes_on(part: &Part) -> Option<u64> {
    let mut lost: FxHashMap<Process, u64> = FxHashMap::default();
    for call in &part.calls {
        if let Some(op) = lost.get(&call.op.process) {
            return Some(*op);
        }
        if call.lost() {
            lost.insert(call.op.process, call.op.index);
        }
    }
    None
}

/// Each acquire with the release that ends it, and releases of what was not held.
fn pair(calls: &[Call]) -> (Vec<Section>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    let mut open: FxHashMap<Process, Vec<usize>> = FxHashMap::default();
    for (i, call) in calls.iter().enumerate() {
        let holds = open.entry(call.op.process).or_default();
        if call.op.f == "acquire" {
            if !call.lost() {
                holds.push(sections.len());
                sections.push(Section {
                    acquire: i as u32,
                    release: None,
                });
            }
            continue;
        }
        match holds.pop() {
            Some(section) => sections[section].release = Some(i as u32),
            // It may not have happened.
            None if call.lost() => {}
            None => findings.push(Finding {
                kind: "release without holding",
                ops: vec![call.op.index],
                reason: format!(
                    "process {} released (op {}) what it had not acquired, or had released before",
                    call.op.process, call.op.index
                ),
                ..Finding::default()
            }),
        }
    }
    (sections, findings)
}

/// A rank, what stands first there, the token, which section, and whether it is released.
type Moment = (u32, u32, i64, usize, bool);

/// Acquires and releases in an order. At one rank, whoever releases goes first. Then comes who
/// acquires and releases at once, by tokens, and then who stays.
fn moments(calls: &[Call], sections: &[Section]) -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::with_capacity(2 * sections.len());
    for (i, section) in sections.iter().enumerate() {
        let acquire = &calls[section.acquire as usize];
        let release = section.release.map(|at| calls[at as usize].call);
        match release {
            Some(release) if release < acquire.ret => {
                let token = token(acquire).unwrap_or(i64::MIN);
                moments.push((release, 1, token, i, false));
                moments.push((release, 1, token, i, true));
            }
            _ => {
                moments.push((acquire.ret, 0, 0, i, false));
                moments.extend(release.map(|release| (release, 0, 0, i, true)));
            }
        }
    }
    moments.sort_unstable();
    moments
}

/// Section `i` was acquired while `holding` held all permits.
fn too_many(
    calls: &[Call],
    sections: &[Section],
    holding: &[usize],
    i: usize,
    permits: u32,
) -> Finding {
    let index = |at: u32| calls[at as usize].op.index;
    let mut ops: Vec<u64> = Vec::new();
    for held in holding.iter().chain([&i]) {
        let Section { acquire, release } = sections[*held];
        ops.push(index(acquire));
        ops.extend(release.map(index));
    }
    let holder = |held: &usize| calls[sections[*held].acquire as usize].op;
    let who: Vec<String> = holding
        .iter()
        .map(|held| {
            let op = holder(held);
            let until = match sections[*held].release {
                None => "never released".to_string(),
                Some(at) => format!("released by op {} only later", index(at)),
            };
            format!(
                "process {} (acquired by op {}, {until})",
                op.process, op.index
            )
        })
        .collect();
    let op = holder(&i);
    Finding {
        kind: match permits {
            1 => "held twice",
            _ => "too many holders",
        },
        ops,
        reason: format!(
            "process {} had acquired (op {}) while it was held by {}{}",
            op.process,
            op.index,
            who.join(" and "),
            match permits {
                1 => String::new(),
                n => format!(": there are {n} permits"),
            }
        ),
        ..Finding::default()
    }
}

/// A later acquire was given a token that is not greater than that of an earlier one.
fn stale_token(
    calls: &[Call],
    (before, earlier): (i64, u32),
    (token, later): (i64, u32),
) -> Finding {
    let index = |at: u32| calls[at as usize].op.index;
    Finding {
        kind: "token not greater",
        ops: vec![index(earlier), index(later)],
        reason: format!(
            "op {} acquired with token {token}, after op {} had acquired with token {before}: a token must be \
                 greater than those before it",
            index(later),
            index(earlier)
        ),
        ..Finding::default()
    }
}

fn sections(part: &Part, permits: u32) -> Result<Vec<u32>, Vec<Finding>> {
    let calls = &part.calls[..];
    let (sections, mut findings) = pair(calls);
    let moments = moments(calls, &sections);
    let mut order: Vec<u32> = Vec::with_capacity(moments.len());
    let mut holding: Vec<usize> = Vec::new();
    let mut last_token: Option<(i64, u32)> = None;
    for (.., i, releases) in moments {
        let section = &sections[i];
        if releases {
            order.extend(section.release);
            holding.retain(|held| *held != i);
            continue;
        }
        order.push(section.acquire);
        if holding.len() == permits as usize {
            findings.push(too_many(calls, &sections, &holding, i, permits));
            // What follows is told of those that are left.
            holding.remove(0);
        }
        holding.push(i);
        let Some(token) = token(&calls[section.acquire as usize]).filter(|_| permits == 1) else {
            continue;
        };
        if let Some((before, acquire)) = last_token.filter(|(before, _)| *before >= token) {
            findings.push(stale_token(
                calls,
                (before, acquire),
                (token, section.acquire),
            ));
        }
        last_token = Some((token, section.acquire));
    }
    match findings.is_empty() {
        true => Ok(order),
        false => Err(findings),
    }
}

/// How many permits there are, for the general search.
struct Lock(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// By this process, answered with this token.
    Acquire(u32, Option<i64>),
    Release(u32),
}

impl Model for Lock {
    /// Who holds, sorted, and the last token.
    type State = (Vec<u32>, Option<i64>);
    type Op = Action;

    fn init(&self) -> Self::State {
        (Vec::new(), None)
    }

    fn step(&self, state: &Self::State, op: &Action) -> Option<Self::State> {
        let (mut holders, last) = state.clone();
        match *op {
            Action::Acquire(process, token) => {
                let token = token.filter(|_| self.0 == 1);
                if holders.len() == self.0 as usize || token.is_some() && token <= last {
                    return None;
                }
                let at = holders.partition_point(|held| *held < process);
                holders.insert(at, process);
                Some((holders, token.or(last)))
            }
            Action::Release(process) => {
                let at = holders.binary_search(&process).ok()?;
                holders.remove(at);
                Some((holders, last))
            }
        }
    }
}
