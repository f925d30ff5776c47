//! `schism run`: from a specification to a verdict.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use checkers::{Analysis, Budget, Checker, Verdict};
use clap::{Args, ValueEnum};
use harness::cluster::lab::{self, Entered};
use harness::progress::{Lasts, Progress, Stop, Wish, unless, wish};
use harness::run::{Judged, RunError, judge, record};
use harness::test::Notes;
use history::History;
use history::store::{Run, Store};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use workloads::scenario::{Expect, Scenario};

use crate::cluster;
use crate::display::Display;
use crate::doctor;
use crate::exit::{Failure, code};
use crate::flags::{self, BudgetArgs, OpenArgs, StoreArgs};
use crate::judged::{Outcome, command_line, conclude, outcome, print};
use crate::live::Teller;
use crate::load::LoadArgs;
use crate::machines::{ClusterArgs, Kind};
use crate::open;
use crate::plan::Plan;
use crate::spec::{Drawing, Spec};
use crate::summary::Rest;
use crate::terminal;
use crate::wanted::{Faults, NEMESIS, Wanted};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: schism run paxos-kv --nemesis partition,pause --time-limit 60s
`schism run --help` has all options and more examples.",
    after_long_help = "Examples:
  schism run paxos-kv --nemesis partition,pause --time-limit 60s
  schism run paxos-kv --flaw stale-read-leader --nemesis partition:leader --seed 7
  schism run ./my-system --workload register
  schism run etcd --workload register --nemesis partition --param reads=serializable
  schism run --scenario workloads/scenarios/stale-read-leader.toml
  schism run --spec store/latest/spec.json
  schism run paxos-kv --schedule store/latest/schedule.toml --seed 7
  schism run paxos-kv --cluster ssh --nodes a,b,c --user root
  schism run paxos-kv --cluster vagrant --nodes 3"
)]
pub struct RunArgs {
    /// What to test: see `schism systems`
    #[arg(required_unless_present_any = ["scenario", "spec"])]
    pub system: Option<String>,
    /// Take everything not given here from a scenario file
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Take everything not given here from a run's `spec.json`, faults and seed too
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    pub spec: Option<PathBuf>,
    /// Leave out the flaw that the scenario plants
    #[arg(long, requires = "scenario", hide_short_help = true)]
    pub clean: bool,
    /// Exit with 0 if everything is as the scenario expects, whatever the verdict; otherwise with
    /// the verdict's code, and with 1 in place of 0
    #[arg(
        help_heading = "Judging",
        long,
        requires = "scenario",
        hide_short_help = true
    )]
    pub expect: bool,
    /// What to ask of it: see `schism workloads`
    ///
    /// Without this flag the system's default workload runs.
    #[arg(long, short, value_name = "NAME")]
    pub workload: Option<String>,
    /// Faults [default: partition,pause,clock,kill]
    ///
    /// Families by comma, together by plus, shapes after a colon:
    /// `partition:one-way-in,pause+clock`, `none`. See `schism nemeses`.
    #[arg(help_heading = "Faults", long, short = 'f', value_name = "FAULTS")]
    pub nemesis: Option<String>,
    /// Run exactly these faults instead of drawing some
    #[arg(help_heading = "Faults", long, value_name = "FILE", conflicts_with_all = ["nemesis", "fault_length", "fault_gap", "no_leader"])]
    pub schedule: Option<PathBuf>,
    #[command(flatten)]
    pub drawing: Drawing,
    /// Plant a flaw: see `schism flaws SYSTEM`
    ///
    /// May be given several times.
    #[arg(help_heading = "Faults", long, value_name = "NAME")]
    pub flaw: Vec<String>,
    /// Set a parameter: see `schism systems`
    ///
    /// A parameter of the system or the workload, as `name=value`. May be given several times.
    #[arg(long, short, value_name = "K=V", value_parser = flags::pair)]
    pub param: Vec<(String, String)>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Length of the main phase [default: 60s]
    #[arg(long, short, value_parser = flags::duration, value_name = "TIME")]
    pub time_limit: Option<Duration>,
    #[command(flatten)]
    pub load: LoadArgs,
    /// After everything is healed, every node must serve again within this time, then take a write
    /// [default: the system's, 30s for most]
    #[arg(
        help_heading = "Judging",
        long,
        value_parser = flags::duration,
        value_name = "TIME",
        hide_short_help = true
    )]
    pub recovery_time: Option<Duration>,
    /// What to keep of the nodes' disks: `logs`; `data` too, if the run is not valid; `all`
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "logs",
        hide_short_help = true
    )]
    pub keep: Keep,
    /// Allow daemons to end by themselves; otherwise a run in which a daemon did so is invalid
    #[arg(help_heading = "Judging", long, hide_short_help = true)]
    pub may_crash: bool,
    /// Seed of everything random [default: drawn, and shown]
    #[arg(long, short, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub open: OpenArgs,
}

/// What stays of the nodes' disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    #[default]
    Logs,
    Data,
    All,
}

impl Keep {
    /// Whether the nodes' data folders stay. Those of a run that is valid are evidence of nothing,
    /// and large.
    fn data(self, verdict: Verdict) -> bool {
        match self {
            Keep::Logs => false,
            Keep::Data => verdict != Verdict::Valid,
            Keep::All => true,
        }
    }

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Keep::Logs => "logs",
            Keep::Data => "data",
            Keep::All => "all",
        }
    }
}

/// How long a node may be without a word from the controller before it heals itself.
const LEASE: Duration = Duration::from_secs(10);

pub fn command(args: RunArgs) -> Result<ExitCode, Failure> {
    // Everything that a person can have got wrong is found before anything starts.
    let asked = asked(&args)?;
    let plan = Plan::new(asked.wanted.settle()?)?;
    let opener = match settle_down(&args, plan.spec.cluster)? {
        Entered::Outside(code) => return Ok(code),
        Entered::Inside(opener) => opener,
    };
    let store = Store::new(&args.store.store);
    let label = format!("{}-{}", plan.spec.system, plan.spec.workload);
    let run = store.create(&label).map_err(Failure::infra)?;
    terminal::tell(format!(
        "{}\nrecorded in {}",
        plan.spec.asked(),
        run.path().display()
    ));
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
    // Until everything is written. Who looks on is no part of the run.
    let _teller = Teller::start(&run, progress.clone()).ok();
    let recorded = runtime.block_on(drive(plan, &run, &progress, &stop));
    let notes = recorded.map_err(|failure| leave_why(&run, failure))?;
    progress.phase("judging", Lasts::Unknown);
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
    if !args.keep.data(judged.verdict) {
        let discarded = lab::discard_data(&run.path().join("nodes"));
        troubles.extend(discarded.map_err(Failure::infra).err());
    }
    let unmet = expect.map(|expect| expect.unmet(judged.verdict, &judged.analyses));
    let code = match &unmet {
        Some(unmet) if args.expect => as_expected(judged.verdict, unmet.is_empty()),
        _ => code(judged.verdict),
    };
    match args.json {
        true => terminal::json(&Outcome {
            unmet,
            ..outcome(&run, &spec, &history, judged)
        }),
        false => {
            print(&spec.title(), &judged, &history, Rest::InReport, false)?;
            tell_more(&run, &spec, unmet.as_deref());
            if args.open.open {
                open::open_by(opener, &run.report());
            }
        }
    }
    for trouble in troubles {
        terminal::tell(format!("schism: {trouble}"));
    }
    Ok(code)
}

/// Where the run is driven from: of a lab from within.
fn settle_down(args: &RunArgs, cluster: Kind) -> Result<Entered, Failure> {
    let opener = || args.open.open.then(open::later).flatten();
    match cluster {
        Kind::Lab => lab::enter(opener).map_err(|e| doctor::explain(&e, &args.store.store)),
        Kind::Ssh | Kind::Vagrant => Ok(Entered::Inside(opener())),
    }
}

/// Whether all is as the scenario expects, where the report is, and how to run it again.
fn tell_more(run: &Run, spec: &Spec, unmet: Option<&[String]>) {
    match unmet {
        None => {}
        Some([]) => terminal::line("\nas the scenario expects"),
        Some(unmet) => terminal::line(format!(
            "\nnot as the scenario expects: {}",
            unmet.join("; ")
        )),
    }
    terminal::line("");
    terminal::path("report   ", &run.report());
    terminal::line(format!("again    {}", command_line(run, spec)));
}

/// What the command line asks for.
struct Asked {
    wanted: Wanted,
    /// What must come of it, if a scenario says.
    expect: Option<Expect>,
}

fn asked(args: &RunArgs) -> Result<Asked, Failure> {
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
fn flags(args: &RunArgs, below: &Wanted) -> Result<Wanted, Failure> {
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
    let (cluster, hosts, access, nodes) = match args.spec.is_some() && args.cluster.is_default() {
        true => (
            below.cluster,
            below.hosts.clone(),
            below.access.clone(),
            below.nodes,
        ),
        false => {
            // Other nodes of the kind that the specification has, unless the kind is said too.
            let mut machines = args.cluster.clone();
            let kind = *machines.cluster.get_or_insert(below.cluster);
            if kind == below.cluster && machines.access.is_default() {
                machines.access = below.access.clone();
            }
            let chosen = machines.choose(below.nodes)?;
            (kind, chosen.hosts, machines.access, chosen.count)
        }
    };
    Ok(args.load.on(Wanted {
        system: args.system.clone(),
        folder: None,
        workload: args.workload.clone(),
        faults,
        cluster,
        nodes,
        hosts,
        access,
        time_limit: args.time_limit,
        recovery_time: args.recovery_time,
        may_crash: args.may_crash,
        seed: args.seed,
        params: args.param.iter().cloned().collect(),
        flaws: args.flaw.clone(),
        scenario: None,
        clean: args.clean,
        ..Wanted::default()
    }))
}

/// The exit code under `--expect`. A verdict that says nothing of the system keeps its own.
fn as_expected(verdict: Verdict, met: bool) -> ExitCode {
    match (met, verdict) {
        (true, _) => ExitCode::SUCCESS,
        (false, Verdict::Valid) => code(Verdict::Invalid),
        (false, verdict) => code(verdict),
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
    /// Judges the run, unless the next wish to stop comes first: then it is not judged, and the
    /// run's results say so.
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

    /// What a specification says of its machines holds until a flag says otherwise.
    #[test]
    fn machines_are_those_of_the_specification_unless_flags_say_others() {
        use clap::Parser;

        use crate::cli::{Cli, Command};
        use crate::machines::AccessArgs;

        let below = Wanted {
            cluster: Kind::Ssh,
            nodes: Some(2),
            hosts: vec!["a".into(), "b".into()],
            access: AccessArgs {
                user: Some("root".into()),
                ..AccessArgs::default()
            },
            ..Wanted::default()
        };
        let machines = |more: &[&str]| {
            let line = [&["schism", "run", "--spec", "x.json"], more].concat();
            let Command::Run(args) = Cli::try_parse_from(line).unwrap().command else {
                unreachable!("it is a run");
            };
            let wanted = flags(&args, &below).unwrap();
            let user = wanted.access.user;
            (wanted.cluster, wanted.hosts.join(" "), user, wanted.nodes)
        };
        let root = || Some("root".to_string());
        assert_eq!(machines(&[]), (Kind::Ssh, "a b".into(), root(), Some(2)));
        let others = machines(&["--nodes", "c,d,e"]);
        assert_eq!(others, (Kind::Ssh, "c d e".into(), root(), Some(3)));
        let lab = machines(&["--cluster", "lab"]);
        assert_eq!(lab, (Kind::Lab, String::new(), None, Some(2)));
    }
}
