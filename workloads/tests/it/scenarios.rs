//! The scenarios that come with the program, against what the node says of itself.

use std::collections::BTreeSet;
use std::path::Path;

use checkers::Verdict;
use workloads::scenario::Scenario;
use workloads::systems;

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(&folder).unwrap();
    let scenarios: Vec<Scenario> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| Scenario::load(&path).unwrap_or_else(|e| panic!("{e}")))
        .collect();
    assert!(!scenarios.is_empty());
    scenarios
}

/// Of faults that are drawn, and of those in its schedule.
fn families(scenario: &Scenario) -> BTreeSet<String> {
    let drawn = scenario.families().map(str::to_string);
    let written = scenario.schedule.as_deref().map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        let schedule: toml::Table = text.parse().unwrap();
        let faults = schedule["fault"].as_array().unwrap().clone();
        faults
            .into_iter()
            .map(|fault| fault["family"].as_str().unwrap().to_string())
    });
    drawn.chain(written.into_iter().flatten()).collect()
}

#[test]
fn every_flaw_has_a_scenario_with_the_fault_that_it_needs() {
    let all = scenarios();
    let flaws = ["paxos-kv", "chain"].map(|system| {
        let flaws = systems::find(system).unwrap().flaws();
        let flaws = flaws.unwrap_or_else(|e| panic!("{e}"));
        assert!(flaws.len() >= 8, "{system}");
        flaws.into_iter().map(move |flaw| (system, flaw))
    });
    for (system, flaw) in flaws.into_iter().flatten() {
        let mine: Vec<_> = all
            .iter()
            .filter(|scenario| scenario.system.name == system)
            .filter(|scenario| scenario.setup.flaws == [flaw.name.as_str()])
            .collect();
        assert!(!mine.is_empty(), "no scenario for {}", flaw.name);
        for scenario in mine {
            let families = families(scenario);
            let needed = flaw.fault.split('+').filter(|family| *family != "none");
            for family in needed {
                assert!(families.contains(family), "{}: no {family}", scenario.name);
            }
            if let Some(reads) = &flaw.reads {
                assert_eq!(
                    scenario.setup.params.text("reads"),
                    reads,
                    "{}",
                    scenario.name
                );
            }
            for (name, value) in &flaw.params {
                assert_eq!(scenario.setup.params.text(name), value, "{}", scenario.name);
            }
            assert_eq!(
                scenario.expect.verdict,
                Verdict::Invalid,
                "{}",
                scenario.name
            );
            assert!(!scenario.expect.anomalies.is_empty(), "{}", scenario.name);
            let twin = scenario.twin().unwrap();
            assert_eq!(twin.expect.verdict, Verdict::Valid, "{}", scenario.name);
        }
    }
}

#[test]
fn every_flaw_of_a_scenario_can_be_switched_on() {
    for scenario in scenarios() {
        let ready = scenario.system.set_up(&scenario.setup);
        let ready = ready.unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
        assert_eq!(ready.offers.list(), scenario.system.interfaces);
    }
}

#[test]
fn a_wrong_flaw_is_answered_with_the_nearest() {
    let setup = crate::contract::setup("paxos-kv", &[], &["stale-read-ledaer"]);
    let error = systems::find("paxos-kv")
        .unwrap()
        .set_up(&setup)
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("did you mean \"stale-read-leader\"?"),
        "{text}"
    );
}

/// The text of every file of the checkers.
fn checkers() -> String {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../checkers/src")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => text += &std::fs::read_to_string(path).unwrap(),
            }
        }
    }
    text
}

/// Kinds are plain text, so a wrong word in a scenario would only show after a run.
#[test]
fn the_kinds_of_anomalies_are_those_of_the_checkers() {
    let checkers = checkers();
    for scenario in scenarios() {
        for kind in &scenario.expect.anomalies {
            // How much of time an anomaly of transactions needs stands behind its class.
            let class = kind
                .trim_end_matches("-realtime")
                .trim_end_matches("-process");
            let known = checkers.contains(&format!("\"{class}\""));
            assert!(known, "{}: no checker finds {kind:?}", scenario.name);
        }
    }
}
