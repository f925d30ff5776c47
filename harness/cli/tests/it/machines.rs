//! Machines with an sshd each, without machines: network namespaces in a world of their own, which
//! the kernel takes away with its first process.
//!
//! ```text
//!   world   process, network and mount namespace; a bridge with the controller's address on it
//!     ├─ n1   network, mount, process and host name of its own: eth0, /var/lib, /run; sshd
//!     └─ n2 ...
//! ```
//!
//! They share this machine's kernel, and so its clock: nothing here may ever set it, and the
//! program finds that out by itself.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Ended, Place, eventually};

/// Brings a world up, says `ready`, and stays until nobody holds its input any more.
const WORLD: &str = r#"
set -eu
dir=$1 count=$2
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/sshd
ip link set lo up
ip link add name bridge0 type bridge
ip addr add 10.78.0.254/24 dev bridge0
ip link set bridge0 up
for i in $(seq "$count"); do
    unshare --net --mount --uts --pid --fork --mount-proc sh "$dir/node.sh" "$dir" "$i" >&2 &
    echo $! >"$dir/n$i.pid"
    until [ -e "$dir/n$i.there" ]; do sleep 0.02; done
    ip link add "v$i" type veth peer name eth0 netns $!
    ip link set "v$i" master bridge0 up
done
for i in $(seq "$count"); do
    until [ -e "$dir/n$i.up" ]; do sleep 0.02; done
done
echo ready
exec cat >/dev/null
"#;

/// One node. `n3.sh` in the world's folder is what is special about the third.
const NODE: &str = r#"
set -eu
dir=$1 i=$2
: >"$dir/n$i.there"
until ip link set eth0 up 2>/dev/null; do sleep 0.02; done
ip link set lo up
ip addr add "10.78.0.$i/24" dev eth0
hostname "n$i"
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/tmp
mkdir /run/sshd
mount --bind "$dir/passwd" /etc/passwd
[ ! -e "$dir/n$i.sh" ] || . "$dir/n$i.sh"
: >"$dir/n$i.up"
# What is tested runs as root: the machine's own files are not its to write.
mount -o remount,bind,ro /
exec /usr/sbin/sshd -D -e -f "$dir/sshd.conf" -h "$dir/host$i" 2>/run/sshd.log
"#;

pub struct World {
    pub place: Place,
    child: Child,
    /// The world's first process, as this process counts.
    pid: u32,
}

impl World {
    /// None, with the reason on stderr, where such a thing cannot be had. `special` is run by the
    /// shell of the nodes of these numbers on their way up.
    pub fn new(count: usize, special: &[(usize, &str)]) -> Option<World> {
        let lacking = if !rustix::process::geteuid().is_root() {
            Some("it needs root, for an sshd in a network namespace")
        } else if !Path::new("/usr/sbin/sshd").exists() {
            Some("there is no sshd: install openssh-server")
        } else {
            None
        };
        if let Some(why) = lacking {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        let place = Place::new();
        let dir = place.path();
        open_to_all(dir);
        place.file("node.sh", NODE);
        for (number, script) in special {
            place.file(&format!("n{number}.sh"), script);
        }
        for key in (1..=count).map(|i| format!("host{i}")) {
            keygen(&dir.join(key), "");
        }
        keygen(&dir.join("key"), "");
        let public = std::fs::read(dir.join("key.pub")).expect("ssh-keygen wrote it");
        place.file("authorized_keys", public);
        let passwd = std::fs::read_to_string("/etc/passwd").expect("is there");
        let tester = "tester:*:4242:4242::/var/tmp:/bin/sh\n";
        // A shell that reads nothing of this machine's users.
        let passwd = passwd.replacen(":/bin/bash\n", ":/bin/sh\n", 1);
        place.file("passwd", passwd + tester);
        place.file(
            "sshd.conf",
            format!(
                "AuthorizedKeysFile {}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 PermitRootLogin prohibit-password\nMaxStartups 100\nUseDNS no\n",
                dir.display()
            ),
        );
        let mut child = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--uts",
                "--pid",
                "--fork",
                "--kill-child",
            ])
            .args(["--mount-proc", "sh", "-c", WORLD, "world"])
            .arg(dir)
            .arg(count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is everywhere");
        let stdout = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("text");
        assert_eq!(line, "ready\n", "the world does not come up");
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let children = std::fs::read_to_string(children).expect("it has a child");
        let pid = children.trim().parse().expect("just one");
        let world = World { place, child, pid };
        world.config("", &[]);
        for number in 1..=count {
            eventually("its sshd answers", || {
                let to = format!("bash -c ': </dev/tcp/10.78.0.{number}/22'");
                world.run(&to).code == 0
            });
        }
        Some(world)
    }

    pub fn dir(&self) -> &Path {
        self.place.path()
    }

    /// Where everything is on the nodes: a name of its own, so that processes can be told apart.
    pub fn remote(&self) -> String {
        let own = self.dir().file_name().expect("a temporary folder has one");
        format!(
            "/var/lib/schism-{}",
            own.to_string_lossy().trim_matches('.')
        )
    }

    /// Writes the ssh_config by which the nodes are reached: `n1` and so on, as root. What stands
    /// in `first` comes first, and so wins. Those that are `locked_out` are not given the right
    /// key.
    pub fn config(&self, first: &str, locked_out: &[usize]) -> PathBuf {
        let dir = self.dir().display();
        let mut text = format!("{first}\n");
        for number in 1..=9 {
            text += &format!("Host n{number}\n  HostName 10.78.0.{number}\n");
            if !locked_out.contains(&number) {
                text += &format!("  IdentityFile {dir}/key\n");
            }
        }
        text += &format!(
            "Host *\n  User root\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {dir}/known_hosts\n  GlobalKnownHostsFile none\n"
        );
        self.place.file("ssh_config", text)
    }

    /// A command inside the world, beside the nodes.
    fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid.to_string(), "--net", "--"])
            .arg(program)
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, script: &str) -> Ended {
        Ended::of(
            self.inside("sh")
                .args(["-c", script])
                .output()
                .expect("it starts"),
        )
    }

    /// A command on a node, over the user's own ssh.
    pub fn on(&self, node: usize, script: &str) -> Ended {
        let mut ssh = self.inside("ssh");
        ssh.arg("-F").arg(self.dir().join("ssh_config"));
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-q"]);
        Ended::of(
            ssh.arg(format!("n{node}"))
                .arg(script)
                .output()
                .expect("it starts"),
        )
    }

    /// A command in a node's network, which needs none to get there.
    pub fn in_network_of(&self, node: usize, script: &str) -> Ended {
        let pid = format!("$(cat {}/n{node}.pid)", self.dir().display());
        let world = self.pid.to_string();
        let script = format!("nsenter --target {pid} --net -- {script}");
        let mut command = Command::new("nsenter");
        command.args(["--target", &world, "--net", "--mount", "--pid", "--"]);
        Ended::of(
            command
                .args(["sh", "-c", &script])
                .output()
                .expect("it starts"),
        )
    }

    /// Ends a node, with all that runs on it and its network.
    pub fn end(&self, node: usize) {
        let first = format!("$(cat {}/n{node}.pid)", self.dir().display());
        let script = format!("kill -9 $(cat /proc/{first}/task/{first}/children)");
        let world = self.pid.to_string();
        let killed = Command::new("nsenter")
            .args(["--target", &world, "--mount", "--pid", "--"])
            .args(["sh", "-c", &script])
            .output();
        Ended::of(killed.expect("it starts")).exits(0);
    }

    /// `schism run` on these nodes, not started.
    pub fn schism(&self, nodes: &str, args: &[&str]) -> Command {
        let mut command = self.inside(env!("CARGO_BIN_EXE_schism"));
        command
            .args(["run", "paxos-kv", "--cluster", "ssh", "--nodes", nodes])
            .arg("--ssh-config")
            .arg(self.dir().join("ssh_config"))
            .args(["--remote-dir", &self.remote(), "--store"])
            .arg(self.place.store())
            .args(args);
        command
    }

    pub fn ends(&self, nodes: &str, args: &[&str]) -> Ended {
        Ended::of(self.schism(nodes, args).output().expect("it starts"))
    }

    /// Processes of ours on the nodes: state and command line of each.
    pub fn processes(&self) -> Vec<(char, String)> {
        let needle = format!("{}/", self.remote());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")
            .expect("/proc is there")
            .flatten()
        {
            let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            // The controller is told of the folder too, but is not run from it.
            if line.starts_with(&needle)
                && let Some((_, rest)) = stat.rsplit_once(") ")
            {
                found.push((rest.chars().next().unwrap_or('?'), line));
            }
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // With the first process goes everything in its namespaces.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// sshd reads keys as the user who wants in.
fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, mode).expect("it is ours");
}

pub fn keygen(path: &Path, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
        .arg(path)
        .status()
        .expect("openssh-client is installed");
    assert!(made.success());
}
