//! From flags and scenario files to a test: names become things, defaults are filled in, and
//! everything that is wrong is said before anything starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use checkers::Checker;
use harness::cluster::Node;
use harness::run::Test;
use harness::seed::Seed;
use harness::system::TimeRule;
use nemeses::schedule::{DrawError, NemesisSpec, Schedule, draw};
use workloads::params::Param;
use workloads::params::Params;
use workloads::scenario::{Expect, Scenario};
use workloads::systems::{self, Pace, Ready, Setup};
use workloads::workload::{self, Workload};

use crate::args;
use crate::check;
use crate::exit::Failure;
use crate::spec::{MOST_WORKERS, Machine, Spec};

/// Everything that a run needs, checked.
pub struct Plan {
    pub spec: Spec,
    /// What must come of it, if a scenario says.
    pub expect: Option<Expect>,
    pub schedule: Schedule,
    ready: Ready,
    workload: &'static dyn Workload,
    params: Params,
}

/// Shorter, and a run would be over before its system has settled.
const SHORTEST: Duration = Duration::from_secs(1);

pub fn resolve(args: &args::Run) -> Result<Plan, Failure> {
    let scenario = args.scenario.as_deref().map(Scenario::load).transpose();
    let scenario = scenario.map_err(Failure::usage)?;
    let chosen =
        match (&scenario, args.clean) {
            (Some(planted), true) => Some(planted.twin().ok_or_else(|| {
                Failure::Usage(format!("--clean: {} plants nothing", planted.name))
            })?),
            (scenario, _) => scenario.as_ref(),
        };
    let spec = specify(args, chosen)?;

    let entry = systems::find(&spec.system).map_err(Failure::usage)?;
    let workload = workload::find(&spec.workload).map_err(Failure::usage)?;
    let given = spec.params.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let (system_params, params) =
        Params::resolve_both(entry.params, &workload.params(), given).map_err(Failure::usage)?;
    let ready = entry
        .set_up(&Setup {
            params: system_params,
            flaws: spec.flaws.clone(),
            seed: spec.seed,
        })
        .map_err(Failure::usage)?;
    // Asked for its error only: a workload that the system cannot serve.
    workload
        .connect(&params, &ready.offers)
        .map_err(Failure::usage)?;

    let nodes = spec.node_names();
    let schedule = match (schedule_file(args, chosen), &spec.nemesis) {
        (Some(file), _) => {
            let schedule = Schedule::load(&file, &nodes).map_err(Failure::usage)?;
            let mut entries = schedule.entries.iter();
            if let Some(at) = entries.position(|e| e.what.asks_for_leader() && !entry.leads) {
                return Err(Failure::Usage(format!(
                    "{}: fault {} aims at the leader, and {} has none: name the nodes",
                    file.display(),
                    at + 1,
                    entry.name
                )));
            }
            schedule
        }
        (None, Some(text)) => {
            let wanted: NemesisSpec = text.parse().map_err(Failure::usage)?;
            let mut tuning = args.drawing.tuning();
            tuning.no_leader |= !entry.leads;
            draw(Seed(spec.seed), &wanted, &nodes, spec.time_limit(), &tuning).map_err(
                |e| match e {
                    DrawError::NoLeader(_) if !args.drawing.no_leader => {
                        Failure::Usage(format!("--nemesis {text}: {e} in {}", entry.name))
                    }
                    e => Failure::usage(e),
                },
            )?
        }
        (None, None) => unreachable!("there is a default"),
    };
    if schedule.ends() > spec.time_limit() {
        return Err(Failure::Usage(format!(
            "the schedule's last fault ends at {:?}, after the time limit of {:?}: give --time-limit",
            schedule.ends(),
            spec.time_limit()
        )));
    }
    let expect = expected(args, chosen);
    if args.expect && expect.is_none() {
        return Err(Failure::Usage(
            "--expect: nobody knows what to expect of a scenario with other faults, flaws or parameters"
                .into(),
        ));
    }
    Ok(Plan {
        spec,
        expect,
        schedule,
        ready,
        workload,
        params,
    })
}

/// What was asked for, with the scenario's values under the flags', and defaults under both.
fn specify(args: &args::Run, scenario: Option<&Scenario>) -> Result<Spec, Failure> {
    let system = args.system.clone();
    let system = system.or_else(|| scenario.map(|s| s.system.name.to_string()));
    let system =
        system.ok_or_else(|| Failure::Usage("say which system: `schism systems`".into()))?;
    let chosen = args.cluster.choose(scenario.map(|s| s.nodes))?;
    let nodes = chosen.count;
    let mut params = BTreeMap::new();
    if let Some(scenario) = scenario {
        params.extend(changed(&scenario.setup.params, scenario.system.params));
        params.extend(changed(
            &scenario.workload_params,
            &scenario.workload.params(),
        ));
    }
    params.extend(args.param.iter().cloned());
    let pace = pace(&system, &params)?;
    let rate = args.rate.or(scenario.map(|s| s.rate)).unwrap_or(pace.rate);
    if !(rate.is_finite() && rate > 0.0 && rate <= 1e6) {
        return Err(Failure::Usage(format!(
            "--rate {rate}: operations a second, more than 0 and at most 1,000,000"
        )));
    }
    let time_limit = args.time_limit.or(scenario.map(|s| s.time_limit));
    let time_limit = time_limit.unwrap_or(Duration::from_secs(60));
    if time_limit < SHORTEST {
        return Err(Failure::Usage(format!(
            "--time-limit {time_limit:?}: at least {SHORTEST:?}, or the run is over before it has begun"
        )));
    }
    let op_timeout = args.op_timeout.unwrap_or(pace.op_timeout);
    if op_timeout.is_zero() {
        return Err(Failure::Usage(
            "--op-timeout 0: nothing could succeed".into(),
        ));
    }
    let concurrency = args.concurrency.or(scenario.map(|s| s.concurrency));
    let concurrency = concurrency.unwrap_or(pace.concurrency.max(nodes));
    if !(1..=MOST_WORKERS).contains(&concurrency) {
        return Err(Failure::Usage(format!(
            "--concurrency {concurrency}: 1 to 10,000 workers"
        )));
    }
    let recovery_time = args
        .recovery_time
        .or(scenario.and_then(|s| s.recovery_time));
    if recovery_time.is_some_and(|span| span.is_zero()) {
        return Err(Failure::Usage(
            "--recovery-time 0: no node could serve again in time".into(),
        ));
    }
    let may_crash = args.may_crash || scenario.is_some_and(|s| s.may_crash);
    let mut flaws = scenario.map(|s| s.setup.flaws.clone()).unwrap_or_default();
    flaws.extend(args.flaw.iter().cloned());
    let nemesis = match (schedule_file(args, scenario), &args.nemesis, scenario) {
        (Some(_), ..) => None,
        (None, Some(given), _) => Some(given.clone()),
        (None, None, Some(scenario)) if scenario.nemesis.is_empty() => Some("none".into()),
        (None, None, Some(scenario)) => Some(scenario.nemesis.clone()),
        (None, None, None) => Some(args::NEMESIS.into()),
    };
    Ok(Spec {
        schism: env!("CARGO_PKG_VERSION").into(),
        created: chrono::Local::now().to_rfc3339(),
        machine: Machine::this(),
        cluster: args.cluster.cluster.name().into(),
        hosts: chosen.hosts,
        access: args.cluster.access.words(),
        system,
        workload: args
            .workload
            .clone()
            .or_else(|| scenario.map(|s| s.workload.name().to_string()))
            .unwrap_or_else(|| "register".into()),
        nemesis,
        drawing: args.drawing.words(),
        nodes,
        time_limit_ms: time_limit.as_millis() as u64,
        op_timeout_ms: op_timeout.as_millis() as u64,
        rate,
        concurrency,
        clients: args.clients.unwrap_or_default(),
        load: args.load.unwrap_or_default(),
        recovery_ms: recovery_time.map(|span| span.as_millis() as u64),
        may_crash,
        seed: args
            .seed
            .unwrap_or_else(|| u64::from(rand::random::<u32>())),
        params,
        flaws,
        scenario: scenario.map(|s| s.name.clone()),
        clean: args.clean,
    })
}

/// What must come of the scenario, if it is run as it is.
fn expected(args: &args::Run, scenario: Option<&Scenario>) -> Option<Expect> {
    let other_faults = args.nemesis.is_some() || args.schedule.is_some();
    let other_setup = !args.param.is_empty() || !args.flaw.is_empty();
    let scenario = scenario.filter(|_| !other_faults && !other_setup)?;
    Some(scenario.expect.clone())
}

/// The file with the faults, unless they are to be drawn: a flag's word is before the scenario's.
fn schedule_file(args: &args::Run, scenario: Option<&Scenario>) -> Option<PathBuf> {
    match (&args.schedule, &args.nemesis) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(_)) => None,
        (None, None) => scenario?.schedule.clone(),
    }
}

/// How the system is loaded, set up so, where neither flags nor a scenario say.
fn pace(system: &str, params: &BTreeMap<String, String>) -> Result<Pace, Failure> {
    let entry = systems::find(system).map_err(Failure::usage)?;
    let given = params.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let params = entry.own_params(given).map_err(Failure::usage)?;
    Ok(entry.pace(&params))
}

/// What differs from the defaults.
fn changed(params: &Params, declared: &[Param]) -> Vec<(String, String)> {
    declared
        .iter()
        .filter(|p| params.text(p.name) != p.default)
        .map(|p| (p.name.to_string(), params.text(p.name).to_string()))
        .collect()
}

impl Plan {
    pub fn time_rules(&self) -> &'static [TimeRule] {
        self.ready.system.time_rules()
    }

    pub fn checkers(&self) -> Result<Vec<Box<dyn Checker>>, Failure> {
        let params: Vec<_> = self.spec.params.clone().into_iter().collect();
        check::judges(&self.spec.workload, &params, Some(&self.spec))
    }

    pub fn into_test(self) -> Test {
        let load = self.workload.load(&self.params);
        let needs = self.schedule.needs();
        Test {
            seed: Seed(self.spec.seed),
            connect: self
                .workload
                .connect(&self.params, &self.ready.offers)
                .unwrap_or_else(|e| unreachable!("it was asked before: {e}")),
            system: self.ready.system,
            generator: load.main,
            closing: Some(load.closing),
            schedule: self.schedule.plan(),
            pace: harness::scheduler::Pace {
                per_second: self.spec.rate,
                shape: self.spec.load,
                clients: self.spec.clients,
            },
            workers: self.spec.concurrency,
            time_limit: self.spec.time_limit(),
            op_timeout: self.spec.op_timeout(),
            recovery_time: self.spec.recovery_ms.map(Duration::from_millis),
            lacking: Box::new(move |nodes| {
                let offers = nodes.iter().map(|n: &Node| (n.name.clone(), n.offers()));
                let offers = offers.collect();
                let missing = nemeses::missing(&needs, &offers);
                missing.iter().map(ToString::to_string).collect()
            }),
        }
    }
}
