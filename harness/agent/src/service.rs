//! Who serves on a node's ports, found by its sockets.
//!
//! A daemon that has forked away from its tree, with a session of its own, no parent and no
//! environment, is no descendant of anybody. It still holds the socket on which it is asked:
//!
//! ```text
//!   /proc/net/tcp     port 7000, listening, inode 4711          which sockets there are
//!   /proc/PID/fd/5 -> socket:[4711]                             who holds them
//! ```
//!
//! Connections count as well as the sockets that listen: a process that closed the latter goes on
//! answering whoever was connected.

mod diag;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use crate::tree::{self, Ident};

/// A socket of this node's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The node's own.
    pub port: u16,
    /// Whether it waits for connections, or datagrams; otherwise it is a connection.
    pub listens: bool,
    pub tcp: bool,
    /// By which its holders are found; 0: nobody holds it any more.
    pub inode: u64,
}

impl std::fmt::Display for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = if self.tcp { "TCP" } else { "UDP" };
        match self.listens {
            true => write!(f, "listens on {protocol} port {}", self.port),
            false => write!(f, "has connections at {protocol} port {}", self.port),
        }
    }
}

/// The sockets that wait for somebody. This costs little, unlike [`sockets`].
pub fn listening() -> io::Result<Vec<Socket>> {
    // A kernel without socket diagnostics has tables still.
    diag::listening().or_else(|_| {
        let mut all = tables()?;
        all.retain(|socket| socket.listens);
        Ok(all)
    })
}

/// Every socket that serves: those that listen, and connections.
pub fn sockets() -> io::Result<Vec<Socket>> {
    diag::sockets().or_else(|_| tables())
}

fn tables() -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    for (name, tcp) in [
        ("tcp", true),
        ("tcp6", true),
        ("udp", false),
        ("udp6", false),
    ] {
        // A kernel without the family has no such file.
        match fs::read_to_string(format!("/proc/net/{name}")) {
            Ok(table) => found.extend(table.lines().skip(1).filter_map(|line| read(line, tcp))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A line of `/proc/net/tcp` or `udp`: number, own address, the other's, state, ..., inode tenth.
fn read(line: &str, tcp: bool) -> Option<Socket> {
    const ESTABLISHED: &str = "01";
    const UNCONNECTED: &str = "07";
    const CLOSE_WAIT: &str = "08";
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |at: usize| u16::from_str_radix(fields.get(at)?.rsplit_once(':')?.1, 16).ok();
    let listens = match (tcp, *fields.get(3)?) {
        (true, LISTEN) | (false, UNCONNECTED) => true,
        (true, ESTABLISHED | CLOSE_WAIT) => false,
        _ => return None,
    };
    Some(Socket {
        port: port(1)?,
        listens,
        tcp,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The inodes of the sockets that a process holds, as far as we may look.
pub fn held(pid: u32) -> BTreeSet<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeSet::new();
    };
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?;
        inode.strip_suffix(']')?.parse().ok()
    };
    entries.flatten().filter_map(inode).collect()
}

/// Who holds each of these sockets, among all processes that we may look into.
pub fn holders(inodes: &BTreeSet<u64>) -> io::Result<BTreeMap<u64, Vec<Ident>>> {
    let mut holders: BTreeMap<u64, Vec<Ident>> = BTreeMap::new();
    if inodes.is_empty() {
        return Ok(holders);
    }
    for process in tree::all()? {
        for inode in held(process.ident.pid).intersection(inodes) {
            holders.entry(*inode).or_default().push(process.ident);
        }
    }
    Ok(holders)
}

/// The ports that the kernel gives to whoever asks for any: nobody serves there by arrangement.
fn passing() -> std::ops::RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().map(str::parse);
    match (ends.next(), ends.next()) {
        (Some(Ok(low)), Some(Ok(high))) => low..=high,
        _ => 32_768..=60_999,
    }
}

/// The ports on which these processes wait to be asked. A datagram socket at one of the ports that
/// anybody is given is a questioner's, and no service.
pub fn ports(members: &[Ident]) -> io::Result<BTreeSet<u16>> {
    let mine: BTreeSet<u64> = members.iter().flat_map(|ident| held(ident.pid)).collect();
    let passing = passing();
    let serves = |socket: &Socket| {
        mine.contains(&socket.inode) && (socket.tcp || !passing.contains(&socket.port))
    };
    let all = listening()?;
    Ok(all.iter().filter(|s| serves(s)).map(|s| s.port).collect())
}

/// The processes that this one descends from, and that must therefore never be taken for a daemon.
pub fn ancestors() -> BTreeSet<u32> {
    let mut found = BTreeSet::from([std::process::id(), 1]);
    let mut pid = std::process::id();
    while let Some(process) = tree::read(pid) {
        pid = process.parent;
        if pid == 0 || !found.insert(pid) {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn sockets_are_found_by_port_and_holder() {
        let me = tree::read(std::process::id()).expect("this process").ident;
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let to = listener.local_addr().expect("has one");
        assert!(ports(&[me]).expect("reads").contains(&to.port()));
        let at = |listens: bool| {
            let all = sockets().expect("reads");
            let found = all
                .into_iter()
                .find(|socket| socket.tcp && socket.port == to.port() && socket.listens == listens);
            found.map(|socket| socket.inode)
        };
        let inode = at(true).expect("it listens");
        assert_eq!(at(false), None);
        let known = holders(&BTreeSet::from([inode])).expect("reads");
        assert_eq!(known.get(&inode), Some(&vec![me]));
        // The listening socket closed, the connection still answers.
        let asker = TcpStream::connect(to).expect("connects");
        let (answerer, _) = listener.accept().expect("accepts");
        drop(listener);
        assert_eq!(at(true), None);
        let inode = at(false).expect("a connection");
        let known = holders(&BTreeSet::from([inode])).expect("reads");
        assert_eq!(known.get(&inode), Some(&vec![me]));
        drop((asker, answerer));
        // Whoever asks by datagrams serves nobody.
        let asker = UdpSocket::bind("127.0.0.1:0").expect("binds");
        let port = asker.local_addr().expect("has one").port();
        assert!(!ports(&[me]).expect("reads").contains(&port) || !passing().contains(&port));
    }

    #[test]
    fn a_line_of_each_kind_is_read_and_a_broken_one_is_not() {
        let line = |state: &str| {
            format!(
                "   0: 0100007F:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 \
                 0 0 4711 1 0000000000000000 100 0 0 10 0"
            )
        };
        let socket = Socket {
            port: 8080,
            listens: true,
            tcp: true,
            inode: 4711,
        };
        assert_eq!(read(&line("0A"), true), Some(socket));
        let connection = Socket {
            listens: false,
            ..socket
        };
        assert_eq!(read(&line("01"), true), Some(connection));
        assert_eq!(read(&line("06"), true), None); // TIME_WAIT
        let datagrams = Socket {
            tcp: false,
            ..socket
        };
        assert_eq!(read(&line("07"), false), Some(datagrams));
        assert_eq!(read("0: zz 00000000:0000 0A", true), None);
        assert_eq!(read("", true), None);
    }

    #[test]
    fn this_process_and_whoever_started_it_are_never_taken() {
        let ancestors = ancestors();
        let parent = tree::read(std::process::id()).expect("this process").parent;
        assert!(ancestors.contains(&std::process::id()) && ancestors.contains(&parent));
    }
}
