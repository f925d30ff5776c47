//! What the miner is to look for, and what happens when it finds it.

use super::*;
use block::{Header, Transaction};
use rules::median_time_past;

/// A template with new transactions is made after this, one with a new time only after the longer
/// span.
const NEW_TRANSACTIONS: u64 = SECOND / 10;
const NEW_TIME: u64 = SECOND;
/// Templates of the same parent that may still be solved.
const TEMPLATES: usize = 4;
/// About what a template's transactions may take, and how many there are.
const TEMPLATE_MAX: usize = 2 << 20;
const TRANSACTIONS: usize = 4096;
/// So long after a restart the flaw `unchecked-work` waits for its miner.
const PATIENCE: u64 = 3 * SECOND;

#[derive(Default)]
pub(super) struct Miner {
    /// All upon the same parent.
    templates: VecDeque<(u64, Block)>,
    number: u64,
    parent: Option<Hash>,
    made: u64,
    mempool_version: u64,
    outdated: bool,
    /// A block of this node is on its way to the disk; a second one upon the same parent would be
    /// for nothing.
    storing: Option<Hash>,
    /// Blocks of this node.
    pub(super) own: Vec<Hash>,
    /// FLAW unchecked-work: the first template after a restart is yet to be taken for solved.
    pub(super) resumes: bool,
    /// FLAW twice-in-block: what a reorganisation gave back, oldest first.
    pub(super) returned: Vec<Arc<Transaction>>,
}

impl Miner {
    pub(super) fn stored(&mut self, hash: Hash) {
        if self.storing == Some(hash) {
            self.storing = None;
            self.outdated = true;
        }
    }
}

impl Core {
    pub(super) fn tick_miner(&mut self) {
        let age = self.now - self.miner.made;
        let changed = self.miner.mempool_version != self.mempool.version;
        if age >= NEW_TIME || changed && age >= NEW_TRANSACTIONS {
            self.miner.outdated = true;
        }
        // FLAW unchecked-work: a miner that does not answer has surely found it.
        if self.miner.resumes && self.now >= PATIENCE {
            self.miner.resumes = false;
            if let Some((_, block)) = self.miner.templates.back() {
                self.found(block.clone());
            }
        }
    }

    /// Gives the miner something new to look for, if there is.
    pub(super) fn refresh_template(&mut self) {
        let head = self.tree.head();
        let moved = self.miner.parent != Some(head);
        if !moved && (self.miner.storing.is_some() || !self.miner.outdated) {
            return;
        }
        if moved {
            self.miner.templates.clear();
            self.miner.parent = Some(head);
        }
        self.miner.outdated = false;
        self.miner.made = self.now;
        self.miner.mempool_version = self.mempool.version;
        let least = median_time_past(&self.tree, head) + 1;
        if least > self.latest_ms() && !self.flawed(Flaw::MedianUnchecked) {
            // The clock is so far behind the chain that this node would refuse its own block.
            return;
        }
        let block = self.template(head, least);
        let header = block.header.clone();
        self.miner.number += 1;
        let template = self.miner.number;
        self.miner.templates.push_back((template, block));
        if self.miner.templates.len() > TEMPLATES {
            self.miner.templates.pop_front();
        }
        self.effects.push(Effect::Mine { template, header });
    }

    fn template(&mut self, parent: Hash, least_ms: u64) -> Block {
        let most = TRANSACTIONS.min(self.transactions_limit());
        let (mut transactions, mut bytes) = (Vec::new(), 0);
        // FLAW twice-in-block, its other half: what was given back goes first, and waits in the
        // mempool as well.
        let mempool = &self.mempool;
        let returned = &mut self.miner.returned;
        returned.retain(|transaction| mempool.get(&transaction.id).is_some());
        for transaction in returned.iter().chain(mempool.iter()).take(most) {
            bytes += transaction.size();
            if bytes > TEMPLATE_MAX {
                break;
            }
            transactions.push(transaction.clone());
        }
        // FLAW median-unchecked: whatever the clock shows.
        let time_ms = if self.flawed(Flaw::MedianUnchecked) {
            self.clock.wall_ms
        } else {
            self.clock.wall_ms.max(least_ms)
        };
        let header = Header {
            parent,
            height: self.tree.header(parent).height + 1,
            time_ms,
            work: self
                .config
                .rules
                .next_work(&self.tree, parent, self.config.flaws),
            miner: self.config.name.clone(),
            transactions: Block::transactions_hash(&transactions),
            nonce: self.random.draw(),
        };
        Block {
            header,
            transactions,
        }
    }

    pub(super) fn on_solved(&mut self, template: u64, nonce: u64) {
        // A template upon an abandoned head is gone, and so is what was found for it.
        let known = self.miner.templates.iter();
        let Some((_, block)) = known.rev().find(|(number, _)| *number == template) else {
            return;
        };
        let mut block = block.clone();
        block.header.nonce = nonce;
        if !block.header.hash().proves(block.header.work) {
            return self.note(format!("the miner's nonce {nonce} proves no work"));
        }
        self.found(block);
    }

    fn found(&mut self, block: Block) {
        if self.miner.storing.is_some() && self.miner.parent == Some(self.tree.head()) {
            return;
        }
        let (hash, block) = (block.header.hash(), Arc::new(block));
        match self.take_block(hash, &block, self.latest_ms()) {
            Ok(_) => {
                self.miner.storing = Some(hash);
                self.miner.own.push(hash);
            }
            Err(reason) => {
                self.miner.outdated = true;
                self.note(format!("this node's own block is refused: {reason}"));
            }
        }
    }
}
