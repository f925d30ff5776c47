//! What is wrong with lists without any cycle.

use history::word::Items;
use history::wording::counted;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Lists, Micro, Read};
use crate::transactions::consistency::{Class, Scope};
use crate::transactions::cycles::{Found, shortest_cycles};
use crate::transactions::findings::Findings;
use crate::transactions::graph::{Edges, Kind, NONE};
use crate::transactions::read::{Scratch, equal};
use crate::{Anomaly, Exhausted, Meter};
use history::Time;

impl Lists<'_> {
    /// What is wrong without any cycle.
    pub fn anomalies(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        self.versions(found, meter)?;
        self.prefixes(found, meter)?;
        self.within(found, meter)?;
        self.ahead(found, meter)?;
        self.lost(found, meter)?;
        self.dirty_writes(found, meter)?;
        self.lost_updates(found, meter)
    }

    /// In the longest reads: what nobody appended, what is there twice, what had failed.
    fn versions(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        for k in 0..self.keys.len() as u32 {
            let by = match self.keys[k as usize].longest_by {
                NONE => continue,
                by => self.op(by),
            };
            let wrong = self.longest(k, by, found, meter)?;
            let misplaced = self.misplaced(k, by, found, meter)?;
            self.keys[k as usize].broken |= wrong || misplaced;
        }
        Ok(())
    }

    /// Elements that should not stand in a key's list, as op `by` read it. Whether its order cannot
    /// be relied on.
    fn longest(
        &self,
        k: u32,
        by: u64,
        found: &mut Findings,
        meter: &mut Meter,
    ) -> Result<bool, Exhausted> {
        let key = &self.keys[k as usize];
        let object = || self.object(k);
        let (mut broken, mut aborted, mut updated) = (false, NONE, false);
        for (at, number) in key.order.iter().enumerate() {
            meter.tick(0)?;
            let append = &self.appends[*number as usize];
            let value = || self.shown(*number);
            if append.ambiguous {
                continue;
            } else if append.position != at as u32 {
                broken = true;
                let object = object();
                let reason = format!("op {by} read {} twice in {object}", value());
                found.add(
                    "duplicate elements",
                    Class::Broken,
                    Some(object),
                    vec![by],
                    reason,
                );
            } else if append.txn == NONE && append.failed == NONE {
                if self.txns.is_anybodys() {
                    continue;
                }
                broken = true;
                let object = object();
                let reason = format!(
                    "op {by} read {} in {object}, which nobody appended",
                    value()
                );
                found.add(
                    "element from nowhere",
                    Class::Broken,
                    Some(object),
                    vec![by],
                    reason,
                );
            } else if append.txn == NONE {
                aborted = *number;
                let (object, failed) = (object(), u64::from(append.failed));
                let reason = format!(
                    "op {by} read {} in {object}, but op {failed}, which appended it, had failed",
                    value()
                );
                found.add(
                    "G1a",
                    Class::DirtyRead,
                    Some(object),
                    vec![by, failed],
                    reason,
                );
            } else if aborted != NONE && !updated {
                updated = true;
                let (object, writer) = (object(), self.op(append.txn));
                let failed = self.appends[aborted as usize].failed.into();
                let reason = format!(
                    "op {writer} appended {} to {object} behind {}, although op {failed}, which appended that, had failed",
                    value(),
                    self.shown(aborted)
                );
                found.add(
                    "dirty update",
                    Class::DirtyRead,
                    Some(object),
                    vec![writer, failed, by],
                    reason,
                );
            }
        }
        Ok(broken)
    }

    /// Appends of one transaction stand in the order in which it made them, and none is left out.
    /// Whether some do not.
    fn misplaced(
        &self,
        k: u32,
        by: u64,
        found: &mut Findings,
        meter: &mut Meter,
    ) -> Result<bool, Exhausted> {
        let key = &self.keys[k as usize];
        let object = || self.object(k);
        let mut broken = false;
        for number in &key.standing {
            meter.tick(0)?;
            let append = &self.appends[*number as usize];
            let Some(before) = self.appends.get(append.before as usize) else {
                continue;
            };
            if before.position >= append.position {
                broken = true;
                // One that nobody knows of may have been undone.
                let class = match self.txns.rets[append.txn as usize] {
                    Time::MAX => Class::DirtyRead,
                    _ => Class::Broken,
                };
                let (object, writer) = (object(), self.op(append.txn));
                let (first, second) = (self.shown(append.before), self.shown(*number));
                let how = match before.position {
                    NONE => "without the other",
                    _ => "the other way round",
                };
                let reason = format!(
                    "op {writer} appended {first} to {object} before {second}, but op {by} read {second} {how}"
                );
                found.add("internal", class, Some(object), vec![writer, by], reason);
            }
        }
        Ok(broken)
    }

    /// Every other read must be a prefix of the longest, and end where a transaction ended.
    fn prefixes(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        for txn in 0..self.txns.len() as u32 {
            for at in self.txns.range(txn) {
                meter.tick(0)?;
                let Micro::Read(number) = self.micros[at] else {
                    continue;
                };
                let read = &self.reads[number as usize];
                let key = &self.keys[read.key as usize];
                if number != key.longest && !key.broken {
                    let longest = &self.reads[key.longest as usize];
                    if !is_prefix(read, longest, key.whole, meter)? {
                        let (op, by) = (self.op(txn), self.op(key.longest_by));
                        let object = self.object(read.key);
                        let reason = format!(
                            "op {op} and op {by} read {object} in two orders, and neither is the beginning of the other"
                        );
                        found.add(
                            "incompatible order",
                            Class::DirtyRead,
                            Some(object),
                            vec![op, by],
                            reason,
                        );
                        let key = read.key;
                        self.keys[key as usize].broken = true;
                        self.elements(txn, number, found, meter)?;
                        continue;
                    }
                }
                let Some(last) = read.len.checked_sub(1) else {
                    continue;
                };
                let key = &self.keys[read.key as usize];
                let append = match key.broken {
                    true => continue,
                    false => &self.appends[key.order[last as usize] as usize],
                };
                if append.txn != NONE && append.txn != txn && !append.last {
                    let (op, writer) = (self.op(txn), self.op(append.txn));
                    let object = self.object(read.key);
                    let value = append.value.to_value();
                    let reason = format!(
                        "op {op} read {object} up to {value}, after which op {writer} appended more: it saw that transaction half done"
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
        Ok(())
    }

    /// Cycles of appends among transactions that are known to have happened. One that may have been
    /// undone is in none, if only dirty reads are allowed, and could hide them.
    fn dirty_writes(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        let is_known = |txn: u32| self.txns.rets[txn as usize] != Time::MAX;
        if (0..self.txns.len() as u32).all(|txn| is_known(txn) || !self.happened(txn)) {
            return Ok(());
        }
        let mut edges = Edges::new(self.txns.len());
        for key in self.keys.iter().filter(|key| !key.broken) {
            let mut last = None;
            for number in key.standing.iter().filter(|n| is_known(self.writer(**n))) {
                meter.tick(edges.bytes())?;
                if let Some(last) = last.replace(self.writer(*number)) {
                    edges.add(last, self.writer(*number), Kind::Ww, *number);
                }
            }
            for number in key.unseen.iter().filter(|n| is_known(self.writer(**n))) {
                if let Some(last) = last {
                    edges.add(last, self.writer(*number), Kind::Ww, *number);
                }
            }
        }
        for cycle in shortest_cycles(&edges.graph(meter)?, meter)? {
            let (class, scope) = (Class::DirtyWrite, Scope::Data);
            found.add_cycle(
                &Found {
                    class,
                    scope,
                    cycle,
                },
                self,
            );
        }
        Ok(())
    }

    /// What nobody appended, or what is there twice, in a read that is no beginning of the longest.
    fn elements(
        &mut self,
        txn: u32,
        read: u32,
        found: &mut Findings,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let (list, key) = (
            self.reads[read as usize].list,
            self.reads[read as usize].key,
        );
        let mut there: FxHashSet<u32> = FxHashSet::default();
        for value in list.items().into_iter().flatten() {
            meter.tick(there.capacity() as u64 * 8)?;
            let number = self.append(key, value);
            let append = &self.appends[number as usize];
            let (op, object) = (self.op(txn), self.object(key));
            if append.ambiguous {
                continue;
            }
            let (kind, reason) = if !there.insert(number) {
                let reason = format!("op {op} read {} twice in {object}", self.shown(number));
                ("duplicate elements", reason)
            } else if append.txn == NONE && append.failed == NONE && !self.txns.is_anybodys() {
                let value = self.shown(number);
                let reason = format!("op {op} read {value} in {object}, which nobody appended");
                ("element from nowhere", reason)
            } else {
                continue;
            };
            found.add(kind, Class::Broken, Some(object), vec![op], reason);
        }
        Ok(())
    }

    /// What a transaction read before it read or appended to a key again.
    fn within(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        #[derive(Clone, Default)]
        struct View {
            /// Appends since it last read the key.
            since: Vec<u32>,
            /// The last append before that, which must stay at the end.
            end: Option<u32>,
        }
        let mut views: Scratch<View> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            let range = self.txns.range(txn);
            if range.len() < 2 {
                continue;
            }
            for at in range {
                let read = match self.micros[at] {
                    Micro::Append(number) => {
                        meter.tick(0)?;
                        let key = self.appends[number as usize].key;
                        views.of(txn, key).since.push(number);
                        continue;
                    }
                    Micro::Read(read) => &self.reads[read as usize],
                };
                let view = views.of(txn, read.key);
                let own = view.since.len();
                // Its own appends are at the end.
                let mut ends_so = read.len as usize >= own;
                if ends_so && own > 0 {
                    let items = read.list.items().into_iter().flatten();
                    for (value, number) in items.skip(read.len as usize - own).zip(&view.since) {
                        meter.tick(0)?;
                        ends_so &= equal(value, self.appends[*number as usize].value);
                    }
                }
                if let (0, Some(end)) = (own, view.end) {
                    let last = read.list.items().and_then(Iterator::last);
                    let end = self.appends[end as usize].value;
                    ends_so = last.is_some_and(|last| equal(last, end));
                }
                view.end = view.since.last().copied().or(view.end);
                view.since.clear();
                let (op, object) = (self.op(txn), || self.object(read.key));
                if !ends_so {
                    let object = object();
                    let reason = format!(
                        "op {op} appended to {object} and then read it without that at its end"
                    );
                    found.add("internal", Class::Broken, Some(object), vec![op], reason);
                }
            }
        }
        Ok(())
    }

    /// No transaction reads what it appends only later.
    fn ahead(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        // The first position of what is appended later.
        let mut later: Scratch<Option<u32>> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            if self.txns.range(txn).len() < 2 {
                continue;
            }
            for at in self.txns.range(txn).rev() {
                meter.tick(0)?;
                match self.micros[at] {
                    Micro::Append(number) => {
                        let append = &self.appends[number as usize];
                        let first = later.of(txn, append.key);
                        *first = Some(first.unwrap_or(NONE).min(append.position));
                    }
                    Micro::Read(read) => {
                        let read = &self.reads[read as usize];
                        if later
                            .of(txn, read.key)
                            .is_some_and(|first| first < read.len)
                        {
                            let (op, object) = (self.op(txn), self.object(read.key));
                            let reason = format!(
                                "op {op} read {object} with what it appended only afterwards"
                            );
                            found.add(
                                "future read",
                                Class::DirtyRead,
                                Some(object),
                                vec![op],
                                reason,
                            );
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Acknowledged appends that no read shows, not even one that was invoked afterwards.
    fn lost(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        // For each key, the reader that was invoked last.
        let mut readers = vec![NONE; self.keys.len()];
        for txn in 0..self.txns.len() as u32 {
            for micro in &self.micros[self.txns.range(txn)] {
                meter.tick(0)?;
                if let Micro::Read(read) = micro {
                    readers[self.reads[*read as usize].key as usize] = txn;
                }
            }
        }
        for (key, reader) in self.keys.iter().zip(readers) {
            let readers_call = match reader {
                NONE => continue,
                reader => self.txns.calls[reader as usize],
            };
            for number in &key.unseen {
                meter.tick(0)?;
                let append = &self.appends[*number as usize];
                if key.broken || self.txns.rets[append.txn as usize] >= readers_call {
                    continue;
                }
                let (writer, op) = (self.op(append.txn), self.op(reader));
                let object = self.object(append.key);
                let value = self.shown(*number);
                let reason = format!(
                    "op {writer} appended {value} to {object} and returned, but no read has it, not even op {op}, which was invoked afterwards"
                );
                let anomaly = Anomaly {
                    object: Some(object),
                    ops: vec![writer, op],
                    reason,
                    ..Anomaly::default()
                };
                found.add_scoped("lost element", (Class::Single, Scope::Realtime), anomaly);
                found.told(append.txn, reader, Scope::Realtime);
            }
        }
        Ok(())
    }

    /// Two that read the same version and appended to it.
    fn lost_updates(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        let mut updated: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        // Of each key, the shortest read of the transaction at hand.
        let mut shortest: Scratch<Option<u32>> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            for at in self.txns.range(txn) {
                meter.tick(updated.capacity() as u64 * 16)?;
                let key = match self.micros[at] {
                    Micro::Read(read) => {
                        let read = &self.reads[read as usize];
                        let known = shortest.of(txn, read.key);
                        *known = Some(known.map_or(read.len, |len| len.min(read.len)));
                        continue;
                    }
                    Micro::Append(number) => self.appends[number as usize].key,
                };
                let Some(seen) = *shortest.of(txn, key) else {
                    continue;
                };
                let first = *updated.entry((key, seen)).or_insert(txn);
                if first == txn || self.keys[key as usize].broken {
                    continue;
                }
                let (a, b, object) = (self.op(first), self.op(txn), self.object(key));
                let reason = format!(
                    "op {a} and op {b} both read {object} with {} and appended to it: neither saw the other",
                    counted(seen, "element")
                );
                let (kind, class) = ("lost update", Class::Single);
                found.add(kind, class, Some(object), vec![a, b], reason);
                found.told(first, txn, Scope::Data);
            }
        }
        Ok(())
    }
}

/// Whether a read is the beginning of another, of the same key.
fn is_prefix(
    read: &Read,
    longest: &Read,
    whole: bool,
    meter: &mut Meter,
) -> Result<bool, Exhausted> {
    if read.len > longest.len {
        return Ok(false);
    }
    let (Some(read), Some(longest)) = (read.list.items(), longest.list.items()) else {
        // Nothing is the beginning of everything.
        return Ok(true);
    };
    if let (true, Items::Words(_, a), Items::Words(_, b)) = (whole, &read, &longest) {
        let (a, b) = (a.as_slice(), b.as_slice());
        for (a, b) in a.chunks(1024).zip(b.chunks(1024)) {
            meter.tick(0)?;
            if *a != b[..a.len()] {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    for (a, b) in read.zip(longest) {
        meter.tick(0)?;
        if !equal(a, b) {
            return Ok(false);
        }
    }
    Ok(true)
}
