//! Numbers in a row, with sums added to ranges and the least of a range asked for, each in
//! logarithmic time.

use std::ops::Range;

/// A segment tree.
pub struct Tree {
    leaves: usize,
    /// The least below each node, without what was added to the nodes above it.
    least: Vec<i64>,
    added: Vec<i64>,
}

impl Tree {
    pub fn new(values: &[i64]) -> Tree {
        let leaves = values.len().next_power_of_two();
        let mut least = vec![i64::MAX / 2; 2 * leaves];
        least[leaves..leaves + values.len()].copy_from_slice(values);
        for node in (1..leaves).rev() {
            least[node] = least[2 * node].min(least[2 * node + 1]);
        }
        let added = vec![0; 2 * leaves];
        Tree {
            leaves,
            least,
            added,
        }
    }

    pub fn add(&mut self, range: Range<usize>, sum: i64) {
        self.add_below(1, 0..self.leaves, &range, sum);
    }

    fn add_below(&mut self, node: usize, span: Range<usize>, range: &Range<usize>, sum: i64) {
        if range.end <= span.start || span.end <= range.start || range.is_empty() {
            return;
        }
        if range.start <= span.start && span.end <= range.end {
            self.least[node] += sum;
            self.added[node] += sum;
            return;
        }
        let middle = span.start.midpoint(span.end);
        self.add_below(2 * node, span.start..middle, range, sum);
        self.add_below(2 * node + 1, middle..span.end, range, sum);
        self.least[node] = self.least[2 * node].min(self.least[2 * node + 1]) + self.added[node];
    }

    /// The least number of a range that is not empty, and the first place that has it.
    pub fn least(&self, range: Range<usize>) -> (i64, usize) {
        self.least_below(1, 0..self.leaves, &range)
    }

    fn least_below(&self, node: usize, span: Range<usize>, range: &Range<usize>) -> (i64, usize) {
        if range.end <= span.start || span.end <= range.start {
            return (i64::MAX, usize::MAX);
        }
        if span.len() == 1 {
            return (self.least[node], span.start);
        }
        let middle = span.start.midpoint(span.end);
        let (left, right) = (span.start..middle, middle..span.end);
        // Where all is asked for, one way down is enough.
        let (least, at) = match range.start <= span.start && span.end <= range.end {
            true if self.least[2 * node] <= self.least[2 * node + 1] => {
                self.least_below(2 * node, left, range)
            }
            true => self.least_below(2 * node + 1, right, range),
            false => {
                let left = self.least_below(2 * node, left, range);
                let right = self.least_below(2 * node + 1, right, range);
                if right.0 < left.0 { right } else { left }
            }
        };
        match at {
            usize::MAX => (i64::MAX, at),
            at => (least + self.added[node], at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_the_first_least() {
        let mut plain: Vec<i64> = vec![5, 3, 8, 3, 9, 1, 4];
        let mut tree = Tree::new(&plain);
        for (from, to, sum) in [(0, 7, 2), (1, 4, -5), (5, 6, 9), (3, 3, 1), (2, 7, 1)] {
            plain[from..to].iter_mut().for_each(|n| *n += sum);
            tree.add(from..to, sum);
            for i in 0..7 {
                for j in i + 1..=7 {
                    let least = *plain[i..j].iter().min().unwrap();
                    let at = i + plain[i..j].iter().position(|n| *n == least).unwrap();
                    assert_eq!(tree.least(i..j), (least, at), "{i}..{j} of {plain:?}");
                }
            }
        }
    }
}
