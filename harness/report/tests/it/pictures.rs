//! Each kind of anomaly has its picture: drawn from a history that a checker found wrong.

use checkers::choice::Choice;
use checkers::picture::{Block, Cell, Picture, Row, Table};
use checkers::{Analysis, Anomaly, Budget, Verdict, compose, drawing};
use history::History;
use report::{Input, Origin, render};
use serde_json::Value as Json;

use crate::wellformed::check;

fn page_of(history: &History, analyses: &[Analysis]) -> String {
    let page = render(&Input {
        system: "history.txt",
        workload: "as it is",
        origin: Origin::File,
        repeated: None,
        command: "schism check history.txt",
        spec: &serde_json::Value::Null,
        schedule: None,
        nodes: &[],
        history,
        analyses,
        verdict: compose::overall(analyses),
        told: &report::Told::default(),
        warnings: &[],
    });
    check(&page);
    page
}

/// Judges a drawing as what it seems to be, and shows the page of what was found.
fn found(drawn: &str) -> String {
    let history = drawing::history(drawn).unwrap();
    let choice = Choice::of(&history).unwrap();
    let analyses = compose::check_all(&[choice.checker(&history)], &history, &Budget::default());
    assert_eq!(analyses[0].verdict, Verdict::Invalid, "{analyses:?}");
    page_of(&history, &analyses)
}

/// The first picture of a class, and how often each of these is in it.
fn counts<const N: usize>(page: &str, class: &str, parts: [&str; N]) -> [usize; N] {
    let from = page.find(&format!("class=\"{class}\""));
    let from = from.unwrap_or_else(|| panic!("no {class} in {page}"));
    let svg = page[from..].split("</svg>").next().unwrap_or_default();
    parts.map(|part| svg.matches(part).count())
}

#[test]
fn transactions_in_a_circle() {
    let page = found(
        "
        P0  |--txn [[r 1 nil] [w 2 7]]--|
        P1   |--txn [[r 2 nil] [w 1 8]]--|
        P2                                 |--txn [[r 1 8] [r 2 7]]--|
        ",
    );
    let parts = [
        "class=\"operation\"",
        "class=\"edge\"",
        ">rw<",
        "r 1 nil, w 2 7",
    ];
    assert_eq!(counts(&page, "cycle", parts)[..3], [2, 2, 2]);
    assert!(page.contains("the second overwrote what the first read"));
}

#[test]
fn an_element_that_is_gone_and_comes_back() {
    let page = found(
        "
        P0  |-add 1-|  |-add 2-|
        P1                       |-read [1 2]-| |-read [1]-| |-read [1]-| |-read [1 2]-|
        ",
    );
    let parts = ["class=\"change\"", "class=\"seen\"", "class=\"missing\""];
    assert_eq!(counts(&page, "lives", parts), [1, 2, 2]);
    assert!(page.contains("element 2"));
}

#[test]
fn a_value_that_is_taken_twice() {
    let page = found(
        "
        P0  |-enqueue 1-|
        P1                |-dequeue 1-|
        P2                              |-dequeue 1-|
        ",
    );
    let parts = ["class=\"there\"", "class=\"change\""];
    assert_eq!(counts(&page, "lives", parts), [1, 3]);
}

#[test]
fn two_who_hold_a_lock() {
    let page = found(
        "
        P0  |-acquire-|                 |-release-|
        P1              |-acquire-|                  |-release-|
        ",
    );
    assert_eq!(counts(&page, "lives", ["class=\"there\"", "process"])[0], 2);
    assert!(page.contains("Bars that overlap"));
}

fn with_picture(picture: Picture) -> String {
    let anomaly = Anomaly {
        kind: "two values in one slot".into(),
        picture: Some(Box::new(picture)),
        ..Anomaly::default()
    };
    let analysis = Analysis::of_anomalies("agreement", "", vec![anomaly]);
    page_of(&History::default(), &[analysis])
}

#[test]
fn nodes_that_differ_have_different_colours() {
    let cell = |column, text: &str, value| Cell {
        column,
        text: text.into(),
        value,
    };
    let table = Table {
        of: "slot <7>".into(),
        columns: vec!["n1".into(), "n2".into()],
        rows: vec![
            Row {
                at: "1.0 s".into(),
                cells: vec![cell(1, "decides: b", Some(1))],
            },
            Row {
                at: "log at the end".into(),
                cells: vec![cell(0, "a", Some(0)), cell(1, "b", Some(1))],
            },
        ],
        untold: 3,
    };
    let page = with_picture(Picture::Table(table));
    assert!(page.contains("slot &lt;7&gt;"));
    assert_eq!(page.matches("class=\"value v1\"").count(), 2);
    assert_eq!(page.matches("class=\"value v0\"").count(), 1);
    assert!(page.contains("3 other moments left out"));
}

#[test]
fn branches_stand_below_each_other() {
    let block = |parent, name: &str, blocks, note: &str| Block {
        parent,
        name: name.into(),
        height: 4,
        blocks,
        notes: vec![note.to_string()],
    };
    let page = with_picture(Picture::Tree {
        blocks: vec![
            block(None, "fork", 1, ""),
            block(Some(0), "left", 1, "head of n1"),
            block(Some(0), "", 12, ""),
            block(Some(2), "right", 1, "head of n2"),
        ],
    });
    let parts = [
        "class=\"block\"",
        "class=\"block several\"",
        "12 blocks",
        "class=\"edge\"",
    ];
    assert_eq!(counts(&page, "tree", parts), [3, 1, 1, 3]);
}

#[test]
fn a_history_as_a_trace() {
    let drawn = "
        P0  |--write 1--|   |-read 1-|
        P1     |--write 2--?";
    let history = drawing::history(drawn).unwrap();
    let mut out = Vec::new();
    report::perfetto::write(&mut out, &history, &[]).unwrap();
    let trace: Json = serde_json::from_slice(&out).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let ops: Vec<&Json> = events.iter().filter(|event| event["ph"] == "X").collect();
    let shown: Vec<_> = ops
        .iter()
        .map(|op| {
            (
                op["name"].as_str().unwrap(),
                op["args"]["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [("write 1", "ok"), ("write 2", "info"), ("read nil", "ok")]
    );
    // Microseconds; what was never answered lasts to the end.
    let drawn = history.ops();
    let ends = |i: usize| ops[i]["ts"].as_f64().unwrap() + ops[i]["dur"].as_f64().unwrap();
    assert_eq!(ends(0), drawn[0].ret.0 as f64 / 1000.0);
    assert_eq!(ends(1), history.end().0 as f64 / 1000.0);
}

#[test]
fn how_far_there_is_an_order() {
    let page = found(
        "
        P0 |-enqueue 1-| |-enqueue <b>-| |-dequeue <b>-|
        P1                                   |-enqueue 3----|",
    );
    let from = page.find("<div class=\"prefix\">").expect("a picture");
    let part = page[from..].split("</div>").next().unwrap_or_default();
    for words in [
        "The first 2 of 4 operations that returned have an order. One is this; after it the object holds [1 ",
        "<ol class=\"order\"><li><a href=\"#op-0\"",
        "enqueue 1</a><span>[1]</span></li>",
        "cannot come next: dequeue answered &quot;&lt;b&gt;&quot;, not 1</li>",
        "enqueue 3</a> could come next, and leads no further</li>",
    ] {
        assert!(part.contains(words), "{words}: {part}");
    }
    // What is in it stays there to be seen.
    assert!(page.contains("class=\"lives\""));
}
