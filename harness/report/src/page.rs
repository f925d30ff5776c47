//! The page from top to bottom: verdict, why, the run at a glance, operations, faults, checkers,
//! what was asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use checkers::{Analysis, Verdict};
use history::fault::Span;
use history::wording::{listed, noun};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::charts;
use crate::operations;
use crate::packed;
use crate::palette;
use crate::sentence::{capital, findings, found, reason};
use crate::tables::{self, families, sign};
use crate::text::{clip, count, counted};
use crate::why;
use crate::{Input, Origin, Run};

const STYLE: &str = include_str!("style.css");

/// Files of one thing each, in one scope.
const SCRIPT: &str = concat!(
    "\n\"use strict\";\n(() => {\n",
    include_str!("script/tips.js"),
    include_str!("script/glance.js"),
    include_str!("script/packed.js"),
    include_str!("script/told.js"),
    include_str!("script/canvas.js"),
    include_str!("script/timeline.js"),
    include_str!("script/table.js"),
    include_str!("script/operations.js"),
    "})();\n",
);

/// The whole page.
pub fn whole(run: &Run) -> Markup {
    let input = &run.input;
    let word = input.verdict.word();
    let title = title(input);
    let tab = format!("{} {word}: {title}", sign(input.verdict));
    let findings = findings(run);
    html! {
        (DOCTYPE)
        html lang="en" class={ "verdict-" (word) } {
            (head(&tab, &icon(input.verdict), &palette::rules(&run.spans)))
            body {
                (shared())
                main {
                    (verdict(run, &title))
                    (contents(run))
                    @if !findings.is_empty() { section id="why" { h2 { "Why" } (why::draw(run)) } }
                    section id="glance" {
                        h2 { "The run at a glance" }
                        @if input.history.asked().next().is_none() {
                            p.lead { "No operation was recorded." }
                        } @else { (charts::glance(run)) }
                    }
                    @if !run.listed.is_empty() {
                        section id="operations" {
                            h2 { "Operations" }
                            (operations::frame(run))
                            (packed::element(run, &findings))
                        }
                    }
                    section id="faults" {
                        h2 { "Faults and their receipts" }
                        @if run.spans.is_empty() { p.lead { (no_fault(run)) } } @else { (tables::faults(run)) }
                    }
                    section id="checkers" { h2 { "Checkers" } (checkers(run)) }
                    section id="spec" {
                        h2 { "What was asked" }
                        (tables::spec(input.spec))
                        @if let Some(text) = input.schedule { (tables::schedule(text)) }
                    }
                }
                div id="tip" role="tooltip" hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// For all pictures: bars without an answer fade.
fn shared() -> Markup {
    html! {
        svg class="defs" width="0" height="0" aria-hidden="true" {
            defs {
                linearGradient id="fade-ramp" {
                    stop offset="0" stop-color="#fff" {}
                    stop offset="0.85" stop-color="#fff" stop-opacity="0.12" {}
                    stop offset="1" stop-color="#fff" stop-opacity="0" {}
                }
                mask id="fade" maskContentUnits="objectBoundingBox" {
                    rect width="1" height="1" fill="url(#fade-ramp)" {}
                }
            }
        }
    }
}

fn checkers(run: &Run) -> Markup {
    html! {
        @if run.input.analyses.is_empty() {
            p.lead { "Nothing was checked." }
        } @else { (tables::checkers(run)) }
        @if run.input.history.asked().next().is_some() {
            h3 { "Operations by kind" }
            (tables::by_f(run))
        }
        @if !run.stats.errors.is_empty() {
            h3 { "Errors by code" }
            (tables::errors(run))
        }
    }
}

/// What was tested, with what was asked of it and the bugs that were planted in it: nobody may take
/// these for its own.
fn title(input: &Input) -> String {
    let mut title = match (input.system, input.workload) {
        (system, "") => clip(system, 80),
        (system, workload) => format!("{} · {}", clip(system, 80), clip(workload, 80)),
    };
    let flaws = input.spec.get("flaws").and_then(Json::as_array);
    let flaws: Vec<&str> = flaws
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    if !flaws.is_empty() {
        let planted = listed(flaws.iter().map(|flaw| clip(flaw, 60)), 8);
        title += &format!(" · planted {}: {planted}", noun(flaws.len(), "flaw"));
    }
    title
}

/// The head of a page. The policy forbids every request, and every script but the page's own:
/// whatever a hostile history slips in, it does not run and nothing leaves the page.
pub fn head(title: &str, icon: &str, more_style: &str) -> Markup {
    let script = STANDARD.encode(Sha256::digest(SCRIPT));
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content={
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" (script) "'; img-src data:; \
                 base-uri 'none'; form-action 'none'"
            };
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) }
            link rel="icon" href=(icon);
            style { (PreEscaped(STYLE)) (PreEscaped(more_style)) }
        }
    }
}

fn contents(run: &Run) -> Markup {
    let links = [
        ("why", "Why", !findings(run).is_empty()),
        ("glance", "At a glance", true),
        ("operations", "Operations", !run.listed.is_empty()),
        ("faults", "Faults", true),
        ("checkers", "Checkers", true),
        ("spec", "What was asked", true),
    ];
    let links = links.into_iter().filter(|(.., is_there)| *is_there);
    links_to(links.map(|(id, text, _)| (id, text)))
}

/// Sections of the page, by their ids and names.
pub fn links_to<'a>(links: impl IntoIterator<Item = (&'a str, &'a str)>) -> Markup {
    html! {
        nav aria-label="Contents" { @for (id, text) in links { a href={ "#" (id) } { (text) } } }
    }
}

/// The verdict as the tab's picture.
fn icon(verdict: Verdict) -> String {
    let colour = match verdict {
        Verdict::Valid => "0f766e",
        Verdict::Invalid => "b42318",
        Verdict::Unknown => "8a5a00",
        Verdict::Vacuous => "6b4fa0",
        Verdict::Infra => "475569",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 viewBox=%270 0 16 16%27%3E%3Crect width=%2716%27 \
         height=%2716%27 rx=%274%27 fill=%27%23{colour}%27/%3E%3Ctext x=%278%27 y=%2712%27 font-size=%2711%27 fill=%27white%27 \
         text-anchor=%27middle%27%3E{}%3C/text%3E%3C/svg%3E",
        sign(verdict)
    )
}

fn verdict(run: &Run, title: &str) -> Markup {
    let input = &run.input;
    let word = input.verdict.word();
    html! {
        header class={ "verdict " (word) } {
            p.what { (title) }
            h1 { span.mark aria-hidden="true" { (sign(input.verdict)) } (word) }
            p.meaning { (capital(input.verdict.meaning())) "." }
            (because(run))
            (provenance(input.spec))
            (facts(run))
            @if !input.warnings.is_empty() {
                ul.warnings { @for warning in input.warnings.iter().take(20) { li { (clip(warning, 1000)) } } }
            }
            (again(input))
        }
    }
}

fn facts(run: &Run) -> Markup {
    let tally = run.stats.tally;
    let all: Vec<&Span> = run.spans.iter().collect();
    let held = all.iter().filter(|s| s.held()).count();
    let outcomes = [(tally.ok, "ok"), (tally.fail, "fail"), (tally.info, "info")];
    let facts = [
        (
            "operations",
            count(tally.total()),
            outcomes
                .map(|(n, word)| format!("{} {word}", count(n)))
                .join(", "),
        ),
        (
            "recorded",
            tables::length(run.stats.end),
            match run.stats.nodes.len() {
                // A file need not name any.
                0 => String::new(),
                n => counted(n, "node"),
            },
        ),
        (
            "faults",
            match all.len() {
                0 => "none".to_string(),
                n => format!("{held} of {n} held"),
            },
            families(&all),
        ),
        (
            "anomalies",
            count(found(run)),
            counted(run.input.analyses.len(), "checker"),
        ),
    ];
    html! {
        dl.facts {
            @for (name, value, detail) in facts {
                div { dt { (name) } dd { (value) small { (detail) } } }
            }
        }
    }
}

/// How to see it again, and how often others did.
fn again(input: &Input) -> Markup {
    let what = match input.origin {
        Origin::Run => "Run it again",
        Origin::File => "Judge it again",
    };
    html! {
        @if !input.command.is_empty() {
            div.again {
                span { (what) }
                code id="command" { (clip(input.command, 4000)) }
                button type="button" id="copy" hidden { "Copy" }
            }
        }
        @if let Some(repeated) = input.repeated {
            p.repeated { "It ended so again " (clip(repeated, 200)) "." }
        }
    }
}

/// What exactly was tested, where and when, as far as it is known.
fn provenance(spec: &Json) -> Markup {
    let text = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(n) => Some(n.to_string()),
        _ => None,
    };
    let at = |path: &str| spec.pointer(path).and_then(text);
    let mut parts = Vec::new();
    let versions = spec.get("versions").and_then(Json::as_array);
    parts.extend(versions.into_iter().flatten().filter_map(text));
    let programs = spec.get("programs").and_then(Json::as_object);
    for (name, hash) in programs.into_iter().flatten() {
        let hash = text(hash).unwrap_or_default();
        let start: String = hash.chars().take(12).collect();
        parts.push(format!("{name} SHA-256 {start}"));
    }
    parts.extend(at("/seed").map(|seed| format!("seed {seed}")));
    parts.extend(at("/cluster").map(|cluster| format!("on {cluster}")));
    let machine = ["/machine/arch", "/machine/kernel"].map(at);
    parts.extend(machine.into_iter().flatten());
    // To the second.
    let created = at("/created").map(|text| text.chars().take(19).collect::<String>());
    parts.extend(created.map(|time| format!("{} UTC", time.replace('T', " "))));
    let parts = parts.iter().take(16).map(|part| clip(part, 100));
    let parts = parts.collect::<Vec<_>>().join(" · ");
    html! {
        @if !parts.is_empty() { p.provenance { (parts) } }
    }
}

fn no_fault(run: &Run) -> &'static str {
    match run.input.origin {
        Origin::Run => "No fault was injected.",
        Origin::File => "The history tells of no fault.",
    }
}

/// The reason for the verdict, in words.
fn because(run: &Run) -> Markup {
    let verdict = run.input.verdict;
    let mut findings = findings(run).into_iter();
    if verdict == Verdict::Invalid
        && let Some((analysis, anomaly)) = findings.find(|f| f.0.verdict == Verdict::Invalid)
    {
        return html! {
            p.because {
                b {
                    (capital(&clip(&anomaly.kind, 80)))
                    @if let Some(object) = &anomaly.object { " (object " (clip(object, 80)) ")" }
                    ":"
                }
                " " (reason(anomaly, 1200)) " "
                small { "found by " (clip(&analysis.checker, 60)) }
            }
        };
    }
    let held: Vec<&Span> = run.spans.iter().filter(|s| s.held()).collect();
    let analyses = run.input.analyses.iter();
    let of_verdict: Vec<&Analysis> = analyses.filter(|a| a.verdict == verdict).collect();
    html! {
        @if verdict == Verdict::Valid {
            p.because {
                @match (run.spans.is_empty(), held.is_empty()) {
                    (true, _) => (no_fault(run)),
                    (false, true) => "No fault took hold.",
                    (false, false) => { "Faults that took hold: " (families(&held)) "." }
                }
            }
        }
        @if !of_verdict.is_empty() {
            ul.because {
                @for analysis in of_verdict.iter().take(8) {
                    li { b { (clip(&analysis.checker, 60)) } " " (clip(&analysis.summary, 600)) }
                }
            }
        }
    }
}
