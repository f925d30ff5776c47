//! Clocks of daemons that are wrong, and right again.

use super::*;

/// What a daemon's log says the time is, in seconds, by the last line.
fn told(dir: &Path) -> f64 {
    let log = fs::read_to_string(dir.join("clock.log")).unwrap_or_default();
    let whole = &log[..log.rfind('\n').unwrap_or(0)];
    whole
        .lines()
        .last()
        .and_then(|line| line.parse().ok())
        .unwrap_or(0.0)
}

fn truth() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}

#[test]
fn clocks_are_off_by_the_sum_of_their_faults_and_true_again() {
    alone(
        "faults::clocks::clocks_are_off_by_the_sum_of_their_faults_and_true_again",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let script = "while :; do echo $EPOCHREALTIME; sleep 0.02; done";
            let root = agent.start("clock", script, dir.path());
            let off_by = |seconds: f64| {
                // The log is a little late, the two hours that tell faults apart are not.
                until("the daemon tells this time", || {
                    ((told(dir.path()) - truth() - seconds).abs() < 600.0).then_some(())
                });
            };
            let jump = |hours: i64| {
                let delta_ns = hours * 3_600_000_000_000;
                json!({"kind": "clock", "daemon": "clock", "how": "jump", "delta_ns": delta_ns})
            };
            off_by(0.0);
            agent.inject(1, &jump(3));
            off_by(3.0 * 3600.0);
            agent.inject(2, &jump(-5));
            off_by(-2.0 * 3600.0);
            // A start during the fault never sees the true time.
            agent.inject(3, &json!({"kind": "kill", "daemon": "clock"}));
            fs::write(dir.path().join("clock.log"), "").expect("empties");
            agent.heal(3);
            until("it tells the time", || {
                (told(dir.path()) > 0.0).then_some(())
            });
            let log = fs::read_to_string(dir.path().join("clock.log")).expect("reads");
            let first: f64 = log
                .lines()
                .next()
                .and_then(|line| line.parse().ok())
                .expect("a time");
            assert!((first - truth() + 2.0 * 3600.0).abs() < 600.0, "{first}");
            let clocks = agent.get(json!({"do": "clocks", "daemon": "clock"}));
            let seen = clocks["daemon_offset_ns"][0].as_i64().expect("a number");
            let error = clocks["window_ns"].as_i64().expect("a number");
            assert!((seen + 2 * 3_600_000_000_000).abs() <= error, "{clocks}");
            agent.heal(1);
            off_by(-5.0 * 3600.0);
            agent.heal(2);
            off_by(0.0);
            let now = agent.state("clock")["pid"].as_u64().expect("a number") as u32;
            assert_ne!(now, root);
            assert_eq!(sight::clocks_untouched(now), Some(true));
        },
    );
}

#[test]
fn a_frozen_daemon_misses_time_on_both_clocks_and_makes_it_up_or_not() {
    alone(
        "faults::clocks::a_frozen_daemon_misses_time_on_both_clocks_and_makes_it_up_or_not",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let root = agent.start("d", "exec sleep 7791", dir.path());
            until("it runs", || sight::sleepers("7791").pop());
            let freeze = |kept: bool| json!({"kind": "clock", "daemon": "d", "how": "freeze", "pause_ms": 200, "kept": kept});
            let offsets = |agent: &mut Session| {
                let clocks = agent.get(json!({"do": "clocks", "daemon": "d"}));
                let of = |at: usize| clocks["daemon_offset_ns"][at].as_i64().expect("a number");
                (
                    of(0),
                    of(1),
                    clocks["window_ns"].as_i64().expect("a number"),
                )
            };
            let lags = |agent: &mut Session, lag: i64| {
                let (realtime, monotonic, error) = offsets(agent);
                assert!((realtime + lag).abs() <= error, "{realtime} {error}");
                assert!((monotonic + lag).abs() <= error, "{monotonic} {error}");
            };
            agent.inject(1, &freeze(false));
            until("it runs on", || {
                (sight::state(root) == Some('S')).then_some(())
            });
            lags(&mut agent, 200_000_000);
            agent.heal(1);
            assert_eq!(sight::clocks_untouched(root), Some(true));
            // Kept: healing leaves the lag, and the journal remembers that there is something to
            // undo.
            agent.inject(2, &freeze(true));
            until("it runs on", || {
                (sight::state(root) == Some('S')).then_some(())
            });
            agent.heal(2);
            lags(&mut agent, 200_000_000);
            assert_ne!(
                fs::metadata(dir.path().join("undo.jsonl"))
                    .expect("is there")
                    .len(),
                0
            );
            agent.get(json!({"do": "heal-all"}));
            assert_eq!(offsets(&mut agent).0, 0);
            assert_eq!(sight::clocks_untouched(root), Some(true));
            assert_eq!(
                fs::metadata(dir.path().join("undo.jsonl"))
                    .expect("is there")
                    .len(),
                0
            );
            // Healed before its time it runs at once, with nothing to make up.
            let mut long = freeze(false);
            long["pause_ms"] = 3_600_000.into();
            agent.inject(3, &long);
            assert_eq!(sight::state(root), Some('T'));
            agent.heal(3);
            assert_eq!(sight::state(root), Some('S'));
            assert_eq!(sight::clocks_untouched(root), Some(true));
        },
    );
}

#[test]
fn a_strobe_goes_to_and_fro_and_a_drift_grows() {
    alone(
        "faults::clocks::a_strobe_goes_to_and_fro_and_a_drift_grows",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let root = agent.start("d", "exec sleep 7801", dir.path());
            until("it runs", || sight::sleepers("7801").pop());
            let offset = |agent: &mut Session| {
                let clocks = agent.get(json!({"do": "clocks", "daemon": "d"}));
                clocks["daemon_offset_ns"][0].as_i64().expect("a number")
            };
            let hour = 3_600_000_000_000_i64;
            let strobe = json!({"kind": "clock", "daemon": "d", "how": "strobe", "delta_ns": hour,
            "period_us": 5_000});
            agent.inject(1, &strobe);
            for round in 0..3 {
                until("it is off", || {
                    (offset(&mut agent) > hour / 2).then_some(())
                });
                until("it is true", || {
                    (offset(&mut agent) < hour / 2).then_some(())
                });
                assert!(round < 3);
            }
            agent.heal(1);
            assert_eq!(sight::clocks_untouched(root), Some(true));
            let drift = json!({"kind": "clock", "daemon": "d", "how": "drift", "ppb": 500_000_000});
            agent.inject(2, &drift);
            // Half a second a second: more than any error of reading, soon.
            until("it is a second ahead", || {
                (offset(&mut agent) > 1_000_000_000).then_some(())
            });
            agent.heal(2);
            assert_eq!(sight::clocks_untouched(root), Some(true));
        },
    );
}
