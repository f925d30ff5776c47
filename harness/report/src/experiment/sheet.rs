//! What the pages of experiments have in common: head, foot, and how numbers are put.

use checkers::Verdict;
use maud::{DOCTYPE, Markup, html};

use super::{Arm, Better, Measure, Spread, Trial, number};
use crate::page;
use crate::tables;
use crate::text::{clip, count, counted};

const STYLE: &str = include_str!("style.css");

/// The tab's picture: a bar and an interval.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 viewBox=%270 0 16 16%27%3E%3Crect \
    width=%2716%27 height=%2716%27 rx=%274%27 fill=%27%232463b0%27/%3E%3Cpath d=%27M4 11V7M8 12V4M12 9V6%27 \
    stroke=%27white%27 stroke-width=%272%27/%3E%3C/svg%3E";

/// What stands above the sections of a page.
pub struct Head<'a> {
    /// The line above the title.
    pub what: &'a str,
    pub title: &'a str,
    pub asked: &'a [(String, String)],
    pub command: &'a str,
}

/// A section: its id, its name in the contents, its heading and what is in it.
pub type Section = (&'static str, &'static str, &'static str, Markup);

/// The whole page.
pub fn page(head: &Head, sections: &[Section]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" class="experiment" {
            (page::head(head.title, ICON, STYLE))
            body {
                main {
                    header class="verdict title" {
                        p.what { (head.what) }
                        h1 { (clip(head.title, 200)) }
                        dl.facts {
                            @for (name, value) in head.asked { div { dt { (name) } dd { (clip(value, 400)) } } }
                        }
                        div.again { span { "Run it again" } code { (clip(head.command, 4000)) } }
                    }
                    (page::links_to(sections.iter().map(|(id, name, ..)| (*id, *name))))
                    @for (id, _, heading, content) in sections { section id=(id) { h2 { (heading) } (content) } }
                }
            }
        }
    }
}

/// What a sign before a number means.
const AT_LEAST: &str = "≥ marks what had not ended when the run stopped asking.";

/// What every number rests on, in words.
pub fn caution(seeds: usize) -> String {
    let interval = "Numbers are medians over the seeds; in brackets the distribution-free 95 % interval \
                    of the median, between two order statistics";
    match seeds {
        0..6 => format!(
            "{interval}. {AT_LEAST} Of {} no such interval can be had (six are the least): the brackets hold \
             the smallest and the largest value, and prove nothing.",
            counted(seeds, "seed")
        ),
        _ => format!(
            "{interval}. {AT_LEAST} Where nothing differs, one interval in twenty seems to say otherwise."
        ),
    }
}

/// `[1.10, 1.31]`.
fn brackets(low: &str, high: &str) -> Markup {
    html! { span.interval { "[" (low) ", " (high) "]" } }
}

/// `1.23 [1.10, 1.31]`, with how many values it is of where that is fewer than the seeds, and how
/// much was left out of it.
pub fn interval(arm: &Arm, measure: &Measure, seeds: usize) -> Markup {
    html! {
        @match arm.spread(&measure.id) {
            None => span.none { "not applicable" },
            Some(s) => {
                b { (s.median) } " " (brackets(&s.low.to_string(), &s.high.to_string()))
                (of(s.n, seeds))
                (left_out(arm, measure))
            }
        }
    }
}

/// The same for a narrow column, on two lines.
pub fn narrow(arm: &Arm, measure: &Measure) -> Markup {
    html! {
        @match arm.spread(&measure.id) {
            None => span.none { "–" },
            Some(s) => {
                b { (s.median) } br; (brackets(&s.low.to_string(), &s.high.to_string()))
                (left_out(arm, measure))
            }
        }
    }
}

/// ` 12 % never offered`, where so much of what was due was.
fn left_out(arm: &Arm, measure: &Measure) -> Markup {
    html! {
        @if let Some(share) = arm.left_out(measure) {
            " " span.interval { (number(share)) " % never offered" }
        }
    }
}

/// ` of 3`, where three of more had a value.
fn of(n: usize, seeds: usize) -> Markup {
    html! { @if n < seeds { " " span.interval { "of " (n) } } }
}

/// A difference, marked where it is sure, and coloured where one way is better.
pub fn difference(spread: Option<Spread>, better: Better, seeds: usize) -> Markup {
    let Some(s) = spread else {
        return html! { span.none { "–" } };
    };
    let class = match (s.differs(), better, s.median.shown() > 0.0) {
        (false, ..) => "unsure",
        (true, Better::Neither, _) => "sure",
        (true, Better::Higher, true) | (true, Better::Lower, false) => "sure good",
        (true, ..) => "sure bad",
    };
    html! {
        span class=(class) { (s.median.signed()) " " (brackets(&s.low.signed(), &s.high.signed())) }
        (of(s.n, seeds))
    }
}

/// `lower is better`.
pub fn wish(better: Better) -> &'static str {
    match better {
        Better::Lower => "lower is better",
        Better::Higher => "higher is better",
        Better::Neither => "",
    }
}

/// A measure's name with its unit.
pub fn name(measure: &Measure) -> Markup {
    html! {
        (clip(&measure.label, 80))
        @if !measure.unit.is_empty() { " " small.unit { (measure.unit) } }
    }
}

/// A measure's picture with its name.
pub fn panel(measure: &Measure, picture: &Markup) -> Markup {
    html! {
        div.panel {
            h3 { (name(measure)) }
            p { (wish(measure.better)) "\u{a0}" }
            (picture)
        }
    }
}

/// Verdicts with how often each came, and the anomalies behind them.
pub fn verdicts(arm: &Arm) -> Markup {
    let anomalies = arm.anomalies();
    let kinds = anomalies
        .iter()
        .map(|(kind, n)| format!("{} in {n}", clip(kind, 60)));
    html! {
        @for (verdict, n) in arm.verdicts() {
            span.times {
                (n) " × "
                @if let Some(verdict) = verdict { (tables::verdict(verdict)) } @else { "no result" }
            }
            " "
        }
        @if !anomalies.is_empty() { small { (kinds.collect::<Vec<_>>().join(", ")) } }
    }
}

/// What the measures are, as a list; those that say nothing of themselves are left out.
pub fn definitions<'a>(measures: impl Iterator<Item = &'a Measure>) -> Markup {
    html! {
        dl.definitions {
            @for measure in measures.filter(|m| !m.about.is_empty()) {
                dt { (name(measure)) }
                dd { (measure.about) }
            }
        }
    }
}

/// Every run, folded away: where what is said here can be looked up.
pub fn runs<'a>(arms: impl Iterator<Item = (String, &'a Arm)> + Clone) -> Markup {
    let all: usize = arms.clone().map(|(_, arm)| arm.trials.len()).sum();
    html! {
        details.box {
            summary { "All " (count(all)) " runs, with their folders" }
            div.scroll {
                table {
                    thead { tr { th { "of" } th.n { "seed" } th { "verdict" } th { "run" } } }
                    tbody {
                        @for (of, arm) in arms {
                            @for trial in &arm.trials {
                                tr {
                                    td { (of) }
                                    td.n { (trial.seed) }
                                    td { (ended(trial)) }
                                    td { code { (trial.run) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn ended(trial: &Trial) -> Markup {
    let why = trial.error.as_deref().unwrap_or_default();
    html! {
        @match trial.verdict {
            Some(verdict) => (tables::verdict(verdict)),
            None => span.error { "no result: " (clip(why, 600)) },
        }
        @if trial.verdict == Some(Verdict::Infra) { small { "its figures are not counted" } }
    }
}
