//! What a member holds, for comparison with the others: how far it has applied the log, the
//! revision that it came to, and the hash of its key space.

use std::time::Duration;

use harness::client::OpError;
use history::{Name, Value};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::ask;
use crate::http::Http;

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

/// Of all that is under keys, leases and members, without how far the log is applied.
#[derive(Deserialize)]
struct Hash {
    hash: i64,
}

/// So long for a member to apply what it knows to be committed, and to be left alone for one hash.
const AT_REST: Duration = Duration::from_secs(5);

/// Hashes the key space while nothing is applied.
pub(super) async fn read(mut http: Http, node: &Name) -> Result<Value, String> {
    let ends = Instant::now() + AT_REST;
    loop {
        let before = status(&mut http).await?;
        let hash: Hash = ask(&mut http, "/v3/maintenance/hash", &json!({}))
            .await
            .map_err(told)?;
        let after = status(&mut http).await?;
        if before == after && after.raft_index == after.raft_applied_index {
            return value(node, &after, &hash);
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

async fn status(http: &mut Http) -> Result<Status, String> {
    ask(http, "/v3/maintenance/status", &json!({}))
        .await
        .map_err(told)
}

fn told(error: OpError) -> String {
    format!("{}: {}", error.code.code, error.detail)
}

fn value(node: &Name, status: &Status, hash: &Hash) -> Result<Value, String> {
    let number = |text: &str| {
        let number = text.parse::<i64>();
        number.map_err(|_| format!("{text:?} is no number"))
    };
    let holds = Value::Map(vec![
        ("revision".into(), number(&status.header.revision)?.into()),
        ("hash".into(), hash.hash.into()),
    ]);
    Ok(Value::Map(vec![
        ("node".into(), node.clone().into()),
        ("index".into(), number(&status.raft_applied_index)?.into()),
        ("holds".into(), holds),
    ]))
}
