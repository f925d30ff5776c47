//! Agents ask each other whether they are heard: the second path by which a cut is seen.
//!
//! ```text
//! datagram, 32 bytes:  "SCHPROBE"  kind u64 (1 ask, 2 answer)  nonce u64  number u64   big-endian
//! ```
//!
//! The answer is as long as the question, so that nobody's traffic is multiplied by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result, doing};
use crate::protocol::{Connected, Probed, Seen};

const MAGIC: [u8; 8] = *b"SCHPROBE";
const LENGTH: usize = 32;
const ASK: u64 = 1;
const ANSWER: u64 = 2;
/// Nonces whose arrivals are remembered; older ones are forgotten.
const NONCES_MAX: usize = 256;
/// Most datagrams that one request sends to each peer.
const COUNT_MAX: u32 = 10_000;

fn encode(kind: u64, nonce: u64, number: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&MAGIC);
    for (at, value) in [kind, nonce, number].into_iter().enumerate() {
        bytes[8 * (at + 1)..8 * (at + 2)].copy_from_slice(&value.to_be_bytes());
    }
    bytes
}

/// Kind, nonce and number; `None` for what is no probe.
fn decode(bytes: &[u8]) -> Option<(u64, u64, u64)> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    let word = |at: usize| {
        let bytes = bytes[8 * at..8 * (at + 1)].try_into();
        u64::from_be_bytes(bytes.expect("eight bytes"))
    };
    (bytes[..8] == MAGIC).then(|| (word(1), word(2), word(3)))
}

/// A socket for both families where the node has both.
fn bind(port: u16) -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|_| UdpSocket::bind(("0.0.0.0", port)))
}

/// An IPv4 peer as a socket for both families must be given it, and back.
fn outward(socket: &UdpSocket, to: SocketAddr) -> SocketAddr {
    match (socket.local_addr(), to.ip()) {
        (Ok(own), IpAddr::V4(v4)) if own.is_ipv6() => (v4.to_ipv6_mapped(), to.port()).into(),
        _ => to,
    }
}

fn inward(from: SocketAddr) -> SocketAddr {
    (from.ip().to_canonical(), from.port()).into()
}

#[derive(Debug, Default)]
struct Arrivals {
    order: VecDeque<u64>,
    by_nonce: BTreeMap<u64, BTreeMap<IpAddr, u32>>,
}

/// Answers probes in a thread of its own, and remembers who asked.
#[derive(Clone, Debug)]
pub struct Responder {
    port: u16,
    arrivals: Arc<Mutex<Arrivals>>,
}

impl Responder {
    /// `port` 0: any that is free.
    pub fn open(port: u16) -> Result<Responder> {
        let socket = bind(port).map_err(doing("open the probe port"))?;
        let address = socket.local_addr().map_err(doing("open the probe port"))?;
        let responder = Responder {
            port: address.port(),
            arrivals: Arc::default(),
        };
        let arrivals = responder.arrivals.clone();
        thread::Builder::new()
            .name("probes".into())
            .spawn(move || answer(&socket, &arrivals))
            .map_err(doing("start a thread"))?;
        Ok(responder)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn seen(&self, nonce: u64) -> Seen {
        let arrivals = self.arrivals.lock().expect("nothing panics with it");
        Seen {
            from: arrivals.by_nonce.get(&nonce).cloned().unwrap_or_default(),
        }
    }
}

fn answer(socket: &UdpSocket, arrivals: &Mutex<Arrivals>) {
    let mut buffer = [0; 2 * LENGTH];
    loop {
        // Errors are those of answers sent earlier (a port that is closed by now).
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Some((ASK, nonce, number)) = decode(&buffer[..length]) else {
            continue;
        };
        arrivals
            .lock()
            .expect("nothing panics with it")
            .note(nonce, inward(from).ip());
        // Whether it arrives is what is being measured.
        let _ = socket.send_to(&encode(ANSWER, nonce, number), from);
    }
}

impl Arrivals {
    fn note(&mut self, nonce: u64, from: IpAddr) {
        if !self.by_nonce.contains_key(&nonce) {
            self.order.push_back(nonce);
            if self.order.len() > NONCES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_nonce.remove(&oldest);
            }
        }
        *self
            .by_nonce
            .entry(nonce)
            .or_default()
            .entry(from)
            .or_default() += 1;
    }
}

/// Asks each peer `count` times. Returns as soon as every question is answered, else after `wait`.
pub fn probe(peers: &[SocketAddr], nonce: u64, count: u32, wait: Duration) -> Result<Probed> {
    if count > COUNT_MAX {
        return Err(Error::Refused(format!(
            "{count} probes are more than {COUNT_MAX}"
        )));
    }
    let socket = bind(0).map_err(doing("open a socket"))?;
    let deadline = Instant::now() + wait;
    let mut asked: BTreeMap<(SocketAddr, u64), Instant> = BTreeMap::new();
    let mut answered: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    for number in 0..u64::from(count) {
        for peer in peers {
            // A node without a route, or whose own filter drops it, sends nothing: not answered.
            // Before it is sent: a machine that is put aside in between must not make the way seem
            // shorter than it is.
            let at = Instant::now();
            let sent = socket.send_to(&encode(ASK, nonce, number), outward(&socket, *peer));
            if sent.is_ok() {
                asked.insert((*peer, number), at);
            }
        }
    }
    let known: BTreeSet<SocketAddr> = peers.iter().copied().collect();
    let mut buffer = [0; 2 * LENGTH];
    while !asked.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket
            .set_read_timeout(Some(left))
            .map_err(doing("set a timeout"))?;
        // Timeouts are seen above; ICMP errors are answers of a kind, but not from an agent.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let from = inward(from);
        let Some((ANSWER, of, number)) = decode(&buffer[..length]) else {
            continue;
        };
        if of != nonce || !known.contains(&from) {
            continue;
        }
        if let Some(at) = asked.remove(&(from, number)) {
            let trip_ns = u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let best = answered.entry(from).or_insert(trip_ns);
            *best = trip_ns.min(*best);
        }
    }
    // A questioner who could send to nobody still waits: silence must not be told early.
    if answered.len() < known.len() {
        thread::sleep(deadline.saturating_duration_since(Instant::now()));
    }
    Ok(Probed { answered })
}

/// Tries a TCP connection, and closes it.
pub fn connect(to: SocketAddr, timeout: Duration) -> Result<Connected> {
    let timeout = timeout.max(Duration::from_millis(1));
    match TcpStream::connect_timeout(&to, timeout) {
        Ok(_) => Ok(Connected::Yes),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Ok(Connected::Refused),
            ErrorKind::TimedOut => Ok(Connected::TimedOut),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Ok(Connected::Unreachable)
            }
            _ => Err(doing("connect")(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_that_are_there_answer_and_remember() {
        let responder = Responder::open(0).expect("opens");
        let there = SocketAddr::from(([127, 0, 0, 1], responder.port()));
        // Bound and never read: nobody answers, and nobody else can take the number.
        let mute = UdpSocket::bind("127.0.0.1:0").expect("binds");
        let silent = mute.local_addr().expect("has one");
        let probed = probe(&[there, silent], 5, 3, Duration::from_millis(500)).expect("asks");
        assert_eq!(probed.answered.keys().collect::<Vec<_>>(), [&there]);
        let me = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(responder.seen(5).from, BTreeMap::from([(me, 3)]));
        assert_eq!(responder.seen(6).from, BTreeMap::new());
    }

    #[test]
    fn what_is_no_probe_is_not_answered() {
        assert_eq!(decode(&encode(ASK, 7, 8)), Some((ASK, 7, 8)));
        assert_eq!(decode(b"SCHPROBE"), None);
        assert_eq!(decode(&[0; LENGTH]), None);
    }

    #[test]
    fn a_closed_port_refuses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let to = listener.local_addr().expect("has one");
        let timeout = Duration::from_secs(5);
        assert_eq!(connect(to, timeout).expect("tries"), Connected::Yes);
        drop(listener);
        assert_eq!(connect(to, timeout).expect("tries"), Connected::Refused);
    }
}
