//! The tables: faults with their receipts, checkers, operations by f, errors, what was asked, and
//! the operations themselves.

use checkers::{Figure, Verdict, models};
use history::fault::{Receipt, Span};
use history::wording::{either, listed};
use history::{Outcome, Time};
use maud::{Markup, PreEscaped, html};
use serde_json::Value as Json;

use crate::Run;
use crate::palette::class;
use crate::text::{clip, count, counted, moment, span};

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
pub fn outcome(outcome: Outcome) -> Markup {
    let word = match outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Info => "info",
    };
    html! { span class={ "outcome " (word) } { (word) } }
}

/// A verdict as a sign and a word, so that it does not hang on its colour.
pub fn verdict(verdict: Verdict) -> Markup {
    marked(verdict.word(), sign(verdict), verdict.word())
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

/// A word with a sign before it, in the colour of the class.
fn marked(class: &str, sign: char, word: &str) -> Markup {
    html! { span class={ "sign " (class) } { i { (sign) } (word) } }
}

pub fn faults(run: &Run) -> Markup {
    let rest = run.spans.len().saturating_sub(MAX_FAULTS);
    html! {
        div.scroll {
            table.faults {
                thead {
                    tr {
                        th.n { "#" } th { "fault" } th { "targets" } th.n { "from" } th.n { "in force" }
                        th.n { "healed" } th { "took hold?" } th { "undone?" }
                    }
                }
                tbody { @for fault in run.spans.iter().take(MAX_FAULTS) { (fault_row(fault)) } }
            }
        }
        @if rest > 0 {
            p.caption {
                (counted(rest, "more fault")) " " (either(rest, "is", "are")) " on the timeline of all operations."
            }
        }
    }
}

fn fault_row(fault: &Span) -> Markup {
    let targets: Vec<&str> = fault.targets.iter().map(|n| n.as_str()).collect();
    let undone = fault.healed() && fault.heal.as_ref().is_some_and(|r| r.held);
    html! {
        tr id={ "fault-" (fault.fault) } {
            td.n { (fault.fault) }
            td {
                span class={ "family " (class(&fault.family)) } { (clip(&fault.family, 40)) }
                small { (clip(&fault.label, 200)) }
            }
            td { (clip(targets.join(" "), 120)) }
            td.n { (moment(fault.from)) }
            td.n {
                @match fault.held_from {
                    Some(t) => { (moment(t)) small { "after " (span(t.since(fault.from))) } }
                    None => "never",
                }
            }
            td.n {
                @match (fault.healed(), fault.held_from) {
                    (true, Some(t)) => { (moment(fault.until)) small { "in force " (span(fault.until.since(t))) } }
                    (true, None) => (moment(fault.until)),
                    (false, _) => "not recorded",
                }
            }
            td {
                (receipt(fault.inject.as_ref(), fault.held()))
                @if let Some(error) = &fault.error { p.error { (clip(error, 400)) } }
            }
            td { (receipt(fault.heal.as_ref(), undone)) }
        }
    }
}

/// A tick or a cross, and what was seen.
fn receipt(receipt: Option<&Receipt>, shown: bool) -> Markup {
    let (class, sign, word) = match (receipt, shown) {
        (Some(receipt), true) if receipt.stays => ("unknown", '–', "it stays"),
        (_, true) => ("valid", '✓', "yes"),
        (Some(_), false) => ("invalid", '✗', "no"),
        (None, false) => ("unknown", '?', "no receipt"),
    };
    let evidence = receipt.map_or(&[][..], |r| &r.evidence);
    // The first lines in sight, the rest on demand.
    let (first, rest) = evidence.split_at(evidence.len().min(2));
    html! {
        (marked(class, sign, word))
        @if !first.is_empty() {
            ul.evidence { @for line in first { li { (clip(line, 300)) } } }
        }
        @if !rest.is_empty() {
            details.more {
                summary { (rest.len()) " more" }
                ul.evidence {
                    @for line in rest.iter().take(MAX_EVIDENCE) { li { (clip(line, 300)) } }
                    @if rest.len() > MAX_EVIDENCE {
                        li { "… and " (rest.len() - MAX_EVIDENCE) " in the history" }
                    }
                }
            }
        }
    }
}

fn left_out(n: usize, what: &str) -> Markup {
    html! {
        @if n > 0 { p.caption { (counted(n, &format!("more {what}"))) " left out here." } }
    }
}

pub fn checkers(run: &Run) -> Markup {
    html! {
        div.scroll {
            table.checkers {
                thead { tr { th { "checker" } th { "verdict" } th { "finding" } th { "figures" } } }
                tbody {
                    @for analysis in run.input.analyses {
                        tr {
                            td { b { (clip(&analysis.checker, 60)) } }
                            td {
                                @if analysis.measured { (analysis.word()) } @else { (verdict(analysis.verdict)) }
                            }
                            td {
                                (clip(&analysis.summary, 1000))
                                @if analysis.found() > 0 { small { (counted(analysis.found(), "anomaly")) } }
                                (models(&analysis.figures))
                            }
                            td { (figures(&analysis.figures)) }
                        }
                    }
                }
            }
        }
    }
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
fn models(figures: &[Figure]) -> Markup {
    let figure = |name: &str| figures.iter().find(|f| f.name == name).map(|f| &f.value);
    let named = |name: &str| figure(name).and_then(Json::as_array).into_iter().flatten();
    let cores = figure(models::CORES.name);
    let core = |model: &str| {
        let ops = cores?.get(model)?.get("ops")?.as_array()?.iter();
        let link = |op| html! { a href={ "#op-" (op) } data-jump=(op) { "#" (op) } }.into_string();
        let links: Vec<String> = ops.filter_map(Json::as_u64).map(link).collect();
        (!links.is_empty()).then(|| PreEscaped(listed(links, MOST_OF_A_CORE)))
    };
    html! {
        @if named(models::REFUTED.name).next().is_some() {
            table.models {
                thead { tr { th { "model" } th {} th { "by these operations" } } }
                tbody {
                    @for (name, word) in MODELS {
                        @for model in named(name).filter_map(Json::as_str) {
                            tr {
                                td { (clip(model, 60)) }
                                td class=(word) { (word) }
                                td {
                                    @if word == "refuted" && let Some(ops) = core(model) { (ops) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figures(figures: &[Figure]) -> Markup {
    let has_table =
        |f: &Figure| f.name == models::CORES.name || MODELS.iter().any(|(name, _)| f.name == *name);
    let figures: Vec<&Figure> = figures.iter().filter(|f| !has_table(f)).collect();
    html! {
        @if !figures.is_empty() {
            dl.figures {
                @for figure in figures.iter().take(40) {
                    dt { (clip(&figure.name, 80)) }
                    dd { (clip(readable(&figure.value), 400)) " " (clip(&figure.unit, 20)) }
                }
            }
        }
    }
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
        // Also below zero.
        (None, Some(0.0)) => "0".to_string(),
        (Some(n), _) => count(n as usize),
        (None, Some(x)) if x.fract() != 0.0 && x.abs() >= 0.001 => {
            let text = format!("{x:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ => n.to_string(),
    }
}

pub fn by_f(run: &Run) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "operation" }
                        @for name in ["ok", "fail", "info", "p50", "p99", "max"] { th.n { (name) } }
                    }
                }
                tbody {
                    @for (i, of_f) in run.stats.by_f.iter().enumerate() {
                        @let tally = of_f.tally;
                        tr {
                            td { i class={ "dot f" (i) } {} (clip(&of_f.f, 40)) }
                            @for n in [tally.ok, tally.fail, tally.info] { td.n { (count(n)) } }
                            @match of_f.latency {
                                Some(l) => { @for of in [l.p50, l.p99, l.max] { td.n { (span(of)) } } }
                                None => { td.n {} td.n {} td.n {} }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub fn errors(run: &Run) -> Markup {
    let errors = &run.stats.errors;
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "error" } th.n { "fail" } th.n { "info" } th.n { "first at" } th { "the first in full" }
                    }
                }
                tbody {
                    @for error in errors.iter().take(MAX_ERRORS) {
                        tr {
                            td { code { (error.code) } }
                            td.n { (count(error.fail)) }
                            td.n { (count(error.info)) }
                            td.n { (moment(error.first)) }
                            td { (error.example) }
                        }
                    }
                }
            }
        }
        (left_out(errors.len().saturating_sub(MAX_ERRORS), "error code"))
    }
}

/// What was asked, as dotted names and their values.
pub fn spec(spec: &Json) -> Markup {
    let mut rows = Vec::new();
    flatten(spec, String::new(), &mut rows);
    html! {
        dl.spec {
            @for (name, value) in rows.iter().take(MAX_SPEC_ROWS) {
                dt { (clip(name, 120)) }
                dd { (clip(value, 2000)) }
            }
        }
        (left_out(rows.len().saturating_sub(MAX_SPEC_ROWS), "setting"))
    }
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

pub fn schedule(text: &str) -> Markup {
    html! {
        details.box { summary { "The schedule as it was run" } pre { (clip(text, MAX_TEXT)) } }
    }
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
