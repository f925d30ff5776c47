//! What there is: every family, in the order in which people are told of them.

use crate::family::Family;
use crate::{admin, clock, kill, machine, packet, partition, pause};

pub static FAMILIES: &[&Family] = &[
    &partition::FAMILY,
    &pause::FAMILY,
    &kill::FAMILY,
    &clock::FAMILY,
    &packet::FAMILY,
    &machine::FAMILY,
    &admin::FAMILY,
];

/// The family of this name.
pub fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|f| f.name == name)
}

/// Families whose faults leave the daemons' memory as it is.
pub fn gentle() -> impl Iterator<Item = &'static str> {
    let families = FAMILIES.iter().filter(|family| family.keeps_memory());
    families.map(|family| family.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_weights_are_percentages() {
        let names: BTreeSet<&str> = FAMILIES.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), FAMILIES.len());
        for family in FAMILIES {
            let shapes: BTreeSet<&str> = family.shapes.iter().map(|s| s.name).collect();
            assert_eq!(shapes.len(), family.shapes.len(), "{family}");
            let sum: u32 = family.shapes.iter().map(|s| s.percent).sum();
            assert_eq!(sum, 100, "{family}");
        }
    }

    /// Judges of chains ask: after such a fault a node's chain is still the one that it had.
    #[test]
    fn what_stops_a_daemon_or_its_machine_for_good_takes_its_memory() {
        assert_eq!(
            gentle().collect::<Vec<_>>(),
            ["partition", "pause", "clock", "packet"]
        );
    }
}
