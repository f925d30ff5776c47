//! The changes of keys, as the node tells them: an answer waits for the first one.
//!
//! Whoever follows may come back to any node. So a client goes on where another one has ended, when
//! it begins and now and then later, and most of these others were at other nodes. What is not in
//! a node's log any more it cannot tell: a client begins anew behind that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use harness::client::{MALFORMED, OpError, UNAVAILABLE};
use harness::cluster::Node;
use history::Value;
use hyper::StatusCode;
use serde::Deserialize;

use super::PaxosKv;
use crate::http::{Http, Patience, segment};
use crate::interface::{Call, Objects, OpenObjects};
use crate::objects::never_asked;
use crate::systems::own::{error_of, json};
use crate::systems::parse;

/// How long an answer waits for a change.
const WAIT_MS: u64 = 100;

/// After so many answers a client goes on where another one has ended.
const ANSWERS: u32 = 20;

/// Times that a client begins anew for one answer.
const BEGINNINGS: u32 = 3;

/// The revisions up to which clients were told everything that are gone or have exchanged places.
pub(super) type Ends = Arc<Mutex<VecDeque<i64>>>;

pub(super) struct Feeds {
    system: Arc<PaxosKv>,
    ends: Ends,
}

impl Feeds {
    pub(super) fn new(system: Arc<PaxosKv>) -> Feeds {
        Feeds {
            system,
            ends: Ends::default(),
        }
    }
}

impl OpenObjects for Feeds {
    fn open(&self, node: &Node) -> Box<dyn Objects> {
        let http = self.system.http(node, Patience::CLIENT);
        Box::new(Follower::of(http, self.ends.clone()))
    }
}

pub(super) struct Follower {
    http: Http,
    ends: Ends,
    /// The revision up to which everything was told.
    seen: Option<i64>,
    /// Since it went on from there.
    answers: u32,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.leave();
    }
}

#[derive(Deserialize)]
struct Revision {
    revision: i64,
}

#[derive(Deserialize)]
struct Told {
    upto: i64,
    changes: Vec<Change>,
}

/// No key is deleted and nothing is appended here.
#[derive(Deserialize)]
struct Change {
    revision: i64,
    key: String,
    value: Value,
}

impl Follower {
    pub(super) fn of(http: Http, ends: Ends) -> Follower {
        Follower {
            http,
            ends,
            seen: None,
            answers: 0,
        }
    }

    async fn put(&mut self, key: &str, value: &Value) -> Result<Value, OpError> {
        let path = format!("/kv/{}", segment(key));
        let answer = self.http.put(&path, json(value)).await?;
        match answer.status {
            StatusCode::OK => Ok(parse::<Revision>(&answer.body)?.revision.into()),
            _ => Err(error_of(&answer)),
        }
    }

    /// Leaves its place to whoever comes next.
    fn leave(&mut self) {
        let mut ends = self.ends.lock().expect("no panic while held");
        ends.extend(self.seen.take());
    }

    fn take_a_place(&mut self) -> Option<i64> {
        if self.answers >= ANSWERS {
            self.leave();
        }
        if self.seen.is_none() {
            self.answers = 0;
            let mut ends = self.ends.lock().expect("no panic while held");
            self.seen = ends.pop_front();
        }
        self.seen
    }

    /// What this node has to tell of the changes after a revision, or that it has none there.
    async fn ask(&mut self, path: &str) -> Result<Result<Told, Revision>, OpError> {
        let answer = self.http.get(path).await?;
        match answer.status {
            StatusCode::OK => Ok(Ok(parse(&answer.body)?)),
            StatusCode::GONE => Ok(Err(parse(&answer.body)?)),
            _ => Err(error_of(&answer)),
        }
    }

    async fn newest(&mut self, prefix: &str) -> Result<i64, OpError> {
        let path = format!("/watch?prefix={}", segment(prefix));
        match self.ask(&path).await? {
            Ok(told) => Ok(told.upto),
            Err(_) => Err(OpError::new(MALFORMED, "what is newest is not there")),
        }
    }

    /// Everything after `first`, or after where this client was.
    async fn follow(&mut self, prefix: &str, first: Option<i64>) -> Result<Value, OpError> {
        let mut from = match first.or_else(|| self.take_a_place()) {
            Some(from) => from,
            None => self.newest(prefix).await?,
        };
        for _ in 0..BEGINNINGS {
            if first.is_none() {
                // Whatever goes wrong from here on, the next answer begins there.
                self.seen = Some(from);
            }
            let prefix = segment(prefix);
            let path = format!("/watch?prefix={prefix}&after={from}&wait={WAIT_MS}");
            match self.ask(&path).await? {
                Ok(Told { upto, changes }) => {
                    if first.is_none() {
                        self.seen = Some(upto);
                        self.answers += 1;
                    }
                    let changes = changes.into_iter();
                    let changes = changes
                        .map(|one| vec![one.revision.into(), Value::text(&one.key), one.value]);
                    let changes: Vec<Value> = changes.map(Value::List).collect();
                    return Ok(vec![from.into(), upto.into(), changes.into()].into());
                }
                Err(Revision { revision }) => from = revision,
            }
        }
        let why = "what was asked for was gone each time";
        Err(OpError::new(UNAVAILABLE, why))
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
