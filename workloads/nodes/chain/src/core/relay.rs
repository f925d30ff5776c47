//! Transactions are spread: names are announced, and who lacks one asks for it.

use super::*;
use block::Transaction;
use peer::NAMES;

/// Transactions that are asked for at one time, and peers to ask instead.
const ASKED: usize = 16_384;
const OTHERS: usize = 8;
/// An answer that takes longer is looked for elsewhere.
const TIMEOUT: u64 = 2 * SECOND;
/// Bytes of transactions in one message.
const BATCH: usize = 1 << 20;

struct Asked {
    from: PeerId,
    since: u64,
    /// Who else has it.
    others: Vec<PeerId>,
}

#[derive(Default)]
pub(super) struct Relay {
    asked: BTreeMap<String, Asked>,
    /// To be announced, and who need not be told.
    new: Vec<(String, Option<PeerId>)>,
}

impl Relay {
    pub(super) fn announce(&mut self, ids: impl Iterator<Item = String>, not_to: Option<PeerId>) {
        self.new.extend(ids.map(|id| (id, not_to)));
    }

    pub(super) fn forget_peer(&mut self, id: PeerId) {
        for asked in self.asked.values_mut() {
            asked.others.retain(|&other| other != id);
            if asked.from == id {
                // The next tick asks another.
                asked.since = 0;
            }
        }
    }
}

impl Core {
    /// Whether a transaction is in the mempool or on the active chain.
    pub(super) fn knows_transaction(&self, id: &str) -> bool {
        self.mempool.get(id).is_some() || self.tree.holder(id, self.tree.head()).is_some()
    }

    /// A transaction that makes sense and is new joins those that wait. False if there is no room.
    pub(super) fn admit(&mut self, transaction: Arc<Transaction>, from: Option<PeerId>) -> bool {
        let id = transaction.id.clone();
        if !self.mempool.push(transaction) {
            return false;
        }
        self.relay.announce(std::iter::once(id), from);
        true
    }

    pub(super) fn flush_transactions(&mut self) {
        if self.relay.new.is_empty() {
            return;
        }
        let new = std::mem::take(&mut self.relay.new);
        let peers = self.peers.iter().filter(|(_, peer)| peer.greeted());
        for id in peers.map(|(&id, _)| id).collect::<Vec<_>>() {
            let names = new.iter().filter(|(_, not_to)| *not_to != Some(id));
            let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
            for names in names.chunks(NAMES) {
                self.send(id, Message::HaveTransactions(names.to_vec()));
            }
        }
    }

    /// A new peer hears of everything that waits.
    pub(super) fn greet_with_transactions(&mut self, to: PeerId) {
        let names = self
            .mempool
            .iter()
            .map(|transaction| transaction.id.clone());
        for names in names.collect::<Vec<_>>().chunks(NAMES) {
            self.send(to, Message::HaveTransactions(names.to_vec()));
        }
    }

    pub(super) fn on_have_transactions(&mut self, from: PeerId, ids: Vec<String>) {
        if ids.len() > NAMES || ids.iter().any(|id| id.len() > ID_MAX) {
            return self.drop_peer(from, "malformed: too many or too long names");
        }
        let mut wanted = Vec::new();
        for id in ids {
            if self.knows_transaction(&id) {
                continue;
            }
            if let Some(asked) = self.relay.asked.get_mut(&id) {
                if asked.others.len() < OTHERS && !asked.others.contains(&from) {
                    asked.others.push(from);
                }
            } else if self.relay.asked.len() < ASKED && !self.mempool.is_full() {
                let (since, others) = (self.now, Vec::new());
                self.relay.asked.insert(
                    id.clone(),
                    Asked {
                        from,
                        since,
                        others,
                    },
                );
                wanted.push(id);
            }
        }
        if !wanted.is_empty() {
            self.send(from, Message::GetTransactions(wanted));
        }
    }

    pub(super) fn on_get_transactions(&mut self, from: PeerId, ids: &[String]) {
        if ids.len() > NAMES {
            return self.drop_peer(from, "malformed: too many names");
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for transaction in ids
            .iter()
            .filter_map(|id| self.mempool.get(id))
            .cloned()
            .collect::<Vec<_>>()
        {
            bytes += transaction.size();
            batch.push(transaction);
            if bytes >= BATCH {
                self.send(from, Message::Transactions(std::mem::take(&mut batch)));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.send(from, Message::Transactions(batch));
        }
    }

    pub(super) fn on_transactions(&mut self, from: PeerId, transactions: Vec<Arc<Transaction>>) {
        for transaction in transactions {
            if let Err(error) = check_transaction(&transaction) {
                return self.drop_peer(from, format!("malformed: {error}"));
            }
            self.relay.asked.remove(&transaction.id);
            if !self.knows_transaction(&transaction.id) {
                self.admit(transaction, Some(from));
            }
        }
    }

    pub(super) fn tick_relay(&mut self) {
        let now = self.now;
        let mut again: BTreeMap<PeerId, Vec<String>> = BTreeMap::new();
        self.relay.asked.retain(|id, asked| {
            if now - asked.since < TIMEOUT {
                return true;
            }
            // Nobody is left to ask: whoever has it says so again when it meets this node again.
            let Some(next) = asked.others.pop() else {
                return false;
            };
            (asked.from, asked.since) = (next, now);
            again.entry(next).or_default().push(id.clone());
            true
        });
        for (peer, ids) in again {
            for ids in ids.chunks(NAMES) {
                self.send(peer, Message::GetTransactions(ids.to_vec()));
            }
        }
    }
}
