//! `schism check` and `schism report`: what was recorded, judged and shown again.

mod file;
mod page;
mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checkers::{Analysis, Budget, Checker, Verdict, compose};
use clap::Args;
use harness::run::{Judged, judge};
use harness::test::Notes;
use history::History;
use history::foreign::Format;
use history::store::{Run, Store};

use crate::certificate;
use crate::exit::Failure;
use crate::flags::{BudgetArgs, InputArgs, OpenArgs, StoreArgs};
use crate::input;
use crate::judged::{self, conclude, load_results, print};
use crate::judges::{judges, of_run};
use crate::open;
use crate::output;
use crate::question::QuestionArgs;
use crate::spec::Spec;
use crate::summary::Rest;
use crate::terminal;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:
  schism check latest
  schism check history.edn --report report.html
`schism check --help` has all options and more examples.",
    after_long_help = "Examples:
  schism check latest
  schism check history.edn --report report.html
  schism check history.edn.gz --model cas-register --initial 0 --certificate order.json
  schism check transactions.edn --consistency-model snapshot-isolation
  schism check history.jsonl --model ./mine.rhai
  zcat operations.csv.gz | schism check -"
)]
pub struct CheckArgs {
    /// A run's name, `latest`, a run's folder, a history file, or `-` for standard input
    #[arg(default_value = "latest")]
    pub run: String,
    /// Judge as this workload would [default: the run's own]
    #[arg(long, short, value_name = "NAME")]
    pub workload: Option<String>,
    #[command(flatten)]
    pub question: QuestionArgs,
    /// Write what shows the verdict: an order that explains it, or operations that have none
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Write the report here: what was found, and why
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// Write results and report into the run's folder even if that is not in the store
    #[arg(long, hide_short_help = true)]
    pub save: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub open: OpenArgs,
}

/// Judges again. A run's results and report are replaced; a bare file's go to the terminal only.
/// Whatever cannot be written, or had better not be, the verdict is said.
pub fn check(args: CheckArgs) -> Result<ExitCode, Failure> {
    let budget = args.budget.budget();
    let path = Path::new(&args.run);
    // A file, a pipe of the shell's, a device: whatever can be read and is no folder.
    let is_file = args.run == "-" || fs::metadata(path).is_ok_and(|there| !there.is_dir());
    if args.workload.is_none() && is_file {
        return file::check(&args, path);
    }
    if args.workload.is_none()
        && let Some(history) = in_folder(&args, path)?
    {
        return file::check(&args, &history);
    }
    let format = args.input.format.map(|_| "--format");
    if let Some(flag) = args.question.given().into_iter().chain(format).next() {
        let why = format!(
            "{flag} is for history files; {} is a run, or judged as a workload",
            args.run
        );
        return Err(Failure::Usage(why));
    }
    probe(&args)?;
    // What came of the certificate is told, and not kept with the run.
    let certify = |checkers: &[_], history: &_, judged: &mut _| {
        if let Some(file) = &args.certificate {
            certificate::write_for(file, checkers, history, judged, &budget);
        }
    };
    if let (Some(name), true) = (&args.workload, is_file) {
        has_page(&args)?;
        let checkers = judges(name, &[], None)?;
        let (history, mut judged) = match path.is_file() {
            true => judge(path, &checkers, &budget, Notes::default()).map_err(Failure::usage)?,
            false => judge_pipe(path, &checkers, &budget)?,
        };
        certify(&checkers, &history, &mut judged);
        let asked = page::Asked::workload(name);
        return tell(&args, &args.run, &asked, &judged, &history);
    }
    let store = Store::new(&args.store.store);
    let run = store.open(&args.run).map_err(Failure::usage)?;
    let (_, checkers) = of_run(&args.store, &args.run, args.workload.as_deref())?;
    let spec = Spec::load(&run)?;
    let live = run.is_live();
    // A run that was killed has no results yet; its history is what there is.
    let stored = load_results(&run).ok();
    let notes = stored.as_ref().map(|judged| judged.notes.clone());
    let notes = notes.unwrap_or_default();
    if !run.history().exists() && !live {
        return never_began(&run, &spec, args.json);
    }
    let (history, mut judged) = match live && !run.history().exists() {
        true => (History::default(), nothing_yet(notes)),
        false => judge(&run.history(), &checkers, &budget, notes).map_err(Failure::usage)?,
    };
    if live {
        still_going(&mut judged);
    }
    let unwritten = match args.workload {
        Some(_) => None,
        None if live => Some(format!("{} still goes on: nothing was written", run.name())),
        None => write(
            &args,
            &store,
            &run,
            stored.as_ref(),
            || conclude(&run, &spec, &history, &judged),
            &judged,
        ),
    };
    certify(&checkers, &history, &mut judged);
    let code = print(&spec.title(), &judged, &history, Rest::InReport, args.json)?;
    let page = || judged::page(&run, &spec, &history, &judged);
    let put = say_if_not(args.report.as_ref().map(|to| page::put(to, &page()?)));
    if let Some(why) = unwritten {
        terminal::tell(format!("schism: {why}"));
    }
    show(&args, put, &run.report());
    Ok(code)
}

/// The history of a folder that is judged as a file is: another tool's, or a run's if a script is
/// to judge it.
fn in_folder(args: &CheckArgs, path: &Path) -> Result<Option<PathBuf>, Failure> {
    let others = input::in_folder(path);
    if others.is_some() || args.question.script()?.is_none() {
        return Ok(others);
    }
    let run = Store::new(&args.store.store).open(&args.run);
    Ok(Some(run.map_err(Failure::usage)?.history()))
}

/// Whether what is asked for can be written, before minutes are spent.
fn probe(args: &CheckArgs) -> Result<(), Failure> {
    let mut files = args.certificate.iter().chain(&args.report);
    files.try_for_each(|file| {
        let fail = |e| Failure::Usage(format!("{}: {e}", file.display()));
        output::probe(file).map_err(fail)
    })
}

/// What came of a history that is no run of ours: on the terminal, and as a page if one is wanted.
fn tell(
    args: &CheckArgs,
    title: &str,
    asked: &page::Asked,
    judged: &Judged,
    history: &History,
) -> Result<ExitCode, Failure> {
    let rest = match args.report {
        Some(_) => Rest::InReport,
        None => Rest::Unwritten,
    };
    let code = print(title, judged, history, rest, args.json)?;
    let wanted = args.report.as_ref();
    let put = wanted.map(|to| page::put(to, &page::of_file(&args.run, asked, judged, history)));
    let put = say_if_not(put);
    if let Some(page) = wanted {
        show(args, put, page);
    }
    Ok(code)
}

/// In the browser, if it is wished: the page that was asked for, else the run's own.
fn show(args: &CheckArgs, put: bool, own: &Path) {
    if args.open.open && put {
        open::open(args.report.as_deref().unwrap_or(own));
    }
}

/// A history that is no run of ours has a page only where one is asked for.
fn has_page(args: &CheckArgs) -> Result<(), Failure> {
    let why = format!("--open: {} has no page: give --report FILE too", args.run);
    match args.open.open && args.report.is_none() {
        true => Err(Failure::Usage(why)),
        false => Ok(()),
    }
}

/// A page that cannot be written costs no verdict. Whether nothing went wrong.
fn say_if_not(written: Option<Result<(), Failure>>) -> bool {
    match written {
        Some(Err(why)) => {
            terminal::tell(format!("schism: {why}"));
            false
        }
        _ => true,
    }
}

/// A history that can be read once.
fn judge_pipe(
    path: &Path,
    checkers: &[Box<dyn Checker>],
    budget: &Budget,
) -> Result<(History, Judged), Failure> {
    let mut notes = Notes::default();
    let (history, analyses) = match input::load(path, Some(Format::Jsonl), budget)? {
        Ok(loaded) => {
            notes.warnings.extend(loaded.torn.map(input::torn));
            let analyses = compose::check_all(checkers, &loaded.history, budget);
            (loaded.history, analyses)
        }
        Err(why) => (History::default(), vec![Analysis::unknown("history", why)]),
    };
    let verdict = compose::overall(&analyses);
    let judged = Judged {
        verdict,
        analyses,
        notes,
    };
    Ok((history, judged))
}

fn nothing_yet(notes: Notes) -> Judged {
    Judged {
        verdict: Verdict::Valid,
        analyses: Vec::new(),
        notes,
    }
}

/// What a run that is not over has recorded may show an anomaly, and decides nothing else: faults
/// are still to be healed, operations still to be asked.
fn still_going(judged: &mut Judged) {
    let why = "the run still goes on, and this is what it has recorded so far";
    let early = |a: &Analysis| !matches!(a.verdict, Verdict::Infra | Verdict::Vacuous);
    judged.analyses.retain(early);
    judged.analyses.push(Analysis::unknown("run", why));
    judged.verdict = compose::overall(&judged.analyses);
}

/// Replaces the results and the report, or says why not.
fn write(
    args: &CheckArgs,
    store: &Store,
    run: &Run,
    stored: Option<&Judged>,
    conclude: impl FnOnce() -> Result<(), Failure>,
    judged: &Judged,
) -> Option<String> {
    if !store.holds(run) && !args.save {
        let (folder, root) = (run.path().display(), store.root().display());
        return Some(format!(
            "{folder} is not in the store {root}, so nothing was written there: --save writes results and report"
        ));
    }
    if let Some(stored) = stored
        && let Some(checker) = undecided(stored, judged)
    {
        return Some(format!(
            "nothing was written: of {checker} more is known by the judgement that is stored, which was {}",
            stored.verdict.word().to_uppercase()
        ));
    }
    conclude().err().map(|why| why.to_string())
}

/// A checker that once came to an end and has not now, because time or memory ran out.
fn undecided<'a>(stored: &'a Judged, judged: &Judged) -> Option<&'a str> {
    let decided = |of: &Judged, name: &str| {
        let found = of.analyses.iter().find(|a| a.checker == name);
        found.is_some_and(|a| a.verdict != Verdict::Unknown)
    };
    let mut names = stored.analyses.iter().map(|a| a.checker.as_str());
    let lacks = judged
        .analyses
        .iter()
        .any(|a| a.verdict == Verdict::Unknown);
    names.find(|name| lacks && decided(stored, name) && !decided(judged, name))
}

/// A run that ended before its main phase has left why, and nothing to judge.
fn never_began(run: &Run, spec: &Spec, json: bool) -> Result<ExitCode, Failure> {
    let judged = load_results(run).map_err(|_| {
        Failure::Usage(format!(
            "{} has no history: it was cut short before its main phase",
            run.name()
        ))
    })?;
    print(
        &spec.title(),
        &judged,
        &History::default(),
        Rest::InReport,
        json,
    )
}
