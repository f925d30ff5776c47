//! Where events stand in time, as small numbers: what all engines see of a history's order.
//!
//! Engines judge intervals: `a` precedes `b` if `a`'s return has the lesser rank than `b`'s call.
//! Ranks of calls are even and those of returns odd. [`history::Op::precedes`] is the definition,
//! and this is how it looks in ranks:
//!
//! ```text
//! each at its own time    each has its own rank
//! several at one time     all calls, then all returns
//!                         if one process alone returns and asks again at that time: the others' calls,
//!                         its events in order, the others' returns
//! ```
//!
//! Where several processes return and ask again at one time, no intervals say what is known: of
//! `a b` by one process and `c d` by another, `a` precedes `b` and `c` precedes `d`, but neither
//! `a` precedes `d` nor `c` precedes `b` (Fishburn 1970: interval orders have no such four). There
//! ranks say less than is known, and [`Sessions`] has the rest. Whatever has no order by ranks
//! alone has none; an order has to be held against the rest too.

use history::{History, Kind, Process, Time};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::linearizable::search::{NEVER, NONE};

/// Ranks of a history's events.
pub struct Ranks {
    /// By event; none if no two have one time.
    by_event: Option<Vec<u32>>,
    /// Ranks of calls at times at which ranks say less than is known, sorted.
    loose: Vec<u32>,
}

impl Ranks {
    pub fn new(history: &History) -> Ranks {
        let mut ranks = Ranks {
            by_event: None,
            loose: Vec::new(),
        };
        let columns = history.columns();
        if own_times(history) {
            return ranks;
        }
        let mut times = columns.times().zip(columns.times().skip(1));
        if times.all(|(a, b)| a < b) {
            return ranks;
        }
        let mut by_event = Vec::with_capacity(columns.len());
        let mut moment: Vec<Moment> = Vec::new();
        let mut now = None;
        for row in columns.rows() {
            if now.replace(row.time()).is_some_and(|t| t != row.time()) {
                ranks.lay_out(&mut moment, &mut by_event);
            }
            moment.push(Moment {
                process: row.process(),
                is_call: row.kind() == Kind::Invoke,
            });
        }
        ranks.lay_out(&mut moment, &mut by_event);
        ranks.by_event = Some(by_event);
        ranks
    }

    /// Ranks the events of one time, which are emptied.
    fn lay_out(&mut self, moment: &mut Vec<Moment>, ranks: &mut Vec<u32>) {
        let first = ranks.len() as u32;
        let last = first + moment.len().saturating_sub(1) as u32;
        let rank = |event: &Moment, at: u32| 2 * at + 2 + u32::from(!event.is_call);
        // Who returned at this time and asked again.
        let mut returned: FxHashSet<Process> = FxHashSet::default();
        let mut again: FxHashSet<Process> = FxHashSet::default();
        if moment.len() > 1 {
            for event in moment.iter() {
                match event.is_call {
                    false => drop(returned.insert(event.process)),
                    true if returned.contains(&event.process) => drop(again.insert(event.process)),
                    true => {}
                }
            }
        }
        match (again.len(), again.iter().next().copied()) {
            (1, Some(one)) => {
                let calls = moment.iter().any(|e| e.process != one && e.is_call);
                let mut own = first + u32::from(calls);
                for event in moment.drain(..) {
                    let at = match event.is_call {
                        _ if event.process == one => {
                            own += 1;
                            own - 1
                        }
                        true => first,
                        false => last,
                    };
                    ranks.push(rank(&event, at));
                }
            }
            _ => {
                if !again.is_empty() {
                    self.loose.push(2 * first + 2);
                }
                ranks.extend(moment.drain(..).map(|event| rank(&event, first)));
            }
        }
    }

    /// No rank is 0: that is before everything.
    #[inline]
    pub fn call(&self, event: u32) -> u32 {
        match &self.by_event {
            None => 2 * event + 2,
            Some(ranks) => ranks[event as usize],
        }
    }

    #[inline]
    pub fn ret(&self, event: u32) -> u32 {
        match &self.by_event {
            None => 2 * event + 3,
            Some(ranks) => ranks[event as usize],
        }
    }

    pub fn sessions(&self) -> Sessions<'_> {
        Sessions {
            ranks: self,
            last: FxHashMap::default(),
        }
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> u64 {
        4 * self.by_event.as_ref().map_or(0, Vec::capacity) as u64
    }
}

/// Whether a history of few of its events, as of one key of many, has no two of them at one time.
fn own_times(history: &History) -> bool {
    let (columns, pairs) = (history.columns(), history.pairs());
    if 16 * pairs.len() > columns.len() {
        return false;
    }
    let (mut calls, mut rets) = (columns.cursor(), columns.cursor());
    let mut times: Vec<Time> = Vec::with_capacity(2 * pairs.len());
    for pair in pairs {
        times.push(calls.row(pair.invocation).time());
        times.extend(pair.completion().map(|at| rets.row(at).time()));
    }
    times.sort_unstable();
    times.is_sorted_by(|a, b| a < b)
}

/// An event of the time that is being ranked.
struct Moment {
    process: Process,
    is_call: bool,
}

/// Finds operations that follow one of the same process and of the same object, where ranks do not
/// say so. It is told of operations by invocation.
pub struct Sessions<'r> {
    ranks: &'r Ranks,
    /// By object and process: the rank of the last return that is loose, and whose it is.
    last: FxHashMap<(u32, Process), (u32, u32)>,
}

impl Sessions<'_> {
    /// The operation that this one follows, if ranks do not tell. An operation is named as its
    /// caller likes.
    #[inline]
    pub fn follows(
        &mut self,
        object: u32,
        process: Process,
        op: u32,
        (call, ret): (u32, u32),
    ) -> Option<u32> {
        match self.ranks.loose.is_empty() {
            true => None,
            false => self.found(object, process, op, (call, ret)),
        }
    }

    fn found(
        &mut self,
        object: u32,
        process: Process,
        op: u32,
        (call, ret): (u32, u32),
    ) -> Option<u32> {
        let last = self.last.get(&(object, process));
        let before = last
            .filter(|(rank, _)| *rank == call + 1)
            .map(|(_, op)| *op);
        let is_loose = ret != NEVER && self.ranks.loose.binary_search(&(ret - 1)).is_ok();
        if is_loose {
            self.last.insert((object, process), (ret, op));
        }
        before
    }
}

/// Operations of one object, each with the one of its process that it follows though their ranks
/// overlap. Few histories have any.
pub type Follows = Vec<(u32, u32)>;

/// The same by operation, for a search among so many; empty if there are none.
pub fn awaits(follows: &[(u32, u32)], operations: usize) -> Vec<u32> {
    let mut awaits = vec![NONE; if follows.is_empty() { 0 } else { operations }];
    follows
        .iter()
        .for_each(|(before, op)| awaits[*op as usize] = *before);
    awaits
}

/// Whether an order keeps to them.
pub fn keeps(order: &[u32], follows: &[(u32, u32)]) -> bool {
    if follows.is_empty() {
        return true;
    }
    let at: FxHashMap<u32, usize> = order.iter().copied().zip(0..).collect();
    follows
        .iter()
        .all(|(before, op)| match (at.get(before), at.get(op)) {
            (Some(before), Some(op)) => before < op,
            // Of unknown outcome, and it did not happen.
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use history::{Event, Outcome, Value};

    fn dice(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *state >> 33
    }

    /// Processes that ask and are answered, many of them at one time.
    fn random(seed: u64) -> History {
        let mut state = seed;
        let mut open = [false; 3];
        let (mut time, mut events) = (0, Vec::new());
        for index in 0..14 {
            time += u64::from(dice(&mut state).is_multiple_of(3));
            let process = dice(&mut state) % 3;
            let is_open = open[process as usize];
            open[process as usize] = !is_open;
            events.push(Event {
                index,
                time: Time(time),
                process: Process::Client(process),
                kind: match (is_open, dice(&mut state) % 8) {
                    (false, _) => Kind::Invoke,
                    (true, 0) => Kind::Info,
                    (true, _) => Kind::Ok,
                },
                f: "read".into(),
                value: Value::Nil,
                error: None,
                node: None,
                version: None,
                due: None,
            });
        }
        History::new(events).unwrap()
    }

    #[test]
    fn ranks_with_sessions_say_what_precedes_what() {
        let (mut loose, mut exact) = (0, 0);
        for seed in 0..20_000 {
            let history = random(seed);
            let ranks = Ranks::new(&history);
            let mut sessions = ranks.sessions();
            let ops = history.ops();
            let spans: Vec<(u32, u32)> = ops
                .iter()
                .map(|op| {
                    let ret = op.completion.filter(|_| op.outcome == Outcome::Ok);
                    let ret = ret.map_or(NEVER, |at| ranks.ret(at as u32));
                    (ranks.call(op.index as u32), ret)
                })
                .collect();
            let n = ops.len();
            let mut known = vec![vec![false; n]; n];
            for (b, op) in ops.iter().enumerate() {
                let before = sessions.follows(0, op.process, b as u32, spans[b]);
                for a in 0..n {
                    known[a][b] = spans[a].1 < spans[b].0;
                }
                loose += usize::from(before.is_some());
                exact += usize::from(before.is_none());
                if let Some(before) = before {
                    known[before as usize][b] = true;
                }
            }
            for via in 0..n {
                for a in 0..n {
                    for b in 0..n {
                        known[a][b] |= known[a][via] && known[via][b];
                    }
                }
            }
            for (a, of) in known.iter().enumerate() {
                for (b, precedes) in of.iter().enumerate() {
                    let right = ops[a].precedes(&ops[b]);
                    assert_eq!(*precedes, right, "seed {seed}, {a} and {b}: {spans:?}");
                }
            }
        }
        assert!(loose > 1_000 && exact > 1_000, "{loose} {exact}");
    }
}
