//! How big functions and files may be, and how wide their prose.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a function, of which the last is its brace.
const FUNCTION: usize = 80;
const FILE: usize = 600;
const COMMENT: usize = 100;
const DOCUMENT: usize = 120;

/// Rows and not steps: they are as long as what they list.
const TABLES: &[(&str, &str)] = &[
    ("checkers/src/linearizable/reason.rs", "of_violation"),
    ("workloads/nodes/chain/src/flaws.rs", "entry"),
    ("workloads/nodes/chain/src/http.rs", "understand"),
    ("workloads/nodes/paxos-kv/src/flaws.rs", "entry"),
    ("workloads/nodes/paxos-kv/src/http.rs", "understand"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file with this ending that is ours, by its path from the root.
fn files(ending: &str) -> Vec<(String, String)> {
    let root = root();
    let tops = ["checkers", "harness", "nemeses", "vagrant", "workloads"];
    let mut folders: Vec<PathBuf> = tops.iter().map(|top| root.join(top)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours") {
            let path = entry.expect("an entry").path();
            let others = ["target", "node_modules"];
            let is_ours = !others.iter().any(|other| path.ends_with(other));
            if path.is_dir() && is_ours {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                let name = path.strip_prefix(&root).expect("below the root");
                let text = fs::read_to_string(&path).expect("a text");
                found.push((name.display().to_string(), text));
            }
        }
    }
    assert!(found.len() > 10, "{ending}: {}", found.len());
    found
}

/// The name of the function that begins in this line, if one does.
fn begins(line: &str) -> Option<&str> {
    let words = line.trim_start();
    let before = words.split("fn ").next()?;
    let modifiers = [
        "pub",
        "pub(crate)",
        "pub(super)",
        "const",
        "async",
        "unsafe",
        "extern",
        "\"C\"",
    ];
    let is_modifier = |word: &str| modifiers.contains(&word) || word.starts_with("pub(in");
    if !words.contains("fn ") || !before.split_whitespace().all(is_modifier) {
        return None;
    }
    let name = &words[before.len() + 3..];
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(&name[..end])
}

/// The functions of a text that rustfmt has laid out, with their lengths.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = begins(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let head = lines[at..]
            .iter()
            .position(|l| l.ends_with(['{', '}', ';']));
        let Some(head) = head.filter(|head| lines[at + head].ends_with('{')) else {
            continue;
        };
        let end = format!("{indent}}}");
        let body = lines[at + head..].iter().position(|l| *l == end);
        found.extend(body.map(|body| (name, head + body + 1)));
    }
    found
}

#[test]
fn functions_are_found_with_their_lengths() {
    let text = "pub(crate) async fn one(\n    a: u8,\n) -> u8 {\n    a\n}\n\nimpl X {\n    fn two() {\n    }\n}\n\
                fn three() {}\ntrait T {\n    fn four();\n}\n// fn five() {\n";
    assert_eq!(functions(text), [("one", 5), ("two", 2)]);
}

/// Of what runs; a test may tell a long story.
#[test]
fn a_function_is_no_longer_than_a_screen() {
    let listed: BTreeSet<(&str, &str)> = TABLES.iter().copied().collect();
    let mut met = BTreeSet::new();
    for (file, text) in files("rs")
        .iter()
        .filter(|(file, _)| file.contains("/src/"))
    {
        let is_test = file.ends_with("/tests.rs");
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for (name, lines) in functions(code) {
            if lines <= FUNCTION || is_test {
                continue;
            }
            let known = listed.iter().find(|(f, n)| f == file && *n == name);
            match known {
                Some(known) => drop(met.insert(*known)),
                None => panic!("{file}: {name} has {lines} lines; {FUNCTION} are enough"),
            }
        }
    }
    let short: Vec<_> = listed.difference(&met).collect();
    assert_eq!(
        short,
        [] as [&(&str, &str); 0],
        "short by now, so not in the list"
    );
}

#[test]
fn a_file_is_about_one_thing() {
    for (file, text) in files("rs") {
        let lines = text.lines().count();
        assert!(
            lines <= FILE,
            "{file} has {lines} lines: split it by a second noun, not at {FILE}"
        );
    }
}

#[test]
fn comments_are_as_wide_as_the_code() {
    for (file, text) in files("rs") {
        // Drawings and tables are as wide as they are.
        let mut drawn = false;
        for (at, line) in text.lines().enumerate() {
            let comment = line.trim_start();
            let words = comment.trim_start_matches(['/', '!']).trim_start();
            drawn = comment.starts_with("//") && drawn ^ words.starts_with("```");
            // One word cannot be wrapped.
            let prose = words.contains(' ') && !drawn && !words.starts_with('|');
            if comment.starts_with("//") && prose && line.chars().count() > COMMENT {
                panic!(
                    "{file}:{}: a comment is wider than {COMMENT} columns",
                    at + 1
                );
            }
        }
    }
}

/// Tables and code are as wide as they are.
#[test]
fn documents_are_no_wider_than_a_page() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a text");
    for (file, text) in [("README.md".to_string(), readme)]
        .into_iter()
        .chain(files("md"))
    {
        let mut code = false;
        for (at, line) in text.lines().enumerate() {
            let words = line.trim_start();
            code ^= words.starts_with("```");
            let wide = line.chars().count() > DOCUMENT && words.contains(' ');
            if wide && !code && !words.starts_with('|') {
                panic!("{file}:{}: a line is wider than {DOCUMENT} columns", at + 1);
            }
        }
    }
}
