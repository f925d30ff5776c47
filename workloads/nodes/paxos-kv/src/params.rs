//! The command line of a node, checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::core::Config;
use crate::core::message::{NodeIndex, ReadMode};
use crate::flaws::{Flaw, Flaws};

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

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Where it listens for the others.
    pub address: SocketAddr,
}

/// Runs one node.
#[derive(Clone, Debug, Args)]
pub struct Params {
    /// This node's name, one of --peers.
    #[arg(long, value_name = "NAME")]
    pub id: String,
    /// The folder for the log and the snapshots; made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where clients connect.
    #[arg(long, value_name = "IP:PORT")]
    pub client_addr: SocketAddr,
    /// Where the other nodes connect.
    #[arg(long, value_name = "IP:PORT")]
    pub peer_addr: SocketAddr,
    /// All nodes with their peer addresses, this one included: n1=10.0.0.1:7000,n2=10.0.0.2:7000,...
    #[arg(long, value_name = "NAME=IP:PORT,...", value_delimiter = ',', value_parser = parse_peer, required = true)]
    pub peers: Vec<Peer>,
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
    /// A file for the safety-relevant events, as JSON lines; appended to.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Switches a planted bug on; may be given several times. `paxos-kv flaws` lists them.
    #[arg(long = "flaw", value_name = "FLAW", value_parser = clap::value_parser!(Flaw))]
    pub flaws: Vec<Flaw>,
    /// For election timeouts; by default drawn from the name and the time.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// `500ms`, `2s`, `1m`, `250us`.
///
/// # Errors
/// A sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} is no duration like 500ms or 2s"))?;
    let factor_us = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        _ => return Err(format!("{text:?} has no unit of us, ms, s or m")),
    };
    let us = number
        .checked_mul(factor_us)
        .filter(|&us| us <= 86_400_000_000);
    us.map(Duration::from_micros)
        .ok_or_else(|| format!("{text:?} is longer than a day"))
}

fn parse_peer(text: &str) -> Result<Peer, String> {
    let (name, address) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not NAME=IP:PORT"))?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
        return Err(format!(
            "{name:?} is no name: letters, digits, - and _, at most 32"
        ));
    }
    let address = address
        .parse()
        .map_err(|_| format!("{address:?} is not IP:PORT"))?;
    Ok(Peer {
        name: name.to_owned(),
        address,
    })
}

impl Params {
    /// Checks what clap cannot, and sorts the peers by name.
    ///
    /// # Errors
    /// A sentence per mistake, all at once.
    pub fn check(&mut self) -> Result<(), String> {
        let mut mistakes = Vec::new();
        self.peers.sort_by(|a, b| a.name.cmp(&b.name));
        for pair in self.peers.windows(2) {
            if pair[0].name == pair[1].name {
                mistakes.push(format!("--peers: {} is named twice", pair[0].name));
            }
        }
        if self.peers.len() > 9 {
            mistakes.push(format!(
                "--peers: {} nodes are more than 9",
                self.peers.len()
            ));
        }
        if !self.peers.iter().any(|peer| peer.name == self.id) {
            let names: Vec<_> = self.peers.iter().map(|peer| peer.name.as_str()).collect();
            mistakes.push(format!(
                "--id: {} is not one of --peers: {}",
                self.id,
                names.join(", ")
            ));
        }
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
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes.join("\n"))
        }
    }

    /// This node's place among the sorted peers.
    pub fn me(&self) -> NodeIndex {
        self.peers
            .iter()
            .position(|peer| peer.name == self.id)
            .expect("check() has seen it") as NodeIndex
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.peers.iter().map(|peer| peer.name.clone()).collect()
    }

    /// What makes a cluster this cluster: its names.
    pub fn cluster(&self) -> String {
        self.names().join(",")
    }

    /// What the protocol is told.
    pub fn config(&self, seed: u64) -> Config {
        Config {
            me: self.me(),
            names: self.names(),
            election_timeout: self.election_timeout,
            heartbeat_interval: self.heartbeat_interval,
            lease: self.lease,
            max_drift: self.max_drift,
            request_timeout: self.request_timeout,
            tick: self.tick(),
            lease_reads: self.reads == Reads::Lease,
            snapshot_every: self.snapshot_every,
            max_batch: self.max_batch.into(),
            flaws: Flaws::from_iter(self.flaws.iter().copied()),
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
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        params: Params,
    }

    fn parse(more: &[&str]) -> Result<Params, String> {
        let fixed = [
            "paxos-kv",
            "--data=d",
            "--client-addr=127.0.0.1:1",
            "--peer-addr=127.0.0.1:2",
        ];
        let cli =
            Cli::try_parse_from(fixed.iter().chain(more)).map_err(|error| error.to_string())?;
        let mut params = cli.params;
        params.check().map(|()| params)
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

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in [
            "",
            "5",
            "ms",
            "-1s",
            "1.5s",
            "1h",
            "99999999999999999999s",
            "18446744073709551615m",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
