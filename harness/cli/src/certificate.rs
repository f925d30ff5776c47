//! Certificates: what shows a verdict, written by `schism check` and believed by nobody before
//! `schism verify` has held it against the history.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checkers::choice::Choice;
use checkers::script::{OrderOf, Script};
use checkers::{Analysis, Terms};
use checkers::{Budget, Checker, Doubt, Meter, Proof, Refutation, Shown, Verdict};
use clap::Args;
use harness::run::Judged;
use history::wording::counted;
use history::{History, json};
use sha2::{Digest, Sha256};

use crate::exit::Failure;
use crate::flags::{BudgetArgs, InputArgs, StoreArgs};
use crate::input;
use crate::judges::{judges, of_run};
use crate::output::Output;
use crate::own_model;
use crate::question::{QuestionArgs, Wanted};
use crate::stream::{self, Metered};
use crate::terminal::{self, word};

#[derive(Debug, Args)]
#[command(
    after_help = "The history and these flags say what is asked, as for `schism check`. The certificate never does: a \
certificate that answers another question proves nothing.

--model mine.rhai asks by that script. --model certificate asks by the script that the certificate carries, \
and shows that script's hash."
)]
pub struct VerifyArgs {
    /// The history file, or a run's name, `latest`, or a run's folder
    pub history: String,
    /// What `schism check --certificate` wrote
    pub certificate: PathBuf,
    /// The run was judged as this workload would [default: the run's own]
    #[arg(long, short)]
    pub workload: Option<String>,
    #[command(flatten)]
    pub question: QuestionArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
}

/// Writes what shows the verdict, if there is something that does, and tells what came of it. The
/// verdict stays what it is.
pub fn write(
    file: &Path,
    choice: &Choice,
    history: &History,
    analysis: &Analysis,
    budget: &Budget,
) -> String {
    let meter = budget.start();
    let proof = match choice.prove(history, analysis, budget) {
        Ok(proof) => proof,
        Err(why) => return format!("no certificate was written: {why}"),
    };
    let what = match &proof {
        Proof::Order(certificate) => {
            let ops: usize = certificate.orders.iter().map(|order| order.ops.len()).sum();
            format!("the order of {ops} operations was replayed")
        }
        Proof::Accounts(_) => "what is promised was counted again".to_string(),
        Proof::Cores(refutation) => {
            let (sure, all) = (refutation.cores.len(), analysis.anomalies.len());
            format!(
                "{sure} of {all} findings were confirmed by trying every order of their operations"
            )
        }
        Proof::Script(order) => format!("the order of {} operations was found", order.placed()),
    };
    match write_proof(&proof, file, meter) {
        Err(why) => format!("no certificate was written: {why}"),
        Ok(()) => format!("{what}, and the certificate is in {}", file.display()),
    }
}

/// The same of a script's orders.
pub fn write_order(
    file: &Path,
    order: Option<OrderOf>,
    analysis: &Analysis,
    budget: &Budget,
) -> String {
    let Some(order) = order else {
        let verdict = analysis.verdict.word();
        return format!("no certificate was written: what is {verdict} by a script has none");
    };
    let placed = order.placed();
    match write_proof(&Proof::Script(order), file, budget.start()) {
        Err(why) => format!("no certificate was written: {why}"),
        Ok(()) => format!(
            "the order of {placed} operations and the script are in {}",
            file.display()
        ),
    }
}

/// The same for checkers of a run, of which the first that can show its verdict does.
pub fn write_for(
    file: &Path,
    checkers: &[Box<dyn Checker>],
    history: &History,
    judged: &mut Judged,
    budget: &Budget,
) {
    let analysis = |checker: &dyn Checker| {
        let analyses = judged.analyses.iter();
        analyses.into_iter().find(|a| a.checker == checker.name())
    };
    let mut asked = checkers
        .iter()
        .filter_map(|c| Some((c.asks()?, analysis(&**c)?)));
    let came = match asked.next() {
        None => "no certificate was written: none of these checkers has one".to_string(),
        Some((choice, analysis)) => write(file, &choice, history, analysis, budget),
    };
    judged.notes.warnings.push(came);
}

/// Or why it is not written, which costs no verdict: a limit was met, the disk is full.
fn write_proof(proof: &Proof, file: &Path, meter: Meter) -> Result<(), String> {
    let fail = |e: io::Error| format!("{} cannot be written: {e}", file.display());
    let mut out = Metered::new(Output::to(file).map_err(fail)?, meter);
    let written = serde_json::to_writer(&mut out, proof).map_err(io::Error::from);
    let written = written
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    if let Some(why) = out.get_ref().exhausted {
        return Err(format!("{why} before it was"));
    }
    written.map_err(fail)?;
    let out = out.into_inner().map_err(|e| fail(e.into_error()))?;
    out.to.keep().map_err(fail)
}

/// `schism verify`: holds a certificate against the history and against what is asked of it, and
/// nothing else.
pub fn verify(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let unknown = |why: &str| {
        terminal::line(format!("UNKNOWN  {why}"));
        Ok(ExitCode::from(Verdict::Unknown.exit_code()))
    };
    let budget = args.budget.budget();
    let (history, asked) = match asked(args, &budget)? {
        Ok(both) => both,
        Err(why) => return unknown(&why),
    };
    let fail =
        |e: &dyn std::fmt::Display| Failure::Usage(format!("{}: {e}", args.certificate.display()));
    let meter = &mut budget.start();
    let proof = stream::open(&args.certificate, meter).map_err(|e| fail(&e))?;
    let proof: Proof = match json::read_within(proof, 0, meter) {
        Ok(proof) => proof,
        Err(json::Unread::Exhausted(why)) => {
            return unknown(&format!("{why} before the certificate was read"));
        }
        // Nothing came through a pipe.
        Err(_) if meter.look(0).is_err() => {
            return unknown("the time limit was reached before the certificate was read");
        }
        Err(e) => return Err(fail(&e)),
    };
    if let Err(why) = meter.look(history.ops_bytes()) {
        return unknown(&format!("{why} before the certificate was replayed"));
    }
    let title = format!("{} as {}", args.history, asked.told(&proof));
    let found = match &asked {
        Asked::Terms(terms) => proof.verify(&history, terms, &meter.left()),
        Asked::Script(script) => proof.verify_by(&history, script.as_ref(), &meter.left()),
    };
    // A wrong certificate says nothing of the history.
    let shown = match found {
        Ok(shown) => shown,
        Err(Doubt::Wrong(why)) => {
            // A stranger's script may be called anything, and throw anything.
            let (title, why) = (word(&title), word(&why));
            return unknown(&format!("{title}\n  the certificate does not hold: {why}"));
        }
        Err(why) => return unknown(&format!("{}\n  {why}", word(&title))),
    };
    let verdict = shown.verdict.word().to_uppercase();
    terminal::line(format!("{verdict}  {}", word(&title)));
    terminal::line(format!("  {}", told(&proof, &shown)));
    if !shown.not_judged.is_empty() {
        let counted = shown.not_judged.iter().map(|(f, n)| format!("{n} {f}"));
        let counted = counted.collect::<Vec<_>>().join(", ");
        terminal::line(format!("  not judged: {}", word(&counted)));
    }
    Ok(ExitCode::from(shown.verdict.exit_code()))
}

/// The history, and what is asked of it; or what was met on the way.
fn asked(args: &VerifyArgs, budget: &Budget) -> Result<Result<(History, Asked), String>, Failure> {
    let path = Path::new(&args.history);
    let folder = input::in_folder(path);
    let is_file = args.history == "-" || folder.is_some() || path.exists() && !path.is_dir();
    let path = match is_file {
        true => folder.unwrap_or(path.to_path_buf()),
        false => of_run(&args.store, &args.history, args.workload.as_deref())?.0,
    };
    let history = match input::load(&path, args.input.format, budget)? {
        Ok(loaded) => loaded.history,
        Err(why) => return Ok(Err(why)),
    };
    if let (None, Some(script)) = (&args.workload, script(&args.question)?) {
        let put = args.question.question().without_others(history);
        let (history, _) = put.map_err(|e| Failure::Usage(format!("{}: {e}", args.history)))?;
        return Ok(Ok((history, Asked::Script(script))));
    }
    let (history, choice) = match (&args.workload, is_file) {
        (None, true) => {
            let asked = args.question.question().put(history);
            let asked = asked.map_err(|e| Failure::Usage(format!("{}: {e}", args.history)))?;
            (asked.history, asked.choice)
        }
        (workload, _) => {
            if let Some(flag) = args.question.given().first() {
                let why = format!(
                    "{flag} is for history files; {} is judged as a run",
                    args.history
                );
                return Err(Failure::Usage(why));
            }
            let checkers = match (workload, is_file) {
                (Some(name), true) => judges(name, &[], None)?,
                (name, _) => of_run(&args.store, &args.history, name.as_deref())?.1,
            };
            let choice = checkers.iter().find_map(|checker| checker.asks());
            (history, choice)
        }
    };
    let Some(choice) = choice else {
        return Ok(Err("nothing of this history can be certified".into()));
    };
    let asked = choice.terms(&history);
    Ok(Ok((history, Asked::Terms(asked))))
}

/// The script that is asked for, if one is: that of a file, or none for the certificate's.
fn script(question: &QuestionArgs) -> Result<Option<Option<Script>>, Failure> {
    let script = match &question.model {
        Some(Wanted::Script(path)) => Some(own_model::read(path)?),
        Some(Wanted::Carried) => None,
        Some(Wanted::Known(_)) | None => return Ok(None),
    };
    question.fits_a_script()?;
    Ok(Some(script))
}

/// What is asked of a history.
enum Asked {
    Terms(Terms),
    /// None: what the certificate carries.
    Script(Option<Script>),
}

impl Asked {
    /// A script that nobody named but the certificate is told by the hash of its text.
    fn told(&self, proof: &Proof) -> String {
        match (self, proof) {
            (Asked::Terms(terms), _) => terms.to_string(),
            (Asked::Script(Some(script)), _) => script.to_string(),
            (Asked::Script(None), Proof::Script(order)) => {
                let hash = Sha256::digest(order.script.text());
                let lines = counted(order.script.text().lines().count(), "line");
                format!(
                    "{}, which the certificate carries ({lines}, sha256 {hash:x})",
                    order.script
                )
            }
            (Asked::Script(None), _) => "the script that the certificate carries".into(),
        }
    }
}

/// What was shown, in a sentence.
fn told(proof: &Proof, shown: &Shown) -> String {
    let left_out = match (shown.left_out, shown.failed) {
        (0, 0) => String::new(),
        (0, failed) => format!("; {failed} failed"),
        (lost, 0) => format!("; {lost} of unknown outcome are left out"),
        (lost, failed) => format!("; {lost} of unknown outcome are left out, and {failed} failed"),
    };
    let ops = shown.operations;
    match proof {
        Proof::Order(_) | Proof::Script(_) => {
            format!("the order of {ops} operations explains every answer{left_out}")
        }
        Proof::Accounts(_) => format!("{ops} operations keep what is promised{left_out}"),
        Proof::Cores(refutation) => impossible(refutation),
    }
}

/// Which operations have no order.
fn impossible(refutation: &Refutation) -> String {
    let core = &refutation.cores[0];
    let ops: Vec<String> = core.ops.iter().map(u64::to_string).collect();
    let key = core.key.as_ref().map(|key| format!(" of key {key}"));
    let more = match refutation.cores.len() - 1 {
        0 => String::new(),
        n => format!("; nor those of {n} other findings"),
    };
    format!(
        "nothing explains ops {}{}, wherever all others are put{more}",
        ops.join(", "),
        key.unwrap_or_default()
    )
}
