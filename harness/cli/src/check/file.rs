//! `schism check FILE` without a workload: what it is a history of is told by itself.

use std::path::Path;
use std::process::ExitCode;

use checkers::choice::{Choice, Model};
use checkers::{Analysis, Verdict, compose};
use harness::run::Judged;
use harness::test::Notes;
use history::{History, Op, Outcome, Value};

use super::CheckArgs;
use crate::exit::Failure;
use crate::input::{load, torn};
use crate::judged::print;
use crate::{certificate, output};

pub fn check(args: &CheckArgs, path: &Path) -> Result<ExitCode, Failure> {
    let name = path.display();
    let budget = args.budget.budget();
    if let Some(file) = &args.certificate {
        // Before minutes are spent.
        let fail = |e| Failure::Usage(format!("{}: {e}", file.display()));
        output::probe(file).map_err(fail)?;
    }
    let mut notes = Notes::default();
    let loaded = match load(path, args.input.format, &budget)? {
        Ok(loaded) => loaded,
        Err(why) => {
            let judged = Judged {
                verdict: Verdict::Unknown,
                analyses: vec![Analysis::unknown("history", why)],
                notes,
            };
            return print(&name.to_string(), &judged, &History::default(), args.json);
        }
    };
    notes.warnings.extend(loaded.torn.map(torn));
    notes.warnings.extend(loaded.notes);
    let question = args.question.question();
    let asked = question.put(loaded.history);
    let asked = asked.map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
    notes.warnings.extend(asked.notes);
    let history = asked.history;
    let (title, analysis) = match asked.choice {
        None => {
            let why = "the history has no operation of a client";
            (name.to_string(), Analysis::vacuous("linearizable", why))
        }
        Some(choice) => {
            let keys = if choice.keyed {
                ", each value with its key"
            } else {
                ""
            };
            let title = format!("{name} as {}{keys}", choice.model.name());
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
            (title, analysis)
        }
    };
    let judged = Judged {
        verdict: analysis.verdict,
        analyses: vec![analysis],
        notes,
    };
    print(&title, &judged, &history, args.json)
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
