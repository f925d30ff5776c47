//! Queues, stacks, sets, locks and the like, against brute force and against the general search.

use checkers::choice::Model;
use checkers::objects::Objects;
use checkers::{Budget, Checker, Verdict, verify};
use history::{History, Op, Outcome};

use super::Counts;
use crate::random::{Random, show};
use crate::small_objects::{Shape, explained, explained_of, history, initial};

/// The verdict of both engines, whose certificates are replayed.
pub fn verdict(model: Model, history: &History, say: &dyn Fn() -> String) -> Verdict {
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

/// The operations of each anomaly, with lost ones beside them, have no order. Where none is lost,
/// and values are told apart, one value less would have. Not so of counters: their anomalies name
/// reads, and tell how many additions there were.
fn core_is_impossible(model: Model, history: &History, say: &dyn Fn() -> String) {
    let objects = Objects::single(model).with_initial(initial(model));
    let found = objects.check(history, &Budget::default());
    for anomaly in &found.anomalies {
        // It names a read, and tells of sums.
        if anomaly.reason.contains("the sum was at least") {
            continue;
        }
        let lost = |op: &Op| op.outcome == Outcome::Info;
        let core = |op: &Op| lost(op) || anomaly.ops.contains(&op.index);
        let by_search = anomaly.kind == "not linearizable";
        let cut_short = anomaly.reason.contains("the budget ended");
        assert!(by_search || !cut_short, "{anomaly:?}\n{}", say());
        assert!(
            !explained_of(model, history, &core),
            "{anomaly:?}\n{}",
            say()
        );
        if !found.summary.contains("by spans") || history.ops().iter().any(lost) {
            continue;
        }
        let content = |op: &Op| match op.input.is_nil() {
            true => op.output.clone(),
            false => op.input.clone(),
        };
        let ops = history.ops().iter();
        for value in ops
            .filter(|op| anomaly.ops.contains(&op.index))
            .map(content)
        {
            // What covers an empty pop can be out of order itself.
            if model == Model::Stack && value.is_nil() {
                continue;
            }
            let fewer = |op: &Op| core(op) && content(op) != value;
            assert!(
                explained_of(model, history, &fewer),
                "{anomaly:?} {value}\n{}",
                say()
            );
        }
    }
}

/// Judges the history of a seed, of up to so many operations, by both engines, replays the orders
/// that explain it, and panics where brute force says something else.
pub fn judge(model: Model, seed: u64, most: u64, lost_takes: bool, counts: &mut Counts) {
    let mut random = Random::new(seed);
    let shape = Shape::random(&mut random, most);
    let shape = if lost_takes {
        shape.losing_takes()
    } else {
        shape
    };
    let history = history(model, &mut random, shape);
    let say = || format!("{shape:?}\n{}", show(&history));
    let verdict = verdict(model, &history, &say);
    counts.add(model.name(), verdict);
    if verdict == Verdict::Vacuous {
        return;
    }
    let expected = match explained(model, &history) {
        true => Verdict::Valid,
        false => Verdict::Invalid,
    };
    assert_eq!(verdict, expected, "{}", say());
    if expected == Verdict::Invalid && model != Model::Counter {
        core_is_impossible(model, &history, &say);
    }
}
