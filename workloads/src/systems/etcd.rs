//! etcd, from the distribution's package, over its JSON gateway.
//!
//! The gateway (`/v3/kv/range`, `/v3/kv/put`, `/v3/kv/txn`) is etcd's gRPC interface spoken in
//! JSON: keys and values are base64, 64-bit numbers are text, and what is false, zero or empty is
//! left out.

mod feed;
mod leases;
mod operations;
mod opinion;
pub mod programs;
mod replica;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use agent::protocol::{Daemon, StopSignal};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::client::{
    CONFLICT, ErrorCode, MALFORMED, OVERLOADED, OpError, REJECTED, TIMEOUT, UNAVAILABLE, UNKNOWN,
};
use harness::cluster::{Node, Program};
use harness::control::ControlError;
use harness::system::{Operated, Operation, Step, System, Watch};
use history::{Name, Value};
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use self::operations::Compacted;
use self::opinion::opinion_of;
use self::programs::Programs;
use self::replica::Of;
use super::{
    Entry, Pace, Ready, Setup, SetupError, ask_all, at, majority, make_folders, parse, run,
};
use crate::http::{Answer, Http, Patience, told};
use crate::interface::{Call, Consistency, Interface, Kv, LedgerOverKv, Offers, OpenKv};
use crate::leader_watch;
use crate::params::{Kind, Param, Params};
use crate::recipes::ObjectsOverKv;

const NAME: &str = "etcd";
const VARIABLE: &str = "SCHISM_ETCD";

const PARAMS: &[Param] = &[
    Param {
        name: "reads",
        kind: Kind::Choice(&["linearizable", "serializable"]),
        default: "linearizable",
        about: "serializable reads are answered by the node alone and may be stale",
    },
    Param {
        name: "condition",
        kind: Kind::Choice(&["keys", "range"]),
        default: "keys",
        about: "what a transaction compares: its keys, or every key there is, which takes longer",
    },
    Param {
        name: "election-timeout",
        kind: Kind::Duration,
        default: "1s",
        about: "silence of the leader after which another node stands for election",
    },
    Param {
        name: "heartbeat-interval",
        kind: Kind::Duration,
        default: "100ms",
        about: "how often the leader says that it is there",
    },
    programs::PARAM,
];

/// How it gets onto a machine of Debian's.
const INSTALL: &str = "apt-get install --no-install-recommends etcd-server";

pub(super) const ENTRY: Entry = Entry {
    name: NAME,
    about: "etcd of the distribution's package (Raft)",
    interfaces: &[
        Interface::Kv,
        Interface::Ledger,
        Interface::Objects,
        Interface::Transactions,
        Interface::Leases,
        Interface::Feed,
        Interface::Replicas,
    ],
    calls: Call::ALL,
    folder: None,
    params: PARAMS,
    workload: "register",
    own: &[],
    variable: VARIABLE,
    operations: operations::ALL,
    nodes: super::NODES,
    leads: true,
    may_crash: false,
    time_rules: &[],
    install: INSTALL,
    versions: &[],
    look: &Programs::look,
    pace: |_| Pace::QUICK,
    flaws: || Ok(Vec::new()),
    set_up: &set_up,
};

/// TCP ports of a node.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub client: u16,
    pub peer: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports {
            client: 2379,
            peer: 2380,
        }
    }
}

/// The longest election timeout that etcd takes.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(50);

/// etcd's own rules, which it would state only in its log.
fn set_up(setup: &Setup) -> Result<Ready, SetupError> {
    let span = |name| setup.params.duration(name);
    let (timeout, heartbeat) = (span("election-timeout"), span("heartbeat-interval"));
    if timeout > LONGEST_TIMEOUT {
        return Err(SetupError::Refused {
            system: NAME,
            reason: format!(
                "election-timeout {} is more than {LONGEST_TIMEOUT:?}",
                setup.params.text("election-timeout")
            ),
        });
    }
    if timeout < heartbeat * 5 {
        return Err(SetupError::Refused {
            system: NAME,
            reason: format!(
                "election-timeout {} is less than five times the heartbeat-interval {}",
                setup.params.text("election-timeout"),
                setup.params.text("heartbeat-interval")
            ),
        });
    }
    let programs = Programs::find(&setup.params)?;
    Ok(Etcd::new(programs, setup.params.clone(), Ports::default()).ready())
}

/// The system, set up.
pub struct Etcd {
    programs: Programs,
    params: Params,
    ports: Ports,
    compacted: Compacted,
}

impl Etcd {
    pub fn new(programs: Programs, params: Params, ports: Ports) -> Etcd {
        Etcd {
            programs,
            params,
            ports,
            compacted: Compacted::default(),
        }
    }

    /// As a system with its interfaces.
    pub fn ready(self) -> Ready {
        let system = Arc::new(self);
        Ready {
            offers: Offers {
                kv: Some(system.clone()),
                ledger: Some(Arc::new(LedgerOverKv(system.clone()))),
                objects: Some(Arc::new(ObjectsOverKv(system.clone()))),
                transactions: Some(system.clone()),
                leases: Some(system.clone()),
                feed: Some(Arc::new(feed::Feeds(system.clone()))),
                replicas: true,
                ..Offers::default()
            },
            system,
        }
    }

    fn client(&self, node: &Node) -> Client {
        Client {
            http: self.http(node, Patience::CLIENT),
            serializable: self.params.text("reads") == "serializable",
            whole_range: self.params.text("condition") == "range",
        }
    }

    fn http(&self, node: &Node, patience: Patience) -> Http {
        Http::new(at(node, self.ports.client), patience)
    }

    fn milliseconds(&self, param: &str) -> String {
        self.params.duration(param).as_millis().to_string()
    }
}

#[async_trait]
impl System for Etcd {
    fn name(&self) -> &str {
        NAME
    }

    fn programs(&self) -> Vec<Program> {
        self.programs.all()
    }

    fn daemon(&self, node: &Node, all: &[Node]) -> Daemon {
        let clients = format!("http://{}", at(node, self.ports.client));
        let peer = |node: &Node| format!("http://{}", at(node, self.ports.peer));
        let cluster: Vec<String> = all
            .iter()
            .map(|node| format!("{}={}", node.name, peer(node)))
            .collect();
        let mut argv = vec![self.programs.of(node).display().to_string()];
        for (flag, value) in [
            ("name", node.name.to_string()),
            ("data-dir", node.data().join("etcd").display().to_string()),
            ("listen-client-urls", clients.clone()),
            ("advertise-client-urls", clients),
            ("listen-peer-urls", peer(node)),
            ("initial-advertise-peer-urls", peer(node)),
            ("initial-cluster", cluster.join(",")),
            // Ignored once there is data, so that a restart uses the same command.
            ("initial-cluster-state", "new".into()),
            (
                "heartbeat-interval",
                self.milliseconds("heartbeat-interval"),
            ),
            ("election-timeout", self.milliseconds("election-timeout")),
            ("logger", "zap".into()),
            ("log-outputs", "stderr".into()),
        ] {
            argv.extend([format!("--{flag}"), value]);
        }
        Daemon {
            name: NAME.into(),
            argv,
            env: Default::default(),
            cwd: node.data(),
            stop: StopSignal::Term,
            log: node.log("etcd.log"),
        }
    }

    async fn install(&self, node: &Node, all: &[Node]) -> Result<(), ControlError> {
        self.programs.place(all);
        make_folders(node).await
    }

    /// etcd calls itself healthy after a linearizable read of its own.
    async fn ready(&self, node: &Node) -> Result<(), String> {
        #[derive(Deserialize)]
        struct Health {
            health: String,
        }
        let patience = Patience {
            answer: Duration::from_secs(2),
            ..Patience::QUESTION
        };
        let asked = self.http(node, patience).get("/health").await;
        let health = asked.as_ref().map(|a| parse::<Health>(&a.body));
        match health {
            Ok(Ok(said)) if said.health == "true" => Ok(()),
            _ => Err(format!("GET /health: {}", told(&asked))),
        }
    }

    async fn leader(&self, nodes: &[Node]) -> Option<Name> {
        let asked = |node: &Node| opinion_of(self.http(node, Patience::QUESTION));
        let opinions = ask_all(nodes, asked).await.into_iter();
        let opinions: Vec<Name> = opinions.filter_map(|(_, said)| said.leader).collect();
        majority(&opinions, nodes.len())
    }

    fn watch(&self) -> Option<Watch> {
        Some(leader_watch::watch())
    }

    async fn look(&self, node: &Node) -> Result<Value, String> {
        let asked = opinion_of(self.http(node, Patience::QUESTION));
        leader_watch::look(node, asked).await
    }

    fn client_port(&self) -> u16 {
        self.ports.client
    }

    async fn final_reads(&self, node: &Node) -> Vec<(Name, Result<Value, String>)> {
        let of = match self.programs.are_several() {
            true => Of::Keys,
            false => Of::Disk,
        };
        let read = replica::read(self.http(node, Patience::COLLECT), &node.name, of).await;
        vec![("replica".into(), read)]
    }

    fn operations(&self) -> Vec<Operation> {
        operations::ALL.to_vec()
    }

    async fn operate(
        &self,
        operation: &str,
        step: Step,
        node: &Node,
        _all: &[Node],
    ) -> Result<Operated, ControlError> {
        if operation == programs::UPGRADE.name {
            return self.programs.upgrade(step, node).await;
        }
        let http = self.http(node, operations::PATIENCE);
        Ok(operations::operate(http, operation, step, &self.compacted).await)
    }

    async fn version(&self, node: &Node) -> Result<String, ControlError> {
        let program = self.programs.of(node).display().to_string();
        let ran = run(node, vec![program, "--version".into()]).await?;
        // "etcd Version: 3.4.23", then lines about its build.
        let first = ran.stdout.lines().next().unwrap_or_default();
        Ok(first.replace(" Version:", "").trim().to_string())
    }
}

impl OpenKv for Etcd {
    fn open(&self, node: &Node) -> Box<dyn Kv> {
        Box::new(self.client(node))
    }
}

struct Client {
    http: Http,
    serializable: bool,
    /// Whether transactions compare every key that there is.
    whole_range: bool,
}

/// How often an append that lost against another is tried again.
const APPEND_ATTEMPTS: usize = 10;

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    value: String,
    mod_revision: String,
}

#[derive(Deserialize)]
struct Put {
    #[serde(rename = "header")]
    _header: Json,
}

#[derive(Deserialize)]
struct Txn {
    #[serde(rename = "header")]
    _header: Json,
    #[serde(default)]
    succeeded: bool,
}

impl Client {
    async fn range(
        &mut self,
        key: &str,
        end: Option<Vec<u8>>,
        consistency: Consistency,
    ) -> Result<Vec<Pair>, OpError> {
        let serializable = self.serializable || consistency == Consistency::Local;
        let mut request = json!({"key": BASE64.encode(key), "serializable": serializable});
        if let Some(end) = end {
            request["range_end"] = BASE64.encode(end).into();
        }
        let range: Range = ask(&mut self.http, "/v3/kv/range", &request).await?;
        Ok(range.kvs)
    }

    /// Puts `value` if `compare` holds; whether it did.
    async fn put_if(&mut self, compare: Json, key: &str, value: &Value) -> Result<bool, OpError> {
        let put = json!({"request_put": {"key": BASE64.encode(key), "value": encode(value)}});
        let request = json!({"compare": [compare], "success": [put]});
        let txn: Txn = ask(&mut self.http, "/v3/kv/txn", &request).await?;
        Ok(txn.succeeded)
    }
}

fn absent(key: &str) -> Json {
    let key = BASE64.encode(key);
    json!({"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"})
}

/// Values are kept as the JSON that this program writes, which is the same for equal values: etcd
/// compares bytes.
fn encode(value: &Value) -> String {
    BASE64.encode(serde_json::to_vec(value).expect("values are JSON"))
}

fn decode(pair: &Pair) -> Result<Value, OpError> {
    let bytes = BASE64
        .decode(&pair.value)
        .map_err(|e| OpError::new(MALFORMED, format!("a value is not base64: {e}")))?;
    parse(&bytes)
}

#[async_trait]
impl Kv for Client {
    async fn get(&mut self, key: &str, consistency: Consistency) -> Result<Option<Value>, OpError> {
        let found = self.range(key, None, consistency).await?;
        found.first().map(decode).transpose()
    }

    async fn put(&mut self, key: &str, value: &Value) -> Result<(), OpError> {
        let request = json!({"key": BASE64.encode(key), "value": encode(value)});
        ask::<Put>(&mut self.http, "/v3/kv/put", &request).await?;
        Ok(())
    }

    async fn cas(&mut self, key: &str, from: Option<&Value>, to: &Value) -> Result<bool, OpError> {
        let compare = match from {
            None => absent(key),
            Some(from) => json!({
                "key": BASE64.encode(key),
                "target": "VALUE",
                "result": "EQUAL",
                "value": encode(from),
            }),
        };
        self.put_if(compare, key, to).await
    }

    async fn append(&mut self, key: &str, element: &Value) -> Result<(), OpError> {
        for _ in 0..APPEND_ATTEMPTS {
            // The read may be stale; the comparison below is not.
            let found = self.range(key, None, Consistency::Linearizable).await;
            // Nothing has been written so far, whatever became of the read.
            let found = found.map_err(|e| match e.code.definite {
                true => e,
                false => OpError::new(
                    UNAVAILABLE,
                    format!("reading before the append: {}: {}", e.code.code, e.detail),
                ),
            })?;
            let (compare, mut list) = match found.first() {
                None => (absent(key), Vec::new()),
                Some(pair) => {
                    let compare = json!({
                        "key": BASE64.encode(key),
                        "target": "MOD",
                        "result": "EQUAL",
                        "mod_revision": pair.mod_revision,
                    });
                    match decode(pair) {
                        Ok(Value::List(list)) => (compare, list),
                        _ => return Err(OpError::new(REJECTED, format!("{key} has no list"))),
                    }
                }
            };
            list.push(element.clone());
            if self.put_if(compare, key, &Value::List(list)).await? {
                return Ok(());
            }
        }
        let lost = format!("lost against other appends {APPEND_ATTEMPTS} times");
        Err(OpError::new(CONFLICT, lost))
    }

    async fn scan(
        &mut self,
        prefix: &str,
        consistency: Consistency,
    ) -> Result<Vec<(String, Value)>, OpError> {
        let found = self.range(prefix, Some(after(prefix)), consistency).await?;
        let entry = |pair: &Pair| {
            let key = BASE64.decode(&pair.key).ok();
            let key = key.and_then(|bytes| String::from_utf8(bytes).ok());
            let key = key.ok_or_else(|| OpError::new(MALFORMED, "a key is not base64 of text"))?;
            Ok((key, decode(pair)?))
        };
        found.iter().map(entry).collect()
    }
}

/// The first key behind all that begin with `prefix`: etcd's own rule, its last byte plus one.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 has no byte 0xff, so adding one never carries.
    match end.last_mut() {
        Some(last) => *last += 1,
        // By etcd's rule a zero byte means "all that follow".
        None => end.push(0),
    }
    end
}

async fn ask<T: DeserializeOwned>(
    http: &mut Http,
    path: &str,
    request: &Json,
) -> Result<T, OpError> {
    let answer = http.post(path, request.to_string().into_bytes()).await?;
    match answer.status {
        StatusCode::OK => parse(&answer.body),
        _ => Err(error_of(&answer)),
    }
}

/// What etcd's errors say of the operation, by the beginning of their text. Everything else is
/// unknown, also where it looks definite: `database space exceeded`, for one, comes from a put that
/// has been applied (quotaApplierV3 in etcdserver/apply.go of 3.4).
const TEXTS: &[(&str, ErrorCode)] = &[
    // Said before anything is proposed: too far behind in applying.
    ("etcdserver: too many requests", OVERLOADED),
    ("etcdserver: request is too large", REJECTED),
    // Raft has no leader or is handing over, and does not take the proposal (ErrProposalDropped).
    ("raft proposal dropped", UNAVAILABLE),
    // Said by an interceptor that looks for a leader before it passes the request on.
    ("etcdserver: no leader", UNAVAILABLE),
    // The proposal may be in the log; also "... possibly due to previous leader failure".
    ("etcdserver: request timed out", TIMEOUT),
    ("context deadline exceeded", TIMEOUT),
];

/// gRPC's code for requests that are wrong in themselves.
const INVALID_ARGUMENT: i64 = 3;

fn error_of(answer: &Answer) -> OpError {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        code: i64,
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&answer.body) else {
        let begins = String::from_utf8_lossy(&answer.body[..answer.body.len().min(120)]);
        let what = format!("status {} with {begins:?}", answer.status);
        return OpError::new(MALFORMED, what);
    };
    let by_text = TEXTS
        .iter()
        .find(|(text, _)| refusal.error.starts_with(text));
    let code = match by_text {
        Some((_, code)) => *code,
        None if refusal.code == INVALID_ARGUMENT => REJECTED,
        None => UNKNOWN,
    };
    OpError::new(code, refusal.error)
}

#[cfg(test)]
mod tests;
