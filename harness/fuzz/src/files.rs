//! Files that people write: schedules and scenarios.

use std::path::Path;

use history::Name;
use nemeses::schedule::{NemesisSpec, Schedule, quorum_whole};
use workloads::scenario::Scenario;

/// `schedule.toml`: what is read is written so that it is read again, and can be planned.
pub fn schedule(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let nodes: Vec<Name> = (1..=5).map(|n| format!("n{n}").into()).collect();
    match Schedule::parse(text, &nodes) {
        Ok(schedule) => {
            let written = schedule.to_string();
            match Schedule::parse(&written, &nodes) {
                Ok(again) => assert_eq!(again, schedule),
                Err(problems) => panic!("{written}\n{problems:?}"),
            }
            assert_eq!(schedule.plan().len(), schedule.entries.len());
            schedule.needs();
            schedule.ends();
            quorum_whole(&schedule, &nodes);
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(text.get(problem.at.clone()).is_some(), "{problem:?}");
                assert!(problem.line >= 1 && problem.line <= text.split('\n').count());
                assert!(!problem.to_string().is_empty());
            }
        }
    }
}

/// A scenario, with the faults that it names.
pub fn scenario(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match Scenario::parse(Path::new("dir/example.toml"), text) {
        Ok(scenario) => {
            assert!(scenario.families().all(|family| !family.is_empty()));
            match scenario.nemesis.parse::<NemesisSpec>() {
                Ok(spec) => drop(spec.needs()),
                Err(e) => assert!(e.text.get(e.at.clone()).is_some(), "{e:?}"),
            }
            for name in scenario.expect.figures.iter().map(|(name, _)| name) {
                assert!(
                    text.contains(name.as_str()) || text.contains('\\'),
                    "{name}"
                );
            }
        }
        Err(e) => {
            assert!(e.line >= 1 && e.line <= text.split('\n').count());
            assert!(e.column >= 1 && !e.message.is_empty());
        }
    }
}
