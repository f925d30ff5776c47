//! Two systems side by side.

use checkers::Verdict;
use maud::{Markup, html};

use super::sheet::{self, Head};
use super::{Arm, ClockTest, Comparison, Measure, number, panel};
use crate::text::{clip, counted};

pub fn page(c: &Comparison) -> Markup {
    let [a, b] = &c.systems;
    let head = Head {
        what: "The same seeds and the same faults against two systems",
        title: &format!("{a} and {b}"),
        asked: &c.asked,
        command: &c.command,
    };
    let arms = c.groups.iter().flat_map(|g| {
        g.arms
            .iter()
            .map(|arm| (format!("{} · {}", g.name, arm.name), arm))
    });
    let unclocked = c.clock.iter().filter(|t| {
        let known = c.groups.iter().any(|g| g.arms.contains(&t.without));
        !known
    });
    let twins = unclocked.map(|t| (format!("{} · {}", t.without.name, t.system), &t.without));
    let mut sections = vec![
        ("verdicts", "Verdicts", verdicts(c)),
        ("pictures", "Side by side", pictures(c)),
        ("figures", "All figures", figures(c)),
    ];
    if !c.clock.is_empty() {
        sections.push(("clock", "Where time leaks in", clock(c)));
    }
    let meaning = sheet::definitions(c.measures.iter());
    sections.push(("meaning", "What the figures mean", meaning));
    sections.push(("runs", "Runs", sheet::runs(arms.chain(twins))));
    let alike = sections
        .into_iter()
        .map(|(id, name, content)| (id, name, name, content));
    sheet::page(&head, &alike.collect::<Vec<_>>())
}

fn pictures(c: &Comparison) -> Markup {
    let groups: Vec<(&str, Vec<&Arm>)> = c
        .groups
        .iter()
        .map(|g| (g.name.as_str(), g.arms.iter().collect()))
        .collect();
    html! {
        p.lead { (sheet::caution(c.seeds.len())) }
        p.swatches {
            @for (i, system) in c.systems.iter().enumerate() {
                span { i class={ "dot arm a" (i) } {} (clip(system, 80)) }
            }
            span.none { "dots: runs; bar: interval of the median; stroke: median" }
        }
        div.panels {
            @for measure in c.measures.iter().filter(|m| m.headline) {
                (sheet::panel(measure, &panel::rows(measure, &groups)))
            }
        }
    }
}

fn verdicts(c: &Comparison) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th { "faults" } @for system in &c.systems { th { (system) } } } }
                tbody {
                    @for group in &c.groups {
                        tr {
                            td { b { (clip(&group.name, 60)) } }
                            @for arm in &group.arms { td { (sheet::verdicts(arm)) } }
                        }
                    }
                }
            }
        }
    }
}

/// Every measure under every family; those that no arm of the family has are left out.
fn figures(c: &Comparison) -> Markup {
    html! {
        (table(c, true))
        @if c.measures.iter().any(|m| !m.headline) {
            details.box { summary { "Other figures" } (table(c, false)) }
        }
    }
}

fn table(c: &Comparison, headline: bool) -> Markup {
    let [a, b] = &c.systems;
    let seeds = c.seeds.len();
    html! {
        p.lead {
            "The last column is the difference within each seed, " (a) " less " (b) ": coloured where it is surely \
             not zero."
        }
        div.scroll {
            table.figures-of {
                thead { tr { th { "figure" } th { (a) } th { (b) } th { "difference" } } }
                @for group in &c.groups {
                    tbody {
                        tr.group { th colspan="4" { (group.name) } }
                        @if let [first, second] = &group.arms[..] {
                            @let has = |m: &&Measure| [first, second].iter().any(|arm| arm.spread(&m.id).is_some());
                            @for measure in c.measures.iter().filter(|m| m.headline == headline).filter(has) {
                                tr {
                                    td { (sheet::name(measure)) }
                                    td { (sheet::interval(first, measure, seeds)) }
                                    td { (sheet::interval(second, measure, seeds)) }
                                    td { (sheet::difference(first.above(second, &measure.id), measure.better, seeds)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn clock(c: &Comparison) -> Markup {
    html! {
        p.lead {
            "The same seeds with and without the clock's faults, everything else alike. A system that does without \
             time shows no difference here. What differs is where time gets in; the rule is the system's own, named \
             where it is known."
        }
        @for (i, test) in c.clock.iter().enumerate() { (one_clock(c, test, i)) }
    }
}

fn one_clock(c: &Comparison, test: &ClockTest, i: usize) -> Markup {
    let colour = c.systems.iter().position(|s| *s == test.system);
    let sure: Vec<&Measure> = c
        .measures
        .iter()
        .filter(|m| {
            let above = test.with.above(&test.without, &m.id);
            above.is_some_and(|s| s.differs())
        })
        .collect();
    let shown = worth_showing(c, test, &sure);
    let [without, with] = [&test.without, &test.with].map(|arm| (arm.name.as_str(), arm));
    let pairs = |measure| panel::pairs(measure, without, with, colour.unwrap_or(0));
    html! {
        h3 id={ "clock-" (i) } { (test.system) ": " (without.0) " and " (with.0) }
        (clock_in_words(c, test, sure.len()))
        (clock_table(c, test, &sure, &shown))
        p.caption {}
        div.panels {
            @for measure in shown.iter().take(6) { (sheet::panel(measure, &pairs(measure))) }
        }
    }
}

/// What changed with the clock's faults, and by which rules: verdicts, and so many figures surely.
fn clock_in_words(c: &Comparison, test: &ClockTest, sure: usize) -> Markup {
    let flips = test.flips();
    let flip = |(seed, from, to): &(u64, Verdict, Verdict)| {
        format!("seed {seed} from {} to {}", from.word(), to.word())
    };
    let paired = test.with.trials.len().min(test.without.trials.len());
    let name = |id: &str| {
        c.measures
            .iter()
            .find(|m| m.id == id)
            .map_or(id, |m| &m.label)
            .to_string()
    };
    html! {
        ul.plain {
            li {
                @if flips.is_empty() { "No verdict changed." } @else {
                    "Verdicts changed: " (flips.iter().map(flip).collect::<Vec<_>>().join(", ")) "."
                }
            }
            li {
                @match (sure, paired) {
                    (_, 0..6) => { (counted(paired, "pair")) " are too few to call any change sure." }
                    (0, _) => "No figure surely changed.",
                    (n, _) => { (n) " of " (counted(c.measures.len(), "figure")) " surely changed." }
                }
            }
            @for uses in test.uses() {
                @let (without, with) = (number(uses.without), number(uses.with));
                li {
                    @if uses.rose == 0 {
                        "Not by this rule, which decided no more often in any of " (counted(uses.of, "pair")) ": "
                        (uses.text) " (" (without) " without, " (with) " with)."
                    } @else {
                        b { "By this rule time got in" } ", under " (uses.rose) " of " (counted(uses.of, "seed")) ": "
                        (uses.text) ". " (name(&uses.measure)) ": " (without) " without, " (with)
                        " with the clock's faults, all runs together."
                    }
                }
            }
        }
    }
}

/// Of the measures that both arms have those that surely changed, headlines, and those that a rule
/// names. What changed comes first, the rest keeps its order.
fn worth_showing<'a>(c: &'a Comparison, test: &ClockTest, sure: &[&Measure]) -> Vec<&'a Measure> {
    let ruled = |m: &&Measure| test.rule(&m.id).is_some();
    let mut shown: Vec<&Measure> = c
        .measures
        .iter()
        .filter(|m| sure.contains(m) || m.headline || ruled(m))
        .filter(|m| {
            let has = |arm: &Arm| arm.spread(&m.id).is_some();
            has(&test.with) && has(&test.without)
        })
        .collect();
    shown.sort_by_key(|m| !sure.contains(m));
    shown
}

fn clock_table(c: &Comparison, test: &ClockTest, sure: &[&Measure], shown: &[&Measure]) -> Markup {
    let seeds = c.seeds.len();
    let above = |m: &Measure| test.with.above(&test.without, &m.id);
    html! {
        div.scroll {
            table.figures-of {
                thead {
                    tr {
                        th { "figure" } th { "without" } th { "with the clock's faults" }
                        th { "difference within each seed" } th { "by which rule" }
                    }
                }
                tbody {
                    @for measure in shown {
                        tr {
                            td { (sheet::name(measure)) }
                            td { (sheet::interval(&test.without, measure, seeds)) }
                            td { (sheet::interval(&test.with, measure, seeds)) }
                            td { (sheet::difference(above(measure), measure.better, seeds)) }
                            td.rule { (rule(test, measure, sure.contains(measure))) }
                        }
                    }
                }
            }
        }
    }
}

/// By which rule of the system a measure changed.
fn rule(test: &ClockTest, measure: &Measure, sure: bool) -> Markup {
    html! {
        @match (test.rule(&measure.id), sure) {
            (Some(rule), true) if test.ruled_out(rule) => span.none {
                "the system names one, which decided no more often"
            },
            (Some(rule), _) => (clip(&rule.text, 300)),
            (None, true) => span.none { "the system names none" },
            (None, false) => {}
        }
    }
}
