//! What is asked for with things left open: by flags, a scenario, a run's specification, or an
//! experiment. Laid over each other and settled, they are a [`Spec`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use harness::generator::Shape;
use harness::scheduler::Clients;
use history::Name;
use nemeses::schedule::Schedule;
use workloads::interface::Interface;
use workloads::params::{Param, Params};
use workloads::scenario::Scenario;
use workloads::systems::{self, Entry, Origin, Pace};

use crate::exit::Failure;
use crate::machines::{AccessArgs, Kind};
use crate::plan;
use crate::spec::{Drawing, MOST_WORKERS, Machine, Spec};
use crate::terminal;

/// Faults of a run that says nothing of them: all that every machine can do.
pub const NEMESIS: &str = "partition,pause,clock,kill";

/// Shorter, and a run would be over before its system has settled.
const SHORTEST: Duration = Duration::from_secs(1);

/// Where a run's faults come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Faults {
    /// Drawn from such a text.
    Drawn { nemesis: String, drawing: Drawing },
    /// These, from a file.
    File(PathBuf),
    /// These, as a file would have them.
    Given(String),
}

/// A specification with things left open.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub system: Option<String>,
    /// What the system's folder was, where a run is made again.
    pub folder: Option<Origin>,
    pub workload: Option<String>,
    pub faults: Option<Faults>,
    pub cluster: Kind,
    pub nodes: Option<usize>,
    pub hosts: Vec<String>,
    pub access: AccessArgs,
    pub time_limit: Option<Duration>,
    pub op_timeout: Option<Duration>,
    pub rate: Option<f64>,
    pub concurrency: Option<usize>,
    pub clients: Option<Clients>,
    pub load: Option<Shape>,
    pub recovery_time: Option<Duration>,
    pub may_crash: bool,
    pub seed: Option<u64>,
    pub params: BTreeMap<String, String>,
    pub flaws: Vec<String>,
    pub scenario: Option<String>,
    pub clean: bool,
}

impl From<&Scenario> for Wanted {
    fn from(scenario: &Scenario) -> Wanted {
        let mut params = changed(&scenario.setup.params, scenario.system.params);
        let own = scenario.workload.params();
        params.extend(changed(&scenario.workload_params, &own));
        let drawn = match scenario.nemesis.as_str() {
            "" => "none",
            nemesis => nemesis,
        };
        Wanted {
            system: Some(scenario.system.word()),
            workload: Some(scenario.workload.name().to_string()),
            faults: Some(match &scenario.schedule {
                Some(file) => Faults::File(file.clone()),
                None => Faults::Drawn {
                    nemesis: drawn.into(),
                    drawing: Drawing::default(),
                },
            }),
            nodes: Some(scenario.nodes),
            time_limit: Some(scenario.time_limit),
            rate: Some(scenario.rate),
            concurrency: Some(scenario.concurrency),
            recovery_time: scenario.recovery_time,
            may_crash: scenario.may_crash,
            params,
            flaws: scenario.setup.flaws.clone(),
            scenario: Some(scenario.name.clone()),
            ..Wanted::default()
        }
    }
}

impl From<Spec> for Wanted {
    fn from(spec: Spec) -> Wanted {
        let ms = Duration::from_millis;
        Wanted {
            system: Some(spec.system_word()),
            folder: spec.folder,
            workload: Some(spec.workload),
            faults: Some(match (spec.schedule, spec.nemesis) {
                (Some(schedule), _) => Faults::Given(schedule),
                (None, nemesis) => Faults::Drawn {
                    nemesis: nemesis.unwrap_or_else(|| "none".into()),
                    drawing: spec.drawing,
                },
            }),
            cluster: spec.cluster,
            nodes: Some(spec.nodes),
            hosts: spec.hosts,
            access: spec.access,
            time_limit: Some(ms(spec.time_limit_ms)),
            op_timeout: Some(ms(spec.op_timeout_ms)),
            rate: Some(spec.rate),
            concurrency: Some(spec.concurrency),
            clients: Some(spec.clients),
            load: Some(spec.load),
            recovery_time: spec.recovery_ms.map(ms),
            may_crash: spec.may_crash,
            seed: Some(spec.seed),
            params: spec.params,
            flaws: spec.flaws,
            scenario: spec.scenario,
            clean: spec.clean,
        }
    }
}

impl Wanted {
    /// This, and what it leaves open from what lies below. Which machines there are it says itself.
    pub fn over(self, below: Wanted) -> Wanted {
        let mut params = below.params;
        params.extend(self.params);
        let mut flaws = below.flaws;
        flaws.extend(self.flaws);
        Wanted {
            folder: match self.system {
                Some(_) => self.folder,
                None => below.folder,
            },
            system: self.system.or(below.system),
            workload: self.workload.or(below.workload),
            faults: self.faults.or(below.faults),
            cluster: self.cluster,
            nodes: self.nodes.or(below.nodes),
            hosts: self.hosts,
            access: self.access,
            time_limit: self.time_limit.or(below.time_limit),
            op_timeout: self.op_timeout.or(below.op_timeout),
            rate: self.rate.or(below.rate),
            concurrency: self.concurrency.or(below.concurrency),
            clients: self.clients.or(below.clients),
            load: self.load.or(below.load),
            recovery_time: self.recovery_time.or(below.recovery_time),
            may_crash: self.may_crash || below.may_crash,
            seed: self.seed.or(below.seed),
            params,
            flaws,
            scenario: self.scenario.or(below.scenario),
            clean: self.clean || below.clean,
        }
    }

    /// Fills in what is still open, and refuses what cannot be.
    pub fn settle(self) -> Result<Spec, Failure> {
        let no_system = || Failure::Usage("say which system: `schism systems`".into());
        let system = self.system.ok_or_else(no_system)?;
        let pace = pace(&system, &self.params)?;
        let entry = systems::find(&system).map_err(Failure::usage)?;
        let nodes = self.nodes.unwrap_or(entry.nodes);
        let rate = self.rate.unwrap_or(pace.rate);
        if !(rate.is_finite() && rate > 0.0 && rate <= 1e6) {
            return Err(Failure::Usage(format!(
                "--rate {rate}: operations a second, more than 0 and at most 1,000,000"
            )));
        }
        let time_limit = self.time_limit.unwrap_or(Duration::from_secs(60));
        if time_limit < SHORTEST {
            return Err(Failure::Usage(format!(
                "--time-limit {time_limit:?}: at least {SHORTEST:?}, or the run is over before it has begun"
            )));
        }
        let op_timeout = self.op_timeout.unwrap_or(pace.op_timeout);
        if op_timeout.is_zero() {
            return Err(Failure::Usage(
                "--op-timeout 0: nothing could succeed".into(),
            ));
        }
        let concurrency = self.concurrency.unwrap_or(pace.concurrency.max(nodes));
        if !(1..=MOST_WORKERS).contains(&concurrency) {
            return Err(Failure::Usage(format!(
                "--concurrency {concurrency}: 1 to 10,000 workers"
            )));
        }
        if self.recovery_time.is_some_and(|span| span.is_zero()) {
            return Err(Failure::Usage(
                "--recovery-time 0: no node could serve again in time".into(),
            ));
        }
        if let (Some(then), Some(now)) = (&self.folder, entry.folder)
            && then.sha256 != now.sha256
        {
            terminal::tell(format!(
                "{} is not as it was in that run: some of its files have changed",
                now.path.display()
            ));
        }
        let (nemesis, drawing, schedule) = settle(self.faults, nodes, entry)?;
        let workload = self.workload.unwrap_or_else(|| entry.workload.into());
        let own = entry.own.iter().find(|own| own.name() == workload);
        Ok(Spec {
            schism: env!("CARGO_PKG_VERSION").into(),
            created: chrono::Local::now().to_rfc3339(),
            machine: Machine::this(),
            cluster: self.cluster,
            hosts: self.hosts,
            access: self.access,
            system: entry.name.into(),
            folder: entry.folder.cloned(),
            workload,
            own_workload: own.and_then(|own| own.texts().cloned()),
            nemesis,
            drawing,
            schedule,
            nodes,
            time_limit_ms: time_limit.as_millis() as u64,
            op_timeout_ms: op_timeout.as_millis() as u64,
            rate,
            concurrency,
            clients: self.clients.unwrap_or_default(),
            load: self.load.unwrap_or_default(),
            recovery_ms: self.recovery_time.map(|span| span.as_millis() as u64),
            // Who judges a run later need not have the folder.
            may_crash: self.may_crash || entry.folder.is_some() && entry.may_crash,
            replicas: entry.folder.is_some() && entry.interfaces.contains(&Interface::Replicas),
            seed: self
                .seed
                .unwrap_or_else(|| u64::from(rand::random::<u32>())),
            params: self.params,
            flaws: self.flaws,
            scenario: self.scenario,
            clean: self.clean,
        })
    }
}

/// What faults are drawn from, or which they are.
fn settle(
    faults: Option<Faults>,
    nodes: usize,
    entry: &Entry,
) -> Result<(Option<String>, Drawing, Option<String>), Failure> {
    Ok(match faults {
        None => (Some(NEMESIS.into()), Drawing::default(), None),
        Some(Faults::Drawn { nemesis, drawing }) => (Some(nemesis), drawing, None),
        Some(Faults::File(file)) => {
            let names: Vec<Name> = (1..=nodes).map(|i| format!("n{i}").into()).collect();
            let schedule = Schedule::load(&file, &names).map_err(Failure::usage)?;
            let aims = |why| Failure::Usage(format!("{}: {why}", file.display()));
            plan::check_aims(&schedule, entry).map_err(aims)?;
            (None, Drawing::default(), Some(schedule.to_string()))
        }
        Some(Faults::Given(schedule)) => (None, Drawing::default(), Some(schedule)),
    })
}

/// How the system is loaded, set up so, where nobody says.
fn pace(system: &str, params: &BTreeMap<String, String>) -> Result<Pace, Failure> {
    let entry = systems::find(system).map_err(Failure::usage)?;
    let given = params.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let params = entry.own_params(given).map_err(Failure::usage)?;
    Ok(entry.pace(&params))
}

/// What differs from the defaults.
fn changed(params: &Params, declared: &[Param]) -> BTreeMap<String, String> {
    let changed = declared.iter().filter(|p| params.text(p.name) != p.default);
    let pair = |p: &Param| (p.name.to_string(), params.text(p.name).to_string());
    changed.map(pair).collect()
}
