//! A lab to look at: `cargo run --example lab -- NODES FOLDER`; or, with the one argument
//! `doctor`, what this machine offers, as JSON.
//!
//! Brings the nodes up, says `ready` and how many milliseconds after the process outside was
//! started, and then does what it is told, a line each:
//!
//! ```text
//! n1 ip route              runs a command on node n1 and answers with a line of JSON
//! connect n1 10.77.0.2:9   has node n1 connect to this address, and says what came of it
//! down                     takes the lab down and brings it up again, and says `ready`
//! exit 3                   takes the lab down and exits with this code; the end of the input does it with 0
//! ```
//!
//! SIGINT and SIGTERM are answered with their names, each time they arrive.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use agent::protocol::{Connected, Ran, Request};
use harness::cluster::lab::{self, Entered, Lab};
use harness::cluster::{Cluster, Node};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

/// When the process outside started, in milliseconds since 1970.
const STARTED: &str = "LAB_EXAMPLE_STARTED";

fn main() -> ExitCode {
    lab::helper();
    if std::env::args()
        .nth(1)
        .is_some_and(|first| first == "doctor")
    {
        let findings = harness::doctor::examine(Path::new("."));
        println!(
            "{}",
            serde_json::to_string_pretty(&findings).expect("text and nothing else")
        );
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(STARTED).is_none() {
        // SAFETY: there is no other thread yet.
        unsafe { std::env::set_var(STARTED, now_ms().to_string()) };
    }
    match lab::enter(|| None) {
        Ok(Entered::Inside(_)) => {}
        Ok(Entered::Outside(code)) => return code,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::from(4);
        }
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let result = runtime.block_on(talk());
    // A read of stdin that nobody waits for any more cannot be called off.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(4)
        }
    }
}

async fn talk() -> Result<u8, Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: lab NODES FOLDER";
    let count: usize = args.next().ok_or(usage)?.parse()?;
    let folder = args.next().ok_or(usage)?;
    let names = (1..=count).map(|n| format!("n{n}").into()).collect();
    let (notes, _keep) = tokio::sync::mpsc::unbounded_channel();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;

    let mut lab = Lab::new(names, folder, Duration::from_secs(10), notes)?;
    let mut nodes = lab.up(&[]).await?;
    let started: u64 = std::env::var(STARTED)?.parse()?;
    println!("ready {}", now_ms() - started);

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let code = loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = interrupts.recv() => {
                println!("SIGINT");
                continue;
            }
            _ = terminations.recv() => {
                println!("SIGTERM");
                continue;
            }
        };
        match line
            .as_deref()
            .map(|line| line.split_once(' ').unwrap_or((line, "")))
        {
            None => break 0,
            Some(("exit", code)) => break code.parse()?,
            Some(("down", _)) => {
                nodes.clear();
                lab.down().await?;
                let before = now_ms();
                nodes = lab.up(&[]).await?;
                println!("ready {}", now_ms() - before);
            }
            Some(("connect", what)) => {
                let (node, to) = what.split_once(' ').ok_or("connect NODE ADDRESS")?;
                let node = nodes
                    .iter()
                    .find(|n| n.name == node)
                    .ok_or("no such node")?;
                let request = Request::Connect {
                    to: to.parse()?,
                    timeout_ms: 30_000,
                };
                println!("{:?}", node.agent.call::<Connected>(request).await?);
            }
            Some((node, command)) => match nodes.iter().find(|n| n.name == node) {
                Some(node) => println!("{}", run(node, command).await?),
                None => println!("no node {node:?}"),
            },
        }
    };
    nodes.clear();
    lab.down().await?;
    Ok(code)
}

async fn run(node: &Node, command: &str) -> Result<String, Box<dyn std::error::Error>> {
    let ran: Ran = node
        .agent
        .call(Request::Run {
            argv: ["/bin/sh", "-c", command].map(String::from).into(),
            stdin: String::new(),
            timeout_ms: 30_000,
        })
        .await?;
    Ok(serde_json::to_string(&ran)?)
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("later than 1970")
        .as_millis() as u64
}
