//! Where children are born and buried: one thread starts every process, another reaps.
//!
//! The kernel sends a child its parent-death signal when the *thread* that started it ends
//! (prctl(2)), so children are started by a thread that lives as long as the agent. And whoever
//! is process 1 of a namespace must reap orphans it never started, so nobody here waits for his
//! own child: one thread waits for all and passes the news on.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getppid, set_parent_process_death_signal, setsid, waitpid,
};

use crate::protocol::Ran;
use crate::tree::{self, Ident, Tree};

/// How long a child that is being traced is left alone before the next look.
const TRACED: Duration = Duration::from_millis(1);
/// How much of a command's output is kept, per stream.
const OUTPUT_MAX: u64 = 16 << 20;
/// How often process 1 looks for orphans when it has no children that it could wait for.
const ORPHANS: Duration = Duration::from_millis(100);
/// How long output is still read after a command has ended and its children were killed.
const LINGER: Duration = Duration::from_millis(500);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl Exit {
    fn of(status: WaitStatus) -> Exit {
        match status.exit_status() {
            Some(code) => Exit::Code(code),
            None => Exit::Signal(status.terminating_signal().unwrap_or_default()),
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;
type OnExit = Box<dyn FnOnce(Exit) + Send>;

/// Starts processes, and tells when they end.
pub struct Nursery {
    jobs: Sender<Job>,
    children: Mutex<HashMap<u32, OnExit>>,
    /// Told of every birth: a reaper that has nobody to wait for waits for this.
    born: Condvar,
    prefix: String,
}

impl Nursery {
    /// Takes over the reaping of every child of this process, for good.
    pub fn open(prefix: String) -> io::Result<Arc<Nursery>> {
        let (jobs, to_do) = mpsc::channel::<Job>();
        let nursery = Arc::new(Nursery {
            jobs,
            children: Mutex::default(),
            born: Condvar::new(),
            prefix,
        });
        thread::Builder::new()
            .name("nursery".into())
            .spawn(move || to_do.into_iter().for_each(|job| job()))?;
        let reaper = nursery.clone();
        thread::Builder::new()
            .name("reaper".into())
            .spawn(move || reaper.reap())?;
        Ok(nursery)
    }

    fn children(&self) -> MutexGuard<'_, HashMap<u32, OnExit>> {
        self.children
            .lock()
            .expect("nothing panics while holding it")
    }

    /// What the markers of all that is started here begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A value of [`tree::MARKER`] that nobody has yet.
    pub fn marker(&self, name: &str) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{}/{name}/{}-{number}", self.prefix, std::process::id())
    }

    /// Runs `birth`, which starts a process and returns its number, in the thread that lives as
    /// long as the agent. `on_exit` is called when that process has ended and been reaped; it must
    /// not wait for anything.
    pub fn spawn<T, E>(
        self: &Arc<Self>,
        birth: impl FnOnce() -> Result<(u32, T), E> + Send + 'static,
        on_exit: impl FnOnce(Exit) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (tell, told) = mpsc::channel();
        let nursery = self.clone();
        let job = move || {
            // Held until the child is entered: the reaper cannot take it away before that, nor
            // from under the standard library, which reaps a child that failed to exec.
            let mut children = nursery.children();
            let born = birth().map(|(pid, rest)| {
                children.insert(pid, Box::new(on_exit));
                nursery.born.notify_all();
                rest
            });
            drop(children);
            // Nobody listens when the caller has panicked.
            let _ = tell.send(born);
        };
        self.jobs
            .send(Box::new(job))
            .expect("the nursery's thread ends with the process");
        told.recv()
            .expect("the nursery's thread ends with the process")
    }

    fn reap(&self) {
        loop {
            match next_dead() {
                Dead::Child(pid) => self.bury(pid),
                Dead::Nobody => thread::sleep(TRACED),
                Dead::Childless => self.wait_for_birth(),
            }
        }
    }

    fn wait_for_birth(&self) {
        let children = self.children();
        // A child that came since the look is waited for by the next one.
        if children.is_empty() {
            let waited = self.born.wait_timeout(children, ORPHANS);
            drop(waited.expect("nothing panics while holding it"));
        }
    }

    fn bury(&self, pid: Pid) {
        let mut children = self.children();
        let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::NOHANG) else {
            return;
        };
        let on_exit = children.remove(&number(pid));
        drop(children);
        if let Some(on_exit) = on_exit {
            on_exit(Exit::of(status));
        }
    }

    /// Runs a command to its end. It and whatever it started is killed after `timeout`; what it
    /// leaves running is killed at its end.
    pub fn run(
        self: &Arc<Self>,
        mut command: Command,
        stdin: Vec<u8>,
        timeout: Duration,
    ) -> io::Result<Ran> {
        let deadline = Instant::now() + timeout;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let marker = self.marker("run");
        command.env(tree::MARKER, &marker);
        bind_to_agent(&mut command);
        let (ended, end) = mpsc::channel();
        let (mut child, ident) = self.spawn(
            move || {
                let child = command.spawn()?;
                let pid = child.id();
                // Not reaped yet, so it can still be read.
                let start = tree::read(pid).map_or(0, |process| process.ident.start);
                Ok::<_, io::Error>((pid, (child, Ident { pid, start })))
            },
            move |exit| {
                // The caller may have given up.
                let _ = ended.send(exit);
            },
        )?;
        let mut input = child.stdin.take().expect("piped above");
        // It ends when the command does; a command that does not read its input is no error.
        thread::spawn(move || input.write_all(&stdin));
        let stdout = collect(child.stdout.take().expect("piped above"));
        let stderr = collect(child.stderr.take().expect("piped above"));

        let exit = end
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .ok();
        kill_tree(&mut Tree::new(ident, marker));
        let linger = Instant::now() + LINGER;
        Ok(Ran {
            status: exit.map_or("timeout".into(), |exit| exit.to_string()),
            success: exit == Some(Exit::Code(0)),
            stdout: text(stdout, linger),
            stderr: text(stderr, linger),
        })
    }
}

/// What a look at the children shows.
enum Dead {
    Child(Pid),
    /// No dead child, though the kernel had something to say.
    Nobody,
    Childless,
}

/// Waits until a child has died, and leaves it unreaped: its number stays taken meanwhile.
fn next_dead() -> Dead {
    // SAFETY: all zeros is a valid `siginfo_t`, and waitid(2) writes nothing else.
    let (status, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let status = libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOWAIT);
        (status, info)
    };
    if status != 0 {
        return match io::Error::last_os_error().kind() {
            io::ErrorKind::Interrupted => Dead::Nobody,
            _ => Dead::Childless,
        };
    }
    // A child that another thread of ours traces is shown to us while it stands still for a
    // moment; that is not ours to take.
    if !matches!(
        info.si_code,
        libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED
    ) {
        return Dead::Nobody;
    }
    // SAFETY: waitid(2) fills in the process number for these codes.
    Pid::from_raw(unsafe { info.si_pid() }).map_or(Dead::Nobody, Dead::Child)
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// SIGKILL until nobody is left who could have forked meanwhile. Bounded, because a process in an
/// uninterruptible sleep does not die.
pub fn kill_tree(tree: &mut Tree) {
    for _ in 0..100 {
        match tree.scan() {
            Ok(members) if members.is_empty() => return,
            Ok(members) => {
                for ident in members {
                    // Gone meanwhile is as good as killed; the next scan tells.
                    let _ = tree::signal(ident, Signal::KILL);
                }
                thread::sleep(Duration::from_millis(2));
            }
            Err(_) => return,
        }
    }
}

/// A session of its own, so that signals to the agent's group do not reach it; none of the signals
/// blocked that the agent blocks for itself; and death with the agent, however that comes.
pub fn bind_to_agent(command: &mut Command) {
    let agent = std::process::id();
    let prepare = move || {
        setsid()?;
        unblock_signals()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The agent may have died before the line above: then nothing would be sent.
        if getppid().map_or(0, number) != agent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: only system calls, and nothing allocates, between fork and exec.
    unsafe { command.pre_exec(prepare) };
}

/// A mask is inherited through exec: a daemon that never hears SIGTERM could not end in good order.
fn unblock_signals() -> io::Result<()> {
    // SAFETY: the set is initialised by the first call, and both only touch what they are given.
    let status = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())
    };
    match status {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads a stream in a thread of its own, piece by piece.
fn collect(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, pieces) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = 0;
        let mut piece = vec![0; 64 << 10];
        loop {
            match from.read(&mut piece) {
                Ok(0) | Err(_) => return,
                // Beyond the limit it is read and thrown away: the command must not block.
                Ok(_) if kept >= OUTPUT_MAX => {}
                Ok(length) => {
                    kept += length as u64;
                    if tell.send(piece[..length].to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    pieces
}

/// What the stream said up to its end. A stray that holds it open is not waited for beyond `until`.
fn text(pieces: Receiver<Vec<u8>>, until: Instant) -> String {
    let mut whole = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(until.saturating_duration_since(Instant::now())) {
        whole.extend(piece);
    }
    String::from_utf8_lossy(&whole).into_owned()
}
