//! What transactions saw of each other and what they wrote, whatever they are about.

use super::graph::NONE;

/// Who "wrote" what a key holds at the start.
pub const START: u32 = NONE - 1;

/// A read of what another transaction wrote.
#[derive(Clone, Copy, Debug)]
pub struct Saw {
    pub key: u32,
    /// Number of the version; [`NONE`] if the start has none.
    pub version: u32,
    /// Who wrote it, or [`START`].
    pub writer: u32,
}

/// What a transaction left in a key.
#[derive(Clone, Copy, Debug)]
pub struct Wrote {
    pub key: u32,
    pub version: u32,
}

/// Of each transaction that happened, in the order of numbers.
#[derive(Debug)]
pub struct Seen {
    saw: Vec<Saw>,
    saw_starts: Vec<u32>,
    wrote: Vec<Wrote>,
    wrote_starts: Vec<u32>,
}

impl Seen {
    pub fn new() -> Seen {
        Seen {
            saw: Vec::new(),
            saw_starts: vec![0],
            wrote: Vec::new(),
            wrote_starts: vec![0],
        }
    }

    pub fn len(&self) -> usize {
        self.saw_starts.len() - 1
    }

    pub fn bytes(&self) -> u64 {
        (self.saw.capacity() * size_of::<Saw>()
            + self.wrote.capacity() * size_of::<Wrote>()
            + self.saw_starts.capacity() * 8) as u64
    }

    pub fn read(&mut self, saw: Saw) {
        self.saw.push(saw);
    }

    /// A later version of the same key takes the place of this one.
    pub fn write(&mut self, wrote: Wrote) {
        self.wrote.push(wrote);
    }

    /// All of the transaction at hand was told.
    pub fn close(&mut self) {
        let begin = self.wrote_starts.last().copied().unwrap_or(0) as usize;
        // Of each key the last: sorting is stable.
        self.wrote[begin..].sort_by_key(|wrote| wrote.key);
        let mut kept = begin;
        for at in begin..self.wrote.len() {
            if kept > begin && self.wrote[kept - 1].key == self.wrote[at].key {
                kept -= 1;
            }
            self.wrote[kept] = self.wrote[at];
            kept += 1;
        }
        self.wrote.truncate(kept);
        self.saw_starts.push(self.saw.len() as u32);
        self.wrote_starts.push(kept as u32);
    }

    /// What it read of others, in its order.
    #[inline]
    pub fn saw(&self, txn: u32) -> &[Saw] {
        let at = txn as usize;
        &self.saw[self.saw_starts[at] as usize..self.saw_starts[at + 1] as usize]
    }

    /// What it left, one a key, by key.
    #[inline]
    pub fn wrote(&self, txn: u32) -> &[Wrote] {
        let at = txn as usize;
        &self.wrote[self.wrote_starts[at] as usize..self.wrote_starts[at + 1] as usize]
    }

    /// What it left in a key.
    #[inline]
    pub fn wrote_to(&self, txn: u32, key: u32) -> Option<Wrote> {
        let wrote = self.wrote(txn);
        let at = wrote.binary_search_by_key(&key, |wrote| wrote.key).ok()?;
        Some(wrote[at])
    }
}
