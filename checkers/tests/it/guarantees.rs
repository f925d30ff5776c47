//! What registers give if they are not linearizable.

use checkers::guarantees::{Guarantee, Guarantees};
use checkers::linearizable::Registers;
use checkers::{Analysis, Budget, Checker, Verdict, drawing};

use crate::subjects;

fn check(drawn: &str) -> Analysis {
    let history = drawing::history(drawn).unwrap();
    Guarantees::of(Registers::keyed()).check(&history, &Budget::default())
}

fn names(found: &Analysis, figure: &str) -> String {
    let figure = found.figures.iter().find(|f| f.name == figure).unwrap();
    let names = figure.value.as_array().unwrap().iter();
    names
        .map(|name| name.as_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn every_model_is_what_its_definition_says() {
    let counts = subjects::run("guarantees", 1_500);
    counts.has_at_least(20, &[Verdict::Valid, Verdict::Invalid]);
    assert_eq!(counts.rows().len(), 7);
}

/// The examples of the literature: what each forbids, and nothing else of the four does.
#[test]
#[rustfmt::skip]
fn each_guarantee_is_refuted_by_what_it_is_named_for() {
    for (drawn, model, others_hold) in [
        ("P0 |1:write 1| |1:read nil|", "read-your-writes", true),
        ("P0 |1:write 1|
          P1               |1:read 1| |1:read nil|", "monotonic-reads", true),
        ("P0 |1:write 1| |2:write 2|
          P1                           |2:read 2| |1:read nil|", "monotonic-writes", true),
        ("P0 |1:write 1|
          P1               |1:read 1| |2:write 2|
          P2                                        |2:read 2| |1:read nil|", "writes-follow-reads", true),
    ] {
        let found = check(drawn);
        assert_eq!(found.verdict, Verdict::Invalid, "{drawn}");
        let refuted = names(&found, "models refuted");
        assert!(refuted.split(' ').any(|name| name == model), "{drawn}: {refuted}");
        let four = ["read-your-writes", "monotonic-reads", "monotonic-writes", "writes-follow-reads"];
        let held = names(&found, "models that hold");
        let others = four.iter().filter(|name| **name != model);
        assert_eq!(others.clone().all(|name| held.split(' ').any(|held| held == *name)), others_hold, "{drawn}: {held}");
    }
}

#[test]
fn what_holds_is_told_beside_what_does_not() {
    // Two sessions see two writes in opposite orders: fine for each by itself.
    let store_buffering = "
        P0 |1:write 1| |2:read nil|
        P1 |2:write 2| |1:read nil|";
    let found = check(store_buffering);
    assert_eq!(found.verdict, Verdict::Invalid);
    assert!(
        found
            .summary
            .ends_with("; what holds: per-key-sequential, causal"),
        "{}",
        found.summary
    );
    assert_eq!(names(&found, "models refuted"), "sequential linearizable");
    let fine = check("P0 |1:write 1| |1:read 1|");
    assert_eq!(
        (fine.verdict, names(&fine, "models refuted").as_str()),
        (Verdict::Valid, "")
    );
    assert_eq!(names(&fine, "models that hold").split(' ').count(), 8);
    let stale = check("P0 |1:write 1| |1:write 2|\nP1                              |1:read 1|");
    assert_eq!(names(&stale, "models refuted"), "linearizable");
    assert!(
        stale.summary.ends_with("; what holds: sequential"),
        "{}",
        stale.summary
    );
}

#[test]
fn what_is_not_judged_is_undecided_and_hides_nothing() {
    let swapped = check("P0 |1:write 1| |1:cas 1 2| |1:read 1|");
    assert_eq!(swapped.verdict, Verdict::Invalid);
    assert_eq!(names(&swapped, "models undecided").split(' ').count(), 7);
    let twice = check("P0 |1:write 1| |1:write 1| |2:write 2| |2:read nil|");
    assert_eq!(twice.verdict, Verdict::Invalid);
    assert!(names(&twice, "models refuted").starts_with("read-your-writes"));
    assert!(names(&twice, "models undecided").contains("monotonic-reads"));
}

#[test]
fn a_weaker_model_can_be_asked_for() {
    let history = drawing::history("P0 |1:write 1| |1:read nil|").unwrap();
    let by = |model| {
        let checker = Guarantees::of(Registers::keyed()).by(model);
        checker.check(&history, &Budget::default())
    };
    let (refuted, held) = (by(Guarantee::Causal), by(Guarantee::MonotonicReads));
    assert_eq!(
        (refuted.verdict, refuted.checker.as_str()),
        (Verdict::Invalid, "causal")
    );
    assert_eq!(refuted.anomalies[0].kind, "causal violation");
    assert_eq!(refuted.anomalies[0].ops, [0, 2]);
    assert_eq!(held.verdict, Verdict::Valid, "{}", held.summary);
}
