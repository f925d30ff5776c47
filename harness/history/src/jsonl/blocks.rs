//! A file in blocks of whole lines, handed out to whoever parses.

use std::io::{self, Read};

use super::{End, Parsed};
use crate::{Exhausted, Meter};

/// A file in pieces that end where lines end.
pub struct Blocks<R> {
    pub from: R,
    /// The beginning of a line whose end is not read yet.
    pub rest: Vec<u8>,
    pub longest: usize,
    /// Read so far.
    pub bytes: u64,
}

/// Why there is no next block.
pub enum Failed {
    Io(io::Error),
    Exhausted(Exhausted),
}

/// Large enough that taking one costs nothing, small enough that many fit into a cache.
pub const BLOCK_BYTES: usize = 1 << 20;

impl<R: Read> Blocks<R> {
    /// The next whole lines; the last has no newline if the file has none at its end. None at the
    /// end. `held` are the bytes that are taken by what was read before.
    pub fn next(&mut self, held: u64, meter: &Meter) -> Result<Option<Vec<u8>>, Failed> {
        let mut block = Vec::with_capacity(self.rest.len() + BLOCK_BYTES);
        block.append(&mut self.rest);
        loop {
            let before = block.len();
            // A block that grows doubles, and is copied.
            let grows = block.capacity() - before < BLOCK_BYTES;
            let bytes = if grows { 3 } else { 1 } * block.capacity() as u64;
            meter.look(held + bytes).map_err(Failed::Exhausted)?;
            let read = (&mut self.from)
                .take(BLOCK_BYTES as u64)
                .read_to_end(&mut block)
                // Who waits for more gives up when the time is over.
                .map_err(|e| {
                    meter
                        .look(0)
                        .map_or_else(Failed::Exhausted, |()| Failed::Io(e))
                })?;
            self.bytes += read as u64;
            if read == 0 {
                return Ok((!block.is_empty()).then_some(block));
            }
            if let Some(at) = block[before..].iter().rposition(|b| *b == b'\n') {
                self.rest = block.split_off(before + at + 1);
                return Ok(Some(block));
            }
            // What is too long is handed on as it is, and refused by whoever parses it.
            if block.len() > self.longest {
                return Ok(Some(block));
            }
        }
    }
}

/// A block, and what its events take until they are counted: they may move when they become more.
const PARSED_TIMES: u64 = 4;

/// What the readers share.
pub struct Source<R> {
    pub blocks: Blocks<R>,
    /// Read already, and not parsed.
    pub first: Option<Vec<u8>>,
    pub failed: Option<Failed>,
    /// Nothing after this matters.
    pub over: bool,
    /// Blocks taken.
    pub number: usize,
    pub events: u64,
    /// Bytes of the blocks that are being parsed, and of the events that were.
    pub held: u64,
    pub meter: Meter,
}

impl<R: Read> Source<R> {
    /// The next block, its number, and what it may cost to parse it.
    pub fn take(&mut self) -> Option<(usize, Vec<u8>, Meter)> {
        let block = match self.first.take() {
            Some(block) => Some(block),
            None if self.over => None,
            None => match self.blocks.next(self.held, &self.meter) {
                Ok(block) => block,
                Err(failed) => {
                    self.failed = Some(failed);
                    None
                }
            },
        };
        self.over |= block.is_none();
        let block = block?;
        self.number += 1;
        self.held += PARSED_TIMES * block.capacity() as u64;
        if let Err(why) = self.meter.look(self.held) {
            self.failed = Some(Failed::Exhausted(why));
            self.over = true;
            return None;
        }
        Some((self.number, block, self.meter.without(self.held)))
    }

    /// A block of so many bytes became this.
    pub fn give(&mut self, bytes: usize, parsed: &Parsed) {
        self.held += parsed.events.bytes() as u64;
        self.held -= PARSED_TIMES * bytes as u64;
        self.events += parsed.events.len() as u64;
        self.over |= !matches!(parsed.end, End::Whole);
        if let End::Exhausted(why) = parsed.end {
            self.failed = Some(Failed::Exhausted(why));
        }
    }
}
