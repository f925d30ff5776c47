//! The session: lines in, answers and notes out, and the lease that ends it all.
//!
//! ```text
//!   stdin ─ poll ─▶ parse ─┬─ hand thread: daemons and faults, one after the other, as sent
//!   signals ──┘            ├─ file thread: put, get, remove, as sent
//!   lease ────┘            └─ a thread each: run, probe, connect, the waiting part of stop
//!                                       └──▶ outlet ──▶ stdout
//! ```
//!
//! Only the main thread reads, and it never waits for anything but the three on the left: a slow
//! command or a controller that does not read its answers cannot keep the lease from running out.

pub mod lines;
mod requests;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use self::lines::{Lines, Numbered, parse};
use crate::door::{Door, Taken, Visitor};
use crate::error::{Result, doing};
use crate::folder::Folder;
use crate::ledger::{Ledger, Recovered, Terms};
use crate::nursery::Nursery;
use crate::outlet::Outlet;
use crate::probe::Responder;
use crate::protocol::{Line, Note, Renewed, Request};
use crate::site::Event;
use crate::watchdog::Leash;

/// How often logs are looked at and trees remembered.
const TICK: Duration = Duration::from_millis(100);
/// What daemons are given to end by themselves when the agent ends.
const GRACE: Duration = Duration::from_secs(2);
/// What a killed tree is given to vanish.
const VANISH: Duration = Duration::from_secs(5);
/// Requests of one kind that may be waiting at once.
const THREADS_MAX: usize = 256;
/// Shortest lease that is accepted.
const LEASE_MIN_MS: u64 = 100;

const IN: PollFlags = PollFlags::IN;

/// What all threads share.
struct Agent {
    ledger: Mutex<Ledger>,
    nursery: Arc<Nursery>,
    responder: Responder,
    outlet: Arc<Outlet>,
    dir: PathBuf,
    recovered: Recovered,
    threads: AtomicUsize,
    /// Told to end by request.
    leave: Mutex<Option<u64>>,
    /// Wakes the main thread up.
    wake: OwnedFd,
    /// What heals the node if this process cannot.
    leash: OnceLock<Leash>,
}

type Job = Box<dyn FnOnce(&Arc<Agent>) + Send>;

/// Serves the controller on stdio until the input ends, a signal comes, or it says so. Then heals
/// the node and stops every daemon.
pub fn serve(
    dir: &Folder,
    probe_port: u16,
    terms: &Terms,
    watchdog: bool,
    nursery: Arc<Nursery>,
    signals: &OwnedFd,
) -> Result<()> {
    let (tell, events) = mpsc::channel();
    let (ledger, recovered) = Ledger::open(dir, nursery.clone(), tell, terms)?;
    let outlet = Arc::new(Outlet::default());
    let own = |fd: &dyn AsFd| fd.as_fd().try_clone_to_owned();
    let stdout = own(&io::stdout()).map_err(doing("use stdout"))?;
    let stdin = own(&io::stdin()).map_err(doing("use stdin"))?;
    outlet.attach(stdout, 0, None);
    let (woken, wake) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| doing("make a pipe")(error.into()))?;
    let agent = Arc::new(Agent {
        ledger: Mutex::new(ledger),
        nursery,
        responder: Responder::open(probe_port)?,
        outlet,
        dir: dir.path().to_owned(),
        recovered,
        threads: AtomicUsize::new(0),
        leave: Mutex::new(None),
        wake,
        leash: OnceLock::new(),
    });
    if watchdog {
        let teller = agent.clone();
        let gone = move || {
            let what =
                "the watchdog is gone: if this agent is killed, its faults stay until the next";
            teller.note(Note::Trouble { what: what.into() });
        };
        let leash = Leash::open(&agent.dir, gone)?;
        agent.leash.get_or_init(|| leash);
    }
    let watcher = agent.clone();
    thread::spawn(move || watch(&watcher, events));
    let (hand, file) = (worker(&agent), worker(&agent));
    let why = read(&agent, &hand, &file, stdin, signals, &woken);
    agent.end(&why);
    Ok(())
}

fn in_turn(to: &Sender<Job>, job: impl FnOnce(&Arc<Agent>) + Send + 'static) {
    to.send(Box::new(job))
        .expect("workers live as long as the process");
}

/// Runs jobs one after the other.
fn worker(agent: &Arc<Agent>) -> Sender<Job> {
    let (jobs, to_do) = mpsc::channel::<Job>();
    let agent = agent.clone();
    thread::spawn(move || to_do.into_iter().for_each(|job| job(&agent)));
    jobs
}

/// Passes on the ends of daemons, and looks after what must be looked after.
fn watch(agent: &Arc<Agent>, events: Receiver<Event>) {
    let mut said = BTreeSet::new();
    let mut last = Instant::now();
    loop {
        let next = agent.ledger().next_tick().unwrap_or(last + TICK);
        let wait = next
            .min(last + TICK)
            .saturating_duration_since(Instant::now());
        match events.recv_timeout(wait) {
            Ok(Event::Ended {
                daemon: name,
                ident,
                exit,
            }) => {
                let mut ledger = agent.ledger();
                let Ok(daemon) = ledger.site.daemon(&name) else {
                    continue;
                };
                let expected = daemon.ended(ident, exit);
                drop(ledger);
                agent.note(Note::Exited {
                    daemon: name,
                    pid: ident.pid,
                    status: exit.to_string(),
                    expected,
                });
            }
            // There is a new time to wait for.
            Ok(Event::Look) => {}
            Err(_) => {
                let troubles = agent.ledger().tick(last.elapsed() >= TICK);
                if last.elapsed() >= TICK {
                    last = Instant::now();
                }
                for what in troubles {
                    // Once each: what goes wrong at every look says nothing new.
                    if said.insert(what.clone()) {
                        agent.note(Note::Trouble { what });
                    }
                }
            }
        }
    }
}

/// What the main thread knows of its controller.
#[derive(Default)]
struct Session {
    lines: Lines,
    lease: Option<Duration>,
    /// By which the session is taken up again after its link was lost.
    door: Option<Door>,
    /// The helper that handed the present link over; it stays as long as this does.
    helper: Option<UnixStream>,
}

/// Waits until there is something to read, or the deadline is over. Which are ready.
fn wait(fds: &mut [PollFd], deadline: Option<Instant>) -> rustix::io::Result<Vec<bool>> {
    let timeout = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()) as _,
        }
    });
    match poll(fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// Reads and dispatches until the session is over; says why it is.
fn read(
    agent: &Arc<Agent>,
    hand: &Sender<Job>,
    file: &Sender<Job>,
    stdin: OwnedFd,
    signals: &OwnedFd,
    woken: &OwnedFd,
) -> String {
    let mut session = Session::default();
    // None: the link is lost.
    let mut input = Some(stdin);
    let mut heard = Instant::now();
    let mut expired = false;
    // A fault that was asked for in time may be applied after the lease has run out: so it is
    // looked again after each further lease.
    let mut looked = heard;
    let mut piece = vec![0; 256 << 10];
    loop {
        let deadline = session.lease.map(|lease| heard.max(looked) + lease);
        let mut fds = vec![PollFd::new(signals, IN), PollFd::new(woken, IN)];
        fds.extend(input.iter().map(|fd| PollFd::new(fd, IN)));
        fds.extend(session.door.iter().map(|fd| PollFd::new(fd, IN)));
        let ready = match wait(&mut fds, deadline) {
            Ok(ready) => ready,
            Err(error) => return format!("cannot wait for input: {error}"),
        };
        if ready[0] {
            return "a signal".into();
        }
        if ready[1] {
            return "told to".into();
        }
        // Input first: a machine that was suspended finds both its lease run out and the lines
        // that renew it.
        if let Some(fd) = input.as_ref().filter(|_| ready[2]) {
            match rustix::io::read(fd, &mut piece) {
                Ok(length) if length > 0 => {
                    heard = Instant::now();
                    expired = false;
                    for line in session.lines.feed(&piece[..length]) {
                        agent.dispatch(line, &mut session, hand, file);
                    }
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                // Without a lease to wait for, or with nothing left of it, this is the end.
                Err(error) if session.door.is_none() || expired => {
                    return format!("cannot read from the controller: {error}");
                }
                Ok(_) if session.door.is_none() || expired => {
                    return "the controller closed its end".into();
                }
                _ => input = None,
            }
        } else if let Some(door) = session
            .door
            .as_ref()
            .filter(|_| ready.last() == Some(&true))
        {
            match door.answer() {
                Some(Visitor::Back(taken)) => {
                    heard = Instant::now();
                    input = Some(agent.resume(taken, &mut session));
                }
                Some(Visitor::Successor) if input.is_none() => {
                    return "the controller is gone, and another agent is wanted here".into();
                }
                Some(Visitor::Successor) | None => {}
            }
        } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            if input.is_none() {
                let span = heard.elapsed().as_millis();
                return format!("the link was lost, and nobody came back within {span} ms");
            }
            looked = Instant::now();
            let again = std::mem::replace(&mut expired, true);
            agent.expire(heard.elapsed(), again);
        }
    }
}

impl Agent {
    /// A panic while it was held is a bug, but the node must still be healed.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease has run out: undoes every fault, and says so. `again`: it had before, and there
    /// may be nothing new.
    fn expire(&self, silent: Duration, again: bool) {
        let faults = self.ledger().in_force();
        if again && faults.is_empty() {
            return;
        }
        let healed = self.ledger().heal_all();
        let why = format!(
            "no line from the controller for {} ms; undid faults {faults:?}",
            silent.as_millis()
        );
        self.note(Note::Healed { why });
        if !healed.held {
            let what = healed.evidence.join("; ");
            self.note(Note::Trouble { what });
        }
    }

    fn say(&self, line: Line) {
        let line = serde_json::to_vec(&line).expect("lines have string keys only");
        self.outlet.say(line);
    }

    /// Goes on with a session on a new link: says how far it has heard, and again what was not
    /// heard of it. Returns where to read from now on.
    fn resume(&self, taken: Taken, session: &mut Session) -> OwnedFd {
        let resumed = Line::Resumed {
            // A line that was cut off comes again, whole.
            resumed: session.lines.restart(),
        };
        let greeting = serde_json::to_vec(&resumed).expect("lines have string keys only");
        // What is complained of from now on has a new way out; without it, it is lost.
        let _ = rustix::stdio::dup2_stderr(&taken.complaints);
        session.helper = Some(taken.helper);
        let received = taken.received;
        self.outlet.attach(taken.output, received, Some(greeting));
        taken.input
    }

    fn note(&self, note: Note) {
        self.say(Line::Note(note));
    }

    /// Answers request `id` with what `work` returns. A panic in it is answered too.
    fn answer<T: Serialize>(&self, id: u64, work: impl FnOnce() -> Result<T>) {
        let done = catch_unwind(AssertUnwindSafe(work));
        let line = match done {
            Ok(Ok(value)) => match serde_json::to_value(value) {
                Ok(ok) => Line::Answer { id, ok },
                Err(error) => Line::Refusal {
                    id,
                    error: format!("the answer cannot be written: {error}"),
                },
            },
            Ok(Err(error)) => Line::Refusal {
                id,
                error: error.to_string(),
            },
            Err(_) => Line::Refusal {
                id,
                error: "a bug in the agent; what it said is on its stderr".into(),
            },
        };
        self.say(line);
    }

    /// Answers in a thread of its own what may take long.
    fn answer_aside<T: Serialize>(
        self: &Arc<Self>,
        id: u64,
        work: impl FnOnce(&Arc<Agent>) -> Result<T> + Send + 'static,
    ) {
        let agent = self.clone();
        let refuse = |error: String| self.say(Line::Refusal { id, error });
        if self.threads.fetch_add(1, Ordering::Relaxed) >= THREADS_MAX {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            return refuse(format!("{THREADS_MAX} requests are waiting already"));
        }
        let started = thread::Builder::new().spawn(move || {
            agent.answer(id, || work(&agent));
            agent.threads.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = started {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            refuse(format!("cannot start a thread: {error}"));
        }
    }

    fn dispatch(
        self: &Arc<Self>,
        line: Numbered,
        session: &mut Session,
        hand: &Sender<Job>,
        file: &Sender<Job>,
    ) {
        let (id, request) = match parse(line) {
            Ok(parsed) => parsed,
            Err((id, error)) => return self.say(Line::Refusal { id, error }),
        };
        match request {
            Request::Hello {
                version,
                lease_ms,
                session: token,
                ..
            } => self.answer(id, || {
                let hello = self.hello(version, lease_ms)?;
                if let Some(token) = token {
                    session.door = Some(Door::open(&self.dir, token)?);
                    self.outlet.keep();
                }
                let lease = Duration::from_millis(lease_ms);
                if let Some(leash) = self.leash.get() {
                    leash.lease(lease);
                }
                session.lease = Some(lease);
                Ok(hello)
            }),
            _ if session.lease.is_none() => self.say(Line::Refusal {
                id,
                error: "say `hello` first".into(),
            }),
            Request::Renew { received } => {
                self.outlet.received(received);
                let received = session.lines.count();
                self.answer(id, || Ok(Renewed { received }));
            }
            Request::Seen { nonce } => self.answer(id, || Ok(self.responder.seen(nonce))),
            Request::Run { .. } | Request::Probe { .. } | Request::Connect { .. } => {
                self.aside(id, request);
            }
            Request::Put { .. } | Request::Get { .. } | Request::Remove { .. } => {
                in_turn(file, move |agent| agent.by_file(id, request));
            }
            Request::Stop { daemon, grace_ms } => in_turn(hand, move |agent| {
                let asked = agent.ledger().site.terminate(&daemon);
                match asked {
                    Ok(()) => agent.answer_aside(id, move |agent| {
                        agent.stopped(&daemon, Duration::from_millis(grace_ms))
                    }),
                    Err(error) => agent.answer(id, || Err::<(), _>(error)),
                }
            }),
            Request::Shutdown => in_turn(hand, move |agent| {
                *agent.leave.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
                // One byte fits into an empty pipe; a second request finds it awake.
                let _ = rustix::io::write(&agent.wake, b"x");
            }),
            other => in_turn(hand, move |agent| {
                agent.answer(id, || agent.by_hand(other));
            }),
        }
    }

    /// Leaves the node whole and empty.
    fn end(self: &Arc<Self>, why: &str) {
        let names: Vec<String> = {
            let mut ledger = self.ledger();
            // First, so that healing does not start again what is about to be stopped.
            for daemon in ledger.site.daemons.values_mut() {
                daemon.wanted = false;
            }
            let healed = ledger.heal_all();
            if !healed.held {
                self.note(Note::Trouble {
                    what: healed.evidence.join("; "),
                });
            }
            ledger.site.daemons.keys().cloned().collect()
        };
        thread::scope(|scope| {
            for name in &names {
                scope.spawn(move || {
                    let stop = self.ledger().site.terminate(name);
                    let done = stop.and_then(|()| self.stopped(name, GRACE).map(|_| ()));
                    if let Err(error) = done {
                        let what = error.to_string();
                        self.note(Note::Trouble { what });
                    }
                });
            }
        });
        // Whoever asked for it gets an answer; a note is for what nobody asked.
        let leave = *self.leave.lock().unwrap_or_else(PoisonError::into_inner);
        match leave {
            Some(id) => self.answer(id, || Ok(())),
            None => self.note(Note::Healed {
                why: format!("{why}; every fault is undone and every daemon stopped"),
            }),
        }
        // A controller that does not read is not waited for.
        self.outlet.flush(Duration::from_secs(1));
    }
}

/// SIGTERM, SIGINT, SIGQUIT and SIGHUP as a readable descriptor. Call it before any thread is
/// started: they inherit that the signals are held back. Children do not; the standard library sees
/// to it.
pub fn signals() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: the set is initialised by sigemptyset; signalfd returns a new descriptor or -1.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
            libc::sigaddset(&mut set, signal);
        }
        if libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
