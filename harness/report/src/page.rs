//! The page from top to bottom: verdict, why, the run at a glance, operations, faults, checkers,
//! what was asked.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use checkers::{Analysis, Anomaly, Verdict};
use history::fault::Span;
use history::wording::{listed, noun};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::charts;
use crate::operations;
use crate::palette;
use crate::sentence::{Reason, capital, findings, found};
use crate::tables::{self, families, sign};
use crate::text::{Esc, clip, count, counted};
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

/// Writes the whole page.
pub fn write(out: &mut String, run: &Run) -> fmt::Result {
    let input = &run.input;
    let word = input.verdict.word();
    let title = title(input);
    head(
        out,
        &format!("verdict-{word}"),
        &format!("{} {word}: {title}", sign(input.verdict)),
        &icon(input.verdict),
        &palette::rules(&run.spans),
    )?;
    // Shared by all pictures: bars without an answer fade, faults that did not hold are hatched.
    writeln!(
        out,
        "<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>\
         <linearGradient id=\"fade-ramp\"><stop offset=\"0\" stop-color=\"#fff\"/>\
         <stop offset=\"0.85\" stop-color=\"#fff\" stop-opacity=\"0.12\"/>\
         <stop offset=\"1\" stop-color=\"#fff\" stop-opacity=\"0\"/></linearGradient>\
         <mask id=\"fade\" maskContentUnits=\"objectBoundingBox\">\
         <rect width=\"1\" height=\"1\" fill=\"url(#fade-ramp)\"/></mask></defs></svg>"
    )?;
    writeln!(out, "<main>")?;
    verdict(out, run, &title)?;
    contents(out, run)?;
    if !findings(run).is_empty() {
        section(out, "why", "Why")?;
        why::draw(out, run)?;
        writeln!(out, "</section>")?;
    }
    section(out, "glance", "The run at a glance")?;
    match input.history.asked().next().is_none() {
        true => writeln!(out, "<p class=\"lead\">No operation was recorded.</p>")?,
        false => charts::glance(out, run)?,
    }
    writeln!(out, "</section>")?;
    if !run.listed.is_empty() {
        section(out, "operations", "Operations")?;
        operations::write(out, run, &findings(run))?;
        writeln!(out, "</section>")?;
    }
    section(out, "faults", "Faults and their receipts")?;
    match run.spans.is_empty() {
        true => writeln!(out, "<p class=\"lead\">{}</p>", no_fault(run))?,
        false => tables::faults(out, run)?,
    }
    writeln!(out, "</section>")?;
    section(out, "checkers", "Checkers")?;
    match input.analyses.is_empty() {
        true => writeln!(out, "<p class=\"lead\">Nothing was checked.</p>")?,
        false => tables::checkers(out, run)?,
    }
    if input.history.asked().next().is_some() {
        writeln!(out, "<h3>Operations by kind</h3>")?;
        tables::by_f(out, run)?;
    }
    if !run.stats.errors.is_empty() {
        writeln!(out, "<h3>Errors by code</h3>")?;
        tables::errors(out, run)?;
    }
    writeln!(out, "</section>")?;
    section(out, "spec", "What was asked")?;
    tables::spec(out, input.spec)?;
    if let Some(text) = input.schedule {
        tables::schedule(out, text)?;
    }
    writeln!(out, "</section>")?;
    writeln!(
        out,
        "</main>\n<div id=\"tip\" role=\"tooltip\" hidden></div>\n<script>{SCRIPT}</script>\n</body>\n</html>"
    )
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

/// Everything up to the body. The policy forbids every request, and every script but the page's
/// own: whatever a hostile history slips in, it does not run and nothing leaves the page.
pub fn head(
    out: &mut String,
    class: &str,
    title: &str,
    icon: &str,
    more_style: &str,
) -> fmt::Result {
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\" class=\"{class}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<link rel=\"icon\" href=\"{icon}\">\n<style>\n{STYLE}{more_style}</style>\n</head>\n<body>",
        STANDARD.encode(Sha256::digest(SCRIPT)),
        Esc(title),
    )
}

fn contents(out: &mut String, run: &Run) -> fmt::Result {
    let operations = !run.listed.is_empty();
    let links = [
        ("why", "Why", !findings(run).is_empty()),
        ("glance", "At a glance", true),
        ("operations", "Operations", operations),
        ("faults", "Faults", true),
        ("checkers", "Checkers", true),
        ("spec", "What was asked", true),
    ];
    write!(out, "<nav aria-label=\"Contents\">")?;
    for (id, text, _) in links.iter().filter(|l| l.2) {
        write!(out, "<a href=\"#{id}\">{text}</a>")?;
    }
    writeln!(out, "</nav>")
}

fn section(out: &mut String, id: &str, heading: &str) -> fmt::Result {
    writeln!(out, "<section id=\"{id}\">\n<h2>{heading}</h2>")
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

fn verdict(out: &mut String, run: &Run, title: &str) -> fmt::Result {
    let input = &run.input;
    let word = input.verdict.word();
    writeln!(
        out,
        "<header class=\"verdict {word}\"><p class=\"what\">{}</p>\
         <h1><span class=\"mark\" aria-hidden=\"true\">{}</span>{word}</h1><p class=\"meaning\">{}.</p>",
        Esc(title),
        sign(input.verdict),
        Esc(capital(input.verdict.meaning())),
    )?;
    because(out, run)?;
    provenance(out, input.spec)?;
    let held: Vec<&Span> = run.spans.iter().filter(|s| s.held()).collect();
    let tally = run.stats.tally;
    let faults = match run.spans.len() {
        0 => "none".to_string(),
        n => format!("{} of {n} held", held.len()),
    };
    let kinds = families(&run.spans.iter().collect::<Vec<_>>());
    let facts = [
        (
            "operations",
            count(tally.total()),
            format!(
                "{} ok, {} fail, {} info",
                count(tally.ok),
                count(tally.fail),
                count(tally.info)
            ),
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
        ("faults", faults, kinds),
        (
            "anomalies",
            count(found(run)),
            counted(input.analyses.len(), "checker"),
        ),
    ];
    writeln!(out, "<dl class=\"facts\">")?;
    for (name, value, detail) in facts {
        writeln!(
            out,
            "<div><dt>{name}</dt><dd>{}<small>{}</small></dd></div>",
            Esc(value),
            Esc(detail)
        )?;
    }
    writeln!(out, "</dl>")?;
    if !input.warnings.is_empty() {
        writeln!(out, "<ul class=\"warnings\">")?;
        for warning in input.warnings.iter().take(20) {
            writeln!(out, "<li>{}</li>", Esc(clip(warning, 1000)))?;
        }
        writeln!(out, "</ul>")?;
    }
    again(out, input)?;
    writeln!(out, "</header>")
}

/// How to see it again, and how often others did.
fn again(out: &mut String, input: &Input) -> fmt::Result {
    if !input.command.is_empty() {
        writeln!(
            out,
            "<div class=\"again\"><span>{}</span><code id=\"command\">{}</code>\
             <button type=\"button\" id=\"copy\" hidden>Copy</button></div>",
            match input.origin {
                Origin::Run => "Run it again",
                Origin::File => "Judge it again",
            },
            Esc(clip(input.command, 4000))
        )?;
    }
    if let Some(repeated) = input.repeated {
        writeln!(
            out,
            "<p class=\"repeated\">It ended so again {}.</p>",
            Esc(clip(repeated, 200))
        )?;
    }
    Ok(())
}

/// What exactly was tested, where and when, as far as it is known.
fn provenance(out: &mut String, spec: &Json) -> fmt::Result {
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
    if parts.is_empty() {
        return Ok(());
    }
    let parts = parts.iter().take(16).map(|part| clip(part, 100));
    writeln!(
        out,
        "<p class=\"provenance\">{}</p>",
        Esc(parts.collect::<Vec<_>>().join(" · "))
    )
}

fn no_fault(run: &Run) -> &'static str {
    match run.input.origin {
        Origin::Run => "No fault was injected.",
        Origin::File => "The history tells of no fault.",
    }
}

/// The reason for the verdict, in words.
fn because(out: &mut String, run: &Run) -> fmt::Result {
    let verdict = run.input.verdict;
    let of_verdict: Vec<&Analysis> = run
        .input
        .analyses
        .iter()
        .filter(|a| a.verdict == verdict)
        .collect();
    if verdict == Verdict::Invalid
        && let Some((analysis, anomaly)) = findings(run)
            .into_iter()
            .find(|(analysis, _)| analysis.verdict == Verdict::Invalid)
    {
        return writeln!(
            out,
            "<p class=\"because\"><b>{}{}</b> {} <small>found by {}</small></p>",
            Esc(capital(&clip(&anomaly.kind, 80))),
            Esc(object(anomaly)),
            Reason(anomaly, 1200),
            Esc(clip(&analysis.checker, 60)),
        );
    }
    if verdict == Verdict::Valid {
        let held: Vec<&Span> = run.spans.iter().filter(|s| s.held()).collect();
        let under = match (run.spans.is_empty(), held.is_empty()) {
            (true, _) => no_fault(run).to_string(),
            (false, true) => "No fault took hold.".to_string(),
            (false, false) => format!("Faults that took hold: {}.", families(&held)),
        };
        writeln!(out, "<p class=\"because\">{}</p>", Esc(under))?;
    }
    if of_verdict.is_empty() {
        return Ok(());
    }
    writeln!(out, "<ul class=\"because\">")?;
    for analysis in of_verdict.iter().take(8) {
        writeln!(
            out,
            "<li><b>{}</b> {}</li>",
            Esc(clip(&analysis.checker, 60)),
            Esc(clip(&analysis.summary, 600))
        )?;
    }
    writeln!(out, "</ul>")
}

fn object(anomaly: &Anomaly) -> String {
    match &anomaly.object {
        Some(object) => format!(" (object {}):", clip(object, 80)),
        None => ":".to_string(),
    }
}
