//! Transactions that wait for a block, in the order in which they came.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::block::Transaction;

/// Transactions that may wait, and what they may take in bytes.
const TRANSACTIONS: usize = 16_384;
const BYTES: usize = 64 << 20;

#[derive(Default)]
pub(super) struct Mempool {
    queue: BTreeMap<i64, Arc<Transaction>>,
    places: HashMap<String, i64>,
    bytes: usize,
    /// Changes with the content.
    pub(super) version: u64,
    /// Changes whenever something else happens than that one more comes, last in order.
    pub(super) disturbed: u64,
}

impl Mempool {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Arc<Transaction>> {
        self.queue.get(self.places.get(id)?)
    }

    /// A transaction's place in the order.
    pub(super) fn place(&self, id: &str) -> Option<i64> {
        self.places.get(id).copied()
    }

    /// Those after one place and up to another, oldest first; after none: from the first on.
    pub(super) fn between(
        &self,
        after: Option<i64>,
        upto: i64,
    ) -> impl Iterator<Item = &Arc<Transaction>> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let between = self.queue.range((after, Bound::Included(upto)));
        between.map(|(_, transaction)| transaction)
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Transaction>> {
        self.queue.values()
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= TRANSACTIONS || self.bytes >= BYTES
    }

    /// Takes in a transaction, last in order. False if there is no room.
    pub(super) fn push(&mut self, transaction: Arc<Transaction>) -> bool {
        if self.is_full() {
            return false;
        }
        let place = self
            .queue
            .last_key_value()
            .map_or(0, |(place, _)| place + 1);
        self.insert(place, transaction);
        true
    }

    /// Takes back transactions of an abandoned branch, oldest first, before all others: they have
    /// waited longest. Where there is no room the newest go.
    pub(super) fn put_back(&mut self, transactions: Vec<Arc<Transaction>>) {
        self.disturbed += 1;
        for transaction in transactions.into_iter().rev() {
            let place = self
                .queue
                .first_key_value()
                .map_or(0, |(place, _)| place - 1);
            self.insert(place, transaction);
        }
        while self.queue.len() > TRANSACTIONS || self.bytes > BYTES {
            let Some((_, newest)) = self.queue.pop_last() else {
                return;
            };
            self.places.remove(&newest.id);
            self.bytes -= newest.size();
        }
    }

    fn insert(&mut self, place: i64, transaction: Arc<Transaction>) {
        self.remove(&transaction.id);
        self.bytes += transaction.size();
        self.places.insert(transaction.id.clone(), place);
        self.queue.insert(place, transaction);
        self.version += 1;
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some(transaction) = self
            .places
            .remove(id)
            .and_then(|place| self.queue.remove(&place))
        {
            self.bytes -= transaction.size();
            self.version += 1;
            self.disturbed += 1;
        }
    }
}
