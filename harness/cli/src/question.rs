//! What is asked of a history file, as the command line says it.

use std::path::{Path, PathBuf};

use checkers::choice::{Against, Model, Question};
use checkers::guarantees::Guarantee;
use checkers::transactions::Consistency;
use clap::{Args, ValueEnum};
use history::Value;

use crate::exit::Failure;
use crate::flags::FILES;

/// What is asked of a history file.
#[derive(Debug, Args)]
pub struct QuestionArgs {
    /// The history's model: a built-in one, or a script of your own, FILE.rhai [default: told by
    /// the operations]
    #[arg(help_heading = FILES, long, short, value_name = "MODEL", value_parser = model)]
    pub model: Option<Wanted>,
    /// The model that transactions or registers must keep [default: strict-serializable,
    /// linearizable]
    #[arg(help_heading = FILES, long, value_name = "M", value_parser = consistency)]
    pub consistency_model: Option<Against>,
    /// What every object holds at the start, as EDN or JSON [default: nil; for texts, nothing]
    #[arg(
        help_heading = FILES,
        long,
        value_name = "VALUE",
        allow_negative_numbers = true,
        value_parser = value,
        hide_short_help = true
    )]
    pub initial: Option<Value>,
    /// Pass over a file's operations of this name, though they can have changed anything; may be
    /// given several times
    #[arg(help_heading = FILES, long, value_name = "OPERATION", hide_short_help = true)]
    pub ignore: Vec<String>,
    /// What it means that a register is read as nil: it was unwritten, or nobody knows
    #[arg(
        help_heading = FILES,
        long,
        value_name = "MEANING",
        default_value = "unwritten",
        hide_short_help = true
    )]
    pub nil_reads: NilReads,
}

/// What a flag calls a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Known(Model),
    Script(PathBuf),
    /// The script that a certificate carries.
    Carried,
}

/// What is said instead of a script's file, for [`Wanted::Carried`].
const CARRIED: &str = "certificate";

/// What an answer of nil says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NilReads {
    Unwritten,
    Unknown,
}

impl QuestionArgs {
    pub fn question(&self) -> Question {
        Question {
            model: match self.model {
                Some(Wanted::Known(model)) => Some(model),
                _ => None,
            },
            initial: self.initial.clone(),
            consistency: self.consistency_model,
            ignore: self.ignore.clone(),
            nil_reads_unknown: self.nil_reads == NilReads::Unknown,
        }
    }

    /// The script that is asked for, if one is.
    ///
    /// # Errors
    /// That it is to be found in a certificate, of which there is none yet.
    pub fn script(&self) -> Result<Option<&Path>, Failure> {
        match &self.model {
            Some(Wanted::Script(path)) => Ok(Some(path)),
            Some(Wanted::Carried) => Err(Failure::Usage(format!(
                "--model {CARRIED} is for `schism verify`, which takes the script that a certificate carries"
            ))),
            Some(Wanted::Known(_)) | None => Ok(None),
        }
    }

    /// # Errors
    /// Which flag says what a script says by itself.
    pub fn fits_a_script(&self) -> Result<(), Failure> {
        let mut given = self.given().into_iter();
        match given.find(|flag| !["--model", "--ignore"].contains(flag)) {
            None => Ok(()),
            Some(flag) => Err(Failure::Usage(format!(
                "{flag} is for the models that are built in: a script says how its object begins (`fn init`), what it \
                 answers, and is judged by linearizability"
            ))),
        }
    }

    /// The flags that were given.
    pub fn given(&self) -> Vec<&'static str> {
        let flags = [
            (self.model.is_some(), "--model"),
            (self.consistency_model.is_some(), "--consistency-model"),
            (self.initial.is_some(), "--initial"),
            (!self.ignore.is_empty(), "--ignore"),
            (self.nil_reads == NilReads::Unknown, "--nil-reads"),
        ];
        let given = flags.iter().filter(|(given, _)| *given);
        given.map(|(_, flag)| *flag).collect()
    }
}

fn model(text: &str) -> Result<Wanted, String> {
    if Path::new(text).extension().is_some_and(|e| e == "rhai") {
        return Ok(Wanted::Script(text.into()));
    }
    if text == CARRIED {
        return Ok(Wanted::Carried);
    }
    Model::named(text).map(Wanted::Known).ok_or_else(|| {
        let names = Model::ALL.map(Model::name).join(", ");
        format!("one of {names}, or a file that ends in .rhai")
    })
}

fn consistency(text: &str) -> Result<Against, String> {
    Question::against(text).ok_or_else(|| {
        format!(
            "one of {} for transactions, and {} for registers",
            Consistency::ALL.map(Consistency::name).join(", "),
            Guarantee::ALL.map(Guarantee::name).join(", ")
        )
    })
}

fn value(text: &str) -> Result<Value, String> {
    // JSON says null where EDN says nil; else what is common to both is the same.
    let text = if text == "null" { "nil" } else { text };
    history::edn::Reader::new(text)
        .value()
        .map_err(|w| w.reason)
}
