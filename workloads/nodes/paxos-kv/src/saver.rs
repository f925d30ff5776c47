//! The thread that encodes and saves snapshots, one after the other. Of those that wait it saves
//! only the newest.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::core::kv::Kv;
use crate::core::message::Slot;
use crate::event::{Event, News};
use crate::flaws::{Flaw, Flaws};
use crate::snapshot;

/// So long the flaws `log-cut-early` and `snapshot-decided-early` put the saving of a snapshot
/// off.
const LATE_SAVE: Duration = Duration::from_secs(1);

/// A slot, and the state after it.
pub type Snapshot = (Slot, Box<Kv>);

/// Starts the thread that encodes and saves snapshots.
///
/// # Errors
/// The operating system's, when it gives no thread.
pub fn start(
    folder: PathBuf,
    flaws: Flaws,
    events: mpsc::Sender<Event>,
) -> io::Result<blocking::Sender<Snapshot>> {
    let (sender, waiting) = blocking::channel::<Snapshot>();
    let work = move || {
        while let Ok(first) = waiting.recv() {
            // FLAW log-cut-early, snapshot-decided-early: there is no hurry.
            if flaws.has(Flaw::LogCutEarly) || flaws.has(Flaw::SnapshotDecidedEarly) {
                std::thread::sleep(LATE_SAVE);
            }
            let (slot, kv) = waiting.try_iter().last().unwrap_or(first);
            let bytes = kv.encode();
            let event = match snapshot::save(&folder, slot, &bytes) {
                Ok(()) => Event::News(News::SnapshotSaved(slot, Arc::new(bytes))),
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
