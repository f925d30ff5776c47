//! A node's way up, step by step: what is it, may we, is there a place, has it the programs, start
//! the agent.
//!
//! Everything of ours is in one folder there, [`Place`], which nobody else can use (`ground.rs`):
//!
//! ```text
//!   DIR/made-by-schism         tells it from somebody else's
//!   DIR/programs/SHA256/NAME   uploaded once; named by content, so that a second run finds them
//!   DIR/agent/                 the agent's: undo journal, lock
//!   DIR/run/{bin,data,log}     of the run, made anew by the next one
//! ```

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ground::{Claim, guard};
use super::link::{Done, Hand, Limit, quoted};

/// What the agent's program is called.
pub(super) const AGENT: &str = "schism-agent";

/// Bytes of one log that are fetched. The agent lets no log of a daemon grow longer by itself.
const LOG_MOST: usize = 32 << 20;

/// Programs are looked for here, whatever the login shell has made of it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to be provided, with what decides whether a node has it and can run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provided {
    pub name: String,
    pub sha256: String,
    pub from: PathBuf,
    pub content: std::sync::Arc<[u8]>,
    /// For which processor it was built; none for scripts.
    pub arch: Option<&'static str>,
}

/// Reads a program from the controller's disk.
pub(super) fn load(name: &str, from: &Path) -> Result<Provided, String> {
    let content = fs::read(from).map_err(|e| format!("{}: {e}", from.display()))?;
    let digest = Sha256::digest(&content);
    Ok(Provided {
        name: name.to_string(),
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        from: from.to_owned(),
        arch: arch(&content),
        content: content.into(),
    })
}

/// The processor that an ELF file is for, as `uname -m` calls it.
fn arch(content: &[u8]) -> Option<&'static str> {
    let machine = content.strip_prefix(b"\x7fELF")?.get(14..16)?;
    match u16::from_le_bytes([machine[0], machine[1]]) {
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        243 => Some("riscv64"),
        _ => Some("another processor"),
    }
}

/// The build of a program that a node of this processor can run: the program itself, or
/// `NAME-ARCH` beside it.
pub(super) fn build_for(program: &Provided, arch: &str) -> Result<Provided, String> {
    if program.arch.is_none_or(|own| own == arch) {
        return Ok(program.clone());
    }
    let beside = program
        .from
        .with_file_name(format!("{}-{arch}", program.name));
    if !beside.is_file() {
        return Err(format!(
            "its processor is {arch}, and {} is built for {}: build it with `cargo build --release \
             --package {} --target {arch}-unknown-linux-gnu` and put it at {}",
            program.from.display(),
            program.arch.unwrap_or_default(),
            program
                .name
                .strip_prefix("schism-")
                .unwrap_or(&program.name),
            beside.display()
        ));
    }
    let other = load(&program.name, &beside)?;
    match other.arch == Some(arch) {
        true => Ok(other),
        false => Err(format!(
            "its processor is {arch}, and {} is not built for that",
            beside.display()
        )),
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub arch: String,
    /// Which start of which kernel it runs on. Two nodes with the same share a kernel.
    pub boot: String,
    /// Where the node was reached, as it sees it.
    pub address: IpAddr,
    /// The controller's address as the node sees it, with the node's own SSH port: packets between
    /// these are never touched.
    pub control: SocketAddr,
    /// How to become root there: nothing, or `sudo -n`.
    pub root: &'static str,
}

/// Has this run by a shell that is known, whatever the user's own is.
fn shell(root: &str, script: &str) -> String {
    format!("exec {root}/bin/sh -c {}", quoted(script))
}

/// Step 1: who is there, and may we be root?
pub(super) fn look(hand: &mut Hand) -> Result<Found, String> {
    let script = "echo \"arch $(uname -m)\"; echo \"uid $(id -u)\"; \
                  echo \"boot $(cat /proc/sys/kernel/random/boot_id)\"; \
                  echo \"connection $SSH_CONNECTION\"";
    let said = hand.exec(&shell("", script), b"")?.success();
    let said = said.map_err(|why| format!("looking around: {why}"))?;
    let (uid, mut found) = read(&said)?;
    if uid != "0" {
        found.root = "sudo -n ";
        let tried = hand.exec(&shell(found.root, "true"), b"")?.success();
        tried.map_err(|why| {
            format!(
                "root is needed there, for its network and its clock, and `sudo -n` says: {why}. Log \
                 in as root (--user root), or let this user do it without a password \
                 (`USER ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d/schism)"
            )
        })?;
    }
    Ok(found)
}

/// The user, and the rest.
pub(super) fn read(said: &str) -> Result<(String, Found), String> {
    let value = |key: &str| {
        let lines = said.lines().filter_map(|line| line.split_once(' '));
        let value = lines
            .filter(|(k, _)| *k == key)
            .map(|(_, v)| v.trim())
            .next_back();
        value.filter(|v| !v.is_empty()).ok_or_else(|| {
            format!("it does not say its {key}: is it a Linux machine? It said {said:?}")
        })
    };
    let arch = value("arch")?;
    // It becomes part of a file's name.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if arch.len() > 32 || !arch.chars().all(plain) {
        return Err(format!("it calls its processor {arch:?}"));
    }
    let words: Vec<&str> = value("connection")?.split(' ').collect();
    let odd = || format!("its SSH_CONNECTION makes no sense: {words:?}");
    let [controller, _, own, port] = words.as_slice() else {
        return Err(odd());
    };
    // A zone may stand behind a link-local address.
    let address = |text: &str| {
        let plain = text.split('%').next().unwrap_or_default();
        plain
            .parse::<IpAddr>()
            .map(|a| a.to_canonical())
            .map_err(|_| odd())
    };
    let found = Found {
        arch: arch.into(),
        boot: value("boot")?.into(),
        address: address(own)?,
        control: SocketAddr::new(address(controller)?, port.parse().map_err(|_| odd())?),
        root: "",
    };
    Ok((value("uid")?.into(), found))
}

/// Where things are on a node.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub dir: PathBuf,
    pub root: &'static str,
}

impl Place {
    /// Has this run there, if the place is as it must be.
    fn command(&self, script: &str) -> String {
        shell(self.root, &(guard(&self.dir, Claim::Keep) + script))
    }

    fn at(&self, rest: &str) -> String {
        quoted(&self.dir.join(rest).to_string_lossy())
    }

    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    fn program(&self, program: &Provided) -> String {
        format!("programs/{}/{}", program.sha256, program.name)
    }

    /// What goes wrong with the folder, and the way out.
    fn hint(&self, why: String) -> String {
        format!(
            "{}: {why}: make room or rights there, or choose another place with --remote-dir",
            self.dir.display()
        )
    }

    /// Step 2: a folder that is ours alone. Nothing of anybody's is touched.
    pub fn claim(&self, hand: &mut Hand) -> Result<(), String> {
        let script = guard(&self.dir, Claim::Take);
        let done = hand.exec(&shell(self.root, &script), b"")?;
        done.success().map(|_| ()).map_err(|why| {
            let dir = self.dir.display();
            format!("--remote-dir {dir}: {why}")
        })
    }

    /// Step 3: uploads what is not there yet. Returns the names of what was.
    pub fn provide(&self, hand: &mut Hand, programs: &[Provided]) -> Result<Vec<String>, String> {
        let programs_dir = self.at("programs");
        // What no run has asked for in a week is of an earlier build.
        let script = format!(
            "umask 022; mkdir -p {programs_dir} {} && cd {programs_dir} || exit 1; {}\
             find . -mindepth 1 -maxdepth 1 -mtime +7 -exec rm -rf {{}} +; \
             for f in */*; do [ -f \"$f\" ] && sha256sum \"$f\"; done; exit 0",
            self.at("agent"),
            programs
                .iter()
                .map(|p| format!("touch -c {} 2>/dev/null; ", quoted(&p.sha256)))
                .collect::<String>(),
        );
        let there = hand.exec(&self.command(&script), b"")?.success();
        let there = there.map_err(|why| self.hint(why))?;
        let has = |program: &&Provided| {
            let line = format!("{0}  {0}/{1}", program.sha256, program.name);
            !there.lines().any(|l| l == line)
        };
        let missing: Vec<&Provided> = programs.iter().filter(has).collect();
        for program in &missing {
            let folder = self.at(&format!("programs/{}", program.sha256));
            let (part, whole) = (
                self.at(&format!("{}.part", self.program(program))),
                self.at(&self.program(program)),
            );
            let script = format!(
                "umask 022; mkdir -p {folder} && cat > {part} && chmod 755 {part} && mv {part} {whole} \
                 || {{ rm -f {part}; exit 1; }}"
            );
            let done = hand
                .exec(&self.command(&script), &program.content)?
                .success();
            done.map_err(|why| self.hint(format!("uploading {}: {why}", program.name)))?;
        }
        Ok(missing.iter().map(|program| program.name.clone()).collect())
    }

    /// Step 4: whether the agent runs there at all.
    pub fn try_agent(&self, hand: &mut Hand, agent: &Provided) -> Result<(), String> {
        let script = format!("{} --version", self.at(&self.program(agent)));
        let Done { status, stderr, .. } = hand.exec(&self.command(&script), b"")?;
        match status {
            0 => Ok(()),
            126 => Err(format!(
                "{}: programs cannot be run there ({}): it is mounted noexec, most likely; choose \
                 another place with --remote-dir",
                self.dir.display(),
                stderr.trim()
            )),
            status => Err(format!(
                "the agent does not run: exit {status}: {}",
                stderr.trim()
            )),
        }
    }

    /// Whether the node's own clock may be set: the agent there looks. The error says why not.
    pub fn machine_clock(
        &self,
        hand: &mut Hand,
        agent: &Provided,
        boot: &str,
    ) -> Result<(), String> {
        let agent = self.at(&self.program(agent));
        let script = format!("{agent} may-set-clock --controller-boot {}", quoted(boot));
        let said = hand.exec(&self.command(&script), b"")?.success();
        said.map(|_| ()).map_err(|why| {
            let own = "schism-agent: ";
            why.strip_prefix(own).unwrap_or(&why).to_string()
        })
    }

    /// The command that starts the agent.
    pub fn start(&self, agent: &Provided, control: SocketAddr, boot: Option<&str>) -> String {
        let clock = match boot {
            Some(boot) => format!(" --machine-clock {}", quoted(boot)),
            None => String::new(),
        };
        self.command(&format!(
            "exec env -i PATH={PATH} HOME={} LANG=C.UTF-8 {} --dir {} --watchdog \
             --control {control}{clock}",
            self.at("run/data"),
            self.at(&self.program(agent)),
            self.at("agent"),
        ))
    }

    /// The command that takes a session up again.
    pub fn resume(&self, agent: &Provided, session: &str, received: u64) -> String {
        self.command(&format!(
            "exec {} resume --dir {} --session {} --received {received}",
            self.at(&self.program(agent)),
            self.at("agent"),
            quoted(session),
        ))
    }

    /// What the agent runs once it holds its folder's lock: the run's own folders.
    pub fn furnish(&self, programs: &[Provided]) -> String {
        let run = self.at("run");
        format!(
            "set -e; umask 022; rm -rf {run}; mkdir -p {run}/bin {run}/data {run}/log{}",
            self.linking(programs)
        )
    }

    /// Gives a machine that has started anew the run's programs again; its data stay.
    pub fn link_programs(&self, hand: &mut Hand, programs: &[Provided]) -> Result<(), String> {
        let run = self.at("run");
        let script = format!(
            "set -e; umask 022; mkdir -p {run}/bin {run}/data {run}/log; rm -f {run}/bin/*{}",
            self.linking(programs)
        );
        let done = hand.exec(&self.command(&script), b"")?;
        done.success().map(|_| ())
    }

    fn linking(&self, programs: &[Provided]) -> String {
        let mut script = String::new();
        for program in programs.iter().filter(|p| p.name != AGENT) {
            let (from, to) = (
                self.at(&self.program(program)),
                self.at(&format!("run/bin/{}", program.name)),
            );
            // Another run may be told to upload a new one; this one keeps what it began with.
            script += &format!("; ln {from} {to} 2>/dev/null || cp {from} {to}");
        }
        script
    }

    /// Undoes by hand what an agent that is gone has left.
    pub fn heal(&self, agent: &Provided) -> String {
        self.command(&self.healing(agent))
    }

    /// The same for a person to type.
    pub fn heal_by_hand(&self, agent: &Provided) -> String {
        format!("{}{}", self.root, self.healing(agent))
    }

    fn healing(&self, agent: &Provided) -> String {
        let agent = self.at(&self.program(agent));
        format!("{agent} heal --dir {}", self.at("agent"))
    }

    /// The files under the run's `log/`.
    pub fn logs(&self, hand: &mut Hand) -> Result<Vec<String>, String> {
        let script = format!("cd {} && find . -type f", self.at("run/log"));
        let listed = hand.exec(&self.command(&script), b"")?.success()?;
        Ok(log_names(&listed).map(str::to_owned).collect())
    }

    /// A log's content; of a long one its beginning and its end.
    pub fn fetch(&self, hand: &mut Hand, log: &str) -> Result<Vec<u8>, String> {
        let file = self.at(&format!("run/log/{log}"));
        let half = LOG_MOST / 2;
        let script = format!(
            "size=$(wc -c <{file}) || exit 1; \
             if [ \"$size\" -le {LOG_MOST} ]; then exec head -c {LOG_MOST} {file}; fi; \
             head -c {half} {file} && \
             printf '\\n[%s bytes are left out here]\\n' $((size - {LOG_MOST})) && \
             tail -c {half} {file}"
        );
        // What is left out is named in a short line.
        let limit = Limit {
            bytes: LOG_MOST + 100,
            ..Limit::default()
        };
        let done = hand.exec_within(&self.command(&script), b"", &limit)?;
        match done.status {
            0 => Ok(done.stdout),
            _ => Err(done.stderr.trim().to_string()),
        }
    }
}

/// What `find` printed, a file a line. Whatever that is: who uses a name looks at it.
pub(super) fn log_names(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.strip_prefix("./"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u16) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
        bytes.extend(machine.to_le_bytes());
        bytes
    }

    #[test]
    fn the_build_for_the_processor_is_found_or_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("schism-agent");
        fs::write(&path, elf(62)).expect("writes");
        let program = load("schism-agent", &path).expect("reads");
        assert_eq!(program.arch, Some("x86_64"));
        assert_eq!(build_for(&program, "x86_64"), Ok(program.clone()));
        let why = build_for(&program, "aarch64").expect_err("there is none");
        for word in [
            "aarch64",
            "x86_64",
            "--package agent",
            "schism-agent-aarch64",
        ] {
            assert!(why.contains(word), "{word} is not in {why}");
        }
        fs::write(dir.path().join("schism-agent-aarch64"), elf(62)).expect("writes");
        assert!(build_for(&program, "aarch64").is_err(), "it is another's");
        fs::write(dir.path().join("schism-agent-aarch64"), elf(183)).expect("writes");
        let other = build_for(&program, "aarch64").expect("is there");
        assert_eq!(other.name, "schism-agent");
        assert_ne!(other.sha256, program.sha256);
        // Whatever its own processor is, a script runs everywhere.
        fs::write(&path, "#!/bin/sh\n").expect("writes");
        let script = load("client", &path).expect("reads");
        assert_eq!(build_for(&script, "aarch64"), Ok(script.clone()));
    }

    #[test]
    fn a_node_says_where_it_is_seen_from() {
        let said = "Welcome to n1\narch x86_64\nuid 1000\nboot 0b9c\n\
                    connection ::ffff:10.0.0.9 5122 ::ffff:10.0.0.1 2200\n";
        let (uid, found) = read(said).expect("is whole");
        assert_eq!((uid.as_str(), found.arch.as_str()), ("1000", "x86_64"));
        assert_eq!(found.address, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(found.control, SocketAddr::from(([10, 0, 0, 9], 2200)));
        for broken in ["", "arch x86_64\nuid 0\nboot\nconnection a b c d\n"] {
            assert!(read(broken).is_err(), "{broken:?}");
        }
        for arch in ["../../etc/x", "x86 64", "x86\u{1b}[2J", &"x".repeat(1_000)] {
            let said = said.replace("x86_64", arch);
            let why = read(&said).expect_err("is no processor");
            assert!(why.contains("processor"), "{why}");
        }
    }
}
