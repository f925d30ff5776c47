//! The smallest Δ for which a register is Δ-atomic.
//!
//! A history is Δ-atomic if it is linearizable once every read is taken to have been called Δ
//! earlier (Golab, Li and Shah, "Analyzing consistency properties for fun and profit", PODC 2011).
//! With unique values that is a question of zones (Gibbons and Korach 1997), and to call reads
//! earlier changes of each value's zone only where it ends:
//!
//! ```text
//! f: first return of the value's write and reads    s: their last call, where those of reads are Δ earlier
//! ```
//!
//! Two values are in each other's way if each has an operation that precedes one of the other,
//! `f < s'` and `f' < s`, and one of them is forward, `f < s`. Ends only fall as Δ grows, so what
//! is in nobody's way stays so, and the smallest Δ can be sought by halves.

use super::Cluster;
use crate::{Exhausted, Meter};

/// The smallest Δ, in nanoseconds. Clusters are sorted by their first return, and none was read
/// before it was written.
pub fn smallest(clusters: &[Cluster], meter: &mut Meter) -> Result<u64, Exhausted> {
    let mut zones = Zones {
        clusters,
        forward: Vec::new(),
    };
    if zones.fit(0, meter)? {
        return Ok(0);
    }
    // The first is too small, and the second is enough: with all reads at the start no zone is
    // forward.
    let last = clusters.iter().filter_map(|cluster| cluster.read).max();
    let (mut short, mut enough) = (0, last.unwrap_or(0));
    while enough - short > 1 {
        let middle = short + (enough - short) / 2;
        match zones.fit(middle, meter)? {
            true => enough = middle,
            false => short = middle,
        }
    }
    Ok(enough)
}

struct Zones<'a> {
    clusters: &'a [Cluster],
    /// First return and last call of forward zones, disjoint and in order.
    forward: Vec<(u64, u64)>,
}

impl Zones<'_> {
    /// Whether nobody is in another's way with this Δ.
    fn fit(&mut self, delta: u64, meter: &mut Meter) -> Result<bool, Exhausted> {
        let last_call = |cluster: &Cluster| {
            let read = cluster.read.map_or(0, |call| call.saturating_sub(delta));
            read.max(cluster.called)
        };
        self.forward.clear();
        for cluster in self.clusters {
            meter.tick(48 * self.clusters.len() as u64)?;
            let (first, last) = (cluster.first, last_call(cluster));
            if first >= last {
                continue;
            }
            if self.forward.last().is_some_and(|(_, end)| first < *end) {
                return Ok(false);
            }
            self.forward.push((first, last));
        }
        for cluster in self.clusters {
            meter.tick(48 * self.clusters.len() as u64)?;
            let (first, last) = (cluster.first, last_call(cluster));
            if first < last {
                continue;
            }
            let before = self.forward.partition_point(|(start, _)| *start < last);
            if before > 0 && first < self.forward[before - 1].1 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
