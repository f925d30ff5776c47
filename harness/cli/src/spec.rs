//! `spec.json`: what was asked for, whole, so that a run can be judged, reported and repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::cluster::ssh;
use harness::generator::Shape;
use harness::scheduler::Clients;
use history::file;
use history::store::Run;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// Bytes of the file. No command line has so many.
const MOST_BYTES: u64 = 16 << 20;
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
    pub cluster: String,
    /// The hosts that the nodes are, in their order, and the flags by which one gets in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<String>,
    pub system: String,
    pub workload: String,
    /// As given on the command line; none if a schedule file was given.
    pub nemesis: Option<String>,
    /// What was said of faults that are drawn, as on the command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drawing: Vec<String>,
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

    /// The command that repeats the run, for a shell: somebody else's folder says only what to run
    /// Schism with, and nothing besides. `schedule` is where its schedule lies, if it cannot be drawn
    /// again from the seed.
    pub fn command(&self, schedule: Option<&str>) -> String {
        let mut words = vec![
            "schism run".to_string(),
            word(&self.system),
            format!("--workload {}", word(&self.workload)),
        ];
        match (&self.nemesis, schedule) {
            (Some(nemesis), _) => words.push(format!("--nemesis {}", word(nemesis))),
            (None, Some(file)) => words.push(format!("--schedule {}", word(file))),
            (None, None) => {}
        }
        words.extend(self.drawing.iter().map(|text| flag(text)));
        words.extend(
            self.flaws
                .iter()
                .map(|flaw| format!("--flaw {}", word(flaw))),
        );
        let params = self.params.iter().map(|(k, v)| word(&format!("{k}={v}")));
        words.extend(params.map(|param| format!("--param {param}")));
        if self.cluster != "lab" {
            words.push(format!("--cluster {}", word(&self.cluster)));
        }
        words.push(match self.hosts.is_empty() {
            true => format!("--nodes {}", self.nodes),
            false => format!("--nodes {}", word(&self.hosts.join(","))),
        });
        words.extend(self.access.iter().map(|text| flag(text)));
        words.push(format!("--time-limit {}", span(self.time_limit_ms)));
        words.push(format!("--op-timeout {}", span(self.op_timeout_ms)));
        words.push(format!("--rate {}", self.rate));
        words.push(format!("--concurrency {}", self.concurrency));
        words.push(format!("--clients {}", self.clients));
        words.push(format!("--load {}", self.load));
        words.extend(
            self.recovery_ms
                .map(|ms| format!("--recovery-time {}", span(ms))),
        );
        words.extend(self.may_crash.then(|| "--may-crash".to_string()));
        words.push(format!("--seed {}", self.seed));
        words.join(" ")
    }

    pub fn load(run: &Run) -> Result<Spec, Failure> {
        let path = run.spec();
        let text = file::read(&path, MOST_BYTES)
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
        match rate.is_finite() && *rate > 0.0 {
            true => Ok(()),
            false => Err(format!("rate is {rate}, which is no rate")),
        }
    }
}

/// A word as a shell reads it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A flag, with its value behind it if it has one.
fn flag(text: &str) -> String {
    match text.split_once(' ') {
        Some((flag, value)) => format!("{} {}", word(flag), word(value)),
        None => word(text),
    }
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
            "cluster": evil, "hosts": [evil, "n2"], "access": [format!("--user {evil}"), evil],
            "system": evil, "workload": evil, "nemesis": evil, "drawing": [evil], "nodes": 2,
            "time_limit_ms": 1500, "op_timeout_ms": 3000, "rate": 1e300, "concurrency": 3, "seed": 1,
            "params": {evil: evil}, "flaws": [evil],
        });
        let spec = Spec::parse(text.to_string().as_bytes()).expect("it is one");
        let dir = tempfile::tempdir().expect("a folder");
        let script = format!(
            "schism() {{ printf '%s\\0' \"$@\"; }}; {}",
            spec.command(None)
        );
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .current_dir(dir.path())
            .output()
            .expect("there is a shell");
        assert!(output.stderr.is_empty(), "{output:?}");
        let left = std::fs::read_dir(dir.path()).expect("ours").count();
        assert_eq!(left, 0);
        let said = String::from_utf8(output.stdout).expect("text");
        let words: Vec<&str> = said.split('\0').collect();
        let hosts = format!("{evil},n2");
        let param = format!("{evil}={evil}");
        for word in [evil, &hosts, &param] {
            assert!(words.contains(&word), "{word:?} is not in {words:?}");
        }
    }

    #[test]
    fn a_command_of_plain_words_is_not_quoted() {
        let words = [
            "paxos-kv",
            "pause:leader,kill",
            "--remote-dir /srv/x",
            "user@[fe80::1]:22",
        ];
        assert_eq!(
            words.map(flag),
            [
                "paxos-kv",
                "pause:leader,kill",
                "--remote-dir /srv/x",
                "'user@[fe80::1]:22'"
            ]
        );
    }
}
