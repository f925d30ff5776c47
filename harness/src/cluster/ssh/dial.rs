//! Links to a node's agent, one after the other: each a connection of its own.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::link::{Files, PATIENCE, Way};
use super::node::{Place, Provided};
use super::pump;
use crate::control::{Link, Redial};

/// For a machine that starts anew to be there again: an interpreted one takes a minute when nothing
/// else runs.
const STARTING: Duration = Duration::from_secs(300);

/// Between two looks whether it is.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of a node.
pub(super) struct Known {
    pub way: Way,
    pub place: Place,
    /// The agent, and the system's.
    pub programs: Vec<Provided>,
    /// The command that starts the agent.
    pub start: String,
    pub files: Arc<Files>,
    /// Gets what the agent says on stderr.
    pub log: PathBuf,
}

/// Makes links to the agent of one node.
pub(super) struct Dial {
    known: Known,
    /// How many links there are, those included that are lost and do not know it yet.
    links: watch::Sender<usize>,
}

impl Dial {
    pub fn new(known: Known) -> Dial {
        Dial {
            known,
            links: watch::channel(0).0,
        }
    }

    /// A link to a new agent.
    pub async fn first(&self, patience: Duration) -> Result<Link, String> {
        self.link(self.known.start.clone(), patience).await
    }

    /// Connects, and runs this there as the other end of the link.
    async fn link(&self, command: String, patience: Duration) -> Result<Link, String> {
        let (way, log) = (self.known.way.clone(), self.known.log.clone());
        let started = tokio::task::spawn_blocking(move || {
            let file = OpenOptions::new().append(true).open(&log);
            let file = file.map_err(|e| format!("{}: {e}", log.display()))?;
            pump::start(way.connect(patience)?, &command, file)
        });
        let (stream, ended) = started
            .await
            .expect("it does not panic, and nobody aborts it")?;
        self.links.send_modify(|count| *count += 1);
        let links = self.links.clone();
        tokio::spawn(async move {
            // A thread that is gone without a word was a panic, which has been printed.
            let _ = ended.await;
            links.send_modify(|count| *count -= 1);
        });
        let stream = UnixStream::from_std(stream).map_err(|e| e.to_string())?;
        let (from, to) = stream.into_split();
        Ok(Link::new(from, to))
    }

    /// Waits until no link is left; false if that takes too long.
    pub async fn ended(&self, patience: Duration) -> bool {
        let mut links = self.links.subscribe();
        let none = links.wait_for(|count| *count == 0);
        tokio::time::timeout(patience, none).await.is_ok()
    }
}

#[async_trait]
impl Redial for Dial {
    async fn redial(
        &self,
        session: &str,
        received: u64,
        patience: Duration,
    ) -> Result<Link, String> {
        let Known {
            place, programs, ..
        } = &self.known;
        let command = place.resume(&programs[0], session, received);
        self.link(command, patience).await
    }

    async fn anew(&self) -> Result<Link, String> {
        let deadline = Instant::now() + STARTING;
        loop {
            let (place, programs) = (self.known.place.clone(), self.known.programs.clone());
            let there = self.known.files.ask(move |hand| {
                // What was uploaded and not yet on the disk is lost; so may be all of it.
                place.claim(hand)?;
                place.provide(hand, &programs)?;
                place.link_programs(hand, &programs)
            });
            match there.await {
                Ok(()) => return self.first(PATIENCE).await,
                Err(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                Err(why) => {
                    let seconds = STARTING.as_secs();
                    return Err(format!(
                        "it is not there {seconds} s after its start: {why}"
                    ));
                }
            }
        }
    }
}

/// A name for a session that nobody else has.
pub(super) fn token() -> Result<String, String> {
    let path = "/proc/sys/kernel/random/uuid";
    let id = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    Ok(id.trim().to_string())
}
