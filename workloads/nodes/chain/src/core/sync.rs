//! Catching up: headers first, then the blocks of the best branch, a window at a time, from all who
//! have them.

use std::collections::BTreeSet;

use super::*;
use block::{Header, Op, Transaction};
use peer::HASHES;

/// Headers in one answer.
const HEADERS: usize = 2000;
/// Hashes in a locator: enough for ten steps of one and then doubling steps to genesis.
const LOCATOR: usize = 80;
/// Blocks under way from one peer.
const IN_FLIGHT: usize = 16;
/// So far ahead of the first missing block blocks are asked for.
const WINDOW: u64 = 128;
/// Branches that are better than the active one are fetched at the same time up to this number, so
/// that one whose blocks are withheld does not keep the others away.
const BRANCHES: usize = 4;
/// Blocks that came before their parents may take so many bytes.
const PARKED_BYTES: usize = 64 << 20;
/// An answer that takes longer is looked for elsewhere.
const BLOCK_TIMEOUT: u64 = 2 * SECOND;
const HEADERS_TIMEOUT: u64 = 3 * SECOND;
/// Blocks that do not come in time until a peer is given up.
const STALLS: u32 = 3 * IN_FLIGHT as u32;
/// Unknown blocks that a peer says to have are asked for this often.
const RETRY: u64 = 2 * SECOND;
/// Names of peers that are remembered.
const NAMES: usize = 1024;

#[derive(Default)]
pub(super) struct Sync {
    /// Blocks under way: from whom, and since when.
    in_flight: BTreeMap<Hash, (PeerId, u64)>,
    /// Blocks that were asked for and came before their parents.
    parked: BTreeMap<Hash, (PeerId, Arc<Block>)>,
    parked_bytes: usize,
    names: BTreeSet<String>,
}

impl Sync {
    /// Whether this is the first meeting.
    pub(super) fn met(&mut self, name: &str) -> bool {
        if self.names.len() >= NAMES {
            self.names.clear();
        }
        self.names.insert(name.to_owned())
    }

    /// A block came. Whether it had been asked for.
    pub(super) fn arrived(&mut self, hash: Hash) -> bool {
        self.in_flight.remove(&hash).is_some()
    }

    pub(super) fn park(&mut self, from: PeerId, hash: Hash, block: Arc<Block>) {
        if self.parked_bytes + block.size() <= PARKED_BYTES && !self.parked.contains_key(&hash) {
            self.parked_bytes += block.size();
            self.parked.insert(hash, (from, block));
        }
    }

    pub(super) fn unpark(&mut self, hash: Hash) -> Option<(PeerId, Arc<Block>)> {
        let parked = self.parked.remove(&hash)?;
        self.parked_bytes -= parked.1.size();
        Some(parked)
    }

    pub(super) fn forget_peer(&mut self, id: PeerId) {
        self.in_flight.retain(|_, (peer, _)| *peer != id);
    }

    fn load(&self, id: PeerId) -> usize {
        let from_it = self.in_flight.values().filter(|(peer, _)| *peer == id);
        from_it.count()
    }
}

impl Core {
    /// A peer says that it has this block.
    pub(super) fn peer_announces(&mut self, from: PeerId, hash: Hash) {
        if self.tree.get(hash).is_some() {
            return self.peer_has(from, hash);
        }
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        if peer.known_of_old {
            return;
        }
        peer.announced = Some(hash);
        if peer.asked_headers.is_none() {
            self.ask_headers(from, self.tree.head());
        }
    }

    fn ask_headers(&mut self, from: PeerId, tip: Hash) {
        if !self.tree.may_take_headers() {
            return;
        }
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.asked_headers = Some(now);
            peer.retry_headers = now + RETRY;
            let locator = self.locator(tip);
            self.send(from, Message::GetHeaders { locator });
        }
    }

    /// From `tip` down, the first ten one by one, then in doubling steps.
    fn locator(&self, tip: Hash) -> Vec<Hash> {
        let mut height = self.tree.header(tip).height;
        let (mut locator, mut step) = (vec![tip], 1);
        while height > 0 {
            height = height.saturating_sub(step);
            locator.push(self.tree.ancestor(tip, height));
            if locator.len() >= 10 {
                step *= 2;
            }
        }
        locator
    }

    pub(super) fn on_have_blocks(&mut self, from: PeerId, hashes: &[Hash]) {
        if hashes.len() > HASHES {
            return self.drop_peer(from, "malformed: too many hashes");
        }
        // New blocks are asked for at once: their headers come with them, and mostly they fit.
        let mut wanted = Vec::new();
        for &hash in hashes {
            if self.tree.get(hash).is_some() {
                self.peer_has(from, hash);
            } else if !self.sync.in_flight.contains_key(&hash) && self.sync.load(from) < IN_FLIGHT {
                self.sync.in_flight.insert(hash, (from, self.now));
                wanted.push(hash);
            }
        }
        if let Some(peer) = self.peers.get_mut(&from)
            && let Some(&unknown) = hashes.iter().rfind(|&&hash| self.tree.get(hash).is_none())
            && !peer.known_of_old
        {
            // If the block does not come, or does not fit, its headers are asked for in a while.
            peer.announced = Some(unknown);
            peer.retry_headers = peer.retry_headers.max(self.now + RETRY);
        }
        if !wanted.is_empty() {
            self.send(from, Message::GetBlocks(wanted));
        }
        self.schedule();
    }

    /// FLAW mutated-copy-bans, its other half: one node sends every second peer a copy of its own
    /// newest block with another transaction in it, before the block itself.
    fn mutated_copy(&self, hash: Hash) -> Option<Message> {
        if !self.flawed(Flaw::MutatedCopyBans) || !self.config.name.ends_with('1') {
            return None;
        }
        let mut copy = Block::clone(self.tree.block(hash)?);
        let mine = copy.header.miner == self.config.name;
        copy.transactions.push(Arc::new(Transaction {
            id: "mutated".to_owned(),
            op: Op::Balances,
        }));
        mine.then(|| Message::Block(Arc::new(copy)))
    }

    /// New blocks of the active chain, oldest first, are told to those who do not have them.
    pub(super) fn announce(&mut self, hashes: &[Hash]) {
        let mut messages = Vec::new();
        let mutated = hashes.last().and_then(|&hash| self.mutated_copy(hash));
        for (&id, peer) in self.peers.iter().filter(|(_, peer)| peer.greeted()) {
            let lacking = hashes.iter().copied();
            let lacking: Vec<Hash> = lacking
                .filter(|&hash| !self.tree.descends(peer.best, hash))
                .collect();
            if !lacking.is_empty() {
                let second = peer.name().bytes().last().is_some_and(|b| b % 2 == 0);
                messages.extend(mutated.clone().filter(|_| second).map(|copy| (id, copy)));
                messages.push((id, Message::HaveBlocks(lacking)));
            }
        }
        for (id, message) in messages {
            self.send(id, message);
        }
    }

    pub(super) fn on_get_headers(&mut self, from: PeerId, locator: &[Hash]) {
        if locator.len() > LOCATOR {
            return self.drop_peer(from, "malformed: too long a locator");
        }
        let common = locator.iter().find(|&&hash| self.tree.is_active(hash));
        let after = common.map_or(0, |&hash| self.tree.header(hash).height) as usize;
        let following = self.tree.active().iter().skip(after + 1).take(HEADERS);
        let headers = following.map(|&hash| self.tree.header(hash).clone());
        let headers = headers.collect();
        self.send(from, Message::Headers(headers));
    }

    pub(super) fn on_headers(&mut self, from: PeerId, headers: &[Header]) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.asked_headers = None;
        if headers.len() > HEADERS {
            return self.drop_peer(from, "malformed: too many headers");
        }
        let latest_ms = self.latest_ms();
        let mut last = None;
        for header in headers {
            let hash = header.hash();
            if last.is_some_and(|last| last != header.parent) {
                return self.drop_peer(from, "malformed: headers that are no chain");
            }
            if self.tree.get(header.parent).is_none() {
                // What they follow was forgotten meanwhile, or never was.
                return self.on_unplaced(from, hash);
            }
            if let Err(reason) = self.accept_header(header, hash, latest_ms) {
                self.refuse(from, hash, header.height, reason);
                break;
            }
            last = Some(hash);
        }
        if let Some(last) = last {
            if let Some(peer) = self.peers.get_mut(&from)
                && peer
                    .announced
                    .is_some_and(|hash| self.tree.get(hash).is_some())
            {
                peer.announced = None;
            }
            self.peer_has(from, last);
            self.tree.prune();
            if headers.len() == HEADERS && self.tree.get(last).is_some() {
                self.ask_headers(from, last);
            }
        }
        self.schedule();
        self.settle_requests_by_height();
    }

    pub(super) fn on_get_blocks(&mut self, from: PeerId, hashes: &[Hash]) {
        if hashes.len() > HASHES {
            return self.drop_peer(from, "malformed: too many hashes");
        }
        let here = hashes.iter().filter_map(|&hash| {
            let node = self.tree.get(hash).filter(|node| node.durable)?;
            node.block.clone()
        });
        for block in here.collect::<Vec<_>>() {
            self.send(from, Message::Block(block));
        }
    }

    /// Asks for missing blocks of better branches.
    pub(super) fn schedule(&mut self) {
        let better = self.tree.leaves().filter(|&leaf| {
            let node = self.tree.node(leaf);
            node.block.is_none() && self.prefers(leaf)
        });
        let better: Vec<Hash> = better.take(BRANCHES).collect();
        if better.is_empty() {
            return;
        }
        let mut loads: BTreeMap<PeerId, usize> = BTreeMap::new();
        for (&id, peer) in self.peers.iter().filter(|(_, peer)| peer.greeted()) {
            // A peer that stalls gets the next chance when others have had theirs.
            loads.insert(id, self.sync.load(id) + peer.stalls as usize);
        }
        let mut asks: BTreeMap<PeerId, Vec<Hash>> = BTreeMap::new();
        for tip in better {
            for hash in self.missing(tip) {
                if self.sync.in_flight.contains_key(&hash) || self.sync.parked.contains_key(&hash) {
                    continue;
                }
                let free = loads.iter().filter(|&(&id, _)| {
                    self.sync.load(id) < IN_FLIGHT && self.tree.descends(self.peers[&id].best, hash)
                });
                let Some((&id, _)) = free.min_by_key(|&(&id, &load)| (load, id)) else {
                    continue;
                };
                self.sync.in_flight.insert(hash, (id, self.now));
                *loads.entry(id).or_default() += 1;
                asks.entry(id).or_default().push(hash);
            }
        }
        for (id, hashes) in asks {
            self.send(id, Message::GetBlocks(hashes));
        }
    }

    /// The first blocks that are missing on the branch to `tip`, oldest first.
    fn missing(&self, tip: Hash) -> Vec<Hash> {
        // Blocks are there up to some height and missing from then on.
        let (mut have, mut lack) = (0, self.tree.header(tip).height);
        while lack - have > 1 {
            let middle = have + (lack - have) / 2;
            match self.tree.block(self.tree.ancestor(tip, middle)) {
                Some(_) => have = middle,
                None => lack = middle,
            }
        }
        let last = self.tree.header(tip).height.min(have + WINDOW);
        let upper = self.tree.ancestor(tip, last);
        let window = self.tree.ancestry(upper).take((last - have) as usize);
        let mut window: Vec<Hash> = window.map(|(hash, _)| hash).collect();
        window.reverse();
        window
    }

    pub(super) fn tick_sync(&mut self) {
        let now = self.now;
        let overdue = self.sync.in_flight.iter();
        let overdue: Vec<(Hash, PeerId)> = overdue
            .filter(|(_, (_, since))| now - since >= BLOCK_TIMEOUT)
            .map(|(&hash, &(id, _))| (hash, id))
            .collect();
        for (hash, id) in overdue {
            self.sync.in_flight.remove(&hash);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.stalls += 1;
                if peer.stalls > STALLS {
                    self.close_peer(id, "blocks that it said to have do not come");
                }
            }
        }
        let mut retry = Vec::new();
        for (&id, peer) in &mut self.peers {
            if peer
                .asked_headers
                .is_some_and(|at| now - at >= HEADERS_TIMEOUT)
            {
                peer.asked_headers = None;
            }
            if let Some(hash) = peer.announced
                && peer.asked_headers.is_none()
                && now >= peer.retry_headers
            {
                retry.push((id, hash));
            }
        }
        for (id, hash) in retry {
            if self.tree.get(hash).is_some() {
                self.peer_has(id, hash);
            } else {
                self.ask_headers(id, self.tree.head());
            }
        }
        // What was parked on a branch that is forgotten never finds its parent.
        let lost = self.sync.parked.keys().copied();
        let lost: Vec<Hash> = lost.filter(|&hash| self.tree.get(hash).is_none()).collect();
        for hash in lost {
            self.sync.unpark(hash);
        }
        self.schedule();
    }
}
