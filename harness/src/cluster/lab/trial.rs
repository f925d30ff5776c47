//! What this machine lets a lab do, found out by doing it: in a lab that lives for a moment, in
//! processes of its own, so that nothing of it touches the caller or stays.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Entered, enter, ip, node};

/// First argument of the executable when it is to make the trial.
pub(super) const TRIAL: &str = "__lab-trial";

/// How long all trials together may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of trying one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// A step of [`enter`], or one of the names in [`what`].
    pub what: String,
    /// Why it does not work.
    pub error: Option<String>,
}

/// What is tried beyond the steps of [`enter`].
pub mod what {
    /// A pair of virtual network cards.
    pub const VETH: &str = "veth";
    /// A node's namespaces inside the lab's, its read-only view and its /proc.
    pub const NODE: &str = "node";
    pub const NFT: &str = "nft";
    pub const NETEM: &str = "netem";
    pub const TBF: &str = "tbf";
    /// Turning the clocks of a running program.
    pub const VDSO: &str = "vdso";
}

/// Tries everything out. Needs [`helper`](super::helper) to be called in this program's `main`.
///
/// If the lab itself cannot be set up there is one answer: the step that failed.
///
/// # Errors
/// The trial itself could not be made.
pub fn trial() -> io::Result<Vec<Trial>> {
    let mut child = Command::new("/proc/self/exe")
        .arg(TRIAL)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().expect("it was asked for");
    let mut stderr = child.stderr.take().expect("it was asked for");
    // They end with the child. What it says fits into the pipes, so it is read afterwards.
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            let limit = format!("no answer within {} s", PATIENCE.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, limit));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (mut said, mut complaint) = (String::new(), String::new());
    stdout.read_to_string(&mut said)?;
    stderr.read_to_string(&mut complaint)?;
    serde_json::from_str(&said).map_err(|_| {
        io::Error::other(format!(
            "the trial ended with {status}: {}",
            complaint.trim()
        ))
    })
}

/// The trial's `main`.
pub(super) fn main() -> ! {
    let trials = match enter(|| None) {
        Ok(Entered::Outside(code)) => {
            // The inside has answered, by an error too.
            std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS))
        }
        Ok(Entered::Inside(_)) => inside(),
        Err(e) => vec![Trial {
            what: e.step.to_string(),
            error: Some(e.source.to_string()),
        }],
    };
    let said = serde_json::to_string(&trials).expect("text and nothing else");
    println!("{said}");
    std::process::exit(0)
}

fn inside() -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut enter_in = |what: &str, result: Result<(), String>| {
        trials.push(Trial {
            what: what.to_string(),
            error: result.err(),
        });
    };
    let veth = ip::batch("link add try1 type veth peer name try2\nlink del try1\n");
    enter_in(what::VETH, veth.map_err(|e| e.to_string()));
    enter_in(what::NODE, node::trial());
    // A table with the expressions that cuts and drop shares are made of (agent, fault/cut.rs).
    let table = "table inet try { chain in { type filter hook input priority -300; \
                 ip saddr 192.0.2.1 numgen random mod 1000000 < 1 counter drop; }; }\n";
    enter_in(
        what::NFT,
        said(Command::new("nft").args(["-f", "-"]), table),
    );
    for (what, discipline) in [
        (what::NETEM, "netem delay 1ms"),
        (what::TBF, "tbf rate 1mbit burst 16k latency 50ms"),
    ] {
        let words = format!("qdisc replace dev lo root {discipline}");
        enter_in(what, said(Command::new("tc").args(words.split(' ')), ""));
    }
    enter_in(
        what::VDSO,
        agent::vdso::rehearse().map_err(|e| e.to_string()),
    );
    trials
}

/// Runs a command with this input; what it complained of, if it failed.
fn said(command: &mut Command, input: &str) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = ip::feed(command, input).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => format!("there is no program `{name}`"),
        _ => format!("{name}: {e}"),
    })?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().find(|line| !line.trim().is_empty());
            Err(format!(
                "{name}: {}",
                first.unwrap_or("it does not say why")
            ))
        }
    }
}
