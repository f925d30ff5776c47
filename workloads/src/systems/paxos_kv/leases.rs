//! Leases of the node: keys that a client holds by a number, for some time after it asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::client::{CONFLICT, NOT_HELD, OpError, UNAVAILABLE};
use harness::cluster::Node;
use history::Value;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::PaxosKv;
use crate::http::{Answer, Http, Patience, segment};
use crate::interface::{Call, Objects, OpenObjects};
use crate::objects::never_asked;
use crate::systems::own::{error_of, json as bytes};
use crate::systems::parse;

/// A client that waits longer for a renewal asks again later, for it holds other leases too. Nobody
/// believes to hold anything by a renewal that was not answered, so it has failed.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Leases(pub Arc<PaxosKv>);

impl OpenObjects for Leases {
    fn open(&self, node: &Node) -> Box<dyn Objects> {
        Box::new(Holder::of(self.0.http(node, Patience::CLIENT)))
    }
}

pub(super) struct Holder {
    http: Http,
    /// By key, the number by which this client holds it.
    held: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Granted {
    lease: u64,
    /// In milliseconds.
    ttl: i64,
}

impl Granted {
    fn nanoseconds(&self) -> Value {
        self.ttl.saturating_mul(1_000_000).into()
    }
}

impl Holder {
    pub(super) fn of(http: Http) -> Holder {
        Holder {
            http,
            held: BTreeMap::new(),
        }
    }

    async fn ask(
        &mut self,
        key: &str,
        what: &str,
        body: serde_json::Value,
    ) -> Result<Answer, OpError> {
        let path = format!("/lease/{}/{what}", segment(key));
        let answer = self.http.post(&path, bytes(&body)).await?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::CONFLICT => {
                Err(OpError::new(CONFLICT, "somebody else holds it, or nobody"))
            }
            _ => Err(error_of(&answer)),
        }
    }

    async fn renew(&mut self, key: &str, lease: u64) -> Result<Granted, OpError> {
        let asking = self.ask(key, "renew", json!({"lease": lease}));
        match tokio::time::timeout(PATIENCE, asking).await {
            Err(_) => {
                let why = format!("no answer in {PATIENCE:?}");
                Err(OpError::new(UNAVAILABLE, why))
            }
            Ok(Err(e)) if !e.code.definite => {
                let why = format!("{}: {}", e.code.code, e.detail);
                Err(OpError::new(UNAVAILABLE, why))
            }
            Ok(answered) => parse(&answered?.body),
        }
    }
}

#[async_trait]
impl Objects for Holder {
    async fn perform(&mut self, call: Call, key: &str, value: &Value) -> Result<Value, OpError> {
        let not_held = || OpError::new(NOT_HELD, "");
        match (call, value.as_pair()) {
            (Call::Acquire, Some((who, Value::Int(ms)))) => {
                let body = json!({"holder": who, "ttl": ms});
                let answer = self.ask(key, "acquire", body).await?;
                let granted: Granted = parse(&answer.body)?;
                self.held.insert(key.to_string(), granted.lease);
                Ok(granted.nanoseconds())
            }
            (Call::Renew, _) => {
                let lease = self.held.get(key).copied().ok_or_else(not_held)?;
                Ok(self.renew(key, lease).await?.nanoseconds())
            }
            (Call::Release, _) => {
                let lease = self.held.remove(key).ok_or_else(not_held)?;
                let released = self.ask(key, "release", json!({"lease": lease}));
                released.await.map(|_| Value::Nil)
            }
            _ => Err(never_asked("lease", call)),
        }
    }
}
