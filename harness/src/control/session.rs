//! One agent, over any pair of byte streams: requests out, answers matched to them, notes aside.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use agent::protocol::{self, Envelope, Hello, Line, Note, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use history::Name;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

/// Pieces in which files are moved.
const PIECE: usize = 1 << 20;

/// How long an agent may take beyond what the request itself asks for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why an agent did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum ControlError {
    /// The agent is there and says no.
    #[error("{node}: {request}: {reason}")]
    Refused {
        node: Name,
        request: String,
        reason: String,
    },
    /// Nobody knows whether it was done.
    #[error("{node}: {request}: the agent is gone ({reason})")]
    Gone {
        node: Name,
        request: String,
        reason: String,
    },
    #[error("{node}: {request}: no answer from the agent within {} s", .after.as_secs())]
    Silent {
        node: Name,
        request: String,
        after: Duration,
    },
    #[error("{node}: {request}: the answer makes no sense: {reason}")]
    Nonsense {
        node: Name,
        request: String,
        reason: String,
    },
}

type Waiting = Arc<Mutex<Open>>;

#[derive(Default)]
struct Open {
    by_id: HashMap<u64, oneshot::Sender<Result<serde_json::Value, String>>>,
    /// Set once the agent's output has ended: why.
    gone: Option<String>,
}

/// A handle on one node's agent; clones share the session. When the last is dropped, the agent's
/// input ends, it heals its node and exits.
#[derive(Clone)]
pub struct Agent {
    node: Name,
    out: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Waiting,
    next_id: Arc<AtomicU64>,
    /// What it said of itself when it was greeted.
    hello: Arc<OnceLock<Hello>>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Agent({})", self.node)
    }
}

impl Agent {
    /// Takes over the agent's stdio. `notes` gets what it says unasked.
    pub fn new(
        node: Name,
        from: impl AsyncRead + Send + Unpin + 'static,
        to: impl AsyncWrite + Send + Unpin + 'static,
        notes: mpsc::UnboundedSender<(Name, Note)>,
    ) -> Agent {
        let (out, lines) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        tokio::spawn(write(lines, to));
        tokio::spawn(read(node.clone(), from, waiting.clone(), notes));
        Agent {
            node,
            out,
            waiting,
            next_id: Arc::new(AtomicU64::new(1)),
            hello: Arc::default(),
        }
    }

    pub fn node(&self) -> &Name {
        &self.node
    }

    /// Greets the agent, and from then on renews its lease until this session ends.
    pub async fn hello(&self, lease: Duration) -> Result<Hello, ControlError> {
        let hello: Hello = self
            .call(Request::Hello {
                version: protocol::VERSION,
                node: self.node.to_string(),
                lease_ms: lease.as_millis() as u64,
            })
            .await?;
        let _ = self.hello.set(hello.clone());
        let out = self.out.downgrade();
        let next_id = self.next_id.clone();
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(lease / 10);
            loop {
                beat.tick().await;
                // A weak sender: renewing must not keep a dropped session alive.
                let Some(out) = out.upgrade() else { return };
                let id = next_id.fetch_add(1, Ordering::Relaxed);
                if out.send(line(id, Request::Renew)).is_err() {
                    return;
                }
            }
        });
        Ok(hello)
    }

    /// What it said of itself when it was greeted; none before.
    pub fn greeting(&self) -> Option<&Hello> {
        self.hello.get()
    }

    /// Asks one thing and waits for the answer.
    pub async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T, ControlError> {
        let patience = PATIENCE + own_time(&request);
        let what = name(&request);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        {
            let mut open = self.waiting.lock().expect("no panic while held");
            if let Some(reason) = &open.gone {
                return Err(self.gone(what, reason.clone()));
            }
            open.by_id.insert(id, tell);
        }
        if self.out.send(line(id, request)).is_err() {
            return Err(self.gone(what, "its input is closed".into()));
        }
        let answer = match tokio::time::timeout(patience, told).await {
            Err(_) => {
                self.waiting
                    .lock()
                    .expect("no panic while held")
                    .by_id
                    .remove(&id);
                return Err(ControlError::Silent {
                    node: self.node.clone(),
                    request: what,
                    after: patience,
                });
            }
            Ok(Err(_)) => {
                let reason = self
                    .waiting
                    .lock()
                    .expect("no panic while held")
                    .gone
                    .clone();
                return Err(self.gone(what, reason.unwrap_or_default()));
            }
            Ok(Ok(answer)) => answer,
        };
        match answer {
            Err(reason) => Err(ControlError::Refused {
                node: self.node.clone(),
                request: what,
                reason,
            }),
            Ok(value) => serde_json::from_value(value).map_err(|e| ControlError::Nonsense {
                node: self.node.clone(),
                request: what,
                reason: e.to_string(),
            }),
        }
    }

    /// Writes a file on the node.
    pub async fn put(
        &self,
        path: impl Into<std::path::PathBuf>,
        mode: u32,
        content: &[u8],
    ) -> Result<(), ControlError> {
        let path = path.into();
        let mut pieces = content.chunks(PIECE);
        let mut append = false;
        let mut piece = pieces.next().unwrap_or_default();
        loop {
            self.call::<()>(Request::Put {
                path: path.clone(),
                mode,
                append,
                base64: BASE64.encode(piece),
            })
            .await?;
            append = true;
            match pieces.next() {
                Some(next) => piece = next,
                None => return Ok(()),
            }
        }
    }

    /// Reads a file of the node, whole.
    pub async fn get(&self, path: impl Into<std::path::PathBuf>) -> Result<Vec<u8>, ControlError> {
        let path = path.into();
        let mut content = Vec::new();
        loop {
            let piece: protocol::Piece = self
                .call(Request::Get {
                    path: path.clone(),
                    offset: content.len() as u64,
                    limit: PIECE as u64,
                })
                .await?;
            let bytes = BASE64
                .decode(&piece.base64)
                .map_err(|e| ControlError::Nonsense {
                    node: self.node.clone(),
                    request: format!("get {}", path.display()),
                    reason: e.to_string(),
                })?;
            let last = bytes.is_empty();
            content.extend(bytes);
            if last || content.len() as u64 >= piece.size {
                return Ok(content);
            }
        }
    }

    fn gone(&self, request: String, reason: String) -> ControlError {
        ControlError::Gone {
            node: self.node.clone(),
            request,
            reason,
        }
    }
}

/// The request's name on the wire, for error messages.
fn name(request: &Request) -> String {
    serde_json::to_value(request)
        .ok()
        .and_then(|v| Some(v.get("do")?.as_str()?.to_string()))
        .unwrap_or_default()
}

/// How long the request itself says that it takes.
fn own_time(request: &Request) -> Duration {
    Duration::from_millis(match request {
        Request::Run { timeout_ms, .. } | Request::Connect { timeout_ms, .. } => *timeout_ms,
        Request::Stop { grace_ms, .. } => *grace_ms,
        Request::Probe { wait_ms, .. } => *wait_ms,
        _ => 0,
    })
}

fn line(id: u64, request: Request) -> Vec<u8> {
    let mut line =
        serde_json::to_vec(&Envelope { id, request }).expect("requests have only text keys");
    line.push(b'\n');
    line
}

async fn write(
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
    mut to: impl AsyncWrite + Send + Unpin,
) {
    while let Some(line) = lines.recv().await {
        // A closed pipe is noticed, with its reason, by the reader.
        if to.write_all(&line).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

async fn read(
    node: Name,
    from: impl AsyncRead + Send + Unpin,
    waiting: Waiting,
    notes: mpsc::UnboundedSender<(Name, Note)>,
) {
    let mut lines = BufReader::new(from).lines();
    let why = loop {
        let text = match lines.next_line().await {
            Ok(Some(text)) => text,
            Ok(None) => break "its output ended".to_string(),
            Err(e) => break e.to_string(),
        };
        let (id, answer) = match serde_json::from_str(&text) {
            Ok(Line::Answer { id, ok }) => (id, Ok(ok)),
            Ok(Line::Refusal { id, error }) => (id, Err(error)),
            Ok(Line::Note(note)) => {
                // Nobody may be listening any more; the agent's log has it too.
                let _ = notes.send((node.clone(), note));
                continue;
            }
            Err(e) => break format!("it said {text:?}: {e}"),
        };
        let tell = waiting
            .lock()
            .expect("no panic while held")
            .by_id
            .remove(&id);
        if let Some(tell) = tell {
            // The asker may have given up.
            let _ = tell.send(answer);
        }
    };
    let mut open = waiting.lock().expect("no panic while held");
    open.gone = Some(why);
    open.by_id.clear();
}
