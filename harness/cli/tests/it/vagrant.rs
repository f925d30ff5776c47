//! Vagrant, as far as it can be had without machines: what is missing, and how it is called.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Ended, Place};

/// `schism` with a PATH that has nothing but what the test put into `bin`.
fn schism(place: &Place, folder: &str, args: &[&str]) -> Ended {
    let mut command = place.command(args);
    command
        .env("PATH", place.path().join("bin"))
        .env("SCHISM_VAGRANT_DIR", place.path().join(folder));
    Ended::of(command.output().expect("schism starts"))
}

fn fake(place: &Place, script: &str) {
    let path = place.file("bin/vagrant", format!("#!/bin/sh\n{script}\n"));
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("it is ours");
}

#[test]
fn what_vagrant_lacks_is_said_with_the_way_out() {
    let place = Place::new();
    for folder in ["machines", "bin"] {
        std::fs::create_dir(place.path().join(folder)).expect("a folder");
    }
    schism(&place, "machines", &["cluster", "up"])
        .exits(64)
        .says(&["there is no Vagrantfile", "SCHISM_VAGRANT_DIR"]);
    place.file("machines/Vagrantfile", "");
    schism(&place, "machines", &["cluster", "up"])
        .exits(4)
        .says(&["there is no program `vagrant`", "vagrant/README.md"]);
    fake(
        &place,
        "echo \"The box 'schism/debian12' could not be found\" >&2; exit 1",
    );
    schism(&place, "machines", &["cluster", "up", "--nodes", "2"])
        .exits(4)
        .says(&["vagrant up --no-tty n1 n2: The box", "make box"]);
    let run = ["run", "paxos-kv", "--cluster", "vagrant", "--nodes", "2"];
    schism(&place, "machines", &run)
        .exits(4)
        .says(&["make box"]);
}

#[test]
fn machines_that_are_up_are_not_brought_up_again() {
    let place = Place::new();
    for folder in ["machines", "bin"] {
        std::fs::create_dir(place.path().join(folder)).expect("a folder");
    }
    std::fs::create_dir(place.path().join("machines/.vagrant")).expect("a folder");
    place.file("machines/Vagrantfile", "");
    // A port on which nobody listens, so that the run ends where SSH begins.
    fake(
        &place,
        "echo \"$1\" >>../called; [ \"$1\" = ssh-config ] && printf 'Host n1\\n  HostName 127.0.0.2\\n  Port 9\\n'",
    );
    let mut run = place.command(&["run", "paxos-kv", "--cluster", "vagrant", "--nodes", "1"]);
    let path = format!("{}:/usr/bin:/bin", place.path().join("bin").display());
    run.env("PATH", path)
        .env("SCHISM_VAGRANT_DIR", place.path().join("machines"));
    let ended = Ended::of(run.output().expect("schism starts")).exits(4);
    ended.says(&["n1: ", "127.0.0.2:9", "no SSH connection within"]);
    let called = std::fs::read_to_string(place.path().join("called")).expect("it was called");
    assert_eq!(called, "ssh-config\n");
}
