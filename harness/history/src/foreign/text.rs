//! A file's text, whole.

use std::io::Read;

use super::wrong;
use crate::Meter;
use crate::jsonl::ReadError;

/// As much as is read before the budget is asked again.
const PIECE_BYTES: u64 = 1 << 20;

pub fn read(mut from: impl Read, meter: &Meter) -> Result<String, ReadError> {
    let mut text = String::new();
    let mut piece = Vec::new();
    loop {
        let bytes = text.len() as u64;
        // The text may be twice as large when it grows.
        let exhausted = |why| ReadError::Exhausted {
            why,
            events: 0,
            bytes,
        };
        meter
            .look((text.capacity() + piece.capacity()) as u64 + bytes)
            .map_err(exhausted)?;
        let read = from.by_ref().take(PIECE_BYTES).read_to_end(&mut piece);
        let read = match (read, meter.look(0)) {
            (Ok(read), _) => read,
            // Who waits for more gives up when the time is over.
            (Err(_), Err(why)) => return Err(exhausted(why)),
            (Err(e), Ok(())) => return Err(e.into()),
        };
        let good = match std::str::from_utf8(&piece) {
            Ok(good) => good,
            // A character may go on in the next piece.
            Err(e) if e.error_len().is_none() && read > 0 => {
                std::str::from_utf8(&piece[..e.valid_up_to()]).expect("so much is valid")
            }
            Err(e) => {
                let good = std::str::from_utf8(&piece[..e.valid_up_to()]);
                text.push_str(good.expect("so much is valid"));
                return Err(wrong(&text, text.len(), "expected UTF-8"));
            }
        };
        let len = good.len();
        text.push_str(good);
        piece.drain(..len);
        if read == 0 {
            return Ok(text);
        }
    }
}
