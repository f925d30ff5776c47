//! `schism matrix plan`: what a night would be.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use history::wording::counted;
use serde::Serialize;

use super::cells::LeftOut;
use super::record::{Planned, VERSION};
use super::{Shard, dealt, night};
use crate::batch::long;
use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::terminal::{self, word};

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The matrix
    pub file: PathBuf,
    /// Only this share of the cells, as i/n, or `auto`
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// Runs at a time
    #[arg(long, short)]
    pub jobs: Option<usize>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Plan<'a> {
    version: u32,
    name: &'a str,
    matrix: String,
    shard: usize,
    shards: usize,
    jobs: usize,
    /// Of the shard, and of all of them, one cell after the other.
    expected_s: f64,
    all_expected_s: f64,
    all_cells: usize,
    /// The shares of all shards.
    shards_expected_s: Vec<f64>,
    cells: &'a [Planned],
    left_out: &'a [LeftOut],
}

pub fn command(args: &PlanArgs) -> Result<ExitCode, Failure> {
    let shard = Shard::read(&args.file, args.shard.as_deref(), &args.store.store)?;
    let jobs = args
        .jobs
        .or(shard.night.jobs)
        .unwrap_or_else(night::default_jobs);
    if args.json {
        let (i, n) = shard.shard;
        let mut shares = vec![Duration::ZERO; n];
        for (cell, place) in shard.night.cells.iter().zip(dealt(&shard.night, n)) {
            shares[place] += shard.night.combo(*cell).takes;
        }
        terminal::json(&Plan {
            version: VERSION,
            name: &shard.night.name,
            matrix: shard.night.identity(),
            shard: i,
            shards: n,
            jobs,
            expected_s: takes(&shard).as_secs_f64(),
            all_expected_s: shard.night.takes().as_secs_f64(),
            all_cells: shard.night.cells.len(),
            shards_expected_s: shares.iter().map(Duration::as_secs_f64).collect(),
            cells: &shard.planned,
            left_out: &shard.night.left_out,
        });
    } else {
        terminal::print(&text(&shard, jobs));
    }
    Ok(ExitCode::SUCCESS)
}

/// Of the cells that can be run here.
fn takes(shard: &Shard) -> Duration {
    let able = shard.planned.iter().filter(|cell| cell.absent.is_none());
    Duration::from_secs_f64(able.map(|cell| cell.expected_s).sum())
}

fn text(shard: &Shard, jobs: usize) -> String {
    let night = &shard.night;
    let (i, n) = shard.shard;
    let mut out = format!("{}: {}", night.name, counted(night.cells.len(), "cell"));
    if n > 1 {
        out += &format!(", {} of them in shard {i} of {n}", shard.cells.len());
    }
    let takes = takes(shard);
    let _ = writeln!(
        out,
        "; about {} with {jobs} at a time, without what has to be confirmed\n",
        long(takes / jobs.max(1) as u32)
    );
    for (place, combo) in night.combos.iter().enumerate() {
        let own = shard
            .cells
            .iter()
            .zip(&shard.planned)
            .filter(|(cell, _)| cell.combo == place);
        let own: Vec<&Planned> = own.map(|(_, planned)| planned).collect();
        let Some(first) = own.first() else { continue };
        let absent: Vec<&Planned> = own
            .iter()
            .copied()
            .filter(|cell| cell.absent.is_some())
            .collect();
        let mut line = format!(
            "  {:<58} {:>9}, {} each",
            word(&combo.id()),
            counted(own.len(), "seed"),
            long(combo.takes)
        );
        if first.is_canary() {
            line += "  canary";
        }
        if combo.weight != 1.0 {
            line += &format!("  weight {}", combo.weight);
        }
        let _ = writeln!(out, "{line}");
        if let Some(why) = absent.first().and_then(|cell| cell.absent.as_ref()) {
            let which = match absent.len() == own.len() {
                true => "not here".to_string(),
                false => format!("{} of them not here", absent.len()),
            };
            let _ = writeln!(
                out,
                "      {which}, {}: {}",
                why.ending.word(),
                word(&why.why)
            );
        }
    }
    if !night.left_out.is_empty() {
        let _ = writeln!(out, "\nleft out");
        for left in &night.left_out {
            let cells = counted(left.cells, "cell");
            let _ = writeln!(
                out,
                "  {:<58} {cells}: {}",
                word(&left.what),
                word(&left.why)
            );
        }
    }
    for issue in &night.known {
        let expired = if issue.is_expired(super::today()) {
            "  EXPIRED"
        } else {
            ""
        };
        let (print, link) = (&issue.fingerprint, word(&issue.link));
        let _ = writeln!(
            out,
            "\nknown  {print}  {link}  until {}{expired}",
            issue.until
        );
    }
    out
}
