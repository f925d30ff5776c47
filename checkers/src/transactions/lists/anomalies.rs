//! What is wrong with lists without any cycle.

use history::word::Items;
use history::wording::counted;
use rustc_hash::FxHashMap;

use super::{Lists, Micro, Read};
use crate::transactions::consistency::{Class, Scope};
use crate::transactions::findings::Findings;
use crate::transactions::graph::NONE;
use crate::transactions::read::{Scratch, equal};
use crate::{Exhausted, Meter};

impl Lists<'_> {
    /// What is wrong without any cycle.
    pub fn anomalies(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        self.versions(found, meter)?;
        self.prefixes(found, meter)?;
        self.within(found, meter)?;
        self.lost(found, meter)?;
        self.partial(found, meter)
    }

    /// In the longest reads: what nobody appended, what is there twice, what had failed.
    fn versions(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        for k in 0..self.keys.len() {
            let key = &self.keys[k];
            let by = match key.longest_by {
                NONE => continue,
                by => self.op(by),
            };
            let object = || self.object(k as u32);
            let (mut broken, mut aborted, mut updated) = (false, NONE, false);
            for (at, number) in key.order.iter().enumerate() {
                meter.tick(0)?;
                let append = &self.appends[*number as usize];
                let value = || self.shown(*number);
                if append.position != at as u32 {
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
            // Appends of one transaction stand in the order in which it made them.
            for pair in key.standing.windows(2) {
                meter.tick(0)?;
                let [a, b] = [pair[0], pair[1]].map(|n| &self.appends[n as usize]);
                if a.txn == b.txn && a.place > b.place {
                    broken = true;
                    let (object, writer) = (object(), self.op(a.txn));
                    let (first, second) = (self.shown(pair[1]), self.shown(pair[0]));
                    let reason = format!(
                        "op {writer} appended {first} to {object} before {second}, but op {by} read them the other way round"
                    );
                    found.add(
                        "internal",
                        Class::Broken,
                        Some(object),
                        vec![writer, by],
                        reason,
                    );
                }
            }
            self.keys[k].broken |= broken;
        }
        Ok(())
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
                            "op {op} and op {by} read {object} in orders of which neither is the beginning of the other"
                        );
                        found.add(
                            "incompatible order",
                            Class::DirtyRead,
                            Some(object),
                            vec![op, by],
                            reason,
                        );
                        self.keys[read.key as usize].broken = true;
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
                        "op {op} read {object} up to {value}, after which op {writer} appended more: it saw the midst of it"
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

    /// What a transaction read before it read or appended to a key again.
    fn within(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        #[derive(Clone, Default)]
        struct View {
            /// Length of what was last read, if anything was.
            read: Option<u32>,
            /// Appends since then.
            since: Vec<u32>,
            /// The last append before that, which must stay at the end.
            end: Option<u32>,
        }
        let mut views: Scratch<View> = Scratch::new(self.keys.len());
        // The first position of what is appended later.
        let mut later: Scratch<Option<u32>> = Scratch::new(self.keys.len());
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
                let again = view.read.is_some_and(|len| len + own as u32 != read.len);
                view.read = Some(read.len);
                view.end = view.since.last().copied().or(view.end);
                view.since.clear();
                let (op, object) = (self.op(txn), || self.object(read.key));
                if !ends_so {
                    let object = object();
                    let reason = format!(
                        "op {op} appended to {object} and then read it without that at its end"
                    );
                    found.add("internal", Class::Broken, Some(object), vec![op], reason);
                } else if again && !self.keys[read.key as usize].broken {
                    let object = object();
                    let reason = format!(
                        "op {op} read {object} twice, and what others had appended differed"
                    );
                    found.add(
                        "non-repeatable read",
                        Class::Fractured,
                        Some(object),
                        vec![op],
                        reason,
                    );
                }
            }
            // And nothing of what it appends only later.
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
                found.add_scoped(
                    "lost element",
                    (Class::Single, Scope::Realtime),
                    Some(object),
                    vec![writer, op],
                    reason,
                );
                found.told(append.txn, reader, Scope::Realtime);
            }
        }
        Ok(())
    }

    /// Transactions that were seen in part, and updates of the same version.
    fn partial(&self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        /// Looking through longer transactions again and again would take the square of their length.
        const LONG: usize = 32;
        let mut long: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for txn in 0..self.txns.len() as u32 {
            let range = self.txns.range(txn);
            if range.len() <= LONG {
                continue;
            }
            for micro in &self.micros[range] {
                meter.tick(long.capacity() as u64 * 16)?;
                if let Micro::Append(number) = micro {
                    long.insert((txn, self.appends[*number as usize].key), *number);
                }
            }
        }
        let mut updated: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        // Of each key, the shortest read of the transaction at hand, and the shortest of those that come later.
        let mut shortest: Scratch<Option<u32>> = Scratch::new(self.keys.len());
        let mut later: Scratch<Option<u32>> = Scratch::new(self.keys.len());
        for txn in 0..self.txns.len() as u32 {
            let range = self.txns.range(txn);
            if range.len() < 2 {
                continue;
            }
            let mut keys: Vec<u32> = Vec::new();
            for at in range.clone() {
                meter.tick(updated.capacity() as u64 * 16)?;
                match self.micros[at] {
                    Micro::Read(read) => {
                        let read = &self.reads[read as usize];
                        let known = shortest.of(txn, read.key);
                        if known.is_none() {
                            keys.push(read.key);
                        }
                        *known = Some(known.map_or(read.len, |len| len.min(read.len)));
                    }
                    Micro::Append(number) => {
                        let key = self.appends[number as usize].key;
                        let Some(seen) = *shortest.of(txn, key) else {
                            continue;
                        };
                        let first = *updated.entry((key, seen)).or_insert(txn);
                        if first != txn && !self.keys[key as usize].broken {
                            let (a, b, object) = (self.op(first), self.op(txn), self.object(key));
                            let reason = format!(
                                "op {a} and op {b} both read {object} with {} and appended to it: neither saw the other",
                                counted(seen, "element")
                            );
                            found.add(
                                "lost update",
                                Class::Single,
                                Some(object),
                                vec![a, b],
                                reason,
                            );
                            found.told(first, txn, Scope::Data);
                        }
                    }
                }
            }
            if keys.len() < 2 {
                continue;
            }
            for at in range.rev() {
                let Micro::Read(number) = self.micros[at] else {
                    continue;
                };
                let read = &self.reads[number as usize];
                let key = &self.keys[read.key as usize];
                let known = later.of(txn, read.key);
                *known = Some(known.map_or(read.len, |len| len.min(read.len)));
                let last = match read.len.checked_sub(1) {
                    Some(last) if !key.broken => &self.appends[key.order[last as usize] as usize],
                    _ => continue,
                };
                if last.txn == NONE || last.txn == txn {
                    continue;
                }
                let written = self.txns.range(last.txn);
                let mut missing = |append: u32, meter: &mut Meter| -> Result<(), Exhausted> {
                    meter.tick(0)?;
                    let append = &self.appends[append as usize];
                    if self.keys[append.key as usize].broken {
                        return Ok(());
                    }
                    match *shortest.of(txn, append.key) {
                        Some(len) if append.position >= len && append.key != read.key => {
                            let later = *later.of(txn, append.key);
                            let (kind, class) =
                                match later.is_some_and(|len| append.position >= len) {
                                    true => ("observed transaction vanishes", Class::Vanished),
                                    false => ("fractured read", Class::Fractured),
                                };
                            let (op, writer) = (self.op(txn), self.op(last.txn));
                            let (here, there) = (self.object(read.key), self.object(append.key));
                            let (value, other) = (last.value.to_value(), append.value.to_value());
                            let reason = format!(
                                "op {op} read {value} in {here}, which op {writer} appended, but not {other}, which that one appended to {there}"
                            );
                            found.add(kind, class, None, vec![op, writer], reason);
                            found.told(txn, last.txn, Scope::Data);
                        }
                        _ => {}
                    }
                    Ok(())
                };
                if written.len() <= LONG {
                    for micro in &self.micros[written] {
                        if let Micro::Append(append) = micro {
                            missing(*append, meter)?;
                        }
                    }
                } else {
                    for key in &keys {
                        if let Some(append) = long.get(&(last.txn, *key)) {
                            missing(*append, meter)?;
                        }
                    }
                }
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
