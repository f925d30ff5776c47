//! Asks a person for a password, which is not shown.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::terminal::word;

/// Where the passphrase is taken from if nobody can be asked.
const VARIABLE: &str = "SCHISM_SSH_PASSPHRASE";

/// The passphrase of a key: from the environment, or from whoever sits at the terminal.
pub fn passphrase(key: &Path) -> Option<String> {
    std::env::var(VARIABLE).ok().or_else(|| {
        ask(&format!(
            "passphrase of {}: ",
            word(&key.display().to_string())
        ))
    })
}

fn ask(question: &str) -> Option<String> {
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .ok()?;
    let shown = tcgetattr(&terminal).ok()?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    (&terminal).write_all(question.as_bytes()).ok()?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden).ok()?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    // Put back whatever was read; a terminal that stays silent is worse than a lost answer.
    let _ = tcsetattr(&terminal, OptionalActions::Flush, &shown);
    let _ = (&terminal).write_all(b"\n");
    let line = line.trim_end_matches(['\n', '\r']);
    (read.is_ok() && !line.is_empty()).then(|| line.to_string())
}
