//! Where a host is and how one gets in, as the user's own `ssh` would: asked of `ssh -G`.
//!
//! `ssh_config` has patterns, `Match`, `Include`, tokens and defaults of the distribution. There is
//! one program that reads all of it as its user is used to, and it prints the result, so no second
//! reader can disagree with it. `ssh` and `ssh-keygen` are needed on the controller for that.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::lab;

/// What the command line says about how to get in. What it does not say comes from `ssh_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity: Option<PathBuf>,
    /// As for `ssh -J`.
    pub jump: Option<String>,
    /// Read instead of `~/.ssh/config`.
    pub config: Option<PathBuf>,
    /// Enter the key of a host that is not known yet into known_hosts, as `ssh` calls `accept-new`.
    pub accept_new_host_keys: bool,
}

/// What is done about a host whose key is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strict {
    /// Refused. `ssh` would ask a person; a test run has nobody to ask.
    Refuse,
    /// Taken for good and entered.
    AcceptNew,
    /// The user's configuration says that keys of this host are not to be looked at.
    Off,
}

/// A way through which the host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    /// Through other hosts, as for `ssh -J`.
    Jump(String),
    /// A command for the shell, with its tokens filled in.
    Command(String),
}

/// A host with everything that is needed to get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// As the user called it.
    pub given: String,
    pub hostname: String,
    pub port: u16,
    pub user: String,
    pub keys: Vec<PathBuf>,
    /// Of the agent's keys, only those that are among `keys`.
    pub only_keys: bool,
    /// Socket of the ssh-agent.
    pub agent: Option<PathBuf>,
    pub proxy: Option<Proxy>,
    /// Under which name its key is in known_hosts.
    pub known_as: String,
    pub known_hosts: Vec<PathBuf>,
    pub strict: Strict,
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.user, self.hostname)?;
        match self.port {
            22 => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

/// Asks `ssh` how it would connect.
pub(super) fn resolve(given: &str, access: &Access) -> Result<Host, String> {
    let mut ssh = Command::new("ssh");
    ssh.env("PATH", lab::path()).arg("-G");
    let mut flag = |name: &str, value: &str| {
        ssh.args([name, value]);
    };
    if let Some(file) = &access.config {
        flag("-F", &file.to_string_lossy());
    }
    if let Some(user) = &access.user {
        flag("-l", user);
    }
    if let Some(port) = access.port {
        flag("-p", &port.to_string());
    }
    if let Some(key) = &access.identity {
        flag("-i", &key.to_string_lossy());
        flag("-o", "IdentitiesOnly=yes");
    }
    if let Some(jump) = &access.jump {
        flag("-J", jump);
    }
    if access.accept_new_host_keys {
        flag("-o", "StrictHostKeyChecking=accept-new");
    }
    let output = ssh.args(["--", given]).output().map_err(no_program)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ssh does not understand it: {}", said.trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut host = read(given, &text, std::env::var_os("HOME").map(PathBuf::from))?;
    if let Some(key) = &access.identity {
        // `-i` adds a key to those of the configuration; here it says which.
        host.keys = vec![key.clone()];
    }
    Ok(host)
}

fn no_program(e: io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => {
            "there is no program `ssh` on this machine, which reads ssh_config: install openssh-client".into()
        }
        _ => format!("ssh -G: {e}"),
    }
}

/// Reads what `ssh -G` prints: a key and its value a line.
pub(super) fn read(given: &str, text: &str, home: Option<PathBuf>) -> Result<Host, String> {
    let values = |key: &str| -> Vec<&str> {
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(k, _)| *k == key)
            .map(|(_, value)| value.trim())
            .collect()
    };
    let value = |key: &str| values(key).first().copied().filter(|v| *v != "none");
    let needed = |key: &str| value(key).ok_or(format!("ssh -G does not say its {key}"));
    let hostname = needed("hostname")?.to_string();
    let port = needed("port")?;
    let port: u16 = port
        .parse()
        .map_err(|_| format!("ssh -G says that its port is {port:?}"))?;
    let user = needed("user")?.to_string();

    let path = |text: &str| match (text.strip_prefix("~/"), &home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    };
    let keys: Vec<PathBuf> = values("identityfile").into_iter().map(path).collect();
    let agent = match value("identityagent") {
        None if values("identityagent") == ["none"] => None,
        None | Some("SSH_AUTH_SOCK") => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        Some(named) => Some(path(named)),
    };
    let proxy = match (value("proxyjump"), value("proxycommand")) {
        (Some(hops), _) => Some(Proxy::Jump(hops.to_string())),
        (None, Some(command)) => Some(Proxy::Command(fill_in(
            command, given, &hostname, port, &user,
        ))),
        (None, None) => None,
    };
    let files = values("userknownhostsfile").into_iter();
    let files = files.chain(values("globalknownhostsfile"));
    let known_hosts = files
        .flat_map(|line| line.split(' '))
        .filter(|file| !file.is_empty() && *file != "none")
        .map(path)
        .collect();
    let known_as = match value("hostkeyalias") {
        Some(alias) => alias.to_string(),
        None => in_known_hosts(&hostname, port),
    };
    let strict = match value("stricthostkeychecking") {
        Some("accept-new") => Strict::AcceptNew,
        Some("false" | "no" | "off") => Strict::Off,
        _ => Strict::Refuse,
    };
    Ok(Host {
        given: given.to_string(),
        hostname,
        port,
        user,
        keys,
        only_keys: value("identitiesonly") == Some("yes"),
        agent,
        proxy,
        known_as,
        known_hosts,
        strict,
    })
}

/// Under which name known_hosts has a host.
fn in_known_hosts(hostname: &str, port: u16) -> String {
    match port {
        22 => hostname.to_string(),
        _ => format!("[{hostname}]:{port}"),
    }
}

/// The tokens that `ProxyCommand` knows (ssh_config(5), TOKENS).
fn fill_in(command: &str, given: &str, hostname: &str, port: u16, user: &str) -> String {
    let mut filled = String::new();
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            filled.push(letter);
            continue;
        }
        match letters.next() {
            Some('h') => filled += hostname,
            Some('n') => filled += given,
            Some('p') => filled += &port.to_string(),
            Some('r') => filled += user,
            Some('%') => filled.push('%'),
            Some(other) => filled.extend(['%', other]),
            None => filled.push('%'),
        }
    }
    filled
}

impl Host {
    /// The command whose stdin and stdout are the connection, if it is not to be made directly.
    ///
    /// Jump hosts are `ssh`'s own business, as they are when `ssh -J` is used: their keys, their
    /// known_hosts, their configuration.
    pub fn through(&self, access: &Access) -> Option<Command> {
        let mut command = match self.proxy.as_ref()? {
            Proxy::Command(line) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("exec {line}")]);
                shell
            }
            Proxy::Jump(hops) => {
                let mut ssh = Command::new("ssh");
                if let Some(file) = &access.config {
                    ssh.arg("-F").arg(file);
                }
                if access.accept_new_host_keys {
                    ssh.args(["-o", "StrictHostKeyChecking=accept-new"]);
                }
                let last = match hops.rsplit_once(',') {
                    Some((before, last)) => {
                        ssh.args(["-J", before]);
                        last
                    }
                    None => hops,
                };
                ssh.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]);
                ssh.arg("-W")
                    .arg(format!("[{}]:{}", self.hostname, self.port));
                let named = match last.starts_with("ssh://") {
                    true => last.to_string(),
                    false => format!("ssh://{last}"),
                };
                ssh.args(["--", &named]);
                ssh
            }
        };
        command.env("PATH", lab::path());
        Some(command)
    }

    /// The first file to which new keys are written.
    pub fn own_known_hosts(&self) -> Option<&Path> {
        self.known_hosts.first().map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "host n1\nuser vagrant\nhostname 192.168.121.7\nport 2200\n\
        identitiesonly yes\nstricthostkeychecking false\nidentityfile ~/.ssh/one\n\
        identityfile /keys/two\nidentityagent none\nproxyjump none\n\
        proxycommand nc -x a%%b %h %p\nglobalknownhostsfile /etc/a /etc/b\n\
        userknownhostsfile /dev/null\n";

    #[test]
    fn what_ssh_prints_is_read() {
        let host = read("n1", PRINTED, Some("/home/me".into())).expect("is whole");
        assert_eq!(host.to_string(), "vagrant@192.168.121.7:2200");
        assert_eq!(
            host.keys,
            [Path::new("/home/me/.ssh/one"), Path::new("/keys/two")]
        );
        assert!(host.only_keys);
        assert_eq!((host.agent, host.strict), (None, Strict::Off));
        assert_eq!(host.known_as, "[192.168.121.7]:2200");
        assert_eq!(
            host.known_hosts,
            ["/dev/null", "/etc/a", "/etc/b"].map(PathBuf::from)
        );
        let filled = "nc -x a%b 192.168.121.7 2200".to_string();
        assert_eq!(host.proxy, Some(Proxy::Command(filled)));
    }

    #[test]
    fn a_host_is_refused_unless_something_says_otherwise() {
        let plain = "user u\nhostname h\nport 22\nstricthostkeychecking ask\nhostkeyalias other\n";
        let host = read("h", plain, None).expect("is whole");
        assert_eq!((host.strict, host.proxy), (Strict::Refuse, None));
        assert_eq!(host.known_as, "other");
        let host = plain.replace("ask", "accept-new");
        assert_eq!(
            read("h", &host, None).expect("is whole").strict,
            Strict::AcceptNew
        );
        assert!(read("h", "user u\nport 22\n", None).is_err());
    }

    #[test]
    fn jumps_go_hop_by_hop() {
        let text = "user u\nhostname far\nport 22\nproxyjump a,me@b:2222\n";
        let host = read("far", text, None).expect("is whole");
        let command = host.through(&Access::default()).expect("through others");
        let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        assert_eq!(
            args.join(" "),
            "-J a -o BatchMode=yes -o ConnectTimeout=15 -W [far]:22 -- ssh://me@b:2222"
        );
    }
}
