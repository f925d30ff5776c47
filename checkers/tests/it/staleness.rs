//! How old what was read was. A column of the drawings is a nanosecond.

use checkers::staleness::Staleness;
use checkers::{Analysis, Budget, Checker, Verdict, drawing};
use serde_json::{Value as Json, json};

fn measured(drawn: &str) -> Analysis {
    Staleness.check(&drawing::history(drawn).unwrap(), &Budget::default())
}

fn figure(found: &Analysis, name: &str) -> Json {
    let figure = found.figures.iter().find(|f| f.name == name);
    figure.map_or(Json::Null, |f| f.value.clone())
}

fn columns(n: f64) -> Json {
    json!({"p99": n / 1e9, "max": n / 1e9})
}

#[test]
fn a_value_is_stale_from_the_return_of_a_later_write() {
    let found = measured(
        // 0        1         2         3         4         5
        // 1234567890123456789012345678901234567890123456789012345
        "P0 |1:write 1|  |1:write 2|        |1:write 3|
         P1                           |1:read 1|",
    );
    assert_eq!(found.verdict, Verdict::Valid);
    assert_eq!(figure(&found, "stale reads"), json!(100.0));
    // Write 2 returned in column 26; the read, whose line is indented by 9, was called in
    // column 38: 12 columns later. Write 3 came after.
    assert_eq!(figure(&found, "staleness"), columns(12.0));
    assert!(found.summary.starts_with("1 of 1 read certainly stale"));
}

#[test]
fn what_may_be_fresh_is_not_called_stale() {
    for drawn in [
        // The writes overlap: either may be last.
        "P0 |1:write 1|\nP1      |1:write 2|\nP2                     |1:read 1|",
        // The read was called before the later write had returned.
        "P0 |1:write 1| |1:write 2|\nP1                       |1:read 1|",
        // Of another key.
        "P0 |1:write 1| |2:write 2|\nP1                           |1:read 1|",
        // Nobody knows when write 1 took effect, or whether write 2 did.
        "P0 |1:write 1?\nP1                |1:write 2| |1:read 1|",
        "P0 |1:write 1|\nP1                |1:write 2? \nP2                               |1:read 1|",
        // A later write did not happen.
        "P0 |1:write 1| |1:write 2!\nP1                           |1:read 1|",
        "P0 |1:read nil|   |1:write 1|",
    ] {
        let found = measured(drawn);
        let stale = figure(&found, "stale reads");
        assert!(stale == json!(0.0) || stale.is_null(), "{drawn}: {stale}");
    }
}

#[test]
fn nil_is_what_was_there_before_all_writes() {
    let found = measured("P0 |1:write 1|\nP1                 |1:read nil|");
    assert_eq!(figure(&found, "staleness"), columns(6.0));
}

#[test]
fn what_cannot_be_judged_is_counted_and_not_measured() {
    let found = measured(
        "P0 |1:write 1| |1:write 1| |1:read 1| |1:read 7| |2:cas 1 2| |2:read 2| |3:read nil|",
    );
    assert_eq!(
        found.summary,
        "0 of 1 read certainly stale; of 3 it cannot be said"
    );
    let nothing = measured("P0 |1:write 1|");
    assert_eq!(nothing.figures, []);
}

#[test]
fn the_smallest_delta_and_k_are_those_of_their_definitions() {
    let counts = crate::subjects::run("staleness", 4_000);
    counts.has_at_least(50, &[Verdict::Valid]);
}

/// No read is surely stale by itself, since the writes overlap.
#[test]
fn reads_that_contradict_each_other_are_stale_together() {
    let found = measured(
        // 0        1         2         3         4         5
        // 123456789012345678901234567890123456789012345678901
        "P0 |1:write 1|      |1:read 1|  |1:read 2|  |1:read 1|
P1 |1:write 2|",
    );
    assert_eq!(figure(&found, "stale reads"), json!(0.0));
    // One of the two was overwritten by the other from the start. The read of 2 was called 19
    // columns after write 1 had returned: called so much earlier, it may come before write 1. For
    // the last read of 1 it would take 32.
    assert_eq!(figure(&found, "staleness")["max"], json!(19.0 / 1e9));
    assert_eq!(figure(&found, "smallest k"), json!(2));
}

/// A node that is cut off answers with one value while others write: as many versions back as were
/// written.
#[test]
fn versions_are_counted_however_many() {
    let writes: String = (2..40).map(|n| format!("|1:write {n}|")).collect();
    let width = writes.len() + 20;
    let drawn = format!("P0 |1:write 1|{writes}\nP1 {}|1:read 1|", " ".repeat(width));
    let found = measured(&drawn);
    assert_eq!(figure(&found, "smallest k"), json!(39));
}
