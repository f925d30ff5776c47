//! What is asked of a history file, as the command line says it.

use checkers::choice::{Against, Model, Question};
use checkers::guarantees::Guarantee;
use checkers::transactions::Consistency;
use clap::{Args, ValueEnum};
use history::Value;

/// What is asked of a history file.
#[derive(Debug, Args)]
pub struct QuestionArgs {
    /// What a file's operations are done to [default: told by their names and values]
    #[arg(long, short, value_name = "MODEL", value_parser = model)]
    pub model: Option<Model>,
    /// What a file's transactions or registers are held against [default: strict-serializable,
    /// linearizable]
    #[arg(long, value_name = "MODEL", value_parser = consistency)]
    pub consistency_model: Option<Against>,
    /// What every object holds at the start, as EDN or JSON [default: nil; for texts, nothing]
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, value_parser = value)]
    pub initial: Option<Value>,
    /// Pass over a file's operations of this name, which can have changed anything; may be given
    /// again
    #[arg(long, value_name = "OPERATION")]
    pub ignore: Vec<String>,
    /// What it means that a register is read as nil: it was unwritten, or nobody knows
    #[arg(long, value_name = "MEANING", default_value = "unwritten")]
    pub nil_reads: NilReads,
}

/// What an answer of nil says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NilReads {
    Unwritten,
    Unknown,
}

impl QuestionArgs {
    pub fn question(&self) -> Question {
        Question {
            model: self.model,
            initial: self.initial.clone(),
            consistency: self.consistency_model,
            ignore: self.ignore.clone(),
            nil_reads_unknown: self.nil_reads == NilReads::Unknown,
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

fn model(text: &str) -> Result<Model, String> {
    Model::named(text).ok_or_else(|| format!("one of {}", Model::ALL.map(Model::name).join(", ")))
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
