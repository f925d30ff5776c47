//! What an operation does, for those who judge a run as a whole and know no data type.

use history::{Op, Outcome, Value};

/// The objects that an operation reads and writes; nil is the object of a history that has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    pub reads: Vec<Value>,
    pub writes: Vec<Value>,
}

/// The role of an operation, by its name and what was asked.
pub type Roles = &'static (dyn Fn(&str, &Value) -> Role + Send + Sync);

impl Role {
    pub fn reads(object: impl Into<Value>) -> Role {
        Role {
            reads: vec![object.into()],
            writes: Vec::new(),
        }
    }

    pub fn writes(object: impl Into<Value>) -> Role {
        Role {
            reads: Vec::new(),
            writes: vec![object.into()],
        }
    }
}

/// Codes of failures that are answers: the system looked, and the condition did not hold.
pub const ANSWERS: [&str; 2] = ["conflict", "not-found"];

/// Codes of failures of the client's own program: no evidence against a node.
const OF_CLIENTS: [&str; 2] = ["no-client", "client-failed"];

fn code(op: &Op) -> Option<&str> {
    let error = op.error.as_deref();
    error.and_then(|error| error.split(':').next())
}

/// Whether the client did its part, so that what came of it is the system's doing.
pub fn client_worked(op: &Op) -> bool {
    code(op).is_none_or(|code| !OF_CLIENTS.contains(&code))
}

/// Codes of answers, and of ends of the client's program, that nobody understands.
const SENSELESS: [&str; 2] = ["client-failed", "malformed"];

/// Whether nobody knows what the client made of the system's answer.
pub fn senseless(op: &Op) -> bool {
    code(op).is_some_and(|code| SENSELESS.contains(&code))
}

/// Whether the system answered: it did what was asked, or looked and said no.
pub fn answered(op: &Op) -> bool {
    match op.outcome {
        Outcome::Ok => true,
        Outcome::Fail => code(op).is_some_and(|code| ANSWERS.contains(&code)),
        Outcome::Info => false,
    }
}
