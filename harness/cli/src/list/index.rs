//! What `list` knows of runs from before, so that a store with many is listed at once.
//!
//! It is a file in the store that anybody may remove: it is made anew. A run's line counts only as
//! long as the run's files are as they were; what has none is looked at.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use history::file::{self, NewFile};
use history::store::{Run, Store};
use serde::{Deserialize, Serialize};

use super::Row;

const NAME: &str = ".list.jsonl";
const VERSION: u32 = 1;
const MOST_BYTES: u64 = 1 << 30;

/// Length and time of a run's specification and results.
type Stamp = [(u64, i64, i64); 2];

#[derive(Serialize, Deserialize)]
struct Line {
    version: u32,
    stamp: Stamp,
    row: Row,
}

pub struct Index {
    path: PathBuf,
    known: HashMap<String, (Stamp, Row)>,
    /// What is there now, and whether it differs from what the file has.
    now: Vec<Line>,
    differs: bool,
}

impl Index {
    /// What cannot be read is not known.
    pub fn read(store: &Store) -> Index {
        let path = store.root().join(NAME);
        let text = file::read(&path, MOST_BYTES).unwrap_or_default();
        let lines = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let lines = lines.map_while(|line| serde_json::from_slice::<Line>(line).ok());
        let lines = lines.filter(|line| line.version == VERSION);
        Index {
            known: lines
                .map(|line| (line.row.run.clone(), (line.stamp, line.row)))
                .collect(),
            path,
            now: Vec::new(),
            differs: false,
        }
    }

    /// A run's row: the one that is known if the run is as it was, else what `look` sees.
    pub fn row(&mut self, run: &Run, look: impl Fn(&Run) -> Row) -> Row {
        // One without results may go on, and one that is not as it should be may be mended.
        let Some(stamp) = stamp(run) else {
            return look(run);
        };
        let known = self
            .known
            .remove(&run.name())
            .filter(|(was, _)| *was == stamp);
        let row = match known {
            Some((_, row)) => row,
            None => {
                self.differs = true;
                look(run)
            }
        };
        if row.verdict.is_some() && !row.live && row.problem.is_none() {
            self.now.push(Line {
                version: VERSION,
                stamp,
                row: row.clone(),
            });
        }
        row
    }

    /// Writes what is known now, if that has changed. It is no loss if that fails.
    pub fn keep(self) {
        // What is left in it is of runs that are gone.
        if !self.differs && self.known.is_empty() {
            return;
        }
        let _ = write(&self.path, &self.now);
    }
}

fn write(path: &Path, lines: &[Line]) -> std::io::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    let mut new = NewFile::at(path)?;
    new.write_all(&text)?;
    new.keep()
}

fn stamp(run: &Run) -> Option<Stamp> {
    let of = |there: Metadata| (there.len(), there.mtime(), there.mtime_nsec());
    let look = |path: PathBuf| fs::metadata(path).ok().map(of);
    Some([look(run.spec())?, look(run.results())?])
}
