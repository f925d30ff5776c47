//! What this machine offers, tried out rather than guessed, and how to get what is missing.
//!
//! [`examine`] makes a lab that lives for a moment ([`lab::trial`]) and looks at the rest. Each
//! [`Finding`] has a name that needs can name too, so that a run can say before it starts, all at
//! once, what it lacks: [`missing`].

mod machine;
mod own;
mod packager;
mod trials;

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;

use self::machine::Machine;
use self::trials::Trials;
use crate::cluster::lab::{self, step, what};

/// How something is on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Works,
    /// It is not installed, or the kernel was built without it.
    Missing,
    /// It is there, and something says no.
    Forbidden,
    /// It could not be tried, usually because something it rests on is not there.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// One of [`ALL`], or a system.
    pub what: Cow<'static, str>,
    /// What it is for, for people.
    pub purpose: &'static str,
    pub state: State,
    /// What was seen: a version, a size, an error message.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// Everything that is looked at, with what it is for. The names `nft`, `netem`, `tbf` and `vdso`
/// are those of [`agent::protocol::Hello::offers`].
pub const ALL: &[(&str, &str)] = &[
    ("user-namespaces", "a lab without root"),
    (
        "namespaces",
        "networks, mounts and processes of their own for the lab",
    ),
    ("proc", "a /proc that shows a node its own processes only"),
    ("ip", "the lab's network"),
    ("bridge", "the lab's network"),
    ("veth", "the lab's network"),
    (
        "nodes",
        "namespaces inside the lab's, and a read-only view of this machine",
    ),
    ("agent", "the program on every node"),
    ("nft", "partitions, packet loss"),
    ("netem", "packets delayed, duplicated, reordered, corrupted"),
    ("tbf", "limited network rates"),
    ("ptrace", "turning the clocks of running programs"),
    ("vdso", "turning the clocks of running programs"),
    (
        "ssh",
        "machines as nodes: it says how ~/.ssh/config reaches a host",
    ),
    ("disk", "histories, logs and the nodes' data"),
    ("cores", "speed"),
    ("memory", "the nodes and the judging"),
];

/// What a lab cannot do without.
pub const LAB: &[Need] = &[
    &["user-namespaces"],
    &["namespaces"],
    &["proc"],
    &["ip"],
    &["bridge"],
    &["veth"],
    &["nodes"],
    &["agent"],
];

/// Something that must work: any one of these.
pub type Need = &'static [&'static str];

/// A need that this machine does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    pub need: Need,
    /// One for each alternative, and only those that were looked at.
    pub findings: Vec<Finding>,
}

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not work here", self.need.join(" or "))?;
        for finding in &self.findings {
            write!(f, "; {}: {}", finding.what, finding.detail)?;
            if let Some(remedy) = &finding.remedy {
                write!(f, " (remedy: {remedy})")?;
            }
        }
        Ok(())
    }
}

/// The needs that are not met, all of them.
pub fn missing(needs: &[Need], findings: &[Finding]) -> Vec<Lacking> {
    let named = |name: &&str| findings.iter().find(|f| f.what == *name);
    needs
        .iter()
        .map(|need| Lacking {
            need,
            findings: need.iter().filter_map(named).cloned().collect(),
        })
        .filter(|lacking| lacking.findings.iter().all(|f| f.state != State::Works))
        .collect()
}

/// The names of all that works.
pub fn offers(findings: &[Finding]) -> Vec<String> {
    let works = findings.iter().filter(|f| f.state == State::Works);
    works.map(|f| f.what.to_string()).collect()
}

/// Examines this machine; `store` is where runs would be kept. Takes about a second, and leaves
/// nothing behind. Needs [`lab::helper`] to be called in this program's `main`.
pub fn examine(store: &Path) -> Vec<Finding> {
    let machine = Machine::look();
    let trials = Trials::new(lab::trial().map_err(|e| e.to_string()));
    let mut findings = Vec::new();
    for &(what, purpose) in ALL {
        let (state, detail, remedy) = match what {
            "user-namespaces" => machine.user_namespaces(&trials),
            "namespaces" => machine.namespaces(&trials),
            "proc" => machine.proc(&trials),
            "ip" => machine.ip(),
            "bridge" => machine.link("bridge", trials.step(step::BRIDGE)),
            "veth" => machine.link("veth", trials.extra(what::VETH)),
            "nodes" => machine.nodes(&trials),
            "agent" => own::agent_program(),
            "nft" => machine.nft(&trials),
            "netem" => machine.discipline("netem", trials.extra(what::NETEM)),
            "tbf" => machine.discipline("tbf", trials.extra(what::TBF)),
            "ptrace" => machine.ptrace(),
            "vdso" => own::vdso(&trials),
            "ssh" => machine.ssh(),
            "disk" => own::disk(store),
            "cores" => own::cores(),
            _ => own::memory(),
        };
        findings.push(Finding {
            what: what.into(),
            purpose,
            state,
            detail,
            remedy,
        });
    }
    findings
}

/// State, detail, remedy.
type Answer = (State, String, Option<String>);

fn works(detail: impl Into<String>) -> Answer {
    (State::Works, detail.into(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_that_is_not_met_is_named_with_its_remedy() {
        let finding = |what: &'static str, state, remedy: Option<&str>| Finding {
            what: what.into(),
            purpose: "",
            state,
            detail: "because".to_string(),
            remedy: remedy.map(String::from),
        };
        let findings = [
            finding("nft", State::Works, None),
            finding("netem", State::Missing, Some("modprobe")),
            finding("vdso", State::Unknown, None),
        ];
        let needs: [Need; 5] = [
            &["nft"],
            &["netem"],
            &["vdso", "set-clock"],
            &["netem", "nft"],
            &["x"],
        ];
        let said: Vec<String> = missing(&needs, &findings)
            .iter()
            .map(Lacking::to_string)
            .collect();
        assert_eq!(
            said,
            [
                "netem does not work here; netem: because (remedy: modprobe)",
                "vdso or set-clock does not work here; vdso: because",
                "x does not work here",
            ]
        );
        assert_eq!(offers(&findings), ["nft"]);
    }
}
