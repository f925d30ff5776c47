//! What a night begins with, and what it writes, held against schemas.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{GREEN, QUICK, RED, USAGE, cell, night, ran, shard};
use crate::support::{Place, history_of};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn yaml(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Holds a value against a schema of the tests.
#[track_caller]
fn fits(schema: &str, value: &Value) {
    let path = root()
        .join("harness/cli/tests/it/matrix/schema")
        .join(schema);
    let text = std::fs::read_to_string(path).expect("a schema");
    let schema: Value = serde_json::from_str(&text).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let wrong: Vec<String> = validator
        .iter_errors(value)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{value:#}");
}

/// Names, in a workflow's steps, of what a shard needs to know which it is.
fn words(value: &Value) -> String {
    value.to_string()
}

#[test]
fn what_init_writes_is_a_matrix_and_a_workflow_and_replaces_nothing() {
    let place = Place::new();
    for (ci, file) in [
        ("github", ".github/workflows/nightly.yml"),
        ("gitlab", "nightly.gitlab-ci.yml"),
        ("kubernetes", "nightly.yaml"),
        ("slurm", "nightly.sbatch"),
    ] {
        let folder = place.path().join(ci);
        place
            .schism(&["matrix", "init", ci, "--ci", ci])
            .exits(0)
            .prints(&[file, "schism matrix plan"]);
        let plan = format!("{ci}/nightly.toml");
        let plan = place
            .schism(&["matrix", "plan", &plan, "--json"])
            .exits(GREEN);
        let plan: Value = serde_json::from_str(&plan.stdout).expect("it is JSON");
        for family in ["partition", "pause", "kill", "clock", "packet"] {
            let canary = format!("canary-{family}");
            let cells = plan["cells"].as_array().expect("cells");
            let own: Vec<&Value> = cells
                .iter()
                .filter(|cell| cell["system"] == canary.as_str())
                .collect();
            assert!(!own.is_empty(), "{canary}");
            for cell in own {
                assert!(
                    cell["nemesis"]
                        .as_str()
                        .is_some_and(|n| n.starts_with(family)),
                    "{cell}"
                );
                assert!(cell["expect"]["invalid"].is_array(), "{cell}");
            }
        }
        let path = folder.join(file);
        match ci {
            "github" => fits("github.json", &yaml(&path)[0]),
            "gitlab" => fits("gitlab.json", &yaml(&path)[0]),
            "kubernetes" => {
                let all = yaml(&path);
                let kinds: Vec<&Value> = all.iter().map(|object| &object["kind"]).collect();
                assert_eq!(kinds, ["ConfigMap", "PersistentVolumeClaim", "Job"]);
                all.iter()
                    .for_each(|object| fits("kubernetes.json", object));
                let matrix = std::fs::read_to_string(folder.join("nightly.toml")).expect("text");
                assert_eq!(all[0]["data"]["nightly.toml"], matrix.as_str());
                let (env, n) = (words(&all[2]), all[2]["spec"]["completions"].to_string());
                assert!(
                    env.contains(&format!("{{\"name\":\"SCHISM_SHARDS\",\"value\":\"{n}\"}}")),
                    "{env}"
                );
            }
            _ => {
                let ended = std::process::Command::new("bash")
                    .arg("-n")
                    .arg(&path)
                    .output();
                assert!(ended.expect("bash starts").status.success());
                let text = std::fs::read_to_string(&path).expect("text");
                assert!(text.contains("#SBATCH --array=1-3\n"));
            }
        }
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(
            text.contains("--shard auto") && text.contains("schism merge"),
            "{text}"
        );
        let before = std::fs::read_to_string(folder.join("nightly.toml")).expect("text");
        place
            .schism(&["matrix", "init", ci])
            .exits(USAGE)
            .says(&["nightly.toml", "not replaced"]);
        assert_eq!(
            std::fs::read_to_string(folder.join("nightly.toml")).expect("text"),
            before
        );
    }
    place
        .schism(&["matrix", "init", "--ci", "jenkins"])
        .exits(USAGE)
        .says(&["kubernetes"]);
}

#[test]
fn this_projects_own_night_is_a_matrix_and_its_workflow_fits() {
    let place = Place::new();
    let matrix = root().join(".ci/nightly.toml");
    let plan = place
        .schism(&["matrix", "plan", matrix.to_str().unwrap(), "--json"])
        .exits(GREEN);
    let plan: Value = serde_json::from_str(&plan.stdout).expect("it is JSON");
    let systems: Vec<&str> = plan["cells"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|cell| cell["system"].as_str())
        .collect();
    for system in [
        "paxos-kv",
        "chain",
        "etcd",
        "litecoind",
        "canary-etcd",
        "canary-chain",
    ] {
        assert!(systems.contains(&system), "{system}");
    }
    assert_eq!(plan["left_out"], json!([]));
    let workflow = &yaml(&root().join(".github/workflows/nightly.yml"))[0];
    fits("github.json", workflow);
    let text = words(workflow);
    assert!(
        text.contains("SCHISM_SHARD_INDEX") && text.contains(".ci/nightly.toml"),
        "{text}"
    );
    fits(
        "github.json",
        &yaml(&root().join(".github/workflows/ci.yml"))[0],
    );
}

/// The schemas do refuse something.
#[test]
fn a_workflow_that_is_wrong_does_not_fit() {
    let good = &yaml(&root().join(".github/workflows/nightly.yml"))[0];
    let path = root().join("harness/cli/tests/it/matrix/schema/github.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(good));
    let with = |pointer: &str, value: Value| {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).expect("it is there") = value;
        wrong
    };
    for wrong in [
        with("/jobs/shard/runs-on", json!(7)),
        with("/jobs/shard/steps", json!([])),
        with(
            "/jobs/shard/steps/0",
            json!({ "use": "actions/checkout@v4" }),
        ),
        with("/jobs/gate/needs", json!(["nobody", 1])),
        with("/on", json!({ "schedul": [] })),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong:#}");
    }
}

/// Holds what was printed or written, one value a line, against a published schema.
#[track_caller]
fn published(place: &Place, name: &str, text: &str) {
    let schema = place.schism(&["schema", name]).exits(0);
    let schema: Value = serde_json::from_str(&schema.stdout).expect("it is JSON");
    let file = root()
        .join("harness/docs/schema")
        .join(format!("{name}.json"));
    let file: Value =
        serde_json::from_str(&std::fs::read_to_string(file).expect("published")).unwrap();
    assert_eq!(schema, file);
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("a schema");
    let values: Vec<Value> = serde_json::Deserializer::from_str(text)
        .into_iter()
        .map(|value| value.expect("it is JSON"))
        .collect();
    assert!(!values.is_empty(), "{name}: nothing to hold against it");
    for value in values {
        let wrong: Vec<String> = validator
            .iter_errors(&value)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{value:#}");
        let mut more = value;
        if let Some(object) = more.as_object_mut() {
            object.insert("what nobody prints".into(), json!(1));
            assert!(!validator.is_valid(&more), "{name} refuses nothing");
        }
    }
}

#[test]
fn everything_printed_as_json_is_as_its_published_schema_says() {
    let place = Place::new();
    let printed = |args: &[&str]| place.schism(args).stdout;
    for name in [
        "systems",
        "workloads",
        "nemeses",
        "flaws",
        "errors",
        "doctor",
    ] {
        published(&place, name, &printed(&[name, "--json"]));
    }
    published(&place, "failure", &printed(&["run", "nothing", "--json"]));
    place.file("m.toml", format!("{QUICK}[[system]]\nname = \"paxos-kv\"\n[[system]]\nname = \"litecoind\"\nworkloads = [\"bank\", \"ledger\"]\n"));
    published(
        &place,
        "plan",
        &printed(&["matrix", "plan", "m.toml", "--json"]),
    );
    let mut command = place.command(&["matrix", "m.toml", "--json"]);
    command.env("SCHISM_LITECOIND", "/nowhere");
    let ended = command.output().expect("it starts");
    published(&place, "night", &String::from_utf8_lossy(&ended.stdout));
    let folder = night(&place);
    let read = |path: &Path| std::fs::read_to_string(path).expect("it was written");
    for name in ["runs", "results"] {
        published(&place, name, &read(&folder.join(format!("{name}.jsonl"))));
    }
    published(&place, "night", &read(&folder.join("night.json")));
    published(&place, "list", &printed(&["list", "--json"]));
    published(&place, "check", &printed(&["check", "latest", "--json"]));
    published(&place, "check", &read(&place.latest().join("results.json")));
    published(
        &place,
        "explain",
        &printed(&["explain", "--around", &first_operation(&place), "--json"]),
    );
    published(
        &place,
        "replay",
        &printed(&["replay", "latest", "--runs", "1", "--json"]),
    );
    let quick = ["--nodes", "3", "--time-limit", "2s", "--json"];
    let run = [&["run", "paxos-kv", "--nemesis", "none"], &quick[..]].concat();
    published(&place, "run", &printed(&run));
    let compare = [
        "compare",
        "paxos-kv",
        "paxos-kv",
        "--param-b",
        "reads=lease",
        "--nemesis",
        "none",
        "--seeds",
        "1",
    ];
    published(
        &place,
        "compare",
        &printed(&[&compare[..], &quick].concat()),
    );
    let sweep = [
        "sweep",
        "paxos-kv",
        "--param",
        "lease=100ms..200ms",
        "--steps",
        "2",
        "--nemesis",
        "none",
        "--seeds",
        "1",
    ];
    published(&place, "sweep", &printed(&[&sweep[..], &quick].concat()));
    place
        .schism(&["schema", "nigth"])
        .exits(USAGE)
        .says(&["did you mean \"night\"?"]);
    place
        .schism(&["schema"])
        .exits(0)
        .prints(&["schism merge --json"]);
}

/// The event with which an operation of the latest run begins.
fn first_operation(place: &Place) -> String {
    let history = history_of(&place.latest());
    let invoked = history
        .lines()
        .find(|line| line.contains("\"invoke\"") && !line.contains("nemesis"));
    let event: Value = serde_json::from_str(invoked.expect("something was asked")).expect("JSON");
    event["index"].to_string()
}

/// With everything in it that a night may have.
#[test]
fn a_night_with_reds_is_as_its_schema_says_too() {
    let place = Place::new();
    let mut absent = cell("m/w/none/1", json!("valid"));
    absent["absent"] = json!({ "ending": "missing", "why": "not there" });
    let cells = [
        cell("a/w/none/1", json!("valid")),
        cell("a/w/none/2", json!({ "invalid": ["stale read"] })),
        cell("a/w/none/3", json!("valid")),
        absent,
    ];
    let folder = shard(
        &place,
        "in",
        (1, 2),
        &cells,
        &[ran("a/w/none/1", "invalid"), ran("a/w/none/2", "invalid")],
    );
    let merged = place
        .schism(&["merge", "in", "--output", "out", "--json"])
        .exits(RED);
    published(&place, "night", &merged.stdout);
    let read = |path: PathBuf| std::fs::read_to_string(path).expect("it was written");
    for folder in [folder, place.path().join("out")] {
        published(&place, "runs", &read(folder.join("runs.jsonl")));
    }
    published(
        &place,
        "results",
        &read(place.path().join("out/results.jsonl")),
    );
}
