//! What `list` knows of runs from before, so that a store with many is listed at once.
//!
//! It is a file in the store that anybody may remove: it is made anew. A run's line counts only as
//! long as the run's files are as they were; what has none is looked at.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use history::file::{self, NewFile};
use history::store::{Run, Store, StoreError};
use rustix::fs::{AtFlags, statat};
use serde::{Deserialize, Serialize};

use super::Row;

const NAME: &str = ".list.jsonl";
const VERSION: u32 = 2;
const MOST_BYTES: u64 = 1 << 30;

/// Length and time of a run's specification and results.
type Stamp = [(u64, i64, i64); 2];

#[derive(Deserialize)]
struct Line {
    version: u32,
    stamp: Stamp,
    row: Row,
}

/// The same, to be written.
#[derive(Serialize)]
struct Told<'a> {
    version: u32,
    stamp: Stamp,
    row: &'a Row,
}

/// Every run of the store, oldest first: as it is known if it is as it was, else as `look` sees it.
///
/// # Errors
/// The store cannot be read.
pub fn rows(store: &Store, look: impl Fn(&Run) -> Row) -> Result<Vec<Row>, StoreError> {
    let names = store.folders()?;
    let Ok(root) = File::open(store.root()) else {
        return Ok(Vec::new());
    };
    let mut known = read(&store.root().join(NAME)).into_iter().peekable();
    let mut differs = false;
    let mut all: Vec<(Option<Stamp>, Row)> = Vec::with_capacity(names.len());
    for name in names {
        let text = name.to_string_lossy();
        // Of runs that are gone.
        while known.next_if(|line| *line.row.run < *text).is_some() {
            differs = true;
        }
        let was = known.next_if(|line| line.row.run == text);
        let Some(spec) = stat(&root, &name, "spec.json") else {
            differs |= was.is_some();
            continue;
        };
        // One without results may go on, and one that is not as it should be may be mended.
        let stamp = stat(&root, &name, "results.json").map(|results| [spec, results]);
        let had = was.is_some();
        if let Some(line) = was.filter(|line| Some(line.stamp) == stamp) {
            all.push((stamp, line.row));
            continue;
        }
        let row = look(&Run::at(store.root().join(&name)));
        let settled = row.verdict.is_some() && !row.live && row.problem.is_none();
        let stamp = stamp.filter(|_| settled);
        differs |= had || stamp.is_some();
        all.push((stamp, row));
    }
    if differs || known.next().is_some() {
        // It is no loss if that fails.
        let _ = write(&store.root().join(NAME), &all);
    }
    Ok(all.into_iter().map(|(_, row)| row).collect())
}

/// In the order in which they were written, which is that of the runs. What cannot be read is not
/// known.
fn read(path: &Path) -> Vec<Line> {
    let text = file::read(path, MOST_BYTES).unwrap_or_default();
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map_while(|line| serde_json::from_slice::<Line>(line).ok())
        .filter(|line| line.version == VERSION)
        .collect()
}

fn write(path: &Path, rows: &[(Option<Stamp>, Row)]) -> io::Result<()> {
    let mut text = Vec::new();
    for (stamp, row) in rows {
        let Some(stamp) = *stamp else { continue };
        let line = Told {
            version: VERSION,
            stamp,
            row,
        };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    let mut new = NewFile::at(path)?;
    new.write_all(&text)?;
    new.keep()
}

/// From the store's folder on, which is half of the way.
fn stat(root: &File, run: &OsStr, name: &str) -> Option<(u64, i64, i64)> {
    let there = statat(root, Path::new(run).join(name), AtFlags::empty()).ok()?;
    let (length, seconds) = (there.st_size as u64, there.st_mtime as i64);
    Some((length, seconds, there.st_mtime_nsec as i64))
}
