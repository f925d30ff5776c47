//! What decides about remedies, and what rests on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packager::{IPROUTE, NFTABLES, Packager, Packages, SSH, TC};
use super::trials::{Outcome, Trials};
use super::{Answer, State, works};
use crate::cluster::lab::{self, step, what};

/// What decides about remedies: the system, its settings, who asks.
pub struct Machine {
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
    pub fn look() -> Machine {
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

    pub fn user_namespaces(&self, trials: &Trials) -> Answer {
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

    pub fn namespaces(&self, trials: &Trials) -> Answer {
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

    pub fn proc(&self, trials: &Trials) -> Answer {
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

    pub fn ip(&self) -> Answer {
        self.program("ip", &["-V"], IPROUTE)
    }

    pub fn ssh(&self) -> Answer {
        self.program("ssh", &["-V"], SSH)
    }

    /// A kind of network interface.
    pub fn link(&self, kind: &str, outcome: Outcome) -> Answer {
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

    pub fn nodes(&self, trials: &Trials) -> Answer {
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

    pub fn nft(&self, trials: &Trials) -> Answer {
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
    pub fn discipline(&self, kind: &str, outcome: Outcome) -> Answer {
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
    pub fn ptrace(&self) -> Answer {
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

/// A program, looked for where the lab does too.
fn find(name: &str) -> Option<PathBuf> {
    let path = lab::path();
    let mut all = std::env::split_paths(&path).map(|folder| folder.join(name));
    all.find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::lab::Trial;

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
}
