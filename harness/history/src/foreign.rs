//! Histories that other tools wrote.
//!
//! | format | written by | looks like |
//! | --- | --- | --- |
//! | `edn` | Jepsen, Knossos, Elle, Porcupine's key-value tests | `{:process 0, :type :invoke, :f :read, :value nil}`, one after another or in one vector |
//! | `events` | elle-cli and most that is not Clojure | the same as JSON: objects one after another, or in one array |
//! | `log` | Jepsen's log and its console, and its table `history.txt` | `INFO  jepsen.util - 4 :invoke :read nil` |
//! | `csv` | anybody | a first line that names the columns, then one operation a line |
//! | `operations` | anybody | the same as JSON, one object a line |
//! | `polysi` | PolySI, IsoVista | `w(key,value,session,transaction)`, one a line |
//! | `dbcop` | dbcop | sessions of transactions of events, as JSON |
//!
//! An event may lack `time` (then its place is its time), `process` (then there is only one) and
//! `f` (then it is a `txn`); a `key` joins its value as `[key value]`. Other entries are passed
//! over. The place in a file of events is their order: see [`crate::order`]. A process may be
//! anything, and `nemesis` is the nemesis.
//!
//! An operation has `f`, `input`, `output`, `call` and `return`, and if need be `process`, `key`
//! and `status` (`ok`, `fail` or `info`). One without a return, or with status `info`, may have
//! happened or not. Times are integers of any unit; those of different clients that are equal
//! overlap. `value` is another name for `input`, and for the `output` of a read.

mod completions;
mod csv;
#[cfg(test)]
mod damage;
mod events;
mod format;
mod jepsen;
mod log;
mod operations;
mod sessions;
mod text;
mod transactions;

use std::io::Read;

use self::events::Events;
use crate::edn::Reader;
use crate::jsonl::{self, Loaded, ReadError};
use crate::{Budget, Kind, Meter};

pub use format::Format;
pub use jepsen::write_edn;

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
        let mut loaded = jsonl::read_within(from, meter)?;
        let (history, renamed) = transactions::named(loaded.history);
        loaded.notes.extend(renamed);
        return Ok(Loaded { history, ..loaded });
    }
    let text = text::read(from, meter)?;
    let events = Events::new(&text, meter);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match format {
        Format::Jsonl => unreachable!("read above"),
        Format::Edn => jepsen::read(text, false, events),
        Format::Events => jepsen::read(text, true, events),
        Format::Log => log::read(text, events),
        Format::Csv => csv::read(text, events),
        Format::Operations => operations::read(text, events),
        Format::Polysi => sessions::read_lines(text, events),
        Format::Dbcop => sessions::read_dbcop(text, events),
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
mod tests;
