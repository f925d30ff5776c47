//! Transactions: where they are, who asked for them, and what they answer there.

use std::collections::BTreeMap;

use history::{Op, Outcome, Value};
use rustc_hash::FxHashMap;

use super::record::Record;
use super::tree::Rank;
use crate::findings::Findings;
use crate::{Exhausted, Meter};

/// A transaction in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub tx: u32,
    pub block: Rank,
    pub position: u32,
    /// Number among all transactions in blocks, in preorder of the blocks.
    pub at: u32,
}

/// What a transaction does, where the chain tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'h> {
    Put(&'h str, &'h Value),
    Cas(&'h str, &'h Value, &'h Value),
    Append(&'h str, &'h Value),
    Delete(&'h str),
    Get(&'h str),
    Range(&'h str),
    Transfer,
    Balances,
    /// Only the name is known.
    Untold,
}

impl<'h> Action<'h> {
    fn of(transaction: &'h Value) -> Action<'h> {
        let [_, what, rest @ ..] = transaction.as_list().unwrap_or_default() else {
            return Action::Untold;
        };
        let key = rest.first().and_then(Value::as_text);
        match (what.as_text(), key, &rest[rest.len().min(1)..]) {
            (Some("put"), Some(key), [value]) => Action::Put(key, value),
            (Some("cas"), Some(key), [from, to]) => Action::Cas(key, from, to),
            (Some("append"), Some(key), [element]) => Action::Append(key, element),
            (Some("delete"), Some(key), []) => Action::Delete(key),
            (Some("get"), Some(key), []) => Action::Get(key),
            (Some("range"), Some(prefix), []) => Action::Range(prefix),
            (Some("transfer"), ..) => Action::Transfer,
            (Some("balances"), ..) => Action::Balances,
            _ => Action::Untold,
        }
    }

    /// The key that it is about; empty if it is about none or many.
    pub fn key(self) -> &'h str {
        match self {
            Action::Put(key, _)
            | Action::Cas(key, ..)
            | Action::Append(key, _)
            | Action::Delete(key)
            | Action::Get(key) => key,
            _ => "",
        }
    }

    pub fn reads_only(self) -> bool {
        matches!(self, Action::Get(_) | Action::Range(_) | Action::Balances)
    }
}

/// Every transaction of every block, by name.
pub struct Places<'r, 'h> {
    record: &'r Record<'h>,
    names: Vec<&'h str>,
    ids: FxHashMap<&'h str, u32>,
    places: Vec<Place>,
    /// Where a transaction's places begin; one more than there are transactions.
    starts: Vec<usize>,
}

impl<'r, 'h> Places<'r, 'h> {
    pub fn new(record: &'r Record<'h>, meter: &mut Meter) -> Result<Places<'r, 'h>, Exhausted> {
        let tree = &record.tree;
        let mut names: Vec<&str> = Vec::new();
        let mut ids: FxHashMap<&str, u32> = FxHashMap::default();
        let mut places: Vec<Place> = Vec::new();
        for block in tree.ranks() {
            for (position, transaction) in tree.block(block).transactions.iter().enumerate() {
                meter.tick(72 * places.len() as u64)?;
                let Some(name) = name(transaction) else {
                    continue;
                };
                let tx = *ids.entry(name).or_insert_with(|| {
                    names.push(name);
                    names.len() as u32 - 1
                });
                places.push(Place {
                    tx,
                    block,
                    position: position as u32,
                    at: places.len() as u32,
                });
            }
        }
        places.sort_unstable();
        let mut starts = Vec::with_capacity(names.len() + 1);
        for (i, place) in places.iter().enumerate() {
            if starts.len() <= place.tx as usize {
                starts.push(i);
            }
        }
        starts.push(places.len());
        Ok(Places {
            record,
            names,
            ids,
            places,
            starts,
        })
    }

    /// By transaction, then by block, parents first.
    pub fn all(&self) -> &[Place] {
        &self.places
    }

    pub fn each(&self) -> impl Iterator<Item = &[Place]> {
        (0..self.names.len() as u32).map(|tx| self.of(tx))
    }

    pub fn of(&self, tx: u32) -> &[Place] {
        let tx = tx as usize;
        &self.places[self.starts[tx]..self.starts[tx + 1]]
    }

    pub fn name(&self, tx: u32) -> &'h str {
        self.names[tx as usize]
    }

    pub fn find(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub fn action(&self, place: &Place) -> Action<'h> {
        let block = self.record.tree.block(place.block);
        Action::of(&block.transactions[place.position as usize])
    }

    /// What it writes. Not of maps, whose entries a node may put into another order.
    pub fn written(&self, place: &Place) -> Option<&'h Value> {
        let (Action::Put(_, value) | Action::Cas(_, _, value) | Action::Append(_, value)) =
            self.action(place)
        else {
            return None;
        };
        Some(value).filter(|value| !matches!(value, Value::Map(_)))
    }
}

fn name(transaction: &Value) -> Option<&str> {
    match transaction {
        Value::Text(name) => Some(name),
        _ => transaction.as_list()?.first()?.as_text(),
    }
}

/// An answered operation of a client that says where on the chain it took effect.
pub struct Client<'h> {
    pub op: &'h Op,
    /// The node that answered.
    pub node: Option<usize>,
    /// Its block, if any node ever showed it.
    pub block: Option<Rank>,
    /// Whether the answer names a block.
    pub placed: bool,
    /// At which height of the chain and where in its block it is, as the answer says.
    pub height: Option<&'h Value>,
    pub position: Option<&'h Value>,
    /// Its transaction, if it is in any block that was shown.
    pub tx: Option<u32>,
    /// The name of its transaction; none for a read that is none.
    pub name: Option<&'h str>,
}

#[derive(Default)]
pub struct Clients<'h> {
    pub all: Vec<Client<'h>>,
    /// Clients' operations of any outcome.
    pub asked: usize,
}

impl<'h> Clients<'h> {
    pub fn new(record: &Record<'h>, places: &Places) -> Clients<'h> {
        let mut clients = Clients::default();
        for op in record.history.ops().iter().filter(|op| !op.observes()) {
            clients.asked += 1;
            let version = op.version.as_ref().and_then(Value::as_list);
            let Some([height, position, block, name]) =
                version.filter(|_| op.outcome == Outcome::Ok)
            else {
                continue;
            };
            let name = name.as_text();
            clients.all.push(Client {
                op,
                node: record
                    .nodes
                    .iter()
                    .position(|node| Some(*node) == op.node.as_deref()),
                block: block.as_text().and_then(|hash| record.tree.find(hash)),
                placed: block.as_text().is_some(),
                height: Some(height).filter(|height| !height.is_nil()),
                position: Some(position).filter(|position| !position.is_nil()),
                tx: name.and_then(|name| places.find(name)),
                name,
            });
        }
        clients
    }
}

/// What a transaction answers at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Done,
    /// Nil: there is no value.
    Found(Value),
    Swapped,
    /// What was there instead.
    NotSwapped(Value),
    /// Values of a range, in the order of keys.
    Entries(Vec<Value>),
    /// It depends on what is not known here.
    Opaque,
}

/// The ledger's state along the current branch.
#[derive(Default)]
struct State<'h> {
    values: BTreeMap<&'h str, Value>,
    undo: Vec<Undo<'h>>,
}

enum Undo<'h> {
    Set(&'h str, Option<Value>),
    Pop(&'h str),
}

impl<'h> State<'h> {
    fn set(&mut self, key: &'h str, value: Option<Value>) {
        let before = match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(key),
        };
        self.undo.push(Undo::Set(key, before));
    }

    fn back_to(&mut self, length: usize) {
        for undo in self.undo.drain(length..).rev() {
            match undo {
                Undo::Set(key, Some(value)) => drop(self.values.insert(key, value)),
                Undo::Set(key, None) => drop(self.values.remove(key)),
                Undo::Pop(key) => {
                    if let Some(Value::List(list)) = self.values.get_mut(key) {
                        list.pop();
                    }
                }
            }
        }
    }

    fn apply(&mut self, action: Action<'h>) -> Answer {
        let found = |state: &State, key| state.values.get(key).cloned().unwrap_or_default();
        match action {
            Action::Put(key, value) => {
                self.set(key, Some(value.clone()));
                Answer::Done
            }
            Action::Cas(key, from, to) => match found(self, key) {
                actual if actual == *from => {
                    self.set(key, Some(to.clone()));
                    Answer::Swapped
                }
                actual => Answer::NotSwapped(actual),
            },
            Action::Append(key, element) => match self.values.get_mut(key) {
                None => {
                    self.set(key, Some(Value::List(vec![element.clone()])));
                    Answer::Done
                }
                Some(Value::List(list)) => {
                    list.push(element.clone());
                    self.undo.push(Undo::Pop(key));
                    Answer::Done
                }
                Some(_) => Answer::Opaque,
            },
            Action::Delete(key) => {
                self.set(key, None);
                Answer::Done
            }
            Action::Get(key) => Answer::Found(found(self, key)),
            Action::Range(prefix) => {
                let from = self.values.range(prefix..);
                let inside = from.take_while(|(key, _)| key.starts_with(prefix));
                Answer::Entries(inside.map(|(_, value)| value.clone()).collect())
            }
            Action::Transfer | Action::Balances | Action::Untold => Answer::Opaque,
        }
    }
}

/// Replays every branch from an empty ledger: one walk in preorder that takes back what a branch
/// did before it goes on with the next. The answers are numbered as [`Place::at`].
pub fn replay(places: &Places, meter: &mut Meter) -> Result<Vec<Answer>, Exhausted> {
    let tree = &places.record.tree;
    let mut answers = Vec::with_capacity(places.places.len());
    let mut state = State::default();
    // Blocks of the current branch that have transactions, and how long the undo list was before.
    let mut open: Vec<(Rank, usize)> = Vec::new();
    let mut held = 0;
    for rank in tree.ranks() {
        let transactions = tree.block(rank).transactions;
        if transactions.is_empty() {
            continue;
        }
        while let Some((above, length)) = open.last()
            && !tree.is_prefix(*above, rank)
        {
            state.back_to(*length);
            open.pop();
        }
        open.push((rank, state.undo.len()));
        for transaction in transactions {
            if name(transaction).is_none() {
                continue;
            }
            let answer = state.apply(Action::of(transaction));
            held += match &answer {
                Answer::Found(Value::List(items)) | Answer::Entries(items) => items.len(),
                _ => 1,
            };
            meter.tick(64 * held as u64)?;
            answers.push(answer);
        }
    }
    Ok(answers)
}

/// What clients were answered is what their transactions answer at the places that were named.
pub fn answers(
    record: &Record,
    places: &Places,
    clients: &Clients,
    answers: &[Answer],
    found: &mut Findings,
) -> usize {
    let mut judged = 0;
    for client in &clients.all {
        let (Some(block), Some(tx)) = (client.block, client.tx) else {
            continue;
        };
        let Some(place) = places.of(tx).iter().find(|place| place.block == block) else {
            continue;
        };
        let (op, answer) = (client.op, &answers[place.at as usize]);
        let Some(right) = agrees(op, answer) else {
            continue;
        };
        judged += 1;
        if !right {
            let there = match answer {
                Answer::Found(value) => format!("{value} is what the chain has there"),
                Answer::Entries(values) => {
                    format!(
                        "{} is what the chain has there",
                        Value::List(values.clone())
                    )
                }
                Answer::NotSwapped(actual) => format!("the chain has {actual} there"),
                _ => "the chain says otherwise".to_string(),
            };
            let reason = format!(
                "op {} ({}) was answered {} for transaction {} in {}, but {there}",
                op.index,
                op.f,
                op.output,
                places.name(tx),
                record.what(block)
            );
            found.of(
                "answer not of the ledger",
                vec![op.index, record.tree.block(block).op],
                reason,
            );
        }
    }
    judged
}

/// Whether an operation's answer says the same; none if they cannot be compared.
fn agrees(op: &Op, answer: &Answer) -> Option<bool> {
    let sorted = |values: &[Value]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        values
    };
    match (op.f.as_str(), answer) {
        ("read", Answer::Found(value)) => {
            // With keys an answer is `[key, value]`; what is asked then has a key too.
            Some(match op.input.as_pair() {
                Some(_) => op
                    .output
                    .as_pair()
                    .is_some_and(|(_, answer)| answer == value),
                None => op.output == *value,
            })
        }
        ("txn", Answer::Found(value)) => {
            let [only] = op.output.as_list()? else {
                return None;
            };
            let [_, _, list] = only.as_list()? else {
                return None;
            };
            Some(list == value || (value.is_nil() && list.as_list().is_some_and(<[_]>::is_empty)))
        }
        ("read", Answer::Entries(values)) => Some(sorted(op.output.as_list()?) == sorted(values)),
        ("cas", Answer::Swapped) => Some(true),
        ("cas", Answer::NotSwapped(_)) => Some(false),
        _ => None,
    }
}
