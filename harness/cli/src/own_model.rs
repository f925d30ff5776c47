//! A person's own model: a script that stands where the name of a model could.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use checkers::script::{Fault, Script, bounds};
use history::file;

use crate::exit::Failure;

/// Reads the script that a flag names.
pub fn read(path: &Path) -> Result<Script, Failure> {
    let shown = path.display();
    let fail = |e: &dyn std::fmt::Display| Failure::Usage(format!("--model {shown}: {e}"));
    let text = file::read(path, bounds::SCRIPT_BYTES).map_err(|e| fail(&e))?;
    let text = String::from_utf8(text).map_err(|_| fail(&"it is no text in UTF-8"))?;
    Script::new(shown.to_string(), text).map_err(|fault| Failure::Usage(fault.to_string()))
}

/// A script that is at fault says nothing of a history: it is to be mended, as a flag is.
pub fn fault(fault: Fault, history: &Path) -> Failure {
    let line = fault.op.and_then(|op| line_of(history, op));
    Failure::Usage(Fault { line, ..fault }.to_string())
}

/// Where an operation is invoked, in a file of our own kind: a line of its own for each event,
/// behind a first one that says what the file is.
fn line_of(history: &Path, op: u64) -> Option<u64> {
    const HEADER: &[u8] = b"{\"schism\":\"history\"";
    if !history.is_file() {
        return None;
    }
    let mut begins = [0; HEADER.len()];
    File::open(history).ok()?.read_exact(&mut begins).ok()?;
    (begins == HEADER).then_some(op + 2)
}
