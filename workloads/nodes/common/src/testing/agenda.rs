//! What will happen in a simulated world, in the order of its time. Nothing waits: time is what the
//! next happening says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What happens, and when; what is at the same time happens in the order in which it was added.
pub struct Agenda<H> {
    now: u64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, H>,
}

impl<H> Default for Agenda<H> {
    fn default() -> Agenda<H> {
        Agenda {
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
        }
    }
}

impl<H> Agenda<H> {
    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn add(&mut self, time: u64, happening: H) {
        self.order += 1;
        self.queue.push(Reverse((time, self.order)));
        self.happenings.insert(self.order, happening);
    }

    /// The next happening up to `end`, at whose time it then is; without one it is `end`.
    pub fn next(&mut self, end: u64) -> Option<H> {
        match self.queue.peek() {
            Some(&Reverse((time, order))) if time <= end => {
                self.queue.pop();
                self.now = time;
                self.happenings.remove(&order)
            }
            _ => {
                self.now = end;
                None
            }
        }
    }

    /// All that is still to come.
    pub fn to_come(&mut self) -> impl Iterator<Item = &mut H> {
        self.happenings.values_mut()
    }
}

/// Which messages are cut off, from whom to whom.
pub struct Cuts {
    cut: Vec<Vec<bool>>,
    /// How often the network was healed.
    number: u64,
}

impl Cuts {
    pub fn new(nodes: usize) -> Cuts {
        Cuts {
            cut: vec![vec![false; nodes]; nodes],
            number: 0,
        }
    }

    pub fn between(&self, from: usize, to: usize) -> bool {
        self.cut[from][to]
    }

    /// Which of the cuts this is, so that a heal ends no later one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Parts these nodes from the others; one way cuts only what they send.
    pub fn part(&mut self, nodes: &[usize], one_way: bool) {
        for (from, row) in self.cut.iter_mut().enumerate() {
            for (to, cut) in row.iter_mut().enumerate() {
                let (a, b) = (nodes.contains(&from), nodes.contains(&to));
                *cut = if one_way { a && !b } else { a != b };
            }
        }
    }

    /// Ends all cuts, and says which there were.
    pub fn heal(&mut self) -> Vec<(usize, usize)> {
        self.number += 1;
        let mut were = Vec::new();
        for (from, row) in self.cut.iter_mut().enumerate() {
            for (to, cut) in row.iter_mut().enumerate() {
                if std::mem::take(cut) {
                    were.push((from, to));
                }
            }
        }
        were
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_happens_first_and_nothing_happens_after_the_end() {
        let mut agenda = Agenda::default();
        for (time, name) in [(7, "d"), (5, "b"), (3, "a"), (5, "c")] {
            agenda.add(time, name);
        }
        let mut seen = Vec::new();
        while let Some(name) = agenda.next(6) {
            seen.push((agenda.now(), name));
        }
        assert_eq!(seen, [(3, "a"), (5, "b"), (5, "c")]);
        assert_eq!(agenda.now(), 6);
        assert_eq!(agenda.to_come().collect::<Vec<_>>(), [&"d"]);
    }

    #[test]
    fn a_cut_is_one_way_or_both_and_ends_with_its_number() {
        let mut cuts = Cuts::new(3);
        cuts.part(&[0], false);
        let all = |cuts: &Cuts| {
            let pairs = (0..3).flat_map(|from| (0..3).map(move |to| (from, to)));
            pairs
                .filter(|(from, to)| cuts.between(*from, *to))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(&cuts), [(0, 1), (0, 2), (1, 0), (2, 0)]);
        assert_eq!(cuts.heal(), [(0, 1), (0, 2), (1, 0), (2, 0)]);
        assert_eq!((all(&cuts), cuts.number()), (vec![], 1));
        cuts.part(&[0, 2], true);
        assert_eq!(all(&cuts), [(0, 1), (2, 1)]);
    }
}
