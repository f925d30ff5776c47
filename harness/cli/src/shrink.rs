//! `schism shrink`: the least that still goes wrong as a run did.
//!
//! ```text
//! how often does the run itself go wrong?     too seldom: nothing can be told
//! what came after the anomaly is cut off
//! fewest faults          delta debugging (Zeller and Hildebrandt 2002), in shrink/minimal.rs
//! shortest               faults, then the run
//! fewest nodes, least load
//! which fault matters?   the rate with each, and without it
//! ```
//!
//! A candidate counts as going wrong when a sequential test is sure of it (Wald 1945, as for
//! `replay`: at least every second time against at most once in twenty, in error in at most one of
//! twenty), and did so in at least half of its runs: so one lucky run neither takes a fault away
//! nor keeps one. The best so far is on the disk at any time.

mod minimal;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use checkers::Verdict;
use clap::Args;
use history::store::{Run, Store};
use history::wording::counted;
use nemeses::schedule::{Entry, Schedule};

use self::trial::{Rate, Trials};
use crate::chance::{self, Clear};
use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::output;
use crate::replay::wrong_in_lab;
use crate::spec::Spec;
use crate::terminal::{self, word};

/// From the end of the last fault to that of the main phase, at the least.
const AFTER: Duration = Duration::from_secs(2);
/// Faults are not made shorter than this: they must take hold.
const LEAST_LASTS: Duration = Duration::from_millis(500);
const LEAST_RUN: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(
    after_help = "It can be stopped at any time: the best so far is in the output's files, NAME.toml (the schedule) and \
NAME.json (the whole specification).

Exit codes:
   0  it was made as small as it gets, or nothing could be taken away
   3  vacuous  the run goes wrong too seldom for anything to be told
   4  infra    the harness could not do its work
  64  usage    the command line is wrong, or the run is not invalid"
)]
pub struct ShrinkArgs {
    /// A run's name, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// Where the best so far is kept, as NAME.toml and NAME.json [default: `shrunk` in the run's
    /// folder]
    #[arg(long, short, value_name = "NAME")]
    pub output: Option<PathBuf>,
    /// At most so many runs in all
    #[arg(long, default_value_t = 400)]
    pub most: u64,
    /// Runs at a time, each in a lab of its own [default: one for every two cores]
    #[arg(long, short)]
    pub jobs: Option<usize>,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// What is known to go wrong.
struct Best {
    spec: Spec,
    schedule: Schedule,
    rate: Rate,
}

pub fn command(args: &ShrinkArgs) -> Result<ExitCode, Failure> {
    let store = Store::new(&args.store.store);
    let run = store.open(&args.run).map_err(Failure::usage)?;
    let (first, spec) = wrong_in_lab(&run, "shrunk")?;
    let schedule = Schedule::load(&run.schedule(), &spec.node_names()).map_err(Failure::usage)?;
    let base = args
        .output
        .clone()
        .unwrap_or_else(|| run.path().join("shrunk"));
    let mut shrinking = Shrinking {
        trials: Trials::new(&first, store.root(), args.jobs, args.most),
        base,
        best: Best {
            spec,
            schedule,
            rate: Rate::default(),
        },
    };
    shrinking.tell_cost();
    let before = shrinking.trials.ask(&shrinking.best.spec)?;
    let faults_before = shrinking.best.schedule.entries.len();
    match before.clear() {
        Some(Clear::Often) => shrinking.best.rate = before,
        _ => {
            terminal::line(format!(
                "{} goes wrong in {before}: too seldom for anything to be told; give it more load or time, or another seed",
                run.name()
            ));
            return Ok(ExitCode::from(Verdict::Vacuous.exit_code()));
        }
    }
    shrinking.keep()?;
    let ended = shrinking.shrink(first.found_at_s);
    let enough = match ended {
        Ok(()) => String::new(),
        Err(Stop::Enough) => format!(
            "stopped after {}: --most\n",
            counted(shrinking.trials.runs(), "run")
        ),
        Err(Stop::Failed(failure)) => return Err(failure),
    };
    let matters = shrinking.which_matter()?;
    terminal::print(&(shrinking.text(&run, faults_before, before, &matters) + &enough));
    Ok(ExitCode::SUCCESS)
}

/// Why nothing more is tried.
enum Stop {
    Enough,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

struct Shrinking<'a> {
    trials: Trials<'a>,
    base: PathBuf,
    best: Best,
}

impl Shrinking<'_> {
    fn tell_cost(&self) {
        let faults = self.best.schedule.entries.len() as u64;
        let each = self.best.spec.time_limit().as_secs() + 8;
        // Halves down to single faults, and each of the few that are left once more.
        let rounds = 2 * (64 - faults.leading_zeros()) as u64 + 12;
        let jobs = self.trials.jobs() as u64;
        terminal::tell(format!(
            "{}, {} s a run: some {rounds} candidates of 2 to 8 runs, so up to {} min with {jobs} at a time, and less as runs get \
             shorter",
            counted(faults as usize, "fault"),
            each,
            rounds * 5 * each / 60 / jobs.max(1)
        ));
    }

    fn shrink(&mut self, found_at_s: Option<f64>) -> Result<(), Stop> {
        self.cut_off(found_at_s)?;
        self.fewest_faults()?;
        self.shortest()?;
        self.fewest_nodes()?;
        self.least_load()
    }

    /// Tries a candidate, and keeps it if it goes wrong.
    fn tries(&mut self, what: &str, spec: Spec, schedule: Schedule) -> Result<bool, Stop> {
        if self.trials.is_over() {
            return Err(Stop::Enough);
        }
        let spec = under(spec, &schedule);
        let rate = self.trials.ask(&spec)?;
        // What is called often may still be a third, which is no use to whoever mends it.
        let goes_wrong = rate.clear() == Some(Clear::Often) && 2 * rate.wrong >= rate.of;
        let kept = if goes_wrong { "kept" } else { "not kept" };
        let runs = counted(self.trials.runs(), "run");
        terminal::tell(format!("{what}: wrong in {rate}, {kept}  [{runs} so far]"));
        if goes_wrong {
            self.best = Best {
                spec,
                schedule,
                rate,
            };
            self.keep()?;
        }
        Ok(goes_wrong)
    }

    fn with(&self, entries: &[Entry]) -> Schedule {
        Schedule {
            seed: self.best.schedule.seed,
            entries: entries.to_vec(),
        }
    }

    /// Nothing that began after the anomaly was complete can have brought it about. What is read at
    /// the end only is complete at the end: then this takes nothing away.
    fn cut_off(&mut self, found_at_s: Option<f64>) -> Result<(), Stop> {
        let Some(found) = found_at_s.and_then(|s| Duration::try_from_secs_f64(s).ok()) else {
            return Ok(());
        };
        let entries = self.best.schedule.entries.iter().filter(|e| e.at <= found);
        let schedule = self.with(&entries.cloned().collect::<Vec<_>>());
        let limit = (found + AFTER).max(schedule.ends() + AFTER).max(LEAST_RUN);
        if limit >= self.best.spec.time_limit() {
            return Ok(());
        }
        let what = format!("only what was before {:.1} s", found.as_secs_f64());
        let spec = limited(&self.best.spec, limit);
        self.tries(&what, spec, schedule).map(drop)
    }

    fn fewest_faults(&mut self) -> Result<(), Stop> {
        let all = self.best.schedule.entries.clone();
        minimal::minimal(all, &mut |entries: &[Entry]| {
            let what = match entries.len() {
                0 => "without any fault".to_string(),
                n => format!("with {}", counted(n, "fault")),
            };
            let (spec, schedule) = (self.best.spec.clone(), self.with(entries));
            self.tries(&what, spec, schedule)
        })
        .map(drop)
    }

    /// Each fault half as long, as long as that goes; then the run.
    fn shortest(&mut self) -> Result<(), Stop> {
        for place in 0..self.best.schedule.entries.len() {
            while let Some(lasts) = self.best.schedule.entries[place].lasts {
                let shorter = Duration::from_millis(lasts.as_millis() as u64 / 2);
                if shorter < LEAST_LASTS {
                    break;
                }
                let mut schedule = self.best.schedule.clone();
                schedule.entries[place].lasts = Some(shorter);
                let what = format!("fault {} for {:.1} s", place + 1, shorter.as_secs_f64());
                let spec = self.best.spec.clone();
                if !schedule.check(&spec.node_names()).is_empty()
                    || !self.tries(&what, spec, schedule)?
                {
                    break;
                }
            }
        }
        loop {
            let now = self.best.spec.time_limit();
            let least = (self.best.schedule.ends() + AFTER).max(LEAST_RUN);
            let shorter = least.max(now / 2);
            if shorter + Duration::from_secs(1) > now {
                return Ok(());
            }
            let what = format!("for {:.1} s", shorter.as_secs_f64());
            let (spec, schedule) = (
                limited(&self.best.spec, shorter),
                self.best.schedule.clone(),
            );
            if !self.tries(&what, spec, schedule)? {
                return Ok(());
            }
        }
    }

    /// Nodes that no fault names can go, the last first.
    fn fewest_nodes(&mut self) -> Result<(), Stop> {
        for nodes in [3, 4] {
            if nodes >= self.best.spec.nodes {
                return Ok(());
            }
            let spec = Spec {
                nodes,
                ..self.best.spec.clone()
            };
            let text = self.best.schedule.to_string();
            let Ok(schedule) = Schedule::parse(&text, &spec.node_names()) else {
                continue;
            };
            if self.tries(&format!("with {}", counted(nodes, "node")), spec, schedule)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn least_load(&mut self) -> Result<(), Stop> {
        loop {
            let rate = (self.best.spec.rate / 2.0).floor();
            let spec = Spec {
                rate,
                ..self.best.spec.clone()
            };
            // With less nothing is tested at all.
            if rate * spec.time_limit().as_secs_f64() < 100.0 {
                return Ok(());
            }
            let schedule = self.best.schedule.clone();
            if !self.tries(&format!("with {rate} operations a second"), spec, schedule)? {
                return Ok(());
            }
        }
    }

    /// For each fault that is left, the rate without it. Of more than a few none is alone what
    /// matters.
    fn which_matter(&mut self) -> Result<Vec<Rate>, Failure> {
        const FEW: usize = 6;
        let entries = self.best.schedule.entries.clone();
        if entries.len() > FEW {
            return Ok(Vec::new());
        }
        let mut rates = Vec::new();
        for place in 0..entries.len() {
            let mut without = entries.clone();
            without.remove(place);
            let spec = under(self.best.spec.clone(), &self.with(&without));
            rates.push(self.trials.ask(&spec)?);
        }
        Ok(rates)
    }

    fn path(&self, end: &str) -> PathBuf {
        self.base.with_extension(end)
    }

    fn keep(&self) -> Result<(), Failure> {
        let spec = serde_json::to_vec_pretty(&self.best.spec).map_err(Failure::infra)?;
        let schedule = self.best.schedule.to_string();
        for (end, text) in [("toml", schedule.as_bytes()), ("json", &spec)] {
            let path = self.path(end);
            output::put(&path, text)
                .map_err(|e| Failure::Infra(format!("cannot write {}: {e}", path.display())))?;
        }
        Ok(())
    }

    fn text(&self, run: &Run, faults: usize, before: Rate, matters: &[Rate]) -> String {
        let best = &self.best;
        let spec = &best.spec;
        let mut out = format!(
            "{}: {} of {}, {:.1} s, {}, {} operations a second\n",
            run.name(),
            counted(best.schedule.entries.len(), "fault"),
            faults,
            spec.time_limit().as_secs_f64(),
            counted(spec.nodes, "node"),
            spec.rate
        );
        out += &format!(
            "goes wrong in {}; before in {before}; {} made\n\n",
            best.rate,
            counted(self.trials.runs(), "run")
        );
        for (number, entry) in best.schedule.entries.iter().enumerate() {
            let lasts = entry.lasts.map_or("to the end".into(), |l| {
                format!("for {:.1} s", l.as_secs_f64())
            });
            let name = format!("{} of {}", entry.what.name(), entry.what.targets);
            let name = word(&name);
            let at = entry.at.as_secs_f64();
            let without = matters.get(number).map_or(String::new(), |rate| {
                let (low, high) = chance::interval(rate.wrong, rate.of);
                format!(
                    "; without it in {rate} ({:.0} to {:.0} %)",
                    100.0 * low,
                    100.0 * high
                )
            });
            out += &format!("  {}. {name} at {at:.1} s {lasts}{without}\n", number + 1);
        }
        out += &format!(
            "\nschedule {}\nagain    schism run --spec {} --store {}\n",
            self.path("toml").display(),
            self.path("json").display(),
            run.path().parent().unwrap_or(run.path()).display()
        );
        out
    }
}

/// A run under exactly these faults; one that has none asks for none.
fn under(spec: Spec, schedule: &Schedule) -> Spec {
    let none = schedule.entries.is_empty();
    Spec {
        nemesis: none.then(|| "none".into()),
        schedule: (!none).then(|| schedule.to_string()),
        ..spec
    }
}

fn limited(spec: &Spec, limit: Duration) -> Spec {
    Spec {
        time_limit_ms: limit.as_millis() as u64,
        ..spec.clone()
    }
}
