//! The lab: a cluster made of Linux namespaces on this machine, without any rights on it.
//!
//! Read [`enter`] for how a command gets in and how everything is gone when it ends, `node.rs` for
//! how a node is made and what it sees, `net.rs` for the addresses. Here is how all nodes are
//! brought up and taken down together. Why, and what is not isolated: docs/lab.md.

mod child;
mod enter;
mod ip;
mod net;
mod node;
mod trial;

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agent::protocol::{Note, Request};
use async_trait::async_trait;
use history::Name;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc::UnboundedSender;

use super::{Cluster, ClusterError, Node, Program, on_all};
use crate::control::Agent;

pub use enter::{Entered, LabError, enter, inside, step};
pub use ip::path;
pub use trial::{Trial, trial, what};

/// Most nodes that a lab may have.
pub const MOST: usize = 9;

/// First argument of the executable when it is to be a node's keeper.
const KEEPER: &str = "__lab-node";

/// How long a step of a node's way up may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an agent may take to stop its daemons and go.
const GRACE: Duration = Duration::from_secs(10);

/// Does the work of a helper process, and ends it, if that is what this process was started for.
/// To be called before anything else in `main` of every program that uses a [`Lab`].
pub fn helper() {
    match std::env::args_os().nth(1) {
        Some(first) if first == KEEPER => node::main(),
        Some(first) if first == trial::TRIAL => trial::main(),
        _ => {}
    }
}

/// The agent's program: `SCHISM_AGENT`, or `schism-agent` beside the running executable.
pub fn agent_program() -> Result<PathBuf, String> {
    let build = "build it with `cargo build --release --package agent`";
    if let Some(named) = std::env::var_os("SCHISM_AGENT") {
        let named = PathBuf::from(named);
        return match named.is_file() {
            true => Ok(named),
            false => Err(format!(
                "SCHISM_AGENT is {}, and there is no such file: {build}",
                named.display()
            )),
        };
    }
    let own = std::env::current_exe().map_err(|e| format!("where is the running program? {e}"))?;
    let beside = own.with_file_name(node::AGENT);
    match beside.is_file() {
        true => Ok(beside),
        false => Err(format!(
            "no agent: {} is not there ({build}), and SCHISM_AGENT does not say where else",
            beside.display()
        )),
    }
}

/// Removes what the nodes' daemons kept in `data/`, under the `nodes` folder of a run. Neither
/// [`Cluster::collect`] nor [`Cluster::down`] does: it is evidence until there is a verdict.
pub fn discard_data(nodes: &Path) -> io::Result<()> {
    for node in fs::read_dir(nodes)? {
        match fs::remove_dir_all(node?.path().join("data")) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// A cluster of namespaces. One at a time is up in a process, which must be [`inside`].
#[derive(Debug)]
pub struct Lab {
    names: Vec<Name>,
    folder: PathBuf,
    lease: Duration,
    notes: UnboundedSender<(Name, Note)>,
    up: Vec<Up>,
}

/// A node that is up.
#[derive(Debug)]
struct Up {
    node: Node,
    keeper: Child,
}

impl Lab {
    /// A lab whose nodes are called `names` and have their folders in `folder`, `nodes/` of the
    /// run. Agents get leases of `lease`; what they say unasked goes to `notes`.
    pub fn new(
        names: Vec<Name>,
        folder: impl Into<PathBuf>,
        lease: Duration,
        notes: UnboundedSender<(Name, Note)>,
    ) -> Result<Lab, ClusterError> {
        check_names(&names).map_err(ClusterError::Whole)?;
        Ok(Lab {
            names,
            folder: folder.into(),
            lease,
            notes,
            up: Vec::new(),
        })
    }

    /// The way up, node by node beside each other; errors are every node's own.
    async fn raise(&self, programs: &[Program]) -> Result<Vec<Up>, ClusterError> {
        let folder = std::path::absolute(&self.folder)
            .map_err(|e| ClusterError::Whole(format!("{}: {e}", self.folder.display())))?;
        let programs = all_programs(programs)?;
        let keepers = self.names.iter().map(|name| {
            let folder = folder.join(name.as_str());
            (name.clone(), keeper(folder))
        });
        let keepers = on_all(keepers).await?;
        let cables: String = (1u8..)
            .zip(&keepers)
            .map(|(number, (keeper, _))| net::cable(number, keeper.id().unwrap_or_default()))
            .collect();
        batch(cables).await.map_err(ClusterError::Whole)?;

        let numbered = (1u8..).zip(&self.names).zip(keepers);
        let greeted = numbered.map(|((number, name), (keeper, said))| {
            let plan = node::Plan {
                name: name.to_string(),
                number,
                hosts: net::hosts(&self.names),
                folder: folder.join(name.as_str()),
                programs: programs.clone(),
                lease_ms: self.lease.as_millis() as u64,
            };
            let greet = greet(
                plan,
                name.clone(),
                keeper,
                said,
                self.lease,
                self.notes.clone(),
            );
            (name.clone(), greet)
        });
        on_all(greeted).await
    }

    /// Removes the bridge's ends of the cables. With a namespace its end goes too, but later.
    async fn uncable(&self) -> Result<(), ClusterError> {
        let count = self.names.len() as u8;
        match batch((1..=count).map(net::uncable).collect()).await {
            Err(why) if !why.contains("Cannot find device") => Err(ClusterError::Whole(why)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Cluster for Lab {
    fn name(&self) -> &str {
        "lab"
    }

    async fn up(&mut self, programs: &[Program]) -> Result<Vec<Node>, ClusterError> {
        if !inside() {
            return Err(ClusterError::Whole(
                "this process is not inside a lab: lab::enter comes first".into(),
            ));
        }
        if !self.up.is_empty() {
            return Err(ClusterError::Whole("the lab is up already".into()));
        }
        match self.raise(programs).await {
            Ok(up) => self.up = up,
            Err(why) => {
                // The nodes that did come up go: their keepers were dropped, and so killed.
                let _ = self.uncable().await;
                return Err(why);
            }
        }
        Ok(self.up.iter().map(|up| up.node.clone()).collect())
    }

    /// Nothing to do: the nodes wrote into the run's folder.
    async fn collect(&mut self) -> Result<(), ClusterError> {
        Ok(())
    }

    async fn down(&mut self) -> Result<(), ClusterError> {
        let up = std::mem::take(&mut self.up);
        let ended = on_all(up.into_iter().map(|up| (up.node.name.clone(), lower(up)))).await;
        self.uncable().await?;
        ended.map(|_| ())
    }
}

/// Starts a node's keeper, and waits until it has the namespaces.
async fn keeper(folder: PathBuf) -> Result<(Child, BufReader<ChildStderr>), String> {
    for part in ["data", "log", "bin"] {
        let part = folder.join(part);
        fs::create_dir_all(&part).map_err(|e| format!("{}: {e}", part.display()))?;
    }
    let mut keeper = Command::new("/proc/self/exe")
        .arg(KEEPER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // With the keeper goes the agent, and with that the node.
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("starting the node's keeper: {e}"))?;
    let mut said = BufReader::new(keeper.stderr.take().expect("it was asked for"));
    let mut line = String::new();
    let read = said.read_line(&mut line);
    tokio::time::timeout(PATIENCE, read)
        .await
        .map_err(|_| format!("no namespaces within {} s", PATIENCE.as_secs()))?
        .map_err(|e| format!("the node's keeper: {e}"))?;
    match line.trim_end() == node::READY {
        true => Ok((keeper, said)),
        false => {
            // A panic has more than one line; a limit is not needed, for it is ending.
            let _ = said.read_to_string(&mut line).await;
            Err(line.trim_end().to_string())
        }
    }
}

/// Has the keeper start the agent, and greets that.
async fn greet(
    plan: node::Plan,
    name: Name,
    mut keeper: Child,
    mut said: BufReader<ChildStderr>,
    lease: Duration,
    notes: UnboundedSender<(Name, Note)>,
) -> Result<Up, String> {
    let mut stdin = keeper.stdin.take().expect("it was asked for");
    let stdout = keeper.stdout.take().expect("it was asked for");
    let mut line =
        serde_json::to_vec(&plan).map_err(|e| format!("{}: {e}", plan.folder.display()))?;
    line.push(b'\n');
    let mut trouble = String::new();
    let start = async {
        stdin.write_all(&line).await?;
        said.read_to_string(&mut trouble).await
    };
    tokio::time::timeout(PATIENCE, start)
        .await
        .map_err(|_| format!("no agent within {} s", PATIENCE.as_secs()))?
        .map_err(|e| format!("the node's keeper: {e}"))?;
    if !trouble.is_empty() {
        return Err(trouble.trim_end().to_string());
    }

    let agent = Agent::new(name.clone(), stdout, stdin, notes);
    if let Err(e) = agent.hello(lease).await {
        let log = fs::read_to_string(plan.folder.join("log/agent.log")).unwrap_or_default();
        return Err(match last_line(&log) {
            Some(last) => format!("{e}; the last line of its log: {last}"),
            None => e.to_string(),
        });
    }
    let node = Node {
        name,
        address: IpAddr::V4(net::address(plan.number)),
        agent,
        dir: PathBuf::from(node::DIR),
        machine: None,
    };
    Ok(Up { node, keeper })
}

/// Ends a node: politely, then by the keeper's hand.
async fn lower(mut up: Up) -> Result<(), String> {
    let asked = up.node.agent.call::<()>(Request::Shutdown);
    // Whether it agreed is seen by its going, and its going is what counts.
    let _ = tokio::time::timeout(GRACE, asked).await;
    drop(up.node);
    if tokio::time::timeout(GRACE, up.keeper.wait()).await.is_ok() {
        return Ok(());
    }
    if let Some(pid) = up
        .keeper
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32))
    {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|e| format!("ending the node's keeper: {e}"))?;
    }
    match tokio::time::timeout(PATIENCE, up.keeper.wait()).await {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "still there {} s after it was killed",
            PATIENCE.as_secs()
        )),
    }
}

async fn batch(commands: String) -> Result<(), String> {
    tokio::task::spawn_blocking(move || ip::batch(&commands))
        .await
        .expect("it does not panic, and nobody aborts it")
        .map_err(|e| format!("the lab's network: {e}"))
}

/// The programs with the agent among them, absolute, every missing one named.
fn all_programs(programs: &[Program]) -> Result<Vec<(String, PathBuf)>, ClusterError> {
    let mut all = vec![(node::AGENT.to_string(), agent_program())];
    for program in programs {
        let from = match program.from.is_file() || program.from.is_dir() {
            true => Ok(program.from.clone()),
            false => Err(format!(
                "no program {}: {} is not there",
                program.name,
                program.from.display()
            )),
        };
        all.push((program.name.clone(), from));
    }
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for (name, from) in all {
        match from.and_then(|from| std::path::absolute(from).map_err(|e| e.to_string())) {
            Ok(from) => found.push((name, from)),
            Err(why) => missing.push(why),
        }
    }
    match missing.is_empty() {
        true => Ok(found),
        false => Err(ClusterError::Whole(missing.join("; "))),
    }
}

/// Names that can be host names, none twice, not too many.
fn check_names(names: &[Name]) -> Result<(), String> {
    if names.is_empty() || names.len() > MOST {
        return Err(format!("a lab has 1 to {MOST} nodes, not {}", names.len()));
    }
    let mut seen = HashSet::new();
    for name in names {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fit = name.len() <= 32
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(letters);
        if !fit || matches!(name.as_str(), "controller" | "localhost") {
            return Err(format!(
                "{name:?} cannot be a node's name: lower-case letters, digits and hyphens, a letter first"
            ));
        }
        if !seen.insert(name) {
            return Err(format!("two nodes are called {name}"));
        }
    }
    Ok(())
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().rev().find(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Result<(), String> {
        check_names(
            &names
                .iter()
                .map(|name| Name::new(*name))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn names_that_cannot_be_host_names_are_refused() {
        assert_eq!(named(&["n1", "a-b", "zookeeper-2"]), Ok(()));
        let long = "n".repeat(33);
        for wrong in [
            "",
            "N1",
            "1n",
            "-n",
            "a_b",
            "a b",
            "../n1",
            "controller",
            "localhost",
            &long,
        ] {
            let why = named(&["n1", wrong]).expect_err(wrong);
            assert!(why.contains(&format!("{wrong:?}")), "{why}");
        }
        assert_eq!(
            named(&["n1", "n2", "n1"]),
            Err("two nodes are called n1".into())
        );
    }

    #[test]
    fn a_lab_has_one_to_nine_nodes() {
        let names: Vec<String> = (1..=10).map(|n| format!("n{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(named(&[]).is_err());
        assert!(named(&names[..1]).is_ok());
        assert!(named(&names[..9]).is_ok());
        assert!(named(&names).is_err());
    }

    #[test]
    fn data_is_discarded_and_logs_are_kept() {
        let nodes = tempfile::tempdir().expect("a folder");
        for part in ["n1/data/deep", "n1/log", "n2/log"] {
            fs::create_dir_all(nodes.path().join(part)).expect("a folder");
        }
        fs::write(nodes.path().join("n1/data/deep/wal"), "x").expect("a file");
        fs::write(nodes.path().join("n1/log/agent.log"), "x").expect("a file");
        discard_data(nodes.path()).expect("n2 has none, which is fine");
        assert!(!nodes.path().join("n1/data").exists());
        assert!(nodes.path().join("n1/log/agent.log").exists());
    }
}
