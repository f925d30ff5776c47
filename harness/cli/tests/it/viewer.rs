//! `schism serve`: what a store shows in a browser, and what nobody can do through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};

use crate::browser::{Browser, DESK};
use crate::support::{Place, recorded};

/// A viewer that ends with the test.
struct Viewer {
    child: Child,
    at: String,
}

impl Viewer {
    fn of(place: &Place) -> Viewer {
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

    fn get(&self, path: &str) -> String {
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
