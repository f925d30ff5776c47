//! The clients of the simulated world: what they ask, and what the answers must be like at once.

use chain::core::block::{Op, Transaction};
use chain::core::message::{Input, Reply, Request, RequestId};
use rand::RngExt;

use super::{Happening, MS, Operation, SECOND, Sim};

impl Sim {
    pub(super) fn ask(&mut self, client: usize) {
        self.after(500 * MS, 4 * SECOND, Happening::Client { client });
        let node = self.rng.random_range(0..self.nodes.len());
        if self.nodes[node].core.is_none() {
            return;
        }
        // Some repeat an earlier request, by its name, at any node.
        let repeats = !self.operations.is_empty() && self.rng.random_ratio(1, 10);
        let operation = if repeats {
            self.rng.random_range(0..self.operations.len())
        } else {
            let op = self.draw();
            let id = format!("c{client}.{}", self.operations.len());
            let transaction = Transaction { id, op };
            let answers = Vec::new();
            self.operations.push(Operation {
                transaction,
                answers,
            });
            self.operations.len() - 1
        };
        let id = self.next_request;
        self.next_request += 1;
        self.nodes[node].requests.insert(id, operation);
        let request = Request::Submit {
            transaction: self.operations[operation].transaction.clone(),
            confirmations: self.plan.confirmations,
        };
        self.input(node, Input::Request(id, request));
    }

    fn draw(&mut self) -> Op {
        let value = self.operations.len();
        let key = format!("r{}", self.rng.random_range(0..3));
        match self.rng.random_range(0..100) {
            0..15 => Op::Put {
                key,
                value: value.to_string(),
            },
            15..25 => {
                let from = self.rng.random_range(0..=value);
                let from = (from > 0).then(|| from.to_string());
                Op::Cas {
                    key,
                    from,
                    to: value.to_string(),
                }
            }
            25..30 => Op::Delete { key },
            30..40 => Op::Get { key },
            40..70 => Op::Append {
                key: "list".to_owned(),
                element: value.to_string(),
            },
            70..75 => Op::Get {
                key: "list".to_owned(),
            },
            75..80 => Op::Range {
                prefix: "r".to_owned(),
                after: value.is_multiple_of(2).then(|| "r0".to_owned()),
            },
            80..95 => Op::Transfer {
                from: format!("a{}", self.rng.random_range(0..4)),
                to: format!("a{}", self.rng.random_range(0..4)),
                amount: self.rng.random_range(1..90),
            },
            _ => Op::Balances,
        }
    }

    pub(super) fn reply(&mut self, node: usize, id: RequestId, reply: Reply) {
        let Some(operation) = self.nodes[node].requests.remove(&id) else {
            return;
        };
        let Reply::Done(answer, place) = reply else {
            return;
        };
        let wanted = self.plan.confirmations;
        let core = self.nodes[node].core.as_ref().expect("it replies");
        let depth = place.and_then(|place| {
            let active = core.blocks(None, usize::MAX)?;
            let above = active.iter().position(|(hash, _)| *hash == place.block)?;
            Some(above as u64 + 1)
        });
        if depth.unwrap_or(0) < wanted {
            let id = &self.operations[operation].transaction.id;
            self.wrong.push(format!(
                "depth: n{} answers {id} at {depth:?} instead of {wanted}",
                node + 1
            ));
        }
        if let Some(place) = place {
            self.nodes[node].acknowledged.insert(place.block);
        }
        self.operations[operation].answers.push((answer, place));
    }
}
