//! How often a candidate goes wrong, as surely as it takes to tell often from seldom.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use checkers::Verdict;

use crate::batch::{self, Again, Made, default_jobs};
use crate::chance::{self, Clear};
use crate::exit::Failure;
use crate::judged::Outcome;
use crate::replay::is_alike;
use crate::spec::Spec;

/// Runs of one candidate: what is not clear after so many is not kept.
const MOST_OF_ONE: u64 = 16;
/// Where none of so many has a verdict, none will.
const IN_VAIN: usize = 6;

/// So often wrong, of so many with a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    pub wrong: u64,
    pub of: u64,
}

impl Rate {
    pub fn clear(self) -> Option<Clear> {
        chance::clear(self.wrong, self.of)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.wrong, self.of)
    }
}

/// Runs that are made to learn of candidates.
pub struct Trials<'a> {
    first: &'a Outcome,
    store: &'a Path,
    jobs: usize,
    most: u64,
    runs: usize,
    /// What is known, by the specification's text.
    known: HashMap<String, Rate>,
}

impl<'a> Trials<'a> {
    pub fn new(first: &'a Outcome, store: &'a Path, jobs: Option<usize>, most: u64) -> Trials<'a> {
        Trials {
            first,
            store,
            jobs: jobs.unwrap_or_else(default_jobs).max(1),
            most,
            runs: 0,
            known: HashMap::new(),
        }
    }

    pub fn jobs(&self) -> usize {
        self.jobs
    }

    pub fn runs(&self) -> usize {
        self.runs
    }

    pub fn is_over(&self) -> bool {
        self.runs as u64 >= self.most
    }

    /// Runs it until it is clear, or as often as one candidate is worth.
    pub fn ask(&mut self, spec: &Spec) -> Result<Rate, Failure> {
        let key = serde_json::to_string(spec).map_err(Failure::infra)?;
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let again = Again::times(spec, MOST_OF_ONE);
        let first = self.first;
        let enough = |made: &[Made<Again>]| {
            let rate = rate(first, made);
            rate.clear().is_some() || rate.of == 0 && made.len() >= IN_VAIN
        };
        let made = batch::run_all(again, self.jobs, self.store, enough)?;
        self.runs += made.len();
        if let Some(why) = made.iter().find_map(|m| m.outcome.as_ref().err())
            && made.iter().all(|m| m.outcome.is_err())
        {
            return Err(Failure::Infra(why.clone()));
        }
        let rate = rate(first, &made);
        self.known.insert(key, rate);
        Ok(rate)
    }
}

/// What has no verdict on the system counts neither way.
fn rate(first: &Outcome, made: &[Made<Again>]) -> Rate {
    let outcomes = made.iter().filter_map(|m| m.outcome.as_ref().ok());
    let mut rate = Rate::default();
    for outcome in outcomes.filter(|o| matches!(o.verdict, Verdict::Valid | Verdict::Invalid)) {
        rate.of += 1;
        rate.wrong += u64::from(is_alike(first, outcome));
    }
    rate
}
