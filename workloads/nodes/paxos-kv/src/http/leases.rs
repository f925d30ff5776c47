//! What clients say of leases.

use nodekit::http::{Response, bad_request};
use serde_json::Value;

use crate::core::message::Op;

/// A lease lasts for an hour at most.
const TTL_MAX_MS: u64 = 60 * 60 * 1000;

/// Who holds it is told in so many bytes at most.
const HOLDER_MAX: usize = 1024;

/// What is asked of the lease of a key.
pub(super) fn understand(key: String, what: &str, body: &[u8]) -> Result<Op, Response> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| bad_request(format!("the body is not JSON: {error}")))?;
    let number = |name: &str| value.get(name).and_then(Value::as_u64);
    let fields = value.as_object().map_or(0, serde_json::Map::len);
    if what == "acquire" {
        let (holder, ttl) = (value.get("holder"), number("ttl"));
        let (Some(holder), Some(ttl_ms), 2) = (holder, ttl, fields) else {
            return Err(bad_request(
                "the body is not {\"holder\": JSON, \"ttl\": MILLISECONDS}",
            ));
        };
        if !(1..=TTL_MAX_MS).contains(&ttl_ms) {
            return Err(bad_request("ttl is 1 to 3600000 milliseconds"));
        }
        let holder = holder.to_string();
        if holder.len() > HOLDER_MAX {
            return Err(bad_request("holder has at most 1024 bytes"));
        }
        return Ok(Op::Grant {
            key,
            holder,
            ttl_ms,
        });
    }
    match (number("lease"), fields) {
        (Some(lease), 1) if what == "renew" => Ok(Op::Renew { key, lease }),
        (Some(lease), 1) => Ok(Op::Release { key, lease }),
        _ => Err(bad_request("the body is not {\"lease\": NUMBER}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_acquired_with_a_holder_and_a_time_and_then_go_by_number() {
        let key = || "k".to_owned();
        let op = understand(key(), "acquire", br#"{"holder": [1, "x"], "ttl": 3000}"#);
        let grant = Op::Grant {
            key: key(),
            holder: r#"[1,"x"]"#.into(),
            ttl_ms: 3_000,
        };
        assert_eq!(op, Ok(grant));
        let renew = Op::Renew {
            key: key(),
            lease: 7,
        };
        assert_eq!(understand(key(), "renew", br#"{"lease": 7}"#), Ok(renew));
        let release = Op::Release {
            key: key(),
            lease: 7,
        };
        assert_eq!(
            understand(key(), "release", br#"{"lease": 7}"#),
            Ok(release)
        );
    }

    #[test]
    fn what_is_no_lease_is_refused() {
        for (what, body) in [
            ("acquire", r#"{"ttl": 3000}"#),
            ("acquire", r#"{"holder": 1, "ttl": 0}"#),
            ("acquire", r#"{"holder": 1, "ttl": 3600001}"#),
            ("acquire", r#"{"holder": 1, "ttl": 5, "more": 1}"#),
            ("renew", r#"{"lease": -1}"#),
            ("release", r#"{"lease": 1, "holder": 2}"#),
            ("release", "{"),
        ] {
            let (status, text) = understand("k".into(), what, body.as_bytes()).unwrap_err();
            assert_eq!(status, 400, "{what} {body}: {text}");
            assert!(text.contains("\"definite\":true"), "{text}");
        }
    }
}
