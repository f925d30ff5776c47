//! Real machines, reached over SSH. A node needs sshd and nothing else: the agent is uploaded.
//!
//! Read `node.rs` for a node's way up and what is where on it, `ground.rs` for whose that place may
//! be, `link.rs` and `pump.rs` for its two connections, `dial.rs` for how a session gets over the
//! loss of one, `host.rs`, `known.rs` and `auth.rs` for how one gets in. Here is how all nodes come
//! up together, and `collected.rs` for what comes back from them. What it is like to use:
//! docs/machines.md.

mod auth;
mod collected;
mod dial;
#[doc(hidden)]
pub mod fuzzed;
mod ground;
mod host;
mod known;
mod link;
mod node;
mod pump;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::protocol::{Note, Ran, Request};
use async_trait::async_trait;
use history::Name;
use tokio::sync::mpsc::UnboundedSender;

use self::auth::Passphrases;
use self::collected::Folder;
use self::dial::{Dial, Known};
use self::link::{Files, PATIENCE, Way};
use self::node::{AGENT, Found, Place, Provided};
use super::{Cluster, ClusterError, Machine, Node, Program, lab, on_all};
use crate::control::{Agent, ControlError, Resumption};

pub use auth::Ask;
pub use host::Access;

/// Most nodes that a cluster may have.
pub const MOST: usize = 32;

/// Where everything of ours is on a node, unless another place is chosen.
pub const DIR: &str = "/var/lib/schism";

/// How long an agent may take to stop its daemons and go.
const GRACE: Duration = Duration::from_secs(20);
/// How long a node whose agent was lost may take to be whole again: its lease, and a little.
const HEALED: Duration = Duration::from_secs(20);
/// Bytes of one node's logs that are fetched: more would be no help to anybody.
const ALL_LOGS: usize = 256 << 20;
/// For all logs of a node. One that is begun within it has a command's time to end.
const COLLECT: Duration = Duration::from_secs(300);
/// What went wrong with them that is said.
const MOST_TROUBLES: usize = 10;
/// To make the run's folders.
const FURNISH: Duration = Duration::from_secs(60);

/// A machine, as the user named it.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: Name,
    /// For `ssh`: an alias of ssh_config, `user@host`, `ssh://user@host:port`.
    pub host: String,
    /// Where peers and clients reach it, if that is not where SSH does.
    pub address: Option<IpAddr>,
    /// Its hypervisor, where it is a virtual machine of ours.
    pub machine: Option<Arc<dyn Machine>>,
}

/// Whose clocks are shifted by clock faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clocks {
    /// The machine's where it has one of its own that may be set, else each process's.
    #[default]
    Auto,
    /// The machine's; a node where that cannot be is an error.
    Machine,
    /// Each process's, as in the lab.
    Process,
}

/// Everything about a cluster of machines.
#[derive(Clone)]
pub struct Options {
    pub targets: Vec<Target>,
    pub access: Access,
    /// See [`DIR`].
    pub dir: PathBuf,
    pub clocks: Clocks,
    /// `nodes/` of the run, where logs are collected.
    pub folder: PathBuf,
    pub lease: Duration,
    /// Asked for passphrases.
    pub ask: Ask,
    /// Told what a person may want to know on the way up.
    pub say: Arc<dyn Fn(String) + Send + Sync>,
    /// Gets what agents say unasked.
    pub notes: UnboundedSender<(Name, Note)>,
}

/// Machines over SSH.
pub struct Ssh {
    options: Options,
    up: Vec<Up>,
}

/// A machine that can be reached, on its way up.
struct Reached {
    target: Target,
    way: Way,
    files: Files,
    found: Found,
}

/// A node that is up.
struct Up {
    node: Node,
    files: Arc<Files>,
    place: Place,
    agent: Provided,
    dial: Arc<Dial>,
}

impl Ssh {
    pub fn new(options: Options) -> Result<Ssh, ClusterError> {
        let count = options.targets.len();
        if !(1..=MOST).contains(&count) {
            let why = format!("a cluster has 1 to {MOST} nodes, not {count}");
            return Err(ClusterError::Whole(why));
        }
        if !options.dir.is_absolute() || options.dir.components().count() < 3 {
            return Err(ClusterError::Whole(format!(
                "{} cannot be the folder on the nodes: give an absolute path at least two deep",
                options.dir.display()
            )));
        }
        Ok(Ssh {
            options,
            up: Vec::new(),
        })
    }

    async fn raise(&self, programs: &[Program]) -> Result<Vec<Up>, ClusterError> {
        let programs = load_all(programs)?;
        let passphrases = Arc::new(Passphrases::new(self.options.ask.clone()));
        let reached = on_all(self.options.targets.iter().map(|target| {
            let (target, access) = (target.clone(), self.options.access.clone());
            let passphrases = passphrases.clone();
            (target.name.clone(), reach(target, access, passphrases))
        }))
        .await?;
        check_apart(&reached)?;
        let shared = shared_kernels(&reached);

        let uploads = Arc::new(std::sync::Mutex::new(Vec::new()));
        let up = on_all(reached.into_iter().map(|reached| {
            let name = reached.target.name.clone();
            let clock = match (self.options.clocks, shared.get(&name)) {
                (Clocks::Process, _) => Err(None),
                (_, Some(why)) => Err(Some(why.clone())),
                _ => Ok(own_boot()),
            };
            let greet = greet(
                reached,
                self.options.clone(),
                programs.clone(),
                clock,
                uploads.clone(),
            );
            (name, greet)
        }))
        .await?;
        let mut uploads = std::mem::take(&mut *uploads.lock().expect("no panic while held"));
        uploads.sort();
        (self.options.say)(match uploads.is_empty() {
            true => "nothing to upload: the nodes have every program".into(),
            false => format!("uploaded {}", uploads.join(", ")),
        });
        Ok(up)
    }
}

#[async_trait]
impl Cluster for Ssh {
    fn name(&self) -> &str {
        "ssh"
    }

    async fn up(&mut self, programs: &[Program]) -> Result<Vec<Node>, ClusterError> {
        if !self.up.is_empty() {
            return Err(ClusterError::Whole("the cluster is up already".into()));
        }
        // Those that did come up go with their connections: the agents' input ends.
        self.up = self.raise(programs).await?;
        Ok(self.up.iter().map(|up| up.node.clone()).collect())
    }

    async fn collect(&mut self) -> Result<(), ClusterError> {
        on_all(self.up.iter().map(|up| {
            let (files, place) = (up.files.clone(), up.place.clone());
            let to = self.options.folder.join(up.node.name.as_str()).join("log");
            let fetch = async move { files.ask(move |hand| collect(hand, &place, &to)).await };
            (up.node.name.clone(), fetch)
        }))
        .await
        .map(|_| ())
    }

    async fn down(&mut self) -> Result<(), ClusterError> {
        let up = std::mem::take(&mut self.up);
        on_all(up.into_iter().map(|up| (up.node.name.clone(), lower(up))))
            .await
            .map(|_| ())
    }
}

/// The programs with the agent first, every missing one named.
fn load_all(programs: &[Program]) -> Result<Vec<Provided>, ClusterError> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let agent = lab::agent_program().and_then(|from| node::load(AGENT, &from));
    let others = programs.iter().map(|p| node::load(&p.name, &p.from));
    for program in std::iter::once(agent).chain(others) {
        match program {
            Ok(program) => found.push(program),
            Err(why) => missing.push(why),
        }
    }
    match missing.is_empty() {
        true => Ok(found),
        false => Err(ClusterError::Whole(missing.join("; "))),
    }
}

/// The first half of the way up: a connection, and what is at its other end.
async fn reach(
    target: Target,
    access: Access,
    passphrases: Arc<Passphrases>,
) -> Result<Reached, String> {
    let given = target.host.clone();
    let known = access.clone();
    let host = tokio::task::spawn_blocking(move || host::resolve(&given, &known))
        .await
        .expect("it does not panic, and nobody aborts it");
    let host = host.map_err(|why| format!("{}: {why}", target.host))?;
    let shown = host.to_string();
    let way = Way {
        host,
        access,
        passphrases,
    };
    let files = Files::new(way.clone()).map_err(|e| e.to_string())?;
    let found = files.ask(node::look).await;
    let found = found.map_err(|why| format!("{shown}: {why}"))?;
    Ok(Reached {
        target,
        way,
        files,
        found,
    })
}

impl Reached {
    fn address(&self) -> IpAddr {
        self.target.address.unwrap_or(self.found.address)
    }
}

/// Nodes must be several machines, each of which the others can reach.
fn check_apart(reached: &[Reached]) -> Result<(), ClusterError> {
    let mut wrong = Vec::new();
    for (place, one) in reached.iter().enumerate() {
        let (name, address) = (one.target.name.clone(), one.address());
        let way_out = "say where its peers reach it, as HOST=ADDRESS";
        let same = reached[..place].iter().find(|r| r.address() == address);
        if let Some(other) = same {
            let other = &other.target.name;
            wrong.push((
                name,
                format!("its address is {address}, as that of {other}: {way_out}"),
            ));
        } else if address.is_loopback() && reached.len() > 1 {
            wrong.push((
                name,
                format!("its address is {address}, its own: {way_out}"),
            ));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(ClusterError::Nodes(wrong)),
    }
}

fn own_boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_string()
}

/// Nodes that have no clock of their own, because they share a kernel: with the controller, or with
/// each other. Why, by name.
fn shared_kernels(reached: &[Reached]) -> BTreeMap<Name, String> {
    let own = own_boot();
    let mut shared = BTreeMap::new();
    for one in reached {
        let name = &one.target.name;
        let sharer = reached
            .iter()
            .find(|r| r.target.name != *name && r.found.boot == one.found.boot);
        if one.found.boot == own {
            let why = "it runs on the controller's kernel, whose clock is this machine's";
            shared.insert(name.clone(), why.to_string());
        } else if let Some(sharer) = sharer {
            let why = format!("it runs on the same kernel as {}", sharer.target.name);
            shared.insert(name.clone(), why);
        }
    }
    shared
}

/// The second half: programs, agent, greeting, folders. `clock`: the controller's boot id if the
/// machine's clock may be set, else why not.
async fn greet(
    reached: Reached,
    options: Options,
    programs: Vec<Provided>,
    clock: Result<String, Option<String>>,
    uploads: Arc<std::sync::Mutex<Vec<String>>>,
) -> Result<Up, String> {
    let shown = reached.way.host.to_string();
    let greeted = greet_inner(reached, options, programs, clock, uploads).await;
    greeted.map_err(|why| format!("{shown}: {why}"))
}

async fn greet_inner(
    reached: Reached,
    options: Options,
    programs: Vec<Provided>,
    clock: Result<String, Option<String>>,
    uploads: Arc<std::sync::Mutex<Vec<String>>>,
) -> Result<Up, String> {
    let address = reached.address();
    let Reached {
        target,
        way,
        files,
        found,
    } = reached;
    let name = target.name.clone();
    let builds = builds_for(&programs, &found.arch)?;
    let agent = builds[0].clone();
    let place = Place {
        dir: options.dir.clone(),
        root: found.root,
    };
    let (there, wanted, first) = (place.clone(), builds.clone(), agent.clone());
    let sent = files
        .ask(move |hand| {
            there.claim(hand)?;
            // The agent first: a node that cannot run it needs nothing else.
            let mut sent = there.provide(hand, &wanted[..1])?;
            there.try_agent(hand, &first)?;
            sent.extend(there.provide(hand, &wanted)?);
            Ok(sent)
        })
        .await?;
    if !sent.is_empty() {
        let sent = format!("{} to {name}", sent.join(" and "));
        uploads.lock().expect("no panic while held").push(sent);
    }

    let clock = match clock {
        Err(why) => Err(why),
        Ok(boot) => {
            let (there, first, id) = (place.clone(), agent.clone(), boot.clone());
            let may = files.ask(move |hand| there.machine_clock(hand, &first, &id));
            may.await.map(|()| boot).map_err(Some)
        }
    };
    say_whose_clock(&name, &clock, &options)?;
    let log = fresh_log(&options.folder, &name)?;
    let files = Arc::new(files);
    let dial = Arc::new(Dial::new(Known {
        way,
        place: place.clone(),
        programs: builds.clone(),
        start: place.start(&agent, found.control, clock.as_deref().ok()),
        files: files.clone(),
        log: log.clone(),
    }));
    let link = dial.first(PATIENCE).await?;
    let resumption = Resumption {
        session: dial::token()?,
        redial: dial.clone(),
        patience: options.lease,
    };
    let session_agent = Agent::over(name.clone(), link, Some(resumption), options.notes);
    let greeted = session_agent.hello(options.lease).await;
    greeted.map_err(|why| with_last_line(&why, &log))?;
    furnish(&session_agent, &place, &builds, target.machine.is_some()).await?;
    Ok(Up {
        node: Node {
            name,
            address,
            agent: session_agent,
            dir: place.run(),
            machine: target.machine,
        },
        files,
        place,
        agent,
        dial,
    })
}

/// Every program as it is built for a machine of this kind, or of which there is no such build.
fn builds_for(programs: &[Provided], arch: &str) -> Result<Vec<Provided>, String> {
    let builds = programs.iter().map(|p| node::build_for(p, arch));
    let (builds, wrong): (Vec<_>, Vec<_>) = builds.partition(Result::is_ok);
    let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
    match wrong.is_empty() {
        true => Ok(builds.into_iter().flatten().collect()),
        false => Err(wrong.join("; ")),
    }
}

/// Where the machine's clock cannot be set, that is an error if it was asked for, and said if not.
fn say_whose_clock(
    name: &Name,
    clock: &Result<String, Option<String>>,
    options: &Options,
) -> Result<(), String> {
    let Err(Some(why)) = clock else {
        return Ok(());
    };
    if options.clocks == Clocks::Machine {
        return Err(format!(
            "its clock cannot be set: {why}; --clocks process shifts those of the processes"
        ));
    }
    (options.say)(format!(
        "{name}: clock faults shift the clocks of its processes, not the machine's: {why}"
    ));
    Ok(())
}

/// The agent's log in the run's folder: of this run alone, what follows is appended.
fn fresh_log(folder: &Path, name: &Name) -> Result<PathBuf, String> {
    let log = folder.join(name.as_str()).join("log");
    fs::create_dir_all(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let log = log.join("agent.log");
    File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    Ok(log)
}

/// Why the agent did not greet back, and what it wrote last.
fn with_last_line(why: &ControlError, log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    match said.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(last) => format!("{why}; the last line of its log: {last}"),
        None => why.to_string(),
    }
}

/// The node's folders, and links to its programs.
async fn furnish(
    agent: &Agent,
    place: &Place,
    builds: &[Provided],
    is_machine: bool,
) -> Result<(), String> {
    let mut furnish = place.furnish(builds);
    if is_machine {
        // What is here before the run begins is not to be lost by its faults.
        furnish += "; sync";
    }
    let ran: Ran = agent
        .call(Request::Run {
            argv: vec!["/bin/sh".into(), "-c".into(), furnish],
            stdin: String::new(),
            timeout_ms: FURNISH.as_millis() as u64,
        })
        .await
        .map_err(|e| e.to_string())?;
    match ran.success {
        true => Ok(()),
        false => Err(format!("{}: {}", place.run().display(), ran.stderr.trim())),
    }
}

/// Brings a node's logs into the run's folder. One that cannot be read does not keep the others.
fn collect(hand: &mut link::Hand, place: &Place, to: &Path) -> Result<(), String> {
    let folder = Folder::open(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let mut left = ALL_LOGS;
    let logs = place.logs(hand)?;
    let mut troubles = collected::each(&logs, COLLECT, |log| {
        let parts = collected::parts(log)?;
        if left == 0 {
            return Err("its logs are too long; this one was not fetched".into());
        }
        let content = place.fetch(hand, log)?;
        left = left.saturating_sub(content.len());
        let file = folder.create(&parts);
        let written = file.and_then(|mut file| file.write_all(&content));
        written.map_err(|e| e.to_string())
    });
    let all = troubles.len();
    if all > MOST_TROUBLES {
        troubles.truncate(MOST_TROUBLES);
        troubles.push(format!("and {} more", all - MOST_TROUBLES));
    }
    match troubles.is_empty() {
        true => Ok(()),
        false => Err(troubles.join("; ")),
    }
}

/// Ends a node's agent. One that was lost heals by itself; that is seen to.
async fn lower(up: Up) -> Result<(), String> {
    let asked = up.node.agent.call::<()>(Request::Shutdown);
    let answer = tokio::time::timeout(GRACE, asked).await;
    drop(up.node);
    let why = match answer {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(e.to_string()),
        Err(_) => Some("its agent does not answer".into()),
    };
    if !up.dial.ended(GRACE).await {
        return Err(format!(
            "its agent is still there after {} s",
            GRACE.as_secs()
        ));
    }
    let Some(why) = why else {
        return Ok(());
    };
    let heal = up.place.heal(&up.agent);
    let by_hand = up.place.heal_by_hand(&up.agent);
    let deadline = Instant::now() + HEALED;
    loop {
        let command = heal.clone();
        let healed = up
            .files
            .ask(move |hand| hand.exec(&command, b"")?.success())
            .await;
        match healed {
            Ok(_) => return Ok(()),
            // The agent there may not know yet that it is alone.
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(e) => {
                return Err(format!(
                    "{why}; whether it is whole again is not known ({e}): its agent heals it within \
                     its lease; the next run does, and by hand `{by_hand}` there"
                ));
            }
        }
    }
}
