//! The thread that writes what must not be forgotten, so that a slow disk delays only what must
//! wait for it.
//!
//! All that waits when a sync is done is the next write and one sync: group commit.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::sync::mpsc as blocking;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clocks::kernel_monotonic_ns;
use crate::event::{Event, Protocol};
use crate::runtime::RunError;

/// What the thread writes to.
pub trait Journal: Send + 'static {
    type Record: Send;
    type Error: Display;

    /// Writes the records and waits until the disk has them.
    ///
    /// # Errors
    /// The operating system's; after one nobody knows what is on the disk.
    fn append(&mut self, records: &[Self::Record]) -> Result<(), Self::Error>;

    /// What is numbered up to here is not needed any more.
    ///
    /// # Errors
    /// The operating system's.
    fn truncate(&mut self, upto: u64) -> Result<(), Self::Error>;
}

enum Job<R> {
    Append { number: u64, records: Vec<R> },
    AppendLate { delay: Duration, records: Vec<R> },
    Truncate(u64),
}

/// The way to the thread. It says [`Event::Durable`] with the number of what is on the disk.
pub struct Disk<R>(blocking::Sender<Job<R>>);

impl<R: Send + 'static> Disk<R> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system's, when it gives no thread.
    pub fn start<P: Protocol>(
        journal: impl Journal<Record = R>,
        events: mpsc::Sender<Event<P>>,
    ) -> io::Result<Disk<R>> {
        let (sender, jobs) = blocking::channel();
        let work = move || {
            if let Err(error) = write(journal, &jobs, &events) {
                // Nobody listens any more when the node stops.
                let _ = events.blocking_send(Event::Disk(error.to_string()));
            }
        };
        let thread = std::thread::Builder::new().name("disk".into());
        thread.spawn(work)?;
        Ok(Disk(sender))
    }

    /// Writes these and says so with the number.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn append(&self, number: u64, records: Vec<R>) -> Result<(), RunError> {
        self.ask(Job::Append { number, records })
    }

    /// Writes these after a while, and says nothing: a planted bug.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn append_late(&self, delay: Duration, records: Vec<R>) -> Result<(), RunError> {
        self.ask(Job::AppendLate { delay, records })
    }

    /// What is numbered up to here may go.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn truncate(&self, upto: u64) -> Result<(), RunError> {
        self.ask(Job::Truncate(upto))
    }

    fn ask(&self, job: Job<R>) -> Result<(), RunError> {
        let gone = |_| RunError::Disk("the disk's thread is gone".to_owned());
        self.0.send(job).map_err(gone)
    }
}

/// What is to be written late, and when by the kernel's clock. No clock fault changes that.
struct Late<R>(VecDeque<(u64, Vec<R>)>);

impl<R> Late<R> {
    fn push(&mut self, delay: Duration, records: Vec<R>) {
        let due = kernel_monotonic_ns().saturating_add(delay.as_nanos() as u64);
        self.0.push_back((due, records));
    }

    /// How long there is nothing to do.
    fn wait(&self) -> Duration {
        let left = |(due, _): &(u64, _)| due.saturating_sub(kernel_monotonic_ns());
        let hour = Duration::from_secs(3600);
        self.0.front().map(left).map_or(hour, Duration::from_nanos)
    }

    /// What is due by now, added to `records`.
    fn take_due(&mut self, records: &mut Vec<R>) {
        let now = kernel_monotonic_ns();
        while let Some((_, due)) = self.0.pop_front_if(|(due, _)| *due <= now) {
            records.extend(due);
        }
    }
}

fn write<J: Journal, P: Protocol>(
    mut journal: J,
    jobs: &blocking::Receiver<Job<J::Record>>,
    events: &mpsc::Sender<Event<P>>,
) -> Result<(), J::Error> {
    let mut late = Late(VecDeque::new());
    loop {
        let first = match jobs.recv_timeout(late.wait()) {
            Ok(job) => Some(job),
            Err(blocking::RecvTimeoutError::Timeout) => None,
            Err(blocking::RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let (mut records, mut durable, mut truncate) = (Vec::new(), None, None);
        for job in first.into_iter().chain(jobs.try_iter()) {
            match job {
                Job::Append {
                    number,
                    records: more,
                } => {
                    records.extend(more);
                    durable = Some(number);
                }
                Job::AppendLate { delay, records } => late.push(delay, records),
                Job::Truncate(upto) => truncate = Some(upto),
            }
        }
        late.take_due(&mut records);
        if !records.is_empty() {
            journal.append(&records)?;
        }
        if let Some(number) = durable
            && events.blocking_send(Event::Durable(number)).is_err()
        {
            return Ok(());
        }
        if let Some(upto) = truncate {
            journal.truncate(upto)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug)]
    struct Silent;

    impl Protocol for Silent {
        type Request = ();
        type Reply = ();
        type Inspect = ();
        type News = ();
    }

    /// Writes to memory, each write with the test's leave; without one the disk is full.
    struct Memory {
        leave: blocking::Receiver<()>,
        writes: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl Journal for Memory {
        type Record = u8;
        type Error = String;

        fn append(&mut self, records: &[u8]) -> Result<(), String> {
            self.leave.recv().map_err(|_| "no space left".to_owned())?;
            self.writes.lock().unwrap().push(records.to_vec());
            Ok(())
        }

        fn truncate(&mut self, upto: u64) -> Result<(), String> {
            self.append(&[200, upto as u8])
        }
    }

    type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

    fn memory() -> (Memory, blocking::Sender<()>, Writes) {
        let (sender, leave) = blocking::channel();
        let writes = Writes::default();
        let memory = Memory {
            leave,
            writes: Arc::clone(&writes),
        };
        (memory, sender, writes)
    }

    #[test]
    fn what_waits_for_a_sync_is_one_write_and_is_durable_only_after_it() {
        let (memory, leave, writes) = memory();
        let (sender, mut events) = mpsc::channel::<Event<Silent>>(16);
        let disk = Disk::start(memory, sender).unwrap();
        // Which of these the thread takes first is chance; the second write has all others.
        for number in 1..=5 {
            disk.append(number, vec![number as u8]).unwrap();
        }
        assert!(events.try_recv().is_err(), "nothing is written yet");
        let mut last = 0;
        while last < 5 {
            leave.send(()).unwrap();
            let told = events.blocking_recv();
            let Some(Event::Durable(number)) = told else {
                panic!("{told:?}");
            };
            let written = writes.lock().unwrap().concat();
            assert_eq!(written, (1..=number as u8).collect::<Vec<_>>());
            last = number;
        }
        assert!(writes.lock().unwrap().len() <= 2, "{writes:?}");
    }

    #[test]
    fn a_disk_that_fails_is_told_of() {
        let (memory, leave, _) = memory();
        let (sender, mut events) = mpsc::channel::<Event<Silent>>(16);
        let disk = Disk::start(memory, sender).unwrap();
        drop(leave);
        disk.append(1, vec![1]).unwrap();
        let told = events.blocking_recv();
        let Some(Event::Disk(reason)) = told else {
            panic!("{told:?}");
        };
        assert_eq!(reason, "no space left");
        assert!(events.blocking_recv().is_none(), "the thread is gone");
        let error = disk.append(2, vec![2]).unwrap_err();
        assert!(error.to_string().ends_with("thread is gone"), "{error}");
    }

    /// What was to be written in an hour is lost when the process ends before: that is the bug.
    #[test]
    fn what_is_late_comes_after_what_is_not_and_is_told_to_nobody() {
        let (memory, leave, writes) = memory();
        let (sender, mut events) = mpsc::channel::<Event<Silent>>(16);
        let (disk, jobs) = blocking::channel();
        let disk = Disk(disk);
        disk.append_late(Duration::ZERO, vec![9]).unwrap();
        disk.append_late(Duration::from_secs(3600), vec![10])
            .unwrap();
        disk.append(1, vec![1]).unwrap();
        disk.truncate(7).unwrap();
        drop(disk);
        (0..9).for_each(|_| leave.send(()).unwrap());
        write(memory, &jobs, &sender).unwrap();
        drop(sender);
        assert_eq!(*writes.lock().unwrap(), [vec![1, 9], vec![200, 7]]);
        assert!(matches!(events.blocking_recv(), Some(Event::Durable(1))));
        assert!(events.blocking_recv().is_none());
    }
}
