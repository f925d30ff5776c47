//! Events as columns: some thirty bytes each, for histories of millions of them.
//!
//! The reader fills [`Chunk`]s side by side, each on its own; [`Columns`] joins them in order, and
//! copies nothing. Checkers that judge large histories read [`Row`]s; everything else asks
//! [`crate::History`] for whole [`Event`]s.

use std::collections::HashMap;
use std::ops::Range;

use crate::order::Placing;
use crate::word::{Arena, Stored, Word};
use crate::{Event, Kind, Name, Process, Time, Value};

/// No name.
const NONE: u32 = u32::MAX;

/// Names, numbered.
#[derive(Clone, Debug, Default)]
pub struct Names {
    list: Vec<Name>,
    numbers: HashMap<Name, u32>,
}

impl Names {
    /// Histories have few names, and the first few of those make up most: they are found without
    /// hashing.
    const FEW: usize = 8;

    #[inline]
    fn number(&mut self, name: &str) -> u32 {
        if let Some(at) = self.list.iter().take(Self::FEW).position(|n| n == name) {
            return at as u32;
        }
        if let Some(at) = self.numbers.get(name) {
            return *at;
        }
        let at = self.list.len() as u32;
        self.list.push(Name::new(name));
        self.numbers.insert(Name::new(name), at);
        at
    }

    /// The name of this number.
    pub fn get(&self, number: u32) -> Option<&Name> {
        self.list.get(number as usize)
    }

    /// All names, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.list.iter()
    }

    /// The number of this name, if any event has it.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }
}

/// What an event consists of, borrowed.
pub struct Parts<'a> {
    pub index: u64,
    pub time: Time,
    pub process: Process,
    pub kind: Kind,
    pub f: &'a str,
    pub value: Word,
    pub error: Option<&'a str>,
    pub node: Option<&'a str>,
    pub version: Option<Word>,
    pub due: Option<Time>,
}

/// Who, and what of it: two bytes.
#[derive(Clone, Copy, Debug)]
struct Mark {
    kind: Kind,
    nemesis: bool,
}

/// A run of events, filled by one reader.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// The index of the first event, and the first that does not follow on its predecessor's.
    first: u64,
    skip: Option<(u32, u64)>,
    times: Vec<Time>,
    clients: Vec<u64>,
    marks: Vec<Mark>,
    fs: Vec<u32>,
    nodes: Vec<u32>,
    values: Vec<Word>,
    /// By row; few events have one.
    errors: Vec<(u32, String)>,
    versions: Vec<(u32, Word)>,
    dues: Vec<(u32, Time)>,
    names: Names,
    /// Where the values of this chunk's events belong.
    pub arena: Arena,
}

impl Chunk {
    /// Makes room for so many events.
    pub fn reserve(&mut self, events: usize) {
        self.times.reserve_exact(events);
        self.clients.reserve_exact(events);
        self.marks.reserve_exact(events);
        self.fs.reserve_exact(events);
        self.nodes.reserve_exact(events);
        self.values.reserve_exact(events);
    }

    #[inline]
    pub fn push(&mut self, event: &Parts) {
        let row = self.times.len() as u32;
        match row {
            0 => self.first = event.index,
            _ if self.skip.is_none() && event.index != self.first.wrapping_add(row.into()) => {
                self.skip = Some((row, event.index));
            }
            _ => {}
        }
        let (client, nemesis) = match event.process {
            Process::Client(client) => (client, false),
            Process::Nemesis => (0, true),
        };
        self.times.push(event.time);
        self.clients.push(client);
        self.marks.push(Mark {
            kind: event.kind,
            nemesis,
        });
        self.fs.push(self.names.number(event.f));
        let node = event.node.map_or(NONE, |node| self.names.number(node));
        self.nodes.push(node);
        self.values.push(event.value);
        if let Some(error) = event.error {
            self.errors.push((row, error.to_string()));
        }
        if let Some(version) = event.version {
            self.versions.push((row, version));
        }
        if let Some(due) = event.due {
            self.dues.push((row, due));
        }
    }

    pub fn push_event(&mut self, event: &Event) {
        let value = self.arena.value(&event.value);
        let version = event.version.as_ref().map(|v| self.arena.value(v));
        self.push(&Parts {
            index: event.index,
            time: event.time,
            process: event.process,
            kind: event.kind,
            f: &event.f,
            value,
            error: event.error.as_deref(),
            node: event.node.as_deref(),
            version,
            due: event.due,
        });
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        let errors: usize = self.errors.iter().map(|(_, error)| error.len()).sum();
        self.times.capacity() * size_of::<Time>()
            + self.clients.capacity() * size_of::<u64>()
            + self.marks.capacity() * size_of::<Mark>()
            + (self.fs.capacity() + self.nodes.capacity()) * size_of::<u32>()
            + self.values.capacity() * size_of::<Word>()
            + self.errors.capacity() * size_of::<(u32, String)>()
            + errors
            + self.versions.capacity() * size_of::<(u32, Word)>()
            + self.dues.capacity() * size_of::<(u32, Time)>()
            + self.arena.bytes()
    }

    /// Gives back what was reserved and not needed.
    pub fn shrink(&mut self) {
        self.times.shrink_to_fit();
        self.clients.shrink_to_fit();
        self.marks.shrink_to_fit();
        self.fs.shrink_to_fit();
        self.nodes.shrink_to_fit();
        self.values.shrink_to_fit();
        self.dues.shrink_to_fit();
        self.arena.shrink();
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Whether any event is a client's.
    pub(crate) fn has_clients(&self) -> bool {
        self.marks.iter().any(|mark| !mark.nemesis)
    }

    /// Gives other numbers to clients.
    pub(crate) fn renumber_clients(&mut self, mut number: impl FnMut(u64) -> u64) {
        let clients = self.clients.iter_mut().zip(&self.marks);
        for (client, _) in clients.filter(|(_, mark)| !mark.nemesis) {
            *client = number(*client);
        }
    }

    /// Raises times to the order of the events.
    pub(crate) fn place(&mut self, placing: &mut Placing) {
        for time in &mut self.times {
            time.0 = placing.place(Some(time.0));
        }
    }

    /// The first event whose index is not its position, if the first row's position is `start`.
    fn misnumbered(&self, start: u64) -> Option<(u32, u64)> {
        match self.first == start {
            _ if self.is_empty() => None,
            true => self.skip,
            false => Some((0, self.first)),
        }
    }
}

/// All events of a history.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    chunks: Vec<Chunk>,
    /// The position of each chunk's first event.
    starts: Vec<u32>,
    len: u32,
    names: Names,
}

/// One event, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Row<'h> {
    chunk: &'h Chunk,
    row: u32,
    index: u32,
}

impl<'h> Row<'h> {
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    #[inline]
    pub fn time(&self) -> Time {
        self.chunk.times[self.row as usize]
    }

    #[inline]
    pub fn process(&self) -> Process {
        match self.chunk.marks[self.row as usize].nemesis {
            true => Process::Nemesis,
            false => Process::Client(self.chunk.clients[self.row as usize]),
        }
    }

    #[inline]
    pub fn kind(&self) -> Kind {
        self.chunk.marks[self.row as usize].kind
    }

    /// Number of the name: see [`Columns::names`].
    #[inline]
    pub fn f(&self) -> u32 {
        self.chunk.fs[self.row as usize]
    }

    #[inline]
    pub fn value(&self) -> Stored<'h> {
        self.chunk.arena.get(self.chunk.values[self.row as usize])
    }

    pub fn error(&self) -> Option<&'h str> {
        let at = self.chunk.errors.binary_search_by_key(&self.row, |e| e.0);
        at.ok().map(|at| self.chunk.errors[at].1.as_str())
    }

    pub fn version(&self) -> Option<Stored<'h>> {
        let at = self.chunk.versions.binary_search_by_key(&self.row, |v| v.0);
        let word = self.chunk.versions[at.ok()?].1;
        Some(self.chunk.arena.get(word))
    }

    /// See [`Event::due`].
    pub fn due(&self) -> Option<Time> {
        let at = self.chunk.dues.binary_search_by_key(&self.row, |d| d.0);
        at.ok().map(|at| self.chunk.dues[at].1)
    }

    fn node(&self) -> u32 {
        self.chunk.nodes[self.row as usize]
    }
}

impl Columns {
    /// Joins what was read, in order. None if there are more events than numbers for them.
    pub fn new(chunks: Vec<Chunk>) -> Option<Columns> {
        let mut columns = Columns::default();
        for mut chunk in chunks {
            let end = u64::from(columns.len) + chunk.len() as u64;
            // Ranks of times are twice the number of an event.
            if end >= u64::from(u32::MAX) / 4 {
                return None;
            }
            let names: Vec<u32> = chunk
                .names
                .list
                .iter()
                .map(|name| columns.names.number(name))
                .collect();
            if names.iter().enumerate().any(|(i, n)| i as u32 != *n) {
                let renumbered = |n: &mut u32| {
                    if *n != NONE {
                        *n = names[*n as usize];
                    }
                };
                chunk.fs.iter_mut().for_each(renumbered);
                chunk.nodes.iter_mut().for_each(renumbered);
            }
            chunk.names = Names::default();
            columns.starts.push(columns.len);
            columns.len = end as u32;
            columns.chunks.push(chunk);
        }
        Some(columns)
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::bytes).sum()
    }

    /// Bytes of values that do not fit into a word.
    pub fn spilt_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.arena.bytes()).sum()
    }

    /// What the numbers of names mean.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether any event says where it took effect.
    pub fn has_versions(&self) -> bool {
        self.chunks.iter().any(|chunk| !chunk.versions.is_empty())
    }

    /// Times of all events, in order.
    pub fn times(&self) -> impl Iterator<Item = Time> {
        self.chunks.iter().flat_map(|c| c.times.iter().copied())
    }

    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let chunks = self.chunks.iter().zip(&self.starts);
        chunks.flat_map(|(c, start)| {
            (0..c.len() as u32).map(move |row| Row {
                chunk: c,
                row,
                index: start + row,
            })
        })
    }

    /// A reader for rows that are asked for in roughly ascending order.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor {
            of: self,
            chunk: 0,
            version: 0,
        }
    }

    /// Puts other values in the place of some.
    pub(crate) fn edit(&mut self, mut edit: impl FnMut(Row) -> Option<Value>) {
        for (chunk, start) in self.chunks.iter_mut().zip(&self.starts) {
            for row in 0..chunk.len() as u32 {
                let index = start + row;
                let edited = edit(Row { chunk, row, index });
                if let Some(value) = edited {
                    chunk.values[row as usize] = chunk.arena.value(&value);
                }
            }
        }
    }

    /// Gives other names to operations.
    pub(crate) fn rename(&mut self, rename: impl Fn(&str) -> Option<&'static str>) {
        let before = std::mem::take(&mut self.names);
        let mut number = |name: &Name| self.names.number(rename(name).unwrap_or(name.as_str()));
        let numbers: Vec<u32> = before.list.iter().map(&mut number).collect();
        for chunk in &mut self.chunks {
            for f in &mut chunk.fs {
                *f = numbers[*f as usize];
            }
            let nodes = chunk.nodes.iter_mut().filter(|node| **node != NONE);
            for node in nodes {
                *node = self.names.number(&before.list[*node as usize]);
            }
        }
    }

    /// Whether any two events have one time.
    pub(crate) fn has_ties(&self) -> bool {
        let after = self.times().skip(1);
        self.times().zip(after).any(|(a, b)| a == b)
    }

    /// Brings rows near: memory is quick at what it gives in order, and they will be asked for here
    /// and there. It takes less than it saves from some hundred rows on.
    pub fn fetch(&self, rows: Range<u32>) {
        const LINE: usize = 64;
        fn touch<T>(of: &[T], rows: &Range<usize>, number: impl Fn(&T) -> u64) -> u64 {
            let rows = of[rows.clone()].iter().step_by(LINE / size_of::<T>());
            rows.map(number).fold(0, u64::wrapping_add)
        }
        let first = self.starts.partition_point(|start| *start <= rows.start);
        let chunks = self.chunks.iter().zip(&self.starts);
        for (chunk, start) in chunks.skip(first.saturating_sub(1)) {
            if *start >= rows.end {
                break;
            }
            let within = |row: u32| (row.saturating_sub(*start) as usize).min(chunk.len());
            let rows = within(rows.start)..within(rows.end);
            let touched = touch(&chunk.times, &rows, |time| time.0)
                ^ touch(&chunk.values, &rows, |word| word.bits())
                ^ touch(&chunk.marks, &rows, |mark| mark.kind as u64)
                ^ touch(&chunk.fs, &rows, |f| u64::from(*f));
            std::hint::black_box(touched);
        }
    }

    /// The first event whose index is not its position.
    pub(crate) fn misnumbered(&self) -> Option<(u32, u64)> {
        let mut chunks = self.chunks.iter().zip(&self.starts);
        chunks.find_map(|(chunk, start)| {
            let (row, index) = chunk.misnumbered(u64::from(*start))?;
            Some((start + row, index))
        })
    }

    pub(crate) fn event(&self, row: Row) -> Event {
        let name = |number| self.names.get(number).cloned();
        Event {
            index: row.index().into(),
            time: row.time(),
            process: row.process(),
            kind: row.kind(),
            f: name(row.f()).expect("every event has a name"),
            value: row.value().to_value(),
            error: row.error().map(str::to_string),
            node: name(row.node()),
            version: row.version().map(Stored::to_value),
            due: row.due(),
        }
    }
}

/// Finds rows by their index; quickest near the one found last.
#[derive(Clone, Debug)]
pub struct Cursor<'h> {
    of: &'h Columns,
    chunk: usize,
    /// Where among its chunk's versions the last one was.
    version: usize,
}

impl<'h> Cursor<'h> {
    /// # Panics
    /// If there is no such event.
    #[inline]
    pub fn row(&mut self, index: u32) -> Row<'h> {
        let starts = &self.of.starts;
        let end = |chunk: usize| starts.get(chunk + 1).copied().unwrap_or(self.of.len);
        if index < starts[self.chunk] || index >= end(self.chunk) {
            self.chunk = starts.partition_point(|start| *start <= index) - 1;
        }
        Row {
            chunk: &self.of.chunks[self.chunk],
            row: index - starts[self.chunk],
            index,
        }
    }

    /// [`Row::version`] of a row that is near the one asked for last.
    pub fn version(&mut self, row: Row<'h>) -> Option<Stored<'h>> {
        let versions = &row.chunk.versions;
        let row_at = |at: usize| versions[at].0;
        let (mut from, mut step) = (self.version.min(versions.len()), 1);
        let mut until = from;
        while from > 0 && row_at(from - 1) >= row.row {
            from = from.saturating_sub(step);
            step *= 2;
        }
        step = 1;
        while until < versions.len() && row_at(until) <= row.row {
            until = (until + step).min(versions.len());
            step *= 2;
        }
        let at = versions[from..until].binary_search_by_key(&row.row, |v| v.0);
        let at = from + at.ok()?;
        self.version = at;
        Some(row.chunk.arena.get(versions[at].1))
    }
}
