//! One core on a bench: messages are put into it by hand, and a forest of blocks to do it with.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chain::core::block::{Block, Hash, Header, Op, Transaction};
use chain::core::message::{
    Answer, Effect, Input, Message, Now, PeerId, Question, Reply, Request, RequestId,
};
use chain::core::{Config, Core, Recovered, Rules};
use chain::flaws::Flaws;

use crate::judge::expected_work;

pub const BEGIN_MS: u64 = 1_795_000_000_000;
const MS: u64 = 1_000_000;

/// A world in which work costs nothing.
pub fn rules() -> Rules {
    Rules {
        block_interval: Duration::from_secs(1),
        first_work: 2,
        retarget_every: 4,
        accounts: 4,
        balance: 100,
    }
}

pub struct Bench {
    pub core: Core,
    now_ms: u64,
    next_peer: PeerId,
    /// What the core wants done, but for storing, which is done at once.
    pub effects: Vec<Effect>,
}

impl Bench {
    pub fn new(rules: Rules) -> Bench {
        Bench::restarted(rules, Vec::new())
    }

    pub fn restarted(rules: Rules, blocks: Vec<Arc<Block>>) -> Bench {
        Bench::flawed(rules, blocks, Flaws::default())
    }

    pub fn flawed(rules: Rules, blocks: Vec<Arc<Block>>, flaws: Flaws) -> Bench {
        let config = Config {
            name: "me".to_owned(),
            rules,
            max_future_drift: Duration::from_secs(7200),
            request_timeout: Duration::from_secs(30),
            flaws,
            seed: 1,
        };
        let core = Core::new(config, Recovered { blocks }, now(0));
        Bench {
            core,
            now_ms: 0,
            next_peer: 1,
            effects: Vec::new(),
        }
    }

    pub fn input(&mut self, input: Input) {
        let now = now(self.now_ms);
        self.core.step(now, input);
        loop {
            let effects = self.core.effects();
            let mut written = None;
            for effect in effects {
                match effect {
                    Effect::Persist { number, .. } => written = Some(number),
                    effect => self.effects.push(effect),
                }
            }
            match written {
                Some(number) => self.core.step(now, Input::Durable(number)),
                None => return,
            }
        }
    }

    /// A peer connects and says hello.
    pub fn peer(&mut self, name: &str, head: Hash) -> PeerId {
        let id = self.next_peer;
        self.next_peer += 1;
        self.input(Input::PeerUp(id));
        let hello = Message::Hello {
            genesis: self.genesis(),
            node: name.to_owned(),
            head,
            height: 0,
        };
        self.message(id, hello);
        id
    }

    pub fn genesis(&self) -> Hash {
        self.core
            .blocks(None, usize::MAX)
            .unwrap()
            .last()
            .unwrap()
            .0
    }

    pub fn message(&mut self, from: PeerId, message: Message) {
        self.input(Input::Message(from, message));
    }

    /// Lets time pass, with ticks as a process has them.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now_ms + span.as_millis() as u64;
        while self.now_ms < end {
            self.now_ms += 50;
            self.input(Input::Tick);
        }
    }

    /// What was sent to a peer, newest last; forgets it.
    pub fn sent(&mut self, to: PeerId) -> Vec<Message> {
        let (sent, rest) = std::mem::take(&mut self.effects)
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Send(id, _) if *id == to));
        self.effects = rest;
        let sent: Vec<Effect> = sent;
        let messages = sent.into_iter().filter_map(|effect| match effect {
            Effect::Send(_, message) => Some(message),
            _ => None,
        });
        messages.collect()
    }

    /// The blocks that a peer was asked for.
    pub fn asked(&mut self, of: PeerId) -> Vec<Hash> {
        let sent = self
            .sent(of)
            .into_iter()
            .filter_map(|message| match message {
                Message::GetBlocks(hashes) => Some(hashes),
                _ => None,
            });
        sent.flatten().collect()
    }

    pub fn dropped(&self, peer: PeerId) -> Option<&str> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Drop(id, reason) if *id == peer => Some(reason.as_str()),
            _ => None,
        })
    }

    pub fn look(&mut self, question: Question, confirmations: u64) -> Answer {
        let request = Request::Look {
            question,
            confirmations,
        };
        match self.request(request) {
            Some(Reply::Done(answer, _)) => answer,
            other => panic!("a look is answered at once, not {other:?}"),
        }
    }

    pub fn submit(&mut self, id: &str, op: Op, confirmations: u64) -> Option<Reply> {
        let id = id.to_owned();
        self.request(Request::Submit {
            transaction: Transaction { id, op },
            confirmations,
        })
    }

    fn request(&mut self, request: Request) -> Option<Reply> {
        self.input(Input::Request(RequestId::MAX, request));
        self.replied()
    }

    /// The last reply; forgets it.
    pub fn replied(&mut self) -> Option<Reply> {
        let replies = self.effects.iter();
        let last = replies.rev().find_map(|effect| match effect {
            Effect::Reply(_, reply) => Some(reply.clone()),
            _ => None,
        });
        self.effects
            .retain(|effect| !matches!(effect, Effect::Reply(..)));
        last
    }
}

fn now(ms: u64) -> Now {
    Now {
        monotonic_ns: 1 + ms * MS,
        wall_ms: BEGIN_MS + ms,
    }
}

/// Valid blocks in a tree, by hash.
#[derive(Debug)]
pub struct Forest {
    pub rules: Rules,
    pub genesis: Hash,
    blocks: HashMap<Hash, Arc<Block>>,
    miners: u64,
}

impl Forest {
    pub fn new(rules: Rules) -> Forest {
        let block = rules.genesis();
        let genesis = block.header.hash();
        Forest {
            blocks: HashMap::from([(genesis, Arc::new(block))]),
            miners: 0,
            genesis,
            rules,
        }
    }

    pub fn block(&self, hash: Hash) -> Arc<Block> {
        self.blocks[&hash].clone()
    }

    /// From genesis to `tip`.
    pub fn chain(&self, tip: Hash) -> Vec<(Hash, Arc<Block>)> {
        let mut chain = vec![(tip, self.block(tip))];
        while let Some((_, block)) = chain.last().filter(|(hash, _)| *hash != self.genesis) {
            let parent = block.header.parent;
            chain.push((parent, self.block(parent)));
        }
        chain.reverse();
        chain
    }

    pub fn total_work(&self, tip: Hash) -> u128 {
        let chain = self.chain(tip);
        let works = chain[1..]
            .iter()
            .map(|(_, block)| u128::from(block.header.work));
        works.sum()
    }

    /// A new block upon `parent`, `later_ms` after the earliest time that it may have.
    pub fn grow(&mut self, parent: Hash, later_ms: u64, transactions: Vec<Transaction>) -> Hash {
        let chain = self.chain(parent);
        let recent = chain.iter().rev().take(11);
        let mut times: Vec<u64> = recent.map(|(_, block)| block.header.time_ms).collect();
        times.sort_unstable();
        let least = (times[times.len() / 2] + 1).max(BEGIN_MS - 600_000);
        self.grow_at(parent, least + later_ms, transactions)
    }

    pub fn grow_at(&mut self, parent: Hash, time_ms: u64, transactions: Vec<Transaction>) -> Hash {
        let chain = self.chain(parent);
        let headers: Vec<&Header> = chain.iter().map(|(_, block)| &block.header).collect();
        let transactions: Vec<_> = transactions.into_iter().map(Arc::new).collect();
        // No two blocks are the same, though they have one parent, time and content.
        self.miners += 1;
        let mut header = Header {
            parent,
            height: chain.len() as u64,
            time_ms,
            work: expected_work(&self.rules, &headers),
            miner: format!("m{}", self.miners),
            transactions: Block::transactions_hash(&transactions),
            nonce: 0,
        };
        prove(&mut header);
        let hash = header.hash();
        let block = Block {
            header,
            transactions,
        };
        self.blocks.insert(hash, Arc::new(block));
        hash
    }

    /// A line of empty blocks upon `parent`, oldest first, a second apart, so that the work stays
    /// as it is.
    pub fn line(&mut self, parent: Hash, length: usize) -> Vec<Hash> {
        let mut line: Vec<Hash> = Vec::new();
        for _ in 0..length {
            let parent = line.last().copied().unwrap_or(parent);
            let time_ms = self.blocks[&parent].header.time_ms + 1000;
            line.push(self.grow_at(parent, time_ms.max(BEGIN_MS - 600_000), Vec::new()));
        }
        line
    }

    pub fn headers(&self, hashes: &[Hash]) -> Vec<Header> {
        hashes
            .iter()
            .map(|hash| self.blocks[hash].header.clone())
            .collect()
    }
}

/// Finds a nonce.
pub fn prove(header: &mut Header) {
    while !header.hash().proves(header.work) {
        header.nonce = header.nonce.wrapping_add(1);
    }
}
