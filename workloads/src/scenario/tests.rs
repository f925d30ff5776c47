use super::*;

const GOOD: &str = r#"about = "an example"
system = "etcd"
workload = "register"
nodes = 3
nemesis = "partition:halves,pause+clock:jump:leader"
time-limit = "30s"
rate = 100
concurrency = 6

[params]
election-timeout = "2s"
keys = "7"

[planted]
params = { reads = "serializable" }

[expect]
verdict = "invalid"
anomalies = ["stale read"]
clean = "valid"
"#;

fn parse(text: &str) -> Result<Scenario, String> {
    Scenario::parse(Path::new("dir/example.toml"), text).map_err(|e| e.to_string())
}

#[test]
fn a_scenario_has_a_clean_twin() {
    let scenario = parse(GOOD).unwrap();
    assert_eq!(scenario.name, "example");
    assert_eq!(
        scenario.families().collect::<Vec<_>>(),
        ["partition", "pause", "clock"]
    );
    assert_eq!(scenario.time_limit, Duration::from_secs(30));
    assert_eq!(scenario.setup.params.text("reads"), "serializable");
    assert_eq!(scenario.setup.params.text("election-timeout"), "2s");
    assert_eq!(scenario.workload_params.count("keys"), 7);
    assert_eq!(scenario.expect.verdict, Verdict::Invalid);
    assert_eq!(scenario.expect.anomalies, ["stale read"]);
    let twin = scenario.twin().unwrap();
    assert_eq!(twin.setup.params.text("reads"), "linearizable");
    assert_eq!(twin.setup.params.text("election-timeout"), "2s");
    assert_eq!(twin.expect.verdict, Verdict::Valid);
    assert!(twin.twin().is_none());
}

#[test]
fn mistakes_are_answered_with_their_place() {
    for (wrong, right, says) in [
        (
            "system = \"ectd\"",
            "system = \"etcd\"",
            "2:10: there is no system \"ectd\"; did you mean \"etcd\"?",
        ),
        (
            "workload = \"registr\"",
            "workload = \"register\"",
            "3:12: there is no workload \"registr\"; did you mean \"register\"?",
        ),
        ("nodes = 0", "nodes = 3", "4:9: there can be 1 to 9 nodes"),
        (
            "nodes = 2000",
            "nodes = 3",
            "4:9: there can be 1 to 9 nodes",
        ),
        ("nodez = 3", "nodes = 3", "4:1: unknown field `nodez`"),
        (
            "time-limit = \"30\"",
            "time-limit = \"30s\"",
            "6:14: this is not a duration",
        ),
        ("rate = 0", "rate = 100", "7:8: the rate must be above zero"),
        (
            "rate = nan",
            "rate = 100",
            "7:8: the rate must be above zero",
        ),
        (
            "concurrency = 0",
            "concurrency = 6",
            "8:15: there can be 1 to",
        ),
        (
            "key = \"7\"",
            "keys = \"7\"",
            "12:1: there is no parameter \"key\"; did you mean \"keys\"?",
        ),
        (
            "keys = \"0\"",
            "keys = \"7\"",
            "12:8: parameter keys cannot be \"0\"",
        ),
        (
            "reads = \"stale\"",
            "reads = \"serializable\"",
            "15:20: parameter reads cannot be \"stale\"",
        ),
        (
            "verdict = \"bad\"",
            "verdict = \"invalid\"",
            "18:11: unknown variant `bad`",
        ),
        ("", "clean = \"valid\"", "something is planted"),
        (
            "schedule = \"x.toml\"\nnemesis = \"kill\"",
            "nemesis = \"partition:halves,pause+clock:jump:leader\"",
            "5:12: faults are drawn as `nemesis` says or are those of `schedule`",
        ),
        (
            "figures = { \"agreement/election\" = \"7\" }",
            "clean = \"valid\"",
            "20:13: no checker measures this as a number; did you mean \"agreement/elections\"?",
        ),
        (
            "figures = { \"chain/common prefix\" = \"7\" }",
            "clean = \"valid\"",
            "20:13: no checker measures this as a number; did you mean \"chain/common prefix/k\"?",
        ),
        (
            "figures = { \"chain/common prefix/k\" = \"7..3\" }",
            "clean = \"valid\"",
            "20:39: this is not a number, nor a range",
        ),
        ("[expect", "[expect]", "17:8:"),
    ] {
        assert!(GOOD.contains(right), "{right}");
        let error = parse(&GOOD.replace(right, wrong)).err().expect(wrong);
        assert!(error.contains(says), "{wrong}: {error}");
        assert!(error.starts_with("dir/example.toml:"), "{error}");
    }
}

#[test]
fn a_schedule_lies_beside_its_scenario() {
    let nemesis = "nemesis = \"partition:halves,pause+clock:jump:leader\"";
    let scenario = parse(&GOOD.replace(nemesis, "schedule = \"two.schedule\"")).unwrap();
    assert_eq!(
        scenario.schedule.as_deref(),
        Some(Path::new("dir/two.schedule"))
    );
    assert_eq!(scenario.nemesis, "");
    assert_eq!(scenario.twin().unwrap().schedule, scenario.schedule);
}

#[test]
fn what_is_not_as_expected_is_said() {
    let figures = "figures = { \"chain/confirmations enough\" = \"3..5\", \"chain/common prefix/k\" = \"7\" }\nclean =";
    let expect = parse(&GOOD.replace("clean =", figures)).unwrap().expect;
    let analysis = |kind: &str, enough: i64| {
        let anomaly = checkers::Anomaly {
            kind: kind.into(),
            object: None,
            ops: Vec::new(),
            reason: String::new(),
            ..checkers::Anomaly::default()
        };
        let figure = |name: &str, value| checkers::Figure {
            name: name.into(),
            value,
            unit: String::new(),
        };
        [Analysis::of_anomalies("chain", "", vec![anomaly])
            .with_figure(figure("confirmations enough", enough.into()))
            .with_figure(figure("common prefix", serde_json::json!({"k": 7})))]
    };
    let none: [&str; 0] = [];
    assert_eq!(
        expect.unmet(Verdict::Invalid, &analysis("stale read", 5)),
        none
    );
    assert_eq!(
        expect.unmet(Verdict::Valid, &analysis("lost update", 6)),
        [
            "the verdict is valid, not invalid",
            "there is no stale read",
            "chain/confirmations enough is 6, not 3 to 5",
        ]
    );
    let unmeasured = expect.unmet(Verdict::Invalid, &[]);
    assert_eq!(unmeasured.len(), 3);
    assert_eq!(
        unmeasured[2],
        "nothing measured chain/confirmations enough as a number"
    );
}
