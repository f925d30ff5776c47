//! Histories from files: of any format, compressed or not.

use std::path::{Path, PathBuf};

use checkers::Budget;
use history::foreign::Format;
use history::jsonl::{Loaded, Torn};
use history::wording::counted;

use crate::exit::Failure;
use crate::packed::{self, Unread};
use crate::stream;

/// Reads a history; `-` is standard input. Or says how far it came within the budget.
pub fn load(
    path: &Path,
    format: Option<Format>,
    budget: &Budget,
) -> Result<Result<Loaded, String>, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Usage(format!("{}: {e}", path.display()));
    let meter = budget.start();
    let raw = stream::open(path, &meter).map_err(|e| fail(&e))?;
    match packed::read(raw, format, &meter) {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(Unread::Exhausted(why)) => Ok(Err(why)),
        Err(Unread::Wrong(why)) => Err(fail(&why)),
    }
}

/// The history in a folder that another tool left, such as Jepsen's `store/NAME/TIME`; none if
/// there is none, or if it is a run of ours.
pub fn in_folder(folder: &Path) -> Option<PathBuf> {
    const HISTORIES: [&str; 10] = [
        "history.edn",
        "history.edn.gz",
        "history.edn.zst",
        "history.json",
        "history.jsonl",
        "history.jsonl.zst",
        "history.csv",
        "history.txt",
        "history.log",
        "jepsen.log",
    ];
    if !folder.is_dir() || folder.join("spec.json").exists() {
        return None;
    }
    let files = HISTORIES.iter().map(|name| folder.join(name));
    files.into_iter().find(|file| file.is_file())
}

/// What there is to say of a last line that is not whole.
pub fn torn(torn: Torn) -> String {
    let (line, bytes) = (torn.line, torn.bytes);
    format!(
        "line {line} of the history is torn and was left out ({})",
        counted(bytes, "byte")
    )
}
