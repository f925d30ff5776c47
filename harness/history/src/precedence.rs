//! Which operation came before which: the one definition that engines, certificates and their verifiers share.
//!
//! An operation precedes another if it had returned before the other was invoked. Of one whose outcome nobody knows
//! that cannot be said. Two kinds of histories differ in what they tell of one moment:
//!
//! ```text
//! events      the place is the order: whoever recorded them saw one after the other, whatever their
//!             stamps say
//! operations  each has the stamps of its call and of its return. Equal stamps of two clients
//!             overlap, since nobody knows which came first:
//!
//!             P0  |-write 1-|-write 2-|      write 1 precedes write 2: one client asks one thing
//!             P1            |                after the other. The read of P1 at that moment
//!                           read             overlaps both, and may return either
//! ```

use crate::{History, Op};

/// What events of one time say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// Their places are their order.
    #[default]
    Placed,
    /// Those of different processes overlap; those of one process are in order.
    Overlap,
}

impl History {
    pub fn ties(&self) -> Ties {
        self.ties
    }

    pub fn with_ties(mut self, ties: Ties) -> History {
        self.ties = ties;
        self
    }

    /// When it was invoked: a number that orders moments, to be held against [`History::ended`].
    pub fn began(&self, op: &Op) -> u64 {
        match self.ties {
            Ties::Placed => op.index,
            Ties::Overlap => op.call.0,
        }
    }

    /// When it returned; [`u64::MAX`] if it may take effect at any later time.
    pub fn ended(&self, op: &Op) -> u64 {
        match (self.ties, op.completion) {
            (Ties::Placed, Some(at)) if op.has_returned() => at,
            (Ties::Placed, _) => u64::MAX,
            (Ties::Overlap, _) => op.ret.0,
        }
    }

    /// Whether `a` had surely ended when `b` began.
    pub fn precedes(&self, a: &Op, b: &Op) -> bool {
        let asked_after = a.process == b.process && a.index < b.index;
        a.has_returned() && (self.ended(a) < self.began(b) || asked_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Kind, Process, Time};

    /// Events as process, kind and time.
    fn history(events: &[(u64, Kind, u64)], ties: Ties) -> History {
        let event = |(index, (process, kind, time)): (usize, &(u64, Kind, u64))| Event {
            index: index as u64,
            time: Time(*time),
            process: Process::Client(*process),
            kind: *kind,
            f: "read".into(),
            value: crate::Value::Nil,
            error: None,
            node: None,
            version: None,
        };
        let events = events.iter().enumerate().map(event).collect();
        History::new(events).unwrap().with_ties(ties)
    }

    /// Pairs of operations, by their numbers, of which the first precedes the second.
    fn pairs(history: &History) -> Vec<(usize, usize)> {
        let ops = history.ops();
        let all = (0..ops.len()).flat_map(|a| (0..ops.len()).map(move |b| (a, b)));
        all.filter(|(a, b)| history.precedes(&ops[*a], &ops[*b]))
            .collect()
    }

    #[test]
    fn one_client_asks_one_thing_after_the_other_and_others_overlap_at_one_moment() {
        use Kind::{Invoke, Ok};
        // Two operations of process 0 that touch, and one of process 1 at that very moment.
        let events = [
            (0, Invoke, 0),
            (0, Ok, 5),
            (0, Invoke, 5),
            (1, Invoke, 5),
            (1, Ok, 5),
            (0, Ok, 10),
        ];
        assert_eq!(pairs(&history(&events, Ties::Overlap)), [(0, 1)]);
        assert_eq!(pairs(&history(&events, Ties::Placed)), [(0, 1), (0, 2)]);
    }

    #[test]
    fn what_nobody_knows_the_end_of_precedes_nothing() {
        use Kind::{Info, Invoke, Ok};
        let events = [(0, Invoke, 0), (0, Info, 1), (0, Invoke, 2), (0, Ok, 3)];
        for ties in [Ties::Placed, Ties::Overlap] {
            assert_eq!(pairs(&history(&events, ties)), []);
        }
    }
}
