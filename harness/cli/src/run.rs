//! `schism run`: from a specification to a verdict.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use checkers::{Analysis, Budget, Checker, Verdict};
use harness::cluster::lab::{self, Entered};
use harness::progress::{Progress, Stop, Wish, unless, wish};
use harness::run::{Judged, RunError, judge, record};
use harness::test::Notes;
use history::History;
use history::file;
use history::store::{Run, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use workloads::scenario::{Expect, Scenario};

use crate::args;
use crate::check;
use crate::cluster;
use crate::display::Display;
use crate::doctor;
use crate::exit::Failure;
use crate::machines::Kind;
use crate::plan::Plan;
use crate::spec::Spec;
use crate::terminal;
use crate::wanted::{Faults, NEMESIS, Wanted};

/// Bytes of a run's files, of whosever run it is.
const MOST_RESULTS: u64 = 1 << 30;
const MOST_SCHEDULE: u64 = 64 << 20;

/// How long a node may be without a word from the controller before it heals itself.
const LEASE: Duration = Duration::from_secs(10);

/// What `--json` prints.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub run: String,
    pub verdict: Verdict,
    /// Kinds of all anomalies, the most telling first.
    pub anomalies: Vec<String>,
    /// When the first anomaly was complete, in seconds since the start of the main phase.
    pub found_at_s: Option<f64>,
    pub seed: u64,
    /// What is not as the scenario expects, if the run is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmet: Option<Vec<String>>,
    pub judged: Judged,
}

pub fn command(args: args::Run) -> Result<ExitCode, Failure> {
    // Everything that a person can have got wrong is found before anything starts.
    let asked = asked(&args)?;
    let plan = Plan::new(asked.wanted.settle()?)?;
    if plan.spec.cluster == Kind::Lab {
        match lab::enter().map_err(|e| doctor::explain(&e, &args.store.store))? {
            Entered::Outside(code) => return Ok(code),
            Entered::Inside => {}
        }
    }
    let store = Store::new(&args.store.store);
    let label = format!("{}-{}", plan.spec.system, plan.spec.workload);
    let run = store.create(&label).map_err(Failure::infra)?;
    // Where folders cannot be locked nobody sees that the run goes on, and nothing else is lost.
    let _held = run.hold();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::infra)?;
    let spec = plan.spec.clone();
    let expect = asked.expect;
    let checkers = plan.checkers()?;
    let progress = Arc::new(Progress::default());
    let (display, stop) = {
        let _entered = runtime.enter();
        (Display::start(progress.clone()), listen(progress.clone()))
    };
    let recorded = runtime.block_on(drive(plan, &run, &progress, &stop));
    let notes = recorded.map_err(|failure| leave_why(&run, failure))?;
    progress.phase("judging", None);
    let judging = Judging {
        run: run.clone(),
        checkers,
        budget: args.budget.budget(),
        notes,
    };
    let judged = runtime.block_on(judging.unless_stopped(&stop));
    drop(display);
    // Stragglers, such as a connection attempt to a node that is gone, have nothing more to say.
    runtime.shutdown_background();
    let (history, judged) = judged?;
    // From here on there is a verdict, and nothing that goes wrong keeps it from being said.
    let mut troubles = Vec::new();
    troubles.extend(conclude(&run, &spec, &history, &judged).err());
    if judged.verdict == Verdict::Valid {
        // Evidence of nothing, and large.
        let discarded = lab::discard_data(&run.path().join("nodes"));
        troubles.extend(discarded.map_err(Failure::infra).err());
    }
    let unmet = expect.map(|expect| expect.unmet(judged.verdict, &judged.analyses));
    let code = match &unmet {
        Some(unmet) if args.expect => as_expected(judged.verdict, unmet.is_empty()),
        _ => check::code(judged.verdict),
    };
    match args.json {
        true => terminal::json(&Outcome {
            unmet,
            ..outcome(&run, &spec, &history, judged)
        }),
        false => {
            check::print(&spec.title(), &judged, &history, false)?;
            match unmet.as_deref() {
                None => {}
                Some([]) => terminal::line("\nas the scenario expects"),
                Some(unmet) => terminal::line(format!(
                    "\nnot as the scenario expects: {}",
                    unmet.join("; ")
                )),
            }
            terminal::line(format!("\nreport   {}", run.report().display()));
            terminal::line(format!("again    {}", command_line(&run, &spec)));
        }
    }
    for trouble in troubles {
        terminal::tell(format!("schism: {trouble}"));
    }
    Ok(code)
}

/// What the command line asks for.
struct Asked {
    wanted: Wanted,
    /// What must come of it, if a scenario says.
    expect: Option<Expect>,
}

fn asked(args: &args::Run) -> Result<Asked, Failure> {
    let (below, expect) = match (&args.scenario, &args.spec) {
        (Some(file), _) => {
            let scenario = Scenario::load(file).map_err(Failure::usage)?;
            let twin = || {
                let nothing = format!("--clean: {} plants nothing", scenario.name);
                scenario.twin().ok_or(Failure::Usage(nothing))
            };
            let chosen = if args.clean { twin()? } else { &scenario };
            (Wanted::from(chosen), Some(chosen.expect.clone()))
        }
        (None, Some(file)) => (Wanted::from(Spec::read(file)?), None),
        (None, None) => (Wanted::default(), None),
    };
    let wanted = flags(args, &below)?;
    let changed = wanted.faults.is_some() || !args.param.is_empty() || !args.flaw.is_empty();
    let expect = expect.filter(|_| !changed);
    if args.expect && expect.is_none() {
        return Err(Failure::Usage(
            "--expect: nobody knows what to expect of a scenario with other faults, flaws or parameters"
                .into(),
        ));
    }
    let wanted = wanted.over(below);
    Ok(Asked { wanted, expect })
}

/// What the flags say; the nodes too, where they say nothing of them.
fn flags(args: &args::Run, below: &Wanted) -> Result<Wanted, Failure> {
    let drawing = &args.drawing;
    let faults = match (&args.schedule, &args.nemesis) {
        (Some(file), _) => Some(Faults::File(file.clone())),
        (None, Some(nemesis)) => Some(Faults::Drawn {
            nemesis: nemesis.clone(),
            drawing: drawing.clone(),
        }),
        (None, None) if drawing.is_default() => None,
        (None, None) => match &below.faults {
            Some(Faults::Drawn { nemesis, .. }) => Some(nemesis.clone()),
            None => Some(NEMESIS.into()),
            Some(Faults::File(_) | Faults::Given(_)) => {
                let why =
                    "--fault-length, --fault-gap and --no-leader are for faults that are drawn";
                return Err(Failure::Usage(format!("{why}: give --nemesis")));
            }
        }
        .map(|nemesis| Faults::Drawn {
            nemesis,
            drawing: drawing.clone(),
        }),
    };
    let of_spec = args.spec.is_some() && args.cluster.is_default();
    let (cluster, hosts, access, nodes) = match of_spec {
        true => (
            below.cluster,
            below.hosts.clone(),
            below.access.clone(),
            below.nodes,
        ),
        false => {
            let chosen = args.cluster.choose(below.nodes)?;
            let access = args.cluster.access.clone();
            (
                args.cluster.cluster,
                chosen.hosts,
                access,
                Some(chosen.count),
            )
        }
    };
    Ok(Wanted {
        system: args.system.clone(),
        workload: args.workload.clone(),
        faults,
        cluster,
        nodes,
        hosts,
        access,
        time_limit: args.time_limit,
        op_timeout: args.op_timeout,
        rate: args.rate,
        concurrency: args.concurrency,
        clients: args.clients,
        load: args.load,
        recovery_time: args.recovery_time,
        may_crash: args.may_crash,
        seed: args.seed,
        params: args.param.iter().cloned().collect(),
        flaws: args.flaw.clone(),
        scenario: None,
        clean: args.clean,
    })
}

/// The exit code under `--expect`. A verdict that says nothing of the system keeps its own.
fn as_expected(verdict: Verdict, met: bool) -> ExitCode {
    match (met, verdict) {
        (true, _) => ExitCode::SUCCESS,
        (false, Verdict::Valid) => check::code(Verdict::Invalid),
        (false, verdict) => check::code(verdict),
    }
}

/// Step 8 of a run.
struct Judging {
    run: Run,
    checkers: Vec<Box<dyn Checker>>,
    budget: Budget,
    notes: Notes,
}

impl Judging {
    /// Judges the run, unless the next wish to stop comes first: then it is not judged, and the run's
    /// results say so.
    async fn unless_stopped(self, stop: &Stop) -> Result<(History, Judged), Failure> {
        let notes = Notes {
            stopped: true,
            ..self.notes.clone()
        };
        let name = self.run.name();
        let judging = tokio::task::spawn_blocking(move || {
            judge(
                &self.run.history(),
                &self.checkers,
                &self.budget,
                self.notes,
            )
        });
        match unless(stop, wish(stop).next(), judging).await {
            Some(joined) => joined.map_err(Failure::infra)?.map_err(Failure::infra),
            None => {
                let why = format!("stopped while it was judged; `schism check {name}` judges it");
                let judged = Judged {
                    verdict: Verdict::Unknown,
                    analyses: vec![Analysis::unknown("judging", why)],
                    notes,
                };
                Ok((History::default(), judged))
            }
        }
    }
}

/// Writes down in the run's folder why there is nothing to judge.
fn leave_why(run: &Run, failure: Failure) -> Failure {
    let why = failure.to_string();
    let judged = Judged {
        verdict: Verdict::Infra,
        analyses: vec![Analysis::infra("harness", why.as_str())],
        notes: Notes::default(),
    };
    let results = serde_json::to_vec_pretty(&judged).expect("results have only text keys");
    match run.write(&run.results(), &results) {
        Ok(()) => failure,
        Err(e) => Failure::Infra(format!("{why}\nand {e}")),
    }
}

/// Steps 1 to 7.
async fn drive(
    plan: Plan,
    run: &Run,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Notes, Failure> {
    let spec_json = serde_json::to_vec_pretty(&plan.spec).map_err(Failure::infra)?;
    run.write(&run.spec(), &spec_json).map_err(Failure::infra)?;
    plan.schedule
        .save(&run.schedule())
        .map_err(Failure::infra)?;

    let (notes_tx, heard) = mpsc::unbounded_channel();
    let mut cluster = cluster::build(cluster::Wanted {
        spec: &plan.spec,
        folder: run.path().join("nodes"),
        lease: LEASE,
        notes: notes_tx,
        progress: progress.clone(),
    })
    .await?;
    let test = plan.into_test();
    let recorded = record(
        test,
        cluster.as_mut(),
        run,
        heard,
        progress.clone(),
        stop.clone(),
    );
    recorded.await.map_err(|e| match e {
        RunError::Stopped | RunError::Lacking(_) => Failure::Infra(e.to_string()),
        e => Failure::Infra(format!(
            "{e}\nthe nodes' logs are in {}",
            run.path().display()
        )),
    })
}

/// Each Ctrl-C, SIGTERM or SIGHUP is the next wish.
fn listen(progress: Arc<Progress>) -> Stop {
    use tokio::signal::unix::{SignalKind, signal};
    let (wishes, stop) = watch::channel(Wish::GoOn);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        ) else {
            progress.remark("signals cannot be heard: Ctrl-C ends without a verdict");
            // Kept, so that nobody takes the silence for a wish.
            return std::future::pending::<()>().await;
        };
        loop {
            let signal = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => "SIGHUP",
            };
            progress.stop_by(signal);
            let next = wish(&wishes.subscribe()).next();
            progress.remark(match next {
                Wish::GoOn | Wish::WindUp => {
                    "stopping: healing, then judging what there is (again to leave that out)"
                }
                Wish::Abandon => "leaving: judging what there is (again to leave that out too)",
                Wish::Leave => "leaving at once",
            });
            wishes.send_replace(next);
        }
    });
    stop
}

/// Step 9, the files: results and report.
pub fn conclude(run: &Run, spec: &Spec, history: &History, judged: &Judged) -> Result<(), Failure> {
    let results = serde_json::to_vec_pretty(judged).map_err(Failure::infra)?;
    run.write(&run.results(), &results)
        .map_err(Failure::infra)?;
    let page = page(run, spec, history, judged)?;
    run.write(&run.report(), page.as_bytes())
        .map_err(Failure::infra)
}

/// The report.
pub fn page(run: &Run, spec: &Spec, history: &History, judged: &Judged) -> Result<String, Failure> {
    let mut shown = serde_json::to_value(Spec {
        // The page shows the faults themselves.
        schedule: None,
        ..spec.clone()
    })
    .map_err(Failure::infra)?;
    shown["versions"] = judged.notes.versions.clone().into();
    if let Some(delay) = judged.notes.recorder_delay {
        shown["recorder_delay"] = serde_json::to_value(delay).map_err(Failure::infra)?;
    }
    let schedule = file::read(&run.schedule(), MOST_SCHEDULE).ok();
    let schedule = schedule.and_then(|text| String::from_utf8(text).ok());
    Ok(report::render(&report::Input {
        system: &spec.system,
        workload: &spec.workload,
        command: &command_line(run, spec),
        spec: &shown,
        schedule: schedule.as_deref(),
        nodes: &spec.node_names(),
        history,
        analyses: &judged.analyses,
        verdict: judged.verdict,
        warnings: &judged.notes.warnings,
    }))
}

/// For a shell that stands in any folder.
fn command_line(run: &Run, spec: &Spec) -> String {
    let folder = std::path::absolute(run.path()).unwrap_or_else(|_| run.path().into());
    let store = folder.parent().unwrap_or(&folder);
    spec.command(&folder.join("spec.json"), store)
}

pub fn load_results(run: &Run) -> Result<Judged, Failure> {
    let path = run.results();
    let text = file::read(&path, MOST_RESULTS).map_err(|e| {
        let (path, run_name) = (path.display(), run.name());
        Failure::Usage(match run.is_live() {
            true => format!("cannot read {path}: {e}; the run still goes on"),
            false => format!("cannot read {path}: {e}; `schism check {run_name}` judges the run"),
        })
    })?;
    serde_json::from_slice(&text).map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))
}

/// What `--json` printed for a run that is over.
pub fn recall(run: &Run) -> Result<Outcome, Failure> {
    let judged = load_results(run)?;
    let history = run.load().map_err(Failure::infra)?.history;
    Ok(outcome(run, &Spec::load(run)?, &history, judged))
}

fn outcome(run: &Run, spec: &Spec, history: &History, judged: Judged) -> Outcome {
    let all = || judged.analyses.iter().flat_map(|a| &a.anomalies);
    let complete = |ops: &[u64]| {
        let times = ops.iter().map(|index| {
            let completion = history.op(*index).and_then(|op| op.completion);
            let event = history.events().get(completion.unwrap_or(*index) as usize);
            event.map_or(0, |e| e.time.as_nanos())
        });
        times.max()
    };
    let found = all().filter_map(|anomaly| complete(&anomaly.ops)).min();
    Outcome {
        run: run.path().display().to_string(),
        verdict: judged.verdict,
        anomalies: all().map(|a| a.kind.clone()).collect(),
        found_at_s: found.map(|at| at.saturating_sub(judged.notes.main_from_ns) as f64 / 1e9),
        seed: spec.seed,
        unmet: None,
        judged,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Takes as long as somebody lets it.
    struct Slow(Mutex<Receiver<()>>);

    impl Checker for Slow {
        fn name(&self) -> &str {
            "slow"
        }

        fn check(&self, _: &History, _: &Budget) -> Analysis {
            let _ = self.0.lock().expect("no panic while held").recv();
            Analysis::valid("slow", "")
        }
    }

    #[test]
    fn a_signal_while_a_run_is_judged_leaves_it_unjudged_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let run = Store::new(folder.path()).create("run").unwrap();
        let recorder = harness::recorder::Recorder::create(&run.history()).unwrap();
        recorder.finish().unwrap();
        let (done, waiting) = channel();
        let judging = Judging {
            run: run.clone(),
            checkers: vec![Box::new(Slow(Mutex::new(waiting)))],
            budget: Budget::default(),
            notes: Notes::default(),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        // The run was wound up before; that it is judged was wished then.
        let (wishes, stop) = watch::channel(Wish::WindUp);
        let (_, judged) = runtime.block_on(async {
            let judged = judging.unless_stopped(&stop);
            let person = async {
                tokio::task::yield_now().await;
                wishes.send_replace(Wish::Abandon);
            };
            tokio::join!(judged, person).0.unwrap()
        });
        drop(done);
        assert_eq!(judged.verdict, Verdict::Unknown);
        assert!(judged.notes.stopped);
        let summary = &judged.analyses[0].summary;
        assert!(summary.contains("stopped while it was judged"), "{summary}");
        assert!(summary.contains(&run.name()), "{summary}");
    }
}
