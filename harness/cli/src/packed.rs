//! A history of any format, compressed or not, from a stream.
//!
//! It stands by itself, so that the fuzzer reads by the same way: see `harness/fuzz`.

use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;
use history::Meter;
use history::foreign::{self, Format};
use history::jsonl::{Loaded, ReadError};
use zstd::stream::read::Decoder as Zstd;

/// As much of a file as tells what it is.
const BEGINNING: u64 = 4096;

/// Why there is no history.
#[derive(Debug)]
pub enum Unread {
    /// The budget ended; how far it came.
    Exhausted(String),
    /// What is wrong.
    Wrong(String),
}

/// Reads a history under a budget. Without a format, the beginning tells.
pub fn read(
    raw: Box<dyn Read + Send + '_>,
    format: Option<Format>,
    meter: &Meter,
) -> Result<Loaded, Unread> {
    let wrong = |e: &dyn std::fmt::Display| Unread::Wrong(e.to_string());
    // What is missed here because nothing comes is missed by the reader too, which says so.
    let peek = |from, bytes| match (peek(from, bytes), meter.look(0)) {
        (Ok(peeked), _) => Ok(peeked),
        (Err(_), Err(why)) => Err(Unread::Exhausted(format!("{why} before anything was read"))),
        (Err(e), Ok(())) => Err(wrong(&e)),
    };
    let (magic, raw) = peek(raw, 4)?;
    let plain: Box<dyn Read + Send + '_> = match magic[..] {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(raw)),
        // The second is a frame to pass over, with which some tools begin.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            Box::new(Zstd::new(raw).map_err(|e| wrong(&e))?)
        }
        _ => raw,
    };
    let (beginning, plain) = peek(plain, BEGINNING)?;
    let format = match format.or_else(|| Format::sniff(&beginning)) {
        Some(format) => format,
        None if beginning.is_empty() => {
            let why = "the file is empty; with --format it is a history without events";
            return Err(wrong(&why));
        }
        None => {
            let known = Format::ALL.map(Format::name).join(", ");
            let why = format!("this looks like none of {known}; --format says which it is");
            return Err(wrong(&why));
        }
    };
    foreign::read_within(format, plain, meter).map_err(|e| match e {
        ReadError::Exhausted { .. } => Unread::Exhausted(e.to_string()),
        e => wrong(&e),
    })
}

/// A reader, and what it begins with.
type Peeked<'a> = (Vec<u8>, Box<dyn Read + Send + 'a>);

/// The first bytes, and a reader that begins with them.
fn peek<'a>(mut from: Box<dyn Read + Send + 'a>, bytes: u64) -> io::Result<Peeked<'a>> {
    let mut beginning = Vec::new();
    from.by_ref().take(bytes).read_to_end(&mut beginning)?;
    let again = Cursor::new(beginning.clone());
    Ok((beginning, Box::new(again.chain(from))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use history::Budget;

    const TEXT: &[u8] = b"f,value,call,return\nwrite,1,1,2\nread,1,3,4\n";

    fn read(text: &[u8]) -> Result<usize, String> {
        match super::read(Box::new(text), None, &Budget::UNLIMITED.start()) {
            Ok(loaded) => Ok(loaded.history.ops().len()),
            Err(Unread::Wrong(why)) => Err(why),
            Err(Unread::Exhausted(why)) => unreachable!("there is no limit: {why}"),
        }
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(text, 1).unwrap()
    }

    #[test]
    fn all_frames_are_read() {
        // Passed over: its magic number, its length, and so many bytes.
        let other = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
        let (first, last) = TEXT.split_at(20);
        for frames in [
            vec![zstd(TEXT)],
            vec![zstd(first), zstd(last)],
            vec![
                other.clone(),
                zstd(first),
                zstd(b""),
                other.clone(),
                zstd(last),
                other.clone(),
            ],
        ] {
            assert_eq!(read(&frames.concat()), Ok(2), "{} frames", frames.len());
        }
        let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 1].to_vec();
        assert!(read(&[zstd(TEXT), cut(zstd(b"f"))].concat()).is_err());
        assert!(read(&[zstd(TEXT), cut(other)].concat()).is_err());
        assert!(read(&[zstd(TEXT), b"more".to_vec()].concat()).is_err());
    }

    #[test]
    fn a_checksum_that_does_not_match_is_an_error() {
        // As `zstd` writes it: one raw block of 43 bytes, and the checksum.
        let frame = |checksum: [u8; 4]| {
            let head = [0x28, 0xb5, 0x2f, 0xfd, 0x24, TEXT.len() as u8];
            let block = ((TEXT.len() as u32) << 3 | 1).to_le_bytes();
            [&head[..], &block[..3], TEXT, &checksum].concat()
        };
        assert_eq!(read(&frame(CHECKSUM)), Ok(2));
        let said = read(&frame([0; 4])).unwrap_err();
        assert_eq!(said, "Restored data doesn't match checksum");
    }

    /// What `zstd --check` says of the text.
    const CHECKSUM: [u8; 4] = [0x42, 0x6a, 0x21, 0x6a];
}
