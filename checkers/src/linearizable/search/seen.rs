//! What was tried.

use std::hash::{Hash, Hasher};

use hashbrown::HashTable;
use rustc_hash::FxHasher;

/// A set of configurations in one piece of memory.
#[derive(Default)]
pub struct Seen {
    words: Vec<u64>,
    /// Where each begins, and its length.
    table: HashTable<(u32, u32)>,
}

impl Seen {
    pub fn insert(&mut self, key: &[u64]) -> bool {
        fn hash(key: &[u64]) -> u64 {
            let mut hasher = FxHasher::default();
            key.hash(&mut hasher);
            hasher.finish()
        }
        let words = &self.words;
        let at = |(from, len): (u32, u32)| &words[from as usize..(from + len) as usize];
        let hashed = hash(key);
        if self.table.find(hashed, |known| at(*known) == key).is_some() {
            return false;
        }
        let place = (self.words.len() as u32, key.len() as u32);
        self.table
            .insert_unique(hashed, place, |known| hash(at(*known)));
        self.words.extend_from_slice(key);
        true
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// What is allocated, and what the next doubling will hold beside it while it copies.
    pub fn bytes(&self) -> u64 {
        (self.words.capacity() * 8 + self.table.capacity() * 10) as u64
    }
}
