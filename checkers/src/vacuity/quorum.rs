//! What majorities were left whole and connected by what faults took away.

use std::collections::BTreeSet;

use history::Name;
use history::fault::Loss;

/// More nodes have too many sets of nodes to be tried; of them it is not known.
const MOST_NODES: usize = 16;

/// The nodes of every majority that runs and whose nodes all hear each other while all these losses
/// are in force; none if there is no such majority.
pub(super) fn whole<'a>(nodes: &'a [Name], losses: &[&Loss]) -> BTreeSet<&'a Name> {
    let n = nodes.len();
    if n == 0 || n > MOST_NODES {
        return BTreeSet::new();
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
    let majority = |set: &u32| set & !up == 0 && set.count_ones() as usize * 2 > n;
    let whole = (0..1u32 << n)
        .filter(majority)
        .filter(|set| connected(*set));
    let all = whole.fold(0, |all, set| all | set);
    let in_one = (0..n).filter(|i| all & (1 << i) != 0);
    in_one.map(|i| &nodes[i]).collect()
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
        let are_whole = |losses: &[&Loss], expected: &[usize]| {
            let expected: Vec<Name> = expected.iter().map(|i| name(*i)).collect();
            let found: Vec<Name> = whole(&nodes, losses).into_iter().cloned().collect();
            assert_eq!(found, expected, "{losses:?}");
        };
        are_whole(&[], &[1, 2, 3]);
        are_whole(&[&down(&[1])], &[2, 3]);
        are_whole(&[&down(&[1]), &down(&[2])], &[]);
        // n1 is cut off in one direction only: it is in no whole quorum.
        are_whole(&[&deaf(&[(1, 2), (1, 3)])], &[2, 3]);
        // Two quorums of two, without one of all.
        are_whole(&[&deaf(&[(1, 2)])], &[1, 2, 3]);
        are_whole(&[&deaf(&[(1, 2)]), &deaf(&[(3, 1), (2, 3)])], &[]);
        are_whole(&[&down(&[3]), &deaf(&[(1, 2)])], &[]);
        assert!(whole(&[], &[]).is_empty());
    }
}
