//! `spec.json`: what was asked for, whole, so that a run can be judged, reported and repeated.
//!
//! Whatever starts a run starts it from a [`Spec`]: flags, scenarios and experiments are settled
//! into one ([`crate::wanted`]), `run --spec FILE` takes one, and nothing else prints a command
//! line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use harness::cluster::ssh;
use harness::generator::Shape;
use harness::scheduler::Clients;
use history::file;
use history::store::Run;
use history::wording::counted;
use nemeses::schedule::{Length, Tuning};
use serde::{Deserialize, Serialize};
use workloads::catalogue;
use workloads::systems::{self, Entry, Origin, SetupError, folder};
use workloads::workload::{Texts, Workload};

use crate::exit::Failure;
use crate::machines::{AccessArgs, Kind};

/// Bytes of the file. A schedule may be in it.
const MOST_BYTES: u64 = 64 << 20;
/// Most operations that may be open at once.
pub const MOST_WORKERS: usize = 10_000;

/// A run's specification with nothing left open: defaults filled in, the seed drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Version of this program.
    pub schism: String,
    /// When the run was started, for people; nothing is ordered by it.
    pub created: String,
    pub machine: Machine,
    pub cluster: Kind,
    /// The hosts that the nodes are, in their order, and how one gets in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "AccessArgs::is_default")]
    pub access: AccessArgs,
    pub system: String,
    /// Where the system lies that is a folder, and what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Origin>,
    pub workload: String,
    /// What the workload is, if it came with the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_workload: Option<Texts>,
    /// What the faults are drawn from; none if they were given.
    pub nemesis: Option<String>,
    #[serde(default, skip_serializing_if = "Drawing::is_default")]
    pub drawing: Drawing,
    /// The faults that were given, as a schedule's file has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    pub nodes: usize,
    pub time_limit_ms: u64,
    pub op_timeout_ms: u64,
    pub rate: f64,
    pub concurrency: usize,
    #[serde(default)]
    pub clients: Clients,
    #[serde(default)]
    pub load: Shape,
    /// How long a healed node has to serve again, if it is not the system's own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_ms: Option<u64>,
    /// Whether a daemon may end by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_crash: bool,
    /// Whether the nodes of a folder's system show what they hold when the run is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replicas: bool,
    pub seed: u64,
    /// Parameters that differ from their defaults.
    pub params: BTreeMap<String, String>,
    pub flaws: Vec<String>,
    /// Name of the scenario that the run was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// Whether it is the scenario's clean twin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clean: bool,
}

/// What is said of faults that are drawn.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drawing {
    /// How long each fault lasts: `2s`, or drawn from `1s..4s` [default: 31 to 92 % of 6.5 s]
    #[arg(
        help_heading = "Faults",
        hide_short_help = true,
        long,
        value_name = "LENGTH"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_length: Option<Length>,
    /// Quiet before each fault: `3s`, or drawn from `1s..4s` [default: 16 to 61 % of 6.5 s]
    #[arg(
        help_heading = "Faults",
        hide_short_help = true,
        long,
        value_name = "LENGTH"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_gap: Option<Length>,
    /// Aim no fault at a leader [default: only where the system has one]
    #[arg(help_heading = "Faults", hide_short_help = true, long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_leader: bool,
}

impl Drawing {
    pub fn is_default(&self) -> bool {
        *self == Drawing::default()
    }

    pub fn tuning(&self) -> Tuning {
        Tuning {
            lasts: self.fault_length,
            gap: self.fault_gap,
            no_leader: self.no_leader,
            ..Tuning::default()
        }
    }

    /// As they would be written.
    fn words(&self) -> Vec<String> {
        let flags = [
            ("--fault-length", self.fault_length),
            ("--fault-gap", self.fault_gap),
        ];
        flags
            .into_iter()
            .filter_map(|(flag, length)| Some([flag.to_string(), length?.to_string()]))
            .flatten()
            .chain(self.no_leader.then(|| "--no-leader".to_string()))
            .collect()
    }
}

/// For people: `length 2s gap 1s..4s`.
impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words().join(" ").replace("--fault-", "");
        f.write_str(&words.replace("--", ""))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub kernel: String,
    pub arch: String,
    pub cores: usize,
}

impl Machine {
    pub fn this() -> Machine {
        let uname = rustix::system::uname();
        Machine {
            kernel: uname.release().to_string_lossy().into_owned(),
            arch: std::env::consts::ARCH.to_string(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl Spec {
    pub fn time_limit(&self) -> Duration {
        Duration::from_millis(self.time_limit_ms)
    }

    pub fn op_timeout(&self) -> Duration {
        Duration::from_millis(self.op_timeout_ms)
    }

    /// The system; one that is a folder, as it is now.
    pub fn entry(&self) -> Result<&'static Entry, SetupError> {
        systems::find(&self.system_word())
    }

    /// The workload of this name, as it was in the run if it is the run's own.
    pub fn workload_named(&self, name: &str) -> Result<&'static dyn Workload, Failure> {
        match &self.own_workload {
            Some(texts) if texts.name == name => match folder::workload::again(texts) {
                Ok(own) => Ok(own),
                Err(e) => Err(Failure::Usage(format!("the workload of this run: {e}"))),
            },
            _ => catalogue::find(name).map_err(|e| Failure::Usage(e.to_string())),
        }
    }

    /// The system as a command line names it.
    pub fn system_word(&self) -> String {
        match &self.folder {
            None => self.system.clone(),
            Some(origin) => origin.path.display().to_string(),
        }
    }

    /// Names of the nodes: n1, n2, ...
    pub fn node_names(&self) -> Vec<history::Name> {
        (1..=self.nodes).map(|i| format!("n{i}").into()).collect()
    }

    /// Whether both ask for the same run, by whatever version, whenever, and on whatever machine.
    pub fn asks_the_same(&self, other: &Spec) -> bool {
        let question = |spec: &Spec| Spec {
            schism: String::new(),
            created: String::new(),
            machine: self.machine.clone(),
            ..spec.clone()
        };
        question(self) == question(other)
    }

    /// One line that names the run.
    pub fn title(&self) -> String {
        let mut title = format!("{} {}", self.system, self.workload);
        if !self.flaws.is_empty() {
            title += &format!(" with {}", self.flaws.join(", "));
        }
        title
    }

    /// What is asked, in one line: a person sees it before anything starts.
    pub fn asked(&self) -> String {
        let faults = match self.nemesis.as_deref() {
            None => "given faults".to_string(),
            Some("none") => "no faults".to_string(),
            Some(faults) => format!("faults {faults}"),
        };
        format!(
            "{} on {} ({}), {faults}, {} s, seed {}",
            self.title(),
            counted(self.nodes, "node"),
            self.cluster.name(),
            self.time_limit_ms.div_ceil(1000),
            self.seed
        )
    }

    /// The command that repeats the run, for a shell. `spec` is where this lies: faults that were
    /// given are taken from it.
    pub fn command(&self, spec: &Path, store: &Path) -> String {
        let mut words: Vec<String> = ["schism", "run"].map(String::from).to_vec();
        match &self.nemesis {
            // Everything is in it.
            None => words.extend(["--spec".to_string(), spec.display().to_string()]),
            Some(nemesis) => {
                words.push(self.system_word());
                self.flags(nemesis, &mut words);
            }
        }
        words.extend(["--store".to_string(), store.display().to_string()]);
        quoted(&words)
    }

    fn flags(&self, nemesis: &str, words: &mut Vec<String>) {
        let mut flag = |name: &str, value: String| words.extend([name.to_string(), value]);
        flag("--workload", self.workload.clone());
        flag("--nemesis", nemesis.to_string());
        for name in &self.flaws {
            flag("--flaw", name.clone());
        }
        for (name, value) in &self.params {
            flag("--param", format!("{name}={value}"));
        }
        if self.cluster != Kind::Lab {
            flag("--cluster", self.cluster.name().into());
        }
        flag(
            "--nodes",
            match self.hosts.is_empty() {
                true => self.nodes.to_string(),
                false => self.hosts.join(","),
            },
        );
        flag("--time-limit", span(self.time_limit_ms));
        flag("--op-timeout", span(self.op_timeout_ms));
        flag("--rate", self.rate.to_string());
        flag("--concurrency", self.concurrency.to_string());
        flag("--clients", self.clients.to_string());
        flag("--load", self.load.to_string());
        if let Some(ms) = self.recovery_ms {
            flag("--recovery-time", span(ms));
        }
        flag("--seed", self.seed.to_string());
        words.extend(self.may_crash.then(|| "--may-crash".to_string()));
        words.extend(self.drawing.words());
        words.extend(self.access.words());
    }

    /// The specification in a run's folder.
    pub fn load(run: &Run) -> Result<Spec, Failure> {
        Spec::read(&run.spec())
    }

    /// The specification in a file, which may be anybody's.
    pub fn read(path: &Path) -> Result<Spec, Failure> {
        let text = file::read(path, MOST_BYTES)
            .map_err(|e| Failure::Usage(format!("cannot read {}: {e}", path.display())))?;
        Spec::parse(&text).map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))
    }

    /// Reads what the file holds; the error says what is wrong with it, and where.
    pub fn parse(text: &[u8]) -> Result<Spec, String> {
        let spec: Spec = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        spec.check()?;
        Ok(spec)
    }

    /// Whether a run can have been asked for so: the file may be anybody's.
    fn check(&self) -> Result<(), String> {
        let Spec {
            nodes,
            concurrency,
            rate,
            ..
        } = self;
        if !(1..=ssh::MOST).contains(nodes) {
            return Err(format!(
                "nodes is {nodes}, and a run has 1 to {}",
                ssh::MOST
            ));
        }
        if !(1..=MOST_WORKERS).contains(concurrency) {
            return Err(format!(
                "concurrency is {concurrency}, and a run has 1 to {MOST_WORKERS} workers"
            ));
        }
        if let Some(folder) = self.folder.as_ref().filter(|f| !f.path.is_absolute()) {
            return Err(format!(
                "folder.path is {}, which does not begin at the root",
                folder.path.display()
            ));
        }
        match rate.is_finite() && *rate > 0.0 {
            true => Ok(()),
            false => Err(format!("rate is {rate}, which is no rate")),
        }
    }
}

/// Words as a shell reads them.
pub fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    let word = |text: &String| match !text.is_empty() && text.chars().all(plain) {
        true => text.clone(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Milliseconds as a duration that the command line reads.
fn span(ms: u64) -> String {
    match ms.is_multiple_of(1000) {
        true => format!("{}s", ms / 1000),
        false => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who takes the printed command may do so without reading it.
    #[test]
    fn the_command_of_somebody_elses_folder_runs_nothing_but_schism() {
        let evil = "x; touch owned; '$(touch owned)' `touch owned` \n#\"\\";
        let text = serde_json::json!({
            "schism": "0", "created": "", "machine": {"kernel": "", "arch": "", "cores": 1},
            "cluster": "ssh", "hosts": [evil, "n2"], "access": {"user": evil, "jump": evil},
            "system": evil, "workload": evil, "nemesis": evil, "drawing": {"fault_length": "2s"},
            "nodes": 2, "time_limit_ms": 1500, "op_timeout_ms": 3000, "rate": 1e300,
            "concurrency": 3, "seed": 1, "params": {evil: evil}, "flaws": [evil],
        });
        let spec = Spec::parse(text.to_string().as_bytes()).expect("it is one");
        let given = Spec {
            nemesis: None,
            ..spec.clone()
        };
        let hosts = format!("{evil},n2");
        let param = format!("{evil}={evil}");
        let path = format!("/{evil}/spec.json");
        let all: &[&str] = &[evil, &hosts, &param, &path];
        for (spec, words) in [(spec, all), (given, &[path.as_str()])] {
            let dir = tempfile::tempdir().expect("a folder");
            let command = spec.command(Path::new(&path), Path::new(&path));
            let script = format!("schism() {{ printf '%s\\0' \"$@\"; }}; {command}");
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", &script])
                .current_dir(dir.path())
                .output()
                .expect("there is a shell");
            assert!(output.stderr.is_empty(), "{output:?}");
            let left = std::fs::read_dir(dir.path()).expect("ours").count();
            assert_eq!(left, 0);
            let said = String::from_utf8(output.stdout).expect("text");
            let said: Vec<&str> = said.split('\0').collect();
            for word in words {
                assert!(said.contains(word), "{word:?} is not in {said:?}");
            }
        }
    }

    #[test]
    fn a_command_of_plain_words_is_not_quoted() {
        let words = ["paxos-kv", "pause:leader,kill", "reads=lease", "/srv/x"].map(String::from);
        assert_eq!(quoted(&words), words.join(" "));
        assert_eq!(quoted(&["a b".to_string()]), "'a b'");
    }
}
