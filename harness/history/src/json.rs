//! JSON under a budget.

use std::io::{self, BufRead, BufReader, Read};

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{Exhausted, Meter, Value};

/// At most so many bytes of memory for one of the text: `[1,1,...]` becomes a list with a [`Value`]
/// for each two, which is copied when it grows.
const BYTES_FOR_ONE: u64 = 3 * size_of::<Value>() as u64 / 2;

/// The same told by what is seen: values stand behind these, and each is in a list that is copied
/// when it grows; what a text or a number has is held once, and perhaps copied. So many short
/// entries take less than the most that as many bytes can.
fn bytes_for(seen: &[u8]) -> u64 {
    let begins = |b: &&u8| matches!(b, b',' | b':' | b'[' | b'{');
    let values = seen.iter().filter(begins).count() as u64;
    2 * BYTES_FOR_ONE * values + 2 * seen.len() as u64
}

/// A line that is longer is read so that the clock can be asked meanwhile, which takes longer.
const LONG: usize = 1 << 16;

/// Why something was not read.
#[derive(Debug, Error)]
pub enum Unread {
    #[error(transparent)]
    Wrong(#[from] serde_json::Error),
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

/// Reads one thing, and nothing but white space after it; `held` bytes are held already.
pub fn read_within<T: DeserializeOwned>(
    from: impl Read,
    held: u64,
    meter: &mut Meter,
) -> Result<T, Unread> {
    let mut exhausted = None;
    let read = serde_json::from_reader(Ticking {
        from: BufReader::with_capacity(LONG, from),
        held,
        meter,
        exhausted: &mut exhausted,
    });
    match exhausted {
        Some(why) => Err(why.into()),
        None => Ok(read?),
    }
}

/// Reads one line; `held` bytes are held by what was read before.
pub(crate) fn from_line<T: DeserializeOwned>(
    line: &[u8],
    held: u64,
    meter: &mut Meter,
) -> Result<T, Unread> {
    if line.len() > LONG {
        return read_within(line, held, meter);
    }
    meter.tick(held + BYTES_FOR_ONE * line.len() as u64)?;
    Ok(serde_json::from_slice(line)?)
}

/// Ends when the budget does.
struct Ticking<'a, R> {
    from: BufReader<R>,
    held: u64,
    meter: &'a mut Meter,
    exhausted: &'a mut Option<Exhausted>,
}

impl<R: Read> Read for Ticking<'_, R> {
    /// The parser asks for a byte at a time.
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.from.fill_buf()?.read(&mut *to)?;
        self.from.consume(read);
        self.held += bytes_for(&to[..read]);
        self.meter.tick(self.held).map_err(|why| {
            *self.exhausted = Some(why);
            io::Error::other(why)
        })?;
        Ok(read)
    }
}

/// serde_json says "at line 1 column 5", counting within our one line; the caller knows the real
/// line.
pub(crate) fn reason(e: &serde_json::Error) -> String {
    let text = e.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Budget;
    use std::time::Duration;

    #[test]
    fn a_million_short_entries_are_no_more_than_they_take() {
        let entry = r#"{"key":1234567,"ops":[12345678]},"#;
        let text = format!("[{}null]", entry.repeat(20_000));
        // A million of them within two thirds of what a budget has by default: seven values each,
        // for which lists have up to three times the room while they grow.
        let memory_bytes = Budget::default().memory_bytes * 2 / 3 / 50;
        let budget = Budget {
            memory_bytes,
            ..Budget::default()
        };
        let read = read_within::<Value>(text.as_bytes(), 0, &mut budget.start()).unwrap();
        assert!(read.bytes() as u64 <= bytes_for(text.as_bytes()));
    }

    #[test]
    fn what_is_counted_is_no_less_than_what_is_held() {
        for entry in [
            "1,",
            "[],",
            "[1],",
            "[1,2,3],",
            "{},",
            r#"{"a":1},"#,
            r#"{"a":1,"b":2,"c":3},"#,
            r#"{"a":"a text that is held beside the value itself"},"#,
        ] {
            let text = format!("[{}1]", entry.repeat(1_000));
            let meter = &mut Budget::default().start();
            let read = read_within::<Value>(text.as_bytes(), 0, meter).unwrap();
            // The outer list is copied when it grows.
            let copied = size_of_val(read.as_list().unwrap());
            let (held, counted) = (read.bytes() + copied, bytes_for(text.as_bytes()));
            assert!(
                held as u64 <= counted,
                "{entry} {held} bytes, counted as {counted}"
            );
            assert!(held as u64 <= BYTES_FOR_ONE * text.len() as u64, "{entry}");
        }
    }

    #[test]
    fn long_lines_are_read_like_short_ones_and_end_with_the_budget() {
        let list = |items: usize| format!("[{}1]", "1,".repeat(items));
        for items in [3, LONG] {
            let text = list(items);
            let meter = &mut Budget::default().start();
            let read: Value = from_line(text.as_bytes(), 0, meter).unwrap();
            assert_eq!(read, Value::List(vec![Value::Int(1); items + 1]));
            assert!(read.bytes() as u64 <= BYTES_FOR_ONE * text.len() as u64);
            let wrong = text.replace("1]", "1)");
            match from_line::<Value>(wrong.as_bytes(), 0, meter) {
                Err(Unread::Wrong(e)) => {
                    assert_eq!((e.line(), e.column()), (1, wrong.len()));
                    assert_eq!(reason(&e), "expected `,` or `]`");
                }
                other => panic!("{other:?}"),
            }
        }
        let text = list(LONG);
        let budget = Budget {
            memory_bytes: 7 * text.len() as u64,
            ..Budget::default()
        };
        let read = from_line::<Value>(text.as_bytes(), 0, &mut budget.start());
        assert!(matches!(read, Err(Unread::Exhausted(Exhausted::Memory))));
        let budget = Budget {
            time: Duration::ZERO,
            ..Budget::default()
        };
        let meter = &mut budget.start();
        // Past the tick that would have looked at the clock at once.
        let _ = meter.tick(0);
        let read = from_line::<Value>(text.as_bytes(), 0, meter);
        assert!(matches!(read, Err(Unread::Exhausted(Exhausted::Time))));
    }
}
