//! What is compressed, and the stored form read slowly.

use std::io::Write;

use checkers::{Budget, Meter};
use flate2::Compression;
use flate2::write::GzEncoder;
use history::{History, jsonl};

use crate::packed::{self, Unread};
use crate::{counting, kept, some_memory, well_formed};

/// The decoder of zstd holds its window beside the budget.
const WINDOW: u64 = 100 << 20;

fn unpack(text: &[u8], meter: &Meter) -> Result<History, Unread> {
    packed::read(Box::new(text), None, meter).map(|loaded| loaded.history)
}

/// What is compressed, or is not; and then what is read when it has been compressed in two parts.
pub fn compressed(text: &[u8]) {
    let budget = some_memory(text);
    let (found, most) = counting::most(|| unpack(text, &budget.start()));
    let allowed = budget.memory_bytes + WINDOW + (2 << 20);
    assert!(
        most as u64 <= allowed,
        "{most} bytes, where {allowed} were allowed"
    );
    if let Ok(history) = &found {
        well_formed(history);
    }
    if text.starts_with(&[0x1f, 0x8b]) || text.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return;
    }
    let unlimited = Budget::UNLIMITED.start();
    let plain = unpack(text, &unlimited);
    let (first, second) = text.split_at(text.len() / 2);
    let gzip = |part: &[u8]| {
        let mut to = GzEncoder::new(Vec::new(), Compression::fast());
        to.write_all(part).expect("a vector takes all");
        to.finish().expect("a vector takes all")
    };
    let zstd = |part: &[u8]| zstd::bulk::compress(part, 1).expect("there is memory");
    for parts in [[gzip(first), gzip(second)], [zstd(first), zstd(second)]] {
        match (&plain, unpack(&parts.concat(), &unlimited)) {
            (Ok(plain), Ok(again)) => assert_eq!(*plain, again),
            (Err(Unread::Wrong(plain)), Err(Unread::Wrong(again))) => assert_eq!(*plain, again),
            (plain, again) => panic!("{plain:?}, but compressed {again:?}"),
        }
    }
}

/// The stored form has two readers: a quick one for lines as they are written, and serde for all
/// others. A blank in each line leaves all to the second.
pub fn slowly(text: &[u8]) {
    let lines = text.split_inclusive(|b| *b == b'\n').enumerate();
    let slow: Vec<u8> = lines
        .flat_map(|(number, line)| match line {
            [b'{', rest @ ..] if number > 0 => [b"{ ", rest].concat(),
            line => line.to_vec(),
        })
        .collect();
    match (jsonl::read(text), jsonl::read(&slow[..])) {
        (Ok(quick), Ok(slow)) => {
            assert_eq!(quick.history, slow.history);
            kept(&slow.history);
        }
        (Err(_), Err(_)) => {}
        (quick, slow) => panic!("{quick:?}, but slowly {slow:?}"),
    }
}
