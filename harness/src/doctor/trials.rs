//! What came of making a lab for a moment.

use crate::cluster::lab::{Trial, step};

/// What came of trying something.
pub enum Outcome<'a> {
    Works,
    Fails(&'a str),
    /// Something before it failed.
    NotReached(String),
}

/// What [`lab::trial`] said.
pub struct Trials(Result<Vec<Trial>, String>);

/// The steps of entering a lab, in their order.
const STEPS: [&str; 7] = [
    step::USER,
    step::MAPS,
    step::PID,
    step::REST,
    step::PRIVATE,
    step::PROC,
    step::BRIDGE,
];

impl Trials {
    pub fn new(trials: Result<Vec<Trial>, String>) -> Trials {
        Trials(trials)
    }

    /// The step of entering that failed, with its reason.
    pub fn failed(&self) -> Option<(&str, &str)> {
        let trials = self.0.as_ref().ok()?;
        let entering = |t: &&Trial| STEPS.contains(&t.what.as_str());
        let failed = trials.iter().find(entering)?;
        Some((&failed.what, failed.error.as_deref().unwrap_or_default()))
    }

    /// How a step of entering the lab went.
    pub fn step(&self, name: &str) -> Outcome<'_> {
        if let Err(why) = &self.0 {
            return Outcome::NotReached(why.clone());
        }
        let place = |step: &str| STEPS.iter().position(|s| *s == step);
        match self.failed() {
            Some((step, why)) if step == name => Outcome::Fails(why),
            Some((step, why)) if place(step) < place(name) => {
                Outcome::NotReached(format!("{step}: {why}"))
            }
            _ => Outcome::Works,
        }
    }

    /// How something that is tried inside went.
    pub fn extra(&self, name: &str) -> Outcome<'_> {
        let trials = match &self.0 {
            Ok(trials) => trials,
            Err(why) => return Outcome::NotReached(why.clone()),
        };
        match trials.iter().find(|t| t.what == name) {
            Some(Trial { error: None, .. }) => Outcome::Works,
            Some(Trial {
                error: Some(why), ..
            }) => Outcome::Fails(why),
            None => Outcome::NotReached(match self.failed() {
                Some((step, why)) => format!("no lab to try it in: {step}: {why}"),
                None => "it was not tried".to_string(),
            }),
        }
    }
}
