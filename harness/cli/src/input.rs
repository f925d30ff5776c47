//! Histories from files: of any format, compressed or not, and what is done with them alone.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checkers::choice::{Choice, Model, Question};
use checkers::transactions::Scope;
use checkers::{
    Analysis, Budget, Certificate, Doubt, Meter, Proof, Refutation, Verdict, compose, confirmed,
    refute, verify as replay,
};
use harness::run::{Judged, Notes};
use history::foreign::{self, Format};
use history::json;
use history::jsonl::{self, Loaded, Torn};
use history::wording::{counted, either};
use history::{History, Op, Outcome, Value};

use crate::args;
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
            let analysis = match &args.certificate {
                None => {
                    compose::check_all(&[choice.checker(&history)], &history, &budget).remove(0)
                }
                Some(file) => match choice.certify(&history, &budget) {
                    Err(found) if found.verdict == Verdict::Invalid => {
                        refuted(found, file, &history, &choice, &budget)?
                    }
                    Err(found) => found,
                    Ok(certificate) => certified(certificate, file, &history, &choice, &budget)?,
                },
            };
            let analysis = choice.tested(&history, analysis);
            notes
                .warnings
                .extend(nil_reads(&analysis, &choice, &history));
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

/// Writes the certificate, and believes it only when it has been replayed.
fn certified(
    certificate: Certificate,
    file: &Path,
    history: &History,
    choice: &Choice,
    budget: &Budget,
) -> Result<Analysis, Failure> {
    let name = choice.checker(history);
    let meter = budget.start();
    if let Err(why) = meter.look(history.ops_bytes()) {
        let why = format!("there is an order, but {why} before it was replayed");
        return Ok(Analysis::unknown(name.name(), why));
    }
    if let Err(why) = replay(history, &certificate) {
        let why = format!("a bug: the order that was found is not right: {why}");
        return Ok(Analysis::unknown(name.name(), why));
    }
    let ops: usize = certificate.orders.iter().map(|order| order.ops.len()).sum();
    let is_where = match write(&Proof::Order(certificate), file, meter) {
        Ok(()) => format!("is in {}", file.display()),
        Err(why) => format!("is nowhere to be seen: {why}"),
    };
    let summary = format!(
        "{} {} an order that explains every answer; it was replayed and {is_where}",
        counted(ops, "operation"),
        either(ops, "has", "have"),
    );
    Ok(Analysis::valid(name.name(), summary))
}

/// Writes which operations have no order, if that can be confirmed, and says so.
fn refuted(
    analysis: Analysis,
    file: &Path,
    history: &History,
    choice: &Choice,
    budget: &Budget,
) -> Result<Analysis, Failure> {
    let meter = budget.start();
    let without = |why: &dyn std::fmt::Display| Analysis {
        summary: format!(
            "{}; there is no certificate of that: {why}",
            analysis.summary
        ),
        ..analysis.clone()
    };
    if let Err(why) = meter.look(history.ops_bytes()) {
        return Ok(without(&why));
    }
    let refutation = choice.refutation(history, &analysis);
    let refutation = match refutation.map(|found| confirmed(history, &found, &meter.left())) {
        Ok(Ok(refutation)) => refutation,
        Ok(Err(why)) => return Ok(without(&why)),
        Err(why) => return Ok(without(&why)),
    };
    let (sure, all) = (refutation.cores.len(), analysis.anomalies.len());
    if let Err(why) = write(&Proof::Cores(refutation), file, meter) {
        return Ok(without(&why));
    }
    let summary = format!(
        "{}; {sure} of {} {} confirmed by trying every order of {}, which are in {}",
        analysis.summary,
        counted(all, "finding"),
        either(sure, "was", "were"),
        either(sure, "its operations", "their operations"),
        file.display()
    );
    Ok(Analysis {
        summary,
        ..analysis
    })
}

/// Or why it is not written, which costs no verdict: a limit was met, the disk is full.
fn write(proof: &Proof, file: &Path, meter: Meter) -> Result<(), String> {
    let fail = |e: io::Error| format!("{} cannot be written: {e}", file.display());
    let mut out = Metered::new(Output::to(file).map_err(fail)?, meter);
    let written = serde_json::to_writer(&mut out, proof).map_err(io::Error::from);
    let written = written
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    if let Some(why) = out.get_ref().exhausted {
        return Err(format!("{why} before it was written"));
    }
    written.map_err(fail)?;
    let out = out.into_inner().map_err(|e| fail(e.into_error()))?;
    out.to.keep().map_err(fail)
}

/// `schism verify`: replays a certificate, or tries every order of what is to have none, and nothing else.
pub fn verify(args: &args::Verify) -> Result<ExitCode, Failure> {
    let unknown = |why: &str| {
        terminal::line(format!("UNKNOWN  {why}"));
        Ok(ExitCode::from(Verdict::Unknown.exit_code()))
    };
    let budget = args.budget.budget();
    let history = match load(&args.history, args.input.format, &budget)? {
        Ok(loaded) => loaded.history,
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
    let history = meant(history, args, &proof)?;
    if let Err(why) = meter.look(history.ops_bytes()) {
        return unknown(&format!("{why} before the certificate was replayed"));
    }
    // A wrong certificate says nothing of the history.
    let wrong =
        |why: &dyn std::fmt::Display| unknown(&format!("the certificate does not hold: {why}"));
    let during = |scope| match scope {
        Scope::Realtime => "",
        Scope::Process => ", of each process as it asked",
        Scope::Data => ", whenever they were asked",
    };
    let verdict = match proof {
        Proof::Order(certificate) => {
            if let Err(why) = replay(&history, &certificate) {
                return wrong(&why);
            }
            let ops: usize = certificate.orders.iter().map(|order| order.ops.len()).sum();
            let time = during(certificate.scope);
            terminal::line(format!(
                "VALID  the order of {} explains every answer{time}",
                counted(ops, "operation")
            ));
            Verdict::Valid
        }
        Proof::Cores(refutation) => {
            match refute(&history, &refutation, &meter.left()) {
                Ok(()) => {}
                Err(Doubt::Wrong(why)) => return wrong(&why),
                Err(why) => return unknown(&why.to_string()),
            }
            terminal::line(format!("INVALID  {}", told(&refutation)));
            Verdict::Invalid
        }
    };
    Ok(ExitCode::from(verdict.exit_code()))
}

/// The history as it was judged: by the model that was named, or that it tells, or that the certificate has.
fn meant(history: History, args: &args::Verify, proof: &Proof) -> Result<History, Failure> {
    let question = args.question.question();
    if let Ok(asked) = question.put(history.clone()) {
        return Ok(asked.history);
    }
    let certified = match proof {
        Proof::Order(certificate) => certificate.model,
        Proof::Cores(refutation) => refutation.model,
    };
    let question = Question {
        model: question.model.or(Some(certified)),
        ..question
    };
    let asked = question.put(history);
    let asked = asked.map_err(|e| Failure::Usage(format!("{}: {e}", args.history.display())))?;
    Ok(asked.history)
}

/// Which operations have no order.
fn told(refutation: &Refutation) -> String {
    let core = &refutation.cores[0];
    let ops: Vec<String> = core.ops.iter().map(u64::to_string).collect();
    let key = core.key.as_ref().map(|key| format!(" of key {key}"));
    let more = match refutation.cores.len() - 1 {
        0 => String::new(),
        n => format!("; nor have those of {n} other findings"),
    };
    format!(
        "no order explains ops {}{}, wherever all others are put{more}",
        ops.join(", "),
        key.unwrap_or_default()
    )
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
