//! The Multi-Paxos node of this workspace, over its documented HTTP surface and nothing else.
//!
//! It is asked as a stranger would ask it: no type is shared with the node, so a mistake in its
//! encoding cannot hide on both sides. The surface is described in `harness/docs/paxos-kv.md`.

mod feed;
mod leases;

use std::path::PathBuf;
use std::sync::Arc;

use agent::protocol::{Daemon, StopSignal};
use async_trait::async_trait;
use harness::cluster::{Node, Program};
use harness::control::ControlError;
use harness::system::System;
use history::{Name, Value};
use hyper::StatusCode;
use serde::Deserialize;

use feed::Feeds;
use leases::Leases;

use super::own::{self, Client, describe, error_of};
use super::{
    Entry, Flaw, Pace, Ready, Setup, SetupError, TimeRule, ask_all, at, majority, make_folders,
    parse, run,
};
use crate::http::{Http, Patience, told};
use crate::interface::{
    Call, Command, DecidedLog, Interface, Kv, LedgerOverKv, Log, LogEntry, Offers, OpenKv,
};
use crate::params::{Kind, Param, Params};
use crate::recipes::ObjectsOverKv;

const NAME: &str = "paxos-kv";
const VARIABLE: &str = "SCHISM_PAXOS_KV";

const TRACE: &str = "trace";

/// The flags of the daemon by the same names, except `trace`, which is a file there.
const PARAMS: &[Param] = &[
    Param {
        name: "election-timeout",
        kind: Kind::Duration,
        default: "500ms",
        about: "silence of the leader after which another node stands for election",
    },
    Param {
        name: "heartbeat-interval",
        kind: Kind::Duration,
        default: "100ms",
        about: "how often the leader says that it is there",
    },
    Param {
        name: "lease",
        kind: Kind::Duration,
        default: "400ms",
        about: "how long a quorum's promise lets the leader read alone",
    },
    Param {
        name: "max-drift",
        kind: Kind::Duration,
        default: "50ms",
        about: "how much sooner than its followers the leader takes its lease to end",
    },
    Param {
        name: "request-timeout",
        kind: Kind::Duration,
        default: "2s",
        about: "how long a node tries before it answers that it does not know",
    },
    Param {
        name: "reads",
        kind: Kind::Choice(&["quorum", "log", "lease", "local"]),
        default: "quorum",
        about: "how reads are served; local ones may be stale by design",
    },
    Param {
        name: "snapshot-every",
        kind: Kind::Count {
            min: 2,
            max: 1_000_000_000,
        },
        default: "10000",
        about: "decided slots after which the log is replaced by a snapshot",
    },
    Param {
        name: "max-batch",
        kind: Kind::Count {
            min: 1,
            max: 65_535,
        },
        default: "512",
        about: "commands in one slot at most",
    },
    Param {
        name: "peer-loss",
        kind: Kind::Count { min: 0, max: 99 },
        default: "0",
        about: "of a hundred messages between nodes so many are lost",
    },
    Param {
        name: "peer-late",
        kind: Kind::Count { min: 0, max: 100 },
        default: "0",
        about: "of a hundred messages between nodes so many are late and overtaken",
    },
    Param {
        name: "peer-repeats",
        kind: Kind::Count { min: 0, max: 100 },
        default: "0",
        about: "of a hundred messages between nodes so many come a second time, late",
    },
    Param {
        name: "peer-delay",
        kind: Kind::Duration,
        default: "100ms",
        about: "the longest delay of a late message between nodes",
    },
    Param {
        name: "peer-hazards",
        kind: Kind::Choice(&["all", "first"]),
        default: "all",
        about: "which nodes' incoming messages that is: all nodes', or those of the first by name",
    },
    Param {
        name: "slow-writes",
        kind: Kind::Count { min: 0, max: 100 },
        default: "0",
        about: "of a hundred writes of a node's log so many rest for 100 ms half way",
    },
    Param {
        name: "failed-syncs",
        kind: Kind::Count { min: 0, max: 100 },
        default: "0",
        about: "of a hundred syncs of the first node's log so many fail, after the first 200",
    },
    Param {
        name: TRACE,
        kind: Kind::Choice(&["on", "off"]),
        default: "on",
        about: "whether promises, accepts, decisions and leases are recorded and judged",
    },
];

const ELECTION_RULE: &str = "a follower stands for election after 1 to 1.5 times --election-timeout \
     without a heartbeat, and a leader steps down after it without a quorum, each by its own monotonic clock";

const LEASE_RULE: &str = "with --reads lease the leader answers alone while its lease holds by its own \
     monotonic clock, and followers bind themselves by theirs";

/// Wall clocks are read for the log's time stamps only, unless a flaw is planted.
const TIME_RULES: &[TimeRule] = &[
    TimeRule {
        figure: "agreement/elections",
        rule: ELECTION_RULE,
        uses: None,
    },
    TimeRule {
        figure: "agreement/needless elections",
        rule: ELECTION_RULE,
        uses: None,
    },
    TimeRule {
        figure: "staleness/stale reads",
        rule: LEASE_RULE,
        uses: None,
    },
];

pub(super) const ENTRY: Entry = Entry {
    name: NAME,
    about: "Multi-Paxos key-value store, with bugs that can be switched on",
    interfaces: &[
        Interface::Kv,
        Interface::Log,
        Interface::Ledger,
        Interface::Objects,
        Interface::Leases,
        Interface::Feed,
    ],
    calls: Call::ALL,
    folder: None,
    params: PARAMS,
    workload: "register",
    own: &[],
    variable: VARIABLE,
    operations: &[],
    nodes: super::NODES,
    leads: true,
    may_crash: false,
    time_rules: TIME_RULES,
    install: "",
    versions: &[],
    look: &|| program().map(drop),
    pace: |_| Pace::QUICK,
    flaws,
    set_up: &set_up,
};

/// TCP ports of a node.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub client: u16,
    pub peer: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports {
            client: 7000,
            peer: 7001,
        }
    }
}

/// The daemon would refuse the rest of its rules by name and range; these are about two at once.
fn set_up(setup: &Setup) -> Result<Ready, SetupError> {
    let span = |name| setup.params.duration(name);
    for (name, times, bound) in [
        ("heartbeat-interval", 2, "election-timeout"),
        ("lease", 1, "election-timeout"),
        ("max-drift", 1, "lease"),
    ] {
        if span(name) * times > span(bound) {
            return Err(SetupError::Refused {
                system: NAME,
                reason: format!(
                    "{name} {} is more than {} {bound} {}",
                    setup.params.text(name),
                    if times == 2 { "half the" } else { "the" },
                    setup.params.text(bound)
                ),
            });
        }
    }
    Ok(PaxosKv::new(program()?, setup.clone(), Ports::default()).ready())
}

/// The node's program: where `SCHISM_PAXOS_KV` says, else beside the running program (where cargo
/// puts it, for tests one folder up).
///
/// # Errors
/// If it is in neither place.
pub fn program() -> Result<PathBuf, SetupError> {
    own::program(
        NAME,
        VARIABLE,
        "build it with `cargo build -p paxos-kv`, or say where it is in SCHISM_PAXOS_KV",
    )
}

fn flaws() -> Result<Vec<Flaw>, SetupError> {
    own::flaws(&program()?)
}

/// The system, set up.
#[derive(Clone)]
pub struct PaxosKv {
    program: PathBuf,
    setup: Setup,
    ports: Ports,
}

impl PaxosKv {
    pub fn new(program: PathBuf, setup: Setup, ports: Ports) -> PaxosKv {
        PaxosKv {
            program,
            setup,
            ports,
        }
    }

    /// As a system with its interfaces.
    pub fn ready(self) -> Ready {
        let system = Arc::new(self);
        Ready {
            offers: Offers {
                kv: Some(system.clone()),
                ledger: Some(Arc::new(LedgerOverKv(system.clone()))),
                objects: Some(Arc::new(ObjectsOverKv(system.clone()))),
                log: Some(system.clone()),
                leases: Some(Arc::new(Leases(system.clone()))),
                feed: Some(Arc::new(Feeds::new(system.clone()))),
                ..Offers::default()
            },
            system,
        }
    }

    fn params(&self) -> &Params {
        &self.setup.params
    }

    fn http(&self, node: &Node, patience: Patience) -> Http {
        Http::new(at(node, self.ports.client), patience)
    }

    fn trace(&self, node: &Node) -> Option<PathBuf> {
        (self.params().text(TRACE) == "on").then(|| node.log("trace.jsonl"))
    }
}

/// `GET /debug/status`, the part that is used.
#[derive(Deserialize)]
struct Status {
    leader: Option<Name>,
    clock: Clock,
}

#[derive(Deserialize)]
struct Clock {
    wall_ns: i64,
}

async fn status(mut http: Http) -> Option<Status> {
    let answer = http.get("/debug/status").await.ok()?;
    serde_json::from_slice(&answer.body).ok()
}

#[async_trait]
impl System for PaxosKv {
    fn name(&self) -> &str {
        NAME
    }

    fn programs(&self) -> Vec<Program> {
        vec![Program {
            name: NAME.into(),
            from: self.program.clone(),
        }]
    }

    fn daemon(&self, node: &Node, all: &[Node]) -> Daemon {
        let peer = |node: &Node| at(node, self.ports.peer).to_string();
        let peers: Vec<String> = all
            .iter()
            .map(|node| format!("{}={}", node.name, peer(node)))
            .collect();
        let mut argv = vec![node.bin(NAME).display().to_string()];
        let mut flag = |name: &str, value: String| argv.extend([format!("--{name}"), value]);
        flag("id", node.name.to_string());
        flag("data", node.data().display().to_string());
        flag("client-addr", at(node, self.ports.client).to_string());
        flag("peer-addr", peer(node));
        flag("peers", peers.join(","));
        if let Some(trace) = self.trace(node) {
            flag("trace", trace.display().to_string());
        }
        for param in PARAMS.iter().filter(|param| param.name != TRACE) {
            let value = match param.kind {
                // The daemon knows fewer ways to write a duration.
                Kind::Duration => format!("{}us", self.params().duration(param.name).as_micros()),
                _ => self.params().text(param.name).to_string(),
            };
            flag(param.name, value);
        }
        for name in &self.setup.flaws {
            flag("flaw", name.clone());
        }
        Daemon {
            name: NAME.into(),
            argv,
            env: Default::default(),
            cwd: node.data(),
            stop: StopSignal::Term,
            log: node.log("paxos-kv.log"),
        }
    }

    async fn install(&self, node: &Node, _all: &[Node]) -> Result<(), ControlError> {
        make_folders(node).await
    }

    /// A quorum read succeeds only when a quorum can be reached from this node.
    async fn ready(&self, node: &Node) -> Result<(), String> {
        let mut http = self.http(node, Patience::QUESTION);
        let asked = http.get("/kv/ready?read=quorum").await;
        match &asked {
            Ok(a) if a.status == StatusCode::OK || a.status == StatusCode::NOT_FOUND => Ok(()),
            _ => Err(format!("a quorum read: {}", told(&asked))),
        }
    }

    async fn leader(&self, nodes: &[Node]) -> Option<Name> {
        let statuses = ask_all(nodes, |node| status(self.http(node, Patience::QUESTION))).await;
        let opinions: Vec<Name> = statuses.into_iter().filter_map(|(_, s)| s.leader).collect();
        majority(&opinions, nodes.len())
    }

    fn client_port(&self) -> u16 {
        self.ports.client
    }

    async fn wall_clock(&self, node: &Node) -> Option<i64> {
        let status = status(self.http(node, Patience::QUESTION)).await?;
        Some(status.clock.wall_ns)
    }

    async fn final_reads(&self, node: &Node) -> Vec<(Name, Result<Value, String>)> {
        let log = self.decided(node).await.map(|log| log.to_value());
        let mut reads = vec![("log".into(), log)];
        if let Some(path) = self.trace(node) {
            let trace = node.agent.get(path).await.map_err(|e| e.to_string());
            let trace = trace.and_then(|text| trace_value(&node.name, &text));
            reads.push(("trace".into(), trace));
        }
        reads
    }

    async fn version(&self, node: &Node) -> Result<String, ControlError> {
        let program = node.bin(NAME).display().to_string();
        let ran = run(node, vec![program, "--version".into()]).await?;
        Ok(ran.stdout.trim().to_string())
    }
}

/// `{"node": "n1", "events": [...]}` out of the trace file, one JSON object a line.
///
/// A node that is killed can tear the line that it is writing, and after its restart goes on behind
/// it. No event has an object in it, so the last brace of a line begins the line's whole event.
fn trace_value(node: &Name, text: &[u8]) -> Result<Value, String> {
    let mut events = Vec::new();
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let begins = line.iter().rposition(|byte| *byte == b'{').unwrap_or(0);
        match serde_json::from_slice::<Value>(&line[begins..]) {
            Ok(event) => events.push(event),
            // Torn, and the file ends.
            Err(_) if line.last() != Some(&b'\n') => {}
            Err(e) => return Err(format!("line {} of the trace: {e}", number + 1)),
        }
    }
    Ok(Value::Map(vec![
        ("node".into(), node.clone().into()),
        ("events".into(), Value::List(events)),
    ]))
}

/// Entries that are asked for at once.
const PAGE: u64 = 5_000;

#[derive(Deserialize)]
struct LogPage {
    first: i64,
    entries: Vec<PageEntry>,
    decided_upto: i64,
}

#[derive(Deserialize)]
struct PageEntry {
    slot: i64,
    ballot: (i64, Name),
    digest: String,
    chain: String,
    commands: Vec<PageCommand>,
}

#[derive(Deserialize)]
struct PageCommand {
    session: String,
    sequence: i64,
    applied: bool,
    op: String,
    #[serde(default)]
    key: Value,
    #[serde(default)]
    from: Value,
    #[serde(default)]
    to: Value,
    #[serde(default)]
    value: Value,
}

impl From<PageEntry> for LogEntry {
    fn from(entry: PageEntry) -> LogEntry {
        let applied = entry.commands.into_iter().filter(|command| command.applied);
        LogEntry {
            slot: entry.slot,
            ballot: entry.ballot,
            digest: entry.digest,
            chain: entry.chain,
            applied: applied.map(Command::from).collect(),
        }
    }
}

impl From<PageCommand> for Command {
    fn from(command: PageCommand) -> Command {
        let what = Value::text(&command.op);
        let content = match command.op.as_str() {
            "put" | "append" => vec![what, command.key, command.value],
            "cas" => vec![what, command.key, command.from, command.to],
            "swap-unchecked" => vec![what, command.key, command.to],
            _ => vec![what, command.key],
        };
        Command {
            session: command.session,
            sequence: command.sequence,
            content,
        }
    }
}

/// The pages of one log, one after the other, while the node goes on.
struct Reading {
    log: DecidedLog,
    next: i64,
}

impl Reading {
    fn of(node: &Name) -> Reading {
        Reading {
            log: DecidedLog {
                node: node.clone(),
                entries: Vec::new(),
                first: None,
                decided_upto: 0,
            },
            next: 0,
        }
    }

    /// Adds the page that was asked from `self.next` on. Returns whether it was the last.
    fn add(&mut self, page: LogPage) -> Result<bool, String> {
        let log = &mut self.log;
        if page.decided_upto < log.decided_upto {
            return Err(format!(
                "the node had decided slots up to {}, and while its log was read only up to {}",
                log.decided_upto, page.decided_upto
            ));
        }
        log.decided_upto = page.decided_upto;
        if log.first.is_none() || page.first > self.next {
            // A snapshot has replaced what was read so far, and more.
            log.entries.clear();
            log.first = Some(page.first);
        }
        let Some(last) = page.entries.last() else {
            return Ok(true);
        };
        self.next = last.slot + 1;
        log.entries
            .extend(page.entries.into_iter().map(LogEntry::from));
        Ok(self.next > log.decided_upto)
    }
}

#[async_trait]
impl Log for PaxosKv {
    async fn decided(&self, node: &Node) -> Result<DecidedLog, String> {
        let mut http = self.http(node, Patience::COLLECT);
        let mut reading = Reading::of(&node.name);
        loop {
            let path = format!("/debug/log?from={}&limit={PAGE}", reading.next);
            let answer = http.get(&path).await.map_err(|e| describe(&e))?;
            if answer.status != StatusCode::OK {
                return Err(describe(&error_of(&answer)));
            }
            if reading.add(parse(&answer.body).map_err(|e| describe(&e))?)? {
                return Ok(reading.log);
            }
        }
    }
}

impl OpenKv for PaxosKv {
    fn open(&self, node: &Node) -> Box<dyn Kv> {
        Box::new(Client::new(self.http(node, Patience::CLIENT)))
    }
}

#[cfg(test)]
mod tests;
