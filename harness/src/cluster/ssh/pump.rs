//! The agent's connection: one thread that carries bytes between a socket pair and the node.
//!
//! ```text
//!   control::Agent ◀─ socket pair ─▶ thread ◀─ SSH channel ─▶ sshd ◀─ pipes ─▶ schism-agent
//!                                      └─ stderr ─▶ nodes/NAME/log/agent.log
//! ```
//!
//! Nothing here waits but `poll`, so neither direction can hold the other up. When the controller
//! drops its end the agent's input ends; when the link is lost the controller sees the agent's
//! output end. What becomes of the session then is decided above (`control/link.rs`): nothing is
//! sent twice here.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel};
use tokio::sync::oneshot;

use super::link::{KEEP_ALIVE, LOST, Link};

/// How often the connection is looked after while nothing happens.
const BEAT: Duration = Duration::from_secs(1);
/// What is carried at once.
const PIECE: usize = 64 << 10;
/// Bytes of what the agent says on stderr that are kept.
const LOG_MOST: usize = 16 << 20;

/// Why it ended.
pub(super) type End = Result<(), String>;

/// Starts the command on the node and a thread that carries its stdio. What it says on stderr goes
/// to `log`. The end is told, once.
pub(super) fn start(
    link: Link,
    command: &str,
    log: File,
) -> Result<(UnixStream, oneshot::Receiver<End>), String> {
    let failed = |e: ssh2::Error| format!("starting the agent: {e}");
    let mut channel = link.session.channel_session().map_err(failed)?;
    channel.exec(command).map_err(failed)?;
    let broken = |e: io::Error| format!("starting the agent: {e}");
    let (ours, theirs) = UnixStream::pair().map_err(broken)?;
    ours.set_nonblocking(true).map_err(broken)?;
    theirs.set_nonblocking(true).map_err(broken)?;
    let (tell, told) = oneshot::channel();
    thread::Builder::new()
        .name("ssh-agent".into())
        .spawn(move || {
            link.session.set_blocking(false);
            link.session
                .set_keepalive(true, KEEP_ALIVE.as_secs() as u32);
            let ended = carry(&link, &mut channel, &ours, log);
            // Dropping the session says goodbye, which must not take forever on a dead link.
            link.session.set_timeout(1_000);
            drop(channel);
            let _ = tell.send(ended);
            // Only now does the controller see the end, so that the reason is there before it.
            drop(ours);
        })
        .map_err(broken)?;
    Ok((theirs, told))
}

/// Bytes on their way, not all of which have been taken.
#[derive(Default)]
struct Parcel {
    bytes: Vec<u8>,
    sent: usize,
}

impl Parcel {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn fill(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.sent = 0;
    }

    /// Sends what can be; says whether there was progress.
    fn send(&mut self, mut to: impl Write) -> io::Result<bool> {
        match to.write(&self.bytes[self.sent..]) {
            Ok(count) => {
                self.sent += count;
                Ok(count > 0)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Writes down what the agent has said on its standard error, as far as there is `room`. Whether
/// it said anything.
fn errors(
    channel: &mut Channel,
    piece: &mut [u8],
    log: &mut File,
    room: &mut usize,
) -> io::Result<bool> {
    match channel.stderr().read(piece) {
        Ok(count) => {
            // A log that cannot be written is no reason to lose the node.
            let _ = log.write_all(&piece[..count.min(*room)]);
            if count > *room && *room > 0 {
                let _ = log.write_all(b"\n[what follows is left out]\n");
            }
            *room = room.saturating_sub(count);
            Ok(count > 0)
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    }
}

fn carry(link: &Link, channel: &mut Channel, local: &UnixStream, mut log: File) -> End {
    let lost = |e: io::Error| format!("the SSH connection is lost: {e}");
    let mut piece = vec![0; PIECE];
    let mut room = LOG_MOST;
    let (mut inward, mut outward) = (Parcel::default(), Parcel::default());
    // The controller has dropped its end; then: and the agent has been told.
    let (mut closed, mut told) = (false, false);
    let mut heard = Instant::now();
    loop {
        let mut moved = false;
        if inward.is_empty() {
            match channel.read(&mut piece) {
                Ok(0) if channel.eof() => return Ok(()),
                Ok(count) => {
                    inward.fill(&piece[..count]);
                    moved |= count > 0;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(lost(e)),
            }
        }
        moved |= errors(channel, &mut piece, &mut log, &mut room).map_err(lost)?;
        if moved {
            heard = Instant::now();
        }
        if !inward.is_empty() {
            match inward.send(local) {
                Ok(progress) => moved |= progress,
                // The controller does not listen any more; its end is seen below.
                Err(_) => inward.fill(&[]),
            }
        }
        if outward.is_empty() && !closed {
            match (&*local).read(&mut piece) {
                Ok(0) => closed = true,
                Ok(count) => {
                    outward.fill(&piece[..count]);
                    moved = true;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => closed = true,
            }
        }
        if !outward.is_empty() {
            moved |= outward.send(&mut *channel).map_err(lost)?;
        } else if closed && !told {
            match channel.send_eof().map_err(io::Error::from) {
                Ok(()) => told = true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(lost(e)),
            }
        }
        if moved {
            continue;
        }
        // The agent answers to each renewal of its lease, so silence is a dead link.
        if heard.elapsed() > LOST {
            return Err(format!(
                "the SSH connection is lost: not a word for {} s",
                LOST.as_secs()
            ));
        }
        match link.session.keepalive_send().map_err(io::Error::from) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(lost(e)),
        }
        wait(link, local, &inward, outward.is_empty() && !closed);
    }
}

/// Until either side has or takes something, or for a beat.
fn wait(link: &Link, local: &UnixStream, inward: &Parcel, reads: bool) {
    let mut remote_wants = PollFlags::IN;
    if matches!(
        link.session.block_directions(),
        BlockDirections::Outbound | BlockDirections::Both
    ) {
        remote_wants |= PollFlags::OUT;
    }
    let mut local_wants = PollFlags::empty();
    local_wants.set(PollFlags::IN, reads);
    local_wants.set(PollFlags::OUT, !inward.is_empty());
    // SAFETY: the session keeps its socket open as long as it lives, and it outlives this call.
    let remote = unsafe { BorrowedFd::borrow_raw(link.session.as_raw_fd()) };
    let mut fds = vec![PollFd::new(&remote, remote_wants)];
    // A closed end is always ready, and would make this loop spin.
    if !local_wants.is_empty() {
        fds.push(PollFd::from_borrowed_fd(local.as_fd(), local_wants));
    }
    let beat = Timespec {
        tv_sec: BEAT.as_secs() as i64,
        tv_nsec: 0,
    };
    // Interrupted or not, everything is looked at again.
    let _ = poll(&mut fds, Some(&beat));
}
