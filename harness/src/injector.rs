//! Carries a schedule out: every fault at its time, every healing at its, each with its receipt in
//! the history.
//!
//! What a schedule has one after the other never overlaps: on a machine that is too slow for its
//! times a fault waits until those that should be over are healed, and is passed over if its own
//! time has gone by then. Faults that overlap in the schedule do not wait for each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use history::fault::{Action, Loss, Note, Receipt};
use history::{Kind, Name, Process, Value};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::nemesis::{FaultError, Planned, World};
use crate::progress::{Progress, Stop, Wish, wished};
use crate::recorder::{Draft, RecordError, Recorder};

/// Runs all of it, beginning at `began`, and returns when everything injected is healed: at `end`
/// of the main phase, or soon after the wish to wind up.
pub async fn run(
    schedule: Vec<Planned>,
    world: Arc<World>,
    began: Instant,
    end: Duration,
    recorder: Recorder,
    progress: Arc<Progress>,
    stop: Stop,
) -> Result<(), RecordError> {
    let mut faults = JoinSet::new();
    let (tasks, over): (Vec<_>, Vec<_>) = schedule.iter().map(|_| watch::channel(())).unzip();
    let times: Vec<_> = schedule.iter().map(|p| (p.at, p.ends())).collect();
    for (planned, task) in schedule.into_iter().zip(tasks) {
        let precedes = |(at, ends): &(Duration, Option<Duration>)| {
            *at < planned.at && ends.is_some_and(|ends| ends <= planned.at)
        };
        let before = times.iter().zip(&over).filter(|(times, _)| precedes(times));
        let before = before.map(|(_, over)| over.clone()).collect();
        let injection = Injection {
            planned,
            before,
            world: world.clone(),
            began,
            end,
            recorder: recorder.clone(),
            progress: progress.clone(),
            stop: stop.clone(),
        };
        faults.spawn(async move {
            let result = injection.run().await;
            drop(task);
            result
        });
    }
    let mut result = Ok(());
    while let Some(joined) = faults.join_next().await {
        result = result.and(joined.expect("a fault's task does not panic"));
    }
    result
}

/// One fault, from before its time until it is healed.
struct Injection {
    planned: Planned,
    /// Those that are to be over before it begins. Nobody says anything there: a sender that is gone
    /// says that its fault is over.
    before: Vec<watch::Receiver<()>>,
    world: Arc<World>,
    began: Instant,
    end: Duration,
    recorder: Recorder,
    progress: Arc<Progress>,
    stop: Stop,
}

impl Injection {
    async fn run(self) -> Result<(), RecordError> {
        let Injection {
            planned,
            mut before,
            world,
            began,
            end,
            recorder,
            progress,
            mut stop,
        } = self;
        let number = planned.number;
        let until = began + planned.ends().unwrap_or(end).min(end);
        let fault = planned.fault;
        if !sleep_until(began + planned.at, &mut stop).await {
            return Ok(());
        }
        let all_over = async {
            for over in &mut before {
                let _ = over.changed().await;
            }
        };
        tokio::select! {
            biased;
            () = wished(&mut stop, Wish::WindUp) => return Ok(()),
            () = all_over => {}
        }
        let mut note = Note {
            fault: number,
            action: Action::Inject,
            label: fault.label(),
            targets: Vec::new(),
            loss: Loss::default(),
            receipt: None,
        };
        let write = |kind, note: &Note, error| {
            let draft = draft(fault.family(), kind, note, error);
            recorder.record(draft, None).map(|_| ())
        };
        write(Kind::Invoke, &note, None)?;
        if !before.is_empty() && Instant::now() >= until {
            let why = "its time was over before the faults before it were healed";
            progress.remark(format!("{}: passed over: {why}", fault.label()));
            return write(Kind::Info, &note, Some(why.into()));
        }
        match fault.inject(number, &world).await {
            Ok(injected) => {
                note.label = injected.label;
                note.targets = injected.targets;
                note.loss = injected.loss;
                note.receipt = Some(injected.receipt);
                progress.fault_on(number, &note.label);
                write(Kind::Ok, &note, None)?;
            }
            Err(e @ FaultError::NoTarget(_)) => {
                progress.remark(format!("{}: passed over: {e}", fault.label()));
                return write(Kind::Info, &note, Some(e.to_string()));
            }
            Err(e) => {
                progress.remark(format!("{}: {e}", fault.label()));
                write(Kind::Fail, &note, Some(e.to_string()))?;
            }
        }
        sleep_until(until, &mut stop).await;
        note.action = Action::Heal;
        note.loss = Loss::default();
        note.receipt = None;
        write(Kind::Invoke, &note, None)?;
        let healed = fault.heal(number, &world).await;
        progress.fault_off(number);
        match healed {
            Ok(receipt) => {
                note.receipt = Some(receipt);
                write(Kind::Ok, &note, None)
            }
            Err(e) => {
                progress.remark(format!("healing {}: {e}", fault.label()));
                write(Kind::Fail, &note, Some(e.to_string()))
            }
        }
    }
}

/// Returns false if the wish to stop came first.
async fn sleep_until(at: Instant, stop: &mut Stop) -> bool {
    tokio::select! {
        biased;
        () = wished(stop, Wish::WindUp) => false,
        () = tokio::time::sleep_until(at.into()) => true,
    }
}

fn draft(family: &str, kind: Kind, note: &Note, error: Option<String>) -> Draft {
    Draft {
        process: Process::Nemesis,
        kind,
        f: Name::from(family),
        value: Value::from_serde(note).expect("a note has only text keys"),
        error,
        node: None,
        version: None,
    }
}

/// Asks every agent to undo whatever is left, and records what they say, as the fault that comes
/// after all others.
pub async fn heal_all(
    number: u64,
    world: &World,
    recorder: &Recorder,
) -> Result<Vec<String>, RecordError> {
    let mut tasks = JoinSet::new();
    for node in &world.nodes {
        let node = node.clone();
        tasks.spawn(async move {
            let healed: Result<agent::protocol::Evidence, _> =
                node.agent.call(agent::protocol::Request::HealAll).await;
            (node.name, healed)
        });
    }
    let mut receipt = Receipt {
        held: true,
        ..Receipt::default()
    };
    let mut errors = Vec::new();
    for (node, healed) in tasks.join_all().await {
        match healed {
            Ok(evidence) => {
                receipt.held &= evidence.held;
                let lines = evidence.evidence.into_iter();
                receipt
                    .evidence
                    .extend(lines.map(|line| format!("{node}: {line}")));
            }
            Err(e) => errors.push(e.to_string()),
        }
    }
    receipt.evidence.sort();
    errors.sort();
    let note = Note {
        fault: number,
        action: Action::Heal,
        label: "everything".into(),
        targets: world.nodes.iter().map(|n| n.name.clone()).collect(),
        loss: Loss::default(),
        receipt: Some(receipt),
    };
    let (kind, error) = match errors.is_empty() {
        true => (Kind::Ok, None),
        false => (Kind::Fail, Some(errors.join("; "))),
    };
    recorder.record(draft("heal", kind, &note, error), None)?;
    Ok(errors)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tokio::sync::Notify;

    use super::*;
    use crate::dummy;
    use crate::nemesis::{Fault, Injected};

    /// What happened, in its order.
    type Log = Arc<Mutex<Vec<String>>>;

    /// Is in force once somebody lets it, and says when it is and when it is not any more.
    struct Slow {
        name: &'static str,
        log: Log,
        let_in: Arc<Notify>,
    }

    fn held() -> Receipt {
        Receipt {
            held: true,
            ..Receipt::default()
        }
    }

    #[async_trait]
    impl Fault for Slow {
        fn family(&self) -> &str {
            "slow"
        }
        fn label(&self) -> String {
            self.name.into()
        }
        async fn inject(&self, _: u64, _: &World) -> Result<Injected, FaultError> {
            self.log
                .lock()
                .unwrap()
                .push(format!("{} begins", self.name));
            self.let_in.notified().await;
            Ok(Injected {
                label: self.label(),
                targets: Vec::new(),
                loss: Loss::default(),
                receipt: held(),
            })
        }
        async fn heal(&self, _: u64, _: &World) -> Result<Receipt, FaultError> {
            self.log
                .lock()
                .unwrap()
                .push(format!("{} is healed", self.name));
            Ok(held())
        }
    }

    #[tokio::test]
    async fn what_follows_in_the_schedule_waits_however_late_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let log = Log::default();
        let doors: Vec<Arc<Notify>> = (0..4).map(|_| Arc::default()).collect();
        // (when, how long) in milliseconds.
        let schedule = [
            ("late", 0, Some(10)),
            ("beside it", 5, Some(3_600_000)),
            ("after it", 10, Some(3_600_000)),
            ("too late", 20, Some(10)),
        ];
        let schedule = (0..)
            .zip(schedule)
            .map(|(number, (name, at, lasts))| Planned {
                number,
                at: Duration::from_millis(at),
                lasts: lasts.map(Duration::from_millis),
                fault: Arc::new(Slow {
                    name,
                    log: log.clone(),
                    let_in: doors[number as usize].clone(),
                }),
            });
        let (wish, stop) = watch::channel(Wish::GoOn);
        let began = Instant::now();
        let running = tokio::spawn(run(
            schedule.collect(),
            Arc::new(dummy::world(1)),
            began,
            Duration::from_secs(7_200),
            recorder.clone(),
            Arc::default(),
            stop,
        ));
        let until = async |wanted: &[&str]| {
            while *log.lock().unwrap() != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // What overlaps in the schedule does so here, and the others' times come and go.
        until(&["late begins", "beside it begins"]).await;
        tokio::time::sleep_until((began + Duration::from_millis(40)).into()).await;
        doors[0].notify_one();
        let healed = [
            "late begins",
            "beside it begins",
            "late is healed",
            "after it begins",
        ];
        until(&healed).await;
        doors[1].notify_one();
        doors[2].notify_one();
        wish.send_replace(Wish::WindUp);
        running.await.unwrap().unwrap();
        recorder.finish().unwrap();

        let history = history::store::load(&path).unwrap().history;
        let spans = history::fault::spans(&history);
        let skipped = spans
            .iter()
            .filter(|s| s.skipped)
            .map(|s| (s.fault, s.error.clone()));
        let why = "its time was over before the faults before it were healed".to_string();
        assert_eq!(skipped.collect::<Vec<_>>(), [(3, Some(why))]);
        assert!(spans.iter().filter(|s| !s.skipped).all(|s| s.healed()));
        assert_eq!(spans.len(), 4);
    }
}
