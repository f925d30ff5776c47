//! Generators: what to ask next. Pure: time, free processes and randomness come in. When it is
//! asked is not theirs to say: see [`Arrivals`].

mod arrivals;
mod combinators;
pub mod sim;

pub use arrivals::{Arrival, Arrivals, Shape};
pub use combinators::{Combine, FromFn, Limit, Mix, Then, Until, from_fn, mix};

use std::time::Duration;

use history::{Event, Name, Value};
use rand_chacha::ChaCha8Rng;

use crate::client::Invocation;

/// What a generator may know.
pub struct Context<'a> {
    /// Since the start of the phase.
    pub now: Duration,
    /// How many workers are free.
    pub free: usize,
    /// The number of the burst, where several operations are due at once: they are to meet, so a
    /// workload with keys puts them on one.
    pub burst: Option<u64>,
    pub rng: &'a mut ChaCha8Rng,
}

/// An operation to be offered.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    pub f: Name,
    pub value: Value,
    /// Not before this, since the start of the phase.
    pub at: Duration,
}

/// What a generator has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Offer(Offer),
    /// Nothing now; ask again when something has happened, or at this time.
    Pending(Option<Duration>),
    /// Nothing ever again.
    Done,
}

impl Next {
    /// An operation that is due at once.
    pub fn at_once(asked: Invocation, context: &Context<'_>) -> Next {
        Next::Offer(Offer {
            f: asked.f,
            value: asked.value,
            at: context.now,
        })
    }
}

/// A stream of operations. The engine asks for the next one, gives it to a free worker at its time,
/// and tells the generator every completion.
pub trait Generator: Send {
    fn next(&mut self, context: &mut Context<'_>) -> Next;

    /// Something of ours was completed.
    fn update(&mut self, _event: &Event) {}
}
