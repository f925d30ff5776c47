//! The changes of keys, as etcd's watch tells them: a stream of JSON objects, a line each.
//!
//! A client goes on where its last answer ended. Where it begins it asks for the newest revision
//! first, and watches from the next one on. Now and then it gives its stream up by itself, so that
//! going on is tried without a fault too.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::client::{MALFORMED, OpError, UNAVAILABLE};
use harness::cluster::Node;
use history::Value;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, timeout_at};

use super::{Client, Etcd, Pair, after, ask, decode, encode};
use crate::http::Lines;
use crate::interface::{Call, Objects, OpenObjects};
use crate::objects::never_asked;

/// How long an answer waits for a change, and for another one after it.
const FIRST: Duration = Duration::from_millis(100);
const NEXT: Duration = Duration::from_millis(30);

/// For a stream to begin.
const BEGIN: Duration = Duration::from_secs(2);

/// Changes of one answer.
const MOST: usize = 4_096;

/// After so many answers a stream is given up.
const ANSWERS: u32 = 20;

pub struct Feeds(pub Arc<Etcd>);

impl OpenObjects for Feeds {
    fn open(&self, node: &Node) -> Box<dyn Objects> {
        Box::new(Follower {
            client: self.0.client(node),
            seen: None,
            stream: None,
        })
    }
}

struct Follower {
    client: Client,
    /// The revision up to which everything was told.
    seen: Option<i64>,
    stream: Option<Stream>,
}

struct Stream {
    lines: Lines,
    answers: u32,
}

#[derive(Deserialize)]
struct Headed {
    header: Header,
}

#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct Line {
    result: Option<Told>,
    error: Option<Json>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    created: bool,
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    cancel_reason: String,
    #[serde(default)]
    events: Vec<Change>,
}

/// What is not said is a put.
#[derive(Deserialize)]
struct Change {
    kv: Pair,
}

impl Header {
    fn revision(&self) -> Result<i64, OpError> {
        number(&self.revision)
    }
}

fn number(text: &str) -> Result<i64, OpError> {
    let wrong = |_| OpError::new(MALFORMED, format!("{text:?} is no revision"));
    text.parse().map_err(wrong)
}

impl Follower {
    async fn put(&mut self, key: &str, value: &Value) -> Result<Value, OpError> {
        let request = json!({"key": BASE64.encode(key), "value": encode(value)});
        let put: Headed = ask(&mut self.client.http, "/v3/kv/put", &request).await?;
        Ok(put.header.revision()?.into())
    }

    async fn newest(&mut self, prefix: &str) -> Result<i64, OpError> {
        let request = json!({
            "key": BASE64.encode(prefix), "range_end": BASE64.encode(after(prefix)),
            "count_only": true,
        });
        let found: Headed = ask(&mut self.client.http, "/v3/kv/range", &request).await?;
        found.header.revision()
    }

    async fn begin(&mut self, prefix: &str, seen: i64) -> Result<Stream, OpError> {
        let request = json!({"create_request": {
            "key": BASE64.encode(prefix), "range_end": BASE64.encode(after(prefix)),
            "start_revision": (seen + 1).to_string(),
        }});
        let body = request.to_string().into_bytes();
        let lines = self.client.http.lines("/v3/watch", body).await?;
        let mut stream = Stream { lines, answers: 0 };
        let first = stream.told(Instant::now() + BEGIN).await?;
        match first {
            Some(told) if told.created && !told.canceled => Ok(stream),
            Some(told) => Err(OpError::new(UNAVAILABLE, told.cancel_reason)),
            None => Err(OpError::new(
                UNAVAILABLE,
                "the watch was not created in time",
            )),
        }
    }

    async fn follow(&mut self, prefix: &str, from: Option<i64>) -> Result<Value, OpError> {
        let mut stream = self.stream.take().filter(|_| from.is_none());
        let from = match from.or(self.seen) {
            Some(from) => from,
            None => self.newest(prefix).await?,
        };
        // Whatever goes wrong from here on, the next answer begins there.
        self.seen = Some(from);
        let mut stream = match stream.take() {
            Some(stream) => stream,
            None => self.begin(prefix, from).await?,
        };
        let (mut upto, mut changes) = (from, Vec::new());
        let mut until = Instant::now() + FIRST;
        let ended = loop {
            match stream.told(until).await {
                Ok(None) => break None,
                Ok(Some(told)) if told.canceled => {
                    // What is compacted away cannot be followed: it begins anew.
                    self.seen = None;
                    break Some(OpError::new(UNAVAILABLE, told.cancel_reason));
                }
                Ok(Some(told)) => {
                    for Change { kv } in told.events {
                        let at = number(&kv.mod_revision)?;
                        let key = BASE64.decode(&kv.key).unwrap_or_default();
                        let key = String::from_utf8_lossy(&key).into_owned();
                        changes.push(vec![at.into(), Value::text(key), decode(&kv)?].into());
                        upto = upto.max(at);
                    }
                    if changes.len() >= MOST {
                        break None;
                    }
                    until = Instant::now() + NEXT;
                }
                Err(e) => break Some(e),
            }
        };
        match ended {
            Some(e) if changes.is_empty() => return Err(e),
            // What came before the end was told all the same.
            Some(_) => {}
            None if stream.answers < ANSWERS => {
                stream.answers += 1;
                self.stream = Some(stream);
            }
            None => {}
        }
        self.seen = self.seen.map(|_| upto);
        Ok(vec![from.into(), upto.into(), changes.into()].into())
    }
}

impl Stream {
    /// The next line; none if it does not come in time.
    async fn told(&mut self, until: Instant) -> Result<Option<Told>, OpError> {
        let Ok(line) = timeout_at(until, self.lines.next()).await else {
            return Ok(None);
        };
        let Some(line) = line? else {
            return Err(OpError::new(UNAVAILABLE, "the stream has ended"));
        };
        let line: Line = serde_json::from_slice(&line)
            .map_err(|e| OpError::new(MALFORMED, format!("a line of a watch: {e}")))?;
        match (line.result, line.error) {
            (Some(told), _) => Ok(Some(told)),
            (None, error) => {
                let why = error.unwrap_or_default().to_string();
                Err(OpError::new(UNAVAILABLE, why))
            }
        }
    }
}

#[async_trait]
impl Objects for Follower {
    async fn perform(&mut self, call: Call, key: &str, value: &Value) -> Result<Value, OpError> {
        match call {
            Call::Write => self.put(key, value).await,
            Call::Watch => self.follow(key, value.as_int()).await,
            _ => Err(never_asked("feed", call)),
        }
    }
}
