//! A sequential object that a person describes in a script of some lines, in the language Rhai.
//!
//! ```text
//! fn init()                                 the state at the start
//! fn step(state, f, value, output)          the state after an operation; () if it cannot happen
//! fn step(state, f, value, output, process) the same, where it matters who asks
//! fn key(f, value)                          optional: operations of other keys are other objects
//! fn reads(f)                               optional: whether operations of this name never change a state
//! fn show(state)                            optional: a state in words
//! ```
//!
//! `output` is what the operation was answered. Where nobody knows how it ended, it is a value that
//! equals nothing: `answers(output, x)` is true of it and of `x`, `is_unknown(output)` of it alone.
//!
//! A script can do nothing but reckon. There are no files, modules, clocks and random numbers, so
//! that the same history always has the same verdict; and what a call may take is bounded
//! ([`bounds`]). Whatever it does wrong is a [`Fault`] of the script and no verdict.
//!
//! This is what a script means, and whether an order is one ([`OrderOf`]). The search for an order
//! is [`scripted`](crate::scripted)'s, which nothing here knows.

mod certificate;
mod engine;
mod fault;
mod value;

use std::fmt;
use std::thread;

use serde::{Deserialize, Serialize};

pub use self::certificate::OrderOf;
pub use self::engine::bounds;
pub(crate) use self::engine::{Asked, Running};
pub use self::fault::Fault;
use crate::{Budget, Exhausted};

/// A script, which was compiled and whose object could begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What it is called where something is said of it: its file.
    name: String,
    text: String,
}

impl Script {
    /// # Errors
    /// What is wrong with it: it is no script, or lacks a function, or its object cannot begin.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Result<Script, Box<Fault>> {
        let script = Script {
            name: name.into(),
            text: text.into(),
        };
        let found = with_stack(|| {
            let running = Running::new(&script, &Budget::UNLIMITED.start())?;
            running.init().map(drop)
        });
        match found {
            Ok(()) => Ok(script),
            Err(Stopped::Fault(fault)) => Err(fault),
            Err(Stopped::Limit(why)) => Err(Fault::of(&script.name, why.to_string()).into()),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether two do the same by the same words, whatever they are called.
    pub fn is(&self, other: &Script) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Why a script was not followed to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It is wrong.
    Fault(Box<Fault>),
    /// The budget ended.
    Limit(Exhausted),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Stopped {
        Stopped::Fault(Box::new(fault))
    }
}

impl From<Exhausted> for Stopped {
    fn from(why: Exhausted) -> Stopped {
        Stopped::Limit(why)
    }
}

/// Lists within lists may be as many as a script may make, and whoever walks through them calls
/// itself as often.
const STACK_BYTES: usize = 256 << 20;

/// Does the work where there is room for whatever a script makes. Memory is taken only when it is
/// used.
///
/// # Errors
/// That the system gives no such thread, or what the work fails with.
pub(crate) fn with_stack<T: Send>(
    work: impl FnOnce() -> Result<T, Stopped> + Send,
) -> Result<T, Stopped> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, work) {
            Err(_) => Err(Exhausted::Memory.into()),
            Ok(thread) => match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            },
        }
    })
}
