//! What a person reads on the terminal when a run has been judged.

use std::fmt::Write;

use checkers::{Anomaly, Verdict};
use harness::run::Judged;
use history::{History, Op, Outcome, Time, fault};

use crate::terminal::{clipped, word};

/// Anomalies that are shown; the report has more.
const SHOWN: usize = 3;
/// Lines that are shown of one text.
const LINES: usize = 30;

/// The verdict first, then why, then where the rest is.
pub fn text(title: &str, judged: &Judged, history: &History) -> String {
    let mut out = String::new();
    let verdict = judged.verdict.word().to_uppercase();
    let _ = writeln!(out, "{verdict}  {}", word(title));
    let _ = writeln!(out, "  {}", counts(history));
    let worst = judged
        .analyses
        .iter()
        .filter(|a| a.verdict == judged.verdict && a.verdict != Verdict::Valid);
    for analysis in worst {
        let (checker, summary) = (word(&analysis.checker), lines(&analysis.summary));
        let _ = writeln!(out, "\n{checker}: {summary}");
        for anomaly in analysis.anomalies.iter().take(SHOWN) {
            let _ = write!(out, "{}", anomaly_text(anomaly, history));
        }
        let more = analysis.anomalies.len().saturating_sub(SHOWN);
        if more > 0 {
            let _ = writeln!(out, "  and {more} more in the report");
        }
    }
    let _ = writeln!(out, "\ncheckers");
    for analysis in &judged.analyses {
        let _ = writeln!(
            out,
            "  {:<8} {:<14} {}",
            analysis.word(),
            word(&analysis.checker),
            word(first_line(&analysis.summary))
        );
    }
    for warning in &judged.notes.warnings {
        let _ = writeln!(out, "note: {}", word(warning));
    }
    out
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn counts(history: &History) -> String {
    // Neither operations nor events are made of a history that may be long.
    let outcomes: Vec<Outcome> = history.outcomes().collect();
    let count = |outcome| outcomes.iter().filter(|o| **o == outcome).count();
    let spans = fault::spans(history);
    let held = spans.iter().filter(|s| s.held()).count();
    format!(
        "{} operations ({} ok, {} fail, {} info) in {:.0} s, under {held} faults that held{}",
        outcomes.len(),
        count(Outcome::Ok),
        count(Outcome::Fail),
        count(Outcome::Info),
        history.end().as_secs_f64(),
        match spans.len() - held {
            0 => String::new(),
            n => format!(" and {n} that did not"),
        }
    )
}

fn anomaly_text(anomaly: &Anomaly, history: &History) -> String {
    let mut out = String::new();
    let object = anomaly.object.as_ref();
    let object = object.map_or(String::new(), |o| format!(" of {o}"));
    let (kind, object) = (word(&anomaly.kind), word(&object));
    let _ = writeln!(out, "\n  {kind}{object}: {}", lines(&anomaly.reason));
    for index in &anomaly.ops {
        match history.find(*index) {
            Some(op) => {
                let _ = writeln!(out, "    {}", op_text(&op));
            }
            // Completions and the nemesis's events can be pointed at too.
            None => {
                if let Some(event) = history.event(*index) {
                    let _ = writeln!(out, "    {index:>6}  {}  {}", event.time, word(&event.f));
                }
            }
        }
    }
    out
}

fn op_text(op: &Op) -> String {
    let result = match op.outcome {
        Outcome::Ok if op.output == op.input => "ok".to_string(),
        Outcome::Ok => format!("ok {}", short(&op.output.to_string())),
        Outcome::Fail => format!("fail {}", short(op.error.as_deref().unwrap_or_default())),
        Outcome::Info => format!("info {}", short(op.error.as_deref().unwrap_or_default())),
    };
    let until = match op.ret {
        Time::MAX => "…".to_string(),
        ret => format!("{:.3}", ret.as_secs_f64()),
    };
    format!(
        "{:>6}  {:.3}–{until} s  {}  process {}  {} {}  {result}",
        op.index,
        op.call.as_secs_f64(),
        short(op.node.as_deref().unwrap_or("-")),
        short(&op.process.to_string()),
        short(&op.f),
        short(&op.input.to_string()),
    )
}

/// A log or a long list is looked at elsewhere.
fn short(text: &str) -> String {
    clipped(text, 100)
}

/// Sentences of several lines, none of which begins like one of ours.
fn lines(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().take(LINES).map(word).collect();
    if text.lines().nth(LINES).is_some() {
        lines.push("…".into());
    }
    lines.join("\n    ")
}
