//! The undo journal: what has been done to the node, on disk before it is done.
//!
//! ```text
//! DIR/undo.jsonl    one record a line, appended and synced before the deed; empty when all is whole
//!   {"record":"boot","id":"0b9c..."}                    the machine's boot: numbers are valid within it
//!   {"record":"inject","fault":7,"kind":"cut",...}       before fault 7 is applied
//!   {"record":"stopping","pids":[{"pid":12,"start":9}]}  before SIGSTOP is sent to them
//!   {"record":"healed","fault":7}                       after fault 7 is undone
//! ```
//!
//! A reader needs no other memory: [`Left`] is what the records add up to. A torn last line is a
//! deed that was not begun, because deeds wait for the sync.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::machine::wall::Truth;
use crate::protocol::Fault;
use crate::tree::Ident;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// First line of a journal that is not empty.
    Boot { id: String },
    /// This fault is about to be applied.
    Inject {
        fault: u64,
        #[serde(flatten)]
        kind: Fault,
    },
    /// These are about to be stopped.
    Stopping { pids: Vec<Ident> },
    /// These run again.
    Resumed { pids: Vec<Ident> },
    /// The root queueing discipline of these devices is about to be replaced by ours.
    Shaping { devices: Vec<String> },
    /// The clocks of these are about to be shifted.
    Shifting { pids: Vec<Ident> },
    /// The machine's own clock is about to be turned; this is how to set it right.
    Turning {
        controller_boot: String,
        truth: Truth,
    },
    /// The machine's clock is true again.
    Straight,
    /// These services are about to be stopped.
    Halting { units: Vec<String> },
    /// These services run again.
    Restarted { units: Vec<String> },
    /// This fault is undone.
    Healed { fault: u64 },
}

/// What a journal says is still to be undone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    pub faults: BTreeMap<u64, Fault>,
    pub stopped: BTreeSet<Ident>,
    pub shifted: BTreeSet<Ident>,
    pub devices: BTreeSet<String>,
    /// Whether a packet filter of ours may be there.
    pub cut: bool,
    /// If the machine's own clock may be wrong: the controller's boot id, and the truth.
    pub turned: Option<(String, Truth)>,
    /// Services that keep the clock right and may be stopped.
    pub units: BTreeSet<String>,
}

impl Left {
    /// Adds up records. Those of another boot of the machine left nothing: processes, rules and
    /// queues do not outlive it.
    fn of(records: impl IntoIterator<Item = Record>, boot: &str) -> Left {
        let mut left = Left::default();
        let mut same_boot = true;
        for record in records {
            match record {
                Record::Boot { id } => same_boot = id == boot,
                _ if !same_boot => {}
                Record::Inject { fault, kind } => {
                    left.cut |= matches!(kind, Fault::Cut { .. });
                    left.faults.insert(fault, kind);
                }
                Record::Stopping { pids } => left.stopped.extend(pids),
                Record::Resumed { pids } => left.stopped.retain(|ident| !pids.contains(ident)),
                Record::Shaping { devices } => left.devices.extend(devices),
                Record::Shifting { pids } => left.shifted.extend(pids),
                Record::Turning {
                    controller_boot,
                    truth,
                } => left.turned = Some((controller_boot, truth)),
                Record::Straight => left.turned = None,
                Record::Halting { units } => left.units.extend(units),
                Record::Restarted { units } => left.units.retain(|unit| !units.contains(unit)),
                Record::Healed { fault } => {
                    left.faults.remove(&fault);
                }
            }
        }
        left
    }
}

/// The open journal of a living agent.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    empty: bool,
}

impl Journal {
    /// Opens DIR's journal and says what a predecessor left.
    pub fn open(dir: &Path) -> io::Result<(Journal, Left)> {
        let path = dir.join("undo.jsonl");
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let records = text
            .split(|byte| *byte == b'\n')
            .map_while(|line| serde_json::from_slice(line).ok());
        let left = Left::of(records, &boot()?);
        let journal = Journal {
            path,
            file,
            empty: text.is_empty(),
        };
        Ok((journal, left))
    }

    /// On disk when this returns.
    pub fn write(&mut self, record: Record) -> io::Result<()> {
        let mut text = String::new();
        if self.empty {
            line(&mut text, &Record::Boot { id: boot()? });
        }
        line(&mut text, &record);
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.empty = false;
        Ok(())
    }

    /// All that it speaks of has been undone.
    pub fn clear(&mut self) -> io::Result<()> {
        if !self.empty {
            self.file.set_len(0)?;
            self.file.sync_data()?;
            self.empty = true;
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn line(text: &mut String, record: &Record) {
    text.push_str(&serde_json::to_string(record).expect("records have string keys only"));
    text.push('\n');
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(daemon: &str) -> Fault {
        Fault::Pause {
            daemon: daemon.into(),
        }
    }

    fn ident(pid: u32) -> Ident {
        Ident { pid, start: 5 }
    }

    #[test]
    fn what_is_left_is_what_was_not_healed() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut journal, left) = Journal::open(dir.path()).expect("opens");
        assert_eq!(left, Left::default());
        for record in [
            Record::Inject {
                fault: 1,
                kind: pause("a"),
            },
            Record::Stopping {
                pids: vec![ident(8), ident(9)],
            },
            Record::Inject {
                fault: 2,
                kind: Fault::Cut { rules: vec![] },
            },
            Record::Resumed {
                pids: vec![ident(8)],
            },
            Record::Healed { fault: 2 },
        ] {
            journal.write(record).expect("writes");
        }
        drop(journal);
        let (mut journal, left) = Journal::open(dir.path()).expect("opens");
        assert_eq!(
            left,
            Left {
                faults: BTreeMap::from([(1, pause("a"))]),
                stopped: BTreeSet::from([ident(9)]),
                cut: true,
                ..Left::default()
            }
        );
        journal.clear().expect("clears");
        assert_eq!(fs::metadata(journal.path()).expect("is there").len(), 0);
    }

    #[test]
    fn a_torn_last_line_was_never_applied() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut journal, _) = Journal::open(dir.path()).expect("opens");
        for fault in [1, 2] {
            let kind = pause("a");
            journal
                .write(Record::Inject { fault, kind })
                .expect("writes");
        }
        let whole = fs::read(journal.path()).expect("reads");
        fs::write(journal.path(), &whole[..whole.len() - 3]).expect("tears");
        let (_, left) = Journal::open(dir.path()).expect("opens");
        assert_eq!(left.faults.keys().copied().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn another_boot_left_nothing() {
        let records = [
            Record::Boot { id: "old".into() },
            Record::Stopping {
                pids: vec![ident(8)],
            },
        ];
        assert_eq!(Left::of(records.clone(), "new"), Left::default());
        assert_eq!(Left::of(records, "old").stopped.len(), 1);
    }
}
