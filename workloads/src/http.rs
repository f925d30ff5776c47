//! HTTP/1.1 over one kept connection, with every failure classified: was anything sent?
//!
//! ```text
//! connecting failed or took too long         refused       definite: nothing was sent
//! the connection closed before it was used   (tried again on a new one: nothing was sent)
//! it broke after the request was handed over disconnected  it may have been read and acted on
//! no answer in time                          timeout       likewise
//! the answer is not HTTP                     malformed     likewise
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use harness::client::{DISCONNECTED, MALFORMED, OpError, REFUSED, REJECTED, TIMEOUT, UNAVAILABLE};
use history::wording::shortened;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// An answer larger than this is not one that a system under test should give.
const MAX_BODY: usize = 256 << 20;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection. Shorter than the operation's own time-out, so that a node that cannot be
    /// reached gives a definite answer and not an unknown one.
    pub connect: Duration,
    /// For the whole answer, once connected.
    pub answer: Duration,
}

impl Patience {
    /// For clients: the interpreter's own time-out comes first, this is for connections that it
    /// would leave open.
    pub const CLIENT: Patience = Patience {
        connect: Duration::from_secs(1),
        answer: Duration::from_secs(60),
    };

    /// For questions by the way: who leads, what time it is.
    pub const QUESTION: Patience = Patience {
        connect: Duration::from_millis(500),
        answer: Duration::from_millis(500),
    };

    /// For the long answers at the end of a run.
    pub const COLLECT: Patience = Patience {
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(30),
    };
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// What came of a question, for people: the status with the beginning of the body, or why there was
/// no answer.
pub fn told(asked: &Result<Answer, OpError>) -> String {
    let answer = match asked {
        Ok(answer) => answer,
        Err(e) => return e.to_string(),
    };
    let body = String::from_utf8_lossy(&answer.body);
    match body.trim() {
        "" => format!("status {}", answer.status),
        body => format!("status {} with {}", answer.status, shortened(body, SHOWN)),
    }
}

/// Characters of a body that are told.
const SHOWN: usize = 120;

/// A client of one address. Connects when it must, and again after an error.
pub struct Http {
    address: SocketAddr,
    host: HeaderValue,
    patience: Patience,
    login: Option<HeaderValue>,
    open: Option<Connection>,
}

struct Connection {
    send: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Http {
    pub fn new(address: SocketAddr, patience: Patience) -> Http {
        Http {
            address,
            host: HeaderValue::from_str(&address.to_string())
                .expect("an address is digits, letters, dots, colons and brackets"),
            patience,
            login: None,
            open: None,
        }
    }

    /// The same, with a name and a password in every request (RFC 7617).
    pub fn with_login(self, user: &str, password: &str) -> Http {
        let login = format!("Basic {}", BASE64.encode(format!("{user}:{password}")));
        Http {
            login: Some(
                HeaderValue::from_str(&login).expect("base64 is letters, digits, +, / and ="),
            ),
            ..self
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, OpError> {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    pub async fn put(&mut self, path: &str, json: Vec<u8>) -> Result<Answer, OpError> {
        self.send(Method::PUT, path, &[], json).await
    }

    pub async fn post(&mut self, path: &str, json: Vec<u8>) -> Result<Answer, OpError> {
        self.send(Method::POST, path, &[], json).await
    }

    /// Any request. Headers given here take the place of those that every request has.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Vec<u8>,
    ) -> Result<Answer, OpError> {
        let mut builder = Request::builder().method(method).uri(path);
        let own = [
            (HOST, self.host.clone()),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ];
        let kept = own
            .iter()
            .filter(|(name, _)| headers.iter().all(|(given, _)| given != name));
        for (name, value) in kept.chain(headers) {
            builder = builder.header(name, value);
        }
        if let Some(login) = &self.login {
            builder = builder.header(AUTHORIZATION, login.clone());
        }
        let mut request = builder
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| OpError::new(REJECTED, format!("{path:?} cannot be asked for: {e}")))?;
        // A kept connection may have been closed by the other side since. As long as nothing of the
        // request has been written, trying again on a new one is safe; a new one that fails is
        // news.
        loop {
            let kept = self.open.take();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            match tokio::time::timeout(self.patience.answer, exchange(&mut connection, request))
                .await
            {
                Err(_) => {
                    let waited = self.patience.answer;
                    let what = format!("no answer from {} in {waited:?}", self.address);
                    return Err(OpError::new(TIMEOUT, what));
                }
                Ok(Ok(answer)) => {
                    self.open = Some(connection);
                    return Ok(answer);
                }
                Ok(Err(Broken::Unsent(unsent))) if was_kept => request = *unsent,
                Ok(Err(Broken::Unsent(_))) => {
                    let what = format!("{} closed the new connection at once", self.address);
                    return Err(OpError::new(REFUSED, what));
                }
                Ok(Err(Broken::Sent(error))) => return Err(error),
            }
        }
    }

    /// Asks for an answer that has no end: its lines, as they come, over a connection of their own.
    pub async fn lines(&mut self, path: &str, json: Vec<u8>) -> Result<Lines, OpError> {
        let wrong = |e| OpError::new(REJECTED, format!("{path:?} cannot be asked for: {e}"));
        let mut request = Request::post(path)
            .header(HOST, self.host.clone())
            .header(CONTENT_TYPE, "application/json");
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login.clone());
        }
        let request = request.body(Full::new(Bytes::from(json))).map_err(wrong)?;
        let mut connection = self.connect().await?;
        let asking = connection.send.send_request(request);
        let head = match tokio::time::timeout(self.patience.answer, asking).await {
            Err(_) => return Err(OpError::new(TIMEOUT, "the answer did not begin in time")),
            Ok(head) => head.map_err(|e| classify(&e))?,
        };
        match head.status() {
            StatusCode::OK => Ok(Lines {
                body: head.into_body(),
                read: Vec::new(),
                _connection: connection,
            }),
            other => Err(OpError::new(UNAVAILABLE, format!("status {other}"))),
        }
    }

    async fn connect(&self) -> Result<Connection, OpError> {
        let refused = |why: String| OpError::new(REFUSED, format!("{}: {why}", self.address));
        let connecting =
            tokio::time::timeout(self.patience.connect, TcpStream::connect(self.address));
        let stream = match connecting.await {
            Err(_) => {
                let waited = self.patience.connect;
                return Err(refused(format!("no connection in {waited:?}")));
            }
            Ok(connected) => connected.map_err(|e| refused(e.to_string()))?,
        };
        stream
            .set_nodelay(true)
            .map_err(|e| refused(e.to_string()))?;
        let (send, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| refused(e.to_string()))?;
        // Its errors reach whoever waits for the answer.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Connection { send, task })
    }
}

/// Lines of an answer that goes on.
pub struct Lines {
    body: Incoming,
    /// What came of the line that is not whole yet.
    read: Vec<u8>,
    _connection: Connection,
}

impl Lines {
    /// The next line, without its end; none when the answer has ended. If it is given up, nothing
    /// is lost.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, OpError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.read.drain(..=end).collect();
                line.pop();
                return Ok(Some(line));
            }
            if self.read.len() > MAX_BODY {
                let what = format!("a line is longer than {MAX_BODY} bytes");
                return Err(OpError::new(MALFORMED, what));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.map_err(|e| classify(&e))?;
                    self.read.extend(frame.into_data().unwrap_or_default());
                }
            }
        }
    }
}

enum Broken {
    /// Nothing was written.
    Unsent(Box<Request<Full<Bytes>>>),
    Sent(OpError),
}

async fn exchange(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Broken> {
    let head = match connection.send.try_send_request(request).await {
        Ok(head) => head,
        Err(mut error) => {
            return Err(match error.take_message() {
                Some(unsent) => Broken::Unsent(Box::new(unsent)),
                None => Broken::Sent(classify(error.error())),
            });
        }
    };
    let status = head.status();
    match Limited::new(head.into_body(), MAX_BODY).collect().await {
        Ok(body) => Ok(Answer {
            status,
            body: body.to_bytes(),
        }),
        Err(e) if e.is::<LengthLimitError>() => Err(Broken::Sent(OpError::new(
            MALFORMED,
            format!("the answer is longer than {MAX_BODY} bytes"),
        ))),
        Err(e) => Err(Broken::Sent(match e.downcast_ref::<hyper::Error>() {
            Some(e) => classify(e),
            None => OpError::new(DISCONNECTED, e.to_string()),
        })),
    }
}

/// What an error of a connection on which something was sent says of the operation.
fn classify(error: &hyper::Error) -> OpError {
    let code = match error.is_parse() {
        true => MALFORMED,
        false => DISCONNECTED,
    };
    // hyper's own text leaves out the cause, such as "connection reset by peer".
    let detail = match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    OpError::new(code, detail)
}

/// A text as one segment of a path: all but letters, digits and `-_.~` is escaped (RFC 3986, 2.3).
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::fake::{Act, Fake};

    const SHORT: Patience = Patience {
        connect: Duration::from_secs(10),
        answer: Duration::from_secs(10),
    };

    fn answer(body: &str) -> Act {
        Act::Answer(200, body.into())
    }

    #[tokio::test]
    async fn one_connection_carries_many_requests() {
        let fake = Fake::start([answer("a"), answer("b"), answer("c")]).await;
        let mut http = Http::new(fake.address, SHORT);
        assert_eq!(http.get("/1").await.unwrap().body, "a");
        assert_eq!(http.put("/2", b"[1]".to_vec()).await.unwrap().body, "b");
        assert_eq!(http.post("/3", b"{}".to_vec()).await.unwrap().body, "c");
        assert_eq!(fake.requests(), ["GET /1", "PUT /2 [1]", "POST /3 {}"]);
        assert_eq!(*fake.connections.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_end_with_the_answer() {
        let fake = Fake::start([answer("a\nbc\n"), Act::Answer(500, "no".into())]).await;
        let mut http = Http::new(fake.address, SHORT);
        let mut lines = http.lines("/w", b"{}".to_vec()).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), b"a");
        assert_eq!(lines.next().await.unwrap().unwrap(), b"bc");
        assert_eq!(lines.next().await.unwrap(), None);
        assert_eq!(
            http.lines("/w", Vec::new()).await.err().unwrap().code,
            UNAVAILABLE
        );
    }

    #[tokio::test]
    async fn nobody_listening_is_refused() {
        // Bound but not listening: the port is nobody else's, and connecting fails.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let mut http = Http::new(socket.local_addr().unwrap(), SHORT);
        let error = http.get("/").await.unwrap_err();
        assert_eq!(error.code, REFUSED, "{error:?}");
    }

    #[tokio::test]
    async fn a_connection_that_takes_too_long_is_refused() {
        // A listener whose queue is full does not complete handshakes.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Patience {
            connect: Duration::from_millis(50),
            ..SHORT
        };
        let mut kept = Vec::new();
        let error = loop {
            assert!(kept.len() < 100, "the queue never filled up");
            match Http::new(address, patience).connect().await {
                Ok(connection) => kept.push(connection),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code, REFUSED, "{error:?}");
        assert!(error.detail.contains("no connection in 50ms"), "{error:?}");
    }

    #[tokio::test]
    async fn what_breaks_after_sending_is_indefinite() {
        for (act, code) in [
            (Act::Close, DISCONNECTED),
            (Act::Reset, DISCONNECTED),
            (
                Act::Raw("HTTP/1.1 200 OK\r\ncontent-len".into()),
                DISCONNECTED,
            ),
            (
                Act::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".into()),
                DISCONNECTED,
            ),
            (Act::Raw("220 mail.example ESMTP\r\n".into()), MALFORMED),
            (Act::Raw("\0\u{1}\u{2}\u{3}\r\n\r\n".into()), MALFORMED),
        ] {
            let fake = Fake::start([act.clone(), answer("again")]).await;
            let mut http = Http::new(fake.address, SHORT);
            let error = http.put("/x", b"1".to_vec()).await.unwrap_err();
            assert_eq!(error.code, code, "{act:?}: {error:?}");
            assert!(!error.code.definite);
            // It must not have been sent twice, and the next one goes over a new connection.
            assert_eq!(fake.requests(), ["PUT /x 1"], "{act:?}");
            assert_eq!(http.get("/y").await.unwrap().body, "again", "{act:?}");
        }
    }

    #[tokio::test]
    async fn no_answer_in_time_is_a_timeout() {
        let fake = Fake::start([Act::Silence]).await;
        let patience = Patience {
            answer: Duration::from_millis(50),
            ..SHORT
        };
        let mut http = Http::new(fake.address, patience);
        let error = http.get("/slow").await.unwrap_err();
        assert_eq!(error.code, TIMEOUT, "{error:?}");
        // Were the connection kept, the next answer on it could be this request's.
        assert!(http.open.is_none());
    }

    #[tokio::test]
    async fn a_kept_connection_that_was_closed_meanwhile_costs_nothing() {
        let fake = Fake::start([Act::AnswerAndClose(200, "a".into()), answer("b")]).await;
        let mut http = Http::new(fake.address, SHORT);
        assert_eq!(http.get("/1").await.unwrap().body, "a");
        // Wait until this side has noticed, so that the outcome does not depend on a race.
        let limit = tokio::time::Instant::now() + Duration::from_secs(10);
        while http
            .open
            .as_ref()
            .is_some_and(|open| !open.send.is_closed())
        {
            assert!(
                tokio::time::Instant::now() < limit,
                "the close was not noticed"
            );
            tokio::task::yield_now().await;
        }
        assert_eq!(http.put("/2", b"1".to_vec()).await.unwrap().body, "b");
        assert_eq!(fake.requests(), ["GET /1", "PUT /2 1"]);
    }

    #[tokio::test]
    async fn giving_up_on_a_request_gives_up_its_connection() {
        let fake = Fake::start([answer("a"), Act::Silence]).await;
        let mut http = Http::new(fake.address, SHORT);
        http.get("/1").await.unwrap();
        assert!(http.open.is_some());
        let given_up = tokio::time::timeout(Duration::from_millis(50), http.get("/2")).await;
        assert!(given_up.is_err());
        assert!(http.open.is_none());
    }

    #[test]
    fn segments_are_escaped() {
        assert_eq!(segment("set-12_a.b~"), "set-12_a.b~");
        assert_eq!(segment("a/b?c=d&e f%"), "a%2Fb%3Fc%3Dd%26e%20f%25");
        assert_eq!(segment("é"), "%C3%A9");
    }
}
