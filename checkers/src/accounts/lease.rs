//! Leases: no two processes held at one time, by more than what clocks may differ.

use history::{Process, Value};

use super::Entry;

/// Leases with times of their own may overlap by so much.
const SLACK_NS: i64 = 1_000_000;

struct Lease {
    process: Process,
    from: i64,
    until: i64,
    op: u64,
}

pub fn sound(entries: &[Entry]) -> Result<(), String> {
    sound_among(entries, |_| true)
}

/// The same of some leases, named by their operations; what ended them counts whether it is among
/// them or not.
pub fn sound_among(entries: &[Entry], named: impl Fn(u64) -> bool) -> Result<(), String> {
    let (mut leases, slack) = leases(entries)?;
    leases.retain(|lease| lease.from <= lease.until && named(lease.op));
    leases.sort_by_key(|lease| lease.from);
    // Those that began before and last on.
    let mut running: Vec<&Lease> = Vec::new();
    for lease in &leases {
        let lasts = |other: &&Lease| other.until > lease.from.saturating_add(slack);
        running.retain(lasts);
        let begins = |other: &&&Lease| lease.until > other.from.saturating_add(slack);
        let mut others = running.iter().filter(begins);
        if let Some(other) = others.find(|other| other.process != lease.process) {
            let (a, b) = (other.op, lease.op);
            return Err(format!("the leases of op {a} and op {b} overlap"));
        }
        running.push(lease);
    }
    Ok(())
}

fn leases(entries: &[Entry]) -> Result<(Vec<Lease>, i64), String> {
    let ns = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    let mut slack = 0;
    let mut leases: Vec<Lease> = Vec::new();
    for Entry { op, output, .. } in entries {
        if op.f == "release" {
            let own = leases
                .iter_mut()
                .filter(|lease| lease.process == op.process);
            own.for_each(|lease| lease.until = lease.until.min(ns(op.call.0)));
            continue;
        }
        let Some(output) = output else {
            continue;
        };
        let told = output.as_pair().map_or_else(
            || (output.get("from_ns"), output.get("until_ns")),
            |(from, until)| (Some(from), Some(until)),
        );
        let (from, until) = match (output, told) {
            (Value::Int(duration), _) => (ns(op.ret.0), ns(op.call.0).saturating_add(*duration)),
            (_, (Some(Value::Int(from)), Some(Value::Int(until)))) => {
                slack = SLACK_NS;
                (*from, *until)
            }
            _ => return Err(format!("op {}: {output} is no lease", op.index)),
        };
        leases.push(Lease {
            process: op.process,
            from,
            until,
            op: op.index,
        });
    }
    Ok((leases, slack))
}
