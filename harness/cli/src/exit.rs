//! What the process's exit code says.

use std::fmt;
use std::fmt::Write;
use std::process::ExitCode;

use checkers::Verdict;

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

/// Why a command has no result.
#[derive(Debug)]
pub enum Failure {
    /// The user can mend it: a wrong name, flag or file.
    Usage(String),
    /// The harness could not do its work.
    Infra(String),
}

impl Failure {
    pub fn usage(error: impl fmt::Display) -> Failure {
        Failure::Usage(error.to_string())
    }

    pub fn infra(error: impl fmt::Display) -> Failure {
        Failure::Infra(error.to_string())
    }

    /// Says why on stderr.
    pub fn report(self) -> ExitCode {
        let (text, code) = match self {
            Failure::Usage(text) => (text, USAGE),
            Failure::Infra(text) => (text, Verdict::Infra.exit_code()),
        };
        eprintln!("schism: {text}");
        ExitCode::from(code)
    }
}
