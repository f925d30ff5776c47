//! Reports, opened in a browser: every kind of anomaly is looked at, zoomed, filtered and clicked
//! through, in the light and in the dark, by pointer and by keyboard.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use checkers::agreement::Agreement;
use checkers::chain::Chain;
use checkers::{Analysis, Anomaly, Budget, Checker};
use history::{History, Name, Time};
use report::{Input, Led, Level, Origin, Said, Tip, Told};
use serde_json::json;

use crate::browser::{Browser, DESK, Screen};
use crate::support::Place;

pub const PHONE: Screen = Screen {
    width: 390,
    height: 840,
    dark: false,
};

/// A circle of two transactions, of which the corpus has none.
const SKEW: &str = r#"[{"process":0,"type":"invoke","f":"txn","value":[["r","x",null],["w","y",1]]},
    {"process":1,"type":"invoke","f":"txn","value":[["r","y",null],["w","x",2]]},
    {"process":0,"type":"ok","f":"txn","value":[["r","x",null],["w","y",1]]},
    {"process":1,"type":"ok","f":"txn","value":[["r","y",null],["w","x",2]]}]"#;

fn corpus() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../checkers/tests/histories");
    folder.canonicalize().expect("it is there")
}

/// Writes the page of a history of the corpus. What only nodes say of themselves is no file to be
/// checked by its operations: it is judged here, as it is in a run.
pub fn page(place: &Place, name: &str) -> PathBuf {
    let file = match name {
        "skew" => place.file("skew.json", SKEW),
        name => corpus().join(name).with_extension("jsonl"),
    };
    let page = place.path().join(name).with_extension("html");
    let of_nodes = |row: &[String; 4]| {
        row[0] == name && ["agreement", "chain"].contains(&&*row[1]) && row[2] == "invalid"
    };
    if expected().iter().any(of_nodes) {
        let history = history::store::load(&file).expect("a history").history;
        // A node remembers what it refused through faults of these families.
        let gentle = nemeses::gentle().map(Name::from);
        let chain = Chain::new().with_confirmations(6).with_gentle(gentle);
        let checkers: Vec<Box<dyn Checker>> = vec![Box::new(Agreement::new()), Box::new(chain)];
        let analyses = checkers::compose::check_all(&checkers, &history, &Budget::default());
        assert!(
            analyses.iter().any(|a| !a.anomalies.is_empty()),
            "{name}: {analyses:?}"
        );
        let text = render(name, &history, &analyses, &Told::default());
        return place.file(&format!("{name}.html"), text);
    }
    let to = page.to_str().expect("text");
    let ended = place.schism(&["check", file.to_str().expect("text"), "--report", to]);
    assert!(page.exists(), "{name}: {ended:?}");
    page
}

/// What the corpus says of its histories: name, checker, verdict, anomaly.
fn expected() -> Vec<[String; 4]> {
    let table = fs::read_to_string(corpus().join("expected.tsv")).expect("a table");
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let columns: Vec<String> = line.split('\t').map(str::to_string).collect();
        columns.try_into().expect("four columns")
    })
    .collect()
}

/// The page of what is all named alike.
fn render(name: &str, history: &History, analyses: &[Analysis], told: &Told) -> String {
    report::render(&Input {
        system: name,
        workload: name,
        origin: Origin::File,
        command: name,
        repeated: None,
        spec: &json!({name: name}),
        schedule: Some(name),
        nodes: &[],
        history,
        analyses,
        verdict: checkers::compose::overall(analyses),
        told,
        warnings: &[name.to_string()],
    })
}

/// The first history of the corpus for each kind of anomaly.
pub fn of_every_kind() -> Vec<String> {
    let mut kinds = BTreeSet::new();
    let rows = expected()
        .into_iter()
        .filter_map(|[history, checker, verdict, kind]| {
            let new = verdict == "invalid" && kinds.insert((checker, kind));
            new.then_some(history)
        });
    let mut names: Vec<String> = rows.collect();
    names.dedup();
    names.push("skew".to_string());
    assert!(names.len() > 30, "{names:?}");
    names
}

/// Nothing went wrong in the page, and it asked for nothing.
pub fn assert_quiet(browser: &Browser, page: &str) {
    assert_eq!(browser.errors, Vec::<String>::new(), "{page}");
    assert_eq!(browser.requests, Vec::<String>::new(), "{page}");
}

pub fn number(browser: &mut Browser, expression: &str) -> f64 {
    let value = browser.eval(expression);
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{expression}: {value}"))
}

pub fn text(browser: &mut Browser, id: &str) -> String {
    let value = browser.eval(&format!("document.getElementById('{id}').textContent"));
    value
        .as_str()
        .unwrap_or_else(|| panic!("{id}: {value}"))
        .to_string()
}

pub fn text_of(browser: &mut Browser, selector: &str) -> String {
    let value = browser.eval(&format!("document.querySelector('{selector}').textContent"));
    value
        .as_str()
        .unwrap_or_else(|| panic!("{selector}: {value}"))
        .to_string()
}

/// What is in view, in seconds, as the link to it says; none for the whole run.
fn view(browser: &mut Browser) -> Option<(f64, f64)> {
    let href = browser.eval("document.getElementById('view-link').getAttribute('href')");
    let (from, until) = href.as_str()?.strip_prefix("#time-")?.split_once('-')?;
    Some((from.parse().ok()?, until.parse().ok()?))
}

/// Links of a page that lead nowhere: their targets are neither there nor an operation's, which the
/// script shows.
const LOST_LINKS: &str = "[...document.querySelectorAll('a[href]')].map((a) => a.getAttribute('href')).filter((href) => \
     !href.startsWith('#') || !(document.getElementById(href.slice(1)) || /^#(op-\\d+|time-[\\d.]+-[\\d.]+)$/.test(href)))";

/// Texts and elements that reach beyond the window.
const BEYOND: &str = "(() => { const found = [], walker = document.createTreeWalker(document.body); \
    while (walker.nextNode()) { const range = document.createRange(); range.selectNode(walker.currentNode); \
    const { currentNode: n } = walker, e = n.parentElement; \
    if (range.getBoundingClientRect().right > document.documentElement.clientWidth && !e.closest('.scroll, .rows, pre')) \
    found.push(`${n.nodeName} in ${e.tagName}.${e.className}: ${n.textContent.slice(0, 60)}`); } return found; })()";

#[test]
fn each_kind_of_anomaly_is_zoomed_filtered_and_clicked() {
    let place = Place::new();
    let mut browser = Browser::start();
    for name in of_every_kind() {
        let page = page(&place, &name);
        browser.open(&page, "", DESK);
        assert_quiet(&browser, &name);
        assert_eq!(browser.eval(LOST_LINKS), json!([]), "{name}");
        if browser.eval(
            "document.getElementById('packed') === null && document.getElementById('ops') === null",
        ) == true
        {
            // Nothing was asked by a client.
            continue;
        }
        zoom(&mut browser, &name);
        filter(&mut browser, &name);
        follow_links(&mut browser, &name);
        for screen in [PHONE, Screen { dark: true, ..DESK }] {
            browser.open(&page, "", screen);
            let wide = number(&mut browser, "document.documentElement.scrollWidth");
            let beyond = browser.eval(BEYOND);
            assert!(
                wide <= f64::from(screen.width),
                "{name} is {wide} px wide: {beyond}"
            );
        }
        assert_quiet(&browser, &name);
    }
}

fn zoom(browser: &mut Browser, name: &str) {
    assert_eq!(view(browser), None, "{name}");
    browser.eval("document.getElementById('view-in').click()");
    browser.settle();
    let (from, until) = view(browser).unwrap_or_else(|| panic!("{name} does not zoom"));
    browser.eval("document.getElementById('view-right').click()");
    browser.settle();
    let moved = view(browser).expect("a part");
    assert!(moved.0 > from && moved.1 > until, "{name}: {moved:?}");
    browser.eval("document.getElementById('view').focus()");
    browser.key("+");
    let nearer = view(browser).expect("a part");
    assert!(nearer.1 - nearer.0 < until - from, "{name}: {nearer:?}");
    browser.key("Home");
    assert_eq!(view(browser), None, "{name}");
}

fn filter(browser: &mut Browser, name: &str) {
    let all = number(
        browser,
        "document.querySelectorAll('#ops-f option').length - 1",
    ) as usize;
    assert!(all > 0, "{name}");
    let mut sum = 0;
    for f in 0..all {
        browser.eval(&format!(
            "(() => {{ const f = document.getElementById('ops-f'); f.selectedIndex = {}; \
             f.dispatchEvent(new Event('input')); return new Promise((go) => setTimeout(go, 10)); }})()",
            f + 1
        ));
        let count = text(browser, "ops-count");
        let count = count.split(' ').next().unwrap_or_default().replace(',', "");
        sum += count
            .parse::<usize>()
            .unwrap_or_else(|_| panic!("{name}: {count}"));
    }
    browser.eval("document.getElementById('ops-clear').click()");
    let where_ = text(browser, "ops-where");
    let shown = where_
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .replace(',', "");
    assert_eq!(shown, sum.to_string(), "{name}: {where_}");
}

/// What lies in a group that is folded is shown by a link to it.
#[test]
fn a_link_to_a_folded_anomaly_unfolds_it() {
    let place = Place::new();
    // Nine values, each taken twice.
    let taken = |n: u64| {
        let at = 10 * n;
        format!(
            "0,enqueue,{n},{at},{}\n0,dequeue,{n},{},{}\n1,dequeue,{n},{},{}\n",
            at + 1,
            at + 2,
            at + 3,
            at + 4,
            at + 5
        )
    };
    let rows: String = (1..10).map(taken).collect();
    let file = place.file("queue.csv", format!("process,f,value,call,return\n{rows}"));
    let page = place.path().join("queue.html");
    let (from, to) = (file.to_str().expect("text"), page.to_str().expect("text"));
    place.schism(&["check", from, "--report", to]).exits(1);
    let mut browser = Browser::start();
    for (hash, shown) in [("", false), ("#anomaly-7", true)] {
        browser.open(&page, hash, DESK);
        let seen = browser.eval("document.getElementById('anomaly-7').checkVisibility()");
        assert_eq!(seen, shown, "{hash}");
    }
    assert_quiet(&browser, "queue");
}

/// The operations that the anomalies name.
fn follow_links(browser: &mut Browser, name: &str) {
    let links = browser.eval(
        "[...new Set([...document.querySelectorAll('#why a[href^=\"#op-\"]')].map((a) => a.hash))]",
    );
    let links = links.as_array().expect("a list");
    for link in links.iter().filter_map(|link| link.as_str()).take(4) {
        browser.eval(&format!(
            "document.querySelector('#why a[href=\"{link}\"]').click()"
        ));
        browser.settle();
        let index = &link[4..];
        let told = text(browser, "ops-one");
        assert!(
            told.starts_with(&format!("#{index} ")),
            "{name}, {link}: {told}"
        );
        let row = format!("document.getElementById('op-{index}').className");
        assert!(
            browser
                .eval(&row)
                .as_str()
                .is_some_and(|class| class.contains("here")),
            "{name}, {link}"
        );
    }
}

/// A run of five nodes with faults, leaders, logs and hostile words everywhere.
pub fn lanes(evil: &str) -> String {
    let mut events = String::from("{\"schism\":\"history\",\"version\":1}\n");
    let mut push = |line: String| events.push_str(&(line + "\n"));
    for i in 0..200u64 {
        let (at, node) = (i * 10_000_000, i % 5 + 1);
        let value = serde_json::to_string(&format!("{evil}{i}")).unwrap();
        let index = 2 * i;
        push(format!(
            "{{\"index\":{index},\"time\":{at},\"process\":{node},\"type\":\"invoke\",\"f\":\"write\",\"value\":{value},\"node\":\"n{node}\"}}"
        ));
        let (index, at) = (index + 1, at + 4_000_000);
        push(format!(
            "{{\"index\":{index},\"time\":{at},\"process\":{node},\"type\":\"ok\",\"f\":\"write\",\"value\":{value},\"node\":\"n{node}\"}}"
        ));
    }
    let history: History = history::jsonl::read(events.as_bytes())
        .expect("a history")
        .history;
    let anomaly = |op: u64| Anomaly {
        kind: evil.to_string(),
        object: Some(evil.to_string()),
        ops: vec![op],
        reason: format!("{evil} op {op}"),
        ..Anomaly::default()
    };
    let analyses = [Analysis::of_anomalies(
        evil,
        evil,
        (0..180).map(|i| anomaly(2 * i)).collect(),
    )];
    let said = |ms: u64, node: &str, level| Said {
        node: node.into(),
        at: Time(ms * 1_000_000),
        level,
        text: format!("{evil} at {ms}"),
    };
    let led = |node: &str, sure| Led {
        node: node.into(),
        from: Time(100_000_000),
        until: Time(900_000_000),
        ballot: Some(format!("ballot {evil}")),
        sure,
    };
    let told = Told {
        led: vec![led("n2", true), led("n3", false)],
        tips: vec![Tip {
            node: "n4".into(),
            from: Time(300_000_000),
            until: Time(700_000_000),
            hash: evil.to_string(),
            height: Some(7),
        }],
        log: vec![
            said(500, "n1", Level::Error),
            said(501, "n2", Level::Plain),
            said(1_500, "n1", Level::Warning),
        ],
        untold: 7,
        shifted: vec!["n1".into()],
    };
    render(evil, &history, &analyses, &told)
}

#[test]
fn hostile_words_stay_words_and_leaders_and_logs_are_told() {
    let place = Place::new();
    let evil = "</script><img src=x onerror=\"pwned=1\"><svg onload=pwned=1>';pwned=1;//";
    let page = place.file("evil.html", lanes(evil));
    let mut browser = Browser::start();
    browser.open(&page, "#op-40", DESK);
    assert!(text(&mut browser, "ops-one").starts_with("#40 write"));
    point(&mut browser);
    browser.eval("document.getElementById('view-all').click(); document.getElementById('more-anomalies').open = true");
    browser.settle();
    // Over every row of the timeline, at a moment when all of them have something to tell.
    browser.eval("document.getElementById('view').scrollIntoView()");
    let [left, width, top] = ["left", "width", "top"].map(|side| {
        number(
            &mut browser,
            &format!("document.getElementById('view').getBoundingClientRect().{side}"),
        )
    });
    let plot = (left + 118.0, width - 124.0);
    // The whole run is 2 s less 6 ms long, with a hundredth of it at both ends.
    let length = 1.994;
    let x = plot.0 + (0.5 + 0.01 * length) / (1.02 * length) * plot.1;
    let mut told = String::new();
    for y in (30..400).step_by(5) {
        browser.mouse("mouseMoved", x, top + f64::from(y), json!({}));
        told += &format!("\n{}", text(&mut browser, "tip"));
    }
    for words in [
        "n2 takes itself for the leader, ballot </script>",
        "n3: whether it leads now is not known, ballot </script>",
        "n4 has the head </script>",
        ", height 7",
        "0.500 n1, by its shifted clock  </script>",
        "0.501 n2  </script>",
        "found by </script>",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // Kept for reading, all nodes on one clock.
    let row = top + 50.0 + 3.0 * 15.0 + 8.0;
    browser.click(x, row);
    let lines = text(&mut browser, "ops-one");
    assert!(
        lines.contains("0.500 n1") && lines.contains("0.501 n2"),
        "{lines}"
    );
    assert_eq!(
        browser.eval("document.getElementById('anomaly-179') === null"),
        true
    );
    browser.open(&page, "#anomaly-179", DESK);
    let last = text(&mut browser, "anomaly-179");
    assert!(last.contains("op 358"), "{last}");
    assert_eq!(browser.eval("typeof pwned"), "undefined");
    assert_eq!(
        browser.eval("document.querySelectorAll('img, svg[onload], [onerror]').length"),
        0
    );
    assert_quiet(&browser, "evil");
}

/// Under the pointer an operation is told in words; the wheel zooms there, and what is dragged
/// moves.
fn point(browser: &mut Browser) {
    browser.eval("document.getElementById('view').scrollIntoView()");
    let [left, width, top, height] = ["left", "width", "top", "height"].map(|side| {
        number(
            browser,
            &format!("document.getElementById('view').getBoundingClientRect().{side}"),
        )
    });
    // What a link leads to is in the middle.
    let x = left + 118.0 + (width - 124.0) / 2.0;
    let rows = (0..(height as u32)).step_by(4);
    let told = rows.map(|y| {
        browser.mouse("mouseMoved", x, top + f64::from(y), json!({}));
        text(browser, "tip")
    });
    let told: BTreeSet<String> = told.collect();
    assert!(
        told.iter().any(|words| words.starts_with("#40 write")),
        "{told:?}"
    );
    let before = view(browser).expect("a part");
    let y = top + height - 30.0;
    browser.mouse("mouseWheel", x, y, json!({"deltaX": 0, "deltaY": -200}));
    let after = view(browser).expect("a part");
    let middle = |(from, until): (f64, f64)| (from + until) / 2.0;
    assert!(
        after.1 - after.0 < 0.9 * (before.1 - before.0),
        "{before:?} {after:?}"
    );
    assert!(
        (middle(after) - middle(before)).abs() < 0.1 * (before.1 - before.0),
        "{before:?} {after:?}"
    );
    let left = json!({"button": "left", "buttons": 1, "clickCount": 1});
    browser.mouse("mousePressed", x, y, left.clone());
    browser.mouse("mouseMoved", x - 100.0, y, left.clone());
    browser.mouse("mouseReleased", x - 100.0, y, left);
    let dragged = view(browser).expect("a part");
    assert!(
        dragged.0 > after.0 && dragged.1 > after.1,
        "{after:?} {dragged:?}"
    );
}

/// Filters hold together, and all operations are back without them.
#[test]
fn operations_are_filtered_by_node_process_outcome_key_and_text() {
    let place = Place::new();
    let words = place.file("words.html", lanes("word"));
    let keys = page(&place, "stale-read");
    let mut browser = Browser::start();
    let count = |browser: &mut Browser, filters: &[(&str, &str)]| {
        let set = |(id, value): &(&str, &str)| {
            format!("set(document.getElementById('ops-{id}'), '{value}');")
        };
        browser.eval(&format!(
            "(() => {{ const set = (e, value) => {{ e.value = e.tagName === 'SELECT' ? \
             [...e.options].find((o) => o.text === value).value : value; e.dispatchEvent(new Event('input')); }}; \
             document.getElementById('ops-clear').click(); {} return new Promise((go) => setTimeout(go, 20)); }})()",
            filters.iter().map(set).collect::<String>()
        ));
        text(browser, "ops-where")
    };
    browser.open(&words, "", DESK);
    // Of each five writes one is of n2, which is process 2's. Eleven begin with word7: 7, and 70
    // to 79.
    for (filters, rest) in [
        (&[][..], "1 to 60 of 200"),
        (&[("node", "n2")], "1 to 40 of 40"),
        (&[("node", "n2"), ("process", "2")], "1 to 40 of 40"),
        (&[("node", "n2"), ("process", "3")], "no operation matches"),
        (&[("text", "\"word7")], "1 to 11 of 11"),
        (&[("text", "\"WORD7"), ("node", "n2")], "1 to 2 of 2"),
        (&[("outcome", "fail")], "no operation matches"),
        (&[("outcome", "ok"), ("f", "write")], "1 to 60 of 200"),
    ] {
        assert_eq!(count(&mut browser, filters), rest, "{filters:?}");
    }
    browser.open(&keys, "", DESK);
    assert_eq!(count(&mut browser, &[("key", "5")]), "1 to 3 of 3");
    assert_eq!(count(&mut browser, &[("key", "6")]), "no operation matches");
    assert_quiet(&browser, "filters");
}

#[test]
fn nothing_of_a_browser_stays() {
    let mut browser = Browser::start();
    browser.eval("1 + 1");
    let profile = browser.profile().to_path_buf();
    drop(browser);
    let of_it = |pid: &str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&*profile.to_string_lossy())
    };
    crate::support::eventually("no process of it is left", || {
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        !all.map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.parse::<u32>().is_ok())
            .any(|pid| of_it(&pid))
    });
    assert!(!profile.exists());
}
