//! A guess at the order of versions that nothing tells. If it explains everything, it was right; if not,
//! nothing is known.
//!
//! By real time alone a chain of versions, with its readers, has a place: where its first operation had
//! returned and its last had been invoked (Gibbons and Korach 1997). For one key by itself that is
//! an order whenever there is one.

use history::Time;

use super::{Micro, Registers};
use crate::transactions::graph::NONE;
use crate::{Exhausted, Meter};

impl Registers<'_> {
    /// For each version that others can see, the one that comes next.
    pub(super) fn guess(&self, meter: &mut Meter) -> Result<Vec<u32>, Exhausted> {
        let versions = self.versions.len();
        meter.tick(versions as u64 * 64)?;
        // The beginning of each version's chain, and how far it is from there.
        let mut roots: Vec<(u32, u32)> = vec![(NONE, 0); versions];
        let mut way = Vec::new();
        for start in 0..versions as u32 {
            let mut at = start;
            while roots[at as usize].0 == NONE {
                meter.tick(0)?;
                let parent = self.versions[at as usize].parent;
                let before = self.versions.get(parent as usize);
                way.push(at);
                // A circle of parents is refuted elsewhere; here it only has to end.
                roots[at as usize] = (at, 0);
                match before.is_some_and(|before| self.is_installed(before)) {
                    true => at = parent,
                    false => break,
                }
            }
            while let Some(version) = way.pop() {
                if version != at {
                    let (root, depth) = roots[at as usize];
                    roots[version as usize] = (root, depth + 1);
                }
                at = version;
            }
        }
        // Of each chain, the first return and the last call.
        let mut zones = vec![(Time::MAX, Time(0)); versions];
        let mut touch = |version: u32, txn: u32| {
            let zone = &mut zones[roots[version as usize].0 as usize];
            zone.0 = zone.0.min(self.txns.rets[txn as usize]);
            zone.1 = zone.1.max(self.txns.calls[txn as usize]);
        };
        for txn in 0..self.txns.len() as u32 {
            for at in self.txns.range(txn) {
                meter.tick(0)?;
                match self.micros[at] {
                    Micro::Write(version) | Micro::Read(version) => touch(version, txn),
                }
            }
        }
        let mut order: Vec<u32> = (0..versions as u32)
            .filter(|v| self.is_installed(&self.versions[*v as usize]))
            .collect();
        order.sort_by_key(|v| {
            let (root, depth) = roots[*v as usize];
            let (first, last) = zones[root as usize];
            (self.versions[*v as usize].key, first.max(last), root, depth)
        });
        let mut next = vec![NONE; versions];
        for pair in order.windows(2) {
            if self.versions[pair[0] as usize].key == self.versions[pair[1] as usize].key {
                next[pair[0] as usize] = pair[1];
            }
        }
        Ok(next)
    }
}
