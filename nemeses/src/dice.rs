//! Dice that fall the same on every machine: whole numbers only, and no algorithm of a library
//! whose next version may fall otherwise.

use std::ops::RangeInclusive;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(rng: ChaCha8Rng) -> Dice {
        Dice(rng)
    }

    /// One of `n` numbers from 0. The bias of taking the high half of a product is n / 2^64, which
    /// no schedule can show.
    pub fn below(&mut self, n: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(n);
        u64::try_from(product >> 64).expect("the high half of 128 bits has 64")
    }

    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// A number whose magnitude is what is random: as often between 1 and 2 as between 1,000 and
    /// 2,000. An octave first, then a number of it.
    pub fn magnitude(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        let octaves = u64::from((high / low).ilog2()) + u64::from(!(high / low).is_power_of_two());
        let floor = low << self.below(octaves.max(1));
        self.within(floor..=(2 * floor).min(high))
    }

    /// One of a table, as often as its weight says.
    pub fn weighted<'t, T>(&mut self, table: &'t [T], weight: impl Fn(&T) -> u32) -> Option<&'t T> {
        let sum = table.iter().map(|t| u64::from(weight(t))).sum();
        if sum == 0 {
            return None;
        }
        let mut at = self.below(sum);
        table
            .iter()
            .find(|t| match at.checked_sub(u64::from(weight(t))) {
                Some(rest) => {
                    at = rest;
                    false
                }
                None => true,
            })
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1);
            items.swap(i, usize::try_from(j).expect("an index of the slice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use harness::seed::Seed;

    use super::*;

    #[test]
    fn every_face_falls_about_as_often_as_it_should() {
        let mut dice = Dice::new(Seed(7).stream("dice"));
        let table = [("a", 50), ("b", 0), ("c", 30), ("d", 20)];
        let mut counts = [0u32; 4];
        for _ in 0..10_000 {
            let drawn = dice.weighted(&table, |(_, w)| *w).unwrap();
            counts[table.iter().position(|t| t == drawn).unwrap()] += 1;
        }
        for (count, (name, percent)) in counts.iter().zip(table) {
            assert!(count.abs_diff(percent * 100) < 250, "{name}: {count}");
        }
        let sixes = (0..6_000).filter(|_| dice.within(1..=6) == 6).count();
        assert!(sixes.abs_diff(1_000) < 200, "{sixes}");
    }

    #[test]
    fn magnitudes_stay_in_range_and_fill_every_octave() {
        let mut dice = Dice::new(Seed(7).stream("dice"));
        let drawn: Vec<u64> = (0..5_000).map(|_| dice.magnitude(10..=3_600_000)).collect();
        assert!(drawn.iter().all(|n| (10..=3_600_000).contains(n)));
        for octave in 0..18 {
            let from = 10u64 << octave;
            assert!(
                drawn.iter().any(|n| (from..2 * from).contains(n)),
                "octave {octave}"
            );
        }
    }

    #[test]
    fn a_shuffle_keeps_all_and_moves_some() {
        let mut dice = Dice::new(Seed(7).stream("dice"));
        let mut items: Vec<u32> = (0..50).collect();
        dice.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
