//! Queues, stacks, sets, locks and the like, against brute force and against the general search.

use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::{Analysis, Budget, Checker, Verdict, drawing, verify};
use history::History;

use crate::random::{Random, seeds, show};
use crate::small_objects::{MODELS, Shape, explained, history, initial};

fn judged(model: Model, drawn: &str) -> Analysis {
    let history = drawing::history(drawn).unwrap();
    let objects = Objects::single(model).with_initial(initial(model));
    objects.check(&history, &Budget::default())
}

/// The verdict of both engines, whose certificates are replayed.
fn verdict(model: Model, history: &History, say: &dyn Fn() -> String) -> Verdict {
    let objects = Objects::single(model).with_initial(initial(model));
    let budget = Budget::default();
    let found = objects.check(history, &budget);
    let searched = objects.clone().by_search().check(history, &budget);
    assert_eq!(
        found.verdict,
        searched.verdict,
        "{found:?}\n{searched:?}\n{}",
        say()
    );
    if found.verdict == Verdict::Valid {
        for objects in [objects.clone(), objects.by_search()] {
            let order = objects.certify(history, &budget).expect("it is valid");
            verify(history, &order).unwrap_or_else(|e| panic!("{e}: {order:?}\n{}", say()));
        }
    }
    found.verdict
}

fn agrees_with_brute_force(model: Model) {
    let (mut valid, mut invalid) = (0, 0);
    for seed in seeds(2_000) {
        let mut random = Random::new(seed);
        let shape = Shape::random(&mut random, 9);
        let history = history(model, &mut random, shape);
        let say = || format!("seed {seed}, {shape:?}\n{}", show(&history));
        let expected = match explained(model, &history) {
            true => Verdict::Valid,
            false => Verdict::Invalid,
        };
        match verdict(model, &history, &say) {
            Verdict::Vacuous => continue,
            verdict => assert_eq!(verdict, expected, "{}", say()),
        }
        match expected {
            Verdict::Valid => valid += 1,
            _ => invalid += 1,
        }
    }
    assert!(
        valid > 200 && invalid > 200,
        "{valid} valid, {invalid} invalid"
    );
}

#[test]
fn queues_agree_with_brute_force() {
    agrees_with_brute_force(Model::Queue);
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
                failed_percent: 5,
                wrong_percent: 0,
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
            "out of bounds",
            &[2],
            "P0  |-add 1-| |-read 0-|",
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
    for (drawn, why) in [
        (
            "P0  |-enqueue 1-| |-enqueue 2-| |-dequeue 2-|",
            "they may be there still",
        ),
        (
            "
            P0  |-enqueue 1-|            |-drain []-|
            P1           |-dequeue nil-?",
            "may have had them",
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
            "3 operations have an order that explains every answer (by search: 1 is enqueued twice, by op 0 and op 2)",
        ),
        (
            Model::Queue,
            "P0  |-enqueue 1-|",
            "1 operations have an order that explains every answer (by spans of values)",
        ),
        (
            Model::Counter,
            "P0  |-add 1-| |-add 2-| |-read 3-|",
            "3 operations have an order that explains every answer (by search: additions of different numbers; every read is within its bounds)",
        ),
        (
            Model::Queue,
            "P0  |-enqueue nil-|",
            "1 operations: op 0 puts in nil, which is what a dequeue answers that finds nothing (undecided)",
        ),
    ] {
        assert_eq!(judged(model, drawn).summary, summary);
    }
}
