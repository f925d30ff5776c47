//! What a member holds, for comparison with the others: how far it has applied the log, the
//! revision that it came to, and a hash.

use std::time::Duration;

use harness::client::OpError;
use history::{Name, Value};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::ask;
use crate::http::Http;
use crate::image::hex;

/// Numbers of 64 bits are text.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Status {
    header: Header,
    /// How far the log is committed, as the member knows.
    raft_index: String,
    raft_applied_index: String,
}

#[derive(Deserialize, PartialEq)]
struct Header {
    revision: String,
}

/// What is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// All that a member has on its disk but for how far the log is applied: keys, leases, members.
    Disk,
    /// The keys alone, where several versions have written: each keeps notes beside them.
    Keys,
}

#[derive(Deserialize)]
struct Hash {
    hash: i64,
}

#[derive(Deserialize)]
struct All {
    #[serde(default)]
    kvs: Vec<Json>,
}

/// So long for a member to apply what it knows to be committed, and to be left alone for one hash.
const AT_REST: Duration = Duration::from_secs(5);

/// Hashes what a member holds while nothing is applied.
pub(super) async fn read(mut http: Http, node: &Name, of: Of) -> Result<Value, String> {
    let ends = Instant::now() + AT_REST;
    loop {
        let before = status(&mut http).await?;
        let hash = hash(&mut http, of).await.map_err(told)?;
        let after = status(&mut http).await?;
        if before == after && after.raft_index == after.raft_applied_index {
            return value(node, &after, hash);
        }
        if Instant::now() > ends {
            return Err(format!(
                "it went on applying its log: {} of {} after {AT_REST:?}",
                after.raft_applied_index, after.raft_index
            ));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn hash(http: &mut Http, of: Of) -> Result<Value, OpError> {
    if of == Of::Disk {
        let hash: Hash = ask(http, "/v3/maintenance/hash", &json!({})).await?;
        return Ok(hash.hash.into());
    }
    // From the first key on, as the member itself has them.
    let all = json!({"key": "AA==", "range_end": "AA==", "serializable": true});
    let all: All = ask(http, "/v3/kv/range", &all).await?;
    let keys = serde_json::to_vec(&all.kvs).expect("it was JSON");
    Ok(Value::text(hex(&Sha256::digest(keys))))
}

async fn status(http: &mut Http) -> Result<Status, String> {
    ask(http, "/v3/maintenance/status", &json!({}))
        .await
        .map_err(told)
}

fn told(error: OpError) -> String {
    format!("{}: {}", error.code.code, error.detail)
}

fn value(node: &Name, status: &Status, hash: Value) -> Result<Value, String> {
    let number = |text: &str| {
        let number = text.parse::<i64>();
        number.map_err(|_| format!("{text:?} is no number"))
    };
    let holds = Value::Map(vec![
        ("revision".into(), number(&status.header.revision)?.into()),
        ("hash".into(), hash),
    ]);
    Ok(Value::Map(vec![
        ("node".into(), node.clone().into()),
        ("index".into(), number(&status.raft_applied_index)?.into()),
        ("holds".into(), holds),
    ]))
}
