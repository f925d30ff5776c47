//! The clients' side: a small HTTP/1.1 server with keep-alive, and nothing in it that the nodes do
//! not need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::runtime::accept;

const HEAD_MAX: usize = 16 << 10;
const HEADERS: usize = 64;
const KEY_MAX: usize = 1024;
const CONNECTIONS: usize = 4096;

/// A response: status and JSON body.
pub type Response = (u16, String);

/// What a client sent.
#[derive(Debug)]
pub struct Call {
    pub head: Head,
    pub body: Vec<u8>,
}

/// The parts of a head that matter here.
#[derive(Debug)]
pub struct Head {
    /// Bytes up to the body, and of it.
    length: usize,
    body: usize,
    pub method: String,
    pub target: String,
    keep_alive: bool,
    expects_continue: bool,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

/// An error as all nodes give it. `definite`: what was asked for did not happen and will not.
pub fn failure(status: u16, code: &str, definite: bool, message: &str) -> Response {
    (
        status,
        json!({"error": code, "definite": definite, "message": message}).to_string(),
    )
}

/// The request makes no sense, whatever state the node is in.
pub fn bad_request(message: impl AsRef<str>) -> Response {
    failure(400, "bad-request", true, message.as_ref())
}

/// The path is there, and takes no such method.
pub fn no_such_method(head: &Head) -> Response {
    let message = format!("{} knows no {}", head.path(), head.method);
    failure(405, "bad-request", true, &message)
}

/// Serves clients until the node stops. Bodies have at most `body_max` bytes.
pub async fn serve<A, F>(listener: TcpListener, body_max: usize, answer: A)
where
    A: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send,
{
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, _) = accept(&listener).await;
        let (answer, open) = (answer.clone(), open.clone());
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        tokio::spawn(async move {
            // A connection that breaks concerns only its client.
            let _ = converse(stream, body_max, &answer).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn converse<A, F>(mut stream: TcpStream, body_max: usize, answer: &A) -> std::io::Result<()>
where
    A: Fn(Call) -> F,
    F: Future<Output = Response>,
{
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
        if head.body > body_max {
            let limit = body_max >> 10;
            let message = format!("the body is longer than {limit} KiB");
            return refuse(&mut stream, bad_request(message)).await;
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
        let body = buffer[head.length..end].to_vec();
        buffer.drain(..end);
        let keep_alive = head.keep_alive;
        let response = answer(Call { head, body }).await;
        write(&mut stream, &response, keep_alive).await?;
        if !keep_alive {
            return Ok(());
        }
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
        410 => "Gone",
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

/// Parses a head, or returns `None` if it is not all there.
///
/// # Errors
/// What is wrong with it.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>, String> {
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
        headers: Vec::new(),
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
            name => head.headers.push((name.to_owned(), value.to_owned())),
        }
    }
    Ok(Some(head))
}

impl Head {
    /// The value of a header that concerns the node; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The path, in segments that are still percent-encoded.
    pub fn segments(&self) -> Vec<&str> {
        let path = self.path();
        path.split('/').skip(1).collect()
    }

    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&*self.target, |(path, _)| path)
    }

    /// The parameters after the path.
    ///
    /// # Errors
    /// The response, when they are not well encoded.
    pub fn query(&self) -> Result<Parameters<'_>, Response> {
        let (_, query) = self.target.split_once('?').unwrap_or_default();
        let mut params = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode(value)
                .ok_or_else(|| bad_request(format!("{pair:?} is not percent-encoded UTF-8")))?;
            params.push((name, value));
        }
        Ok(Parameters(params))
    }
}

/// What follows the question mark.
pub struct Parameters<'a>(Vec<(&'a str, String)>);

impl Parameters<'_> {
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Refuses all parameters but those that are known.
    ///
    /// # Errors
    /// The response.
    pub fn only(&self, known: &[&str]) -> Result<(), Response> {
        match self.0.iter().find(|(name, _)| !known.contains(name)) {
            Some((name, _)) => Err(bad_request(format!("unknown parameter {name:?}"))),
            None => Ok(()),
        }
    }

    /// # Errors
    /// The response, when it is there and no number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Response> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .parse()
            .map(Some)
            .map_err(|_| bad_request(format!("{name}={value:?} is no number")))
    }
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

/// A key from a segment of the path.
///
/// # Errors
/// The response.
pub fn decode_key(text: &str) -> Result<String, Response> {
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

/// The one text that stands for a JSON value: no spaces, object keys sorted. Comparisons compare
/// these texts.
///
/// # Errors
/// The parser's message, when `bytes` are not JSON.
pub fn canonical(bytes: &[u8]) -> Result<String, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(value.to_string())
}

/// The value that a canonical text stands for. What a stranger put there may be none.
pub fn json_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// The body as a canonical text.
///
/// # Errors
/// The response.
pub fn json_text(body: &[u8]) -> Result<String, Response> {
    canonical(body).map_err(|error| bad_request(format!("the body is not JSON: {error}")))
}

/// The body of a compare-and-set: from what (none: absent) to what.
///
/// # Errors
/// The response.
pub fn swap(body: &[u8]) -> Result<(Option<String>, String), Response> {
    let value: Value = serde_json::from_slice(body)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_has_segments_parameters_and_headers() {
        let text = "GET /kv/a%2Fb?x=1&y=a%20b&z HTTP/1.1\r\nFoo: 1\r\nfoo:  2 \r\n\r\n";
        let head = parse_head(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.length, text.len());
        assert_eq!(
            (head.path(), head.segments()),
            ("/kv/a%2Fb", vec!["kv", "a%2Fb"])
        );
        assert_eq!((head.header("foo"), head.header("bar")), (Some("2"), None));
        let query = head.query().unwrap();
        assert_eq!((query.get("y"), query.get("z")), (Some("a b"), Some("")));
        assert_eq!(query.number("x"), Ok(Some(1)));
        assert_eq!(query.number("no"), Ok(None));
        assert_eq!(query.number("y").unwrap_err().0, 400);
        assert_eq!(query.only(&["x", "y"]).unwrap_err().0, 400);
        assert_eq!(query.only(&["x", "y", "z"]), Ok(()));
        assert_eq!(decode_key("a%2Fb"), Ok("a/b".into()));
        assert!(decode_key("%zz").is_err() && decode_key("").is_err());
        assert!(parse_head(&text.as_bytes()[..40]).unwrap().is_none());
    }

    #[test]
    fn chunks_and_wrong_lengths_are_refused() {
        for (header, message) in [
            ("transfer-encoding: chunked", "chunks are not understood"),
            ("content-length: many", "is no number"),
            ("content-length: -1", "is no number"),
        ] {
            let text = format!("PUT /kv/k HTTP/1.1\r\n{header}\r\n\r\n");
            let error = parse_head(text.as_bytes()).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_value_has_one_text() {
        assert_eq!(
            canonical(b" {\"b\": [1, 2],\n\"a\": null} ").unwrap(),
            "{\"a\":null,\"b\":[1,2]}"
        );
        assert!(canonical(b"{").is_err());
        assert_eq!(json_value("[1,2]"), json!([1, 2]));
        assert_eq!(json_value("[1,2"), json!("[1,2"));
        assert_eq!(
            swap(b"{\"from\": null, \"to\": [ 1]}"),
            Ok((None, "[1]".into()))
        );
        assert!(swap(b"{\"from\": 1}").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_head_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(head)) = parse_head(&bytes) {
                let _ = (head.segments(), head.query().is_ok());
            }
        }

        #[test]
        fn any_percent_encoding_is_decoded_or_refused(text in "[%a-f0-9é]{0,20}") {
            if let Some(decoded) = percent_decode(&text) {
                prop_assert!(decoded.len() <= text.len());
            }
        }
    }
}
