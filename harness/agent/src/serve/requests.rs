//! What each request does.

use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Serialize;
use serde_json::Value;

use super::{Agent, LEASE_MIN_MS, VANISH};
use crate::error::{Error, Result, doing};
use crate::files;
use crate::probe;
use crate::protocol::{self, Hello, Line, Request, State};
use crate::site::{Look, wait_until};
use crate::strain;
use crate::supervise;

impl Agent {
    /// What may take long and waits for nobody: each in a thread of its own.
    pub(super) fn aside(self: &Arc<Self>, id: u64, request: Request) {
        match request {
            Request::Run {
                argv,
                stdin,
                timeout_ms,
            } => self.answer_aside(id, move |agent| {
                let [program, args @ ..] = argv.as_slice() else {
                    return Err(Error::Refused("no program to run".into()));
                };
                let mut command = Command::new(program);
                command.args(args);
                let timeout = Duration::from_millis(timeout_ms);
                agent
                    .nursery
                    .run(command, stdin.into_bytes(), timeout)
                    .map_err(doing(&format!("run {program:?}")))
            }),
            Request::Probe {
                peers,
                nonce,
                count,
                wait_ms,
            } => self.answer_aside(id, move |_| {
                probe::probe(&peers, nonce, count, Duration::from_millis(wait_ms))
            }),
            Request::Connect { to, timeout_ms } => self.answer_aside(id, move |_| {
                probe::connect(to, Duration::from_millis(timeout_ms))
            }),
            other => self.misled(id, &other),
        }
    }

    /// What is done to files in the order in which it was sent.
    pub(super) fn by_file(&self, id: u64, request: Request) {
        match request {
            Request::Put {
                path,
                mode,
                append,
                base64,
            } => self.answer(id, || files::put(&path, mode, append, &base64)),
            Request::Get {
                path,
                offset,
                limit,
            } => self.answer(id, || files::get(&path, offset, limit)),
            Request::Remove { path } => self.answer(id, || files::remove(&path, &self.dir)),
            other => self.misled(id, &other),
        }
    }

    pub(super) fn misled(&self, id: u64, request: &Request) {
        let error = format!("{request:?} is not for this thread");
        self.say(Line::Refusal { id, error });
    }

    pub(super) fn hello(&self, version: u32, lease_ms: u64) -> Result<Hello> {
        if version != protocol::VERSION {
            return Err(Error::Refused(format!(
                "this agent ({}) speaks version {} of the protocol, the controller version {version}",
                env!("CARGO_PKG_VERSION"),
                protocol::VERSION
            )));
        }
        if lease_ms < LEASE_MIN_MS {
            return Err(Error::Refused(format!(
                "a lease of {lease_ms} ms is too short (at least {LEASE_MIN_MS} ms)"
            )));
        }
        let system = rustix::system::uname();
        Ok(Hello {
            agent: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            hostname: system.nodename().to_string_lossy().into_owned(),
            arch: system.machine().to_string_lossy().into_owned(),
            kernel: system.release().to_string_lossy().into_owned(),
            probe_port: self.responder.port(),
            offers: self.ledger().offers(),
            undone: self.recovered.faults.clone(),
        })
    }

    /// What is done in the order in which it was sent.
    pub(super) fn by_hand(&self, request: Request) -> Result<Value> {
        let mut ledger = self.ledger();
        match request {
            Request::Start { daemon } => value(ledger.site.start(daemon)?),
            Request::State { daemon } => {
                drop(ledger);
                value(self.state(&daemon)?)
            }
            Request::Tail { daemon, lines } => {
                let log = ledger.site.daemon(&daemon)?.spec.log.clone();
                drop(ledger);
                value(supervise::tail(&log, lines)?)
            }
            Request::Inject { fault, kind } => value(ledger.inject(fault, kind)?),
            Request::Heal { fault } => value(ledger.heal(fault)?),
            Request::HealAll => value(ledger.heal_all()),
            Request::Clocks { daemon } => value(ledger.clocks(daemon.as_deref())?),
            Request::Strain { daemon } => {
                let members = ledger.site.daemon(&daemon)?.members()?;
                drop(ledger);
                value(strain::look(&members).map_err(doing("read the processors' accounts"))?)
            }
            Request::MakeUp { lost_ns } => value(ledger.make_up(lost_ns)?),
            Request::InForce => value(ledger.in_force()),
            other => Err(Error::Refused(format!("{other:?} is not for this thread"))),
        }
    }

    /// How a daemon is. One whose root is dead, but not told of yet, is waited for: its status
    /// would be that of before.
    pub(super) fn state(&self, name: &str) -> Result<State> {
        let told = || {
            let mut ledger = self.ledger();
            let daemon = ledger.site.daemon(name)?;
            Ok(daemon.root.is_none() || !daemon.members()?.is_empty())
        };
        wait_until(VANISH, told)?;
        let mut ledger = self.ledger();
        ledger.site.claim(name, Look::Listeners)?;
        ledger.site.daemon(name)?.state()
    }

    /// Waits for a daemon that was asked to end, and kills it after `grace`.
    pub(super) fn stopped(&self, name: &str, grace: Duration) -> Result<State> {
        let ended = || {
            let mut ledger = self.ledger();
            let daemon = ledger.site.daemon(name)?;
            // The root's end must have been told too, or its status would be that of before.
            Ok(daemon.root.is_none() && daemon.members()?.is_empty())
        };
        if !wait_until(grace, ended)? {
            let deadline = Instant::now() + VANISH;
            while !ended()? {
                if Instant::now() >= deadline {
                    return Err(Error::Refused(format!(
                        "daemon {name:?} does not die, not even of SIGKILL"
                    )));
                }
                self.ledger().site.daemon(name)?.signal(Signal::KILL)?;
                thread::sleep(Duration::from_millis(2));
            }
        }
        self.ledger().site.daemon(name)?.state()
    }
}

fn value(what: impl Serialize) -> Result<Value> {
    serde_json::to_value(what)
        .map_err(|error| Error::Refused(format!("the answer cannot be written: {error}")))
}
