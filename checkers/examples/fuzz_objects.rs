//! Judges random histories of one model by its own engine, by the general search, and by brute force.
//!
//! `cargo run --release -p checkers --example fuzz_objects -- MODEL... [--histories N] [--seed S] [--most OPERATIONS] [--lost-takes]`
//!
//! With `--lost-takes` values are unique, and many dequeues and the like of unknown outcome. It replays every certificate, and ends at the first history on which two differ, which it prints.
//!
//! `... -- MODEL... --long OPERATIONS` judges and verifies one sound history of so many operations by 30 processes
//! instead, and says how long that took.

use std::process::exit;
use std::time::Instant;

use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::{Budget, Checker, Verdict, verify};

#[allow(dead_code)]
#[path = "../tests/it/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "../tests/it/small_objects.rs"]
mod small_objects;

use random::{Random, show};
use small_objects::{MODELS, Shape, explained, history, initial};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, usually: u64| {
        let at = arguments.iter().position(|arg| arg == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok())
            .unwrap_or(usually)
    };
    let histories = option("--histories", 100_000);
    let first = option("--seed", 0);
    let most = option("--most", 10);
    let lost_takes = arguments.iter().any(|arg| arg == "--lost-takes");
    let long = option("--long", 0);
    for model in MODELS {
        if !arguments.iter().any(|name| name == model.name()) {
            continue;
        }
        if long > 0 {
            println!("{}: {}", model.name(), time(model, long));
            continue;
        }
        let start = Instant::now();
        let (mut valid, mut invalid, mut searched) = (0u64, 0u64, 0u64);
        for seed in first..first + histories {
            let mut random = Random::new(seed);
            let shape = Shape::random(&mut random, most);
            let shape = if lost_takes {
                shape.losing_takes()
            } else {
                shape
            };
            let history = history(model, &mut random, shape);
            let objects = Objects::single(model).with_initial(initial(model));
            let budget = Budget::default();
            let found = objects.check(&history, &budget);
            let by_search = found.summary.contains("by search");
            let searched_too = objects.clone().by_search().check(&history, &budget);
            let expected = match explained(model, &history) {
                _ if found.verdict == Verdict::Vacuous => Verdict::Vacuous,
                true => Verdict::Valid,
                false => Verdict::Invalid,
            };
            let mut wrong = (found.verdict, searched_too.verdict) != (expected, expected);
            if found.verdict == Verdict::Valid {
                let order = objects.certify(&history, &budget);
                wrong |= order.is_ok_and(|order| verify(&history, &order).is_err());
            }
            if wrong {
                println!(
                    "{} seed {seed}: {expected}, but {found:?}\n{searched_too:?}",
                    model.name()
                );
                println!("{}", show(&history));
                exit(1);
            }
            valid += u64::from(expected == Verdict::Valid);
            invalid += u64::from(expected == Verdict::Invalid);
            searched += u64::from(by_search);
        }
        println!(
            "{}: {histories} histories from seed {first}, up to {most} operations: all agree, {valid} valid, \
             {invalid} invalid, {searched} of them only by search, {:.0} a second",
            model.name(),
            histories as f64 / start.elapsed().as_secs_f64()
        );
    }
}

fn time(model: Model, ops: u64) -> String {
    let shape = Shape {
        ops,
        processes: 30,
        plain: true,
        lost_percent: 0,
        lost_takes_percent: 0,
        failed_percent: 0,
        wrong_percent: 0,
        coarse: false,
    };
    let history = history(model, &mut Random::new(1), shape);
    let ops = history.ops().len();
    let objects = Objects::single(model).with_initial(initial(model));
    let start = Instant::now();
    let found = objects.check(&history, &Budget::default());
    let judged = start.elapsed();
    let order = objects.certify(&history, &Budget::default());
    let start = Instant::now();
    let verified = order.is_ok_and(|order| verify(&history, &order).is_ok());
    let replayed = start.elapsed();
    let verdict = found.verdict;
    format!(
        "{ops} operations {verdict} in {judged:.0?}; certificate holds: {verified}, in {replayed:.0?}"
    )
}
