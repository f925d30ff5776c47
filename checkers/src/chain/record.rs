//! From a history to what was seen of the chain: one parse, which all properties share.

use std::collections::hash_map::Entry;
use std::time::Duration;

use history::fault::{self, Span};
use history::wording::{and_more, counted, either};
use history::{History, Name, Op, Outcome, Time, Value};
use rustc_hash::FxHashMap;

use super::tree::{Block, NOTHING, Rank, Tree};
use crate::{Exhausted, Meter};

/// One answered look at a node's head: the node had this chain at some moment from `call` to `ret`.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Index of the operation.
    pub op: u64,
    pub node: usize,
    pub call: Time,
    pub ret: Time,
    pub tip: Rank,
    /// The newest block that the node calls final.
    pub finalised: Option<Rank>,
    /// It calls a block final that no look shows.
    pub unseen_final: bool,
    /// The block of most work that the node says it has, where that is not its head and a look
    /// shows it.
    pub heaviest: Option<Rank>,
}

pub struct Record<'h> {
    pub history: &'h History,
    /// Families of faults that leave a node's memory as it is.
    gentle: &'h [Name],
    pub nodes: Vec<&'h str>,
    pub tree: Tree<'h>,
    /// In the order of calls.
    pub looks: Vec<Look>,
    /// Every look's number, by node.
    pub by_node: Vec<Vec<usize>>,
    pub spans: Vec<Span>,
    /// Hashes under which two different blocks were shown, with the operations.
    pub ambiguous: Vec<(&'h str, u64, u64)>,
    /// Looks whose head has another height than the node said: operation, said, counted.
    pub misjudged: Vec<(u64, i64, i64)>,
    /// What could not be read, in words.
    pub lacking: Vec<String>,
    /// Whether an answer may have been lost that showed blocks for the only time.
    pub torn: bool,
}

/// Every block that looks showed, once.
#[derive(Default)]
struct Shown<'h> {
    blocks: Vec<Block<'h>>,
    /// By their hashes.
    places: FxHashMap<&'h str, u32>,
    /// As they were shown.
    values: Vec<&'h Value>,
    ambiguous: Vec<(&'h str, u64, u64)>,
    unreadable: Unreadable,
}

impl<'h> Shown<'h> {
    /// What a look showed; none if it cannot be read.
    fn add(&mut self, op: &'h Op, meter: &mut Meter) -> Result<Option<Head<'h>>, Exhausted> {
        let head = match Head::of(op) {
            Ok(head) => head,
            Err(why) => {
                self.unreadable.add(op, why);
                return Ok(None);
            }
        };
        for value in head.blocks {
            meter.tick(200 * self.blocks.len() as u64)?;
            match block(value, op.index) {
                Err(why) => self.unreadable.add(op, why),
                Ok(block) => match self.places.entry(block.hash) {
                    Entry::Vacant(new) => {
                        new.insert(self.blocks.len() as u32);
                        self.blocks.push(block);
                        self.values.push(value);
                    }
                    Entry::Occupied(known) => {
                        let known = *known.get() as usize;
                        if self.values[known] != value {
                            let first = self.blocks[known].op;
                            self.ambiguous.push((block.hash, first, op.index));
                        }
                    }
                },
            }
        }
        Ok(Some(head))
    }
}

impl<'h> Record<'h> {
    pub fn new(
        history: &'h History,
        names: &'h [Name],
        gentle: &'h [Name],
        meter: &mut Meter,
    ) -> Result<Record<'h>, Exhausted> {
        let mut nodes: Vec<&str> = Vec::new();
        let mut numbers: FxHashMap<&str, usize> = FxHashMap::default();
        let mut number = |name: &'h str| {
            *numbers.entry(name).or_insert_with(|| {
                nodes.push(name);
                nodes.len() - 1
            })
        };
        for name in names {
            number(name);
        }
        let mut shown = Shown::default();
        let mut heads: Vec<(&Op, usize, Head)> = Vec::new();
        let mut torn = false;
        for op in history.ops().iter().filter(|op| op.f == "head") {
            meter.tick(200 * shown.blocks.len() as u64)?;
            torn |= op.outcome == Outcome::Info;
            if op.outcome != Outcome::Ok {
                continue;
            }
            if let Some(head) = shown.add(op, meter)? {
                heads.push((op, number(head.node), head));
            }
        }
        let Shown {
            blocks,
            places,
            values,
            ambiguous,
            unreadable,
        } = shown;
        let tree = Tree::new(&blocks, places, meter)?;
        drop((blocks, values));
        let mut looks = Vec::with_capacity(heads.len());
        let mut misjudged = Vec::new();
        let mut unknown = 0usize;
        for (op, node, head) in &heads {
            let Some(tip) = tree.find(head.hash) else {
                unknown += 1;
                continue;
            };
            if let Some(said) = head.height.filter(|h| *h != tree.height(tip)) {
                misjudged.push((op.index, said, tree.height(tip)));
            }
            looks.push(head.look(op, *node, tip, &tree));
        }
        let by_node = by_node(&looks, nodes.len());
        let mut lacking = unreadable.told();
        lacking.extend(left_out(unknown));
        let silent = nodes
            .iter()
            .zip(&by_node)
            .filter(|(_, looks)| looks.is_empty());
        let never: Vec<&str> = silent.map(|(node, _)| *node).collect();
        if !never.is_empty() && !looks.is_empty() {
            lacking.push(format!("{} never showed a chain", never.join(", ")));
        }
        let spans = fault::spans(history).into_iter();
        let spans = spans.filter(|span| !span.skipped).collect();
        Ok(Record {
            history,
            gentle,
            nodes,
            tree,
            looks,
            by_node,
            spans,
            ambiguous,
            misjudged,
            lacking,
            torn,
        })
    }

    /// Whether no fault was in force at any moment from `from` to `until`.
    pub fn calm(&self, from: Time, until: Time) -> bool {
        !self
            .spans
            .iter()
            .any(|span| span.from <= until && from <= span.until)
    }

    /// Whether a fault restarted a node, or may have, at any moment from `from` to `until`.
    pub fn restarted(&self, node: usize, from: Time, until: Time) -> bool {
        self.spans.iter().any(|span| {
            !self.gentle.contains(&span.family)
                && span.targets.iter().any(|target| target == self.nodes[node])
                && span.from <= until
                && from <= span.until
        })
    }

    /// The chain that the run ended with: of the nodes' last heads, that of most work.
    pub fn last(&self) -> Option<usize> {
        let last = self
            .by_node
            .iter()
            .filter_map(|looks| looks.last().copied());
        let mut work: FxHashMap<Rank, u128> = FxHashMap::default();
        last.max_by_key(|look| {
            let tip = self.looks[*look].tip;
            let work = *work.entry(tip).or_insert_with(|| self.work(tip));
            (work, self.tree.height(tip), std::cmp::Reverse(*look))
        })
    }

    /// Total work up to a block.
    pub fn work(&self, tip: Rank) -> u128 {
        let mut total = 0;
        let mut at = tip;
        while at != NOTHING {
            total += u128::from(self.tree.block(at).work);
            at = self.tree.parent(at);
        }
        total
    }

    /// The mean time from block to block on a chain, by what the blocks say of themselves.
    pub fn interval(&self, tip: Rank) -> Option<Duration> {
        // Not from the first block on: genesis may be from another age.
        let mut start = tip;
        let mut at = tip;
        while self.tree.parent(at) != NOTHING {
            start = at;
            at = self.tree.parent(at);
        }
        let blocks = u64::try_from(self.tree.height(tip) - self.tree.height(start)).ok()?;
        let span = self.tree.block(tip).time_ms - self.tree.block(start).time_ms;
        let span = u64::try_from(span).ok().filter(|_| blocks > 0)?;
        Some(Duration::from_millis(span / blocks))
    }

    pub fn node(&self, look: usize) -> &'h str {
        self.nodes[self.looks[look].node]
    }

    /// `n1 (op 12, 3.100 s)`.
    pub fn who(&self, look: usize) -> String {
        let Look { op, call, .. } = self.looks[look];
        format!("{} (op {op}, {call})", self.node(look))
    }

    /// `block 00ab12cd.. at height 7`.
    pub fn what(&self, rank: Rank) -> String {
        match rank {
            NOTHING => "no block".to_string(),
            rank => {
                let hash = short(self.tree.block(rank).hash);
                format!("block {hash} at height {}", self.tree.height(rank))
            }
        }
    }
}

/// As much of a hash as a person compares: its end, since proof of work begins with zeros.
pub fn short(hash: &str) -> String {
    let count = hash.chars().count();
    match count > 12 {
        true => format!("..{}", hash.chars().skip(count - 10).collect::<String>()),
        false => hash.to_string(),
    }
}

/// The answer of an operation `head`.
struct Head<'h> {
    node: &'h str,
    hash: &'h str,
    height: Option<i64>,
    finalised: Option<&'h str>,
    heaviest: Option<&'h str>,
    blocks: &'h [Value],
}

impl Head<'_> {
    fn look(&self, op: &Op, node: usize, tip: Rank, tree: &Tree) -> Look {
        let finalised = self.finalised.map(|hash| tree.find(hash));
        Look {
            op: op.index,
            node,
            call: op.call,
            ret: op.ret,
            tip,
            finalised: finalised.flatten(),
            unseen_final: finalised == Some(None),
            heaviest: self.heaviest.and_then(|hash| tree.find(hash)),
        }
    }

    fn of(op: &Op) -> Result<Head<'_>, String> {
        let text = |key: &str| op.output.get(key).and_then(Value::as_text);
        if let (Some(says), Some(asked)) = (text("node"), op.node.as_deref())
            && says != asked
        {
            return Err(format!(
                "{asked} was asked, and it says that it is of {says}"
            ));
        }
        Ok(Head {
            node: text("node")
                .or(op.node.as_deref())
                .ok_or("it has no node")?,
            hash: text("head").ok_or("it has no head")?,
            height: op.output.get("height").and_then(Value::as_int),
            finalised: text("final"),
            heaviest: text("heaviest"),
            blocks: match op.output.get("blocks") {
                None | Some(Value::Nil) => &[],
                Some(blocks) => blocks.as_list().ok_or("its blocks are no list")?,
            },
        })
    }
}

fn block(value: &Value, op: u64) -> Result<Block<'_>, String> {
    let parts = value.as_list().unwrap_or_default();
    let [hash, parent, height, time, work, miner, transactions, ..] = parts else {
        return Err(format!(
            "{value} is not [hash, parent, height, time, work, miner, transactions]"
        ));
    };
    let bad = |what: &str, value: &Value| format!("{value} is not a {what}");
    let text = |value| Value::as_text(value).filter(|text| !text.is_empty());
    Ok(Block {
        hash: text(hash).ok_or_else(|| bad("hash", hash))?,
        parent: parent.as_text().ok_or_else(|| bad("hash", parent))?,
        height: height
            .as_int()
            .filter(|h| (0..1 << 48).contains(h))
            .ok_or_else(|| bad("height", height))?,
        time_ms: time
            .as_int()
            .filter(|t| (-1 << 56..1 << 56).contains(t))
            .ok_or_else(|| bad("time in milliseconds", time))?,
        work: match work {
            Value::Nil => 1,
            Value::Int(n) => u64::try_from(*n).map_err(|_| bad("amount of work", work))?,
            // Beyond 63 bits a number of a history is text.
            Value::Text(digits) => digits.parse().map_err(|_| bad("amount of work", work))?,
            _ => return Err(bad("amount of work", work)),
        },
        miner: miner.as_text().unwrap_or_default(),
        transactions: transactions
            .as_list()
            .ok_or_else(|| bad("list of transactions", transactions))?,
        op,
    })
}

fn by_node(looks: &[Look], nodes: usize) -> Vec<Vec<usize>> {
    let mut by_node = vec![Vec::new(); nodes];
    for (i, look) in looks.iter().enumerate() {
        by_node[look.node].push(i);
    }
    by_node
}

/// That so many looks had to be left out, if any.
fn left_out(unknown: usize) -> Option<String> {
    let looks = match unknown {
        0 => return None,
        1 => "1 look is".to_string(),
        n => format!("{} are", counted(n, "look")),
    };
    Some(format!(
        "{looks} left out: the blocks up to {} were never shown",
        either(unknown, "its head", "their heads")
    ))
}

/// Answers that are not what they should be; the first is quoted.
#[derive(Default)]
struct Unreadable {
    first: Option<String>,
    count: usize,
}

impl Unreadable {
    fn add(&mut self, op: &Op, why: String) {
        self.count += 1;
        self.first
            .get_or_insert_with(|| format!("operation {} is not a head: {why}", op.index));
    }

    fn told(self) -> Vec<String> {
        let more = and_more(1, self.count);
        self.first.into_iter().map(|first| first + &more).collect()
    }
}
