//! Why the agent could not do what it was asked.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Said to the controller as the text of a refusal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no daemon {0:?} on this node")]
    NoDaemon(String),
    /// Could be done, but makes no sense now: says why, and what would.
    #[error("{0}")]
    Refused(String),
    #[error("cannot {doing}: {source}")]
    Io { doing: String, source: io::Error },
    /// A tool of the node's failed.
    #[error("{command}: {status}: {said}")]
    Tool {
        command: String,
        status: String,
        said: String,
    },
    /// A predecessor may have done what this agent does not know how to undo.
    #[error("{}", say_unread(.path, .unread, .deeds))]
    Unread {
        path: PathBuf,
        unread: Vec<Unread>,
        /// What was undone all the same.
        deeds: Vec<String>,
    },
    #[error(transparent)]
    Clock(#[from] crate::vdso::ClockError),
}

/// A line of the journal that this agent does not understand: of a newer one, or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// From 1.
    pub line: usize,
    pub why: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

fn say_unread(path: &Path, unread: &[Unread], deeds: &[String]) -> String {
    let mut text = format!(
        "the undo journal {} has lines that this agent does not understand, and what they tell of may \
         still be in force on this node. It is kept. Undo it with the agent that wrote it, or remove \
         the file when you know the node to be whole.",
        path.display()
    );
    for line in unread {
        text.push_str(&format!("\n  {line}"));
    }
    for deed in deeds {
        text.push_str(&format!("\n  understood, and undone: {deed}"));
    }
    text
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// `map_err(io("read", path))`: what was being done, and to what.
pub fn io<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io {
        doing: format!("{doing} {}", path.display()),
        source,
    }
}

/// `map_err(doing("sync the journal"))`, where there is no path to name.
pub fn doing(doing: &str) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| Error::Io {
        doing: doing.to_owned(),
        source,
    }
}
