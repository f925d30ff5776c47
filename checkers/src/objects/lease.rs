//! Leases: who held at which times, and never two at once by more than the slack.
//!
//! `acquire` and `renew` are answered with `[from, until]` or `{"from_ns": .., "until_ns": ..}`, in
//! ns of the history's own clock: between these times the process takes itself for the only holder.
//! A number is a duration in ns: the process surely holds from the answer on until so long after it
//! asked. `release` ends what its process holds when it is invoked, however it ends. What was never
//! answered gives nobody the belief that it holds.

use std::cmp::Reverse;

use history::{Op, Process, Value};
use rustc_hash::FxHashMap;

use super::{Finding, Found, Judged, Part};
use crate::{Exhausted, Meter};

/// By so much leases with times of their own may overlap: what the conversion of clocks costs. As
/// for leases in traces.
const SLACK_NS: i64 = 1_000_000;

struct Lease {
    from: i64,
    until: i64,
    process: Process,
    op: u64,
}

pub fn judge(part: &Part, meter: &mut Meter) -> Result<Judged, Exhausted> {
    let mut leases: Vec<Lease> = Vec::new();
    let mut held: FxHashMap<Process, Vec<usize>> = FxHashMap::default();
    let mut slack = 0;
    for call in &part.calls {
        meter.tick(60 * leases.len() as u64)?;
        let process = call.op.process;
        if call.op.f == "release" {
            for at in held.remove(&process).unwrap_or_default() {
                leases[at].until = leases[at].until.min(ns(call.op.call.as_nanos()));
            }
            continue;
        }
        if call.lost() {
            continue;
        }
        let output = call.output.unwrap_or(&Value::Nil);
        let Some((from, until, told)) = validity(call.op, output) else {
            let op = call.op.index;
            let why = format!("op {op} is answered with {output}, not [from, until] or a duration");
            return Ok(Judged::new(Found::Unknown(why), "undecided"));
        };
        if told {
            slack = SLACK_NS;
        }
        held.entry(process).or_default().push(leases.len());
        leases.push(Lease {
            from,
            until,
            process,
            op: call.op.index,
        });
    }
    // What had ended before it was answered nobody held.
    leases.retain(|lease| lease.from <= lease.until);
    // One is before another if it ends before the other begins, give or take the slack.
    let end = |lease: &Lease| lease.until.saturating_sub(slack);
    leases.sort_by_key(|lease| lease.from);
    let mut by_end: Vec<&Lease> = leases.iter().collect();
    let ends = |lease: &Lease| (lease.until, lease.op);
    by_end.sort_by_key(|lease| ends(lease));
    let mut findings = Vec::new();
    // Those that reach furthest of all that are not behind, of two processes.
    let mut furthest: Vec<&Lease> = Vec::new();
    let mut next = leases.iter().peekable();
    for lease in by_end {
        while let Some(other) = next.next_if(|other| other.from < end(lease)) {
            match furthest.iter_mut().find(|own| own.process == other.process) {
                Some(own) if own.until < other.until => *own = other,
                Some(_) => {}
                None => furthest.push(other),
            }
            furthest.sort_by_key(|lease| Reverse(lease.until));
            furthest.truncate(2);
        }
        let other = furthest.iter().find(|other| other.process != lease.process);
        // Two are told of where the first of them ends.
        if let Some(other) = other.filter(|other| ends(other) > ends(lease))
            && end(other) > lease.from
        {
            findings.push(overlap(lease, other));
        }
    }
    let found = match findings.is_empty() {
        true => Found::Sound(format!("no two of {} leases overlap", leases.len())),
        false => Found::Wrong(findings),
    };
    Ok(Judged::new(found, "by times"))
}

fn overlap(one: &Lease, other: &Lease) -> Finding {
    let mut two = [one, other];
    two.sort_by_key(|lease| lease.from);
    let [first, second] = two.map(|lease| {
        let Lease {
            from,
            until,
            process,
            op,
        } = lease;
        let [from, until] = [from, until].map(|ns| *ns as f64 / 1e9);
        format!("process {process} held the lease from {from:.6} s to {until:.6} s (op {op})")
    });
    Finding {
        kind: "overlapping leases",
        ops: two.map(|lease| lease.op).to_vec(),
        reason: format!("{first}, and {second}"),
        ..Finding::default()
    }
}

fn ns(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// From when to when a lease is held by this answer, in ns, and whether it tells the times
/// themselves. Of a keyed operation the answer is given without its key.
pub fn validity(op: &Op, output: &Value) -> Option<(i64, i64, bool)> {
    let (asked, answered) = (ns(op.call.as_nanos()), ns(op.ret.as_nanos()));
    match (output, output.as_pair()) {
        (Value::Int(duration), _) => Some((answered, asked.saturating_add(*duration), false)),
        (_, Some((from, until))) => Some((from.as_int()?, until.as_int()?, true)),
        _ => {
            let (from, until) = (output.get("from_ns")?, output.get("until_ns")?);
            Some((from.as_int()?, until.as_int()?, true))
        }
    }
}
