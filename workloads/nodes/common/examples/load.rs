//! Offers a cluster of our own nodes as many writes as it takes and says how many those were, and
//! how long each took.
//!
//! `load SECONDS CONNECTIONS KEYS ADDRESS...`: connections are dealt to the addresses in turn; each
//! has one request at a time. `load failover ADDRESS...` writes to one address at a time and prints
//! every gap longer than 100 ms between two acknowledged writes, until it is stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match args.as_slice() {
        [word, addresses @ ..] if word == "failover" && !addresses.is_empty() => {
            runtime.block_on(gaps(addresses))
        }
        [seconds, connections, keys, addresses @ ..] if !addresses.is_empty() => {
            let length = Duration::from_secs(seconds.parse()?);
            runtime.block_on(load(length, connections.parse()?, keys.parse()?, addresses))
        }
        _ => {
            Err("usage: load SECONDS CONNECTIONS KEYS ADDRESS... | load failover ADDRESS...".into())
        }
    }
}

/// Sends one put and returns the status.
async fn put(stream: &mut TcpStream, key: u64, value: u64) -> Result<u16, Failure> {
    let body = value.to_string();
    let text = format!(
        "PUT /kv/k{key} HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await?;
    let mut answer = Vec::with_capacity(256);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("closed".into());
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .ok_or("no content-length")?;
        if body.len() >= length.parse()? {
            return Ok(head.get(9..12).ok_or("no status")?.parse()?);
        }
    }
}

async fn load(
    length: Duration,
    connections: usize,
    keys: u64,
    addresses: &[String],
) -> Result<(), Failure> {
    let (failed, next) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|index| {
            let address = addresses[index % addresses.len()].clone();
            let (failed, next, latencies) = (failed.clone(), next.clone(), latencies.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(&address).await?;
                stream.set_nodelay(true)?;
                let mut own = Vec::new();
                while start.elapsed() < length {
                    let value = next.fetch_add(1, Ordering::Relaxed);
                    let before = Instant::now();
                    match put(&mut stream, value % keys, value).await? {
                        200 => own.push(before.elapsed()),
                        _ => drop(failed.fetch_add(1, Ordering::Relaxed)),
                    }
                }
                latencies.lock().expect("no task panics").extend(own);
                Ok::<(), Failure>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let mut latencies = std::mem::take(&mut *latencies.lock().expect("no task panics"));
    latencies.sort_unstable();
    let at = |share: f64| {
        latencies
            .get((latencies.len() as f64 * share) as usize)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{:.0} writes/s; median {:.1?}, p99 {:.1?}, longest {:.1?}; {} failed",
        latencies.len() as f64 / start.elapsed().as_secs_f64(),
        at(0.5),
        at(0.99),
        latencies.last().copied().unwrap_or_default(),
        failed.load(Ordering::Relaxed)
    );
    Ok(())
}

async fn gaps(addresses: &[String]) -> Result<(), Failure> {
    let mut last = Instant::now();
    let mut value = 0;
    for address in addresses.iter().cycle() {
        let Ok(Ok(mut stream)) =
            tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await
        else {
            continue;
        };
        value += 1;
        let sent = tokio::time::timeout(Duration::from_millis(3000), put(&mut stream, 0, value));
        if let Ok(Ok(200)) = sent.await {
            if last.elapsed() > Duration::from_millis(100) {
                println!("{:.0?} without a write", last.elapsed());
            }
            last = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
