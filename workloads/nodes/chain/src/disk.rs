//! The thread that writes the block store, so that a slow disk delays only what must wait for it.
//!
//! All that waits when a sync is done is the next write and one sync: group commit.

use std::io;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::core::block::Block;
use crate::event::Event;
use crate::store::{Store, StoreError};

/// Blocks to write, and the number to say when they are on the disk, if anybody waits for that.
struct Job {
    number: Option<u64>,
    blocks: Vec<Arc<Block>>,
}

/// The way to the thread.
pub struct Disk(blocking::Sender<Job>);

impl Disk {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system's, when it gives no thread.
    pub fn start(store: Store, events: mpsc::Sender<Event>) -> io::Result<Disk> {
        let (sender, jobs) = blocking::channel();
        let work = move || {
            if let Err(error) = write_store(store, &jobs, &events) {
                // Nobody listens any more when the node stops.
                let _ = events.blocking_send(Event::Disk(error.to_string()));
            }
        };
        std::thread::Builder::new()
            .name("store".into())
            .spawn(work)?;
        Ok(Disk(sender))
    }

    /// Writes these and says so with the number. A thread that is gone has said why.
    pub fn append(&self, number: u64, blocks: Vec<Arc<Block>>) {
        let number = Some(number);
        let _ = self.0.send(Job { number, blocks });
    }

    /// Writes these after a while, which a planted bug wants. The sleep is the kernel's: no clock
    /// fault touches it.
    ///
    /// # Errors
    /// The operating system's, when it gives no thread.
    pub fn append_late(&self, delay: Duration, blocks: Vec<Arc<Block>>) -> io::Result<()> {
        let sender = self.0.clone();
        let wait = move || {
            std::thread::sleep(delay);
            let number = None;
            let _ = sender.send(Job { number, blocks });
        };
        std::thread::Builder::new()
            .name("late".into())
            .spawn(wait)
            .map(drop)
    }
}

fn write_store(
    mut store: Store,
    jobs: &blocking::Receiver<Job>,
    events: &mpsc::Sender<Event>,
) -> Result<(), StoreError> {
    while let Ok(first) = jobs.recv() {
        let (mut blocks, mut durable) = (Vec::new(), None);
        for job in std::iter::once(first).chain(std::iter::from_fn(|| jobs.try_recv().ok())) {
            blocks.extend(job.blocks);
            durable = job.number.or(durable);
        }
        store.append(&blocks)?;
        if let Some(number) = durable
            && events.blocking_send(Event::Durable(number)).is_err()
        {
            break;
        }
    }
    Ok(())
}
