//! `index.html`: the night as a grid, in one file that fetches nothing.

use std::collections::{BTreeMap, BTreeSet};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::again;
use crate::matrix::gate::{Colour, Judged, Shown};
use crate::matrix::record::Ending;
use crate::matrix::trend::Trend;

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h1 span { padding: .1em .5em; border-radius: .3em; color: #fff; }
table { border-collapse: collapse; } td, th { padding: .35rem .6rem; text-align: left;
  vertical-align: top; border-bottom: 1px solid #8884; } th { font-weight: 600; }
a.c { display: inline-block; min-width: 1.5em; margin: 1px; padding: .1em .25em; text-align: center;
  border-radius: .25em; color: #fff; text-decoration: none; font-size: .8rem; }
.c.red, .b.red { background: #b3261e; } .c.silent { background: #8c1d6b; }
.c.missed { background: #a8588f; } .c.known { background: #b26a00; } .c.found { background: #35618e; }
.c.green, .b.green { background: #2e7d32; } .c.grey { background: #777; }
.c.left { background: #aaa; color: #222; }
code { font-size: .85em; overflow-wrap: anywhere; } .dim { opacity: .7; }
li { margin: .3rem 0; } :target { outline: 2px solid currentColor; }
";

/// The policy forbids every request and every script.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

pub fn html(judged: &Judged, trend: &Trend) -> String {
    report::harmless(page(judged, trend))
}

fn page(judged: &Judged, trend: &Trend) -> Markup {
    let head = judged.head;
    let (colour, words) = match judged.is_green() {
        true => ("green", "green"),
        false => ("red", "not green"),
    };
    let reason = judged.reasons.iter();
    let reasons = reason.map(|r| format!("{}: {}", r.gate.word(), r.text));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (head.name) " " (head.night) ": " (colour) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (head.name) " " (head.night) " " span class={ "b " (colour) } { (words) } }
                p.dim { "matrix " (head.matrix) ", begun " (head.started) }
                (list(&reasons.collect::<Vec<_>>()))
                (legend(judged))
                (grid(judged))
                (details(judged))
                @if !judged.notes.is_empty() { h2 { "To know" } (list(&judged.notes)) }
                (trends(trend))
            }
        }
    }
}

fn list(items: &[String]) -> Markup {
    html! {
        @if !items.is_empty() { ul { @for item in items { li { (item) } } } }
    }
}

fn legend(judged: &Judged) -> Markup {
    let counts = Colour::ALL.map(|colour| (colour, judged.count(colour)));
    html! {
        table {
            @for (colour, n) in counts.into_iter().filter(|(_, n)| *n > 0) {
                tr {
                    td { a class={ "c " (colour.word()) } { (n) } }
                    td { (colour.word()) }
                    td { (colour.meaning()) }
                }
            }
        }
    }
}

/// A row for each system and workload, a column for each nemesis, a square for each seed.
fn grid(judged: &Judged) -> Markup {
    let nemeses = judged.cells.iter().map(|s| s.cell.nemesis.as_str());
    let columns: BTreeSet<&str> = nemeses.collect();
    let mut rows: BTreeMap<(&str, &str), BTreeMap<&str, Vec<&Shown>>> = BTreeMap::new();
    for shown in &judged.cells {
        let cell = shown.cell;
        let row = rows.entry((&cell.system, &cell.workload)).or_default();
        row.entry(&cell.nemesis).or_default().push(shown);
    }
    html! {
        h2 { "Cells" }
        table {
            tr { th { "system" } th { "workload" } @for column in &columns { th { (column) } } }
            @for ((system, workload), cells) in &rows {
                tr {
                    th { (system) }
                    td { (workload) }
                    @for column in &columns {
                        @let cells = cells.get(column).map_or(&[][..], Vec::as_slice);
                        td { @for shown in cells { (square(shown)) } (share(cells)) }
                    }
                }
            }
        }
    }
}

fn square(shown: &Shown) -> Markup {
    let (cell, word) = (shown.cell, shown.colour.word());
    let came = shown.came.as_ref();
    let ending = came.map_or("not run", |came| came.ending.word());
    let link = told(shown).then(|| format!("#{}", anchor(shown)));
    html! {
        a class={ "c " (word) } title={ (cell.id) ": " (word) ", " (ending) ". " (shown.why) } href=[link] {
            (cell.seed)
        }
    }
}

/// How many of a combination's seeds went wrong, and how often the same seed did again.
fn share(cells: &[&Shown]) -> Markup {
    let came = || cells.iter().filter_map(|shown| shown.came.as_ref());
    let verdicts = came().filter(|came| came.ending.is_verdict()).count();
    let bad = || came().filter(|came| came.ending == Ending::Invalid);
    let again: Vec<f64> = bad().filter_map(|came| came.flaky()).collect();
    html! {
        @if bad().next().is_some() {
            div.dim {
                (bad().count()) " of " (verdicts) " seeds"
                @if !again.is_empty() {
                    @let mean = 100.0 * again.iter().sum::<f64>() / again.len() as f64;
                    ", the same seed in " (format_args!("{mean:.0}")) " %"
                }
            }
        }
    }
}

/// Whether there is more to say of it than its colour.
fn told(shown: &Shown) -> bool {
    !matches!(shown.colour, Colour::Green | Colour::Left)
}

fn anchor(shown: &Shown) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("c-{}", shown.cell.id.chars().map(plain).collect::<String>())
}

fn details(judged: &Judged) -> Markup {
    let mut cells: Vec<&Shown> = judged.cells.iter().filter(|s| told(s)).collect();
    cells.sort_by_key(|shown| shown.colour);
    html! {
        @if !cells.is_empty() {
            h2 { "What is not green" }
            table {
                tr { th {} th { "cell" } th { "what" } }
                @for shown in cells { (detail(shown)) }
            }
        }
    }
}

fn detail(shown: &Shown) -> Markup {
    let word = shown.colour.word();
    let by = shown.came.as_ref().and_then(|came| came.by.as_ref());
    let print = by.and_then(|ran| ran.fingerprint.as_ref());
    let print = print.map(|p| format!("fingerprint {}: {}", p.id, p.shape));
    let issue = shown.issue;
    let issue = issue.map(|issue| format!("known: {} until {}", issue.link, issue.until));
    let again = Some(again(shown)).filter(|text| !text.is_empty());
    html! {
        tr id=(anchor(shown)) {
            td { a class={ "c " (word) } { (word) } }
            td { (shown.cell.id) }
            td {
                (shown.why)
                @for line in [again, print, issue].into_iter().flatten() { br; span.dim { (line) } }
                @if let Some(ran) = by { br; code { (ran.again) } }
            }
        }
    }
}

fn trends(trend: &Trend) -> Markup {
    let how = |worse| match worse {
        Some(true) => "worse",
        Some(false) => "better",
        None => "other",
    };
    html! {
        @if trend.nights > 0 {
            h2 { "Against nights before" }
            p {
                (trend.changes.len()) " of " (trend.compared) " figures changed by the ranks of their runs; "
                (trend.too_few) " had too few runs to tell."
            }
            @if !trend.changes.is_empty() {
                table {
                    tr { th {} th { "cell" } th { "figure" } th { "median" } th { "was" } th { "p" } }
                    @for change in &trend.changes {
                        tr {
                            td { (how(change.worse)) }
                            td { (change.combo) }
                            td { (change.figure) }
                            td { (format_args!("{:.4}", change.now)) }
                            td { (format_args!("{:.4}", change.before)) }
                            td { (format_args!("{:.1e}", change.p)) }
                        }
                    }
                }
            }
        }
    }
}
