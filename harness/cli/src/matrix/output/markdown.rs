//! The night in few words: for a CI's summary, for its annotations, and for a terminal.

use std::fmt::Write;

use history::wording::counted;

use super::again;
use crate::matrix::gate::{Colour, Judged, Shown};
use crate::matrix::trend::{Change, Trend};
use crate::terminal::{clipped, word};

/// Reds that are told one by one; `results.jsonl` has all.
const SHOWN: usize = 50;
/// GitHub shows no more annotations of one step.
const ANNOTATIONS: usize = 10;

/// What needs a person's eyes: the worst first, and what is alike together.
fn reds<'a>(judged: &'a Judged) -> Vec<&'a Shown<'a>> {
    let mut reds: Vec<&Shown> = judged.cells.iter().filter(|s| s.colour.is_red()).collect();
    reds.sort_by_key(|shown| (shown.colour, print(shown)));
    reds
}

fn print(shown: &Shown) -> Option<String> {
    let by = shown.came.as_ref()?.by.as_ref()?;
    Some(by.fingerprint.as_ref()?.id.clone())
}

fn command(shown: &Shown) -> Option<String> {
    Some(shown.came.as_ref()?.by.as_ref()?.again.clone())
}

fn heading(judged: &Judged) -> String {
    let head = judged.head;
    let shard = match head.shard {
        (_, 1) => String::new(),
        (0, n) => format!(", of {n} shards"),
        (i, n) => format!(", shard {i} of {n}"),
    };
    let colour = if judged.is_green() {
        "green"
    } else {
        "NOT GREEN"
    };
    format!("{} {}{shard}: {colour}", head.name, head.night)
}

fn tally(judged: &Judged) -> String {
    let there = Colour::ALL
        .into_iter()
        .filter_map(|colour| match judged.count(colour) {
            0 => None,
            n => Some(format!("{n} {}", colour.word())),
        });
    let mut text = format!(
        "{}: {}",
        counted(judged.cells.len(), "cell"),
        there.collect::<Vec<_>>().join(", ")
    );
    let retried = judged.infra_retried();
    if retried > 0 {
        text += &format!(
            "; {} went wrong by the harness's doing",
            counted(retried, "run")
        );
    }
    text
}

/// Somebody else's text in a table of Markdown.
fn cell(text: &str) -> String {
    let text = clipped(text, 300);
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' => out.extend(['\\', c]),
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            c => out.push(c),
        }
    }
    out
}

/// A command in a table of Markdown: as it is, between as many ticks as it needs.
fn code(text: &str) -> String {
    let text = word(text).replace('|', "\\|");
    match text.contains('`') {
        true => format!("`` {text} ``"),
        false => format!("`{text}`"),
    }
}

/// `summary.md`.
pub fn summary(judged: &Judged, trend: &Trend) -> String {
    let mut out = format!("# {}\n\n{}\n", cell(&heading(judged)), tally(judged));
    if !judged.reasons.is_empty() {
        out += "\nNot green, because of:\n\n";
        for reason in &judged.reasons {
            let _ = writeln!(out, "- **{}** {}", reason.gate.word(), cell(&reason.text));
        }
    }
    let reds = reds(judged);
    if !reds.is_empty() {
        out += "\n## Red\n\n| cell | what | again | fingerprint | repeat it |\n| --- | --- | --- | --- | --- |\n";
        for shown in reds.iter().take(SHOWN) {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                cell(&shown.cell.id),
                cell(&shown.why),
                again(shown),
                print(shown).unwrap_or_default(),
                command(shown).map_or(String::new(), |c| code(&c)),
            );
        }
        if reds.len() > SHOWN {
            let _ = writeln!(out, "\nand {} more, in `results.jsonl`", reds.len() - SHOWN);
        }
    }
    let known: Vec<&Shown> = judged.of(Colour::Known).collect();
    if !known.is_empty() {
        out += "\n## Known\n\n| cell | issue | until |\n| --- | --- | --- |\n";
        for (shown, issue) in known.iter().filter_map(|s| Some((s, s.issue?))).take(SHOWN) {
            let _ = writeln!(
                out,
                "| {} | {} | {} |",
                cell(&shown.cell.id),
                cell(&issue.link),
                issue.until
            );
        }
    }
    if !judged.notes.is_empty() {
        out += "\n## To know\n\n";
        for note in &judged.notes {
            let _ = writeln!(out, "- {}", cell(note));
        }
    }
    if trend.nights > 0 {
        let _ = writeln!(
            out,
            "\n## Against {} before\n\n{}",
            counted(trend.nights, "night"),
            compared(trend)
        );
        for change in &trend.changes {
            let _ = writeln!(out, "- {}", cell(&changed(change)));
        }
    }
    out
}

fn compared(trend: &Trend) -> String {
    let few = match trend.too_few {
        0 => String::new(),
        n => format!("; {n} have too few runs for any difference to be told from chance"),
    };
    format!(
        "{} compared by ranks, {} changed{few}",
        counted(trend.compared, "figure"),
        trend.changes.len()
    )
}

fn changed(change: &Change) -> String {
    let how = match change.worse {
        Some(true) => "worse",
        Some(false) => "better",
        None => "other",
    };
    format!(
        "{how}: {} of {}: median {:.4} of {}, was {:.4} of {} (p = {:.1e})",
        change.figure,
        change.combo,
        change.now,
        change.runs_now,
        change.before,
        change.runs_before,
        change.p
    )
}

/// What a terminal shows.
pub fn text(judged: &Judged, trend: &Trend) -> String {
    let mut out = format!("{}\n  {}\n", word(&heading(judged)), tally(judged));
    for reason in &judged.reasons {
        let _ = writeln!(out, "  {:<9} {}", reason.gate.word(), word(&reason.text));
    }
    for shown in reds(judged).iter().take(SHOWN) {
        let _ = writeln!(out, "\n{}  {}", shown.colour.word(), word(&shown.cell.id));
        for line in [shown.why.clone(), again(shown)]
            .iter()
            .filter(|line| !line.is_empty())
        {
            let _ = writeln!(out, "  {}", word(line));
        }
        if let Some(print) = print(shown) {
            let _ = writeln!(out, "  fingerprint {print}");
        }
        if let Some(command) = command(shown) {
            let _ = writeln!(out, "  again    {}", word(&command));
        }
    }
    for shown in judged.of(Colour::Known) {
        let issue = shown.issue.map_or("", |issue| &issue.link);
        let _ = writeln!(out, "\nknown  {}  {}", word(&shown.cell.id), word(issue));
    }
    if !judged.notes.is_empty() {
        out += "\n";
    }
    for note in &judged.notes {
        let _ = writeln!(out, "note: {}", word(note));
    }
    if trend.nights > 0 {
        let _ = writeln!(
            out,
            "\nagainst {} before: {}",
            counted(trend.nights, "night"),
            compared(trend)
        );
        for change in &trend.changes {
            let _ = writeln!(out, "  {}", word(&changed(change)));
        }
    }
    out
}

/// GitHub's commands, one a line:
/// <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.
pub fn annotations(judged: &Judged) -> Vec<String> {
    let escaped = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| escaped(text).replace(':', "%3A").replace(',', "%2C");
    let mut lines: Vec<String> = reds(judged)
        .iter()
        .take(ANNOTATIONS - 1)
        .map(|shown| {
            let title = property(&format!("{} {}", shown.colour.word(), shown.cell.id));
            let command = command(shown).map_or(String::new(), |c| format!("\nagain: {c}"));
            let text = escaped(&format!("{}{command}", shown.why));
            format!("::error title={title}::{text}")
        })
        .collect();
    let reasons: Vec<&str> = judged
        .reasons
        .iter()
        .map(|reason| reason.text.as_str())
        .collect();
    if !reasons.is_empty() {
        let title = property(&heading(judged));
        lines.push(format!(
            "::error title={title}::{}",
            escaped(&reasons.join("; "))
        ));
    }
    let mut warnings: Vec<String> = judged
        .notes
        .iter()
        .map(|note| format!("::warning::{}", escaped(note)))
        .collect();
    warnings.truncate(ANNOTATIONS);
    lines.extend(warnings);
    lines
}
