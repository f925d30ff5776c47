//! The write-ahead log: what the acceptor must not forget, on disk before anybody hears of it.
//!
//! A folder of segments `wal-0000000001.log`, `wal-0000000002.log`, ... Each is a row of frames
//! (`nodekit::frame`). The first frame of a segment names its cluster, node and number; every other
//! holds the records of one group commit, and is written and synced before the next one begins. So
//! after a crash only the last frame of the last segment can be incomplete: it is cut off, and the
//! cut is reported. Damage anywhere else is not repaired but refused, for a node that guesses what
//! it promised is worse than one that is down.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::message::{Ballot, Record, Slot};

use nodekit::disk::Journal;
use nodekit::folder::{self, PathError, at};
use nodekit::frame::{self, FrameError};
use nodekit::random::Random;

const VERSION: u32 = 1;
/// A segment that grew beyond this is followed by a new one.
const SEGMENT_BYTES: u64 = 16 << 20;
/// A slow write rests so long half way.
const REST: Duration = Duration::from_millis(100);
/// A disk that fails serves for so many syncs first, so that its node can serve.
const GOOD_SYNCS: u64 = 200;

/// What makes a log other than it should be. Nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Of a hundred writes so many rest half way, as on a slow disk, and a process that dies
    /// meanwhile leaves a torn one.
    pub slow_writes: u64,
    /// After the first [`GOOD_SYNCS`] of a process, of a hundred syncs so many fail, and what they
    /// were to bring to the disk is not there.
    pub failed_syncs: u64,
    /// Which they are.
    pub seed: u64,
    /// FLAW sync-error-ignored.
    pub ignores_failed_syncs: bool,
    /// FLAW torn-tail-kept.
    pub keeps_torn_tail: bool,
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The operating system's error.
    #[error(transparent)]
    Io(#[from] PathError),
    /// Bytes that were synced are not what they were.
    #[error(
        "{path}: corrupt at byte {offset}: {reason}. It was on the disk once, so what this node promised is unknown: \
             restore the whole data folder from the moment at which the node stopped. Without one it cannot take \
             part any more, and the others go on without it"
    )]
    Corrupt {
        path: PathBuf,
        offset: usize,
        reason: String,
    },
    /// A segment is not there.
    #[error("{folder}: segment {number} is missing")]
    Missing { folder: PathBuf, number: u64 },
    /// The segment is another node's or cluster's, or of another version of this program.
    #[error("{path}: belongs to {found}, not to {expected}")]
    Foreign {
        path: PathBuf,
        found: String,
        expected: String,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    version: u32,
    owner: String,
    segment: u64,
}

/// What every segment begins with, so that earlier ones can go.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    incarnation: u64,
    promised: Ballot,
    decided: Slot,
}

impl State {
    fn take_in(&mut self, record: &Record) -> Slot {
        match record {
            Record::Started { incarnation } => {
                self.incarnation = self.incarnation.max(*incarnation)
            }
            Record::Promised { ballot } => self.promised = self.promised.max(*ballot),
            Record::Decided { slot } => self.decided = self.decided.max(*slot),
            Record::Accepted(accepted) => return accepted.slot,
        }
        0
    }
}

struct Segment {
    number: u64,
    /// The highest slot in it.
    last: Slot,
}

/// The log, open for appending.
pub struct Wal {
    folder: PathBuf,
    owner: String,
    file: File,
    path: PathBuf,
    bytes: u64,
    segments: VecDeque<Segment>,
    state: State,
    habits: Habits,
    syncs: u64,
    random: Random,
}

/// What was in the log.
#[derive(Debug, Default)]
pub struct Contents {
    /// How often this node was started, this time included.
    pub incarnation: u64,
    /// All records in the order of writing.
    pub records: Vec<Record>,
    /// What was cut off, as a sentence.
    pub cut: Option<String>,
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("wal-{number:010}.log"))
}

impl Wal {
    /// Reads the log in `folder` and opens it for appending, in a new segment. `owner` names node
    /// and cluster.
    ///
    /// # Errors
    /// When the log cannot be read, is damaged, or is another node's.
    pub fn open(folder: &Path, owner: &str, habits: &Habits) -> Result<(Wal, Contents), WalError> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(folder).map_err(at(folder))? {
            let name = entry.map_err(at(folder))?.file_name();
            let number: Option<u64> = name.to_str().and_then(|name| {
                name.strip_prefix("wal-")?
                    .strip_suffix(".log")?
                    .parse()
                    .ok()
            });
            numbers.extend(number);
        }
        numbers.sort_unstable();
        let (mut contents, mut state, mut segments) =
            (Contents::default(), State::default(), VecDeque::new());
        for (index, &number) in numbers.iter().enumerate() {
            if number != numbers[0] + index as u64 {
                return Err(WalError::Missing {
                    folder: folder.to_owned(),
                    number: numbers[0] + index as u64,
                });
            }
            let torn = match (habits.keeps_torn_tail, index + 1 == numbers.len()) {
                (true, _) => Torn::Kept,
                (false, true) => Torn::Cut,
                (false, false) => Torn::Refused,
            };
            if let Some(last) =
                read_segment(folder, number, owner, torn, &mut state, &mut contents)?
            {
                segments.push_back(Segment { number, last });
            } else {
                // It was just being created when the node died; nothing was ever in it.
                let path = segment_path(folder, number);
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        // A process that died between a write and its sync leaves bytes that the next one reads,
        // but that a loss of power would take away. They count from now on, so they are synced now.
        for segment in &segments {
            sync(&segment_path(folder, segment.number))?;
        }
        state.incarnation += 1;
        contents.incarnation = state.incarnation;
        let last = segments.back().map(|segment: &Segment| segment.number);
        let (file, path, bytes) = match last {
            // FLAW torn-tail-kept: behind whatever is there.
            Some(number) if habits.keeps_torn_tail => append_to(folder, number, state)?,
            _ => {
                let number = last.map_or(1, |number| number + 1);
                segments.push_back(Segment { number, last: 0 });
                create_segment(folder, number, owner, state)?
            }
        };
        Ok((
            Wal {
                folder: folder.to_owned(),
                owner: owner.to_owned(),
                file,
                path,
                bytes,
                segments,
                state,
                syncs: 0,
                random: Random(habits.seed),
                habits: *habits,
            },
            contents,
        ))
    }

    fn rotate(&mut self) -> Result<(), PathError> {
        let number = self.segments.back().map_or(1, |segment| segment.number + 1);
        (self.file, self.path, self.bytes) =
            create_segment(&self.folder, number, &self.owner, self.state)?;
        self.segments.push_back(Segment { number, last: 0 });
        Ok(())
    }
}

impl Journal for Wal {
    type Record = Record;
    type Error = PathError;

    /// One frame for all.
    fn append(&mut self, records: &[Record]) -> Result<(), PathError> {
        self.syncs += 1;
        let fails = self.syncs > GOOD_SYNCS && self.random.below(100) < self.habits.failed_syncs;
        if fails && !self.habits.ignores_failed_syncs {
            let error = io::Error::other("the sync failed (--failed-syncs)");
            return Err(at(&self.path)(error));
        }
        // FLAW sync-error-ignored: it goes on as if the records were there.
        let frame = if fails {
            Vec::new()
        } else {
            frame::encode(&records)
        };
        let rests = self.random.below(100) < self.habits.slow_writes;
        let (first, rest) = frame.split_at(if rests { frame.len() / 2 } else { 0 });
        let write = |mut file: &File| {
            file.write_all(first)?;
            if rests {
                thread::sleep(REST);
            }
            file.write_all(rest)?;
            file.sync_data()
        };
        write(&self.file).map_err(at(&self.path))?;
        self.bytes += frame.len() as u64;
        if let Some(segment) = self.segments.back_mut() {
            for record in records {
                segment.last = segment.last.max(self.state.take_in(record));
            }
        }
        if self.bytes > SEGMENT_BYTES {
            self.rotate()?;
        }
        Ok(())
    }

    /// Removes the segments that hold nothing but records of slots up to `slot`.
    fn truncate(&mut self, slot: Slot) -> Result<(), PathError> {
        if self.segments.back().is_some_and(|segment| segment.last > 0) {
            self.rotate()?;
        }
        let mut removed = false;
        while self.segments.len() > 1 && self.segments[0].last <= slot {
            if let Some(segment) = self.segments.pop_front() {
                let path = segment_path(&self.folder, segment.number);
                fs::remove_file(&path).map_err(at(&path))?;
                removed = true;
            }
        }
        if removed {
            folder::sync(&self.folder).map_err(at(&self.folder))?;
        }
        Ok(())
    }
}

fn sync(path: &Path) -> Result<(), PathError> {
    #[cfg(test)]
    tests::SYNCED.with_borrow_mut(|synced| synced.push(path.to_owned()));
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(at(path))
}

/// What every segment begins with after its head, and every start in a segment.
fn started(state: State) -> Vec<u8> {
    frame::encode(
        &[
            Record::Started {
                incarnation: state.incarnation,
            },
            Record::Promised {
                ballot: state.promised,
            },
            Record::Decided {
                slot: state.decided,
            },
        ]
        .as_slice(),
    )
}

/// FLAW torn-tail-kept: goes on in a segment as it is.
fn append_to(folder: &Path, number: u64, state: State) -> Result<(File, PathBuf, u64), PathError> {
    let path = segment_path(folder, number);
    let append = || {
        let mut file = OpenOptions::new().append(true).open(&path)?;
        file.write_all(&started(state))?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    };
    let (file, bytes) = append().map_err(at(&path))?;
    Ok((file, path, bytes))
}

fn create_segment(
    folder: &Path,
    number: u64,
    owner: &str,
    state: State,
) -> Result<(File, PathBuf, u64), PathError> {
    let path = segment_path(folder, number);
    let mut bytes = frame::encode(&Head {
        version: VERSION,
        owner: owner.to_owned(),
        segment: number,
    });
    bytes.extend(started(state));
    let file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .open(&path)
        .map_err(at(&path))?;
    (&file)
        .write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(at(&path))?;
    folder::sync(folder).map_err(at(folder))?;
    Ok((file, path, bytes.len() as u64))
}

/// What becomes of bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Torn {
    /// They are a write that was not finished, unless a frame follows them.
    Cut,
    Refused,
    /// FLAW torn-tail-kept: they and all that follows them count for nothing.
    Kept,
}

/// Reads one segment and returns its highest slot, or nothing if it has not even a head.
fn read_segment(
    folder: &Path,
    number: u64,
    owner: &str,
    torn: Torn,
    state: &mut State,
    contents: &mut Contents,
) -> Result<Option<Slot>, WalError> {
    let path = segment_path(folder, number);
    let bytes = fs::read(&path).map_err(at(&path))?;
    let (mut offset, mut last) = (0, 0);
    while offset < bytes.len() {
        let corrupt = |reason: String| WalError::Corrupt {
            path: path.clone(),
            offset,
            reason,
        };
        match frame::split_record(&bytes[offset..], frame::PAYLOAD_MAX) {
            Ok((payload, length)) => {
                // The checksum held, so what is wrong inside was written so.
                let inside = |error: FrameError| corrupt(error.to_string());
                if offset == 0 {
                    check_head(
                        &path,
                        frame::decode(payload).map_err(inside)?,
                        owner,
                        number,
                    )?;
                } else {
                    let records: Vec<Record> = frame::decode(payload).map_err(inside)?;
                    last = records
                        .iter()
                        .map(|record| state.take_in(record))
                        .fold(last, Slot::max);
                    contents.records.extend(records);
                }
                offset += length;
            }
            Err(_) if torn == Torn::Kept => break,
            Err(reason) if torn == Torn::Cut && !whole_frame_after(&bytes, offset + 1) => {
                let file = OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .map_err(at(&path))?;
                file.set_len(offset as u64)
                    .and_then(|()| file.sync_all())
                    .map_err(at(&path))?;
                let cut = bytes.len() - offset;
                contents.cut = Some(format!(
                    "{}: {cut} bytes after byte {offset} cut off: {reason}",
                    path.display()
                ));
                break;
            }
            Err(reason) => return Err(corrupt(reason)),
        }
    }
    if offset == 0 && torn == Torn::Refused {
        return Err(WalError::Corrupt {
            path,
            offset: 0,
            reason: "the segment is empty".to_owned(),
        });
    }
    Ok((offset > 0).then_some(last))
}

fn check_head(path: &Path, head: Head, owner: &str, number: u64) -> Result<(), WalError> {
    let expected = Head {
        version: VERSION,
        owner: owner.to_owned(),
        segment: number,
    };
    if head == expected {
        return Ok(());
    }
    let text = |head: &Head| {
        format!(
            "{} (segment {}, format {})",
            head.owner, head.segment, head.version
        )
    };
    Err(WalError::Foreign {
        path: path.to_owned(),
        found: text(&head),
        expected: text(&expected),
    })
}

/// Whether a whole frame begins anywhere from `start` on. A frame is only begun when the one before
/// it is on the disk, so then the damage before it is not a torn write.
fn whole_frame_after(bytes: &[u8], start: usize) -> bool {
    (start..bytes.len())
        .any(|offset| frame::split_record(&bytes[offset..], frame::PAYLOAD_MAX).is_ok())
}

#[cfg(test)]
mod tests;
