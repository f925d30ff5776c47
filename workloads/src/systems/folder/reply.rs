//! What a client program answers, and what its refusals say of the operation. Maelstrom's error
//! codes are understood: those that are definite there are definite here.

use harness::client::{
    CONFLICT, ERRORS, ErrorCode, MALFORMED, NOT_FOUND, OpError, REJECTED, TIMEOUT, UNAVAILABLE,
    UNKNOWN,
};
use history::Value;
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::answers::number_as_text;
use crate::interface::Call;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Ok,
    Fail,
    Info,
    /// As Maelstrom's nodes answer: the code decides.
    Error,
}

/// One line of a program.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Reply {
    pub id: Option<u64>,
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// Some(nil) is `null`, and none is no value at all.
    #[serde(default, deserialize_with = "given")]
    pub value: Option<Value>,
    #[serde(default)]
    pub error: Option<Json>,
    /// One of Maelstrom's.
    #[serde(default)]
    pub code: Option<u64>,
    #[serde(default)]
    pub version: Option<Value>,
    #[serde(default)]
    pub offers: Option<Vec<String>>,
}

fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl Reply {
    /// What an operation was answered with, whose answer is ok.
    pub fn found(self, call: Call) -> Result<Value, OpError> {
        if let Some(value) = self.value.as_ref().filter(|_| writes_numbers(call))
            && let Some(text) = number_as_text(value)
        {
            let why = format!("the text {text:?}, where a number was written");
            return Err(OpError::new(MALFORMED, why));
        }
        match self.value {
            None if call.asks() => Err(OpError::new(
                MALFORMED,
                format!(
                    "ok to {} has no `value`: where there is nothing, it is null",
                    call.word()
                ),
            )),
            value => Ok(value.unwrap_or_default()),
        }
    }
}

/// Of a workload of one's own, and of identifiers, nobody knows what they are.
fn writes_numbers(call: Call) -> bool {
    !matches!(call, Call::Own(_) | Call::Generate)
}

/// What one of Maelstrom's codes is called here.
fn maelstrom(code: u64) -> ErrorCode {
    match code {
        // Timeout; crash.
        0 => TIMEOUT,
        13 => UNKNOWN,
        // Not supported; malformed request.
        10 | 12 => REJECTED,
        // Temporarily unavailable; abort.
        11 | 14 => UNAVAILABLE,
        20 => NOT_FOUND,
        // The key is there already; a precondition failed; transaction conflict.
        21 | 22 | 30 => CONFLICT,
        _ => UNKNOWN,
    }
}

/// What a node of Maelstrom's refuses with.
pub fn of_maelstrom(code: Option<u64>, text: &str) -> OpError {
    OpError::new(code.map_or(UNKNOWN, maelstrom), text)
}

/// Why the operation did not succeed, if it did not. A code can take definiteness away and never
/// gives it to what the program calls `info`.
pub fn refusal(reply: &Reply) -> Option<OpError> {
    let text = match &reply.error {
        None => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let (first, detail) = text.split_once(':').unwrap_or((&text, ""));
    let named = ERRORS
        .iter()
        .find(|code| code.code == first.trim())
        .copied();
    let said = reply.code.map(maelstrom).or(named);
    let code = match (reply.kind, said) {
        (Some(Kind::Ok), _) => return None,
        (Some(Kind::Fail), None) => UNAVAILABLE,
        (Some(Kind::Fail | Kind::Error), Some(code)) => code,
        (Some(Kind::Info), Some(code)) if !code.definite => code,
        _ => UNKNOWN,
    };
    let detail = match named == Some(code) {
        true => detail.trim().to_string(),
        false => text,
    };
    Some(OpError::new(code, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<(&'static str, bool, String)> {
        let reply: Reply = serde_json::from_str(line).expect("an answer");
        refusal(&reply).map(|e| (e.code.code, e.code.definite, e.detail))
    }

    #[test]
    fn what_is_definite_and_what_is_not() {
        let table = [
            (r#"{"type":"ok"}"#, None),
            (r#"{"type":"fail"}"#, Some(("unavailable", true, ""))),
            (
                r#"{"type":"fail","error":"locked"}"#,
                Some(("unavailable", true, "locked")),
            ),
            (
                r#"{"type":"fail","error":"conflict: it is 3"}"#,
                Some(("conflict", true, "it is 3")),
            ),
            (r#"{"type":"fail","code":22}"#, Some(("conflict", true, ""))),
            // A crash is no refusal, whatever the program calls it.
            (r#"{"type":"fail","code":13}"#, Some(("unknown", false, ""))),
            (
                r#"{"type":"fail","error":"timeout"}"#,
                Some(("timeout", false, "")),
            ),
            (r#"{"type":"info"}"#, Some(("unknown", false, ""))),
            (r#"{"type":"info","code":22}"#, Some(("unknown", false, ""))),
            (
                r#"{"type":"info","error":"disconnected: reset"}"#,
                Some(("disconnected", false, "reset")),
            ),
            (
                r#"{"type":"error","code":20}"#,
                Some(("not-found", true, "")),
            ),
            (r#"{"type":"error","code":0}"#, Some(("timeout", false, ""))),
            (
                r#"{"type":"error","code":1000}"#,
                Some(("unknown", false, "")),
            ),
            (r#"{"type":"error"}"#, Some(("unknown", false, ""))),
            (r#"{}"#, Some(("unknown", false, ""))),
        ];
        for (line, expected) in table {
            let expected =
                expected.map(|(code, definite, text)| (code, definite, text.to_string()));
            assert_eq!(of(line), expected, "{line}");
        }
    }
}
