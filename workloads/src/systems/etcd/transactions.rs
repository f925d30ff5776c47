//! Transactions over several keys, as users of etcd write them: all keys are read at once, and what
//! is to be written is put there if none of them has changed since.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::client::{CONFLICT, MALFORMED, OpError, REJECTED, UNAVAILABLE};
use harness::cluster::Node;
use history::Value;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{APPEND_ATTEMPTS, Client, Etcd, Pair, Range, Txn, absent, after, ask, decode, encode};
use crate::interface::{OpenTransactions, Transactions};
use crate::txn::parts;

#[derive(Deserialize)]
struct Ranges {
    #[serde(default)]
    responses: Vec<OneRange>,
}

#[derive(Deserialize)]
struct OneRange {
    response_range: Range,
}

/// What is under a key.
#[derive(Default)]
struct Found {
    value: Value,
    /// None: there is nothing.
    revision: Option<String>,
    is_changed: bool,
}

impl OpenTransactions for Etcd {
    fn open(&self, node: &Node) -> Box<dyn Transactions> {
        Box::new(self.client(node))
    }
}

const PREFIX: &str = "txn-";

fn name(key: &Value) -> String {
    format!("{PREFIX}{key}")
}

/// Of every key that there is, what holds of all of them, and also of none: a condition of which
/// only the length matters.
fn of_whole_range() -> Json {
    json!({
        "key": BASE64.encode(PREFIX),
        "range_end": BASE64.encode(after(PREFIX)),
        "target": "CREATE",
        "result": "GREATER",
        "create_revision": "-1",
    })
}

impl Client {
    /// All keys of a transaction, as they were at one moment.
    async fn read_all(&mut self, micros: &Value) -> Result<BTreeMap<Value, Found>, OpError> {
        let mut keys: Vec<&Value> = parts(micros).map(|(_, key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        let range = |key: &&Value| {
            let key = BASE64.encode(name(key));
            json!({"request_range": {"key": key, "serializable": self.serializable}})
        };
        let request = json!({"success": keys.iter().map(range).collect::<Vec<_>>()});
        let read: Ranges = ask(&mut self.http, "/v3/kv/txn", &request).await?;
        if read.responses.len() != keys.len() {
            let what = format!("{} of {} keys", read.responses.len(), keys.len());
            return Err(OpError::new(MALFORMED, what));
        }
        let found = |pair: Option<&Pair>| match pair {
            None => Ok(Found::default()),
            Some(pair) => Ok(Found {
                value: decode(pair)?,
                revision: Some(pair.mod_revision.clone()),
                is_changed: false,
            }),
        };
        let keys = keys.into_iter().zip(&read.responses);
        keys.map(|(key, one)| Ok((key.clone(), found(one.response_range.kvs.first())?)))
            .collect()
    }
}

/// Does the parts of a transaction on what was found, and answers them.
fn perform(micros: &Value, all: &mut BTreeMap<Value, Found>) -> Result<Value, OpError> {
    let mut answer = Vec::new();
    for (f, key, value) in parts(micros) {
        let found = all.entry(key.clone()).or_default();
        let seen = match f {
            "r" => found.value.clone(),
            "w" | "append" => {
                found.value = match f {
                    "w" => value.clone(),
                    _ => {
                        let list = found.value.as_list().unwrap_or_default().iter();
                        Value::List(list.chain([value]).cloned().collect())
                    }
                };
                found.is_changed = true;
                value.clone()
            }
            _ => return Err(OpError::new(REJECTED, format!("no transaction has {f}"))),
        };
        answer.push(Value::List(vec![f.into(), key.clone(), seen]));
    }
    Ok(Value::List(answer))
}

fn unchanged(key: &Value, found: &Found) -> Json {
    match &found.revision {
        None => absent(&name(key)),
        Some(revision) => json!({
            "key": BASE64.encode(name(key)),
            "target": "MOD",
            "result": "EQUAL",
            "mod_revision": revision,
        }),
    }
}

#[async_trait]
impl Transactions for Client {
    async fn transact(&mut self, micros: &Value) -> Result<Value, OpError> {
        for _ in 0..APPEND_ATTEMPTS {
            // Nothing has been written so far, whatever became of the reads.
            let mut all = self
                .read_all(micros)
                .await
                .map_err(|e| match e.code.definite {
                    true => e,
                    false => OpError::new(
                        UNAVAILABLE,
                        format!("reading before writing: {}: {}", e.code.code, e.detail),
                    ),
                })?;
            let answer = perform(micros, &mut all)?;
            let changed = all.iter().filter(|(_, found)| found.is_changed);
            let puts: Vec<Json> = changed
                .map(|(key, found)| {
                    let key = BASE64.encode(name(key));
                    json!({"request_put": {"key": key, "value": encode(&found.value)}})
                })
                .collect();
            if puts.is_empty() {
                return Ok(answer);
            }
            let range = self.whole_range.then(of_whole_range);
            let keys = all.iter().map(|(key, found)| unchanged(key, found));
            let compare: Vec<Json> = range.into_iter().chain(keys).collect();
            let request = json!({"compare": compare, "success": puts});
            let txn: Txn = ask(&mut self.http, "/v3/kv/txn", &request).await?;
            if txn.succeeded {
                return Ok(answer);
            }
        }
        let lost = format!("lost against other transactions {APPEND_ATTEMPTS} times");
        Err(OpError::new(CONFLICT, lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_sees_its_own_writes_and_tells_what_it_read() {
        let micro =
            |f: &str, key: i64, value: Value| Value::List(vec![f.into(), key.into(), value]);
        let micros = Value::List(vec![
            micro("r", 1, Value::Nil),
            micro("append", 1, 7.into()),
            micro("r", 1, Value::Nil),
            micro("r", 2, Value::Nil),
            micro("w", 3, 5.into()),
        ]);
        let mut all = BTreeMap::new();
        let found = Found {
            value: Value::List(vec![6.into()]),
            revision: Some("3".into()),
            is_changed: false,
        };
        all.insert(Value::Int(1), found);
        let answer = perform(&micros, &mut all).unwrap();
        let list = |values: &[i64]| Value::List(values.iter().map(|v| (*v).into()).collect());
        let expected = Value::List(vec![
            micro("r", 1, list(&[6])),
            micro("append", 1, 7.into()),
            micro("r", 1, list(&[6, 7])),
            micro("r", 2, Value::Nil),
            micro("w", 3, 5.into()),
        ]);
        assert_eq!(answer, expected);
        let changed: Vec<_> = all.iter().filter(|(_, f)| f.is_changed).collect();
        assert_eq!(changed.len(), 2);
        assert_eq!(changed[0].1.value, list(&[6, 7]));
        // Whoever only reads a key compares it too: what was read must be true of one moment with
        // what is written.
        assert_eq!(all.len(), 3);
        assert!(unchanged(&1.into(), &all[&Value::Int(1)])["mod_revision"] == "3");
        assert!(unchanged(&2.into(), &all[&Value::Int(2)])["create_revision"] == "0");
    }
}
