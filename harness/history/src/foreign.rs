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

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};

use crate::columns::Chunk;
use crate::edn::{self, Next, Reader, Wrong};
use crate::jsonl::{self, Loaded, ReadError, Torn};
use crate::{Event, History, Kind, Name, Process, Time, Value};

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
pub fn read(format: Format, mut from: impl Read + Send) -> Result<Loaded, ReadError> {
    if format == Format::Jsonl {
        return jsonl::read(from);
    }
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let good = std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default();
        wrong(good, good.len(), "expected UTF-8")
    })?;
    match format {
        Format::Jsonl => unreachable!("read above"),
        Format::Edn => read_edn(text),
        Format::Log => read_log(text),
        Format::Csv => operations(read_csv(text)?),
        Format::Operations => operations(read_operations(text)?),
    }
}

fn wrong(text: &str, at: usize, reason: impl Into<String>) -> ReadError {
    let (line, column) = Reader::line_and_column(text, at);
    let reason = reason.into();
    ReadError::Event {
        line,
        column,
        reason,
    }
}

/// Events being collected, with their lines.
struct Events {
    chunk: Chunk,
    lines: Vec<u64>,
}

impl Events {
    fn new() -> Events {
        Events {
            chunk: Chunk::default(),
            lines: Vec::new(),
        }
    }

    fn push(&mut self, event: Event, line: u64) {
        self.chunk.push_event(&event);
        self.lines.push(line);
    }

    fn history(self, torn: Option<Torn>) -> Result<Loaded, ReadError> {
        let lines = self.lines;
        let history = History::of_chunks(vec![self.chunk]).map_err(|e| ReadError::Event {
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

fn read_edn(text: &str) -> Result<Loaded, ReadError> {
    let at = |w: Wrong| wrong(text, w.at, w.reason);
    let mut reader = Reader::new(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut events = Events::new();
    // One vector or list around all events, which is closed by its own kind of bracket.
    let mut around = None;
    // Lines are counted as they are passed, not anew for each event.
    let (mut line, mut counted) = (1, 0);
    let mut torn = None;
    loop {
        let next = reader.upcoming().map_err(at)?;
        let start = reader.at();
        line += text.as_bytes()[counted..start]
            .iter()
            .filter(|b| **b == b'\n')
            .count() as u64;
        counted = start;
        match (next, around) {
            (Next::Form, _) => match reader.value() {
                Ok(value) => {
                    let index = events.lines.len() as u64;
                    let event = edn_event(index, &value).map_err(|e| wrong(text, start, e))?;
                    events.push(event, line);
                }
                // Only the writer's death leaves a last event that is not whole.
                Err(w) if w.torn && around.is_none() => {
                    let bytes = (text.len() - start) as u64;
                    torn = Some(Torn { line, bytes });
                    break;
                }
                Err(w) => return Err(at(w)),
            },
            (Next::Open(open), None) if events.lines.is_empty() => {
                around = Some((if open == b'[' { b']' } else { b')' }, start));
                reader.bracket();
            }
            (Next::Open(_), _) => {
                return Err(wrong(text, start, "expected an event, {:process ...}"));
            }
            (Next::Close(close), Some((end, _))) if close == end => {
                reader.bracket();
                // Nothing may follow.
                if reader.upcoming().map_err(at)? != Next::End {
                    return Err(wrong(
                        text,
                        reader.at(),
                        "expected nothing after the history",
                    ));
                }
                break;
            }
            (Next::Close(close), _) => {
                let reason = format!("{} closes nothing", char::from(close));
                return Err(wrong(text, start, reason));
            }
            (Next::End, Some((_, start))) => {
                return Err(wrong(text, start, "this is never closed"));
            }
            (Next::End, None) => break,
        }
    }
    events.history(torn)
}

fn edn_event(index: u64, value: &Value) -> Result<Event, String> {
    if !matches!(value, Value::Map(_)) {
        return Err(format!("expected an event, {{:process ...}}, not {value}"));
    }
    let of = |key: &str| value.get(key).filter(|v| !v.is_nil());
    let kind = match of("type") {
        Some(kind) => kind_of(kind.as_text().unwrap_or_default())
            .ok_or_else(|| format!("{kind} is not :invoke, :ok, :fail or :info"))?,
        None => return Err("expected a :type: :invoke, :ok, :fail or :info".into()),
    };
    let process = match of("process") {
        None => Process::Client(0),
        Some(Value::Int(n)) => match u64::try_from(*n) {
            Ok(n) => Process::Client(n),
            Err(_) => return Err(format!("{n} is not a process: a number from 0, or a name")),
        },
        Some(_) => Process::Nemesis,
    };
    let time = match of("time") {
        None => index,
        Some(Value::Int(n)) if *n >= 0 => *n as u64,
        Some(other) => return Err(format!("{other} is not a time: nanoseconds from 0")),
    };
    let name = |v: &Value| match v {
        Value::Text(name) => name.clone(),
        other => Name::from(other.to_string()),
    };
    let content = value.get("value").cloned().unwrap_or_default();
    Ok(Event {
        index,
        time: Time(time),
        process,
        kind,
        f: of("f").map_or("txn".into(), name),
        value: match of("key") {
            None => content,
            Some(key) => Value::pair(key.clone(), content),
        },
        error: of("error").map(|e| name(e).to_string()),
        node: of("node").map(name),
        version: of("version").cloned(),
    })
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

/// `INFO  jepsen.util - 4 :invoke :read nil`
fn read_log(text: &str) -> Result<Loaded, ReadError> {
    let mut events = Events::new();
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let from = start;
        start += line.len();
        // Log lines of other kinds are passed over.
        let Some(at) = line.find(" - ") else { continue };
        let fields = &line[at + 3..];
        let mut words = fields.split_whitespace();
        let (Some(process), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        let Some(kind) = kind.strip_prefix(':').and_then(kind_of) else {
            continue;
        };
        let bad = |w: &str, reason: &str| {
            let at = w.as_ptr() as usize - text.as_ptr() as usize;
            wrong(text, at, reason)
        };
        let process_number = match process.parse() {
            Ok(n) => Process::Client(n),
            Err(_) if process.starts_with(':') => Process::Nemesis,
            Err(_) => return Err(bad(process, "expected a process: a number or :nemesis")),
        };
        let Some(f) = words.next() else {
            return Err(wrong(
                text,
                from + line.trim_end().len(),
                "expected a function, such as :read",
            ));
        };
        let after = f.as_ptr() as usize - text.as_ptr() as usize + f.len();
        let rest = &text[after..start];
        let mut reader = Reader::new(rest);
        let value = match reader.upcoming() {
            Ok(Next::End) => Value::Nil,
            _ => reader
                .value()
                .map_err(|w| wrong(text, after + w.at, w.reason))?,
        };
        let timed_out = value.as_text() == Some("timed-out");
        let index = events.lines.len() as u64;
        let event = Event {
            index,
            time: Time(index),
            process: process_number,
            kind,
            f: f.trim_start_matches(':').into(),
            value: if timed_out { Value::Nil } else { value },
            error: timed_out.then(|| "timed-out".to_string()),
            node: None,
            version: None,
        };
        events.push(event, number as u64 + 1);
    }
    events.history(None)
}

/// An operation on one line.
struct Operation {
    line: u64,
    process: Option<u64>,
    f: Name,
    key: Option<Value>,
    input: Value,
    output: Value,
    call: u64,
    ret: Option<u64>,
    kind: Kind,
}

const FIELDS: &str = "process, f, key, input, output, value, call, return and status";

impl Operation {
    /// From fields by name.
    fn new(line: u64, field: impl Fn(&str) -> Option<Value>) -> Result<Operation, String> {
        let time = |name: &str| match field(name) {
            None | Some(Value::Nil) => Ok(None),
            Some(Value::Int(n)) if n >= 0 => Ok(Some(n as u64)),
            Some(other) => Err(format!("{name}: {other} is not a time: an integer from 0")),
        };
        let f = match field("f").or_else(|| field("op")) {
            Some(Value::Text(f)) => f,
            other => {
                return Err(format!(
                    "f: expected a name, not {}",
                    other.unwrap_or_default()
                ));
            }
        };
        let call = time("call")?.ok_or("call: expected a time: an integer from 0")?;
        let ret = time("return")?;
        if ret.is_some_and(|ret| ret < call) {
            return Err("it returns before it is called".into());
        }
        let kind = match (field("status").unwrap_or_default(), ret) {
            (Value::Nil, Some(_)) => Kind::Ok,
            (Value::Nil, None) => Kind::Info,
            (Value::Text(status), ret) => match (kind_of(&status), ret) {
                (None | Some(Kind::Invoke), _) => {
                    return Err(format!("status: {status:?} is not ok, fail or info"));
                }
                (Some(Kind::Ok | Kind::Fail), None) => {
                    return Err(format!("status: {status} needs a return"));
                }
                (Some(kind), _) => kind,
            },
            (other, _) => return Err(format!("status: {other} is not ok, fail or info")),
        };
        let process = match field("process") {
            None | Some(Value::Nil) => None,
            Some(Value::Int(n)) if n >= 0 => Some(n as u64),
            Some(other) => return Err(format!("process: {other} is not a number from 0")),
        };
        let value = field("value").unwrap_or_default();
        let is_read = matches!(f.as_str(), "read" | "get" | "dequeue" | "pop");
        let (input, output) = match is_read {
            true => (
                field("input").unwrap_or_default(),
                field("output").unwrap_or(value),
            ),
            false => (
                field("input").unwrap_or(value),
                field("output").unwrap_or_default(),
            ),
        };
        Ok(Operation {
            line,
            process,
            f,
            key: field("key").filter(|key| !key.is_nil()),
            input,
            output,
            call,
            ret,
            kind,
        })
    }
}

/// Calls and returns by time. Events of one time overlap, whatever their order; but those of one
/// process stay in theirs.
fn operations(operations: Vec<Operation>) -> Result<Loaded, ReadError> {
    let mut moments: Vec<(u64, u64, u64, usize, bool)> = Vec::new();
    let mut busy: HashMap<u64, Vec<(u64, u64, usize)>> = HashMap::new();
    for (i, op) in operations.iter().enumerate() {
        let until = op.ret.unwrap_or(u64::MAX);
        moments.push((op.call, op.call, until, i, false));
        moments.extend(op.ret.map(|ret| (ret, op.call, until, i, true)));
        if let Some(process) = op.process {
            busy.entry(process).or_default().push((op.call, until, i));
        }
    }
    moments.sort_unstable();
    for ops in busy.values_mut() {
        ops.sort_unstable();
        for pair in ops.windows(2) {
            let ((_, until, before), (call, _, after)) = (pair[0], pair[1]);
            if call < until && operations[before].ret.is_some() {
                return Err(ReadError::Event {
                    line: operations[after].line,
                    column: 1,
                    reason: format!(
                        "its process has another operation open, of line {}",
                        operations[before].line
                    ),
                });
            }
        }
    }
    let last = operations.iter().filter_map(|op| op.process).max();
    let mut named: u64 = last.map_or(0, |n| n.saturating_add(1));
    let mut events = Events::new();
    let mut names: Vec<u64> = vec![0; operations.len()];
    let mut current: HashMap<u64, u64> = HashMap::new();
    for (time, _, _, i, is_ret) in moments {
        let op = &operations[i];
        if !is_ret {
            names[i] = match op.process {
                // One that never returned retires its process, and the next goes by another name.
                Some(process) => *current.entry(process).or_insert(process),
                None => {
                    named += 1;
                    named - 1
                }
            };
            if let (Some(process), None) = (op.process, op.ret) {
                current.insert(process, named);
                named += 1;
            }
        }
        let content = match (is_ret, op.kind) {
            (true, Kind::Ok) if !op.output.is_nil() || op.input.is_nil() => op.output.clone(),
            _ => op.input.clone(),
        };
        let event = Event {
            index: events.lines.len() as u64,
            time: Time(time),
            process: Process::Client(names[i]),
            kind: if is_ret { op.kind } else { Kind::Invoke },
            f: op.f.clone(),
            value: match &op.key {
                None => content,
                Some(key) => Value::pair(key.clone(), content),
            },
            error: None,
            node: None,
            version: None,
        };
        events.push(event, op.line);
    }
    events.history(None)
}

fn read_operations(text: &str) -> Result<Vec<Operation>, ReadError> {
    let mut read = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line_number = number as u64 + 1;
        let at = |column: u64, reason: String| ReadError::Event {
            line: line_number,
            column,
            reason,
        };
        let object: Value =
            serde_json::from_str(line).map_err(|e| at(e.column() as u64, jsonl::reason(&e)))?;
        let Value::Map(entries) = &object else {
            return Err(at(1, format!("expected an object with {FIELDS}")));
        };
        let known = |name: &str| FIELDS.split([',', ' ']).any(|f| f == name) || name == "op";
        if let Some((name, _)) = entries
            .iter()
            .find(|(k, _)| !k.as_text().is_some_and(known))
        {
            return Err(at(1, format!("no field {name}: an operation has {FIELDS}")));
        }
        let op = Operation::new(line_number, |name| object.get(name).cloned());
        read.push(op.map_err(|e| at(1, e))?);
    }
    Ok(read)
}

fn read_csv(text: &str) -> Result<Vec<Operation>, ReadError> {
    let mut read = Vec::new();
    let mut columns: Option<Vec<String>> = None;
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line_number = number as u64 + 1;
        let at = |column: usize, reason: String| ReadError::Event {
            line: line_number,
            column: column as u64 + 1,
            reason,
        };
        let cells =
            cells(line).map_err(|at_byte| at(at_byte, "this quote is never closed".into()))?;
        let Some(names) = &columns else {
            let names: Vec<String> = cells
                .into_iter()
                .map(|(_, name, _)| name.trim().to_lowercase())
                .collect();
            let known = |name: &String| FIELDS.split([',', ' ']).any(|f| f == name) || name == "op";
            if let Some(name) = names.iter().find(|name| !known(name)) {
                return Err(at(
                    0,
                    format!("no column {name:?}: an operation has {FIELDS}"),
                ));
            }
            columns = Some(names);
            continue;
        };
        if cells.len() != names.len() {
            let reason = format!("expected {} columns, found {}", names.len(), cells.len());
            return Err(at(0, reason));
        }
        let mut fields: Vec<(&str, Value)> = Vec::new();
        for (name, (from, cell, quoted)) in names.iter().zip(&cells) {
            let value = cell_value(cell, *quoted).map_err(|e| at(*from, e))?;
            fields.push((name, value));
        }
        let field = |name: &str| {
            fields
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.clone())
        };
        read.push(Operation::new(line_number, field).map_err(|e| at(0, e))?);
    }
    match columns {
        Some(_) => Ok(read),
        None => Err(ReadError::Event {
            line: 1,
            column: 1,
            reason: format!("expected a line that names the columns: {FIELDS}"),
        }),
    }
}

/// Where each cell begins, what it says, and whether it was quoted. Or where a quote is never closed.
fn cells(line: &str) -> Result<Vec<(usize, String, bool)>, usize> {
    let mut cells = Vec::new();
    let mut rest = line.char_indices().peekable();
    loop {
        let from = rest.peek().map_or(line.len(), |(at, _)| *at);
        let mut cell = String::new();
        let quoted = rest.next_if(|(_, c)| *c == '"').is_some();
        let mut open = quoted;
        // Commas within brackets belong to the value.
        let mut depth = 0usize;
        let mut ended = true;
        while let Some((_, c)) = rest.next() {
            match c {
                '"' if open && rest.next_if(|(_, c)| *c == '"').is_some() => cell.push('"'),
                '"' if open => open = false,
                ',' if !open && depth == 0 => {
                    ended = false;
                    break;
                }
                c => {
                    if !open {
                        depth = match c {
                            '[' => depth + 1,
                            ']' => depth.saturating_sub(1),
                            _ => depth,
                        };
                    }
                    cell.push(c);
                }
            }
        }
        if open {
            return Err(from);
        }
        cells.push((from, cell, quoted));
        if ended {
            return Ok(cells);
        }
    }
}

/// A number, a list or a word; nothing is nil. What is quoted and no list is text.
fn cell_value(cell: &str, quoted: bool) -> Result<Value, String> {
    let cell = cell.trim();
    match cell {
        "" if quoted => return Ok(Value::text("")),
        "" | "nil" | "null" => return Ok(Value::Nil),
        _ => {}
    }
    if quoted && !cell.starts_with('[') {
        return Ok(Value::text(cell));
    }
    let mut reader = Reader::new(cell);
    let value = reader.value().map_err(|w| w.reason)?;
    match reader.upcoming() {
        Ok(Next::End) => Ok(value),
        // Several words are one text.
        _ => Ok(Value::text(cell)),
    }
}

/// Writes a history as Jepsen's `history.edn`: one event a line.
pub fn write_edn(history: &History, to: &mut impl Write) -> io::Result<()> {
    let keyword = |kind: Kind| match kind {
        Kind::Invoke => "invoke",
        Kind::Ok => "ok",
        Kind::Fail => "fail",
        Kind::Info => "info",
    };
    let mut line = String::new();
    for event in history
        .columns()
        .rows()
        .map(|row| history.columns().event(row))
    {
        line.clear();
        let process = match event.process {
            Process::Client(n) => n.to_string(),
            Process::Nemesis => ":nemesis".to_string(),
        };
        let _ = write!(line, "{{:type :{}, :f ", keyword(event.kind));
        edn::write(
            &Value::Text(event.f.clone()),
            &[event.f.as_str()],
            &mut line,
        );
        line.push_str(", :value ");
        let functions: &[&str] = if event.f == "txn" {
            &["append", "r", "w"]
        } else {
            &[]
        };
        edn::write(&event.value, functions, &mut line);
        let _ = write!(
            line,
            ", :process {process}, :time {}, :index {}",
            event.time.0, event.index
        );
        for (key, text) in [
            (":error", event.error.map(Value::text)),
            (":node", event.node.map(Value::Text)),
            (":version", event.version),
        ] {
            if let Some(value) = text {
                let _ = write!(line, ", {key} ");
                edn::write(&value, &[], &mut line);
            }
        }
        line.push_str("}\n");
        to.write_all(line.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Outcome};
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
 {:process 1, :type :invoke, :f :cas, :value [3 4], :time 11, :index 2}
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
            (Format::Edn, "[1 2]", "line 1, column 2: expected an event, {:process ...}, not 1"),
            (Format::Edn, "[] {:type :ok}", "line 1, column 4: expected nothing after the history"),
            (Format::Log, "I - x :ok :read 1", "line 1, column 5: expected a process: a number or :nemesis"),
            (Format::Log, "I - 1 :ok :read [", "line 1, column 17: this is never closed"),
            (Format::Csv, "f,call\nread,x", "line 2, column 1: call: \"x\" is not a time: an integer from 0"),
            (Format::Csv, "f,colour\n", "line 1, column 1: no column \"colour\": an operation has process, f, key, input, output, value, call, return and status"),
            (Format::Csv, "f,call\nread", "line 2, column 1: expected 2 columns, found 1"),
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
        assert!(
            text.starts_with(
                "{:type :invoke, :f :write, :value 3, :process 0, :time 10, :index 0}\n"
            )
        );
        assert_eq!(load(Format::Edn, &text).unwrap().history, history);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_text_makes_a_reader_panic(
            which in 0..4usize,
            as_format in 0..5usize,
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<prop::sample::Index>()), 0..6),
        ) {
            let mut text = [EDN, LOG, CSV, OPERATIONS][which].as_bytes().to_vec();
            let alphabet = b"{}[]()\":;,#_^\\'-019. \n\txnil\xc3\xa9";
            for (place, what, byte) in edits {
                let at = place.index(text.len());
                let byte = alphabet[byte.index(alphabet.len())];
                match what {
                    0 => text[at] = byte,
                    1 => text.insert(at, byte),
                    2 => text.truncate(at.max(1)),
                    _ => { text.remove(at); }
                }
                if text.is_empty() {
                    text.push(b'[');
                }
            }
            Format::sniff(&text);
            for format in [Format::ALL[as_format], Format::sniff(&text).unwrap_or(Format::Edn)] {
                if let Err(e) = read(format, &text[..]) {
                    prop_assert!(!e.to_string().is_empty());
                }
            }
        }
    }
}
