//! Another user of a node, and somebody's own folder in the place that is named: what Schism does
//! as root there touches neither.

use crate::hostile::{BRIEF, instead_of};
use crate::machines::World;

/// Has this done by somebody who may do nothing.
fn as_tester(script: &str) -> String {
    assert!(!script.contains('\''), "it is quoted so");
    format!("setpriv --reuid 4242 --regid 4242 --clear-groups sh -c '{script}'")
}

/// Has this done on a node.
fn done(world: &World, node: usize, script: &str) -> String {
    world.on(node, script).exits(0).stdout
}

#[test]
fn a_folder_that_is_not_ours_is_refused_and_left_as_it_is() {
    let Some(world) = World::new(6, &[]) else {
        return;
    };
    let dir = world.remote();
    let precious = |dir: &str| {
        format!(
            "mkdir {dir}/run {dir}/programs {dir}/programs/old {dir}/agent; \
             echo precious >{dir}/run/file; echo precious >{dir}/programs/old/file; \
             echo precious >{dir}/agent/lock; touch -d @0 {dir}/programs/old"
        )
    };
    let kept = |dir: &str| format!("cat {dir}/run/file {dir}/programs/old/file {dir}/agent/lock");
    // Prepared by somebody else.
    let theirs = as_tester(&format!("mkdir -m 700 {dir}; {}", precious(&dir)));
    done(&world, 1, &theirs);
    // Of the user's own, with names that are ours too.
    done(
        &world,
        2,
        &format!("mkdir -m 700 {dir}; {}", precious(&dir)),
    );
    // By a link, to where only root may write.
    let victim = "/run/victim";
    done(
        &world,
        3,
        &format!("mkdir -m 700 {victim}; {}", precious(victim)),
    );
    done(&world, 3, &as_tester(&format!("ln -s {victim} {dir}")));
    // Ours, and open to others.
    done(
        &world,
        4,
        &format!("mkdir -m 777 {dir}; touch {dir}/made-by-schism"),
    );
    done(&world, 4, &format!("chmod 777 {dir}; {}", precious(&dir)));
    // Where anybody may put another in its place.
    done(&world, 5, "chmod 777 /var/lib");
    // With a mark that is a link.
    done(
        &world,
        6,
        &format!("mkdir -m 700 {dir}; {}", precious(&dir)),
    );
    done(
        &world,
        6,
        &format!("ln -s /etc/passwd {dir}/made-by-schism"),
    );

    world.ends("n1,n2,n3,n4,n5,n6", BRIEF).exits(4).says(&[
        &format!(
            "n1: root@10.78.0.1: --remote-dir {dir}: {dir} belongs to another user (uid 4242)"
        ),
        &format!("n2: root@10.78.0.2: --remote-dir {dir}: {dir} is there and has no file"),
        &format!("n3: root@10.78.0.3: --remote-dir {dir}: {dir} is a link to {victim}"),
        &format!("n4: root@10.78.0.4: --remote-dir {dir}: others can use {dir} (mode 777)"),
        &format!("chmod 700 {dir}"),
        &format!("n5: root@10.78.0.5: --remote-dir {dir}: others can write to /var/lib (mode 777)"),
        &format!("n6: root@10.78.0.6: --remote-dir {dir}: {dir} is there and has no file"),
    ]);
    for (node, dir) in [(1, &*dir), (2, &dir), (3, victim), (4, &dir), (6, &dir)] {
        assert_eq!(
            done(&world, node, &kept(dir)),
            "precious\n".repeat(3),
            "n{node}"
        );
        let listed = done(&world, node, &format!("cd {dir} && find . | wc -l"));
        let mark = usize::from(node == 4 || node == 6);
        assert_eq!(
            listed.trim(),
            (8 + mark).to_string(),
            "n{node}: nothing is made there"
        );
    }
    assert_eq!(done(&world, 5, "ls -A /var/lib"), "");
    assert_eq!(world.processes(), []);
}

/// Comes between any two steps by which the folder is looked at and made.
#[test]
fn whoever_comes_between_two_steps_gets_nowhere() {
    // What root would have write into a folder of root's, and run.
    let attack = "for dir in \"$@\"; do :; done; : >/run/attacked\n\
        case $dir in */schism-*) ;; *) exec $real \"$@\";; esac\n";
    let link = attack.to_string() + &as_tester("ln -s /run/victim $0") + " $dir\nexec $real \"$@\"";
    let folder = attack.to_string()
        + &as_tester("/run/mkdir.real $0 && touch $0/made-by-schism")
        + " $dir\nexec $real \"$@\"";
    let swap = attack.to_string()
        + "$real \"$@\"; code=$?\n"
        + &as_tester("mv $0 $0.old && ln -s /run/victim $0 && : >/var/tmp/swapped")
        + " $dir 2>/dev/null\nexit $code";
    let victim = "mkdir -m 700 /run/victim\n";
    let special = [
        (1, format!("{victim}{}", instead_of("mkdir", &link))),
        (2, format!("{victim}{}", instead_of("mkdir", &folder))),
        (3, format!("{victim}{}", instead_of("stat", &swap))),
    ];
    let special: Vec<_> = special
        .iter()
        .map(|(n, script)| (*n, &script[..]))
        .collect();
    let Some(world) = World::new(3, &special) else {
        return;
    };
    for node in ["n1", "n2"] {
        let wrong = ["--remote-dir", "File exists"];
        world.ends(node, BRIEF).exits(4).says(&wrong);
    }
    // There is nothing to exchange for somebody who may not.
    world.ends("n3", BRIEF).exits(0);
    for node in 1..=3 {
        done(&world, node, "test -e /run/attacked");
        assert_eq!(done(&world, node, "ls -A /run/victim"), "", "n{node}");
        assert_eq!(
            world.on(node, "test -e /var/tmp/swapped").code,
            1,
            "n{node}"
        );
    }
}

/// A machine may lose the folder when it starts anew, and somebody may make another.
#[test]
fn a_folder_that_was_lost_and_made_again_by_somebody_else_is_not_run_from() {
    let Some(world) = World::new(1, &[]) else {
        return;
    };
    world.ends("n1", BRIEF).exits(0);
    let dir = world.remote();
    let programs = done(
        &world,
        1,
        &format!("cd {dir}/programs && ls -d */schism-agent"),
    );
    let agent = format!("{dir}/programs/{}", programs.trim());
    done(&world, 1, &format!("rm -r {dir}"));
    let program = format!(
        "mkdir -p $(dirname {agent}); printf \"#!/bin/sh\\n: >/run/owned\\n\" >{agent}; \
                           chmod 755 {agent}; touch {dir}/made-by-schism; chmod 700 {dir}"
    );
    done(&world, 1, &as_tester(&program));
    world
        .ends("n1", BRIEF)
        .exits(4)
        .says(&["belongs to another user (uid 4242)"]);
    assert_eq!(world.on(1, "test -e /run/owned").code, 1);
}
