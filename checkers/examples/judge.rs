//! Judges history files of any format that the library reads: `judge FILE...`

use std::fs;

use checkers::Budget;
use checkers::choice::Choice;
use history::foreign::{self, Format};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let bytes = fs::read(&path)?;
        let format = Format::sniff(&bytes).ok_or_else(|| format!("{path}: of no known format"))?;
        let history = foreign::read(format, &bytes[..])?.history;
        let choice = Choice::of(&history)?;
        let analysis = choice.checker(&history).check(&history, &Budget::default());
        println!("{}\t{path}\t{}", analysis.verdict.word(), analysis.summary);
        for anomaly in analysis.anomalies.iter().take(1) {
            println!("\t{}: {}", anomaly.kind, anomaly.reason);
        }
    }
    Ok(())
}
