//! How often something happens, from how often it was seen.

/// An interval that holds the true rate with at least 95 %, after `k` of `n`: Clopper and Pearson,
/// "The use of confidence or fiducial limits illustrated in the case of the binomial", 1934.
pub fn interval(k: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    // P(X >= k) grows with the rate, and P(X <= k) falls.
    let low = match k {
        0 => 0.0,
        k => solve(|rate| 1.0 - at_most(k - 1, n, rate) - 0.025),
    };
    let high = match k == n {
        true => 1.0,
        false => solve(|rate| 0.025 - at_most(k, n, rate)),
    };
    (low, high)
}

/// P(X <= k) for n trials of this rate.
fn at_most(k: u64, n: u64, rate: f64) -> f64 {
    let mut term = (n as f64 * (1.0 - rate).ln()).exp();
    let mut sum = term;
    for i in 1..=k {
        term *= (n - i + 1) as f64 / i as f64 * rate / (1.0 - rate);
        sum += term;
    }
    sum.min(1.0)
}

/// Where a function that grows is zero, between 0 and 1.
fn solve(f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        match f(middle) < 0.0 {
            true => low = middle,
            false => high = middle,
        }
    }
    f64::midpoint(low, high)
}

/// What a sequential test has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// At least every second time.
    Often,
    /// At most once in twenty.
    Seldom,
}

/// Whether it is clear after `k` of `n`: Wald's sequential probability ratio test, 1945, of a rate
/// of a half against one of a twentieth, wrong in at most one of twenty cases either way.
pub fn clear(k: u64, n: u64) -> Option<Clear> {
    const OFTEN: f64 = 0.5;
    const SELDOM: f64 = 0.05;
    let bound = (0.95_f64 / 0.05).ln();
    let seen = k as f64 * (OFTEN / SELDOM).ln();
    let not_seen = (n - k) as f64 * ((1.0 - OFTEN) / (1.0 - SELDOM)).ln();
    match seen + not_seen {
        ratio if ratio >= bound => Some(Clear::Often),
        ratio if ratio <= -bound => Some(Clear::Seldom),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Conover's table of binomial confidence limits, and by arithmetic at the ends.
    #[test]
    fn intervals_are_those_of_the_tables() {
        for (k, n, low, high) in [
            (0, 10, 0.0, 0.3085),
            (4, 10, 0.1216, 0.7376),
            (10, 10, 0.6915, 1.0),
            (1, 20, 0.0013, 0.2487),
            (0, 0, 0.0, 1.0),
        ] {
            let (a, b) = interval(k, n);
            assert!(
                (a - low).abs() < 5e-5 && (b - high).abs() < 5e-5,
                "{k} of {n}: {a} {b}"
            );
        }
    }

    /// Of ten thousand sequences of runs with a known rate, so many are called the other thing.
    #[test]
    fn the_sequential_test_is_seldom_wrong_and_soon_done() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        for (rate, wrong) in [(0.5, Clear::Seldom), (0.05, Clear::Often)] {
            let (mut errors, mut runs) = (0, 0);
            for _ in 0..10_000 {
                let (mut k, mut n) = (0, 0);
                let found = loop {
                    n += 1;
                    k += u64::from(random.random_bool(rate));
                    if let Some(found) = clear(k, n) {
                        break found;
                    }
                };
                errors += u64::from(found == wrong);
                runs += n;
            }
            assert!(errors <= 600, "{rate}: {errors}");
            assert!(runs < 100_000, "{rate}: {runs}");
        }
    }
}
