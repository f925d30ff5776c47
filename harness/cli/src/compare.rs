//! `schism compare`: two systems under the same seeds and the same faults, and what the clock's
//! faults alone change.

use std::process::ExitCode;

use clap::Args;
use nemeses::schedule::{NemesisSpec, Schedule};
use report::experiment::{Arm, ClockTest, Comparison, Group, Measure, Rule, number};
use serde_json::{Value as Json, json};
use workloads::systems::{self, Entry, TimeRule};

use crate::exit::Failure;
use crate::experiment::{Answers, CODES, ExperimentArgs, Question, command_line, conclude};
use crate::flags;
use crate::grid::{self, Grid};
use crate::wanted::{Faults, Wanted};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: schism compare paxos-kv etcd --seeds 10
`schism compare --help` has all options, more examples and the exit codes.",
    after_long_help = format!("Examples:
  schism compare paxos-kv etcd --seeds 10
  schism compare paxos-kv etcd --nemesis none,clock,pause,pause+clock --fault-length 2s
  schism compare paxos-kv paxos-kv --param-b reads=lease --nemesis none,pause:leader

Runs that the store already has are not made again.

{CODES}")
)]
pub struct CompareArgs {
    /// The first system: see `schism systems`
    pub system_a: String,
    /// The second system; the same one, if the parameters differ
    pub system_b: String,
    /// Faults, as for `schism run`; each item between commas is a group of runs of its own
    ///
    /// Every group with `clock` is also run without the clock's faults, everything else alike.
    #[arg(
        help_heading = "Faults",
        long,
        short = 'f',
        value_name = "FAULTS",
        default_value = "none,clock,pause,partition,kill"
    )]
    pub nemesis: String,
    /// Set a parameter of both, or of one as `SYSTEM.name=value`
    ///
    /// It may be given several times.
    #[arg(long, short, value_name = "K=V", value_parser = flags::pair)]
    pub param: Vec<(String, String)>,
    /// Set a parameter of the first system; may be given several times
    #[arg(long, value_name = "K=V", value_parser = flags::pair, hide_short_help = true)]
    pub param_a: Vec<(String, String)>,
    /// Set a parameter of the second system; may be given several times
    #[arg(long, value_name = "K=V", value_parser = flags::pair, hide_short_help = true)]
    pub param_b: Vec<(String, String)>,
    #[command(flatten)]
    pub experiment: ExperimentArgs,
}

/// One of the two.
struct Side {
    /// As it was given.
    system: String,
    entry: &'static Entry,
    params: Vec<(String, String)>,
    /// For people: the system, with its parameters where they tell the two apart.
    label: String,
}

/// Runs that will be an arm: where its questions begin, one for each seed.
#[derive(Clone, Copy)]
struct Place(usize);

/// Every question of a comparison: all are asked, and so checked, before anything is run.
struct Asked {
    questions: Vec<Question>,
    seeds: Vec<u64>,
    /// By the faults' family: where the runs of each side begin.
    groups: Vec<(String, [Place; 2])>,
    /// Of a side: where its runs without and with clock faults begin.
    tests: Vec<(usize, Place, Place)>,
}

impl Asked {
    fn new(
        experiment: &ExperimentArgs,
        sides: &[Side; 2],
        families: &[String],
    ) -> Result<Asked, Failure> {
        let seeds = experiment.seeds();
        let many = seeds.len();
        let mut questions: Vec<Question> = Vec::new();
        let mut groups: Vec<(String, [Place; 2])> = Vec::new();
        let mut tests: Vec<(usize, Place, Place)> = Vec::new();
        for family in families {
            let places = [0, 1].map(|side| Place(questions.len() + side * many));
            for side in sides {
                for seed in &seeds {
                    let faults = experiment.drawn(family);
                    questions.push(ask(experiment, side, family, faults, *seed)?);
                }
            }
            same_faults(&questions[places[0].0..], &seeds, family)?;
            let clocked = questions[places[0].0..]
                .iter()
                .any(|q| has_clock(&q.schedule));
            for (i, with) in places.into_iter().enumerate().filter(|_| clocked) {
                let without = Place(questions.len());
                for n in 0..many {
                    let with = &questions[with.0 + n];
                    let question = without_clock(experiment, &sides[i], family, with)?;
                    questions.push(question);
                }
                tests.push((i, without, with));
            }
            groups.push((family.clone(), places));
        }
        Ok(Asked {
            questions,
            seeds,
            groups,
            tests,
        })
    }

    fn comparison(
        &self,
        experiment: &ExperimentArgs,
        sides: &[Side; 2],
        answers: &Answers,
    ) -> Comparison {
        let Asked {
            questions,
            seeds,
            groups,
            tests,
        } = self;
        let many = seeds.len();
        let arm = |name: &str, place: Place| Arm {
            name: name.to_string(),
            trials: answers.trials[place.0..place.0 + many].to_vec(),
        };
        Comparison {
            systems: [0, 1].map(|i| sides[i].label.clone()),
            asked: experiment.asked(&questions[0].spec),
            groups: groups
                .iter()
                .map(|(family, places)| Group {
                    name: family.clone(),
                    arms: [0, 1].map(|i| arm(&sides[i].label, places[i])).to_vec(),
                })
                .collect(),
            clock: tests
                .iter()
                .map(|(i, without, with)| {
                    let family = &questions[with.0].spec.nemesis;
                    let family = family.as_deref().unwrap_or_default();
                    let rules = questions[with.0].time_rules.iter();
                    ClockTest {
                        system: sides[*i].label.clone(),
                        without: arm(&name_without_clock(family), *without),
                        with: arm(family, *with),
                        rules: rules.map(rule).collect(),
                    }
                })
                .collect(),
            measures: answers.measures.clone(),
            command: command_line(),
            seeds: seeds.clone(),
        }
    }
}

pub fn command(mut args: CompareArgs) -> Result<ExitCode, Failure> {
    let sides = sides(&args)?;
    // What cannot be done to one of them would not be the same for both.
    args.experiment.drawing.no_leader |= !sides.iter().all(|side| side.entry.leads);
    // Both are asked the same.
    if args.experiment.workload.is_none() {
        let first = systems::find(&args.system_a).map_err(Failure::usage)?;
        args.experiment.workload = Some(first.workload.into());
    }
    if args.experiment.nodes.is_none() {
        args.experiment.nodes = sides.iter().map(|side| side.entry.nodes).min();
    }
    let experiment = &args.experiment;
    experiment.check()?;
    let asked = Asked::new(experiment, &sides, &families(&args.nemesis)?)?;
    let answers = experiment.answer(&asked.questions)?;
    let comparison = asked.comparison(experiment, &sides, &answers);
    let output = match experiment.json {
        true => json(&comparison).to_string(),
        false => text(&comparison, &args),
    };
    let [a, b] = sides.map(|side| side.entry.name);
    let page = experiment.page(&format!("compare-{a}-{b}"));
    let html = report::experiment::compare(&comparison);
    conclude(&page, &html, &output, experiment.json, &answers.trials)
}

fn rule(rule: &TimeRule) -> Rule {
    Rule {
        measure: rule.figure.into(),
        text: rule.rule.into(),
        uses: rule.uses.map(Into::into),
    }
}

/// The two systems with what each is given.
fn sides(args: &CompareArgs) -> Result<[Side; 2], Failure> {
    let given = [&args.system_a, &args.system_b];
    let mut entries = Vec::new();
    for name in given {
        entries.push(systems::find(name).map_err(Failure::usage)?);
    }
    // A folder by its name, unless both have the same.
    let names = match entries[0].name == entries[1].name {
        true => given.map(String::as_str),
        false => [entries[0].name, entries[1].name],
    };
    let mut params = [args.param_a.clone(), args.param_b.clone()];
    for (name, value) in &args.param {
        let Some((system, param)) = name.split_once('.') else {
            for params in &mut params {
                params.push((name.clone(), value.clone()));
            }
            continue;
        };
        if !names.contains(&system) {
            return Err(Failure::Usage(format!(
                "--param {name}={value}: there is no {system:?} here, only {} and {}",
                names[0], names[1]
            )));
        }
        for (params, _) in params.iter_mut().zip(names).filter(|(_, n)| *n == system) {
            params.push((param.to_string(), value.clone()));
        }
    }
    let [first, second] = &params;
    if names[0] == names[1] && first == second {
        return Err(Failure::Usage(format!(
            "{} is compared with itself: give --param-a or --param-b",
            names[0]
        )));
    }
    let label = |i: usize| {
        let own: Vec<String> = params[i]
            .iter()
            .filter(|param| !params[1 - i].contains(param))
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        match (own.is_empty(), names[0] == names[1]) {
            (true, false) => names[i].into(),
            (true, true) => format!("{} as it is", names[i]),
            (false, _) => format!("{} with {}", names[i], own.join(" ")),
        }
    };
    Ok([0, 1].map(|i| Side {
        system: given[i].clone(),
        entry: entries[i],
        params: params[i].clone(),
        label: label(i),
    }))
}

/// Each is a group. What is wrong with one is said of the whole text.
fn families(nemesis: &str) -> Result<Vec<String>, Failure> {
    let mut families: Vec<String> = Vec::new();
    for family in nemesis.split(',') {
        let spec: NemesisSpec = family.parse().map_err(Failure::usage)?;
        let name = spec.to_string();
        if families.contains(&name) {
            return Err(Failure::Usage(format!(
                "--nemesis {nemesis}: {name} is there twice"
            )));
        }
        families.push(name);
    }
    Ok(families)
}

/// One run; `under` names its faults for people.
fn ask(
    experiment: &ExperimentArgs,
    side: &Side,
    under: &str,
    faults: Faults,
    seed: u64,
) -> Result<Question, Failure> {
    let title = format!("{} {under} seed {seed}", side.label);
    let wanted = Wanted {
        params: side.params.iter().cloned().collect(),
        ..experiment.wanted(&side.system, faults, seed)
    };
    Question::new(title, wanted)
}

/// The schedule is drawn from the seed, the nodes and the times, which are the same for both; if
/// that ever ceases to be so, nothing that is said here would be true.
fn same_faults(questions: &[Question], seeds: &[u64], family: &str) -> Result<(), Failure> {
    let (first, second) = questions.split_at(seeds.len());
    match first
        .iter()
        .zip(second)
        .find(|(a, b)| a.schedule != b.schedule)
    {
        None => Ok(()),
        Some((a, _)) => Err(Failure::Infra(format!(
            "the two systems would not have the same faults under {family}, seed {}",
            a.spec.seed
        ))),
    }
}

fn has_clock(schedule: &Schedule) -> bool {
    let mut entries = schedule.entries.iter();
    entries.any(|e| e.what.family.on_clocks())
}

/// The same faults at the same times, but for the clock's. Left with none, it is a run under
/// `none`.
fn without_clock(
    experiment: &ExperimentArgs,
    side: &Side,
    family: &str,
    with: &Question,
) -> Result<Question, Failure> {
    let mut schedule = with.schedule.clone();
    schedule.entries.retain(|e| !e.what.family.on_clocks());
    let name = name_without_clock(family);
    let faults = match schedule.entries.is_empty() {
        true => experiment.drawn("none"),
        false => Faults::Given(schedule.to_string()),
    };
    ask(experiment, side, &name, faults, with.spec.seed)
}

/// What is left of `pause+clock` is called `pause of pause+clock`: these are not the pauses that
/// `pause` alone would draw.
fn name_without_clock(family: &str) -> String {
    let spec: NemesisSpec = family.parse().expect("it was read when the families were");
    let faults = spec.rounds.iter().flatten();
    let others: Vec<String> = faults
        .filter(|fault| !fault.family.on_clocks())
        .map(ToString::to_string)
        .collect();
    match others.is_empty() {
        true => "none".into(),
        false => format!("{} of {family}", others.join("+")),
    }
}

/// Verdicts and headlines of every group, then what the clock changed.
fn text(c: &Comparison, args: &CompareArgs) -> String {
    let [a, b] = &c.systems;
    let mut out = format!("{a} and {b}: {}\n", grid::legend(args.experiment.seeds));
    let headline = |m: &&Measure| m.headline;
    let mut grid = Grid::default();
    for group in &c.groups {
        let [first, second] = &group.arms[..] else {
            continue;
        };
        grid.heading(format!("\n{}", group.name));
        grid.row(["", "", a.as_str(), b, "difference"]);
        grid.row(["  verdicts", "", &verdicts(first), &verdicts(second), ""]);
        for measure in c.measures.iter().filter(headline) {
            let spreads = [first, second].map(|arm| arm.spread(&measure.id));
            if spreads.iter().all(Option::is_none) {
                continue;
            }
            let [one, other] =
                [first, second].map(|arm| grid::interval(arm, measure, c.seeds.len()));
            let difference = grid::difference(first.above(second, &measure.id), c.seeds.len());
            grid.row([
                format!("  {}", measure.label),
                measure.unit.clone(),
                one,
                other,
                difference,
            ]);
        }
    }
    out += &grid.text();
    for test in &c.clock {
        out += &clock_text(c, test);
    }
    out
}

pub fn verdicts(arm: &Arm) -> String {
    let verdicts: Vec<String> = arm
        .verdicts()
        .into_iter()
        .map(|(verdict, n)| format!("{n} {}", verdict.map_or("no result", |v| v.word())))
        .collect();
    verdicts.join(", ")
}

fn clock_text(c: &Comparison, test: &ClockTest) -> String {
    let mut out = format!(
        "\n{}: {} and {}, the same seeds\n",
        test.system, test.without.name, test.with.name
    );
    let flips = test.flips();
    match flips.len() {
        0 => out += "  no verdict changed\n",
        n => out += &format!("  {n} verdicts changed\n"),
    }
    let mut grid = Grid::default();
    for measure in &c.measures {
        let above = test.with.above(&test.without, &measure.id);
        if !above.is_some_and(|s| s.differs()) {
            continue;
        }
        grid.row([
            format!("  {}", measure.label),
            measure.unit.clone(),
            grid::difference(above, c.seeds.len()),
            match test.rule(&measure.id) {
                Some(rule) if !test.ruled_out(rule) => rule.text.clone(),
                _ => String::new(),
            },
        ]);
    }
    for uses in test.uses() {
        let name = c.measures.iter().find(|m| m.id == uses.measure);
        out += &format!(
            "  {}: {} without, {} with; more under {} of {} seeds: {}\n",
            name.map_or(uses.measure.as_str(), |m| &m.label),
            number(uses.without),
            number(uses.with),
            uses.rose,
            uses.of,
            uses.text,
        );
    }
    match grid.text() {
        none if none.is_empty() => out += "  no figure surely changed\n",
        changed => out += &changed,
    }
    out
}

/// What the page shows, as numbers.
fn json(c: &Comparison) -> Json {
    let spreads = |arm: &Arm| -> Json {
        let of = |m: &Measure| Some((m.id.clone(), json!(arm.spread(&m.id)?)));
        let spreads: serde_json::Map<String, Json> = c.measures.iter().filter_map(of).collect();
        json!({
            "name": arm.name,
            "verdicts": verdicts_json(arm),
            "figures": spreads,
            "runs": arm.trials,
        })
    };
    let differences = |one: &Arm, other: &Arm| -> Json {
        let of = |m: &Measure| Some((m.id.clone(), json!(one.above(other, &m.id)?)));
        let differences: serde_json::Map<String, Json> = c.measures.iter().filter_map(of).collect();
        differences.into()
    };
    json!({
        "systems": c.systems,
        "command": c.command,
        "seeds": c.seeds,
        "measures": c.measures,
        "groups": c.groups.iter().map(|group| json!({
            "nemesis": group.name,
            "arms": group.arms.iter().map(spreads).collect::<Vec<_>>(),
            "differences": differences(&group.arms[0], &group.arms[1]),
        })).collect::<Vec<_>>(),
        "clock": c.clock.iter().map(|test| json!({
            "system": test.system,
            "without": spreads(&test.without),
            "with": spreads(&test.with),
            "differences": differences(&test.with, &test.without),
            "flips": test.flips(),
            "rules": test.rules,
            "uses": test.uses(),
        })).collect::<Vec<_>>(),
    })
}

pub fn verdicts_json(arm: &Arm) -> Json {
    arm.verdicts()
        .into_iter()
        .map(|(verdict, n)| (verdict.map_or("none", |v| v.word()).to_string(), json!(n)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
