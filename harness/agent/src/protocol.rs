//! What controller and agent say to each other: one JSON value a line, on the agent's stdio.
//!
//! ```text
//! > {"id":1,"do":"hello","version":2,"node":"n1","lease_ms":10000}
//! < {"id":1,"ok":{"agent":"0.1.0","pid":1,...}}
//! > {"id":2,"do":"inject","fault":7,"kind":"pause","daemon":"paxos-kv"}
//! < {"id":2,"ok":{"held":true,"evidence":["pid 12: state T (stopped)"]}}
//! < {"note":"exited","daemon":"paxos-kv","pid":12,"status":"signal 9"}
//! < {"id":3,"error":"no daemon \"etcd\" on this node"}
//! ```
//!
//! Requests may be sent without waiting; answers carry the request's id and may come in another
//! order; what is asked about daemons and faults is done in the order in which it was sent. A line
//! that makes no sense is refused with its number and the reason, with id 0 if it has none that can
//! be read. Lines with `note` come unasked. End of input is the dead man's switch: the agent undoes
//! every fault, stops every daemon it started, and exits; where the session has a token, it first
//! waits for the rest of its lease whether somebody takes the session up again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Version of this protocol. A controller and an agent of different versions refuse each other.
pub const VERSION: u32 = 2;

/// A line from the controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    pub id: u64,
    #[serde(flatten)]
    pub request: Request,
}

/// What the controller can ask. All paths are the node's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// First line of a session. Answer: [`Hello`].
    Hello {
        version: u32,
        node: String,
        /// Without a line from the controller for so long, the agent heals itself.
        lease_ms: u64,
        /// With this token the session can be taken up again on another link (`schism-agent
        /// resume`) until the lease has run out; the end of input is then a lost link, and nothing
        /// more. The controller takes its leave by `shutdown`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    /// Renews the lease; any other request does too. `received`: how many lines of the agent's the
    /// controller has, which need not be kept for it any longer. Answer: [`Renewed`].
    Renew {
        #[serde(default)]
        received: u64,
    },
    /// Starts a daemon, or starts it again with a new description after it has ended. Refused while
    /// it runs, and while a fault holds it dead. Answer: [`Started`].
    Start { daemon: Daemon },
    /// Stops a daemon: its stop signal to its tree, SIGKILL after `grace_ms`. Answer: [`State`].
    Stop { daemon: String, grace_ms: u64 },
    /// How a daemon is. Answer: [`State`].
    State { daemon: String },
    /// The last lines of a daemon's log. Answer: text.
    Tail { daemon: String, lines: u32 },
    /// Runs a command to its end, killed with its children after `timeout_ms`. Answer: [`Ran`].
    Run {
        argv: Vec<String>,
        #[serde(default)]
        stdin: String,
        timeout_ms: u64,
    },
    /// Writes a file whole, or appends a piece to one that is moved in pieces. Answer: null.
    Put {
        path: PathBuf,
        mode: u32,
        #[serde(default)]
        append: bool,
        base64: String,
    },
    /// Reads a piece of a file. Answer: [`Piece`].
    Get {
        path: PathBuf,
        offset: u64,
        limit: u64,
    },
    /// Removes a file, or a folder with all that is in it; fine if it is not there. Refused for the
    /// root, what lies right below it, and what holds the agent's own folder. Answer: null.
    Remove { path: PathBuf },
    /// Applies a fault, journalled before it is applied. Answer: [`Evidence`].
    Inject {
        fault: u64,
        #[serde(flatten)]
        kind: Fault,
    },
    /// Undoes one fault. Answer: [`Evidence`] that it is gone. Undoing what is not there is fine.
    Heal { fault: u64 },
    /// Undoes every fault, those of a dead predecessor too. Answer: [`Evidence`].
    HealAll,
    /// Sends `count` datagrams, numbered with `nonce`, to each peer's probe port. Answer:
    /// [`Probed`] as soon as all are answered, else after `wait_ms`: which peers answered.
    Probe {
        peers: Vec<SocketAddr>,
        nonce: u64,
        count: u32,
        wait_ms: u64,
    },
    /// Which probes with this nonce have arrived here, from whom. Answer: [`Seen`].
    Seen { nonce: u64 },
    /// Tries a TCP connection. Answer: [`Connected`].
    Connect { to: SocketAddr, timeout_ms: u64 },
    /// What the node's clocks say, and what a daemon's clocks say. Answer: [`Clocks`].
    Clocks { daemon: Option<String> },
    /// Sets the machine's clock forward by what it lost while the machine stood still, which only
    /// others know. Refused where it may not be set. Answer: [`Evidence`].
    MakeUp { lost_ns: i64 },
    /// How much the processors do, and how long a daemon ran and waited for one. Answer:
    /// [`Strain`].
    Strain { daemon: String },
    /// What faults are in force. Answer: list of fault numbers.
    InForce,
    /// Heals, stops all daemons, answers null, exits. As at the end of input, daemons get their
    /// stop signal and two seconds.
    Shutdown,
}

/// A program that the agent starts and watches. It and its descendants are its *tree*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    pub name: String,
    pub argv: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    /// stdout and stderr go here, appended; rotated at 16 MiB, four old ones are kept.
    pub log: PathBuf,
    /// What its tree is sent when it is to end in good order.
    #[serde(default)]
    pub stop: StopSignal,
}

/// A signal at which a daemon ends in good order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    #[default]
    Term,
    Int,
    Quit,
    Hup,
}

/// A fault as a mechanism. Whom, when and how much is the controller's business.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// Drops packets that match any of the rules, on this node.
    Cut { rules: Vec<Drop> },
    /// Disturbs packets that leave this node for `peers` (all if empty), by tc.
    Packet {
        #[serde(default)]
        peers: Vec<IpAddr>,
        #[serde(flatten)]
        netem: Netem,
    },
    /// SIGSTOP to a daemon's tree, and to whoever else serves in its place; undone by SIGCONT.
    Pause {
        daemon: String,
        /// Where the daemon answers, by TCP: whoever serves there counts as the daemon. Ports on
        /// which its tree was seen to listen need not be named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ports: Vec<u16>,
    },
    /// SIGKILL to a daemon's tree, and to whoever else serves in its place; undone by starting it
    /// again, unless it was stopped since.
    Kill {
        daemon: String,
        /// As in a pause.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ports: Vec<u16>,
    },
    /// Shifts the clocks that a daemon's tree sees, those it starts later included; where the node
    /// offers `set-clock`, by the machine's own clock.
    Clock {
        daemon: String,
        #[serde(flatten)]
        how: ClockFault,
    },
}

/// How the controller speaks to a node: TCP between its address and a port of the node's. No fault
/// touches it, whatever else a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The controller's, as the node sees it.
    pub address: IpAddr,
    /// The node's own.
    pub port: u16,
}

/// One kind of packet that is dropped. What is not given matches all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drop {
    pub direction: Direction,
    /// The other end. Peers are always named, so that a rule cannot match the control path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// This node's TCP port: with direction `out`, replies from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// Share of packets dropped, in millionths; 1,000,000 is a full cut.
    #[serde(default = "all")]
    pub per_million: u32,
}

fn all() -> u32 {
    1_000_000
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    In,
    Out,
}

/// What `tc netem` does to a packet. Shares are in millionths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Netem {
    pub delay_us: u64,
    pub jitter_us: u64,
    pub loss_per_million: u32,
    pub duplicate_per_million: u32,
    pub reorder_per_million: u32,
    pub corrupt_per_million: u32,
    /// 0: not limited.
    pub rate_kbit: u64,
}

/// What is done to a clock. Several at once on one daemon add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum ClockFault {
    /// The wall clock is off by `delta_ns`.
    Jump { delta_ns: i64 },
    /// The wall clock goes to and fro: off by `delta_ns` for a period, true for a period, and so
    /// on.
    Strobe { delta_ns: i64, period_us: u64 },
    /// The wall clock runs faster (or slower) by `ppb`, thousand-millionths of a second a second.
    Drift { ppb: i64 },
    /// A suspended machine: the tree is stopped for `pause_ms`, during which *both* its clocks
    /// stand still, and then runs on with clocks that lag by that span, until healed. With `kept`,
    /// healing leaves the lag (the time is never made up); only `heal-all` and a restart take it
    /// away.
    Freeze { pause_ms: u64, kept: bool },
}

/// A line from the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Answer {
        id: u64,
        ok: serde_json::Value,
    },
    Refusal {
        id: u64,
        error: String,
    },
    Note(Note),
    /// The first line on a new link, and not counted: how many of the controller's lines have
    /// arrived. Both sides go on after what the other has.
    Resumed {
        resumed: u64,
    },
}

/// Said unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// A daemon ended. `expected`: the agent was told to kill or stop it.
    Exited {
        daemon: String,
        pid: u32,
        status: String,
        expected: bool,
    },
    /// The lease ran out or the controller went away; everything was undone.
    Healed { why: String },
    /// Something went wrong that no request asked about.
    Trouble { what: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub agent: String,
    pub pid: u32,
    pub hostname: String,
    pub arch: String,
    pub kernel: String,
    /// UDP port on which this agent answers probes.
    pub probe_port: u16,
    /// What this node can do to itself, as tried out: `nft`, `netem`, `tbf`, `vdso`, `set-clock`.
    pub offers: Vec<String>,
    /// Faults of a dead predecessor that were found in the journal and undone.
    pub undone: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// How many of the controller's lines have arrived.
    pub received: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub pid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    Running {
        pid: u32,
    },
    Paused {
        pid: u32,
    },
    /// Never started, or ended as `status` says.
    Stopped {
        status: String,
    },
}

/// Sums, to be compared with those of another moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strain {
    /// Which start of which machine it is.
    pub boot: String,
    pub processors: u32,
    /// How long the processors were busy, added up.
    pub busy_ns: u64,
    /// How long the threads of the daemon's tree ran.
    pub ran_ns: u64,
    /// How long they could have run and had no processor.
    pub waited_ns: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// `exit 0`, `signal 9`, `timeout`.
    pub status: String,
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub base64: String,
    /// Size of the whole file now.
    pub size: u64,
}

/// What was seen, by a path other than the one that did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Whether it shows what was wanted.
    pub held: bool,
    /// One observation a line.
    pub evidence: Vec<String>,
    /// Of a healing: why the fault had not been in force after all, whatever was seen when it was
    /// injected. Empty: nothing speaks against it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub void: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Peers that answered, with the fastest round trip in ns.
    pub answered: BTreeMap<SocketAddr, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// How many probes came from each address.
    pub from: BTreeMap<IpAddr, u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connected {
    Yes,
    Refused,
    TimedOut,
    Unreachable,
}

/// Clock readings. Where the machine's own clock is turned, `realtime_ns` is the truth that its raw
/// clock keeps, and not what it shows. The node's are taken within `window_ns` of each other; the
/// daemon's offsets are off by at most that much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    pub monotonic_ns: u64,
    pub realtime_ns: i64,
    pub window_ns: u64,
    /// What the clocks of the daemon's first process show beyond that: realtime and monotonic.
    /// None: it does not run.
    pub daemon_offset_ns: Option<(i64, i64)>,
}
