//! `history.jsonl`: a header line, then one event a line, appended only.
//!
//! ```text
//! {"schism":"history","version":1}
//! {"index":0,"time":1024,"process":0,"type":"invoke","f":"write","value":[3,17],"node":"n1"}
//! {"index":1,"time":9731,"process":0,"type":"ok","f":"write","value":[3,17],"node":"n1"}
//! ```
//!
//! A controller that is killed can tear at most the last line. [`read`] drops a torn last line and
//! says so; anything else that is not as above is an error with its line and column.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Event, History, Malformed};

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
}

/// A history as found on disk.
#[derive(Debug)]
pub struct Loaded {
    pub history: History,
    /// What was cut from the end, when the last line was torn.
    pub torn: Option<Torn>,
}

/// A last line that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    pub line: u64,
    pub bytes: u64,
}

/// Reads a whole history.
pub fn read(mut from: impl BufRead) -> Result<Loaded, ReadError> {
    let mut buf = Vec::with_capacity(512);
    from.read_until(b'\n', &mut buf)?;
    if buf.is_empty() {
        return Err(ReadError::Empty);
    }
    let header: Header = serde_json::from_slice(&buf).map_err(|e| ReadError::NoHeader {
        reason: e.to_string(),
    })?;
    if header.schism != "history" {
        return Err(ReadError::NoHeader {
            reason: format!("it says {:?}", header.schism),
        });
    }
    if header.version != VERSION {
        return Err(ReadError::Version {
            found: header.version,
        });
    }
    let mut events: Vec<Event> = Vec::new();
    let mut torn = None;
    let mut line = 1;
    loop {
        buf.clear();
        let bytes = from.read_until(b'\n', &mut buf)? as u64;
        if bytes == 0 {
            break;
        }
        line += 1;
        match serde_json::from_slice(&buf) {
            Ok(event) => events.push(event),
            // Only the writer's death leaves a line without its newline.
            Err(_) if buf.last() != Some(&b'\n') => torn = Some(Torn { line, bytes }),
            Err(e) => {
                return Err(ReadError::Event {
                    line,
                    column: e.column() as u64,
                    reason: reason(&e),
                });
            }
        }
    }
    Ok(Loaded {
        history: History::new(events)?,
        torn,
    })
}

/// serde_json says "at line 1 column 5", counting within our one line; the caller knows the real line.
fn reason(e: &serde_json::Error) -> String {
    let text = e.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

/// Writes the header.
pub fn write_header(to: &mut impl Write) -> io::Result<()> {
    let header = Header {
        schism: "history".into(),
        version: VERSION,
    };
    serde_json::to_writer(&mut *to, &header)?;
    to.write_all(b"\n")
}

/// Writes one event as one line. The caller buffers, and flushes often: what has reached the
/// operating system survives the death of the program.
pub fn write_event(to: &mut impl Write, event: &Event) -> io::Result<()> {
    serde_json::to_writer(&mut *to, event)?;
    to.write_all(b"\n")
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
        }
    }

    fn two_events() -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out).unwrap();
        write_event(&mut out, &event(0, Kind::Invoke, Value::pair(1, 2))).unwrap();
        write_event(&mut out, &event(1, Kind::Ok, Value::pair(1, 2))).unwrap();
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let loaded = read(&two_events()[..]).unwrap();
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
}
