//! A person's own model: a script that a history, a run and a certificate are held against.

use crate::support::{Place, recorded};

const INVALID: i32 = 1;
const UNKNOWN: i32 = 2;
const USAGE: i32 = 64;

const COUNTER: &str = include_str!("../../../../checkers/examples/models/bounded-counter.rhai");

/// A counter that is read as `read` says.
fn history(read: &str) -> String {
    let mut lines = String::from("{\"schism\":\"history\",\"version\":1}\n");
    for (index, (kind, f, value)) in [
        ("invoke", "add", "2"),
        ("ok", "add", "true"),
        ("invoke", "take", "1"),
        ("ok", "take", "true"),
        ("invoke", "read", "null"),
        ("ok", "read", read),
    ]
    .into_iter()
    .enumerate()
    {
        lines += &format!(
            "{{\"index\":{index},\"time\":{},\"process\":0,\"type\":\"{kind}\",\"f\":\"{f}\",\"value\":{value}}}\n",
            1000 * index
        );
    }
    lines
}

fn place() -> Place {
    let place = Place::new();
    place.file("counter.rhai", COUNTER);
    place.file("good.jsonl", history("1"));
    place.file("bad.jsonl", history("2"));
    place
}

#[test]
fn a_history_is_judged_by_a_script_and_its_order_replayed() {
    let place = place();
    let model = ["--model", "counter.rhai"];
    place
        .schism(
            &[
                &["check", "good.jsonl", "--certificate", "c.json"][..],
                &model,
            ]
            .concat(),
        )
        .exits(0)
        .prints(&[
            "VALID  good.jsonl as counter.rhai",
            "the order of 3 operations and the script are in c.json",
        ]);
    let verify =
        |model: &str, history: &str| place.schism(&["verify", history, "c.json", "--model", model]);
    verify("counter.rhai", "good.jsonl")
        .exits(0)
        .prints(&["VALID", "the order of 3 operations explains every answer"]);
    verify("certificate", "good.jsonl")
        .exits(0)
        .prints(&["counter.rhai, which the certificate carries (26 lines, sha256 "]);
    verify("counter.rhai", "bad.jsonl")
        .exits(UNKNOWN)
        .prints(&["op 4 cannot happen where it is placed"]);
    place.file("other.rhai", COUNTER.replace("{ 3 }", "{ 4 }"));
    verify("other.rhai", "good.jsonl")
        .exits(UNKNOWN)
        .prints(&["it is of another script than other.rhai"]);
    verify("counter", "good.jsonl").exits(USAGE);
}

/// Who writes a certificate chooses its script's name, and what the script throws.
#[test]
fn a_strangers_script_writes_no_line_of_ours() {
    let place = place();
    let evil = serde_json::json!({
        "script": {
            "name": "a\nVALID  good.jsonl",
            "text": "fn init() { 0 } fn step(a, b, c, d) { throw \"\\nVALID  all is well\" }",
        },
        "orders": [{"key": null, "ops": [0, 2, 4]}],
    });
    place.file("evil.json", evil.to_string());
    let ended = place
        .schism(&[
            "verify",
            "good.jsonl",
            "evil.json",
            "--model",
            "certificate",
        ])
        .exits(UNKNOWN);
    let begins = |line: &str| line.trim_start().starts_with("VALID");
    assert!(!ended.stdout.lines().any(begins), "{ended:#?}");
}

#[test]
fn what_is_wrong_is_told_with_the_state_before_it_and_drawn() {
    let place = place();
    place
        .schism(&[
            "check",
            "bad.jsonl",
            "--model",
            "counter.rhai",
            "--report",
            "r.html",
            "--certificate",
            "c.json",
        ])
        .exits(INVALID)
        .prints(&[
            "no order explains them by counter.rhai",
            "the state is 1 of 3, where `read` answered 2 cannot happen",
            "no certificate was written: what is invalid by a script has none",
        ]);
    assert!(!place.path().join("c.json").exists());
    let page = std::fs::read_to_string(place.path().join("r.html")).expect("it was written");
    for word in [
        "One order of what returned before op 4",
        "take 1 answered true",
        "1 of 3",
        "cannot happen",
        "operation of a counter",
    ] {
        assert!(page.contains(word), "{word}");
    }
}

#[test]
fn a_script_that_is_wrong_is_bad_input_and_no_verdict() {
    let place = place();
    let check = |more: &[&str]| place.schism(&[&["check", "good.jsonl"][..], more].concat());
    place.file("wrong.rhai", COUNTER.replace("\"take\"", "\"give\""));
    check(&["--model", "wrong.rhai"]).exits(USAGE).says(&[
        "wrong.rhai:20:14: step: take is no operation of a counter",
        "this was at operation 2 (line 4 of the history), `take 1` answered true, in the state 2",
    ]);
    place.file("torn.rhai", &COUNTER[..300]);
    check(&["--model", "torn.rhai"])
        .exits(USAGE)
        .says(&["torn.rhai:"]);
    check(&["--model", "missing.rhai"])
        .exits(USAGE)
        .says(&["--model missing.rhai: No such file or directory"]);
    check(&["--model", "counter.rhai", "--initial", "3"])
        .exits(USAGE)
        .says(&["--initial is for the models that are built in"]);
    check(&["--model", "certificate"])
        .exits(USAGE)
        .says(&["--model certificate is for `schism verify`"]);
    check(&["--model", "countre"])
        .exits(USAGE)
        .says(&["or a file that ends in .rhai"]);
}

#[test]
fn a_recorded_run_is_judged_by_a_script() {
    let place = place();
    let script = "
        fn key(f, value) { value[0] }
        fn init() { [()] }
        fn step(held, f, value, output) {
            if f == \"write\" { [value[1]] } else if answers(output, [value[0], held[0]]) { held }
        }
        fn reads(f) { f == \"read\" }";
    place.file("register.rhai", script);
    let run = recorded(&place, "20260101T000000-good", "1");
    let before = std::fs::read_dir(&run).expect("a folder").count();
    let model = ["--model", "register.rhai"];
    place
        .schism(&[&["check", "latest"][..], &model].concat())
        .exits(0)
        .prints(&[
            "180 operations on 1 key have an order that explains every answer by register.rhai",
        ]);
    let folder = run.display().to_string();
    place
        .schism(&[&["check", &folder, "--certificate", "c.json"][..], &model].concat())
        .exits(0);
    place
        .schism(&[&["verify", "latest", "c.json"][..], &model].concat())
        .exits(0);
    assert_eq!(std::fs::read_dir(&run).expect("a folder").count(), before);
    recorded(&place, "20260101T000001-bad", "2");
    place
        .schism(&[&["check", "latest"][..], &model].concat())
        .exits(INVALID)
        .prints(&["key 0 is wrong by register.rhai"]);
    place
        .schism(&[&["check", "latest", "-w", "register"][..], &model].concat())
        .exits(USAGE)
        .says(&["--model is for history files"]);
}
