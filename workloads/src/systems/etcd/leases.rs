//! Leases as locks on etcd have them: a key that belongs to a lease of etcd's, and is gone when
//! that lease has ended. It is kept alive by whoever asked for it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::client::{CONFLICT, MALFORMED, NOT_HELD, OpError, UNAVAILABLE};
use harness::cluster::Node;
use history::Value;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::{Client, Etcd, Txn, absent, ask, encode};
use crate::interface::{Call, Objects, OpenObjects};
use crate::objects::never_asked;

/// A member that has lost its leader keeps those waiting who ask it for leases. A client that waits
/// for as long as its operation may take is over after that, with all leases that it holds: one
/// that asks again later keeps them, as etcd's own clients do.
const PATIENCE: Duration = Duration::from_secs(1);

/// Numbers of 64 bits are text.
#[derive(Deserialize)]
struct Granted {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "TTL")]
    ttl: String,
}

/// A stream of answers, of which one is asked for. Of a lease that has ended there is no TTL.
#[derive(Deserialize)]
struct KeptAlive {
    result: Kept,
}

#[derive(Deserialize)]
struct Kept {
    #[serde(rename = "TTL", default)]
    ttl: Option<String>,
}

struct Holder {
    client: Client,
    /// By key, the lease that this client holds it by.
    held: BTreeMap<String, String>,
}

impl OpenObjects for Etcd {
    fn open(&self, node: &Node) -> Box<dyn Objects> {
        Box::new(Holder {
            client: self.client(node),
            held: BTreeMap::new(),
        })
    }
}

/// Seconds, as etcd tells them, in nanoseconds.
fn nanoseconds(ttl: &str) -> Result<Value, OpError> {
    let seconds: i64 = ttl
        .parse()
        .map_err(|_| OpError::new(MALFORMED, format!("a TTL of {ttl:?}")))?;
    Ok(seconds.saturating_mul(1_000_000_000).into())
}

impl Holder {
    /// Asks for what harms nobody if it is never answered: then it has failed.
    async fn try_to<T: DeserializeOwned>(
        &mut self,
        path: &str,
        request: &Json,
    ) -> Result<T, OpError> {
        let asking = ask(&mut self.client.http, path, request);
        let unavailable = |why: String| OpError::new(UNAVAILABLE, format!("{path}: {why}"));
        match tokio::time::timeout(PATIENCE, asking).await {
            Err(_) => Err(unavailable(format!("no answer in {PATIENCE:?}"))),
            Ok(Err(e)) if !e.code.definite => {
                Err(unavailable(format!("{}: {}", e.code.code, e.detail)))
            }
            Ok(answered) => answered,
        }
    }

    async fn acquire(&mut self, key: &str, who: &Value, ms: i64) -> Result<Value, OpError> {
        // Whole seconds are what etcd knows.
        let seconds = (ms + 999) / 1_000;
        let request = json!({"TTL": seconds.to_string(), "ID": "0"});
        // A lease without a key harms nobody: nothing has been acquired.
        let granted: Granted = self.try_to("/v3/lease/grant", &request).await?;
        let put = json!({"request_put": {
            "key": BASE64.encode(key), "value": encode(who), "lease": granted.id,
        }});
        let request = json!({"compare": [absent(key)], "success": [put]});
        let txn: Txn = ask(&mut self.client.http, "/v3/kv/txn", &request).await?;
        if !txn.succeeded {
            // It would end by itself.
            let _ = tokio::time::timeout(PATIENCE, self.revoke(&granted.id)).await;
            return Err(OpError::new(CONFLICT, "somebody holds it"));
        }
        self.held.insert(key.to_string(), granted.id);
        nanoseconds(&granted.ttl)
    }

    async fn renew(&mut self, id: &str) -> Result<Value, OpError> {
        let request = json!({"ID": id});
        // Whatever became of it, nobody believes to hold the lease for longer than before.
        let kept: KeptAlive = self.try_to("/v3/lease/keepalive", &request).await?;
        match kept.result.ttl {
            Some(ttl) => nanoseconds(&ttl),
            None => Err(OpError::new(CONFLICT, "the lease has ended")),
        }
    }

    async fn revoke(&mut self, id: &str) -> Result<(), OpError> {
        let request = json!({"ID": id});
        let revoked: Result<Json, OpError> =
            ask(&mut self.client.http, "/v3/lease/revoke", &request).await;
        revoked.map(drop)
    }
}

#[async_trait]
impl Objects for Holder {
    async fn perform(&mut self, call: Call, key: &str, value: &Value) -> Result<Value, OpError> {
        let not_held = || OpError::new(NOT_HELD, "");
        match (call, value.as_pair()) {
            (Call::Acquire, Some((who, Value::Int(ms)))) => self.acquire(key, who, *ms).await,
            (Call::Renew, _) => {
                let id = self.held.get(key).cloned().ok_or_else(not_held)?;
                self.renew(&id).await
            }
            (Call::Release, _) => {
                let id = self.held.remove(key).ok_or_else(not_held)?;
                self.revoke(&id).await.map(|()| Value::Nil)
            }
            _ => Err(never_asked("lease", call)),
        }
    }
}
