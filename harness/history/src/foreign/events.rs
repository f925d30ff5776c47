//! What readers of other tools' files have in common: events being collected, and what is made of
//! them.
//!
//! Readers tell what is written; here it becomes a history. Processes of any name get numbers,
//! times are raised to the order of the file where that is the order, and a completion that nothing
//! invoked gets an invocation (see [`super::completions`]). What was done so is said in notes.

use std::collections::HashMap;

use super::completions::Completed;
use super::{transactions, wrong};
use crate::columns::{Chunk, Parts};
use crate::edn::Wrong;
use crate::jsonl::{Loaded, ReadError, Torn};
use crate::op::Unpaired;
use crate::order::Placing;
use crate::word::Word;
use crate::{Exhausted, History, Kind, Malformed, Meter, Name, Process, Time};

/// Who acted, as a file says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Who<'a> {
    /// It does not say: then there is only one.
    #[default]
    Nobody,
    Number(u64),
    /// By the number that [`Events::process`] gave.
    Known(u64),
    Nemesis,
    Named(&'a str),
}

impl<'a> Who<'a> {
    /// By the text of a process; only the nemesis is the nemesis.
    pub fn of(text: &'a str) -> Who<'a> {
        match (text, text.parse()) {
            ("nemesis", _) => Who::Nemesis,
            (_, Ok(n)) => Who::Number(n),
            (named, Err(_)) => Who::Named(named),
        }
    }
}

/// An event as a file tells it. Its words are in [`Events::arena`].
pub struct Told<'a> {
    pub time: Option<u64>,
    pub who: Who<'a>,
    pub kind: Kind,
    pub f: &'a str,
    pub value: Word,
    pub error: Option<&'a str>,
    pub node: Option<&'a str>,
    pub version: Option<Word>,
    /// See [`crate::Event::due`].
    pub due: Option<u64>,
}

/// Numbers from here on are given to processes that have none, until all are known.
const NAMED: u64 = 1 << 62;

/// Of who is nobody.
const NOBODY: u64 = u64::MAX;

/// As many as a note names.
const MOST_NAMES: usize = 8;

/// Events being collected, with their places in the text, and what they may cost.
pub struct Events {
    pub chunk: Chunk,
    places: Vec<u64>,
    /// Bytes of the text.
    pub bytes: u64,
    /// What the events take, found now and then: it only grows.
    held: u64,
    /// Of what is left beside the text.
    pub meter: Meter,
    /// None where times alone say what overlaps.
    placing: Option<Placing>,
    names: HashMap<Name, u64>,
    /// The largest number of a process that has one.
    most: Option<u64>,
    nobodies: u64,
    invocations: u64,
    pub notes: Vec<String>,
}

impl Events {
    /// Of a file of events.
    pub fn new(text: &str, meter: &Meter) -> Events {
        Events {
            chunk: Chunk::default(),
            places: Vec::new(),
            bytes: text.len() as u64,
            held: 0,
            meter: meter.without(text.len() as u64),
            placing: Some(Placing::default()),
            names: HashMap::new(),
            most: None,
            nobodies: 0,
            invocations: 0,
            notes: Vec::new(),
        }
    }

    /// Times are kept, and overlap where they are equal.
    pub fn by_their_times(&mut self) {
        self.placing = None;
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The first number that no process has yet.
    pub fn first_free(&self) -> u64 {
        self.most.map_or(0, |n| n + 1)
    }

    /// The number by which a process goes until all are known.
    pub fn process(&mut self, who: Who) -> Process {
        let named = match who {
            Who::Nemesis => return Process::Nemesis,
            Who::Nobody => {
                self.nobodies += 1;
                return Process::Client(NOBODY);
            }
            Who::Known(n) if n >= NAMED => return Process::Client(n),
            Who::Number(n) | Who::Known(n) if n < NAMED => {
                self.most = self.most.max(Some(n));
                return Process::Client(n);
            }
            Who::Number(n) | Who::Known(n) => &Name::from(n.to_string()),
            Who::Named(name) => &Name::new(name),
        };
        let next = NAMED + self.names.len() as u64;
        let number = match self.names.get(named) {
            Some(number) => *number,
            None => *self.names.entry(named.clone()).or_insert(next),
        };
        Process::Client(number)
    }

    /// Adds an event that stands at this place of the text.
    #[inline]
    pub fn tell(&mut self, told: &Told, place: u64) -> Result<(), ReadError> {
        let process = self.process(told.who);
        let time = match &mut self.placing {
            Some(placing) => placing.place(told.time),
            None => told.time.unwrap_or_default(),
        };
        self.invocations += u64::from(told.kind == Kind::Invoke && process != Process::Nemesis);
        self.chunk.push(&Parts {
            index: self.len() as u64,
            time: Time(time),
            process,
            kind: told.kind,
            f: told.f,
            value: told.value,
            error: told.error,
            node: told.node,
            version: told.version,
            due: told.due.map(Time),
        });
        self.places.push(place);
        if self.len() % 1024 == 1 {
            self.held = (self.chunk.bytes() + 8 * self.places.capacity()) as u64;
            self.held += 128 * self.names.len() as u64;
        }
        self.hold(0)
    }

    /// Fails if there is no room for these events and so many bytes.
    #[inline]
    pub fn hold(&mut self, bytes: u64) -> Result<(), ReadError> {
        let held = self.meter.tick(self.held + bytes);
        held.map_err(|why| self.exhausted(why))
    }

    /// What a reader of something within the text may take.
    pub fn left(&self) -> Meter {
        self.meter.without(self.held)
    }

    /// Whether that has changed since the last event.
    pub fn grew(&self) -> bool {
        self.len() % 1024 == 1
    }

    pub fn exhausted(&self, why: Exhausted) -> ReadError {
        ReadError::Exhausted {
            why,
            events: self.len() as u64,
            bytes: self.bytes,
        }
    }

    /// What was wrong with a form of EDN that begins at `from`.
    pub fn wrong(&self, text: &str, from: usize, w: Wrong) -> ReadError {
        match w.exhausted {
            Some(why) => self.exhausted(why),
            None => wrong(text, from + w.at, w.reason),
        }
    }

    /// Whether nothing was invoked, but something came of it.
    fn only_completions(&self) -> bool {
        self.invocations == 0 && self.chunk.has_clients()
    }

    /// Gives their numbers to processes that have none.
    fn number_processes(&mut self) {
        let first = self.first_free();
        let alone = self.only_completions();
        let mut names: Vec<(&Name, u64)> = self.names.iter().map(|(n, at)| (n, *at)).collect();
        names.sort_unstable_by_key(|(_, at)| *at);
        if !names.is_empty() {
            let shown = names.iter().take(MOST_NAMES);
            let shown = shown.map(|(name, at)| format!("{name} is {}", first + (at - NAMED)));
            let shown: Vec<String> = shown.collect();
            let more = match names.len().saturating_sub(MOST_NAMES) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let shown = shown.join(", ");
            self.notes.push(format!(
                "processes that are no numbers have numbers here: {shown}{more}"
            ));
        }
        if self.names.is_empty() && self.nobodies == 0 {
            return;
        }
        // Of what was only completed, each was done by somebody else; else there is only one.
        let mut nobody = first + self.names.len() as u64;
        let unnamed = match (self.most, self.names.len()) {
            (None, 0) => 0,
            _ => nobody,
        };
        self.chunk.renumber_clients(|client| match client {
            NOBODY if alone => {
                nobody += 1;
                nobody - 1
            }
            NOBODY => unnamed,
            named @ NAMED.. => first + (named - NAMED),
            number => number,
        });
    }

    /// The history. `line` tells the line of a place.
    pub fn history(
        mut self,
        torn: Option<Torn>,
        line: impl Fn(u64) -> u64,
    ) -> Result<Loaded, ReadError> {
        if let Some(placing) = self.placing {
            self.notes.extend(placing.raised.note(self.len()));
        }
        let alone = self.only_completions();
        self.number_processes();
        self.held = 8 * self.places.capacity() as u64;
        let chunk = std::mem::take(&mut self.chunk);
        let mut history = History::of_columns_within(vec![chunk], &mut self.left());
        if let Err(unpaired) = &history
            && let (Unpaired::Malformed(Malformed::NoInvocation { .. }), columns) = &**unpaired
        {
            let completed = Completed::new(columns, alone, &mut self.left());
            let completed = completed.map_err(|why| self.exhausted(why))?;
            self.notes.push(completed.note());
            self.places = completed.places(&self.places);
            history = History::of_columns_within(vec![completed.chunk], &mut self.left());
        }
        let history = match history.map_err(|unpaired| unpaired.0) {
            Ok(history) => history,
            Err(Unpaired::Exhausted(why)) => return Err(self.exhausted(why)),
            Err(Unpaired::Malformed(e)) => {
                let place = e.at().and_then(|at| self.places.get(at as usize));
                return Err(ReadError::Event {
                    line: place.map_or(1, |place| line(*place)),
                    column: 1,
                    reason: e.to_string(),
                });
            }
        };
        let (history, renamed) = transactions::named(history);
        self.notes.extend(renamed);
        Ok(Loaded {
            history,
            torn,
            notes: self.notes,
        })
    }
}
