//! Carries a schedule out: every fault at its time, every healing at its, each with its receipt in
//! the history.
//!
//! ```text
//! schedule   |-- A --|      |---- B ----|   |-- C --|
//! done       ....|-- A --|......|---- B ----|   |-- C --|       A was in force late
//! ```
//!
//! **A late machine makes a late run.** What comes after a fault that is in force late, or healed
//! late, moves back by as much ([`Lateness`]), and the end of the main phase with it. So faults
//! keep their order, their lengths and the gaps between them, and what the schedule has one after
//! the other never overlaps. A fault is passed over only where that has been exhausted: its time
//! was over, moved as far as a run may be moved, before those before it were healed. Faults that
//! overlap in the schedule do not wait for each other. Events say when they were due by the
//! schedule as it was written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use history::fault::{Action, Loss, Note, Receipt};
use history::mark::{Late, Mark};
use history::{Kind, Name, Process, Value};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::at_once::at_once;
use crate::lateness::Lateness;
use crate::nemesis::{FaultError, Planned, World};
use crate::progress::{Progress, Stop, Wish, wished};
use crate::recorder::{Draft, RecordError, Recorder};

/// A fault may be in force so much after its time before anything is moved for it.
const PROMPT: Duration = Duration::from_millis(250);

/// So long an injection or a healing may take, with its receipt, before everything is moved for it.
const RECEIPT: Duration = Duration::from_secs(2);

/// How often what is late moves the rest, while it is.
const STEP: Duration = Duration::from_millis(100);

/// When the main phase is, of which the schedule's times are a part.
#[derive(Clone)]
pub struct MainPhase {
    pub began: Instant,
    /// How long it is to be.
    pub limit: Duration,
    pub lateness: Lateness,
}

/// Runs all of it, and returns when everything injected is healed: at the end of the main phase, or
/// soon after the wish to wind up.
pub async fn run(
    schedule: Vec<Planned>,
    world: Arc<World>,
    phase: MainPhase,
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
            at: planned.at,
            ends: planned.ends().filter(|ends| *ends < phase.limit),
            planned,
            before,
            world: world.clone(),
            phase: phase.clone(),
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

/// One fault, from before its time until it is healed. Times are the schedule's.
struct Injection {
    planned: Planned,
    at: Duration,
    /// None: with the main phase.
    ends: Option<Duration>,
    /// Those that are to be over before it begins. Nobody says anything there: a sender that is
    /// gone says that its fault is over.
    before: Vec<watch::Receiver<()>>,
    world: Arc<World>,
    phase: MainPhase,
    recorder: Recorder,
    progress: Arc<Progress>,
    stop: Stop,
}

/// Now, also where a test lets time pass by itself.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Injection {
    async fn run(mut self) -> Result<(), RecordError> {
        let (fault, number) = (self.planned.fault.clone(), self.planned.number);
        if !self.until_its_turn().await {
            return Ok(());
        }
        // By how much this one is moved: what comes later moves no fault that has begun.
        let mut own = self.moved_for_those_before();
        let mut note = Note {
            fault: number,
            action: Action::Inject,
            label: fault.label(),
            targets: Vec::new(),
            loss: Loss::default(),
            receipt: None,
            in_force_ns: None,
        };
        self.write(Kind::Invoke, &note, None, Some(self.at))?;
        if !self.before.is_empty() && now() >= self.ends_at(own) {
            let why = "its time was over before the faults before it were healed";
            let remark = format!("{}: passed over: {why}", fault.label());
            self.progress.remark(remark);
            return self.write(Kind::Info, &note, Some(why.into()), None);
        }
        let world = self.world.clone();
        let due = self.phase.began + self.at + own;
        // It may have been in force for as long as a receipt takes.
        let moved = |late: Duration| own + late.saturating_sub(RECEIPT);
        match self.hold(due, moved, fault.inject(number, &world)).await {
            Ok(injected) => {
                let in_force = injected.in_force.unwrap_or_else(now);
                let late = in_force.saturating_duration_since(due);
                if late > PROMPT {
                    own += late;
                    self.phase.lateness.raise(own);
                }
                note.label = injected.label;
                note.targets = injected.targets;
                note.loss = injected.loss;
                note.receipt = Some(injected.receipt);
                note.in_force_ns = injected.in_force.map(|at| self.of_history(at));
                self.progress.fault_on(number, &note.label);
                self.write(Kind::Ok, &note, None, None)?;
                note.in_force_ns = None;
            }
            Err(e @ FaultError::NoTarget(_)) => {
                let remark = format!("{}: passed over: {e}", fault.label());
                self.progress.remark(remark);
                return self.write(Kind::Info, &note, Some(e.to_string()), None);
            }
            Err(e) => {
                self.progress.remark(format!("{}: {e}", fault.label()));
                self.write(Kind::Fail, &note, Some(e.to_string()), None)?;
            }
        }
        self.tell_of_lateness()?;
        self.until_its_end(own).await;
        self.heal(note, own).await
    }

    async fn heal(&self, mut note: Note, own: Duration) -> Result<(), RecordError> {
        let (fault, number) = (&self.planned.fault, self.planned.number);
        let ends = self.ends.unwrap_or(self.phase.limit);
        note.action = Action::Heal;
        note.loss = Loss::default();
        note.receipt = None;
        self.write(Kind::Invoke, &note, None, Some(ends))?;
        let healing = fault.heal(number, &self.world);
        // Nothing comes after a fault that ends with the main phase, or after a run that was wound
        // up.
        let moves_others = self.ends.is_some() && *self.stop.borrow() == Wish::GoOn;
        let healed = match moves_others {
            true => {
                let due = self.phase.began + ends + own;
                self.hold(due, |late| own + late, healing).await
            }
            false => healing.await,
        };
        self.progress.fault_off(number);
        match healed {
            Ok(receipt) => {
                note.receipt = Some(receipt);
                self.write(Kind::Ok, &note, None, None)?;
            }
            Err(e) => {
                let remark = format!("healing {}: {e}", fault.label());
                self.progress.remark(remark);
                self.write(Kind::Fail, &note, Some(e.to_string()), None)?;
            }
        }
        self.tell_of_lateness()
    }

    /// Waits for those before it and then for its time. False if the wish to stop came first.
    async fn until_its_turn(&mut self) -> bool {
        let Injection { before, stop, .. } = self;
        let all_over = async {
            for over in before {
                let _ = over.changed().await;
            }
        };
        tokio::select! {
            biased;
            () = wished(stop, Wish::WindUp) => return false,
            () = all_over => {}
        }
        self.sleep_until_moved(self.at).await
    }

    /// Waits until it is to be healed, or for the wish to stop.
    async fn until_its_end(&mut self, own: Duration) {
        match self.ends {
            Some(_) => {
                let at = self.ends_at(own);
                tokio::select! {
                    biased;
                    () = wished(&mut self.stop, Wish::WindUp) => {}
                    () = tokio::time::sleep_until(at.into()) => {}
                }
            }
            None => {
                self.sleep_until_moved(self.phase.limit).await;
            }
        }
    }

    /// When it is to be healed, moved by so much, or as far as anything may be.
    fn ends_at(&self, own: Duration) -> Instant {
        let MainPhase {
            began,
            limit,
            lateness,
        } = &self.phase;
        let ends = self.ends.unwrap_or(*limit) + own;
        *began + ends.min(*limit + lateness.most())
    }

    /// By how much it is moved when its turn has come: those before it may have held it up.
    fn moved_for_those_before(&self) -> Duration {
        let lateness = &self.phase.lateness;
        let by = lateness.by();
        let late = now().saturating_duration_since(self.phase.began + self.at + by);
        if late <= PROMPT || self.before.is_empty() {
            return by;
        }
        lateness.raise(by + late);
        lateness.by()
    }

    /// Waits for a time of the schedule, which may move back while it has not come. False if the
    /// wish to stop came first.
    async fn sleep_until_moved(&mut self, time: Duration) -> bool {
        loop {
            let by = self.phase.lateness.by();
            let at = self.phase.began + time + by;
            tokio::select! {
                biased;
                () = wished(&mut self.stop, Wish::WindUp) => return false,
                () = self.phase.lateness.other_than(by) => {}
                () = tokio::time::sleep_until(at.into()) => return true,
            }
        }
    }

    /// Does what was to be done at `due`. Where that takes longer than a receipt does, everything
    /// that is to come moves back, and does so while it lasts: as `moved` says, of a fault that is
    /// so late.
    async fn hold<T>(
        &self,
        due: Instant,
        moved: impl Fn(Duration) -> Duration,
        work: impl Future<Output = T>,
    ) -> T {
        let look = || {
            let late = now().saturating_duration_since(due);
            if late > RECEIPT {
                self.phase.lateness.raise(moved(late));
            }
        };
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    look();
                    return done;
                }
                () = tokio::time::sleep(STEP) => look(),
            }
        }
    }

    /// Says in the history that the run was moved back, where it has not been said.
    fn tell_of_lateness(&self) -> Result<(), RecordError> {
        let Some(by) = self.phase.lateness.news() else {
            return Ok(());
        };
        let seconds = by.as_secs_f64();
        let remark = format!("this machine is late: what is to come is {seconds:.1} s later");
        self.progress.remark(remark);
        let late = Late {
            fault: self.planned.number,
            by_ns: by.as_nanos() as u64,
        };
        self.recorder.mark(Mark::Late(late)).map(|_| ())
    }

    fn write(
        &self,
        kind: Kind,
        note: &Note,
        error: Option<String>,
        due: Option<Duration>,
    ) -> Result<(), RecordError> {
        let draft = Draft {
            due: due.map(|due| self.phase.began + due),
            ..draft(self.planned.fault.family(), kind, note, error)
        };
        self.recorder.record(draft, None).map(|_| ())
    }

    fn of_history(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.recorder.start());
        since.as_nanos() as u64
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
        due: None,
    }
}

/// Asks every agent to undo whatever is left, and records what they say, as the fault that comes
/// after all others.
pub async fn heal_all(
    number: u64,
    world: &World,
    recorder: &Recorder,
) -> Result<Vec<String>, RecordError> {
    let healed = at_once(world.nodes.iter().cloned().map(|node| async move {
        let healed: Result<agent::protocol::Evidence, _> =
            node.agent.call(agent::protocol::Request::HealAll).await;
        (node.name, healed)
    }));
    let mut receipt = Receipt {
        held: true,
        ..Receipt::default()
    };
    let mut errors = Vec::new();
    for (node, healed) in healed.await {
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
        in_force_ns: None,
    };
    let (kind, error) = match errors.is_empty() {
        true => (Kind::Ok, None),
        false => (Kind::Fail, Some(errors.join("; "))),
    };
    recorder.record(draft("heal", kind, &note, error), None)?;
    Ok(errors)
}

#[cfg(test)]
mod tests;
