//! What is held against brute force, by name: by tests on some thousands of random histories, by
//! `examples/fuzz.rs` on millions. Everything that is promised of one history is in the subject's
//! `judge`.

pub mod accounts;
pub mod adya;
pub mod bank;
pub mod cores;
pub mod files;
pub mod guarantees;
pub mod models;
pub mod objects;
pub mod proofs;
pub mod serial;
pub mod set_whole;
pub mod staleness;
pub mod texts;
pub mod transactions;
pub mod versions;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use checkers::Verdict;
use checkers::choice::Model;

use crate::engines;
use crate::random::seeds;
use crate::small_objects::MODELS;

/// Judges the history that a seed names, and panics if two disagree.
pub type Judge = Box<dyn FnMut(u64, &mut Counts)>;

/// What some subjects can be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Operations of a history, at most: of a register, and of objects.
    pub most: Option<u64>,
    /// Whether many dequeues and the like are lost, and values unique.
    pub lost_takes: bool,
}

/// The subject of that name, if there is one.
pub fn named(name: &str, options: &Options) -> Option<Judge> {
    let transactions = |objects: transactions::Objects| -> Judge {
        let mut brute = serial::Brute::default();
        Box::new(move |seed, counts| transactions::judge(objects, seed, &mut brute, counts))
    };
    Some(match name {
        "register" => {
            let (mut judge, most) = (engines::Judge::new(), options.most.unwrap_or(12) as u32);
            Box::new(move |seed, counts| match judge.judge(seed, most) {
                Ok(true) => counts.add("register", Verdict::Valid),
                Ok(false) => counts.add("register", Verdict::Invalid),
                Err(why) => panic!("{why}\n{:#?}", judge.ops),
            })
        }
        "versions" => Box::new(versions::judge),
        "kv" => Box::new(texts::judge),
        "append" => transactions(transactions::Objects::Lists),
        "rw-register" => transactions(transactions::Objects::Registers),
        "set-whole" => Box::new(set_whole::judge),
        "bank" => Box::new(bank::judge),
        "cores" => Box::new(cores::judge),
        "files" => Box::new(files::judge),
        "proofs" => Box::new(proofs::judge),
        "guarantees" => Box::new(guarantees::judge),
        "staleness" => Box::new(staleness::judge),
        "lease" => Box::new(accounts::judge_leases),
        "total-queue" => Box::new(accounts::judge_total_queues),
        name if models::Example::named(name).is_some() => {
            let example = models::Example::named(name)?;
            let scripted = checkers::scripted::Scripted::new(example.script());
            Box::new(move |seed, counts| models::judge(example, &scripted, seed, counts))
        }
        _ => {
            let model: Model = MODELS.into_iter().find(|model| model.name() == name)?;
            let (most, lost_takes) = (options.most.unwrap_or(10), options.lost_takes);
            Box::new(move |seed, counts| objects::judge(model, seed, most, lost_takes, counts))
        }
    })
}

/// Judges a subject's histories, as many as the environment says, else `usually`.
pub fn run(name: &str, usually: u64) -> Counts {
    run_with(name, &Options::default(), usually)
}

pub fn run_with(name: &str, options: &Options, usually: u64) -> Counts {
    let mut judge = named(name, options).expect("it is one of the names");
    let mut counts = Counts::default();
    for seed in seeds(usually) {
        if !judged(&mut judge, seed, &mut counts) {
            panic!("{name}: seed {seed}");
        }
    }
    println!("{counts}");
    counts
}

/// Whether all agree; who does not is told where panics are.
pub fn judged(judge: &mut Judge, seed: u64, counts: &mut Counts) -> bool {
    counts.histories += 1;
    catch_unwind(AssertUnwindSafe(|| judge(seed, counts))).is_ok()
}

/// Verdicts by what was judged: one row, or one for each consistency model.
#[derive(Debug, Default)]
pub struct Counts {
    histories: u64,
    rows: Vec<Row>,
}

#[derive(Debug)]
pub struct Row {
    what: &'static str,
    verdicts: [u64; VERDICTS.len()],
}

const VERDICTS: [Verdict; 4] = [
    Verdict::Valid,
    Verdict::Invalid,
    Verdict::Unknown,
    Verdict::Vacuous,
];

impl Row {
    pub fn what(&self) -> &'static str {
        self.what
    }

    pub fn of(&self, verdict: Verdict) -> u64 {
        let at = VERDICTS.iter().position(|v| *v == verdict);
        at.map_or(0, |at| self.verdicts[at])
    }
}

impl Counts {
    pub fn add(&mut self, what: &'static str, verdict: Verdict) {
        let row = match self.rows.iter().position(|row| row.what == what) {
            Some(at) => at,
            None => {
                let verdicts = [0; VERDICTS.len()];
                self.rows.push(Row { what, verdicts });
                self.rows.len() - 1
            }
        };
        let at = VERDICTS.iter().position(|v| *v == verdict);
        self.rows[row].verdicts[at.expect("no checker says that")] += 1;
    }

    pub fn histories(&self) -> u64 {
        self.histories
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Histories of one kind only would prove little.
    pub fn has_at_least(&self, count: u64, verdicts: &[Verdict]) {
        let enough = |row: &Row| verdicts.iter().all(|verdict| row.of(*verdict) > count);
        assert!(
            !self.rows.is_empty() && self.rows.iter().all(enough),
            "{self}"
        );
    }
}

/// `serializable: 3 valid, 1 invalid; snapshot-isolation: 4 valid`.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, row) in self.rows.iter().enumerate() {
            let counted = VERDICTS.iter().zip(row.verdicts).filter(|(_, n)| *n > 0);
            let counted: Vec<String> = counted.map(|(v, n)| format!("{n} {}", v.word())).collect();
            let sep = if i > 0 { "; " } else { "" };
            write!(f, "{sep}{}: {}", row.what, counted.join(", "))?;
        }
        Ok(())
    }
}
