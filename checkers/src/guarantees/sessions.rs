//! The four session guarantees (Terry et al., "Session Guarantees for Weakly Consistent Replicated
//! Data", PDIS 1994), of registers whose written values are unique.
//!
//! A guarantee says which writes a read **must know of**, and which writes are **ordered**:
//!
//! | guarantee | a read `r` of a session must know of `w` if | and ordered are |
//! | --- | --- | --- |
//! | read your writes | the session made `w` before | |
//! | monotonic reads | the session read `w` before | |
//! | monotonic writes | it has read what the writer of `w` wrote after `w` | the writes of a session |
//! | writes follow reads | it has read what somebody wrote after reading `w`, or after reading what follows so from `w` | what a session read, and what it writes afterwards |
//!
//! It holds iff one order of all writes (Viotti and Vukolić, "Consistency in Non-Transactional
//! Distributed Storage Systems", ACM Computing Surveys 2016) has these, and has every read return
//! the last of those writes of its key that it must know of; it returns what was there at the start
//! only if it need know of none. So `r` reading `v` puts all others that it must know of before
//! `v`, and what has no cycle is such an order.
//!
//! "It has read" means this read, or one of its session before. Without the sessions of readers
//! monotonic writes and writes that follow reads forbid nothing: each read by itself may have been
//! answered by a server that knows of one write.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::Guarantee;
use crate::{Exhausted, Meter};

/// A read or a write that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The index of its invocation.
    pub op: u64,
    pub session: u32,
    pub key: u32,
    /// What is written or read; none is what was there at the start.
    pub value: Option<u32>,
    pub is_read: bool,
    /// Whether its session goes on after it: nobody knows when what is lost took effect.
    pub returned: bool,
}

/// As many edges are looked at; a session that reads old values over and over can have a square of
/// them.
const MOST_EDGES: usize = 4_000_000;

/// As many pairs of writes and sessions.
const MOST_CLOCKS: usize = 8_000_000;

/// As many operations of a core are tried without each.
const WORTH_SHRINKING: usize = 80;

/// Why a guarantee is not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    TooLarge,
    Exhausted(Exhausted),
}

impl From<Exhausted> for Undecided {
    fn from(why: Exhausted) -> Undecided {
        Undecided::Exhausted(why)
    }
}

/// The operations that have no such order, few; none if all have one. Accesses are in order of
/// invocation.
pub fn refuted(
    guarantee: Guarantee,
    accesses: &[Access],
    meter: &mut Meter,
) -> Result<Option<Vec<u64>>, Undecided> {
    let Some(found) = contradiction(guarantee, accesses, meter)? else {
        return Ok(None);
    };
    let mut core: Vec<Access> = found.iter().map(|at| accesses[*at as usize]).collect();
    if core.len() <= WORTH_SHRINKING && contradiction(guarantee, &core, meter)?.is_some() {
        let mut at = 0;
        while at < core.len() {
            let mut fewer = core.clone();
            fewer.remove(at);
            match contradiction(guarantee, &fewer, meter)? {
                Some(_) => core = fewer,
                None => at += 1,
            }
        }
    }
    Ok(Some(core.iter().map(|access| access.op).collect()))
}

/// Positions of accesses that contradict each other.
fn contradiction(
    guarantee: Guarantee,
    accesses: &[Access],
    meter: &mut Meter,
) -> Result<Option<Vec<u32>>, Undecided> {
    let sessions = Sessions::new(accesses);
    let mut edges = Edges::new(accesses.len());
    let found = match guarantee {
        Guarantee::ReadYourWrites => sessions.read_your_writes(&mut edges, meter)?,
        Guarantee::MonotonicReads => sessions.monotonic_reads(&mut edges, meter)?,
        Guarantee::MonotonicWrites => sessions.monotonic_writes(&mut edges, meter)?,
        _ => sessions.writes_follow_reads(&mut edges, meter)?,
    };
    let found = match found {
        Some(found) => Some(found),
        None => edges.cycle(meter)?,
    };
    Ok(found.map(|mut found| {
        found.sort_unstable();
        found.dedup();
        found
    }))
}

/// Accesses by their sessions. Those that returned are numbered in each.
struct Sessions<'a> {
    accesses: &'a [Access],
    /// Where each value is written.
    writes: FxHashMap<u32, u32>,
    /// How many of the session had returned before.
    knows: Vec<u32>,
    count: usize,
}

/// What a read has to do with a write that it must know of; `Err` is the contradiction that it did
/// not see any.
type Known = Result<(), Vec<u32>>;

impl<'a> Sessions<'a> {
    fn new(accesses: &'a [Access]) -> Sessions<'a> {
        let mut writes = FxHashMap::default();
        let mut returned: FxHashMap<u32, u32> = FxHashMap::default();
        let mut knows = Vec::with_capacity(accesses.len());
        for (access, at) in accesses.iter().zip(0..) {
            if let (false, Some(value)) = (access.is_read, access.value) {
                writes.insert(value, at);
            }
            let returned = returned.entry(access.session).or_default();
            knows.push(*returned);
            *returned += u32::from(access.returned);
        }
        let sessions = accesses.iter().map(|access| access.session as usize + 1);
        Sessions {
            accesses,
            writes,
            knows,
            count: sessions.max().unwrap_or(0),
        }
    }

    /// The write that a read returns: none is the start. Reads of writes that are not there are
    /// passed over.
    fn reads(&self) -> impl Iterator<Item = (u32, Access, Option<u32>)> + '_ {
        let all = self.accesses.iter().zip(0..).filter(|(a, _)| a.is_read);
        all.filter_map(|(access, at)| match access.value {
            None => Some((at, *access, None)),
            Some(value) => Some((at, *access, Some(*self.writes.get(&value)?))),
        })
    }

    fn read_your_writes(
        &self,
        edges: &mut Edges,
        meter: &mut Meter,
    ) -> Result<Option<Vec<u32>>, Undecided> {
        // Own writes of a key, and what was read last and after how many of them.
        type Own = (Vec<u32>, Option<(Option<u32>, usize)>);
        let mut own: FxHashMap<(u32, u32), Own> = FxHashMap::default();
        let from: FxHashMap<u32, Option<u32>> =
            self.reads().map(|(at, _, from)| (at, from)).collect();
        for (access, at) in self.accesses.iter().zip(0..) {
            meter.tick(edges.bytes())?;
            let (writes, last) = own.entry((access.session, access.key)).or_default();
            if !access.is_read {
                if access.returned {
                    writes.push(at);
                }
                continue;
            }
            let Some(from) = from.get(&at) else { continue };
            let told = last.filter(|(before, _)| before == from);
            for write in &writes[told.map_or(0, |(_, told)| told)..] {
                if let Err(found) = edges.known(*write, *from, [at, at, at])? {
                    return Ok(Some(found));
                }
            }
            *last = Some((*from, writes.len()));
        }
        Ok(None)
    }

    fn monotonic_reads(
        &self,
        edges: &mut Edges,
        meter: &mut Meter,
    ) -> Result<Option<Vec<u32>>, Undecided> {
        let mut last: FxHashMap<(u32, u32), (u32, Option<u32>)> = FxHashMap::default();
        for (at, access, from) in self.reads() {
            meter.tick(edges.bytes())?;
            // What was read before that is before it by the edges that are there.
            let before = last.insert((access.session, access.key), (at, from));
            if let Some((read, Some(write))) = before
                && let Err(found) = edges.known(write, from, [at, read, read])?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn monotonic_writes(
        &self,
        edges: &mut Edges,
        meter: &mut Meter,
    ) -> Result<Option<Vec<u32>>, Undecided> {
        let mut last: FxHashMap<u32, u32> = FxHashMap::default();
        // Writes of a session to a key, by how many of the session returned before.
        let mut written: FxHashMap<(u32, u32), Vec<(u32, u32)>> = FxHashMap::default();
        for (access, at) in self.accesses.iter().zip(0..) {
            if access.is_read {
                continue;
            }
            if let Some(before) = last.get(&access.session) {
                edges.add(*before, at, [at; 3])?;
            }
            if access.returned {
                last.insert(access.session, at);
                let writes = written.entry((access.session, access.key)).or_default();
                writes.push((self.knows[at as usize], at));
            }
        }
        // Of each session what it has read of each other: the latest write, and where.
        let mut seen: Vec<Vec<(u32, u32, u32)>> = vec![Vec::new(); self.count];
        for (at, access, from) in self.reads() {
            let seen = &mut seen[access.session as usize];
            if let Some(write) = from {
                let writer = self.accesses[write as usize].session;
                match seen.iter_mut().find(|(session, ..)| *session == writer) {
                    Some((_, latest, _))
                        if self.knows[*latest as usize] >= self.knows[write as usize] => {}
                    Some(found) => *found = (writer, write, at),
                    None => seen.push((writer, write, at)),
                }
            }
            for (writer, latest, read) in seen.iter() {
                meter.tick(edges.bytes())?;
                let Some(writes) = written.get(&(*writer, access.key)) else {
                    continue;
                };
                let before = writes.partition_point(|(nth, _)| *nth < self.knows[*latest as usize]);
                // Those before the last are before it.
                if let Some((_, write)) = before.checked_sub(1).map(|last| writes[last])
                    && let Err(found) = edges.known(write, from, [at, *latest, *read])?
                {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn writes_follow_reads(
        &self,
        edges: &mut Edges,
        meter: &mut Meter,
    ) -> Result<Option<Vec<u32>>, Undecided> {
        let from: FxHashMap<u32, Option<u32>> =
            self.reads().map(|(at, _, from)| (at, from)).collect();
        // A read stands for all that its session had read until then.
        let mut last: FxHashMap<u32, u32> = FxHashMap::default();
        let mut waits_for: Vec<[Option<u32>; 2]> = vec![[None; 2]; self.accesses.len()];
        for (access, at) in self.accesses.iter().zip(0..) {
            let before = last.get(&access.session).copied();
            let written = match access.is_read {
                true => match from.get(&at) {
                    Some(from) => *from,
                    None => continue,
                },
                false => None,
            };
            if access.is_read {
                last.insert(access.session, at);
            }
            waits_for[at as usize] = [before, written];
            for earlier in [before, written].into_iter().flatten() {
                edges.add(earlier, at, [at; 3])?;
            }
        }
        let order = match edges.order(meter)? {
            Ok(order) => order,
            Err(_) => return Ok(None),
        };
        if self.count * self.accesses.len() > MOST_CLOCKS {
            return Err(Undecided::TooLarge);
        }
        let clocks = self.clocks(&order, &waits_for, meter)?;
        let mut read: FxHashMap<(u32, u32), Vec<(u32, u32)>> = FxHashMap::default();
        let mut of_key: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for (at, access, written) in self.reads() {
            let Some(written) = written else { continue };
            let reads = read.entry((access.session, access.key)).or_insert_with(|| {
                of_key.entry(access.key).or_default().push(access.session);
                Vec::new()
            });
            reads.push((self.knows[at as usize], written));
        }
        for (at, access, from) in self.reads() {
            for session in of_key.get(&access.key).into_iter().flatten() {
                let known = clocks[at as usize * self.count + *session as usize];
                let mut before = None;
                for (nth, write) in &read[&(*session, access.key)] {
                    meter.tick(edges.bytes() + 4 * clocks.len() as u64)?;
                    if *nth >= known {
                        break;
                    }
                    if before.replace(*write) == Some(*write) {
                        continue;
                    }
                    if let Err(mut found) = edges.known(*write, from, [at; 3])? {
                        found.extend(path(&waits_for, self.accesses, *write, at));
                        return Ok(Some(found));
                    }
                }
            }
        }
        if let Some(mut found) = edges.cycle(meter)? {
            // Why reads had to know is not in the cycle itself.
            let all = found.clone();
            let reads = all.iter().filter(|at| self.accesses[**at as usize].is_read);
            for at in reads {
                for write in &all {
                    found.extend(path(&waits_for, self.accesses, *write, *at));
                }
            }
            return Ok(Some(found));
        }
        Ok(None)
    }

    /// Of each access and each session: what was read by so many of its first operations is before
    /// what was read here, or before what is written here.
    fn clocks(
        &self,
        order: &[u32],
        waits_for: &[[Option<u32>; 2]],
        meter: &mut Meter,
    ) -> Result<Vec<u32>, Exhausted> {
        let mut clocks = vec![0u32; self.count * self.accesses.len()];
        for at in order {
            let own = *at as usize * self.count;
            for earlier in waits_for[*at as usize].iter().flatten() {
                meter.tick(4 * clocks.len() as u64)?;
                let other = *earlier as usize * self.count;
                for session in 0..self.count {
                    clocks[own + session] = clocks[own + session].max(clocks[other + session]);
                }
            }
            let access = self.accesses[*at as usize];
            if !access.is_read {
                let clock = &mut clocks[own + access.session as usize];
                *clock = (*clock).max(self.knows[*at as usize]);
            }
        }
        Ok(clocks)
    }
}

/// What lies on the shortest way from a write to a read over another write that follows what was
/// read.
fn path(waits_for: &[[Option<u32>; 2]], accesses: &[Access], from: u32, to: u32) -> Vec<u32> {
    // By whether another write lies behind.
    let mut next: FxHashMap<(u32, bool), (u32, bool)> = FxHashMap::default();
    let mut queue = VecDeque::from([(to, false)]);
    while let Some((at, over)) = queue.pop_front() {
        if at == from && over {
            let way = std::iter::successors(Some((at, over)), |state| next.get(state).copied());
            return way.map(|(at, _)| at).take_while(|at| *at != to).collect();
        }
        let behind = over || !accesses[at as usize].is_read;
        for earlier in waits_for[at as usize].iter().flatten() {
            if let Entry::Vacant(unseen) = next.entry((*earlier, behind)) {
                unseen.insert((at, over));
                queue.push_back((*earlier, behind));
            }
        }
    }
    Vec::new()
}

/// What is before what, and the accesses that show it.
struct Edges {
    next: Vec<Vec<(u32, [u32; 3])>>,
    count: usize,
}

impl Edges {
    fn new(nodes: usize) -> Edges {
        Edges {
            next: vec![Vec::new(); nodes],
            count: 0,
        }
    }

    fn bytes(&self) -> u64 {
        (24 * self.next.len() + 32 * self.count) as u64
    }

    fn add(&mut self, from: u32, to: u32, shown: [u32; 3]) -> Result<(), Undecided> {
        self.count += 1;
        if self.count > MOST_EDGES {
            return Err(Undecided::TooLarge);
        }
        self.next[from as usize].push((to, shown));
        Ok(())
    }

    /// A read must know of a write, and returned another, or what was there before all.
    fn known(
        &mut self,
        write: u32,
        returned: Option<u32>,
        shown: [u32; 3],
    ) -> Result<Known, Undecided> {
        match returned {
            None => {
                let [a, b, c] = shown;
                return Ok(Err(vec![write, a, b, c]));
            }
            Some(other) if other != write => self.add(write, other, shown)?,
            Some(_) => {}
        }
        Ok(Ok(()))
    }

    /// An order that all agree with, or those that are on cycles or behind them.
    fn order(&self, meter: &mut Meter) -> Result<Result<Vec<u32>, Vec<u32>>, Exhausted> {
        let mut before = vec![0u32; self.next.len()];
        for (to, _) in self.next.iter().flatten() {
            before[*to as usize] += 1;
        }
        let nodes = 0..self.next.len() as u32;
        let mut order: Vec<u32> = nodes.clone().filter(|n| before[*n as usize] == 0).collect();
        let mut at = 0;
        while let Some(node) = order.get(at).copied() {
            meter.tick(self.bytes())?;
            at += 1;
            for (to, _) in &self.next[node as usize] {
                before[*to as usize] -= 1;
                if before[*to as usize] == 0 {
                    order.push(*to);
                }
            }
        }
        Ok(match order.len() == self.next.len() {
            true => Ok(order),
            false => Err(nodes.filter(|n| before[*n as usize] > 0).collect()),
        })
    }

    /// A short cycle with all that shows it.
    fn cycle(&self, meter: &mut Meter) -> Result<Option<Vec<u32>>, Exhausted> {
        const STARTS: usize = 64;
        let Err(left) = self.order(meter)? else {
            return Ok(None);
        };
        let mut shortest: Option<Vec<u32>> = None;
        for (tried, start) in left.into_iter().enumerate() {
            if tried >= STARTS && shortest.is_some() {
                break;
            }
            if let Some(found) = self.cycle_through(start, meter)?
                && shortest
                    .as_ref()
                    .is_none_or(|best| found.len() < best.len())
            {
                shortest = Some(found);
            }
        }
        Ok(shortest)
    }

    fn cycle_through(&self, start: u32, meter: &mut Meter) -> Result<Option<Vec<u32>>, Exhausted> {
        let mut came: FxHashMap<u32, (u32, [u32; 3])> = FxHashMap::default();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            meter.tick(self.bytes())?;
            for (to, shown) in &self.next[node as usize] {
                if came.contains_key(to) {
                    continue;
                }
                came.insert(*to, (node, *shown));
                if *to != start {
                    queue.push_back(*to);
                    continue;
                }
                let (mut found, mut at) = (Vec::new(), start);
                loop {
                    let (from, shown) = came[&at];
                    found.push(from);
                    found.extend(shown);
                    at = from;
                    if at == start {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }
}
