//! Chains and looks at them, told block by block and turned into a history.

use checkers::chain::Chain;
use history::fault::{Action, Note, Receipt};
use history::{Event, History, Kind, Name, Process, Time, Value};

pub const NODES: [&str; 3] = ["n1", "n2", "n3"];

#[derive(Clone, Debug)]
pub struct Block {
    /// Its number as text, so that no rule about work applies.
    pub hash: String,
    /// None: the first.
    pub parent: Option<usize>,
    pub miner: &'static str,
    pub time_ms: i64,
    pub work: i64,
    /// `["t3", "put", "k", 7]`.
    pub transactions: Vec<Value>,
}

#[derive(Clone, Debug)]
pub struct Look {
    pub node: &'static str,
    pub call: u64,
    pub ret: u64,
    pub tip: usize,
    pub finalised: Option<usize>,
    /// The block of most work that the node says it has, where it says so.
    pub heaviest: Option<usize>,
}

/// An operation of a client.
#[derive(Clone, Debug)]
pub struct Asked {
    pub node: &'static str,
    pub call: u64,
    pub ret: u64,
    pub kind: Kind,
    pub f: &'static str,
    pub input: Value,
    pub output: Value,
    /// The block and the transaction; [`usize::MAX`] if the answer names no block.
    pub at: Option<(usize, String)>,
    /// Another height and position than are true of it.
    pub told: (Option<i64>, Option<i64>),
}

/// As runs are judged: which families of faults leave a node's memory as it is, the harness says.
pub fn chain() -> Chain {
    let gentle = ["partition", "packet", "clock", "pause"];
    Chain::new().with_gentle(gentle.map(Name::from))
}

#[derive(Clone, Debug, Default)]
pub struct Story {
    pub blocks: Vec<Block>,
    pub looks: Vec<Look>,
    pub asked: Vec<Asked>,
    /// What a look shows besides: how many blocks its node has refused since its start, by rule.
    pub refused: Vec<(usize, Vec<(&'static str, i64)>)>,
    /// Blocks that say another height than is theirs.
    pub heights: Vec<(usize, i64)>,
    /// Looks at which the node says another height of its head.
    pub said: Vec<(usize, i64)>,
    /// Hashes that blocks name as their parent's, instead of their own's.
    pub parents: Vec<(usize, &'static str)>,
    /// Blocks that nobody shows.
    pub withheld: Vec<usize>,
    /// Looks that show a block once more, as if somebody else had mined it.
    pub forged: Vec<(usize, usize)>,
    /// From, until, family, target. Times are nanoseconds, as everywhere here; [`u64::MAX`]: never
    /// healed.
    pub faults: Vec<(u64, u64, &'static str, &'static str)>,
}

impl Story {
    /// Adds a block and returns its number. Times go on by a second.
    pub fn block(&mut self, parent: Option<usize>, miner: &'static str) -> usize {
        let time_ms = parent.map_or(0, |parent| self.blocks[parent].time_ms) + 1000;
        self.blocks.push(Block {
            hash: format!("b{}", self.blocks.len()),
            parent,
            miner,
            time_ms,
            work: 1,
            transactions: Vec::new(),
        });
        self.blocks.len() - 1
    }

    /// A chain of `count` blocks on `parent`; the last one's number.
    pub fn chain(&mut self, parent: usize, count: usize, miner: &'static str) -> usize {
        (0..count).fold(parent, |parent, _| self.block(Some(parent), miner))
    }

    /// A look that takes a hundredth of a second.
    pub fn look(&mut self, node: &'static str, at: f64, tip: usize) {
        let call = (at * 1e9) as u64;
        self.looks.push(Look {
            node,
            call,
            ret: call + 10_000_000,
            tip,
            finalised: None,
            heaviest: None,
        });
    }

    pub fn path(&self, tip: usize) -> Vec<usize> {
        let mut path = vec![tip];
        while let Some(parent) = self.blocks[path[path.len() - 1]].parent {
            path.push(parent);
        }
        path.reverse();
        path
    }

    pub fn history(&self) -> History {
        // Time, calls first, a number that keeps the order, process, and the rest.
        let mut events: Vec<(u64, bool, usize, Event)> = Vec::new();
        let mut event = |time: u64, process, kind, f: &str, value, node: Option<&str>, version| {
            let event = Event {
                index: 0,
                time: Time(time),
                process,
                kind,
                f: f.into(),
                value,
                error: None,
                node: node.map(Into::into),
                version,
                due: None,
            };
            events.push((time, kind != Kind::Invoke, events.len(), event));
        };
        let mut order: Vec<usize> = (0..self.looks.len()).collect();
        order.sort_by_key(|look| self.looks[*look].ret);
        let mut shown = vec![false; self.blocks.len()];
        let mut nodes: Vec<&str> = self.looks.iter().map(|look| look.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        for number in order {
            let look = &self.looks[number];
            let path = self.path(look.tip);
            let new: Vec<usize> = path
                .iter()
                .copied()
                .filter(|block| !shown[*block] && !self.withheld.contains(block))
                .collect();
            for block in &new {
                shown[*block] = true;
            }
            let watcher = nodes.iter().position(|node| *node == look.node).unwrap();
            let process = Process::Client(1_000_000_000 + watcher as u64);
            let node = Some(look.node);
            event(
                look.call,
                process,
                Kind::Invoke,
                "head",
                Value::Nil,
                node,
                None,
            );
            let mut answer = vec![
                ("node".into(), look.node.into()),
                ("head".into(), self.hash(look.tip)),
                (
                    "height".into(),
                    Value::Int(told(&self.said, number, path.len())),
                ),
            ];
            let mut blocks: Vec<Value> = new.iter().map(|block| self.shown(*block)).collect();
            for (_, block) in self.forged.iter().filter(|(look, _)| *look == number) {
                let mut parts = self.shown(*block).as_list().unwrap().to_vec();
                parts[5] = "forger".into();
                blocks.push(Value::List(parts));
            }
            answer.push(("blocks".into(), Value::List(blocks)));
            if let Some(finalised) = look.finalised {
                answer.push(("final".into(), self.hash(finalised)));
            }
            if let Some(heaviest) = look.heaviest {
                answer.push(("heaviest".into(), self.hash(heaviest)));
            }
            if let Some((_, counts)) = self.refused.iter().find(|(look, _)| *look == number) {
                let counts = counts.iter().map(|(rule, n)| ((*rule).into(), (*n).into()));
                answer.push(("refused".into(), Value::Map(counts.collect())));
            }
            event(
                look.ret,
                process,
                Kind::Ok,
                "head",
                Value::Map(answer),
                node,
                None,
            );
        }
        for (number, asked) in self.asked.iter().enumerate() {
            let process = Process::Client(number as u64);
            let node = Some(asked.node);
            let version = asked.at.as_ref().map(|(block, tx)| {
                if *block == usize::MAX {
                    let nowhere = [Value::Nil, Value::Nil, Value::Nil, tx.as_str().into()];
                    return Value::List(nowhere.to_vec());
                }
                let height = Value::Int(self.path(*block).len() as i64 - 1);
                let height = asked.told.0.map_or(height, Value::Int);
                let name = |transaction: &Value| {
                    transaction
                        .as_list()?
                        .first()?
                        .as_text()
                        .map(str::to_string)
                };
                let mut here = self.blocks[*block].transactions.iter();
                let position = here.position(|one| name(one).as_ref() == Some(tx));
                let position = asked.told.1.unwrap_or(position.unwrap_or(0) as i64);
                let place = [
                    height,
                    position.into(),
                    self.hash(*block),
                    tx.as_str().into(),
                ];
                Value::List(place.to_vec())
            });
            event(
                asked.call,
                process,
                Kind::Invoke,
                asked.f,
                asked.input.clone(),
                node,
                None,
            );
            let output = asked.output.clone();
            event(
                asked.ret, process, asked.kind, asked.f, output, node, version,
            );
        }
        for (fault, (from, until, family, target)) in self.faults.iter().enumerate() {
            let note = |action| Note {
                fault: fault as u64,
                action,
                label: target.to_string(),
                targets: vec![(*target).into()],
                loss: Default::default(),
                receipt: Some(Receipt {
                    held: true,
                    evidence: vec![],
                    ..Receipt::default()
                }),
                in_force_ns: None,
            };
            for (time, kind, action) in [
                (*from, Kind::Invoke, Action::Inject),
                (*from, Kind::Ok, Action::Inject),
                (*until, Kind::Invoke, Action::Heal),
                (*until, Kind::Ok, Action::Heal),
            ]
            .into_iter()
            .filter(|(time, ..)| *time < u64::MAX)
            {
                let value = Value::from_serde(&note(action)).unwrap();
                event(time, Process::Nemesis, kind, family, value, None, None);
            }
        }
        events.sort_by_key(|(time, completes, number, _)| (*time, *completes, *number));
        let events = events
            .into_iter()
            .enumerate()
            .map(|(index, (.., event))| Event {
                index: index as u64,
                ..event
            });
        History::new(events.collect()).expect("every look and operation has its own times")
    }

    fn hash(&self, block: usize) -> Value {
        self.blocks[block].hash.as_str().into()
    }

    fn shown(&self, block: usize) -> Value {
        let Block {
            hash,
            parent,
            miner,
            time_ms,
            work,
            transactions,
        } = &self.blocks[block];
        let above = parent.map_or("0".repeat(64).as_str().into(), |above| self.hash(above));
        let named = self.parents.iter().find(|(number, _)| *number == block);
        let above = named.map_or(above, |(_, parent)| (*parent).into());
        Value::List(vec![
            hash.as_str().into(),
            above,
            Value::Int(told(&self.heights, block, self.path(block).len())),
            Value::Int(*time_ms),
            Value::Int(*work),
            (*miner).into(),
            Value::List(transactions.clone()),
        ])
    }
}

/// The height of the end of so long a path, unless something else is told of it.
fn told(others: &[(usize, i64)], of: usize, length: usize) -> i64 {
    let other = others.iter().find(|(number, _)| *number == of);
    other.map_or(length as i64 - 1, |(_, height)| *height)
}
