//! The bank.

use checkers::bank::Bank;
use checkers::picture::{Cell, Picture};
use checkers::{Budget, Checker, Verdict, drawing};
use history::{Kind, Value};

use crate::random::Recorder;
use crate::subjects;

#[test]
fn agrees_with_its_definition_and_never_accuses_a_linearizable_history() {
    subjects::run("bank", 2_000).has_at_least(200, &[Verdict::Valid, Verdict::Invalid]);
}

#[test]
fn findings_have_their_names() {
    let first = "P9  |-read [[a 10] [b 10]]-|";
    let wide = " ".repeat(first.len());
    for (kind, rest) in [
        (
            "negative balance",
            "|-transfer [a b 5]-| |-read [[a -1] [b 21]]-|",
        ),
        (
            "total changed",
            "|-transfer [a b 5]-| |-read [[a 10] [b 15]]-|",
        ),
        ("accounts changed", "|-transfer [a b 5]-| |-read [[a 20]]-|"),
        // Twice, or not at all.
        (
            "unexplained balance",
            "|-transfer [a b 5]-| |-read [[a 0] [b 20]]-|",
        ),
        (
            "unexplained balance",
            "|-transfer [a b 5]-| |-read [[a 10] [b 10]]-|",
        ),
    ] {
        let drawn = format!("\n{first}\nP0{}{rest}\n", &wide[2..]);
        let history = drawing::history(&drawn).unwrap_or_else(|e| panic!("{e}\n{drawn}"));
        let found = Bank.check(&history, &Budget::default());
        assert_eq!(found.verdict, Verdict::Invalid, "{kind}");
        assert_eq!(found.anomalies[0].kind, kind, "{found:#?}");
    }
}

#[test]
fn balances_that_cannot_be_are_shown_beside_the_first() {
    let history = drawing::history(
        "
        P9  |-read [[a 10] [b 10]]-|
        P0                           |-transfer [a b 5]-| |-read [[a 10] [b 15]]-|",
    );
    let found = Bank.check(&history.unwrap(), &Budget::default());
    let anomaly = &found.anomalies[0];
    assert_eq!(anomaly.kind, "total changed");
    let Some(Picture::Table(table)) = anomaly.picture.as_deref() else {
        panic!("{found:#?}");
    };
    assert_eq!(table.columns, ["account \"a\"", "account \"b\"", "all"]);
    let shown: Vec<Vec<&str>> = table
        .rows
        .iter()
        .map(|row| row.cells.iter().map(|cell| cell.text.as_str()).collect())
        .collect();
    assert_eq!(shown, [["10", "10", "20"], ["10", "15", "25"]]);
    let wrong = |cell: &&Cell| cell.value.is_some();
    let wrong: Vec<&str> = table
        .rows
        .iter()
        .flat_map(|row| row.cells.iter().filter(wrong))
        .map(|cell| cell.text.as_str())
        .collect();
    assert_eq!(wrong, ["25"]);
}

#[test]
fn what_is_unknown_may_have_happened_at_any_time() {
    let history = drawing::history(
        "
        P9  |-read [[a 10] [b 10]]-|
        P0                           |-transfer [a b 5]-?
        P1                                                |-read [[a 10] [b 10]]-| |-read [[a 5] [b 15]]-|
        P2                                                |-transfer [b a 1]-| |-read [[a 6] [b 14]]-|",
    );
    let found = Bank.check(&history.unwrap(), &Budget::default());
    // The first of P1's reads is before everything, the last cannot have missed the transfer of P2.
    assert_eq!(found.verdict, Verdict::Invalid, "{found:#?}");
    assert_eq!(found.anomalies.len(), 1);
}

#[test]
fn without_a_first_read_only_totals_are_judged() {
    let history = drawing::history(
        "
        P0  |-transfer [a b 5]-|
        P1     |-read [[a 1] [b 9]]-| |-read [[a 9] [b 1]]-|",
    );
    let found = Bank.check(&history.unwrap(), &Budget::default());
    assert_eq!(found.verdict, Verdict::Valid, "{found:#?}");
    assert!(
        found.summary.contains("balances are not judged"),
        "{}",
        found.summary
    );
    for (before, after) in [(9, 8), (8, 9)] {
        let drawn = format!(
            "P0  |-transfer [a b 5]-|
             P1     |-read [[a 1] [b {before}]]-| |-read [[a 1] [b {after}]]-|"
        );
        let found = Bank.check(&drawing::history(&drawn).unwrap(), &Budget::default());
        assert_eq!(found.verdict, Verdict::Invalid, "{found:#?}");
        assert_eq!(found.anomalies[0].kind, "total changed");
    }
}

#[test]
fn many_choices_end_in_a_bound_and_not_in_a_search_without_end() {
    let mut recorder = Recorder::default();
    let read = |recorder: &mut Recorder, balances: Value| {
        recorder.record(0, Kind::Invoke, "read", Value::Nil);
        recorder.advance(1);
        recorder.record(0, Kind::Ok, "read", balances);
        recorder.advance(1);
    };
    let balances = |a: i64, b: i64| Value::List(vec![Value::pair("a", a), Value::pair("b", b)]);
    read(&mut recorder, balances(1_000, 1_000));
    let one = |from: &str, to: &str, n: i64| Value::List(vec![from.into(), to.into(), n.into()]);
    recorder.record(1, Kind::Invoke, "transfer", one("a", "b", 2));
    recorder.record(1, Kind::Ok, "transfer", one("a", "b", 2));
    // Even amounts only, both ways: no choice makes an odd difference, and there are 2^60 of them.
    for n in 0..60 {
        let value = match n % 2 {
            0 => one("a", "b", 2 + 2 * n),
            _ => one("b", "a", 2 + 2 * n),
        };
        recorder.record(10 + n as u64, Kind::Invoke, "transfer", value.clone());
        recorder.record(10 + n as u64, Kind::Info, "transfer", value);
    }
    recorder.advance(1);
    read(&mut recorder, balances(995, 1_005));
    let found = Bank.check(&recorder.history(), &Budget::default());
    assert_eq!(found.verdict, Verdict::Valid, "{found:#?}");
    assert!(
        found.summary.contains("1 read is only bounded"),
        "{}",
        found.summary
    );
}

#[test]
fn what_cannot_be_read_hides_no_other_balance() {
    let check = |drawn: &str| {
        let history = drawing::history(drawn).unwrap();
        Bank.check(&history, &Budget::default()).verdict
    };
    let fine = "P0 |-read [[a 10] [b 0]]-| |-transfer [a b 1]-| |-read [[a 9] [b 1]]-|";
    let wrong = "P0 |-read [[a 10] [b 0]]-| |-transfer [a b 1]-| |-read [[a 9] [b 2]]-|";
    for odd in ["\nP1 |-read 5-|", "\nP1 |-transfer 5-|"] {
        assert_eq!(check(&format!("{fine}{odd}")), Verdict::Unknown);
        assert_eq!(check(&format!("{wrong}{odd}")), Verdict::Invalid);
    }
}
