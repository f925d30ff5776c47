//! `schism bisect`: which of several programs is the first in which a run goes wrong.
//!
//! The programs are given from the oldest to the newest. Each that is tried is run until a
//! sequential test (Wald 1945, as for `replay`) tells "at least every second time" from "at most
//! once in twenty"; one of which that cannot be told is passed over, and said.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use checkers::Verdict;
use clap::Args;
use history::store::Store;
use history::wording::counted;
use workloads::systems;

use crate::chance::{self, Clear};
use crate::exit::{Failure, code};
use crate::flags::StoreArgs;
use crate::judged::Outcome;
use crate::matrix::child;
use crate::replay::{is_alike, wrong_in_lab};
use crate::run::Keep;
use crate::spec::Spec;
use crate::terminal::{self, word};

/// Runs of one program: what is not clear after so many stays so.
const MOST_OF_ONE: u64 = 16;
/// What a run may take beyond its time limit.
const WATCHDOG: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism bisect 20261129T011500-etcd-register bin/etcd-3.4 bin/etcd-3.5 bin/etcd-3.6
  schism bisect latest v1 v2 v3 v4 --build 'git -C src checkout -q {} && make -C src && echo src/bin/etcd'

Exit codes:
   0  the first program in which it goes wrong was found
   2  unknown  it could not be told: it goes wrong in none, in all, or in some too seldom
   4  infra    a program could not be built, or the harness could not do its work
  64  usage    the command line is wrong, or the run is not invalid")]
pub struct BisectArgs {
    /// An invalid run: its name, `latest`, or its folder
    pub run: String,
    /// Programs of the run's system, from the oldest to the newest; with --build whatever the
    /// command takes
    #[arg(required = true, num_args = 2.., value_name = "VERSION")]
    pub versions: Vec<String>,
    /// A command of the shell that makes the program of the version `{}`, and prints its path as
    /// its last line
    #[arg(long, value_name = "COMMAND")]
    pub build: Option<String>,
    #[command(flatten)]
    pub store: StoreArgs,
}

pub fn command(args: &BisectArgs) -> Result<ExitCode, Failure> {
    let store = Store::new(&args.store.store);
    let run = store.open(&args.run).map_err(Failure::usage)?;
    let (first, spec) = wrong_in_lab(&run, "bisected")?;
    if args.build.is_none()
        && let Some(no) = args.versions.iter().find(|path| !Path::new(path).is_file())
    {
        return Err(Failure::Usage(format!(
            "{no} is no program: with --build a command makes it"
        )));
    }
    let bisecting = Bisecting {
        args,
        first: &first,
        spec: &spec,
        variable: systems::find(&spec.system)
            .map_err(Failure::usage)?
            .variable,
        program: std::env::current_exe().map_err(Failure::infra)?,
    };
    bisecting.search()
}

struct Bisecting<'a> {
    args: &'a BisectArgs,
    first: &'a Outcome,
    spec: &'a Spec,
    variable: &'static str,
    program: PathBuf,
}

impl Bisecting<'_> {
    fn search(&self) -> Result<ExitCode, Failure> {
        let versions = &self.args.versions;
        // `good` is the newest that is known to be right, `bad` the oldest that is known not to be.
        let (mut good, mut bad) = (0, versions.len() - 1);
        for (end, wanted) in [(bad, Clear::Often), (good, Clear::Seldom)] {
            if self.tries(end)? != Some(wanted) {
                let text = match wanted {
                    Clear::Often => "does not go wrong often enough to be sure in the newest",
                    Clear::Seldom => "goes wrong too often to be called right in the oldest",
                };
                terminal::line(format!("it {text}: {}", word(&versions[end])));
                return Ok(code(Verdict::Unknown));
            }
        }
        let mut passed = Vec::new();
        while let Some(middle) = middle(good, bad, &passed) {
            match self.tries(middle)? {
                Some(Clear::Often) => bad = middle,
                Some(Clear::Seldom) => good = middle,
                None => passed.push(middle),
            }
        }
        passed.retain(|place| (good..bad).contains(place));
        terminal::line(format!(
            "the first in which it goes wrong is {}, the last before in which it is right {}",
            word(&versions[bad]),
            word(&versions[good])
        ));
        if passed.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let between = counted(passed.len(), "version");
        terminal::line(format!("between them it could not be told of {between}"));
        Ok(code(Verdict::Unknown))
    }

    /// Runs one program until it is clear.
    fn tries(&self, place: usize) -> Result<Option<Clear>, Failure> {
        let version = &self.args.versions[place];
        let path = self.path(version)?;
        let (mut wrong, mut of, mut runs) = (0, 0, 0);
        let clear = loop {
            let clear = chance::clear(wrong, of);
            if clear.is_some() || runs == MOST_OF_ONE {
                break clear;
            }
            let ended = child::run(&child::Run {
                program: &self.program,
                store: &self.args.store.store,
                spec: self.spec,
                system: Some((self.variable, &path)),
                keep: Keep::Logs,
                limit: self.spec.time_limit() + WATCHDOG,
            });
            runs += 1;
            let Some(outcome) = &ended.outcome else {
                return Err(Failure::Infra(format!("{version}: {}", ended.why)));
            };
            // What has no verdict on the system counts neither way.
            if matches!(outcome.verdict, Verdict::Valid | Verdict::Invalid) {
                of += 1;
                wrong += u64::from(is_alike(self.first, outcome));
            }
        };
        let says = match clear {
            Some(Clear::Often) => "goes wrong",
            Some(Clear::Seldom) => "is right",
            None => "cannot be told",
        };
        terminal::tell(format!(
            "{}: wrong in {wrong} of {of}, {says}",
            word(version)
        ));
        Ok(clear)
    }

    fn path(&self, version: &str) -> Result<PathBuf, Failure> {
        let Some(build) = &self.args.build else {
            return std::path::absolute(version).map_err(Failure::infra);
        };
        let command = build.replace("{}", &crate::spec::quoted(&[version.to_string()]));
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &command])
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(Failure::infra)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default().trim();
        let path = std::path::absolute(last).unwrap_or_default();
        match output.status.success() && path.is_file() {
            true => Ok(path),
            false => Err(Failure::Infra(format!(
                "{version}: --build ended with {}, and {last:?} is no program",
                output.status
            ))),
        }
    }
}

/// The place nearest to the middle between two, that was not passed over.
fn middle(good: usize, bad: usize, passed: &[usize]) -> Option<usize> {
    let centre = good.midpoint(bad);
    let open = (good + 1..bad).filter(|place| !passed.contains(place));
    open.min_by_key(|place| place.abs_diff(centre))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_taken_and_what_was_passed_over_is_not() {
        assert_eq!(middle(0, 8, &[]), Some(4));
        assert_eq!(middle(0, 8, &[4]), Some(3));
        assert_eq!(middle(0, 2, &[1]), None);
        assert_eq!(middle(3, 4, &[]), None);
    }
}
