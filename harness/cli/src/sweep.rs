//! `schism sweep`: a system along the values of one of its parameters, or of its workload's.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use harness::units::write_duration;
use nemeses::schedule::NemesisSpec;
use report::experiment::{Arm, Measure, Point, Sweep, Valley};
use serde_json::{Value as Json, json};
use workloads::params::{Kind, Param, ParamError, Params, parse_duration};
use workloads::systems;

use crate::compare::{verdicts, verdicts_json};
use crate::exit::Failure;
use crate::experiment::{CODES, ExperimentArgs, Question, command_line, conclude};
use crate::flags;
use crate::grid::{self, Grid};
use crate::wanted::Wanted;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: schism sweep etcd --param election-timeout=500ms..10s --nemesis pause
`schism sweep --help` has all options, more examples and the exit codes.",
    after_long_help = format!("Examples:
  schism sweep paxos-kv --param election-timeout=50ms..5s --tie heartbeat-interval=0.2x --tie lease=0.8x \\
      --tie max-drift=0.1x --nemesis pause:leader --fault-length 2s --fault-gap 3s
  schism sweep etcd --param election-timeout=500ms..10s --tie heartbeat-interval=0.1x --nemesis packet:delay

Runs that the store already has are not made again, so a sweep that was interrupted goes on.

{CODES}")
)]
pub struct SweepArgs {
    /// What to test: see `schism systems`
    pub system: String,
    /// The parameter, of the system or the workload, with the first and the last of its values
    #[arg(long, short, value_name = "NAME=LO..HI", value_parser = flags::pair)]
    pub param: (String, String),
    /// How many values, both ends included
    #[arg(long, default_value_t = 12, value_name = "N")]
    pub steps: usize,
    /// How they are spaced: by a factor, or by a difference
    #[arg(long, value_enum, default_value_t = Scale::Log, hide_short_help = true)]
    pub scale: Scale,
    /// Another parameter, so many times the swept one: `lease=0.8x`; may be given several times
    #[arg(long, value_name = "NAME=Fx", value_parser = flags::pair)]
    pub tie: Vec<(String, String)>,
    /// Another parameter, the same for all values; may be given several times
    #[arg(long, value_name = "K=V", value_parser = flags::pair, hide_short_help = true)]
    pub set: Vec<(String, String)>,
    /// Faults, as for `schism run`
    #[arg(help_heading = "Faults", long, short = 'f', default_value = "pause")]
    pub nemesis: String,
    #[command(flatten)]
    pub experiment: ExperimentArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    Log,
    Linear,
}

/// More, and nobody waits for it.
const MOST_STEPS: usize = 200;

/// A parameter that goes with the swept one: so many times its value.
struct Tie<'a> {
    param: &'a Param,
    factor: f64,
}

/// Values of a parameter as numbers: microseconds of durations, counts as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    from: f64,
    to: f64,
}

pub fn command(args: SweepArgs) -> Result<ExitCode, Failure> {
    let experiment = &args.experiment;
    experiment.check()?;
    let entry = systems::find(&args.system).map_err(Failure::usage)?;
    let workload = experiment.workload.as_deref().unwrap_or(entry.workload);
    let workload = entry.workload_named(workload).map_err(Failure::usage)?;
    let declared = [entry.params.to_vec(), workload.params()].concat();

    let (name, range) = &args.param;
    let param = find(&declared, name)?;
    let range = read_range(param, range)?;
    let scale = args.scale;
    let values = values(param.kind, range, args.steps, scale)?;
    let ties = args
        .tie
        .iter()
        .map(|(name, factor)| tie(&declared, param, name, factor))
        .collect::<Result<Vec<_>, _>>()?;
    let nemesis: NemesisSpec = args.nemesis.parse().map_err(Failure::usage)?;
    let nemesis = nemesis.to_string();

    // Everything is asked, and so checked, before anything is run.
    let seeds = experiment.seeds();
    let mut questions = Vec::new();
    for value in &values {
        let mut set = vec![(param.name, write(param.kind, *value))];
        for tie in &ties {
            let value = round(tie.param.kind, value * tie.factor);
            set.push((tie.param.name, write(tie.param.kind, value)));
        }
        for seed in &seeds {
            questions.push(ask(&args, &nemesis, &set, *seed)?);
        }
    }

    let answers = experiment.answer(&questions)?;
    let unit = Unit::of(param.kind, range);
    let points: Vec<Point> = values
        .iter()
        .zip(answers.trials.chunks(seeds.len()))
        .map(|(value, trials)| Point {
            value: value / unit.size,
            text: write(param.kind, *value),
            arm: Arm {
                name: write(param.kind, *value),
                trials: trials.to_vec(),
            },
        })
        .collect();
    let mut asked = experiment.asked(&questions[0].spec);
    asked.insert(0, ("under".into(), nemesis));
    let tied: Vec<String> = args.tie.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if !tied.is_empty() {
        asked.insert(1, ("tied".into(), tied.join(", ")));
    }
    let sweep = Sweep {
        system: entry.name.into(),
        parameter: param.name.into(),
        unit: unit.name.into(),
        log: scale == Scale::Log,
        asked,
        valleys: answers
            .measures
            .iter()
            .filter(|m| m.headline)
            .filter_map(|m| Valley::of(&points, m))
            .collect(),
        measures: answers.measures,
        points,
        command: command_line(),
        seeds,
    };
    let output = match experiment.json {
        true => json(&sweep).to_string(),
        false => text(&sweep),
    };
    let page = experiment.page(&format!("sweep-{}-{}", sweep.system, sweep.parameter));
    let html = report::experiment::sweep(&sweep);
    conclude(&page, &html, &output, experiment.json, &answers.trials)
}

fn find<'a>(declared: &'a [Param], name: &str) -> Result<&'a Param, Failure> {
    // Asked for its error only: the nearest name, and those that there are.
    let unknown = || Params::resolve(declared, [(name, "")]).err();
    match declared.iter().find(|p| p.name == name) {
        None => Err(unknown().map_or_else(|| Failure::Usage(name.into()), Failure::usage)),
        Some(param) => match param.kind {
            Kind::Choice(words) | Kind::Each(words) => Err(Failure::Usage(format!(
                "parameter {name} has no numbers to sweep: it is one of {}",
                words.join(", ")
            ))),
            _ => Ok(param),
        },
    }
}

fn number(param: &Param, text: &str) -> Result<f64, Failure> {
    let read = match param.kind {
        Kind::Duration => parse_duration(text).map(|d| d.as_micros() as f64),
        _ => text.parse::<u64>().ok().map(|n| n as f64),
    };
    read.ok_or_else(|| {
        Failure::usage(ParamError::Value {
            name: param.name.into(),
            value: text.into(),
            wanted: param.kind.describe(),
        })
    })
}

fn read_range(param: &Param, text: &str) -> Result<Range, Failure> {
    let usage = |why: &str| Failure::Usage(format!("--param {}={text}: {why}", param.name));
    let Some((from, to)) = text.split_once("..") else {
        return Err(usage("write the first and the last value, as in 50ms..5s"));
    };
    let (from, to) = (number(param, from)?, number(param, to)?);
    if from > to {
        return Err(usage("the range is reversed: the lower end comes first"));
    }
    if from == to {
        return Err(usage("the range is empty: both ends are the same"));
    }
    Ok(Range { from, to })
}

/// The values to try, each once: on a coarse scale two steps can round to the same number.
fn values(kind: Kind, range: Range, steps: usize, scale: Scale) -> Result<Vec<f64>, Failure> {
    if !(2..=MOST_STEPS).contains(&steps) {
        return Err(Failure::Usage(format!(
            "--steps {steps}: 2 to {MOST_STEPS}, both ends of the range included"
        )));
    }
    let log = scale == Scale::Log;
    if log && range.from <= 0.0 {
        return Err(Failure::Usage(
            "a logarithmic scale has no zero: begin above zero, or give --scale linear".into(),
        ));
    }
    let at = |step: usize| {
        let part = step as f64 / (steps - 1) as f64;
        match (step, log) {
            (0, _) => range.from,
            // Not by arithmetic, which may miss it by a hair.
            (last, _) if last == steps - 1 => range.to,
            (_, true) => round(kind, range.from * (range.to / range.from).powf(part)),
            (_, false) => round(kind, range.from + (range.to - range.from) * part),
        }
    };
    let mut values: Vec<f64> = (0..steps).map(at).collect();
    values.dedup();
    Ok(values)
}

/// To what a person would write: three digits of a duration, whole counts.
fn round(kind: Kind, value: f64) -> f64 {
    match kind {
        Kind::Duration if value >= 1.0 => {
            let grain = 10f64.powi(value.log10().floor() as i32 - 2).max(1.0);
            (value / grain).round() * grain
        }
        _ => value.round(),
    }
}

fn write(kind: Kind, value: f64) -> String {
    match kind {
        Kind::Duration => write_duration(Duration::from_micros(value as u64)),
        _ => format!("{}", value as u64),
    }
}

fn tie<'a>(
    declared: &'a [Param],
    swept: &Param,
    name: &str,
    factor: &str,
) -> Result<Tie<'a>, Failure> {
    let usage = |why: String| Failure::Usage(format!("--tie {name}={factor}: {why}"));
    let param = find(declared, name)?;
    if param.name == swept.name {
        return Err(usage("it is the parameter that is swept".into()));
    }
    let of_same_kind = matches!(param.kind, Kind::Duration) == matches!(swept.kind, Kind::Duration);
    if !of_same_kind {
        return Err(usage(format!(
            "{name} is {}, and {} is {}",
            param.kind.describe(),
            swept.name,
            swept.kind.describe()
        )));
    }
    let read = factor.strip_suffix('x').and_then(|n| n.parse::<f64>().ok());
    match read.filter(|n| n.is_finite() && *n > 0.0) {
        Some(factor) => Ok(Tie { param, factor }),
        None => Err(usage(
            "write how many times the swept value, as in 0.2x".into(),
        )),
    }
}

fn ask(
    args: &SweepArgs,
    nemesis: &str,
    set: &[(&str, String)],
    seed: u64,
) -> Result<Question, Failure> {
    let others = args.set.iter().map(|(k, v)| (k.as_str(), v));
    let params = others.chain(set.iter().map(|(k, v)| (*k, v)));
    let experiment = &args.experiment;
    let wanted = Wanted {
        params: params.map(|(k, v)| (k.to_string(), v.clone())).collect(),
        ..experiment.wanted(&args.system, experiment.drawn(nemesis), seed)
    };
    let (name, value) = &set[0];
    let title = format!("{} {name}={value} seed {seed}", args.system);
    Question::new(title, wanted).map_err(|failure| match failure {
        Failure::Usage(why) => Failure::Usage(format!("at {name}={value}: {why}")),
        infra => infra,
    })
}

/// In what the axis is counted.
struct Unit {
    name: &'static str,
    /// In microseconds, for durations.
    size: f64,
}

impl Unit {
    fn of(kind: Kind, range: Range) -> Unit {
        let (name, size) = match kind {
            Kind::Duration if range.to < 1e4 => ("µs", 1.0),
            Kind::Duration if range.to <= 1e7 => ("ms", 1e3),
            Kind::Duration => ("s", 1e6),
            _ => ("", 1.0),
        };
        Unit { name, size }
    }
}

fn range(s: &Sweep, (from, to): (usize, usize)) -> String {
    match from == to {
        true => s.points[from].text.clone(),
        false => format!("{} to {}", s.points[from].text, s.points[to].text),
    }
}

fn has(s: &Sweep, measure: &Measure) -> bool {
    s.points.iter().any(|p| p.arm.spread(&measure.id).is_some())
}

/// A table for each headline, values down; then where each is best.
fn text(s: &Sweep) -> String {
    let mut out = format!(
        "{} along {}: {}\n\n",
        s.system,
        s.parameter,
        grid::legend(s.seeds.len() as u64)
    );
    let headlines: Vec<&Measure> = s
        .measures
        .iter()
        .filter(|m| m.headline && has(s, m))
        .collect();
    let mut grid = Grid::default();
    for measures in headlines.chunks(4) {
        let heads = measures.iter().map(|m| match m.unit.is_empty() {
            true => m.label.clone(),
            false => format!("{}, {}", m.label, m.unit),
        });
        let first = ["".to_string(), "verdicts".to_string()];
        grid.row(first.into_iter().chain(heads));
        for point in &s.points {
            let cells = measures
                .iter()
                .map(|m| grid::interval(&point.arm, m, s.seeds.len()));
            let first = [point.text.clone(), verdicts(&point.arm)];
            grid.row(first.into_iter().chain(cells));
        }
        grid.heading("");
    }
    grid.row(["", "best at", "within 10 %", "within the noise"]);
    for valley in &s.valleys {
        let label = s.measures.iter().find(|m| m.id == valley.measure);
        grid.row([
            label.map_or_else(String::new, |m| m.label.clone()),
            s.points[valley.best].text.clone(),
            range(s, valley.near),
            valley
                .noise
                .map_or_else(|| "too few seeds to tell".into(), |noise| range(s, noise)),
        ]);
    }
    out += &grid.text();
    out
}

/// What the page shows, as numbers.
fn json(s: &Sweep) -> Json {
    let point = |p: &Point| {
        let of = |m: &Measure| Some((m.id.clone(), json!(p.arm.spread(&m.id)?)));
        let figures: serde_json::Map<String, Json> = s.measures.iter().filter_map(of).collect();
        json!({
            "value": p.value,
            "text": p.text,
            "verdicts": verdicts_json(&p.arm),
            "figures": figures,
            "runs": p.arm.trials,
        })
    };
    json!({
        "system": s.system,
        "parameter": s.parameter,
        "unit": s.unit,
        "command": s.command,
        "seeds": s.seeds,
        "measures": s.measures,
        "points": s.points.iter().map(point).collect::<Vec<_>>(),
        "best": s.valleys.iter().map(|v| json!({
            "measure": v.measure,
            "at": s.points[v.best].text,
            "within ten per cent": [s.points[v.near.0].text, s.points[v.near.1].text],
            "within the noise": v.noise.map(|(from, to)| [&s.points[from].text, &s.points[to].text]),
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Param = Param {
        name: "election-timeout",
        kind: Kind::Duration,
        default: "500ms",
        about: "",
    };

    const BATCH: Param = Param {
        name: "max-batch",
        kind: Kind::Count { min: 1, max: 9 },
        default: "5",
        about: "",
    };

    fn written(param: &Param, range: &str, steps: usize, scale: Scale) -> Vec<String> {
        let range = read_range(param, range).unwrap();
        let values = values(param.kind, range, steps, scale).unwrap();
        values.into_iter().map(|v| write(param.kind, v)).collect()
    }

    fn why<T>(result: Result<T, Failure>) -> String {
        match result {
            Err(Failure::Usage(why)) => why,
            _ => panic!("it is not refused as wrong usage"),
        }
    }

    #[test]
    fn values_are_spaced_as_the_scale_says_and_both_ends_are_in() {
        assert_eq!(
            written(&TIMEOUT, "50ms..5s", 5, Scale::Log),
            ["50ms", "158ms", "500ms", "1.58s", "5s"]
        );
        assert_eq!(
            written(&TIMEOUT, "100ms..500ms", 5, Scale::Linear),
            ["100ms", "200ms", "300ms", "400ms", "500ms"]
        );
        // There are no more whole numbers than these.
        assert_eq!(written(&BATCH, "1..3", 12, Scale::Log), ["1", "2", "3"]);
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        for (range, says) in [
            ("5s..50ms", "reversed"),
            ("1s..1s", "empty"),
            ("1s..1000ms", "empty"),
            ("1s", "the first and the last"),
            ("..1s", "a duration such as"),
            ("1..5", "a duration such as"),
        ] {
            let why = why(read_range(&TIMEOUT, range));
            assert!(why.contains(says), "{range}: {why}");
        }
        assert!(why(read_range(&BATCH, "1.5..3")).contains("a whole number"));
        let range = Range { from: 0.0, to: 5.0 };
        assert!(why(values(BATCH.kind, range, 3, Scale::Log)).contains("no zero"));
        assert!(why(values(BATCH.kind, range, 1, Scale::Linear)).contains("--steps 1"));
    }

    #[test]
    fn ties_are_factors_of_another_parameter_of_the_same_kind() {
        let heartbeat = Param {
            name: "heartbeat-interval",
            ..TIMEOUT
        };
        let declared = [TIMEOUT, BATCH, heartbeat];
        let of = |name, factor| tie(&declared, &TIMEOUT, name, factor);
        assert_eq!(of("heartbeat-interval", "0.2x").ok().unwrap().factor, 0.2);
        for (name, factor, says) in [
            ("heartbeat-interval", "0.2", "as in 0.2x"),
            ("heartbeat-interval", "-1x", "as in 0.2x"),
            ("max-batch", "2x", "a whole number"),
            ("election-timeout", "2x", "that is swept"),
            ("heartbeat", "2x", "did you mean \"heartbeat-interval\"?"),
        ] {
            let why = why(of(name, factor));
            assert!(why.contains(says), "{name}={factor}: {why}");
        }
    }
}
