//! Whether the key that a host shows is the one that it has always had.
//!
//! `ssh-keygen -F` finds a host in known_hosts, hashed names and patterns included; what it finds
//! is compared here.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::host::{Host, Strict};
use crate::cluster::lab;

/// A key that known_hosts has for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    revoked: bool,
    kind: String,
    base64: String,
}

/// What known_hosts has for this host.
pub(super) fn look_up(host: &Host) -> Result<Vec<Known>, String> {
    if host.strict == Strict::Off {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for file in host.known_hosts.iter().filter(|file| file.is_file()) {
        let output = Command::new("ssh-keygen")
            .env("PATH", lab::path())
            .args(["-F", &host.known_as, "-f"])
            .arg(file)
            .output()
            .map_err(|e| format!("ssh-keygen (from openssh-client) looks into known_hosts: {e}"))?;
        // Exit code 1 without a word: it is not in there.
        all.extend(read(&String::from_utf8_lossy(&output.stdout)));
    }
    Ok(all)
}

/// Lines of known_hosts, as `ssh-keygen -F` prints them.
pub(super) fn read(text: &str) -> impl Iterator<Item = Known> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let marker = words.first()?.strip_prefix('@').map(str::to_owned);
        if marker.is_some() {
            words.remove(0);
        }
        let [_, kind, base64, ..] = words.as_slice() else {
            return None;
        };
        // A certificate authority's key is never a host's own.
        (marker.as_deref() != Some("cert-authority")).then(|| Known {
            revoked: marker.is_some(),
            kind: kind.to_string(),
            base64: base64.to_string(),
        })
    })
}

/// What to ask the server for, so that it shows a key that can be compared: the kinds that are
/// known.
pub(super) fn preference(known: &[Known]) -> Option<String> {
    let mut kinds: Vec<&str> = Vec::new();
    for key in known.iter().filter(|key| !key.revoked) {
        let names: &[&str] = match key.kind.as_str() {
            "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256"],
            kind => &[kind],
        };
        kinds.extend(
            names
                .iter()
                .filter(|name| !kinds.contains(name))
                .copied()
                .collect::<Vec<_>>(),
        );
    }
    (!kinds.is_empty()).then(|| kinds.join(","))
}

/// Compares, and enters a new host's key if that is wanted.
pub(super) fn check(host: &Host, known: &[Known], shown: &[u8]) -> Result<(), String> {
    if host.strict == Strict::Off {
        return Ok(());
    }
    let base64 = BASE64.encode(shown);
    let same = |key: &&Known| key.base64 == base64;
    if known.iter().any(|key| key.revoked && key.base64 == base64) {
        return Err(format!(
            "its host key is marked as revoked in known_hosts ({})",
            host.known_as
        ));
    }
    if known.iter().any(|key| same(&key)) {
        return Ok(());
    }
    let kind = kind(shown).ok_or("its host key makes no sense")?;
    if !known.is_empty() {
        return Err(format!(
            "its host key ({kind}) is another than known_hosts has for {}: either the machine was \
             set up anew, or somebody is in between. If the first, `ssh-keygen -R '{}'` forgets the \
             old one",
            host.known_as, host.known_as
        ));
    }
    if host.strict == Strict::Refuse {
        return Err(format!(
            "its host key ({kind}) is not in known_hosts: connect once with `ssh {}` and compare, or \
             give --accept-new-host-keys",
            host.given
        ));
    }
    let Some(file) = host.own_known_hosts() else {
        return Ok(());
    };
    enter(file, &format!("{} {kind} {base64}\n", host.known_as))
        .map_err(|e| format!("entering its host key into {}: {e}", file.display()))
}

fn enter(file: &Path, line: &str) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)?;
    // In one write, so that hosts that are entered at once do not mix their lines.
    file.write_all(line.as_bytes())
}

/// The name of a key's kind, with which its encoding begins (RFC 4253, section 6.6).
fn kind(blob: &[u8]) -> Option<&str> {
    let length = u32::from_be_bytes(blob.get(..4)?.try_into().ok()?) as usize;
    std::str::from_utf8(blob.get(4..4 + length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(name: &str, rest: &[u8]) -> Vec<u8> {
        let mut blob = (name.len() as u32).to_be_bytes().to_vec();
        blob.extend(name.as_bytes());
        blob.extend(rest);
        blob
    }

    fn host(strict: Strict, file: &Path) -> Host {
        Host {
            given: "n1".into(),
            hostname: "10.0.0.1".into(),
            port: 22,
            user: "root".into(),
            keys: vec![],
            only_keys: false,
            agent: None,
            proxy: None,
            known_as: "10.0.0.1".into(),
            known_hosts: vec![file.into()],
            strict,
        }
    }

    #[test]
    fn new_changed_and_known_keys_are_told_apart() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("ssh/known_hosts");
        let (one, other) = (blob("ssh-ed25519", b"one"), blob("ssh-ed25519", b"two"));

        let careful = host(Strict::Refuse, &file);
        let none = look_up(&careful).expect("nothing there");
        let why = check(&careful, &none, &one).expect_err("is new");
        assert!(why.contains("--accept-new-host-keys"), "{why}");
        assert!(!file.exists());

        let trusting = host(Strict::AcceptNew, &file);
        check(&trusting, &none, &one).expect("is taken");
        let known = look_up(&careful).expect("it is found");
        assert_eq!(known.len(), 1);
        assert_eq!(preference(&known).as_deref(), Some("ssh-ed25519"));
        check(&careful, &known, &one).expect("is the same");
        for host in [&careful, &trusting] {
            let why = check(host, &known, &other).expect_err("has changed");
            assert!(why.contains("ssh-keygen -R"), "{why}");
        }
        let blind = host(Strict::Off, &file);
        check(&blind, &look_up(&blind).expect("nothing"), &other).expect("not looked at");
    }

    #[test]
    fn markers_are_understood() {
        let text = "# Host h found: line 1\nh ssh-rsa AAA= me@there\n@revoked h ssh-ed25519 BBB=\n\
                    @cert-authority *.org ssh-rsa CCC=\n|1|x=|y= ecdsa-sha2-nistp256 DDD=\n";
        let known: Vec<Known> = read(text).collect();
        let seen: Vec<_> = known
            .iter()
            .map(|k| (k.revoked, k.base64.as_str()))
            .collect();
        assert_eq!(seen, [(false, "AAA="), (true, "BBB="), (false, "DDD=")]);
        assert_eq!(
            preference(&known).as_deref(),
            Some("rsa-sha2-512,rsa-sha2-256,ecdsa-sha2-nistp256")
        );
    }
}
