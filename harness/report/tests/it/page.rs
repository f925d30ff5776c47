//! What a page must have, for runs of every kind.

use checkers::{Analysis, Anomaly, Verdict};
use history::fault::{Action, Note, Receipt};
use history::{Event, History, Kind, Process, Time, Value, fault};
use report::{Input, Told, render};
use serde_json::json;

use crate::fabricated;
use crate::wellformed::{Packed, check, unpack};

static NOTHING_TOLD: Told = Told {
    led: Vec::new(),
    tips: Vec::new(),
    log: Vec::new(),
    untold: 0,
    shifted: Vec::new(),
};

/// An input with nothing but a history and what was found.
fn bare<'a>(history: &'a History, analyses: &'a [Analysis], verdict: Verdict) -> Input<'a> {
    Input {
        system: "s",
        workload: "w",
        origin: report::Origin::Run,
        repeated: None,
        command: "",
        spec: &serde_json::Value::Null,
        schedule: None,
        nodes: &[],
        history,
        analyses,
        verdict,
        told: &NOTHING_TOLD,
        warnings: &[],
    }
}

/// Client events: time in ms, process, kind, f, value.
fn client(rows: Vec<(u64, u64, Kind, &str, Value)>) -> History {
    let events = rows
        .into_iter()
        .enumerate()
        .map(|(i, (at, p, kind, f, value))| Event {
            index: i as u64,
            time: Time(at * 1_000_000),
            process: Process::Client(p),
            kind,
            f: f.into(),
            value,
            error: None,
            node: None,
            version: None,
            due: None,
        });
    History::new(events.collect()).unwrap()
}

fn count(page: &str, what: &str) -> usize {
    page.matches(what).count()
}

/// The part of a page from one text to another.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let start = page.find(from).unwrap_or_else(|| panic!("no {from}"));
    &page[start
        ..start
            + page[start..]
                .find(to)
                .unwrap_or_else(|| panic!("no {to} after {from}"))]
}

#[test]
fn a_valid_run_says_what_was_checked_and_under_which_faults() {
    let made = fabricated::run(20, 100, 0);
    assert_eq!(made.verdict, Verdict::Valid);
    let page = render(&made.input());
    check(&page);
    let top = between(&page, "<header", "</header>");
    assert!(top.contains("valid</h1>"), "{top}");
    assert!(
        top.contains("Faults that took hold: partition, pause, clock, kill."),
        "{top}"
    );
    assert!(top.contains("4 of 4 held"));
    assert!(top.contains(&made.analyses[0].summary));
    assert!(top.contains("schism run paxos-kv"));
    assert!(!page.contains("id=\"why\""));
}

/// Nobody may take a planted bug for the system's own, in a tab's title or at the top of the page.
#[test]
fn a_planted_flaw_stands_in_the_title_and_in_the_header() {
    let mut made = fabricated::run(20, 100, 0);
    let planted = "planted flaw: lease-by-wall-clock";
    let places = |page: &str| {
        let title = between(page, "<title>", "</title>").contains("planted");
        (
            title,
            between(page, "<header", "</header>").contains("planted"),
        )
    };
    let page = render(&made.input());
    assert!(
        between(&page, "<title>", "</title>").ends_with(planted),
        "{page}"
    );
    assert!(between(&page, "<header", "</header>").contains(planted));
    made.spec["flaws"] = serde_json::json!(["one", "two"]);
    let page = render(&made.input());
    assert!(between(&page, "<title>", "</title>").ends_with("planted flaws: one and two"));
    made.spec["flaws"] = serde_json::json!([]);
    assert_eq!(places(&render(&made.input())), (false, false));
}

/// Anomalies that are counted and not shown count at the top of the page, and what is shown of them
/// is said.
#[test]
fn anomalies_that_are_not_shown_are_counted() {
    let mut made = fabricated::run(60, 100, 4);
    made.analyses[0].untold = 1_200;
    let all = made.analyses.iter().map(Analysis::found).sum::<usize>();
    let shown = made
        .analyses
        .iter()
        .map(|a| a.anomalies.len())
        .sum::<usize>();
    let page = render(&made.input());
    let why = between(&page, "<section id=\"why\"", "</section>");
    let said = format!(
        "1,{:03} anomalies were found. The first {shown} are shown.",
        all - 1_000
    );
    assert!(why.contains(&said), "{said}: {why}");
    let top = between(&page, "<header", "</header>");
    assert!(
        top.contains(&format!("<dd>1,{:03}<small>", all - 1_000)),
        "{top}"
    );
}

#[test]
fn every_fault_is_a_band_a_bar_and_a_row() {
    let made = fabricated::run(20, 100, 0);
    let faults = fault::spans(&made.history).len();
    assert_eq!(faults, 4);
    let page = render(&made.input());
    let glance = between(&page, "<svg id=\"glance-chart\"", "</svg>");
    assert_eq!(count(glance, "<rect class=\"band "), faults);
    assert_eq!(count(glance, "<g class=\"fault "), faults);
    let table = between(&page, "<section id=\"faults\"", "</section>");
    assert_eq!(count(table, "<tr id=\"fault-"), faults);
    assert!(table.contains("n4 -&gt; n1: no answer in 200 ms (probe)"));
}

#[test]
fn every_operation_of_an_anomaly_is_in_its_timeline_and_its_list() {
    let made = fabricated::run(60, 100, 4);
    let anomalies = &made.analyses[0].anomalies;
    assert!(anomalies.len() >= 2, "the made-up run has stale reads");
    let page = render(&made.input());
    check(&page);
    for (i, anomaly) in anomalies.iter().enumerate() {
        let part = between(&page, &format!("id=\"anomaly-{i}\""), "</details>");
        assert_eq!(part.contains("\" open>"), i == 0);
        for op in &anomaly.ops {
            // In the picture for wide screens, and in that for narrow ones.
            assert_eq!(
                count(part, &format!("data-op=\"{op}\"")),
                2,
                "{op} in {part}"
            );
            // Once in the sentence, as its number, and once in the list.
            assert_eq!(count(part, &format!("data-jump=\"{op}\"")), 2);
        }
        // The value that was read has its arrow, and so has the write that the read missed.
        assert!(part.contains("its value is read"), "{part}");
        assert!(part.contains("before 3 began"), "{part}");
    }
    // What is packed names them too.
    let packed = unpack(&page);
    assert_eq!(packed.operations(), made.history.ops().len());
    let named: Vec<Vec<u64>> = packed.head["anomalies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| serde_json::from_value(a[5].clone()).unwrap())
        .collect();
    let ops: Vec<Vec<u64>> = anomalies.iter().map(|a| a.ops.clone()).collect();
    assert_eq!(named, ops);
}

#[test]
fn an_empty_history_is_a_page() {
    let history = History::default();
    let page = render(&bare(&history, &[], Verdict::Vacuous));
    check(&page);
    assert!(page.contains("No operation was recorded."));
    assert!(page.contains("No fault was injected."));
    assert!(page.contains("vacuous</h1>"));
}

#[test]
fn the_reason_stands_beside_every_verdict() {
    let history = client(vec![(0, 0, Kind::Invoke, "read", Value::Nil)]);
    for verdict in Verdict::ALL {
        let why = format!("because of {verdict}");
        let analysis = Analysis {
            verdict,
            ..Analysis::valid("c", why.as_str())
        };
        let page = render(&bare(&history, &[analysis], verdict));
        check(&page);
        let top = between(&page, "<header", "</header>");
        assert!(top.contains(&format!("{verdict}</h1>")));
        assert!(top.contains(&why), "{top}");
    }
}

#[test]
fn warnings_stand_with_the_verdict() {
    let history = History::default();
    let warnings = ["line 12 was torn: 40 bytes were dropped".to_string()];
    let input = Input {
        warnings: &warnings,
        ..bare(&history, &[], Verdict::Valid)
    };
    let page = render(&input);
    assert!(between(&page, "<header", "</header>").contains(&warnings[0]));
}

#[test]
fn hostile_text_stays_text() {
    let evil = "</script></style></title><b onclick=\"x\">&\0\u{202e}<!--";
    let mut events = Vec::new();
    let mut event = |process, kind, f: &str, value, error: Option<&str>| {
        events.push(Event {
            index: events.len() as u64,
            time: Time(events.len() as u64 * 1_000_000),
            process,
            kind,
            f: f.into(),
            value,
            error: error.map(str::to_string),
            node: match process {
                Process::Nemesis => None,
                Process::Client(_) => Some(evil.into()),
            },
            version: None,
            due: None,
        });
    };
    let note = |action| {
        Value::from_serde(&Note {
            fault: 0,
            action,
            label: evil.to_string(),
            targets: vec![evil.into()],
            loss: Default::default(),
            receipt: Some(Receipt {
                held: true,
                evidence: vec![evil.to_string(); 40],
                ..Receipt::default()
            }),
            in_force_ns: None,
        })
        .unwrap()
    };
    let long = Value::text(evil.repeat(10_000));
    event(
        Process::Nemesis,
        Kind::Invoke,
        evil,
        note(Action::Inject),
        None,
    );
    event(
        Process::Nemesis,
        Kind::Ok,
        evil,
        note(Action::Inject),
        Some(evil),
    );
    event(
        Process::Client(0),
        Kind::Invoke,
        evil,
        Value::pair(evil, long),
        None,
    );
    event(
        Process::Client(1),
        Kind::Invoke,
        "read",
        Value::pair(evil, Value::Nil),
        None,
    );
    event(
        Process::Client(0),
        Kind::Fail,
        evil,
        Value::Nil,
        Some(&evil.repeat(1000)),
    );
    event(
        Process::Client(1),
        Kind::Ok,
        "read",
        Value::pair(evil, Value::text(evil)),
        None,
    );
    let history = History::new(events).unwrap();
    let anomaly = Anomaly {
        kind: evil.to_string(),
        object: Some(evil.to_string()),
        ops: vec![2, 3, 999],
        reason: evil.repeat(1000),
        ..Anomaly::default()
    };
    let analyses = [Analysis::of_anomalies(evil, evil, vec![anomaly])];
    let spec = json!({ evil: [evil], "nested": { evil: { evil: 1 } } });
    let warnings = [evil.to_string()];
    let page = render(&Input {
        system: evil,
        workload: evil,
        origin: report::Origin::Run,
        repeated: None,
        command: evil,
        spec: &spec,
        schedule: Some(evil),
        nodes: &[],
        history: &history,
        analyses: &analyses,
        verdict: Verdict::Invalid,
        told: &NOTHING_TOLD,
        warnings: &warnings,
    });
    check(&page);
    assert!(!page.contains("<b onclick"));
    assert!(!page.contains('\0') && !page.contains('\u{202e}'));
    // The page's own three: two of data, one program.
    assert_eq!(count(&page, "</script>"), 3);
    let packed = unpack(&page);
    assert_eq!(packed.operations(), 2);
    // A text is one line, however long and whatever is in it.
    assert_eq!(packed.values.lines().count(), 2);
    assert!(!packed.values.contains(['\0', '\u{202e}']));
    assert!(packed.values.len() < 500, "{}", packed.values);
    assert!(page.len() < 400_000, "{}", page.len());
}

#[test]
fn an_operation_without_an_answer_is_drawn_open() {
    let key = |v: Value| Value::List(vec![1.into(), v]);
    let history = client(vec![
        (0, 0, Kind::Invoke, "write", key(7.into())),
        (3, 1, Kind::Invoke, "read", key(Value::Nil)),
        (5, 1, Kind::Ok, "read", key(Value::Nil)),
        (9, 0, Kind::Info, "write", Value::Nil),
    ]);
    let anomaly = Anomaly {
        kind: "k".into(),
        object: Some("1".into()),
        ops: vec![0, 1],
        reason: String::new(),
        ..Anomaly::default()
    };
    let analyses = [Analysis::of_anomalies("c", "s", vec![anomaly])];
    let page = render(&bare(&history, &analyses, Verdict::Invalid));
    check(&page);
    assert!(page.contains("<g class=\"named writes open v0\""));
    assert!(page.contains("write 7 ?"));
    assert!(page.contains("read → nil"));
}

#[test]
fn operations_that_the_history_does_not_have_are_counted() {
    let history = client(vec![(0, 0, Kind::Invoke, "read", Value::Nil)]);
    let anomaly = |ops| Anomaly {
        kind: "k".into(),
        object: None,
        ops,
        reason: "r".into(),
        ..Anomaly::default()
    };
    let analyses = [Analysis::of_anomalies(
        "c",
        "s",
        vec![anomaly(vec![0, 77]), anomaly(vec![88, 99])],
    )];
    let page = render(&bare(&history, &analyses, Verdict::Invalid));
    check(&page);
    assert!(page.contains("Of the 2 operations it points at, one is in this history."));
    assert!(page.contains("Of the 2 operations it points at, none is in this history."));
}

#[test]
fn ninety_thousand_operations_are_all_there_in_some_ten_bytes_each() {
    let made = fabricated::run(60, 2_000, 4);
    let ops = made.history.ops();
    assert!(ops.len() > 80_000, "{}", ops.len());
    let page = render(&made.input());
    check(&page);
    let packed = unpack(&page);
    let bytes = packed.bytes as f64 / ops.len() as f64;
    assert!(bytes < 14.0, "{bytes} for each operation");
    assert!(page.len() < 3_000_000, "{}", page.len());
    let last = |name: &str| packed.column(name).iter().sum::<u64>();
    assert_eq!(last("index"), ops[ops.len() - 1].index);
    assert_eq!(last("call"), ops[ops.len() - 1].call.0);
}

/// The columns, by hand.
#[test]
fn operations_are_packed_as_the_script_reads_them() {
    use Kind::{Fail, Invoke, Ok};
    let key = |key: &str, value: Value| Value::pair(key, value);
    let history = client(vec![
        (1, 7, Invoke, "write", key("x", 5.into())),
        (2, 8, Invoke, "read", key("y", Value::Nil)),
        (3, 7, Ok, "write", key("x", 5.into())),
        (4, 7, Invoke, "read", key("x", Value::Nil)),
        (4, 8, Fail, "read", Value::Nil),
        (6, 7, Ok, "read", key("x", 5.into())),
        (7, 7, Invoke, "cas", key("x", Value::pair(5, 6))),
    ]);
    let page = render(&bare(&history, &[], Verdict::Valid));
    let packed = unpack(&page);
    const MS: u64 = 1_000_000;
    for (name, column) in [
        ("index", [0, 1, 2, 3]),
        ("call", [MS, MS, 2 * MS, 3 * MS]),
        // One more than it took, and 0 for what the end of the run cut off.
        ("took", [2 * MS + 1, 2 * MS + 1, 2 * MS + 1, 0]),
        ("process", [1, 2, 1, 1]),
        ("node", [0, 0, 0, 0]),
        ("key", [1, 2, 1, 1]),
        ("error", [0, 0, 0, 0]),
        // write ok, read fail, read ok, cas info.
        ("f", [0, 4, 3, 8]),
        // A new text, nil, nil, another new text.
        ("asked", [1, 0, 0, 1]),
        // What was asked, nothing, the text before the next, nothing.
        ("answered", [1, 0, 3, 0]),
    ] {
        assert_eq!(packed.column(name), column, "{name}");
    }
    assert_eq!(packed.values, "5\n[5 6]");
    let head = &packed.head;
    assert_eq!(head["fs"], json!(["write", "read", "cas"]));
    assert_eq!(head["keys"], json!(["x", "y"]));
    assert_eq!(head["processes"], json!(["7", "8"]));
}

/// Errors with a number in each are no two alike.
#[test]
fn of_very_many_errors_the_code_is_told() {
    let mut events = Vec::new();
    for i in 0..24_000u64 {
        events.push(Event {
            index: i,
            time: Time(i),
            process: Process::Client(0),
            kind: if i.is_multiple_of(2) {
                Kind::Invoke
            } else {
                Kind::Fail
            },
            f: "read".into(),
            value: Value::Nil,
            error: (!i.is_multiple_of(2)).then(|| format!("refused: request {i}")),
            node: None,
            version: None,
            due: None,
        });
    }
    let history = History::new(events).unwrap();
    let page = render(&bare(&history, &[], Verdict::Valid));
    let packed = unpack(&page);
    let errors = packed.head["errors"].as_array().unwrap();
    assert_eq!(errors[9_999], "refused: request 19999");
    assert_eq!(errors[10_000..], [json!("refused")]);
    // Places are one more than they are.
    assert_eq!(packed.column("error")[11_999], 10_001);
}

#[test]
fn many_faults_and_many_anomalies_are_all_packed_and_the_first_are_drawn() {
    let mut events = Vec::new();
    for fault in 0..1_200u64 {
        for (kind, action) in [
            (Kind::Invoke, Action::Inject),
            (Kind::Ok, Action::Inject),
            (Kind::Invoke, Action::Heal),
            (Kind::Ok, Action::Heal),
        ] {
            let note = Note {
                fault,
                action,
                label: format!("n{fault}"),
                targets: vec!["n1".into()],
                loss: Default::default(),
                receipt: None,
                in_force_ns: None,
            };
            events.push(Event {
                index: events.len() as u64,
                time: Time(events.len() as u64 * 1_000_000),
                process: Process::Nemesis,
                kind,
                f: "pause".into(),
                value: Value::from_serde(&note).unwrap(),
                error: None,
                node: None,
                version: None,
                due: None,
            });
        }
    }
    for kind in [Kind::Invoke, Kind::Ok] {
        events.push(Event {
            index: events.len() as u64,
            time: Time(events.len() as u64 * 1_000_000),
            process: Process::Client(0),
            kind,
            f: "read".into(),
            value: Value::Nil,
            error: None,
            node: Some("n1".into()),
            version: None,
            due: None,
        });
    }
    let history = History::new(events).unwrap();
    let anomaly = Anomaly {
        kind: "k".into(),
        object: None,
        ops: vec![4_800],
        reason: "r".into(),
        ..Anomaly::default()
    };
    let analyses = [Analysis::of_anomalies("c", "s", vec![anomaly; 150])];
    let page = render(&bare(&history, &analyses, Verdict::Invalid));
    check(&page);
    assert_eq!(count(&page, "<details class=\"anomaly\""), 100);
    // Four by themselves, and the others behind one line.
    let folded = "<details class=\"alike\"><summary>96 more of this kind: k</summary>";
    let (before, _) = page.split_once(folded).expect("they are folded");
    assert_eq!(count(before, "<details class=\"anomaly\""), 4);
    assert!(
        page.contains("150 anomalies were found. The first 100 are drawn; 50 are listed below.")
    );
    assert!(page.contains("700 more faults are on the timeline of all operations."));
    let Packed { head, .. } = unpack(&page);
    assert_eq!(head["anomalies"].as_array().unwrap().len(), 150);
    assert_eq!(head["faults"].as_array().unwrap().len(), 1_200);
    assert!(page.contains("0 of 1200 held"));
    assert!(page.len() < 2_500_000, "{}", page.len());
}

#[test]
fn what_the_harness_looked_at_is_no_service() {
    use Kind::{Invoke, Ok};
    let kind = |n: u64| if n.is_multiple_of(2) { Invoke } else { Ok };
    let looks = |n: u64| (n, 7, kind(n), "head", Value::Nil);
    let mut rows = vec![(0, 1, Invoke, "read", Value::Nil)];
    rows.extend((0..40).map(looks));
    rows.push((40, 1, Ok, "read", Value::Int(3)));
    let history = client(rows);
    // The second look, and nothing else of them, is worth a row: an anomaly points at it.
    let anomaly = Anomaly {
        kind: "odd head".into(),
        object: None,
        ops: vec![3],
        reason: "it is odd".into(),
        ..Anomaly::default()
    };
    let analyses = [Analysis::of_anomalies("chain", "odd", vec![anomaly])];
    let page = render(&bare(&history, &analyses, Verdict::Invalid));
    check(&page);
    let top = between(&page, "<header", "</header>");
    assert!(top.contains("1 ok, 0 fail, 0 info"), "{top}");
    let packed = unpack(&page);
    assert_eq!(packed.head["fs"], json!(["read", "head"]));
    assert_eq!(packed.column("f"), [0, 3]);
}
