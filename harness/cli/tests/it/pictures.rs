//! Pictures of reports, where an environment variable asks for them:
//!
//! - `SCHISM_PICTURES=FOLDER` with `SCHISM_PAGES="PAGE PAGE"` draws these pages to look at: as a
//!   desk, the dark, a telephone and paper show them. A page is a file, perhaps with `#hash` behind
//!   it, and perhaps with `@selector` of the part that is drawn. Without pages it is one of each
//!   kind of anomaly.
//! - `SCHISM_DOC_PICTURES=harness/docs` draws those of the documents again: of histories of the
//!   corpus, and of a recorded run with an anomaly, whose folder is `SCHISM_DOC_RUN`.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::browser::{Browser, DESK, Screen};
use crate::opened::{PHONE, of_every_kind, page};
use crate::support::Place;

fn folder(variable: &str) -> Option<PathBuf> {
    let to = std::env::var_os(variable).map(PathBuf::from)?;
    // From the workspace, where the variable was set.
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(to);
    std::fs::create_dir_all(&to).expect("it can be made");
    Some(to)
}

/// Seconds of processor time that a page has taken.
fn spent(browser: &mut Browser) -> f64 {
    let metrics = browser.call("Performance.getMetrics", json!({}));
    let all = metrics["metrics"].as_array().expect("metrics");
    let of = all.iter().find(|m| m["name"] == "TaskDuration");
    of.map_or(0.0, |m| m["value"].as_f64().unwrap_or(0.0))
}

/// What a page costs to open, and a zoom in it, in seconds of processor time, however busy the
/// machine is.
fn cost(browser: &mut Browser) -> String {
    let opened = spent(browser);
    const ZOOMS: usize = 10;
    for _ in 0..ZOOMS {
        browser.eval("document.getElementById('view-in')?.click()");
        browser.settle();
    }
    let zoomed = spent(browser) - opened;
    browser.eval("document.getElementById('view-all')?.click()");
    browser.settle();
    format!(
        "opened in {opened:.2} s, zoomed in {:.0} ms each",
        1e3 * zoomed / ZOOMS as f64
    )
}

#[test]
fn of_pages_for_people() {
    let Some(to) = folder("SCHISM_PICTURES") else {
        return;
    };
    let place = Place::new();
    let of_kind = |name: &String| format!("{}@body", page(&place, name).display());
    let pages = match std::env::var("SCHISM_PAGES") {
        Ok(pages) => pages.split_whitespace().map(str::to_string).collect(),
        Err(_) => of_every_kind().iter().map(of_kind).collect::<Vec<_>>(),
    };
    for (i, page) in pages.iter().enumerate() {
        let (page, part) = page.split_once('@').unwrap_or((page.as_str(), ""));
        let (file, hash) = page.split_at(page.find('#').unwrap_or(page.len()));
        for (name, screen) in [
            ("light", DESK),
            ("dark", Screen { dark: true, ..DESK }),
            ("phone", PHONE),
        ] {
            let mut browser = Browser::start();
            browser.call("Performance.enable", json!({"timeDomain": "threadTicks"}));
            browser.open(Path::new(file), hash, screen);
            let cost = cost(&mut browser);
            println!(
                "{page}, {name}: unpacked in {} ms; {cost}",
                browser.eval("document.documentElement.dataset.unpacked")
            );
            let place = (!part.is_empty()).then(|| browser.place(part));
            browser.picture(&to.join(format!("{i}-{name}.png")), place);
            if name == "light" {
                browser.call("Emulation.setEmulatedMedia", json!({"media": "print"}));
                browser.picture(&to.join(format!("{i}-print.png")), place);
                let pdf = browser.call("Page.printToPDF", json!({"printBackground": true}));
                let pages = browser.pages_of_pdf(&pdf);
                println!("{page}: {pages} pages of paper");
            }
        }
    }
}

#[test]
fn of_the_documents() {
    let Some(to) = folder("SCHISM_DOC_PICTURES") else {
        return;
    };
    let pictures = to.join("pictures");
    std::fs::create_dir_all(&pictures).expect("it can be made");
    let place = Place::new();
    let mut browser = Browser::start();
    let run = std::env::var("SCHISM_DOC_RUN").expect("the folder of a run");
    let report = place.path().join("report.html");
    let args = ["report", &run, "--output", report.to_str().unwrap()];
    place.schism(&args).exits(0);
    browser.open(&report, "", DESK);
    // Where it was made is nobody's business.
    browser.eval(
        "document.getElementById('command').textContent = \
         document.getElementById('command').textContent.replace(/ --store \\S+/, ''); \
         document.querySelector('.provenance').textContent = \
         document.querySelector('.provenance').textContent.split(' · ').slice(0, 4).join(' · ')",
    );
    let head = browser.place("header.verdict");
    let why = browser.place("details.anomaly");
    browser.picture(
        &to.join("report.png"),
        Some([head[0], head[1], head[2], why[1] + why[3] - head[1]]),
    );
    let far = view(&mut browser);
    browser.picture(&pictures.join("operations.png"), Some(far));
    browser.eval("document.querySelector('#why a[href^=\"#op-\"]').click()");
    browser.settle();
    let near = view(&mut browser);
    browser.picture(&pictures.join("near.png"), Some(near));
    for (name, history, part) in [
        ("timeline", "stale-read", "svg.timeline"),
        ("circle", "skew", "svg.cycle"),
        ("element", "set-loses-an-element", "svg.lives"),
        ("value", "total-queue-loses-a-value", "svg.lives"),
        ("holders", "lock-held-twice", "svg.lives"),
        ("nodes", "logs-differ-in-a-slot", "table.nodes"),
        ("balances", "bank-transfer-twice", "table.nodes"),
        ("branches", "chain-fork-deeper-than-promised", "svg.tree"),
        ("order", "queue-overtaken", ".prefix"),
    ] {
        let page = page(&place, history);
        browser.open(&page, "", DESK);
        let has = browser.eval(&format!("document.querySelector('{part}') !== null"));
        assert_eq!(has, true, "{history} has no {part}");
        let place = browser.place(part);
        browser.picture(&pictures.join(name).with_extension("png"), Some(place));
    }
}

/// The timeline with what it says of one operation.
fn view(browser: &mut Browser) -> [f64; 4] {
    let canvas = browser.place("#view");
    let words = browser.place("#ops-one");
    [
        canvas[0],
        canvas[1],
        canvas[2],
        words[1] + words[3] - canvas[1],
    ]
}
