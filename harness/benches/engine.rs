//! How many operations a second the engine offers, records and writes against a client that
//! answers at once, and how late the recorder is. `cargo bench -p harness`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::dummy;
use harness::generator::{Combine, Shape, from_fn};
use harness::interpreter::{Phase, drive};
use harness::progress::{Progress, Wish};
use harness::recorder::Recorder;
use harness::scheduler::{Clients, Pace};
use harness::seed::Seed;
use history::Value;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    println!("workers  operations  seconds  operations/s  recorder delay p50/p99/max (us)");
    for (workers, rate) in [(1, None), (10, None), (100, None), (100, Some(20_000.0))] {
        runtime.block_on(one(workers, rate));
    }
}

async fn one(workers: usize, rate: Option<f64>) {
    const OPERATIONS: u64 = 500_000;
    let dir = std::env::temp_dir().join(format!("schism-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary folder is writable");
    let path = dir.join("history.jsonl");
    let recorder = Recorder::create(&path).expect("the history is new");
    let mut n = 0;
    let writes = from_fn(move |_| {
        n += 1;
        ("write", Value::pair(n % 10, n))
    });
    let generator: Box<dyn harness::generator::Generator> = match rate {
        None => Box::new(writes.limit(OPERATIONS)),
        Some(_) => Box::new(writes.until(Duration::from_secs(5))),
    };
    let pace = rate.map(|per_second| Pace {
        per_second,
        shape: Shape::Even,
        clients: Clients::Sticky,
    });
    let began = Instant::now();
    let (_wish, stop) = tokio::sync::watch::channel(Wish::GoOn);
    let progress = Progress::default();
    drive(
        Phase {
            generator,
            stream: "operations",
            seed: Seed(1),
            pace,
            end: None,
            workers,
            first_process: 0,
            op_timeout: Duration::from_secs(5),
        },
        &dummy::nodes(5),
        Arc::new(dummy::NullConnect),
        &recorder,
        &progress,
        stop,
    )
    .await
    .expect("recording works");
    let summary = recorder.finish().expect("recording works");
    let took = began.elapsed().as_secs_f64();
    let operations = summary.events / 2;
    println!(
        "{workers:7}  {operations:10}  {took:7.2}  {:12.0}  {}/{}/{}{}",
        operations as f64 / took,
        summary.delay.p50_us,
        summary.delay.p99_us,
        summary.delay.max_us,
        rate.map_or(String::new(), |r| format!("  (offered at {r}/s)")),
    );
    std::fs::remove_dir_all(&dir).expect("the folder is ours");
}
