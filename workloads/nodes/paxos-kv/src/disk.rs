//! The threads that write the log and the snapshots, so that a slow disk delays only what must wait
//! for it.
//!
//! All that waits when a sync of the log is done is the next frame and one sync: group commit.
//! Snapshots are saved one after the other, and of those that wait only the newest.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc as blocking};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::core::kv::Kv;
use crate::core::message::{Record, Slot};
use crate::event::Event;
use crate::flaws::{Flaw, Flaws};
use crate::snapshot;
use crate::wal::{Wal, WalError};

/// So long the flaw `log-cut-early` puts the saving of a snapshot off.
const LATE_SAVE: Duration = Duration::from_secs(1);

/// What the log's thread is asked for.
pub enum Job {
    /// Write these and say so with the number.
    Append { number: u64, records: Vec<Record> },
    /// Write these after a while: a planted bug.
    AppendLate {
        delay: Duration,
        records: Vec<Record>,
    },
    /// Records up to this slot may go.
    Truncate(Slot),
}

/// Starts the thread.
///
/// # Errors
/// The operating system's, when it gives no thread.
pub fn start(wal: Wal, events: mpsc::Sender<Event>) -> io::Result<blocking::Sender<Job>> {
    let (sender, jobs) = blocking::channel();
    let work = move || {
        if let Err(error) = write_log(wal, &jobs, &events) {
            // Nobody listens any more when the node stops.
            let _ = events.blocking_send(Event::Disk(error.to_string()));
        }
    };
    std::thread::Builder::new().name("log".into()).spawn(work)?;
    Ok(sender)
}

/// A slot, and the state after it.
pub type Snapshot = (Slot, Box<Kv>);

/// Starts the thread that encodes and saves snapshots.
///
/// # Errors
/// The operating system's, when it gives no thread.
pub fn start_snapshots(
    folder: PathBuf,
    flaws: Flaws,
    events: mpsc::Sender<Event>,
) -> io::Result<blocking::Sender<Snapshot>> {
    let (sender, waiting) = blocking::channel::<Snapshot>();
    let work = move || {
        while let Ok(first) = waiting.recv() {
            // FLAW log-cut-early: there is no hurry.
            if flaws.has(Flaw::LogCutEarly) {
                std::thread::sleep(LATE_SAVE);
            }
            let (slot, kv) = waiting.try_iter().last().unwrap_or(first);
            let bytes = kv.encode();
            let event = match snapshot::save(&folder, slot, &bytes) {
                Ok(()) => Event::SnapshotSaved(slot, Arc::new(bytes)),
                Err(error) => Event::Disk(error.to_string()),
            };
            // Nobody listens any more when the node stops.
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("snapshots".into())
        .spawn(work)?;
    Ok(sender)
}

fn write_log(
    mut wal: Wal,
    jobs: &blocking::Receiver<Job>,
    events: &mpsc::Sender<Event>,
) -> Result<(), WalError> {
    // What the flaws unsynced-* keep in memory, and until when.
    let mut late: VecDeque<(Instant, Vec<Record>)> = VecDeque::new();
    loop {
        let wait = late.front().map_or(Duration::from_secs(3600), |(due, _)| {
            due.saturating_duration_since(Instant::now())
        });
        let first = match jobs.recv_timeout(wait) {
            Ok(job) => Some(job),
            Err(blocking::RecvTimeoutError::Timeout) => None,
            Err(blocking::RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let (mut records, mut durable, mut truncate) = (Vec::new(), None, None);
        for job in first
            .into_iter()
            .chain(std::iter::from_fn(|| jobs.try_recv().ok()))
        {
            match job {
                Job::Append {
                    number,
                    records: more,
                } => {
                    records.extend(more);
                    durable = Some(number);
                }
                Job::AppendLate { delay, records } => {
                    late.push_back((Instant::now() + delay, records))
                }
                Job::Truncate(slot) => truncate = Some(slot),
            }
        }
        while late.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            records.extend(
                late.pop_front()
                    .map(|(_, records)| records)
                    .unwrap_or_default(),
            );
        }
        if !records.is_empty() {
            wal.append(&records)?;
        }
        if let Some(number) = durable
            && events.blocking_send(Event::Durable(number)).is_err()
        {
            return Ok(());
        }
        if let Some(slot) = truncate {
            wal.truncate(slot)?;
        }
    }
}
