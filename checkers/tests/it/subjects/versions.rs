//! Registers whose answers say where they took effect.

use checkers::linearizable::{Engine, Registers};
use checkers::{Budget, Checker, Verdict, verify};

use super::Counts;
use crate::brute;
use crate::random::{self, Random, Shape};

pub fn shape(random: &mut Random, unique: bool) -> Shape {
    Shape {
        ops: 4 + random.below(7),
        processes: 1 + random.below(4),
        unique,
        cas_percent: *random.pick(&[0, 20, 60]),
        lost_percent: *random.pick(&[0, 10, 30]),
        wrong_percent: *random.pick(&[0, 40, 90]),
        keys: *random.pick(&[1, 1, 1, 2]),
        versions: false,
    }
}

/// Judges the history of a seed by its versions, and by all engines, replays the order, and panics
/// where brute force says something else, or versions deny a history in which nothing is wrong or
/// lost. Odd seeds have repeated values.
pub fn judge(seed: u64, counts: &mut Counts) {
    let mut random = Random::new(seed);
    let shape = Shape {
        versions: true,
        ..shape(&mut random, seed.is_multiple_of(2))
    };
    let history = random::history(&mut random, shape);
    let right = (0..shape.keys as i64).all(|key| brute::linearizable(&history, key, None));
    let say = || format!("{shape:?}\n{}", random::show(&history));
    let versions = Registers::keyed().with_engine(Engine::Versions);
    let budget = Budget::default();
    let found = versions.check(&history, &budget);
    counts.add("versions", found.verdict);
    match found.verdict {
        Verdict::Valid => {
            assert!(right, "{found:?}\n{}", say());
            let order = versions.certify(&history, &budget).expect("it was valid");
            verify(&history, &order).unwrap_or_else(|e| panic!("{e}: {order:?}\n{}", say()));
        }
        Verdict::Vacuous => {}
        Verdict::Unknown => {
            let sound = shape.wrong_percent == 0 && shape.lost_percent == 0;
            let answered = history.columns().has_versions();
            assert!(!sound || !answered, "{found:?}\n{}", say());
        }
        // Where stamps are equal, the order that versions tell may not be the order of each
        // process.
        Verdict::Invalid => assert!(!right, "{found:?}\n{}", say()),
        verdict => panic!("{verdict:?}: {}", say()),
    }
    let all = Registers::keyed().check(&history, &budget).verdict;
    let expected = right && all != Verdict::Vacuous;
    assert_eq!(all == Verdict::Valid, expected, "{}", say());
}
