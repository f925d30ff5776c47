//! Watches a network of running nodes and says how often blocks came and how long each took to
//! reach every node.
//!
//! `watch SECONDS CLIENT_ADDRESS...`: asks every node for its head every two milliseconds, which
//! the nodes' own work pays for; what is measured is no finer than that.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Between two questions to one node.
const PAUSE: Duration = Duration::from_millis(2);

/// The height of a head, and when it was seen first.
type Sightings = HashMap<String, (u64, Duration)>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [seconds, addresses @ ..] = args.as_slice() else {
        return Err("usage: watch SECONDS CLIENT_ADDRESS...".into());
    };
    if addresses.is_empty() {
        return Err("there is no node to watch".into());
    }
    let (length, start) = (Duration::from_secs(seconds.parse()?), Instant::now());
    let nodes: Vec<Sightings> = std::thread::scope(|scope| {
        let watchers: Vec<_> = addresses
            .iter()
            .map(|address| scope.spawn(move || watch(address, start, length)))
            .collect();
        let results = watchers.into_iter().map(|watcher| watcher.join());
        results
            .map(|result| result.map_err(|_| "a watcher died")?)
            .collect::<Result<_, Failure>>()
    })?;
    tell(&nodes);
    Ok(())
}

/// Which heads a node had, and since when.
fn watch(address: &str, start: Instant, length: Duration) -> Result<Sightings, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut heads, mut first) = (Sightings::new(), true);
    while start.elapsed() < length {
        let head = ask(&mut stream, "/chain/head")?;
        let now = start.elapsed();
        let hash = head["head"].as_str().ok_or("no head")?.to_owned();
        let height = head["height"].as_u64().ok_or("no height")?;
        // The first was there before anybody looked.
        if !std::mem::take(&mut first) {
            heads.entry(hash).or_insert((height, now));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(heads)
}

/// One request on a connection that stays open.
fn ask(stream: &mut TcpStream, path: &str) -> Result<Value, Failure> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())?;
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Err("the node hung up".into());
        }
        answer.extend_from_slice(&bytes[..count]);
        let text = std::str::from_utf8(&answer)?;
        // The body is one line.
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && body.ends_with('\n')
        {
            return Ok(serde_json::from_str(body)?);
        }
    }
}

fn tell(nodes: &[Sightings]) {
    let mut all: HashMap<&String, (u64, Vec<Duration>)> = HashMap::new();
    for (hash, (height, seen)) in nodes.iter().flatten() {
        let (_, times) = all.entry(hash).or_insert((*height, Vec::new()));
        times.push(*seen);
    }
    let mut spreads: Vec<Duration> = all
        .values()
        .filter(|(_, times)| times.len() == nodes.len())
        .filter_map(|(_, times)| Some(*times.iter().max()? - *times.iter().min()?))
        .collect();
    spreads.sort_unstable();
    let at = |share: f64| {
        let index = (spreads.len() as f64 * share) as usize;
        spreads.get(index).copied().unwrap_or_default()
    };
    let heights = || all.values().map(|(height, _)| *height);
    let (lowest, highest) = (heights().min().unwrap_or(0), heights().max().unwrap_or(0));
    let first = |height| {
        let blocks = all.values().filter(move |(of, _)| *of == height);
        blocks.flat_map(|(_, times)| times).min().copied()
    };
    let took = first(highest).unwrap_or_default() - first(lowest).unwrap_or_default();
    println!(
        "{} blocks in {took:.1?}: one in {:.3} s; {} heads seen, {} of them by every node",
        highest - lowest,
        took.as_secs_f64() / (highest - lowest).max(1) as f64,
        all.len(),
        spreads.len()
    );
    println!(
        "from the first node to the last: median {:.1?}, p90 {:.1?}, p99 {:.1?}, longest {:.1?}",
        at(0.5),
        at(0.9),
        at(0.99),
        spreads.last().copied().unwrap_or_default()
    );
}
