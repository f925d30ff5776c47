//! Histories that other tools wrote.
//!
//! | format | written by | looks like |
//! | --- | --- | --- |
//! | `edn` | Jepsen, Knossos, Elle, Porcupine's key-value tests | `{:process 0, :type :invoke, :f :read, :value nil}`, one after another or in one vector |
//! | `log` | Jepsen's log, as Porcupine's etcd tests keep it | `INFO  jepsen.util - 4 :invoke :read nil` |
//! | `csv` | anybody | a first line that names the columns, then one operation a line |
//! | `operations` | anybody | the same as JSON, one object a line |
//!
//! An event of EDN may lack `:time` (then its place is its time), `:process` (then there is only
//! one) and `:f` (then it is a `txn`); a `:key` joins its value as `[key value]`. A process that is no
//! number is the nemesis. Other keys are passed over.
//!
//! An operation has `f`, `input`, `output`, `call` and `return`, and if need be `process`, `key` and
//! `status` (`ok`, `fail` or `info`). One without a return, or with status `info`, may have happened or
//! not. Times are integers of any unit. `value` is another name for `input`, and for the `output` of a read.

mod csv;
mod jepsen;
mod log;
mod operations;

use std::io::Read;

use crate::columns::Chunk;
use crate::edn::{Reader, Wrong};
use crate::jsonl::{self, Loaded, ReadError, Torn};
use crate::{Budget, Event, Exhausted, History, Kind, Meter};

pub use jepsen::write_edn;

/// How a history is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jsonl,
    Edn,
    Log,
    Csv,
    Operations,
}

impl Format {
    pub const ALL: [Format; 5] = [
        Format::Jsonl,
        Format::Edn,
        Format::Log,
        Format::Csv,
        Format::Operations,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Edn => "edn",
            Format::Log => "log",
            Format::Csv => "csv",
            Format::Operations => "operations",
        }
    }

    /// What the beginning of a file looks like.
    pub fn sniff(beginning: &[u8]) -> Option<Format> {
        let text = String::from_utf8_lossy(beginning);
        let mut text = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t', ',']);
        while let Some(comment) = text.strip_prefix(';') {
            text = comment
                .split_once('\n')
                .map_or("", |(_, rest)| rest)
                .trim_start();
        }
        let first = text.lines().next().unwrap_or_default();
        let inside = text.get(1..).unwrap_or_default().trim_start();
        match text.chars().next()? {
            '{' if inside.starts_with("\"schism\"") => Some(Format::Jsonl),
            '{' if inside.starts_with('"') => Some(Format::Operations),
            '{' | '[' | '(' | '#' => Some(Format::Edn),
            _ if first.contains(" - ") && first.contains(':') => Some(Format::Log),
            _ if first.contains("call") && first.contains(',') => Some(Format::Csv),
            _ => None,
        }
    }
}

/// Reads a whole history.
pub fn read(format: Format, from: impl Read + Send) -> Result<Loaded, ReadError> {
    read_within(format, from, &Budget::UNLIMITED.start())
}

/// The same under a budget.
pub fn read_within(
    format: Format,
    from: impl Read + Send,
    meter: &Meter,
) -> Result<Loaded, ReadError> {
    if format == Format::Jsonl {
        return jsonl::read_within(from, meter);
    }
    let text = read_text(from, meter)?;
    let events = Events::new(&text, meter);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match format {
        Format::Jsonl => unreachable!("read above"),
        Format::Edn => jepsen::read(text, events),
        Format::Log => log::read(text, events),
        Format::Csv => csv::read(text, events),
        Format::Operations => operations::read(text, events),
    }
}

/// As much as is read before the budget is asked again.
const PIECE_BYTES: u64 = 1 << 20;

fn read_text(mut from: impl Read, meter: &Meter) -> Result<String, ReadError> {
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

/// The error of a place that is wrong.
fn wrong(text: &str, at: usize, reason: impl Into<String>) -> ReadError {
    let (line, column) = Reader::line_and_column(text, at);
    let reason = reason.into();
    ReadError::Event {
        line,
        column,
        reason,
    }
}

/// Events being collected, with their lines, and what they may cost.
struct Events {
    chunk: Chunk,
    lines: Vec<u64>,
    /// Bytes of the text.
    bytes: u64,
    /// What the events take, found now and then: it only grows.
    held: u64,
    /// Of what is left beside the text.
    meter: Meter,
}

impl Events {
    fn new(text: &str, meter: &Meter) -> Events {
        Events {
            chunk: Chunk::default(),
            lines: Vec::new(),
            bytes: text.len() as u64,
            held: 0,
            meter: meter.without(text.len() as u64),
        }
    }

    fn len(&self) -> usize {
        self.lines.len()
    }

    fn push(&mut self, event: Event, line: u64) -> Result<(), ReadError> {
        self.chunk.push_event(&event);
        self.lines.push(line);
        if self.len() % 1024 == 1 {
            self.held = (self.chunk.bytes() + 8 * self.lines.capacity()) as u64;
        }
        self.hold(0)
    }

    /// Fails if there is no room for these events and so many bytes.
    fn hold(&mut self, bytes: u64) -> Result<(), ReadError> {
        let held = self.meter.tick(self.held + bytes);
        held.map_err(|why| self.exhausted(why))
    }

    /// What a reader of something within the text may take.
    fn left(&self) -> Meter {
        self.meter.without(self.held)
    }

    fn exhausted(&self, why: Exhausted) -> ReadError {
        ReadError::Exhausted {
            why,
            events: self.len() as u64,
            bytes: self.bytes,
        }
    }

    /// What was wrong with a form of EDN that begins at `from`.
    fn wrong(&self, text: &str, from: usize, w: Wrong) -> ReadError {
        match w.exhausted {
            Some(why) => self.exhausted(why),
            None => wrong(text, from + w.at, w.reason),
        }
    }

    fn history(mut self, torn: Option<Torn>) -> Result<Loaded, ReadError> {
        self.held = 8 * self.lines.capacity() as u64;
        let chunk = std::mem::take(&mut self.chunk);
        let history = History::of_chunks_within(vec![chunk], &mut self.left());
        let history = history.map_err(|why| self.exhausted(why))?;
        let lines = self.lines;
        let history = history.map_err(|e| ReadError::Event {
            line: e
                .at()
                .and_then(|at| lines.get(at as usize).copied())
                .unwrap_or(1),
            column: 1,
            reason: e.to_string(),
        })?;
        Ok(Loaded { history, torn })
    }
}

fn kind_of(text: &str) -> Option<Kind> {
    Some(match text {
        "invoke" => Kind::Invoke,
        "ok" => Kind::Ok,
        "fail" => Kind::Fail,
        "info" => Kind::Info,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Outcome, Process, Time, Value};
    use proptest::prelude::*;

    fn load(format: Format, text: &str) -> Result<Loaded, String> {
        read(format, text.as_bytes()).map_err(|e| e.to_string())
    }

    /// `f input -> output, outcome, call..ret`
    fn shown(history: &History) -> Vec<String> {
        let one = |op: &Op| {
            let ret = if op.ret == Time::MAX {
                String::new()
            } else {
                op.ret.0.to_string()
            };
            let (f, input, output) = (&op.f, &op.input, &op.output);
            format!(
                "{f} {input} -> {output}, {:?}, {}..{ret}",
                op.outcome, op.call.0
            )
        };
        history.ops().iter().map(one).collect()
    }

    const EDN: &str = "; recorded by hand
[{:process 0, :type :invoke, :f :write, :value 3, :time 10, :index 0}
 #jepsen.history.Op{:process :nemesis, :type :info, :f :start, :value nil, :time 11, :index 1}
 {:process 1, :type :invoke, :f :cas, :value [3 4], :time 11, :index 2, :due 9}
 {:process 0, :type :ok, :f :write, :value 3, :time 15, :index 3, :node \"n1\"}
 {:process 1, :type :info, :f :cas, :value [3 4], :error [:net \"lost\"], :time 20, :index 4}]
";
    const LOG: &str = "INFO  jepsen.util - 0\t:invoke\t:write\t3
WARN  something else
INFO  jepsen.util - 1\t:invoke\t:cas\t[3 4]
INFO  jepsen.util - 0\t:ok\t:write\t3
INFO  jepsen.util - 1\t:info\t:cas\t:timed-out
";
    const CSV: &str = "process,f,key,value,call,return
0,write,x,3,10,15
1,cas,x,[3, 4],11,
0,read,x,4,15,17
2,read,y,\"a \"\"word\"\"\",16,18
";
    const OPERATIONS: &str = "{\"f\":\"write\",\"input\":3,\"call\":10,\"return\":15}
{\"f\":\"read\",\"output\":3,\"call\":15,\"return\":17,\"status\":\"fail\"}
";

    #[test]
    fn each_format_is_recognised_and_read() {
        for (format, text, ops) in [
            (
                Format::Edn,
                EDN,
                &["write 3 -> 3, Ok, 10..15", "cas [3 4] -> nil, Info, 11.."][..],
            ),
            (
                Format::Log,
                LOG,
                &["write 3 -> 3, Ok, 0..2", "cas [3 4] -> nil, Info, 1.."],
            ),
            (
                Format::Csv,
                CSV,
                &[
                    "write [\"x\" 3] -> [\"x\" 3], Ok, 10..15",
                    "cas [\"x\" [3 4]] -> nil, Info, 11..",
                    "read [\"x\" nil] -> [\"x\" 4], Ok, 15..17",
                    "read [\"y\" nil] -> [\"y\" \"a \\\"word\\\"\"], Ok, 16..18",
                ],
            ),
            (
                Format::Operations,
                OPERATIONS,
                &["write 3 -> 3, Ok, 10..15", "read nil -> nil, Fail, 15..17"],
            ),
            (
                Format::Edn,
                "{:index 0 :type :invoke :value [[:r 1 nil]]}",
                &["txn [[\"r\" 1 nil]] -> nil, Info, 0.."],
            ),
            (Format::Edn, "()", &[]),
        ] {
            assert_eq!(Format::sniff(text.as_bytes()), Some(format), "{text}");
            let loaded = load(format, text).unwrap();
            assert_eq!(shown(&loaded.history), ops);
        }
        assert_eq!(
            Format::sniff(b"{\"schism\":\"history\""),
            Some(Format::Jsonl)
        );
        assert_eq!(Format::sniff(b""), None);
        assert_eq!(Format::sniff(b"\x7fELF"), None);
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_wrong_is_said_with_its_place() {
        for (format, text, said) in [
            (Format::Edn, "[{:type :ok,\n :process 0}]", "line 1, column 1: event 0: process 0 completes txn, but has no operation open"),
            (Format::Edn, "{:type :invoke, :process 0, :f :read}\n{:type :invoke, :process 0, :f :read}",
                "line 2, column 1: event 1: process 0 invokes read while its operation 0 is still open"),
            (Format::Edn, "[{:type :invoke, :process 0}", "line 1, column 1: this is never closed"),
            (Format::Edn, "[{:type :begin}]", "line 1, column 2: \"begin\" is not :invoke, :ok, :fail or :info"),
            (Format::Edn, "{:type :invoke :time 9}\n{:type :ok :time 8}", "line 2, column 1: event 1: time goes backwards, from 0.000 s to 0.000 s"),
            (Format::Edn, "{:type :invoke :value 99999999999999999999}", "line 1, column 23: integer 99999999999999999999 does not fit in 64 signed bits"),
            (Format::Edn, "{:type :invoke :due -1}", "line 1, column 1: -1 is not a time: nanoseconds from 0"),
            (Format::Edn, "[1 2]", "line 1, column 2: expected an event, {:process ...}, not 1"),
            (Format::Edn, "[] {:type :ok}", "line 1, column 4: expected nothing after the history"),
            (Format::Log, "I - x :ok :read 1", "line 1, column 5: expected a process: a number or :nemesis"),
            (Format::Log, "I - 1 :ok :read [", "line 1, column 17: this is never closed"),
            (Format::Csv, "f,call\nread,x", "line 2, column 1: call: \"x\" is not a time: an integer from 0"),
            (Format::Csv, "f,colour\n", "line 1, column 1: no column \"colour\": an operation has process, f, key, input, output, value, call, return and status"),
            (Format::Csv, "f,call\nread", "line 2, column 1: expected 2 columns, found 1"),
            (Format::Csv, "f,call\nread,1,2,3", "line 2, column 1: expected 2 columns, found more"),
            (Format::Csv, "f,call,f\n", "line 1, column 1: two columns \"f\""),
            (Format::Edn, "\u{feff}[{:type :ok}]", "line 1, column 1: event 0: process 0 completes txn, but has no operation open"),
            (Format::Edn, "\u{feff}[{:type :oh}]", "line 1, column 2: \"oh\" is not :invoke, :ok, :fail or :info"),
            (Format::Csv, "f,call\n\"read,1", "line 2, column 1: this quote is never closed"),
            (Format::Csv, "process,f,call,return\n1,read,1,5\n1,read,4,7", "line 3, column 1: its process has another operation open, of line 2"),
            (Format::Csv, "f,call,return\nread,3,2", "line 2, column 1: it returns before it is called"),
            (Format::Operations, "{\"f\":1}", "line 1, column 1: f: expected a name, not 1"),
            (Format::Operations, "\n{\"f\":", "line 2, column 5: EOF while parsing a value"),
        ] {
            assert_eq!(load(format, text).map(|l| shown(&l.history)), Err(said.to_string()), "{text}");
        }
        let bytes = b"{:type :invoke}\n \xff";
        let said = read(Format::Edn, &bytes[..]).unwrap_err().to_string();
        assert_eq!(said, "line 2, column 2: expected UTF-8");
    }

    #[test]
    fn a_torn_last_event_is_dropped() {
        let text = "{:type :invoke, :process 0, :f :read}\n{:type :ok, :proc";
        let loaded = load(Format::Edn, text).unwrap();
        assert_eq!(loaded.torn, Some(Torn { line: 2, bytes: 17 }));
        assert_eq!(loaded.history.ops()[0].outcome, Outcome::Info);
    }

    #[test]
    fn a_lost_operation_retires_its_process() {
        let text = "process,f,value,call,return\n0,write,1,0,\n0,read,1,5,6\n0,read,1,6,6\n";
        let history = load(Format::Csv, text).unwrap().history;
        let processes: Vec<Process> = history.ops().iter().map(|op| op.process).collect();
        assert_eq!(
            processes,
            [Process::Client(0), Process::Client(1), Process::Client(1)]
        );
    }

    #[test]
    fn edn_goes_there_and_back() {
        let history = load(Format::Edn, EDN).unwrap().history;
        let mut out = Vec::new();
        write_edn(&history, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(history.ops()[1].due, Some(Time(9)));
        assert!(
            text.starts_with(
                "{:type :invoke, :f :write, :value 3, :process 0, :time 10, :index 0}\n"
            )
        );
        assert_eq!(load(Format::Edn, &text).unwrap().history, history);
    }

    #[test]
    fn of_several_processes_that_are_wrong_the_first_is_named() {
        let wrong = |process| format!("{process},w,1,3\n{process},w,2,4\n");
        let text: String = (0..20).rev().map(wrong).collect();
        let said = load(Format::Csv, &format!("process,f,call,return\n{text}")).unwrap_err();
        assert_eq!(
            said,
            "line 41, column 1: its process has another operation open, of line 40"
        );
    }

    /// What can be read can be stored: the parser of the stored form has a limit of its own.
    #[test]
    fn nesting_ends_where_it_could_not_be_stored() {
        let mut deepest = Vec::new();
        for (format, before, after) in [
            (Format::Edn, "{:type :invoke :f :w :key 1 :value ", "}"),
            (Format::Edn, "{:type :invoke :f :w :version ", "}"),
            (Format::Log, "I - 1 :invoke :w ", ""),
            (Format::Csv, "f,key,call,value\nw,1,1,", ""),
            (
                Format::Operations,
                "{\"f\":\"w\",\"key\":1,\"call\":1,\"input\":",
                "}",
            ),
        ] {
            let nested = |levels: usize| {
                let text = format!(
                    "{before}{}{}{after}",
                    "[".repeat(levels),
                    "]".repeat(levels)
                );
                load(format, &text)
            };
            let most = (1..200).take_while(|levels| nested(*levels).is_ok()).last();
            deepest.push(most.unwrap());
            let history = nested(most.unwrap()).unwrap().history;
            let mut stored = Vec::new();
            jsonl::write(&mut stored, &history).unwrap();
            assert_eq!(jsonl::read(&stored[..]).unwrap().history, history);
        }
        assert_eq!(deepest, [124, 124, 125, 124, 124]);
    }

    #[test]
    fn any_name_is_written_so_that_it_is_read() {
        for name in [
            "",
            "a b",
            ":a",
            "\"",
            "{",
            "1",
            "é",
            "nil",
            "true",
            "a\n",
            "delete-min",
        ] {
            let event = Event {
                index: 0,
                time: Time(0),
                process: Process::Client(0),
                kind: Kind::Invoke,
                f: name.into(),
                value: Value::Nil,
                error: None,
                node: None,
                version: None,
                due: None,
            };
            let history = History::new(vec![event]).unwrap();
            let mut out = Vec::new();
            write_edn(&history, &mut out).unwrap();
            assert_eq!(
                read(Format::Edn, &out[..]).unwrap().history,
                history,
                "{name:?}"
            );
        }
    }

    const JSONL: &str = r#"{"schism":"history","version":1,"began_ns":5}
{"index":0,"time":10,"process":0,"type":"invoke","f":"write","value":[3,17],"node":"n1"}
{"index":1,"time":11,"process":"nemesis","type":"info","f":"kill","value":{"targets":["n1"]}}
{"index":2,"time":11,"process":1,"type":"invoke","f":"read","value":[3,null],"due":9}
{"index":3,"time":15,"process":0,"type":"ok","f":"write","value":[3,17]}
{"index":4,"time":20,"process":1,"type":"ok","f":"read","value":[3,17],"version":[1,2]}
"#;

    /// Damage by bytes: one is replaced, put in or removed, or the text ends.
    fn bytes_damaged(text: &mut Vec<u8>, what: u8, place: usize, with: usize) {
        let alphabet = b"{}[]()\":;,#_^\\'-019. \n\txnil\xc3\xa9";
        let at = place % text.len();
        match what {
            0 => text[at] = alphabet[with % alphabet.len()],
            1 => text.insert(at, alphabet[with % alphabet.len()]),
            2 => text.truncate(at.max(1)),
            _ => drop(text.remove(at)),
        }
        if text.is_empty() {
            text.push(b'[');
        }
    }

    /// Damage by lines, which leaves each of them whole: what is recorded twice, out of order or not
    /// at all, and numbers and texts that are larger than they should be.
    fn lines_damaged(text: &[u8], what: u8, place: usize, with: usize) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = text
            .split_inclusive(|b| *b == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let (a, b) = (place % lines.len(), with % lines.len());
        let insert = |line: &mut Vec<u8>, at: usize, text: &[u8]| {
            let at = at % line.len();
            line.splice(at..at, text.iter().copied());
        };
        match what {
            // Two operations at once, or two answers to one.
            0 => lines.insert(b, lines[a].clone()),
            // Answers before questions, and time that goes backwards.
            1 => lines.swap(a, b),
            // An answer or a question without the other.
            2 => drop(lines.remove(a)),
            // A number that fits into no 64 bits, wherever there is a digit.
            3 => {
                let digits: Vec<usize> = (0..lines[a].len())
                    .filter(|at| lines[a][*at].is_ascii_digit())
                    .collect();
                if let Some(at) = digits.get(with % digits.len().max(1)) {
                    let many = [18, 19, 20, 400][with % 4];
                    insert(&mut lines[a], *at, "9".repeat(many).as_bytes());
                }
            }
            // Nesting without end, and one long line.
            4 => insert(&mut lines[a], with, &b"[{(".repeat(1 + with % 300)),
            _ => insert(&mut lines[a], with, "long ".repeat(16_000).as_bytes()),
        }
        lines.concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(800))]
        #[test]
        fn no_text_makes_a_reader_panic(
            which in 0..5usize,
            as_format in 0..5usize,
            edits in prop::collection::vec((any::<bool>(), 0..6u8, any::<usize>(), any::<usize>()), 0..5),
            memory_bytes in 0..400_000u64,
        ) {
            let mut text = [EDN, LOG, CSV, OPERATIONS, JSONL][which].as_bytes().to_vec();
            for (bytes, what, place, with) in edits {
                match bytes {
                    true => bytes_damaged(&mut text, what % 4, place, with),
                    false => text = lines_damaged(&text, what, place, with),
                }
                if text.is_empty() {
                    text.push(b'\n');
                }
            }
            for format in [Format::ALL[as_format], Format::sniff(&text).unwrap_or(Format::Edn)] {
                let found = read(format, &text[..]).map_err(|e| e.to_string());
                if let Ok(loaded) = &found {
                    // What was read is a history, and goes through the stored form unchanged.
                    let mut stored = Vec::new();
                    jsonl::write(&mut stored, &loaded.history).unwrap();
                    prop_assert_eq!(&jsonl::read(&stored[..]).unwrap().history, &loaded.history);
                }
                // A budget ends the reading, and changes nothing else.
                let budget = Budget { memory_bytes, ..Budget::default() };
                match read_within(format, &text[..], &budget.start()) {
                    Err(ReadError::Exhausted { why, .. }) => {
                        prop_assert_eq!(why, Exhausted::Memory);
                    }
                    Err(e) => prop_assert_eq!(Err(e.to_string()), found.map(drop)),
                    Ok(loaded) => prop_assert_eq!(Ok(loaded.history), found.map(|f| f.history)),
                }
            }
        }
    }
}
