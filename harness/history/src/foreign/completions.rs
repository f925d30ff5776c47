//! Completions that nothing invoked: Elle's own examples are histories of them, and a recorder that
//! began late has some.
//!
//! Nobody knows when such an operation began. One process's operations follow each other, so it
//! began after the one before of its process had ended; if that is all that is known, it overlaps
//! everything of others until it ends:
//!
//! ```text
//! only completions         every operation overlaps all of other processes: all have one time
//! some, beside others      it begins where its process's last one ended, or where the history begins
//! ```

use std::collections::HashMap;

use crate::columns::{Chunk, Columns};
use crate::order::Placing;
use crate::wording::{counted, either};
use crate::{Event, Exhausted, Kind, Meter, Process, Time, Value};

/// Operations that are asked for nothing: what they are answered with was not put in.
const READS: [&str; 9] = [
    "read",
    "get",
    "dequeue",
    "pop",
    "delete-min",
    "drain",
    "contains",
    "generate",
    "acquire",
];

/// The events, and the invocations that were missing.
pub struct Completed {
    pub chunk: Chunk,
    /// Of each event, which of the file's it is made of.
    from: Vec<u32>,
    added: u64,
    alone: bool,
}

impl Completed {
    /// `alone`: nothing at all was invoked.
    pub fn new(columns: &Columns, alone: bool, meter: &mut Meter) -> Result<Completed, Exhausted> {
        let mut open: HashMap<u64, bool> = HashMap::new();
        // Behind which event of the file each stands; 0 is before the first.
        let mut last: HashMap<u64, u64> = HashMap::new();
        let mut placed: Vec<(u64, u32, bool)> = Vec::with_capacity(columns.len());
        let mut added = 0;
        for row in columns.rows() {
            meter.tick((columns.bytes() + 32 * placed.capacity()) as u64)?;
            let behind = u64::from(row.index()) + 1;
            if let Process::Client(client) = row.process() {
                let invokes = row.kind() == Kind::Invoke;
                let was_open = open.insert(client, invokes).unwrap_or(false);
                if !invokes && !was_open {
                    let after = match alone {
                        true => behind,
                        false => last.get(&client).copied().unwrap_or(0),
                    };
                    placed.push((after, row.index(), true));
                    added += 1;
                }
                last.insert(client, behind);
            }
            placed.push((behind, row.index(), false));
        }
        // An event stands before the invocations that wait for its end; those of one place as in
        // the file.
        placed.sort_by_key(|(behind, _, invoked)| (*behind, alone != *invoked));
        let mut completed = Completed {
            chunk: Chunk::default(),
            from: Vec::with_capacity(placed.len()),
            added,
            alone,
        };
        let mut cursor = columns.cursor();
        let mut placing = Placing::default();
        for (index, (_, from, invoked)) in placed.into_iter().enumerate() {
            meter.tick((columns.bytes() + completed.chunk.bytes()) as u64)?;
            let event = columns.event(cursor.row(from));
            let event = match invoked {
                true => invocation(event),
                false => event,
            };
            let time = match alone {
                true => 0,
                false => placing.place((!invoked).then_some(event.time.0)),
            };
            completed.chunk.push_event(&Event {
                index: index as u64,
                time: Time(time),
                ..event
            });
            completed.from.push(from);
        }
        Ok(completed)
    }

    pub fn note(&self) -> String {
        let since = match self.alone {
            true => "each overlaps all operations of other processes",
            false => "each began when its process's last one had ended, or at the beginning",
        };
        format!(
            "{} {} no invocation: {since}",
            counted(self.added, "operation"),
            either(self.added, "has", "have")
        )
    }

    /// The places of the events, by those of the file's.
    pub fn places(&self, of: &[u64]) -> Vec<u64> {
        self.from.iter().map(|at| of[*at as usize]).collect()
    }
}

fn invocation(completion: Event) -> Event {
    Event {
        kind: Kind::Invoke,
        value: match READS.contains(&completion.f.as_str()) && !is_txn(&completion.value) {
            true => Value::Nil,
            false => completion.value,
        },
        error: None,
        version: None,
        ..completion
    }
}

fn is_txn(value: &Value) -> bool {
    super::transactions::is_txn_value(value)
}
