//! One agent, over any pair of byte streams: requests out, answers matched to them, notes aside.

mod doubts;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::protocol::{self, Envelope, Hello, Line, Note, Renewed, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use history::Name;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};

use self::doubts::Doubts;
use super::link::{Counts, Ear, Link, Presence, Resumption, Session, said};

/// Pieces in which files are moved.
const PIECE: usize = 1 << 20;

/// How long an agent may take beyond what the request itself asks for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a file that is read from a node.
const FILE_MOST: usize = 256 << 20;
/// Things that an agent may say unasked, all of which are shown. A daemon that ends is one.
const NOTES_MOST: u64 = 10_000;
/// Bytes of a line that answers a question neither for a file nor for what a program printed.
const ANSWER_MOST: usize = 1 << 20;
/// Bytes of a sentence of its that are kept. All of them are shown, and some go into the history.
const SENTENCE_MOST: usize = 16 << 10;

/// The number of requests that nobody waits for.
const OWN: u64 = 0;

const UNPOISONED: &str = "no panic while held";

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
type Told = oneshot::Receiver<Result<serde_json::Value, String>>;

/// A question that has no answer yet.
struct Asked {
    tell: oneshot::Sender<Result<serde_json::Value, String>>,
    /// Bytes that the answer may have.
    most: usize,
}

#[derive(Default)]
struct Open {
    by_id: HashMap<u64, Asked>,
    /// Renewals of the lease, whose answers say how many lines the agent has.
    renewals: HashSet<u64>,
    /// It was told to go.
    dismissed: bool,
    /// Set once the agent is gone: why.
    gone: Option<String>,
    doubts: Doubts,
}

/// A handle on one node's agent; clones share the session. When the last is dropped, the agent's
/// input ends, it heals its node and exits.
#[derive(Clone)]
pub struct Agent {
    node: Name,
    out: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Waiting,
    counts: Arc<Counts>,
    /// The token by which the session is taken up again, if it can be.
    session: Option<String>,
    next_id: Arc<AtomicU64>,
    presence: Arc<watch::Sender<Presence>>,
    /// What it said of itself when it was greeted.
    hello: Arc<Mutex<Option<Hello>>>,
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
        Agent::over(node, Link::new(from, to), None, notes)
    }

    /// The same over a link that may be lost and be replaced.
    pub fn over(
        node: Name,
        link: Link,
        resumption: Option<Resumption>,
        notes: mpsc::UnboundedSender<(Name, Note)>,
    ) -> Agent {
        let (out, lines) = mpsc::unbounded_channel();
        let (waiting, counts) = (Waiting::default(), Arc::<Counts>::default());
        let session = resumption.as_ref().map(|r| r.session.clone());
        let presence = Arc::new(watch::channel(Presence::Here).0);
        let hello = Arc::<Mutex<Option<Hello>>>::default();
        let talk = Session {
            counts: counts.clone(),
            presence: presence.clone(),
            // Without it the end of input would look like a lost link, and be waited out.
            farewell: session.as_ref().map(|_| line(OWN, Request::Shutdown)),
            ear: Hearer {
                node: node.clone(),
                waiting: waiting.clone(),
                counts: counts.clone(),
                notes,
                hello: hello.clone(),
                lease: resumption.as_ref().map(|r| r.patience),
                session: session.clone(),
                noted: AtomicU64::new(0),
            },
            resumption,
        };
        tokio::spawn({
            let (waiting, presence) = (waiting.clone(), presence.clone());
            async move {
                let why = talk.carry(link, lines).await;
                {
                    let mut open = waiting.lock().expect(UNPOISONED);
                    open.gone = Some(why.unwrap_or_else(|| "its output ended".into()));
                    open.by_id.clear();
                }
                // Nobody has to wait for it any longer.
                presence.send_replace(Presence::Here);
            }
        });
        Agent {
            node,
            out,
            waiting,
            counts,
            session,
            next_id: Arc::new(AtomicU64::new(OWN + 1)),
            presence,
            hello,
        }
    }

    /// The node's machine is about to stand still: requests wait until it is back, and a link that
    /// is lost meanwhile is no wonder.
    pub fn leave(&self) {
        self.presence.send_replace(Presence::Away);
    }

    /// It goes on where it stood still.
    pub fn come_back(&self) {
        self.presence.send_replace(Presence::Here);
    }

    /// It starts anew: whatever was asked is lost, and another agent is started there.
    ///
    /// # Errors
    /// There is none in time; the node is lost to the run.
    pub async fn restart(&self) -> Result<(), ControlError> {
        let gone = self.waiting.lock().expect(UNPOISONED).gone.clone();
        if let Some(reason) = gone {
            return Err(self.gone("start anew".into(), reason));
        }
        self.presence.send_replace(Presence::Restarting);
        let mut presence = self.presence.subscribe();
        // The sender lives as long as this handle.
        let _ = presence
            .wait_for(|presence| *presence == Presence::Here)
            .await;
        let gone = self.waiting.lock().expect(UNPOISONED).gone.clone();
        match gone {
            None => Ok(()),
            Some(reason) => Err(self.gone("start anew".into(), reason)),
        }
    }

    /// Whether it answers within this time, whatever is expected of it. What is asked changes
    /// nothing.
    pub async fn answers(&self, within: Duration) -> bool {
        match self.send(Request::InForce) {
            Ok((_, told)) => tokio::time::timeout(within, told).await.is_ok(),
            Err(_) => false,
        }
    }

    /// What makes it doubtful that the agent did its work all the time: it healed itself, or could
    /// not be reached for a while. What was asked of it since may not have been so.
    pub fn doubts(&self) -> Vec<String> {
        let open = self.waiting.lock().expect(UNPOISONED);
        open.doubts.told(&self.node)
    }

    /// Takes away those that an agent leaves which could not be reached for a while and did all
    /// that it was asked. Not that it healed itself: then it has stopped daemons.
    pub fn take_absences(&self) -> Vec<String> {
        let mut open = self.waiting.lock().expect(UNPOISONED);
        open.doubts.take_absences(&self.node)
    }

    /// Whether it will never answer again.
    pub fn is_gone(&self) -> bool {
        let open = self.waiting.lock().expect(UNPOISONED);
        open.gone.is_some()
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
                session: self.session.clone(),
            })
            .await?;
        *self.hello.lock().expect(UNPOISONED) = Some(hello.clone());
        let out = self.out.downgrade();
        let (next_id, counts) = (self.next_id.clone(), self.counts.clone());
        let (waiting, presence) = (self.waiting.clone(), self.presence.clone());
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(lease / 10);
            loop {
                beat.tick().await;
                // A weak sender: renewing must not keep a dropped session alive.
                let Some(out) = out.upgrade() else { return };
                if *presence.borrow() != Presence::Here {
                    continue;
                }
                let id = next_id.fetch_add(1, Ordering::Relaxed);
                {
                    let mut open = waiting.lock().expect(UNPOISONED);
                    if open.gone.is_some() {
                        return;
                    }
                    open.renewals.insert(id);
                }
                let received = counts.received();
                if out.send(line(id, Request::Renew { received })).is_err() {
                    return;
                }
            }
        });
        Ok(hello)
    }

    /// What it said of itself when it was greeted; none before.
    pub fn greeting(&self) -> Option<Hello> {
        self.hello.lock().expect(UNPOISONED).clone()
    }

    /// Asks one thing and waits for the answer.
    pub async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T, ControlError> {
        let patience = PATIENCE + own_time(&request);
        let what = name(&request);
        let mut presence = self.presence.subscribe();
        // The sender lives as long as this handle.
        let _ = presence
            .wait_for(|presence| *presence == Presence::Here)
            .await;
        let (id, told) = self
            .send(request)
            .map_err(|reason| self.gone(what.clone(), reason))?;
        let answer = match tokio::time::timeout(patience, told).await {
            Err(_) => {
                self.waiting.lock().expect(UNPOISONED).by_id.remove(&id);
                return Err(ControlError::Silent {
                    node: self.node.clone(),
                    request: what,
                    after: patience,
                });
            }
            Ok(Err(_)) => {
                let reason = self.waiting.lock().expect(UNPOISONED).gone.clone();
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

    /// Sends a request; its number, and where its answer will come. The error says why it cannot
    /// be.
    fn send(&self, request: Request) -> Result<(u64, Told), String> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        {
            let mut open = self.waiting.lock().expect(UNPOISONED);
            if let Some(reason) = &open.gone {
                return Err(reason.clone());
            }
            let most = due(&request);
            open.by_id.insert(id, Asked { tell, most });
            open.dismissed |= matches!(request, Request::Shutdown);
        }
        match self.out.send(line(id, request)) {
            Ok(()) => Ok((id, told)),
            Err(_) => Err("its input is closed".into()),
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
            if content.len() > FILE_MOST {
                return Err(ControlError::Nonsense {
                    node: self.node.clone(),
                    request: format!("get {}", path.display()),
                    reason: format!("it goes on after {FILE_MOST} bytes"),
                });
            }
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

/// Bytes that its answer may have, beside what any line may.
fn due(request: &Request) -> usize {
    match request {
        Request::Run { .. } | Request::Get { .. } | Request::Tail { .. } => usize::MAX,
        _ => ANSWER_MOST,
    }
}

/// A sentence of somebody else's, or its beginning.
fn sentence(mut text: String) -> String {
    if text.len() > SENTENCE_MOST {
        let end = (0..=SENTENCE_MOST)
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push_str(" ... and so on");
    }
    text
}

fn brief(note: Note) -> Note {
    match note {
        Note::Healed { why } => Note::Healed { why: sentence(why) },
        Note::Trouble { what } => Note::Trouble {
            what: sentence(what),
        },
        Note::Exited {
            daemon,
            pid,
            status,
            expected,
        } => Note::Exited {
            daemon: sentence(daemon),
            pid,
            status: sentence(status),
            expected,
        },
    }
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

/// What becomes of the agent's lines.
struct Hearer {
    node: Name,
    waiting: Waiting,
    counts: Arc<Counts>,
    notes: mpsc::UnboundedSender<(Name, Note)>,
    hello: Arc<Mutex<Option<Hello>>>,
    /// Of sessions that can be taken up again.
    lease: Option<Duration>,
    session: Option<String>,
    /// Things that it said unasked.
    noted: AtomicU64,
}

impl Hearer {
    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.waiting.lock().expect(UNPOISONED)
    }

    fn note(&self, note: Note) {
        // Nobody may be listening any more; the agent's log has it too.
        let _ = self.notes.send((self.node.clone(), note));
    }
}

impl Ear for Hearer {
    fn hear(&self, text: &[u8]) -> Result<(), String> {
        let (id, answer) = match serde_json::from_slice(text) {
            Ok(Line::Answer { id, ok }) => (id, Ok(ok)),
            Ok(Line::Refusal { id, error }) => (id, Err(sentence(error))),
            Ok(Line::Note(note)) => {
                let note = brief(note);
                if self.noted.fetch_add(1, Ordering::Relaxed) >= NOTES_MOST {
                    return Err(format!("it said more than {NOTES_MOST} things unasked"));
                }
                if let Note::Healed { why } = &note {
                    let doubt = format!("its agent healed it: {why}");
                    self.open().doubts.add(doubt);
                }
                self.note(note);
                return Ok(());
            }
            Ok(Line::Resumed { .. }) => return Err("it takes up what was not lost".into()),
            Err(e) => return Err(format!("it said {}: {e}", said(text))),
        };
        let mut open = self.open();
        if open.renewals.remove(&id) {
            if let Ok(Ok(renewed)) = answer.map(serde_json::from_value::<Renewed>) {
                self.counts.acknowledge(renewed.received);
            }
        } else if let Some(Asked { tell, most }) = open.by_id.remove(&id) {
            if answer.is_ok() && text.len() > most {
                return Err(format!(
                    "an answer of {} bytes, where at most {most} are due: {}",
                    text.len(),
                    said(text)
                ));
            }
            // The asker may have given up.
            let _ = tell.send(answer);
        }
        Ok(())
    }

    fn doubt(&self, what: String) {
        self.open().doubts.add(what.clone());
        self.remark(what);
    }

    fn was_away(&self, what: String) {
        self.open().doubts.add_absence(what.clone());
        self.remark(what);
    }

    fn remark(&self, what: String) {
        self.note(Note::Trouble { what });
    }

    fn was_dismissed(&self) -> bool {
        self.open().dismissed
    }

    fn forget(&self) {
        let mut open = self.open();
        open.by_id.clear();
        open.renewals.clear();
    }

    fn greeting(&self) -> Vec<u8> {
        let hello = Request::Hello {
            version: protocol::VERSION,
            node: self.node.to_string(),
            lease_ms: self.lease.unwrap_or_default().as_millis() as u64,
            session: self.session.clone(),
        };
        line(OWN, hello)
    }

    fn greeted(&self, hello: Hello) {
        *self.hello.lock().expect(UNPOISONED) = Some(hello);
    }
}

#[cfg(test)]
mod tests;
