//! Any faults in any order, and nothing is left.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::alone::alone;
use crate::session::{Session, until};
use crate::sight;

const DAEMONS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Step {
    Inject(Kind),
    /// Heals one of those in force, counted around.
    Heal(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cut(u8),
    Pause(usize),
    Kill(usize),
    Jump(usize, i64),
    Drift(usize),
    Strobe(usize),
    Freeze(usize, bool),
}

impl Kind {
    fn request(self) -> Value {
        let clock = |daemon: usize, mut how: Value| {
            how["kind"] = "clock".into();
            how["daemon"] = DAEMONS[daemon].into();
            how
        };
        match self {
            Kind::Cut(peer) => {
                let peer = format!("10.0.0.{peer}");
                json!({"kind": "cut", "rules": [{"direction": "in", "peer": peer},
                    {"direction": "out", "peer": peer, "local_port": 80, "per_million": 500_000}]})
            }
            Kind::Pause(daemon) => json!({"kind": "pause", "daemon": DAEMONS[daemon]}),
            Kind::Kill(daemon) => json!({"kind": "kill", "daemon": DAEMONS[daemon]}),
            Kind::Jump(daemon, hours) => clock(
                daemon,
                json!({"how": "jump", "delta_ns": hours * 3_600_000_000_000}),
            ),
            Kind::Drift(daemon) => clock(daemon, json!({"how": "drift", "ppb": 1_000_000})),
            Kind::Strobe(daemon) => clock(
                daemon,
                json!({"how": "strobe", "delta_ns": 5_000_000_000_i64, "period_us": 1_000}),
            ),
            Kind::Freeze(daemon, kept) => clock(
                daemon,
                json!({"how": "freeze", "pause_ms": 20, "kept": kept}),
            ),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let daemon = || 0..DAEMONS.len();
    prop_oneof![
        1 => (1..5_u8).prop_map(|peer| Step::Inject(Kind::Cut(peer))),
        1 => daemon().prop_map(|daemon| Step::Inject(Kind::Pause(daemon))),
        1 => daemon().prop_map(|daemon| Step::Inject(Kind::Kill(daemon))),
        1 => (daemon(), -9..9_i64).prop_map(|(daemon, hours)| Step::Inject(Kind::Jump(daemon, hours))),
        1 => daemon().prop_map(|daemon| Step::Inject(Kind::Drift(daemon))),
        1 => daemon().prop_map(|daemon| Step::Inject(Kind::Strobe(daemon))),
        1 => (daemon(), any::<bool>()).prop_map(|(daemon, kept)| Step::Inject(Kind::Freeze(daemon, kept))),
        5 => any::<usize>().prop_map(Step::Heal),
    ]
}

/// What a daemon must be, by the faults in force alone: the whole of the model.
fn expected(in_force: &BTreeMap<u64, Kind>, daemon: usize) -> &'static str {
    let has = |kind: Kind| in_force.values().any(|known| *known == kind);
    match (has(Kind::Kill(daemon)), has(Kind::Pause(daemon))) {
        (true, _) => "stopped",
        (false, true) => "paused",
        (false, false) => "running",
    }
}

/// After each step the daemons are as the faults in force demand, and the kernel's packet filter
/// has the rules of the cuts in force and no others. After the last, nothing is left.
#[test]
fn any_sequence_of_faults_leaves_nothing_behind() {
    alone(
        "property::any_sequence_of_faults_leaves_nothing_behind",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            for name in DAEMONS {
                agent.start(name, "sleep 7951 & exec sleep 7952", dir.path());
            }
            let next = 0_u64;
            let steps = proptest::collection::vec(step(), 1..12);
            // The agent outlives a case, so shrinking would compare different pasts; the failing
            // case is printed whole.
            let config = Config {
                cases: 24,
                max_shrink_iters: 0,
                failure_persistence: None,
                ..Config::default()
            };
            let agent = std::cell::RefCell::new(agent);
            let next = std::cell::RefCell::new(next);
            TestRunner::new(config)
                .run(&steps, |steps| {
                    let (mut agent, mut next) = (agent.borrow_mut(), next.borrow_mut());
                    play(&mut agent, &mut next, &steps);
                    assert_nothing_left(&mut agent, dir.path());
                    Ok(())
                })
                .expect("every sequence");
        },
    );
}

fn play(agent: &mut Session, next: &mut u64, steps: &[Step]) {
    let mut in_force: BTreeMap<u64, Kind> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Inject(kind) => {
                *next += 1;
                let mut request = kind.request();
                request["do"] = "inject".into();
                request["fault"] = (*next).into();
                // Whether it takes hold depends on the others: a dead daemon cannot be paused.
                agent.get(request);
                in_force.insert(*next, *kind);
            }
            Step::Heal(at) if !in_force.is_empty() => {
                let fault = *in_force
                    .keys()
                    .nth(at % in_force.len())
                    .expect("counted around");
                agent.heal(fault);
                in_force.remove(&fault);
            }
            Step::Heal(_) => {}
        }
        let told = agent.get(json!({"do": "in-force"}));
        assert_eq!(told, json!(in_force.keys().collect::<Vec<_>>()));
        for (at, name) in DAEMONS.into_iter().enumerate() {
            // A freeze stops a daemon for a moment more.
            until("the daemon is as it should be", || {
                (agent.state(name)["state"] == expected(&in_force, at)).then_some(())
            });
        }
        let rules = match sight::tables()
            .iter()
            .any(|table| table == "table inet schism")
        {
            true => sight::output("nft", &["list", "ruleset"]),
            false => String::new(),
        };
        let cuts: Vec<&u64> = in_force
            .iter()
            .filter(|(_, kind)| matches!(kind, Kind::Cut(_)))
            .map(|(fault, _)| fault)
            .collect();
        assert_eq!(
            rules.matches("comment \"fault ").count(),
            2 * cuts.len(),
            "{rules}"
        );
        for fault in cuts {
            assert_eq!(
                rules.matches(&format!("comment \"fault {fault}\"")).count(),
                2
            );
        }
    }
    let healed = agent.get(json!({"do": "heal-all"}));
    assert_eq!(healed["held"], true, "{healed}");
}

fn assert_nothing_left(agent: &mut Session, dir: &std::path::Path) {
    assert_eq!(agent.get(json!({"do": "in-force"})), json!([]));
    assert_eq!(sight::tables(), [""; 0]);
    let journal = fs::metadata(dir.join("undo.jsonl")).expect("is there");
    assert_eq!(journal.len(), 0);
    for name in DAEMONS {
        assert_eq!(agent.state(name)["state"], "running");
    }
    // Two processes of each daemon, and none of the dead ones.
    for word in ["7951", "7952"] {
        let pids = until("both run", || {
            let pids = sight::sleepers(word);
            (pids.len() == 2).then_some(pids)
        });
        for pid in pids {
            assert_ne!(sight::state(pid), Some('T'));
            assert_eq!(sight::clocks_untouched(pid), Some(true));
        }
    }
}
