//! Flags that every node has, and the values of others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Which node this is, where it is, and who the others are.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// This node's name, one of --peers.
    #[arg(long, value_name = "NAME")]
    pub id: String,
    /// The folder for what the node must not forget; made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where clients connect.
    #[arg(long, value_name = "IP:PORT")]
    pub client_addr: SocketAddr,
    /// Where the other nodes connect.
    #[arg(long, value_name = "IP:PORT")]
    pub peer_addr: SocketAddr,
    /// The nodes with their peer addresses, this one included:
    /// n1=10.0.0.1:7000,n2=10.0.0.2:7000,...
    #[arg(long, value_name = "NAME=IP:PORT,...", value_delimiter = ',', value_parser = parse_peer, required = true)]
    pub peers: Vec<Peer>,
}

impl Place {
    /// Sorts the peers by name and adds a sentence for each mistake in them: names given twice, the
    /// node's own not among them, more than `most`.
    pub fn check(&mut self, most: usize, mistakes: &mut Vec<String>) {
        let (id, peers) = (&self.id, &mut self.peers);
        peers.sort_by(|a, b| a.name.cmp(&b.name));
        for pair in peers.windows(2) {
            if pair[0].name == pair[1].name {
                mistakes.push(format!("--peers: {} is named twice", pair[0].name));
            }
        }
        if !peers.iter().any(|peer| peer.name == *id) {
            let names = self.names().join(", ");
            mistakes.push(format!("--id: {id} is not one of --peers: {names}"));
        }
        let nodes = self.peers.len();
        if nodes > most {
            mistakes.push(format!("--peers: {nodes} nodes are more than {most}"));
        }
    }

    /// The names of all peers, in their order.
    pub fn names(&self) -> Vec<String> {
        self.peers.iter().map(|peer| peer.name.clone()).collect()
    }
}

/// Nothing is wrong if there are no mistakes.
///
/// # Errors
/// The mistakes.
pub fn without(mistakes: Vec<String>) -> Result<(), Vec<String>> {
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(mistakes)
    }
}

/// A node, as a flag names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Where it listens for the others.
    pub address: SocketAddr,
}

/// `500ms`, `2s`, `1m`, `3h`, `250us`.
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
        "h" => 3_600_000_000,
        _ => return Err(format!("{text:?} has no unit of us, ms, s, m or h")),
    };
    let us = number
        .checked_mul(factor_us)
        .filter(|&us| us <= 86_400_000_000);
    us.map(Duration::from_micros)
        .ok_or_else(|| format!("{text:?} is longer than a day"))
}

/// `n1=10.0.0.1:7000`.
///
/// # Errors
/// A sentence.
pub fn parse_peer(text: &str) -> Result<Peer, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Harness and nodes share no code: what both accept must mean the same all the same.
    #[test]
    fn durations_mean_what_they_mean_to_the_harness() {
        let table = include_str!("../../../../harness/tests/durations.tsv");
        let mut read = 0;
        for row in table.lines().filter(|line| !line.starts_with('#')) {
            let (text, nanos) = row.split_once('\t').unwrap();
            if let Ok(span) = parse_duration(text) {
                assert_eq!(span, Duration::from_nanos(nanos.parse().unwrap()), "{text}");
                read += 1;
            }
        }
        assert!(read >= 6, "{read}");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        for wrong in [
            "",
            "5",
            "ms",
            "-1s",
            "1.5s",
            "1d",
            "25h",
            "99999999999999999999s",
            "18446744073709551615m",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn peers_have_a_plain_name_and_an_address() {
        let peer = parse_peer("n-1_a=[::1]:70").unwrap();
        assert_eq!((peer.name.as_str(), peer.address.port()), ("n-1_a", 70));
        for (wrong, message) in [
            ("n1", "is not NAME=IP:PORT"),
            ("=1.2.3.4:5", "is no name"),
            ("n.1=1.2.3.4:5", "is no name"),
            ("n1=nowhere", "\"nowhere\" is not IP:PORT"),
        ] {
            let error = parse_peer(wrong).unwrap_err();
            assert!(error.contains(message), "{wrong} gave {error}");
        }
    }

    #[test]
    fn all_mistakes_in_the_peers_are_told() {
        let peers = ["n2=1.1.1.1:1", "n1=1.1.1.1:1", "n2=1.1.1.1:2"];
        let address = SocketAddr::from(([1, 1, 1, 1], 1));
        let mut place = Place {
            id: "n4".into(),
            data: "data".into(),
            client_addr: address,
            peer_addr: address,
            peers: peers.map(|text| parse_peer(text).unwrap()).into(),
        };
        let mut mistakes = Vec::new();
        place.check(2, &mut mistakes);
        assert_eq!(place.names(), ["n1", "n2", "n2"]);
        let expected = [
            "--peers: n2 is named twice",
            "--id: n4 is not one of --peers: n1, n2, n2",
            "--peers: 3 nodes are more than 2",
        ];
        assert_eq!(without(mistakes).unwrap_err(), expected);
        assert_eq!(without(Vec::new()), Ok(()));
    }
}
