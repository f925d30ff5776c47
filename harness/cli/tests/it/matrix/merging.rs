//! Shards put together: from files, so that it is known what must come of them.

use serde_json::{Value, json};

use super::{CANARY, GREEN, RED, TOO_FEW, USAGE, cell, ran, results, shard};
use crate::support::Place;

fn valid() -> Value {
    json!("valid")
}

fn canary() -> Value {
    json!({ "invalid": ["stale read"] })
}

#[test]
fn shards_come_to_one_night_and_those_that_are_missing_are_said() {
    let place = Place::new();
    let cells = [cell("a/w/none/1", valid()), cell("a/w/none/2", valid())];
    let all = [ran("a/w/none/1", "valid"), ran("a/w/none/2", "valid")];
    shard(&place, "in/one", (1, 3), &cells, &all);
    let cells = [cell("b/w/none/1", valid())];
    shard(
        &place,
        "in/deep/two",
        (2, 3),
        &cells,
        &[ran("b/w/none/1", "valid")],
    );
    let merge = ["merge", "in", "--output", "out"];
    place.schism(&merge).exits(TOO_FEW).prints(&[
        "3 cells: 3 green",
        "shard 3 of 3 is missing, with all its cells",
    ]);
    let third = [cell("c/w/none/1", valid())];
    shard(
        &place,
        "in/three",
        (3, 3),
        &third,
        &[ran("c/w/none/1", "invalid")],
    );
    place
        .schism(&merge)
        .exits(RED)
        .prints(&["4 cells: 1 red, 3 green", "because of invalid"]);
    let found = results(&place.path().join("out"));
    let reds: Vec<&str> = found
        .iter()
        .filter(|(_, colour, _)| colour == "red")
        .map(|(id, ..)| id.as_str())
        .collect();
    assert_eq!(reds, ["c/w/none/1"]);
    // What was merged before, among what it was made of, changes nothing.
    place
        .schism(&["merge", ".", "--output", "out"])
        .exits(RED)
        .prints(&["4 cells: 1 red, 3 green"]);
    // Known issues of the day on which one looks.
    place.file(
        "known.toml",
        "[[issue]]\nfingerprint = \"0123456789ab\"\nlink = \"x\"\nuntil = \"2999-01-01\"\n",
    );
    let known = [&merge[..], &["--known", "known.toml"]].concat();
    place
        .schism(&known)
        .exits(GREEN)
        .prints(&["4 cells: 1 known, 3 green"]);
    // A second copy of a shard, which has less.
    shard(&place, "in/copy", (2, 3), &cells, &[]);
    place
        .schism(&known)
        .exits(GREEN)
        .prints(&["shard 2 is there twice"]);
}

/// Names and reasons are somebody's: on the night's page they are text, and turn nothing around.
#[test]
fn a_page_of_a_night_shows_names_as_text() {
    let place = Place::new();
    let evil = "<script>alert(1)<\"'&\u{202e}";
    let id = format!("{evil}/w/{evil}/1");
    let mut of_evil = ran(&id, "invalid");
    for part in ["why", "again"] {
        of_evil[part] = json!(evil);
    }
    of_evil["fingerprint"]["shape"] = json!(evil);
    shard(&place, "in/one", (1, 1), &[cell(&id, valid())], &[of_evil]);
    place
        .schism(&["merge", "in", "--output", "out"])
        .exits(RED)
        .prints(&["1 cell"]);
    let page = std::fs::read_to_string(place.path().join("out/index.html")).expect("it is there");
    assert!(
        !page.contains("<script") && !page.contains('\u{202e}'),
        "{page}"
    );
    let text = "&lt;script&gt;alert(1)&lt;&quot;'&amp;\u{fffd}";
    // System, nemesis, the square's tip, the cell, why, the fingerprint and the command.
    assert!(page.matches(text).count() >= 7, "{page}");
}

#[test]
fn shards_of_other_nights_are_refused() {
    let place = Place::new();
    let cells = [cell("a/w/none/1", valid())];
    let one = shard(
        &place,
        "in/one",
        (1, 2),
        &cells,
        &[ran("a/w/none/1", "valid")],
    );
    let other = shard(&place, "in/two", (2, 3), &cells, &[]);
    let merge = ["merge", "in", "--output", "out"];
    place
        .schism(&merge)
        .exits(USAGE)
        .says(&["not of one night", "in 2 shards", "in 3 shards"]);
    let text = std::fs::read_to_string(one.join("runs.jsonl")).expect("it is ours");
    let write = |text: String| std::fs::write(other.join("runs.jsonl"), text).expect("it is ours");
    write(
        text.replace("[1,2]", "[2,2]")
            .replace("00ff00ff00ff00ff", "11ff00ff00ff00ff"),
    );
    place
        .schism(&merge)
        .exits(USAGE)
        .says(&["not of one night", "11ff00ff00ff00ff"]);
    write(text.replace("[1,2]", "[2,2]").replace("\"n1\"", "\"n2\""));
    place
        .schism(&merge)
        .exits(GREEN)
        .prints(&["of different nights: n1 and n2"]);
    write(text.replace("\"version\":1", "\"version\":7"));
    place
        .schism(&merge)
        .exits(USAGE)
        .says(&["two/runs.jsonl:1: a night of version 7"]);
    assert!(!place.path().join("nowhere").exists());
    place
        .schism(&["merge", "nowhere"])
        .exits(USAGE)
        .says(&["nowhere"]);
    std::fs::create_dir(place.path().join("void")).expect("ours");
    place
        .schism(&["merge", "void"])
        .exits(USAGE)
        .says(&["there is no night in void"]);
}

#[test]
fn a_shard_that_was_cut_in_half_is_said_and_its_cells_are_not_green() {
    let place = Place::new();
    let cells = [cell("a/w/none/1", valid()), cell("a/w/none/2", valid())];
    let all = [ran("a/w/none/1", "valid"), ran("a/w/none/2", "valid")];
    let folder = shard(&place, "in", (1, 1), &cells, &all);
    let file = folder.join("runs.jsonl");
    let text = std::fs::read(&file).expect("it is ours");
    std::fs::write(&file, &text[..text.len() - 30]).expect("it is ours");
    place
        .schism(&["merge", "in"])
        .exits(TOO_FEW)
        .prints(&["2 cells: 1 green, 1 left", "line 3 is torn"]);
}

#[test]
fn a_canary_is_judged_over_its_seeds_and_expects_what_was_planted() {
    let place = Place::new();
    let cells = [
        cell("c/w/kill/1", canary()),
        cell("c/w/kill/2", canary()),
        cell("a/w/none/1", valid()),
    ];
    let night = |endings: [&str; 3]| {
        let runs: Vec<Value> = ["c/w/kill/1", "c/w/kill/2", "a/w/none/1"]
            .iter()
            .zip(endings)
            .filter(|(_, ending)| !ending.is_empty())
            .map(|(id, ending)| ran(id, ending))
            .collect();
        shard(&place, "in", (1, 1), &cells, &runs);
        place.schism(&["merge", "in"])
    };
    night(["valid", "invalid", "valid"])
        .exits(GREEN)
        .prints(&["1 missed, 1 found, 1 green"]);
    night(["valid", "valid", "valid"])
        .exits(CANARY)
        .prints(&["2 silent", "canary c/w/kill: nothing was found"]);
    night(["vacuous", "unknown", "valid"])
        .exits(CANARY)
        .prints(&["canary c/w/kill: it has no verdict"]);
    // Worse than a canary that is silent is an anomaly that nobody planted.
    night(["valid", "valid", "invalid"]).exits(RED);
    // What it found is not what was planted.
    let other = [cell("c/w/kill/1", json!({ "invalid": ["lost update"] }))];
    shard(
        &place,
        "in",
        (1, 1),
        &other,
        &[ran("c/w/kill/1", "invalid")],
    );
    place
        .schism(&["merge", "in"])
        .exits(RED)
        .prints(&["expected lost update"]);
}

#[test]
fn what_was_killed_for_memory_counts_neither_way() {
    let place = Place::new();
    let cells: Vec<Value> = (1..=10)
        .map(|n| cell(&format!("a/w/none/{n}"), valid()))
        .collect();
    let runs = |other: &str| -> Vec<Value> {
        let ending = |n: u64| if n > 7 { other } else { "valid" };
        (1..=10)
            .map(|n| ran(&format!("a/w/none/{n}"), ending(n)))
            .collect()
    };
    shard(&place, "in", (1, 1), &cells, &runs("out-of-memory"));
    place
        .schism(&["merge", "in"])
        .exits(GREEN)
        .prints(&["note: 3 cells out of memory"]);
    shard(&place, "in", (1, 1), &cells, &runs("unknown"));
    place
        .schism(&["merge", "in"])
        .exits(TOO_FEW)
        .prints(&["a verdict in 7 of 10 cells, 70 %"]);
}

#[test]
fn figures_are_held_against_nights_before() {
    let place = Place::new();
    let figure = "availability/throughput";
    let cells: Vec<Value> = (1..=8)
        .map(|n| cell(&format!("a/w/none/{n}"), valid()))
        .collect();
    let runs = |base: f64| -> Vec<Value> {
        let one = |n: u64| {
            let mut run = ran(&format!("a/w/none/{n}"), "valid");
            run["figures"] = json!({ figure: base + n as f64 });
            run
        };
        (1..=8).map(one).collect()
    };
    let before = shard(&place, "old/x", (1, 1), &cells, &runs(200.0));
    let path = before.join("runs.jsonl");
    let text = std::fs::read_to_string(&path).expect("it is ours");
    std::fs::write(&path, text.replace("\"n1\"", "\"n0\"")).expect("it is ours");
    shard(&place, "in", (1, 1), &cells, &runs(100.0));
    let merge = ["merge", "in", "--output", "out", "--baseline", "old"];
    place.schism(&merge).exits(GREEN).prints(&[
        "against 1 night before: 1 figure compared by ranks, 1 changed",
        "worse: availability/throughput of a/w/none: median 104.5000 of 8, was 204.5000 of 8",
    ]);
    shard(&place, "in", (1, 1), &cells, &runs(200.5));
    place
        .schism(&merge)
        .exits(GREEN)
        .prints(&["1 figure compared by ranks, 0 changed"]);
    shard(&place, "in", (1, 1), &cells[..1], &runs(100.0)[..1]);
    place
        .schism(&merge)
        .exits(GREEN)
        .prints(&["0 figures compared by ranks, 0 changed; 1 have too few runs"]);
}
