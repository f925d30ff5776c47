//! Two systems side by side.

use std::fmt::{self, Write};

use super::sheet::{self, Difference, Interval};
use super::{Arm, ClockTest, Comparison, Measure, number, panel};
use crate::text::{Esc, clip, counted};

pub fn write(out: &mut String, c: &Comparison) -> fmt::Result {
    let [a, b] = &c.systems;
    let title = format!("{a} and {b}");
    let mut links = vec![
        ("verdicts", "Verdicts"),
        ("pictures", "Side by side"),
        ("figures", "All figures"),
    ];
    if !c.clock.is_empty() {
        links.push(("clock", "Where time leaks in"));
    }
    links.extend([("meaning", "What the figures mean"), ("runs", "Runs")]);
    let what = "The same seeds and the same faults against two systems";
    sheet::begin(out, what, &title, &c.asked, &c.command, &links)?;

    sheet::section(out, "verdicts", "Verdicts")?;
    verdicts(out, c)?;
    writeln!(out, "</section>")?;

    sheet::section(out, "pictures", "Side by side")?;
    writeln!(
        out,
        "<p class=\"lead\">{}</p>",
        Esc(sheet::caution(c.seeds.len()))
    )?;
    swatches(out, &c.systems)?;
    writeln!(out, "<div class=\"panels\">")?;
    for measure in c.measures.iter().filter(|m| m.headline) {
        let groups: Vec<(&str, Vec<&Arm>)> = c
            .groups
            .iter()
            .map(|g| (g.name.as_str(), g.arms.iter().collect()))
            .collect();
        panel_head(out, measure)?;
        panel::rows(out, measure, &groups)?;
        writeln!(out, "</div>")?;
    }
    writeln!(out, "</div></section>")?;

    sheet::section(out, "figures", "All figures")?;
    figures(out, c)?;
    writeln!(out, "</section>")?;

    if !c.clock.is_empty() {
        sheet::section(out, "clock", "Where time leaks in")?;
        clock(out, c)?;
        writeln!(out, "</section>")?;
    }

    sheet::section(out, "meaning", "What the figures mean")?;
    sheet::definitions(out, &c.measures.iter().collect::<Vec<_>>())?;
    writeln!(out, "</section>")?;

    sheet::section(out, "runs", "Runs")?;
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
    sheet::runs(out, arms.chain(twins))?;
    writeln!(out, "</section>")?;
    sheet::end(out)
}

pub fn panel_head(out: &mut String, measure: &Measure) -> fmt::Result {
    write!(out, "<div class=\"panel\"><h3>")?;
    sheet::name(out, measure)?;
    writeln!(out, "</h3><p>{}&nbsp;</p>", sheet::wish(measure.better))
}

fn swatches(out: &mut String, systems: &[String; 2]) -> fmt::Result {
    write!(out, "<p class=\"swatches\">")?;
    for (i, system) in systems.iter().enumerate() {
        write!(
            out,
            "<span><i class=\"dot arm a{i}\"></i>{}</span>",
            Esc(clip(system, 80))
        )?;
    }
    writeln!(
        out,
        "<span class=\"none\">dots: runs; bar: interval of the median; stroke: median</span></p>"
    )
}

fn verdicts(out: &mut String, c: &Comparison) -> fmt::Result {
    writeln!(
        out,
        "<div class=\"scroll\"><table><thead><tr><th>faults</th><th>{}</th><th>{}</th></tr></thead><tbody>",
        Esc(&c.systems[0]),
        Esc(&c.systems[1])
    )?;
    for group in &c.groups {
        write!(out, "<tr><td><b>{}</b></td>", Esc(clip(&group.name, 60)))?;
        for arm in &group.arms {
            write!(out, "<td>")?;
            sheet::verdicts(out, arm)?;
            write!(out, "</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

/// Every measure under every family; those that no arm of the family has are left out.
fn figures(out: &mut String, c: &Comparison) -> fmt::Result {
    table(out, c, true)?;
    if c.measures.iter().any(|m| !m.headline) {
        writeln!(
            out,
            "<details class=\"box\"><summary>Other figures</summary>"
        )?;
        table(out, c, false)?;
        writeln!(out, "</details>")?;
    }
    Ok(())
}

fn table(out: &mut String, c: &Comparison, headline: bool) -> fmt::Result {
    let [a, b] = &c.systems;
    writeln!(
        out,
        "<p class=\"lead\">The last column is the difference within each seed, {} less {}: coloured where \
         it is surely not zero.</p>\
         <div class=\"scroll\"><table class=\"figures-of\"><thead><tr><th>figure</th><th>{}</th><th>{}</th>\
         <th>difference</th></tr></thead>",
        Esc(a),
        Esc(b),
        Esc(a),
        Esc(b)
    )?;
    for group in &c.groups {
        writeln!(
            out,
            "<tbody><tr class=\"group\"><th colspan=\"4\">{}</th></tr>",
            Esc(&group.name)
        )?;
        let [first, second] = &group.arms[..] else {
            continue;
        };
        for measure in c.measures.iter().filter(|m| m.headline == headline) {
            let spreads = [first, second].map(|arm| arm.spread(&measure.id));
            if spreads.iter().all(Option::is_none) {
                continue;
            }
            write!(out, "<tr><td>")?;
            sheet::name(out, measure)?;
            writeln!(
                out,
                "</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                Interval::of(first, measure, c.seeds.len()),
                Interval::of(second, measure, c.seeds.len()),
                Difference(
                    first.above(second, &measure.id),
                    measure.better,
                    c.seeds.len()
                )
            )?;
        }
        writeln!(out, "</tbody>")?;
    }
    writeln!(out, "</table></div>")
}

fn clock(out: &mut String, c: &Comparison) -> fmt::Result {
    writeln!(
        out,
        "<p class=\"lead\">The same seeds with and without the clock's faults, everything else alike. A system \
         that does without time shows no difference here. What differs is where time gets in; the rule is \
         the system's own, named where it is known.</p>"
    )?;
    for (i, test) in c.clock.iter().enumerate() {
        one_clock(out, c, test, i)?;
    }
    Ok(())
}

fn one_clock(out: &mut String, c: &Comparison, test: &ClockTest, i: usize) -> fmt::Result {
    let colour = c.systems.iter().position(|s| *s == test.system);
    writeln!(
        out,
        "<h3 id=\"clock-{i}\">{}: {} and {}</h3>",
        Esc(&test.system),
        Esc(&test.without.name),
        Esc(&test.with.name)
    )?;
    let sure: Vec<&Measure> = c
        .measures
        .iter()
        .filter(|m| {
            let above = test.with.above(&test.without, &m.id);
            above.is_some_and(|s| s.differs())
        })
        .collect();
    clock_in_words(out, c, test, sure.len())?;
    let shown = worth_showing(c, test, &sure);
    clock_table(out, c, test, &sure, &shown)?;
    writeln!(out, "<p class=\"caption\"></p><div class=\"panels\">")?;
    for measure in shown.iter().take(6) {
        panel_head(out, measure)?;
        panel::pairs(
            out,
            measure,
            (&test.without.name, &test.without),
            (&test.with.name, &test.with),
            colour.unwrap_or(0),
        )?;
        writeln!(out, "</div>")?;
    }
    writeln!(out, "</div>")
}

/// What changed with the clock's faults, and by which rules: verdicts, and so many figures surely.
fn clock_in_words(out: &mut String, c: &Comparison, test: &ClockTest, sure: usize) -> fmt::Result {
    let flips = test.flips();
    writeln!(out, "<ul class=\"plain\">")?;
    match flips.is_empty() {
        true => writeln!(out, "<li>No verdict changed.</li>")?,
        false => {
            let flips: Vec<String> = flips
                .iter()
                .map(|(seed, from, to)| {
                    format!("seed {seed} from {} to {}", from.word(), to.word())
                })
                .collect();
            writeln!(out, "<li>Verdicts changed: {}.</li>", Esc(flips.join(", ")))?;
        }
    }
    let paired = test.with.trials.len().min(test.without.trials.len());
    match (sure, paired) {
        (_, 0..6) => writeln!(
            out,
            "<li>{} are too few to call any change sure.</li>",
            counted(paired, "pair")
        )?,
        (0, _) => writeln!(out, "<li>No figure surely changed.</li>")?,
        (n, _) => writeln!(
            out,
            "<li>{} of {} surely changed.</li>",
            n,
            counted(c.measures.len(), "figure")
        )?,
    }
    for uses in test.uses() {
        let name = c.measures.iter().find(|m| m.id == uses.measure);
        let name = name.map_or(uses.measure.as_str(), |m| &m.label);
        match uses.rose {
            0 => writeln!(
                out,
                "<li>Not by this rule, which decided no more often in any of {}: {} ({} without, {} with).</li>",
                counted(uses.of, "pair"),
                Esc(&uses.text),
                Esc(number(uses.without)),
                Esc(number(uses.with)),
            )?,
            rose => writeln!(
                out,
                "<li><b>By this rule time got in</b>, under {rose} of {}: {}. {}: {} without, {} with the \
                 clock's faults, all runs together.</li>",
                counted(uses.of, "seed"),
                Esc(&uses.text),
                Esc(name),
                Esc(number(uses.without)),
                Esc(number(uses.with)),
            )?,
        }
    }
    writeln!(out, "</ul>")
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

fn clock_table(
    out: &mut String,
    c: &Comparison,
    test: &ClockTest,
    sure: &[&Measure],
    shown: &[&Measure],
) -> fmt::Result {
    writeln!(
        out,
        "<div class=\"scroll\"><table class=\"figures-of\"><thead><tr><th>figure</th><th>without</th><th>with the \
         clock's faults</th><th>difference within each seed</th><th>by which rule</th></tr></thead><tbody>"
    )?;
    for measure in shown {
        write!(out, "<tr><td>")?;
        sheet::name(out, measure)?;
        let rule = match (test.rule(&measure.id), sure.contains(measure)) {
            (Some(rule), true) if test.ruled_out(rule) => {
                "<span class=\"none\">the system names one, which decided no more often</span>"
                    .to_string()
            }
            (Some(rule), _) => Esc(clip(&rule.text, 300)).to_string(),
            (None, true) => "<span class=\"none\">the system names none</span>".to_string(),
            (None, false) => String::new(),
        };
        writeln!(
            out,
            "</td><td>{}</td><td>{}</td><td>{}</td><td class=\"rule\">{rule}</td></tr>",
            Interval::of(&test.without, measure, c.seeds.len()),
            Interval::of(&test.with, measure, c.seeds.len()),
            Difference(
                test.with.above(&test.without, &measure.id),
                measure.better,
                c.seeds.len()
            ),
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}
