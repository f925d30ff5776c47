//! Unique identifiers: no two answers are equal. No order can change that, so any order is as good.

use history::Value;
use rustc_hash::FxHashMap;

use super::{Finding, Found, Judged, Part};
use crate::{Exhausted, Meter};

pub fn judge(part: &Part, meter: &mut Meter) -> Result<Judged, Exhausted> {
    let mut known: FxHashMap<&Value, u64> = FxHashMap::default();
    let mut findings = Vec::new();
    let mut order: Vec<u32> = Vec::new();
    for (i, call) in part.calls.iter().enumerate() {
        meter.tick(40 * known.len() as u64)?;
        let Some(id) = call.output else {
            continue;
        };
        order.push(i as u32);
        let op = call.op.index;
        let Some(first) = known.insert(id, op) else {
            continue;
        };
        findings.push(Finding {
            kind: "duplicate id",
            ops: vec![first, op],
            reason: format!("op {first} and op {op} were both given {id}"),
            ..Finding::default()
        });
    }
    let found = match findings.is_empty() {
        true => Found::Order(order),
        false => Found::Wrong(findings),
    };
    Ok(Judged::new(found, "by comparing answers"))
}
