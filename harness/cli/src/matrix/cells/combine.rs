//! The product of systems, workloads and nemeses, and the combinations beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use checkers::Verdict;
use harness::nearest::nearest;
use nemeses::schedule::{Length, NemesisSpec};
use toml::Spanned;
use workloads::catalogue;
use workloads::scenario::Scenario;
use workloads::systems::{self, Entry};
use workloads::workload::Workload;

use super::{Combo, Expected, LeftOut};
use crate::batch::takes;
use crate::exit::Failure;
use crate::matrix::file::{Include, MOST_SEEDS, Matrix, Seeds, Setting, System, Wrong, wrong};
use crate::plan;
use crate::spec::Drawing;
use crate::wanted::{Faults, NEMESIS, Wanted};

/// Everything that the combinations are made of.
pub struct Combining<'a> {
    path: &'a Path,
    matrix: &'a Matrix,
}

/// A system as the matrix has it.
struct Row {
    label: String,
    entry: &'static Entry,
    program: Option<PathBuf>,
}

/// One combination that is asked for.
struct Asked {
    label: String,
    nemesis: String,
    program: Option<PathBuf>,
    expect: Expected,
    seeds: Vec<u64>,
    wanted: Wanted,
    at: Range<usize>,
}

impl<'a> Combining<'a> {
    pub fn new(path: &'a Path, matrix: &'a Matrix) -> Combining<'a> {
        Combining { path, matrix }
    }

    /// All combinations, those that cannot be with the reason, and all that is wrong.
    pub fn combine(&self, wrongs: &mut Vec<Wrong>) -> (Vec<Combo>, Vec<LeftOut>) {
        let (mut combos, mut left_out) = (Vec::new(), Vec::new());
        let seeds = self.seeds(self.matrix.seeds.as_ref(), 1, wrongs);
        let mut nemeses = BTreeMap::new();
        let of_systems = self.matrix.system.iter().map(|s| &s.get_ref().nemeses);
        for name in of_systems.chain([&self.matrix.nemeses]).flatten() {
            match name.get_ref().parse::<NemesisSpec>() {
                Ok(spec) => _ = nemeses.insert(name.get_ref().clone(), named(&spec)),
                Err(e) => wrongs.push(wrong(name.span(), e)),
            }
        }
        for spanned in &self.matrix.system {
            let system = spanned.get_ref();
            for row in self.rows(system, wrongs) {
                self.product(&row, spanned, &seeds, &nemeses, wrongs, |made| match made {
                    Ok(combo) => combos.push(combo),
                    Err(left) => left_out.push(left),
                });
            }
        }
        for spanned in &self.matrix.include {
            let made = self.include(spanned).and_then(|asked| {
                let at = asked.at.clone();
                made(asked).map_err(|why| wrong(at, why))
            });
            match made {
                Ok(combo) => combos.push(combo),
                Err(wrong) => wrongs.push(wrong),
            }
        }
        (combos, left_out)
    }

    /// The system once for each version.
    fn rows(&self, system: &System, wrongs: &mut Vec<Wrong>) -> Vec<Row> {
        let entry = match systems::find(system.name.get_ref()) {
            Ok(entry) => entry,
            Err(e) => {
                wrongs.push(wrong(system.name.span(), e));
                return Vec::new();
            }
        };
        let of_system: Vec<_> = entry.params.iter().map(|p| p.name).collect();
        let of_workloads = catalogue::WORKLOADS.iter().flat_map(|w| w.params());
        let known: BTreeSet<&str> = of_workloads.map(|p| p.name).chain(of_system).collect();
        for name in system.params.keys().filter(|n| !known.contains(n.as_str())) {
            let near = nearest(name, known.iter().copied());
            let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            let message = format!(
                "[[system]] {}: neither it nor a workload has a parameter {name:?}{near}",
                entry.name
            );
            wrongs.push(wrong(system.name.span(), message));
        }
        let label = match &system.label {
            Some(label) => label.get_ref().clone(),
            None if system.flaws.is_empty() => entry.name.to_string(),
            None => format!("{}+{}", entry.name, system.flaws.join("+")),
        };
        if let Some(at) = system.label.as_ref().filter(|_| label.contains('/')) {
            wrongs.push(wrong(at.span(), "a label has no `/` in it"));
        }
        if entry.folder.is_some() && !system.versions.is_empty() {
            let message =
                "a folder has its versions in its own [versions]: params = { version = \"NAME\" }";
            wrongs.push(wrong(system.name.span(), message));
        }
        if system.versions.is_empty() {
            return vec![Row {
                label,
                entry,
                program: None,
            }];
        }
        let versions = system.versions.iter().map(|(version, program)| Row {
            label: format!("{label}@{version}"),
            entry,
            program: Some(self.path.with_file_name(program)),
        });
        versions.collect()
    }

    fn product(
        &self,
        row: &Row,
        spanned: &Spanned<System>,
        seeds: &[u64],
        nemeses: &BTreeMap<String, String>,
        wrongs: &mut Vec<Wrong>,
        mut put: impl FnMut(Result<Combo, LeftOut>),
    ) {
        let system = spanned.get_ref();
        let default = [Spanned::new(
            system.name.span(),
            row.entry.workload.to_string(),
        )];
        let asked = match (
            system.workloads.is_empty(),
            self.matrix.workloads.is_empty(),
        ) {
            (false, _) => &system.workloads[..],
            (true, false) => &self.matrix.workloads,
            (true, true) => &default,
        };
        let usual = [Spanned::new(0..0, NEMESIS.to_string())];
        let faults = match (system.nemeses.is_empty(), self.matrix.nemeses.is_empty()) {
            (false, _) => &system.nemeses[..],
            (true, false) => &self.matrix.nemeses,
            (true, true) => &usual,
        };
        for name in asked {
            let workload = match row.entry.workload_named(name.get_ref()) {
                Ok(workload) => workload,
                Err(e) => {
                    wrongs.push(wrong(name.span(), e));
                    continue;
                }
            };
            for fault in faults {
                let written = fault.get_ref();
                let nemesis = nemeses.get(written).unwrap_or(written).clone();
                let left = |why: String| LeftOut {
                    what: format!("{}/{}/{nemesis}", row.label, workload.name()),
                    why,
                    cells: seeds.len(),
                };
                if let Err(lacking) = row.entry.can_serve(workload) {
                    put(Err(left(lacking.to_string())));
                    continue;
                }
                let setting = system.run.over(&self.matrix.run);
                let asked = Asked {
                    label: row.label.clone(),
                    nemesis: nemesis.clone(),
                    program: row.program.clone(),
                    expect: Expected::Valid,
                    seeds: seeds.to_vec(),
                    wanted: Wanted {
                        system: Some(row.entry.word()),
                        workload: Some(workload.name().into()),
                        faults: Some(drawn(written, &setting)),
                        params: theirs(&system.params, row.entry, workload),
                        flaws: system.flaws.clone(),
                        ..given(&setting)
                    },
                    at: spanned.span(),
                };
                match made(asked) {
                    Ok(combo) => put(Ok(combo)),
                    Err(Unmade::CannotBe(why)) => put(Err(left(why))),
                    Err(Unmade::Wrong(why)) => wrongs.push(wrong(spanned.span(), why)),
                }
            }
        }
    }

    fn include(&self, spanned: &Spanned<Include>) -> Result<Asked, Wrong> {
        let include = spanned.get_ref();
        let scenario = match &include.scenario {
            None => None,
            Some(file) => {
                let beside = self.path.with_file_name(file.get_ref());
                Some(Scenario::load(&beside).map_err(|e| wrong(file.span(), e))?)
            }
        };
        let entry = match (&include.system, &scenario) {
            (Some(name), _) => systems::find(name.get_ref()).map_err(|e| wrong(name.span(), e))?,
            (None, Some(scenario)) => scenario.system,
            (None, None) => {
                let message = "say which system, or which scenario";
                return Err(wrong(spanned.span(), message));
            }
        };
        if let Some(name) = &include.workload {
            let workload = entry
                .workload_named(name.get_ref())
                .map_err(|e| wrong(name.span(), e))?;
            entry
                .can_serve(workload)
                .map_err(|e| wrong(name.span(), format!("{}: {e}", entry.name)))?;
        }
        let (faults, nemesis) = self.faults(include, scenario.as_ref())?;
        let wanted = Wanted {
            system: include.system.as_ref().map(|name| name.get_ref().clone()),
            workload: include.workload.as_ref().map(|name| name.get_ref().clone()),
            faults,
            params: include.params.clone(),
            flaws: include.flaws.clone(),
            ..given(&include.run)
        };
        let below = scenario.as_ref().map(Wanted::from).unwrap_or_default();
        let wanted = wanted.over(below).over(given(&self.matrix.run));
        let label = match (&include.label, &scenario) {
            (Some(label), _) => label.get_ref().clone(),
            (None, Some(scenario)) if wanted.flaws.is_empty() => {
                format!("{}+{}", entry.name, scenario.name)
            }
            _ => [&[entry.name.to_string()], &wanted.flaws[..]]
                .concat()
                .join("+"),
        };
        let mut wrongs = Vec::new();
        let seeds = self.seeds(include.seeds.as_ref(), 1, &mut wrongs);
        match wrongs.pop() {
            Some(wrong) => Err(wrong),
            None => Ok(Asked {
                label,
                nemesis,
                program: include
                    .program
                    .as_ref()
                    .map(|p| self.path.with_file_name(p)),
                expect: expected(include, scenario.as_ref())?,
                seeds,
                wanted,
                at: spanned.span(),
            }),
        }
    }

    /// What the faults are, and what they are called. The pace of a scenario's faults is its own.
    fn faults(
        &self,
        include: &Include,
        scenario: Option<&Scenario>,
    ) -> Result<(Option<Faults>, String), Wrong> {
        let stem = |path: &Path| {
            path.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let drawn_as = |text: &str, at: Range<usize>| {
            let spec: NemesisSpec = text.parse().map_err(|e| wrong(at, e))?;
            Ok(named(&spec))
        };
        let setting = include.run.over(&self.matrix.run);
        let own = include
            .run
            .fault_length
            .as_ref()
            .or(include.run.fault_gap.as_ref());
        if let (None, Some(at)) = (&include.nemesis, own)
            && (include.schedule.is_some() || scenario.is_some())
        {
            let message = "the faults of a file come when it says: only those of `nemesis` have a \
                           length and a gap";
            return Err(wrong(at.span(), message));
        }
        match (&include.nemesis, &include.schedule, scenario) {
            (Some(_), Some(schedule), _) => {
                let message =
                    "faults are drawn as `nemesis` says or are those of `schedule`: not both";
                Err(wrong(schedule.span(), message))
            }
            (Some(text), None, _) => {
                let name = drawn_as(text.get_ref(), text.span())?;
                Ok((Some(drawn(text.get_ref(), &setting)), name))
            }
            (None, Some(file), _) => {
                let beside = self.path.with_file_name(file.get_ref());
                Ok((Some(Faults::File(beside.clone())), stem(&beside)))
            }
            (None, None, Some(scenario)) => match &scenario.schedule {
                Some(file) => Ok((None, stem(file))),
                None if scenario.nemesis.is_empty() => Ok((None, "none".into())),
                None => Ok((None, drawn_as(&scenario.nemesis, 0..0)?)),
            },
            (None, None, None) => Ok((Some(drawn(NEMESIS, &setting)), drawn_as(NEMESIS, 0..0)?)),
        }
    }

    fn seeds(
        &self,
        given: Option<&Spanned<Seeds>>,
        usual: u64,
        wrongs: &mut Vec<Wrong>,
    ) -> Vec<u64> {
        let first = self.matrix.first_seed.unwrap_or(1);
        let Some(given) = given else {
            return (first..first + usual).collect();
        };
        match given.get_ref() {
            Seeds::Count(n) if (1..=MOST_SEEDS).contains(n) => (first..first + n).collect(),
            Seeds::Count(_) => {
                let message = format!("seeds: 1 to {MOST_SEEDS}, or a list of them");
                wrongs.push(wrong(given.span(), message));
                Vec::new()
            }
            Seeds::List(seeds) => {
                let mut seen = BTreeSet::new();
                if seeds.is_empty() || !seeds.iter().all(|seed| seen.insert(seed)) {
                    let message = "seeds: a list has at least one, and each once";
                    wrongs.push(wrong(given.span(), message));
                }
                seeds.clone()
            }
        }
    }
}

/// Why there is no combination.
enum Unmade {
    /// Its parts do not go together.
    CannotBe(String),
    /// The file is wrong.
    Wrong(String),
}

impl std::fmt::Display for Unmade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Unmade::CannotBe(why) | Unmade::Wrong(why)) = self;
        f.write_str(why)
    }
}

fn made(asked: Asked) -> Result<Combo, Unmade> {
    let say = |failure: Failure| Unmade::Wrong(failure.to_string());
    let wanted = Wanted {
        seed: asked.seeds.first().copied(),
        ..asked.wanted
    };
    let spec = wanted.settle().map_err(say)?;
    let entry = spec.entry().map_err(|e| Unmade::Wrong(e.to_string()))?;
    let workload = entry
        .workload_named(&spec.workload)
        .map_err(|e| Unmade::Wrong(e.to_string()))?;
    let given = spec.params.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    workloads::params::Params::resolve_both(entry.params, &workload.params(), given)
        .map_err(|e| Unmade::Wrong(e.to_string()))?;
    let schedule = plan::schedule(&spec, entry).map_err(|e| Unmade::CannotBe(e.to_string()))?;
    if schedule.ends() > spec.time_limit() {
        let why = format!(
            "the schedule goes on for {:?}, and the time limit is {:?}",
            schedule.ends(),
            spec.time_limit()
        );
        return Err(Unmade::Wrong(why));
    }
    Ok(Combo {
        label: asked.label,
        workload: spec.workload.clone(),
        nemesis: asked.nemesis,
        program: asked.program,
        expect: asked.expect,
        weight: 1.0,
        seeds: asked.seeds,
        takes: takes(&spec),
        spec,
        at: asked.at,
    })
}

fn expected(include: &Include, scenario: Option<&Scenario>) -> Result<Expected, Wrong> {
    match (
        include.expect.as_ref().map(|e| (*e.get_ref(), e.span())),
        scenario,
    ) {
        (Some((Verdict::Invalid, _)), _) => Ok(Expected::Invalid(include.anomalies.clone())),
        (Some((Verdict::Valid, _)), _) => Ok(Expected::Valid),
        (Some((_, at)), _) => Err(wrong(at, "a cell is expected to be `valid` or `invalid`")),
        (None, Some(scenario)) if scenario.expect.verdict == Verdict::Invalid => {
            Ok(Expected::Invalid(scenario.expect.anomalies.clone()))
        }
        (None, _) => Ok(Expected::Valid),
    }
}

fn named(spec: &NemesisSpec) -> String {
    match spec.rounds.is_empty() {
        true => "none".into(),
        false => spec.to_string(),
    }
}

fn drawn(nemesis: &str, setting: &Setting) -> Faults {
    let length = |given: &Option<Spanned<Length>>| given.as_ref().map(|length| *length.get_ref());
    Faults::Drawn {
        nemesis: nemesis.into(),
        drawing: Drawing {
            fault_length: length(&setting.fault_length),
            fault_gap: length(&setting.fault_gap),
            ..Drawing::default()
        },
    }
}

/// Those parameters that the system or this workload has.
fn theirs(
    params: &BTreeMap<String, String>,
    entry: &Entry,
    workload: &dyn Workload,
) -> BTreeMap<String, String> {
    let own = workload.params();
    let has = |name: &str| entry.params.iter().chain(&own).any(|p| p.name == name);
    let theirs = params.iter().filter(|(name, _)| has(name));
    theirs.map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// What a setting says of a run.
fn given(setting: &Setting) -> Wanted {
    Wanted {
        time_limit: setting.time_limit.map(|span| span.0),
        nodes: setting.nodes,
        rate: setting.rate,
        concurrency: setting.concurrency,
        op_timeout: setting.op_timeout.map(|span| span.0),
        recovery_time: setting.recovery_time.map(|span| span.0),
        load: setting.load,
        may_crash: setting.may_crash,
        ..Wanted::default()
    }
}
