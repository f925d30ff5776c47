//! The grow-only set.

use checkers::set::GrowOnlySet;
use checkers::{Budget, Checker, Verdict, drawing};

use crate::subjects;

#[test]
fn agrees_with_brute_force() {
    subjects::run("set-whole", 2_000).has_at_least(200, &[Verdict::Valid, Verdict::Invalid]);
}

#[test]
fn findings_have_their_names() {
    for (kind, drawn) in [
        (
            "lost element",
            "
            P0  |-add 1-| |-add 2-|
            P1                      |-read [2]-|",
        ),
        (
            "stale read",
            "
            P0  |-add 1-|                  |-read [1]-|
            P1            |-read []-|",
        ),
        (
            "future read",
            "
            P0  |-read [1]-|
            P1                |-add 1-|",
        ),
        (
            "order inverted",
            "
            P0  |-add 1-| |-add 2-|
            P1     |---read [2]---------|",
        ),
        (
            "incomparable reads",
            "
            P0  |---add 1--------------|
            P1  |---add 2--------------|
            P2     |-read [1]-|
            P3     |-read [2]-|",
        ),
        (
            "element from nowhere",
            "
            P0  |-add 1-| |-read [1 2]-|",
        ),
        (
            "aborted read",
            "
            P0  |-add 1-! |-read [1]-|",
        ),
        (
            "duplicate element",
            "
            P0  |-add 1-| |-read [1 1]-|",
        ),
    ] {
        let history = drawing::history(drawn).unwrap();
        let found = GrowOnlySet.check(&history, &Budget::default());
        assert_eq!(found.verdict, Verdict::Invalid, "{kind}");
        assert_eq!(found.anomalies[0].kind, kind, "{found:#?}");
    }
}

#[test]
fn a_read_that_is_no_list_hides_no_other() {
    let check = |drawn: &str| {
        let history = drawing::history(drawn).unwrap();
        GrowOnlySet.check(&history, &Budget::default()).verdict
    };
    assert_eq!(check("P0 |-add 1-| |-read 5-|"), Verdict::Unknown);
    assert_eq!(
        check("P0 |-add 1-| |-read 5-| |-read [1 2]-|"),
        Verdict::Invalid
    );
    assert_eq!(
        check("P0 |-add 1-| |-read 5-| |-read [1]-|"),
        Verdict::Unknown
    );
}
