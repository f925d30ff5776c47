//! What carries a session: a link after the other, and what has to be said again on the next.
//!
//! Lines are counted at both ends. When a link is lost, each side tells the other on the next one
//! how many lines it has, and goes on behind them: no request is ever handed to the agent twice,
//! and no answer is missed. Whether the node has given up meanwhile is the agent's to say, never
//! assumed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use agent::protocol::{Hello, Line};
use async_trait::async_trait;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes of a line. The longest that an agent has to say is what a program printed, 16 MiB of it.
const LINE_MOST: u64 = 32 << 20;

/// One way to the agent: its stdio.
pub struct Link {
    from: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    to: Option<Box<dyn AsyncWrite + Send + Unpin>>,
}

impl Link {
    pub fn new(
        from: impl AsyncRead + Send + Unpin + 'static,
        to: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Link {
        Link {
            from: BufReader::new(Box::new(from)),
            to: Some(Box::new(to)),
        }
    }

    /// A whole line; the error says why there is none.
    async fn line(&mut self) -> Result<Vec<u8>, String> {
        let line = read_line(&mut self.from).await;
        line.map_err(|(Broken::Lost(why) | Broken::Endless(why))| why)
    }
}

/// Why there is no line.
enum Broken {
    /// Another link may bring it.
    Lost(String),
    /// It is none.
    Endless(String),
}

async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, Broken> {
    let mut line = Vec::new();
    let mut within = from.take(LINE_MOST);
    match within.read_until(b'\n', &mut line).await {
        Ok(_) if line.last() == Some(&b'\n') => {
            line.pop();
            Ok(line)
        }
        Ok(_) if within.limit() == 0 => Err(Broken::Endless(format!(
            "it said a line of more than {LINE_MOST} bytes: {}",
            said(&line)
        ))),
        // What was cut off comes again on the next link, or never.
        Ok(_) => Err(Broken::Lost("its output ended".into())),
        Err(e) => Err(Broken::Lost(e.to_string())),
    }
}

/// What somebody said who should have said something else, or its beginning.
pub(super) fn said(line: &[u8]) -> String {
    const ENOUGH: usize = 200;
    match line.get(..ENOUGH) {
        None => format!("{:?}", String::from_utf8_lossy(line)),
        Some(first) => format!("{:?} and so on", String::from_utf8_lossy(first)),
    }
}

/// Makes another link to an agent that is still there.
#[async_trait]
pub trait Redial: Send + Sync {
    /// Tries for so long. `received`: how many of the agent's lines have arrived.
    async fn redial(
        &self,
        session: &str,
        received: u64,
        patience: Duration,
    ) -> Result<Link, String>;

    /// Starts another agent on a machine that has started anew.
    async fn anew(&self) -> Result<Link, String>;
}

/// Whether the node can be expected to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Here,
    /// Its machine stands still, and nobody counts the time.
    Away,
    /// Its machine starts anew: what was is forgotten, and another agent takes over.
    Restarting,
}

/// Who listens to a session.
pub(super) trait Ear: Send + Sync {
    /// Gets a line; says what is wrong with it, if anything.
    fn hear(&self, line: &[u8]) -> Result<(), String>;

    /// The link was away for a while, or for good.
    fn doubt(&self, what: String);

    /// The agent could not be reached for a while, and can again.
    fn was_away(&self, what: String);

    /// What somebody who watches should know now, and what decides nothing.
    fn remark(&self, what: String);

    /// Whether the agent was told to go.
    fn was_dismissed(&self) -> bool;

    /// Whatever was asked will not be answered any more.
    fn forget(&self);

    /// The first line to another agent.
    fn greeting(&self) -> Vec<u8>;

    /// What that said of itself.
    fn greeted(&self, hello: Hello);
}

/// How a session gets over the loss of its link.
#[derive(Clone)]
pub struct Resumption {
    /// Which session it is, towards the agent.
    pub session: String,
    pub redial: Arc<dyn Redial>,
    /// The agent is given up after this: its lease has run out then.
    pub patience: Duration,
}

/// Lines to the agent: all that it may not have yet.
#[derive(Default)]
struct Outbox {
    lines: VecDeque<Vec<u8>>,
    /// Number of the first of these.
    first: u64,
    /// Number of the line that is written next.
    next: u64,
}

impl Outbox {
    fn forget_until(&mut self, number: u64) {
        while self.first < number && self.lines.pop_front().is_some() {
            self.first += 1;
        }
        self.next = self.next.max(self.first);
    }
}

/// The counts of both directions.
#[derive(Default)]
pub(super) struct Counts {
    outbox: Mutex<Outbox>,
    received: Mutex<u64>,
}

impl Counts {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().expect("no panic while held")
    }

    pub fn received(&self) -> u64 {
        *self.received.lock().expect("no panic while held")
    }

    /// Another agent has heard the greeting, and answered it, and knows nothing else.
    fn begin_anew(&self) {
        *self.outbox() = Outbox {
            lines: VecDeque::new(),
            first: 1,
            next: 1,
        };
        *self.received.lock().expect("no panic while held") = 1;
    }

    /// The agent has so many lines.
    pub fn acknowledge(&self, count: u64) {
        let mut outbox = self.outbox();
        let written = outbox.next;
        outbox.forget_until(count.min(written));
    }
}

/// What a session consists of, besides its link.
pub(super) struct Session<E> {
    pub counts: Arc<Counts>,
    pub resumption: Option<Resumption>,
    pub presence: Arc<watch::Sender<Presence>>,
    /// Said when nobody can send any more.
    pub farewell: Option<Vec<u8>>,
    pub ear: E,
}

impl<E: Ear> Session<E> {
    /// Carries lines both ways, over as many links as it takes. Returns why it ended; none if
    /// it was meant to.
    pub async fn carry(self, link: Link, lines: UnboundedReceiver<Vec<u8>>) -> Option<String> {
        let why = self.carry_on(link, lines).await;
        if let Some(why) = &why {
            self.ear.doubt(format!("the agent is gone: {why}"));
        }
        why
    }

    async fn carry_on(&self, link: Link, mut lines: UnboundedReceiver<Vec<u8>>) -> Option<String> {
        let mut link = Some(link);
        let mut over = false;
        loop {
            let why = match link.take() {
                Some(mut link) => self.converse(&mut link, &mut lines, &mut over).await,
                None => End::Restart,
            };
            if over || self.ear.was_dismissed() {
                return None;
            }
            let next = match (why, &self.resumption) {
                (End::Nonsense(why), _) | (End::Lost(why), None) => return Some(why),
                (End::Restart, None) => return Some("it cannot be started anew".into()),
                (End::Lost(why), Some(resumption)) => self.resume(resumption, why).await,
                (End::Restart, Some(resumption)) => self.restart(resumption, &mut lines).await,
            };
            match next {
                Ok(next) => link = next,
                Err(why) => return Some(why),
            }
        }
    }

    async fn converse(
        &self,
        link: &mut Link,
        lines: &mut UnboundedReceiver<Vec<u8>>,
        over: &mut bool,
    ) -> End {
        let Link { from, to } = link;
        let keeps = self.resumption.is_some();
        let farewell = self.farewell.as_deref();
        let mut presence = self.presence.subscribe();
        tokio::select! {
            end = listen(from, &self.counts, &self.ear) => end,
            () = speak(to, lines, farewell, &self.counts, keeps, over) => {
                unreachable!("it waits for its end")
            }
            _ = presence.wait_for(|presence| *presence == Presence::Restarting) => End::Restart,
        }
    }

    /// Another link to the same session, both sides behind what the other has. None: the machine
    /// starts anew meanwhile.
    async fn resume(&self, resumption: &Resumption, why: String) -> Result<Option<Link>, String> {
        let mut presence = self.presence.subscribe();
        let expected = *presence.borrow() != Presence::Here;
        // A machine that stands still is not to be reached, and its lease stands still with it.
        let _ = presence
            .wait_for(|presence| *presence != Presence::Away)
            .await;
        if *presence.borrow() == Presence::Restarting {
            return Ok(None);
        }
        if !expected {
            self.ear.remark(format!("its link is lost: {why}"));
        }
        let since = Instant::now();
        let deadline = since + resumption.patience;
        let link = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let again = greet_again(resumption, &self.counts, left);
            let failed = match tokio::time::timeout(left, again).await {
                Ok(Ok(link)) => break link,
                Ok(Err(Refusal::Now(_))) if Instant::now() + PAUSE < deadline => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Ok(Err(Refusal::Final(why) | Refusal::Now(why))) => why,
                Err(_) => "no answer".into(),
            };
            return Err(format!(
                "{why}; after {:.1} s of trying: {failed}",
                since.elapsed().as_secs_f64()
            ));
        };
        if !expected {
            self.ear.was_away(format!(
                "the link was lost ({why}), and taken up again after {:.1} s",
                since.elapsed().as_secs_f64()
            ));
        }
        Ok(Some(link))
    }

    /// A link to another agent, that knows nothing.
    async fn restart(
        &self,
        resumption: &Resumption,
        lines: &mut UnboundedReceiver<Vec<u8>>,
    ) -> Result<Option<Link>, String> {
        self.ear.forget();
        let mut link = resumption.redial.anew().await?;
        let to = link.to.as_mut().expect("it has just been made");
        let greeting = self.ear.greeting();
        to.write_all(&greeting).await.map_err(|e| e.to_string())?;
        to.flush().await.map_err(|e| e.to_string())?;
        let line = tokio::time::timeout(resumption.patience, link.line()).await;
        let line = line.map_err(|_| "the new agent does not answer".to_string())??;
        let hello = match serde_json::from_slice(&line) {
            Ok(Line::Answer { ok, .. }) => serde_json::from_value(ok).map_err(|e| e.to_string())?,
            _ => return Err(format!("it said {}", said(&line))),
        };
        self.ear.greeted(hello);
        // What was meant for the one that is gone.
        while lines.try_recv().is_ok() {}
        self.counts.begin_anew();
        self.presence.send_replace(Presence::Here);
        Ok(Some(link))
    }
}

enum End {
    Lost(String),
    Nonsense(String),
    /// The machine starts anew.
    Restart,
}

async fn listen(from: &mut (impl AsyncBufRead + Unpin), counts: &Counts, ear: &impl Ear) -> End {
    loop {
        let line = match read_line(from).await {
            Ok(line) => line,
            Err(Broken::Lost(why)) => return End::Lost(why),
            Err(Broken::Endless(why)) => return End::Nonsense(why),
        };
        *counts.received.lock().expect("no panic while held") += 1;
        if let Err(why) = ear.hear(&line) {
            return End::Nonsense(why);
        }
    }
}

/// Writes lines until it is dropped. When nobody can send any more it takes its leave and closes;
/// `over` then.
async fn speak(
    to: &mut Option<Box<dyn AsyncWrite + Send + Unpin>>,
    lines: &mut UnboundedReceiver<Vec<u8>>,
    farewell: Option<&[u8]>,
    counts: &Counts,
    keeps: bool,
    over: &mut bool,
) {
    while let Some(out) = to {
        let line = {
            let outbox = counts.outbox();
            let place = (outbox.next - outbox.first) as usize;
            outbox.lines.get(place).cloned()
        };
        let Some(line) = line else {
            match lines.recv().await {
                Some(line) => counts.outbox().lines.push_back(line),
                None => {
                    *over = true;
                    if let Some(farewell) = farewell {
                        // Whether it arrives or not, the agent leaves: this only makes it soon.
                        let _ = out.write_all(farewell).await;
                        let _ = out.flush().await;
                    }
                    *to = None;
                }
            }
            continue;
        };
        // A closed pipe is noticed, with its reason, by the listener.
        if out.write_all(&line).await.is_err() || out.flush().await.is_err() {
            break;
        }
        let mut outbox = counts.outbox();
        outbox.next += 1;
        if !keeps {
            let next = outbox.next;
            outbox.forget_until(next);
        }
    }
    std::future::pending().await
}

enum Refusal {
    Now(String),
    Final(String),
}

async fn greet_again(
    resumption: &Resumption,
    counts: &Counts,
    patience: Duration,
) -> Result<Link, Refusal> {
    let redial = &resumption.redial;
    let link = redial.redial(&resumption.session, counts.received(), patience);
    let mut link = link.await.map_err(Refusal::Now)?;
    let line = link.line().await.map_err(Refusal::Now)?;
    match serde_json::from_slice(&line) {
        Ok(Line::Resumed { resumed }) => {
            let mut outbox = counts.outbox();
            let (first, end) = (outbox.first, outbox.first + outbox.lines.len() as u64);
            // The one that was being written when the link was lost may have arrived.
            if !(first..=end.min(outbox.next + 1)).contains(&resumed) {
                return Err(Refusal::Final(format!(
                    "the agent has {resumed} lines; it had {first} and was sent {}",
                    outbox.next
                )));
            }
            outbox.forget_until(resumed);
            outbox.next = outbox.first;
            drop(outbox);
            Ok(link)
        }
        Ok(Line::Refusal { error, .. }) => Err(Refusal::Final(error)),
        _ => Err(Refusal::Final(format!("it said {}", said(&line)))),
    }
}
