//! Connections between nodes: one each way, so that each side only writes to those it dialled.
//!
//! A connection begins with a [`Hello`] frame; then come messages, and now and then an empty frame
//! as a sign of life. What waits here waits by the kernel's clock (`nodekit::clocks`). Frames may
//! be lost when a connection breaks or a queue is full: the protocol sends again. A peer that sends
//! anything else is dropped, with a reason in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nodekit::clocks::{pause, within};
use nodekit::frame;
use nodekit::log::{log, log_seldom};
use nodekit::runtime::accept;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::birth::{Birth, Births};
use crate::core::message::{Message, NodeIndex};
use crate::event::{Event, News};
use crate::unreliable::{Network, tell};

const VERSION: u32 = 2;
/// Frames that wait for a peer, and their bytes; more are dropped.
const QUEUE: usize = 4096;
const QUEUE_BYTES: usize = 64 << 20;
/// A sign of life goes out this often.
pub const SIGN_OF_LIFE: Duration = Duration::from_millis(250);
/// Bytes that stay without acknowledgement for so long end the connection: a cut network looks like
/// this.
const UNACKNOWLEDGED: Duration = Duration::from_millis(1000);
/// A stranger has so long to say who it is.
const GREETING: Duration = Duration::from_secs(2);
/// The kernel asks a silent connection whether it is still there: after so long, so often.
const SILENCE: Duration = Duration::from_secs(1);
const SILENT_QUESTIONS: u32 = 3;
/// A connection may take so long to come about, over a slow network. Meanwhile others are tried,
/// for a first packet that was lost is sent again only after a second.
const CONNECT: Duration = Duration::from_secs(3);
const ANOTHER: Duration = Duration::from_millis(300);
const BACK_OFF: Duration = Duration::from_millis(100);
/// The longest frame before the peer has said who it is.
const HELLO_MAX: usize = 1 << 10;
/// Connections from others at a time: each peer has one, and some are about to be replaced.
const INCOMING: usize = 64;

/// Who dials whom, in which cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    magic: [u8; 8],
    version: u32,
    cluster: String,
    from: NodeIndex,
    to: NodeIndex,
    birth: Birth,
}

/// Who we are, for the handshake.
pub struct Identity {
    /// The cluster's names, joined.
    pub cluster: String,
    /// All names, sorted.
    pub names: Vec<String>,
    /// This node's place.
    pub me: NodeIndex,
    /// Who we and the others were from the beginning.
    pub births: Births,
}

impl Identity {
    fn hello(&self, from: NodeIndex, to: NodeIndex, birth: Birth) -> Hello {
        Hello {
            magic: *b"paxos-kv",
            version: VERSION,
            cluster: self.cluster.clone(),
            from,
            to,
            birth,
        }
    }
}

/// The way to a peer: frames that wait for the connection.
pub struct Link {
    queue: mpsc::Sender<Arc<Vec<u8>>>,
    bytes: Arc<AtomicUsize>,
}

impl Link {
    /// Queues a frame. A full queue means a peer that does not read: the frame is dropped, and the
    /// peer will ask again for what it missed.
    pub fn send(&self, frame: &Arc<Vec<u8>>) {
        if self.bytes.load(Ordering::Relaxed) + frame.len() <= QUEUE_BYTES
            && self.queue.try_send(frame.clone()).is_ok()
        {
            self.bytes.fetch_add(frame.len(), Ordering::Relaxed);
        }
    }
}

/// The other end of a [`Link`].
struct Waiting {
    queue: mpsc::Receiver<Arc<Vec<u8>>>,
    bytes: Arc<AtomicUsize>,
}

impl Waiting {
    /// Waits for frames and puts them into `out`. Returns false when there will be none.
    async fn take(&mut self, out: &mut Vec<u8>) -> bool {
        let mut frames = Vec::new();
        let count = self.queue.recv_many(&mut frames, 256).await;
        for frame in frames {
            self.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
            out.extend_from_slice(&frame);
        }
        count > 0
    }

    fn forget(&mut self) {
        while let Ok(frame) = self.queue.try_recv() {
            self.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        }
    }
}

/// Tries until a connection comes about or this round of tries is over.
async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let mut tries = JoinSet::new();
    let mut reason = "no answer".to_owned();
    for _ in 0..CONNECT.as_millis() / ANOTHER.as_millis() {
        tries.spawn(within(CONNECT, TcpStream::connect(address)));
        match within(ANOTHER, tries.join_next()).await {
            Some(Some(Ok(Some(Ok(stream))))) => return Ok(stream),
            Some(Some(Ok(Some(Err(error))))) => {
                reason = error.to_string();
                if tries.is_empty() {
                    break;
                }
            }
            _ => {}
        }
    }
    Err(reason)
}

/// Keeps a connection to a peer and returns the way to it.
pub fn dial(
    identity: Arc<Identity>,
    to: NodeIndex,
    address: SocketAddr,
    events: mpsc::Sender<Event>,
) -> Link {
    let (sender, queue) = mpsc::channel(QUEUE);
    let bytes = Arc::new(AtomicUsize::new(0));
    let mut waiting = Waiting {
        queue,
        bytes: bytes.clone(),
    };
    tokio::spawn(async move {
        let name = identity.names[usize::from(to)].clone();
        let hello = frame::encode(&identity.hello(identity.me, to, identity.births.own()));
        let mut known_lost = false;
        loop {
            match connect(address).await {
                Ok(stream) => {
                    log("INFO", &format!("connected to {name}"));
                    // What was said while nobody listened is old.
                    waiting.forget();
                    let reason = talk(
                        stream,
                        &hello,
                        &mut waiting,
                        tell(&events, News::PeerUp(to)),
                    )
                    .await;
                    log("WARN", &format!("lost {name}: {reason}"));
                    known_lost = true;
                }
                Err(reason) if !known_lost => {
                    known_lost = true;
                    log(
                        "WARN",
                        &format!("cannot reach {name} at {address}: {reason}"),
                    );
                }
                Err(_) => {}
            }
            if waiting.queue.is_closed() {
                return;
            }
            pause(BACK_OFF).await;
        }
    });
    Link {
        queue: sender,
        bytes,
    }
}

/// Says hello and then whatever is queued, until something breaks. Returns what.
async fn talk(
    stream: TcpStream,
    hello: &[u8],
    waiting: &mut Waiting,
    up: impl Future<Output = bool>,
) -> String {
    let result: std::io::Result<String> = async {
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        let (mut reader, mut writer) = stream.into_split();
        writer.write_all(hello).await?;
        if !up.await {
            return Ok("this node stops".to_owned());
        }
        let (mut bytes, mut byte) = (Vec::new(), [0]);
        loop {
            bytes.clear();
            bytes.shrink_to(1 << 20);
            tokio::select! {
                more = waiting.take(&mut bytes) => {
                    if !more {
                        return Ok("this node stops".to_owned());
                    }
                    writer.write_all(&bytes).await?;
                }
                read = reader.read(&mut byte) => {
                    return Ok(if read? == 0 { "it closed the connection".to_owned() } else { "it talks back".to_owned() });
                }
            }
        }
    }
    .await;
    result.unwrap_or_else(|error| error.to_string())
}

/// Takes in connections from the others.
pub async fn listen(listener: TcpListener, identity: Arc<Identity>, network: Network) {
    let (open, network) = (Arc::new(AtomicUsize::new(0)), Arc::new(network));
    loop {
        let (stream, address) = accept(&listener).await;
        if open.load(Ordering::Relaxed) >= INCOMING {
            log_seldom(&format!("dropped {address}: too many connections"));
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (identity, network, open) = (identity.clone(), network.clone(), open.clone());
        tokio::spawn(async move {
            if let Err(reason) = hear(stream, &identity, &network).await {
                log_seldom(&format!("dropped peer connection from {address}: {reason}"));
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Reads one connection to its end.
async fn hear(
    mut stream: TcpStream,
    identity: &Arc<Identity>,
    network: &Network,
) -> Result<(), String> {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(SILENCE)
        .with_retries(SILENT_QUESTIONS);
    socket2::SockRef::from(&stream)
        .set_tcp_keepalive(&keepalive)
        .map_err(|error| error.to_string())?;
    let mut buffer = Vec::new();
    let payload = within(GREETING, next_frame(&mut stream, &mut buffer, HELLO_MAX))
        .await
        .ok_or("it did not say hello")??
        .ok_or("closed before it said hello")?;
    let hello: Hello = frame::decode(&payload).map_err(|error| error.to_string())?;
    let expected = identity.hello(hello.from, identity.me, hello.birth);
    if hello != expected
        || hello.from == identity.me
        || usize::from(hello.from) >= identity.names.len()
    {
        return Err(format!(
            "it is node {} of cluster {:?} (version {}) and looks for node {}; this is node {} of {:?} (version {VERSION})",
            hello.from, hello.cluster, hello.version, hello.to, identity.me, identity.cluster
        ));
    }
    let (known, from, birth) = (identity.clone(), hello.from, hello.birth);
    tokio::task::spawn_blocking(move || known.births.admit(from, birth))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|reason| format!("{}: {reason}", identity.names[usize::from(from)]))?;
    while let Some(payload) = next_frame(&mut stream, &mut buffer, frame::PAYLOAD_MAX).await? {
        if payload.is_empty() {
            continue;
        }
        let message: Message = frame::decode(&payload).map_err(|error| error.to_string())?;
        if !network.bring(hello.from, message).await {
            break;
        }
    }
    Ok(())
}

/// The next frame's payload, or `None` at the end of the connection. The buffer only grows with
/// bytes that came.
async fn next_frame(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<Option<Vec<u8>>, String> {
    loop {
        if let Some((payload, length)) =
            frame::split_frame(buffer, limit).map_err(|error| error.to_string())?
        {
            let payload = payload.to_vec();
            buffer.drain(..length);
            return Ok(Some(payload));
        }
        buffer.reserve(16 << 10);
        let read = stream.read_buf(buffer).await;
        if read.map_err(|error| error.to_string())? == 0 {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::core::message::*;

    fn ballot() -> impl Strategy<Value = Ballot> {
        (any::<u64>(), any::<u16>()).prop_map(|(round, node)| Ballot { round, node })
    }

    fn op() -> impl Strategy<Value = Op> {
        let text = "[ -~é]{0,12}";
        prop_oneof![
            (text, text).prop_map(|(key, value)| Op::Put { key, value }),
            (text, proptest::option::of(text), text).prop_map(|(key, from, to)| Op::Cas {
                key,
                from,
                to
            }),
            (text, text).prop_map(|(key, element)| Op::Append { key, element }),
            text.prop_map(|key| Op::Delete { key }),
            (text, proptest::option::of(text), any::<u32>()).prop_map(|(prefix, after, limit)| {
                Op::Read(Query::Range {
                    prefix,
                    after,
                    limit,
                })
            }),
        ]
    }

    fn batch() -> impl Strategy<Value = Arc<Batch>> {
        let command = ("[a-z]{0,5}", any::<u64>(), any::<u64>(), op()).prop_map(
            |(session, sequence, settled, op)| Command {
                session,
                sequence,
                settled,
                op,
            },
        );
        proptest::collection::vec(command, 0..4).prop_map(|commands| Arc::new(Batch { commands }))
    }

    fn message() -> impl Strategy<Value = Message> {
        let accepted =
            (any::<u64>(), ballot(), batch()).prop_map(|(slot, ballot, batch)| Accepted {
                slot,
                ballot,
                batch,
            });
        prop_oneof![
            (
                ballot(),
                any::<u64>(),
                proptest::collection::vec(accepted, 0..3)
            )
                .prop_map(|(ballot, decided, accepted)| Message::Promise {
                    ballot,
                    decided,
                    accepted
                }),
            (ballot(), any::<u64>(), batch(), any::<u64>()).prop_map(
                |(ballot, slot, batch, decided)| Message::Accept {
                    ballot,
                    slot,
                    batch,
                    decided
                }
            ),
            (ballot(), proptest::collection::vec(any::<u64>(), 0..5))
                .prop_map(|(ballot, slots)| Message::AcceptReply { ballot, slots }),
            (
                any::<u64>(),
                any::<u64>(),
                any::<u64>(),
                proptest::collection::vec(any::<u8>(), 0..20)
            )
                .prop_map(|(slot, offset, total, bytes)| Message::SnapshotChunk {
                    slot,
                    offset,
                    total,
                    bytes
                }),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were(message in message()) {
            let bytes = frame::encode(&message);
            let (payload, _) = frame::split_frame(&bytes, frame::PAYLOAD_MAX).unwrap().unwrap();
            prop_assert_eq!(frame::decode::<Message>(payload).unwrap(), message);
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = frame::decode::<Message>(&bytes) {
                let _ = frame::encode(&message);
            }
            let _ = frame::decode::<Hello>(&bytes);
            let _ = frame::decode::<Record>(&bytes);
        }
    }
}
