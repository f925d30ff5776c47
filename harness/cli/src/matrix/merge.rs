//! `schism merge`: the shards of a night, from wherever they were run, put together and judged as
//! one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use history::wording::listed;

use super::gate::{self, judge};
use super::record::{self, Head, Recorded};
use super::{conclude, known, today, trend};
use crate::exit::Failure;

#[derive(Debug, Args)]
#[command(after_help = gate::table())]
pub struct MergeArgs {
    /// Folders in which the shards are, anywhere
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Where the whole night is written
    #[arg(long, short, default_value = "night", value_name = "DIR")]
    output: PathBuf,
    /// Known issues, if others than those that the shards had
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Nights to hold the figures against: folders in which some are, anywhere; may be given
    /// several times
    #[arg(long, value_name = "DIR")]
    baseline: Vec<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn command(args: &MergeArgs) -> Result<ExitCode, Failure> {
    let before = trend::find(&args.baseline)?;
    let known = args.known.as_deref().map(known::read).transpose()?;
    let mut notes = Vec::new();
    let shards = shards(&args.dirs, &mut notes)?;
    let mut merged = put_together(shards, &mut notes);
    if let Some(known) = known {
        merged.whole.head.known = known;
    }
    std::fs::create_dir_all(&args.output)
        .and_then(|()| {
            let path = args.output.join(record::NAME);
            record::write(&path, &merged.whole.head, &merged.whole.runs)
        })
        .map_err(|e| Failure::Infra(format!("cannot write into {}: {e}", args.output.display())))?;
    let mut judged = judge(&merged.whole, today());
    judged.without(merged.missing);
    notes.append(&mut judged.notes);
    judged.notes = notes;
    conclude(&args.output, &judged, &merged.whole, &before, args.json)
}

/// A night of several.
struct Merged {
    whole: Recorded,
    missing: Vec<usize>,
}

/// The shards by their numbers, each once.
fn shards(dirs: &[PathBuf], notes: &mut Vec<String>) -> Result<BTreeMap<usize, Recorded>, Failure> {
    let mut shards: BTreeMap<usize, Recorded> = BTreeMap::new();
    let mut first: Option<(PathBuf, Head)> = None;
    for path in trend::find(dirs)? {
        let found = record::read(&path).map_err(Failure::Usage)?;
        // An earlier merge lies among what it was made of.
        if found.head.shard.0 == 0 {
            continue;
        }
        if let Some((line, _)) = found.torn {
            notes.push(format!(
                "{}: line {line} is torn and was left out",
                path.display()
            ));
        }
        match &first {
            None => {
                let head = Head {
                    cells: Vec::new(),
                    ..found.head.clone()
                };
                first = Some((path, head));
            }
            Some((other, head)) => same_night(&path, &found.head, other, head)?,
        }
        let number = found.head.shard.0;
        let twice = shards
            .get(&number)
            .map(|there| found.runs.len() > there.runs.len());
        if twice.is_some() {
            notes.push(format!(
                "shard {number} is there twice: the one with more runs was taken"
            ));
        }
        if twice != Some(false) {
            shards.insert(number, found);
        }
    }
    match shards.is_empty() {
        false => Ok(shards),
        true => Err(Failure::Usage(
            "there is no shard of a night in these folders".into(),
        )),
    }
}

fn same_night(path: &PathBuf, head: &Head, other: &PathBuf, first: &Head) -> Result<(), Failure> {
    let is = |path: &PathBuf, head: &Head| {
        let shards = head.shard.1;
        format!(
            "{} is of matrix {} {} in {shards} shards",
            path.display(),
            head.name,
            head.matrix
        )
    };
    match (&head.matrix, head.shard.1) == (&first.matrix, first.shard.1) {
        true => Ok(()),
        false => Err(Failure::Usage(format!(
            "these are not of one night: {}, and {}",
            is(other, first),
            is(path, head)
        ))),
    }
}

fn put_together(shards: BTreeMap<usize, Recorded>, notes: &mut Vec<String>) -> Merged {
    let mut nights: Vec<String> = shards.values().map(|r| r.head.night.clone()).collect();
    nights.sort();
    nights.dedup();
    if nights.len() > 1 {
        let nights = listed(nights, 6);
        notes.push(format!(
            "the shards are of different nights: {nights} (give all the same --night)"
        ));
    }
    let mut shards = shards.into_values();
    let first = shards.next().expect("there is one");
    let all = first.head.shard.1;
    let mut there = vec![first.head.shard.0];
    let mut whole = Recorded {
        torn: None,
        ..first
    };
    for shard in shards {
        there.push(shard.head.shard.0);
        whole.head.cells.extend(shard.head.cells);
        whole.runs.extend(shard.runs);
    }
    whole.head.shard = (0, all);
    let missing = (1..=all).filter(|shard| !there.contains(shard)).collect();
    Merged { whole, missing }
}
