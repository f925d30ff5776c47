//! Connections between nodes: one each way, so that each side only writes to those it dialled.
//!
//! A connection begins with a [`Hello`] frame; then come messages, and now and then an empty frame as a sign of life.
//! What waits here waits by the kernel's clock (`clocks.rs`). Frames may be lost when a connection breaks or a queue is full: the protocol sends again.
//! A peer that sends anything else is dropped, with a reason in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::clocks::{kernel_monotonic_ns, pause, within};
use crate::codec;
use crate::core::message::{Message, NodeIndex};
use crate::node::Event;

const VERSION: u32 = 1;
/// Frames that wait for a peer; more are dropped.
const QUEUE: usize = 4096;
/// A sign of life goes out this often.
pub const SIGN_OF_LIFE: Duration = Duration::from_millis(250);
/// Bytes that stay without acknowledgement for so long end the connection: a cut network looks like this.
const UNACKNOWLEDGED: Duration = Duration::from_millis(1000);
/// A stranger has so long to say who it is.
const GREETING: Duration = Duration::from_secs(2);
/// The kernel asks a silent connection whether it is still there: after so long, so often.
const SILENCE: Duration = Duration::from_secs(1);
const SILENT_QUESTIONS: u32 = 3;
const CONNECT: Duration = Duration::from_millis(300);
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
}

/// Who we are, for the handshake.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster's names, joined.
    pub cluster: String,
    /// All names, sorted.
    pub names: Vec<String>,
    /// This node's place.
    pub me: NodeIndex,
}

impl Identity {
    fn hello(&self, from: NodeIndex, to: NodeIndex) -> Hello {
        Hello {
            magic: *b"paxos-kv",
            version: VERSION,
            cluster: self.cluster.clone(),
            from,
            to,
        }
    }
}

/// Writes a line to the log: time, level, text.
pub fn log(level: &str, text: &str) {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    eprintln!(
        "{}.{:06} {level:5} {text}",
        since.as_secs(),
        since.subsec_micros()
    );
}

/// Writes a line at most once a second, for what a stranger could cause without end.
fn log_seldom(text: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = kernel_monotonic_ns();
    if now.saturating_sub(LAST.load(Ordering::Relaxed)) > 1_000_000_000 {
        LAST.store(now, Ordering::Relaxed);
        log("WARN", text);
    }
}

/// Keeps a connection to a peer and returns the queue of frames for it.
pub fn dial(
    identity: Arc<Identity>,
    to: NodeIndex,
    address: SocketAddr,
    events: mpsc::Sender<Event>,
) -> mpsc::Sender<Arc<Vec<u8>>> {
    let (sender, mut queue) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let name = identity.names[usize::from(to)].clone();
        let hello = codec::encode(&identity.hello(identity.me, to));
        let mut known_lost = false;
        loop {
            match within(CONNECT, TcpStream::connect(address)).await {
                Some(Ok(stream)) => {
                    log("INFO", &format!("connected to {name}"));
                    // What was said while nobody listened is old.
                    while queue.try_recv().is_ok() {}
                    let reason =
                        talk(stream, &hello, &mut queue, events.send(Event::PeerUp(to))).await;
                    log("WARN", &format!("lost {name}: {reason}"));
                    known_lost = true;
                }
                result if !known_lost => {
                    known_lost = true;
                    let reason = match result {
                        Some(Err(error)) => error.to_string(),
                        _ => "no answer".to_owned(),
                    };
                    log(
                        "WARN",
                        &format!("cannot reach {name} at {address}: {reason}"),
                    );
                }
                _ => {}
            }
            if queue.is_closed() {
                return;
            }
            pause(BACK_OFF).await;
        }
    });
    sender
}

/// Says hello and then whatever is queued, until something breaks. Returns what.
async fn talk(
    stream: TcpStream,
    hello: &[u8],
    queue: &mut mpsc::Receiver<Arc<Vec<u8>>>,
    up: impl Future<Output = Result<(), mpsc::error::SendError<Event>>>,
) -> String {
    let result: std::io::Result<String> = async {
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        let (mut reader, mut writer) = stream.into_split();
        writer.write_all(hello).await?;
        if up.await.is_err() {
            return Ok("this node stops".to_owned());
        }
        let (mut frames, mut bytes, mut byte) = (Vec::new(), Vec::new(), [0]);
        loop {
            tokio::select! {
                count = queue.recv_many(&mut frames, 256) => {
                    if count == 0 {
                        return Ok("this node stops".to_owned());
                    }
                    bytes.clear();
                    frames.drain(..).for_each(|frame: Arc<Vec<u8>>| bytes.extend_from_slice(&frame));
                    writer.write_all(&bytes).await?;
                    bytes.shrink_to(1 << 20);
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
pub async fn listen(listener: TcpListener, identity: Arc<Identity>, events: mpsc::Sender<Event>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely; it passes.
                log_seldom(&format!("cannot accept peers: {error}"));
                pause(BACK_OFF).await;
                continue;
            }
        };
        if open.load(Ordering::Relaxed) >= INCOMING {
            log_seldom(&format!("dropped {address}: too many connections"));
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (identity, events, open) = (identity.clone(), events.clone(), open.clone());
        tokio::spawn(async move {
            if let Err(reason) = hear(stream, &identity, &events).await {
                log_seldom(&format!("dropped peer connection from {address}: {reason}"));
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Reads one connection to its end.
async fn hear(
    mut stream: TcpStream,
    identity: &Identity,
    events: &mpsc::Sender<Event>,
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
    let hello: Hello = codec::decode(&payload).map_err(|error| error.to_string())?;
    let expected = identity.hello(hello.from, identity.me);
    if hello != expected
        || hello.from == identity.me
        || usize::from(hello.from) >= identity.names.len()
    {
        return Err(format!(
            "it is node {} of cluster {:?} (version {}) and looks for node {}; this is node {} of {:?} (version {VERSION})",
            hello.from, hello.cluster, hello.version, hello.to, identity.me, identity.cluster
        ));
    }
    while let Some(payload) = next_frame(&mut stream, &mut buffer, codec::PAYLOAD_MAX).await? {
        if payload.is_empty() {
            continue;
        }
        let message: Message = codec::decode(&payload).map_err(|error| error.to_string())?;
        if events
            .send(Event::Message(hello.from, message))
            .await
            .is_err()
        {
            break;
        }
    }
    Ok(())
}

/// The next frame's payload, or `None` at the end of the connection. The buffer only grows with bytes that came.
async fn next_frame(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<Option<Vec<u8>>, String> {
    loop {
        if let Some((payload, length)) =
            codec::split_frame(buffer, limit).map_err(|error| error.to_string())?
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
