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
//! A reader needs no other memory: [`Left`] is what the records add up to.
//!
//! **A write that fails** (a full disk) is cut back to where it began, and what it was to announce
//! is not done. Where not even that works, nothing more is written until it does. So the only line
//! that can be torn is the last one, and it is a deed that was not begun, because deeds wait for
//! the sync.
//!
//! **A line that makes no sense** all the same does not hide what comes after it: all others are
//! read and undone. But what it tells of may be in force, so the file is never cleared then
//! ([`Left::unread`]), and no agent serves on such a node.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::error::{self, Result, Unread, doing};
use crate::folder::Folder;
use crate::protocol::Fault;
use crate::tree::Ident;
use crate::wallclock::wall::Truth;

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
    /// Lines that make no sense to this agent.
    pub unread: Vec<Unread>,
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

/// What a journal is written on: a file, or in tests something that fails.
trait Sheet: std::fmt::Debug + Send {
    /// Appends.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when all of it is on disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Takes away what is behind so many bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sheet for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// The open journal of a living agent.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    sheet: Box<dyn Sheet>,
    /// Bytes that are surely there, and make sense.
    length: u64,
    /// Whether something may be behind them that does not.
    torn: bool,
}

impl Journal {
    /// Opens DIR's journal and says what a predecessor left.
    pub fn open(dir: &Folder) -> Result<(Journal, Left)> {
        let path = dir.path().join("undo.jsonl");
        let mut file = dir.file("undo.jsonl", OFlags::APPEND)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .map_err(error::io("read", &path))?;
        let boot = boot().map_err(doing("read this machine's boot id"))?;
        let left = read(&text, &boot);
        // What is behind the last line's end was not begun.
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let journal = Journal {
            path,
            sheet: Box::new(file),
            length: whole as u64,
            torn: whole < text.len(),
        };
        Ok((journal, left))
    }

    /// On disk when this returns. On an error nothing of it is there, and what it was to announce
    /// must not be done.
    pub fn write(&mut self, record: Record) -> io::Result<()> {
        if self.torn {
            self.cut_back()?;
        }
        let mut text = String::new();
        if self.length == 0 {
            line(&mut text, &Record::Boot { id: boot()? });
        }
        line(&mut text, &record);
        let written = self.sheet.append(text.as_bytes());
        if let Err(error) = written.and_then(|()| self.sheet.sync()) {
            self.torn = true;
            // If it fails, it is tried again before the next record.
            let _ = self.cut_back();
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// Takes away what a failed write has left.
    fn cut_back(&mut self) -> io::Result<()> {
        self.sheet.cut(self.length)?;
        self.sheet.sync()?;
        self.torn = false;
        Ok(())
    }

    /// All that it speaks of has been undone.
    pub fn clear(&mut self) -> io::Result<()> {
        if self.length > 0 || self.torn {
            self.length = 0;
            self.torn = true;
            self.cut_back()?;
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Adds up what is written in whole lines. `boot` is this boot's id.
pub fn read(text: &[u8], boot: &str) -> Left {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    // Behind the last line's end: nothing, or a deed that was not begun.
    lines.pop();
    let mut records = Vec::new();
    let mut unread = Vec::new();
    for (number, line) in (1..).zip(lines) {
        match serde_json::from_slice::<Record>(line) {
            Ok(record) => records.push(record),
            Err(error) => unread.push(Unread {
                line: number,
                why: not_understood(line, &error),
            }),
        }
    }
    Left {
        unread,
        ..Left::of(records, boot)
    }
}

fn not_understood(line: &[u8], error: &serde_json::Error) -> String {
    /// Enough of a line to see what it is.
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(line);
    let mut shown: String = text.escape_debug().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    match serde_json::from_slice::<serde_json::Value>(line) {
        Ok(value) if value["record"].is_string() => {
            format!("a newer agent's? {error}: {shown}")
        }
        _ => format!("damaged: {error}: {shown}"),
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
    use std::fs::OpenOptions;

    use super::*;

    fn opened(dir: &tempfile::TempDir) -> (Journal, Left) {
        let folder = Folder::open(dir.path()).expect("it is ours");
        Journal::open(&folder).expect("opens")
    }

    fn pause(daemon: &str) -> Fault {
        Fault::Pause {
            daemon: daemon.into(),
            ports: Vec::new(),
        }
    }

    fn ident(pid: u32) -> Ident {
        Ident { pid, start: 5 }
    }

    #[test]
    fn what_is_left_is_what_was_not_healed() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut journal, left) = opened(&dir);
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
        let (mut journal, left) = opened(&dir);
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
        let (mut journal, _) = opened(&dir);
        for fault in [1, 2] {
            let kind = pause("a");
            journal
                .write(Record::Inject { fault, kind })
                .expect("writes");
        }
        let whole = fs::read(journal.path()).expect("reads");
        fs::write(journal.path(), &whole[..whole.len() - 3]).expect("tears");
        let (mut journal, left) = opened(&dir);
        assert_eq!(left.faults.keys().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(left.unread, []);
        // What is written behind it is no part of it.
        let kind = pause("b");
        journal
            .write(Record::Inject { fault: 3, kind })
            .expect("writes");
        let (_, left) = opened(&dir);
        assert_eq!(left.faults.keys().copied().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(left.unread, []);
    }

    #[test]
    fn what_is_not_understood_hides_nothing_and_is_said() {
        let boot = boot().expect("reads");
        let known = |fault: u64| {
            let mut text = String::new();
            let kind = pause("a");
            line(&mut text, &Record::Inject { fault, kind });
            text
        };
        for (bad, says) in [
            (
                "{\"record\":\"warp\",\"units\":[1]}\n",
                "line 3: a newer agent's?",
            ),
            (
                "{\"record\":\"inject\",\"fault\":9,\"kind\":\"full-disk\"}\n",
                "full-disk",
            ),
            (
                "{\"record\":\"inject\",\"fault\":9,\"ki{\"record\":\"straight\"}\n",
                "line 3: damaged",
            ),
            ("\u{0}\u{0}\n", "damaged"),
            ("\n", "line 3: damaged"),
        ] {
            let mut text = String::new();
            line(&mut text, &Record::Boot { id: boot.clone() });
            text += &known(1);
            text += bad;
            text += &known(2);
            let left = read(text.as_bytes(), &boot);
            assert_eq!(left.faults.keys().copied().collect::<Vec<_>>(), [1, 2]);
            let [unread] = left.unread.as_slice() else {
                panic!("{bad:?}: {left:?}");
            };
            assert!(unread.to_string().contains(says), "{unread}");
        }
    }

    /// A disk that takes so many bytes more and then none, and perhaps does not even cut.
    #[derive(Debug)]
    struct Full {
        file: File,
        room: usize,
        /// How often cutting fails before it works.
        stuck: usize,
    }

    impl Sheet for Full {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let fits = bytes.len().min(self.room);
            self.file.write_all(&bytes[..fits])?;
            self.room -= fits;
            match fits == bytes.len() {
                true => Ok(()),
                false => Err(io::ErrorKind::StorageFull.into()),
            }
        }

        fn sync(&mut self) -> io::Result<()> {
            // What could not be written in full shows here at the latest.
            match self.room {
                0 => Err(io::ErrorKind::StorageFull.into()),
                _ => self.file.sync_data(),
            }
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            if self.stuck > 0 {
                self.stuck -= 1;
                return Err(io::ErrorKind::Other.into());
            }
            // Whoever makes room gives it to us.
            self.room = usize::MAX;
            self.file.set_len(length)
        }
    }

    fn some_records() -> Vec<Record> {
        vec![
            Record::Inject {
                fault: 1,
                kind: pause("a"),
            },
            Record::Stopping {
                pids: vec![ident(8), ident(9)],
            },
            Record::Shaping {
                devices: vec!["eth0".into()],
            },
            Record::Resumed {
                pids: vec![ident(8)],
            },
            Record::Healed { fault: 1 },
        ]
    }

    /// The disk is full at any byte of any record; it can be cut back at once, at the second trial,
    /// or not before the agent is dead. What is left is always what the records add up to that were
    /// written, and none is unreadable.
    #[test]
    fn a_disk_that_is_full_at_any_byte_costs_that_record_and_no_other() {
        let boot = boot().expect("reads");
        let records = some_records();
        let mut all = String::new();
        line(&mut all, &Record::Boot { id: boot.clone() });
        records.iter().for_each(|record| line(&mut all, record));
        for room in 0..all.len() {
            for stuck in [0, 1, usize::MAX] {
                let dir = tempfile::tempdir().expect("a folder");
                let (on_disk, _) = opened(&dir);
                let file = OpenOptions::new().append(true).open(on_disk.path());
                let mut journal = Journal {
                    sheet: Box::new(Full {
                        file: file.expect("opens"),
                        room,
                        stuck,
                    }),
                    ..on_disk
                };
                let (mut written, mut last) = (Vec::new(), None);
                for record in &records {
                    match journal.write(record.clone()) {
                        Ok(()) => written.push(record.clone()),
                        Err(_) => last = last.or_else(|| Some(record.clone())),
                    }
                    // Whenever the agent is killed: the next one reads what was done. A record that
                    // is there as a whole, but could not be synced nor cut, does no harm: what it
                    // announces was not done, and is undone all the same.
                    let text = fs::read(journal.path()).expect("reads");
                    let left = read(&text, &boot);
                    let more = written.iter().cloned().chain(last.clone());
                    assert!(
                        left == Left::of(written.clone(), &boot)
                            || journal.torn && left == Left::of(more, &boot),
                        "room for {room}, stuck {stuck}: {left:?} of {written:?}"
                    );
                }
                let refused = records.len() - written.len();
                let wanted = match stuck {
                    usize::MAX => 1..=records.len(),
                    stuck => 1..=1 + stuck,
                };
                assert!(wanted.contains(&refused), "room for {room}, stuck {stuck}");
            }
        }
    }

    /// Killed while it wrote: at any byte.
    #[test]
    fn a_journal_that_ends_anywhere_is_what_its_whole_lines_say() {
        let boot = boot().expect("reads");
        let mut all = String::new();
        let mut wanted = vec![(0, Left::default())];
        line(&mut all, &Record::Boot { id: boot.clone() });
        let mut records = Vec::new();
        for record in some_records() {
            line(&mut all, &record);
            records.push(record);
            wanted.push((all.len(), Left::of(records.clone(), &boot)));
        }
        for end in 0..=all.len() {
            let (_, left) = wanted
                .iter()
                .rfind(|(at, _)| *at <= end)
                .expect("the first");
            assert_eq!(&read(&all.as_bytes()[..end], &boot), left, "at {end}");
        }
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
