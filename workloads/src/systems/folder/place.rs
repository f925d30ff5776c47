//! Where something is wrong in a file, as a person looks for it.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::params::hint;
use harness::nearest::nearest;

/// Something is wrong in a system's folder.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}:{line}:{column}: {message}", path.display())]
pub struct FolderError {
    pub path: PathBuf,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl FolderError {
    /// At this byte of the text that the file has.
    pub fn at(path: &Path, text: &str, at: usize, message: impl ToString) -> FolderError {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        FolderError {
            path: path.to_path_buf(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.to_string(),
        }
    }

    /// Of the file as a whole.
    pub fn whole(path: &Path, message: impl ToString) -> FolderError {
        FolderError::at(path, "", 0, message)
    }

    /// What the TOML reader found, with the nearest name where it met an unknown one.
    pub fn toml(path: &Path, text: &str, error: &toml::de::Error) -> FolderError {
        let at = error.span().unwrap_or_default().start;
        let message = error.message();
        // "unknown field `recvery-time`, expected one of `about`, `port`": the rest are known.
        let mut names = message.split('`').skip(1).step_by(2);
        let near = match message.starts_with("unknown ") {
            true => names
                .next()
                .and_then(|name| nearest(name, names))
                .map(str::to_string),
            false => None,
        };
        FolderError::at(path, text, at, format!("{}{}", plain(message), hint(&near)))
    }
}

/// What the reader of TOML says in words of Rust, in words of those who write the file.
const PLAIN: &[(&str, &str)] = &[
    ("expected u16", "expected a number from 0 to 65535"),
    (
        "expected a sequence",
        "expected a list, such as [\"sh\", \"start.sh\"]",
    ),
    (
        "missing field `client`",
        "there is no [client.http], by which it is asked over HTTP, and no [client] with a command",
    ),
    ("missing field", "this is missing:"),
    ("invalid type: string", "this is a text:"),
    ("invalid type: integer", "this is a number:"),
    ("invalid value: integer", "this number does not do:"),
];

fn plain(message: &str) -> String {
    let said = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    PLAIN.iter().fold(message.to_string(), said)
}
