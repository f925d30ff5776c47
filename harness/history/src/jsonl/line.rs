//! The quick way to read a line: the one form that [`super::write_event`] writes, byte by byte.
//!
//! It reads nothing that serde would read otherwise, and gives up at the first byte that it does
//! not expect: then serde reads the line, and its errors are those that people see.

use crate::columns::{Chunk, Parts};
use crate::word::{Arena, Word};
use crate::{Exhausted, Kind, Meter, Process, Time};

/// Deeper than any history, and far from where serde gives up.
const DEEPEST: u32 = 32;

/// Reads one event from the beginning of `bytes` into `chunk`, and tells how long its line is, with
/// its newline. None if it is not of the expected form; then `chunk` is as it was.
pub fn read(
    bytes: &[u8],
    chunk: &mut Chunk,
    stack: &mut Vec<Word>,
    meter: &mut Meter,
) -> Result<Option<usize>, Exhausted> {
    let mark = chunk.arena.mark();
    let mut line = Line {
        bytes,
        at: 0,
        meter,
        exhausted: None,
    };
    stack.clear();
    let read = line.event(&mut chunk.arena, stack);
    if let Some(why) = line.exhausted {
        return Err(why);
    }
    match &read {
        Some(parts) => chunk.push(parts),
        None => chunk.arena.back_to(mark),
    }
    Ok(read.map(|_| line.at))
}

/// The number that eight bytes write, if all are digits: the digits of all places at once, in three
/// multiplications (after Lemire, "Quickly parsing eight digits", 2018).
#[inline]
fn eight_digits(bytes: &[u8; 8]) -> Option<u64> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(*bytes);
    // Digits are 0x30 to 0x39: their high halves are 3, and stay so when 6 is added.
    let high = word & (EACH * 0xf0);
    let carried = word.wrapping_add(EACH * 6) & (EACH * 0xf0);
    if high != EACH * 0x30 || carried != EACH * 0x30 {
        return None;
    }
    // First the pairs, then the fours, then the whole; the first digit is the lowest byte.
    let pairs = word & (EACH * 0x0f);
    let pairs = pairs.wrapping_mul((10 << 8) + 1) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul((100 << 16) + 1) >> 16;
    let whole = (fours & 0x0000_ffff_0000_ffff).wrapping_mul((10_000 << 32) + 1) >> 32;
    Some(whole)
}

struct Line<'a, 'm> {
    bytes: &'a [u8],
    at: usize,
    meter: &'m mut Meter,
    exhausted: Option<Exhausted>,
}

/// Lists that are longer ask the budget after each so many items; texts that are longer are read by
/// serde.
const MANY: usize = 1 << 12;

impl<'a> Line<'a, '_> {
    // Inlined, so that each comparison is with bytes and a length that are known.
    #[inline(always)]
    fn eat(&mut self, expected: &[u8]) -> Option<()> {
        self.bytes[self.at..]
            .starts_with(expected)
            .then(|| self.at += expected.len())
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Digits without a leading zero.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let from = self.at;
        let mut n: u64 = 0;
        // Nineteen digits fit; who writes more is read by serde.
        while self.at - from < 16
            && let Some(eight) = self.bytes[self.at..].first_chunk().and_then(eight_digits)
        {
            n = n * 100_000_000 + eight;
            self.at += 8;
        }
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if self.at - from == 19 {
                return None;
            }
            n = n * 10 + u64::from(digit - b'0');
            self.at += 1;
        }
        let digits = self.at - from;
        let padded = digits > 1 && self.bytes[from] == b'0';
        (digits > 0 && !padded && !matches!(self.peek(), Some(b'.' | b'e' | b'E'))).then_some(n)
    }

    /// Plain text up to its closing quote: no escapes, ASCII only.
    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        self.eat(b"\"")?;
        let rest = &self.bytes[self.at..];
        let plain = |b: &u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
        let len = rest.iter().take(MANY).position(|b| !plain(b))?;
        if rest[len] != b'"' {
            return None;
        }
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).ok()
    }

    fn event(&mut self, arena: &mut Arena, stack: &mut Vec<Word>) -> Option<Parts<'a>> {
        self.eat(b"{\"index\":")?;
        let index = self.number()?;
        self.eat(b",\"time\":")?;
        let time = Time(self.number()?);
        self.eat(b",\"process\":")?;
        let process = match self.peek()? {
            b'"' => {
                self.eat(b"\"nemesis\"")?;
                Process::Nemesis
            }
            _ => Process::Client(self.number()?),
        };
        self.eat(b",\"type\":\"")?;
        let kind = match self.peek()? {
            b'o' => self.eat(b"ok\"").map(|()| Kind::Ok),
            b'f' => self.eat(b"fail\"").map(|()| Kind::Fail),
            b'i' if self.eat(b"invoke\"").is_some() => Some(Kind::Invoke),
            _ => self.eat(b"info\"").map(|()| Kind::Info),
        }?;
        self.eat(b",\"f\":")?;
        let f = self.text()?;
        let value = match self.eat(b",\"value\":") {
            Some(()) => self.value(arena, stack, 0)?,
            None => Word::NIL,
        };
        let mut text_of = |key: &[u8]| match self.eat(key) {
            Some(()) => self.text().map(Some),
            None => Some(None),
        };
        let error = text_of(b",\"error\":")?;
        let node = text_of(b",\"node\":")?;
        let version = match self.eat(b",\"version\":") {
            // A null is no version to serde.
            Some(()) => Some(self.value(arena, stack, 0)?).filter(|v| *v != Word::NIL),
            None => None,
        };
        let due = match self.eat(b",\"due\":") {
            Some(()) => Some(Time(self.number()?)),
            None => None,
        };
        self.eat(b"}\n")?;
        Some(Parts {
            index,
            time,
            process,
            kind,
            f,
            value,
            error,
            node,
            version,
            due,
        })
    }

    /// None if what is read has become too much.
    #[inline]
    fn grown(&mut self, stack: &[Word], arena: &Arena) -> Option<()> {
        if !stack.len().is_multiple_of(MANY) {
            return Some(());
        }
        // Twice, since both grow by doubling.
        let bytes = 2 * (size_of_val(stack) + arena.bytes());
        self.exhausted = self.meter.look(bytes as u64).err();
        self.exhausted.is_none().then_some(())
    }

    fn value(&mut self, arena: &mut Arena, stack: &mut Vec<Word>, depth: u32) -> Option<Word> {
        if depth == DEEPEST {
            return None;
        }
        let base = stack.len();
        match self.peek()? {
            b'0'..=b'9' => i64::try_from(self.number()?).ok().map(|n| arena.int(n)),
            b'-' => {
                self.at += 1;
                // Minus nothing is a float to serde.
                let n = i64::try_from(self.number()?).ok().filter(|n| *n > 0)?;
                Some(arena.int(-n))
            }
            b'"' => self.text().map(|text| arena.text(text)),
            b'n' => self.eat(b"null").map(|()| Word::NIL),
            b't' => self.eat(b"true").map(|()| Word::bool(true)),
            b'f' => self.eat(b"false").map(|()| Word::bool(false)),
            b'[' => {
                self.at += 1;
                if self.eat(b"]").is_some() {
                    return Some(arena.list(&[]));
                }
                loop {
                    let item = self.value(arena, stack, depth + 1)?;
                    stack.push(item);
                    self.grown(stack, arena)?;
                    if self.eat(b",").is_none() {
                        break;
                    }
                }
                self.eat(b"]")?;
                let list = arena.list(&stack[base..]);
                stack.truncate(base);
                Some(list)
            }
            b'{' => {
                self.at += 1;
                if self.eat(b"}").is_some() {
                    return Some(arena.map(&[]));
                }
                loop {
                    let key = self.text()?;
                    stack.push(arena.text(key));
                    self.eat(b":")?;
                    let value = self.value(arena, stack, depth + 1)?;
                    stack.push(value);
                    self.grown(stack, arena)?;
                    if self.eat(b",").is_none() {
                        break;
                    }
                }
                self.eat(b"}")?;
                let map = arena.map(&stack[base..]);
                stack.truncate(base);
                Some(map)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use proptest::prelude::*;

    /// What the quick way makes of a line, if it takes it.
    fn quick(line: &[u8]) -> Option<Event> {
        let mut chunk = Chunk::default();
        let meter = &mut crate::Budget::UNLIMITED.start();
        let len = read(line, &mut chunk, &mut Vec::new(), meter).unwrap()?;
        assert_eq!(len, line.len());
        // Its index need not be its position here.
        let columns = crate::columns::Columns::new(vec![chunk]).unwrap();
        let row = columns.rows().next().unwrap();
        let index = serde_json::from_slice::<Event>(line).map_or(0, |e| e.index);
        Some(Event {
            index,
            ..columns.event(row)
        })
    }

    const LINES: [&str; 10] = [
        r#"{"index":0,"time":1024,"process":0,"type":"invoke","f":"write","value":[3,17],"node":"n1"}"#,
        r#"{"index":1,"time":9,"process":"nemesis","type":"info","f":"kill","value":{"fault":0,"targets":["n1"]}}"#,
        r#"{"index":2,"time":18446744073709551615,"process":7,"type":"ok","f":"read","value":[-3,null],"version":[1,2]}"#,
        r#"{"index":3,"time":0,"process":9223372036854775808,"type":"fail","f":"cas","value":[1,[2,-0]],"error":"net: no"}"#,
        r#"{"index":4,"time":5,"process":1,"type":"ok","f":"txn","value":[["append","x",9223372036854775807],["r","y",[]]]}"#,
        r#"{"index":5,"time":5,"process":1,"type":"ok","f":"é","value":"a longer text with \"","version":null}"#,
        r#"{"index":6,"time":5,"process":1,"type":"ok","f":"r","value":{"a":{},"a":true,"b":false}}"#,
        r#"{"index":8,"time":1024,"process":3,"type":"invoke","f":"read","value":[3,null],"node":"n1","due":1000}"#,
        r#"{"index":9,"time":1024,"process":3,"type":"invoke","f":"read","value":1,"version":4,"due":18446744073709551615}"#,
        r#"{"index":7,"time":05,"process":1,"type":"ok","f":"r","value":1.5e3}"#,
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn reads_nothing_that_serde_reads_otherwise(
            which in 0..LINES.len(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, any::<prop::sample::Index>()), 0..4),
        ) {
            let mut line = LINES[which].as_bytes().to_vec();
            line.push(b'\n');
            let alphabet = b"{}[]\":,0123456789-.eEnulltruefalseinvoke \\x\xff\n";
            for (place, what, byte) in edits {
                let at = place.index(line.len());
                let byte = alphabet[byte.index(alphabet.len())];
                match what {
                    0 => line[at] = byte,
                    1 => line.insert(at, byte),
                    _ => { line.remove(at); }
                }
                if line.is_empty() {
                    line.push(b'\n');
                }
            }
            // It reads up to the first newline; serde is given whole lines.
            let end = line.iter().position(|b| *b == b'\n').map_or(line.len(), |at| at + 1);
            let line = &line[..end];
            if let Some(event) = quick(line) {
                let slow: Event = serde_json::from_slice(line).unwrap_or_else(|e| {
                    panic!("{e}: {}", String::from_utf8_lossy(line))
                });
                prop_assert_eq!(event, slow);
            }
        }
    }

    proptest! {
        #[test]
        fn eight_digits_are_what_the_standard_library_reads(
            bytes in prop::array::uniform8(prop_oneof![9 => b'0'..=b'9', 1 => any::<u8>()]),
        ) {
            let text = std::str::from_utf8(&bytes).ok();
            let text = text.filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            prop_assert_eq!(eight_digits(&bytes), text.map(|text| text.parse().unwrap()));
        }
    }

    #[test]
    fn takes_what_is_usually_written() {
        let taken: Vec<bool> = LINES
            .iter()
            .map(|line| quick(format!("{line}\n").as_bytes()).is_some())
            .collect();
        assert_eq!(
            taken,
            [
                true, true, false, false, true, false, true, true, false, false
            ]
        );
    }
}
