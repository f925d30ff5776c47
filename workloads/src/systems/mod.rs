//! The systems that can be put on trial, and how to set one up by name.

pub mod chain;
pub mod etcd;
pub mod folder;
pub mod litecoind;
mod own;
pub mod paxos_kv;
mod versions;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::protocol::{Ran, Request};
use checkers::chain::{Retarget, Rules};
use harness::at_once::at_once;
use harness::client::{MALFORMED, OpError};
use harness::cluster::Node;
use harness::control::ControlError;
use harness::nearest::nearest;
use harness::system::{Operated, Operation, System};
use history::Name;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::catalogue::{self, NoWorkload};
use crate::interface::{Call, Interface, Offers};
use crate::params::{Kind, Param, ParamError, Params, hint};
use crate::workload::{Lacking, Need, Workload};

/// What is known of a system before it is set up.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    pub interfaces: &'static [Interface],
    /// What its [`crate::interface::Kv`] can be asked, if it has one.
    pub calls: &'static [Call],
    /// Where it is described, if that is not in this program.
    pub folder: Option<&'static Origin>,
    pub params: &'static [Param],
    /// What is asked of it where nobody says: a workload by name.
    pub workload: &'static str,
    /// Workloads that come with it, beside those of this program.
    pub own: &'static [&'static dyn Workload],
    /// The environment variable that says where its program is, if it is not where it is looked
    /// for.
    pub variable: &'static str,
    /// What can be done to it as faults of the family `admin`.
    pub operations: &'static [Operation],
    /// On how many nodes it runs where nobody says.
    pub nodes: usize,
    /// Whether one node leads the others, so that faults can be aimed at it.
    pub leads: bool,
    /// Whether its daemons may end by themselves: whoever says so judges no crash.
    pub may_crash: bool,
    /// Rules by which clocks can change what it does, each with the figure in which that shows.
    pub time_rules: &'static [TimeRule],
    /// The command that installs what it needs, to be run in its folder, if there is one; empty if
    /// nobody says.
    pub install: &'static str,
    /// More versions of its programs, each of which is installed by itself.
    pub versions: &'static [Version],
    look: &'static (dyn Fn() -> Result<(), SetupError> + Send + Sync),
    pace: fn(&Params) -> Pace,
    flaws: fn() -> Result<Vec<Flaw>, SetupError>,
    set_up: &'static (dyn Fn(&Setup) -> Result<Ready, SetupError> + Send + Sync),
}

/// On how many nodes a system runs that does not say it otherwise.
pub const NODES: usize = 5;

/// A version of a system's programs beside those that are found by themselves.
#[derive(Clone, Copy)]
pub struct Version {
    pub name: &'static str,
    /// As [`Entry::install`].
    pub install: &'static str,
    look: &'static (dyn Fn() -> Result<(), SetupError> + Send + Sync),
}

impl Version {
    /// Why it cannot be run here, if so.
    pub fn missing(&self) -> Option<SetupError> {
        (self.look)().err()
    }
}

/// Where time gets into a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRule {
    /// `checker/figure`, and the names of its parts if it has some: `agreement/needless elections`.
    pub figure: &'static str,
    /// One sentence for people: what is decided by which clock.
    pub rule: &'static str,
    /// The figure that counts how often the rule decided, if anybody counts it: what shows in
    /// `figure` may have other causes too.
    pub uses: Option<&'static str>,
}

/// What a system is set up with.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Resolved from [`Entry::params`].
    pub params: Params,
    /// Planted bugs to switch on, by name.
    pub flaws: Vec<String>,
    /// Of the run: for what the system itself is to draw.
    pub seed: u64,
    /// What will be asked of it: a workload by name.
    pub workload: String,
}

/// A system ready to be installed on a cluster.
#[derive(Clone)]
pub struct Ready {
    pub system: Arc<dyn System>,
    pub offers: Offers,
}

/// A bug that a system can be started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaw {
    pub name: String,
    /// What it does wrong.
    pub summary: String,
    /// The family of faults that is needed to see it.
    pub fault: String,
    /// The kind of reads under which it shows; none if it does not matter.
    #[serde(default)]
    pub reads: Option<String>,
    /// Other parameters that it needs.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// What shows it: properties that are judged.
    #[serde(default)]
    pub evidence: Vec<String>,
}

/// Why a system could not be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error("there is no system {name:?}{}; `schism systems` lists them", hint(.nearest))]
    NoSystem {
        name: String,
        nearest: Option<String>,
    },
    #[error(transparent)]
    Param(#[from] ParamError),
    #[error(transparent)]
    Folder(#[from] folder::FolderError),
    #[error("{system} has no flaw {name:?}{}; `schism flaws {system}` lists them", hint(.nearest))]
    NoFlaw {
        system: &'static str,
        name: String,
        nearest: Option<String>,
    },
    #[error("{system} refuses this: {reason}")]
    Refused {
        system: &'static str,
        reason: String,
    },
    #[error("{program} was not found ({looked}): {remedy}")]
    NoProgram {
        program: &'static str,
        looked: String,
        remedy: &'static str,
    },
    #[error("{program} {args}: {reason}")]
    Program {
        program: String,
        args: &'static str,
        reason: String,
    },
}

/// Where a system that is a folder was found, and what it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The folder, from the root on.
    pub path: PathBuf,
    /// SHA-256 of its files' names and contents.
    pub sha256: String,
}

/// The parameter of every chain: from which depth on a block counts as there to stay.
pub const CONFIRMATIONS: Param = Param {
    name: "confirmations",
    kind: Kind::Count { min: 1, max: 1_000 },
    default: "6",
    about: "depth at which an answer is given: 1 is the newest block",
};

/// Every system there is.
pub const SYSTEMS: &[Entry] = &[paxos_kv::ENTRY, chain::ENTRY, etcd::ENTRY, litecoind::ENTRY];

/// The system of this name, or the one that this folder is.
///
/// # Errors
/// With the nearest name, if there is no such system; what is wrong with the folder.
pub fn find(name: &str) -> Result<&'static Entry, SetupError> {
    if let Some(entry) = SYSTEMS.iter().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    folder::find(name)?.ok_or_else(|| {
        let names = names();
        SetupError::NoSystem {
            name: name.into(),
            nearest: nearest(name, names.iter().map(String::as_str)).map(str::to_string),
        }
    })
}

/// Names of all systems: those of this program, and the folders on the search path.
pub fn names() -> Vec<String> {
    let own = SYSTEMS.iter().map(|entry| entry.name.to_string());
    own.chain(folder::names()).collect()
}

/// How a system is loaded where nobody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Operations offered a second.
    pub rate: f64,
    pub concurrency: usize,
    /// After this the outcome of an operation counts as unknown.
    pub op_timeout: Duration,
}

impl Pace {
    /// For systems that answer in milliseconds.
    pub const QUICK: Pace = Pace {
        rate: 200.0,
        concurrency: 10,
        op_timeout: Duration::from_secs(3),
    };

    /// For chains, which answer when a block is deep enough: so many operations are open at a time
    /// that this bounds them rarely, and an operation may take three times as long as it does on
    /// average.
    fn of_chain(params: &Params, block_interval: Duration, rate: f64) -> Pace {
        // One block is waited for until the operation is in one at all.
        let waits = params.count(CONFIRMATIONS.name) as u32 + 1;
        let answered = block_interval * waits;
        Pace {
            rate,
            concurrency: ((rate * answered.as_secs_f64() * 2.0).ceil() as usize).clamp(10, 200),
            op_timeout: answered * 3 + Duration::from_secs(2),
        }
    }
}

impl Entry {
    /// What finds it again: its name or, of a folder, its path.
    pub fn word(&self) -> String {
        match self.folder {
            None => self.name.to_string(),
            Some(origin) => origin.path.display().to_string(),
        }
    }

    /// Those of `given` that are this system's, resolved; the others are some workload's.
    ///
    /// # Errors
    /// A value that its parameter cannot have.
    pub fn own_params<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Params, ParamError> {
        let own = |name: &str| self.params.iter().any(|param| param.name == name);
        Params::resolve(self.params, given.into_iter().filter(|(name, _)| own(name)))
    }

    /// At which depth it answers, set up so, if it is a chain.
    pub fn confirmations(&self, params: &Params) -> Option<u64> {
        let is_chain = self.params.contains(&CONFIRMATIONS);
        is_chain.then(|| params.count(CONFIRMATIONS.name))
    }

    /// What its rules say of blocks, set up so, if it is a chain. Where how far ahead a block may
    /// be is not to be chosen, it is as in Bitcoin.
    pub fn chain_rules(&self, params: &Params) -> Rules {
        let has = |name: &str| self.params.iter().any(|param| param.name == name);
        let is_chain = self.params.contains(&CONFIRMATIONS);
        let drift = match has(chain::params::MAX_FUTURE_DRIFT) {
            true => params.duration(chain::params::MAX_FUTURE_DRIFT),
            false => Duration::from_secs(2 * 3600),
        };
        Rules {
            retarget: has(chain::params::RETARGET_EVERY).then(|| Retarget {
                every: params.count(chain::params::RETARGET_EVERY),
                interval: params.duration(chain::params::BLOCK_INTERVAL.name),
            }),
            max_future_drift: is_chain.then_some(drift),
            first_seen: self.name == chain::NAME,
            gives_back: self.name == chain::NAME,
        }
    }

    /// What of it is missing on this machine, if anything is.
    pub fn missing(&self) -> Option<SetupError> {
        (self.look)().err()
    }

    /// Whether it has all that the workload needs; if not, what it lacks.
    ///
    /// # Errors
    /// The first interface or operation that it does not offer.
    pub fn can_serve(&self, workload: &dyn Workload) -> Result<(), Lacking> {
        let interface = |needed: &&Interface| !self.interfaces.contains(needed);
        let call = |needed: &&Call| !self.calls.contains(needed);
        let interface = workload.needs().iter().find(interface);
        let call = workload.calls().iter().find(call);
        let lacks = interface.map(|i| Need::Interface(*i));
        match lacks.or(call.map(|c| Need::Call(*c))) {
            None => Ok(()),
            Some(need) => Err(Lacking {
                workload: workload.name(),
                need,
            }),
        }
    }

    /// The workload of this name: one that comes with it, or one of this program.
    ///
    /// # Errors
    /// With the nearest name, if there is no such workload.
    pub fn workload_named(&self, name: &str) -> Result<&'static dyn Workload, NoWorkload> {
        catalogue::find_with(self.own, name)
    }

    /// How it is loaded, set up so, where nobody says otherwise.
    pub fn pace(&self, params: &Params) -> Pace {
        (self.pace)(params)
    }

    /// The bugs that it can be started with, as the program itself tells them.
    ///
    /// # Errors
    /// If the program is not there or does not tell.
    pub fn flaws(&self) -> Result<Vec<Flaw>, SetupError> {
        (self.flaws)()
    }

    /// Finds the programs, checks the flaws' names, and makes the system.
    ///
    /// # Errors
    /// If a program is missing or a flaw is unknown; the error says what to do.
    pub fn set_up(&self, setup: &Setup) -> Result<Ready, SetupError> {
        if !setup.flaws.is_empty() {
            let known = self.flaws()?;
            for name in &setup.flaws {
                if !known.iter().any(|flaw| flaw.name == *name) {
                    return Err(SetupError::NoFlaw {
                        system: self.name,
                        name: name.clone(),
                        nearest: nearest(name, known.iter().map(|flaw| flaw.name.as_str()))
                            .map(str::to_string),
                    });
                }
            }
        }
        (self.set_up)(setup)
    }
}

impl Entry {
    /// What an operation lacks that nobody has said, with these parameters given.
    pub fn unsaid(&self, operation: &str, given: &BTreeMap<String, String>) -> Option<String> {
        if operation != versions::UPGRADE {
            return None;
        }
        if self.folder.is_none() {
            let variable = format!("{}_NEXT", self.variable);
            let is_named = std::env::var_os(&variable).is_some();
            return (!is_named).then(|| format!("say to which program: {variable}=PATH"));
        }
        let next = given.get(folder::NEXT).filter(|next| *next != folder::NONE);
        (!self.versions.is_empty() && next.is_none())
            .then(|| "say to which version: --param next-version=NAME".into())
    }
}

/// Looks for a program where the environment variable says, else in `folders`, in order.
fn locate(
    program: &'static str,
    variable: &str,
    folders: &[PathBuf],
    remedy: &'static str,
) -> Result<PathBuf, SetupError> {
    let candidates: Vec<PathBuf> = match std::env::var_os(variable) {
        Some(path) => vec![path.into()],
        None => folders.iter().map(|folder| folder.join(program)).collect(),
    };
    let found = candidates.iter().find(|path| is_executable(path));
    found.cloned().ok_or_else(|| SetupError::NoProgram {
        program,
        looked: match std::env::var_os(variable) {
            Some(path) => format!("{variable} is {}", path.display()),
            None => {
                let looked = candidates.iter().map(|path| path.display().to_string());
                format!("looked for {}", looked.collect::<Vec<_>>().join(", "))
            }
        },
        remedy,
    })
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs a command on the node to its end, however it ends.
async fn ended(node: &Node, argv: Vec<String>, patience: Duration) -> Result<Ran, ControlError> {
    let run = Request::Run {
        argv,
        stdin: String::new(),
        timeout_ms: patience.as_millis() as u64,
    };
    node.agent.call(run).await
}

/// How long a short command may take.
const SHORT: Duration = Duration::from_secs(10);

/// Runs a short command on the node, which has to succeed.
async fn run(node: &Node, argv: Vec<String>) -> Result<Ran, ControlError> {
    let command = argv.join(" ");
    let ran = ended(node, argv, SHORT).await?;
    match ran.success {
        true => Ok(ran),
        false => Err(ControlError::Refused {
            node: node.name.clone(),
            request: command,
            reason: match [&ran.stderr, &ran.stdout].map(|said| said.trim()) {
                ["", ""] => ran.status,
                ["", said] | [said, _] => format!("{}: {said}", ran.status),
            },
        }),
    }
}

/// How an operation went that is a command: `exit 1: member not found`.
fn said_by(ran: &Ran) -> Operated {
    /// For people.
    const MOST_CHARS: usize = 200;
    let lines = ran.stdout.lines().chain(ran.stderr.lines());
    let told = match lines.map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => {
            let line: String = line.chars().take(MOST_CHARS).collect();
            format!("{}: {line}", ran.status)
        }
        None => ran.status.clone(),
    };
    Operated {
        worked: ran.success,
        told,
    }
}

/// Makes the folders that a daemon writes to.
async fn make_folders(node: &Node) -> Result<(), ControlError> {
    let logs = node.dir.join("log");
    let folders = [node.data(), logs].map(|path| path.display().to_string());
    run(
        node,
        ["mkdir".into(), "-p".into()]
            .into_iter()
            .chain(folders)
            .collect(),
    )
    .await?;
    Ok(())
}

/// Asks all nodes at once; those that did not answer are left out.
async fn ask_all<T: Send + 'static, F>(nodes: &[Node], ask: impl Fn(&Node) -> F) -> Vec<(Name, T)>
where
    F: Future<Output = Option<T>> + Send + 'static,
{
    let asked = nodes.iter().map(|node| (node.name.clone(), ask(node)));
    let answers = at_once(asked.map(|(name, answer)| async move { Some((name, answer.await?)) }));
    answers.await.into_iter().flatten().collect()
}

/// What more than half of `all` say, if they do.
fn majority<T: PartialEq + Clone>(opinions: &[T], all: usize) -> Option<T> {
    opinions
        .iter()
        .find(|one| opinions.iter().filter(|other| other == one).count() * 2 > all)
        .cloned()
}

/// Reads the body of an answer.
fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, OpError> {
    serde_json::from_slice(body).map_err(|e| {
        let begins = String::from_utf8_lossy(&body[..body.len().min(120)]);
        OpError::new(MALFORMED, format!("{e} in {begins:?}"))
    })
}

fn at(node: &Node, port: u16) -> SocketAddr {
    SocketAddr::new(node.address, port)
}
