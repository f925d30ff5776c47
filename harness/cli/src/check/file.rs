//! `schism check FILE` without a workload: what it is a history of is told by itself.

use std::path::Path;
use std::process::ExitCode;

use checkers::choice::{Choice, Model};
use checkers::{Analysis, Budget, Verdict, compose};
use harness::run::Judged;
use harness::test::Notes;
use history::{History, Op, Outcome, Value};

use super::page::Asked;
use super::{CheckArgs, has_page, probe, script, tell};
use crate::certificate;
use crate::exit::Failure;
use crate::input::{load, torn};

/// The history, with what there is to say of it; or what is told where it cannot be read within the
/// budget.
pub fn loaded(
    args: &CheckArgs,
    path: &Path,
    budget: &Budget,
    notes: &mut Notes,
) -> Result<Result<History, ExitCode>, Failure> {
    match load(path, args.input.format, budget)? {
        Ok(loaded) => {
            notes.warnings.extend(loaded.torn.map(torn));
            notes.warnings.extend(loaded.notes);
            Ok(Ok(loaded.history))
        }
        Err(why) => {
            let judged = Judged {
                verdict: Verdict::Unknown,
                analyses: vec![Analysis::unknown("history", why)],
                notes: std::mem::take(notes),
            };
            let title = path.display().to_string();
            let asked = Asked::default();
            tell(args, &title, &asked, &judged, &History::default()).map(Err)
        }
    }
}

pub fn check(args: &CheckArgs, path: &Path) -> Result<ExitCode, Failure> {
    has_page(args)?;
    if let Some(script) = args.question.script()? {
        return script::check(args, path, script);
    }
    let name = path.display();
    let budget = args.budget.budget();
    probe(args)?;
    let mut notes = Notes::default();
    let history = match loaded(args, path, &budget, &mut notes)? {
        Ok(history) => history,
        Err(code) => return Ok(code),
    };
    let question = args.question.question();
    let asked = question.put(history);
    let asked = asked.map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
    notes.warnings.extend(asked.notes);
    let history = asked.history;
    let (what, analysis) = match asked.choice {
        None => {
            let why = "the history has no operation of a client";
            (Asked::default(), Analysis::vacuous("linearizable", why))
        }
        Some(choice) => {
            let what = Asked::model(&choice, &question);
            let analysis =
                compose::check_all(&[choice.checker(&history)], &history, &budget).remove(0);
            let analysis = choice.tested(&history, analysis);
            notes
                .warnings
                .extend(nil_reads(&analysis, &choice, &history));
            if let Some(file) = &args.certificate {
                let came = certificate::write(file, &choice, &history, &analysis, &budget);
                notes.warnings.push(came);
            }
            (what, analysis)
        }
    };
    let judged = Judged {
        verdict: analysis.verdict,
        analyses: vec![analysis],
        notes,
    };
    let title = match what.words.as_str() {
        "" => name.to_string(),
        words => format!("{name} {words}"),
    };
    tell(args, &title, &what, &judged, &history)
}

/// Which answers of nil were held against a history of registers, if any were.
fn nil_reads(analysis: &Analysis, choice: &Choice, history: &History) -> Option<String> {
    let is_register = matches!(
        choice.model,
        Model::Register | Model::CasRegister | Model::Kv
    );
    if !is_register || analysis.verdict != Verdict::Invalid {
        return None;
    }
    let content = |value: &Value| match value.as_pair() {
        Some((_, content)) if choice.keyed => content.clone(),
        _ => value.clone(),
    };
    let ops = analysis.anomalies.iter().flat_map(|anomaly| &anomaly.ops);
    let is_nil = |op: &Op| {
        let reads = matches!(op.f.as_str(), "read" | "get");
        reads && op.outcome == Outcome::Ok && content(&op.output).is_nil()
    };
    let op = ops.filter_map(|index| history.find(*index)).find(is_nil)?;
    Some(format!(
        "that `{} {} ok → nil` (op {}) is taken for an answer, that nothing was written, is part of what is wrong; if it \
         means that there was no answer, say --nil-reads unknown",
        op.f, op.input, op.index
    ))
}
