//! Getting in: keys of the ssh-agent, then key files. Never a password.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ssh2::{ErrorCode, Session};

use super::host::Host;

/// Asks a person, or whoever knows, for the passphrase of a key file. None: nobody knows.
pub type Ask = Arc<dyn Fn(&Path) -> Option<String> + Send + Sync>;

/// Passphrases, each asked for once however many nodes need it.
pub(super) struct Passphrases {
    ask: Ask,
    known: Mutex<HashMap<PathBuf, Option<String>>>,
}

impl Passphrases {
    pub fn new(ask: Ask) -> Passphrases {
        Passphrases {
            ask,
            known: Mutex::default(),
        }
    }

    fn of(&self, key: &Path) -> Option<String> {
        // Held while a person types: the other nodes wait for the same answer.
        let mut known = self.known.lock().expect("no panic while held");
        known
            .entry(key.to_owned())
            .or_insert_with(|| (self.ask)(key))
            .clone()
    }
}

/// libssh2's number for a server that said no.
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;

/// Tries everything that may let this user in. The error says what was tried.
pub(super) fn authenticate(
    session: &Session,
    host: &Host,
    passphrases: &Passphrases,
) -> Result<(), String> {
    let offered = session.auth_methods(&host.user).map(str::to_owned);
    if session.authenticated() {
        return Ok(());
    }
    let offered = offered.map_err(|e| format!("asking how {} may get in: {e}", host.user))?;
    if !offered.split(',').any(|method| method == "publickey") {
        return Err(format!(
            "it lets {} in by {offered} only, and this program knows keys",
            host.user
        ));
    }
    let mut tried = Vec::new();
    if try_agent(session, host, &mut tried) {
        return Ok(());
    }
    for key in host.keys.iter().filter(|key| key.is_file()) {
        match try_file(session, host, key, passphrases) {
            Ok(()) => return Ok(()),
            Err(why) => tried.push(format!("{}: {why}", key.display())),
        }
    }
    let tried = match tried.is_empty() {
        true => {
            "there is no key: neither an ssh-agent has one, nor is there a key file".to_string()
        }
        false => format!("tried {}", tried.join("; ")),
    };
    Err(format!(
        "{} is not let in ({tried}): give --identity KEY, or put your key there with `ssh-copy-id {}`",
        host.user, host.given
    ))
}

fn try_agent(session: &Session, host: &Host, tried: &mut Vec<String>) -> bool {
    let Some(socket) = &host.agent else {
        return false;
    };
    let identities = || -> Result<_, ssh2::Error> {
        let mut agent = session.agent()?;
        agent.set_identity_path(socket)?;
        agent.connect()?;
        agent.list_identities()?;
        let identities = agent.identities()?;
        Ok((agent, identities))
    };
    // An agent that is named and gone is as none; the key files may do.
    let Ok((agent, identities)) = identities() else {
        return false;
    };
    let wanted: Vec<Vec<u8>> = host
        .keys
        .iter()
        .filter_map(|key| public_half(key))
        .collect();
    for identity in identities {
        if host.only_keys && !wanted.iter().any(|blob| blob == identity.blob()) {
            continue;
        }
        match agent.userauth(&host.user, &identity) {
            Ok(()) => return true,
            Err(_) => tried.push(format!(
                "the ssh-agent's key {}: refused",
                identity.comment()
            )),
        }
    }
    false
}

/// The public key beside a key file.
fn public_half(key: &Path) -> Option<Vec<u8>> {
    let mut name = key.as_os_str().to_owned();
    name.push(".pub");
    let text = fs::read_to_string(name).ok()?;
    BASE64.decode(text.split_whitespace().nth(1)?).ok()
}

fn try_file(
    session: &Session,
    host: &Host,
    key: &Path,
    passphrases: &Passphrases,
) -> Result<(), String> {
    let text = fs::read_to_string(key).map_err(|e| e.to_string())?;
    let passphrase = match is_locked(&text) {
        false => None,
        true => Some(passphrases.of(key).ok_or(
            "it has a passphrase: run `ssh-add`, set SCHISM_SSH_PASSPHRASE, or run this in a terminal",
        )?),
    };
    let tried = session.userauth_pubkey_memory(&host.user, None, &text, passphrase.as_deref());
    tried.map_err(|e| match e.code() {
        ErrorCode::Session(AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED) => "refused".into(),
        _ if passphrase.is_some() => format!("wrong passphrase, or no key: {}", e.message()),
        _ => e.message().to_string(),
    })
}

/// Whether a private key is encrypted, by the headers of the two formats that there are.
fn is_locked(text: &str) -> bool {
    if text.contains("Proc-Type: 4,ENCRYPTED") || text.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return true;
    }
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let Ok(bytes) = BASE64.decode(body.trim()) else {
        return false;
    };
    // "openssh-key-v1", a zero, and the cipher's name with its length (OpenSSH, PROTOCOL.key).
    let Some(rest) = bytes.strip_prefix(b"openssh-key-v1\0") else {
        return false;
    };
    !rest.starts_with(b"\0\0\0\x04none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn keys_with_a_passphrase_are_told_from_those_without() {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, passphrase, format) in [
            ("open", "", "RFC4716"),
            ("locked", "secret", "RFC4716"),
            ("old-open", "", "PEM"),
            ("old-locked", "secret", "PEM"),
        ] {
            let path = dir.path().join(name);
            let kind: &[&str] = match format {
                "PEM" => &["-t", "ecdsa", "-m", "PEM"],
                _ => &["-t", "ed25519"],
            };
            let made = Command::new("ssh-keygen")
                .args(kind)
                .args(["-q", "-N", passphrase, "-f"])
                .arg(&path)
                .status()
                .expect("openssh-client is installed");
            assert!(made.success());
            let text = fs::read_to_string(&path).expect("is there");
            assert_eq!(is_locked(&text), !passphrase.is_empty(), "{name}");
            assert!(public_half(&path).is_some(), "{name}");
        }
    }

    #[test]
    fn a_passphrase_is_asked_for_once() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let passphrases = Passphrases::new(Arc::new(|_| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Some("secret".into())
        }));
        for _ in 0..2 {
            assert_eq!(passphrases.of(Path::new("/k")).as_deref(), Some("secret"));
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }
}
