//! The command line of a node, checked.

use std::time::Duration;

use clap::{Args, ValueEnum};
use nodekit::flags::{Place, parse_duration, without};
use nodekit::flaws;

use crate::core::{Config, Rules};
use crate::flaws::{Flaw, Flaws};

const PEERS_MAX: usize = 64;

/// How reads are served unless a request says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reads {
    /// A read is a transaction, answered at its place when that is deep enough.
    Ordered,
    /// The node's own chain without its newest blocks, at once.
    Local,
}

/// Runs one node.
#[derive(Clone, Debug, Args)]
pub struct Params {
    #[command(flatten)]
    pub place: Place,
    /// What the difficulty aims at, for the whole network.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub block_interval: Duration,
    /// Hashes a second that this node tries at most.
    #[arg(long, value_name = "HASHES", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub hash_rate: u64,
    /// Nodes that are expected to mine; by default all of --peers. The first difficulty is block
    /// interval x hash rate x miners.
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub miners: Option<u64>,
    /// Blocks between changes of the difficulty; 0: never.
    #[arg(long, value_name = "BLOCKS", default_value_t = 50)]
    pub retarget_every: u64,
    /// A block whose time is further ahead of this node's clock is refused.
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = parse_duration)]
    pub max_future_drift: Duration,
    /// Depth at which answers are given unless the request says ?confirmations=N: 1 is the head, 0
    /// the mempool.
    #[arg(long, value_name = "BLOCKS", default_value_t = 6)]
    pub confirmations: u64,
    /// How reads are served unless the request says ?read=MODE.
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Reads::Ordered)]
    pub reads: Reads,
    /// Accounts a0, a1, ... that exist from the beginning.
    #[arg(long, value_name = "ACCOUNTS", default_value_t = 8, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    pub accounts: u64,
    /// What each account has in the beginning.
    #[arg(long, value_name = "AMOUNT", default_value_t = 100)]
    pub balance: u64,
    /// A request is answered with an error after this.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub request_timeout: Duration,
    /// A peer that misbehaved is not talked to for so long.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub ban_time: Duration,
    /// Switches a planted bug on; may be given several times. `chain flaws` lists them.
    #[arg(long = "flaw", value_name = "FLAW", value_parser = flaws::parse::<Flaw>)]
    pub flaws: Vec<Flaw>,
    /// For nonces and back-off; by default drawn by the operating system.
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
        self.place.check(PEERS_MAX, &mut mistakes);
        if self.block_interval < Duration::from_millis(1) {
            mistakes.push("--block-interval must be at least 1ms".to_owned());
        }
        if self.request_timeout.is_zero() {
            mistakes.push("--request-timeout must not be 0".to_owned());
        }
        if !(1..=u128::from(u64::MAX)).contains(&self.first_work()) {
            mistakes.push(
                "--block-interval x --hash-rate x --miners must be at least one hash and less than 2^64"
                    .to_owned(),
            );
        }
        if self.accounts.checked_mul(self.balance).is_none() {
            mistakes.push("--accounts x --balance must be less than 2^64".to_owned());
        }
        without(mistakes)
    }

    /// Nodes that are expected to mine.
    pub fn miners(&self) -> u64 {
        self.miners.unwrap_or(self.place.peers.len() as u64)
    }

    /// Hashes that the expected miners try in one block interval.
    fn first_work(&self) -> u128 {
        let hashes = u128::from(self.hash_rate) * u128::from(self.miners());
        self.block_interval.as_micros() * hashes / 1_000_000
    }

    /// The planted bugs that are switched on.
    pub fn flaws(&self) -> Flaws {
        self.flaws.iter().copied().collect()
    }

    /// What the protocol is told.
    pub fn config(&self, seed: u64) -> Config {
        Config {
            name: self.place.id.clone(),
            rules: Rules {
                block_interval: self.block_interval,
                first_work: self.first_work() as u64,
                retarget_every: self.retarget_every,
                accounts: self.accounts,
                balance: self.balance,
            },
            max_future_drift: self.max_future_drift,
            request_timeout: self.request_timeout,
            flaws: self.flaws(),
            seed,
        }
    }

    /// How often the protocol looks at the time.
    pub fn tick(&self) -> Duration {
        (self.block_interval / 20).clamp(Duration::from_millis(5), Duration::from_millis(50))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Params, String> {
        nodekit::testing::parse(more, Params::check)
    }

    const PEERS: &str = "--peers=n2=10.0.0.2:1,n1=10.0.0.1:1";

    #[test]
    fn the_first_difficulty_is_what_the_expected_miners_try_in_an_interval() {
        let work = |flags: &[&str]| {
            let params = parse(&[&["--id=n1", PEERS], flags].concat()).unwrap();
            params.config(0).rules.first_work
        };
        assert_eq!(work(&[]), 40_000);
        assert_eq!(work(&["--miners=5", "--block-interval=500ms"]), 50_000);
        assert_eq!(work(&["--hash-rate=7", "--block-interval=1m"]), 840);
    }

    #[test]
    fn defaults_are_those_of_the_protocol_page() {
        let params = parse(&["--id=n2", PEERS]).unwrap();
        let config = params.config(1);
        assert_eq!(config.rules.block_interval, Duration::from_secs(1));
        assert_eq!(config.rules.retarget_every, 50);
        assert_eq!((config.rules.accounts, config.rules.balance), (8, 100));
        assert_eq!(config.max_future_drift, Duration::from_secs(7200));
        assert_eq!(config.request_timeout, Duration::from_secs(30));
        assert_eq!(
            (params.confirmations, params.reads, params.ban_time),
            (6, Reads::Ordered, Duration::from_secs(10))
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (flags, message) in [
            (&["--id=n4", PEERS][..], "n4 is not one of --peers: n1, n2"),
            (&["--id=n1", "--peers=n1"], "\"n1\" is not NAME=IP:PORT"),
            (
                &["--id=n1", PEERS, "--block-interval=5"],
                "has no unit of us, ms, s, m or h",
            ),
            (
                &["--id=n1", PEERS, "--hash-rate=1", "--block-interval=1ms"],
                "at least one hash",
            ),
            (
                &[
                    "--id=n1",
                    PEERS,
                    "--accounts=8",
                    "--balance=9000000000000000000",
                ],
                "--accounts x --balance",
            ),
            (&["--id=n1", PEERS, "--hash-rate=0"], "0 is not in 1.."),
            (&["--id=n1", PEERS, "--reads=fast"], "fast"),
            (&["--id=n1", PEERS, "--flaw=no"], "unknown flaw \"no\""),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.contains(message), "{flags:?} gave {error}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let flags = [
            "--id=n9",
            PEERS,
            "--block-interval=0s",
            "--request-timeout=0s",
        ];
        let error = parse(&flags).unwrap_err();
        for part in [
            "--id: n9",
            "--block-interval must",
            "--request-timeout must",
        ] {
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }
}
