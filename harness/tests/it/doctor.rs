//! What is said about a machine, on this one and on one that forbids something.

use std::process::{Command, Output};

use serde_json::Value;

use crate::talk::{Home, User, users};

/// What is said of one thing: state, detail, remedy.
fn finding(said: &Output, what: &str) -> (String, String, String) {
    let text = String::from_utf8_lossy(&said.stdout);
    let findings: Vec<Value> = serde_json::from_str(&text).expect("a list");
    let of_it = findings.iter().find(|f| f["what"] == what);
    let of_it = of_it.unwrap_or_else(|| panic!("nothing on {what}"));
    let word = |key: &str| of_it[key].as_str().unwrap_or_default().to_string();
    (word("state"), word("detail"), word("remedy"))
}

#[test]
fn where_a_lab_comes_up_all_that_it_needs_works() {
    for user in users() {
        let home = Home::new(user);
        let said = home.command("doctor").output().expect("it runs");
        for need in harness::doctor::LAB {
            for what in *need {
                let (state, detail, _) = finding(&said, what);
                assert_eq!(state, "works", "{what}: {detail}");
            }
        }
        assert_eq!(home.strays(), Vec::<std::path::PathBuf>::new());
    }
}

/// In a user namespace of its own, whose settings are nobody else's.
fn where_it_is_forbidden(home: &Home, setting: &str, arguments: &[&str]) -> Output {
    let script = format!("echo 0 > /proc/sys/user/{setting} && exec \"$0\" \"$@\"");
    Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", &script])
        .arg(home.program("lab"))
        .args(arguments)
        .output()
        .expect("unshare, of util-linux")
}

#[test]
fn what_is_forbidden_is_named_with_the_setting_that_does_it() {
    let home = Home::new(User::Same);
    for setting in ["max_net_namespaces", "max_mnt_namespaces"] {
        let said = where_it_is_forbidden(&home, setting, &["doctor"]);
        let (state, detail, remedy) = finding(&said, "namespaces");
        assert_eq!(state, "forbidden", "{detail}");
        assert_eq!(remedy, format!("sudo sysctl -w user.{setting}=15000"));
        assert_eq!(finding(&said, "proc").0, "unknown");
        assert_eq!(finding(&said, "netem").0, "unknown");

        // And a lab says what it was about to do, and where to ask.
        let nodes = home.nodes();
        let said = where_it_is_forbidden(&home, setting, &["1", &nodes.to_string_lossy()]);
        let complaint = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(4), "{complaint}");
        assert!(
            complaint.contains("mount, uts and ipc namespaces"),
            "{complaint}"
        );
        assert!(complaint.contains("schism doctor"), "{complaint}");
        assert!(!nodes.exists(), "something was begun");
    }
}
