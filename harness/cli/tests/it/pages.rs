//! `check --report`: a page for every history, of whatever format and model.

use std::fs;

use crate::support::Place;

/// A file's name and text, and what its page has.
const HISTORIES: [(&str, &str, &[&str]); 4] = [
    (
        "stale.edn",
        "{:process 0 :type :invoke :f :write :value 1}
         {:process 0 :type :ok :f :write :value 1}
         {:process 1 :type :invoke :f :read :value nil}
         {:process 1 :type :ok :f :read :value nil}",
        &["Stale read", "class=\"timeline\"", "Judge it again"],
    ),
    (
        "skew.json",
        r#"[{"process":0,"type":"invoke","f":"txn","value":[["r","x",null],["w","y",1]]},
            {"process":1,"type":"invoke","f":"txn","value":[["r","y",null],["w","x",2]]},
            {"process":0,"type":"ok","f":"txn","value":[["r","x",null],["w","y",1]]},
            {"process":1,"type":"ok","f":"txn","value":[["r","y",null],["w","x",2]]}]"#,
        &["class=\"cycle\"", "The history tells of no fault"],
    ),
    (
        "queue.csv",
        "process,f,value,call,return\n0,enqueue,1,1,2\n0,dequeue,1,3,4\n1,dequeue,1,5,6\n",
        &["Taken twice", "class=\"lives\""],
    ),
    (
        "lock.csv",
        "process,f,value,call,return\n0,acquire,,1,2\n1,acquire,,3,4\n0,release,,5,6\n",
        &["class=\"lives\""],
    ),
];

#[test]
fn every_history_has_its_page() {
    let place = Place::new();
    for (name, text, has) in HISTORIES {
        let file = place.file(name, text);
        let page = place.path().join("page.html");
        let (file, page) = (file.to_str().unwrap(), page.to_str().unwrap());
        place.schism(&["check", file, "--report", page]).exits(1);
        let html = fs::read_to_string(page).unwrap();
        for words in has.iter().chain(&[name]) {
            assert!(html.contains(words), "{name} has no {words:?}");
        }
        fs::remove_file(page).unwrap();
    }
}

#[test]
fn a_right_history_and_a_pipe_have_one_too_and_what_cannot_be_written_is_said_before() {
    let place = Place::new();
    let right = "process,f,value,call,return\n0,write,1,1,2\n1,read,1,3,4\n";
    let file = place.file("right.csv", right);
    let file = file.to_str().unwrap();
    let page = place.path().join("page.html");
    let to = page.to_str().unwrap();
    place.schism(&["check", file, "--report", to]).exits(0);
    assert!(fs::read_to_string(&page).unwrap().contains("valid</h1>"));
    // Whoever judges it as a workload has a page too.
    let read = "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\",\"value\":null}";
    let history = place.file("history.json", read);
    let history = history.to_str().unwrap();
    place
        .schism(&["check", history, "--model", "register", "--report", to])
        .exits(3);
    assert!(fs::read_to_string(&page).unwrap().contains("vacuous</h1>"));
    // A disk that is full costs the page, and not the verdict.
    place
        .schism(&["check", file, "--report", "/dev/full"])
        .exits(0)
        .prints(&["VALID"])
        .says(&["cannot write /dev/full"]);
    let nowhere = place.path().join("no/such/page.html");
    let nowhere = nowhere.to_str().unwrap();
    place
        .schism(&["check", file, "--report", nowhere])
        .exits(64)
        .says(&["no/such/page.html"]);
}
