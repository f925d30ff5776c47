//! Pages in the user's browser, links on the terminal, and a help that fits on it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::{Ended, Place, REGISTER, eventually, recorded};

/// A program that notes what it was to open, in place of the desktop's.
struct Desktop {
    folder: PathBuf,
    noted: PathBuf,
}

impl Desktop {
    fn of(place: &Place) -> Desktop {
        let folder = place.path().join("desktop");
        std::fs::create_dir(&folder).unwrap();
        let noted = place.path().join("noted");
        let program = folder.join("xdg-open");
        let script = format!("#!/bin/sh\necho \"$1\" >> {}\n", noted.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Desktop { folder, noted }
    }

    /// `schism`, where this desktop is.
    fn schism(&self, place: &Place, args: &[&str]) -> Ended {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = place.command(args);
        command.env("PATH", format!("{}:{path}", self.folder.display()));
        Ended::of(command.output().unwrap())
    }

    /// Nobody waits for a browser; what it was given comes some time.
    #[track_caller]
    fn opens(&self, page: &Path) {
        let text = || std::fs::read_to_string(&self.noted).unwrap_or_default();
        eventually("the page is opened", || text().ends_with('\n'));
        assert_eq!(text(), format!("{}\n", page.display()));
        std::fs::remove_file(&self.noted).unwrap();
    }
}

#[test]
fn a_page_is_opened_for_who_wants_it() {
    let place = Place::new();
    let run = std::fs::canonicalize(recorded(&place, "bad", "9")).unwrap();
    let desktop = Desktop::of(&place);
    desktop.schism(&place, &["check", "bad", "--open"]).exits(1);
    desktop.opens(&run.join("report.html"));
    desktop
        .schism(&place, &["report", "bad", "--open"])
        .exits(0);
    desktop.opens(&run.join("report.html"));
    place.file("h.edn", REGISTER);
    let file = ["check", "h.edn", "--report", "a page.html", "--open"];
    desktop.schism(&place, &file).exits(0);
    desktop.opens(
        &std::fs::canonicalize(place.path())
            .unwrap()
            .join("a page.html"),
    );
    // Without a page there is nothing to open, and programs are shown none.
    let no_page = place.schism(&["check", "h.edn", "--open"]).exits(64);
    no_page.says(&["--open: h.edn has no page: give --report FILE too"]);
    place
        .schism(&["check", "bad", "--open", "--json"])
        .exits(64);
}

#[test]
fn where_there_is_no_desktop_that_is_said_and_is_no_error() {
    let place = Place::new();
    recorded(&place, "bad", "9");
    place.schism(&["check", "bad"]).exits(1);
    let mut command = place.command(&["report", "bad", "--open"]);
    let ended = Ended::of(command.env("PATH", place.path()).output().unwrap());
    ended
        .exits(0)
        .says(&["--open: there is no xdg-open here to open ", "report.html"]);
}

/// From within the lab, which has no desktop and ends with the command.
#[test]
fn a_run_opens_its_report_outside_of_the_lab() {
    let place = Place::new();
    let desktop = Desktop::of(&place);
    let args = [
        "run",
        "paxos-kv",
        "--nodes",
        "3",
        "--nemesis",
        "none",
        "--time-limit",
        "2s",
        "--open",
    ];
    let ended = desktop.schism(&place, &args);
    assert!(ended.stdout.contains("\nreport   /"), "{ended:#?}");
    desktop.opens(&place.latest().join("report.html"));
    place.assert_nothing_left();
}

#[test]
fn a_path_is_a_link_where_links_are_shown_and_nowhere_else() {
    let place = Place::new();
    recorded(&place, "bad", "9");
    place.schism(&["check", "bad"]).exits(1);
    let plain = place.schism(&["report", "bad"]).exits(0).stdout;
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let mut command = place.command(&["report", "bad"]);
    let linked = Ended::of(command.env("FORCE_HYPERLINK", "1").output().unwrap());
    let path = plain.trim();
    assert_eq!(
        linked.stdout,
        format!("\u{1b}]8;;file://{path}\u{1b}\\{path}\u{1b}]8;;\u{1b}\\\n")
    );
}

/// The short help of a command is a screen, every option in it is one, and what it leaves out is in
/// the long one.
#[test]
fn the_short_help_fits_a_screen() {
    let place = Place::new();
    let help = |command: &str, flag: &str| {
        let mut command = place.command(&[command, flag]);
        Ended::of(command.env("COLUMNS", "80").output().unwrap())
            .exits(0)
            .stdout
    };
    for command in [
        "run", "check", "compare", "sweep", "prove", "matrix", "replay", "shrink", "serve",
    ] {
        let short = help(command, "-h");
        let lines = short.lines().count();
        assert!((10..=40).contains(&lines), "{lines} lines:\n{short}");
        for line in short.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
    let (short, long) = (help("run", "-h"), help("run", "--help"));
    let flags = |text: &str| -> Vec<String> {
        let words = text
            .split_whitespace()
            .filter(|word| word.starts_with("--"));
        words
            .map(|word| {
                word.trim_matches(|c: char| !c.is_alphanumeric())
                    .to_string()
            })
            .collect()
    };
    for flag in flags(&short) {
        assert!(flags(&long).contains(&flag), "{flag}");
    }
    for flag in [
        "recovery-time",
        "check-memory",
        "identity",
        "op-timeout",
        "may-crash",
    ] {
        assert!(!flags(&short).contains(&flag.to_string()), "{flag}");
        assert!(flags(&long).contains(&flag.to_string()), "{flag}");
    }
    for heading in ["\nFaults:", "\nMachines:", "\nLoad:"] {
        assert!(short.contains(heading), "{heading}");
    }
}

/// A letter means the same in every command.
#[test]
fn a_letter_is_one_option() {
    let place = Place::new();
    let commands = [
        "run", "check", "replay", "explain", "shrink", "bisect", "prove", "matrix", "compare",
        "sweep", "report",
    ];
    for command in commands {
        let help = place.schism(&[command, "--help"]).exits(0).stdout;
        for (letter, option) in [("-n", "--nodes"), ("-t", "--time-limit"), ("-s", "--seed")] {
            let mut lines = help.lines().map(str::trim);
            if let Some(line) = lines.find(|line| line.starts_with(&format!("{letter}, "))) {
                assert!(
                    line.starts_with(&format!("{letter}, {option} ")),
                    "{command}: {line}"
                );
            }
        }
    }
}
