//! A client and a system that serves: what was written is read, a compare-and-set compares, a queue
//! gives back in order what was put into it.

use async_trait::async_trait;
use harness::client::{CONFLICT, OpError, REJECTED};
use history::Value;
use serde_json::{Value as Json, json};

use super::super::answers::{self, entries};
use super::super::process::Running;
use super::super::reply::{Kind, Reply};
use super::{Trials, asked};
use crate::interface::{Call, Consistency, Kv};

/// A client that is asked.
#[async_trait]
pub(super) trait Tried: Send {
    /// # Errors
    /// It does not keep the protocol, so that nothing more can be asked.
    async fn ask(&mut self, call: Call, key: &str, value: &Json) -> Result<Reply, OpError>;
}

#[async_trait]
impl Tried for Running {
    async fn ask(&mut self, call: Call, key: &str, value: &Json) -> Result<Reply, OpError> {
        asked(self, call.word(), key, value).await
    }
}

#[async_trait]
impl Tried for answers::Client {
    async fn ask(&mut self, call: Call, key: &str, value: &Json) -> Result<Reply, OpError> {
        let value: Value = value.clone().into();
        let done = match (call, value.as_pair()) {
            (Call::Read, _) => {
                let found = self.get(key, Consistency::Linearizable).await;
                found.map(Option::unwrap_or_default)
            }
            (Call::Write, _) => self.put(key, &value).await.map(|()| Value::Nil),
            (Call::Append, _) => self.append(key, &value).await.map(|()| Value::Nil),
            (Call::Cas, Some((from, to))) => match self.cas(key, Some(from), to).await {
                Ok(true) => Ok(Value::Nil),
                Ok(false) => Err(OpError::new(CONFLICT, "")),
                Err(e) => Err(e),
            },
            (Call::Scan, _) => {
                let found = self.scan(key, Consistency::Linearizable).await;
                let pair = |(key, value): (String, Value)| (Value::text(key), value);
                found.map(|pairs| Value::Map(pairs.into_iter().map(pair).collect()))
            }
            _ => Err(OpError::new(REJECTED, "it is not asked over HTTP")),
        };
        let kind = |e: &OpError| match e.code.definite {
            true => Kind::Fail,
            false => Kind::Info,
        };
        Ok(match done {
            Ok(value) => Reply {
                kind: Some(Kind::Ok),
                value: Some(value),
                ..Reply::default()
            },
            Err(e) => Reply {
                kind: Some(kind(&e)),
                error: Some(Json::String(e.to_string())),
                ..Reply::default()
            },
        })
    }
}

/// What an operation is to be answered with.
enum Wanted {
    Done,
    Refused,
    /// This; null may be an error by which there is nothing.
    Is(Json),
    /// Anything but null.
    Something,
    /// Whatever has the key that was asked for.
    Entries,
    /// The value, at the position that the step before was answered with.
    There(Json),
}

struct Step {
    call: Call,
    /// What else has to be offered, since the answer hangs on it.
    after: &'static [Call],
    object: &'static str,
    value: Json,
    wanted: Wanted,
}

fn step(
    call: Call,
    after: &'static [Call],
    object: &'static str,
    value: Json,
    wanted: Wanted,
) -> Step {
    Step {
        call,
        after,
        object,
        value,
        wanted,
    }
}

/// Objects have the names that workloads give them, before something that no run uses.
fn steps() -> Vec<Step> {
    use Call::{Acquire, Add, Append, Cas, Dequeue, Enqueue, Generate, Poll, Read, Release, Scan};
    use Call::{Send, Write};
    use Wanted::{Done, Entries, Is, Refused, Something, There};
    let null = || Json::Null;
    vec![
        step(Read, &[Write], "register", null(), Is(null())),
        step(Write, &[], "register", json!(1), Done),
        step(Read, &[Write], "register", null(), Is(json!(1))),
        step(Cas, &[Write], "register", json!([1, 2]), Done),
        step(Cas, &[Write], "register", json!([1, 3]), Refused),
        step(Read, &[Write, Cas], "register", null(), Is(json!(2))),
        step(Scan, &[Write], "register", null(), Entries),
        step(Append, &[], "append", json!(1), Done),
        step(Append, &[], "append", json!(2), Done),
        step(Read, &[Append], "append", null(), Is(json!([1, 2]))),
        step(Dequeue, &[Enqueue], "queue", null(), Is(null())),
        step(Enqueue, &[], "queue", json!(1), Done),
        step(Enqueue, &[], "queue", json!(2), Done),
        step(Dequeue, &[Enqueue], "queue", null(), Is(json!(1))),
        step(Dequeue, &[Enqueue], "queue", null(), Is(json!(2))),
        step(Dequeue, &[Enqueue], "queue", null(), Is(null())),
        step(Add, &[], "counter", json!(2), Done),
        step(Add, &[], "counter", json!(3), Done),
        step(Read, &[Add], "counter", null(), Is(json!(5))),
        step(Acquire, &[Release], "lock", json!(1), Done),
        step(Acquire, &[Release], "lock", json!(2), Refused),
        step(Release, &[Acquire], "lock", json!(1), Done),
        step(Acquire, &[Release], "lock", json!(2), Done),
        step(Generate, &[], "unique-ids", null(), Something),
        step(Send, &[], "log", json!(1), Something),
        step(Poll, &[Send], "log", json!(0), There(json!(1))),
    ]
}

/// Asks everything that is offered and whose answer is known before.
pub(super) async fn look(
    trials: &mut Trials,
    client: &mut dyn Tried,
    offers: &[String],
) -> Result<(), OpError> {
    let has = |call: &Call| offers.iter().any(|offered| offered == call.word());
    let mut tried = Vec::new();
    let mut before = Json::Null;
    for step in steps() {
        if !has(&step.call) || !step.after.iter().all(has) {
            continue;
        }
        tried.push(step.call.word());
        let key = format!("{}-check-{}", step.object, std::process::id());
        let word = step.call.word();
        let reply = client.ask(step.call, &key, &step.value).await?;
        let got = match (&reply.error, &reply.value) {
            (Some(Json::String(error)), _) => format!("`{error}`"),
            (_, None) => "no value".to_string(),
            (_, Some(value)) => as_json(value).to_string(),
        };
        let kind = reply.kind;
        let kind = kind.map_or("no type".into(), |kind| format!("{kind:?}").to_lowercase());
        let what = format!("{word} {key} {}: {kind} with {got}", step.value);
        match wrong(&step, &key, &reply, &before) {
            None => trials.fine(word, what),
            Some(wanted) => trials.wrong(word, format!("{what}, not {wanted}")),
        }
        before = reply.value.as_ref().map_or(Json::Null, as_json);
    }
    let untried = offers.iter().filter(|word| !tried.contains(&word.as_str()));
    let untried: Vec<&str> = untried.map(String::as_str).collect();
    if !untried.is_empty() {
        let text = format!("{}: only runs ask for it", untried.join(", "));
        trials.fine("not tried", text);
    }
    Ok(())
}

fn as_json(value: &Value) -> Json {
    serde_json::to_value(value).expect("values are JSON")
}

/// What it should have been answered with, if it was not.
fn wrong(step: &Step, key: &str, reply: &Reply, before: &Json) -> Option<String> {
    let is_ok = reply.kind == Some(Kind::Ok) && (reply.value.is_some() || !step.call.asks());
    let got = reply.value.as_ref().map_or(Json::Null, as_json);
    let (right, wanted) = match &step.wanted {
        Wanted::Done => (is_ok, "ok".to_string()),
        Wanted::Refused => {
            let refused = matches!(reply.kind, Some(Kind::Fail | Kind::Error));
            (refused, "fail".to_string())
        }
        Wanted::Is(value) => {
            let absent = value.is_null() && reply.code == Some(20);
            (absent || is_ok && got == *value, value.to_string())
        }
        Wanted::Something => (is_ok && !got.is_null(), "what is not null".into()),
        Wanted::Entries => {
            let found = reply.value.as_ref().map(|value| entries(value, key));
            let has = found.is_some_and(|found| found.is_ok_and(|pairs| !pairs.is_empty()));
            (is_ok && has, format!("a map or pairs with {key}"))
        }
        Wanted::There(value) => {
            let pair = json!([before, value]);
            let has = got.as_array().is_some_and(|all| all.contains(&pair));
            (is_ok && has, format!("a list with {pair}"))
        }
    };
    (!right).then_some(wanted)
}
