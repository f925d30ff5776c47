//! What a run is doing, for whoever looks on from outside: `live.json` in its folder while it goes
//! on, written anew several times a second and gone when it ends.
//!
//! Whoever reads it asks first whether the run goes on: one that was killed leaves it behind.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use harness::progress::{Lasts, Progress};
use history::file;
use history::store::Run;
use serde::{Deserialize, Serialize};

/// How often it is written.
const EVERY: Duration = Duration::from_millis(500);
/// Bytes of it, of whosever run it is.
const MOST: u64 = 1 << 20;

/// The part of a run that goes on, and what has come of it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    pub phase: String,
    /// How long it has gone on.
    pub elapsed_ms: u64,
    /// How long it is to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_ms: Option<u64>,
    /// How long it may take: it ends when what it waits for has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_ms: Option<u64>,
    /// Operations, by how they ended.
    pub ok: u64,
    pub fail: u64,
    pub info: u64,
    /// Faults in force.
    pub faults: Vec<String>,
    /// The last things that the run had to say.
    pub said: Vec<String>,
}

impl Live {
    fn of(progress: &Progress) -> Live {
        let (now, counts) = (progress.now(), progress.counts());
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let (planned_ms, at_most_ms) = match now.lasts {
            Lasts::Planned(planned) => (Some(ms(planned)), None),
            Lasts::AtMost(most) => (None, Some(ms(most))),
            Lasts::Unknown => (None, None),
        };
        Live {
            elapsed_ms: ms(now.since.elapsed()),
            phase: now.phase,
            planned_ms,
            at_most_ms,
            ok: counts.ok,
            fail: counts.fail,
            info: counts.info,
            faults: now.faults.into_iter().map(|(_, label)| label).collect(),
            said: now.said.into(),
        }
    }

    /// What the run's folder says, and how old that is.
    pub fn load(run: &Run) -> Option<(Live, Duration)> {
        let text = file::read(&path(run), MOST).ok()?;
        let written = std::fs::metadata(path(run)).and_then(|there| there.modified());
        let age = SystemTime::now().duration_since(written.ok()?);
        // A clock that was set back makes nothing older.
        Some((serde_json::from_slice(&text).ok()?, age.unwrap_or_default()))
    }
}

fn path(run: &Run) -> PathBuf {
    run.path().join("live.json")
}

/// Writes it until it is dropped.
pub struct Teller {
    run: Run,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Teller {
    /// Somebody who looks on is no part of a run: where it cannot be written, it is not.
    pub fn start(run: &Run, progress: Arc<Progress>) -> io::Result<Teller> {
        let (stop, stopped) = channel();
        let own = run.clone();
        let thread = thread::Builder::new().name("live".into()).spawn(move || {
            loop {
                let text = serde_json::to_vec(&Live::of(&progress)).expect("numbers and texts");
                let _ = own.write(&path(&own), &text);
                match stopped.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
            }
        })?;
        Ok(Teller {
            run: run.clone(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic, and if it did, there would be nobody to be told.
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(path(&self.run));
    }
}

#[cfg(test)]
mod tests {
    use history::Kind;
    use history::store::Store;

    use super::*;

    #[test]
    fn it_says_what_goes_on_and_is_gone_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = Store::new(folder.path()).create("run").unwrap();
        let progress = Arc::new(Progress::default());
        progress.phase("main phase", Lasts::Planned(Duration::from_secs(60)));
        for kind in [Kind::Invoke, Kind::Ok, Kind::Ok, Kind::Fail, Kind::Info] {
            progress.count(kind);
        }
        progress.fault_on(3, "pause n1");
        (0..20).for_each(|n| progress.remark(format!("remark {n}")));
        let told = progress.take_remarks();
        assert_eq!(told.len(), 20);

        let teller = Teller::start(&run, progress).unwrap();
        let live = loop {
            // Written whole or not at all.
            if let Some((live, _)) = Live::load(&run) {
                break live;
            }
            thread::yield_now();
        };
        assert_eq!((live.planned_ms, live.at_most_ms), (Some(60_000), None));
        assert_eq!((live.ok, live.fail, live.info), (2, 1, 1));
        assert_eq!(
            (live.phase.as_str(), &live.faults[..]),
            ("main phase", &["pause n1".to_string()][..])
        );
        assert_eq!(live.said, told[8..]);
        drop(teller);
        assert!(Live::load(&run).is_none() && !path(&run).exists());
    }
}
