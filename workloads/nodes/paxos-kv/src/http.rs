//! The clients' side: what this node's HTTP requests mean, and how its replies look.

mod leases;

use std::time::Duration;

use nodekit::http::{
    Call, Head, Parameters, Response, bad_request, decode_key, failure, json_text, no_such_method,
    swap,
};
use nodekit::service::{self, Ask};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::core::feed::{Became, Change, Told};
use crate::core::kv::VALUE_MAX;
use crate::core::message::{Answer, Op, Outcome, Query, ReadMode};
use crate::core::{Reply, Request};
use crate::event::{Event, Inspect, Paxos};
use crate::flaws::{Flaw, Flaws};

const BODY_MAX: usize = 1 << 20;
const LOG_PAGE_MAX: usize = 1000;

/// How long a client waits for a change unless it says so, and at most.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The flaw `torn-range` reads so many entries at a time.
const TORN_PAGE: u32 = 64;

/// Serves clients until the node stops.
pub async fn serve(
    listener: TcpListener,
    reads: ReadMode,
    flaws: Flaws,
    events: mpsc::Sender<Event>,
) {
    let answer = move |call: Call| {
        let events = events.clone();
        async move {
            match understand(&call.head, &call.body, reads) {
                // FLAW torn-range: what was read page by page is given out as one answer.
                Ok(Ask::Request(Request::Read(Query::Range { prefix, after, .. }, mode)))
                    if flaws.has(Flaw::TornRange) =>
                {
                    let reply = read_by_pages(prefix, after, mode, &events).await;
                    reply.map_or_else(service::stopping, |reply| present(reply, true))
                }
                Ok(ask) => answer(ask, &events).await,
                Err(response) => response,
            }
        }
    };
    nodekit::http::serve(listener, BODY_MAX, answer).await;
}

/// FLAW torn-range: each page is fresh, and all together were never there at one moment.
async fn read_by_pages(
    prefix: String,
    mut after: Option<String>,
    mode: ReadMode,
    events: &mpsc::Sender<Event>,
) -> Option<Reply> {
    let mut all = Vec::new();
    loop {
        let page = Query::Range {
            prefix: prefix.clone(),
            after: after.take(),
            limit: TORN_PAGE,
        };
        let reply = service::request(Request::Read(page, mode), events).await?;
        let Reply::Done(Answer {
            slot,
            outcome: Outcome::Entries { entries, more },
        }) = reply
        else {
            return Some(reply);
        };
        after = entries.last().map(|(key, _)| key.clone());
        all.extend(entries);
        if !more {
            let outcome = Outcome::Entries { entries: all, more };
            return Some(Reply::Done(Answer { slot, outcome }));
        }
    }
}

async fn answer(ask: Ask<Paxos>, events: &mpsc::Sender<Event>) -> Response {
    match ask {
        Ask::Request(request) => {
            // With a session the client may have sent the same before, here or to another node, and
            // that sending may still happen whatever becomes of this one.
            let first = !matches!(request, Request::Write(Some(_), _));
            let reply = service::request(request, events).await;
            reply.map_or_else(service::stopping, |reply| present(reply, first))
        }
        Ask::Inspect(inspect) => service::inspect(inspect, events).await,
    }
}

/// The response to a reply. Values are JSON texts already. `first`: nobody can have sent the same
/// request before.
fn present(reply: Reply, first: bool) -> Response {
    match reply {
        Reply::Done(answer) => present_answer(answer),
        Reply::Told(told) => tell(told),
        Reply::NoLeader => failure(
            503,
            "no-leader",
            first,
            "no leader is known; nothing was sent to any",
        ),
        Reply::Overloaded => failure(
            429,
            "overloaded",
            first,
            "too many requests wait; this one was not sent",
        ),
        Reply::Timeout => failure(
            504,
            "timeout",
            false,
            "no answer in time; it may or may not happen",
        ),
    }
}

fn present_answer(answer: Answer) -> Response {
    let slot = answer.slot;
    match answer.outcome {
        Outcome::Written { revision } => {
            (200, format!("{{\"slot\":{slot},\"revision\":{revision}}}"))
        }
        Outcome::Swapped { revision } => (
            200,
            format!("{{\"swapped\":true,\"slot\":{slot},\"revision\":{revision}}}"),
        ),
        Outcome::NotSwapped { actual } => {
            let actual = actual.as_deref().unwrap_or("null");
            (
                409,
                format!("{{\"swapped\":false,\"actual\":{actual},\"slot\":{slot}}}"),
            )
        }
        Outcome::NotSwappedFromLong => (409, format!("{{\"swapped\":false,\"slot\":{slot}}}")),
        Outcome::Appended { length, revision } => (
            200,
            format!("{{\"length\":{length},\"slot\":{slot},\"revision\":{revision}}}"),
        ),
        Outcome::NotAList => bad_request("the value is not a list"),
        Outcome::TooLong => bad_request(format!(
            "the list would be longer than {} MiB",
            VALUE_MAX >> 20
        )),
        Outcome::Granted { lease, ttl_ms } => (
            200,
            format!("{{\"held\":true,\"lease\":{lease},\"ttl\":{ttl_ms},\"slot\":{slot}}}"),
        ),
        Outcome::Ended => (200, format!("{{\"held\":false,\"slot\":{slot}}}")),
        Outcome::NotHeld => (409, format!("{{\"held\":false,\"slot\":{slot}}}")),
        Outcome::Held { holder } => (
            409,
            format!("{{\"held\":false,\"holder\":{holder},\"slot\":{slot}}}"),
        ),
        Outcome::Value(Some(value)) => (200, format!("{{\"value\":{value},\"slot\":{slot}}}")),
        Outcome::Value(None) => (404, format!("{{\"error\":\"not-found\",\"slot\":{slot}}}")),
        Outcome::Entries { entries, more } => {
            let texts: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("[{},{value}]", json!(key)))
                .collect();
            let last = entries.last().filter(|_| more);
            let next = last.map_or(String::new(), |(key, _)| {
                format!("\"next\":{},", json!(key))
            });
            (
                200,
                format!(
                    "{{\"entries\":[{}],{next}\"slot\":{slot}}}",
                    texts.join(",")
                ),
            )
        }
        Outcome::Superseded => failure(
            400,
            "bad-request",
            false,
            "the session has used a higher sequence number; this one is forgotten",
        ),
    }
}

/// What there is to tell of changes.
fn tell(told: Told) -> Response {
    match told {
        Told::Changes { upto, changes } => {
            let changes: Vec<_> = changes.iter().map(show).collect();
            let changes = changes.join(",");
            (200, format!("{{\"upto\":{upto},\"changes\":[{changes}]}}"))
        }
        Told::Compacted { revision } => {
            let message = format!("changes up to {revision} are not in the log any more");
            let error = json!({
                "error": "compacted", "definite": true, "message": message, "revision": revision,
            });
            (410, error.to_string())
        }
    }
}

fn show(change: &Change) -> String {
    let became = match &change.became {
        Became::Set(value) => format!("\"value\":{value}"),
        Became::Longer(element) => format!("\"appended\":{element}"),
        Became::Gone => "\"deleted\":true".to_owned(),
    };
    let (revision, key) = (change.revision, json!(change.key));
    format!("{{\"revision\":{revision},\"key\":{key},{became}}}")
}

/// What a request means.
fn understand(head: &Head, body: &[u8], reads: ReadMode) -> Result<Ask<Paxos>, Response> {
    let (params, segments) = (head.query()?, head.segments());
    match (head.method.as_str(), segments.as_slice()) {
        ("GET", ["debug", "status"]) => {
            params.only(&[])?;
            Ok(Ask::Inspect(Inspect::Status))
        }
        ("GET", ["debug", "log"]) => {
            params.only(&["from", "limit"])?;
            let from = params.number("from")?.unwrap_or(1);
            let limit = params
                .number("limit")?
                .map_or(100, |limit| limit.min(LOG_PAGE_MAX as u64) as usize);
            Ok(Ask::Inspect(Inspect::Log { from, limit }))
        }
        ("GET", ["watch"]) => {
            params.only(&["prefix", "after", "wait"])?;
            let wait = params.number("wait")?.map(Duration::from_millis);
            Ok(Ask::Request(Request::Watch {
                prefix: params.get("prefix").unwrap_or_default().to_owned(),
                after: params.number("after")?,
                wait: wait.unwrap_or(WAIT).min(WAIT_MAX),
            }))
        }
        ("GET", ["kv"]) => {
            params.only(&["prefix", "read", "after", "limit"])?;
            let limit = params.number("limit")?.map_or(Ok(u32::MAX), u32::try_from);
            let limit = limit.unwrap_or(u32::MAX);
            if limit == 0 {
                return Err(bad_request("limit is 1 or more"));
            }
            let query = Query::Range {
                prefix: params.get("prefix").unwrap_or_default().to_owned(),
                after: params.get("after").map(str::to_owned),
                limit,
            };
            Ok(Ask::Request(Request::Read(query, mode(&params, reads)?)))
        }
        ("GET", ["kv", key]) => {
            params.only(&["read"])?;
            Ok(Ask::Request(Request::Read(
                Query::Get {
                    key: decode_key(key)?,
                },
                mode(&params, reads)?,
            )))
        }
        ("PUT", ["kv", key]) => {
            params.only(&[])?;
            let op = Op::Put {
                key: decode_key(key)?,
                value: json_text(body)?,
            };
            Ok(Ask::Request(Request::Write(session(head)?, op)))
        }
        ("DELETE", ["kv", key]) => {
            params.only(&[])?;
            Ok(Ask::Request(Request::Write(
                session(head)?,
                Op::Delete {
                    key: decode_key(key)?,
                },
            )))
        }
        ("POST", ["kv", key, "append"]) => {
            params.only(&[])?;
            let op = Op::Append {
                key: decode_key(key)?,
                element: json_text(body)?,
            };
            Ok(Ask::Request(Request::Write(session(head)?, op)))
        }
        ("POST", ["kv", key, "cas"]) => {
            params.only(&[])?;
            let (from, to) = swap(body)?;
            Ok(Ask::Request(Request::Write(
                session(head)?,
                Op::Cas {
                    key: decode_key(key)?,
                    from,
                    to,
                },
            )))
        }
        ("POST", ["lease", key, what @ ("acquire" | "renew" | "release")]) => {
            params.only(&[])?;
            let op = leases::understand(decode_key(key)?, what, body)?;
            Ok(Ask::Request(Request::Write(session(head)?, op)))
        }
        (
            _,
            ["debug", "status" | "log"]
            | ["kv" | "watch"]
            | ["kv", _]
            | ["kv", _, "cas" | "append"]
            | ["lease", _, "acquire" | "renew" | "release"],
        ) => Err(no_such_method(head)),
        _ => Err(bad_request(format!(
            "there is no {}; see /kv/KEY, /kv?prefix=P, /watch?prefix=P, /lease/KEY/acquire, \
             /debug/status, /debug/log",
            head.path()
        ))),
    }
}

fn mode(params: &Parameters<'_>, reads: ReadMode) -> Result<ReadMode, Response> {
    let Some(value) = params.get("read") else {
        return Ok(reads);
    };
    match value {
        "quorum" => Ok(ReadMode::Quorum),
        "log" => Ok(ReadMode::Log),
        "lease" => Ok(ReadMode::Lease),
        "local" => Ok(ReadMode::Local),
        _ => Err(bad_request(format!(
            "read={value:?} is none of quorum, log, lease, local"
        ))),
    }
}

fn session(head: &Head) -> Result<Option<(String, u64)>, Response> {
    match (head.header("session"), head.header("sequence")) {
        (None, None) => Ok(None),
        (Some(session), Some(sequence)) => {
            if session.is_empty() || session.len() > 128 {
                return Err(bad_request("Session has 1 to 128 bytes"));
            }
            let sequence = sequence
                .parse()
                .map_err(|_| bad_request(format!("Sequence {sequence:?} is no number")))?;
            // The prefix keeps clients' names apart from the nodes' own.
            Ok(Some((format!("client:{session}"), sequence)))
        }
        _ => Err(bad_request("Session and Sequence go together")),
    }
}

#[cfg(test)]
mod tests {
    use nodekit::http::parse_head;
    use nodekit::testing::assert_mistake;
    use proptest::prelude::*;

    use super::*;

    fn ask(head: &str, body: &str) -> Result<Ask<Paxos>, Response> {
        let text = format!("{head}\r\n\r\n");
        let head = parse_head(text.as_bytes()).unwrap().unwrap();
        understand(&head, body.as_bytes(), ReadMode::Quorum)
    }

    #[test]
    fn the_surface_is_understood() {
        let get = |mode| {
            Ok(Ask::Request(Request::Read(
                Query::Get { key: "a/b".into() },
                mode,
            )))
        };
        assert_eq!(ask("GET /kv/a%2Fb HTTP/1.1", ""), get(ReadMode::Quorum));
        assert_eq!(
            ask("GET /kv/a%2fb?read=local HTTP/1.1", ""),
            get(ReadMode::Local)
        );
        let range = Query::Range {
            prefix: "a b".into(),
            after: Some("a b7".into()),
            limit: 20,
        };
        assert_eq!(
            ask(
                "GET /kv?prefix=a%20b&read=log&after=a%20b7&limit=20 HTTP/1.1",
                ""
            ),
            Ok(Ask::Request(Request::Read(range, ReadMode::Log)))
        );
        let put = Op::Put {
            key: "k".into(),
            value: "[1,2]".into(),
        };
        assert_eq!(
            ask("PUT /kv/k HTTP/1.1\r\nSession: s\r\nsequence: 7", " [1, 2]"),
            Ok(Ask::Request(Request::Write(
                Some(("client:s".into(), 7)),
                put
            )))
        );
        let cas = Op::Cas {
            key: "k".into(),
            from: None,
            to: "1".into(),
        };
        assert_eq!(
            ask("POST /kv/k/cas HTTP/1.1", "{\"from\": null, \"to\": 1}"),
            Ok(Ask::Request(Request::Write(None, cas)))
        );
        let watch = Request::Watch {
            prefix: "a/".into(),
            after: Some(7),
            wait: Duration::from_millis(200),
        };
        assert_eq!(
            ask("GET /watch?prefix=a%2F&after=7&wait=200 HTTP/1.1", ""),
            Ok(Ask::Request(watch))
        );
        assert_eq!(
            ask("GET /debug/log?from=5&limit=100000 HTTP/1.1", ""),
            Ok(Ask::Inspect(Inspect::Log {
                from: 5,
                limit: LOG_PAGE_MAX
            }))
        );
    }

    #[test]
    fn a_refusal_is_definite_only_where_nothing_can_have_been_sent_before() {
        for reply in [Reply::NoLeader, Reply::Overloaded] {
            for first in [true, false] {
                let (_, text) = present(reply.clone(), first);
                let text: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(text["definite"].as_bool(), Some(first), "{reply:?}");
            }
        }
    }

    #[test]
    fn changes_are_told_as_json_and_what_is_missing_is_said() {
        let change = |revision, became| Change {
            revision,
            key: "a".into(),
            became,
        };
        let changes = vec![
            change(3, Became::Set("[1]".into())),
            change(4, Became::Longer("2".into())),
            change(6, Became::Gone),
        ];
        let text = r#"{"upto":7,"changes":[{"revision":3,"key":"a","value":[1]},"#.to_owned()
            + r#"{"revision":4,"key":"a","appended":2},{"revision":6,"key":"a","deleted":true}]}"#;
        let told = Told::Changes { upto: 7, changes };
        assert_eq!(present(Reply::Told(told), true), (200, text));
        let (status, text) = present(Reply::Told(Told::Compacted { revision: 9 }), true);
        let text: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, text["revision"].as_u64()), (410, Some(9)));
    }

    /// A node whose state has grown by the time of the second page.
    #[test]
    fn a_planted_bug_puts_pages_of_two_moments_together() {
        let entry = |key: &str| (key.to_owned(), "1".to_owned());
        let first: Vec<_> = (0..TORN_PAGE).map(|n| entry(&format!("a{n:02}"))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let (events, mut node) = mpsc::channel(1);
        let pages = async {
            let pages = [(first.clone(), true), (vec![entry("b")], false)];
            for (slot, (entries, more)) in (5..).zip(pages) {
                let Some(Event::Request(Request::Read(asked, _), reply)) = node.recv().await else {
                    panic!("a page is a read");
                };
                let Query::Range { after, .. } = asked else {
                    panic!("of a range");
                };
                assert_eq!(
                    after.is_some(),
                    slot > 5,
                    "the second page follows the first"
                );
                let outcome = Outcome::Entries { entries, more };
                reply.send(Reply::Done(Answer { slot, outcome })).unwrap();
            }
        };
        let read = read_by_pages(String::new(), None, ReadMode::Quorum, &events);
        let (reply, ()) = runtime
            .unwrap()
            .block_on(async { tokio::join!(read, pages) });
        let entries = first.iter().cloned().chain([entry("b")]).collect();
        let (slot, more) = (6, false);
        let outcome = Outcome::Entries { entries, more };
        assert_eq!(reply, Some(Reply::Done(Answer { slot, outcome })));
    }

    #[test]
    fn mistakes_are_definite_and_named() {
        for (head, body, status, message) in [
            ("GET / HTTP/1.1", "", 400, "there is no /"),
            ("GET /kv/ HTTP/1.1", "", 400, "1 to 1024 bytes"),
            ("GET /kv/%zz HTTP/1.1", "", 400, "percent"),
            ("GET /kv/%f HTTP/1.1", "", 400, "percent"),
            ("GET /kv/%ff HTTP/1.1", "", 400, "percent"),
            (
                "GET /kv/k?read=fast HTTP/1.1",
                "",
                400,
                "quorum, log, lease, local",
            ),
            ("GET /kv/k?mode=log HTTP/1.1", "", 400, "mode"),
            ("GET /kv?limit=0 HTTP/1.1", "", 400, "1 or more"),
            ("GET /watch?after=x HTTP/1.1", "", 400, "no number"),
            ("PUT /watch HTTP/1.1", "1", 405, "PUT"),
            ("PATCH /kv/k HTTP/1.1", "1", 405, "PATCH"),
            ("PUT /kv/k HTTP/1.1", "{", 400, "not JSON"),
            ("PUT /kv/k HTTP/1.1\r\nSession: a", "1", 400, "go together"),
            ("POST /kv/k/cas HTTP/1.1", "{\"from\":1}", 400, "from"),
            ("GET /debug/log?from=x HTTP/1.1", "", 400, "no number"),
        ] {
            assert_mistake(&ask(head, body).unwrap_err(), status, message);
        }
    }

    proptest! {
        #[test]
        fn any_head_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(head)) = parse_head(&bytes) {
                let _ = understand(&head, b"1", ReadMode::Quorum);
            }
        }

        #[test]
        fn any_target_is_answered(target in "/(kv|watch|lease|debug)?[/?&=%a-z0-9é]{0,30}", body in "[\\[\\]{}\":,0-9a-z]{0,20}") {
            for method in ["GET", "PUT", "POST", "DELETE"] {
                let text = format!("{method} {target} HTTP/1.1\r\n\r\n");
                if let Ok(Some(head)) = parse_head(text.as_bytes()) {
                    let _ = understand(&head, body.as_bytes(), ReadMode::Quorum);
                }
            }
        }
    }
}
