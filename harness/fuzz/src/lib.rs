//! What holds of every text that a reader is given, however it came about.
//!
//! Each target under `targets/` is one reader and calls one function from here. A text is refused
//! with a reason, or what came of it is as the library promises; and a budget ends the reading, but
//! changes nothing else.

mod counting;
#[cfg(feature = "files")]
mod exit;
#[cfg(feature = "files")]
mod files;
#[cfg(feature = "files")]
mod image;
mod judged;
mod kept;
#[cfg(feature = "files")]
#[path = "../../cli/src/machines.rs"]
#[allow(dead_code)]
mod machines;
#[path = "../../cli/src/packed.rs"]
pub mod packed;
#[cfg(feature = "files")]
mod said;
#[cfg(feature = "files")]
mod spec;
mod texts;

use history::foreign::{Format, read, read_within};
use history::jsonl::{Loaded, ReadError};
use history::{Budget, Event, Exhausted, History, Kind, Outcome, Process, Time, Value};
use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(feature = "files")]
pub use files::{scenario, schedule};
#[cfg(feature = "files")]
pub use image::image;
pub use judged::{certifies, judged};
pub use kept::kept;
#[cfg(feature = "files")]
pub use said::{agent, requests, undo};
#[cfg(feature = "files")]
pub use spec::spec;
pub use texts::{compressed, slowly};

/// A history of this format, with everything that is asked of one.
pub fn reads(format: Format, text: &[u8]) {
    Format::sniff(text);
    let found = read(format, text);
    limited(format, text, &found);
    match found {
        Ok(Loaded { history, .. }) => {
            well_formed(&history);
            kept(&history);
            judged(&history);
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}

/// A number of the text's own, so that budgets of all sizes are tried (FNV-1a).
fn number(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |n, b| {
        (n ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// From a kilobyte to 64 megabytes.
pub(crate) fn some_memory(text: &[u8]) -> Budget {
    let n = number(text);
    Budget {
        memory_bytes: (1 << (10 + n % 16)) + (n >> 32) % 1024,
        ..Budget::default()
    }
}

const NO_TIME: Budget = Budget {
    time: Duration::ZERO,
    memory_bytes: u64::MAX,
};

fn limited(format: Format, text: &[u8], found: &Result<Loaded, ReadError>) {
    let budget = some_memory(text);
    let (within, most) = counting::most(|| read_within(format, text, &budget.start()));
    // Readers have buffers, and look at the budget now and then; that of `jsonl` reads a megabyte
    // at once.
    let spare = if format == Format::Jsonl {
        1280 << 10
    } else {
        256 << 10
    };
    let memory_bytes = budget.memory_bytes;
    assert!(
        most as u64 <= memory_bytes + spare,
        "{most} bytes, where {memory_bytes} were allowed"
    );
    match (found, within) {
        (_, Err(ReadError::Exhausted { why, .. })) => assert_eq!(why, Exhausted::Memory),
        (Ok(loaded), Ok(within)) => {
            assert_eq!(loaded.history, within.history);
            assert_eq!(loaded.torn, within.torn);
        }
        (Err(e), Err(within)) => assert_eq!(e.to_string(), within.to_string()),
        (found, within) => panic!("{found:?}, but within {memory_bytes} bytes {within:?}"),
    }
    match read_within(format, text, &NO_TIME.start()) {
        Err(ReadError::Exhausted { why, .. }) => assert_eq!(why, Exhausted::Time),
        other => panic!("{other:?}, without any time"),
    }
}

/// Pairs events anew, in the plainest way.
pub fn well_formed(history: &History) {
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    let mut ops: Vec<(&Event, Option<&Event>)> = Vec::new();
    let mut before = Time(0);
    for (position, event) in history.events().iter().enumerate() {
        assert_eq!(event.index, position as u64);
        assert_eq!(history.event(event.index).as_ref(), Some(event));
        assert!(event.time >= before, "time goes backwards");
        before = event.time;
        let Process::Client(process) = event.process else {
            continue;
        };
        if event.kind == Kind::Invoke {
            assert_eq!(open.insert(process, ops.len()), None, "two at once");
            ops.push((event, None));
            continue;
        }
        let op = open.remove(&process).expect("it was invoked");
        assert_eq!(ops[op].0.f, event.f);
        ops[op].1 = Some(event);
    }
    assert_eq!(history.end(), before);
    assert_eq!(history.ops().len(), ops.len());
    assert!(history.outcomes().eq(history.asked().map(|op| op.outcome)));
    for (op, (call, ret)) in history.ops().iter().zip(ops) {
        let outcome = match ret.map(|ret| ret.kind) {
            Some(Kind::Ok) => Outcome::Ok,
            Some(Kind::Fail) => Outcome::Fail,
            _ => Outcome::Info,
        };
        assert_eq!(
            (op.index, op.call, op.outcome),
            (call.index, call.time, outcome)
        );
        assert_eq!(
            (&op.f, &op.input, op.process),
            (&call.f, &call.value, call.process)
        );
        let answer = ret.filter(|_| outcome == Outcome::Ok);
        assert_eq!(
            op.output,
            answer.map_or(Value::Nil, |ret| ret.value.clone())
        );
        assert_eq!(op.version, answer.and_then(|ret| ret.version.clone()));
        let returned = ret.filter(|_| outcome != Outcome::Info);
        assert_eq!(op.ret, returned.map_or(Time::MAX, |ret| ret.time));
        assert_eq!(op.completion, ret.map(|ret| ret.index));
        assert_eq!(history.find(op.index).as_ref(), Some(op));
    }
    history::fault::spans(history);
}
