//! `schism check` and `schism report`: what was recorded, judged and shown again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checkers::{Checker, Verdict};
use harness::run::{Judged, Notes, judge};
use history::History;
use history::store::{Run, Store};
use workloads::params::Params;
use workloads::workload::Circumstances;
use workloads::{systems, workload};

use crate::args;
use crate::certificate;
use crate::exit::Failure;
use crate::input;
use crate::run::{conclude, load_results, write_report};
use crate::spec::Spec;
use crate::summary;

/// Judges again. A run's results and report are replaced; a bare file's go to the terminal only.
pub fn check(args: args::Check) -> Result<ExitCode, Failure> {
    let budget = args.budget.budget();
    let path = Path::new(&args.run);
    if args.workload.is_none() && (args.run == "-" || path.is_file()) {
        return input::check(&args, path);
    }
    if args.workload.is_none()
        && let Some(history) = input::in_folder(path)
    {
        return input::check(&args, &history);
    }
    let format = args.input.format.map(|_| "--format");
    if let Some(flag) = args.question.given().into_iter().chain(format).next() {
        let why = format!(
            "{flag} is for history files; {} is a run, or judged as a workload",
            args.run
        );
        return Err(Failure::Usage(why));
    }
    // What came of the certificate is told, and not kept with the run.
    let certify = |checkers: &[_], history: &_, judged: &mut _| match &args.certificate {
        Some(file) => certificate::write_for(file, checkers, history, judged, &budget),
        None => Ok(()),
    };
    if let (Some(name), true) = (&args.workload, path.is_file()) {
        let checkers = judges(name, &[], None)?;
        let (history, mut judged) =
            judge(path, &checkers, &budget, Notes::default()).map_err(Failure::usage)?;
        certify(&checkers, &history, &mut judged)?;
        return print(&args.run, &judged, &history, args.json);
    }
    let store = Store::new(&args.store.store);
    let run = store.open(&args.run).map_err(Failure::usage)?;
    let (_, checkers) = of_run(&args.store, &args.run, args.workload.as_deref())?;
    let spec = Spec::load(&run)?;
    // A run that was killed has no results yet; its history is what there is.
    let notes = load_results(&run).map(|j| j.notes).unwrap_or_default();
    if !run.history().exists() {
        return never_began(&run, &spec, args.json);
    }
    let (history, mut judged) =
        judge(&run.history(), &checkers, &budget, notes).map_err(Failure::usage)?;
    if args.workload.is_none() {
        conclude(&run, &spec, &history, &judged)?;
    }
    certify(&checkers, &history, &mut judged)?;
    print(&spec.title(), &judged, &history, args.json)
}

/// A run's history, and who judges it: as its own workload says, or another.
pub fn of_run(
    store: &args::StoreArgs,
    name: &str,
    workload: Option<&str>,
) -> Result<(PathBuf, Vec<Box<dyn Checker>>), Failure> {
    let store = Store::new(&store.store);
    let run = store.open(name).map_err(Failure::usage)?;
    let spec = Spec::load(&run)?;
    let workload = workload.unwrap_or(&spec.workload);
    let params: Vec<_> = spec.params.clone().into_iter().collect();
    let checkers = judges(workload, &params, Some(&spec))?;
    Ok((run.history(), checkers))
}

/// A run that ended before its main phase has left why, and nothing to judge.
fn never_began(run: &Run, spec: &Spec, json: bool) -> Result<ExitCode, Failure> {
    let judged = load_results(run).map_err(|_| {
        Failure::Usage(format!(
            "{} has no history: it was cut short before its main phase",
            run.name()
        ))
    })?;
    print(&spec.title(), &judged, &History::default(), json)
}

/// Writes the report of a judged run again.
pub fn report(args: args::Report) -> Result<ExitCode, Failure> {
    let store = Store::new(&args.store.store);
    let run = store.open(&args.run).map_err(Failure::usage)?;
    let spec = Spec::load(&run)?;
    let judged = load_results(&run)?;
    let history = run.load().map_err(Failure::usage)?.history;
    let path = args.output.unwrap_or_else(|| run.report());
    write_report(&run, &spec, &history, &judged, &path)?;
    println!("{}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// The checkers of a workload, and those that every run has.
pub fn judges(
    workload: &str,
    params: &[(String, String)],
    spec: Option<&Spec>,
) -> Result<Vec<Box<dyn Checker>>, Failure> {
    let workload = workload::find(workload).map_err(Failure::usage)?;
    let own = workload.params();
    let given = params
        .iter()
        .filter(|(k, _)| own.iter().any(|p| p.name == k))
        .map(|(k, v)| (k.as_str(), v.as_str()));
    let params = Params::resolve(&own, given).map_err(Failure::usage)?;
    let circumstances = match spec {
        None => Circumstances::default(),
        Some(spec) => {
            let entry = systems::find(&spec.system).map_err(Failure::usage)?;
            let given = spec.params.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            let params = entry.own_params(given).map_err(Failure::usage)?;
            Circumstances {
                offered: entry.interfaces.to_vec(),
                nodes: spec.node_names(),
                faults: spec.nemesis.as_deref() != Some("none"),
                confirmations: entry.confirmations(&params),
                chain_rules: entry.chain_rules(&params),
                separate_clocks: spec.cluster != "lab",
                may_crash: spec.may_crash || entry.may_crash,
            }
        }
    };
    Ok(workload::judges(workload, &params, circumstances))
}

/// The result on stdout, the verdict as the exit code.
pub fn print(
    title: &str,
    judged: &Judged,
    history: &History,
    json: bool,
) -> Result<ExitCode, Failure> {
    match json {
        true => println!("{}", serde_json::to_string(judged).map_err(Failure::infra)?),
        false => print!("{}", summary::text(title, judged, history)),
    }
    Ok(code(judged.verdict))
}

pub fn code(verdict: Verdict) -> ExitCode {
    ExitCode::from(verdict.exit_code())
}
