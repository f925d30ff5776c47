//! What is drawn of an anomaly is that anomaly, and not another of the same node.

use checkers::picture::Table;

use super::*;

/// Each anomaly's sentence and its picture.
fn tables(found: &Analysis) -> Vec<(&str, &Table)> {
    let mut tables = Vec::new();
    for anomaly in &found.anomalies {
        let Some(Picture::Table(table)) = anomaly.picture.as_deref() else {
            panic!("{anomaly:?}");
        };
        tables.push((anomaly.reason.as_str(), table));
    }
    tables
}

#[test]
fn a_node_that_forgets_twice_has_a_picture_of_each_time() {
    let mut run = sound();
    let mut at = BEGAN_NS + 700 * MS;
    let mut does = |event: &str, ballot: i64| {
        at += MS;
        let (accepted, decided) = (SLOTS as i64, SLOTS as i64);
        run.events(2).push(json!({
            "event": event, "t_ns": at, "node": "n3", "ballot": [ballot, "n1"],
            "accepted_upto": accepted, "decided_upto": decided,
        }));
    };
    does("promise", 20);
    does("start", 2);
    (30..60).for_each(|ballot| does("promise", ballot));
    does("start", 40);
    let found = run.check();
    let kinds: Vec<&str> = found.anomalies.iter().map(|a| a.kind.as_str()).collect();
    assert_eq!(kinds, ["promise forgotten"; 2], "{found:?}");
    for ((reason, table), back) in tables(&found).into_iter().zip([2, 40]) {
        let returns = table.rows.iter().filter(|row| {
            let named =
                reason.ends_with(&format!("at {} knowing only ballot {back} of n1", row.at));
            named && row.cells[0].text.starts_with("starts with")
        });
        assert_eq!(returns.count(), 1, "{reason}: {table:?}");
    }
}

#[test]
fn leases_that_overlap_by_the_cost_of_clocks_alone_are_not_those_in_colour() {
    let mut run = sound();
    let mut holds = |node: usize, from: i64, until: i64| {
        let [from, until] = [from, until].map(|us| BEGAN_NS + us * MS / 1_000);
        run.events(node).push(json!({
            "event": "lease", "t_ns": BEGAN_NS + 700 * MS, "node": NODES[node],
            "ballot": [1, "n1"], "from_ns": from, "until_ns": until,
        }));
    };
    holds(0, 0, 10_000);
    holds(1, 9_300, 20_000);
    holds(0, 100_000, 200_000);
    holds(1, 150_000, 250_000);
    let found = run.check();
    let [(_, table)] = tables(&found)[..] else {
        panic!("{found:?}");
    };
    let shown = |row: &Row| (row.at.clone(), row.cells[0].value.is_some());
    let rows: Vec<_> = table.rows.iter().map(shown).collect();
    let row = |at: &str, coloured| (at.to_string(), coloured);
    assert_eq!(
        rows,
        [
            row("0.000 s", false),
            row("0.009 s", false),
            row("0.100 s", true),
            row("0.150 s", true),
        ]
    );
}
