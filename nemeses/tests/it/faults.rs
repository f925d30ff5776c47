//! Policy against scripted agents: who is told what, that it is taken back, and that no receipt
//! holds against the evidence.

use std::collections::BTreeSet;
use std::time::Duration;

use agent::protocol::{Fault as Mechanism, Request};
use harness::nemesis::{FaultError, Planned};
use harness::seed::Seed;
use history::Name;
use history::fault::Receipt;
use nemeses::schedule::{NemesisSpec, Schedule, Tuning, draw};
use proptest::prelude::*;

use crate::scripted::{CLIENT_PORT, EPOCH_NS, Lie, Stage, address, names, stage};

/// The one fault of a schedule by hand.
fn fault(what: &str, nodes: usize) -> Planned {
    let text = format!("version = 1\n[[fault]]\nat = \"0s\"\nlasts = \"1s\"\n{what}");
    let schedule =
        Schedule::parse(&text, &names(nodes)).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    schedule.plan().remove(0)
}

async fn inject(fault: &Planned, stage: &Stage) -> Receipt {
    let injected = fault.fault.inject(fault.number, &stage.world).await;
    injected.unwrap_or_else(|e| panic!("{e}")).receipt
}

async fn heal(fault: &Planned, stage: &Stage) -> Receipt {
    let healed = fault.fault.heal(fault.number, &stage.world).await;
    healed.unwrap_or_else(|e| panic!("{e}"))
}

/// One of each kind, on five nodes.
const EVERY_KIND: &[&str] = &[
    "family = \"partition\"\nshape = \"halves\"\ntargets = [\"n1\", \"n2\"]",
    "family = \"partition\"\nshape = \"one-node\"\ntargets = [\"n3\"]",
    "family = \"partition\"\nshape = \"majority-minority\"\ntargets = [\"n4\", \"n5\"]",
    "family = \"partition\"\nshape = \"minority-third\"\ntargets = [\"n4\"]",
    "family = \"partition\"\nshape = \"majorities-ring\"",
    "family = \"partition\"\nshape = \"bridge\"\nbridge = \"n3\"\ntargets = [\"n1\", \"n2\"]",
    "family = \"partition\"\nshape = \"leader\"",
    "family = \"partition\"\nshape = \"one-way-in\"\ntargets = [\"n1\", \"n2\"]",
    "family = \"partition\"\nshape = \"one-way-out\"\ntargets = \"leader\"",
    "family = \"partition\"\nshape = \"partial\"\ntargets = [\"n1\", \"n4\"]",
    "family = \"partition\"\nshape = \"no-response\"\ntargets = [\"n1\", \"n4\"]",
    "family = \"pause\"\ntargets = \"minority\"",
    "family = \"pause\"\ntargets = \"leader\"",
    "family = \"kill\"\ntargets = \"all\"",
    "family = \"kill\"\ntargets = \"leader\"",
    "family = \"clock\"\nshape = \"jump\"\ntargets = \"leader\"\ndelta = \"-1h\"",
    "family = \"clock\"\nshape = \"jump\"\ntargets = [\"n1\", \"n2\"]\ndelta = \"+10s\"",
    "family = \"clock\"\nshape = \"strobe\"\ntargets = [\"n1\"]\ndelta = \"+10s\"\nperiod = \"20ms\"",
    "family = \"clock\"\nshape = \"drift\"\ntargets = [\"n1\"]\nrate_ppm = 200000",
    "family = \"clock\"\nshape = \"freeze\"\ntargets = [\"n1\"]\npause = \"500ms\"",
    "family = \"clock\"\nshape = \"freeze-kept\"\ntargets = [\"n1\"]\npause = \"500ms\"",
    "family = \"packet\"\nshape = \"delay\"\ntargets = [\"n1\"]\ndelay = \"50ms\"\njitter = \"5ms\"",
    "family = \"packet\"\nshape = \"loss\"\ntargets = [\"n1\"]\nshare = \"30%\"",
    "family = \"packet\"\nshape = \"duplicate\"\ntargets = [\"n1\"]\nshare = \"30%\"",
    "family = \"packet\"\nshape = \"reorder\"\ntargets = [\"n1\"]\nshare = \"30%\"\ndelay = \"10ms\"",
    "family = \"packet\"\nshape = \"corrupt\"\ntargets = [\"n1\"]\nshare = \"1%\"",
    "family = \"packet\"\nshape = \"rate\"\ntargets = [\"n1\"]\nrate_kbit = 64",
];

#[tokio::test]
async fn every_kind_takes_hold_and_is_gone_after() {
    for what in EVERY_KIND {
        let stage = stage(5).await;
        stage.script().leader = Some(Name::new("n2"));
        let fault = fault(what, 5);
        let receipt = inject(&fault, &stage).await;
        assert!(receipt.held, "{what}: {receipt:#?}");
        assert!(!stage.in_force().is_empty(), "{what}");
        let receipt = heal(&fault, &stage).await;
        assert!(receipt.held, "{what}: {receipt:#?}");
        assert!(stage.in_force().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn no_rule_can_match_the_control_path() {
    let peers: BTreeSet<_> = names(5).iter().map(|n| address(n)).collect();
    for what in EVERY_KIND {
        let stage = stage(5).await;
        stage.script().leader = Some(Name::new("n2"));
        inject(&fault(what, 5), &stage).await;
        for (node, mechanism) in stage.injected() {
            match mechanism {
                Mechanism::Cut { rules } => {
                    assert!(!rules.is_empty(), "{what}");
                    for rule in rules {
                        match (rule.peer, rule.local_port) {
                            (Some(peer), None) => {
                                assert!(peers.contains(&peer) && peer != address(&node))
                            }
                            (None, Some(port)) => assert_eq!(port, CLIENT_PORT),
                            other => panic!("{what}: {other:?}"),
                        }
                    }
                }
                Mechanism::Packet { peers: named, .. } => {
                    assert_eq!(named.len(), 4, "{what}");
                    assert!(
                        named
                            .iter()
                            .all(|p| peers.contains(p) && *p != address(&node))
                    );
                }
                _ => {}
            }
        }
    }
}

/// The rules that the agents get are the topology, on every size of cluster: the scripted agents
/// let probes through as the rules say, and the receipt compares that with the topology.
#[tokio::test]
async fn probes_agree_with_every_topology_of_three_to_nine_nodes() {
    for nodes in 3..=9 {
        for shape in [
            "halves",
            "majority-minority",
            "minority-third",
            "majorities-ring",
            "bridge",
            "one-way-in",
            "one-way-out",
            "partial",
        ] {
            if shape == "majorities-ring" && nodes == 3 {
                continue;
            }
            let stage = stage(nodes).await;
            let fault = fault(&format!("family = \"partition\"\nshape = {shape:?}"), nodes);
            let receipt = inject(&fault, &stage).await;
            assert!(receipt.held, "{shape} of {nodes}: {receipt:#?}");
            let silent = receipt
                .evidence
                .iter()
                .filter(|l| l.contains(": none of"))
                .count();
            assert!(silent > 0, "{shape} of {nodes}: {receipt:#?}");
            assert!(heal(&fault, &stage).await.held, "{shape} of {nodes}");
        }
    }
}

#[tokio::test]
async fn a_heal_reaches_every_node_that_was_told_even_if_telling_failed() {
    for lie in [Lie::RefusesInject, Lie::AppliesAndFails] {
        for what in EVERY_KIND {
            let stage = stage(5).await;
            stage.script().leader = Some(Name::new("n1"));
            stage.lie("n1", lie);
            let fault = fault(what, 5);
            // n1 is told by every kind but some: those have nothing to fail here.
            let failed = fault
                .fault
                .inject(fault.number, &stage.world)
                .await
                .is_err();
            let told: BTreeSet<Name> = stage.injected().into_iter().map(|(node, _)| node).collect();
            assert_eq!(failed, told.contains("n1"), "{what}");
            heal(&fault, &stage).await;
            assert_eq!(stage.in_force(), [], "{what}");
            let healed = |(node, request): &(Name, Request)| match request {
                Request::Heal { .. } => Some(node.clone()),
                _ => None,
            };
            let healed: BTreeSet<Name> = stage.script().told.iter().filter_map(healed).collect();
            assert_eq!(healed, told, "{what}");
        }
    }
}

#[tokio::test]
async fn every_failed_node_is_in_the_error() {
    let stage = stage(5).await;
    stage.lie("n1", Lie::RefusesInject);
    stage.lie("n4", Lie::RefusesInject);
    let fault = fault("family = \"pause\"\ntargets = \"all\"", 5);
    let error = fault.fault.inject(0, &stage.world).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("n1: inject: will not") && said.contains("n4: inject: will not"),
        "{said}"
    );
}

#[tokio::test]
async fn healing_what_was_never_injected_is_fine() {
    let stage = stage(3).await;
    let receipt = heal(&fault("family = \"kill\"\ntargets = [\"n1\"]", 3), &stage).await;
    assert!(receipt.held, "{receipt:#?}");
}

#[tokio::test]
async fn the_leader_is_who_leads_when_the_fault_begins() {
    for what in EVERY_KIND.iter().filter(|w| w.contains("leader")) {
        let stage = stage(5).await;
        stage.script().leader = Some(Name::new("n1"));
        let fault = fault(what, 5);
        assert!(fault.fault.label().contains("leader"), "{what}");
        stage.script().leader = Some(Name::new("n4"));
        let injected = fault.fault.inject(0, &stage.world).await.unwrap();
        assert_eq!(injected.targets, [Name::new("n4")], "{what}");
        assert!(injected.label.contains("n4"), "{what}: {}", injected.label);
        // Whoever leads by then, it is n4 that is healed.
        stage.script().leader = Some(Name::new("n5"));
        assert!(heal(&fault, &stage).await.held, "{what}");
        assert_eq!(stage.in_force(), [], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_there_is_no_target_and_nobody_is_told() {
    let stage = stage(5).await;
    let fault = fault("family = \"kill\"\ntargets = \"leader\"", 5);
    let error = fault.fault.inject(0, &stage.world).await.unwrap_err();
    assert!(
        matches!(&error, FaultError::NoTarget(why) if why.contains("no leader")),
        "{error}"
    );
    assert!(
        stage.script().leader_asked > 1,
        "an election may be going on: asked once only"
    );
    assert!(stage.injected().is_empty());
}

#[tokio::test]
async fn a_leader_that_is_no_node_is_no_target() {
    let stage = stage(3).await;
    stage.script().leader = Some(Name::new("n9"));
    let fault = fault("family = \"pause\"\ntargets = \"leader\"", 3);
    let error = fault.fault.inject(0, &stage.world).await.unwrap_err();
    assert!(error.to_string().contains("n9"), "{error}");
}

/// Each lie, with the fault that it makes void and what the receipt says of it.
#[tokio::test]
async fn no_receipt_holds_against_the_evidence() {
    for (what, node, lie, says) in [
        (
            "family = \"partition\"\nshape = \"halves\"\ntargets = [\"n1\", \"n2\"]",
            "n3",
            Lie::AppliesNothing,
            "n1 -> n3: 5 of 5 probes arrived, although it is cut",
        ),
        (
            "family = \"partition\"\nshape = \"halves\"\ntargets = [\"n1\", \"n2\"]",
            "n3",
            Lie::SeesNoEffect,
            "n3: fault 0 entered",
        ),
        (
            "family = \"partition\"\nshape = \"halves\"\ntargets = [\"n1\", \"n2\"]",
            "n1",
            Lie::IsUnheard,
            "n1 -> n2: none of 25 probes arrived, although nothing cuts it",
        ),
        (
            "family = \"partition\"\nshape = \"one-way-out\"\ntargets = [\"n1\"]",
            "n2",
            Lie::AppliesNothing,
            "n1 -> n2: 5 of 5 probes arrived",
        ),
        (
            "family = \"partition\"\nshape = \"no-response\"\ntargets = [\"n1\"]",
            "n1",
            Lie::AppliesNothing,
            "-> n1 port 7000: connected",
        ),
        (
            "family = \"partition\"\nshape = \"no-response\"\ntargets = [\"n1\"]",
            "n3",
            Lie::IsUnheard,
            "n3 -> n1: none of 25",
        ),
        (
            "family = \"pause\"\ntargets = [\"n1\"]",
            "n1",
            Lie::AppliesNothing,
            "n1: paper runs",
        ),
        (
            "family = \"kill\"\ntargets = [\"n1\"]",
            "n1",
            Lie::AppliesNothing,
            "n1: paper runs",
        ),
        (
            "family = \"clock\"\nshape = \"jump\"\ntargets = [\"n1\"]\ndelta = \"-30s\"",
            "n1",
            Lie::AppliesNothing,
            "where it should be -30s",
        ),
        (
            "family = \"clock\"\nshape = \"strobe\"\ntargets = [\"n1\"]\ndelta = \"+10s\"\nperiod = \"3ms\"",
            "n1",
            Lie::AppliesNothing,
            "never seen off",
        ),
        (
            "family = \"clock\"\nshape = \"drift\"\ntargets = [\"n1\"]\nrate_ppm = -200000",
            "n1",
            Lie::AppliesNothing,
            "was due",
        ),
        (
            "family = \"packet\"\nshape = \"loss\"\ntargets = [\"n1\"]\nshare = \"30%\"",
            "n1",
            Lie::AppliesNothing,
            "were due",
        ),
        (
            "family = \"packet\"\nshape = \"delay\"\ntargets = [\"n1\"]\ndelay = \"50ms\"",
            "n1",
            Lie::AppliesNothing,
            "cannot be under 50ms",
        ),
        (
            "family = \"packet\"\nshape = \"rate\"\ntargets = [\"n1\"]\nrate_kbit = 64",
            "n1",
            Lie::SeesNoEffect,
            "n1: fault 0 entered",
        ),
    ] {
        let stage = stage(3 + usize::from(what.contains("halves")) * 2).await;
        let fault = fault(what, stage.world.nodes.len());
        stage.lie(node, lie);
        let receipt = inject(&fault, &stage).await;
        assert!(!receipt.held, "{what}, {lie:?}: {receipt:#?}");
        assert!(
            receipt.evidence.iter().any(|l| l.contains(says)),
            "{what}, {lie:?}: {receipt:#?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_heal_that_leaves_the_fault_is_found_out() {
    for what in [
        "family = \"partition\"\nshape = \"one-way-in\"\ntargets = [\"n1\"]",
        "family = \"partition\"\nshape = \"no-response\"\ntargets = [\"n1\"]",
        "family = \"pause\"\ntargets = [\"n1\"]",
        "family = \"kill\"\ntargets = [\"n1\"]",
        "family = \"clock\"\nshape = \"jump\"\ntargets = [\"n1\"]\ndelta = \"-30s\"",
        "family = \"clock\"\nshape = \"freeze\"\ntargets = [\"n1\"]\npause = \"500ms\"",
        "family = \"packet\"\nshape = \"loss\"\ntargets = [\"n1\"]\nshare = \"30%\"",
    ] {
        let stage = stage(3).await;
        stage.lie("n1", Lie::HealsNothing);
        let fault = fault(what, 3);
        assert!(inject(&fault, &stage).await.held, "{what}");
        let receipt = heal(&fault, &stage).await;
        assert!(!receipt.held, "{what}: {receipt:#?}");
    }
}

/// What acts on packets, between nodes of which nobody lives, or nobody on one of the sides.
#[tokio::test]
async fn what_there_is_nobody_to_do_to_is_void() {
    let halves = "family = \"partition\"\nshape = \"halves\"\ntargets = [\"n1\", \"n2\"]";
    let partial = "family = \"partition\"\nshape = \"partial\"\ntargets = [\"n1\", \"n4\"]";
    let no_response = "family = \"partition\"\nshape = \"no-response\"\ntargets = [\"n1\"]";
    let loss = "family = \"packet\"\nshape = \"loss\"\ntargets = [\"n1\"]\nshare = \"30%\"";
    let delay = "family = \"packet\"\nshape = \"delay\"\ntargets = [\"n1\"]\ndelay = \"50ms\"";
    let all = ["n1", "n2", "n3", "n4", "n5"];
    for (what, dead, stopped, void) in [
        (halves, &all[..], &[][..], true),
        (halves, &all[..2], &[], true),
        (halves, &all[2..], &[], true),
        (halves, &all[..1], &[], false),
        (halves, &[], &all[..], true),
        // Whose daemon stands still, that one's kernel answers for it, or does not.
        (halves, &[], &all[..2], false),
        (halves, &all[..2], &all[2..], true),
        (partial, &["n4"], &[], true),
        (partial, &["n2"], &[], false),
        (no_response, &["n1"], &[], true),
        (no_response, &[], &["n1"], true),
        (no_response, &["n2"], &[], false),
        (loss, &["n1"], &[], true),
        (loss, &["n2", "n3", "n4", "n5"], &[], true),
        (loss, &["n2", "n3", "n4"], &[], false),
        (delay, &["n1"], &[], true),
        (delay, &["n2"], &[], false),
    ] {
        let stage = stage(5).await;
        stage.script().dead = dead.iter().map(Name::new).collect();
        stage.script().stopped = stopped.iter().map(Name::new).collect();
        let fault = fault(what, 5);
        let case = format!("{what}, dead {dead:?}, stopped {stopped:?}");
        let injected = inject(&fault, &stage).await;
        assert!(injected.void.is_empty(), "{case}: only the end can tell");
        let healed = heal(&fault, &stage).await;
        assert!(healed.held, "{case}: {healed:#?}");
        assert_eq!(!healed.void.is_empty(), void, "{case}: {healed:#?}");
        // Whoever is seen alive at either look may have noticed.
        stage.script().dead.clear();
        stage.script().stopped.clear();
        inject(&fault, &stage).await;
        stage.script().dead = dead.iter().map(Name::new).collect();
        stage.script().stopped = stopped.iter().map(Name::new).collect();
        assert!(heal(&fault, &stage).await.void.is_empty(), "{case}");
    }
}

#[tokio::test]
async fn a_daemon_that_answers_while_it_is_dead_is_not_dead() {
    let what = "family = \"kill\"\ntargets = [\"n1\"]";
    let stage = stage(3).await;
    stage.lie("n1", Lie::Answers);
    let receipt = inject(&fault(what, 3), &stage).await;
    assert!(!receipt.held, "{receipt:#?}");
    // Whichever of the two is answered first.
    let lines = ["n2", "n3"].map(|from| format!("{from} -> n1 port 7000: connected"));
    let told = |seen: &[String]| seen.iter().filter(|l| lines.contains(l)).count();
    assert_eq!(told(&receipt.evidence), 1, "{receipt:#?}");
    // One that rises after the look is found at the end.
    stage.script().lies.clear();
    let fault = fault(what, 3);
    heal(&fault, &stage).await;
    assert!(inject(&fault, &stage).await.held);
    stage.lie("n1", Lie::Answers);
    let receipt = heal(&fault, &stage).await;
    assert_eq!(
        (receipt.void.len(), told(&receipt.void)),
        (1, 1),
        "{receipt:#?}"
    );
    assert!(receipt.held, "it is healed all the same: {receipt:#?}");
}

#[tokio::test]
async fn whoever_is_cut_off_from_a_dead_daemon_says_nothing_of_it() {
    let stage = stage(3).await;
    let cut = "family = \"partition\"\nshape = \"one-node\"\ntargets = [\"n1\"]";
    assert!(inject(&fault(cut, 3), &stage).await.held);
    let mut kill = fault("family = \"kill\"\ntargets = [\"n2\"]", 3);
    kill.number = 1;
    let receipt = inject(&kill, &stage).await;
    let line = "n3 -> n2 port 7000: refused".to_string();
    assert!(receipt.evidence.contains(&line), "{receipt:#?}");
}

#[tokio::test]
async fn what_an_agent_finds_void_is_void() {
    for what in EVERY_KIND {
        let stage = stage(5).await;
        stage.script().leader = Some(Name::new("n2"));
        let fault = fault(what, 5);
        inject(&fault, &stage).await;
        let told = stage.injected();
        let (node, _) = told.last().expect("somebody is told");
        stage.lie(node, Lie::FindsItVoid);
        let receipt = heal(&fault, &stage).await;
        assert!(receipt.held, "{what}: {receipt:#?}");
        assert_eq!(receipt.void, [format!("{node}: nobody noticed")], "{what}");
    }
}

/// The second path of a system that does not say what time it is.
#[tokio::test]
async fn a_log_that_goes_on_by_the_true_time_takes_a_jump_back() {
    // 2026-11-18T11:06:40Z is the script's epoch.
    let what = "family = \"clock\"\nshape = \"jump\"\ntargets = [\"n1\"]\ndelta = \"+1h\"";
    for (line, void) in [
        ("2026-11-18T12:06:40.5Z by the shifted clock", false),
        ("2026-11-18T11:06:40.5Z by the true one", true),
        (
            "{\"ts\":\"2026-11-18T12:06:40.5+0100\"} by the true one",
            true,
        ),
        ("without a stamp", false),
    ] {
        let stage = stage(3).await;
        stage.script().tells_time = false;
        let log = |line: &str| {
            let mut script = stage.script();
            script
                .logs
                .entry(Name::new("n1"))
                .or_default()
                .push(line.into());
        };
        log("2026-11-18T11:06:39Z before");
        let fault = fault(what, 3);
        assert!(inject(&fault, &stage).await.held);
        log(line);
        let receipt = heal(&fault, &stage).await;
        assert!(receipt.held, "{line}: {receipt:#?}");
        assert_eq!(!receipt.void.is_empty(), void, "{line}: {receipt:#?}");
    }
    assert_eq!(EPOCH_NS, 1_795_000_000_000_000_000);
}

#[tokio::test]
async fn a_freeze_is_seen_by_its_lag_before_it_is_healed() {
    let what = "family = \"clock\"\nshape = \"freeze\"\ntargets = [\"n1\"]\npause = \"800ms\"";
    let stage = stage(3).await;
    stage.lie("n1", Lie::AppliesNothing);
    let fault = fault(what, 3);
    // It could not be asked while it was stopped, so only the agent has spoken.
    assert!(inject(&fault, &stage).await.held);
    let receipt = heal(&fault, &stage).await;
    assert!(!receipt.held, "{receipt:#?}");
    assert!(
        receipt.evidence[0].contains("where it should be -800ms"),
        "{receipt:#?}"
    );
}

#[tokio::test]
async fn a_lag_that_is_kept_is_where_the_next_fault_counts_from() {
    let stage = stage(3).await;
    let freeze = fault(
        "family = \"clock\"\nshape = \"freeze-kept\"\ntargets = [\"n1\"]\npause = \"800ms\"",
        3,
    );
    assert!(inject(&freeze, &stage).await.held);
    let receipt = heal(&freeze, &stage).await;
    assert!(receipt.held, "{receipt:#?}");
    let jump = fault(
        "family = \"clock\"\nshape = \"jump\"\ntargets = [\"n1\"]\ndelta = \"+10s\"",
        3,
    );
    let receipt = inject(&jump, &stage).await;
    assert!(receipt.held, "{receipt:#?}");
    assert!(
        receipt.evidence.iter().any(|l| l.contains("off by +9.")),
        "{receipt:#?}"
    );
    assert!(heal(&jump, &stage).await.held);
}

#[tokio::test]
async fn a_system_that_does_not_tell_the_time_leaves_it_to_the_agent() {
    let stage = stage(3).await;
    stage.script().tells_time = false;
    for what in EVERY_KIND
        .iter()
        .filter(|w| w.contains("\"clock\"") && !w.contains("leader"))
    {
        let fault = fault(what, 3);
        let receipt = inject(&fault, &stage).await;
        assert!(receipt.held, "{what}: {receipt:#?}");
        assert!(heal(&fault, &stage).await.held, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is drawn, and whoever fails: after the heal nothing is in force.
    #[test]
    fn whatever_is_injected_is_undone(
        seed in any::<u64>(),
        nodes in 3usize..=5,
        lies in proptest::collection::vec((1usize..=5, prop_oneof![Just(Lie::RefusesInject), Just(Lie::AppliesAndFails), Just(Lie::IsUnheard)]), 0..3),
    ) {
        let spec: NemesisSpec = "partition+packet,pause+kill,clock".parse().unwrap();
        let limit = Duration::from_secs(25);
        let schedule = draw(Seed(seed), &spec, &names(nodes), limit, &Tuning::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let stage = stage(nodes).await;
            stage.script().leader = Some(Name::new("n1"));
            for (node, lie) in &lies {
                stage.lie(&format!("n{node}"), *lie);
            }
            let plan = schedule.plan();
            for fault in &plan {
                // Whether it took hold is not the point here.
                let _ = fault.fault.inject(fault.number, &stage.world).await;
            }
            for fault in &plan {
                let healed = fault.fault.heal(fault.number, &stage.world).await;
                assert!(healed.is_ok(), "{healed:?}");
            }
            assert_eq!(stage.in_force(), []);
        });
    }
}
