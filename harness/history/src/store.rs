//! The folder of a run, and the store that holds many.
//!
//! ```text
//! store/
//!   latest -> 20261123T101500-paxos-kv-register
//!   20261123T101500-paxos-kv-register/
//!     spec.json       what was asked, the seed, the versions, the command that repeats the run
//!     schedule.toml   the faults with their times and targets
//!     history.jsonl   every event
//!     results.json    what the checkers found
//!     report.html     the same for people
//!     nodes/n1/       logs and whatever else was collected from the node
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::Local;
use thiserror::Error;

use crate::{Budget, Meter, jsonl};

/// Why a run could not be made or found.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot create {path}: {source}")]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("no run {name:?} in {store}: `schism list` shows what is there")]
    NoSuchRun { name: String, store: PathBuf },
    #[error("{path}: {source}")]
    History {
        path: PathBuf,
        source: jsonl::ReadError,
    },
}

/// Where runs are kept.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// One run's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    path: PathBuf,
}

impl Store {
    pub fn new(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of a new run, named by the time and `label`, and points `latest` at it.
    pub fn create(&self, label: &str) -> Result<Run, StoreError> {
        let fail = |path: &Path| {
            let path = path.to_path_buf();
            move |source| StoreError::Create { path, source }
        };
        fs::create_dir_all(&self.root).map_err(fail(&self.root))?;
        let stamp = Local::now().format("%Y%m%dT%H%M%S");
        // Runs of one second, by parallel jobs, get a number: create_dir decides who has which.
        for n in 1.. {
            let name = match n {
                1 => format!("{stamp}-{label}"),
                _ => format!("{stamp}-{label}-{n}"),
            };
            let path = self.root.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    self.point_latest(&name).map_err(fail(&path))?;
                    let path = fs::canonicalize(&path).map_err(fail(&path))?;
                    return Ok(Run { path });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(fail(&path)(e)),
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Replaced by rename, so that a reader never finds it missing.
    fn point_latest(&self, name: &str) -> io::Result<()> {
        // Named by the run: runs of one moment, whose process numbers may be the same, do not meet.
        let next = self.root.join(format!(".latest-{name}"));
        std::os::unix::fs::symlink(name, &next)?;
        fs::rename(&next, self.root.join("latest"))
    }

    /// A run by its name, `latest`, or the path of its folder.
    pub fn open(&self, name: &str) -> Result<Run, StoreError> {
        for candidate in [self.root.join(name), PathBuf::from(name)] {
            if candidate.is_dir() {
                let path = fs::canonicalize(&candidate).map_err(|source| StoreError::Read {
                    path: candidate,
                    source,
                })?;
                return Ok(Run { path });
            }
        }
        Err(StoreError::NoSuchRun {
            name: name.to_string(),
            store: self.root.clone(),
        })
    }

    /// Every run, oldest first.
    pub fn list(&self) -> Result<Vec<Run>, StoreError> {
        let read = |source| StoreError::Read {
            path: self.root.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(read)?,
        };
        let mut runs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(read)?;
            if entry.file_type().map_err(read)?.is_dir() && entry.path().join("spec.json").exists()
            {
                runs.push(Run { path: entry.path() });
            }
        }
        runs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(runs)
    }
}

impl Run {
    /// A run's folder that is already there.
    pub fn at(path: impl Into<PathBuf>) -> Run {
        Run { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    pub fn spec(&self) -> PathBuf {
        self.path.join("spec.json")
    }

    pub fn schedule(&self) -> PathBuf {
        self.path.join("schedule.toml")
    }

    pub fn history(&self) -> PathBuf {
        self.path.join("history.jsonl")
    }

    pub fn results(&self) -> PathBuf {
        self.path.join("results.json")
    }

    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    pub fn node(&self, name: &str) -> PathBuf {
        self.path.join("nodes").join(name)
    }

    /// Reads the recorded history.
    pub fn load(&self) -> Result<jsonl::Loaded, StoreError> {
        load(&self.history())
    }

    /// Writes one of the run's files by rename, so that it is there whole or not at all.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let fail = |source| StoreError::Write {
            path: path.to_path_buf(),
            source,
        };
        let mut next = path.to_path_buf().into_os_string();
        next.push(".next");
        fs::write(&next, content).map_err(fail)?;
        fs::rename(&next, path).map_err(fail)
    }
}

/// Reads a history file from anywhere.
pub fn load(path: &Path) -> Result<jsonl::Loaded, StoreError> {
    load_within(path, &Budget::UNLIMITED.start())
}

/// The same under a budget.
pub fn load_within(path: &Path, meter: &Meter) -> Result<jsonl::Loaded, StoreError> {
    let file = fs::File::open(path).map_err(|source| StoreError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    jsonl::read_within(file, meter).map_err(|source| StoreError::History {
        path: path.to_path_buf(),
        source,
    })
}
