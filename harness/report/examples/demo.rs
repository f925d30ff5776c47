//! Writes the report of a made-up run, to look at:
//! `cargo run -p report --example demo -- out.html [valid]`.

#[path = "../tests/it/fabricated.rs"]
mod fabricated;

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let Some(path) = args.next() else {
        eprintln!("usage: demo OUT.html [valid|invalid] [SECONDS] [OPS_A_SECOND]");
        return ExitCode::from(64);
    };
    let stale = match args.next().as_deref() {
        Some("valid") => 0,
        _ => 4,
    };
    let seconds = args.next().and_then(|s| s.parse().ok()).unwrap_or(60);
    let rate = args.next().and_then(|s| s.parse().ok()).unwrap_or(170);
    let made = fabricated::run(seconds, rate, stale);
    let begun = Instant::now();
    let page = report::render(&made.input());
    let took = begun.elapsed();
    match fs::write(&path, &page) {
        Ok(()) => {
            println!(
                "{path}: {} operations, {} bytes, rendered in {took:.2?}",
                made.history.ops().len(),
                page.len()
            );
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{path}: {e}");
            ExitCode::FAILURE
        }
    }
}
