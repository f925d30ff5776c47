//! `schism serve`: what a store shows in a browser, and what nobody can do through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};

use rustix::process::Signal;
use serde_json::Value as Json;

use crate::browser::{Browser, DESK};
use crate::support::{Place, eventually, recorded};
use crate::survival::{in_mid_run, signal};

/// A viewer that ends with the test.
pub struct Viewer {
    child: Child,
    at: String,
}

impl Viewer {
    pub fn of(place: &Place) -> Viewer {
        let args = ["serve", "--listen", "127.0.0.1:0"];
        let mut command = place.command(&args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("it is piped");
        BufReader::new(out).read_line(&mut line).unwrap();
        let at = line.trim().strip_prefix("http://").unwrap();
        let at = at.trim_end_matches('/').to_string();
        Viewer { child, at }
    }

    /// The whole answer, head and body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.at).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn get(&self, path: &str) -> String {
        self.ask("GET", path, &format!("Host: {}\r\n", self.at), "")
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// A store with a run that is wrong, and one of a name that would be a script.
fn store() -> Place {
    let place = Place::new();
    recorded(&place, "bad", "9");
    place.schism(&["check", "bad"]).exits(1);
    let log = place.store().join("bad/nodes/n1/log");
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join("daemon.log"), "first\nsome odd words\n").unwrap();
    recorded(&place, "<script>alert(1)<", "1");
    place
}

/// In the viewer's sandbox a report runs its own script, and may do nothing else.
#[test]
fn a_report_is_whole_in_the_viewers_sandbox() {
    let place = store();
    let viewer = Viewer::of(&place);
    let mut browser = Browser::start();
    let page = format!("http://{}/run/bad/file/report.html", viewer.at);
    browser.open_at(&page, "#op-0", DESK);
    let told = browser.eval("document.getElementById('ops-one').textContent");
    assert!(
        told.as_str().is_some_and(|told| told.starts_with("#0 ")),
        "{told}"
    );
    assert_eq!(browser.eval("origin"), "null");
    assert_eq!(browser.errors, Vec::<String>::new());
    assert_eq!(browser.requests, Vec::<String>::new());
}

#[test]
fn runs_are_found_and_shown_with_their_reports() {
    let place = store();
    let viewer = Viewer::of(&place);
    let all = viewer.get("/");
    assert_eq!(status(&all), "200");
    assert!(all.contains("href=\"/run/bad\"") && all.contains("2 of 2 runs"));
    // Names are text.
    assert!(all.contains("&lt;script&gt;alert(1)&lt;") && !all.contains("<script>"));
    let wrong = viewer.get("/?verdict=invalid&q=register");
    assert!(wrong.contains("1 of 2 runs"), "{wrong}");
    let run = viewer.get("/run/bad");
    assert!(run.contains("file/report.html") && run.contains("Anomalies"));
    let report = viewer.get("/run/bad/file/report.html");
    assert!(report.contains("invalid</h1>"));
    assert!(
        report
            .to_lowercase()
            .contains("content-security-policy: sandbox allow-scripts;")
    );
    assert!(viewer.get("/search?q=operations").contains("explanation"));
    let found = viewer.get("/search?q=ODD%20words");
    assert!(found.contains("some odd words") && found.contains("nodes/n1/log/daemon.log"));
    let beside = viewer.get("/beside?run=bad&run=bad");
    assert!(
        beside.contains("<th scope=\"row\">verdict</th>"),
        "{beside}"
    );
}

#[test]
fn no_path_leaves_a_run() {
    let place = store();
    place.file("secret", "secret words");
    let run = place.store().join("bad");
    symlink(place.path().join("secret"), run.join("link")).unwrap();
    symlink(place.path(), run.join("out")).unwrap();
    let viewer = Viewer::of(&place);
    for path in [
        "/run/bad/file/link",
        "/run/bad/file/out/secret",
        "/run/bad/file/../../../secret",
        "/run/bad/file/%2e%2e/%2e%2e/secret",
        "/run/bad/file//etc/hostname",
        "/run/%2e%2e/file/secret",
        "/night/%2e%2e/secret",
        "/run/bad/file/n9/none.log",
    ] {
        let answer = viewer.get(path);
        assert_eq!(status(&answer), "404", "{path}: {answer}");
        assert!(!answer.contains("secret words"), "{path}");
    }
}

#[test]
fn a_decision_is_kept_with_the_run_and_nobody_else_makes_one() {
    let place = store();
    let viewer = Viewer::of(&place);
    let form = "what=known-issue&link=https%3A%2F%2Ftracker.example%2F7&note=seen%20before";
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let host = format!("Host: {}\r\n{kind}", viewer.at);
    let own = format!("{host}Origin: http://{}\r\n", viewer.at);
    let path = "/run/bad/decision";
    // A page of another site, one that says of itself nothing, and one that has a name for this
    // address.
    let foreign = format!("{host}Origin: http://elsewhere.example\r\n");
    assert_eq!(status(&viewer.ask("POST", path, &foreign, form)), "403");
    assert_eq!(status(&viewer.ask("POST", path, &host, form)), "403");
    let renamed = format!("Host: evil.example\r\nOrigin: http://evil.example\r\n{kind}");
    assert_eq!(status(&viewer.ask("POST", path, &renamed, form)), "421");
    let decision = place.store().join("bad/decision.toml");
    assert!(!decision.exists());

    assert_eq!(status(&viewer.ask("POST", path, &own, form)), "303");
    let kept = std::fs::read_to_string(&decision).unwrap();
    assert!(kept.contains("what = \"known-issue\"") && kept.contains("note = \"seen before\""));
    let run = viewer.get("/run/bad");
    assert!(run.contains("Decided on") && run.contains("known issue"));
    // The next night knows it.
    let known = viewer.get("/known.toml");
    let known = known.split("\r\n\r\n").nth(1).unwrap();
    assert!(
        known.contains("link = \"https://tracker.example/7\""),
        "{known}"
    );
    let printed = place.schism(&["fingerprint", "bad"]).exits(0).stdout;
    let fingerprint = known.split('"').nth(1).unwrap();
    assert!(printed.contains(fingerprint), "{printed} {known}");
}

/// A figure of a judged run, by the names of checker and figure.
fn figure(place: &Place, run: &str, checker: &str, name: &str) -> f64 {
    let text = std::fs::read(place.store().join(run).join("results.json")).unwrap();
    let results: Json = serde_json::from_slice(&text).unwrap();
    let named = |list: &Json, key: &str, name: &str| {
        let list = list.as_array().cloned().unwrap_or_default();
        list.into_iter().find(|one| one[key] == name).unwrap()
    };
    let analysis = named(&results["analyses"], "checker", checker);
    named(&analysis["figures"], "name", name)["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn trends_lead_to_the_runs_that_they_are_made_of() {
    let place = store();
    recorded(&place, "good", "1");
    place.schism(&["check", "good"]);
    let viewer = Viewer::of(&place);
    let all = viewer.get("/trends");
    assert_eq!(status(&all), "200");
    assert!(all.contains("2 runs: 1 invalid"), "{all}");
    assert!(all.contains("href=\"/run/bad\"") && all.contains("href=\"/run/good\""));
    // What is told of a mark is what was measured.
    let value = figure(&place, "bad", "availability", "throughput");
    let told = format!(
        "bad\ninvalid\nseed 1\n{} ops/s",
        report::experiment::number(value)
    );
    assert!(all.contains(&told), "{told} is not in {all}");
    // It is filtered as the list is, and asked for with the list's filter.
    let wrong = viewer.get("/trends?verdict=invalid&q=register");
    assert!(wrong.contains("1 of 3 runs") && !wrong.contains("href=\"/run/good\""));
    let list = viewer.get("/?verdict=invalid&q=a%26b");
    assert!(
        list.contains("href=\"/trends?q=a%26b&amp;verdict=invalid\""),
        "{list}"
    );
}

/// A night of two cells, of which one was invalid. Names are somebody's.
fn night(place: &Place, folder: &str, system: &str) {
    let cell = |seed: u64| {
        let cell = serde_json::json!({"id": format!("c{seed}"), "system": system, "workload": "register",
            "nemesis": "pause", "seed": seed, "expected_s": 1.0});
        cell
    };
    let ran = |seed: u64, ending: &str, run: &str| {
        let ran = serde_json::json!({"type": "run", "cell": format!("c{seed}"), "purpose": "first",
            "ending": ending, "run": run, "took_s": 1.0, "why": "it <b>was\u{202e}", "again": "",
            "figures": {"availability/throughput": 123.0}});
        ran
    };
    let head = serde_json::json!({"type": "night", "version": 1, "name": "nightly", "night": "first",
        "matrix": "m", "started": "2026-11-29T01:00:00Z", "shard": [1, 1], "file": "n.toml", "store": "store",
        "gate": {"verdicts": 0.9, "infra_retries": 0, "confirm": 0}, "known": [], "cells": [cell(1), cell(2)],
        "left_out": 0});
    let lines = [head, ran(1, "invalid", "bad"), ran(2, "valid", "gone")];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let folder = place.store().join("nights").join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("runs.jsonl"), text).unwrap();
}

#[test]
fn a_night_is_a_grid_of_its_runs_and_a_bar_among_nights() {
    let place = store();
    night(&place, "first<i>", "<script>alert(2)</script>");
    let broken = place.store().join("nights/broken");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("runs.jsonl"), "{\"type\":\"night\",").unwrap();
    let viewer = Viewer::of(&place);
    let grid = viewer.get("/night/first%3Ci%3E");
    assert_eq!(status(&grid), "200");
    assert!(
        grid.contains("class=\"cell red\"") && grid.contains("href=\"/run/bad\">1</a>"),
        "{grid}"
    );
    // A run that is not in the store any more leads nowhere.
    assert!(grid.contains(">2</span>") && !grid.contains("/run/gone"));
    assert!(!grid.contains("<script>") && !grid.contains("<b>was"));
    // What turns the direction of writing would turn the page around it.
    assert!(grid.contains("it &lt;b&gt;was\u{fffd}"), "{grid}");
    let trends = viewer.get("/trends");
    assert!(trends.contains("1 night, of which 0 green"), "{trends}");
    assert!(trends.contains("href=\"/night/first%3Ci%3E\"") && trends.contains("1 red, 1 green"));
    assert!(trends.contains("\n123 ops/s"));
    assert!(trends.contains("The night broken cannot be read"));
    assert_eq!(status(&viewer.get("/night/broken")), "400");
    assert_eq!(status(&viewer.get("/night/%2e%2e")), "404");
}

/// As the viewer has it, and as a browser shows it, until the run has ended.
#[test]
fn a_run_that_goes_on_is_followed_to_its_end() {
    let place = Place::new();
    let mut child = in_mid_run(&place);
    let name = place
        .latest()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_string();
    let mut viewer = Viewer::of(&place);
    assert!(viewer.get("/").contains("sign live"));
    let part = format!("/run/{name}/now");
    let mut now = String::new();
    eventually("the viewer has the faults that are in force", || {
        now = viewer.get(&part);
        now.contains("pause n2")
    });
    assert!(
        now.contains("main phase") && now.contains(" of 60 s, "),
        "{now}"
    );
    assert!(now.contains("nodes/n1/log/paxos-kv.log"), "{now}");
    assert!(!now.contains("data-over"));

    let mut browser = Browser::start();
    browser.site = format!("http://{}/", viewer.at);
    browser.open_at(&format!("http://{}/run/{name}", viewer.at), "", DESK);
    // It is not loaded again, and shows more.
    browser.eval("window.first = true");
    let ok = "Number(document.getElementById('live-ok').textContent)";
    let before = browser.eval(ok).as_u64().unwrap();
    assert!(before > 0);
    browser.wait(&format!("{ok} > {before}"));
    signal(&child, Signal::INT);
    browser.wait(
        "document.querySelector('[data-over] a[href$=\"/file/report.html\"]') && window.first",
    );
    child.wait().unwrap();
    assert!(!place.latest().join("live.json").exists());
    let shown = browser.eval("document.getElementById('live').textContent");
    assert!(
        shown.as_str().unwrap().starts_with("It has ended: unknown"),
        "{shown}"
    );
    assert_eq!(browser.errors, Vec::<String>::new());
    assert_eq!(browser.requests, Vec::<String>::new());

    // Nothing more is asked: an answer that does not come would be an error.
    viewer.child.kill().unwrap();
    browser.eval("new Promise((go) => setTimeout(go, 2500))");
    assert_eq!(browser.errors, Vec::<String>::new());
    let note = browser.eval("document.getElementById('live-note').textContent");
    assert_eq!(note, "");
}

/// What was killed leaves its last words behind; nobody takes them for new.
#[test]
fn a_run_that_was_killed_does_not_go_on() {
    let place = store();
    let run = place.store().join("<script>alert(1)<");
    let evil = r#"{"phase":"<script>alert(3)</script>","elapsed_ms":18446744073709551615,"ok":1,"fail":0,"info":0,"faults":[],"said":[]}"#;
    std::fs::write(run.join("live.json"), evil).unwrap();
    let viewer = Viewer::of(&place);
    let at = "/run/%3Cscript%3Ealert%281%29%3C";
    let now = viewer.get(&format!("{at}/now"));
    assert!(now.contains("It has ended: nobody has judged it"), "{now}");
    // Somebody holds it, and what it says is damaged or somebody's.
    let folder = std::fs::File::open(&run).unwrap();
    folder.lock().unwrap();
    let now = viewer.get(&format!("{at}/now"));
    assert!(
        now.contains("&lt;script&gt;alert(3)") && !now.contains("<script>alert"),
        "{now}"
    );
    assert_eq!(status(&viewer.get(at)), "200");
    std::fs::write(run.join("live.json"), &evil[..40]).unwrap();
    assert!(
        viewer
            .get(&format!("{at}/now"))
            .contains("does not say how far it is")
    );
}
