//! The command line of a node, checked.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use nodekit::flags::{Place, parse_duration, without};
use nodekit::flaws;

use crate::core::Config;
use crate::core::message::{NodeIndex, ReadMode};
use crate::flaws::{Flaw, Flaws};
use crate::unreliable::Hazards;
use crate::wal::Habits;

/// More would need messages and ballots that nobody has tried.
const NODES_MAX: usize = 9;

/// How reads are served unless a request says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reads {
    /// The leader confirms with a quorum that it still leads.
    Quorum,
    /// Reads are commands in the log.
    Log,
    /// The leader trusts its lease.
    Lease,
    /// The node's own state, however old. Not linearizable.
    Local,
}

impl From<Reads> for ReadMode {
    fn from(reads: Reads) -> ReadMode {
        match reads {
            Reads::Quorum => ReadMode::Quorum,
            Reads::Log => ReadMode::Log,
            Reads::Lease => ReadMode::Lease,
            Reads::Local => ReadMode::Local,
        }
    }
}

/// Runs one node.
#[derive(Clone, Debug, Args)]
pub struct Params {
    #[command(flatten)]
    pub place: Place,
    /// A follower stands for election after 1 to 1.5 times this without a heartbeat.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration)]
    pub election_timeout: Duration,
    /// Time between heartbeats.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    pub heartbeat_interval: Duration,
    /// So long a heartbeat binds a follower to its leader; at most the election timeout.
    #[arg(long, value_name = "TIME", default_value = "400ms", value_parser = parse_duration)]
    pub lease: Duration,
    /// So much earlier than its followers the leader takes its lease to end, because clocks drift.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse_duration)]
    pub max_drift: Duration,
    /// A request is answered with an error after this.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub request_timeout: Duration,
    /// How reads are served unless the request says ?read=MODE.
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Reads::Quorum)]
    pub reads: Reads,
    /// Slots between snapshots.
    #[arg(long, value_name = "SLOTS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(2..))]
    pub snapshot_every: u64,
    /// Commands in one slot at most.
    #[arg(long, value_name = "COMMANDS", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_batch: u16,
    #[command(flatten)]
    pub hazards: Hazards,
    /// Of a hundred writes of the log so many rest for 100 ms half way.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=100))]
    pub slow_writes: u64,
    /// Of a hundred syncs of the log of the first node by name so many fail, after the first 200
    /// of a process.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=100))]
    pub failed_syncs: u64,
    /// A file for the safety-relevant events, as JSON lines; appended to.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Switches a planted bug on; may be given several times. `paxos-kv flaws` lists them.
    #[arg(long = "flaw", value_name = "FLAW", value_parser = flaws::parse::<Flaw>)]
    pub flaws: Vec<Flaw>,
    /// For election timeouts and what happens to messages; by default drawn from the time and the
    /// process's number.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

impl Params {
    /// Checks what clap cannot, and sorts the peers by name.
    ///
    /// # Errors
    /// A sentence per mistake, all at once.
    pub fn check(&mut self) -> Result<(), Vec<String>> {
        let mut mistakes = Vec::new();
        self.place.check(NODES_MAX, &mut mistakes);
        if self.heartbeat_interval.is_zero() || self.request_timeout.is_zero() {
            mistakes.push("--heartbeat-interval and --request-timeout must not be 0".to_owned());
        }
        if self.election_timeout < 2 * self.heartbeat_interval {
            mistakes
                .push("--election-timeout must be at least twice --heartbeat-interval".to_owned());
        }
        if self.lease > self.election_timeout {
            mistakes.push("--lease must not be longer than --election-timeout".to_owned());
        }
        if self.max_drift > self.lease {
            mistakes.push("--max-drift must not be longer than --lease".to_owned());
        }
        without(mistakes)
    }

    /// This node's place among the sorted peers.
    pub fn me(&self) -> NodeIndex {
        let peers = &mut self.place.peers.iter();
        let me = peers.position(|peer| peer.name == self.place.id);
        me.expect("check() has seen it") as NodeIndex
    }

    /// How the log is written.
    pub fn habits(&self, seed: u64) -> Habits {
        Habits {
            slow_writes: self.slow_writes,
            failed_syncs: if self.me() == 0 { self.failed_syncs } else { 0 },
            seed,
            ignores_failed_syncs: self.flaws().has(Flaw::SyncErrorIgnored),
            keeps_torn_tail: self.flaws().has(Flaw::TornTailKept),
        }
    }

    /// What makes a cluster this cluster: its names.
    pub fn cluster(&self) -> String {
        self.place.names().join(",")
    }

    /// The planted bugs that are switched on.
    pub fn flaws(&self) -> Flaws {
        self.flaws.iter().copied().collect()
    }

    /// What the protocol is told.
    pub fn config(&self, seed: u64) -> Config {
        Config {
            me: self.me(),
            names: self.place.names(),
            election_timeout: self.election_timeout,
            heartbeat_interval: self.heartbeat_interval,
            lease: self.lease,
            max_drift: self.max_drift,
            request_timeout: self.request_timeout,
            tick: self.tick(),
            lease_reads: self.reads == Reads::Lease,
            snapshot_every: self.snapshot_every,
            max_batch: self.max_batch.into(),
            flaws: self.flaws(),
            seed,
        }
    }

    /// How often the protocol looks at the time.
    pub fn tick(&self) -> Duration {
        (self.heartbeat_interval / 5).clamp(Duration::from_millis(1), Duration::from_millis(20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Params, String> {
        nodekit::testing::parse(more, Params::check)
    }

    #[test]
    fn peers_are_sorted_and_found() {
        let params = parse(&[
            "--id=n2",
            "--peers=n3=10.0.0.3:1,n1=10.0.0.1:1,n2=10.0.0.2:1",
        ])
        .unwrap();
        assert_eq!((params.me(), params.cluster().as_str()), (1, "n1,n2,n3"));
    }

    #[test]
    fn one_disk_of_all_goes_bad() {
        let failed = |id: &str| {
            let peers = "--peers=n1=10.0.0.1:1,n2=10.0.0.2:1";
            let params = parse(&[id, peers, "--failed-syncs=90"]).unwrap();
            params.habits(1).failed_syncs
        };
        assert_eq!((failed("--id=n1"), failed("--id=n2")), (90, 0));
    }

    #[test]
    fn mistakes_are_named() {
        let peers = "--peers=n1=10.0.0.1:1,n2=10.0.0.2:1";
        for (flags, message) in [
            (&["--id=n4", peers][..], "n4 is not one of --peers: n1, n2"),
            (
                &["--id=n1", "--peers=n1=10.0.0.1:1,n1=10.0.0.2:1"],
                "n1 is named twice",
            ),
            (
                &["--id=n1", "--peers=n1=nowhere"],
                "\"nowhere\" is not IP:PORT",
            ),
            (&["--id=n1", "--peers=n1"], "\"n1\" is not NAME=IP:PORT"),
            (
                &["--id=n1", peers, "--lease=1s"],
                "--lease must not be longer than --election-timeout",
            ),
            (
                &[
                    "--id=n1",
                    peers,
                    "--election-timeout=150ms",
                    "--lease=100ms",
                ],
                "twice --heartbeat-interval",
            ),
            (&["--id=n1", peers, "--lease=5"], "has no unit"),
            (
                &["--id=n1", peers, "--flaw=quorum"],
                "unknown flaw \"quorum\"",
            ),
            (&["--id=n1", peers, "--reads=fast"], "fast"),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.contains(message), "{flags:?} gave {error}");
        }
    }
}
