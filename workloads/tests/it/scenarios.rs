//! The scenarios that come with the program, against what the node says of itself.

use std::collections::BTreeSet;

use checkers::Verdict;
use workloads::scenario::built_in;
use workloads::systems;

#[test]
fn every_flaw_has_a_scenario_with_the_fault_that_it_needs() {
    let flaws = systems::find("paxos-kv").unwrap().flaws();
    let flaws = flaws.unwrap_or_else(|e| panic!("{e}"));
    assert!(flaws.len() >= 10);
    let scenarios = built_in();
    for flaw in &flaws {
        let mine: Vec<_> = scenarios
            .iter()
            .filter(|scenario| scenario.setup.flaws == [flaw.name.as_str()])
            .collect();
        let [scenario] = mine[..] else {
            panic!("{} scenarios for {}", mine.len(), flaw.name);
        };
        let families: BTreeSet<&str> = scenario.families().collect();
        let needed = flaw.fault.split('+');
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

#[test]
fn every_flaw_of_a_scenario_can_be_switched_on() {
    for scenario in built_in() {
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
