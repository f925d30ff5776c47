//! Streams that clients follow: a change feed under `watch`, and logs under `send` and `poll`.
//!
//! ```text
//! watch   write [k v]       a key of the store is written
//!         watch nil         what a client is told next of all keys; where its last answer ended it
//!                           goes on, whatever happened to its connection
//!         watch 0           everything from the beginning, once more
//! log     send [k v]        v is put behind everything that log k has
//!         poll [k first]    what log k has from this position on, or a part of it
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use checkers::Checker;
use checkers::role::{Role, Roles};
use checkers::streams::Streams;
use harness::client::{Client, Completion, Connect, Invocation, MALFORMED, OpError};
use harness::closing::Closing;
use harness::cluster::Node;
use harness::generator::{Context, Generator, Next};
use history::{Event, Kind, Value};
use rand::RngExt;

use crate::interface::{Call, Interface, Objects, Offers, OpenObjects};
use crate::objects::{Used, in_turn, of_key};
use crate::params::{Param, Params};
use crate::register::{self, KEYS, OPS_PER_KEY};
use crate::registers::Chooser;
use crate::workload::{Lacking, Load, Need, Workload, not_ours};

/// One stream of the changes of all keys.
pub(crate) struct Watch;

/// A stream for each key.
pub(crate) struct Log;

impl Workload for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn about(&self) -> &'static str {
        "writes a few keys, and follows all changes, without a gap and across reconnects"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_KEY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Feed]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Write, Call::Watch]
    }

    fn load(&self, params: &Params) -> Load {
        let replay = Invocation {
            f: Call::Watch.word().into(),
            value: 0.into(),
        };
        load(
            params,
            Call::Write,
            |_, _| (Call::Watch, Value::Nil),
            move |_| vec![replay.clone()],
        )
    }

    fn connect(&self, _params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        clients(self.name(), Interface::Feed, offers.feed.clone())
    }

    fn roles(&self) -> Roles {
        &|f, _| match f {
            "write" => Role::writes(Value::Nil),
            "watch" => Role::reads(Value::Nil),
            _ => Role::default(),
        }
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Streams::watch())]
    }
}

impl Workload for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn about(&self) -> &'static str {
        "puts values behind each other in a few logs, and reads the logs from where it was"
    }

    fn params(&self) -> Vec<Param> {
        vec![KEYS, OPS_PER_KEY]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Logs]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Send, Call::Poll]
    }

    fn load(&self, params: &Params) -> Load {
        load(params, Call::Send, following, |logs| {
            let ends = logs.iter().flat_map(|(key, next)| {
                // From the beginning; and at the last position that anybody knows, where a log that
                // has lost its end has nothing.
                let firsts = [0, next - 1].into_iter().filter(|first| *first >= 0);
                firsts.map(|first| of_key(Call::Poll, *key, first))
            });
            ends.collect()
        })
    }

    fn connect(&self, _params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        clients(self.name(), Interface::Logs, offers.logs.clone())
    }

    fn roles(&self) -> Roles {
        &|f, asked| match (f, asked.as_pair()) {
            ("send", Some((key, _))) => Role::writes(key.clone()),
            ("poll", Some((key, _))) => Role::reads(key.clone()),
            _ => Role::default(),
        }
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Streams::log())]
    }
}

/// Mostly from where the log was last seen to end, else from anywhere before.
fn following(context: &mut Context<'_>, next: i64) -> (Call, Value) {
    let first = match context.rng.random_bool(0.75) {
        true => next,
        false => context.rng.random_range(0..=next),
    };
    (Call::Poll, first.into())
}

/// As many operations put something in as follow. By key is kept the position behind the last that
/// is known to be taken there.
fn load(
    params: &Params,
    put: Call,
    follow: fn(&mut Context<'_>, i64) -> (Call, Value),
    reads: impl Fn(&BTreeMap<i64, i64>) -> Vec<Invocation> + Send + 'static,
) -> Load {
    let (logs, next) = (Used::<i64>::default(), Arc::new(AtomicI64::new(1)));
    let main = Following {
        chooser: Chooser::new(register::keys(params)),
        put,
        follow,
        next: next.clone(),
        logs: logs.clone(),
    };
    let (used, mut writes) = (logs.clone(), 0);
    let write = move || {
        let mut used = used.lock().expect("no panic while held");
        let key = in_turn(&used, writes);
        used.entry(key).or_default();
        writes += 1;
        Some(of_key(put, key, next.fetch_add(1, Ordering::Relaxed)))
    };
    Load {
        main: Box::new(main),
        closing: Closing {
            write: Box::new(write),
            reads: Box::new(move || reads(&logs.lock().expect("no panic while held"))),
        },
    }
}

struct Following {
    chooser: Chooser,
    put: Call,
    follow: fn(&mut Context<'_>, i64) -> (Call, Value),
    next: Arc<AtomicI64>,
    logs: Used<i64>,
}

impl Generator for Following {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let key = self.chooser.next(context);
        let mut logs = self.logs.lock().expect("no panic while held");
        let known = *logs.entry(key).or_default();
        let asked = match context.rng.random_bool(0.5) {
            true => of_key(self.put, key, self.next.fetch_add(1, Ordering::Relaxed)),
            false => match (self.follow)(context, known) {
                (call, Value::Nil) => Invocation {
                    f: call.word().into(),
                    value: Value::Nil,
                },
                (call, first) => of_key(call, key, first),
            },
        };
        Next::at_once(asked, context)
    }

    fn update(&mut self, event: &Event) {
        if event.kind != Kind::Ok {
            return;
        }
        let Some((Value::Int(key), told)) = event.value.as_pair() else {
            return;
        };
        let told = told.as_list().unwrap_or_default().iter();
        let told = told.filter_map(|one| one.as_pair()?.0.as_int());
        let sent = event.version.as_ref().and_then(Value::as_int);
        if let Some(last) = told.chain(sent).max() {
            let mut logs = self.logs.lock().expect("no panic while held");
            let known = logs.entry(*key).or_default();
            *known = (*known).max(last.saturating_add(1));
        }
    }
}

fn clients(
    workload: &'static str,
    needed: Interface,
    offered: Option<Arc<dyn OpenObjects>>,
) -> Result<Arc<dyn Connect>, Lacking> {
    let open = offered.ok_or(Lacking {
        workload,
        need: Need::Interface(needed),
    })?;
    Ok(Arc::new(Clients { open, workload }))
}

struct Clients {
    open: Arc<dyn OpenObjects>,
    workload: &'static str,
}

#[async_trait]
impl Connect for Clients {
    async fn connect(&self, node: &Node, _process: u64) -> Box<dyn Client> {
        Box::new(Follower {
            streams: self.open.open(node),
            prefix: format!("{}-", self.workload),
        })
    }
}

struct Follower {
    streams: Box<dyn Objects>,
    prefix: String,
}

impl Follower {
    async fn perform(&mut self, operation: &Invocation) -> Result<Completion, OpError> {
        let pair = operation.value.as_pair();
        let named = |key: &Value| format!("{}{key}", self.prefix);
        match (operation.f.as_str(), pair) {
            ("write", Some((key, value))) => {
                let at = self
                    .streams
                    .perform(Call::Write, &named(key), value)
                    .await?;
                Ok(Completion::ok(operation.value.clone()).at(position(&at)?))
            }
            ("send", Some((key, value))) => {
                let at = self.streams.perform(Call::Send, &named(key), value).await?;
                Ok(Completion::ok(operation.value.clone()).at(position(&at)?))
            }
            ("watch", None) => {
                let told = self
                    .streams
                    .perform(Call::Watch, &self.prefix, &operation.value)
                    .await?;
                feed(&self.prefix, &told).map(Completion::ok)
            }
            ("poll", Some((key, first))) => {
                let told = self.streams.perform(Call::Poll, &named(key), first).await?;
                Ok(Completion::ok(Value::pair(key.clone(), told)))
            }
            _ => Err(not_ours(operation)),
        }
    }
}

/// A position, or nothing if the system does not say.
fn position(at: &Value) -> Result<Option<Value>, OpError> {
    match at {
        Value::Nil => Ok(None),
        Value::Int(_) => Ok(Some(at.clone())),
        other => Err(OpError::new(MALFORMED, format!("{other} is no position"))),
    }
}

/// `[from upto [[position key value] ...]]`, with the keys as the workload has them.
fn feed(prefix: &str, told: &Value) -> Result<Value, OpError> {
    let malformed = || {
        let why = format!("{told} is not [from upto [[position key value] ...]]");
        OpError::new(MALFORMED, why)
    };
    let change = |change: &Value| {
        let [at, key, value] = change.as_list()? else {
            return None;
        };
        let key: i64 = key.as_text()?.strip_prefix(prefix)?.parse().ok()?;
        Some(Value::pair(at.clone(), Value::pair(key, value.clone())))
    };
    let Some([from, upto, changes]) = told.as_list() else {
        return Err(malformed());
    };
    let changes = changes.as_list().ok_or_else(malformed)?.iter();
    let changes: Option<Vec<Value>> = changes.map(change).collect();
    let changes = changes.ok_or_else(malformed)?;
    Ok(vec![from.clone(), upto.clone(), changes.into()].into())
}

#[async_trait]
impl Client for Follower {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        match self.perform(operation).await {
            Ok(completion) => completion,
            Err(error) => {
                let reads_only = ["watch", "poll"].contains(&operation.f.as_str());
                error.completion(operation, reads_only)
            }
        }
    }
}

#[cfg(test)]
mod tests;
