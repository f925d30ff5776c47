//! Clients of nodes that speak Maelstrom's protocol, which the agent puts on the network: see
//! `agent::maelstrom`.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use harness::client::{DISCONNECTED, MALFORMED, NOT_FOUND, OpError, REFUSED, REJECTED};
use history::Value;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::answers::not_local;
use super::process::shown;
use super::reply::of_maelstrom;
use crate::interface::{Call, Consistency, Kv, Ledger, Objects, Transactions};

/// Bytes of one answer.
const MOST_BYTES: u64 = 64 << 20;

/// The workloads of Maelstrom that nodes can be written for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Spoken {
    LinKv,
    UniqueIds,
    GSet,
    Broadcast,
    TxnListAppend,
    TxnRwRegister,
    Kafka,
}

impl Spoken {
    /// What it can be asked here.
    pub fn workloads(self) -> &'static [&'static str] {
        match self {
            Spoken::LinKv => &["register", "cas-register", "kv"],
            Spoken::UniqueIds => &["unique-ids"],
            Spoken::GSet | Spoken::Broadcast => &["ledger"],
            Spoken::TxnListAppend => &["txn-list-append"],
            Spoken::TxnRwRegister => &["txn-rw-register"],
            Spoken::Kafka => &["log"],
        }
    }
}

/// A client of one node.
pub struct Client {
    to: std::net::SocketAddr,
    /// The node's name.
    node: String,
    spoken: Spoken,
    connection: Option<BufReader<TcpStream>>,
    name: String,
    next_id: u64,
}

impl Client {
    pub fn new(to: std::net::SocketAddr, node: &str, spoken: Spoken) -> Client {
        // `c0` tells the node who it is.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Client {
            to,
            node: node.to_string(),
            spoken,
            connection: None,
            name: format!("c{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            next_id: 1,
        }
    }

    /// Asks one thing, and waits for its answer. If this is given up, the connection is dropped
    /// with the answer that may still come.
    async fn ask(&mut self, mut body: Json) -> Result<Json, OpError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let id = self.next_id;
        self.next_id += 1;
        body["msg_id"] = id.into();
        let broken = |e: std::io::Error| OpError::new(DISCONNECTED, e.to_string());
        let message = line(&json!({"src": self.name, "dest": self.node, "body": body}));
        connection.write_all(&message).await.map_err(broken)?;
        loop {
            let mut text = Vec::new();
            let mut bounded = (&mut connection).take(MOST_BYTES);
            let read = bounded.read_until(b'\n', &mut text).await.map_err(broken)?;
            if read == 0 || text.last() != Some(&b'\n') {
                return Err(OpError::new(DISCONNECTED, "the connection was closed"));
            }
            let wrong = |why: String| OpError::new(MALFORMED, format!("{why}: {}", shown(&text)));
            let mut message: Json =
                serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
            let body = message["body"].take();
            // Something that nobody asked for, or an answer for the second time.
            if body["in_reply_to"] != json!(id) {
                continue;
            }
            self.connection = Some(connection);
            return match body["type"].as_str() {
                Some("error") => Err(of_maelstrom(
                    body["code"].as_u64(),
                    body["text"].as_str().unwrap_or_default(),
                )),
                Some(_) => Ok(body),
                None => Err(OpError::new(MALFORMED, "an answer without a type")),
            };
        }
    }

    async fn connect(&self) -> Result<BufReader<TcpStream>, OpError> {
        let refused = |e: std::io::Error| OpError::new(REFUSED, e.to_string());
        let mut stream = TcpStream::connect(self.to).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let hello = line(&json!({"src": self.name}));
        stream.write_all(&hello).await.map_err(refused)?;
        Ok(BufReader::new(stream))
    }
}

fn line(message: &Json) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn as_json(value: &Value) -> Json {
    serde_json::to_value(value).expect("values are JSON")
}

fn value_in(mut body: Json, name: &str) -> Result<Value, OpError> {
    let found = body.get_mut(name).map(Json::take);
    let found = found.ok_or_else(|| OpError::new(MALFORMED, format!("no {name:?} in {body}")))?;
    serde_json::from_value(found).map_err(|e| OpError::new(MALFORMED, e.to_string()))
}

fn not_there(call: Call) -> OpError {
    OpError::new(REJECTED, format!("Maelstrom has no {}", call.word()))
}

/// `lin-kv`.
#[async_trait]
impl Kv for Client {
    async fn get(&mut self, key: &str, consistency: Consistency) -> Result<Option<Value>, OpError> {
        not_local(consistency)?;
        match self.ask(json!({"type": "read", "key": key})).await {
            Ok(body) => value_in(body, "value").map(|value| Some(value).filter(|v| !v.is_nil())),
            Err(e) if e.code == NOT_FOUND => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn put(&mut self, key: &str, value: &Value) -> Result<(), OpError> {
        let body = json!({"type": "write", "key": key, "value": as_json(value)});
        self.ask(body).await.map(drop)
    }

    async fn cas(&mut self, key: &str, from: Option<&Value>, to: &Value) -> Result<bool, OpError> {
        let mut body = json!({"type": "cas", "key": key, "from": from.map(as_json),
                              "to": as_json(to)});
        if from.is_none() {
            body["create_if_not_exists"] = true.into();
        }
        match self.ask(body).await {
            Ok(_) => Ok(true),
            Err(e) if e.code == harness::client::CONFLICT || e.code == NOT_FOUND => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn append(&mut self, _key: &str, _element: &Value) -> Result<(), OpError> {
        Err(not_there(Call::Append))
    }

    async fn scan(
        &mut self,
        _prefix: &str,
        _consistency: Consistency,
    ) -> Result<Vec<(String, Value)>, OpError> {
        Err(not_there(Call::Scan))
    }
}

/// `g-set` and `broadcast`: what is added is there in the end, at every node.
#[async_trait]
impl Ledger for Client {
    async fn add(&mut self, entry: &Value) -> Result<(), OpError> {
        let body = match self.spoken {
            Spoken::GSet => json!({"type": "add", "element": as_json(entry)}),
            _ => json!({"type": "broadcast", "message": as_json(entry)}),
        };
        self.ask(body).await.map(drop)
    }

    async fn entries(&mut self) -> Result<Vec<Value>, OpError> {
        let name = match self.spoken {
            Spoken::GSet => "value",
            _ => "messages",
        };
        match value_in(self.ask(json!({"type": "read"})).await?, name)? {
            Value::List(all) => Ok(all),
            other => Err(OpError::new(
                MALFORMED,
                format!("{name} is no list: {other}"),
            )),
        }
    }
}

/// `unique-ids` and `kafka`.
#[async_trait]
impl Objects for Client {
    async fn perform(&mut self, call: Call, key: &str, value: &Value) -> Result<Value, OpError> {
        match call {
            Call::Generate => value_in(self.ask(json!({"type": "generate"})).await?, "id"),
            Call::Send => {
                let body = json!({"type": "send", "key": key, "msg": as_json(value)});
                value_in(self.ask(body).await?, "offset")
            }
            Call::Poll => {
                let body = json!({"type": "poll", "offsets": {key: as_json(value)}});
                let messages = value_in(self.ask(body).await?, "msgs")?;
                // A key without messages may be left out.
                Ok(messages
                    .get(key)
                    .cloned()
                    .unwrap_or(Value::List(Vec::new())))
            }
            _ => Err(not_there(call)),
        }
    }
}

/// `txn-list-append` and `txn-rw-register`.
#[async_trait]
impl Transactions for Client {
    async fn transact(&mut self, micros: &Value) -> Result<Value, OpError> {
        let body = json!({"type": "txn", "txn": as_json(micros)});
        value_in(self.ask(body).await?, "txn")
    }
}
