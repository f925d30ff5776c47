//! What a correct object does, one operation at a time.

use std::hash::Hash;

use crate::Exhausted;

/// A sequential object: the whole meaning of a type, against which a concurrent history is judged.
///
/// `init` and `step` say what is right. The next four only make the search faster, and the last two
/// are for objects that can fail or that keep much; their defaults are right for any other object.
///
/// ```
/// use checkers::Budget;
/// use checkers::linearizable::model::Model;
/// use checkers::linearizable::search::{Found, NEVER, Timed, search};
///
/// struct Counter;
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// enum Op { Add(i64), Read(i64) }
///
/// impl Model for Counter {
///     type State = i64;
///     type Op = Op;
///
///     fn init(&self) -> i64 { 0 }
///
///     fn step(&self, sum: &i64, op: &Op) -> Option<i64> {
///         match op {
///             Op::Add(n) => sum.checked_add(*n),
///             Op::Read(read) => (read == sum).then_some(*sum),
///         }
///     }
///
///     fn reads_only(&self, op: &Op) -> bool { matches!(op, Op::Read(_)) }
/// }
///
/// // By their calls. The addition was lost: it may have happened at any time, or never.
/// let ops = [
///     Timed { op: Op::Add(2), call: 0, ret: NEVER },
///     Timed { op: Op::Read(2), call: 2, ret: 3 },
/// ];
/// let found = search(&Counter, &ops, &mut Budget::default().start());
/// assert_eq!(found, Ok(Found::Order(vec![0, 1])));
/// ```
pub trait Model {
    type State: Clone + Eq + Hash;
    /// An operation together with its answer.
    type Op: Clone + Eq + Hash;

    fn init(&self) -> Self::State;

    /// The state after `op`; none if its answer is impossible in `state`.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether `op` leaves every state as it is. Such an operation is put in its place as soon as
    /// it fits: moving it forward from wherever a solution has it disturbs nobody.
    fn reads_only(&self, _op: &Self::Op) -> bool {
        false
    }

    /// What `op` brings about. `a` can make a later `b` possible only if `gives(a) == needs(b)`.
    fn gives(&self, _op: &Self::Op) -> Option<u32> {
        Some(0)
    }

    /// What `op` depends on; none if it is possible in any state and leads to the same one.
    fn needs(&self, _op: &Self::Op) -> Option<u32> {
        Some(0)
    }

    /// Whether a step takes much longer than what a search has to do beside it.
    fn is_costly(&self) -> bool {
        false
    }

    /// Bytes that the model keeps by itself: what stands behind its states and operations.
    fn bytes(&self) -> u64 {
        0
    }

    /// # Errors
    /// The limit that it met itself: the search ends with it, and nothing follows from what it
    /// found.
    fn look(&self) -> Result<(), Exhausted> {
        Ok(())
    }
}

/// A register with compare-and-set. Values are small numbers that stand for the history's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

/// Before any write. Number 0 stands for the initial value.
pub const INITIAL: u32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It returned this.
    Read(u32),
    Write(u32),
    /// It found the first and put the second in its place. One that found something else did not
    /// happen, and is no operation.
    Cas(u32, u32),
}

impl Action {
    /// The value that it leaves, if it writes.
    pub fn written(self) -> Option<u32> {
        match self {
            Action::Read(_) => None,
            Action::Write(v) | Action::Cas(_, v) => Some(v),
        }
    }

    /// The value that it found, if it looks.
    pub fn found(self) -> Option<u32> {
        match self {
            Action::Write(_) => None,
            Action::Read(v) | Action::Cas(v, _) => Some(v),
        }
    }
}

impl Model for Register {
    type State = u32;
    type Op = Action;

    fn init(&self) -> u32 {
        INITIAL
    }

    fn step(&self, state: &u32, op: &Action) -> Option<u32> {
        match *op {
            Action::Read(v) => (*state == v).then_some(v),
            Action::Write(v) => Some(v),
            Action::Cas(from, to) => (*state == from).then_some(to),
        }
    }

    fn reads_only(&self, op: &Action) -> bool {
        matches!(op, Action::Read(_))
    }

    fn gives(&self, op: &Action) -> Option<u32> {
        op.written()
    }

    fn needs(&self, op: &Action) -> Option<u32> {
        op.found()
    }
}

#[cfg(test)]
mod tests {
    use super::Action::{Cas, Read, Write};
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn register() {
        //  state  op          then
        for (s,    op,         t) in [
            (0,    Read(0),    Some(0)),
            (0,    Read(1),    None),
            (1,    Read(1),    Some(1)),
            (0,    Write(1),   Some(1)),
            (1,    Write(1),   Some(1)),
            (1,    Write(0),   Some(0)),
            (1,    Cas(1, 2),  Some(2)),
            (1,    Cas(2, 3),  None),
            (2,    Cas(2, 2),  Some(2)),
        ] {
            assert_eq!(Register.step(&s, &op), t, "{op:?} in {s}");
        }
        assert_eq!(Register.init(), 0);
    }
}
