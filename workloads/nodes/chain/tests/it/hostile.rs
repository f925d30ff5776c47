//! Strangers on the port for peers: whatever they send, the node stays up, stays small, and drops
//! them with a reason.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use chain::core::block::{Block, Hash, Header, Op, Transaction};
use chain::core::message::{MESSAGE_MAX, Message};
use nodekit::frame;
use nodekit::testing::{PATIENCE, until};

use crate::cluster::Cluster;

/// Soon after one stranger was dropped the next one may try.
const FORGET: &str = "--ban-time=50ms";

/// A connection to a node, which spoke first.
struct Stranger {
    stream: TcpStream,
    genesis: Hash,
    head: Hash,
    height: u64,
    buffer: Vec<u8>,
}

impl Stranger {
    /// Connects as soon as the node lets it.
    fn meet(cluster: &Cluster, node: usize) -> Stranger {
        until("a hello from the node", || {
            let stream = TcpStream::connect(cluster.peers[node]).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let mut stranger = Stranger {
                stream,
                genesis: Hash::NONE,
                head: Hash::NONE,
                height: 0,
                buffer: Vec::new(),
            };
            let Message::Hello {
                genesis,
                head,
                height,
                ..
            } = stranger.next()?
            else {
                panic!("the node does not begin with a hello");
            };
            (stranger.genesis, stranger.head, stranger.height) = (genesis, head, height);
            Some(stranger)
        })
    }

    /// Connects and says hello.
    fn greet(cluster: &Cluster, node: usize) -> Stranger {
        let mut stranger = Stranger::meet(cluster, node);
        stranger.say(&Message::Hello {
            genesis: stranger.genesis,
            node: "stranger".into(),
            head: stranger.genesis,
            height: 0,
        });
        stranger
    }

    /// The next message, or none if the node hangs up.
    fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((payload, length)) = frame::split_frame(&self.buffer, MESSAGE_MAX).unwrap()
            {
                let message = frame::decode(payload).unwrap();
                self.buffer.drain(..length);
                return Some(message);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend(&bytes[..count]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                    return None;
                }
            }
        }
    }

    fn say(&mut self, message: &Message) {
        self.shout(&frame::encode(message));
    }

    /// The node may hang up while this is still talking.
    fn shout(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Waits until the node hangs up.
    fn wait_for_the_end(mut self) {
        while self.next().is_some() {}
    }
}

/// A block that proves what it claims, if it claims little.
fn block(parent: Hash, height: u64, work: u64, nonce: u64) -> Arc<Block> {
    let header = Header {
        parent,
        height,
        time_ms: 1_795_428_444_936,
        work,
        miner: "stranger".into(),
        transactions: Block::transactions_hash(&[]),
        nonce,
    };
    Arc::new(Block {
        header,
        transactions: Vec::new(),
    })
}

/// After all of it the node still mines, agrees with the other, and had no more memory than this at
/// any time.
fn assert_unharmed(cluster: &mut Cluster, memory_kib: u64) {
    assert!(cluster.runs(0), "{}", cluster.log(0));
    let height = cluster.height(0);
    cluster.agree(&[0, 1], height + 3);
    let peak = cluster.peak_memory_kib(0);
    assert!(peak < memory_kib, "{peak} KiB at the peak");
}

fn assert_dropped_for(cluster: &Cluster, reason: &str) {
    until(&format!("{reason} in the log"), || {
        let log = cluster.log(0);
        let mut lines = log.lines();
        lines
            .any(|line| line.contains("dropped") && line.contains(reason))
            .then_some(())
    });
}

#[test]
fn what_is_no_message_ends_the_connection() {
    let mut cluster = Cluster::start(2, &[FORGET]);
    let mut noise = 1u64;
    let mut garbage = |length: usize| -> Vec<u8> {
        let mut byte = || {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (noise >> 56) as u8
        };
        (0..length).map(|_| byte()).collect()
    };
    // Before hello and after it.
    for length in [9, 100, 3000] {
        let mut stranger = Stranger::meet(&cluster, 0);
        stranger.shout(&garbage(length));
        stranger.wait_for_the_end();
        let mut stranger = Stranger::greet(&cluster, 0);
        stranger.shout(&garbage(length));
        stranger.wait_for_the_end();
    }
    // A huge length, a wrong checksum, a frame that holds something else, and one that claims a
    // list without end.
    let mut stranger = Stranger::greet(&cluster, 0);
    stranger.shout(&u32::MAX.to_le_bytes());
    stranger.wait_for_the_end();
    assert_dropped_for(&cluster, "4294967295 bytes is more than");
    let mut stranger = Stranger::greet(&cluster, 0);
    let mut wrong = frame::encode(&Message::Ping(1));
    wrong[4] ^= 1;
    stranger.shout(&wrong);
    stranger.wait_for_the_end();
    assert_dropped_for(&cluster, "checksum");
    for payload in [&[200][..], &[1, 255, 255, 255, 255, 255, 255, 255, 255, 1]] {
        let mut stranger = Stranger::greet(&cluster, 0);
        let mut bytes = Vec::new();
        frame::push_frame(&mut bytes, payload);
        stranger.shout(&bytes);
        stranger.wait_for_the_end();
    }
    assert_dropped_for(&cluster, "holds no message");
    assert_unharmed(&mut cluster, 128 << 10);
}

#[test]
fn who_breaks_the_protocol_is_dropped_with_the_reason() {
    let mut cluster = Cluster::start(2, &[FORGET]);
    cluster.wait_for_height(0, 2);
    let mut stranger = Stranger::meet(&cluster, 0);
    stranger.say(&Message::Hello {
        genesis: Hash([9; 32]),
        node: "stranger".into(),
        head: Hash::NONE,
        height: 0,
    });
    stranger.wait_for_the_end();
    assert_dropped_for(&cluster, "another network");
    let mut stranger = Stranger::meet(&cluster, 0);
    stranger.say(&Message::Ping(7));
    stranger.wait_for_the_end();
    assert_dropped_for(&cluster, "no hello");
    // A block without the work that it claims.
    let mut stranger = Stranger::greet(&cluster, 0);
    let (head, height) = (stranger.head, stranger.height);
    stranger.say(&Message::Block(block(head, height + 1, u64::MAX, 0)));
    stranger.wait_for_the_end();
    assert_dropped_for(&cluster, "low-work");
    // A block that claims too little.
    let mut stranger = Stranger::greet(&cluster, 0);
    let (head, height) = (stranger.head, stranger.height);
    stranger.say(&Message::Block(block(head, height + 1, 1, 0)));
    stranger.wait_for_the_end();
    assert_dropped_for(&cluster, "bad-work");
    let status = cluster.status(0);
    assert!(
        status["refused"]["low-work"].as_u64() >= Some(1),
        "{status}"
    );
    assert_unharmed(&mut cluster, 128 << 10);
}

#[test]
fn a_flood_of_blocks_whose_parents_never_come_is_bounded() {
    let mut cluster = Cluster::start(2, &[FORGET]);
    let text = "x".repeat(200_000);
    for round in 0..3u64 {
        let mut stranger = Stranger::greet(&cluster, 0);
        for number in 0..400u64 {
            let transaction = Arc::new(Transaction {
                id: format!("{round}.{number}"),
                op: Op::Put {
                    key: "k".into(),
                    value: format!("\"{text}\""),
                },
            });
            let mut orphan = Block::clone(&block(Hash([number as u8; 32]), number + 5, 1, round));
            orphan.transactions = vec![transaction];
            orphan.header.transactions = Block::transactions_hash(&orphan.transactions);
            stranger.say(&Message::Block(Arc::new(orphan)));
        }
        stranger.wait_for_the_end();
    }
    assert_dropped_for(&cluster, "blocks whose parents never come");
    let orphans = cluster.status(0)["orphans"].as_u64();
    assert!(orphans <= Some(64), "{orphans:?}");
    assert_unharmed(&mut cluster, 256 << 10);
}

#[test]
fn long_frames_that_never_end_take_bounded_memory() {
    let mut cluster = Cluster::start(2, &[FORGET]);
    let mut frames = Vec::new();
    for _ in 0..16 {
        let mut stranger = Stranger::greet(&cluster, 0);
        stranger
            .stream
            .set_write_timeout(Some(std::time::Duration::from_millis(300)))
            .unwrap();
        let length = MESSAGE_MAX as u32;
        stranger.shout(&length.to_le_bytes());
        stranger.shout(&vec![0; MESSAGE_MAX - 100]);
        frames.push(stranger);
    }
    assert_unharmed(&mut cluster, 160 << 10);
    drop(frames);
}

#[test]
fn the_silent_are_hung_up_on_and_are_no_criminals() {
    let mut cluster = Cluster::start(2, &["--ban-time=1h"]);
    let (mute, polite) = (Stranger::meet(&cluster, 0), Stranger::greet(&cluster, 0));
    mute.wait_for_the_end();
    // It answers no ping.
    polite.wait_for_the_end();
    let (_, peers) = cluster.get(0, "/chain/peers").unwrap();
    assert_eq!(peers["refused"], serde_json::json!([]), "{peers}");
    assert_unharmed(&mut cluster, 128 << 10);
}

#[test]
fn who_misbehaved_is_talked_to_again_after_a_while_and_nobody_else_suffers() {
    let mut cluster = Cluster::start(2, &["--ban-time=2s"]);
    let mut stranger = Stranger::meet(&cluster, 0);
    stranger.say(&Message::Ping(7));
    stranger.wait_for_the_end();
    let (_, peers) = cluster.get(0, "/chain/peers").unwrap();
    let refused = &peers["refused"][0];
    assert_eq!(refused["address"], "127.0.0.1", "{peers}");
    assert!(
        refused["reason"].as_str().unwrap().contains("no hello"),
        "{peers}"
    );
    // Waits until it is let in.
    Stranger::meet(&cluster, 0);
    let (_, peers) = cluster.get(0, "/chain/peers").unwrap();
    assert_eq!(peers["refused"], serde_json::json!([]), "{peers}");
    assert_unharmed(&mut cluster, 128 << 10);
}

#[test]
fn garbage_on_the_clients_port_harms_nobody() {
    let mut cluster = Cluster::start(2, &[]);
    cluster.wait_for_height(0, 1);
    for bytes in [
        &[0xff; 100][..],
        &[b'a'; 100_000],
        b"GET /kv/k HTTP/9\r\n\r\n",
    ] {
        let mut client = TcpStream::connect(cluster.client_address(0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // The node may hang up while this is still talking.
        let _ = client.write_all(bytes);
        let mut answer = Vec::new();
        match client.read_to_end(&mut answer) {
            Ok(_) => assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }
    assert_unharmed(&mut cluster, 128 << 10);
}
