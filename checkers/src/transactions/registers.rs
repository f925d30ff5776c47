//! Registers that are written and read. Values written to one key are unique, so what was read tells who
//! wrote it; the order of versions is known only in part:
//!
//! - what a key holds at the start is before everything written to it;
//! - what a transaction reads and then overwrites is right before what it writes (the mini-transactions
//!   of Huang et al., "MTC", 2025), since anything else is a cycle of dependencies.
//!
//! Versions with such a **parent** make chains. Where a key has more than one, written blindly, nothing
//! says which comes first, and to find out is NP-hard (Biswas and Enea, OOPSLA 2019).

mod order;

use history::word::Stored;
use history::{History, Value};
use rustc_hash::FxHashMap;

use super::consistency::{Class, Scope};
use super::cycles::Step;
use super::findings::{Findings, Tell};
use super::graph::{Edges, Group, Kind, MOST_VERSIONS, NONE};
use super::read::{self, Asked, Interned, Outcome, Scratch, Txns};
use crate::{Exhausted, Meter};

/// Looking through longer transactions again and again would take the square of their length.
const LONG: usize = 32;

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
        let (mut keys, mut values) = (Interned::default(), Interned::default());
        let mut count = 0u64;
        let read = read::each(history, meter, |asked, meter| {
            count += 1;
            if count.is_multiple_of(64) {
                meter.tick(registers.bytes() + keys.bytes() + values.bytes())?;
            }
            registers.add(&asked, initial, &mut keys, &mut values, meter)
        })?;
        if let Err(why) = read {
            return Ok(Err(why));
        }
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

    fn add(
        &mut self,
        asked: &Asked<'h>,
        initial: &Value,
        keys: &mut Interned,
        values: &mut Interned,
        meter: &mut Meter,
    ) -> Result<Result<(), String>, Exhausted> {
        let txn = match asked.outcome {
            Outcome::Fail => NONE,
            _ => self.txns.len() as u32,
        };
        let micros = match asked.micros() {
            Ok(micros) => micros,
            Err(why) => return Ok(Err(why)),
        };
        for micro in micros {
            meter.tick(0)?;
            let [f, name, value] = match micro {
                Ok(micro) => micro,
                Err(why) => return Ok(Err(why)),
            };
            let (is_write, is_read) = (f.is_text("w"), f.is_text("r"));
            if !is_write && !is_read {
                let f = f.to_value();
                return Ok(Err(format!("{f} is neither w nor r")));
            }
            if is_read && !asked.is_ok() {
                continue;
            }
            let (key, new) = keys.number(0, name);
            if new {
                self.keys.push(name);
                self.initial.push(NONE);
            }
            let (number, new) = values.number(key, value);
            if new {
                let initial = value.to_value() == *initial;
                self.versions.push(Version {
                    value,
                    key,
                    txn: NONE,
                    failed: NONE,
                    initial,
                    last: true,
                    parent: NONE,
                });
                if initial {
                    self.initial[key as usize] = number;
                }
            }
            if is_read {
                self.micros.push(Micro::Read(number));
                continue;
            }
            let version = &mut self.versions[number as usize];
            if txn == NONE {
                version.failed = asked.op;
            } else if version.initial || version.txn != NONE {
                let (value, name) = (value.to_value(), name.to_value());
                let again = match version.initial {
                    true => "is what it holds at the start",
                    false => "was written to it before",
                };
                return Ok(Err(format!(
                    "{value} is written to {name}, but {again}: only unique values tell who was read"
                )));
            } else {
                version.txn = txn;
                self.micros.push(Micro::Write(number));
            }
        }
        if txn != NONE {
            self.txns.push(asked, self.micros.len());
        }
        Ok(Ok(()))
    }

    /// Which transactions were seen, which versions are final, and which came from which.
    fn relate(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
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
                        if read.is_none() && written.is_none() {
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

    fn object(&self, key: u32) -> String {
        format!("register {}", self.keys[key as usize].to_value())
    }

    /// What is wrong without any cycle.
    pub fn anomalies(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        // What a key must hold for the transaction, and whether that was its own; what it writes later.
        let mut now: Scratch<Option<(u32, bool)>> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            for at in self.txns.range(txn) {
                meter.tick(0)?;
                let number = match self.micros[at] {
                    Micro::Read(number) => number,
                    Micro::Write(number) => {
                        *now.of(txn, self.versions[number as usize].key) = Some((number, true));
                        continue;
                    }
                };
                let version = &self.versions[number as usize];
                let slot = now.of(txn, version.key);
                let before = *slot;
                *slot = Some((number, before == Some((number, true))));
                let (op, value) = (self.op(txn), || version.value.to_value());
                let object = self.object(version.key);
                match before {
                    Some((before, own)) if before != number => {
                        if own {
                            let reason = format!(
                                "op {op} wrote {object} and then read {} in it, not what it had written",
                                value()
                            );
                            found.add("internal", Class::Broken, Some(object), vec![op], reason);
                        } else {
                            let reason = format!(
                                "op {op} read {object} twice, and found another value the second time"
                            );
                            found.add(
                                "non-repeatable read",
                                Class::Fractured,
                                Some(object),
                                vec![op],
                                reason,
                            );
                        }
                        continue;
                    }
                    Some(_) => continue,
                    None if version.initial => continue,
                    None => {}
                }
                if version.txn == txn {
                    let reason = format!(
                        "op {op} read {} in {object}, which it wrote only afterwards",
                        value()
                    );
                    found.add(
                        "future read",
                        Class::DirtyRead,
                        Some(object),
                        vec![op],
                        reason,
                    );
                } else if version.txn == NONE && version.failed == NONE {
                    let reason =
                        format!("op {op} read {} in {object}, which nobody wrote", value());
                    found.add(
                        "value from nowhere",
                        Class::Broken,
                        Some(object),
                        vec![op],
                        reason,
                    );
                } else if version.txn == NONE {
                    let failed = version.failed.into();
                    let reason = format!(
                        "op {op} read {} in {object}, but op {failed}, which wrote it, had failed",
                        value()
                    );
                    found.add(
                        "G1a",
                        Class::DirtyRead,
                        Some(object),
                        vec![op, failed],
                        reason,
                    );
                } else if !version.last {
                    let writer = self.op(version.txn);
                    let reason = format!(
                        "op {op} read {} in {object}, which op {writer} overwrote itself: it saw the midst of it",
                        value()
                    );
                    found.add(
                        "G1b",
                        Class::DirtyRead,
                        Some(object),
                        vec![op, writer],
                        reason,
                    );
                }
            }
        }
        self.lost_updates(found, meter)?;
        self.fractured(found, meter)
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

    /// Transactions that were seen in one key, while in another what they had overwritten was seen.
    fn fractured(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        // Who reads many keys, and from whom, is looked for from the side of fewer keys.
        let mut written: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for (number, version) in self.versions.iter().enumerate() {
            meter.tick(written.capacity() as u64 * 16)?;
            if version.txn != NONE && version.last && self.txns.range(version.txn).len() > LONG {
                written.insert((version.txn, version.key), number as u32);
            }
        }
        // Of each version, where the transaction at hand read it last.
        let mut reads: Scratch<Option<usize>> = Scratch::new(self.versions.len());
        for txn in 0..self.txns.len() as u32 {
            let range = self.txns.range(txn);
            let read = |at: usize| match self.micros[at] {
                Micro::Read(number) if self.versions[number as usize].txn != txn => Some(number),
                _ => None,
            };
            if range.clone().filter(|at| read(*at).is_some()).count() < 2 {
                continue;
            }
            for at in range.clone() {
                meter.tick(0)?;
                if let Some(number) = read(at) {
                    *reads.of(txn, number) = Some(at);
                }
            }
            for at in range.clone() {
                let Some(seen) = read(at).map(|number| &self.versions[number as usize]) else {
                    continue;
                };
                if seen.txn == NONE {
                    continue;
                }
                let mut check = |number: u32, meter: &mut Meter| -> Result<(), Exhausted> {
                    meter.tick(0)?;
                    let version = &self.versions[number as usize];
                    if version.key == seen.key || !version.last {
                        return Ok(());
                    }
                    // What it overwrote, and what the key held at the start, are older.
                    let older = [version.parent, self.initial[version.key as usize]];
                    let older = older.into_iter().filter(|old| *old != NONE);
                    let read = older.filter_map(|old| reads.of(txn, old).map(|later| (later, old)));
                    let Some((later, old)) = read.max() else {
                        return Ok(());
                    };
                    let (kind, class) = match later > at {
                        true => ("observed transaction vanishes", Class::Vanished),
                        false => ("fractured read", Class::Fractured),
                    };
                    let (op, writer) = (self.op(txn), self.op(seen.txn));
                    let (here, there) = (self.object(seen.key), self.object(version.key));
                    let [value, older] =
                        [seen, &self.versions[old as usize]].map(|v| v.value.to_value());
                    let reason = format!(
                        "op {op} read {value} in {here}, which op {writer} wrote, but {older} in {there}, which that one overwrote"
                    );
                    found.add(kind, class, None, vec![op, writer], reason);
                    found.told(txn, seen.txn, Scope::Data);
                    Ok(())
                };
                let writes = self.txns.range(seen.txn);
                if writes.len() <= LONG {
                    for micro in &self.micros[writes] {
                        if let Micro::Write(number) = *micro {
                            check(number, meter)?;
                        }
                    }
                } else {
                    for other in range.clone().filter_map(read) {
                        let key = self.versions[other as usize].key;
                        if let Some(number) = written.get(&(seen.txn, key)) {
                            check(*number, meter)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What orders transactions, real time apart; and what would, if versions were in the order that is
    /// guessed.
    pub fn edges(&self, guess: bool, meter: &mut Meter) -> Result<Edges, Exhausted> {
        let mut edges = Edges::new(self.txns.len());
        let guessed = match guess {
            true => self.guess(meter)?,
            false => Vec::new(),
        };
        let writer = |version: u32| self.versions[version as usize].txn;
        for (number, next) in guessed
            .iter()
            .enumerate()
            .filter(|(_, next)| **next != NONE)
        {
            meter.tick(edges.bytes())?;
            edges.add(writer(number as u32), writer(*next), Kind::Ww, *next);
        }
        // Who came right after each version: those that read and overwrote it; after the start, also
        // those that overwrote blindly.
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
                    Micro::Read(_) if *own => {}
                    Micro::Read(number) => {
                        if version.txn != NONE {
                            edges.add(version.txn, txn, Kind::Wr, number);
                        }
                        if let Some(next) = guessed.get(number as usize).filter(|n| **n != NONE) {
                            edges.add(txn, writer(*next), Kind::Rw, *next);
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
