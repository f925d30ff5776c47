//! `index.html`: the night as a grid, in one file that fetches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::again;
use crate::matrix::gate::{Colour, Judged, Shown};
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

pub fn html(judged: &Judged, trend: &Trend) -> String {
    let mut out = String::new();
    let head = judged.head;
    let colour = if judged.is_green() { "green" } else { "red" };
    let title = esc(&format!("{} {}", head.name, head.night));
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}: {colour}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title} <span class=\"b {colour}\">{}</span></h1>\n",
        if judged.is_green() {
            "green"
        } else {
            "not green"
        },
    );
    let _ = writeln!(
        out,
        "<p class=\"dim\">matrix {}, begun {}</p>",
        esc(&head.matrix),
        esc(&head.started)
    );
    list(
        &mut out,
        judged
            .reasons
            .iter()
            .map(|r| format!("{}: {}", r.gate.word(), r.text)),
    );
    legend(&mut out, judged);
    grid(&mut out, judged);
    details(&mut out, judged);
    if !judged.notes.is_empty() {
        out += "<h2>To know</h2>\n";
        list(&mut out, judged.notes.iter().cloned());
    }
    trends(&mut out, trend);
    out += "</body>\n</html>\n";
    out
}

fn list(out: &mut String, items: impl Iterator<Item = String>) {
    let items: String = items
        .map(|item| format!("<li>{}</li>\n", esc(&item)))
        .collect();
    if !items.is_empty() {
        let _ = write!(out, "<ul>\n{items}</ul>\n");
    }
}

fn legend(out: &mut String, judged: &Judged) {
    out.push_str("<table>\n");
    for colour in Colour::ALL {
        let n = judged.count(colour);
        if n > 0 {
            let (word, meaning) = (colour.word(), colour.meaning());
            let _ = writeln!(
                out,
                "<tr><td><a class=\"c {word}\">{n}</a></td><td>{word}</td><td>{meaning}</td></tr>"
            );
        }
    }
    out.push_str("</table>\n");
}

/// A row for each system and workload, a column for each nemesis, a square for each seed.
fn grid(out: &mut String, judged: &Judged) {
    let columns: BTreeSet<&str> = judged
        .cells
        .iter()
        .map(|s| s.cell.nemesis.as_str())
        .collect();
    let mut rows: BTreeMap<(&str, &str), BTreeMap<&str, Vec<&Shown>>> = BTreeMap::new();
    for shown in &judged.cells {
        let cell = shown.cell;
        let row = rows.entry((&cell.system, &cell.workload)).or_default();
        row.entry(&cell.nemesis).or_default().push(shown);
    }
    out.push_str("<h2>Cells</h2>\n<table>\n<tr><th>system</th><th>workload</th>");
    for column in &columns {
        let _ = write!(out, "<th>{}</th>", esc(column));
    }
    out.push_str("</tr>\n");
    for ((system, workload), cells) in &rows {
        let _ = write!(
            out,
            "<tr><th>{}</th><td>{}</td>",
            esc(system),
            esc(workload)
        );
        for column in &columns {
            out.push_str("<td>");
            for shown in cells.get(column).into_iter().flatten() {
                square(out, shown);
            }
            out.push_str(&share(cells.get(column).map_or(&[], Vec::as_slice)));
            out.push_str("</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

fn square(out: &mut String, shown: &Shown) {
    let (cell, word) = (shown.cell, shown.colour.word());
    let ending = shown
        .came
        .as_ref()
        .map_or("not run", |came| came.ending.word());
    let tip = esc(&format!("{}: {word}, {ending}. {}", cell.id, shown.why));
    let link = match told(shown) {
        true => format!(" href=\"#{}\"", anchor(shown)),
        false => String::new(),
    };
    let _ = write!(
        out,
        "<a class=\"c {word}\" title=\"{tip}\"{link}>{}</a>",
        cell.seed
    );
}

/// How many of a combination's seeds went wrong, and how often the same seed did again.
fn share(cells: &[&Shown]) -> String {
    let verdicts = cells
        .iter()
        .filter(|s| s.came.as_ref().is_some_and(|c| c.ending.is_verdict()));
    let verdicts = verdicts.count();
    let bad = |s: &&&Shown| {
        s.came
            .as_ref()
            .is_some_and(|c| c.ending == crate::matrix::record::Ending::Invalid)
    };
    let bad: Vec<&&Shown> = cells.iter().filter(bad).collect();
    if bad.is_empty() {
        return String::new();
    }
    let again: Vec<f64> = bad
        .iter()
        .filter_map(|s| s.came.as_ref()?.flaky())
        .collect();
    let flaky = match again.is_empty() {
        true => String::new(),
        false => {
            let mean = 100.0 * again.iter().sum::<f64>() / again.len() as f64;
            format!(", the same seed in {mean:.0} %")
        }
    };
    format!(
        "<div class=\"dim\">{} of {verdicts} seeds{flaky}</div>",
        bad.len()
    )
}

/// Whether there is more to say of it than its colour.
fn told(shown: &Shown) -> bool {
    !matches!(shown.colour, Colour::Green | Colour::Left)
}

fn anchor(shown: &Shown) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("c-{}", shown.cell.id.chars().map(plain).collect::<String>())
}

fn details(out: &mut String, judged: &Judged) {
    let mut cells: Vec<&Shown> = judged.cells.iter().filter(|s| told(s)).collect();
    if cells.is_empty() {
        return;
    }
    cells.sort_by_key(|shown| shown.colour);
    out.push_str(
        "<h2>What is not green</h2>\n<table>\n<tr><th></th><th>cell</th><th>what</th></tr>\n",
    );
    for shown in cells {
        let word = shown.colour.word();
        let by = shown.came.as_ref().and_then(|came| came.by.as_ref());
        let _ = write!(
            out,
            "<tr id=\"{}\"><td><a class=\"c {word}\">{word}</a></td><td>{}</td><td>{}",
            anchor(shown),
            esc(&shown.cell.id),
            esc(&shown.why)
        );
        let print = by.and_then(|ran| ran.fingerprint.as_ref());
        let print = print.map(|p| format!("fingerprint {}: {}", p.id, p.shape));
        let issue = shown
            .issue
            .map(|issue| format!("known: {} until {}", issue.link, issue.until));
        let again = Some(again(shown)).filter(|text| !text.is_empty());
        for line in [again, print, issue].into_iter().flatten() {
            let _ = write!(out, "<br><span class=\"dim\">{}</span>", esc(&line));
        }
        if let Some(ran) = by {
            let _ = write!(out, "<br><code>{}</code>", esc(&ran.again));
        }
        out.push_str("</td></tr>\n");
    }
    out.push_str("</table>\n");
}

fn trends(out: &mut String, trend: &Trend) {
    if trend.nights == 0 {
        return;
    }
    let _ = write!(
        out,
        "<h2>Against nights before</h2>\n<p>{} of {} figures changed by the ranks of their runs; {} had too few \
         runs to tell.</p>\n",
        trend.changes.len(),
        trend.compared,
        trend.too_few
    );
    if trend.changes.is_empty() {
        return;
    }
    out.push_str("<table>\n<tr><th></th><th>cell</th><th>figure</th><th>median</th><th>was</th><th>p</th></tr>\n");
    for change in &trend.changes {
        let how = match change.worse {
            Some(true) => "worse",
            Some(false) => "better",
            None => "other",
        };
        let _ = writeln!(
            out,
            "<tr><td>{how}</td><td>{}</td><td>{}</td><td>{:.4}</td><td>{:.4}</td><td>{:.1e}</td></tr>",
            esc(&change.combo),
            esc(&change.figure),
            change.now,
            change.before,
            change.p
        );
    }
    out.push_str("</table>\n");
}

/// Text that is safe in HTML, as content and between double quotes.
fn esc(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}
