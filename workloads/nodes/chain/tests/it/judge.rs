//! What must hold of every simulated run, checked against a second, plain implementation of the
//! rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chain::core::Rules;
use chain::core::block::{Block, Hash, Header, Op};
use chain::core::message::Answer;

use crate::sim::{End, Plan, Run};

/// Heads may differ by what is on its way.
const ON_ITS_WAY: usize = 4;

/// Everything that is wrong with a run. Empty for a good one.
pub fn judge(plan: &Plan, run: &Run) -> Vec<String> {
    let mut found = run.wrong.clone();
    found.truncate(5);
    found.extend(agreement(run));
    for (node, end) in run.ends.iter().enumerate() {
        let mut wrong = validity(&plan.rules(), &end.chain);
        wrong.extend(ledger(&plan.rules(), end));
        wrong.extend(acknowledged(plan, run, end));
        wrong.truncate(3);
        found.extend(
            wrong
                .into_iter()
                .map(|text| format!("n{}: {text}", node + 1)),
        );
    }
    found
}

/// After the heal all nodes have one chain, but for the newest blocks, and it grows.
fn agreement(run: &Run) -> Vec<String> {
    let mut found = Vec::new();
    let first = &run.ends[0].chain;
    for (node, End { chain, .. }) in run.ends.iter().enumerate() {
        let common = first
            .iter()
            .zip(chain)
            .take_while(|(a, b)| a.0 == b.0)
            .count();
        if common + ON_ITS_WAY < first.len().max(chain.len()) {
            found.push(format!(
                "agreement: n{} has {} blocks, n1 {}, and {common} are common",
                node + 1,
                chain.len(),
                first.len()
            ));
        }
    }
    if (first.len() as u64) < run.height_mended + 15 {
        found.push(format!(
            "growth: from {} to {} blocks after the heal",
            run.height_mended,
            first.len()
        ));
    }
    found
}

/// The rules of the protocol page, for a chain from genesis on.
pub fn validity(rules: &Rules, chain: &[(Hash, Arc<Block>)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    for (height, (hash, block)) in chain.iter().enumerate() {
        let header = &block.header;
        let mut wrong = |text: String| found.push(format!("validity: block {height}: {text}"));
        if header.height != height as u64 || header.hash() != *hash {
            wrong("height or hash".to_owned());
        }
        for transaction in &block.transactions {
            if !ids.insert(transaction.id.clone()) {
                wrong(format!("{} is there twice", transaction.id));
            }
        }
        if height == 0 {
            continue;
        }
        if header.parent != chain[height - 1].0 {
            wrong("parent".to_owned());
        }
        let first = u64::from_be_bytes(hash.0[..8].try_into().unwrap());
        if first > u64::MAX / header.work {
            wrong(format!("{hash} does not prove {}", header.work));
        }
        let mut times: Vec<u64> = chain[height.saturating_sub(11)..height]
            .iter()
            .map(|(_, block)| block.header.time_ms)
            .collect();
        times.sort_unstable();
        if header.time_ms <= times[times.len() / 2] {
            wrong("its time is not past the median".to_owned());
        }
        let headers: Vec<&Header> = chain[..height].iter().map(|(_, b)| &b.header).collect();
        let work = expected_work(rules, &headers);
        if header.work != work {
            wrong(format!("work {} instead of {work}", header.work));
        }
    }
    found
}

/// The work of the block that follows these, from genesis on.
pub fn expected_work(rules: &Rules, chain: &[&Header]) -> u64 {
    let (height, every) = (chain.len(), rules.retarget_every as usize);
    let parent = chain[height - 1];
    if every == 0 || height % every != 0 || height <= 2 {
        return parent.work;
    }
    let begin = chain[(height - 1).saturating_sub(every).max(1)];
    if begin.height == parent.height {
        return parent.work;
    }
    let took_ms = parent.time_ms.saturating_sub(begin.time_ms).max(1) as f64;
    let aimed_ms =
        (parent.height - begin.height) as f64 * rules.block_interval.as_secs_f64() * 1000.0;
    let work = (parent.work as f64 * aimed_ms / took_ms) as u64;
    work.clamp((parent.work / 4).max(1), parent.work * 4)
}

/// A ledger without undo, index or haste.
#[derive(Default)]
pub struct Model {
    entries: BTreeMap<String, String>,
    balances: Vec<u64>,
}

impl Model {
    pub fn new(rules: &Rules) -> Model {
        Model {
            entries: BTreeMap::new(),
            balances: vec![rules.balance; rules.accounts as usize],
        }
    }

    pub fn entries(&self) -> Answer {
        Answer::Entries {
            entries: self.entries.clone().into_iter().collect(),
            more: false,
        }
    }

    pub fn balances(&self) -> Answer {
        let named = self.balances.iter().enumerate();
        Answer::Balances(
            named
                .map(|(n, &balance)| (format!("a{n}"), balance))
                .collect(),
        )
    }

    pub fn apply(&mut self, op: &Op) -> Answer {
        match op {
            Op::Put { key, value } => {
                self.entries.insert(key.clone(), value.clone());
                Answer::Done
            }
            Op::Cas { key, from, to } => {
                let actual = self.entries.get(key).cloned();
                let swapped = actual == *from;
                if swapped {
                    self.entries.insert(key.clone(), to.clone());
                }
                Answer::Swapped { swapped, actual }
            }
            Op::Append { key, element } => {
                let old = self.entries.get(key).map_or("[]", String::as_str);
                let Ok(mut list) = serde_json::from_str::<Vec<serde_json::Value>>(old) else {
                    return Answer::Refused("the value is not a list".to_owned());
                };
                list.push(serde_json::from_str(element).unwrap());
                self.entries
                    .insert(key.clone(), serde_json::to_string(&list).unwrap());
                Answer::Length(list.len() as u64)
            }
            Op::Delete { key } => {
                self.entries.remove(key);
                Answer::Done
            }
            Op::Get { key } => Answer::Value(self.entries.get(key).cloned()),
            Op::Range { prefix, after } => {
                let all = self.entries.clone().into_iter();
                let within = |key: &String| key.starts_with(prefix) && Some(key) > after.as_ref();
                Answer::Entries {
                    entries: all.filter(|(key, _)| within(key)).collect(),
                    more: false,
                }
            }
            Op::Transfer { from, to, amount } => {
                let account = |name: &str| name[1..].parse::<usize>().unwrap();
                let (from, to) = (account(from), account(to));
                if self.balances[from] < *amount {
                    return Answer::Transferred(false);
                }
                self.balances[from] -= amount;
                self.balances[to] += amount;
                Answer::Transferred(true)
            }
            Op::Balances => self.balances(),
        }
    }
}

/// The state is that of the chain replayed from genesis, money included, and nothing in the list is
/// there twice.
fn ledger(rules: &Rules, end: &End) -> Vec<String> {
    let mut found = Vec::new();
    let mut model = Model::new(rules);
    for transaction in end.chain.iter().flat_map(|(_, block)| &block.transactions) {
        model.apply(&transaction.op);
    }
    if end.entries != model.entries() || end.balances != model.balances() {
        found.push("ledger: the state is not that of the chain".to_owned());
    }
    if let Answer::Balances(balances) = &end.balances {
        let total: u64 = balances.iter().map(|(_, balance)| balance).sum();
        if total != rules.accounts * rules.balance {
            found.push(format!("ledger: the total is {total}"));
        }
    }
    if let Answer::Entries { entries, .. } = &end.entries
        && let Some((_, list)) = entries.iter().find(|(key, _)| key == "list")
    {
        let list: Vec<u64> = serde_json::from_str(list).unwrap();
        let set: BTreeSet<u64> = list.iter().copied().collect();
        if set.len() < list.len() {
            found.push("ledger: something was appended twice".to_owned());
        }
    }
    found
}

/// What was answered is what the chain says at that place; and the place is still there, if no node
/// ever gave up as many blocks as were asked for.
fn acknowledged(plan: &Plan, run: &Run, end: &End) -> Vec<String> {
    let mut found = Vec::new();
    let mut model = Model::new(&plan.rules());
    let mut answers = BTreeMap::new();
    for (hash, block) in &end.chain {
        for (position, transaction) in block.transactions.iter().enumerate() {
            let answer = model.apply(&transaction.op);
            answers.insert((*hash, position as u64), (&transaction.id, answer));
        }
    }
    for operation in &run.operations {
        let id = &operation.transaction.id;
        for (answer, place) in &operation.answers {
            let Some(place) = place else { continue };
            match answers.get(&(place.block, place.position)) {
                Some((there, _)) if *there != id => {
                    found.push(format!("answers: {there} is at the place of {id}"));
                }
                Some((_, expected)) if answer != expected => {
                    found.push(format!("answers: {id} was {answer:?} and is {expected:?}"));
                }
                None if run.deepest_reorg < plan.confirmations => {
                    found.push(format!(
                        "persistence: {id} was answered in {:?} and is gone",
                        place.block
                    ));
                }
                _ => {}
            }
        }
    }
    found
}
