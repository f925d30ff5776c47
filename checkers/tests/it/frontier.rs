//! Repeated values: the frontier, the search, and both.

use checkers::choice::Model;
use checkers::linearizable::{Engine, Registers};
use checkers::transactions::Scope;
use checkers::{Budget, Checker, Core, Refutation, Verdict, drawing, refute, verify};
use history::{Kind, Process, Time, Value};

use crate::engines::Judge;
use crate::random::{self, Random, Recorder, Shape, seeds};

/// Even and odd seeds: repeated and unique values.
#[test]
fn engines_agree_with_brute_force() {
    let mut judge = Judge::new();
    let (mut valid, mut invalid) = (0, 0);
    for seed in seeds(5_000) {
        match judge.judge(seed, 12) {
            Ok(true) => valid += 1,
            Ok(false) => invalid += 1,
            Err(why) => panic!("seed {seed}: {why}\n{:#?}", judge.ops),
        }
    }
    assert!(
        valid > 300 && invalid > 300,
        "{valid} valid, {invalid} invalid"
    );
}

/// Each of these was the first to show that one of the frontier's conditions is needed, when it was
/// taken out.
#[test]
fn histories_that_need_each_condition() {
    let mut judge = Judge::new();
    for (seed, condition) in [
        (
            194,
            "the current value is written again to hide other writes",
        ),
        (161, "what is given away free is not needed later"),
        (23_469, "nor by a compare-and-set"),
        (7, "what is given away free hides the write that returns"),
        (22, "a value that something open waits for is not dead"),
        (7_924, "of equal writes the one that returns first is used"),
        (
            38_631,
            "who returns at the same moment still needs its value",
        ),
        (161, "less used is not dominated"),
        (98, "nor are fewer lost operations used"),
    ] {
        let judged = judge.judge(seed, 12);
        assert!(judged.is_ok(), "{condition}: seed {seed}: {judged:?}");
    }
}

/// What came between is long, and writes few values, which were lost often: only the count of what
/// was lost once can tell.
#[test]
fn what_was_lost_once_is_not_seen_twice_however_long_ago() {
    let keyed = |value: Value| Value::pair(0, value);
    let shape = Shape {
        ops: 3000,
        processes: 4,
        unique: false,
        cas_percent: 30,
        lost_percent: 4,
        wrong_percent: 0,
        keys: 1,
        versions: false,
    };
    let between = random::history(&mut Random::new(1), shape);
    for (read_before, verdict) in [(Value::Nil, Verdict::Valid), (77.into(), Verdict::Invalid)] {
        let mut recorder = Recorder::default();
        let mut record = |after, process, kind, f: &str, value: Value| {
            recorder.advance(after);
            recorder.record(process, kind, f, value);
        };
        record(1, 1000, Kind::Invoke, "write", keyed(77.into()));
        record(1, 1000, Kind::Info, "write", keyed(77.into()));
        record(1, 1001, Kind::Invoke, "read", keyed(Value::Nil));
        record(1, 1001, Kind::Ok, "read", keyed(read_before));
        record(1, 1001, Kind::Invoke, "write", keyed(Value::Nil));
        record(1, 1001, Kind::Ok, "write", keyed(Value::Nil));
        let mut now = 0;
        for event in between.events() {
            let (Process::Client(process), Time(time)) = (event.process, event.time) else {
                unreachable!("it has clients only");
            };
            record(
                time - now,
                process,
                event.kind,
                &event.f,
                event.value.clone(),
            );
            now = time;
        }
        record(1, 1001, Kind::Invoke, "read", keyed(Value::Nil));
        record(1, 1001, Kind::Ok, "read", keyed(77.into()));
        let history = recorder.history();
        let found = Registers::keyed().check(&history, &Budget::default());
        assert_eq!(found.verdict, verdict, "{found:?}");
        let Some(anomaly) = found.anomalies.first() else {
            continue;
        };
        let last = history.ops().last().expect("it has some").index;
        assert_eq!((anomaly.ops[0], anomaly.ops[1]), (last, 2), "{anomaly:?}");
        assert_eq!(
            anomaly.ops.len(),
            3,
            "one more, of another value, in between: {anomaly:?}"
        );
        let refutation = Refutation {
            model: Model::CasRegister,
            keyed: true,
            initial: Value::Nil,
            scope: Scope::Realtime,
            cores: vec![Core {
                key: Some(0.into()),
                ops: anomaly.ops.clone(),
                stretch: anomaly.stretch,
            }],
        };
        refute(&history, &refutation, &Budget::default()).expect("it is impossible");
    }
}

#[test]
fn engines_agree_on_longer_histories() {
    let (mut valid, mut invalid) = (0, 0);
    for seed in seeds(60) {
        let mut random = Random::new(seed);
        let shape = Shape {
            ops: 60 + random.below(150),
            processes: 2 + random.below(8),
            unique: false,
            cas_percent: *random.pick(&[0, 30]),
            lost_percent: *random.pick(&[0, 0, 2]),
            wrong_percent: *random.pick(&[0, 1, 8]),
            keys: 1,
            versions: false,
        };
        let history = random::history(&mut random, shape);
        let budget = Budget::default();
        let say = || format!("seed {seed}\n{}", random::show(&history));
        let by = |engine| Registers::keyed().with_engine(engine);
        let searched = by(Engine::Search).check(&history, &budget);
        for registers in [by(Engine::Frontier), Registers::keyed()] {
            match registers.certify(&history, &budget) {
                Ok(order) => {
                    assert_eq!(searched.verdict, Verdict::Valid, "{}", say());
                    verify(&history, &order).unwrap_or_else(|e| panic!("{e}\n{}", say()));
                }
                Err(found) => {
                    assert_eq!(found.verdict, searched.verdict, "{}", say());
                    // The shortest prefix without an order ends at the same operation.
                    let last = |found: &checkers::Analysis| found.anomalies[0].ops[0];
                    assert_eq!(last(&found), last(&searched), "{found:?}\n{}", say());
                }
            }
        }
        match searched.verdict {
            Verdict::Valid => valid += 1,
            _ => invalid += 1,
        }
    }
    assert!(
        valid > 10 && invalid > 10,
        "{valid} valid, {invalid} invalid"
    );
}

fn sweep(drawn: &str) -> Verdict {
    let history = drawing::history(drawn).unwrap();
    let frontier = Registers::single().with_engine(Engine::Frontier);
    let budget = Budget::default();
    if let Ok(order) = frontier.certify(&history, &budget) {
        assert_eq!(verify(&history, &order), Ok(()), "{drawn}");
    }
    frontier.check(&history, &budget).verdict
}

/// When `write 2` returns, `write 1` could be given to the open read at no cost; but a read that is
/// called after it has returned needs it still.
#[test]
fn what_costs_nothing_now_may_be_needed_later() {
    let drawn = "
        P0 |------write 1---------------------|
        P1   |-----read 1-------------------------------------|
        P2     |-write 2-|
        P3                |-read 2-|
        P4                                        |-read 1-|
        P5                |-write 2-|
        ";
    assert_eq!(sweep(drawn), Verdict::Valid);
}

/// Writes 1, then 2 where nobody sees it, then 1 again, for the compare-and-set.
#[test]
fn the_same_value_again_hides_other_writes() {
    let drawn = "
        P0 |-write 1-|
        P1              |------write 2--------------------|
        P2                |------write 1-------------|
        P3                   |-cas 1 3-|
        P4                                                   |-read 3-|
        ";
    assert_eq!(sweep(drawn), Verdict::Valid);
}

/// The compare-and-set has to be placed before 1 is left for ever, though it returns much later.
#[test]
fn compare_and_set_does_not_wait_until_its_value_is_gone() {
    let drawn = "
        P0 |-write 1-|
        P1              |------cas 1 2----------------------|
        P2                 |-write 3-|
        P3                             |-read 3-|
        ";
    assert_eq!(sweep(drawn), Verdict::Valid);
    assert_eq!(
        sweep(&format!("{drawn}\nP4{}|-read 2-|", " ".repeat(60))),
        Verdict::Invalid
    );
}

/// The value that the last reader returns with is needed by that reader.
#[test]
fn what_returns_now_still_needs_its_value() {
    let drawn = "
        P0 |--write 4--------------|
        P1   |-write 0-|
        P2      |-cas 4 1-?
        P3         |-----cas 1 0---|
        ";
    assert_eq!(sweep(drawn), Verdict::Valid);
}

/// What is given to an open read in front of `write 1` hides it, so that it has its place.
#[test]
fn a_write_that_is_hidden_by_a_free_one_has_its_place() {
    let drawn = "
        P0    |-write 1-----|
        P1      |-write 2-------|
        P2       |-read 2----------------|
        P3                    |-write 3--|
        ";
    assert_eq!(sweep(drawn), Verdict::Valid);
}

#[test]
fn too_many_open_operations_are_left_to_the_search() {
    let writes = (0..200).map(|i| format!("P{i} {}|---write {}---|\n", " ".repeat(i % 7), i % 3));
    let drawn: String = writes.collect();
    let history = drawing::history(&drawn).unwrap();
    let found = Registers::single().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
    assert!(found.summary.contains("by search"), "{}", found.summary);
    let frontier = Registers::single().with_engine(Engine::Frontier);
    let found = frontier.check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Unknown, "{found:?}");
}

#[test]
fn a_test_without_power_is_called_so() {
    let drawn = "
        P0 |-write 1-?
        P1             |-write 2-| |-read 1-|
        P2                                   |-write 1-| |-read 1-|
        ";
    let history = drawing::history(drawn).unwrap();
    let found = Registers::single().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Valid);
    assert!(
        found.summary.ends_with(
            "; the test has lost its power: each of 2 of the 2 answers can be explained by a write of the \
             same value whose outcome nobody knows"
        ),
        "{}",
        found.summary
    );
}
