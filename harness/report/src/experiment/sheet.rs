//! What the pages of experiments have in common: head, foot, and how numbers are put.

use std::fmt::{self, Display, Write};

use checkers::Verdict;

use super::{Arm, Better, Measure, Spread, Trial, number};
use crate::page;
use crate::tables::Sign;
use crate::text::{Esc, clip, count, counted};

const STYLE: &str = include_str!("style.css");

/// The tab's picture: a bar and an interval.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 viewBox=%270 0 16 16%27%3E%3Crect \
    width=%2716%27 height=%2716%27 rx=%274%27 fill=%27%232463b0%27/%3E%3Cpath d=%27M4 11V7M8 12V4M12 9V6%27 \
    stroke=%27white%27 stroke-width=%272%27/%3E%3C/svg%3E";

/// Everything up to the first section. `what` is the line above the title.
pub fn begin(
    out: &mut String,
    what: &str,
    title: &str,
    asked: &[(String, String)],
    command: &str,
    links: &[(&str, &str)],
) -> fmt::Result {
    page::head(out, "experiment", title, ICON, STYLE)?;
    writeln!(
        out,
        "<main>\n<header class=\"verdict title\"><p class=\"what\">{}</p><h1>{}</h1><dl class=\"facts\">",
        Esc(what),
        Esc(clip(title, 200)),
    )?;
    for (name, value) in asked {
        writeln!(
            out,
            "<div><dt>{}</dt><dd>{}</dd></div>",
            Esc(name),
            Esc(clip(value, 400))
        )?;
    }
    writeln!(
        out,
        "</dl><div class=\"again\"><span>Run it again</span><code>{}</code></div></header>",
        Esc(clip(command, 4000))
    )?;
    write!(out, "<nav aria-label=\"Contents\">")?;
    for (id, text) in links {
        write!(out, "<a href=\"#{id}\">{text}</a>")?;
    }
    writeln!(out, "</nav>")
}

pub fn section(out: &mut String, id: &str, heading: &str) -> fmt::Result {
    writeln!(out, "<section id=\"{id}\">\n<h2>{heading}</h2>")
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

/// `1.23 [1.10, 1.31]`, with how many values it is of where that is fewer than the seeds, and how
/// much was left out of it.
pub struct Interval {
    spread: Option<Spread>,
    seeds: usize,
    left_out: LeftOut,
}

impl Interval {
    pub fn of(arm: &Arm, measure: &Measure, seeds: usize) -> Interval {
        Interval {
            spread: arm.spread(&measure.id),
            seeds,
            left_out: LeftOut(arm.left_out(measure)),
        }
    }
}

/// ` 12 % never offered`, where so much of what was due was.
pub struct LeftOut(pub Option<f64>);

impl Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(share) => write!(
                f,
                " <span class=\"interval\">{} % never offered</span>",
                number(share)
            ),
        }
    }
}

/// ` of 3`, where three of more had a value.
struct Of(usize, usize);

impl Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 < self.1 {
            true => write!(f, " <span class=\"interval\">of {}</span>", self.0),
            false => Ok(()),
        }
    }
}

impl Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spread {
            None => f.write_str("<span class=\"none\">not applicable</span>"),
            Some(s) => write!(
                f,
                "<b>{}</b> <span class=\"interval\">[{}, {}]</span>{}{}",
                s.median,
                s.low,
                s.high,
                Of(s.n, self.seeds),
                self.left_out
            ),
        }
    }
}

/// A difference, marked where it is sure, and coloured where one way is better.
pub struct Difference(pub Option<Spread>, pub Better, pub usize);

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(s) = &self.0 else {
            return f.write_str("<span class=\"none\">–</span>");
        };
        let class = match (s.differs(), self.1, s.median.shown() > 0.0) {
            (false, ..) => "unsure",
            (true, Better::Neither, _) => "sure",
            (true, Better::Higher, true) | (true, Better::Lower, false) => "sure good",
            (true, ..) => "sure bad",
        };
        write!(
            f,
            "<span class=\"{class}\">{} <span class=\"interval\">[{}, {}]</span></span>{}",
            s.median.signed(),
            s.low.signed(),
            s.high.signed(),
            Of(s.n, self.2)
        )
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

/// A measure's name with its unit, and what it is on demand.
pub fn name(out: &mut String, measure: &Measure) -> fmt::Result {
    write!(out, "{}", Esc(clip(&measure.label, 80)))?;
    if !measure.unit.is_empty() {
        write!(out, " <small class=\"unit\">{}</small>", Esc(&measure.unit))?;
    }
    Ok(())
}

/// Verdicts with how often each came, and the anomalies behind them.
pub fn verdicts(out: &mut String, arm: &Arm) -> fmt::Result {
    for (verdict, n) in arm.verdicts() {
        match verdict {
            Some(verdict) => write!(out, "<span class=\"times\">{n} × {}</span> ", Sign(verdict))?,
            None => write!(out, "<span class=\"times\">{n} × no result</span> ")?,
        }
    }
    let anomalies = arm.anomalies();
    if !anomalies.is_empty() {
        let kinds: Vec<String> = anomalies
            .iter()
            .map(|(kind, n)| format!("{} in {n}", clip(kind, 60)))
            .collect();
        write!(out, "<small>{}</small>", Esc(kinds.join(", ")))?;
    }
    Ok(())
}

/// What the measures are, as a list; those that say nothing of themselves are left out.
pub fn definitions(out: &mut String, measures: &[&Measure]) -> fmt::Result {
    writeln!(out, "<dl class=\"definitions\">")?;
    for measure in measures.iter().filter(|m| !m.about.is_empty()) {
        write!(out, "<dt>")?;
        name(out, measure)?;
        writeln!(out, "</dt><dd>{}</dd>", Esc(&measure.about))?;
    }
    writeln!(out, "</dl>")
}

/// Every run, folded away: where what is said here can be looked up.
pub fn runs<'a>(
    out: &mut String,
    arms: impl Iterator<Item = (String, &'a Arm)> + Clone,
) -> fmt::Result {
    let all: usize = arms.clone().map(|(_, arm)| arm.trials.len()).sum();
    writeln!(
        out,
        "<details class=\"box\"><summary>All {} runs, with their folders</summary><div class=\"scroll\">\
         <table><thead><tr><th>of</th><th class=\"n\">seed</th><th>verdict</th><th>run</th></tr></thead><tbody>",
        count(all)
    )?;
    for (of, arm) in arms {
        for trial in &arm.trials {
            let Trial {
                seed, run, verdict, ..
            } = trial;
            write!(
                out,
                "<tr><td>{}</td><td class=\"n\">{seed}</td><td>",
                Esc(&of)
            )?;
            match (verdict, &trial.error) {
                (Some(verdict), _) => write!(out, "{}", Sign(*verdict))?,
                (None, error) => write!(
                    out,
                    "<span class=\"error\">no result: {}</span>",
                    Esc(clip(error.as_deref().unwrap_or_default(), 600))
                )?,
            }
            if verdict.is_some_and(|v| v == Verdict::Infra) {
                write!(out, "<small>its figures are not counted</small>")?;
            }
            writeln!(out, "</td><td><code>{}</code></td></tr>", Esc(run))?;
        }
    }
    writeln!(out, "</tbody></table></div></details>")
}

pub fn end(out: &mut String) -> fmt::Result {
    writeln!(out, "</main>\n</body>\n</html>")
}
