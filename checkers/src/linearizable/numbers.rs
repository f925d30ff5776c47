//! Numbers for values, found quickly where values are counted up, as they mostly are.
//!
//! Small integers have a table of their own, by value: eight bytes each, and what is written and
//! read within a short time lies within a few lines of the cache. The rest, and what several
//! registers hold, is hashed.

use history::word::Word;

/// From words of values, each of one part, to numbers.
#[derive(Debug, Default)]
pub struct Numbers {
    /// By value: the first part that has it, and its number there; number 0 is a free place.
    small: Vec<(u32, u32)>,
    /// Number 0 is a free place. A power of two, at most half full.
    places: Vec<Place>,
    /// Of both tables, and of the second.
    numbered: usize,
    filled: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    word: u64,
    part: u32,
    number: u32,
}

/// The table of small integers is at most so many times as long as there are values.
const SPARSEST: usize = 8;

impl Numbers {
    /// The number of this word in this part; `next`, which is not 0, if it had none.
    #[inline]
    pub fn number(&mut self, part: u32, word: u64, next: u32) -> u32 {
        let small = Word::from_bits(word).as_index();
        if let Some(place) = small.and_then(|at| self.small.get(at))
            && place.0 == part
            && place.1 != 0
        {
            return place.1;
        }
        self.number_new(part, word, small, next)
    }

    fn number_new(&mut self, part: u32, word: u64, small: Option<usize>, next: u32) -> u32 {
        // It may have been hashed when the table was shorter.
        let hashed = self.hashed(part, word);
        if let Some(place) = hashed.map(|at| self.places[at])
            && place.number != 0
        {
            return place.number;
        }
        self.numbered += 1;
        if let Some(at) = small.filter(|at| *at < SPARSEST * (self.numbered + 128)) {
            if at >= self.small.len() {
                self.small.resize(at + 1, (0, 0));
            }
            if self.small[at].1 == 0 {
                self.small[at] = (part, next);
                return next;
            }
        }
        if 2 * self.filled >= self.places.len() {
            let old = std::mem::take(&mut self.places);
            self.places = vec![Place::default(); 2 * old.len().max(8)];
            for place in old.into_iter().filter(|place| place.number != 0) {
                self.fill(place);
            }
        }
        self.filled += 1;
        let number = next;
        self.fill(Place { word, part, number });
        next
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.places.len() * size_of::<Place>() + self.small.capacity() * 8
    }

    /// Where this word is, or would be, if there is a table.
    fn hashed(&self, part: u32, word: u64) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        let key = word ^ u64::from(part).rotate_right(24);
        // Both halves of the product: whichever bits the keys differ in, some place depends on
        // them.
        let product = u128::from(key) * 0x9e37_79b9_7f4a_7c15;
        let mut at = (product >> 64 ^ product) as usize & mask;
        loop {
            let place = &self.places[at];
            if place.number == 0 || (place.word == word && place.part == part) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn fill(&mut self, place: Place) {
        let at = self.hashed(place.part, place.word);
        self.places[at.expect("there is a table")] = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn numbers_are_those_of_a_map() {
        type Words = fn(u64) -> u64;
        let shapes: [Words; 8] = [
            |i| i << 3 | 1,
            |i| (12_000 - i) << 3 | 1,
            |i| i,
            |i| i << 20,
            |i| i << 35 | 1,
            |i| i % 7,
            |i| (i % 5) << 35 | (i / 5) << 3 | 1,
            |i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ];
        for (shape, word) in shapes.into_iter().enumerate() {
            for parts in [1, 3, 1000] {
                let mut numbers = Numbers::default();
                let mut known: HashMap<(u32, u64), u32> = HashMap::new();
                for i in 0..20_000 {
                    let (part, word) = ((i % parts) as u32, word(i * 17 % 12_000));
                    let next = known.len() as u32 + 1;
                    let expected = *known.entry((part, word)).or_insert(next);
                    assert_eq!(
                        numbers.number(part, word, next),
                        expected,
                        "{shape}, {parts}, {i}"
                    );
                }
                assert!(
                    numbers.bytes() <= 16 * 4 * 4 * known.len().max(8),
                    "{shape}, {parts}"
                );
            }
        }
    }
}
