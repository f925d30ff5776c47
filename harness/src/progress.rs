//! What a run is doing, for whoever shows it. Counters only: showing is not the harness's business.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use history::Kind;
use tokio::sync::watch;

/// Shared by the run, which writes, and a display, which reads now and then.
pub struct Progress {
    ok: AtomicU64,
    fail: AtomicU64,
    info: AtomicU64,
    now: Mutex<Now>,
    stopped_by: OnceLock<(&'static str, Instant)>,
}

/// The part of a run, and what is in force.
#[derive(Clone, Debug)]
pub struct Now {
    pub phase: String,
    pub since: Instant,
    pub lasts: Lasts,
    /// Number and label of each fault in force.
    pub faults: Vec<(u64, String)>,
    /// Things that a person should know, such as a daemon that died by itself, and has not been
    /// told.
    pub remarks: Vec<String>,
    /// The last of them, told or not.
    pub said: VecDeque<String>,
}

/// So many remarks are kept for whoever looks on.
const MOST_SAID: usize = 12;

/// How long a phase takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// That is planned; it may become longer on a late machine.
    Planned(Duration),
    /// It ends when what it waits for has come, and is given up then.
    AtMost(Duration),
    Unknown,
}

/// How operations ended so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub ok: u64,
    pub fail: u64,
    pub info: u64,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            ok: AtomicU64::new(0),
            fail: AtomicU64::new(0),
            info: AtomicU64::new(0),
            now: Mutex::new(Now {
                phase: "starting".into(),
                since: Instant::now(),
                lasts: Lasts::Unknown,
                faults: Vec::new(),
                remarks: Vec::new(),
                said: VecDeque::new(),
            }),
            stopped_by: OnceLock::new(),
        }
    }
}

impl Progress {
    pub fn phase(&self, name: impl Into<String>, lasts: Lasts) {
        let mut now = self.now.lock().expect("no panic while held");
        now.phase = name.into();
        now.since = Instant::now();
        now.lasts = lasts;
    }

    pub fn fault_on(&self, number: u64, label: &str) {
        let mut now = self.now.lock().expect("no panic while held");
        now.faults.push((number, label.to_string()));
    }

    pub fn fault_off(&self, number: u64) {
        let mut now = self.now.lock().expect("no panic while held");
        now.faults.retain(|(n, _)| *n != number);
    }

    pub fn remark(&self, text: impl Into<String>) {
        let mut now = self.now.lock().expect("no panic while held");
        let text = text.into();
        if now.said.len() == MOST_SAID {
            now.said.pop_front();
        }
        now.said.push_back(text.clone());
        now.remarks.push(text);
    }

    /// Remarks made since this was last asked.
    pub fn take_remarks(&self) -> Vec<String> {
        std::mem::take(&mut self.now.lock().expect("no panic while held").remarks)
    }

    /// Who wished first that the run end: the name of a signal.
    pub fn stop_by(&self, signal: &'static str) {
        self.stopped_by.get_or_init(|| (signal, Instant::now()));
    }

    /// The signal, and when it came.
    pub fn stopped_by(&self) -> Option<(&'static str, Instant)> {
        self.stopped_by.get().copied()
    }

    pub fn count(&self, kind: Kind) {
        match kind {
            Kind::Ok => &self.ok,
            Kind::Fail => &self.fail,
            Kind::Info => &self.info,
            Kind::Invoke => return,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        Counts {
            ok: self.ok.load(Ordering::Relaxed),
            fail: self.fail.load(Ordering::Relaxed),
            info: self.info.load(Ordering::Relaxed),
        }
    }

    pub fn now(&self) -> Now {
        self.now.lock().expect("no panic while held").clone()
    }
}

/// A wish to end the run early. Each signal is the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    #[default]
    GoOn,
    /// Offer nothing more, heal, collect, judge what there is.
    WindUp,
    /// Heal nothing and ask nothing more: collect, and judge what there is. The nodes heal
    /// themselves.
    Abandon,
    /// Do not even collect.
    Leave,
}

impl Wish {
    /// What is wished by whoever says it once more.
    pub fn next(self) -> Wish {
        match self {
            Wish::GoOn => Wish::WindUp,
            Wish::WindUp => Wish::Abandon,
            Wish::Abandon | Wish::Leave => Wish::Leave,
        }
    }
}

/// Whoever holds it sees the wish change.
pub type Stop = watch::Receiver<Wish>;

/// What is wished now. The guard of [`watch::Receiver::borrow`] must not outlive an expression:
/// whoever sends the next wish waits for it.
pub fn wish(stop: &Stop) -> Wish {
    *stop.borrow()
}

/// Resolves once the wish is at least this.
pub async fn wished(stop: &mut Stop, at_least: Wish) {
    // An owner that is gone wishes nothing any more.
    if stop.wait_for(|wish| *wish >= at_least).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What comes of `work`; none if the wish is there first.
pub async fn unless<T>(stop: &Stop, at_least: Wish, work: impl Future<Output = T>) -> Option<T> {
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        () = wished(&mut stop, at_least) => None,
        done = work => Some(done),
    }
}
