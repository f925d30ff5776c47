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

use serde::{Deserialize, Serialize};

use crate::core::message::{Ballot, Record, Slot};
use nodekit::folder;
use nodekit::frame::{self, FrameError};

const VERSION: u32 = 1;
/// A segment that grew beyond this is followed by a new one.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The operating system's error.
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
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

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> WalError + '_ {
    move |error| WalError::Io {
        path: path.to_owned(),
        error,
    }
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
    pub fn open(folder: &Path, owner: &str) -> Result<(Wal, Contents), WalError> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(folder).map_err(io_error(folder))? {
            let name = entry.map_err(io_error(folder))?.file_name();
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
            let is_last = index + 1 == numbers.len();
            if let Some(last) =
                read_segment(folder, number, owner, is_last, &mut state, &mut contents)?
            {
                segments.push_back(Segment { number, last });
            } else {
                // It was just being created when the node died; nothing was ever in it.
                let path = segment_path(folder, number);
                fs::remove_file(&path).map_err(io_error(&path))?;
            }
        }
        // A process that died between a write and its sync leaves bytes that the next one reads,
        // but that a loss of power would take away. They count from now on, so they are synced now.
        for segment in &segments {
            sync(&segment_path(folder, segment.number))?;
        }
        state.incarnation += 1;
        contents.incarnation = state.incarnation;
        let number = segments
            .back()
            .map_or(1, |segment: &Segment| segment.number + 1);
        let (file, path, bytes) = create_segment(folder, number, owner, state)?;
        segments.push_back(Segment { number, last: 0 });
        Ok((
            Wal {
                folder: folder.to_owned(),
                owner: owner.to_owned(),
                file,
                path,
                bytes,
                segments,
                state,
            },
            contents,
        ))
    }

    /// Writes the records as one frame and waits until the disk has them.
    ///
    /// # Errors
    /// The operating system's; after one the log must not be used any more, for nobody knows what
    /// is on the disk.
    pub fn append(&mut self, records: &[Record]) -> Result<(), WalError> {
        let frame = frame::encode(&records);
        self.file
            .write_all(&frame)
            .and_then(|()| self.file.sync_data())
            .map_err(io_error(&self.path))?;
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

    /// Records of slots up to `slot` are not needed any more: removes the segments that hold
    /// nothing else.
    ///
    /// # Errors
    /// The operating system's.
    pub fn truncate(&mut self, slot: Slot) -> Result<(), WalError> {
        if self.segments.back().is_some_and(|segment| segment.last > 0) {
            self.rotate()?;
        }
        let mut removed = false;
        while self.segments.len() > 1 && self.segments[0].last <= slot {
            if let Some(segment) = self.segments.pop_front() {
                let path = segment_path(&self.folder, segment.number);
                fs::remove_file(&path).map_err(io_error(&path))?;
                removed = true;
            }
        }
        if removed {
            folder::sync(&self.folder).map_err(io_error(&self.folder))?;
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), WalError> {
        let number = self.segments.back().map_or(1, |segment| segment.number + 1);
        (self.file, self.path, self.bytes) =
            create_segment(&self.folder, number, &self.owner, self.state)?;
        self.segments.push_back(Segment { number, last: 0 });
        Ok(())
    }
}

fn sync(path: &Path) -> Result<(), WalError> {
    #[cfg(test)]
    tests::SYNCED.with_borrow_mut(|synced| synced.push(path.to_owned()));
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(io_error(path))
}

fn create_segment(
    folder: &Path,
    number: u64,
    owner: &str,
    state: State,
) -> Result<(File, PathBuf, u64), WalError> {
    let path = segment_path(folder, number);
    let mut bytes = frame::encode(&Head {
        version: VERSION,
        owner: owner.to_owned(),
        segment: number,
    });
    bytes.extend(frame::encode(
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
    ));
    let file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .open(&path)
        .map_err(io_error(&path))?;
    (&file)
        .write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(io_error(&path))?;
    folder::sync(folder).map_err(io_error(folder))?;
    Ok((file, path, bytes.len() as u64))
}

/// Reads one segment and returns its highest slot, or nothing if it has not even a head.
fn read_segment(
    folder: &Path,
    number: u64,
    owner: &str,
    is_last: bool,
    state: &mut State,
    contents: &mut Contents,
) -> Result<Option<Slot>, WalError> {
    let path = segment_path(folder, number);
    let bytes = fs::read(&path).map_err(io_error(&path))?;
    let (mut offset, mut last) = (0, 0);
    while offset < bytes.len() {
        let corrupt = |reason: String| WalError::Corrupt {
            path: path.clone(),
            offset,
            reason,
        };
        let frame = match frame::split_frame(&bytes[offset..], frame::PAYLOAD_MAX) {
            // A payload is never empty, but a hole in a file reads as zeros.
            Ok(Some((payload, length))) if !payload.is_empty() => Ok((payload, length)),
            Ok(Some(_)) => Err("an empty frame".to_owned()),
            Ok(None) => Err("the file ends within a frame".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match frame {
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
            Err(reason) if is_last && !whole_frame_after(&bytes, offset + 1) => {
                let file = OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .map_err(io_error(&path))?;
                file.set_len(offset as u64)
                    .and_then(|()| file.sync_all())
                    .map_err(io_error(&path))?;
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
    if offset == 0 && !is_last {
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
    (start..bytes.len()).any(|offset| {
        matches!(frame::split_frame(&bytes[offset..], frame::PAYLOAD_MAX), Ok(Some((payload, _))) if !payload.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::message::{Accepted, Batch, Command, Op};

    fn accepted(slot: Slot) -> Record {
        let op = Op::Put {
            key: format!("k{slot}"),
            value: "\"some value\"".into(),
        };
        let command = Command {
            session: "s".into(),
            sequence: slot,
            settled: slot,
            op,
        };
        let ballot = Ballot { round: 2, node: 1 };
        Record::Accepted(Accepted {
            slot,
            ballot,
            batch: Arc::new(Batch {
                commands: vec![command],
            }),
        })
    }

    thread_local! {
        /// What [`sync`] was asked for in this test.
        pub(super) static SYNCED: std::cell::RefCell<Vec<PathBuf>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    #[test]
    fn what_is_read_back_is_synced_before_it_counts() {
        let (folder, path, ends) = three_commits();
        // The last commit is torn: what is before it was perhaps never synced either.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(ends[3] as u64 - 1).unwrap();
        SYNCED.with_borrow_mut(Vec::clear);
        let (_, contents) = Wal::open(folder.path(), "n1 of n1").unwrap();
        assert_eq!(told(&contents), [1, 2]);
        assert_eq!(SYNCED.take(), [path]);
    }

    fn promised(round: u64) -> Record {
        Record::Promised {
            ballot: Ballot { round, node: 1 },
        }
    }

    /// What the log says beside its heads.
    fn told(contents: &Contents) -> Vec<Slot> {
        contents
            .records
            .iter()
            .filter_map(|record| match record {
                Record::Accepted(accepted) => Some(accepted.slot),
                _ => None,
            })
            .collect()
    }

    fn highest_promise(contents: &Contents) -> u64 {
        let rounds = contents.records.iter().map(|record| match record {
            Record::Promised { ballot } => ballot.round,
            _ => 0,
        });
        rounds.max().unwrap_or(0)
    }

    /// A folder with one segment of three commits, and where each ends.
    fn three_commits() -> (tempfile::TempDir, PathBuf, Vec<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let (mut wal, contents) = Wal::open(folder.path(), "n1 of n1").unwrap();
        assert_eq!((contents.incarnation, contents.records.len()), (1, 0));
        let mut ends = vec![wal.bytes as usize];
        for records in [
            vec![promised(2), accepted(1)],
            vec![accepted(2)],
            vec![accepted(3), promised(3)],
        ] {
            wal.append(&records).unwrap();
            ends.push(wal.bytes as usize);
        }
        let path = wal.path.clone();
        (folder, path, ends)
    }

    /// The log in a folder of its own, with these bytes as its only segment.
    fn opened(path: &Path, bytes: &[u8]) -> (tempfile::TempDir, Result<(Wal, Contents), WalError>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(path.file_name().unwrap()), bytes).unwrap();
        let result = Wal::open(folder.path(), "n1 of n1");
        (folder, result)
    }

    #[test]
    fn a_log_cut_at_any_byte_keeps_every_whole_commit_and_goes_on() {
        let (_folder, path, ends) = three_commits();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), ends[3]);
        let (_, head) = frame::split_frame(&bytes, frame::PAYLOAD_MAX)
            .unwrap()
            .unwrap();
        for cut in 0..=bytes.len() {
            let (folder, result) = opened(&path, &bytes[..cut]);
            let (mut wal, contents) =
                result.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            let whole = ends[1..].iter().filter(|&&end| end <= cut).count() as u64;
            assert_eq!(
                told(&contents),
                (1..=whole).collect::<Vec<_>>(),
                "cut at {cut}"
            );
            let at_frame_end = [0, head].contains(&cut) || ends.contains(&cut);
            assert_eq!(contents.cut.is_none(), at_frame_end, "cut at {cut}");
            wal.append(&[accepted(9)]).unwrap();
            drop(wal);
            let (_, contents) = Wal::open(folder.path(), "n1 of n1").unwrap();
            assert_eq!(
                told(&contents),
                (1..=whole).chain([9]).collect::<Vec<_>>(),
                "cut at {cut}, opened again"
            );
        }
    }

    #[test]
    fn a_flipped_bit_before_the_last_commit_is_refused_and_in_it_cut_off() {
        let (_folder, path, ends) = three_commits();
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            let (_folder, result) = opened(&path, &bytes);
            if at < ends[2] {
                match result {
                    Err(WalError::Corrupt { offset, .. }) => {
                        assert!(offset <= at, "bit {at} found at {offset}")
                    }
                    Err(other) => panic!("bit {at}: {other}"),
                    Ok((_, contents)) => panic!("bit {at} went unnoticed: {contents:?}"),
                }
            } else {
                let (_, contents) = result.unwrap();
                assert_eq!(told(&contents), [1, 2], "bit {at}");
                assert!(contents.cut.is_some(), "bit {at}");
            }
        }
    }

    #[test]
    fn zeros_at_the_end_are_cut_off() {
        let (_folder, path, ends) = three_commits();
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend([0; 5000]);
        let (_folder, result) = opened(&path, &bytes);
        let (_, contents) = result.unwrap();
        assert_eq!(told(&contents), [1, 2, 3]);
        assert!(
            contents
                .cut
                .unwrap()
                .contains(&format!("5000 bytes after byte {} cut off", ends[3]))
        );
    }

    #[test]
    fn damage_in_an_older_segment_is_refused_even_at_its_end() {
        let (folder, path, ends) = three_commits();
        Wal::open(folder.path(), "n1 of n1").unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..ends[3] - 1]).unwrap();
        let error = Wal::open(folder.path(), "n1 of n1").map(drop).unwrap_err();
        let expected = format!("corrupt at byte {}", ends[2]);
        assert!(error.to_string().contains(&expected), "{error}");
        assert!(error.to_string().contains("wal-0000000001.log"), "{error}");
    }

    #[test]
    fn truncation_removes_old_segments_and_keeps_the_promise() {
        let (folder, path, _) = three_commits();
        let (mut wal, _) = Wal::open(folder.path(), "n1 of n1").unwrap();
        wal.append(&[accepted(4)]).unwrap();
        wal.truncate(2).unwrap();
        assert!(path.exists(), "slot 3 is in it");
        wal.truncate(3).unwrap();
        assert!(!path.exists());
        drop(wal);
        let (mut wal, contents) = Wal::open(folder.path(), "n1 of n1").unwrap();
        assert_eq!(told(&contents), [4]);
        assert_eq!(highest_promise(&contents), 3);
        assert_eq!(contents.incarnation, 3);
        wal.truncate(4).unwrap();
        drop(wal);
        let (_, contents) = Wal::open(folder.path(), "n1 of n1").unwrap();
        assert_eq!((told(&contents), highest_promise(&contents)), (vec![], 3));
    }

    #[test]
    fn a_log_of_another_node_or_with_a_hole_is_refused() {
        let (folder, path, _) = three_commits();
        let error = Wal::open(folder.path(), "n2 of n1,n2")
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains("belongs to n1 of n1"), "{error}");
        for _ in 0..2 {
            Wal::open(folder.path(), "n1 of n1").unwrap();
        }
        fs::remove_file(path.with_file_name("wal-0000000002.log")).unwrap();
        let error = Wal::open(folder.path(), "n1 of n1").map(drop).unwrap_err();
        assert!(
            error.to_string().contains("segment 2 is missing"),
            "{error}"
        );
    }

    #[test]
    fn a_long_log_is_many_segments_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (mut wal, _) = Wal::open(folder.path(), "n1 of n1").unwrap();
        let op = |slot: Slot| Op::Put {
            key: format!("k{slot}"),
            value: "x".repeat(3 << 20),
        };
        for slot in 1..=12 {
            let command = Command {
                session: "s".into(),
                sequence: slot,
                settled: slot,
                op: op(slot),
            };
            let batch = Arc::new(Batch {
                commands: vec![command],
            });
            wal.append(&[Record::Accepted(Accepted {
                slot,
                ballot: Ballot::default(),
                batch,
            })])
            .unwrap();
        }
        assert!(wal.segments.len() > 2, "{} segments", wal.segments.len());
        drop(wal);
        let (_, contents) = Wal::open(folder.path(), "n1 of n1").unwrap();
        assert_eq!(told(&contents), (1..=12).collect::<Vec<_>>());
    }
}
