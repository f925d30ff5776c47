//! What the agent says: lines on their way to the controller, kept until it says that it has them.
//!
//! A link that breaks takes with it what was on its way, and nobody knows how much that is. So
//! lines are counted at both ends; whoever takes the session up on a new link says how many it has,
//! and gets the rest. Each link has a writer thread of its own, because one may hang in a write
//! that never returns.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    /// Lines, from the one with the number `first` on.
    lines: VecDeque<Arc<[u8]>>,
    first: u64,
    /// The number of the line that the writer takes next.
    next: u64,
    /// Which link this is; a writer of an earlier one stops.
    link: u64,
    /// Whether lines that were written are kept until they are acknowledged.
    keeps: bool,
}

impl State {
    fn forget_until(&mut self, number: u64) {
        while self.first < number && self.lines.pop_front().is_some() {
            self.first += 1;
        }
    }

    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }
}

#[derive(Default)]
pub(crate) struct Outlet {
    state: Mutex<State>,
    changed: Condvar,
}

impl Outlet {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on lines are kept until [`Outlet::received`].
    pub fn keep(&self) {
        self.state().keeps = true;
    }

    /// Has a line written, after all others. Never waits.
    pub fn say(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        self.state().lines.push_back(line.into());
        self.changed.notify_all();
    }

    /// The controller has so many lines.
    pub fn received(&self, count: u64) {
        let mut state = self.state();
        let written = state.next;
        state.forget_until(count.min(written));
    }

    /// Writes to this from now on: first the greeting, if there is one, which is not counted; then
    /// every line after the first `received`.
    pub fn attach(self: &Arc<Self>, to: OwnedFd, received: u64, greeting: Option<Vec<u8>>) {
        let mut state = self.state();
        state.forget_until(received);
        state.next = state.first;
        state.link += 1;
        let (own, link) = (self.clone(), state.link);
        drop(state);
        self.changed.notify_all();
        thread::spawn(move || own.write(&to, link, greeting));
    }

    fn write(&self, to: &OwnedFd, link: u64, greeting: Option<Vec<u8>>) {
        if let Some(mut line) = greeting {
            line.push(b'\n');
            if write_all(to, &line).is_err() {
                return;
            }
        }
        loop {
            let mut state = self.state();
            let line = loop {
                if state.link != link {
                    return;
                }
                let place = (state.next - state.first) as usize;
                if let Some(line) = state.lines.get(place) {
                    break line.clone();
                }
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            // A controller that is gone is noticed on its input.
            if write_all(to, &line).is_err() {
                return;
            }
            let mut state = self.state();
            if state.link != link {
                return;
            }
            state.next += 1;
            if !state.keeps {
                let next = state.next;
                state.forget_until(next);
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits until everything has been written, but not for ever: nobody may be reading.
    pub fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while state.next < state.end() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{BufRead, BufReader};

    fn link() -> (impl Iterator<Item = String>, OwnedFd) {
        let (from, to) = rustix::pipe::pipe().expect("a pipe");
        let lines = BufReader::new(File::from(from)).lines();
        (lines.map(|line| line.expect("is text")), to)
    }

    #[test]
    fn a_new_link_gets_every_line_that_the_old_one_lost_and_no_other() {
        let outlet = Arc::new(Outlet::default());
        outlet.keep();
        let (mut lines, to) = link();
        outlet.attach(to, 0, None);
        for word in ["a", "b", "c"] {
            outlet.say(word.into());
        }
        assert_eq!(lines.by_ref().take(2).collect::<Vec<_>>(), ["a", "b"]);
        outlet.received(1);
        drop(lines);
        outlet.say("d".into());
        let (mut lines, to) = link();
        outlet.attach(to, 2, Some("again".into()));
        outlet.say("e".into());
        let got: Vec<String> = lines.by_ref().take(4).collect();
        assert_eq!(got, ["again", "c", "d", "e"]);
        // What is acknowledged is never written again.
        outlet.flush(Duration::from_secs(10));
        outlet.received(5);
        assert!(outlet.state().lines.is_empty());
    }

    #[test]
    fn a_writer_that_hangs_holds_nobody_up() {
        let outlet = Arc::new(Outlet::default());
        outlet.keep();
        let (unread, to) = link();
        outlet.attach(to, 0, None);
        // More than a pipe holds.
        let long = "x".repeat(1 << 20);
        outlet.say(long.clone().into());
        outlet.flush(Duration::from_millis(1));
        let (mut lines, to) = link();
        outlet.attach(to, 0, None);
        assert_eq!(lines.next(), Some(long));
        drop(unread);
    }
}
