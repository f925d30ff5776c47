//! The clients of the simulated world: what they ask, and what they take the answers for.

use std::time::Duration;

use paxos_kv::core::feed::Told;
use paxos_kv::core::message::{Op, Outcome, Query, ReadMode, RequestId};
use paxos_kv::core::{Input, Reply, Request};
use rand::RngExt;

use super::{Ask, CLIENT_TIMEOUT, Happening, MS, Operation, Seen, Sim};

/// Keys that are leased, and for how long.
const LEASES: usize = 3;
const TTL_MS: u64 = 1_000;

impl Sim {
    pub(super) fn ask(&mut self, client: usize) {
        let node = self.rng.random_range(0..self.nodes.len());
        self.value += 1;
        let value = self.value;
        let register = format!("r{}", self.operations.len() / 200);
        let (key, ask) = match self.rng.random_range(0..125) {
            0..20 => (register, Ask::Put(value)),
            20..30 => (register.clone(), Ask::Cas(self.last_seen(&register), value)),
            30..50 => (register, Ask::Get),
            50..75 => ("list".to_owned(), Ask::Append(value)),
            75..100 => ("list".to_owned(), Ask::List),
            100..110 => ("all".to_owned(), Ask::Watch(self.clients[client].told)),
            drawn => self.lease(client, drawn == 124),
        };
        let operation = self.operations.len();
        let request = request(&key, &ask, self.plan.reads);
        self.operations.push(Operation {
            key,
            ask,
            start: self.agenda.now(),
            end: None,
            seen: None,
        });
        if let Ask::Release(_) = self.operations[operation].ask {
            let key = &self.operations[operation].key;
            self.clients[client].leases.remove(key);
            self.watch.gives_back(key, client);
        }
        if self.nodes[node].core.is_none() {
            // The connection is refused.
            return self.done(client, operation, Seen::Failed);
        }
        self.clients[client].waits = Some(operation);
        self.after(
            CLIENT_TIMEOUT,
            CLIENT_TIMEOUT,
            Happening::GiveUp { client, operation },
        );
        let id = self.nodes[node].next_request;
        self.nodes[node].next_request += 1;
        self.nodes[node].requests.insert(id, (client, operation));
        self.input(node, Input::Request(id, request));
    }

    /// Something to do with a lease: it is wanted, or renewed by whoever has it.
    fn lease(&mut self, client: usize, ends: bool) -> (String, Ask) {
        let key = format!("lease{}", self.rng.random_range(0..LEASES));
        let ask = match self.clients[client].leases.get(&key) {
            Some(id) if ends => Ask::Release(*id),
            Some(id) => Ask::Renew(*id),
            None => Ask::Acquire,
        };
        (key, ask)
    }

    /// A client takes itself for the holder until the time has passed since it asked.
    fn holds(&mut self, client: usize, operation: usize, lease: u64, ttl_ms: u64) -> Seen {
        let Operation { key, start, .. } = self.operations[operation].clone();
        let until = start + ttl_ms * MS;
        self.watch.holds(self.agenda.now(), &key, client, until);
        self.clients[client].leases.insert(key, lease);
        Seen::Held(true)
    }

    /// What a client that compares would compare with.
    fn last_seen(&self, key: &str) -> Option<u64> {
        self.operations
            .iter()
            .rev()
            .take(50)
            .filter(|operation| operation.key == key)
            .find_map(|operation| match (&operation.ask, &operation.seen) {
                (_, Some(Seen::Value(value))) => *value,
                (Ask::Put(value), Some(Seen::Written))
                | (Ask::Cas(_, value), Some(Seen::Swapped(true))) => Some(*value),
                _ => None,
            })
    }

    pub(super) fn reply(&mut self, node: usize, id: RequestId, reply: Reply) {
        let Some((client, operation)) = self.nodes[node].requests.remove(&id) else {
            return;
        };
        if self.clients[client].waits != Some(operation) {
            return;
        }
        let seen = match reply {
            Reply::NoLeader | Reply::Overloaded => Seen::Failed,
            Reply::Told(told) => self.told(client, node, operation, &told),
            Reply::Timeout => {
                self.clients[client].waits = None;
                return self.after(MS, 20 * MS, Happening::Client { client });
            }
            Reply::Done(answer) => match answer.outcome {
                Outcome::Written { .. } | Outcome::Appended { .. } => Seen::Written,
                Outcome::Swapped { .. } => Seen::Swapped(true),
                Outcome::Granted { lease, ttl_ms } => self.holds(client, operation, lease, ttl_ms),
                Outcome::Held { .. } | Outcome::Ended => Seen::Held(false),
                Outcome::NotHeld => {
                    let key = &self.operations[operation].key;
                    self.clients[client].leases.remove(key);
                    Seen::Held(false)
                }
                Outcome::NotSwapped { .. } => Seen::Swapped(false),
                Outcome::Value(value) => match self.operations[operation].ask {
                    Ask::List => Seen::List(
                        value.map_or(Vec::new(), |text| serde_json::from_str(&text).unwrap()),
                    ),
                    _ => Seen::Value(value.map(|text| text.parse().unwrap())),
                },
                other => panic!("no client asked for {other:?}"),
            },
        };
        self.done(client, operation, seen);
    }

    /// A client goes on where it was told to, at whatever node it asks next. Where changes are gone
    /// it goes on behind them.
    fn told(&mut self, client: usize, node: usize, operation: usize, told: &Told) -> Seen {
        let Ask::Watch(after) = self.operations[operation].ask else {
            panic!("nobody asked for {told:?}");
        };
        self.watch.told(self.agenda.now(), node, after, told);
        let (upto, count) = match told {
            Told::Changes { upto, changes } => (*upto, changes.len()),
            Told::Compacted { revision } => (*revision, 0),
        };
        self.clients[client].told = upto;
        Seen::Told(count)
    }

    fn done(&mut self, client: usize, operation: usize, seen: Seen) {
        self.operations[operation].end = Some(self.agenda.now());
        self.operations[operation].seen = Some(seen);
        self.clients[client].waits = None;
        self.after(MS, 50 * MS, Happening::Client { client });
    }
}

fn request(key: &str, ask: &Ask, reads: ReadMode) -> Request {
    let key = key.to_owned();
    match ask {
        Ask::Put(value) => Request::Write(
            None,
            Op::Put {
                key,
                value: value.to_string(),
            },
        ),
        Ask::Cas(from, to) => Request::Write(
            None,
            Op::Cas {
                key,
                from: from.map(|value| value.to_string()),
                to: to.to_string(),
            },
        ),
        Ask::Append(value) => Request::Write(
            None,
            Op::Append {
                key,
                element: value.to_string(),
            },
        ),
        Ask::Acquire => Request::Write(
            None,
            Op::Grant {
                key,
                holder: "0".to_owned(),
                ttl_ms: TTL_MS,
            },
        ),
        Ask::Renew(lease) => Request::Write(None, Op::Renew { key, lease: *lease }),
        Ask::Release(lease) => Request::Write(None, Op::Release { key, lease: *lease }),
        Ask::Watch(after) => Request::Watch {
            prefix: String::new(),
            after: Some(*after),
            wait: Duration::from_millis(200),
        },
        Ask::Get | Ask::List => Request::Read(Query::Get { key }, reads),
    }
}
