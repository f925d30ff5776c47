//! Clients of the key-value surface that the nodes of this workspace share, as
//! `harness/docs/paxos-kv.md` describes it.

use async_trait::async_trait;
use harness::client::{MALFORMED, NOT_FOUND, OpError};
use history::Value;
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{error_of, json};
use crate::http::{Answer, Http, segment};
use crate::interface::{Consistency, Kv};
use crate::systems::parse;

pub(crate) struct Client {
    pub http: Http,
    /// Where an answer was true, if it says so.
    place: fn(&Answer) -> Option<Value>,
    /// That of the last answer, until it is taken.
    version: Option<Value>,
}

#[derive(Deserialize)]
struct Found {
    value: Value,
}

#[derive(Serialize)]
struct Swap<'a> {
    from: Option<&'a Value>,
    to: &'a Value,
}

#[derive(Deserialize)]
struct Swapped {
    swapped: bool,
}

#[derive(Deserialize)]
struct Entries {
    entries: Vec<(String, Value)>,
    /// There are more after this key.
    #[serde(default)]
    next: Option<String>,
}

/// What to add to a read's query.
fn read_mode(consistency: Consistency) -> Option<&'static str> {
    match consistency {
        // As the daemon was told with `--reads`.
        Consistency::Linearizable => None,
        Consistency::Local => Some("read=local"),
    }
}

impl Client {
    /// One whose answers do not say where they were true.
    pub fn new(http: Http) -> Client {
        Client::with_places(http, |_| None)
    }

    pub fn with_places(http: Http, place: fn(&Answer) -> Option<Value>) -> Client {
        Client {
            http,
            place,
            version: None,
        }
    }

    pub fn take_version(&mut self) -> Option<Value> {
        self.version.take()
    }

    pub async fn read<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, OpError> {
        self.version = None;
        let answer = self.http.get(path).await?;
        match answer.status {
            StatusCode::OK => {
                self.version = (self.place)(&answer);
                parse(&answer.body)
            }
            // Absent, as of this place.
            StatusCode::NOT_FOUND => {
                self.version = (self.place)(&answer);
                Err(error_of(&answer))
            }
            _ => Err(error_of(&answer)),
        }
    }

    async fn post(&mut self, path: &str, body: &impl Serialize) -> Result<Answer, OpError> {
        self.version = None;
        self.http.post(path, json(body)).await
    }

    fn done(&mut self, answer: &Answer) -> Result<(), OpError> {
        match answer.status {
            StatusCode::OK => {
                self.version = (self.place)(answer);
                Ok(())
            }
            _ => Err(error_of(answer)),
        }
    }

    /// Asks for a change under a condition. The status says whether it held, 200 or 409, and so
    /// does the body, as `held` finds it there.
    pub async fn decide<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
        held: fn(T) -> bool,
    ) -> Result<bool, OpError> {
        let answer = self.post(path, body).await?;
        let held = match answer.status {
            StatusCode::OK | StatusCode::CONFLICT => held(parse(&answer.body)?),
            _ => return Err(error_of(&answer)),
        };
        if held != (answer.status == StatusCode::OK) {
            let what = format!("status {} with a body that says {held}", answer.status);
            return Err(OpError::new(MALFORMED, what));
        }
        self.version = (self.place)(&answer);
        Ok(held)
    }
}

#[async_trait]
impl Kv for Client {
    async fn get(&mut self, key: &str, consistency: Consistency) -> Result<Option<Value>, OpError> {
        let mut path = format!("/kv/{}", segment(key));
        if let Some(mode) = read_mode(consistency) {
            path.extend(["?", mode]);
        }
        match self.read::<Found>(&path).await {
            Ok(found) => Ok(Some(found.value)),
            // Only the node's own "not-found" says that the key has no value.
            Err(error) if error.code == NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&mut self, key: &str, value: &Value) -> Result<(), OpError> {
        self.version = None;
        let path = format!("/kv/{}", segment(key));
        let answer = self.http.put(&path, json(value)).await?;
        self.done(&answer)
    }

    async fn cas(&mut self, key: &str, from: Option<&Value>, to: &Value) -> Result<bool, OpError> {
        let path = format!("/kv/{}/cas", segment(key));
        let swapped = |answer: Swapped| answer.swapped;
        self.decide(&path, &Swap { from, to }, swapped).await
    }

    async fn append(&mut self, key: &str, element: &Value) -> Result<(), OpError> {
        let path = format!("/kv/{}/append", segment(key));
        let answer = self.post(&path, element).await?;
        self.done(&answer)
    }

    async fn scan(
        &mut self,
        prefix: &str,
        consistency: Consistency,
    ) -> Result<Vec<(String, Value)>, OpError> {
        let mut path = format!("/kv?prefix={}", segment(prefix));
        if let Some(mode) = read_mode(consistency) {
            path.extend(["&", mode]);
        }
        let found = self.read::<Entries>(&path).await?;
        match found.next {
            None => Ok(found.entries),
            // The rest would be of another moment, and a part is not what was asked for.
            Some(key) => Err(OpError::new(
                MALFORMED,
                format!("the range is longer than one answer: it ends after {key}"),
            )),
        }
    }

    fn version(&mut self) -> Option<Value> {
        self.take_version()
    }
}
