//! `schism explain`: what happened around an anomaly, line by line, on the history's clock.
//!
//! It tells what was asked of the core's keys, by whom, of which node, and what was answered; which
//! faults were in force; which daemons ended; who led, and what the nodes' logs said. The
//! operations that contradict each other are marked.

mod logs;

use std::collections::BTreeSet;
use std::process::ExitCode;

use checkers::{Anomaly, Verdict};
use clap::Args;
use history::mark::{self, Mark};
use history::store::{Run, Store};
use history::{History, Op, Outcome, Time, Value, fault};
use serde::Serialize;

use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::judged::load_results;
use crate::spec::Spec;
use crate::terminal::{self, clipped, word};

/// Before and after what is looked at.
const AROUND_NS: u64 = 300_000_000;
/// Operations beside the marked ones; more are counted.
const MOST: usize = 30;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A run's name, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// What happened around this operation, instead of the first anomaly
    #[arg(long, value_name = "OP")]
    pub around: Option<u64>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Story {
    run: String,
    title: String,
    verdict: Verdict,
    /// The anomaly that is told of.
    kind: Option<String>,
    reason: Option<String>,
    from_s: f64,
    until_s: f64,
    lines: Vec<Line>,
    /// Operations on the same keys that are not told.
    untold: usize,
    /// Lines of logs that are not told.
    untold_log: usize,
}

#[derive(Serialize)]
struct Line {
    /// Since the start of the history.
    at_s: f64,
    what: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Whether it is one of those that contradict each other.
    core: bool,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Op,
    Fault,
    Mark,
    Leader,
    Log,
}

pub fn command(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let run = Store::new(&args.store.store)
        .open(&args.run)
        .map_err(Failure::usage)?;
    let (spec, judged) = (Spec::load(&run)?, load_results(&run)?);
    let history = run.load().map_err(Failure::infra)?.history;
    let invalid = judged
        .analyses
        .iter()
        .filter(|a| a.verdict == Verdict::Invalid);
    let anomaly = invalid.flat_map(|a| &a.anomalies).next();
    let (anomaly, core) = match (args.around, anomaly) {
        (Some(op), _) => (None, vec![op]),
        (None, Some(anomaly)) => (Some(anomaly), anomaly.ops.clone()),
        (None, None) => {
            let (name, verdict) = (run.name(), judged.verdict);
            return Err(Failure::Usage(format!(
                "{name} is {verdict}, without an anomaly: --around OP says where to look"
            )));
        }
    };
    let core: Vec<Op> = core
        .iter()
        .filter_map(|index| history.find(*index))
        .collect();
    if core.is_empty() {
        return Err(Failure::Usage(match args.around {
            Some(op) => format!("{}: no operation begins with event {op}", run.name()),
            None => format!(
                "{}: the first anomaly is of no operation; --around OP",
                run.name()
            ),
        }));
    }
    let title = spec.title();
    let story = story(&run, title, judged.verdict, anomaly, &core, &history);
    match args.json {
        true => terminal::json(&story),
        false => terminal::print(&text(&story)),
    }
    Ok(ExitCode::SUCCESS)
}

fn story(
    run: &Run,
    title: String,
    verdict: Verdict,
    anomaly: Option<&Anomaly>,
    core: &[Op],
    history: &History,
) -> Story {
    let from = core
        .iter()
        .map(|op| op.call.as_nanos())
        .min()
        .unwrap_or_default();
    // What never returned ends the window with its call.
    let end = |op: &Op| if op.ret == Time::MAX { op.call } else { op.ret };
    let until = core
        .iter()
        .map(|op| end(op).as_nanos())
        .max()
        .unwrap_or_default();
    let window = (
        Time(from.saturating_sub(AROUND_NS)),
        Time(until + AROUND_NS),
    );
    let (mut lines, untold) = operations(core, history, window);
    lines.extend(faults(history, window));
    lines.extend(marks(history, window));
    lines.extend(logs::leaders(history, window));
    let (said, untold_log) = logs::lines(run, history, window);
    lines.extend(said);
    lines.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    Story {
        run: run.name(),
        title,
        verdict,
        kind: anomaly.map(|a| a.kind.clone()),
        reason: anomaly.map(|a| a.reason.clone()),
        from_s: window.0.as_secs_f64(),
        until_s: window.1.as_secs_f64(),
        lines,
        untold,
        untold_log,
    }
}

/// The key of what was asked, where it has one.
fn key(input: &Value) -> Option<String> {
    Some(input.as_list()?.first()?.to_string())
}

/// Those of the core, and others on the same keys: the nearest to the core's own first.
fn operations(core: &[Op], history: &History, window: (Time, Time)) -> (Vec<Line>, usize) {
    let keys: BTreeSet<String> = core.iter().filter_map(|op| key(&op.input)).collect();
    let mut others: Vec<&Op> = history
        .ops()
        .iter()
        .filter(|op| !core.iter().any(|c| c.index == op.index))
        .filter(|op| {
            op.call <= window.1
                && (op.ret >= window.0 || op.ret == Time::MAX && op.call >= window.0)
        })
        .filter(|op| key(&op.input).is_some_and(|key| keys.contains(&key)))
        .collect();
    let distance = |op: &Op| core.iter().map(|c| c.index.abs_diff(op.index)).min();
    others.sort_by_key(|op| distance(op));
    let untold = others.len().saturating_sub(MOST);
    others.truncate(MOST);
    let marked = core.iter().map(|op| line(op, true));
    (
        marked
            .chain(others.into_iter().map(|op| line(op, false)))
            .collect(),
        untold,
    )
}

fn line(op: &Op, core: bool) -> Line {
    let why = || op.error.as_deref().unwrap_or_default();
    let answer = match op.outcome {
        Outcome::Ok if op.output == op.input => "ok".to_string(),
        Outcome::Ok => format!("ok {}", op.output),
        Outcome::Fail => format!("fail {}", why()),
        Outcome::Info => format!("nobody knows: {}", why()),
    };
    let until = match op.ret {
        Time::MAX => "…".to_string(),
        ret => format!("{:.3}", ret.as_secs_f64()),
    };
    Line {
        at_s: op.call.as_secs_f64(),
        what: What::Op,
        op: Some(op.index),
        node: op.node.as_ref().map(ToString::to_string),
        core,
        text: format!(
            "{} asks {} {}, until {until}: {answer}",
            op.process, op.f, op.input
        ),
    }
}

/// Faults that were in force in the window, as they begin and end; one that was before stands at
/// its beginning.
fn faults(history: &History, window: (Time, Time)) -> Vec<Line> {
    let line = |at: Time, text: String| Line {
        at_s: at.as_secs_f64(),
        what: What::Fault,
        op: None,
        node: None,
        core: false,
        text,
    };
    let mut lines = Vec::new();
    for span in fault::spans(history).iter().filter(|span| span.held()) {
        let begins = span.in_force.or(span.held_from).unwrap_or(span.from);
        if begins > window.1 || span.until < window.0 {
            continue;
        }
        let label = &span.label;
        lines.push(match begins < window.0 {
            true => line(
                window.0,
                format!("in force since {:.3}: {label}", begins.as_secs_f64()),
            ),
            false => line(begins, format!("in force: {label}")),
        });
        if span.until <= window.1 {
            lines.push(line(span.until, format!("healed: {label}")));
        }
    }
    lines
}

/// What the harness says itself: daemons that ended, nodes that came back, phases.
fn marks(history: &History, window: (Time, Time)) -> Vec<Line> {
    let inside = mark::marks(history)
        .into_iter()
        .filter(|m| (window.0..=window.1).contains(&m.time));
    let line = |placed: mark::Placed| Line {
        at_s: placed.time.as_secs_f64(),
        what: What::Mark,
        op: None,
        node: placed.mark.node().map(ToString::to_string),
        core: false,
        text: match &placed.mark {
            Mark::Crash(_, crash) => format!("{} ended by itself: {}", crash.daemon, crash.status),
            other => format!("{} {}", other.f(), other.value()),
        },
    };
    inside.map(line).collect()
}

fn text(story: &Story) -> String {
    let mut out = format!(
        "{}  {}\n",
        story.verdict.word().to_uppercase(),
        word(&story.title)
    );
    if let (Some(kind), Some(reason)) = (&story.kind, &story.reason) {
        out += &format!("{}: {}\n", word(kind), word(reason));
    }
    out += &format!(
        "\nfrom {:.3} to {:.3} s of {}\n",
        story.from_s,
        story.until_s,
        word(&story.run)
    );
    for line in &story.lines {
        let sign = if line.core { '>' } else { ' ' };
        let op = line.op.map_or(String::new(), |op| op.to_string());
        let node = line.node.as_deref().unwrap_or_default();
        out += &format!(
            "{sign} {:9.3}  {op:>7}  {:<4} {}\n",
            line.at_s,
            word(node),
            clipped(&line.text, 140)
        );
    }
    if story.untold > 0 {
        let more = history::wording::counted(story.untold, "operation");
        out += &format!("and {more} on the same keys\n");
    }
    if story.untold_log > 0 {
        let more = history::wording::counted(story.untold_log, "line");
        out += &format!("and {more} of the nodes' logs\n");
    }
    out
}
