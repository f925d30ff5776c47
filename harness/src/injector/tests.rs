use std::sync::Mutex;

use async_trait::async_trait;
use history::History;
use history::fault::{Span, spans};

use super::*;
use crate::dummy;
use crate::nemesis::{Fault, Injected};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A fault on a machine whose times are known: when it is in force after it was asked for, when its
/// receipt comes after that, and when it is healed after that was asked for.
#[derive(Clone, Copy)]
struct Machine {
    in_force: Duration,
    receipt: Duration,
    healed: Duration,
}

const PROMPT_ONE: Machine = Machine {
    in_force: Duration::from_millis(50),
    receipt: Duration::from_millis(800),
    healed: Duration::from_millis(600),
};

/// Who was in force, from when to when, in milliseconds.
type Log = Arc<Mutex<Vec<(u64, u64, u64)>>>;

struct Slow {
    machine: Machine,
    began: Instant,
    from: Mutex<Option<Instant>>,
    log: Log,
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
        "slow".into()
    }
    async fn inject(&self, _: u64, _: &World) -> Result<Injected, FaultError> {
        tokio::time::sleep(self.machine.in_force).await;
        let at = now();
        *self.from.lock().unwrap() = Some(at);
        tokio::time::sleep(self.machine.receipt).await;
        Ok(Injected {
            label: self.label(),
            targets: Vec::new(),
            loss: Loss::default(),
            receipt: held(),
            in_force: Some(at),
        })
    }
    async fn heal(&self, number: u64, _: &World) -> Result<Receipt, FaultError> {
        tokio::time::sleep(self.machine.healed).await;
        let from = self.from.lock().unwrap().expect("it was injected");
        let ms = |at: Instant| at.duration_since(self.began).as_millis() as u64;
        self.log.lock().unwrap().push((number, ms(from), ms(now())));
        Ok(held())
    }
}

struct Done {
    /// By number.
    in_force: Vec<(u64, u64, u64)>,
    moved: Duration,
    /// When it was over.
    over: Duration,
    history: History,
}

/// Carries a schedule out: when, until when, and by what machine, in seconds of a main phase of so
/// many. Time passes by itself.
async fn carried_out(limit: u64, schedule: &[(u64, u64, Machine)]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    let (log, began) = (Log::default(), now());
    let schedule = (0..)
        .zip(schedule)
        .map(|(number, (at, ends, machine))| Planned {
            number,
            at: s(*at),
            lasts: Some(s(ends - at)),
            fault: Arc::new(Slow {
                machine: *machine,
                began,
                from: Mutex::default(),
                log: log.clone(),
            }),
        });
    let (_wish, stop) = watch::channel(Wish::GoOn);
    let lateness = Lateness::of(s(limit));
    let phase = MainPhase {
        began,
        limit: s(limit),
        lateness: lateness.clone(),
    };
    let world = Arc::new(dummy::world(1));
    let faults = schedule.collect();
    run(faults, world, phase, recorder.clone(), Arc::default(), stop)
        .await
        .unwrap();
    let over = now().duration_since(began);
    recorder.finish().unwrap();
    let mut in_force = log.lock().unwrap().clone();
    in_force.sort();
    Done {
        in_force,
        moved: lateness.by(),
        over,
        history: history::store::load(&path).unwrap().history,
    }
}

/// Within what the machine and its timers need: numbers are from and until, in milliseconds.
fn is_about(found: &[(u64, u64, u64)], wanted: &[(u64, u64, u64)]) {
    let near = |a: u64, b: u64| a.abs_diff(b) <= 120;
    let same = found.len() == wanted.len()
        && found.iter().zip(wanted).all(|(found, wanted)| {
            found.0 == wanted.0 && near(found.1, wanted.1) && near(found.2, wanted.2)
        });
    assert!(same, "{found:?} and not {wanted:?}");
}

fn late_events(history: &History) -> usize {
    let said = history::mark::marks(history);
    said.iter()
        .filter(|placed| matches!(placed.mark, Mark::Late(_)))
        .count()
}

#[tokio::test(start_paused = true)]
async fn on_a_machine_with_time_enough_faults_are_at_their_times() {
    let schedule = [(1, 4, PROMPT_ONE), (5, 9, PROMPT_ONE), (6, 8, PROMPT_ONE)];
    let done = carried_out(10, &schedule).await;
    is_about(
        &done.in_force,
        &[(0, 1050, 4600), (1, 5050, 9600), (2, 6050, 8600)],
    );
    assert_eq!(done.moved, Duration::ZERO);
    assert_eq!(late_events(&done.history), 0);
    // The history has the agent's word and the receipt's, and the times of the schedule.
    for span in spans(&done.history) {
        assert!(span.in_force.unwrap() <= span.held_from.unwrap());
        assert!(span.due.is_some() && span.heal_due > span.due);
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_late_heal_moves_back_with_its_lengths_and_gaps() {
    let late = Machine {
        healed: s(10),
        ..PROMPT_ONE
    };
    // The first is healed at 15 s instead of 5 s. The third overlaps the second.
    let schedule = [
        (0, 5, late),
        (7, 10, PROMPT_ONE),
        (8, 9, PROMPT_ONE),
        (13, 15, PROMPT_ONE),
    ];
    let done = carried_out(16, &schedule).await;
    let wanted = [
        (0, 50, 15_000),
        (1, 17_050, 20_600),
        (2, 18_050, 19_600),
        (3, 23_050, 25_600),
    ];
    is_about(&done.in_force, &wanted);
    assert!(
        done.moved.abs_diff(s(10)) < Duration::from_millis(120),
        "{:?}",
        done.moved
    );
    assert_eq!(late_events(&done.history), 1);
    // What the schedule said stays in the history.
    let due = |span: &Span| span.heal_due.unwrap().since(span.due.unwrap());
    let lengths: Vec<Duration> = spans(&done.history).iter().map(due).collect();
    let near = |(a, b): (&Duration, u64)| a.abs_diff(s(b)) < Duration::from_millis(50);
    assert!(lengths.iter().zip([5, 3, 1, 2]).all(near), "{lengths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_is_in_force_late_lasts_as_long_as_it_was_to() {
    let late = Machine {
        in_force: s(4),
        ..PROMPT_ONE
    };
    let done = carried_out(16, &[(1, 4, late), (6, 8, PROMPT_ONE)]).await;
    is_about(&done.in_force, &[(0, 5_000, 8_600), (1, 10_050, 12_600)]);
}

/// A receipt that comes after the fault's time keeps it in force; the next one still has its gap.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_late_receipt_is_not_overlapped() {
    let late = Machine {
        receipt: s(20),
        ..PROMPT_ONE
    };
    let done = carried_out(30, &[(0, 3, late), (4, 6, PROMPT_ONE)]).await;
    let [first, second] = done.in_force[..] else {
        panic!("{:?}", done.in_force);
    };
    assert!(second.1 >= first.2 + 1_000 - 120, "{:?}", done.in_force);
    assert!(second.2 - second.1 >= 2_000);
}

/// The bound: 30 s for a short run. The third could only begin after that and its own time.
#[tokio::test(start_paused = true)]
async fn beyond_the_bound_a_fault_is_passed_over() {
    let stuck = Machine {
        healed: s(50),
        ..PROMPT_ONE
    };
    let done = carried_out(16, &[(0, 5, stuck), (7, 9, PROMPT_ONE)]).await;
    assert_eq!(done.moved, s(30));
    is_about(&done.in_force, &[(0, 50, 55_000)]);
    let passed_over: Vec<u64> = spans(&done.history)
        .iter()
        .filter(|span| span.skipped)
        .map(|span| span.fault)
        .collect();
    assert_eq!(passed_over, [1]);
    assert!(done.over < s(60));
}

/// Two that follow each other with hardly a gap, on a machine that is late by less than a receipt
/// takes.
#[tokio::test(start_paused = true)]
async fn a_short_fault_right_after_another_is_not_lost() {
    let slowish = Machine {
        healed: Duration::from_millis(1_900),
        ..PROMPT_ONE
    };
    let done = carried_out(10, &[(0, 3, slowish), (3, 4, PROMPT_ONE)]).await;
    is_about(&done.in_force, &[(0, 50, 4_900), (1, 4_950, 6_500)]);
}
