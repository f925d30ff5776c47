//! Imports only lean down: which package may use which, and what none of the pure ones may use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
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

/// Source files below a folder, but those of tests, benches and builds.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("it is ours").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let skipped = ["target", "tests", "tests.rs", "benches", "examples", "fuzz"];
        if skipped.contains(&&*name) || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_is_where_the_docs_say_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the workspace");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let has_any = |path: &&PathBuf| {
        let text = std::fs::read_to_string(path).expect("text");
        let code = |line: &str| !line.trim_start().starts_with("//");
        let kinds = ["{", "impl", "fn", "extern", "trait"].map(|kind| format!("unsafe {kind}"));
        text.lines()
            .filter(|line| code(line))
            .any(|line| kinds.iter().any(|kind| line.contains(kind)))
    };
    let named = |path: &PathBuf| {
        let path = path.strip_prefix(&root).expect("below it");
        path.to_string_lossy().into_owned()
    };
    let found: BTreeSet<String> = files.iter().filter(has_any).map(named).collect();
    let docs = std::fs::read_to_string(root.join("harness/docs/security.md")).expect("is there");
    let (_, table) = docs.split_once("## `unsafe`").expect("a section");
    let listed: BTreeSet<String> = table
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_string()))
        .collect();
    assert_eq!(found, listed);
}
