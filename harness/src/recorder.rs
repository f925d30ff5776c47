//! The one writer of the history. What it records is in order by construction: index and time are
//! given under one lock, and one thread writes.
//!
//! Times are taken here, when an event is seen, not where the operation ran: an invocation is
//! recorded before its operation begins and a completion after it ended, so a recorded interval
//! can only be wider than the real one, and no verdict of `invalid` follows from the difference.
//! How much wider is measured: [`Summary::delay`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use history::frames::Frames;
use history::mark::Mark;
use history::{Event, Kind, Name, Process, Time, Value, jsonl};
use thiserror::Error;

/// What an event says, before it has its place in the history.
#[derive(Clone, Debug)]
pub struct Draft {
    pub process: Process,
    pub kind: Kind,
    pub f: Name,
    pub value: Value,
    pub error: Option<String>,
    pub node: Option<Name>,
    /// See [`Event::version`].
    pub version: Option<Value>,
    /// See [`Event::due`].
    pub due: Option<Instant>,
}

impl From<Mark> for Draft {
    fn from(mark: Mark) -> Draft {
        Draft {
            process: Process::Nemesis,
            kind: Kind::Info,
            f: mark.f(),
            value: mark.value(),
            error: None,
            node: mark.node().cloned(),
            version: None,
            due: None,
        }
    }
}

/// Recording failed. What was recorded before is on disk.
#[derive(Clone, Debug, Error)]
#[error("cannot write {}: {reason}", .path.display())]
pub struct RecordError {
    pub path: PathBuf,
    pub reason: String,
}

/// What recording cost.
#[derive(Clone, Debug)]
pub struct Summary {
    pub events: u64,
    /// From the end of an operation in its worker to its event in the history.
    pub delay: Quantiles,
}

/// Of a histogram, what people ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Quantiles {
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

/// A handle; clones record into the same history.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Mutex<Shared>>,
    start: Instant,
}

struct Shared {
    path: PathBuf,
    next_index: u64,
    events: Option<Sender<Event>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    failed: Option<RecordError>,
    delay_us: Histogram<u64>,
}

impl Recorder {
    /// Creates the history file, which must not be there yet, and starts the clock.
    pub fn create(path: &Path) -> Result<Recorder, RecordError> {
        let fail = |e: io::Error| RecordError {
            path: path.to_path_buf(),
            reason: e.to_string(),
        };
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(fail)?;
        // An Instant does not tell what it is of; the two are taken one after the other.
        let began = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let start = Instant::now();
        let began_ns = began.tv_sec as u64 * 1_000_000_000 + began.tv_nsec as u64;
        let mut frames = Frames::new(file).map_err(fail)?;
        jsonl::write_header(&mut frames, Some(began_ns)).map_err(fail)?;
        frames.flush().map_err(fail)?;
        Ok(Recorder::to(path, frames, start))
    }

    fn to(path: &Path, frames: Frames<File>, start: Instant) -> Recorder {
        let (events, queue) = channel();
        let writer = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || write(&queue, frames))
            .expect("a thread can be started");
        Recorder {
            shared: Arc::new(Mutex::new(Shared {
                path: path.to_path_buf(),
                next_index: 0,
                events: Some(events),
                writer: Some(writer),
                failed: None,
                delay_us: Histogram::new_with_max(60_000_000, 3).expect("bounds are in range"),
            })),
            start,
        }
    }

    /// The folder that the history is in.
    pub fn folder(&self) -> PathBuf {
        let shared = self.shared.lock().expect("no panic while held");
        shared.path.parent().unwrap_or(&shared.path).to_path_buf()
    }

    /// When time 0 of the history was.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Gives the event its place and hands it to the writer.
    ///
    /// `since` is when it happened, for an event that was not recorded at once.
    pub fn record(&self, draft: Draft, since: Option<Instant>) -> Result<Event, RecordError> {
        let mut shared = self.shared.lock().expect("no panic while held");
        if let Some(failed) = &shared.failed {
            return Err(failed.clone());
        }
        let now = Instant::now();
        if let Some(since) = since {
            let delay = now.saturating_duration_since(since);
            shared.delay_us.saturating_record(delay.as_micros() as u64);
        }
        let event = Event {
            index: shared.next_index,
            time: Time::from(now.duration_since(self.start)),
            process: draft.process,
            kind: draft.kind,
            f: draft.f,
            value: draft.value,
            error: draft.error,
            node: draft.node,
            version: draft.version,
            due: draft
                .due
                .map(|due| Time::from(due.saturating_duration_since(self.start))),
        };
        let sent = match &shared.events {
            Some(events) => events.send(event.clone()).is_ok(),
            None => false,
        };
        if !sent {
            return Err(shared.close().err().unwrap_or_else(|| RecordError {
                path: shared.path.clone(),
                reason: "recording has ended".into(),
            }));
        }
        shared.next_index += 1;
        Ok(event)
    }

    /// Writes down what the harness itself has to say of the run.
    pub fn mark(&self, mark: Mark) -> Result<Event, RecordError> {
        self.record(mark.into(), None)
    }

    /// Waits until everything is written.
    pub fn finish(&self) -> Result<Summary, RecordError> {
        let mut shared = self.shared.lock().expect("no panic while held");
        shared.close()?;
        let at = |q| shared.delay_us.value_at_quantile(q);
        Ok(Summary {
            events: shared.next_index,
            delay: Quantiles {
                p50_us: at(0.5),
                p99_us: at(0.99),
                max_us: shared.delay_us.max(),
            },
        })
    }
}

impl Shared {
    /// Ends the writer and keeps what it died of.
    fn close(&mut self) -> Result<(), RecordError> {
        self.events = None;
        if let Some(writer) = self.writer.take() {
            let result = writer.join().expect("the writer does not panic");
            if let Err(e) = result {
                self.failed = Some(RecordError {
                    path: self.path.clone(),
                    reason: e.to_string(),
                });
            }
        }
        match &self.failed {
            Some(failed) => Err(failed.clone()),
            None => Ok(()),
        }
    }
}

/// An event is out of this process, and survives its death, after this at the latest, if the disk
/// keeps pace. The longer, the more the events that are compressed together have in common.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// Writes whatever has queued up.
fn write(queue: &Receiver<Event>, mut frames: Frames<File>) -> io::Result<()> {
    const ENOUGH: usize = 1 << 18;
    let mut buf = Vec::with_capacity(ENOUGH + (1 << 12));
    let mut flushed = Instant::now();
    let mut waiting = false;
    loop {
        let event = match waiting {
            true => queue.recv_timeout(FLUSH_EVERY.saturating_sub(flushed.elapsed())),
            false => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(event) => {
                buf.clear();
                jsonl::write_event(&mut buf, &event)?;
                while buf.len() < ENOUGH
                    && let Ok(event) = queue.try_recv()
                {
                    jsonl::write_event(&mut buf, &event)?;
                }
                frames.write_all(&buf)?;
                waiting = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if flushed.elapsed() >= FLUSH_EVERY {
            frames.flush()?;
            flushed = Instant::now();
            waiting = false;
        }
    }
    frames.finish()?.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(n: i64) -> Draft {
        Draft {
            process: Process::Client(0),
            kind: match n % 2 {
                0 => Kind::Invoke,
                _ => Kind::Ok,
            },
            f: "read".into(),
            value: Value::Int(n),
            error: None,
            node: None,
            version: None,
            due: None,
        }
    }

    #[test]
    fn what_was_recorded_is_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let recorded: Vec<Event> = (0..1000)
            .map(|n| recorder.record(draft(n), None).unwrap())
            .collect();
        assert_eq!(recorder.finish().unwrap().events, 1000);
        let loaded = history::store::load(&path).unwrap();
        assert_eq!(loaded.history.events(), recorded);
        assert!(recorder.record(draft(0), None).is_err(), "it has ended");
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file_and_stays() {
        let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let frames = Frames::new(file).unwrap();
        let recorder = Recorder::to(Path::new("/dev/full"), frames, Instant::now());
        // The writer runs on its own: its failure shows at some later event, or at the end.
        let shown = (0..1_000_000).find_map(|n| recorder.record(draft(n), None).err());
        let error = shown.unwrap_or_else(|| recorder.finish().unwrap_err());
        assert!(error.to_string().contains("/dev/full"), "{error}");
        assert!(error.to_string().contains("No space left"), "{error}");
        assert!(recorder.record(draft(0), None).is_err());
        assert!(recorder.finish().is_err());
    }

    #[test]
    fn an_old_history_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        std::fs::write(&path, "precious").unwrap();
        assert!(Recorder::create(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
