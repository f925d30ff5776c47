//! The state of the active chain: a map of JSON values and accounts, with what it takes to undo
//! each block.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::block::{Op, Transaction};
use super::message::{Answer, Question};
use crate::flaws::{Flaw, Flaws};

/// An answer to a range ends with the entry that makes it this long. What comes after is asked for
/// again, and is then of another moment.
const RANGE_BYTES: usize = 4 << 20;

/// A value as JSON text, with its length if it is known to be a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    json: String,
    /// Saves counting the elements at each append.
    length: Option<u64>,
}

/// What was before a change.
#[derive(Clone, Debug)]
enum Undo {
    Item {
        key: String,
        before: Option<Item>,
    },
    /// An append is undone by cutting the text, so that a long list does not cost its length for
    /// every element.
    Append {
        key: String,
        bytes: usize,
        length: Option<u64>,
    },
    Balance {
        account: usize,
        before: u64,
    },
}

/// What applying a block's transactions gave.
///
/// It is kept as long as the block, so it holds no values that the undo list tells as well: what a
/// transaction was told of the state is found again by going back to the state before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    /// One for each transaction, none for those that tell something of the state.
    answers: Vec<Option<Answer>>,
    undo: Vec<Undo>,
    /// For each transaction, how much of `undo` is of those before it.
    begins: Vec<usize>,
}

impl Applied {
    /// FLAW state-behind-chain: the block counts as applied, and changed nothing.
    pub(super) fn forget_changes(&mut self) {
        self.undo.clear();
        self.begins.fill(0);
    }
}

/// The part of the state that the answer to an operation tells, if it tells any.
fn told(op: &Op) -> Option<Question> {
    match op {
        Op::Get { key } | Op::Cas { key, .. } => Some(Question::Get(key.clone())),
        Op::Range { prefix, after } => Some(Question::Range {
            prefix: prefix.clone(),
            after: after.clone(),
        }),
        Op::Balances => Some(Question::Balances),
        Op::Put { .. } | Op::Append { .. } | Op::Delete { .. } | Op::Transfer { .. } => None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    items: BTreeMap<String, Item>,
    balances: Vec<u64>,
    flaws: Flaws,
}

impl Ledger {
    /// As it is in genesis.
    pub fn new(accounts: u64, balance: u64, flaws: Flaws) -> Ledger {
        Ledger {
            items: BTreeMap::new(),
            balances: vec![balance; accounts as usize],
            flaws,
        }
    }

    pub(super) fn apply(&mut self, transactions: &[Arc<Transaction>]) -> Applied {
        let mut applied = Applied::default();
        for transaction in transactions {
            let op = &transaction.op;
            applied.begins.push(applied.undo.len());
            let answer = match op {
                Op::Get { .. } | Op::Range { .. } | Op::Balances => None,
                op => Some(self.run(op, &mut applied.undo)),
            };
            applied.answers.push(answer.filter(|_| told(op).is_none()));
        }
        applied
    }

    /// What an operation gave at its place in a block of the active chain; `newer` are the blocks
    /// above, newest first.
    pub(super) fn answer_at<'a>(
        &self,
        op: &Op,
        position: usize,
        block: &'a Applied,
        newer: impl Iterator<Item = &'a Applied>,
    ) -> Answer {
        let of_the_state = match (&block.answers[position], told(op)) {
            (Some(answer), _) => return answer.clone(),
            (None, question) => question.expect("an answer that tells nothing of it is kept"),
        };
        let since = block.undo[block.begins[position]..].iter().rev();
        let undo = newer.flat_map(|applied| applied.undo.iter().rev());
        let mut past = self.before(&of_the_state, undo.chain(since));
        past.run(op, &mut Vec::new())
    }

    /// Takes back what was applied last.
    pub(super) fn undo(&mut self, applied: &Applied) {
        for undo in applied.undo.iter().rev() {
            self.take_back(undo);
        }
    }

    fn take_back(&mut self, undo: &Undo) {
        match undo {
            Undo::Item { key, before } => match before {
                Some(item) => drop(self.items.insert(key.clone(), item.clone())),
                None => drop(self.items.remove(key)),
            },
            Undo::Append { key, bytes, length } => {
                if let Some(item) = self.items.get_mut(key) {
                    item.json.truncate(bytes - 1);
                    item.json.push(']');
                    item.length = *length;
                }
            }
            Undo::Balance { account, before } => self.balances[*account] = *before,
        }
    }

    fn run(&mut self, op: &Op, undo: &mut Vec<Undo>) -> Answer {
        match op {
            Op::Put { key, value } => {
                self.set(key, Some(value), undo);
                Answer::Done
            }
            Op::Delete { key } => {
                self.set(key, None, undo);
                Answer::Done
            }
            Op::Cas { key, from, to } => {
                let actual = self.items.get(key).map(|item| item.json.clone());
                let swapped = actual == *from;
                if swapped {
                    self.set(key, Some(to), undo);
                }
                Answer::Swapped { swapped, actual }
            }
            Op::Append { key, element } => self.append(key, element, undo),
            Op::Get { key } => self.answer(&Question::Get(key.clone())),
            Op::Range { prefix, after } => self.page(prefix, after.as_deref()),
            Op::Transfer { from, to, amount } => self.transfer(from, to, *amount, undo),
            Op::Balances => self.answer(&Question::Balances),
        }
    }

    fn set(&mut self, key: &str, json: Option<&String>, undo: &mut Vec<Undo>) {
        let before = match json {
            Some(json) => {
                let (json, length) = (json.clone(), None);
                self.items.insert(key.to_owned(), Item { json, length })
            }
            None => self.items.remove(key),
        };
        let key = key.to_owned();
        undo.push(Undo::Item { key, before });
    }

    fn append(&mut self, key: &str, element: &str, undo: &mut Vec<Undo>) -> Answer {
        let Some(item) = self.items.get_mut(key) else {
            self.set(key, Some(&format!("[{element}]")), undo);
            return Answer::Length(1);
        };
        let length = match item.length {
            Some(length) => length,
            None => match serde_json::from_str::<Vec<serde::de::IgnoredAny>>(&item.json) {
                Ok(list) => list.len() as u64,
                Err(_) => return Answer::Refused("the value is not a list".to_owned()),
            },
        };
        undo.push(Undo::Append {
            key: key.to_owned(),
            bytes: item.json.len(),
            length: item.length,
        });
        item.json.pop();
        if length > 0 {
            item.json.push(',');
        }
        item.json.push_str(element);
        item.json.push(']');
        item.length = Some(length + 1);
        Answer::Length(length + 1)
    }

    fn transfer(&mut self, from: &str, to: &str, amount: u64, undo: &mut Vec<Undo>) -> Answer {
        let (Some(from), Some(to)) = (self.account(from), self.account(to)) else {
            return Answer::Refused("there is no such account".to_owned());
        };
        // FLAW amount-wraps: what is taken is counted in 32 bits, and what is given is not.
        let taken = if self.flaws.has(Flaw::AmountWraps) {
            u64::from(amount as u32)
        } else {
            amount
        };
        let Some(rest) = self.balances[from].checked_sub(taken) else {
            return Answer::Transferred(false);
        };
        self.set_balance(from, rest, undo);
        // The total is a u64, so no account can have more, but for that flaw.
        let sum = self.balances[to].saturating_add(amount);
        self.set_balance(to, sum, undo);
        Answer::Transferred(true)
    }

    fn set_balance(&mut self, account: usize, balance: u64, undo: &mut Vec<Undo>) {
        let before = std::mem::replace(&mut self.balances[account], balance);
        undo.push(Undo::Balance { account, before });
    }

    fn account(&self, name: &str) -> Option<usize> {
        let index: usize = name.strip_prefix('a')?.parse().ok()?;
        // "a01" and "a+1" are no names of a1.
        (index < self.balances.len() && format!("a{index}") == name).then_some(index)
    }

    pub(super) fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Get(key) => Answer::Value(self.items.get(key).map(|item| item.json.clone())),
            Question::Range { prefix, after } => self.page(prefix, after.as_deref()),
            Question::Balances => {
                let balances = self.balances.iter().enumerate();
                Answer::Balances(
                    balances
                        .map(|(index, &balance)| (format!("a{index}"), balance))
                        .collect(),
                )
            }
        }
    }

    /// What the answer would have been before the given blocks, newest first.
    pub(super) fn answer_before<'a>(
        &self,
        question: &Question,
        blocks: impl Iterator<Item = &'a Applied>,
    ) -> Answer {
        let undo = blocks.flat_map(|applied| applied.undo.iter().rev());
        self.before(question, undo).answer(question)
    }

    /// As much of the ledger as the question is about, before the given changes, newest first.
    fn before<'a>(&self, question: &Question, undo: impl Iterator<Item = &'a Undo>) -> Ledger {
        let concerns = |key: &String| match question {
            Question::Get(wanted) => key == wanted,
            Question::Range { prefix, .. } => key.starts_with(prefix.as_str()),
            Question::Balances => false,
        };
        let items: BTreeMap<String, Item> = match question {
            Question::Get(key) => self.items.get_key_value(key).into_iter().collect(),
            Question::Range { prefix, .. } => self.with_prefix(prefix).collect(),
            Question::Balances => Vec::new(),
        }
        .into_iter()
        .map(|(key, item)| (key.clone(), item.clone()))
        .collect();
        let mut past = Ledger {
            items,
            balances: self.balances.clone(),
            flaws: self.flaws,
        };
        for undo in undo {
            let relevant = match undo {
                Undo::Item { key, .. } | Undo::Append { key, .. } => concerns(key),
                Undo::Balance { .. } => true,
            };
            if relevant {
                past.take_back(undo);
            }
        }
        past
    }

    /// The entries of a range after a key, as many as one answer holds.
    fn page(&self, prefix: &str, after: Option<&str>) -> Answer {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let rest = self.items.range::<str, _>((from, Bound::Unbounded));
        let (mut entries, mut bytes, mut more) = (Vec::new(), 0, false);
        for (key, item) in rest.take_while(|(key, _)| key.starts_with(prefix)) {
            if bytes >= RANGE_BYTES {
                more = true;
                break;
            }
            bytes += key.len() + item.json.len();
            entries.push((key.clone(), item.json.clone()));
        }
        Answer::Entries { entries, more }
    }

    fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&String, &Item)> {
        let prefix = prefix.to_owned();
        self.items
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix.as_str()))
    }
}

/// What would become of a ledger: its own copy of what was touched, and the rest of the ledger that
/// it is about.
#[derive(Debug)]
pub(super) struct Draft {
    ledger: Ledger,
    /// Keys that the copy has, or that it has not because they were removed.
    copied: BTreeSet<String>,
}

impl Draft {
    pub(super) fn new(of: &Ledger) -> Draft {
        Draft {
            ledger: Ledger {
                items: BTreeMap::new(),
                balances: of.balances.clone(),
                flaws: of.flaws,
            },
            copied: BTreeSet::new(),
        }
    }

    /// Runs an operation on the draft, and leaves the ledger, which is that of the beginning, as it
    /// is.
    pub(super) fn run(&mut self, of: &Ledger, op: &Op) -> Answer {
        match op {
            Op::Put { key, .. }
            | Op::Cas { key, .. }
            | Op::Append { key, .. }
            | Op::Delete { key }
            | Op::Get { key } => self.copy(of.items.get_key_value(key), key),
            Op::Range { prefix, .. } => {
                for (key, item) in of.with_prefix(prefix) {
                    self.copy(Some((key, item)), key);
                }
            }
            Op::Transfer { .. } | Op::Balances => {}
        }
        self.ledger.run(op, &mut Vec::new())
    }

    fn copy(&mut self, found: Option<(&String, &Item)>, key: &str) {
        if self.copied.insert(key.to_owned())
            && let Some((key, item)) = found
        {
            self.ledger.items.insert(key.clone(), item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(op: Op) -> Arc<Transaction> {
        let id = String::new();
        Arc::new(Transaction { id, op })
    }

    fn key(number: usize) -> String {
        format!("k{number}")
    }

    #[test]
    fn what_is_told_of_the_state_is_not_kept_and_is_found_again() {
        let put = |value: usize| Op::Put {
            key: key(value % 3),
            value: value.to_string(),
        };
        let swap = |from: Option<usize>, to: usize| Op::Cas {
            key: key(0),
            from: from.map(|from| from.to_string()),
            to: to.to_string(),
        };
        let range = Op::Range {
            prefix: "k".into(),
            after: None,
        };
        let get = Op::Get { key: key(1) };
        let blocks = [
            vec![
                put(0),
                range.clone(),
                swap(Some(0), 7),
                swap(Some(0), 8),
                get.clone(),
            ],
            vec![
                put(1),
                get.clone(),
                Op::Delete { key: key(1) },
                get,
                range.clone(),
            ],
            vec![put(3), put(4), put(5), Op::Balances, range],
        ];
        let mut ledger = Ledger::new(2, 10, Flaws::default());
        let mut given = Vec::new();
        let mut applied = Vec::new();
        for block in &blocks {
            let mut draft = Draft::new(&ledger);
            given.push(
                block
                    .iter()
                    .map(|op| draft.run(&ledger, op))
                    .collect::<Vec<_>>(),
            );
            let transactions: Vec<_> = block.iter().cloned().map(transaction).collect();
            applied.push(ledger.apply(&transactions));
        }
        for (height, block) in blocks.iter().enumerate() {
            for (position, op) in block.iter().enumerate() {
                let newer = applied[height + 1..].iter().rev();
                let again = ledger.answer_at(op, position, &applied[height], newer);
                assert_eq!(again, given[height][position], "{op:?} in block {height}");
                let kept = applied[height].answers[position].is_some();
                assert_eq!(
                    kept,
                    matches!(op, Op::Put { .. } | Op::Delete { .. }),
                    "{op:?}"
                );
            }
        }
        assert_eq!(
            given[0][2..4],
            [(true, 0), (false, 7)].map(|(swapped, actual)| Answer::Swapped {
                swapped,
                actual: Some(actual.to_string())
            })
        );
    }

    #[test]
    fn a_long_range_is_told_in_pages() {
        let mut ledger = Ledger::new(0, 0, Flaws::default());
        let value = format!("\"{}\"", "x".repeat(RANGE_BYTES / 4));
        for number in 0..10 {
            ledger.set(&key(number), Some(&value), &mut Vec::new());
        }
        let (mut after, mut pages) = (None, Vec::new());
        loop {
            let prefix = "k".to_owned();
            let question = Question::Range { prefix, after };
            let Answer::Entries { entries, more } = ledger.answer(&question) else {
                panic!("a range has entries");
            };
            pages.push(entries.len());
            after = entries.last().map(|(key, _)| key.clone());
            if !more {
                break;
            }
        }
        assert_eq!(pages, [4, 4, 2]);
    }
}
