//! What others have written reaches the terminal as text and never as orders: every path by which
//! it comes there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::machines::World;
use crate::support::{Ended, Place, history_of, recorded, spec, write_history};

/// Renames the window, rings, clears the screen, writes backwards, hides, and begins a line of its
/// own.
const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}evil\u{2066}\u{200b}\u{feff}\r\nVALID  forged\u{7f}";

/// The same as a shell's `printf` writes it.
const EVIL_PRINTF: &str =
    r"\033]0;owned\007\033[2J\342\200\256evil\342\201\246\r\nVALID  forged\177";

fn obeyed(c: char) -> bool {
    let marks = ['\u{200b}', '\u{feff}', '\u{61c}', '\u{ad}'];
    let plain = matches!(c, '\n' | '\t');
    (c.is_control() && !plain)
        || marks.contains(&c)
        || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// It came there, and did nothing there.
#[track_caller]
fn shown(ended: Ended) -> Ended {
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(all.contains("evil"), "it came by another way: {ended:#?}");
    harmless(ended)
}

/// Whatever came there.
#[track_caller]
fn harmless(ended: Ended) -> Ended {
    for text in [&ended.stdout, &ended.stderr] {
        let found: Vec<char> = text.chars().filter(|c| obeyed(*c)).collect();
        assert!(found.is_empty(), "{found:?} in {text:?}");
    }
    ended
}

/// The same, and it stayed within its line.
#[track_caller]
fn shown_in_line(ended: Ended) -> Ended {
    let ended = shown(ended);
    for line in ended.stdout.lines() {
        assert!(!line.starts_with("VALID  forged"), "{}", ended.stdout);
    }
    ended
}

#[test]
fn words_of_the_command_line_and_names_of_files() {
    let place = Place::new();
    for args in [
        &["check", EVIL][..],
        &["run", EVIL],
        &["run", "paxos-kv", EVIL],
        &["run", "paxos-kv", "--nemesis", EVIL],
        &["run", "paxos-kv", "--workload", EVIL],
        &["run", "paxos-kv", "--param", EVIL],
        &["run", "paxos-kv", "--schedule", EVIL],
        &["run", "--scenario", EVIL],
        &["flaws", EVIL],
        &["verify", EVIL, EVIL],
        &["convert", EVIL, "--to", "edn"],
        &["report", EVIL],
        &["list", "--store", EVIL],
        &["prove", "--scenarios", EVIL],
        &[EVIL],
    ] {
        shown(place.schism(args));
        harmless(place.schism(&[args, &["--json"][..]].concat()));
    }
    let file = EVIL;
    place.file(file, "[{:process 0, :type :invoke, :f :read}]");
    shown_in_line(place.schism(&["check", file]));
    shown(place.schism(&[
        "convert",
        file,
        "--to",
        "jsonl",
        "--output",
        &format!("no/{file}"),
    ]));
    let folder = format!("no-{EVIL}");
    harmless(place.schism(&["heal", &folder]));
}

#[test]
fn what_is_wrong_with_a_file_is_told_in_its_own_words() {
    let place = Place::new();
    let header = "{\"schism\":\"history\",\"version\":1}\n";
    let key = json!({ EVIL: 1 });
    let cases = [
        ("key.jsonl", format!("{header}{key}\n")),
        (
            "kind.jsonl",
            format!(
                "{header}{}\n",
                json!({
                    "index": 0, "time": 0, "process": 0, "type": EVIL, "f": "read", "value": null
                })
            ),
        ),
        (
            "head.jsonl",
            format!("{}\n", json!({ "schism": EVIL, "version": 1 })),
        ),
        (
            "raw.edn",
            format!("[{{:process 0, :type :{EVIL}, :f :read}}]"),
        ),
        (
            "text.edn",
            format!("[{{:process 0, :type \"{EVIL}\", :f :read}}]"),
        ),
        (
            "f.edn",
            format!("[{{:process 0, :type :invoke, :f \"{EVIL}\"}}]"),
        ),
        ("any.csv", format!("{EVIL},evil\n{EVIL}\n")),
    ];
    for (name, text) in cases {
        place.file(name, text);
        let ended = place.schism(&["check", name]);
        // Some say no more than the place.
        harmless(ended).exits(64);
    }
    for (name, text) in [
        (
            "schedule.toml",
            format!("version = 1\n'{}' = 1\n", EVIL.replace(['\r', '\n'], "")),
        ),
        (
            "fault.toml",
            format!(
                "version = 1\n[[fault]]\nat = {}\nfamily = {}\n",
                json!("1s"),
                toml(EVIL)
            ),
        ),
    ] {
        let file = place.file(name, text);
        let file = file.to_str().expect("text");
        let ended = place.schism(&["run", "paxos-kv", "--nodes", "3", "--schedule", file]);
        harmless(ended).exits(64);
        harmless(place.schism(&["run", "--scenario", file]).exits(64));
    }
    place.file("proof.json", json!({ EVIL: 1 }).to_string());
    place.file("one.edn", "[{:process 0, :type :invoke, :f :read}]");
    shown(place.schism(&["verify", "one.edn", "proof.json"]));
}

/// A TOML string.
fn toml(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| format!("\\U{:08x}", u32::from(c)))
        .collect();
    format!("\"{escaped}\"")
}

#[test]
fn histories_specs_and_results_of_a_run() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-bad", "2");
    // Fault labels, errors, nodes and values, where an anomaly points at them.
    let mut history = history_of(&run);
    let label = json!({ "fault": 0, "action": "inject", "label": EVIL, "targets": [EVIL],
        "receipt": { "held": false, "evidence": [EVIL] } });
    for (kind, value) in [("invoke", &label), ("ok", &label), ("fail", &label)] {
        let index = history.lines().count() - 1;
        let event = json!({ "index": index, "time": index * 10_000_000, "process": "nemesis",
            "type": kind, "f": EVIL, "value": value });
        history += &format!("{event}\n");
    }
    for (kind, error) in [("invoke", None), ("info", Some(EVIL))] {
        let index = history.lines().count() - 1;
        let event = json!({ "index": index, "time": index * 10_000_000, "process": 7, "type": kind,
            "f": "write", "value": [0, 9], "error": error, "node": EVIL });
        history += &format!("{event}\n");
    }
    // 9 is read, of an unknown outcome, and then 1 again, which is wrong.
    for (kind, value) in [("invoke", json!([0, null])), ("ok", json!([0, EVIL]))] {
        let index = history.lines().count() - 1;
        let event = json!({ "index": index, "time": index * 10_000_000, "process": 8, "type": kind,
            "f": "read", "value": value, "node": EVIL });
        history += &format!("{event}\n");
    }
    write_history(&run, &history);
    shown_in_line(place.schism(&["check"]).exits(1));
    let ended = shown(place.schism(&["check", "--json"]).exits(1));
    let judged: Value = serde_json::from_str(&ended.stdout).expect("one object");
    assert!(judged["analyses"].to_string().contains("evil"));

    let results = run.join("results.json");
    let text = fs::read_to_string(&results).expect("it was judged");
    let mut judged: Value = serde_json::from_str(&text).expect("JSON");
    judged["notes"]["warnings"] = json!([EVIL]);
    judged["notes"]["failures"] = json!([EVIL]);
    fs::write(&results, judged.to_string()).expect("ours");
    shown_in_line(place.schism(&["check"]));
    shown_in_line(place.schism(&["check", "--check-memory", "0"]));

    let named: Value = serde_json::from_str(&spec(3)).expect("JSON");
    for (key, value) in [
        ("flaws", json!([EVIL])),
        ("nemesis", json!(EVIL)),
        ("system", json!(EVIL)),
        ("workload", json!(EVIL)),
        (EVIL, json!(1)),
    ] {
        let mut named = named.clone();
        named[key] = value;
        fs::write(run.join("spec.json"), named.to_string()).expect("ours");
        let listed = shown_in_line(place.schism(&["list"]).exits(0));
        assert_eq!(listed.stdout.lines().count(), 1, "{}", listed.stdout);
        shown(place.schism(&["list", "--json"]).exits(0));
        harmless(place.schism(&["check"]));
    }
    fs::rename(&run, place.store().join(EVIL.replace('/', ""))).expect("ours");
    shown_in_line(place.schism(&["list"]));
}

/// A program in the place of a system's.
fn program(place: &Place, name: &str, script: &str) {
    let path = place.file(name, format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
}

#[test]
fn last_words_of_a_daemon() {
    let place = Place::new();
    // Whatever it is asked, it says the same, on both ways, and ends.
    let say = format!("printf '{EVIL_PRINTF}'; printf '{EVIL_PRINTF}' >&2; exit 3");
    program(&place, "etcd", &say);
    let etcd = place.path().join("etcd");
    let run = |more: &[&str]| {
        let args = ["run", "etcd", "--nodes", "3", "--time-limit", "2s"];
        let mut command = place.command(&[&args[..], more].concat());
        Ended::of(
            command
                .env("SCHISM_ETCD", &etcd)
                .output()
                .expect("it starts"),
        )
    };
    shown(run(&[]).exits(4));
    let ended = shown(run(&["--json"]).exits(4));
    serde_json::from_str::<Value>(&ended.stdout).expect("one object");
}

#[test]
fn what_a_node_says_when_one_logs_in() {
    let say = format!("printf '{EVIL_PRINTF}'");
    // To everything, and with a failure; to `uname` alone.
    let all = format!("{say}; {say} >&2; exit 1");
    let uname = format!(
        "case \"$SSH_ORIGINAL_COMMAND\" in *uname*) printf 'arch x86_64 evil\\033[2J\\nuid 0\\nboot b\\n'; \
         echo \"connection $SSH_CONNECTION\";; *) {all};; esac"
    );
    let Some(world) = World::new(2, &[(1, &forced(&all)), (2, &forced(&uname))]) else {
        return;
    };
    for node in ["n1", "n2"] {
        let args = ["--accept-new-host-keys", "--nemesis", "none"];
        shown(world.ends(node, &args).exits(4));
    }
}

/// A node whose sshd has this said, whatever it is asked.
pub fn forced(script: &str) -> String {
    format!(
        "cat >/run/hostile <<'END'\n{script}\nEND\ncp \"$dir/sshd.conf\" /run/sshd.conf\n\
         echo 'ForceCommand /bin/sh /run/hostile' >>/run/sshd.conf\n: >\"$dir/n$i.up\"\n\
         exec /usr/sbin/sshd -D -e -f /run/sshd.conf -h \"$dir/host$i\" 2>/run/sshd.log\n"
    )
}

#[test]
fn colours_are_ours_alone_and_only_where_they_are_wanted() {
    let place = Place::new();
    let run = recorded(&place, "20260101T000000-paxos-kv-register", "1");
    let shown = |variables: &[(&str, &str)]| {
        let mut command = place.command(&["check", &run.display().to_string()]);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        let ended = command.envs(variables.iter().copied()).output();
        Ended::of(ended.expect("it starts")).stdout
    };
    let plain = shown(&[]);
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    assert_eq!(shown(&[("NO_COLOR", "1")]), plain);
    let forced = shown(&[("CLICOLOR_FORCE", "1")]);
    assert!(forced.starts_with("\u{1b}["), "{forced:?}");
    // Without its colours it is the same text.
    let mut text = String::new();
    for part in forced.split('\u{1b}') {
        let words = part.split_once('m').filter(|_| part.starts_with('['));
        text += words.map_or(part, |(_, words)| words);
    }
    assert_eq!(text, plain);
}
