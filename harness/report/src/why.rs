//! Why the verdict is what it is: each anomaly with its sentence, its picture and its operations.

use std::fmt::{self, Write};

use checkers::{Analysis, Anomaly};

use crate::sentence::{Reason, capital, findings, found};
use crate::text::{Esc, clip, count, counted};
use crate::{Run, picture, timeline};

/// Most anomalies with their pictures; the script lists the others.
const MAX_ANOMALIES: usize = 100;

/// Of a kind that one checker found so many are shown each by itself, and others together: a reader
/// looks for what else there is.
const ALIKE: usize = 4;

/// The checker, and what tells an anomaly apart from others of its kind: where and when it was
/// there to be seen.
fn found_by(run: &Run, analysis: &Analysis, anomaly: &Anomaly) -> String {
    let mut text = clip(&analysis.checker, 60);
    let named = timeline::named(run, anomaly);
    if let Some(last) = named.iter().max_by_key(|op| op.call) {
        if let Some(node) = &last.node {
            text.push_str(&format!(", on {}", clip(node, 40)));
        }
        text.push_str(&format!(", at {}", last.call));
    }
    text
}

pub fn draw(out: &mut String, run: &Run) -> fmt::Result {
    let findings = findings(run);
    let all = found(run);
    if all > 1 {
        let shown = findings.len().min(MAX_ANOMALIES);
        let shown = match (shown < all, shown < findings.len()) {
            (false, _) => String::new(),
            (true, false) => format!(" The first {shown} are shown."),
            (true, true) => format!(
                " The first {shown} are drawn; {} are listed below.",
                count(findings.len() - shown)
            ),
        };
        writeln!(
            out,
            "<p class=\"lead\">{} were found.{shown}</p>",
            counted(all, "anomaly")
        )?;
    }
    let shown = &findings[..findings.len().min(MAX_ANOMALIES)];
    let alike = |(of, a): &(&Analysis, &Anomaly), (with, b): &(&Analysis, &Anomaly)| {
        of.checker == with.checker && a.kind == b.kind
    };
    let mut place = 0;
    for kind in shown.chunk_by(alike) {
        let apart = if kind.len() > ALIKE + 1 {
            ALIKE
        } else {
            kind.len()
        };
        for (n, (analysis, anomaly)) in kind.iter().enumerate() {
            if n == apart {
                let name = clip(&anomaly.kind, 80);
                writeln!(
                    out,
                    "<details class=\"alike\"><summary>{} more of this kind: {}</summary>",
                    count(kind.len() - apart),
                    Esc(name),
                )?;
            }
            draw_one(out, run, place, analysis, anomaly)?;
            place += 1;
        }
        if kind.len() > apart {
            writeln!(out, "</details>")?;
        }
    }
    match findings.len().saturating_sub(MAX_ANOMALIES) {
        0 => Ok(()),
        rest => writeln!(
            out,
            "<details class=\"box\" id=\"more-anomalies\" data-from=\"{MAX_ANOMALIES}\"><summary>{}</summary>\
             <noscript><p>They need the page's script to be shown.</p></noscript><ol></ol>\
             <button type=\"button\" hidden>more</button></details>",
            counted(rest, "more anomaly"),
        ),
    }
}

/// The anomaly of this place among all, unfolded if it is the first.
fn draw_one(
    out: &mut String,
    run: &Run,
    i: usize,
    analysis: &Analysis,
    anomaly: &Anomaly,
) -> fmt::Result {
    writeln!(
        out,
        "<details class=\"anomaly\" id=\"anomaly-{i}\"{}><summary><b>{}</b>{}<small>{}</small></summary>\
         <p class=\"reason\">{}</p>",
        if i == 0 { " open" } else { "" },
        Esc(capital(&clip(&anomaly.kind, 80))),
        match &anomaly.object {
            Some(object) => format!(" of object <code>{}</code>", Esc(clip(object, 80))),
            None => String::new(),
        },
        Esc(found_by(run, analysis, anomaly)),
        Reason(anomaly, 4000),
    )?;
    let named = timeline::named(run, anomaly);
    picture::draw(out, run, anomaly, &named)?;
    // When a node was asked for its log says nothing of what is in it.
    let is_drawn = anomaly.picture.is_some() && named.iter().all(|op| op.observes());
    if !named.is_empty() && !is_drawn {
        timeline::draw(out, run, anomaly)?;
    }
    if !named.is_empty() {
        timeline::list(out, run, anomaly)?;
    }
    picture::draw_below(out, run, anomaly)?;
    if named.len() < anomaly.ops.len() {
        writeln!(
            out,
            "<p class=\"caption\">Of the {} it points at, {} in this history.</p>",
            counted(anomaly.ops.len(), "operation"),
            match named.len() {
                0 => "none is".to_string(),
                1 => "one is".to_string(),
                n => format!("{n} are"),
            }
        )?;
    }
    writeln!(out, "</details>")
}
