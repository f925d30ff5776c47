//! What the nodes of this workspace have in common: where they are, what they say of their planted
//! bugs, and their answers, as `harness/docs/paxos-kv.md` describes them.

mod client;

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::client::{
    CONFLICT, ERRORS, MALFORMED, NOT_FOUND, OVERLOADED, OpError, REJECTED, TIMEOUT, UNAVAILABLE,
    UNKNOWN,
};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub(super) use client::Client;

use super::{Flaw, SetupError, locate};
use crate::http::Answer;

/// A node's program: where `variable` says, else beside the running program (where cargo puts it,
/// for tests one folder up).
pub(super) fn program(
    name: &'static str,
    variable: &str,
    remedy: &'static str,
) -> Result<PathBuf, SetupError> {
    let beside = std::env::current_exe().ok();
    let folders: Vec<PathBuf> = beside
        .iter()
        .flat_map(|exe| exe.ancestors().skip(1).take(2))
        .map(PathBuf::from)
        .collect();
    locate(name, variable, &folders, remedy)
}

/// The bugs that it can be started with, as it tells them itself.
pub(super) fn flaws(program: &Path) -> Result<Vec<Flaw>, SetupError> {
    let fail = |reason: String| SetupError::Program {
        program: program.display().to_string(),
        args: "flaws",
        reason,
    };
    let output = Command::new(program)
        .arg("flaws")
        .output()
        .map_err(|e| fail(e.to_string()))?;
    if !output.status.success() {
        return Err(fail(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).map_err(|e| fail(format!("{e} in {line:?}"))))
        .collect()
}

pub(super) fn json(thing: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(thing).expect("values and maps with text keys are JSON")
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    definite: Option<bool>,
    #[serde(default)]
    message: Json,
}

/// What an answer other than 200 says. The status decides; the body can only take definiteness
/// away.
pub(super) fn error_of(answer: &Answer) -> OpError {
    let status = answer.status;
    let refusal: Option<Refusal> = serde_json::from_slice(&answer.body).ok();
    let Some(refusal) = refusal else {
        let begins = String::from_utf8_lossy(&answer.body[..answer.body.len().min(120)]);
        return OpError::new(MALFORMED, format!("status {status} with {begins:?}"));
    };
    let by_status = match status {
        StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => REJECTED,
        StatusCode::NOT_FOUND => NOT_FOUND,
        StatusCode::CONFLICT => CONFLICT,
        StatusCode::TOO_MANY_REQUESTS => OVERLOADED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT => TIMEOUT,
        _ => UNKNOWN,
    };
    // A code of our registry that is as definite as the status says more than the status does.
    let named = ERRORS
        .iter()
        .find(|code| code.code == refusal.error && code.definite == by_status.definite);
    let code = match (named, refusal.definite) {
        (_, Some(false)) if by_status.definite => UNKNOWN,
        (Some(named), _) => *named,
        (None, _) => by_status,
    };
    let message = match &refusal.message {
        Json::String(message) => message.clone(),
        _ => format!("{} (status {status})", refusal.error),
    };
    OpError::new(code, message)
}

pub(super) fn describe(error: &OpError) -> String {
    format!("{}: {}", error.code.code, error.detail)
}
