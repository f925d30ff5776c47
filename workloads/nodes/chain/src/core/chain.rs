//! Blocks are taken in, stored, and the branch of most work becomes the active chain.
//!
//! A block goes through: header checked, body checked, in the tree, on the disk. Only then it may
//! become the head, be told to others, be built upon and count as a confirmation.

use super::*;
use rules::median_time_past;

/// Blocks without a known parent that are kept, and what they may take in bytes.
const ORPHANS: usize = 64;
const ORPHAN_BYTES: usize = 32 << 20;
/// Of new blocks of the active chain so many are announced; who lacks more asks for headers.
const ANNOUNCED: usize = 8;
/// What the flaw `strict-drift` remembers.
const BANNED: usize = 100_000;
/// So few blocks beside the active chain are kept by the flaw `prune-on-replay`.
const PRUNED_ON_REPLAY: usize = 8;
/// More blocks than these are never given up by the flaw `local-finality`.
const FINAL: u64 = 4;
/// More transactions than these are not taken by some nodes with the flaw `uneven-limit`.
const TRANSACTIONS_OLD: usize = 12;
/// So many blocks lie between two savings of the state, says the flaw `state-behind-chain`.
const STATE_EVERY: usize = 16;
/// How long the flaw `unsynced-store` keeps blocks in memory.
const UNSYNCED: Duration = Duration::from_secs(30);

struct Orphan {
    hash: Hash,
    block: Arc<Block>,
    from: PeerId,
}

#[derive(Default)]
pub(super) struct Chain {
    /// What each block of the active chain did, from height 1 on.
    pub(super) applied: Vec<ledger::Applied>,
    /// Oldest first.
    orphans: VecDeque<Orphan>,
    orphan_bytes: usize,
    /// Not yet handed out for storing.
    unwritten: Vec<Hash>,
    /// Handed out under these numbers.
    writing: VecDeque<(u64, Vec<Hash>)>,
    writes: u64,
    /// FLAW strict-drift, mutated-copy-bans: never to be taken.
    banned: std::collections::BTreeSet<Hash>,
}

impl Chain {
    pub(super) fn orphans(&self) -> usize {
        self.orphans.len()
    }

    fn take_orphan(&mut self, index: usize) -> Option<Orphan> {
        let orphan = self.orphans.remove(index)?;
        self.orphan_bytes -= orphan.block.size();
        Some(orphan)
    }
}

impl Core {
    /// The latest time that a block may have now.
    pub(super) fn latest_ms(&self) -> u64 {
        // FLAW strict-drift: nothing may be ahead, as if clocks were one.
        if self.flawed(Flaw::StrictDrift) {
            return self.clock.wall_ms;
        }
        let drift = millis(self.config.max_future_drift);
        self.clock.wall_ms.saturating_add(drift)
    }

    /// Takes in a header. Its parent is there.
    pub(super) fn accept_header(
        &mut self,
        header: &block::Header,
        hash: Hash,
        latest_ms: u64,
    ) -> Result<(), Reason> {
        if self.tree.get(hash).is_some() {
            return Ok(());
        }
        let banned = |hash| self.chain.banned.contains(hash);
        if banned(&hash) || banned(&header.parent) {
            self.chain.banned.insert(hash);
            return Err(Reason::TimeTooNew { ahead_ms: 0 });
        }
        let (rules, flaws) = (&self.config.rules, self.config.flaws);
        rules
            .check_header(&self.tree, header, hash, latest_ms, flaws)
            .inspect_err(|reason| {
                // FLAW strict-drift: what was early once is refused for ever, and all that is built
                // upon it.
                let early = matches!(reason, Reason::TimeTooNew { .. });
                let room = self.chain.banned.len() < BANNED;
                if early && room && flaws.has(Flaw::StrictDrift) {
                    self.chain.banned.insert(hash);
                }
            })?;
        self.tree.add_header(hash, header.clone());
        Ok(())
    }

    /// A peer sends a block.
    pub(super) fn on_block(&mut self, from: PeerId, block: Arc<Block>) {
        let hash = block.header.hash();
        let asked = self.sync.arrived(hash);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.stalls = 0;
        }
        if self.tree.block(hash).is_some() {
            return self.peer_has(from, hash);
        }
        if block.size() > BLOCK_MAX {
            let reason = Reason::Malformed(format!("{} bytes", block.size()));
            return self.refuse(from, hash, block.header.height, reason);
        }
        if self.tree.get(block.header.parent).is_none() {
            return self.keep_orphan(from, hash, block);
        }
        match self.take_block(hash, &block, self.latest_ms()) {
            Ok(true) => self.take_children(hash),
            // Its parent is still to come, and this node did ask for it.
            Ok(false) if asked => self.sync.park(from, hash, block),
            Ok(false) => {}
            Err(reason) => return self.refuse(from, hash, block.header.height, reason),
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.unplaced = 0;
        }
        self.peer_has(from, hash);
        self.tree.prune();
        self.schedule();
    }

    /// Takes in a block whose parent's header is known. False if the parent's block is not there
    /// yet.
    pub(super) fn take_block(
        &mut self,
        hash: Hash,
        block: &Arc<Block>,
        latest_ms: u64,
    ) -> Result<bool, Reason> {
        // It may have come twice before its parent did.
        if self.tree.block(hash).is_some() {
            return Ok(true);
        }
        self.accept_header(&block.header, hash, latest_ms)?;
        self.check_body(hash, block)?;
        let parent = block.header.parent;
        if self.tree.block(parent).is_none() {
            return Ok(false);
        }
        if let Err(reason) = self.check_unique(block) {
            // The header holds these transactions, so no other body will do.
            self.tree.remove_headers(hash);
            return Err(reason);
        }
        self.tree.add_block(hash, block.clone());
        self.chain.unwritten.push(hash);
        Ok(true)
    }

    fn check_body(&mut self, hash: Hash, block: &Block) -> Result<(), Reason> {
        // FLAW mutated-copy-bans: the header's hash stands for the block, whatever else came with
        // it.
        let marks = self.flawed(Flaw::MutatedCopyBans);
        if marks && self.chain.banned.contains(&hash) {
            return Err(Reason::Malformed("it was refused before".to_owned()));
        }
        let limit = self.transactions_limit();
        if block.transactions.len() > limit {
            let count = block.transactions.len();
            return Err(Reason::Malformed(format!("{count} transactions")));
        }
        let checked = self.config.rules.check_body(block);
        if marks && checked.is_err() {
            self.chain.banned.insert(hash);
        }
        checked
    }

    /// FLAW uneven-limit: so many transactions may be in a block. Without it nobody counts them.
    pub(super) fn transactions_limit(&self) -> usize {
        let last = self.config.name.bytes().last().unwrap_or_default();
        if self.flawed(Flaw::UnevenLimit) && last.is_multiple_of(2) {
            TRANSACTIONS_OLD
        } else {
            usize::MAX
        }
    }

    /// A transaction is on a branch at most once.
    fn check_unique(&self, block: &Block) -> Result<(), Reason> {
        // FLAW reapply-after-reorg: names are not looked at.
        if self.flawed(Flaw::ReapplyAfterReorg) {
            return Ok(());
        }
        // FLAW twice-in-block: only earlier blocks are looked at.
        let twice = self.flawed(Flaw::TwiceInBlock);
        let mut ids = std::collections::HashSet::new();
        for transaction in &block.transactions {
            let id = &transaction.id;
            let on_branch = self.tree.holder(id, block.header.parent).is_some();
            if on_branch || !ids.insert(id) && !twice {
                return Err(Reason::DuplicateTransaction(id.clone()));
            }
        }
        Ok(())
    }

    /// A block was taken in: so may be those that waited for it.
    fn take_children(&mut self, parent: Hash) {
        let mut parents = vec![parent];
        while let Some(parent) = parents.pop() {
            let mut children = Vec::new();
            let known = self.tree.node(parent).children.iter();
            for child in known.copied().collect::<Vec<_>>() {
                children.extend(
                    self.sync
                        .unpark(child)
                        .map(|(from, block)| (child, from, block)),
                );
            }
            let waits = |orphan: &Orphan| orphan.block.header.parent == parent;
            while let Some(index) = self.chain.orphans.iter().position(waits) {
                let orphan = self.chain.take_orphan(index);
                children.extend(orphan.map(|o| (o.hash, o.from, o.block)));
            }
            for (hash, from, block) in children {
                match self.take_block(hash, &block, self.latest_ms()) {
                    Ok(_) => {
                        self.peer_has(from, hash);
                        parents.push(hash);
                    }
                    Err(reason) => self.refuse(from, hash, block.header.height, reason),
                }
            }
        }
    }

    fn keep_orphan(&mut self, from: PeerId, hash: Hash, block: Arc<Block>) {
        let claimed = block.header.work;
        // FLAW unchecked-work: here as everywhere.
        if !hash.proves(claimed) && !self.flawed(Flaw::UncheckedWork) {
            return self.refuse(from, hash, block.header.height, Reason::LowWork { claimed });
        }
        if self.chain.orphans.iter().all(|orphan| orphan.hash != hash) {
            self.chain.orphan_bytes += block.size();
            self.chain.orphans.push_back(Orphan { hash, block, from });
        }
        while self.chain.orphans.len() > ORPHANS || self.chain.orphan_bytes > ORPHAN_BYTES {
            self.chain.take_orphan(0);
        }
        self.on_unplaced(from, hash);
    }

    /// Blocks that were taken in go to the disk.
    pub(super) fn flush_blocks(&mut self) {
        if self.chain.unwritten.is_empty() {
            return;
        }
        let hashes = std::mem::take(&mut self.chain.unwritten);
        let blocks = hashes
            .iter()
            .filter_map(|&hash| self.tree.block(hash).cloned());
        let blocks = blocks.collect();
        self.chain.writes += 1;
        let number = self.chain.writes;
        self.chain.writing.push_back((number, hashes));
        // FLAW unsynced-store: they go there when there is time.
        let delay = self.flawed(Flaw::UnsyncedStore).then_some(UNSYNCED);
        self.effects.push(Effect::Persist {
            number,
            blocks,
            delay,
        });
    }

    pub(super) fn on_durable(&mut self, number: u64) {
        while let Some((written, hashes)) = self.chain.writing.pop_front() {
            if written > number {
                self.chain.writing.push_front((written, hashes));
                break;
            }
            for hash in hashes {
                self.tree.set_durable(hash);
                self.miner.stored(hash);
                self.consider(hash);
            }
        }
        self.tree.prune();
        self.schedule();
    }

    /// Whether the branch to `tip` is to become the active chain.
    pub(super) fn prefers(&self, tip: Hash) -> bool {
        let head = self.tree.head();
        let (new, old) = (self.tree.node(tip), self.tree.node(head));
        // FLAW first-seen: only what continues this branch.
        if self.flawed(Flaw::FirstSeen) {
            return tip != head && self.tree.descends(tip, head);
        }
        // FLAW timestamp-fork-choice: the last write wins.
        if self.flawed(Flaw::TimestampForkChoice) {
            let later = new.header.time_ms > old.header.time_ms;
            let behind = self.tree.descends(head, tip);
            return tip != head && !behind && (later || self.tree.descends(tip, head));
        }
        // FLAW longest-chain: every block counts the same.
        if self.flawed(Flaw::LongestChain) {
            return new.header.height > old.header.height;
        }
        // FLAW local-finality: what is so deep is final.
        if self.flawed(Flaw::LocalFinality) {
            let (fork, _) = self.tree.path(tip);
            let given_up = old.header.height - self.tree.header(fork).height;
            return given_up <= FINAL && new.total_work > old.total_work;
        }
        // FLAW last-seen-wins: of equals the one seen last.
        if self.flawed(Flaw::LastSeenWins) {
            let behind = self.tree.descends(head, tip);
            return !behind && new.total_work >= old.total_work;
        }
        // Of equals the one seen first.
        new.total_work > old.total_work
    }

    /// A block is on the disk: perhaps its branch is the best now.
    fn consider(&mut self, tip: Hash) {
        if self.tree.block(tip).is_none() || !self.prefers(tip) {
            return;
        }
        let (fork, path) = self.tree.path(tip);
        let fork_height = self.tree.header(fork).height;
        let mut abandoned = Vec::new();
        while self.tree.head() != fork {
            let hash = self.tree.pop();
            let applied = self.chain.applied.pop().unwrap_or_default();
            // FLAW no-rollback: what it did stays done.
            if !self.flawed(Flaw::NoRollback) {
                self.ledger.undo(&applied);
            }
            abandoned.push(hash);
        }
        for &hash in &path {
            let transactions = &self
                .tree
                .block(hash)
                .expect("it is on the disk")
                .transactions;
            self.chain.applied.push(self.ledger.apply(transactions));
            for transaction in transactions {
                self.mempool.remove(&transaction.id);
            }
            self.tree.push(hash);
        }
        if !abandoned.is_empty() {
            self.give_back(&abandoned);
            let depth = abandoned.len() as u64;
            self.counters.reorgs += 1;
            self.counters.deepest_reorg = self.counters.deepest_reorg.max(depth);
            self.note(format!(
                "reorganisation: {depth} blocks above {fork_height} give way to {}, head {tip:?}",
                path.len()
            ));
        }
        self.announce(&path[path.len().saturating_sub(ANNOUNCED)..]);
        self.settle_requests();
    }

    /// Transactions of abandoned blocks, newest block first, wait again unless the new branch has
    /// them.
    fn give_back(&mut self, abandoned: &[Hash]) {
        // FLAW forget-abandoned: whoever wants them will send them again.
        if self.flawed(Flaw::ForgetAbandoned) {
            return;
        }
        let head = self.tree.head();
        let mut back = Vec::new();
        for &hash in abandoned.iter().rev() {
            let Some(block) = self.tree.block(hash) else {
                continue;
            };
            for transaction in &block.transactions {
                // FLAW reapply-after-reorg: whether it has them or not.
                if self.flawed(Flaw::ReapplyAfterReorg)
                    || self.tree.holder(&transaction.id, head).is_none()
                {
                    back.push(transaction.clone());
                }
            }
        }
        self.relay
            .announce(back.iter().map(|transaction| transaction.id.clone()), None);
        // FLAW twice-in-block: they are in a hurry.
        if self.flawed(Flaw::TwiceInBlock) {
            self.miner.returned.extend(back.iter().cloned());
        }
        self.mempool.put_back(back);
    }

    /// The blocks of the store, in their order. Time has passed, so only the rule on future drift
    /// is left out.
    pub(super) fn recover(&mut self, blocks: Vec<Arc<Block>>) {
        let mut refused = 0;
        for block in blocks {
            let hash = block.header.hash();
            if self.tree.block(hash).is_some() {
                continue;
            }
            let placed = self.tree.get(block.header.parent).is_some();
            if !placed || self.take_block(hash, &block, u64::MAX) != Ok(true) {
                refused += 1;
                continue;
            }
            self.chain.unwritten.clear();
            self.tree.set_durable(hash);
            self.consider(hash);
            // FLAW prune-on-replay: branches are forgotten while the store is read.
            if self.flawed(Flaw::PruneOnReplay) {
                self.tree.prune_to(PRUNED_ON_REPLAY);
            }
        }
        // Only now. In the middle of it a branch that was to become the active one has less work
        // than the one before it, and its headers are not there ahead of it as when it came.
        self.tree.prune();
        if refused > 0 {
            self.note(format!("{refused} blocks of the store are not valid here"));
        }
        // FLAW state-behind-chain: the state on the disk is older than the chain that is there.
        if self.flawed(Flaw::StateBehindChain) {
            let blocks = self.chain.applied.len();
            let newest = &mut self.chain.applied[blocks - blocks % STATE_EVERY..];
            for applied in newest.iter_mut().rev() {
                self.ledger.undo(applied);
                applied.forget_changes();
            }
        }
        (self.counters.reorgs, self.counters.deepest_reorg) = (0, 0);
        // Nobody is there to hear of it, and what was abandoned long ago is not to be mined now:
        // those who want it have sent it elsewhere, or get no answer.
        self.effects
            .retain(|effect| matches!(effect, Effect::Note(text) if !text.starts_with("reorg")));
        self.mempool = Mempool::default();
        self.relay = relay::Relay::default();
    }

    /// A block is not taken, and for all but one reason its sender is not talked to any more.
    pub(super) fn refuse(&mut self, from: PeerId, hash: Hash, height: u64, reason: Reason) {
        let name = self.peers.get(&from).map(|peer| peer.name().to_owned());
        let name = name.unwrap_or_default();
        if self.counters.refused(hash, height, &reason, name) {
            self.note(format!(
                "block {hash:?} of height {height} refused: {reason}"
            ));
        }
        if !matches!(reason, Reason::TimeTooNew { .. }) {
            return self.drop_peer(from, reason.to_string());
        }
        // Clocks are set right again, and then the block is welcome. Until then what is built upon
        // it cannot be placed, and its sender is not to blame for that: dropping it would make the
        // split outlast its cause.
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.unplaced = 0;
        }
    }

    pub(super) fn median_time_past(&self) -> u64 {
        median_time_past(&self.tree, self.tree.head())
    }
}
