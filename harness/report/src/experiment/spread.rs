//! What many runs say of one figure: the median, and an interval that holds it.
//!
//! The interval is between two order statistics, `x(k)` and `x(n+1-k)` of n sorted values: it
//! misses the true median only if fewer than k of n values fell on one side of it, and each falls
//! there with probability 1/2, whatever the distribution (Thompson 1936; Hahn and Meeker,
//! "Statistical Intervals", 1991, 5.2). k is the largest for which the interval still holds the
//! median with 95 %. Of fewer than six values not even the smallest and largest do: then those two
//! are given, with what they come to.

use serde::Serialize;

use super::Reading;

/// What is asked for.
const WANTED: f64 = 0.95;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub n: usize,
    pub median: Reading,
    pub low: Reading,
    pub high: Reading,
    /// How sure it is that the median is between `low` and `high`, from 0 to 1.
    pub coverage: f64,
}

impl Spread {
    /// None of no values. Of values that are known in part the order statistics are so too: the
    /// k-th smallest is at least the k-th smallest of what they are at least, and at most that of
    /// the others.
    pub fn of<V: Into<Reading>>(values: impl IntoIterator<Item = V>) -> Option<Spread> {
        let values: Vec<Reading> = values.into_iter().map(Into::into).collect();
        let sorted_by = |end: fn(&Reading) -> f64| {
            let mut ends: Vec<f64> = values.iter().map(end).collect();
            ends.sort_by(f64::total_cmp);
            ends
        };
        let (least, most) = (sorted_by(|v| v.least), sorted_by(|v| v.most));
        let ranked = |at: usize| Reading {
            least: least[at],
            most: most[at],
        };
        let n = values.len();
        let middle = n.checked_sub(1)? / 2;
        // One side's share of the median's misses: the probability of fewer than k of n.
        let mut tail = 0.5f64.powi(n as i32);
        let mut term = tail;
        let mut k = 1;
        while k < n.div_ceil(2) {
            term *= (n - k + 1) as f64 / k as f64;
            if 1.0 - 2.0 * (tail + term) < WANTED {
                break;
            }
            tail += term;
            k += 1;
        }
        Some(Spread {
            n,
            median: ranked(middle).between(ranked(n / 2)),
            low: ranked(k - 1),
            high: ranked(n - k),
            coverage: (1.0 - 2.0 * tail).max(0.0),
        })
    }

    /// Whether the interval holds the median with 95 %.
    pub fn is_sure(&self) -> bool {
        self.coverage >= WANTED
    }

    /// Of differences: whether there surely is one. It is the sign test (Dixon and Mood 1946).
    pub fn differs(&self) -> bool {
        self.is_sure() && (self.low.least > 0.0 || self.high.most < 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordinals(n: usize) -> Spread {
        Spread::of((1..=n).map(|i| i as f64)).unwrap()
    }

    /// Ranks and coverages from tables of binomial probabilities: Conover, "Practical Nonparametric
    /// Statistics", table A3, for p = 0.5.
    #[test]
    fn the_ranks_are_those_of_the_binomial_distribution() {
        for (n, k, coverage) in [
            (1, 1, 0.0),
            (2, 1, 0.5),
            (5, 1, 0.9375),
            (6, 1, 0.96875),
            (8, 1, 0.9921875),
            (9, 2, 0.9609375),
            (10, 2, 0.978515625),
            (12, 3, 0.961425781),
            (20, 6, 0.958610535),
        ] {
            let spread = ordinals(n);
            let ranks = (spread.low, spread.high);
            let wanted = (Reading::from(k as f64), Reading::from((n + 1 - k) as f64));
            assert_eq!(ranks, wanted, "{n}");
            assert!((spread.coverage - coverage).abs() < 1e-9, "{spread:?}");
            assert_eq!(spread.is_sure(), n >= 6);
            assert_eq!(spread.median, Reading::from((n + 1) as f64 / 2.0));
        }
        let many = ordinals(1_000);
        assert!((0.95..0.96).contains(&many.coverage), "{many:?}");
        // n/2 - 1.96 sqrt(n)/2 and its mirror, to within one.
        assert!((many.low.least - 469.0).abs() <= 1.0, "{many:?}");
    }

    #[test]
    fn the_order_of_the_values_does_not_matter() {
        let spread = Spread::of([5.0, 1.0, 3.0]).unwrap();
        let parts = (spread.low, spread.median, spread.high);
        assert_eq!(parts, (1.0.into(), 3.0.into(), 5.0.into()));
        assert_eq!(Spread::of::<f64>([]), None);
    }

    #[test]
    fn a_difference_is_sure_if_zero_is_outside() {
        let of = |values: &[f64]| Spread::of(values.iter().copied()).unwrap().differs();
        assert!(of(&[0.1, 0.2, 0.3, 0.1, 0.2, 0.3]));
        assert!(of(&[-0.1, -0.2, -0.3, -0.1, -0.2, -0.3]));
        assert!(!of(&[0.1, 0.2, 0.3, 0.1, 0.2, -0.3]));
        assert!(!of(&[0.1, 0.2, 0.3, 0.1, 0.2]), "five are too few");
        assert!(!of(&[0.0; 8]));
    }

    /// Whatever the values are that are known in part, the truth is within what is said of it.
    #[test]
    fn of_values_that_are_known_in_part_no_more_is_said_than_is_known() {
        let told = Spread::of((0..8).map(|i| match i % 3 {
            0 => Reading::at_least(f64::from(i)),
            _ => Reading::from(f64::from(i)),
        }));
        let told = told.unwrap();
        for more in [0.0, 0.5, 2.5, 100.0] {
            let truth = Spread::of((0..8).map(|i| match i % 3 {
                0 => f64::from(i) + more,
                _ => f64::from(i),
            }));
            let truth = truth.unwrap();
            for (told, truth) in [
                (told.low, truth.low),
                (told.median, truth.median),
                (told.high, truth.high),
            ] {
                assert!(
                    (told.least..=told.most).contains(&truth.least),
                    "{told:?} {truth:?}"
                );
            }
        }
        assert!(!told.high.is_exact());
        // Differences to what never ended: surely above zero only if even the bound is.
        let of = |values: [Reading; 6]| Spread::of(values).unwrap().differs();
        assert!(of([Reading::at_least(0.1); 6]));
        assert!(!of([Reading::at_least(-0.1); 6]));
        assert!(!of([Reading::at_least(1.0) - Reading::at_least(0.5); 6]));
    }
}
