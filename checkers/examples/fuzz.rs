//! Judges random histories of one register by every engine that applies, and by brute force.
//!
//! `cargo run --release -p checkers --example fuzz -- --histories N --seed S [--most OPERATIONS]`
//!
//! Odd seeds have unique values. It ends at the first history on which two differ, and prints it.

use std::time::{Duration, Instant};

#[path = "../tests/it/engines.rs"]
mod engines;
#[path = "../tests/it/small.rs"]
mod small;

use engines::Judge;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, usually: u64| {
        let at = arguments.iter().position(|arg| arg == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok())
            .unwrap_or(usually)
    };
    let histories = option("--histories", 1_000_000);
    let first = option("--seed", 0);
    let most = option("--most", 12) as u32;
    let (mut valid, mut invalid) = (0u64, 0u64);
    let start = Instant::now();
    let mut told = start;
    let mut judge = Judge::new();
    for seed in first..first + histories {
        match judge.judge(seed, most) {
            Ok(true) => valid += 1,
            Ok(false) => invalid += 1,
            Err(why) => {
                println!("seed {seed}: {why}\n{:#?}", judge.ops);
                std::process::exit(1);
            }
        }
        if told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            let done = valid + invalid;
            println!("seeds {first} to {seed}: {done} agree, {valid} valid, {invalid} invalid");
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{histories} histories from seed {first}, up to {most} operations: all agree, {valid} valid, {invalid} invalid, {:.0} a second",
        histories as f64 / seconds
    );
}
