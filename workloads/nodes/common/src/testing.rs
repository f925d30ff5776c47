//! For the nodes' own tests: processes that die with the test, ports of the kernel's choice, a
//! client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No wait for a condition is longer; machines that run tests can be slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Calls `look` until it gives something.
///
/// # Panics
/// When patience ends.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A command that dies with this process.
pub fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    // SAFETY: prctl is async-signal-safe and touches nothing of ours.
    unsafe {
        command.pre_exec(
            || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            },
        );
    }
    command
}

/// An address on each of these loopback hosts, with a port that nobody has. The ports are reserved
/// by listening on all of them at once.
pub fn free_addresses(hosts: impl IntoIterator<Item = Ipv4Addr>) -> Vec<SocketAddr> {
    let listeners: Vec<_> = hosts
        .into_iter()
        .map(|host| TcpListener::bind((host, 0)).expect("loopback has ports"))
        .collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().expect("it is bound"))
        .collect()
}

/// One request; `headers` are lines with their ends. `None` when there was no whole answer.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
    patience: Duration,
) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).ok()?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).ok()?;
    let mut rest = String::new();
    reader.read_to_string(&mut rest).ok()?;
    let (_, body) = rest.split_once("\r\n\r\n")?;
    Some((
        status.split(' ').nth(1)?.parse().ok()?,
        serde_json::from_str(body).ok()?,
    ))
}
