//! One system along a parameter.

use std::fmt::{self, Write};

use super::compare::panel_head;
use super::panel::{Scale, tip};
use super::sheet::{self, Interval, LeftOut};
use super::{Measure, Sweep, Valley};
use crate::text::{Esc, clip};

const WIDTH: f64 = 560.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 18.0;
const HEIGHT: f64 = 220.0;
const TOP: f64 = 22.0;

pub fn write(out: &mut String, s: &Sweep) -> fmt::Result {
    let title = format!("{}: {}", s.system, s.parameter);
    let links = [
        ("best", "The best value"),
        ("curves", "Curves"),
        ("figures", "All figures"),
        ("meaning", "What the figures mean"),
        ("runs", "Runs"),
    ];
    let what = "One system, the same seeds and faults, along a parameter";
    sheet::begin(out, what, &title, &s.asked, &s.command, &links)?;

    sheet::section(out, "best", "The best value, and how much it matters")?;
    best(out, s)?;
    writeln!(out, "</section>")?;

    sheet::section(out, "curves", "Curves")?;
    writeln!(
        out,
        "<p class=\"lead\">{} Line: median; band: its interval; dots: runs; dashed: the best value; shaded: \
         within 10 % of it.</p><div class=\"panels curves\">",
        Esc(sheet::caution(s.seeds.len()))
    )?;
    for measure in s.measures.iter().filter(|m| m.headline && has(s, m)) {
        panel_head(out, measure)?;
        curve(out, s, measure)?;
        writeln!(out, "</div>")?;
    }
    writeln!(out, "</div></section>")?;

    sheet::section(out, "figures", "All figures")?;
    figures(out, s)?;
    writeln!(out, "</section>")?;

    sheet::section(out, "meaning", "What the figures mean")?;
    let shown: Vec<&Measure> = s.measures.iter().filter(|m| has(s, m)).collect();
    sheet::definitions(out, &shown)?;
    writeln!(out, "</section>")?;

    sheet::section(out, "runs", "Runs")?;
    let arms = s.points.iter().map(|p| (p.text.clone(), &p.arm));
    sheet::runs(out, arms)?;
    writeln!(out, "</section>")?;
    sheet::end(out)
}

fn has(s: &Sweep, measure: &Measure) -> bool {
    s.points.iter().any(|p| p.arm.spread(&measure.id).is_some())
}

/// `250ms to 1.2s`, or the only value there is.
fn range(s: &Sweep, (from, to): (usize, usize)) -> String {
    match from == to {
        true => format!("{} alone", s.points[from].text),
        false => format!("{} to {}", s.points[from].text, s.points[to].text),
    }
}

fn best(out: &mut String, s: &Sweep) -> fmt::Result {
    writeln!(
        out,
        "<p class=\"lead\">Flat: the values around the best one, without a gap, whose medians are within 10 % of \
         its median. Noise: those that are not surely worse, seed by seed. Values between two that were \
         tried are not known.</p><div class=\"scroll\"><table class=\"figures-of\"><thead><tr><th>figure</th>\
         <th>best at</th><th>there</th><th>flat over</th><th>within the noise</th></tr></thead><tbody>"
    )?;
    for valley in &s.valleys {
        let Some(measure) = s.measures.iter().find(|m| m.id == valley.measure) else {
            continue;
        };
        let best = &s.points[valley.best];
        write!(out, "<tr><td>")?;
        sheet::name(out, measure)?;
        writeln!(
            out,
            "</td><td><b>{}</b></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Esc(&best.text),
            Interval::of(&best.arm, measure, s.seeds.len()),
            Esc(range(s, valley.near)),
            match valley.noise {
                Some(noise) => Esc(range(s, noise)).to_string(),
                None => "<span class=\"none\">too few seeds to tell</span>".to_string(),
            },
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn curve(out: &mut String, s: &Sweep, measure: &Measure) -> fmt::Result {
    let (Some(first), Some(last)) = (s.points.first(), s.points.last()) else {
        return Ok(());
    };
    let across = Scale::between(first.value, last.value, s.log, LEFT, WIDTH - RIGHT);
    let values = s.points.iter().flat_map(|p| p.arm.values(&measure.id));
    let up = Scale::over(values.map(|(_, v)| v), HEIGHT, TOP);
    writeln!(
        out,
        "<div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{} along {}\">",
        HEIGHT + 40.0,
        Esc(&measure.label),
        Esc(&s.parameter)
    )?;
    if let Some(valley) = s.valleys.iter().find(|v| v.measure == measure.id) {
        shade(out, s, &across, valley)?;
    }
    axes(out, s, &across, &up)?;
    let spreads: Vec<_> = s
        .points
        .iter()
        .map(|p| Some((across.at(p.value), p, p.arm.spread(&measure.id)?)))
        .collect();
    writeln!(out, "<g class=\"arm\">")?;
    // Where a value has no figure the line has a gap.
    for part in spreads.split(Option::is_none).filter(|p| !p.is_empty()) {
        let part: Vec<_> = part.iter().flatten().collect();
        let over = part.iter().map(|(x, _, s)| (x, up.at(s.high.shown())));
        let under = part.iter().rev().map(|(x, _, s)| (x, up.at(s.low.shown())));
        path(out, "band", over.chain(under))?;
        path(
            out,
            "line",
            part.iter().map(|(x, _, s)| (x, up.at(s.median.shown()))),
        )?;
    }
    for (x, point, spread) in spreads.iter().flatten() {
        for (_, value) in point.arm.values(&measure.id) {
            let y = up.at(value);
            writeln!(
                out,
                "<circle class=\"seed\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>"
            )?;
        }
        writeln!(
            out,
            "<circle class=\"seed\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}</title></circle>",
            up.at(spread.median.shown()),
            Esc(tip(&s.system, &point.text, measure, spread))
        )?;
    }
    writeln!(out, "</g></svg></div>")
}

fn axes(out: &mut String, s: &Sweep, across: &Scale, up: &Scale) -> fmt::Result {
    for (value, label) in up.ticks(4) {
        let y = up.at(value);
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0
        )?;
    }
    for (value, label) in across.ticks(6) {
        let x = across.at(value);
        writeln!(
            out,
            "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{HEIGHT}\" y2=\"{:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            HEIGHT + 5.0,
            HEIGHT + 19.0
        )?;
    }
    writeln!(
        out,
        "<text class=\"heading\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}{}</text>",
        WIDTH - RIGHT,
        HEIGHT + 36.0,
        Esc(clip(&s.parameter, 60)),
        match s.unit.is_empty() {
            true => String::new(),
            false => format!(", {}", s.unit),
        }
    )
}

fn path<'a>(
    out: &mut String,
    class: &str,
    points: impl Iterator<Item = (&'a f64, f64)>,
) -> fmt::Result {
    write!(out, "<path class=\"{class}\" d=\"")?;
    for (i, (x, y)) in points.enumerate() {
        write!(out, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' })?;
    }
    writeln!(out, "\"/>")
}

/// The flat part, and where the best value is.
fn shade(out: &mut String, s: &Sweep, across: &Scale, valley: &Valley) -> fmt::Result {
    let x = |i: usize| across.at(s.points[i].value);
    let (x0, x1) = (x(valley.near.0), x(valley.near.1));
    let best = x(valley.best);
    let anchor = match best {
        x if x < LEFT + 40.0 => "start",
        x if x > WIDTH - RIGHT - 40.0 => "end",
        _ => "middle",
    };
    writeln!(
        out,
        "<rect class=\"valley\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\
         <line class=\"best\" x1=\"{best:.1}\" x2=\"{best:.1}\" y1=\"{TOP}\" y2=\"{HEIGHT}\"/>\
         <text class=\"best\" x=\"{best:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
        x0 - 2.0,
        x1 - x0 + 4.0,
        HEIGHT - TOP,
        TOP - 7.0,
        Esc(&s.points[valley.best].text)
    )
}

/// Values down, headline measures across; the others are in a table of their own.
fn figures(out: &mut String, s: &Sweep) -> fmt::Result {
    let (headline, rest): (Vec<&Measure>, Vec<&Measure>) = s
        .measures
        .iter()
        .filter(|m| has(s, m))
        .partition(|m| m.headline);
    table(out, s, &headline)?;
    if !rest.is_empty() {
        writeln!(
            out,
            "<details class=\"box\"><summary>Other figures</summary>"
        )?;
        table(out, s, &rest)?;
        writeln!(out, "</details>")?;
    }
    Ok(())
}

fn table(out: &mut String, s: &Sweep, measures: &[&Measure]) -> fmt::Result {
    write!(
        out,
        "<div class=\"scroll\"><table class=\"figures-of\"><thead><tr><th>figure</th>"
    )?;
    for point in &s.points {
        write!(out, "<th>{}</th>", Esc(&point.text))?;
    }
    writeln!(out, "</tr></thead><tbody><tr><td>verdicts</td>")?;
    for point in &s.points {
        write!(out, "<td>")?;
        sheet::verdicts(out, &point.arm)?;
        write!(out, "</td>")?;
    }
    writeln!(out, "</tr>")?;
    for measure in measures {
        write!(out, "<tr><td>")?;
        sheet::name(out, measure)?;
        write!(out, "</td>")?;
        for point in &s.points {
            match point.arm.spread(&measure.id) {
                None => write!(out, "<td><span class=\"none\">–</span></td>")?,
                Some(s) => write!(
                    out,
                    "<td><b>{}</b><br><span class=\"interval\">[{}, {}]</span>{}</td>",
                    s.median,
                    s.low,
                    s.high,
                    LeftOut(point.arm.left_out(measure))
                )?,
            }
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}
