//! The clients of the simulated world: what they ask, and what they take the answers for.

use paxos_kv::core::message::{Op, Outcome, Query, ReadMode, RequestId};
use paxos_kv::core::{Input, Reply, Request};
use rand::RngExt;

use super::{Ask, CLIENT_TIMEOUT, Happening, MS, Operation, Seen, Sim};

impl Sim {
    pub(super) fn ask(&mut self, client: usize) {
        let node = self.rng.random_range(0..self.nodes.len());
        self.value += 1;
        let value = self.value;
        let register = format!("r{}", self.operations.len() / 200);
        let (key, ask) = match self.rng.random_range(0..100) {
            0..20 => (register, Ask::Put(value)),
            20..30 => (register.clone(), Ask::Cas(self.last_seen(&register), value)),
            30..50 => (register, Ask::Get),
            50..75 => ("list".to_owned(), Ask::Append(value)),
            _ => ("list".to_owned(), Ask::List),
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
            Reply::Timeout => {
                self.clients[client].waits = None;
                return self.after(MS, 20 * MS, Happening::Client { client });
            }
            Reply::Done(answer) => match answer.outcome {
                Outcome::Written | Outcome::Appended { .. } => Seen::Written,
                Outcome::Swapped => Seen::Swapped(true),
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
        Ask::Get | Ask::List => Request::Read(Query::Get { key }, reads),
    }
}
