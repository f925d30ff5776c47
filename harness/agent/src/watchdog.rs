//! What keeps a node's lease when its agent cannot: a second process that waits for the first one's
//! end.
//!
//! ```text
//!   agent ── a pipe: its lease, every second ──▶ watchdog
//!     killed:   the pipe ends                     ▶ heals DIR, as `schism-agent heal` does
//!     stopped:  nothing comes for a lease, and
//!               it stands still by /proc          ▶ kills it, and heals
//! ```
//!
//! It has a session of its own and hears no signal but SIGKILL, and what it heals is what the
//! journal says. An agent that ends by itself has left nothing there. Process 1 of a namespace
//! needs none: the kernel ends the namespace with it, and who started it looks whether it stands
//! still.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal, setsid,
};

use crate::error::{Error, Result, doing};
use crate::tree;

/// How often the agent says that it runs.
const BEAT: Duration = Duration::from_secs(1);
/// Bytes of a beat: the lease in milliseconds.
const BEAT_LENGTH: usize = size_of::<u64>();

/// The agent's end.
#[derive(Clone)]
pub(crate) struct Leash {
    /// The pipe, and the lease in milliseconds.
    line: Arc<Mutex<(PipeWriter, u64)>>,
}

impl Leash {
    /// Starts the watchdog. `gone` is called if that ends before the agent does.
    pub fn open(dir: &Path, gone: impl FnOnce() + Send + 'static) -> Result<Leash> {
        let (theirs, ours) = io::pipe().map_err(doing("make a pipe"))?;
        let mut watchdog = Command::new("/proc/self/exe");
        watchdog
            .args(["watchdog", "--dir"])
            .arg(dir)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let apart = || {
            setsid()?;
            // It must outlive whoever starts it, also one who is told to take his children along.
            set_parent_process_death_signal(None)?;
            Ok(())
        };
        // SAFETY: only system calls, and nothing allocates, between fork and exec.
        unsafe { watchdog.pre_exec(apart) };
        // Reaped with all others, should it die.
        watchdog.spawn().map_err(doing("start the watchdog"))?;
        let leash = Leash {
            line: Arc::new(Mutex::new((ours, 0))),
        };
        let own = leash.clone();
        thread::Builder::new()
            .name("beat".into())
            .spawn(move || {
                while own.beat().is_ok() {
                    thread::sleep(BEAT);
                }
                gone();
            })
            .map_err(doing("start a thread"))?;
        Ok(leash)
    }

    /// From now on the agent may be silent for so long.
    pub fn lease(&self, lease: Duration) {
        let lease_ms = lease.as_millis().try_into().unwrap_or(u64::MAX);
        self.line().1 = lease_ms;
        // At once: this process may be stopped before the next. If nobody hears it, the next says
        // so.
        let _ = self.beat();
    }

    /// Says that this process runs. It is so short that it is written whole.
    fn beat(&self) -> io::Result<()> {
        let mut line = self.line();
        let (pipe, lease_ms) = &mut *line;
        pipe.write_all(&lease_ms.to_le_bytes())
    }

    fn line(&self) -> MutexGuard<'_, (PipeWriter, u64)> {
        self.line.lock().expect("nothing panics while holding it")
    }
}

/// The watchdog's wait, its stdin being the pipe: returns when the agent is dead, by its own hand
/// if need be.
///
/// # Errors
/// It was not started by an agent.
pub fn until_the_agent_is_dead() -> Result<()> {
    let not_by_agent = || Error::Refused("`watchdog` is for the agent to start".into());
    let agent = getppid().ok_or_else(not_by_agent)?;
    // Whoever has the number now. If the pipe has an end after this, it is its owner.
    let handle = pidfd_open(agent, PidfdFlags::empty()).ok();
    let pipe = io::stdin().as_fd().try_clone_to_owned();
    let pipe: OwnedFd = pipe.map_err(doing("use stdin"))?;
    let mut beats = Beats::new(PipeReader::from(pipe));
    while let Some(heard) = beats.next()? {
        if heard || !stands_still(agent) {
            continue;
        }
        if let Some(handle) = &handle {
            // Gone meanwhile is what was wanted, and the pipe says so.
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
    }
    Ok(())
}

/// What comes from the agent.
struct Beats {
    pipe: PipeReader,
    lease: Option<Duration>,
}

impl Beats {
    fn new(pipe: PipeReader) -> Beats {
        Beats { pipe, lease: None }
    }

    /// Whether the agent was heard within its lease; none when it is dead.
    fn next(&mut self) -> Result<Option<bool>> {
        let patience = self.lease.map(|lease| lease.saturating_add(BEAT));
        let patience = patience.map(|patience| Timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()) as _,
        });
        let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
        match poll(&mut fds, patience.as_ref()) {
            Ok(0) => return Ok(Some(false)),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Some(true)),
            Err(error) => return Err(doing("wait for the agent")(error.into())),
        }
        let mut beats = [0; 64 * BEAT_LENGTH];
        let length = self.pipe.read(&mut beats);
        let length = length.map_err(doing("hear the agent"))?;
        if length == 0 {
            return Ok(None);
        }
        // Beats are written whole, and so is what is read of them.
        if let Some(last) = beats[..length].rchunks_exact(BEAT_LENGTH).next() {
            let lease_ms = u64::from_le_bytes(last.try_into().expect("eight bytes"));
            // Before its greeting an agent has no lease, and nothing to undo.
            self.lease = (lease_ms > 0).then(|| Duration::from_millis(lease_ms));
        }
        Ok(Some(true))
    }
}

/// Stopped or traced. One that is only slow is not.
fn stands_still(agent: Pid) -> bool {
    let process = tree::read(agent.as_raw_nonzero().get().unsigned_abs());
    process.is_some_and(|process| matches!(process.state, 'T' | 't'))
}
