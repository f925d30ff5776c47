//! What decides whether a run is green, whatever its operations say: crashes, recovery, stops, and
//! what was asked and answered in the main phase.

mod clients;
mod crashes;
mod service;

use checkers::completeness::Completeness;
use checkers::crashes::Crashes;
use checkers::recovery::Recovery;
use checkers::role::Role;
use checkers::vacuity::{Service, Vacuity};
use checkers::{Analysis, Budget, Checker, Verdict};
use history::fault::{Action, Loss, Note, Receipt};
use history::mark::{self, Begins, Crash, Mark, Phase, Stopped, Strain};
use history::offered::Offered;
use history::{Event, History, Kind, Name, Process, Time, Value};

const MS: u64 = 1_000_000;

fn role(f: &str, asked: &Value) -> Role {
    let key = asked.as_pair().map_or(Value::Nil, |(key, _)| key.clone());
    match f {
        "read" => Role::reads(key),
        _ => Role::writes(key),
    }
}

/// Events in any order; the history has them by time.
#[derive(Clone, Default)]
struct Tape {
    events: Vec<Event>,
    next_process: u64,
}

impl Tape {
    fn push(&mut self, ms: u64, process: Process, kind: Kind, f: &str, value: Value) -> &mut Event {
        self.events.push(Event {
            index: 0,
            time: Time(ms * MS),
            process,
            kind,
            f: f.into(),
            value,
            error: None,
            node: None,
            version: None,
            due: None,
        });
        self.events.last_mut().unwrap()
    }

    fn mark(&mut self, ms: u64, mark: Mark) {
        let event = self.push(ms, Process::Nemesis, Kind::Info, &mark.f(), mark.value());
        event.node = mark.node().cloned();
    }

    fn phase(&mut self, ms: u64, phase: Phase, limit_ms: Option<u64>) {
        let limit_ns = limit_ms.map(|ms| ms * MS);
        self.mark(ms, Mark::Phase(Begins { phase, limit_ns }));
    }

    /// An operation of its own process, from one time to another.
    fn op(&mut self, from: u64, to: u64, node: &str, f: &str, key: i64, kind: Kind) {
        let value = Value::pair(key, from as i64);
        let process = Process::Client(self.next_process);
        self.next_process += 1;
        self.push(from, process, Kind::Invoke, f, value.clone())
            .node = Some(node.into());
        let end = self.push(to, process, kind, f, value);
        end.node = Some(node.into());
        if kind == Kind::Fail {
            end.error = Some("refused: nobody listens".into());
        }
    }

    fn fault(&mut self, number: u64, family: &str, from: u64, until: u64, loss: Loss, heals: bool) {
        let mut targets = loss.down.clone();
        targets.extend(loss.deaf.iter().map(|(node, _)| node.clone()));
        let note = |action, held| {
            Value::from_serde(&Note {
                fault: number,
                action,
                label: format!("{family} something"),
                targets: targets.clone(),
                loss: loss.clone(),
                receipt: Some(Receipt {
                    held,
                    evidence: vec!["looked".into()],
                    ..Receipt::default()
                }),
                in_force_ns: None,
            })
            .unwrap()
        };
        let (inject, heal) = (note(Action::Inject, true), note(Action::Heal, heals));
        let nemesis = Process::Nemesis;
        self.push(from, nemesis, Kind::Invoke, family, inject.clone());
        self.push(from, nemesis, Kind::Ok, family, inject);
        self.push(until, nemesis, Kind::Invoke, family, heal.clone());
        self.push(until, nemesis, Kind::Ok, family, heal);
    }

    fn history(&self) -> History {
        let mut events = self.events.clone();
        events.sort_by_key(|event| event.time);
        for (index, event) in (0..).zip(&mut events) {
            event.index = index;
        }
        History::new(events).unwrap()
    }
}

fn down(nodes: &[&str]) -> Loss {
    Loss {
        down: nodes.iter().map(|node| Name::from(*node)).collect(),
        deaf: Vec::new(),
    }
}

fn recovery(node: &str, served: bool, after_ms: u64) -> Mark {
    Mark::Recovery(
        node.into(),
        mark::Recovery {
            served,
            after_ns: after_ms * MS,
            allowed_ns: 5_000 * MS,
            why: match served {
                true => String::new(),
                false => "d runs as pid 7, but does not serve".into(),
            },
            log: match served {
                true => Vec::new(),
                false => vec!["waiting for a lock".into()],
            },
            unseen: false,
        },
    )
}

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// Ten seconds of reads and writes at all three nodes, then healing, a write and a read at every
/// node. `kind` says how an operation of the main phase ends that is called at this time at this
/// node.
fn run_where(kind: impl Fn(u64, &str) -> Option<Kind>) -> Tape {
    let mut tape = Tape::default();
    tape.phase(0, Phase::Main, Some(10_000));
    for at in (0..10_000).step_by(50) {
        let (turn, f) = (at / 50, ["read", "write"][(at / 50 % 2) as usize]);
        let node = NODES[(turn % 3) as usize];
        if let Some(kind) = kind(at, node) {
            tape.op(at, at + 20, node, f, (turn % 4) as i64 / 2, kind);
        }
    }
    tape.phase(10_100, Phase::Healing, None);
    for node in NODES {
        tape.mark(10_200, recovery(node, true, 100));
    }
    tape.phase(10_300, Phase::Final, None);
    for node in NODES {
        tape.op(10_400, 10_450, node, "write", 0, Kind::Ok);
        for key in [0, 1] {
            tape.op(10_500, 10_550, node, "read", key, Kind::Ok);
        }
    }
    tape.phase(10_600, Phase::End, None);
    tape
}

fn good() -> Tape {
    run_where(|_, _| Some(Kind::Ok))
}

fn vacuity() -> Vacuity {
    let nodes = NODES.iter().map(|node| Name::from(*node)).collect();
    Vacuity::of_run(Service::of(&role), nodes, false)
}

fn check(checker: &dyn Checker, tape: &Tape) -> Analysis {
    checker.check(&tape.history(), &Budget::default())
}

pub fn all_served_again() -> Analysis {
    recovered(&good())
}

fn recovered(tape: &Tape) -> Analysis {
    let recovery = Recovery {
        roles: Some(&role),
        may_crash: false,
    };
    check(&recovery, tape)
}

fn complete(tape: &Tape) -> Analysis {
    check(&Completeness { roles: Some(&role) }, tape)
}

#[track_caller]
fn is(found: &Analysis, verdict: Verdict, kinds: &[&str], says: &str) {
    assert_eq!(found.verdict, verdict, "{found:#?}");
    let found_kinds: Vec<&str> = found.anomalies.iter().map(|a| a.kind.as_str()).collect();
    assert_eq!(found_kinds, kinds, "{found:#?}");
    let reasons = found.anomalies.iter().map(|a| a.reason.as_str());
    let text: Vec<&str> = std::iter::once(found.summary.as_str())
        .chain(reasons)
        .collect();
    assert!(
        text.join("\n").contains(says),
        "{says:?} is not in {found:#?}"
    );
}

#[test]
fn a_run_in_which_all_went_well_is_valid_and_is_judged() {
    let mut tape = good();
    tape.fault(0, "kill", 2_000, 3_000, down(&["n1"]), true);
    let crashes = Crashes::default();
    for found in [
        check(&crashes, &tape),
        recovered(&tape),
        complete(&tape),
        check(&vacuity(), &tape),
    ] {
        assert_eq!(
            (found.verdict, found.word()),
            (Verdict::Valid, "valid"),
            "{found:#?}"
        );
    }
}

/// Histories of other tools say nothing of all this.
#[test]
fn of_a_history_without_marks_nothing_of_it_is_judged() {
    let mut tape = Tape::default();
    for at in 0..40 {
        tape.op(
            at,
            at,
            "n1",
            ["read", "write"][at as usize % 2],
            0,
            Kind::Ok,
        );
    }
    for found in [
        check(&Crashes::default(), &tape),
        recovered(&tape),
        complete(&tape),
    ] {
        assert_eq!(
            (found.verdict, found.word()),
            (Verdict::Valid, "measured"),
            "{found:#?}"
        );
    }
}

#[test]
fn a_node_that_does_not_serve_again_makes_the_run_invalid() {
    let mut tape = run_where(|at, node| match node {
        "n2" if at > 4_000 => Some(Kind::Fail),
        _ => Some(Kind::Ok),
    });
    tape.fault(7, "kill", 4_000, 5_000, down(&["n2"]), true);
    tape.fault(8, "pause", 6_000, 7_000, down(&["n3"]), true);
    tape.events
        .retain(|event| event.f != "recovery" || event.node.as_deref() != Some("n2"));
    tape.mark(15_200, recovery("n2", false, 5_000));
    let found = recovered(&tape);
    let kinds = ["never served again"];
    is(
        &found,
        Verdict::Invalid,
        &kinds,
        "n2 did not serve again: it had 5.0 s from the last heal",
    );
    is(
        &found,
        Verdict::Invalid,
        &kinds,
        "d runs as pid 7, but does not serve",
    );
    is(
        &found,
        Verdict::Invalid,
        &kinds,
        "its last answer was at 3.97",
    );
    // The one that it was in, and not the last.
    is(
        &found,
        Verdict::Invalid,
        &kinds,
        "the fault before was 7 (kill something), from 4.000 s to 5.000 s",
    );
    is(&found, Verdict::Invalid, &kinds, "| waiting for a lock");
}

/// Whoever wanted a processor all the time and had none, because of other work, shows nothing of
/// its system. One that hangs wants none, and one that spins takes them itself.
#[test]
fn a_node_whose_machine_had_other_work_is_not_known_to_have_failed() {
    let mut silent = good();
    let of_n2 = |event: &Event| event.f == "recovery" && event.node.as_deref() == Some("n2");
    silent.events.retain(|event| !of_n2(event));
    silent.mark(15_200, recovery("n2", false, 5_000));
    let strained = |tape: &Tape, node: &str, others_ms: u64, ran_ms: u64, waited_ms: u64| {
        let mut tape = Tape {
            events: tape.events.clone(),
            ..Tape::default()
        };
        let strain = Strain {
            span_ns: 10_000 * MS,
            processors: 2,
            others_ns: others_ms * MS,
            ran_ns: ran_ms * MS,
            waited_ns: waited_ms * MS,
        };
        tape.mark(16_000, Mark::Strain(node.into(), strain));
        recovered(&tape)
    };
    let starved = strained(&silent, "n2", 15_000, 900, 9_000);
    let says = "n2 did not serve again, and that says nothing of it, for its machine had other work: it had \
                5.0 s from the last heal on: d runs as pid 7, but does not serve; in 10.0 s its daemon ran \
                for 0.9 s and waited for a processor for 9.0 s, while other work had 15.0 s of its machine's \
                2 processors";
    is(&starved, Verdict::Unknown, &[], says);
    for (why, found) in [
        ("it wanted none", strained(&silent, "n2", 15_000, 100, 900)),
        (
            "it had its share",
            strained(&silent, "n2", 15_000, 5_000, 4_900),
        ),
        (
            "others had little",
            strained(&silent, "n2", 9_000, 900, 9_000),
        ),
        (
            "it was another node",
            strained(&silent, "n1", 15_000, 900, 9_000),
        ),
    ] {
        assert_eq!(found.verdict, Verdict::Invalid, "{why}: {found:?}");
    }
    // One of two had no chance, the other had.
    silent
        .events
        .retain(|event| event.node.as_deref() != Some("n3") || event.f != "recovery");
    silent.mark(15_200, recovery("n3", false, 5_000));
    let found = strained(&silent, "n2", 15_000, 900, 9_000);
    is(
        &found,
        Verdict::Invalid,
        &["never served again"],
        "n3 did not serve again",
    );
}

#[test]
fn a_node_that_calls_itself_ready_and_takes_no_write_did_not_come_back() {
    let mut tape = good();
    let fails = |event: &&mut Event| {
        let last = event.time >= Time(10_400 * MS) && event.kind == Kind::Ok;
        last && event.f == "write" && event.node.as_deref() == Some("n3")
    };
    for event in tape.events.iter_mut().filter(fails) {
        event.kind = Kind::Fail;
        event.error = Some("unavailable: no leader".into());
    }
    let found = recovered(&tape);
    let says = "n3 did not serve again: one write was tried there, and was not answered (unavailable: no leader)";
    is(&found, Verdict::Invalid, &["never served again"], says);
    // An error of a page is told by its beginning.
    let mut long = good();
    long.events = tape.events.clone();
    let failed = |event: &&mut Event| event.error.is_some() && event.node.as_deref() == Some("n3");
    for event in long.events.iter_mut().filter(failed) {
        event.error = Some("é".repeat(5_000));
    }
    let begins = format!("was not answered ({}…)", "é".repeat(160));
    is(
        &recovered(&long),
        Verdict::Invalid,
        &["never served again"],
        &begins,
    );
    // Somebody ended the run before the node had had its time.
    let mut stopped = good();
    stopped.events = tape.events.clone();
    stopped.mark(
        10_500,
        Mark::Stopped(Stopped {
            by: "SIGINT".into(),
            phase: Phase::Final,
            after_ns: 10_000 * MS,
            planned: 0,
            abandoned: false,
        }),
    );
    is(&recovered(&stopped), Verdict::Valid, &[], "3 of 3 nodes");
    // An answer is an answer, be it no.
    for event in tape.events.iter_mut().filter(|e| e.error.is_some()) {
        event.error = Some("conflict: there is less in the account".into());
    }
    is(&recovered(&tape), Verdict::Valid, &[], "3 of 3 nodes");
    // What a client's own program did wrong is nothing that the node did, and shows no service.
    for code in ["no-client", "client-failed"] {
        for event in tape.events.iter_mut().filter(|e| e.error.is_some()) {
            event.error = Some(format!("{code}: it has ended"));
        }
        let says = "every client of n3 failed by itself";
        is(&recovered(&tape), Verdict::Unknown, &[], says);
    }
}

#[test]
fn of_a_node_that_the_schedule_lost_for_good_nothing_is_asked() {
    let mut tape = good();
    tape.events
        .retain(|event| event.f != "recovery" || event.node.as_deref() != Some("n1"));
    tape.mark(15_200, recovery("n1", false, 5_000));
    is(
        &recovered(&tape),
        Verdict::Invalid,
        &["never served again"],
        "n1",
    );
    // Never healed: its heal failed.
    tape.fault(0, "kill", 2_000, 3_000, down(&["n1"]), true);
    for event in tape
        .events
        .iter_mut()
        .filter(|e| e.f == "kill" && e.time == Time(3_000 * MS))
    {
        if event.kind == Kind::Ok {
            event.kind = Kind::Fail;
        }
    }
    is(
        &recovered(&tape),
        Verdict::Valid,
        &[],
        "2 of 3 nodes were to serve again",
    );
}

/// The agents of two of three are gone, and their faults with them: the third cannot serve alone.
#[test]
fn of_a_minority_whose_majority_was_lost_nothing_is_asked() {
    let mut tape = good();
    tape.events.retain(|event| event.f != "recovery");
    let not_served = |node, unseen| match recovery(node, false, 5_000) {
        Mark::Recovery(node, seen) => Mark::Recovery(node, mark::Recovery { unseen, ..seen }),
        other => other,
    };
    tape.mark(15_100, not_served("n1", true));
    tape.mark(15_200, not_served("n2", false));
    tape.mark(15_300, recovery("n3", true, 100));
    let says = "n2 did not serve again";
    is(
        &recovered(&tape),
        Verdict::Invalid,
        &["never served again"],
        says,
    );
    tape.events
        .retain(|event| event.f != "recovery" || event.node.as_deref() != Some("n3"));
    tape.mark(15_300, not_served("n3", true));
    let says = "of n1, n3 nothing can be asked any more";
    is(&recovered(&tape), Verdict::Unknown, &[], says);
}

#[test]
fn a_run_that_somebody_stopped_is_unknown_at_best() {
    let stop = |phase, abandoned| {
        Mark::Stopped(Stopped {
            by: "SIGTERM".into(),
            phase,
            after_ns: 5_000 * MS,
            planned: 5,
            abandoned,
        })
    };
    let mut tape = good();
    tape.fault(0, "kill", 2_000, 3_000, down(&["n1"]), true);
    tape.mark(10_050, stop(Phase::Main, false));
    is(
        &complete(&tape),
        Verdict::Unknown,
        &[],
        "stopped after 5.0 of 10 s, 1 of 5 faults begun (SIGTERM)",
    );
    let mut tape = good();
    tape.mark(10_050, stop(Phase::Main, true));
    is(
        &complete(&tape),
        Verdict::Unknown,
        &[],
        "0 of 5 faults begun (SIGTERM); it was left at once",
    );
    let mut tape = good();
    tape.mark(10_450, stop(Phase::Final, false));
    is(
        &complete(&tape),
        Verdict::Unknown,
        &[],
        "stopped during the last operations (SIGTERM)",
    );
}

/// Whoever leaves at once leaves faults to the agents' leases. That is no failure of the harness,
/// and what was asked until then may have been enough.
#[test]
fn faults_in_force_when_a_run_is_left_at_once_are_nobodys_failure() {
    let stop = |abandoned| {
        Mark::Stopped(Stopped {
            by: "SIGINT".into(),
            phase: Phase::Main,
            after_ns: 5_000 * MS,
            planned: 2,
            abandoned,
        })
    };
    let cut = |abandoned| {
        let mut tape = good();
        tape.fault(0, "kill", 2_000, 9_000, down(&["n1"]), true);
        tape.fault(1, "pause", 4_990, 9_000, down(&["n2"]), true);
        tape.events.retain(|e| e.time < Time(5_000 * MS));
        // The second was about to begin.
        tape.events
            .retain(|e| e.f != "pause" || e.kind == Kind::Invoke);
        tape.mark(5_010, stop(abandoned));
        check(&vacuity(), &tape)
    };
    is(&cut(true), Verdict::Valid, &[], "");
    assert_eq!(cut(false).verdict, Verdict::Infra);
}

/// Operations end with the signal, and faults a while later.
#[test]
fn the_time_after_a_signal_is_no_time_in_which_something_had_to_be_tried() {
    let mut tape = run_where(|at, _| (at < 5_000).then_some(Kind::Ok));
    tape.fault(0, "kill", 5_010, 9_000, down(&["n1"]), true);
    assert_eq!(check(&vacuity(), &tape).verdict, Verdict::Vacuous);
    tape.mark(
        9_010,
        Mark::Stopped(Stopped {
            by: "SIGINT".into(),
            phase: Phase::Main,
            after_ns: 5_000 * MS,
            planned: 2,
            abandoned: false,
        }),
    );
    is(&check(&vacuity(), &tape), Verdict::Valid, &[], "");
}

/// The controller was killed: nothing says so but that the end is missing.
#[test]
fn a_run_that_was_cut_short_is_unknown() {
    let mut tape = good();
    tape.events.retain(|event| event.time < Time(5_000 * MS));
    is(
        &complete(&tape),
        Verdict::Unknown,
        &[],
        "the run was cut short: its record ends after 5.0 of 10 s",
    );
}

#[test]
fn what_was_written_and_not_read_at_the_end_is_named() {
    let mut tape = good();
    let last = |event: &Event| event.time >= Time(10_500 * MS) && event.f == "read";
    let of_key = |event: &Event| {
        event
            .value
            .as_pair()
            .is_some_and(|(k, _)| *k == Value::Int(1))
    };
    for event in tape.events.iter_mut().filter(|e| last(e) && of_key(e)) {
        if event.kind == Kind::Ok {
            event.kind = Kind::Fail;
        }
    }
    let found = complete(&tape);
    is(
        &found,
        Verdict::Unknown,
        &["not read at the end"],
        "of 2 objects that were written, 1 was never read",
    );
    assert_eq!(found.anomalies[0].object.as_deref(), Some("1"));
    // One answer at any node suffices.
    tape.op(10_560, 10_570, "n3", "read", 1, Kind::Ok);
    is(&complete(&tape), Verdict::Valid, &[], "all 2 objects");
}
