//! What judging a chain costs: one line for each history, best of three, by the clock and in
//! processor time (one thread), and the most memory that the process ever held, the history
//! included.
//!
//! `cargo bench -p checkers --bench chains`. Five nodes mine a chain in turn; every hundredth block
//! or so it forks, for one to five blocks, and a node is seen on the fork before it gives it up.

use std::time::Instant;

use checkers::chain::Chain;
use checkers::{Budget, Checker};
use history::columns::Chunk;
use history::{Event, History, Kind, Process, Time, Value};

const NODES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// Nanoseconds from look to look; ten blocks are mined meanwhile.
const STEP: u64 = 1_000_000;

/// As our own node's: a hash that proves this work begins with sixteen zero bits.
const WORK: i64 = 50_000;

struct Shape {
    blocks: usize,
    forks: usize,
    looks: usize,
    /// Writes of clients, each in a block of the chain.
    writes: usize,
}

/// A block's hash, by its number.
fn hash(number: usize) -> String {
    let mixed = (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    format!("0000{:028x}{mixed:032x}", number)
}

fn block(number: usize, parent: Option<usize>, height: usize, transactions: Vec<Value>) -> Value {
    let above = parent.map_or("0".repeat(64), hash);
    Value::List(vec![
        Value::text(hash(number)),
        Value::text(above),
        Value::Int(height as i64),
        Value::Int(1_795_428_444_936 + height as i64),
        Value::Int(WORK),
        NODES[height % NODES.len()].into(),
        Value::List(transactions),
    ])
}

fn history(shape: &Shape) -> History {
    let (mut events, mut count) = (Chunk::default(), 0);
    let mut event = |time, process, kind, f: &str, value, node: &str, version| {
        count += 1;
        events.push_event(&Event {
            index: count - 1,
            time: Time(time),
            process: Process::Client(process),
            kind,
            f: f.into(),
            value,
            error: None,
            node: Some(node.into()),
            version,
            due: None,
        });
    };
    // Forks are one to five blocks long, in turn.
    let trunk = shape.blocks - 3 * shape.forks;
    let transaction = |write: usize| {
        let parts = [Value::text(format!("t{write}")), "put".into()];
        let key = Value::text(format!("k{}", write % 100));
        Value::List(
            parts
                .into_iter()
                .chain([key, Value::Int(write as i64)])
                .collect(),
        )
    };
    // Blocks of the trunk are numbered by height, those of forks after them.
    let (mut shown, mut next, mut forks, mut written) = (0, trunk, 0, 0);
    for look in 0..shape.looks {
        // All nodes see the same, one after the other.
        let round = look - look % NODES.len();
        let top = (round + NODES.len()) * trunk / shape.looks - 1;
        let mut blocks = Vec::new();
        let mut called = Vec::new();
        while shown <= top {
            let mut transactions = Vec::new();
            if written < shown * shape.writes / trunk {
                transactions.push(transaction(written));
                called.push((written, shown));
                written += 1;
            }
            blocks.push(block(shown, shown.checked_sub(1), shown, transactions));
            shown += 1;
        }
        let mut head = (hash(top), top);
        if look > 10 && forks < (look + 1) * shape.forks / shape.looks {
            let (mut parent, mut height) = (top - 3, top - 3);
            for _ in 0..1 + forks % 5 {
                height += 1;
                blocks.push(block(next, Some(parent), height, Vec::new()));
                (parent, next) = (next, next + 1);
            }
            head = (hash(parent), height);
            forks += 1;
        }
        let node = NODES[look % NODES.len()];
        let process = 1_000_000_000 + (look % NODES.len()) as u64;
        let start = look as u64 * STEP;
        for (write, _) in &called {
            let key = Value::text(format!("k{}", write % 100));
            let value = Value::pair(key, Value::Int(*write as i64));
            event(
                start,
                *write as u64,
                Kind::Invoke,
                "write",
                value,
                node,
                None,
            );
        }
        event(start, process, Kind::Invoke, "head", Value::Nil, node, None);
        let answer = Value::Map(vec![
            ("node".into(), node.into()),
            ("head".into(), Value::text(head.0)),
            ("height".into(), Value::Int(head.1 as i64)),
            ("blocks".into(), Value::List(blocks)),
        ]);
        event(
            start + STEP / 2,
            process,
            Kind::Ok,
            "head",
            answer,
            node,
            None,
        );
        for (write, height) in called {
            let key = Value::text(format!("k{}", write % 100));
            let value = Value::pair(key, Value::Int(write as i64));
            let name = Value::text(format!("t{write}"));
            let place = [
                Value::Int(height as i64),
                Value::Int(0),
                Value::text(hash(height)),
                name,
            ];
            let version = Some(Value::List(place.to_vec()));
            event(
                start + STEP / 2,
                write as u64,
                Kind::Ok,
                "write",
                value,
                node,
                version,
            );
        }
    }
    History::of_chunks(vec![events]).expect("a history")
}

/// Processor seconds that the process has used, where the system tells: in hundredths, as Linux
/// does.
fn processor_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// The most memory that the process held until now, where the system tells.
fn most_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

fn main() {
    let large = Shape {
        blocks: 1_000_000,
        forks: 10_000,
        looks: 100_000,
        writes: 0,
    };
    let rows = [
        Shape {
            blocks: 100_000,
            forks: 1_000,
            looks: 10_000,
            writes: 10_000,
        },
        large,
        Shape {
            writes: 100_000,
            blocks: 1_000_000,
            forks: 10_000,
            looks: 100_000,
        },
    ];
    println!("blocks     forks   looks    writes   seconds  cpu s    memory     verdict");
    for shape in &rows {
        let history = history(shape);
        let judge = Chain::new().with_confirmations(6);
        let (mut best, mut least) = (f64::MAX, f64::MAX);
        let mut found = None;
        for _ in 0..3 {
            let (start, used) = (Instant::now(), processor_s());
            let analysis = judge.check(&history, &Budget::default());
            best = best.min(start.elapsed().as_secs_f64());
            if let Some((before, after)) = used.zip(processor_s()) {
                least = least.min(after - before);
            }
            found = Some(analysis);
        }
        let found = found.expect("it was judged three times");
        let memory = most_bytes().map_or("?".to_string(), |bytes| format!("{} MB", bytes >> 20));
        println!(
            "{:<10} {:<7} {:<8} {:<8} {best:<8.2} {least:<8.2} {memory:<10} {}: {}",
            shape.blocks, shape.forks, shape.looks, shape.writes, found.verdict, found.summary
        );
    }
}
