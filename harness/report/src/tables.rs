//! The tables: faults with their receipts, checkers, operations by f, errors, what was asked, and
//! the operations themselves.

use std::fmt::{self, Write};

use checkers::{Figure, Verdict, models};
use history::fault::{Receipt, Span};
use history::wording::listed;
use history::{Outcome, Time};
use serde_json::Value as Json;

use crate::Run;
use crate::text::{Esc, clip, count, counted, moment, span};

/// Most faults listed.
const MAX_FAULTS: usize = 500;

/// Most lines of evidence shown of one receipt.
const MAX_EVIDENCE: usize = 24;

/// Most error codes listed.
const MAX_ERRORS: usize = 30;

/// Most rows of what was asked, and the longest text shown whole.
const MAX_SPEC_ROWS: usize = 200;
const MAX_TEXT: usize = 100_000;

/// An outcome as a word that is also coloured.
pub struct Badge(pub Outcome);

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = word(self.0);
        write!(f, "<span class=\"outcome {word}\">{word}</span>")
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Info => "info",
    }
}

/// A verdict as a sign and a word, so that it does not hang on its colour.
pub struct Sign(pub Verdict);

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.0.word();
        write!(
            f,
            "<span class=\"sign {word}\"><i>{}</i>{word}</span>",
            sign(self.0)
        )
    }
}

pub fn sign(verdict: Verdict) -> char {
    match verdict {
        Verdict::Valid => '✓',
        Verdict::Invalid => '✗',
        Verdict::Unknown => '?',
        Verdict::Vacuous => '∅',
        Verdict::Infra => '!',
    }
}

pub fn faults(out: &mut String, run: &Run) -> fmt::Result {
    writeln!(
        out,
        "<div class=\"scroll\"><table class=\"faults\"><thead><tr><th class=\"n\">#</th><th>fault</th><th>targets</th>\
         <th class=\"n\">from</th><th class=\"n\">in force</th><th class=\"n\">healed</th>\
         <th>took hold?</th><th>undone?</th></tr></thead><tbody>"
    )?;
    for fault in run.spans.iter().take(MAX_FAULTS) {
        fault_row(out, fault)?;
    }
    writeln!(out, "</tbody></table></div>")?;
    match run.spans.len().saturating_sub(MAX_FAULTS) {
        0 => Ok(()),
        rest => writeln!(
            out,
            "<p class=\"caption\">{} {} on the timeline of all operations.</p>",
            counted(rest, "more fault"),
            history::wording::either(rest, "is", "are"),
        ),
    }
}

fn fault_row(out: &mut String, fault: &Span) -> fmt::Result {
    let targets: Vec<&str> = fault.targets.iter().map(|n| n.as_str()).collect();
    let held_after = match fault.held_from {
        Some(t) => format!(
            "{}<small>after {}</small>",
            moment(t),
            span(t.since(fault.from))
        ),
        None => "never".to_string(),
    };
    let healed = match (fault.healed(), fault.held_from) {
        (true, Some(t)) => {
            format!(
                "{}<small>in force {}</small>",
                moment(fault.until),
                span(fault.until.since(t))
            )
        }
        (true, None) => moment(fault.until),
        (false, _) => "not recorded".to_string(),
    };
    write!(
        out,
        "<tr id=\"fault-{}\"><td class=\"n\">{}</td><td><span class=\"family {}\">{}</span><small>{}</small></td><td>{}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{held_after}</td><td class=\"n\">{healed}</td><td>",
        fault.fault,
        fault.fault,
        crate::palette::class(&fault.family),
        Esc(clip(&fault.family, 40)),
        Esc(clip(&fault.label, 200)),
        Esc(clip(targets.join(" "), 120)),
        moment(fault.from),
    )?;
    receipt(out, fault.inject.as_ref(), fault.held())?;
    if let Some(error) = &fault.error {
        write!(out, "<p class=\"error\">{}</p>", Esc(clip(error, 400)))?;
    }
    write!(out, "</td><td>")?;
    receipt(
        out,
        fault.heal.as_ref(),
        fault.healed() && fault.heal.as_ref().is_some_and(|r| r.held),
    )?;
    writeln!(out, "</td></tr>")
}

/// A tick or a cross, and what was seen.
fn receipt(out: &mut String, receipt: Option<&Receipt>, shown: bool) -> fmt::Result {
    let (class, sign, word) = match (receipt, shown) {
        (_, true) => ("valid", '✓', "yes"),
        (Some(_), false) => ("invalid", '✗', "no"),
        (None, false) => ("unknown", '?', "no receipt"),
    };
    write!(
        out,
        "<span class=\"sign {class}\"><i>{sign}</i>{word}</span>"
    )?;
    let Some(receipt) = receipt.filter(|r| !r.evidence.is_empty()) else {
        return Ok(());
    };
    let item = |out: &mut String, line: &str| write!(out, "<li>{}</li>", Esc(clip(line, 300)));
    write!(out, "<ul class=\"evidence\">")?;
    // The first lines in sight, the rest on demand.
    let (first, rest) = receipt.evidence.split_at(receipt.evidence.len().min(2));
    for line in first {
        item(out, line)?;
    }
    write!(out, "</ul>")?;
    if !rest.is_empty() {
        write!(
            out,
            "<details class=\"more\"><summary>{} more</summary><ul class=\"evidence\">",
            rest.len()
        )?;
        for line in rest.iter().take(MAX_EVIDENCE) {
            item(out, line)?;
        }
        if rest.len() > MAX_EVIDENCE {
            write!(
                out,
                "<li>… and {} in the history</li>",
                rest.len() - MAX_EVIDENCE
            )?;
        }
        write!(out, "</ul></details>")?;
    }
    Ok(())
}

fn left_out(out: &mut String, n: usize, what: &str) -> fmt::Result {
    match n {
        0 => Ok(()),
        n => writeln!(
            out,
            "<p class=\"caption\">{} left out here.</p>",
            counted(n, &format!("more {what}"))
        ),
    }
}

pub fn checkers(out: &mut String, run: &Run) -> fmt::Result {
    writeln!(
        out,
        "<div class=\"scroll\"><table class=\"checkers\"><thead><tr><th>checker</th><th>verdict</th><th>finding</th><th>figures</th>\
         </tr></thead><tbody>"
    )?;
    for analysis in run.input.analyses {
        write!(
            out,
            "<tr><td><b>{}</b></td><td>{}</td><td>{}",
            Esc(clip(&analysis.checker, 60)),
            match analysis.measured {
                true => analysis.word().to_string(),
                false => Sign(analysis.verdict).to_string(),
            },
            Esc(clip(&analysis.summary, 1000)),
        )?;
        if analysis.found() > 0 {
            write!(
                out,
                "<small>{}</small>",
                counted(analysis.found(), "anomaly")
            )?;
        }
        models(out, &analysis.figures)?;
        write!(out, "</td><td>")?;
        figures(out, &analysis.figures)?;
        writeln!(out, "</td></tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

/// The figures that [`models`] shows.
const MODELS: [(&str, &str); 3] = [
    (models::HOLD.name, "holds"),
    (models::REFUTED.name, "refuted"),
    (models::UNDECIDED.name, "undecided"),
];

/// As many operations of a core are named.
const MOST_OF_A_CORE: usize = 12;

/// What a system gives: each consistency model, whether it holds, and the operations that refute
/// it.
fn models(out: &mut String, figures: &[Figure]) -> fmt::Result {
    let figure = |name: &str| figures.iter().find(|f| f.name == name).map(|f| &f.value);
    let named = |name: &str| figure(name).and_then(Json::as_array).into_iter().flatten();
    let cores = figure(models::CORES.name);
    if named(models::REFUTED.name).next().is_none() {
        return Ok(());
    }
    write!(
        out,
        "<table class=\"models\"><thead><tr><th>model</th><th></th><th>by these operations</th></tr></thead><tbody>"
    )?;
    for (name, word) in MODELS {
        for model in named(name).filter_map(Json::as_str) {
            let core = cores.and_then(|cores| cores.get(model));
            let ops = core
                .and_then(|core| core.get("ops"))
                .and_then(Json::as_array);
            let ops = ops.filter(|_| word == "refuted").into_iter().flatten();
            let ops = ops.filter_map(Json::as_u64);
            let ops = ops.map(|op| format!("<a href=\"#op-{op}\" data-jump=\"{op}\">#{op}</a>"));
            write!(
                out,
                "<tr><td>{}</td><td class=\"{word}\">{word}</td><td>{}</td></tr>",
                Esc(clip(model, 60)),
                match ops.clone().next() {
                    None => String::new(),
                    Some(_) => listed(ops, MOST_OF_A_CORE),
                }
            )?;
        }
    }
    write!(out, "</tbody></table>")
}

fn figures(out: &mut String, figures: &[Figure]) -> fmt::Result {
    let has_table =
        |f: &Figure| f.name == models::CORES.name || MODELS.iter().any(|(name, _)| f.name == *name);
    let figures: Vec<&Figure> = figures.iter().filter(|f| !has_table(f)).collect();
    if figures.is_empty() {
        return Ok(());
    }
    write!(out, "<dl class=\"figures\">")?;
    for figure in figures.iter().take(40) {
        let value = clip(readable(&figure.value), 400);
        write!(
            out,
            "<dt>{}</dt><dd>{} {}</dd>",
            Esc(clip(&figure.name, 80)),
            Esc(value),
            Esc(clip(&figure.unit, 20))
        )?;
    }
    write!(out, "</dl>")
}

/// A figure of one part or several, as it is read aloud: `k 2, witness (op 7, op 9)`.
fn readable(value: &Json) -> String {
    let within = |value: &Json| match value {
        Json::Object(_) | Json::Array(_) => format!("({})", readable(value)),
        _ => readable(value),
    };
    match value {
        Json::String(s) => s.clone(),
        Json::Number(n) => number(n),
        Json::Null => "none".into(),
        Json::Bool(yes) => yes.to_string(),
        Json::Array(items) => items.iter().map(within).collect::<Vec<_>>().join(", "),
        Json::Object(parts) => {
            let parts = parts
                .iter()
                .map(|(name, part)| format!("{name} {}", within(part)));
            parts.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Integers grouped; others with as many digits as anybody reads.
fn number(n: &serde_json::Number) -> String {
    match (n.as_u64(), n.as_f64()) {
        // Also below nought.
        (None, Some(0.0)) => "0".to_string(),
        (Some(n), _) => count(n as usize),
        (None, Some(x)) if x.fract() != 0.0 && x.abs() >= 0.001 => {
            let text = format!("{x:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ => n.to_string(),
    }
}

pub fn by_f(out: &mut String, run: &Run) -> fmt::Result {
    writeln!(
        out,
        "<div class=\"scroll\"><table><thead><tr><th>operation</th><th class=\"n\">ok</th><th class=\"n\">fail</th>\
         <th class=\"n\">info</th><th class=\"n\">p50</th><th class=\"n\">p99</th><th class=\"n\">max</th>\
         </tr></thead><tbody>"
    )?;
    for (i, of_f) in run.stats.by_f.iter().enumerate() {
        let latency = of_f.latency.map(|l| [l.p50, l.p99, l.max].map(span));
        write!(
            out,
            "<tr><td><i class=\"dot f{i}\"></i>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
            Esc(clip(&of_f.f, 40)),
            count(of_f.tally.ok),
            count(of_f.tally.fail),
            count(of_f.tally.info),
        )?;
        for i in 0..3 {
            write!(
                out,
                "<td class=\"n\">{}</td>",
                latency.as_ref().map_or("", |l| l[i].as_str())
            )?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

pub fn errors(out: &mut String, run: &Run) -> fmt::Result {
    let errors = &run.stats.errors;
    writeln!(
        out,
        "<div class=\"scroll\"><table><thead><tr><th>error</th><th class=\"n\">fail</th><th class=\"n\">info</th>\
         <th class=\"n\">first at</th><th>the first in full</th></tr></thead><tbody>"
    )?;
    for error in errors.iter().take(MAX_ERRORS) {
        writeln!(
            out,
            "<tr><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            Esc(&error.code),
            count(error.fail),
            count(error.info),
            moment(error.first),
            Esc(&error.example),
        )?;
    }
    writeln!(out, "</tbody></table></div>")?;
    left_out(out, errors.len().saturating_sub(MAX_ERRORS), "error code")
}

/// What was asked, as dotted names and their values.
pub fn spec(out: &mut String, spec: &Json) -> fmt::Result {
    let mut rows = Vec::new();
    flatten(spec, String::new(), &mut rows);
    writeln!(out, "<dl class=\"spec\">")?;
    for (name, value) in rows.iter().take(MAX_SPEC_ROWS) {
        writeln!(
            out,
            "<dt>{}</dt><dd>{}</dd>",
            Esc(clip(name, 120)),
            Esc(clip(value, 2000))
        )?;
    }
    writeln!(out, "</dl>")?;
    left_out(out, rows.len().saturating_sub(MAX_SPEC_ROWS), "setting")
}

fn flatten(json: &Json, name: String, rows: &mut Vec<(String, String)>) {
    match json {
        Json::Object(entries) => {
            for (key, value) in entries {
                let name = match name.as_str() {
                    "" => key.clone(),
                    name => format!("{name}.{key}"),
                };
                flatten(value, name, rows);
            }
        }
        Json::Null => {}
        Json::String(s) => rows.push((name, s.clone())),
        Json::Array(items) if items.iter().all(|i| !i.is_object() && !i.is_array()) => {
            let items: Vec<String> = items
                .iter()
                .map(|i| i.as_str().map_or_else(|| i.to_string(), str::to_string))
                .collect();
            rows.push((name, items.join(", ")));
        }
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                flatten(item, format!("{name}[{i}]"), rows);
            }
        }
        other => rows.push((name, other.to_string())),
    }
}

pub fn schedule(out: &mut String, text: &str) -> fmt::Result {
    writeln!(
        out,
        "<details class=\"box\"><summary>The schedule as it was run</summary><pre>{}</pre></details>",
        Esc(clip(text, MAX_TEXT))
    )
}

/// `partition ×2, pause ×1`: the faults that took hold, by family.
pub fn families(spans: &[&Span]) -> String {
    let mut families: Vec<(&str, usize)> = Vec::new();
    for span in spans {
        match families.iter_mut().find(|f| f.0 == span.family) {
            Some((_, n)) => *n += 1,
            None => families.push((&span.family, 1)),
        }
    }
    let words: Vec<String> = families
        .into_iter()
        .map(|(name, n)| match n {
            1 => clip(name, 40),
            n => format!("{} ×{n}", clip(name, 40)),
        })
        .collect();
    words.join(", ")
}

/// When the last client event was seen, for people.
pub fn length(end: Time) -> String {
    span(end.elapsed())
}

#[cfg(test)]
mod tests;
