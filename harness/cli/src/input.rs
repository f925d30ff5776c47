//! Histories from files: of any format, compressed or not, and what is done with them alone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use checkers::choice::{Choice, Model};
use checkers::{Analysis, Budget, Verdict, compose};
use harness::run::{Judged, Notes};
use history::History;
use history::foreign::{self, Format};
use history::jsonl::{self, Loaded};

use crate::args;
use crate::certificate;
use crate::check::print;
use crate::exit::Failure;
use crate::packed::{self, Unread};
use crate::stream::{Metered, Waiting};

/// Reads a history; `-` is standard input. Or says how far it came within the budget.
pub fn load(
    path: &Path,
    format: Option<Format>,
    budget: &Budget,
) -> Result<Result<Loaded, String>, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Usage(format!("{}: {e}", path.display()));
    let meter = budget.start();
    let raw: Box<dyn Read + Send> = match path.as_os_str() == "-" {
        true => Box::new(Waiting::on(io::stdin(), &meter)),
        false => {
            let file = File::open(path).map_err(|e| fail(&e))?;
            match file.metadata().is_ok_and(|m| m.is_file()) {
                true => Box::new(file),
                false => Box::new(Waiting::on(file, &meter)),
            }
        }
    };
    match packed::read(raw, format, &meter) {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(Unread::Exhausted(why)) => Ok(Err(why)),
        Err(Unread::Wrong(why)) => Err(fail(&why)),
    }
}

/// `schism check FILE` without a workload: what it is a history of is told by itself.
pub fn check(args: &args::Check, path: &Path) -> Result<ExitCode, Failure> {
    let budget = args.budget.budget();
    let mut notes = Notes::default();
    let loaded = match load(path, args.input.format, &budget)? {
        Ok(loaded) => loaded,
        Err(why) => {
            let judged = Judged {
                verdict: Verdict::Unknown,
                analyses: vec![Analysis::unknown("history", why)],
                notes,
            };
            return print(&args.run, &judged, &History::default(), args.json);
        }
    };
    notes.warnings.extend(loaded.torn.map(|torn| {
        let (line, bytes) = (torn.line, torn.bytes);
        format!("line {line} of the history is torn and was left out ({bytes} bytes)")
    }));
    let history = loaded.history;
    let (title, analysis) = match choice(&args.asked, &args.run, &history)? {
        None => {
            let why = "the history has no operation of a client";
            (args.run.clone(), Analysis::vacuous("linearizable", why))
        }
        Some(choice) => {
            let keys = if choice.keyed {
                ", each value with its key"
            } else {
                ""
            };
            let title = format!("{} as {}{keys}", args.run, choice.model.name());
            let analysis =
                compose::check_all(&[choice.checker(&history)], &history, &budget).remove(0);
            if let Some(file) = &args.certificate {
                let came = certificate::write(file, &choice, &history, &analysis, &budget)?;
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

/// None if there is nothing to judge.
pub fn choice(
    args: &args::Asked,
    name: &str,
    history: &History,
) -> Result<Option<Choice>, Failure> {
    if history.pairs().is_empty() {
        return Ok(None);
    }
    let choice = match args.model {
        Some(model) => Choice::with_model(model, history)
            .map_err(|e| Failure::Usage(format!("{name}: {e}")))?,
        None => Choice::of(history)
            .map_err(|e| Failure::Usage(format!("{name}: {e}; --model says which it is")))?,
    };
    let is_txn = matches!(choice.model, Model::Append | Model::RwRegister);
    if args.consistency_model.is_some() && !is_txn {
        let why = format!(
            "--consistency-model is for transactions; this is a history of {}",
            choice.model.name()
        );
        return Err(Failure::Usage(why));
    }
    Ok(Some(Choice {
        initial: args.initial.clone(),
        consistency: args.consistency_model.unwrap_or_default(),
        ..choice
    }))
}

/// `schism convert`.
pub fn convert(args: &args::Convert) -> Result<ExitCode, Failure> {
    let budget = args.budget.budget();
    let unknown = |name: &str, why: &str| {
        eprintln!("schism: {name}: {why}");
        Ok(ExitCode::from(Verdict::Unknown.exit_code()))
    };
    let history = match load(&args.from, args.input.format, &budget)? {
        Ok(loaded) => loaded.history,
        Err(why) => return unknown(&args.from.display().to_string(), &why),
    };
    let (name, to): (String, Box<dyn Write>) = match &args.output {
        None => ("standard output".into(), Box::new(io::stdout())),
        Some(path) => {
            let fail = |e| Failure::Usage(format!("{}: {e}", path.display()));
            (
                path.display().to_string(),
                Box::new(File::create(path).map_err(fail)?),
            )
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
    written.map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
    Ok(ExitCode::SUCCESS)
}
