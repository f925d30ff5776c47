//! Histories from files: of any format, compressed or not, and what is done with them alone.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checkers::choice::{Choice, Model};
use checkers::{Analysis, Budget, Verdict, compose};
use harness::run::Judged;
use harness::test::Notes;
use history::foreign::{self, Format};
use history::jsonl::{self, Loaded, Torn};
use history::wording::counted;
use history::{History, Op, Outcome, Value};

use crate::args;
use crate::certificate;
use crate::check::print;
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::packed::{self, Unread};
use crate::stream::{self, Metered};
use crate::terminal;

/// Reads a history; `-` is standard input. Or says how far it came within the budget.
pub fn load(
    path: &Path,
    format: Option<Format>,
    budget: &Budget,
) -> Result<Result<Loaded, String>, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Usage(format!("{}: {e}", path.display()));
    let meter = budget.start();
    let raw = stream::open(path, &meter).map_err(|e| fail(&e))?;
    match packed::read(raw, format, &meter) {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(Unread::Exhausted(why)) => Ok(Err(why)),
        Err(Unread::Wrong(why)) => Err(fail(&why)),
    }
}

/// The history in a folder that another tool left, such as Jepsen's `store/NAME/TIME`; none if there is none, or if it is
/// a run of ours.
pub fn in_folder(folder: &Path) -> Option<PathBuf> {
    const HISTORIES: [&str; 9] = [
        "history.edn",
        "history.edn.gz",
        "history.edn.zst",
        "history.json",
        "history.jsonl",
        "history.csv",
        "history.txt",
        "history.log",
        "jepsen.log",
    ];
    if !folder.is_dir() || folder.join("spec.json").exists() {
        return None;
    }
    let files = HISTORIES.iter().map(|name| folder.join(name));
    files.into_iter().find(|file| file.is_file())
}

/// `schism check FILE` without a workload: what it is a history of is told by itself.
pub fn check(args: &args::Check, path: &Path) -> Result<ExitCode, Failure> {
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

/// What there is to say of a last line that is not whole.
pub fn torn(torn: Torn) -> String {
    let (line, bytes) = (torn.line, torn.bytes);
    format!(
        "line {line} of the history is torn and was left out ({})",
        counted(bytes, "byte")
    )
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

/// `schism convert`.
pub fn convert(args: &args::Convert) -> Result<ExitCode, Failure> {
    let budget = args.budget.budget();
    let unknown = |name: &str, why: &str| {
        terminal::tell(format!("schism: {name}: {why}"));
        Ok(ExitCode::from(Verdict::Unknown.exit_code()))
    };
    let history = match load(&args.from, args.input.format, &budget)? {
        Ok(loaded) => loaded.history,
        Err(why) => return unknown(&args.from.display().to_string(), &why),
    };
    let (name, to) = match &args.output {
        None => ("standard output".into(), Output::Data(terminal::data())),
        Some(path) => {
            let fail = |e| Failure::Usage(format!("{}: {e}", path.display()));
            (path.display().to_string(), Output::to(path).map_err(fail)?)
        }
    };
    let mut to = Metered::new(to, budget.start());
    let written = match args.to {
        Format::Jsonl => jsonl::write(&mut to, &history),
        Format::Edn => foreign::write_edn(&history, &mut to),
        other => {
            let why = format!(
                "{} can be read, but is not written: use jsonl or edn",
                other.name()
            );
            return Err(Failure::Usage(why));
        }
    };
    let written = written.and_then(|()| to.flush());
    if let Some(why) = to.get_ref().exhausted {
        return unknown(&name, &format!("{why} before everything was written"));
    }
    let written = written.and_then(|()| to.into_inner().map_err(|e| e.into_error())?.to.keep());
    match written {
        // Whoever reads has read enough.
        Err(e) if args.output.is_none() && e.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(|e| Failure::Usage(format!("{name}: {e}")))?,
    }
    Ok(ExitCode::SUCCESS)
}
