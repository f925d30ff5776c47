//! Queues, stacks, sets, locks and the like, against brute force and against the general search.

use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::{Analysis, Budget, Checker, Verdict, drawing, verify};
use history::{Kind, Value};

use crate::random::{Random, Recorder, show};
use crate::small_objects::{MODELS, Shape, history, initial};
use crate::subjects::objects::verdict;
use crate::subjects::{self, Options};

fn judged(model: Model, drawn: &str) -> Analysis {
    let history = drawing::history(drawn).unwrap();
    let objects = Objects::single(model).with_initial(initial(model));
    objects.check(&history, &Budget::default())
}

fn agrees_with_brute_force(model: Model) {
    agrees_on(model, 2_000, false);
}

fn agrees_on(model: Model, histories: u64, lost_takes: bool) {
    let options = Options {
        most: Some(9),
        lost_takes,
    };
    subjects::run_with(model.name(), &options, histories)
        .has_at_least(histories / 20, &[Verdict::Valid, Verdict::Invalid]);
}

/// Takes without an answer are named where they may have had the value that is missing, and not
/// where they were asked for too late.
#[test]
fn only_takes_that_were_asked_for_in_time_are_an_excuse() {
    let late = "
        P0 |-enqueue 1-| |-enqueue 2-|
        P1                             |-dequeue 2-|
        P2                                          |-dequeue-?";
    let found = judged(Model::Queue, late);
    assert_eq!(found.verdict, Verdict::Invalid, "{found:#?}");
    assert!(
        !found.anomalies[0].reason.contains("unanswered"),
        "{found:#?}"
    );
    let early = "
        P0 |-enqueue 1-| |-enqueue 2-|
        P1                             |-dequeue 2-|
        P2                               |-dequeue-?";
    assert_eq!(judged(Model::Queue, early).verdict, Verdict::Valid);
}

#[test]
fn queues_agree_with_brute_force() {
    agrees_with_brute_force(Model::Queue);
}

#[test]
fn queues_whose_dequeues_are_lost_agree_with_brute_force() {
    agrees_on(Model::Queue, 1_500, true);
}

#[test]
fn stacks_agree_with_brute_force() {
    agrees_with_brute_force(Model::Stack);
}

#[test]
fn priority_queues_agree_with_brute_force() {
    agrees_with_brute_force(Model::PriorityQueue);
}

#[test]
fn sets_agree_with_brute_force() {
    agrees_with_brute_force(Model::Set);
}

#[test]
fn locks_agree_with_brute_force() {
    agrees_with_brute_force(Model::Lock);
}

#[test]
fn semaphores_agree_with_brute_force() {
    agrees_with_brute_force(Model::Semaphore);
}

#[test]
fn counters_agree_with_brute_force() {
    agrees_with_brute_force(Model::Counter);
}

#[test]
fn unique_ids_agree_with_brute_force() {
    agrees_with_brute_force(Model::UniqueIds);
}

/// What is found without search is found of any length; a search could not do these.
#[test]
fn certificates_of_long_histories_hold() {
    for model in MODELS {
        for seed in 0..5 {
            let mut random = Random::new(seed);
            let shape = Shape {
                ops: 60,
                processes: 12,
                plain: true,
                lost_percent: 0,
                lost_takes_percent: 0,
                failed_percent: 5,
                wrong_percent: 0,
                coarse: false,
            };
            let history = history(model, &mut random, shape);
            let objects = Objects::single(model).with_initial(initial(model));
            let order = objects.certify(&history, &Budget::default());
            let order = order.unwrap_or_else(|found| panic!("{found:?}\n{}", show(&history)));
            assert_eq!(verify(&history, &order), Ok(()), "{model:?} {seed}");
        }
    }
}

#[test]
fn findings_have_their_names() {
    let mut wrong = Vec::new();
    for (model, kind, ops, drawn) in [
        (
            Model::Queue,
            "value from nowhere",
            &[0][..],
            "P0  |-dequeue 1-|",
        ),
        (
            Model::Queue,
            "aborted value",
            &[2, 0],
            "P0  |-enqueue 1-!  |-dequeue 1-|",
        ),
        (
            Model::Queue,
            "taken twice",
            &[2, 4],
            "P0  |-enqueue 1-|  |-dequeue 1-| |-dequeue 1-|",
        ),
        (
            Model::Queue,
            "taken too early",
            &[0, 2],
            "P0  |-dequeue 1-|  |-enqueue 1-|",
        ),
        (
            Model::Queue,
            "order inverted",
            &[0, 6, 2, 4],
            "P0  |-enqueue 1-| |-enqueue 2-| |-dequeue 2-| |-dequeue 1-|",
        ),
        (
            Model::Queue,
            "value lost",
            &[0, 2, 4],
            "P0  |-enqueue 1-| |-enqueue 2-| |-dequeue 2-|",
        ),
        (
            Model::Queue,
            "wrongly empty",
            &[3, 0, 5, 1],
            "
            P0  |-enqueue 1-|        |-dequeue nil----------------|
            P1            |-enqueue 2-|   |-dequeue 1-|",
        ),
        (
            Model::Stack,
            "order inverted",
            &[0, 4, 2, 6],
            "P0  |-push 1-| |-push 2-| |-pop 1-| |-pop 2-|",
        ),
        (
            Model::Stack,
            "value lost",
            &[0, 4, 2],
            "P0  |-push 1-| |-push 2-| |-pop 1-|",
        ),
        (
            Model::PriorityQueue,
            "value lost",
            &[0, 2, 4],
            "P0  |-insert 1-| |-insert 2-| |-delete-min 2-|",
        ),
        (
            Model::PriorityQueue,
            "order inverted",
            &[0, 6, 2, 4],
            "P0  |-insert 1-| |-insert 2-| |-delete-min 2-| |-delete-min 1-|",
        ),
        (
            Model::Set,
            "added twice",
            &[2, 0],
            "P0  |-add 1 -> true-| |-add 1 -> true-|",
        ),
        (
            Model::Set,
            "element from nowhere",
            &[0],
            "P0  |-contains 1 -> true-|",
        ),
        (
            Model::Set,
            "lost removal",
            &[2, 0],
            "P0  |-add 1 -> true-| |-contains 1 -> false-|",
        ),
        (
            Model::Set,
            "removed twice",
            &[4, 2],
            "P0  |-add 1 -> true-| |-remove 1 -> true-| |-remove 1 -> true-|",
        ),
        (
            Model::Lock,
            "held twice",
            &[0, 4, 1],
            "
            P0  |-acquire-|                |-release-|
            P1     |-acquire-|",
        ),
        (
            Model::Lock,
            "release without holding",
            &[0],
            "P0  |-release-|",
        ),
        (
            Model::Lock,
            "token not greater",
            &[0, 4],
            "P0  |-acquire 7-| |-release-| |-acquire 7-|",
        ),
        (
            Model::Semaphore,
            "too many holders",
            &[0, 1, 2],
            "
            P0  |-acquire-|
            P1  |-acquire-|
            P2  |-acquire-|",
        ),
        (
            Model::Counter,
            "sum too low",
            &[2],
            "P0  |-add 1-| |-read 0-|",
        ),
        (
            Model::Counter,
            "stale read",
            &[2],
            "P0  |-add 1-| |-read 0-| |-read 1-|",
        ),
        (
            Model::Counter,
            "sum too high",
            &[2],
            "P0  |-add 1-| |-read 2-| |-read 1-|",
        ),
        // One that was taken away twice, it may be.
        (
            Model::Counter,
            "sum too low",
            &[4],
            "P0  |-add 2-| |-add -1-| |-read 0-| |-read 1-|",
        ),
        // Every read lies within its bounds.
        (
            Model::Counter,
            "sum that cannot be",
            &[1],
            "
            P0  |-add 2-| |-add 2-|
            P1    |-read 1-|",
        ),
        (
            Model::Counter,
            "stale read",
            &[1, 3],
            "
            P0  |-add 1---------------------------|
            P1    |-read 1-|  |-read 0-|",
        ),
        (
            Model::UniqueIds,
            "duplicate id",
            &[0, 2],
            "P0  |-generate 3-| |-generate 3-|",
        ),
        (
            Model::Lease,
            "overlapping leases",
            &[0, 2],
            "
            P0  |-acquire [0 3000000]-|
            P1                          |-acquire [1000000 4000000]-|",
        ),
        (
            Model::TotalQueue,
            "value lost",
            &[0],
            "P0  |-enqueue 1-| |-enqueue 2-| |-drain [2]-|",
        ),
        (
            Model::TotalQueue,
            "value from nowhere",
            &[2],
            "P0  |-enqueue 1-| |-drain [1 2]-|",
        ),
    ] {
        let found = judged(model, drawn);
        assert_eq!(found.verdict, Verdict::Invalid, "{kind} {found:?}");
        let first = &found.anomalies[0];
        if (first.kind.as_str(), &first.ops[..]) != (kind, ops) {
            wrong.push(format!("not {kind} {ops:?}, but {first:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_lost_operations_explain_is_valid() {
    for (model, drawn) in [
        (
            Model::Queue,
            "
            P0  |-enqueue 1-| |-enqueue 2-|             |-dequeue 2-|
            P1       |-dequeue nil-?",
        ),
        (
            Model::Queue,
            "
            P0  |-enqueue 1-?
            P1     |-dequeue 1-|",
        ),
        (
            Model::Stack,
            "
            P0  |-push 1-| |-push 2-|            |-pop 1-|
            P1      |-pop nil-?",
        ),
        (
            Model::Lock,
            "
            P0  |-acquire-|  |-release-?
            P1                            |-acquire-|
            P2           |-acquire-?",
        ),
        (
            Model::Lease,
            "
            P0  |-acquire [0 9000000]-| |-release-?
            P1                                    |-acquire [1000000 4000000]-|",
        ),
        (
            Model::Counter,
            "
            P0  |-add 1-?    |-read 1-|
            P1  |-read 0-|",
        ),
    ] {
        let found = judged(model, drawn);
        assert_eq!(found.verdict, Verdict::Valid, "{drawn} {found:?}");
    }
}

#[test]
fn accounts_of_a_queue_that_is_drained() {
    let figure = |found: &Analysis, name: &str| {
        let figure = found.figures.iter().find(|figure| figure.name == name);
        figure.unwrap().value.as_u64().unwrap()
    };
    let found = judged(
        Model::TotalQueue,
        "
        P0  |-enqueue 1-| |-enqueue 2-?     |-drain [1 2 1]-|
        P1                  |-dequeue nil-|",
    );
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
    assert_eq!(figure(&found, "values recovered"), 1);
    assert_eq!(figure(&found, "values duplicated"), 1);
    let found = judged(
        Model::TotalQueue,
        "
        P0  |-enqueue 1-| |-enqueue 1-| |-enqueue 2-|           |-drain [2]-|
        P1                                     |-dequeue nil-?",
    );
    let lost: Vec<_> = found
        .anomalies
        .iter()
        .map(|a| (&a.kind[..], &a.ops[..]))
        .collect();
    assert_eq!(lost, [("value lost", &[2][..])]);
    let keyed = drawing::history("P0  |-7:enqueue 1-!  |-7:dequeue 1-|").unwrap();
    let found = Objects::keyed(Model::TotalQueue).check(&keyed, &Budget::default());
    assert_eq!(found.anomalies[0].kind, "aborted value");
    for (drawn, why) in [
        (
            "P0  |-enqueue 1-| |-enqueue 2-| |-dequeue 2-|",
            "it may be there still",
        ),
        (
            "
            P0  |-enqueue 1-|            |-drain []-|
            P1           |-dequeue nil-?",
            "may have had it",
        ),
    ] {
        let found = judged(Model::TotalQueue, drawn);
        assert_eq!(found.verdict, Verdict::Unknown, "{found:?}");
        assert!(found.summary.contains(why), "{found:?}");
        assert_eq!(figure(&found, "values missing or left"), 1);
    }
}

#[test]
fn the_engine_is_named_with_the_reason_for_it() {
    for (model, drawn, summary) in [
        (
            Model::Queue,
            "P0  |-enqueue 1-| |-enqueue 1-| |-dequeue 1-|",
            "3 operations have an order that explains every answer (by search); 1 is enqueued twice, by op 0 and op 2",
        ),
        (
            Model::Queue,
            "P0  |-enqueue 1-|",
            "1 operation has an order that explains every answer (by spans of values)",
        ),
        (
            Model::Counter,
            "P0  |-add 1-| |-add 2-| |-read 3-|",
            "3 operations have an order that explains every answer (by search); additions of different numbers; every read is within its bounds",
        ),
        (
            Model::Queue,
            "P0  |-enqueue nil-|",
            "1 operation: op 0 puts in nil, which is what a dequeue answers that finds nothing (undecided)",
        ),
    ] {
        assert_eq!(judged(model, drawn).summary, summary);
    }
}

/// What one of several lost takes took need not be searched for where others tell it.
#[test]
fn lost_takes_are_given_to_the_values_that_must_be_out() {
    for (model, drawn) in [
        // 1, and not 2, was in the way of 3, and 2 in that of an empty one.
        (
            Model::Queue,
            "
            P0  |-enqueue 1-| |-enqueue 2-| |-enqueue 3-|           |-dequeue 3-|
            P1          |-dequeue nil-?
            P2                                     |-dequeue nil-?",
        ),
        // 3 must be out when 2 is, and 4 when 1 is: they are put in beside each other.
        (
            Model::Stack,
            "
            P0  |-push 1-| |-push 2-| |-push 3-|               |-pop 2-| |-push 4-|             |-pop 1-|
            P1                                   |-pop nil-?
            P2                                                                       |-pop nil-?",
        ),
        // 4 must be out when 3 is, which is sooner than 2 when 1 is.
        (
            Model::Stack,
            "
            P0  |-push 1-| |-push 2-| |-push 3-| |-push 4-|              |-pop 3-|            |-pop 1-|
            P1                                             |-pop nil-?
            P2                                                                    |-pop nil-?",
        ),
        // 1 was taken before 2 was, and 3 before 4; the first lost one came too early for 3.
        (
            Model::PriorityQueue,
            "
            P0  |-insert 1-| |-insert 2-|              |-delete-min 2-| |-insert 3-| |-insert 4-|              |-delete-min 4-|
            P1                         |-delete-min nil-?
            P2                                                                                |-delete-min nil-?",
        ),
        (
            Model::Set,
            "
            P0  |-contains 1 -> false-| |-contains 1 -> true-|
            P1              |-add 1-?",
        ),
    ] {
        let found = judged(model, drawn);
        let engine = match model {
            Model::Set => "element by element",
            _ => "by spans of values",
        };
        assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
        assert!(found.summary.contains(engine), "{drawn} {found:?}");
    }
}

#[test]
fn additions_of_nothing_are_additions_of_different_numbers() {
    let found = judged(Model::Counter, "P0  |-add 0-| |-add 0-| |-read 0-|");
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
}

#[test]
fn an_answer_that_repeats_the_question_is_no_token() {
    let mut recorder = Recorder::default();
    for f in ["acquire", "release", "acquire"] {
        recorder.record(0, Kind::Invoke, f, Value::Int(5));
        recorder.advance(1);
        recorder.record(0, Kind::Ok, f, Value::Int(5));
        recorder.advance(1);
    }
    let history = recorder.history();
    let say = || show(&history);
    assert_eq!(verdict(Model::Lock, &history, &say), Verdict::Valid);
}

#[test]
fn of_two_additions_the_one_that_returns_first_was_the_first() {
    let found = judged(
        Model::Set,
        "
        P0  |-add 1 -> true-----------------------------------------------------------|
        P1     |-add 1 -> true----------------|
        P2        |-contains 1 -> true-|         |-remove 1 -> true-|",
    );
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
}

#[test]
fn a_process_that_goes_on_after_a_lost_acquisition_may_have_it() {
    let found = judged(Model::Lock, "P0  |-acquire-? |-release-|");
    assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
    assert!(found.summary.contains("its process went on"), "{found:?}");
}

/// Process 1 lets go of it; at the same time 0 and 2 take it and let go of it, 2 with the smaller
/// token.
#[test]
fn sections_without_length_stand_behind_a_release_and_by_their_tokens() {
    let mut recorder = Recorder::default();
    let mut did = |process, f, answer: i64| {
        recorder.record(process, Kind::Invoke, f, Value::Nil);
        recorder.record(process, Kind::Ok, f, Value::Int(answer));
        recorder.advance(u64::from(process == 1 && f == "acquire"));
    };
    did(1, "acquire", 1);
    for (process, token) in [(0, 3), (2, 2)] {
        did(process, "acquire", token);
        did(process, "release", 0);
    }
    did(1, "release", 0);
    let history = recorder.history();
    let say = || show(&history);
    assert_eq!(verdict(Model::Lock, &history, &say), Verdict::Valid);
    let found = Objects::single(Model::Lock).check(&history, &Budget::default());
    assert!(found.summary.contains("by sections"), "{found:?}");
}

#[test]
fn only_what_was_put_in_can_be_an_aborted_value() {
    let mut recorder = Recorder::default();
    recorder.record(0, Kind::Invoke, "dequeue", Value::Int(1));
    recorder.record(0, Kind::Fail, "dequeue", Value::Int(1));
    recorder.record(0, Kind::Invoke, "dequeue", Value::Nil);
    recorder.record(0, Kind::Ok, "dequeue", Value::Int(1));
    let found = Objects::single(Model::Queue).check(&recorder.history(), &Budget::default());
    assert_eq!(found.anomalies[0].kind, "value from nowhere");
}
