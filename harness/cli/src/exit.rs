//! What the process's exit code says.

use std::fmt;
use std::fmt::Write;
use std::process::ExitCode;

use checkers::Verdict;
use serde_json::json;

use crate::terminal;

/// The command line was wrong; sysexits.h calls it EX_USAGE.
pub const USAGE: u8 = 64;

/// Every exit code with its meaning, for `--help` and the docs.
pub fn table() -> String {
    let mut text = String::from("Exit codes:\n");
    for verdict in Verdict::ALL {
        let _ = writeln!(
            text,
            "  {:2}  {:8} {}",
            verdict.exit_code(),
            verdict.word(),
            verdict.meaning()
        );
    }
    let _ = write!(
        text,
        "  {USAGE}  {:8} the command line or a file given to it is wrong",
        "usage"
    );
    text
}

/// A verdict as the exit code.
pub fn code(verdict: Verdict) -> ExitCode {
    ExitCode::from(verdict.exit_code())
}

/// Why a command has no result.
#[derive(Debug)]
pub enum Failure {
    /// The user can mend it: a wrong name, flag or file.
    Usage(String),
    /// The same of the command line as a whole, which says so itself.
    CommandLine(String),
    /// The harness could not do its work.
    Infra(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Usage(text) | Failure::CommandLine(text) | Failure::Infra(text)) = self;
        f.write_str(text)
    }
}

impl Failure {
    pub fn usage(error: impl fmt::Display) -> Failure {
        Failure::Usage(error.to_string())
    }

    pub fn infra(error: impl fmt::Display) -> Failure {
        Failure::Infra(error.to_string())
    }

    /// Says why on stderr, and on stdout too if a program reads that.
    pub fn report(self, json: bool) -> ExitCode {
        let infra = Verdict::Infra;
        let (word, code) = match self {
            Failure::Usage(_) | Failure::CommandLine(_) => ("usage", USAGE),
            Failure::Infra(_) => (infra.word(), infra.exit_code()),
        };
        let text = self.to_string();
        let text = text.trim_end();
        match self {
            Failure::CommandLine(_) => terminal::tell(text),
            _ => terminal::tell(format!("schism: {text}")),
        }
        if json {
            terminal::json(&json!({ "verdict": word, "exit_code": code, "error": text }));
        }
        ExitCode::from(code)
    }
}
