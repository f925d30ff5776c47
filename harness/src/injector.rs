//! Carries a schedule out: every fault at its time, every healing at its, each with its receipt in
//! the history.

use std::sync::Arc;
use std::time::{Duration, Instant};

use history::fault::{Action, Loss, Note, Receipt};
use history::{Kind, Name, Process, Value};
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
    for planned in schedule {
        let (world, recorder, progress, stop) = (
            world.clone(),
            recorder.clone(),
            progress.clone(),
            stop.clone(),
        );
        faults.spawn(one(planned, world, began, end, recorder, progress, stop));
    }
    let mut result = Ok(());
    while let Some(joined) = faults.join_next().await {
        result = result.and(joined.expect("a fault's task does not panic"));
    }
    result
}

async fn one(
    planned: Planned,
    world: Arc<World>,
    began: Instant,
    end: Duration,
    recorder: Recorder,
    progress: Arc<Progress>,
    mut stop: Stop,
) -> Result<(), RecordError> {
    let number = planned.number;
    let fault = planned.fault;
    if !sleep_until(began + planned.at, &mut stop).await {
        return Ok(());
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
    let until = planned.lasts.map_or(end, |lasts| planned.at + lasts);
    sleep_until(began + until.min(end), &mut stop).await;
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
        evidence: Vec::new(),
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
