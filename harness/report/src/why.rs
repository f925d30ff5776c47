//! Why the verdict is what it is: each anomaly with its sentence, its picture and its operations.

use checkers::{Analysis, Anomaly};
use history::wording::either;
use maud::{Markup, html};

use crate::sentence::{capital, findings, found, reason};
use crate::text::{clip, count, counted};
use crate::{Findings, Run, picture, timeline};

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

pub fn draw(run: &Run) -> Markup {
    let findings = findings(run);
    let all = found(run);
    let shown = &findings[..findings.len().min(MAX_ANOMALIES)];
    let rest = findings.len() - shown.len();
    let alike = |(of, a): &(&Analysis, &Anomaly), (with, b): &(&Analysis, &Anomaly)| {
        of.checker == with.checker && a.kind == b.kind
    };
    // The place among all of the first of each kind.
    let mut place = 0;
    let kinds = shown.chunk_by(alike).map(|kind| {
        place += kind.len();
        (place - kind.len(), kind)
    });
    html! {
        @if all > 1 {
            p.lead {
                (counted(all, "anomaly")) " were found."
                @if rest > 0 {
                    " The first " (shown.len()) " are drawn; " (count(rest)) " are listed below."
                } @else if shown.len() < all {
                    " The first " (shown.len()) " are shown."
                }
            }
        }
        @for (place, kind) in kinds { (of_a_kind(run, place, kind)) }
        @if rest > 0 {
            details.box id="more-anomalies" data-from=(MAX_ANOMALIES) {
                summary { (counted(rest, "more anomaly")) }
                noscript { p { "They need the page's script to be shown." } }
                ol {}
                button type="button" hidden { "more" }
            }
        }
    }
}

/// Anomalies of one kind, of which the first has this place among all.
fn of_a_kind(run: &Run, place: usize, kind: &Findings) -> Markup {
    let apart = if kind.len() > ALIKE + 1 {
        ALIKE
    } else {
        kind.len()
    };
    let all = kind.iter().enumerate();
    let mut all = all.map(|(n, (analysis, anomaly))| one(run, place + n, analysis, anomaly));
    html! {
        @for one in all.by_ref().take(apart) { (one) }
        @if kind.len() > apart {
            details.alike {
                summary { (count(kind.len() - apart)) " more of this kind: " (clip(&kind[0].1.kind, 80)) }
                @for one in all { (one) }
            }
        }
    }
}

/// The anomaly of this place among all, unfolded if it is the first.
fn one(run: &Run, place: usize, analysis: &Analysis, anomaly: &Anomaly) -> Markup {
    let named = timeline::named(run, anomaly);
    // When a node was asked for its log says nothing of what is in it.
    let is_drawn = anomaly.picture.is_some() && named.iter().all(|op| op.observes());
    html! {
        details.anomaly id={ "anomaly-" (place) } open[place == 0] {
            summary {
                b { (capital(&clip(&anomaly.kind, 80))) }
                @if let Some(object) = &anomaly.object { " of object " code { (clip(object, 80)) } }
                small { (found_by(run, analysis, anomaly)) }
            }
            p.reason { (reason(anomaly, 4000)) }
            (picture::draw(run, anomaly, &named))
            @if !named.is_empty() {
                @if !is_drawn { (timeline::draw(run, anomaly)) }
                (timeline::list(run, anomaly))
            }
            (picture::draw_below(run, anomaly))
            @if named.len() < anomaly.ops.len() {
                p.caption {
                    "Of the " (counted(anomaly.ops.len(), "operation")) " it points at, "
                    @match named.len() { 0 => "none", 1 => "one", n => (n), }
                    " " (either(named.len().max(1), "is", "are")) " in this history."
                }
            }
        }
    }
}
