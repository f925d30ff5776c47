//! Registers that are written and read. Values written to one key are unique, so what was read
//! tells who wrote it; the order of versions is known only in part:
//!
//! - what a key holds at the start is before everything written to it;
//! - what a transaction reads and then overwrites is right before what it writes (the
//!   mini-transactions of Huang et al., "MTC", 2025), since anything else is a cycle of
//!   dependencies.
//!
//! Versions with such a **parent** make chains. Where a key has more than one, written blindly,
//! nothing says which comes first, and to find out is NP-hard (Biswas and Enea, OOPSLA 2019).

use history::word::Stored;
use history::{History, Time, Value};
use rustc_hash::FxHashMap;

use super::consistency::{Class, Scope};
use super::cycles::Step;
use super::findings::{Findings, Tell};
use super::graph::{Edges, Group, Kind, MOST_VERSIONS, NONE};
use super::read::{self, Asked, Interned, Outcome, Scratch, Txns};
use super::seen::{START, Saw, Seen, Wrote};
use super::visibility::Forced;
use crate::{Exhausted, Meter};

#[derive(Clone, Copy)]
enum Micro {
    Write(u32),
    Read(u32),
}

impl Micro {
    fn version(self) -> u32 {
        match self {
            Micro::Write(version) | Micro::Read(version) => version,
        }
    }
}

struct Version<'h> {
    value: Stored<'h>,
    key: u32,
    /// Who wrote it; none if all that tried failed, or nobody did.
    txn: u32,
    /// The invocation of one that failed.
    failed: u32,
    /// Whether it is what the key holds at the start.
    initial: bool,
    /// Whether its transaction writes nothing to the key afterwards.
    last: bool,
    /// Of a last one: the version that its transaction read before, from another.
    parent: u32,
    /// Whether several transactions may have written it: then it is nobody's, and to read it says
    /// nothing.
    ambiguous: bool,
}

/// A micro-operation as the history has it, with the key's name; reads only if they were answered.
struct Parsed<'h> {
    is_write: bool,
    name: Stored<'h>,
    value: Stored<'h>,
}

fn parse<'h>(asked: &Asked<'h>, micros: &mut Vec<Parsed<'h>>) -> Result<(), String> {
    for micro in asked.micros()? {
        let [f, name, value] = micro?;
        let is_write = f.is_text("w");
        if !is_write && !f.is_text("r") {
            let f = f.to_value();
            return Err(format!("{f} is neither w nor r"));
        }
        if is_write || asked.is_ok() {
            micros.push(Parsed {
                is_write,
                name,
                value,
            });
        }
    }
    Ok(())
}

/// Numbers of keys and values while they are read, and what is there at the start.
struct Names<'i> {
    keys: Interned,
    values: Interned,
    initial: &'i Value,
}

impl Names<'_> {
    fn new(initial: &Value) -> Names<'_> {
        Names {
            keys: Interned::default(),
            values: Interned::default(),
            initial,
        }
    }
}

/// All transactions on registers.
pub struct Registers<'h> {
    pub txns: Txns,
    micros: Vec<Micro>,
    versions: Vec<Version<'h>>,
    keys: Vec<Stored<'h>>,
    /// Of each key, the version at the start, if anybody read it.
    initial: Vec<u32>,
}

impl<'h> Registers<'h> {
    /// Reads them. The inner error is what cannot be judged.
    pub fn new(
        history: &'h History,
        initial: &Value,
        meter: &mut Meter,
    ) -> Result<Result<Registers<'h>, String>, Exhausted> {
        let mut registers = Registers {
            txns: Txns::new(),
            micros: Vec::new(),
            versions: Vec::new(),
            keys: Vec::new(),
            initial: Vec::new(),
        };
        let mut numbers = Names::new(initial);
        let mut count = 0u64;
        let mut micros = Vec::new();
        read::each(history, meter, |asked, meter| {
            count += 1;
            if count.is_multiple_of(64) {
                meter.tick(registers.bytes() + numbers.keys.bytes() + numbers.values.bytes())?;
            }
            micros.clear();
            match parse(&asked, &mut micros) {
                Ok(()) => registers.add(&asked, &micros, &mut numbers, meter),
                Err(why) => {
                    // Whatever can be told of it it may have written, or not.
                    for [f, name, value] in asked.legible() {
                        if f.is_text("w") {
                            let number = registers.version(name, value, &mut numbers);
                            registers.versions[number as usize].ambiguous = true;
                        }
                    }
                    registers.txns.not_judged(asked.op, why, true);
                    Ok(())
                }
            }
        })?;
        if registers.versions.len() >= MOST_VERSIONS {
            return Ok(Err("there are more values than this program numbers".into()));
        }
        registers.relate(meter)?;
        Ok(Ok(registers))
    }

    fn bytes(&self) -> u64 {
        let sizes = self.micros.capacity() * size_of::<Micro>()
            + self.versions.capacity() * size_of::<Version>()
            + self.keys.capacity() * (size_of::<Stored>() + 4);
        self.txns.bytes() + sizes as u64
    }

    /// The number of a value of a key.
    fn version(&mut self, name: Stored<'h>, value: Stored<'h>, numbers: &mut Names) -> u32 {
        let (key, new) = numbers.keys.number(0, name);
        if new {
            self.keys.push(name);
            self.initial.push(NONE);
        }
        let (number, new) = numbers.values.number(key, value);
        if new {
            let initial = value.to_value() == *numbers.initial;
            self.versions.push(Version {
                value,
                key,
                txn: NONE,
                failed: NONE,
                initial,
                last: true,
                parent: NONE,
                ambiguous: false,
            });
            if initial {
                self.initial[key as usize] = number;
            }
        }
        number
    }

    fn add(
        &mut self,
        asked: &Asked<'h>,
        micros: &[Parsed<'h>],
        numbers: &mut Names,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let txn = match asked.outcome {
            Outcome::Fail => NONE,
            _ => self.txns.len() as u32,
        };
        for micro in micros {
            meter.tick(0)?;
            let number = self.version(micro.name, micro.value, numbers);
            if !micro.is_write {
                self.micros.push(Micro::Read(number));
                continue;
            }
            let version = &mut self.versions[number as usize];
            if txn == NONE {
                version.failed = asked.op;
                continue;
            }
            if version.initial || version.txn != NONE {
                version.ambiguous = true;
                let (value, name) = (micro.value.to_value(), micro.name.to_value());
                let again = match version.initial {
                    true => "is what it holds at the start",
                    false => "was written to it before",
                };
                let why = format!(
                    "{value} is written to {name}, but {again}: only unique values tell who was read"
                );
                self.txns.not_judged(asked.op, why, false);
            }
            version.txn = txn;
            self.micros.push(Micro::Write(number));
        }
        if txn != NONE {
            self.txns.push(asked, self.micros.len());
        }
        Ok(())
    }

    /// Which transactions were seen, which versions are final, and which came from which.
    fn relate(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        for version in self.versions.iter_mut().filter(|version| version.ambiguous) {
            version.txn = NONE;
            if version.initial {
                self.initial[version.key as usize] = NONE;
            }
        }
        // What the transaction read first, and whether it wrote before.
        let mut first: Scratch<(Option<u32>, Option<u32>)> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            for at in self.txns.range(txn) {
                meter.tick(0)?;
                let micro = self.micros[at];
                let key = self.versions[micro.version() as usize].key;
                let (read, written) = first.of(txn, key);
                match micro {
                    Micro::Read(version) => {
                        let writer = self.versions[version as usize].txn;
                        if writer != NONE && writer != txn {
                            self.txns.happened[writer as usize] = true;
                        }
                        let ambiguous = self.versions[version as usize].ambiguous;
                        if read.is_none() && written.is_none() && !ambiguous {
                            *read = Some(version);
                        }
                    }
                    Micro::Write(version) => {
                        if let Some(before) = written.replace(version) {
                            self.versions[before as usize].last = false;
                        }
                        self.versions[version as usize].parent = read.unwrap_or(NONE);
                    }
                }
            }
        }
        Ok(())
    }

    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Whether it is a version that others can see.
    fn is_installed(&self, version: &Version) -> bool {
        version.txn != NONE && version.last && self.txns.happened[version.txn as usize]
    }

    /// Keys with more than one chain of versions, whose order is not known.
    pub fn unordered(&self) -> usize {
        let mut roots = vec![0u32; self.keys.len()];
        for version in &self.versions {
            let parent = self.versions.get(version.parent as usize);
            if self.is_installed(version) && parent.is_none_or(|parent| parent.initial) {
                roots[version.key as usize] += 1;
            }
        }
        roots.into_iter().filter(|roots| *roots > 1).count()
    }

    fn op(&self, txn: u32) -> u64 {
        self.txns.ops[txn as usize].into()
    }

    pub fn object(&self, key: u32) -> String {
        format!("register {}", self.keys[key as usize].to_value())
    }

    /// What is wrong without any cycle.
    pub fn anomalies(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        // What the transaction wrote to a key last, and what it read there last.
        let mut now: Scratch<(Option<u32>, Option<u32>)> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            for at in self.txns.range(txn) {
                meter.tick(0)?;
                let number = self.micros[at].version();
                let version = &self.versions[number as usize];
                let (wrote, read) = now.of(txn, version.key);
                match self.micros[at] {
                    Micro::Write(_) => *wrote = Some(number),
                    Micro::Read(_) if *wrote == Some(number) => {}
                    Micro::Read(_) if wrote.is_some() => {
                        let (op, object) = (self.op(txn), self.object(version.key));
                        let value = version.value.to_value();
                        let reason = format!(
                            "op {op} wrote {object} and then read {value} in it, not what it had written"
                        );
                        found.add("internal", Class::Broken, Some(object), vec![op], reason);
                    }
                    Micro::Read(_) if read.replace(number) == Some(number) => {}
                    Micro::Read(_) => self.dirty(txn, version, found),
                }
            }
        }
        self.lost_updates(found, meter)
    }

    /// Whether what a transaction read was nobody's, or not yet or no more what somebody wrote.
    fn dirty(&self, txn: u32, version: &Version, found: &mut Findings) {
        if version.initial || version.ambiguous {
            return;
        }
        let (op, object) = (self.op(txn), self.object(version.key));
        let value = version.value.to_value();
        let (kind, class, ops, reason) = if version.txn == txn {
            let reason =
                format!("op {op} read {value} in {object}, which it wrote only afterwards");
            ("future read", Class::DirtyRead, vec![op], reason)
        } else if version.txn == NONE && version.failed == NONE {
            if self.txns.is_anybodys() {
                return;
            }
            let reason = format!("op {op} read {value} in {object}, which nobody wrote");
            ("value from nowhere", Class::Broken, vec![op], reason)
        } else if version.txn == NONE {
            let failed = version.failed.into();
            let reason = format!(
                "op {op} read {value} in {object}, but op {failed}, which wrote it, had failed"
            );
            ("G1a", Class::DirtyRead, vec![op, failed], reason)
        } else if !version.last {
            let writer = self.op(version.txn);
            let reason = format!(
                "op {op} read {value} in {object}, which op {writer} overwrote itself: it saw that transaction half done"
            );
            ("G1b", Class::DirtyRead, vec![op, writer], reason)
        } else {
            return;
        };
        found.add(kind, class, Some(object), ops, reason);
    }

    /// Two that read the same version and overwrote it.
    fn lost_updates(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        let mut child: FxHashMap<u32, u32> = FxHashMap::default();
        for version in &self.versions {
            meter.tick(child.capacity() as u64 * 12)?;
            if version.parent == NONE || !self.is_installed(version) {
                continue;
            }
            let first = *child.entry(version.parent).or_insert(version.txn);
            if first != version.txn {
                let (a, b) = (self.op(first), self.op(version.txn));
                let object = self.object(version.key);
                let value = self.versions[version.parent as usize].value.to_value();
                let reason = format!(
                    "op {a} and op {b} both read {value} in {object} and overwrote it: neither saw the other"
                );
                found.add(
                    "lost update",
                    Class::Single,
                    Some(object),
                    vec![a, b],
                    reason,
                );
                found.told(first, version.txn, Scope::Data);
            }
        }
        Ok(())
    }

    /// What transactions read of each other and wrote.
    pub fn seen(&self, meter: &mut Meter) -> Result<Seen, Exhausted> {
        let mut seen = Seen::new();
        let mut own: Scratch<bool> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            for micro in &self.micros[self.txns.range(txn)] {
                meter.tick(seen.bytes())?;
                let number = micro.version();
                let version = &self.versions[number as usize];
                let key = version.key;
                let own = own.of(txn, key);
                match micro {
                    Micro::Write(_) => {
                        *own = true;
                        if self.is_installed(version) {
                            seen.write(Wrote {
                                key,
                                version: number,
                            });
                        }
                    }
                    Micro::Read(_) if *own || version.ambiguous || version.txn == txn => {}
                    Micro::Read(_) if version.initial || version.txn != NONE => {
                        seen.read(Saw {
                            key,
                            version: number,
                            writer: if version.initial { START } else { version.txn },
                        });
                    }
                    Micro::Read(_) => {}
                }
            }
            seen.close();
        }
        Ok(seen)
    }

    /// Whether the one version is known to come after the other, or before it.
    pub fn follows(&self, older: u32, newer: u32) -> Option<bool> {
        let [before, after] = [older, newer].map(|n| self.versions[n as usize].parent);
        match () {
            () if after == older => Some(true),
            () if before == newer => Some(false),
            () => None,
        }
    }

    /// What somebody read although it knew of another value.
    pub fn missed(&self, forced: &Forced) -> String {
        let Forced {
            reader,
            saw,
            from,
            newer,
            missed,
            ..
        } = *forced;
        let (op, writer) = (self.op(reader), self.op(from));
        let shown = |version: u32| self.versions[version as usize].value.to_value();
        let (there, old, new) = (self.object(missed.key), shown(missed.version), shown(newer));
        match saw {
            Some(saw) if saw.key == missed.key => {
                format!("op {op} read {new} in {there}, which op {writer} wrote, and later {old}")
            }
            Some(saw) => format!(
                "op {op} read {} in {}, which op {writer} wrote, but {old} in {there}, where that one wrote {new}",
                shown(saw.version),
                self.object(saw.key)
            ),
            None => format!(
                "op {op} comes after op {writer} by what was read and by sessions, but read {old} in {there}, where that one wrote {new}"
            ),
        }
    }

    /// What orders transactions, real time apart.
    pub fn edges(&self, meter: &mut Meter) -> Result<Edges, Exhausted> {
        let mut edges = Edges::new(self.txns.len());
        // Who came right after each version: those that read and overwrote it; after the start,
        // also those that overwrote blindly.
        let mut next: FxHashMap<u32, Vec<(u32, u32)>> = FxHashMap::default();
        for (number, version) in self.versions.iter().enumerate() {
            meter.tick(next.capacity() as u64 * 40)?;
            if !self.is_installed(version) {
                continue;
            }
            let after = match version.parent {
                NONE => self.initial[version.key as usize],
                parent => parent,
            };
            if after != NONE {
                let after = next.entry(after).or_default();
                after.push((version.txn, number as u32));
            }
        }
        let mut groups: FxHashMap<u32, Group> = FxHashMap::default();
        for (version, mut after) in next {
            after.sort_unstable();
            groups.insert(version, Group::new(after));
        }
        let mut own: Scratch<bool> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            let before = self.txns.before[txn as usize];
            if self.txns.happened[txn as usize] && before != NONE {
                edges.add(before, txn, Kind::Process, 0);
            }
            for at in self.txns.range(txn) {
                meter.tick(edges.bytes())?;
                let micro = self.micros[at];
                let version = &self.versions[micro.version() as usize];
                let own = own.of(txn, version.key);
                match micro {
                    Micro::Write(_) => *own = true,
                    Micro::Read(_) if *own || version.ambiguous => {}
                    Micro::Read(number) => {
                        if version.txn != NONE {
                            edges.add(version.txn, txn, Kind::Wr, number);
                        }
                        if let Some(after) = groups.get_mut(&number) {
                            after.before(txn, &mut edges);
                        }
                    }
                }
            }
        }
        Ok(edges)
    }
}

impl Tell for Registers<'_> {
    fn op(&self, txn: u32) -> u64 {
        Registers::op(self, txn)
    }

    fn key(&self, version: u32) -> u32 {
        self.versions[version as usize].key
    }

    fn object(&self, key: u32) -> String {
        Registers::object(self, key)
    }

    fn shown(&self, version: u32) -> String {
        self.versions[version as usize].value.to_value().to_string()
    }

    fn is_doubtful(&self, txn: u32) -> bool {
        self.txns.rets[txn as usize] == Time::MAX
    }

    fn why(&self, step: Step, a: &str, b: &str) -> String {
        let version = &self.versions[step.version as usize];
        let (value, object) = (version.value.to_value(), self.object(version.key));
        match step.kind {
            Kind::Wr => format!("{b} read {value} in {object}, which {a} wrote"),
            _ => {
                let before = match self.versions.get(version.parent as usize) {
                    Some(parent) => parent.value.to_value().to_string(),
                    None => "what it held at the start".to_string(),
                };
                format!("{a} read {before} in {object}, over which {b} wrote {value}")
            }
        }
    }
}
