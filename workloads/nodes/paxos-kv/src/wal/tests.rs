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
    let (_, contents) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
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
    let (mut wal, contents) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
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
    let result = Wal::open(folder.path(), "n1 of n1", &Habits::default());
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
        let (mut wal, contents) = result.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
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
        let (_, contents) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
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
    Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..ends[3] - 1]).unwrap();
    let error = Wal::open(folder.path(), "n1 of n1", &Habits::default())
        .map(drop)
        .unwrap_err();
    let expected = format!("corrupt at byte {}", ends[2]);
    assert!(error.to_string().contains(&expected), "{error}");
    assert!(error.to_string().contains("wal-0000000001.log"), "{error}");
}

#[test]
fn truncation_removes_old_segments_and_keeps_the_promise() {
    let (folder, path, _) = three_commits();
    let (mut wal, _) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
    wal.append(&[accepted(4)]).unwrap();
    wal.truncate(2).unwrap();
    assert!(path.exists(), "slot 3 is in it");
    wal.truncate(3).unwrap();
    assert!(!path.exists());
    drop(wal);
    let (mut wal, contents) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
    assert_eq!(told(&contents), [4]);
    assert_eq!(highest_promise(&contents), 3);
    assert_eq!(contents.incarnation, 3);
    wal.truncate(4).unwrap();
    drop(wal);
    let (_, contents) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
    assert_eq!((told(&contents), highest_promise(&contents)), (vec![], 3));
}

#[test]
fn a_log_of_another_node_or_with_a_hole_is_refused() {
    let (folder, path, _) = three_commits();
    let error = Wal::open(folder.path(), "n2 of n1,n2", &Habits::default())
        .map(drop)
        .unwrap_err();
    assert!(error.to_string().contains("belongs to n1 of n1"), "{error}");
    for _ in 0..2 {
        Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
    }
    fs::remove_file(path.with_file_name("wal-0000000002.log")).unwrap();
    let error = Wal::open(folder.path(), "n1 of n1", &Habits::default())
        .map(drop)
        .unwrap_err();
    assert!(
        error.to_string().contains("segment 2 is missing"),
        "{error}"
    );
}

#[test]
fn a_long_log_is_many_segments_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (mut wal, _) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
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
    let (_, contents) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
    assert_eq!(told(&contents), (1..=12).collect::<Vec<_>>());
}

/// FLAW torn-tail-kept: what was written behind a torn write, and synced, is gone at the next
/// start.
#[test]
fn a_torn_tail_is_cut_off_and_one_that_is_kept_takes_what_follows_it() {
    for (keeps_torn_tail, left) in [(false, vec![1, 2, 4]), (true, vec![1, 2])] {
        let habits = Habits {
            keeps_torn_tail,
            ..Habits::default()
        };
        let (folder, path, ends) = three_commits();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(ends[3] as u64 - 1).unwrap();
        let (mut wal, contents) = Wal::open(folder.path(), "n1 of n1", &habits).unwrap();
        assert_eq!(told(&contents), [1, 2]);
        wal.append(&[accepted(4)]).unwrap();
        drop(wal);
        let (_, contents) = Wal::open(folder.path(), "n1 of n1", &habits).unwrap();
        assert_eq!(told(&contents), left);
    }
}

/// A slow write is whole in the end, and in between there is half of it. Whoever looks may be late,
/// so that is looked for in many.
#[test]
fn a_slow_write_rests_half_way() {
    let folder = tempfile::tempdir().unwrap();
    let habits = Habits {
        slow_writes: 100,
        ..Habits::default()
    };
    let (mut wal, _) = Wal::open(folder.path(), "n1 of n1", &habits).unwrap();
    let path = segment_path(folder.path(), 1);
    let size = || fs::metadata(&path).unwrap().len();
    let mut most = 0;
    let seen = (1..=50).any(|slot| {
        let before = size();
        most = slot;
        let half = thread::scope(|scope| {
            let writing = scope.spawn(|| wal.append(&[accepted(slot)]).unwrap());
            while size() == before {
                thread::yield_now();
            }
            let half = size();
            writing.join().unwrap();
            half
        });
        half < size()
    });
    assert!(seen);
    drop(wal);
    let (_, contents) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
    assert_eq!(told(&contents), (1..=most).collect::<Vec<_>>());
}

/// From the first sync that fails on, a node must not go on as if its records were there.
#[test]
fn a_sync_that_failed_is_told_and_what_it_was_for_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let habits = Habits {
        failed_syncs: 100,
        ..Habits::default()
    };
    let (mut wal, _) = Wal::open(folder.path(), "n1 of n1", &habits).unwrap();
    for slot in 1..=GOOD_SYNCS {
        wal.append(&[accepted(slot)]).unwrap();
    }
    let error = wal.append(&[accepted(GOOD_SYNCS + 1)]).unwrap_err();
    assert!(error.to_string().contains("wal-0000000001.log"), "{error}");
    drop(wal);
    // Its flaw goes on, and what came later is gone too.
    let habits = Habits {
        ignores_failed_syncs: true,
        ..habits
    };
    let (mut wal, contents) = Wal::open(folder.path(), "n1 of n1", &habits).unwrap();
    let whole: Vec<u64> = (1..=GOOD_SYNCS).collect();
    assert_eq!(told(&contents), whole);
    for slot in 1..=GOOD_SYNCS + 2 {
        wal.append(&[accepted(GOOD_SYNCS + slot)]).unwrap();
    }
    drop(wal);
    let (_, contents) = Wal::open(folder.path(), "n1 of n1", &Habits::default()).unwrap();
    assert_eq!(told(&contents), (1..=2 * GOOD_SYNCS).collect::<Vec<_>>());
}
