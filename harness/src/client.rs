//! Clients: one operation at a time against the system, and what became of it.
//!
//! Whether a failed operation is known not to have happened is decided here, at the edge, error by
//! error: everything behind it relies on `fail` meaning "did not happen and never will".

use std::fmt;

use async_trait::async_trait;
use history::{Kind, Name, Value};

/// What a worker is told to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    pub f: Name,
    pub value: Value,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// `Ok`, `Fail` or `Info`; never `Invoke`.
    pub kind: Kind,
    /// The answer; for `Fail` and `Info` what was asked.
    pub value: Value,
    /// A code of the registry below, then detail: `timeout: no answer in 2 s`.
    pub error: Option<String>,
    /// Where in the system's own order it took effect, if the answer said.
    pub version: Option<Value>,
}

impl Completion {
    /// Whether no history could hold it.
    pub fn is_too_deep(&self) -> bool {
        self.value.is_too_deep() || self.version.as_ref().is_some_and(Value::is_too_deep)
    }
}

/// One logical client, bound to one node. Dropped when its process is retired.
#[async_trait]
pub trait Client: Send {
    /// Runs one operation. The interpreter gives up on it after the test's operation time-out and
    /// records `info`, so the client needs a time-out of its own only if it can do better.
    async fn invoke(&mut self, operation: &Invocation) -> Completion;
}

/// Opens clients.
#[async_trait]
pub trait Connect: Send + Sync {
    /// A new client of `node`, for the process of this number. Connecting lazily is right: a
    /// refused connection is an outcome (`fail`), not an error of the harness.
    async fn connect(&self, node: &crate::cluster::Node, process: u64) -> Box<dyn Client>;
}

/// Errors that clients give, once each, with what they mean for the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    pub code: &'static str,
    /// Definite: the operation did not happen and never will.
    pub definite: bool,
    pub meaning: &'static str,
}

macro_rules! registry {
    ($($name:ident, $code:literal, $definite:literal, $meaning:literal;)*) => {
        $(pub const $name: ErrorCode = ErrorCode { code: $code, definite: $definite, meaning: $meaning };)*
        /// Every error code there is; docs and `schism list errors` print it.
        pub const ERRORS: &[ErrorCode] = &[$($name),*];
    };
}

registry! {
    TIMEOUT, "timeout", false, "no answer within the operation's time-out; it may still take effect";
    DISCONNECTED, "disconnected", false, "the connection broke after the request was sent";
    REFUSED, "refused", true, "no connection could be made, so nothing was sent";
    NO_CLIENT, "no-client", true, "the client's own program does not run, so nothing was sent";
    CLIENT_FAILED, "client-failed", false, "the client's own program ended, or answered what is no answer";
    UNAVAILABLE, "unavailable", true, "the system said that it did not try: it has no leader or no quorum";
    OVERLOADED, "overloaded", true, "the system said that it did not try: it has too much to do";
    CONFLICT, "conflict", true, "the condition of a compare-and-set or transaction did not hold";
    NOT_HELD, "not-held", true, "this client does not hold what it was to renew or release, so nothing was sent";
    NOT_FOUND, "not-found", true, "there is nothing under this key for the operation to act on";
    REJECTED, "rejected", true, "the system called the request wrong and did nothing";
    UNKNOWN, "unknown", false, "the system answered with an error that does not say whether it happened";
    MALFORMED, "malformed", false, "the answer could not be understood";
    CUT_OFF, "cut-off", false, "the run ended while the operation was open";
}

/// A failed call, as interfaces return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpError {
    pub code: ErrorCode,
    pub detail: String,
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.is_empty() {
            true => f.write_str(self.code.code),
            false => write!(f, "{}: {}", self.code.code, self.detail),
        }
    }
}

impl OpError {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> OpError {
        OpError {
            code,
            detail: detail.into(),
        }
    }

    /// The completion of an operation that ended so. A read that failed had no effect, whatever the
    /// error: pass `reads_only` for such operations, and nothing is left pending.
    pub fn completion(self, asked: &Invocation, reads_only: bool) -> Completion {
        Completion {
            kind: match self.code.definite || reads_only {
                true => Kind::Fail,
                false => Kind::Info,
            },
            value: asked.value.clone(),
            error: Some(self.to_string()),
            version: None,
        }
    }
}

impl Completion {
    pub fn ok(value: Value) -> Completion {
        Completion {
            kind: Kind::Ok,
            value,
            error: None,
            version: None,
        }
    }

    /// The same, with where in the system's own order it took effect.
    pub fn at(self, version: Option<Value>) -> Completion {
        Completion { version, ..self }
    }
}
