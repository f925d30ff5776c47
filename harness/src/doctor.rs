//! What this machine offers, tried out rather than guessed, and how to get what is missing.
//!
//! [`examine`] makes a lab that lives for a moment ([`lab::trial`]) and looks at the rest. Each
//! [`Finding`] has a name that needs can name too, so that a run can say before it starts, all at
//! once, what it lacks: [`missing`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::clock;
use serde::Serialize;

use crate::cluster::lab::{self, Trial, step, what};

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
    /// One of [`ALL`].
    pub what: &'static str,
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
            "agent" => agent_program(),
            "nft" => machine.nft(&trials),
            "netem" => machine.discipline("netem", trials.extra(what::NETEM)),
            "tbf" => machine.discipline("tbf", trials.extra(what::TBF)),
            "ptrace" => machine.ptrace(),
            "vdso" => vdso(&trials),
            "ssh" => machine.ssh(),
            "disk" => disk(store),
            "cores" => cores(),
            _ => memory(),
        };
        findings.push(Finding {
            what,
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

/// What came of trying something.
enum Outcome<'a> {
    Works,
    Fails(&'a str),
    /// Something before it failed.
    NotReached(String),
}

/// What [`lab::trial`] said.
struct Trials(Result<Vec<Trial>, String>);

/// The steps of entering a lab, in their order.
const STEPS: [&str; 7] = [
    step::USER,
    step::MAPS,
    step::PID,
    step::REST,
    step::PRIVATE,
    step::PROC,
    step::BRIDGE,
];

impl Trials {
    fn new(trials: Result<Vec<Trial>, String>) -> Trials {
        Trials(trials)
    }

    /// The step of entering that failed, with its reason.
    fn failed(&self) -> Option<(&str, &str)> {
        let trials = self.0.as_ref().ok()?;
        let entering = |t: &&Trial| STEPS.contains(&t.what.as_str());
        let failed = trials.iter().find(entering)?;
        Some((&failed.what, failed.error.as_deref().unwrap_or_default()))
    }

    /// How a step of entering the lab went.
    fn step(&self, name: &str) -> Outcome<'_> {
        if let Err(why) = &self.0 {
            return Outcome::NotReached(why.clone());
        }
        let place = |step: &str| STEPS.iter().position(|s| *s == step);
        match self.failed() {
            Some((step, why)) if step == name => Outcome::Fails(why),
            Some((step, why)) if place(step) < place(name) => {
                Outcome::NotReached(format!("{step}: {why}"))
            }
            _ => Outcome::Works,
        }
    }

    /// How something that is tried inside went.
    fn extra(&self, name: &str) -> Outcome<'_> {
        let trials = match &self.0 {
            Ok(trials) => trials,
            Err(why) => return Outcome::NotReached(why.clone()),
        };
        match trials.iter().find(|t| t.what == name) {
            Some(Trial { error: None, .. }) => Outcome::Works,
            Some(Trial {
                error: Some(why), ..
            }) => Outcome::Fails(why),
            None => Outcome::NotReached(match self.failed() {
                Some((step, why)) => format!("no lab to try it in: {step}: {why}"),
                None => "it was not tried".to_string(),
            }),
        }
    }
}

/// What decides about remedies: the system, its settings, who asks.
struct Machine {
    root: bool,
    packager: Packager,
    sysctls: BTreeMap<&'static str, u64>,
}

/// Settings of the kernel that forbid namespaces to some, with the value that does, and the one
/// that does not.
const FORBIDDING: [(&str, u64, u64); 6] = [
    ("kernel.unprivileged_userns_clone", 0, 1),
    ("kernel.apparmor_restrict_unprivileged_userns", 1, 0),
    ("user.max_user_namespaces", 0, 15_000),
    ("user.max_pid_namespaces", 0, 15_000),
    ("user.max_net_namespaces", 0, 15_000),
    ("user.max_mnt_namespaces", 0, 15_000),
];

const PTRACE_SCOPE: &str = "kernel.yama.ptrace_scope";

impl Machine {
    fn look() -> Machine {
        let names = FORBIDDING
            .iter()
            .map(|(name, ..)| *name)
            .chain([PTRACE_SCOPE]);
        let sysctls = names.filter_map(|name| {
            let path = Path::new("/proc/sys").join(name.replace('.', "/"));
            Some((name, fs::read_to_string(path).ok()?.trim().parse().ok()?))
        });
        Machine {
            root: rustix::process::geteuid().is_root(),
            packager: Packager::of(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            sysctls: sysctls.collect(),
        }
    }

    /// The settings that may be what forbids namespaces, as commands that change them.
    fn namespaces_remedy(&self) -> String {
        let changes: Vec<String> = FORBIDDING
            .iter()
            // AppArmor's and Debian's rules are about ordinary users.
            .filter(|(name, ..)| !self.root || name.starts_with("user."))
            .filter(|(name, forbids, _)| self.sysctls.get(name) == Some(forbids))
            .map(|(name, _, allows)| format!("sudo sysctl -w {name}={allows}"))
            .collect();
        match (changes.is_empty(), self.root) {
            (false, _) => changes.join(" && "),
            (true, false) => {
                "no setting of the kernel forbids it: in a container, start that with \
                 --privileged (or --security-opt seccomp=unconfined --security-opt \
                 apparmor=unconfined); or run as root"
                    .to_string()
            }
            (true, true) => "in a container, start that with --privileged (or with --cap-add \
                 SYS_ADMIN,NET_ADMIN --security-opt seccomp=unconfined --security-opt \
                 apparmor=unconfined)"
                .to_string(),
        }
    }

    fn user_namespaces(&self, trials: &Trials) -> Answer {
        let maps = trials.step(step::MAPS);
        match (trials.step(step::USER), maps) {
            (Outcome::Works, Outcome::Works) if self.root => works("root needs none"),
            (Outcome::Works, Outcome::Works) => works("an ordinary user can make them"),
            (Outcome::Fails(why), _) | (_, Outcome::Fails(why)) => (
                State::Forbidden,
                why.to_string(),
                Some(self.namespaces_remedy()),
            ),
            (Outcome::NotReached(why), _) | (_, Outcome::NotReached(why)) => {
                (State::Unknown, why, None)
            }
        }
    }

    fn namespaces(&self, trials: &Trials) -> Answer {
        for step in [step::PID, step::REST, step::PRIVATE] {
            match trials.step(step) {
                Outcome::Works => {}
                Outcome::Fails(why) => {
                    let detail = format!("{step}: {why}");
                    return (State::Forbidden, detail, Some(self.namespaces_remedy()));
                }
                Outcome::NotReached(why) => return (State::Unknown, why, None),
            }
        }
        works("pid, network, mount, uts and ipc")
    }

    fn proc(&self, trials: &Trials) -> Answer {
        match trials.step(step::PROC) {
            Outcome::Works => works("mounted"),
            Outcome::Fails(why) => (
                State::Forbidden,
                why.to_string(),
                // The kernel lets nobody mount a /proc that shows more than the one he has.
                Some(
                    "parts of /proc are covered, as containers do: start the container with \
                     --security-opt systempaths=unconfined (docker) or --security-opt unmask=ALL \
                     (podman)"
                        .to_string(),
                ),
            ),
            Outcome::NotReached(why) => (State::Unknown, why, None),
        }
    }

    fn ip(&self) -> Answer {
        self.program("ip", &["-V"], IPROUTE)
    }

    fn ssh(&self) -> Answer {
        self.program("ssh", &["-V"], SSH)
    }

    /// A kind of network interface.
    fn link(&self, kind: &str, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Works => works("made"),
            Outcome::Fails(why) if find("ip").is_none() => (State::Unknown, why.to_string(), None),
            Outcome::Fails(why) => (
                State::Missing,
                why.to_string(),
                Some(format!("load the kernel's module: sudo modprobe {kind}")),
            ),
            Outcome::NotReached(why) => (State::Unknown, why, None),
        }
    }

    fn nodes(&self, trials: &Trials) -> Answer {
        match trials.extra(what::NODE) {
            Outcome::Works => works("namespaces inside the lab's, made read-only"),
            Outcome::Fails(why) if why.contains("protecting") => (
                State::Missing,
                why.to_string(),
                Some("Linux 5.12 or later".to_string()),
            ),
            Outcome::Fails(why) => (
                State::Forbidden,
                why.to_string(),
                Some(self.namespaces_remedy()),
            ),
            Outcome::NotReached(why) => (State::Unknown, why, None),
        }
    }

    fn nft(&self, trials: &Trials) -> Answer {
        let (state, version, remedy) = self.program("nft", &["--version"], NFTABLES);
        if state != State::Works {
            return (state, version, remedy);
        }
        match trials.extra(what::NFT) {
            Outcome::Works => works(format!("{version}; a rule was applied")),
            Outcome::Fails(why) => (
                State::Missing,
                why.to_string(),
                Some("load the kernel's modules: sudo modprobe nf_tables nft_numgen".to_string()),
            ),
            Outcome::NotReached(why) => (State::Unknown, format!("{version}; {why}"), None),
        }
    }

    /// A queueing discipline.
    fn discipline(&self, kind: &str, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Works => works("applied"),
            Outcome::Fails(why) if find("tc").is_none() => (
                State::Missing,
                why.to_string(),
                Some(self.packager.install(TC)),
            ),
            Outcome::Fails(why) => {
                let module = format!("sch_{kind}");
                let package = match self.packager {
                    Packager::Dnf => Some("kernel-modules-extra"),
                    Packager::Apt { ubuntu: true } => Some("linux-modules-extra-$(uname -r)"),
                    _ => None,
                };
                let remedy = match package {
                    Some(package) => {
                        let install = self.packager.command(package);
                        format!("{install} && sudo modprobe {module}")
                    }
                    None => format!(
                        "sudo modprobe {module}; if there is no such module, a kernel that was \
                         built with it (CONFIG_NET_{}), such as a distribution's or a virtual \
                         machine's",
                        module.to_uppercase()
                    ),
                };
                (State::Missing, why.to_string(), Some(remedy))
            }
            Outcome::NotReached(why) => (State::Unknown, why, None),
        }
    }

    /// Yama's rule. Daemons descend from the agent, which is root in its node, so that only the
    /// strictest value is in the way.
    fn ptrace(&self) -> Answer {
        match self.sysctls.get(PTRACE_SCOPE) {
            None => works("not restricted"),
            Some(scope @ 0..=2) => works(format!("{PTRACE_SCOPE} is {scope}: a parent may")),
            Some(scope) => (
                State::Forbidden,
                format!("{PTRACE_SCOPE} is {scope}: nobody may"),
                Some(format!(
                    "set {PTRACE_SCOPE} to 1 in /etc/sysctl.d and restart the machine: it cannot \
                     be lowered while it runs"
                )),
            ),
        }
    }

    /// A program, by asking it for its version.
    fn program(&self, name: &str, version: &[&str], packages: Packages) -> Answer {
        let Some(path) = find(name) else {
            return (
                State::Missing,
                format!("there is no program `{name}`"),
                Some(self.packager.install(packages)),
            );
        };
        match Command::new(&path).args(version).output() {
            Ok(output) => {
                // ssh says it on stderr.
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                works(said.lines().next().unwrap_or_default().trim().to_string())
            }
            Err(e) => (State::Forbidden, format!("{}: {e}", path.display()), None),
        }
    }
}

/// What a package is called by each packager: Debian's, Fedora's, Arch's.
type Packages = [&'static str; 3];

const IPROUTE: Packages = ["iproute2", "iproute", "iproute2"];
const TC: Packages = ["iproute2", "iproute-tc", "iproute2"];
const NFTABLES: Packages = ["nftables", "nftables", "nftables"];
const SSH: Packages = ["openssh-client", "openssh-clients", "openssh"];

/// What installs packages here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packager {
    /// Debian and what comes from it.
    Apt {
        ubuntu: bool,
    },
    /// Fedora and what comes from it.
    Dnf,
    /// Arch.
    Pacman,
    Other,
}

impl Packager {
    /// By os-release(5): the distribution, then those it is like.
    fn of(os_release: &str) -> Packager {
        let field = |key: &str| {
            let mut lines = os_release.lines().filter_map(|line| line.split_once('='));
            let value = lines.find(|(k, _)| *k == key)?.1;
            Some(value.trim_matches(['"', '\'']).to_string())
        };
        let ids = format!(
            "{} {}",
            field("ID").unwrap_or_default(),
            field("ID_LIKE").unwrap_or_default()
        );
        let ubuntu = ids.split_whitespace().any(|id| id == "ubuntu");
        ids.split_whitespace()
            .find_map(|id| match id {
                "debian" | "ubuntu" => Some(Packager::Apt { ubuntu }),
                "fedora" | "rhel" => Some(Packager::Dnf),
                "arch" => Some(Packager::Pacman),
                _ => None,
            })
            .unwrap_or(Packager::Other)
    }

    fn install(self, packages: Packages) -> String {
        let [apt, dnf, pacman] = packages;
        match self {
            Packager::Apt { .. } => self.command(apt),
            Packager::Dnf => self.command(dnf),
            Packager::Pacman => self.command(pacman),
            Packager::Other => format!(
                "install the package that is called {apt} by Debian, {dnf} by Fedora, {pacman} by Arch"
            ),
        }
    }

    fn command(self, package: &str) -> String {
        match self {
            Packager::Apt { .. } => format!("sudo apt-get install {package}"),
            Packager::Dnf => format!("sudo dnf install {package}"),
            Packager::Pacman => format!("sudo pacman -S {package}"),
            Packager::Other => format!("install {package}"),
        }
    }
}

/// A program, looked for where the lab does too.
fn find(name: &str) -> Option<PathBuf> {
    let path = lab::path();
    let mut all = std::env::split_paths(&path).map(|folder| folder.join(name));
    all.find(|file| file.is_file())
}

fn agent_program() -> Answer {
    let program = match lab::agent_program() {
        Ok(program) => program,
        Err(why) => return (State::Missing, why, None),
    };
    let shown = program.display();
    match fs::read(&program) {
        Err(e) => (State::Forbidden, format!("{shown}: {e}"), None),
        Ok(bytes) => match needs_loader(&bytes) {
            None => (
                State::Forbidden,
                format!("{shown} is not a 64-bit ELF program"),
                None,
            ),
            Some(false) => works(format!("{shown}, static")),
            Some(true) => works(format!(
                "{shown}, linked dynamically: good for the lab, not for other machines"
            )),
        },
    }
}

/// Whether a 64-bit little-endian ELF program asks for a dynamic loader: it has a program header
/// of type PT_INTERP (3), see elf(5). None if it is no such program.
fn needs_loader(elf: &[u8]) -> Option<bool> {
    let number = |at: usize, length: usize| -> Option<u64> {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(elf.get(at..at.checked_add(length)?)?);
        Some(u64::from_le_bytes(bytes))
    };
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (offset, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let at = usize::try_from(offset.checked_add(index * size)?).ok()?;
        if number(at, 4)? == 3 {
            return Some(true);
        }
    }
    Some(false)
}

fn vdso(trials: &Trials) -> Answer {
    let layout = match clock::support() {
        Ok(layout) => layout,
        Err(e) => {
            let remedy =
                "clocks can be turned on x86-64 and aarch64, with a kernel that has a vDSO";
            return (State::Missing, e.to_string(), Some(remedy.to_string()));
        }
    };
    let layout = format!(
        "{}, {} functions, {} of {} free bytes used",
        layout.arch,
        layout.functions.len(),
        layout.payload_len,
        layout.free_len
    );
    match trials.extra(what::VDSO) {
        Outcome::Works => works(format!("{layout}; a program's clock was turned")),
        Outcome::Fails(why) => (
            State::Forbidden,
            why.to_string(),
            Some("a container may forbid ptrace: start it with --cap-add SYS_PTRACE".to_string()),
        ),
        Outcome::NotReached(why) => (State::Unknown, format!("{layout}; {why}"), None),
    }
}

/// Below this a run may not have room for its history and the nodes' data.
const LEAST_DISK: u64 = 1 << 30;

fn disk(store: &Path) -> Answer {
    // The folder may not have been made yet: then its place is what counts.
    let absolute = std::path::absolute(store).unwrap_or_else(|_| store.to_path_buf());
    let Some(there) = absolute.ancestors().find(|folder| folder.exists()) else {
        return (
            State::Unknown,
            format!("{} is nowhere", store.display()),
            None,
        );
    };
    let shown = there.display();
    match rustix::fs::statvfs(there) {
        Err(e) => (State::Unknown, format!("{shown}: {e}"), None),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let detail = format!("{} free at {shown}", gigabytes(free));
            match free >= LEAST_DISK {
                true => works(detail),
                false => (
                    State::Missing,
                    detail,
                    Some("free 1 GB, or put the runs elsewhere with --store".to_string()),
                ),
            }
        }
    }
}

fn cores() -> Answer {
    match std::thread::available_parallelism() {
        Ok(count) => works(count.to_string()),
        Err(e) => (State::Unknown, e.to_string(), None),
    }
}

fn memory() -> Answer {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |key: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    match (kilobytes("MemAvailable:"), kilobytes("MemTotal:")) {
        (Some(free), Some(all)) => works(format!(
            "{} of {} available",
            gigabytes(free << 10),
            gigabytes(all << 10)
        )),
        _ => (
            State::Unknown,
            "/proc/meminfo does not say".to_string(),
            None,
        ),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(root: bool, sysctls: &[(&'static str, u64)]) -> Machine {
        Machine {
            root,
            packager: Packager::Apt { ubuntu: false },
            sysctls: sysctls.iter().copied().collect(),
        }
    }

    fn failing(step: &str) -> Trials {
        Trials::new(Ok(vec![Trial {
            what: step.to_string(),
            error: Some("Operation not permitted".to_string()),
        }]))
    }

    #[test]
    fn the_setting_that_forbids_user_namespaces_is_named() {
        for (name, forbids, command) in [
            (
                "kernel.unprivileged_userns_clone",
                0,
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                "kernel.apparmor_restrict_unprivileged_userns",
                1,
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (
                "user.max_user_namespaces",
                0,
                "user.max_user_namespaces=15000",
            ),
        ] {
            let (state, detail, remedy) =
                machine(false, &[(name, forbids)]).user_namespaces(&failing(step::MAPS));
            assert_eq!(state, State::Forbidden);
            assert_eq!(detail, "Operation not permitted");
            assert_eq!(
                remedy.as_deref(),
                Some(&*format!("sudo sysctl -w {command}"))
            );
        }
    }

    #[test]
    fn a_setting_that_allows_is_not_blamed() {
        let allowing = machine(false, &[("kernel.unprivileged_userns_clone", 1)]);
        let (_, _, remedy) = allowing.user_namespaces(&failing(step::USER));
        assert!(!remedy.expect("some").contains("sysctl"));
    }

    #[test]
    fn what_comes_after_a_failed_step_is_unknown_and_what_comes_before_works() {
        let trials = failing(step::PROC);
        let machine = machine(false, &[]);
        assert_eq!(machine.user_namespaces(&trials).0, State::Works);
        assert_eq!(machine.namespaces(&trials).0, State::Works);
        assert_eq!(machine.proc(&trials).0, State::Forbidden);
        assert_eq!(
            machine.link("bridge", trials.step(step::BRIDGE)).0,
            State::Unknown
        );
        assert_eq!(machine.nodes(&trials).0, State::Unknown);
    }

    #[test]
    fn nothing_is_said_to_work_when_nothing_could_be_tried() {
        let trials = Trials::new(Err("no such file".to_string()));
        let machine = machine(true, &[]);
        for (state, detail, _) in [
            machine.user_namespaces(&trials),
            machine.namespaces(&trials),
            machine.proc(&trials),
            machine.nodes(&trials),
            machine.discipline("netem", trials.extra(what::NETEM)),
        ] {
            assert_eq!(state, State::Unknown, "{detail}");
            assert!(detail.contains("no such file"), "{detail}");
        }
    }

    #[test]
    fn packagers_are_known_by_their_family() {
        for (os_release, packager) in [
            ("NAME=x\nID=debian\n", Packager::Apt { ubuntu: false }),
            ("ID=ubuntu\nID_LIKE=debian", Packager::Apt { ubuntu: true }),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"",
                Packager::Apt { ubuntu: true },
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                Packager::Dnf,
            ),
            ("ID=manjaro\nID_LIKE=arch", Packager::Pacman),
            ("ID=nixos", Packager::Other),
            ("", Packager::Other),
        ] {
            assert_eq!(Packager::of(os_release), packager, "{os_release}");
        }
        assert_eq!(Packager::Dnf.install(TC), "sudo dnf install iproute-tc");
    }

    #[test]
    fn every_need_that_is_not_met_is_named_with_its_remedy() {
        let finding = |what, state, remedy: Option<&str>| Finding {
            what,
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

    #[test]
    fn a_program_is_static_or_not_and_junk_is_neither() {
        let own = std::env::current_exe()
            .and_then(fs::read)
            .expect("a test has a program");
        let dynamic = !cfg!(target_feature = "crt-static");
        assert_eq!(needs_loader(&own), Some(dynamic));
        assert_eq!(needs_loader(b"#!/bin/sh\n"), None);
        assert_eq!(needs_loader(b"\x7fELF\x02\x01"), None);
        // A header alone that says: no program headers.
        let mut header = [0; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(needs_loader(&header), Some(false));
        // The same with one, of type PT_INTERP, behind it.
        let mut with_one = header.to_vec();
        with_one[32] = 64;
        with_one[54] = 56;
        with_one[56] = 1;
        with_one.extend([3, 0, 0, 0]);
        assert_eq!(needs_loader(&with_one), Some(true));
    }
}
