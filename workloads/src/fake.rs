//! For tests: an HTTP server of a few lines that misbehaves as it is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// An answer of this status and body.
    Answer(u16, String),
    /// An answer after which the server closes the connection.
    AnswerAndClose(u16, String),
    /// These bytes, whatever they are; then it closes.
    Raw(String),
    /// Closes without an answer.
    Close,
    /// Resets the connection without an answer.
    Reset,
    /// Never answers.
    Silence,
}

pub(crate) struct Fake {
    pub address: SocketAddr,
    /// `METHOD path body` of every request that was read whole.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// Connections that were accepted.
    pub connections: Arc<Mutex<usize>>,
}

impl Fake {
    /// A server that does these things, one a request, and then closes every connection.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Fake {
        Fake::start_at((Ipv4Addr::LOCALHOST, 0).into(), acts).await
    }

    /// The same, at this address.
    pub(crate) async fn start_at(address: SocketAddr, acts: impl IntoIterator<Item = Act>) -> Fake {
        let listener = TcpListener::bind(address).await.unwrap();
        let fake = Fake {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let acts = Arc::new(Mutex::new(acts.into_iter().collect::<Vec<_>>().into_iter()));
        let (requests, connections) = (fake.requests.clone(), fake.connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                let (acts, requests) = (acts.clone(), requests.clone());
                tokio::spawn(serve(stream, move |request| {
                    requests.lock().unwrap().push(request);
                    acts.lock().unwrap().next().unwrap_or(Act::Close)
                }));
            }
        });
        fake
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, next: impl Fn(String) -> Act) {
    while let Some(request) = read_request(&mut stream).await {
        let (status, body, last) = match next(request) {
            Act::Answer(status, body) => (status, body, false),
            Act::AnswerAndClose(status, body) => (status, body, true),
            Act::Raw(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                return;
            }
            Act::Close => return,
            Act::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Act::Silence => return std::future::pending().await,
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        if last {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let line = head
        .lines()
        .next()
        .unwrap()
        .strip_suffix(" HTTP/1.1")
        .unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let request = format!("{line} {}", String::from_utf8(body).unwrap());
    Some(request.trim_end().to_string())
}
