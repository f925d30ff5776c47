//! The clients' side: a small HTTP/1.1 server with keep-alive, and nothing in it that this surface does not need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::clocks::pause;
use crate::core::kv::canonical;
use crate::core::message::{Op, Outcome, Query, ReadMode};
use crate::core::{Reply, Request};
use crate::node::{Event, Inspect};

const HEAD_MAX: usize = 16 << 10;
const BODY_MAX: usize = 1 << 20;
const HEADERS: usize = 64;
const KEY_MAX: usize = 1024;
const CONNECTIONS: usize = 4096;
const LOG_PAGE_MAX: usize = 1000;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Ask {
    Request(Request),
    Inspect(Inspect),
}

/// A response: status and JSON body.
type Response = (u16, String);

fn failure(status: u16, code: &str, definite: bool, message: &str) -> Response {
    (
        status,
        json!({"error": code, "definite": definite, "message": message}).to_string(),
    )
}

fn bad_request(message: impl AsRef<str>) -> Response {
    failure(400, "bad-request", true, message.as_ref())
}

/// Serves clients until the node stops.
pub async fn serve(listener: TcpListener, reads: ReadMode, events: mpsc::Sender<Event>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely; it passes.
            pause(Duration::from_millis(50)).await;
            continue;
        };
        let (events, open) = (events.clone(), open.clone());
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        tokio::spawn(async move {
            // A connection that breaks concerns only its client.
            let _ = converse(stream, reads, &events).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn converse(
    mut stream: TcpStream,
    reads: ReadMode,
    events: &mpsc::Sender<Event>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        let head = loop {
            match parse_head(&buffer) {
                Ok(Some(head)) => break head,
                Ok(None) if buffer.len() <= HEAD_MAX => {
                    if stream.read_buf(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                }
                Ok(None) => {
                    return refuse(&mut stream, bad_request("the head is longer than 16 KiB"))
                        .await;
                }
                Err(message) => return refuse(&mut stream, bad_request(message)).await,
            }
        };
        if head.body > BODY_MAX {
            return refuse(&mut stream, bad_request("the body is longer than 1 MiB")).await;
        }
        if head.expects_continue {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let end = head.length + head.body;
        while buffer.len() < end {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let response = match understand(&head, &buffer[head.length..end], reads) {
            Ok(ask) => answer(ask, events).await,
            Err(response) => response,
        };
        write(&mut stream, &response, head.keep_alive).await?;
        if !head.keep_alive {
            return Ok(());
        }
        buffer.drain(..end);
    }
}

async fn refuse(stream: &mut TcpStream, response: Response) -> std::io::Result<()> {
    write(stream, &response, false).await
}

async fn write(
    stream: &mut TcpStream,
    (status, body): &Response,
    keep_alive: bool,
) -> std::io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    };
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let text = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: {connection}\r\n\r\n{body}\n",
        body.len() + 1
    );
    stream.write_all(text.as_bytes()).await
}

async fn answer(ask: Ask, events: &mpsc::Sender<Event>) -> Response {
    let stopping = || failure(500, "internal", false, "the node is stopping");
    match ask {
        Ask::Request(request) => {
            let (sender, receiver) = oneshot::channel();
            if events.send(Event::Request(request, sender)).await.is_err() {
                return stopping();
            }
            receiver.await.map_or_else(|_| stopping(), present)
        }
        Ask::Inspect(inspect) => {
            let (sender, receiver) = oneshot::channel();
            if events.send(Event::Inspect(inspect, sender)).await.is_err() {
                return stopping();
            }
            receiver
                .await
                .map_or_else(|_| stopping(), |body| (200, body))
        }
    }
}

/// The response to a reply. Values are JSON texts already.
fn present(reply: Reply) -> Response {
    let answer = match reply {
        Reply::Done(answer) => answer,
        Reply::NoLeader => {
            return failure(
                503,
                "no-leader",
                true,
                "no leader is known; nothing was sent to any",
            );
        }
        Reply::Overloaded => {
            return failure(
                429,
                "overloaded",
                true,
                "too many requests wait; this one was not sent",
            );
        }
        Reply::Timeout => {
            return failure(
                504,
                "timeout",
                false,
                "no answer in time; it may or may not happen",
            );
        }
    };
    let slot = answer.slot;
    match answer.outcome {
        Outcome::Written => (200, format!("{{\"slot\":{slot}}}")),
        Outcome::Swapped => (200, format!("{{\"swapped\":true,\"slot\":{slot}}}")),
        Outcome::NotSwapped { actual } => {
            let actual = actual.as_deref().unwrap_or("null");
            (
                409,
                format!("{{\"swapped\":false,\"actual\":{actual},\"slot\":{slot}}}"),
            )
        }
        Outcome::Appended { length } => (200, format!("{{\"length\":{length},\"slot\":{slot}}}")),
        Outcome::NotAList => bad_request("the value is not a list"),
        Outcome::Value(Some(value)) => (200, format!("{{\"value\":{value},\"slot\":{slot}}}")),
        Outcome::Value(None) => (404, format!("{{\"error\":\"not-found\",\"slot\":{slot}}}")),
        Outcome::Entries(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("[{},{value}]", json!(key)))
                .collect();
            (
                200,
                format!("{{\"entries\":[{}],\"slot\":{slot}}}", entries.join(",")),
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

/// The parts of a head that matter here.
#[derive(Debug)]
struct Head {
    /// Bytes up to the body, and of it.
    length: usize,
    body: usize,
    method: String,
    target: String,
    keep_alive: bool,
    expects_continue: bool,
    session: Option<String>,
    sequence: Option<String>,
}

/// Parses a head, or returns `None` if it is not all there.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("this is not HTTP: {error}")),
    };
    let mut head = Head {
        length,
        body: 0,
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        keep_alive: request.version == Some(1),
        expects_continue: false,
        session: None,
        sequence: None,
    };
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value)
            .map_err(|_| format!("header {} is not UTF-8", header.name))?
            .trim();
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => {
                head.body = value
                    .parse()
                    .map_err(|_| format!("content-length {value:?} is no number"))?;
            }
            "transfer-encoding" => {
                return Err("a body needs a content-length; chunks are not understood".to_owned());
            }
            "connection" if value.eq_ignore_ascii_case("close") => head.keep_alive = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => head.keep_alive = true,
            "expect" => head.expects_continue = value.eq_ignore_ascii_case("100-continue"),
            "session" => head.session = Some(value.to_owned()),
            "sequence" => head.sequence = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(Some(head))
}

fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = text.get(at + 1..at + 3)?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            out.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

/// What a request means.
fn understand(head: &Head, body: &[u8], reads: ReadMode) -> Result<Ask, Response> {
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    let mut params = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode(value)
            .ok_or_else(|| bad_request(format!("{pair:?} is not percent-encoded UTF-8")))?;
        params.push((name, value));
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (head.method.as_str(), segments.as_slice()) {
        ("GET", ["debug", "status"]) => {
            only(&params, &[])?;
            Ok(Ask::Inspect(Inspect::Status))
        }
        ("GET", ["debug", "log"]) => {
            only(&params, &["from", "limit"])?;
            let from = number(&params, "from")?.unwrap_or(1);
            let limit = number(&params, "limit")?
                .map_or(100, |limit| limit.min(LOG_PAGE_MAX as u64) as usize);
            Ok(Ask::Inspect(Inspect::Log { from, limit }))
        }
        ("GET", ["kv"]) => {
            only(&params, &["prefix", "read"])?;
            let prefix = params
                .iter()
                .find(|(name, _)| *name == "prefix")
                .map_or("", |(_, value)| value)
                .to_owned();
            Ok(Ask::Request(Request::Read(
                Query::Range { prefix },
                mode(&params, reads)?,
            )))
        }
        ("GET", ["kv", key]) => {
            only(&params, &["read"])?;
            Ok(Ask::Request(Request::Read(
                Query::Get {
                    key: decode_key(key)?,
                },
                mode(&params, reads)?,
            )))
        }
        ("PUT", ["kv", key]) => {
            only(&params, &[])?;
            let op = Op::Put {
                key: decode_key(key)?,
                value: json_text(body)?,
            };
            Ok(Ask::Request(Request::Write(session(head)?, op)))
        }
        ("DELETE", ["kv", key]) => {
            only(&params, &[])?;
            Ok(Ask::Request(Request::Write(
                session(head)?,
                Op::Delete {
                    key: decode_key(key)?,
                },
            )))
        }
        ("POST", ["kv", key, "append"]) => {
            only(&params, &[])?;
            let op = Op::Append {
                key: decode_key(key)?,
                element: json_text(body)?,
            };
            Ok(Ask::Request(Request::Write(session(head)?, op)))
        }
        ("POST", ["kv", key, "cas"]) => {
            only(&params, &[])?;
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
        (_, ["debug", "status" | "log"] | ["kv"] | ["kv", _] | ["kv", _, "cas" | "append"]) => {
            Err(failure(
                405,
                "bad-request",
                true,
                &format!("{path} knows no {}", head.method),
            ))
        }
        _ => Err(bad_request(format!(
            "there is no {path}; see /kv/KEY, /kv?prefix=P, /debug/status, /debug/log"
        ))),
    }
}

fn only(params: &[(&str, String)], known: &[&str]) -> Result<(), Response> {
    match params.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(bad_request(format!("unknown parameter {name:?}"))),
        None => Ok(()),
    }
}

fn number(params: &[(&str, String)], name: &str) -> Result<Option<u64>, Response> {
    let Some((_, value)) = params.iter().find(|(known, _)| *known == name) else {
        return Ok(None);
    };
    value
        .parse()
        .map(Some)
        .map_err(|_| bad_request(format!("{name}={value:?} is no number")))
}

fn mode(params: &[(&str, String)], reads: ReadMode) -> Result<ReadMode, Response> {
    let Some((_, value)) = params.iter().find(|(name, _)| *name == "read") else {
        return Ok(reads);
    };
    match value.as_str() {
        "quorum" => Ok(ReadMode::Quorum),
        "log" => Ok(ReadMode::Log),
        "lease" => Ok(ReadMode::Lease),
        "local" => Ok(ReadMode::Local),
        _ => Err(bad_request(format!(
            "read={value:?} is none of quorum, log, lease, local"
        ))),
    }
}

fn decode_key(text: &str) -> Result<String, Response> {
    match percent_decode(text) {
        Some(key) if key.is_empty() || key.len() > KEY_MAX => {
            Err(bad_request("a key has 1 to 1024 bytes"))
        }
        Some(key) => Ok(key),
        None => Err(bad_request(format!(
            "{text:?} is not percent-encoded UTF-8"
        ))),
    }
}

fn json_text(body: &[u8]) -> Result<String, Response> {
    canonical(body).map_err(|error| bad_request(format!("the body is not JSON: {error}")))
}

fn swap(body: &[u8]) -> Result<(Option<String>, String), Response> {
    let value: serde_json::Value = serde_json::from_slice(body)
        .map_err(|error| bad_request(format!("the body is not JSON: {error}")))?;
    let fields = value.as_object().filter(|fields| fields.len() == 2);
    match fields.map(|fields| (fields.get("from"), fields.get("to"))) {
        Some((Some(from), Some(to))) => {
            Ok(((!from.is_null()).then(|| from.to_string()), to.to_string()))
        }
        _ => Err(bad_request(
            "the body is not {\"from\": JSON or null for absent, \"to\": JSON}",
        )),
    }
}

fn session(head: &Head) -> Result<Option<(String, u64)>, Response> {
    match (&head.session, &head.sequence) {
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
    use proptest::prelude::*;

    use super::*;

    fn ask(head: &str, body: &str) -> Result<Ask, Response> {
        let text = format!("{head}\r\n\r\n");
        let head = parse_head(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.length, text.len());
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
        };
        assert_eq!(
            ask("GET /kv?prefix=a%20b&read=log HTTP/1.1", ""),
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
        assert_eq!(
            ask("GET /debug/log?from=5&limit=100000 HTTP/1.1", ""),
            Ok(Ask::Inspect(Inspect::Log {
                from: 5,
                limit: LOG_PAGE_MAX
            }))
        );
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
            ("PATCH /kv/k HTTP/1.1", "1", 405, "PATCH"),
            ("PUT /kv/k HTTP/1.1", "{", 400, "not JSON"),
            ("PUT /kv/k HTTP/1.1\r\nSession: a", "1", 400, "go together"),
            ("POST /kv/k/cas HTTP/1.1", "{\"from\":1}", 400, "from"),
            ("GET /debug/log?from=x HTTP/1.1", "", 400, "no number"),
        ] {
            let (found, text) = ask(head, body).unwrap_err();
            let text: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (found, text["definite"].as_bool()),
                (status, Some(true)),
                "{head}"
            );
            assert!(
                text["message"].as_str().unwrap().contains(message),
                "{head} gave {text}"
            );
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
        fn any_target_is_answered(target in "/(kv|debug)?[/?&=%a-z0-9é]{0,30}", body in "[\\[\\]{}\":,0-9a-z]{0,20}") {
            for method in ["GET", "PUT", "POST", "DELETE"] {
                let text = format!("{method} {target} HTTP/1.1\r\n\r\n");
                if let Ok(Some(head)) = parse_head(text.as_bytes()) {
                    let _ = understand(&head, body.as_bytes(), ReadMode::Quorum);
                }
            }
        }
    }
}
