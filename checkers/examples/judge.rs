//! Judges history files of any format that the library reads: `judge FILE...`

use std::fs;

use checkers::Budget;
use checkers::choice::Question;
use history::foreign::{self, Format};

/// As much of a file tells its format.
const BEGINNING: usize = 4096;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let bytes = fs::read(&path)?;
        let beginning = &bytes[..bytes.len().min(BEGINNING)];
        let format =
            Format::sniff(beginning).ok_or_else(|| format!("{path}: of no known format"))?;
        let history = foreign::read(format, &bytes[..])?.history;
        let asked = Question::default().put(history)?;
        let choice = asked.choice.ok_or("no operation of a client")?;
        let found = choice
            .checker(&asked.history)
            .check(&asked.history, &Budget::default());
        let analysis = choice.tested(&asked.history, found);
        println!("{}\t{path}\t{}", analysis.verdict.word(), analysis.summary);
        for anomaly in analysis.anomalies.iter().take(1) {
            println!("\t{}: {}", anomaly.kind, anomaly.reason);
        }
    }
    Ok(())
}
