//! How the inside of the packages is kept: one room for each thing, and no circles between files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every package's own sources.
const PACKAGES: &[&str] = &[
    "checkers/src",
    "harness/agent/src",
    "harness/cli/src",
    "harness/history/src",
    "harness/report/src",
    "harness/src",
    "nemeses/src",
    "workloads/nodes/chain/src",
    "workloads/nodes/common/src",
    "workloads/nodes/paxos-kv/src",
    "workloads/src",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The modules of a package by name (`schedule::draw`), with their texts up to the unit tests.
fn modules(package: &str) -> BTreeMap<String, String> {
    let src = root().join(package);
    let mut found = BTreeMap::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&src).expect("a file of the package");
            let name = inside.with_extension("").display().to_string();
            let name = name.replace('/', "::");
            let name = name.strip_suffix("::mod").unwrap_or(&name).to_string();
            if path.extension().is_none_or(|e| e != "rs") || ["lib", "main"].contains(&&*name) {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a text");
            let code = text.split("#[cfg(test)]\n").next().unwrap_or_default();
            found.insert(name, code.to_string());
        }
    }
    found
}

/// Every path that a text imports from its own package, without `crate::`.
fn imports(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for import in text.split("use crate::").skip(1) {
        let import = import.split(';').next().unwrap_or_default();
        let import: String = import.split_whitespace().collect();
        expand("", &import, &mut paths);
    }
    paths
}

/// Takes `a::{b, c::{d, e}}` apart.
fn expand(before: &str, import: &str, paths: &mut Vec<String>) {
    let Some((head, inner)) = import.split_once('{') else {
        paths.push(format!("{before}{import}"));
        return;
    };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if from < at {
                    expand(&format!("{before}{head}"), &inner[from..at], paths);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// Who imports whom. A file and those in its own folder belong together and are not counted.
fn graph(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let within = |outer: &str, inner: &str| inner.starts_with(&format!("{outer}::"));
    let mut graph = BTreeMap::new();
    for (name, text) in modules {
        let uses: &mut BTreeSet<&str> = graph.entry(name.as_str()).or_default();
        for path in imports(text) {
            let owner = modules
                .keys()
                .filter(|m| path == **m || within(m, &path))
                .max_by_key(|m| m.len());
            if let Some(owner) = owner
                && owner != name
                && !within(owner, name)
                && !within(name, owner)
            {
                uses.insert(owner);
            }
        }
    }
    graph
}

/// The files from which one comes back to oneself, together with those on the way.
fn circles<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<BTreeSet<&'a str>> {
    let reach = |from: &'a str| -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let mut left = vec![from];
        while let Some(at) = left.pop() {
            left.extend(graph[at].iter().copied().filter(|next| seen.insert(*next)));
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = graph.keys().map(|m| (*m, reach(m))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for (module, reached_here) in &reached {
        if reached_here.contains(module) && !circles.iter().any(|c| c.contains(module)) {
            let back = |other: &&&str| reached[**other].contains(module);
            circles.push(reached_here.iter().filter(back).copied().collect());
        }
    }
    circles
}

#[test]
fn no_circle_of_imports_inside_a_package() {
    for package in PACKAGES {
        let modules = modules(package);
        let graph = graph(&modules);
        assert_eq!(
            circles(&graph),
            Vec::<BTreeSet<&str>>::new(),
            "{package}: these files import each other"
        );
    }
}

#[test]
fn circles_are_found_where_there_are_some() {
    let modules = BTreeMap::from(
        [
            ("a", "use crate::b::{B, C};"),
            ("b", "use crate::{c::d::{E},\n    e};"),
            ("c::d", "use crate::a::A;"),
            ("c", "use crate::c::d::E;"),
            ("e", "use crate::c::X;"),
        ]
        .map(|(name, text)| (name.to_string(), text.to_string())),
    );
    let graph = graph(&modules);
    assert_eq!(graph["b"], BTreeSet::from(["c::d", "e"]));
    assert_eq!(circles(&graph), [BTreeSet::from(["a", "b", "c::d"])]);
}

/// Where each name that the package's root gives out comes from.
fn given_out(package: &str) -> BTreeMap<String, String> {
    let root = fs::read_to_string(root().join(package).join("lib.rs")).expect("a root");
    let mut from = BTreeMap::new();
    for export in root.split("\npub use ").skip(1) {
        let export: String = export
            .split(';')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let mut paths = Vec::new();
        expand("", &export, &mut paths);
        for path in paths {
            let name = path.rsplit("::").next().unwrap_or_default().to_string();
            from.insert(name, path);
        }
    }
    from
}

/// Nobody has to believe the engines, since others check what they found: these know nothing of
/// engines, by whatever way.
#[test]
fn those_who_check_what_engines_found_import_none() {
    let verifiers = ["certificate", "accounts", "refutation", "proof", "script"];
    let words = ["model", "consistency", "guarantee", "verdict"];
    let package = "checkers/src";
    let root = given_out(package);
    let modules = modules(package);
    // What comes by the root is imported from where the root has it.
    let modules = modules.into_iter().map(|(name, text)| {
        let by_root = imports(&text)
            .into_iter()
            .filter_map(|path| root.get(&path));
        let by_root: String = by_root.map(|path| format!("use crate::{path};")).collect();
        (name, text + &by_root)
    });
    let modules = modules.collect();
    let graph = graph(&modules);
    let room = |module: &str| module.split("::").next().unwrap_or_default().to_string();
    let mut looked_at = 0;
    for (module, uses) in &graph {
        if !verifiers.contains(&&*room(module)) {
            continue;
        }
        looked_at += 1;
        for used in uses {
            let used = room(used);
            assert!(
                verifiers.contains(&&*used) || words.contains(&&*used),
                "{module} imports {used}"
            );
        }
    }
    assert!(looked_at > 8, "{looked_at}");
    for word in words {
        let beyond = graph[word].iter().find(|used| !words.contains(used));
        assert_eq!(beyond, None, "{word} imports more than words");
    }
}

/// A fault family is one file. In its package nobody else names it, and elsewhere nobody decides by
/// its name.
#[test]
fn a_familys_name_stands_in_its_own_room_and_nowhere_else() {
    let names: Vec<&str> = nemeses::FAMILIES.iter().map(|f| f.name).collect();
    let within = |family: &str| {
        let path = format!("crate::{family}::");
        vec![format!("\"{family}\""), format!("\"{family}:"), path]
    };
    let decisions = |family: &str| {
        let ways = ["== \"X\"", "!= \"X\"", "\"X\" =>", "Some(\"X\")"];
        ways.map(|way| way.replace('X', family)).to_vec()
    };
    // A figure's key, the word of a hypervisor, and whose clock it is that is shifted.
    let others = ["key: ", "failed(&node", "Clocks::"];
    for package in [
        "nemeses/src",
        "harness/src",
        "harness/cli/src",
        "harness/report/src",
    ] {
        for (module, text) in modules(package) {
            let code = |line: &&str| !line.trim_start().starts_with("//");
            let another = |line: &&str| others.iter().any(|other| line.contains(other));
            let lines = text.lines().filter(code).filter(|line| !another(line));
            for (line, family) in lines.flat_map(|line| names.iter().map(move |f| (line, *f))) {
                let inside = package == "nemeses/src";
                let own = inside && module.split("::").next() == Some(family);
                if own || inside && module == "catalogue" {
                    continue;
                }
                let signs = if inside {
                    within(family)
                } else {
                    decisions(family)
                };
                assert!(
                    !signs.iter().any(|sign| line.contains(sign)),
                    "{package}, {module} knows {family}: {line}"
                );
            }
        }
    }
}

/// Paths in documents lead somewhere: to a file, or to a file below one of the packages.
#[test]
fn documents_name_only_paths_that_exist() {
    let root = root();
    let docs = fs::read_dir(root.join("harness/docs")).expect("the documents");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    let docs = docs.filter(|path| path.extension().is_some_and(|e| e == "md"));
    let mut looked_at = 0;
    for doc in docs.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&doc).expect("a text");
        for word in text.split(|c: char| c.is_whitespace() || "`()[],;:\"'".contains(c)) {
            let word = word.trim_end_matches(['.', '/']);
            let starts = [
                "checkers/",
                "harness/",
                "nemeses/",
                "workloads/",
                "vagrant/",
            ];
            let is_path = starts.iter().any(|top| word.starts_with(top))
                && [".rs", ".md", ".toml", ".txt"]
                    .iter()
                    .any(|end| word.ends_with(end))
                && !word.contains(['*', '{', '<', '$']);
            if !is_path {
                continue;
            }
            looked_at += 1;
            assert!(
                root.join(word).exists(),
                "{}: there is no {word}",
                doc.display()
            );
        }
    }
    assert!(looked_at > 20, "{looked_at}");
}
