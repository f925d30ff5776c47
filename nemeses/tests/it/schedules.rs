//! Schedules as they are drawn, written, read and refused.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::seed::Seed;
use history::Name;
use nemeses::schedule::{
    DrawError, Entry, NemesisSpec, Schedule, ScheduleError, Tuning, draw, quorum_whole,
};
use nemeses::{FAMILIES, Targets};
use proptest::prelude::*;

use crate::scripted::names;

const MINUTE: Duration = Duration::from_secs(60);

fn drawn(seed: u64, spec: &str, nodes: usize, limit: Duration) -> Result<Schedule, DrawError> {
    let spec: NemesisSpec = spec.parse().unwrap();
    draw(Seed(seed), &spec, &names(nodes), limit, &Tuning::default())
}

fn any_spec() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "partition",
        "pause",
        "kill",
        "clock",
        "packet",
        "all",
        "partition+clock",
        "partition+clock,kill",
        "partition+pause+clock+kill",
        "kill,pause,packet:loss",
        "kill+pause",
        "clock:freeze+kill",
    ])
}

proptest! {
    #[test]
    fn what_is_drawn_can_be_run(seed in any::<u64>(), spec in any_spec(), nodes in 5usize..=9, secs in 4u64..=200) {
        let limit = Duration::from_secs(secs);
        let schedule = drawn(seed, spec, nodes, limit).unwrap();
        prop_assert_eq!(schedule.check(&names(nodes)), []);
        prop_assert_eq!(&schedule, &drawn(seed, spec, nodes, limit).unwrap());
        prop_assert!(!schedule.entries.is_empty());
        prop_assert!(schedule.ends() <= limit);
        // A kill that lasts to the end of the run would not be restarted by the schedule.
        prop_assert!(schedule.entries.iter().all(|e| e.lasts.is_some()));
        let families: BTreeSet<&str> = schedule.entries.iter().map(|e| e.what.family.name).collect();
        let spec: NemesisSpec = spec.parse().unwrap();
        let asked: BTreeSet<&str> = spec.rounds.iter().flatten().map(|f| f.family.name).collect();
        prop_assert!(families.is_subset(&asked));
        let plan = schedule.plan();
        prop_assert_eq!(plan.iter().map(|p| p.number).collect::<Vec<_>>(), (0..plan.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn without_a_leader_nothing_is_aimed_at_one(seed in any::<u64>(), spec in any_spec(), nodes in 5usize..=9) {
        let tuning = Tuning { no_leader: true, ..Tuning::default() };
        let spec: NemesisSpec = spec.parse().unwrap();
        let schedule = draw(Seed(seed), &spec, &names(nodes), MINUTE, &tuning).unwrap();
        prop_assert!(schedule.entries.iter().all(|e| !e.what.asks_for_leader()));
        prop_assert!(!schedule.to_string().contains("leader"));
    }

    #[test]
    fn what_is_written_is_read(seed in any::<u64>(), spec in any_spec(), nodes in 5usize..=9, open in any::<bool>()) {
        let mut schedule = drawn(seed, spec, nodes, MINUTE).unwrap();
        if open {
            let last = schedule.entries.last_mut().unwrap();
            last.lasts = None;
        }
        // An open end may overlap nothing, or `check` has something to say, and rightly.
        prop_assume!(schedule.check(&names(nodes)).is_empty());
        let text = schedule.to_string();
        prop_assert_eq!(Schedule::parse(&text, &names(nodes)), Ok(schedule), "{}", text);
    }

    /// Faults of a round overlap; rounds do not.
    #[test]
    fn a_plus_means_at_the_same_time_and_a_comma_in_turn(seed in any::<u64>()) {
        let schedule = drawn(seed, "partition+clock,kill", 5, MINUTE).unwrap();
        let of = |family: &str| -> Vec<(Duration, Duration)> {
            let these = schedule.entries.iter().filter(|e| e.what.family.name == family);
            these.map(|e| (e.at, e.ends().unwrap())).collect()
        };
        let (cuts, clocks, kills) = (of("partition"), of("clock"), of("kill"));
        prop_assert_eq!(cuts.len(), clocks.len());
        prop_assert!(cuts.len().abs_diff(kills.len()) <= 1);
        for (cut, clock) in cuts.iter().zip(&clocks) {
            prop_assert!(cut.0 < clock.1 && clock.0 < cut.1);
            // They share the most part of the round.
            let shared = cut.1.min(clock.1) - cut.0.max(clock.0);
            prop_assert!(2 * shared >= clock.1 - clock.0);
        }
        for (at, ends) in kills {
            prop_assert!(cuts.iter().chain(&clocks).all(|(a, e)| *e <= at || ends <= *a));
        }
    }
}

#[test]
fn a_minute_has_about_as_many_faults_as_its_interval_says_with_quiet_between() {
    let second = Duration::from_secs(1);
    for seed in 0..50 {
        let schedule = drawn(seed, "partition", 5, MINUTE).unwrap();
        assert!(
            (7..=13).contains(&schedule.entries.len()),
            "{seed}: {}",
            schedule.entries.len()
        );
        for entry in &schedule.entries {
            let lasts = entry.lasts.unwrap();
            assert!(
                (2 * second..=6 * second).contains(&lasts),
                "{seed}: {lasts:?}"
            );
        }
        for pair in schedule.entries.windows(2) {
            let gap = pair[1].at - pair[0].ends().unwrap();
            assert!((second..=4 * second).contains(&gap), "{seed}: {gap:?}");
        }
        let tuning = Tuning {
            interval: Some(2 * 7 * second),
            ..Tuning::default()
        };
        let spec = "partition".parse().unwrap();
        let slower = draw(Seed(seed), &spec, &names(5), MINUTE, &tuning).unwrap();
        assert!(
            (2..=6).contains(&slower.entries.len()),
            "{seed}: {}",
            slower.entries.len()
        );
    }
}

#[test]
fn faults_last_as_long_and_lie_as_far_apart_as_is_said() {
    let tuning = Tuning {
        lasts: Some("1.25s".parse().unwrap()),
        gap: Some("2s..3s".parse().unwrap()),
        ..Tuning::default()
    };
    let ms = Duration::from_millis;
    let spec = "pause+clock:jump,partition".parse().unwrap();
    for seed in 0..20 {
        let schedule = draw(Seed(seed), &spec, &names(5), MINUTE, &tuning).unwrap();
        let mut quiet_from = Duration::ZERO;
        let rounds = schedule.entries.chunk_by(|a, b| a.at == b.at);
        for (nth, round) in rounds.enumerate() {
            let gap = round[0].at - quiet_from;
            assert!((ms(2_000)..=ms(3_000)).contains(&gap), "{seed}: {gap:?}");
            assert_eq!(round.len(), 2 - nth % 2, "{seed}: both at once, then one");
            assert!(round.iter().all(|e| e.lasts == Some(ms(1_250))), "{seed}");
            quiet_from = round[0].ends().unwrap();
        }
        // Neither a fault less nor one that would not have ended in time.
        assert!(
            quiet_from + ms(3_000 + 1_250) > MINUTE && quiet_from <= MINUTE,
            "{seed}"
        );
    }
    let refused = draw(Seed(1), &spec, &names(5), ms(3_000), &tuning).unwrap_err();
    assert!(
        refused.to_string().contains("1.25s for itself"),
        "{refused}"
    );
}

#[test]
fn every_shape_is_drawn_and_narrowing_is_kept() {
    // What a system names is not drawn.
    for family in FAMILIES.iter().filter(|f| f.named.is_none()) {
        let of = |spec: &str| -> BTreeSet<&'static str> {
            (0..60)
                .flat_map(|seed| drawn(seed, spec, 5, MINUTE).unwrap().entries)
                .map(|e| e.what.shape.name)
                .collect()
        };
        let all: BTreeSet<&str> = family.shapes.iter().map(|s| s.name).collect();
        assert_eq!(of(family.name), all);
        for shape in family.shapes.iter().filter(|s| !s.name.is_empty()) {
            assert_eq!(
                of(&format!("{family}:{}", shape.name)),
                BTreeSet::from([shape.name])
            );
        }
    }
}

/// Each is made once, so that none asks for a figure that is not its own.
#[test]
fn every_shape_is_made_with_its_own_figures() {
    for family in FAMILIES {
        for seed in 0..60 {
            let spec = match family.named {
                Some(_) => family.example,
                None => family.name,
            };
            let schedule = drawn(seed, spec, 5, MINUTE).unwrap();
            assert_eq!(schedule.plan().len(), schedule.entries.len());
            for planned in schedule.plan() {
                assert_eq!(planned.fault.family(), family.name);
            }
        }
    }
}

#[test]
fn targets_are_as_many_as_their_word_says() {
    for (spec, size) in [
        ("kill:one", Some(1)),
        ("kill:minority", Some(2)),
        ("pause:majority", Some(3)),
        ("kill:all", Some(5)),
        ("pause:leader", None),
        ("clock:jump:all", Some(5)),
    ] {
        for entry in drawn(3, spec, 5, MINUTE).unwrap().entries {
            let drawn = match &entry.what.targets {
                Targets::Leader => None,
                Targets::Nodes(names) => Some(names.len()),
            };
            assert_eq!(drawn, size, "{spec}");
        }
    }
}

#[test]
fn every_cluster_has_the_faults_that_make_sense_on_it() {
    for nodes in 1..=9 {
        for seed in 0..40 {
            for spec in ["pause", "kill", "clock", "partition"] {
                let schedule = drawn(seed, spec, nodes, MINUTE).unwrap();
                assert_eq!(schedule.check(&names(nodes)), [], "{spec} {nodes}");
            }
        }
    }
    let refused = |spec: &str, nodes: usize| drawn(1, spec, nodes, MINUTE).unwrap_err().to_string();
    assert_eq!(
        refused("partition:majorities-ring", 3),
        "partition:majorities-ring needs 4 nodes or more, and there are 3"
    );
    assert_eq!(
        refused("kill:minority", 2),
        "kill:minority needs 3 nodes or more, and there are 2"
    );
    assert_eq!(
        refused("packet:loss", 1),
        "packet:loss needs 2 nodes or more, and there are 1"
    );
    assert!(refused("kill:all+pause", 5).contains("cannot be both killed and paused"));
    let short = drawn(1, "kill", 3, Duration::from_millis(300)).unwrap_err();
    assert!(matches!(short, DrawError::TooShort { .. }), "{short}");
    assert_eq!(drawn(1, "none", 3, MINUTE).unwrap().entries, []);
}

/// What seed 7 draws, on every machine and in every later version: a saved seed is a saved run. Its
/// properties are those checked above; that it is this one and no other is all that is checked
/// here.
#[test]
fn seed_seven_is_still_seed_seven() {
    let schedule = drawn(7, "partition+clock,kill", 5, Duration::from_secs(20)).unwrap();
    assert_eq!(schedule.to_string(), include_str!("seed7.toml"));
}

#[test]
fn a_schedule_by_hand_is_settled_by_its_seed() {
    let text = |seed: u64| {
        format!(
            "version = 1\nseed = {seed}\n\
        [[fault]]\nat = \"1s\"\nlasts = \"2s\"\nfamily = \"kill\"\ntargets = \"majority\"\n\
        [[fault]]\nat = \"1s\"\nfamily = \"partition\"\nshape = \"bridge\"\n\
        [[fault]]\nat = \"5s\"\nlasts = \"2s\"\nfamily = \"pause\"\n"
        )
    };
    let read = |seed| Schedule::parse(&text(seed), &names(5)).unwrap();
    assert_eq!(read(1), read(1));
    assert!((2..20).any(|seed| read(seed).entries != read(1).entries));
    let entries = read(1).entries;
    assert!(matches!(&entries[0].what.targets, Targets::Nodes(n) if n.len() == 3));
    assert_eq!(entries[1].lasts, None);
    assert!(matches!(&entries[2].what.targets, Targets::Nodes(n) if n.len() == 1));
    // A seed that TOML's own numbers do not reach.
    let huge = Schedule {
        seed: u64::MAX,
        ..read(1)
    };
    assert_eq!(Schedule::parse(&huge.to_string(), &names(5)), Ok(huge));
}

/// Text, line of the problem, and what is said of it. One problem each.
#[test]
fn what_is_wrong_is_said_with_its_line() {
    let fault = |keys: &str| format!("version = 1\nseed = 1\n[[fault]]\n{keys}");
    let pause = "family = \"pause\"\ntargets = [\"n1\"]\n";
    for (text, line, says) in [
        (fault("at = \"1s\"\nlasts = \"1s\"\nfamily = \"partiton\"\n"), 6, "did you mean \"partition\"?"),
        (fault("at = \"1s\"\nfamily = \"partition\"\nshape = \"halfs\"\n"), 6, "did you mean \"halves\"?"),
        (fault("at = \"1s\"\nfamily = \"partition\"\n"), 3, "`shape` is missing"),
        (fault("at = \"1s\"\nlast = \"1s\"\nfamily = \"kill\"\n"), 5, "did you mean `lasts`?"),
        (fault("at = \"1s\"\nfamily = \"kill\"\ndelta = \"1s\"\n"), 6, "`delta` does not belong to this kind of fault (its keys are at, lasts, family, targets)"),
        (fault("at = 1\nfamily = \"kill\"\n"), 4, "such as \"1s\""),
        (fault("at = \"1\"\nfamily = \"kill\"\n"), 4, "did you mean \"1s\"?"),
        (fault("family = \"kill\"\n"), 3, "`at` is missing"),
        (fault("at = \"1s\"\nfamily = \"kill\"\ntargets = [\"n1\", \"n9\"]\n"), 6, "there is no node \"n9\": the nodes are n1 n2 n3 n4 n5"),
        (fault("at = \"1s\"\nfamily = \"kill\"\ntargets = [\"n1\", \"n1\"]\n"), 6, "n1 is named twice"),
        (fault("at = \"1s\"\nfamily = \"kill\"\ntargets = []\n"), 6, "no targets are named"),
        (fault("at = \"1s\"\nfamily = \"kill\"\ntargets = \"leeder\"\n"), 6, "did you mean \"leader\"?"),
        (fault("at = \"1s\"\nfamily = \"kill\"\ntargets = 3\n"), 6, "no list of node names"),
        (fault("at = \"1s\"\nfamily = \"clock\"\nshape = \"jump\"\n"), 3, "`delta` is missing (write delta = \"-30s\")"),
        (fault("at = \"1s\"\nfamily = \"clock\"\nshape = \"jump\"\ndelta = \"0s\"\n"), 7, "does nothing"),
        (fault("at = \"1s\"\nfamily = \"clock\"\nshape = \"drift\"\nrate_ppm = -1000000\n"), 7, "between -999999"),
        (fault("at = \"1s\"\nfamily = \"clock\"\nshape = \"drift\"\nrate_ppm = \"fast\"\n"), 7, "no whole number"),
        (fault("at = \"1s\"\nlasts = \"1s\"\nfamily = \"clock\"\nshape = \"freeze\"\npause = \"2s\"\n"), 8, "as long as the whole fault, or longer"),
        (fault("at = \"1s\"\nfamily = \"clock\"\nshape = \"freeze\"\npause = \"25h\"\n"), 7, "more than 24h"),
        (fault("at = \"1s\"\nfamily = \"clock\"\nshape = \"strobe\"\ndelta = \"1s\"\nperiod = \"99us\"\n"), 8, "100us to 10s"),
        (fault("at = \"1s\"\nfamily = \"packet\"\nshape = \"delay\"\ndelay = \"241s\"\n"), 7, "more than 4m"),
        (fault("at = \"1s\"\nfamily = \"packet\"\nshape = \"rate\"\nrate_kbit = 1000000001\n"), 7, "1000000000 kbit at most"),
        (fault("at = \"1s\"\nfamily = \"packet\"\nshape = \"loss\"\nshare = \"120%\"\n"), 7, "from 0% to 100%"),
        (fault("at = \"1s\"\nfamily = \"packet\"\nshape = \"delay\"\ndelay = \"5ms\"\njitter = \"9ms\"\n"), 8, "more jitter than delay"),
        (fault("at = \"1s\"\nfamily = \"partition\"\nshape = \"halves\"\ntargets = [\"n1\"]\n"), 7, "has 2 to 3 on its side"),
        (fault("at = \"1s\"\nfamily = \"partition\"\nshape = \"bridge\"\ntargets = [\"n1\"]\n"), 6, "needs `bridge`"),
        (fault("at = \"1s\"\nfamily = \"partition\"\nshape = \"bridge\"\nbridge = \"n7\"\ntargets = [\"n1\"]\n"), 7, "n7"),
        (fault("at = \"1s\"\nfamily = \"partition\"\nshape = \"partial\"\ntargets = [\"n1\"]\n"), 7, "between two nodes"),
        (fault("at = \"1s\"\nlasts = \"0s\"\nfamily = \"kill\"\n"), 5, "too short to see"),
        (fault("at = \"1s\"\nlasts = \"1ns\"\nfamily = \"kill\"\n"), 5, "1ns is too short to see whether it takes hold: 100ms is the least"),
        (fault("at = \"1s\"\nlasts = \"99ms\"\nfamily = \"pause\"\n"), 5, "100ms is the least"),
        (fault("at = \"1s\"\nlasts = \"1s\"\nfamily = \"clock\"\nshape = \"jump\"\ndelta = \"1ns\"\n"), 8, "too little to be seen: 1ms is the least"),
        (fault("at = \"1s\"\nlasts = \"1s\"\nfamily = \"clock\"\nshape = \"strobe\"\ndelta = \"1s\"\nperiod = \"600ms\"\n"), 9, "once off and once right"),
        (fault("at = \"1s\"\nlasts = \"1s\"\nfamily = \"clock\"\nshape = \"drift\"\nrate_ppm = 5\n"), 8, "less than a millisecond"),
        (fault("at = \"1s\"\nlasts = \"1s\"\nfamily = \"clock\"\nshape = \"freeze\"\npause = \"1s\"\n"), 8, "as long as the whole fault"),
        (fault("at = \"1s\"\nlasts = \"1s\"\nfamily = \"packet\"\nshape = \"delay\"\ndelay = \"1us\"\n"), 8, "too little to be seen"),
        (fault("at = \"1s\"\nlasts = \"1s\"\nfamily = \"packet\"\nshape = \"loss\"\nshare = \"0.01%\"\n"), 8, "0.1% is the least"),
        (format!("version = 1\n[[fault]]\nat = \"5s\"\nlasts = \"1s\"\n{pause}[[fault]]\nat = \"2s\"\nlasts = \"1s\"\n{pause}"), 8, "fault 2: begins at 2s, before the fault above it (5s)"),
        (format!("version = 1\n[[fault]]\nat = \"1s\"\n{pause}[[fault]]\nat = \"2s\"\nlasts = \"1s\"\n{pause}"), 7, "fault 2: overlaps fault 1: two faults of one family"),
        (format!("version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"5s\"\n{pause}[[fault]]\nat = \"2s\"\nlasts = \"1s\"\nfamily = \"kill\"\ntargets = [\"n1\"]\n"), 8, "n1 cannot be both killed and paused"),
        (format!("version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"5s\"\n{pause}[[fault]]\nat = \"2s\"\nlasts = \"3s\"\nfamily = \"clock\"\nshape = \"freeze\"\npause = \"1s\"\ntargets = [\"n1\"]\n"), 8, "n1 cannot be frozen and paused too"),
        ("version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"5s\"\nfamily = \"kill\"\ntargets = [\"n1\"]\n[[fault]]\nat = \"2s\"\nlasts = \"3s\"\nfamily = \"clock\"\nshape = \"jump\"\ndelta = \"1s\"\ntargets = [\"n1\"]\n".into(), 8, "n1 would be dead"),
        ("version = 2\n".into(), 1, "version 2"),
        ("seed = 1\n".into(), 1, "begin with version = 1"),
        ("version = 1\nseed = -1\n".into(), 2, "no whole number from 0"),
        ("version = 1\nfaults = 1\n".into(), 2, "did you mean `fault`?"),
        ("version = 1\nfault = 1\n".into(), 2, "no list of tables"),
        ("version = 1\n[[fault]\n".into(), 2, ""),
        ("version = 1\nversion = 1\n".into(), 2, "duplicate"),
    ] {
        let problems = Schedule::parse(&text, &names(5)).unwrap_err();
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{text}\n{said:#?}");
        assert_eq!(problems[0].line, line, "{text}\n{said:#?}");
        assert!(said[0].contains(says), "{text}\n{said:#?}");
    }
}

#[test]
fn all_problems_are_said_at_once_in_the_order_of_the_file() {
    let text = "version = 1\nsed = 3\n\
        [[fault]]\nat = \"x\"\nfamily = \"kill\"\n\
        [[fault]]\nat = \"1s\"\nfamily = \"kill\"\ntargets = [\"n9\"]\n\
        [[fault]]\nat = \"2s\"\nfamily = \"clock\"\nshape = \"strobe\"\n";
    let problems = Schedule::parse(text, &names(3)).unwrap_err();
    let places: Vec<(usize, Option<usize>)> = problems.iter().map(|p| (p.line, p.fault)).collect();
    assert_eq!(
        places,
        [
            (2, None),
            (4, Some(1)),
            (9, Some(2)),
            (10, Some(3)),
            (10, Some(3))
        ]
    );
}

#[test]
fn files_are_named_in_errors() {
    let folder = std::env::temp_dir().join(format!("schism-schedule-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("schedule.toml");
    let schedule = drawn(1, "all", 5, MINUTE).unwrap();
    schedule.save(&path).unwrap();
    let read = Schedule::load(&path, &names(5));
    let elsewhere = Schedule::load(&path, &names(1)).unwrap_err();
    let missing = Schedule::load(&folder.join("nothing.toml"), &names(5)).unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(read.unwrap(), schedule);
    assert!(matches!(elsewhere, ScheduleError::Invalid { .. }));
    let line = format!("{}:", path.display());
    assert!(
        elsewhere.to_string().lines().all(|l| l.starts_with(&line)),
        "{elsewhere}"
    );
    assert!(missing.to_string().contains("nothing.toml"), "{missing}");
}

#[test]
fn a_quorum_is_asked_for_only_where_the_schedule_leaves_one() {
    let text = "version = 1\n\
        [[fault]]\nat = \"1s\"\nlasts = \"2s\"\nfamily = \"kill\"\ntargets = [\"n1\", \"n2\", \"n3\"]\n\
        [[fault]]\nat = \"5s\"\nfamily = \"partition\"\nshape = \"majorities-ring\"\n";
    let schedule = Schedule::parse(text, &names(5)).unwrap();
    let spans = quorum_whole(&schedule, &names(5));
    let ms = |t: Duration| t.as_millis();
    let spans: Vec<_> = spans
        .iter()
        .map(|s| (ms(s.from), s.until.map(ms)))
        .collect();
    assert_eq!(spans, [(0, Some(1_000)), (3_000, Some(5_000))]);
}

#[test]
fn needs_are_those_of_the_schedule_itself() {
    let text = "version = 1\n[[fault]]\nat = \"1s\"\nlasts = \"1s\"\nfamily = \"packet\"\nshape = \"loss\"\nshare = \"5%\"\n\
        [[fault]]\nat = \"5s\"\nfamily = \"kill\"\n";
    let schedule = Schedule::parse(text, &names(3)).unwrap();
    let needs = schedule.needs();
    assert_eq!(needs.keys().collect::<Vec<_>>(), ["kill", "packet:loss"]);
    let offers = [(Name::new("n1"), vec!["tbf".to_string()])].into();
    let missing = nemeses::missing(&needs, &offers);
    assert_eq!(missing.len(), 1);
    assert!(
        missing[0].to_string().contains("packet:loss needs nft"),
        "{}",
        missing[0]
    );
}

/// Faults one after the other, each of which ends before the next begins.
fn in_turn(count: u64) -> Schedule {
    let text = "version = 1\n[[fault]]\nat = \"0s\"\nlasts = \"200ms\"\nfamily = \"pause\"\ntargets = [\"n1\"]\n";
    let one = Schedule::parse(text, &names(5)).unwrap().entries.remove(0);
    let at = |n: u64| Duration::from_millis(400 * n);
    let entries = (0..count).map(|n| Entry {
        at: at(n),
        ..one.clone()
    });
    Schedule {
        seed: 0,
        entries: entries.collect(),
    }
}

#[test]
fn a_very_long_schedule_is_looked_at_once_and_not_each_pair_of_its_faults() {
    // So many that comparing all pairs would take longer than any test may.
    let mut schedule = in_turn(400_000);
    assert_eq!(schedule.check(&names(5)), []);
    // One that lasts over the next three, and one that stands too late.
    schedule.entries[200_000].lasts = Some(Duration::from_millis(1_400));
    let last = schedule.entries.len() - 1;
    schedule.entries[last].at = Duration::from_millis(600);
    let complaints = schedule.check(&names(5));
    let found: Vec<(usize, &str)> = complaints
        .iter()
        .map(|c| (c.entry, c.message.split(':').next().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            (200_001, "overlaps fault 200001"),
            (200_002, "overlaps fault 200001"),
            (200_003, "overlaps fault 200001"),
            (
                last,
                "begins at 600ms, before the fault above it (159999.2s)"
            ),
        ]
    );
    // Of very much that is wrong the first is said.
    for entry in &mut schedule.entries {
        entry.lasts = None;
    }
    let complaints = schedule.check(&names(5)).len();
    assert!((1..1_000).contains(&complaints), "{complaints}");
}

#[test]
fn a_file_in_which_everything_is_wrong_is_answered_with_what_one_can_read() {
    let fault = "[[fault]]\nat = \"1s\"\nlast = \"1s\"\nfamily = \"pause\"\ntargets = [\"n1\"]\n";
    let text = format!("version = 1\n{}", fault.repeat(100_000));
    let problems = Schedule::parse(&text, &names(5)).unwrap_err();
    assert!((100..1_000).contains(&problems.len()), "{}", problems.len());
    assert_eq!(problems[0].line, 4);
}

#[test]
fn a_clock_goes_as_far_as_agents_can_show() {
    let jump = |delta: &str| {
        let text = format!(
            "version = 1\n[[fault]]\nat = \"1s\"\nfamily = \"clock\"\nshape = \"jump\"\n\
             targets = [\"n1\"]\ndelta = \"{delta}\"\n"
        );
        Schedule::parse(&text, &names(5))
    };
    let most = agent::vdso::line::OFFSET_MAX_NS;
    for sign in ["", "+", "-"] {
        assert!(jump(&format!("{sign}{most}ns")).is_ok());
        let problems = jump(&format!("{sign}{}ns", most + 1)).unwrap_err();
        assert!(problems[0].message.contains("36 years"), "{}", problems[0]);
        assert_eq!(problems[0].line, 7);
    }
}
