//! `history.jsonl`: a header line, then one event a line, appended only.
//!
//! ```text
//! {"schism":"history","version":1,"began_ns":8123456789}
//! {"index":0,"time":1024,"process":0,"type":"invoke","f":"write","value":[3,17],"node":"n1"}
//! {"index":1,"time":9731,"process":0,"type":"ok","f":"write","value":[3,17],"node":"n1"}
//! ```
//!
//! `began_ns` is what the monotonic clock of the controller's machine showed at time 0, so that
//! what nodes on the same machine recorded by that clock can be put beside the events. It may be
//! missing.
//!
//! The place of an event is its order (see [`crate::order`]), unless the header says
//! `"equal_times":"overlap"`: what was made of a file of operations, of which only times are known,
//! says so.
//!
//! A controller that is killed can tear at most the last line. [`read`] drops a torn last line and
//! says so; anything else that is not as above is an error with its line and column.

mod blocks;
mod line;

use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::thread;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::blocks::{BLOCK_BYTES, Blocks, Failed, Source};
use crate::columns::Chunk;
use crate::json::{self, Unread};
use crate::order::Placing;
use crate::word::Word;
use crate::{Budget, Event, Exhausted, History, Malformed, Meter, Value, edn};

/// Version of the stored form; a reader refuses what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u32);

/// The version that this code writes.
pub const VERSION: Version = Version(1);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schism: String,
    version: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    equal_times: Option<EqualTimes>,
}

/// What it means that two events have one time, if not that their places are their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EqualTimes {
    Overlap,
}

/// Why a file could not be read as a history. Lines and columns count from 1.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "the file is empty: a history begins with a header line, {{\"schism\":\"history\",...}}"
    )]
    Empty,
    #[error(
        "line 1 is not the header of a history, {{\"schism\":\"history\",\"version\":1}}: {reason}"
    )]
    NoHeader { reason: String },
    #[error("history format version {found:?} is newer than {VERSION:?}, which this program reads")]
    Version { found: Version },
    #[error("line {line}, column {column}: {reason}")]
    Event {
        line: u64,
        column: u64,
        reason: String,
    },
    #[error("not a history: {0}")]
    Malformed(#[from] Malformed),
    #[error("{why} when {events} events, {bytes} bytes of the file, were read")]
    Exhausted {
        why: Exhausted,
        events: u64,
        /// After decompression.
        bytes: u64,
    },
}

/// A history as found on disk.
#[derive(Debug)]
pub struct Loaded {
    pub history: History,
    /// What was cut from the end, when the last line was torn.
    pub torn: Option<Torn>,
    /// What was read otherwise than it is written, a sentence each.
    pub notes: Vec<String>,
}

/// A last line that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    pub line: u64,
    pub bytes: u64,
}

/// Reads a whole history. Two threads parse it, if it is long and there are two processors.
pub fn read(from: impl Read + Send) -> Result<Loaded, ReadError> {
    read_within(from, &Budget::UNLIMITED.start())
}

/// The same under a budget.
pub fn read_within(from: impl Read + Send, meter: &Meter) -> Result<Loaded, ReadError> {
    read_lines(from, LONGEST_LINE_BYTES, meter)
}

/// The same, of lines that are no longer than `longest` bytes.
fn read_lines(from: impl Read + Send, longest: usize, meter: &Meter) -> Result<Loaded, ReadError> {
    let mut blocks = Blocks {
        from,
        rest: Vec::new(),
        longest,
        bytes: 0,
    };
    let nothing = |why| ReadError::Exhausted {
        why,
        events: 0,
        bytes: 0,
    };
    let mut first = match blocks.next(0, meter) {
        Ok(Some(block)) => block,
        Ok(None) => return Err(ReadError::Empty),
        Err(Failed::Io(e)) => return Err(e.into()),
        Err(Failed::Exhausted(why)) => return Err(nothing(why)),
    };
    let block = &mut first;
    let end = block.iter().position(|b| *b == b'\n');
    let header = header(&block[..end.unwrap_or(block.len())])?;
    block.drain(..end.map_or(block.len(), |at| at + 1));
    let (mut parsed, bytes) = parse_all(blocks, first, meter)?;
    let mut line = 1;
    let mut torn = None;
    for (_, chunk) in &mut parsed {
        match std::mem::take(&mut chunk.end) {
            End::Whole => {}
            End::Exhausted(_) => unreachable!("its reader has said so"),
            End::Torn(bytes) => {
                line += 1;
                torn = Some(Torn {
                    line: line + chunk.events.len() as u64,
                    bytes,
                });
            }
            End::Wrong { column, reason } => {
                return Err(ReadError::Event {
                    line: line + chunk.events.len() as u64 + 1,
                    column,
                    reason,
                });
            }
        }
        line += chunk.events.len() as u64;
    }
    let events = line - 1;
    let chunks = parsed.into_iter().map(|(_, chunk)| chunk.events);
    let mut chunks: Vec<Chunk> = chunks.collect();
    let mut placing = Placing::default();
    if header.equal_times.is_none() {
        chunks
            .iter_mut()
            .for_each(|chunk| chunk.place(&mut placing));
    }
    // Our own recorder may stamp two events with one time, and means nothing by it.
    let raised = Some(placing.raised).filter(|raised| raised.back > 0);
    let history = History::of_chunks_within(chunks, &mut meter.clone());
    let history = history.map_err(|why| ReadError::Exhausted { why, events, bytes })?;
    Ok(Loaded {
        history: history?.with_began_ns(header.began_ns),
        torn,
        notes: raised
            .and_then(|raised| raised.note(events as usize))
            .into_iter()
            .collect(),
    })
}

fn header(line: &[u8]) -> Result<Header, ReadError> {
    let header: Header = serde_json::from_slice(line).map_err(|e| ReadError::NoHeader {
        reason: e.to_string(),
    })?;
    if header.schism != "history" {
        return Err(ReadError::NoHeader {
            reason: format!("it says {:?}", header.schism),
        });
    }
    match header.version == VERSION {
        true => Ok(header),
        false => Err(ReadError::Version {
            found: header.version,
        }),
    }
}

/// One reads while the other parses; more would wait for the reader.
const MOST_THREADS: usize = 4;

/// A line that is longer is not read: the memory that a reader takes has a bound.
pub const LONGEST_LINE_BYTES: usize = 256 << 20;

/// What came of a block.
#[derive(Default)]
struct Parsed {
    events: Chunk,
    end: End,
}

#[derive(Default)]
enum End {
    #[default]
    Whole,
    /// The last line had so many bytes and no newline.
    Torn(u64),
    /// The line after the last event.
    Wrong {
        column: u64,
        reason: String,
    },
    Exhausted(Exhausted),
}

/// Parses all blocks, in their order, up to the first that does not end whole; tells how many bytes
/// they had.
fn parse_all<R: Read + Send>(
    blocks: Blocks<R>,
    first: Vec<u8>,
    meter: &Meter,
) -> Result<(Vec<(usize, Parsed)>, u64), ReadError> {
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    // A history of one block is not worth a thread.
    let threads = match first.len() > BLOCK_BYTES / 2 {
        true => cores.min(MOST_THREADS),
        false => 1,
    };
    let longest = blocks.longest;
    let source = Mutex::new(Source {
        blocks,
        first: Some(first),
        failed: None,
        over: false,
        number: 0,
        events: 0,
        held: 0,
        meter: meter.clone(),
    });
    let source_lock = || source.lock().expect("readers do not panic");
    let work = || {
        let mut done = Vec::new();
        let mut stack = Vec::new();
        loop {
            // Not in the loop's condition, which would hold the lock while the block is parsed.
            let taken = source_lock().take();
            let Some((number, block, mut meter)) = taken else {
                return done;
            };
            let parsed = parse(&block, longest, &mut stack, &mut meter);
            source_lock().give(block.capacity(), &parsed);
            done.push((number, parsed));
        }
    };
    let mut parsed = match threads {
        1 => work(),
        n => thread::scope(|scope| {
            let workers: Vec<_> = (0..n).map(|_| scope.spawn(work)).collect();
            let joined = workers
                .into_iter()
                .map(|w| w.join().expect("readers do not panic"));
            joined.flatten().collect()
        }),
    };
    let source = source.into_inner().expect("readers do not panic");
    match source.failed {
        Some(Failed::Io(e)) => return Err(e.into()),
        Some(Failed::Exhausted(why)) => {
            return Err(ReadError::Exhausted {
                why,
                events: source.events,
                bytes: source.blocks.bytes,
            });
        }
        None => {}
    }
    parsed.sort_by_key(|(number, _)| *number);
    Ok((parsed, source.blocks.bytes))
}

fn parse(block: &[u8], longest: usize, stack: &mut Vec<Word>, meter: &mut Meter) -> Parsed {
    let mut parsed = Parsed::default();
    // A block is long if a line is.
    parsed.events.reserve(block.len().min(2 * BLOCK_BYTES) / 80);
    let mut rest = block;
    while !rest.is_empty() {
        match line::read(rest, &mut parsed.events, stack, meter) {
            Ok(Some(len)) => {
                rest = &rest[len..];
                continue;
            }
            Ok(None) => {}
            Err(why) => {
                parsed.end = End::Exhausted(why);
                break;
            }
        }
        let newline = rest.iter().position(|b| *b == b'\n');
        let (line, after) = rest.split_at(newline.map_or(rest.len(), |at| at + 1));
        rest = after;
        if line.len() > longest {
            parsed.end = End::Wrong {
                column: longest as u64,
                reason: format!("the line has more than {longest} bytes"),
            };
            break;
        }
        let bytes = parsed.events.bytes() as u64;
        match json::from_line(line, bytes, meter) {
            Ok(event) if too_deep(&event) => {
                parsed.end = End::Wrong {
                    column: 1,
                    reason: format!("its value is nested more than {} deep", edn::DEEPEST),
                };
                break;
            }
            Ok(event) => parsed.events.push_event(&event),
            Err(Unread::Exhausted(why)) => {
                parsed.end = End::Exhausted(why);
                break;
            }
            // Only the writer's death leaves a line without its newline.
            Err(Unread::Wrong(_)) if newline.is_none() => {
                parsed.end = End::Torn(line.len() as u64);
            }
            Err(Unread::Wrong(e)) => {
                parsed.end = End::Wrong {
                    column: e.column() as u64,
                    reason: json::reason(&e),
                };
                break;
            }
        }
    }
    parsed.events.shrink();
    parsed
}

fn too_deep(event: &Event) -> bool {
    event.value.is_too_deep() || event.version.as_ref().is_some_and(Value::is_too_deep)
}

/// Writes the header.
pub fn write_header(to: &mut impl Write, began_ns: Option<u64>) -> io::Result<()> {
    let header = Header {
        schism: "history".into(),
        version: VERSION,
        began_ns,
        equal_times: None,
    };
    write_line(to, &header)
}

fn write_line(to: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

/// Writes one event as one line. The caller buffers, and flushes often: what has reached the
/// operating system survives the death of the program.
pub fn write_event(to: &mut impl Write, event: &Event) -> io::Result<()> {
    write_line(to, event)
}

/// Writes a whole history.
pub fn write(to: &mut impl Write, history: &History) -> io::Result<()> {
    let columns = history.columns();
    let header = Header {
        schism: "history".into(),
        version: VERSION,
        began_ns: history.began_ns(),
        equal_times: columns.has_ties().then_some(EqualTimes::Overlap),
    };
    write_line(to, &header)?;
    columns
        .rows()
        .try_for_each(|row| write_event(to, &columns.event(row)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Process, Time, Value};

    fn event(index: u64, kind: Kind, value: Value) -> Event {
        Event {
            index,
            time: Time(index * 10),
            process: Process::Client(0),
            kind,
            f: "write".into(),
            value,
            error: None,
            node: Some("n1".into()),
            version: None,
            due: None,
        }
    }

    fn two_events() -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, Some(1_000)).unwrap();
        write_event(&mut out, &event(0, Kind::Invoke, Value::pair(1, 2))).unwrap();
        write_event(&mut out, &event(1, Kind::Ok, Value::pair(1, 2))).unwrap();
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let loaded = read(&two_events()[..]).unwrap();
        assert_eq!(loaded.history.time_of(1_010), Some(Time(10)));
        assert_eq!(loaded.history.time_of(999), None);
        let foreign = read(&b"{\"schism\":\"history\",\"version\":1}\n"[..]).unwrap();
        assert_eq!(foreign.history.time_of(1_010), None);
        assert_eq!(loaded.torn, None);
        assert_eq!(loaded.history.events().len(), 2);
        assert_eq!(
            loaded.history.events()[1],
            event(1, Kind::Ok, Value::pair(1, 2))
        );
        assert_eq!(loaded.history.ops()[0].ret, Time(10));
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_is_torn() {
        let whole = two_events();
        let last = whole[..whole.len() - 1]
            .iter()
            .rposition(|b| *b == b'\n')
            .unwrap()
            + 1;
        for cut in last + 1..whole.len() - 1 {
            let loaded = read(&whole[..cut]).unwrap();
            assert_eq!(loaded.history.events().len(), 1, "cut at {cut}");
            assert_eq!(
                loaded.torn,
                Some(Torn {
                    line: 3,
                    bytes: (cut - last) as u64
                })
            );
        }
    }

    #[test]
    fn damage_elsewhere_names_line_and_column() {
        let text = String::from_utf8(two_events()).unwrap();
        let bad = text.replacen("\"invoke\"", "\"began\"", 1);
        let ReadError::Event {
            line,
            column,
            reason,
        } = read(bad.as_bytes()).unwrap_err()
        else {
            panic!("wrong kind of error");
        };
        assert_eq!(line, 2);
        assert_eq!(
            column as usize,
            bad.lines().nth(1).unwrap().find("began").unwrap() + "began\"".len()
        );
        assert!(reason.contains("unknown variant `began`"), "{reason}");
    }

    #[test]
    fn foreign_empty_and_newer_files_are_refused() {
        assert!(matches!(read(&b""[..]), Err(ReadError::Empty)));
        assert!(matches!(
            read(&b"\x00\x01\xff"[..]),
            Err(ReadError::NoHeader { .. })
        ));
        assert!(matches!(
            read(&b"{\"schism\":\"history\",\"version\":99}\n"[..]),
            Err(ReadError::Version { found: Version(99) })
        ));
    }

    /// Longer than several blocks, so that several threads read it.
    fn long() -> (Vec<Event>, Vec<u8>) {
        let mut events = Vec::new();
        let mut out = Vec::new();
        write_header(&mut out, Some(1_000)).unwrap();
        while out.len() < 3 * BLOCK_BYTES + 4321 {
            let index = events.len() as u64;
            let kind = [Kind::Invoke, Kind::Ok][index as usize % 2];
            let value = match index % 7 {
                0 => Value::text("a text that is escaped: \\ é"),
                n => Value::pair(n as i64, index as i64),
            };
            let mut event = event(index, kind, value);
            event.version = (index % 5 == 1).then_some(Value::Int(index as i64));
            event.error = (index % 9 == 1).then(|| "late".to_string());
            write_event(&mut out, &event).unwrap();
            events.push(event);
        }
        (events, out)
    }

    #[test]
    fn long_histories_are_read_whole_and_in_order() {
        let (events, text) = long();
        let loaded = read(&text[..]).unwrap();
        assert_eq!(loaded.torn, None);
        assert_eq!(loaded.history.events(), events);
        assert_eq!(loaded.history, History::new(events).unwrap());
        for op in loaded.history.ops().iter().step_by(1000) {
            assert_eq!(loaded.history.find(op.index).as_ref(), Some(op));
            assert_eq!(loaded.history.find(op.index + 1), None);
        }
        let outcomes: Vec<_> = loaded.history.outcomes().collect();
        let ops = loaded.history.ops().iter();
        assert_eq!(outcomes, ops.map(|op| op.outcome).collect::<Vec<_>>());
        let torn = read(&text[..text.len() - 3]).unwrap();
        let line = text.iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(torn.torn.map(|t| t.line), Some(line));
    }

    #[test]
    fn damage_far_in_names_its_line() {
        let (events, text) = long();
        for at in [2, events.len() / 2, events.len() - 1] {
            let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
            let mut bad = lines.clone();
            bad[at] = b"{}\n";
            let line = at as u64 + 1;
            let found = read(&bad.concat()[..]).unwrap_err();
            assert!(
                matches!(&found, ReadError::Event { line: l, .. } if *l == line),
                "{found} at {line}"
            );
            bad[at] = lines[at - 1];
            let found = read(&bad.concat()[..]).unwrap_err();
            let position = at as u64 - 1;
            let expected = Malformed::Index {
                position,
                index: position - 1,
            };
            assert!(
                matches!(&found, ReadError::Malformed(m) if *m == expected),
                "{found}"
            );
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        struct Endless(bool);
        impl Read for Endless {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                buf.fill(b'[');
                if !std::mem::replace(&mut self.0, true) {
                    let header = b"{\"schism\":\"history\",\"version\":1}\n";
                    buf[..header.len()].copy_from_slice(header);
                }
                Ok(buf.len())
            }
        }
        let meter = Budget::UNLIMITED.start();
        let found = read_lines(Endless(false), 5 * BLOCK_BYTES, &meter).unwrap_err();
        assert!(matches!(found, ReadError::Event { line: 2, .. }), "{found}");
    }
}
