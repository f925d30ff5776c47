//! One conversation with a peer: hello, signs of life, what the peer is known to have, and its end.

use super::*;

/// A peer that was silent for so long is asked for a sign of life; after the second span it is
/// given up.
const PING_AFTER: u64 = SECOND;
const SILENT_AFTER: u64 = 5 * SECOND;
/// Without a tick for so long this process itself was stopped.
const STOPPED_AFTER: u64 = SECOND;
/// Blocks that could not be placed until the peer is dropped, if none is placed in between.
const UNPLACED: u32 = 64;
/// Hashes and names in one announcement.
pub(super) const HASHES: usize = 64;
pub(super) const NAMES: usize = 1000;

pub(super) struct Peer {
    name: Option<String>,
    heard: u64,
    pinged: u64,
    /// The block or header of most work that it has, of those known here.
    pub(super) best: Hash,
    /// The last block that it said to have and that is not known here.
    pub(super) announced: Option<Hash>,
    /// When it was last asked for headers, until it answers.
    pub(super) asked_headers: Option<u64>,
    pub(super) retry_headers: u64,
    /// Blocks that did not come in time since the last that did.
    pub(super) stalls: u32,
    /// Blocks without a known parent since the last that had one.
    pub(super) unplaced: u32,
    /// FLAW no-relay-after-heal: it was met before, so it has nothing new to say.
    pub(super) known_of_old: bool,
}

impl Peer {
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("?")
    }

    pub(super) fn greeted(&self) -> bool {
        self.name.is_some()
    }
}

impl Core {
    pub(super) fn on_peer_up(&mut self, id: PeerId) {
        let peer = Peer {
            name: None,
            heard: self.now,
            pinged: self.now,
            best: self.tree.genesis(),
            announced: None,
            asked_headers: None,
            retry_headers: 0,
            stalls: 0,
            unplaced: 0,
            known_of_old: false,
        };
        self.peers.insert(id, peer);
        let hello = Message::Hello {
            genesis: self.tree.genesis(),
            node: self.config.name.clone(),
            head: self.tree.head(),
            height: self.tree.header(self.tree.head()).height,
        };
        self.send(id, hello);
    }

    pub(super) fn receive(&mut self, from: PeerId, message: Message) {
        // What is still under way from a connection that was given up concerns nobody.
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.heard = self.now;
        let greeted = peer.greeted();
        match message {
            Message::Hello {
                genesis,
                node,
                head,
                ..
            } if !greeted => self.on_hello(from, genesis, node, head),
            Message::Hello { .. } => self.drop_peer(from, "malformed: a second hello"),
            _ if !greeted => self.drop_peer(from, "malformed: no hello"),
            Message::HaveBlocks(hashes) => self.on_have_blocks(from, &hashes),
            Message::HaveTransactions(ids) => self.on_have_transactions(from, ids),
            Message::GetHeaders { locator } => self.on_get_headers(from, &locator),
            Message::Headers(headers) => self.on_headers(from, &headers),
            Message::GetBlocks(hashes) => self.on_get_blocks(from, &hashes),
            Message::Block(block) => self.on_block(from, block),
            Message::GetTransactions(ids) => self.on_get_transactions(from, &ids),
            Message::Transactions(transactions) => self.on_transactions(from, transactions),
            Message::Ping(number) => self.send(from, Message::Pong(number)),
            Message::Pong(_) => {}
        }
    }

    fn on_hello(&mut self, from: PeerId, genesis: Hash, node: String, head: Hash) {
        if genesis != self.tree.genesis() {
            return self.drop_peer(from, format!("another network: genesis {genesis:?}"));
        }
        if node.is_empty() || node.len() > NAME_MAX {
            return self.drop_peer(from, "malformed: the peer's name");
        }
        let met = !self.sync.met(&node);
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.name = Some(node);
        // FLAW no-relay-after-heal: catching up is for those who are new.
        peer.known_of_old = met && self.config.flaws.has(Flaw::NoRelayAfterHeal);
        self.greet_with_transactions(from);
        self.peer_announces(from, head);
    }

    /// The peer has this block, which is known here.
    pub(super) fn peer_has(&mut self, id: PeerId, hash: Hash) {
        let (Some(peer), Some(node)) = (self.peers.get_mut(&id), self.tree.get(hash)) else {
            return;
        };
        if peer.announced == Some(hash) {
            peer.announced = None;
        }
        // A branch that was forgotten meanwhile is worth nothing.
        let best = self.tree.get(peer.best).map_or(0, |best| best.total_work);
        if node.total_work > best || self.tree.get(peer.best).is_none() {
            peer.best = hash;
        }
    }

    pub(super) fn tick_peers(&mut self) {
        let now = self.now;
        // Who was stopped itself has heard nothing, and may not blame others for it.
        if now - self.last_tick > STOPPED_AFTER {
            self.peers.values_mut().for_each(|peer| peer.heard = now);
        }
        let (mut silent, mut quiet) = (Vec::new(), Vec::new());
        for (&id, peer) in &mut self.peers {
            if now - peer.heard >= SILENT_AFTER {
                silent.push(id);
            } else if now - peer.heard >= PING_AFTER
                && now - peer.pinged >= PING_AFTER
                && peer.greeted()
            {
                peer.pinged = now;
                quiet.push(id);
            }
        }
        for id in quiet {
            self.send(id, Message::Ping(now));
        }
        for id in silent {
            self.close_peer(id, "silent");
        }
    }

    /// More blocks that nobody can place: does the peer make them up?
    pub(super) fn on_unplaced(&mut self, from: PeerId, hash: Hash) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.unplaced += 1;
        if peer.unplaced > UNPLACED {
            return self.drop_peer(from, "blocks whose parents never come");
        }
        self.peer_announces(from, hash);
    }

    pub(super) fn drop_peer(&mut self, id: PeerId, reason: impl Into<String>) {
        if self.peers.contains_key(&id) {
            self.effects.push(Effect::Drop(id, reason.into()));
            self.forget_peer(id);
        }
    }

    pub(super) fn close_peer(&mut self, id: PeerId, reason: impl Into<String>) {
        if self.peers.contains_key(&id) {
            self.effects.push(Effect::Close(id, reason.into()));
            self.forget_peer(id);
        }
    }

    pub(super) fn forget_peer(&mut self, id: PeerId) {
        if self.peers.remove(&id).is_some() {
            self.sync.forget_peer(id);
            self.relay.forget_peer(id);
            self.schedule();
        }
    }
}
