//! From a specification to a test. Every name is looked up, and everything that is wrong is said
//! before anything starts.

use std::time::Duration;

use checkers::Checker;
use harness::cluster::{Node, Program};
use harness::nearest::nearest;
use harness::seed::Seed;
use harness::test::Test;
use nemeses::schedule::{DrawError, NemesisSpec, Schedule, ScheduleError, draw};
use workloads::params::Params;
use workloads::systems::{Entry, Ready, Setup, TimeRule};
use workloads::workload::Workload;

use crate::exit::Failure;
use crate::judges::judges;
use crate::machines::Kind;
use crate::spec::Spec;

/// Everything that a run needs, checked.
pub struct Plan {
    pub spec: Spec,
    pub schedule: Schedule,
    pub time_rules: &'static [TimeRule],
    ready: Ready,
    workload: &'static dyn Workload,
    params: Params,
}

impl Plan {
    /// Everything that a person can have got wrong is in the error.
    pub fn new(spec: Spec) -> Result<Plan, Failure> {
        let entry = spec.entry().map_err(Failure::usage)?;
        let workload = spec.workload_named(&spec.workload)?;
        entry.can_serve(workload).map_err(Failure::usage)?;
        let given = spec.params.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let (system_params, params) = Params::resolve_both(entry.params, &workload.params(), given)
            .map_err(Failure::usage)?;
        let ready = entry
            .set_up(&Setup {
                params: system_params,
                flaws: spec.flaws.clone(),
                seed: spec.seed,
                workload: spec.workload.clone(),
            })
            .map_err(Failure::usage)?;
        let folder = |program: &Program| program.from.is_dir();
        if spec.cluster != Kind::Lab && ready.system.programs().iter().any(folder) {
            return Err(Failure::Usage(format!(
                "{} needs a whole folder on each node, of an image or one that `[programs]` names, and \
                 only the lab's nodes can have that: name its files one by one, or leave --cluster out",
                entry.name
            )));
        }
        // Asked for its error only: a workload that the system cannot serve.
        workload
            .connect(&params, &ready.offers)
            .map_err(Failure::usage)?;
        let schedule = schedule(&spec, entry)?;
        if schedule.ends() > spec.time_limit() {
            return Err(Failure::Usage(format!(
                "the schedule's last fault ends at {:?}, after the time limit of {:?}: give --time-limit",
                schedule.ends(),
                spec.time_limit()
            )));
        }
        Ok(Plan {
            spec,
            schedule,
            time_rules: entry.time_rules,
            ready,
            workload,
            params,
        })
    }

    pub fn checkers(&self) -> Result<Vec<Box<dyn Checker>>, Failure> {
        let params: Vec<_> = self.spec.params.clone().into_iter().collect();
        judges(&self.spec.workload, &params, Some(&self.spec))
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

/// The faults: those that were given, or drawn from the seed.
pub fn schedule(spec: &Spec, entry: &Entry) -> Result<Schedule, Failure> {
    let schedule = given_or_drawn(spec, entry)?;
    let mut operations = schedule.entries.iter().filter_map(|e| e.what.operation());
    let unsaid = operations.find_map(|name| Some((name, entry.unsaid(name, &spec.params)?)));
    match unsaid {
        Some((name, why)) => Err(Failure::Usage(format!("admin:{name}: {why}"))),
        None => Ok(schedule),
    }
}

fn given_or_drawn(spec: &Spec, entry: &Entry) -> Result<Schedule, Failure> {
    let nodes = spec.node_names();
    let Some(text) = &spec.schedule else {
        return drawn(spec, entry);
    };
    let schedule = Schedule::parse(text, &nodes).map_err(|problems| {
        Failure::usage(ScheduleError::Invalid {
            path: "schedule".into(),
            text: text.clone(),
            problems,
        })
    })?;
    check_aims(&schedule, entry).map_err(Failure::Usage)?;
    Ok(schedule)
}

/// Nobody can aim at the leader of a system that has none, or do an operation that it has not.
pub fn check_aims(schedule: &Schedule, entry: &Entry) -> Result<(), String> {
    for (i, fault) in schedule.entries.iter().enumerate() {
        if let Some(operation) = fault.what.operation() {
            check_operation(operation, entry).map_err(|why| format!("fault {}: {why}", i + 1))?;
        }
    }
    let mut entries = schedule.entries.iter();
    match entries.position(|e| e.what.asks_for_leader() && !entry.leads) {
        None => Ok(()),
        Some(at) => Err(format!(
            "fault {} aims at the leader, and {} has none: name the nodes",
            at + 1,
            entry.name
        )),
    }
}

fn check_operation(name: &str, entry: &Entry) -> Result<(), String> {
    let all: Vec<&str> = entry.operations.iter().map(|o| o.name).collect();
    if all.contains(&name) {
        return Ok(());
    }
    let system = entry.name;
    Err(match nearest(name, all.iter().copied()) {
        _ if all.is_empty() => format!("{system} offers no operation, and so not {name:?}"),
        Some(near) => format!("{system} offers no operation {name:?}: did you mean {near:?}?"),
        None => format!(
            "{system} offers no operation {name:?}: there are {}",
            all.join(", ")
        ),
    })
}

fn drawn(spec: &Spec, entry: &Entry) -> Result<Schedule, Failure> {
    let text = spec.nemesis.as_deref().unwrap_or("none");
    let wanted: NemesisSpec = text.parse().map_err(Failure::usage)?;
    for operation in wanted.operations() {
        check_operation(operation, entry)
            .map_err(|why| Failure::Usage(format!("--nemesis {text}: {why}")))?;
    }
    let mut tuning = spec.drawing.tuning();
    tuning.no_leader |= !entry.leads;
    let drawn = draw(
        Seed(spec.seed),
        &wanted,
        &spec.node_names(),
        spec.time_limit(),
        &tuning,
    );
    drawn.map_err(|e| match e {
        DrawError::NoLeader(_) if !spec.drawing.no_leader => {
            Failure::Usage(format!("--nemesis {text}: {e} in {}", entry.name))
        }
        e => Failure::usage(e),
    })
}
