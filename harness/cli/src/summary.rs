//! What a person reads on the terminal when a run has been judged.

use checkers::{Analysis, Anomaly, Verdict};
use harness::run::Judged;
use history::wording::{counted, decimal};
use history::{History, Op, Outcome, Time, fault};

use crate::terminal::{Line, Tone, clipped, word};

/// Anomalies that are shown; the report has more.
const SHOWN: usize = 3;
/// Lines that are shown of one text.
const LINES: usize = 30;

/// Where a person finds what is not shown here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// A report is written, as of every run.
    InReport,
    /// Of a file there is a report only for who asks for one.
    Unwritten,
}

/// Where the summaries of checkers begin in their list.
const COLUMN: usize = 26;

/// The verdict first, then why, then where the rest is.
pub fn lines(title: &str, judged: &Judged, history: &History, rest: Rest) -> Vec<Line> {
    let tone = Tone::of(judged.verdict);
    let mut out = vec![
        Line::default()
            .and(tone, judged.verdict.word().to_uppercase())
            .and(Tone::Strong, format!("  {}", word(title))),
        Line::hanging(2).and(Tone::Plain, format!("  {}", counts(history))),
    ];
    let worst = judged
        .analyses
        .iter()
        .filter(|a| a.verdict == judged.verdict && a.verdict != Verdict::Valid);
    for analysis in worst {
        let summary = format!(": {}", sentences(&analysis.summary));
        out.push(Line::default());
        out.push(
            Line::hanging(2)
                .and(Tone::Strong, word(&analysis.checker))
                .and(Tone::Plain, summary),
        );
        for anomaly in analysis.anomalies.iter().take(SHOWN) {
            out.extend(anomaly_lines(anomaly, history));
        }
        out.extend(more(analysis, rest).map(|more| Line::plain(format!("  {more}"))));
        out.extend(before_faults(analysis, history).map(Line::plain));
    }
    out.extend([Line::default(), Line::plain("checkers")]);
    out.extend(judged.analyses.iter().map(|analysis| {
        let tone = match analysis.word() {
            "measured" => Tone::Faint,
            _ => Tone::of(analysis.verdict),
        };
        let (checker, summary) = (word(&analysis.checker), first_line(&analysis.summary));
        Line::hanging(COLUMN)
            .and(tone, format!("  {:<8} ", analysis.word()))
            .and(Tone::Plain, format!("{checker:<14} {}", word(summary)))
    }));
    let notes = judged.notes.warnings.iter();
    out.extend(notes.map(|warning| {
        Line::hanging(6)
            .and(Tone::Open, "note: ")
            .and(Tone::Plain, word(warning))
    }));
    out
}

/// When all operations of an anomaly had their answers.
pub fn complete(anomaly: &Anomaly, history: &History) -> Option<Time> {
    let time = |index: &u64| {
        let completion = history.op(*index).and_then(|op| op.completion);
        let event = history.events().get(completion.unwrap_or(*index) as usize);
        event.map_or(Time(0), |event| event.time)
    };
    anomaly.ops.iter().map(time).max()
}

/// Whether what is wrong was there before the first fault, which then is not its cause.
fn before_faults(analysis: &Analysis, history: &History) -> Option<String> {
    let spans = fault::spans(history);
    let fault = spans.iter().filter_map(|span| span.held_from).min()?;
    // Whoever never served again had done so before.
    let wrong = analysis.anomalies.iter();
    let wrong = wrong.filter(|anomaly| anomaly.kind != "never served again");
    let first = wrong.filter_map(|anomaly| complete(anomaly, history)).min();
    let first = first.filter(|first| analysis.verdict == Verdict::Invalid && *first < fault)?;
    Some(format!(
        "  the first was complete at {first}, before any fault took hold"
    ))
}

/// What is not shown here, and how much of it the report has.
fn more(analysis: &Analysis, rest: Rest) -> Option<String> {
    let shown = analysis.anomalies.len().min(SHOWN);
    let (there, all) = (analysis.anomalies.len() - shown, analysis.found() - shown);
    match (there, all, rest) {
        (_, 0, _) => None,
        (0, all, _) => Some(format!("and {all} more")),
        (there, all, Rest::InReport) if there == all => {
            Some(format!("and {all} more, in the report"))
        }
        (there, all, Rest::InReport) => {
            Some(format!("and {all} more, {there} of them in the report"))
        }
        (there, all, Rest::Unwritten) if there == all => Some(format!(
            "and {all} more: --report FILE writes a page with them"
        )),
        (there, all, Rest::Unwritten) => Some(format!(
            "and {all} more: --report FILE writes a page with {there} of them"
        )),
    }
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
    // A file of events most often has none.
    let under = match (held, spans.len() - held) {
        (0, 0) => String::new(),
        (held, 0) => format!(", under {} that held", counted(held, "fault")),
        (0, not) => format!(", under {} that did not hold", counted(not, "fault")),
        (held, not) => format!(
            ", under {} that held and {not} that did not",
            counted(held, "fault")
        ),
    };
    format!(
        "{} ({} ok, {} fail, {} info) in {}{under}",
        counted(outcomes.len(), "operation"),
        count(Outcome::Ok),
        count(Outcome::Fail),
        count(Outcome::Info),
        length(history.end()),
    )
}

/// To the second, and what is shorter than ten of them to the tenth.
fn length(end: Time) -> String {
    let s = end.as_secs_f64();
    format!("{} s", decimal(s, usize::from(s < 9.95)))
}

fn anomaly_lines(anomaly: &Anomaly, history: &History) -> Vec<Line> {
    // A sentence that begins with the object need not be told of it.
    let told = |object: &&String| !anomaly.reason.starts_with(object.as_str());
    let object = anomaly.object.as_ref().filter(told);
    let object = object.map_or(String::new(), |o| format!(" of {o}"));
    let mut out = vec![
        Line::default(),
        Line::hanging(4)
            .and(Tone::Bad, format!("  {}", word(&anomaly.kind)))
            .and(Tone::Strong, word(&object))
            .and(Tone::Plain, format!(": {}", sentences(&anomaly.reason))),
    ];
    for index in &anomaly.ops {
        let text = match history.find(*index) {
            Some(op) => Some(op_text(&op)),
            // Completions and the nemesis's events can be pointed at too.
            None => {
                let event = history.event(*index);
                event.map(|event| format!("{index:>6}  {}  {}", event.time, word(&event.f)))
            }
        };
        out.extend(text.map(|text| Line::hanging(12).and(Tone::Plain, format!("    {text}"))));
    }
    out
}

fn with_error(word: &str, op: &Op) -> String {
    let error = op.error.as_deref();
    error.map_or(word.to_string(), |error| format!("{word} {}", short(error)))
}

fn op_text(op: &Op) -> String {
    let result = match op.outcome {
        Outcome::Ok if op.output == op.input => "ok".to_string(),
        Outcome::Ok => format!("ok {}", short(&op.output.to_string())),
        Outcome::Fail => with_error("fail", op),
        Outcome::Info => with_error("info", op),
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
fn sentences(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().take(LINES).map(word).collect();
    if text.lines().nth(LINES).is_some() {
        lines.push("…".into());
    }
    lines.join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal;
    use checkers::compose;
    use harness::test::Notes;
    use history::fault::{Action, Note, Receipt};
    use history::{Event, Kind, Process, Value};

    /// So many operations, one after the other, and faults: whether each held.
    fn history(operations: u64, faults: &[bool]) -> History {
        let mut events = Vec::new();
        let mut event = |process, kind, f: &str, value| {
            let index = events.len() as u64;
            events.push(Event {
                index,
                time: Time(index * 1_000_000_000),
                process,
                kind,
                f: f.into(),
                value,
                error: None,
                node: None,
                version: None,
                due: None,
            });
        };
        for n in 0..operations {
            for kind in [Kind::Invoke, Kind::Ok] {
                event(Process::Client(0), kind, "write", Value::Int(n as i64));
            }
        }
        for (fault, held) in (0..).zip(faults) {
            for kind in [Kind::Invoke, Kind::Ok] {
                let note = Note {
                    fault,
                    action: Action::Inject,
                    label: "kill n1".into(),
                    targets: vec![],
                    loss: Default::default(),
                    in_force_ns: None,
                    receipt: Some(Receipt {
                        held: *held,
                        evidence: vec![],
                        ..Receipt::default()
                    }),
                };
                let value = Value::from_serde(&note).unwrap();
                event(Process::Nemesis, kind, "kill", value);
            }
        }
        History::new(events).unwrap()
    }

    #[test]
    fn what_was_wrong_before_any_fault_is_not_its_doing() {
        let history = history(3, &[true]);
        let of = |ops: &[u64], kind: &str| {
            let wrong = Anomaly {
                kind: kind.into(),
                ops: ops.to_vec(),
                ..Anomaly::default()
            };
            let found = Analysis::of_anomalies("linearizable", "wrong", vec![wrong]);
            before_faults(&found, &history)
        };
        // Operations end at 1, 3 and 5 s, and the fault holds from 7 s on.
        let says = "  the first was complete at 3.000 s, before any fault took hold";
        assert_eq!(of(&[0, 2], "stale read").as_deref(), Some(says));
        assert_eq!(of(&[0, 7], "crashed"), None);
        assert_eq!(of(&[2], "never served again"), None);
    }

    #[test]
    fn counts_have_their_number_and_faults_are_told_where_there_are_any() {
        for (operations, faults, said) in [
            (0, &[][..], "0 operations (0 ok, 0 fail, 0 info) in 0.0 s"),
            (1, &[], "1 operation (1 ok, 0 fail, 0 info) in 1.0 s"),
            (2, &[], "2 operations (2 ok, 0 fail, 0 info) in 3.0 s"),
            (
                1,
                &[true],
                "1 operation (1 ok, 0 fail, 0 info) in 3.0 s, under 1 fault that held",
            ),
            (
                1,
                &[false],
                "1 operation (1 ok, 0 fail, 0 info) in 3.0 s, under 1 fault that did not hold",
            ),
            (
                6,
                &[true, true, false],
                "6 operations (6 ok, 0 fail, 0 info) in 17 s, under 2 faults that held and 1 that did not",
            ),
        ] {
            assert_eq!(counts(&history(operations, faults)), said);
        }
    }

    #[test]
    fn what_is_not_shown_is_said_and_where_it_is() {
        let found = |shown: usize, all: usize| {
            let anomalies = vec![Anomaly::default(); shown];
            let analysis = Analysis::valid("set", "").with_anomalies(anomalies, all);
            more(&analysis, Rest::InReport)
        };
        assert_eq!(found(0, 0), None);
        assert_eq!(found(3, 3), None);
        assert_eq!(found(4, 4).as_deref(), Some("and 1 more, in the report"));
        assert_eq!(
            found(16, 29).as_deref(),
            Some("and 26 more, 13 of them in the report")
        );
        assert_eq!(found(3, 5).as_deref(), Some("and 2 more"));
        let of_file = Analysis::valid("set", "").with_anomalies(vec![Anomaly::default(); 4], 4);
        assert_eq!(
            more(&of_file, Rest::Unwritten).as_deref(),
            Some("and 1 more: --report FILE writes a page with them")
        );
    }

    #[test]
    fn the_verdict_comes_first_with_its_title() {
        let history = history(1, &[]);
        let analyses = vec![Analysis::valid("set", "all is well")];
        let judged = Judged {
            verdict: compose::overall(&analyses),
            analyses,
            notes: Notes::default(),
        };
        let text = terminal::plain(&lines("etcd set", &judged, &history, Rest::InReport));
        assert!(
            text.starts_with("VALID  etcd set\n  1 operation ("),
            "{text}"
        );
    }
}
