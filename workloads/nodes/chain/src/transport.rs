//! Connections between nodes: each dials those that it was told of and takes in whoever dials it;
//! either way a connection carries messages in both directions.
//!
//! A connection is nothing but frames (`nodekit::frame`), each a message; the protocol says hello,
//! asks for signs of life and decides who misbehaves. Here are the limits that keep strangers from
//! costing more than their connection: how many there may be, how long the first word and a long
//! frame may take, how much may wait to be understood or sent. What waits here waits by the
//! kernel's clock (`nodekit::clocks`). Who misbehaved is not talked to for a while.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nodekit::clocks::{kernel_monotonic_ns, pause, within};
use nodekit::flags::Peer;
use nodekit::frame::{self, FrameError};
use nodekit::log::{log, log_seldom};
use nodekit::runtime::accept;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::core::message::{MESSAGE_MAX, PeerId};
use crate::event::{Event, News};
use crate::link::{Direction, End, Link, Payload, Whom};

/// Connections from others at a time, and from one address.
const INCOMING: usize = 64;
const INCOMING_OF_ONE: usize = 16;
/// The longest first frame, and the time a stranger has for it.
const HELLO_MAX: usize = 1 << 10;
const GREETING: Duration = Duration::from_secs(5);
/// The bytes of a frame that say how long it is.
const LENGTH: usize = 4;
/// Frames up to this length are short. So many of a connection wait to be understood; then its
/// bytes stay in the kernel.
const SHORT: usize = 64 << 10;
const WAITING: usize = 4;
/// What long frames may take together, of all connections, from their first byte until they are
/// understood; and the time that one may take to come.
const LONG_TOGETHER: usize = 4 * MESSAGE_MAX;
const LONG_TIME: Duration = Duration::from_secs(20);
/// Bytes that stay without acknowledgement for so long end the connection: a cut network looks like
/// this.
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(2);
/// Between attempts; doubled each time, and back to the first after a connection that held for a
/// while.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
const HELD: Duration = Duration::from_secs(5);
/// Addresses that are remembered as refused.
const REFUSED_MAX: usize = 1024;

/// What all connections share.
pub struct Hub {
    events: mpsc::Sender<Event>,
    own: SocketAddr,
    /// IPs that more than one of the peers has.
    shared: HashSet<IpAddr>,
    refused: Mutex<Refused>,
    incoming: Mutex<HashMap<IpAddr, usize>>,
    next: AtomicU64,
    long: Arc<Semaphore>,
}

/// Whom this node does not talk to, why, and until when.
#[derive(Default)]
struct Refused(HashMap<Whom, (String, u64)>);

impl Refused {
    fn add(&mut self, whom: Whom, reason: String, until_ns: u64, now_ns: u64) {
        self.0.retain(|_, (_, until)| *until > now_ns);
        if self.0.len() < REFUSED_MAX || self.0.contains_key(&whom) {
            self.0.insert(whom, (reason, until_ns));
        }
    }

    fn left(&self, whom: Whom, now_ns: u64) -> Option<Duration> {
        let (_, until) = self.0.get(&whom)?;
        until
            .checked_sub(now_ns)
            .filter(|left| *left > 0)
            .map(Duration::from_nanos)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is behind these locks is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub fn new(own: SocketAddr, peers: &[Peer], events: mpsc::Sender<Event>) -> Arc<Hub> {
        let mut seen = HashSet::new();
        let ips = peers.iter().map(|peer| peer.address.ip());
        let shared = ips.filter(|ip| !seen.insert(*ip)).collect();
        Arc::new(Hub {
            events,
            own,
            shared,
            refused: Mutex::default(),
            incoming: Mutex::default(),
            next: AtomicU64::new(1),
            long: Arc::new(Semaphore::new(LONG_TOGETHER)),
        })
    }

    /// Tells the node, and says whether it still runs.
    async fn tell(&self, news: News) -> bool {
        self.events.send(Event::News(news)).await.is_ok()
    }

    fn whom(&self, address: SocketAddr, direction: Direction) -> Option<Whom> {
        if !self.shared.contains(&address.ip()) {
            return Some(Whom::Ip(address.ip()));
        }
        (direction == Direction::Out).then_some(Whom::Dialled(address))
    }

    /// Talks to them no more, for a while.
    pub fn refuse(&self, whom: Whom, reason: String, span: Duration) {
        let now = kernel_monotonic_ns();
        let until = now.saturating_add(span.as_nanos() as u64);
        locked(&self.refused).add(whom, reason, until, now);
    }

    /// Who is refused, why, and for how long.
    pub fn refused(&self) -> Vec<(Whom, String, Duration)> {
        let now = kernel_monotonic_ns();
        let refused = locked(&self.refused);
        let entries = refused.0.iter();
        entries
            .filter_map(|(whom, (reason, _))| {
                Some((*whom, reason.clone(), refused.left(*whom, now)?))
            })
            .collect()
    }

    fn refused_for(&self, whom: Option<Whom>) -> Option<Duration> {
        locked(&self.refused).left(whom?, kernel_monotonic_ns())
    }

    /// Takes one of the places for connections from others.
    fn enter(&self, ip: IpAddr) -> bool {
        let mut incoming = locked(&self.incoming);
        let all: usize = incoming.values().sum();
        let of_one = incoming.entry(ip).or_default();
        let room = all < INCOMING && *of_one < INCOMING_OF_ONE;
        *of_one += usize::from(room);
        room
    }

    fn leave(&self, ip: IpAddr) {
        let mut incoming = locked(&self.incoming);
        if let Some(of_one) = incoming.get_mut(&ip) {
            *of_one -= 1;
        }
        incoming.retain(|_, count| *count > 0);
    }
}

/// Keeps a connection to a peer for as long as the node runs.
pub fn dial(hub: Arc<Hub>, peer: Peer, seed: u64) {
    tokio::spawn(async move {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut back_off = BACK_OFF_FIRST;
        let mut told = false;
        let whom = hub.whom(peer.address, Direction::Out);
        loop {
            if let Some(left) = hub.refused_for(whom) {
                pause(left.min(BACK_OFF_MAX)).await;
                continue;
            }
            match within(CONNECT, connect(hub.own, peer.address)).await {
                Some(Ok(stream)) => {
                    log("INFO", &format!("connected to {}", peer.name));
                    told = false;
                    let start = kernel_monotonic_ns();
                    if !hold(stream, peer.address, Direction::Out, &hub).await {
                        return;
                    }
                    if kernel_monotonic_ns().saturating_sub(start) > HELD.as_nanos() as u64 {
                        back_off = BACK_OFF_FIRST;
                    }
                }
                result if !told => {
                    told = true;
                    let reason = match result {
                        Some(Err(error)) => error.to_string(),
                        _ => "no answer".to_owned(),
                    };
                    log(
                        "WARN",
                        &format!("cannot reach {} at {}: {reason}", peer.name, peer.address),
                    );
                }
                _ => {}
            }
            // Nodes that lost one another at the same moment should not always meet in the middle.
            pause(back_off.mul_f64(rng.random_range(0.5..1.0))).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    });
}

/// Connects from this node's own IP, by which others know it.
async fn connect(own: SocketAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if own.is_ipv4() == to.is_ipv4() {
        // So that a port which this connection happens to get can still be listened on.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(own.ip(), 0))?;
    }
    socket.connect(to).await
}

/// Takes in connections from the others.
pub async fn listen(listener: TcpListener, hub: Arc<Hub>) {
    loop {
        let (stream, address) = accept(&listener).await;
        if hub.refused_for(hub.whom(address, Direction::In)).is_some() {
            continue;
        }
        if !hub.enter(address.ip()) {
            log_seldom(&format!("dropped {address}: too many connections"));
            continue;
        }
        let hub = hub.clone();
        tokio::spawn(async move {
            hold(stream, address, Direction::In, &hub).await;
            hub.leave(address.ip());
        });
    }
}

/// Carries messages until the connection ends, and says whether the node still runs.
async fn hold(stream: TcpStream, address: SocketAddr, direction: Direction, hub: &Hub) -> bool {
    let peer = hub.next.fetch_add(1, Ordering::Relaxed);
    let (frames, mut queue) = mpsc::unbounded_channel();
    let (open, mut closed) = oneshot::channel();
    let unsent = Arc::new(AtomicUsize::new(0));
    let link = Link {
        address,
        direction,
        node: None,
        whom: hub.whom(address, direction),
        since_ns: kernel_monotonic_ns(),
        frames,
        unsent: unsent.clone(),
        open,
    };
    if !hub.tell(News::PeerUp(peer, link)).await {
        return false;
    }
    // A connection whose options cannot be set is broken already, which reading will tell.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let (reader, writer) = stream.into_split();
    let end = tokio::select! {
        end = hear(reader, peer, hub) => end,
        error = talk(writer, &mut queue, &unsent) => End::Lost(error.to_string()),
        // The node dropped its end and said why.
        _ = &mut closed => End::Lost(String::new()),
    };
    hub.tell(News::PeerDown(peer, end)).await
}

/// Writes what is queued, until something breaks.
async fn talk(
    mut writer: OwnedWriteHalf,
    queue: &mut mpsc::UnboundedReceiver<Vec<u8>>,
    unsent: &AtomicUsize,
) -> std::io::Error {
    let (mut frames, mut bytes) = (Vec::new(), Vec::new());
    while queue.recv_many(&mut frames, 64).await > 0 {
        bytes.clear();
        frames
            .drain(..)
            .for_each(|frame: Vec<u8>| bytes.extend_from_slice(&frame));
        if let Err(error) = writer.write_all(&bytes).await {
            return error;
        }
        unsent.fetch_sub(bytes.len(), Ordering::Relaxed);
        bytes.shrink_to(1 << 20);
    }
    // The node dropped its end; `hold` sees the same.
    std::future::pending().await
}

/// Reads frames and hands them to the node until the connection ends.
async fn hear(mut reader: OwnedReadHalf, peer: PeerId, hub: &Hub) -> End {
    let short = Arc::new(Semaphore::new(WAITING));
    let mut buffer = Vec::new();
    let mut limit = HELLO_MAX;
    loop {
        let first = limit == HELLO_MAX;
        let head = fill(&mut reader, &mut buffer, LENGTH);
        let head = match first {
            true => within(GREETING, head).await,
            false => Some(head.await),
        };
        match head {
            Some(Ok(())) => {}
            Some(Err(reason)) => return End::Lost(reason),
            None => return End::Lost("it did not say hello".to_owned()),
        }
        let length = match announced(&buffer, limit) {
            Ok(length) => length,
            Err(error) => return End::Misbehaved(error.to_string()),
        };
        let (pool, permits) = if length > SHORT {
            (&hub.long, length)
        } else {
            (&short, 1)
        };
        let Ok(room) = pool.clone().acquire_many_owned(permits as u32).await else {
            return End::Lost("this node stops".to_owned());
        };
        let whole = fill(&mut reader, &mut buffer, frame::HEADER + length);
        let whole = match length > SHORT || first {
            true => within(LONG_TIME, whole).await,
            false => Some(whole.await),
        };
        match whole {
            Some(Ok(())) => {}
            Some(Err(reason)) => return End::Lost(reason),
            None => return End::Lost(format!("a frame of {length} bytes took too long")),
        }
        let bytes = match frame::split_frame(&buffer, limit) {
            Ok(frame) => frame.map_or(Vec::new(), |(payload, _)| payload.to_vec()),
            Err(error) => return End::Misbehaved(error.to_string()),
        };
        buffer.drain(..frame::HEADER + length);
        buffer.shrink_to(SHORT);
        limit = MESSAGE_MAX;
        let payload = Payload { bytes, room };
        if !hub.tell(News::Frame(peer, payload)).await {
            return End::Lost("this node stops".to_owned());
        }
    }
}

/// The length that a frame's first bytes announce, if it is within the limit.
fn announced(bytes: &[u8], limit: usize) -> Result<usize, FrameError> {
    let length = bytes.first_chunk::<LENGTH>().copied().unwrap_or_default();
    let length = u32::from_le_bytes(length) as usize;
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    Ok(length)
}

/// Reads until the buffer has so many bytes. It only grows with bytes that came.
async fn fill(
    reader: &mut OwnedReadHalf,
    buffer: &mut Vec<u8>,
    length: usize,
) -> Result<(), String> {
    while buffer.len() < length {
        buffer.reserve((length - buffer.len()).clamp(4 << 10, 256 << 10));
        match reader.read_buf(buffer).await {
            Ok(0) => return Err("it closed the connection".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::block::{Block, Hash, Header, Op, Transaction};
    use crate::core::message::Message;

    fn hash() -> impl Strategy<Value = Hash> {
        any::<[u8; 32]>().prop_map(Hash)
    }

    fn header() -> impl Strategy<Value = Header> {
        (hash(), any::<[u64; 4]>(), "[a-z0-9]{0,8}", hash()).prop_map(
            |(parent, [height, time_ms, work, nonce], miner, transactions)| Header {
                parent,
                height,
                time_ms,
                work,
                miner,
                transactions,
                nonce,
            },
        )
    }

    fn transaction() -> impl Strategy<Value = Arc<Transaction>> {
        let text = "[ -~é]{0,12}";
        let op = prop_oneof![
            (text, text).prop_map(|(key, value)| Op::Put { key, value }),
            (text, proptest::option::of(text), text).prop_map(|(key, from, to)| Op::Cas {
                key,
                from,
                to
            }),
            (text, text).prop_map(|(key, element)| Op::Append { key, element }),
            text.prop_map(|key| Op::Delete { key }),
            text.prop_map(|key| Op::Get { key }),
            (text, proptest::option::of("[a-z]{0,5}"))
                .prop_map(|(prefix, after)| Op::Range { prefix, after }),
            (text, text, any::<u64>()).prop_map(|(from, to, amount)| Op::Transfer {
                from,
                to,
                amount
            }),
            Just(Op::Balances),
        ];
        (text, op).prop_map(|(id, op)| Arc::new(Transaction { id, op }))
    }

    fn message() -> impl Strategy<Value = Message> {
        let hashes = || proptest::collection::vec(hash(), 0..4);
        let names = || proptest::collection::vec("[ -~é]{0,12}", 0..4);
        let transactions = || proptest::collection::vec(transaction(), 0..4);
        prop_oneof![
            (hash(), "[a-z]{0,8}", hash(), any::<u64>()).prop_map(
                |(genesis, node, head, height)| Message::Hello {
                    genesis,
                    node,
                    head,
                    height
                }
            ),
            hashes().prop_map(Message::HaveBlocks),
            names().prop_map(Message::HaveTransactions),
            hashes().prop_map(|locator| Message::GetHeaders { locator }),
            proptest::collection::vec(header(), 0..4).prop_map(Message::Headers),
            hashes().prop_map(Message::GetBlocks),
            (header(), transactions()).prop_map(|(header, transactions)| Message::Block(Arc::new(
                Block {
                    header,
                    transactions
                }
            ))),
            names().prop_map(Message::GetTransactions),
            transactions().prop_map(Message::Transactions),
            any::<u64>().prop_map(Message::Ping),
            any::<u64>().prop_map(Message::Pong),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were(message in message()) {
            let bytes = frame::encode(&message);
            let (payload, _) = frame::split_frame(&bytes, MESSAGE_MAX).unwrap().unwrap();
            prop_assert_eq!(frame::decode::<Message>(payload).unwrap(), message);
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = frame::decode::<Message>(&bytes) {
                let _ = frame::encode(&message);
            }
        }

        #[test]
        fn a_damaged_message_is_a_message_or_an_error(message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let frame = frame::encode(&message);
            let mut payload = frame[frame::HEADER..].to_vec();
            let at = at.index(payload.len());
            payload[at] = byte;
            let _ = frame::decode::<Message>(&payload);
            payload.truncate(at);
            prop_assert!(frame::decode::<Message>(&payload).is_err());
        }
    }

    fn hub(peers: &[&str]) -> Arc<Hub> {
        let peers: Vec<_> = peers
            .iter()
            .map(|peer| nodekit::flags::parse_peer(peer).unwrap())
            .collect();
        Hub::new(peers[0].address, &peers, mpsc::channel(1).0)
    }

    #[test]
    fn who_shares_an_ip_does_not_answer_for_the_others() {
        let hub = hub(&["n1=10.0.0.1:1", "n2=10.0.0.2:1", "n3=10.0.0.2:2"]);
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let alone = Some(Whom::Ip(address("10.0.0.9:0").ip()));
        assert_eq!(hub.whom(address("10.0.0.9:5"), Direction::In), alone);
        assert_eq!(hub.whom(address("10.0.0.9:5"), Direction::Out), alone);
        let shared = address("10.0.0.2:1");
        assert_eq!(hub.whom(shared, Direction::In), None);
        assert_eq!(
            hub.whom(shared, Direction::Out),
            Some(Whom::Dialled(shared))
        );
    }

    #[test]
    fn the_refused_are_forgotten_after_their_time_and_are_not_many() {
        let mut refused = Refused::default();
        let whom = |n: u32| Whom::Ip(IpAddr::V4(n.into()));
        for n in 0..5000 {
            refused.add(whom(n), "why".into(), 100, 0);
        }
        assert_eq!(refused.0.len(), REFUSED_MAX);
        assert_eq!(refused.left(whom(0), 60), Some(Duration::from_nanos(40)));
        assert_eq!(refused.left(whom(0), 100), None);
        refused.add(whom(5000), "why".into(), 300, 100);
        assert_eq!(refused.0.len(), 1);
    }

    #[test]
    fn one_stranger_cannot_take_all_places() {
        let hub = hub(&["n1=10.0.0.1:1"]);
        let ip = |n: u32| IpAddr::V4(n.into());
        let entered = (0..100).filter(|_| hub.enter(ip(1))).count();
        assert_eq!(entered, INCOMING_OF_ONE);
        assert!(hub.enter(ip(2)));
        let others = (3..200).filter(|n| hub.enter(ip(*n))).count();
        assert_eq!(entered + 1 + others, INCOMING);
        hub.leave(ip(1));
        assert!(hub.enter(ip(300)) && !hub.enter(ip(301)));
    }
}
