//! Whether a majority was left whole and connected by what faults took away.

use std::collections::BTreeSet;

use history::Name;
use history::fault::Loss;

/// More nodes have too many sets of nodes to be tried; of them it is not known.
const MOST_NODES: usize = 16;

/// Whether more than half of the nodes run and all hear each other while all these losses are in force.
pub(super) fn whole(nodes: &[Name], losses: &[&Loss]) -> bool {
    let n = nodes.len();
    if n == 0 || n > MOST_NODES {
        return false;
    }
    let down: BTreeSet<&Name> = losses.iter().flat_map(|loss| &loss.down).collect();
    let deaf: Vec<&(Name, Name)> = losses.iter().flat_map(|loss| &loss.deaf).collect();
    let at = |name: &Name| nodes.iter().position(|node| node == name);
    let mut hears = vec![(1u32 << n) - 1; n];
    for (node, other) in deaf {
        if let (Some(a), Some(b)) = (at(node), at(other)) {
            hears[a] &= !(1 << b);
            hears[b] &= !(1 << a);
        }
    }
    let connected = |set: u32| (0..n).all(|i| set & (1 << i) == 0 || set & !hears[i] == 0);
    let up = (0..n).filter(|i| !down.contains(&nodes[*i]));
    let up = up.fold(0u32, |set, i| set | 1 << i);
    let mut sets = 0..1u32 << n;
    sets.any(|set| set & !up == 0 && set.count_ones() as usize * 2 > n && connected(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_must_run_and_hear_each_other() {
        let nodes: Vec<Name> = (1..=3).map(|i| format!("n{i}").into()).collect();
        let name = |i: usize| nodes[i - 1].clone();
        let down = |down: &[usize]| Loss {
            down: down.iter().map(|i| name(*i)).collect(),
            deaf: Vec::new(),
        };
        let deaf = |pairs: &[(usize, usize)]| Loss {
            down: Vec::new(),
            deaf: pairs.iter().map(|(a, b)| (name(*a), name(*b))).collect(),
        };
        assert!(whole(&nodes, &[]));
        assert!(whole(&nodes, &[&down(&[1])]));
        assert!(!whole(&nodes, &[&down(&[1]), &down(&[2])]));
        // n1 is cut off in one direction only: it is in no whole quorum.
        assert!(whole(&nodes, &[&deaf(&[(1, 2), (1, 3)])]));
        assert!(!whole(
            &nodes,
            &[&deaf(&[(1, 2)]), &deaf(&[(3, 1), (2, 3)])]
        ));
        assert!(!whole(&nodes, &[&down(&[3]), &deaf(&[(1, 2)])]));
        assert!(!whole(&[], &[]));
    }
}
