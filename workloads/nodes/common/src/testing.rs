//! For the nodes' own tests: processes that die with the test, ports of the kernel's choice, a
//! client, and the order of events in a simulated world.

pub mod agenda;
pub mod processes;

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process;
use std::time::{Duration, Instant};

use clap::{Args, Command};
use serde_json::Value;

use crate::flaws::{self, Flaws, Planted};
use crate::http::Response;

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
pub fn program(path: &str) -> process::Command {
    let mut command = process::Command::new(path);
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

/// The flags of a node, from these beside the necessary ones, if `check` finds no mistake.
///
/// # Errors
/// What is wrong, a line each.
pub fn parse<P: Args>(
    more: &[&str],
    check: fn(&mut P) -> Result<(), Vec<String>>,
) -> Result<P, String> {
    let fixed = [
        "node",
        "--data=d",
        "--client-addr=127.0.0.1:1",
        "--peer-addr=127.0.0.1:2",
    ];
    let command = P::augment_args(Command::new("node"));
    let matches = command.try_get_matches_from(fixed.iter().chain(more));
    let params = matches.and_then(|matches| P::from_arg_matches(&matches));
    let mut params = params.map_err(|error| error.to_string())?;
    check(&mut params).map_err(|mistakes| mistakes.join("\n"))?;
    Ok(params)
}

/// Every flaw of a catalogue is at its place, is found by its name, and can be switched on alone.
pub fn assert_catalogue<F: Planted + PartialEq + Debug>() {
    for (number, flaw) in (0..).zip(F::ALL) {
        assert_eq!(flaw.number(), number, "{flaw:?} is not at its place");
        assert_eq!(flaws::parse(flaw.name()), Ok(*flaw));
        assert_eq!(Flaws::from_iter([*flaw]).names(), [flaw.name()]);
    }
}

/// A mistake of a client: the response has this status, says that nothing happened, and says why.
pub fn assert_mistake((found, text): &Response, status: u16, message: &str) {
    let text: Value = serde_json::from_str(text).expect("a response is JSON");
    assert_eq!(*found, status, "{text}");
    assert_eq!(text["definite"], true, "{text}");
    let told = text["message"].as_str().expect("a message");
    assert!(told.contains(message), "{message:?} is not in {text}");
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
