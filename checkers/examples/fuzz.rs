//! Judges random histories by the engines, and by brute force.
//!
//! ```text
//! cargo run --release -p checkers --example fuzz -- SUBJECT... [--histories N] [--seed S]
//!     [--most OPERATIONS] [--lost-takes]
//! ```
//!
//! It ends with 1 at the first history on which two differ, after printing it and its seed;
//! certificates are replayed. Subjects are `register`, `versions`, `kv`, `append`, `rw-register`,
//! `set-whole`, `bank`, `cores`, `files`, `proofs`, `lease`, `total-queue`, `staleness`,
//! `guarantees`, the scripts `bounded-counter`, `expiring-register` and `two-phase-commit`, and the
//! models of objects: `queue`, `stack` and so on. Odd seeds of `register`
//! have unique values. `--most` is for `register` and objects; with `--lost-takes` values are
//! unique, and many dequeues and the like of unknown outcome.
//!
//! `... -- blind-writes --long TRANSACTIONS [--keys K]` judges one serializable history of
//! registers that are written blindly by 20 sessions, by several models, and says how much time of
//! a processor that took.
//!
//! `... -- MODEL... --long OPERATIONS` judges and verifies one sound history of an object of so
//! many operations by 30 processes instead, and says how long that took.

use std::process::exit;
use std::time::{Duration, Instant};

use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::transactions::{Consistency, RwRegister};
use checkers::{Budget, Checker, verify};

#[allow(dead_code)]
#[path = "../tests/it/brute.rs"]
mod brute;
#[allow(dead_code)]
#[path = "../tests/it/engines.rs"]
mod engines;
#[allow(dead_code)]
#[path = "../tests/it/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "../tests/it/small.rs"]
mod small;
#[allow(dead_code)]
#[path = "../tests/it/small_objects.rs"]
mod small_objects;
#[path = "../tests/it/splitmix.rs"]
mod splitmix;
#[allow(dead_code)]
#[path = "../tests/it/subjects/mod.rs"]
mod subjects;

use random::Random;
use small_objects::{MODELS, Shape, history, initial};
use subjects::{Counts, Options};

/// All subjects but the [`MODELS`] of objects, which have their own names.
const NAMES: [&str; 17] = [
    "bounded-counter",
    "expiring-register",
    "two-phase-commit",
    "register",
    "versions",
    "kv",
    "append",
    "rw-register",
    "set-whole",
    "bank",
    "cores",
    "files",
    "proofs",
    "lease",
    "total-queue",
    "staleness",
    "guarantees",
];

fn main() {
    let (mut names, mut options) = (Vec::new(), Options::default());
    let (mut histories, mut first, mut long, mut keys) = (100_000, 0, 0, 1_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let number = arguments.next().and_then(|n| n.parse::<u64>().ok());
            number.unwrap_or_else(|| usage(&format!("{argument} needs a number")))
        };
        match argument.as_str() {
            "--histories" => histories = number(),
            "--seed" => first = number(),
            "--most" => options.most = Some(number()),
            "--long" => long = number(),
            "--keys" => keys = number(),
            "--lost-takes" => options.lost_takes = true,
            _ => names.push(argument),
        }
    }
    if names.is_empty() {
        usage("what is to be judged?");
    }
    for name in &names {
        if long > 0 && name == "blind-writes" {
            time_blind_writes(long, keys);
        } else if long > 0 {
            let model = MODELS.into_iter().find(|model| model.name() == name);
            let model = model.unwrap_or_else(|| usage(&format!("{name} is no object")));
            println!("{name}: {}", time(model, long));
        } else {
            fuzz(name, &options, first, histories);
        }
    }
}

fn usage(why: &str) -> ! {
    let objects: Vec<&str> = MODELS.iter().map(|model| model.name()).collect();
    eprintln!(
        "{why}\nSubjects: {}, {}",
        NAMES.join(", "),
        objects.join(", ")
    );
    exit(2)
}

fn fuzz(name: &str, options: &Options, first: u64, histories: u64) {
    let judge = subjects::named(name, options);
    let mut judge = judge.unwrap_or_else(|| usage(&format!("{name} is not known")));
    let mut counts = Counts::default();
    let start = Instant::now();
    let mut told = start;
    for seed in first..first + histories {
        if !subjects::judged(&mut judge, seed, &mut counts) {
            println!("{name}: seed {seed} goes wrong");
            exit(1);
        }
        if told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            println!("{name}: seeds {first} to {seed} agree; {counts}");
        }
    }
    println!(
        "{name}: {histories} histories from seed {first}: all agree, {:.0} a second; {counts}",
        histories as f64 / start.elapsed().as_secs_f64()
    );
}

fn processor_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn time_blind_writes(txns: u64, keys: u64) {
    let history = subjects::transactions::blind_writes(&mut Random::new(1), txns, 20, keys);
    for model in [
        Consistency::StrictSerializable,
        Consistency::StrongSessionSerializable,
        Consistency::Serializable,
        Consistency::StrongSessionSnapshotIsolation,
        Consistency::SnapshotIsolation,
        Consistency::ParallelSnapshotIsolation,
        Consistency::TransactionalCausal,
        Consistency::ReadCommitted,
    ] {
        let start = processor_time();
        let found = RwRegister::by(model).check(&history, &Budget::default());
        println!("{:.0?}: {}", processor_time() - start, found.summary);
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
