//! Imports only lean down: which package may use which, and what none of the pure ones may use.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Package, and what of the family it may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("history", &[]),
    ("agent", &[]),
    ("nodekit", &[]),
    ("paxos-kv", &["nodekit"]),
    ("chain", &["nodekit"]),
    ("checkers", &["history"]),
    ("report", &["history", "checkers"]),
    ("harness", &["history", "agent", "checkers"]),
    ("nemeses", &["history", "agent", "harness"]),
    ("workloads", &["history", "agent", "checkers", "harness"]),
    (
        "cli",
        &[
            "history",
            "agent",
            "checkers",
            "report",
            "harness",
            "nemeses",
            "workloads",
        ],
    ),
];

/// No asynchronous runtime, no network: history, checkers and report are pure, the agent is small.
const WITHOUT_RUNTIME: &[&str] = &["history", "checkers", "agent", "report"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo speaks JSON");
    let text = |v: &Value| v.as_str().expect("a name").to_string();
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let uses = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter()
                // What only tests use does not shape the program.
                .filter(|d| d["kind"] != "dev")
                .map(|d| text(&d["name"]))
                .collect();
            (text(&package["name"]), uses)
        })
        .collect()
}

#[test]
fn imports_only_lean_down() {
    let found = dependencies();
    let family: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    let members: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(members, family, "a package is not in this test's table");
    for (package, allowed) in ALLOWED {
        for used in found[*package]
            .iter()
            .filter(|d| family.contains(d.as_str()))
        {
            assert!(
                allowed.contains(&used.as_str()),
                "{package} must not use {used}"
            );
        }
    }
}

#[test]
fn pure_packages_have_no_runtime() {
    let found = dependencies();
    for package in WITHOUT_RUNTIME {
        for runtime in ["tokio", "hyper", "ssh2"] {
            assert!(
                !found[*package].contains(runtime),
                "{package} must not use {runtime}"
            );
        }
    }
}
