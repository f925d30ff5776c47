//! The whole way over SSH: getting in, a trial, and everything that can be wrong with a machine.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use crate::machines::{World, keygen};
use crate::support::{Ended, eventually, history_of};
use crate::viewer::Viewer;

/// A run that only shows that one gets in.
const BRIEF: &[&str] = &["--nemesis", "none", "--time-limit", "1s", "--rate", "200"];
const TRUSTING: &str = "--accept-new-host-keys";

fn brief(more: &[&'static str]) -> Vec<&'static str> {
    BRIEF.iter().copied().chain(more.iter().copied()).collect()
}

const FAULTS: &str = r#"
version = 1
[[fault]]
at = "1s"
lasts = "2s"
family = "partition"
shape = "one-node"
targets = ["n1"]
[[fault]]
at = "3500ms"
lasts = "1500ms"
family = "pause"
targets = ["n2"]
[[fault]]
at = "3500ms"
lasts = "2s"
family = "clock"
shape = "jump"
targets = ["n3"]
delta = "+30s"
[[fault]]
at = "6s"
lasts = "1s"
family = "kill"
targets = ["n1"]
"#;

#[test]
fn a_trial_over_ssh_is_judged_and_leaves_the_machines_as_they_were() {
    let Some(world) = World::new(3, &[]) else {
        return;
    };
    let theirs = "table inet theirs {\n\tchain in {\n\t\ttype filter hook input priority filter; \
                  policy accept;\n\t\tip saddr 192.0.2.1 drop\n\t}\n}\n";
    let rules = world.place.file("theirs.nft", theirs);
    for node in 1..=3 {
        let load = format!("nft -f {}", rules.display());
        assert_eq!(world.in_network_of(node, &load).code, 0);
    }
    let schedule = world.place.file("faults.toml", FAULTS);
    let schedule = schedule.to_str().expect("it is text");
    let trial = [
        "--schedule",
        schedule,
        "--time-limit",
        "9s",
        "--seed",
        "5",
        TRUSTING,
    ];
    world
        .ends("n1,n2,n3", &trial)
        .exits(0)
        .says(&[
            "uploaded schism-agent and paxos-kv to n1",
            // Clocks of machines that share this kernel are this kernel's: never touched.
            "n1: clock faults shift the clocks of its processes, not the machine's",
            "controller's kernel",
        ])
        .prints(&["VALID", "4 faults that held", "schism run --spec "]);
    for node in 1..=3 {
        let log = format!("nodes/n{node}/log/paxos-kv.log");
        let log = world.place.latest().join(log);
        assert!(log.exists(), "{} was not collected", log.display());
        let ruleset = world.in_network_of(node, "nft list ruleset");
        assert_eq!(ruleset.stdout, theirs, "what was not ours is as it was");
    }
    assert_eq!(world.processes(), []);

    // The second run finds its programs, by content, and the hosts' keys.
    let second = world.ends("n1,n2,n3", BRIEF).exits(0);
    second.says(&["nothing to upload"]);
}

#[test]
fn one_gets_in_by_key_by_agent_by_passphrase_and_through_another_host() {
    let Some(world) = World::new(2, &[]) else {
        return;
    };
    // Unknown hosts are refused, and nothing is written down.
    let known = world.dir().join("known_hosts");
    let refused = world.ends("n1", BRIEF).exits(4);
    refused.says(&["n1: root@10.78.0.1", "not in known_hosts", TRUSTING]);
    assert!(!known.exists());
    world.ends("n1", &brief(&[TRUSTING])).exits(0);
    assert!(known.exists());

    // A key with a passphrase: without it, with a wrong one, with it.
    let locked = world.dir().join("locked");
    keygen(&locked, "open sesame");
    let public = std::fs::read_to_string(world.dir().join("locked.pub")).expect("is there");
    let authorized = std::fs::read_to_string(world.dir().join("key.pub")).expect("is there");
    world.place.file("authorized_keys", authorized + &public);
    let identity = ["--identity", locked.to_str().expect("text")];
    let args: Vec<&str> = BRIEF.iter().copied().chain(identity).collect();
    // Without a terminal nobody can be asked, whatever this test was started from.
    let alone = |command: &mut Command| {
        use std::os::unix::process::CommandExt;
        // SAFETY: one system call between fork and exec.
        unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
        Ended::of(command.output().expect("it starts"))
    };
    let mut command = world.schism("n1", &args);
    alone(command.env_remove("SCHISM_SSH_PASSPHRASE"))
        .exits(4)
        .says(&["n1: ", "it has a passphrase", "SCHISM_SSH_PASSPHRASE"]);
    let mut command = world.schism("n1", &args);
    alone(command.env("SCHISM_SSH_PASSPHRASE", "wrong"))
        .exits(4)
        .says(&["n1: ", "wrong passphrase"]);
    let mut command = world.schism("n1", &args);
    alone(command.env("SCHISM_SSH_PASSPHRASE", "open sesame")).exits(0);

    // The same key, held open by an agent.
    let socket = world.dir().join("agent");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("openssh-client is installed");
    eventually("the agent listens", || socket.exists());
    let ask = world.place.file("ask.sh", "#!/bin/sh\necho open sesame\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&ask, mode).expect("it is ours");
    let added = Command::new("ssh-add")
        .arg(&locked)
        .env("SSH_AUTH_SOCK", &socket)
        .env("SSH_ASKPASS", &ask)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .stdin(Stdio::null())
        .status();
    assert!(added.expect("openssh-client is installed").success());
    let mut command = world.schism("n1", &args);
    let ended = alone(command.env("SSH_AUTH_SOCK", &socket));
    let _ = agent.kill();
    let _ = agent.wait();
    ended.exits(0);

    // Through the first to the second, whose port is closed to everybody else.
    let filter = "table inet shut { chain in { type filter hook input priority 0; \
                  ip saddr 10.78.0.254 tcp dport 22 drop; }; }";
    let filter = world.place.file("shut.nft", filter);
    world
        .in_network_of(2, &format!("nft -f {}", filter.display()))
        .exits(0);
    let jump = brief(&[TRUSTING, "--jump", "n1"]);
    world.ends("n2", &jump).exits(0);
}

#[test]
fn every_machine_that_cannot_be_used_is_named_with_its_reason_and_the_way_out() {
    let arm = "mkdir /run/bin; printf '#!/bin/sh\\necho aarch64\\n' >/run/bin/uname; \
               chmod 755 /run/bin/uname; mount --bind /run/bin/uname /usr/bin/uname";
    let special = [
        (1, "mount -t tmpfs -o noexec tmpfs /var/lib"),
        (2, "mount -t tmpfs -o size=256k tmpfs /var/lib"),
        (3, arm),
    ];
    let Some(world) = World::new(6, &special) else {
        return;
    };
    // Those that nobody gets into, one of them not even there.
    let other = world.dir().join("other");
    keygen(&other, "");
    let other_host = std::fs::read_to_string(world.dir().join("other.pub")).expect("is there");
    let mut words = other_host.split(' ');
    let (kind, key) = (words.next().expect("kind"), words.next().expect("key"));
    world
        .place
        .file("known_hosts", format!("10.78.0.5 {kind} {key}\n"));
    let first = format!(
        "Host n4\n  User tester\nHost n6\n  IdentityFile {}\n\
         Host gone\n  HostName 10.78.0.99\n",
        other.display()
    );
    world.config(&first, &[6]);
    let ended = world.ends("n4,n5,n6,gone", &brief(&[TRUSTING])).exits(4);
    let ended = ended.says(&[
        "n1: tester@10.78.0.4: root is needed there",
        "sudoers.d",
        "n2: root@10.78.0.5: its host key (ssh-ed25519) is another than known_hosts has",
        "ssh-keygen -R",
        "n3: root@10.78.0.6: root is not let in",
        "refused",
        "ssh-copy-id",
        "n4: root@10.78.0.99: no SSH connection within",
    ]);
    assert!(!ended.stderr.contains("panicked"), "{ended:#?}");

    // Those that one gets into, and that cannot run anything.
    world.ends("n1,n2,n3", &brief(&[TRUSTING])).exits(4).says(&[
        "n1: root@10.78.0.1: ",
        "noexec",
        "--remote-dir",
        "n2: root@10.78.0.2: ",
        "No space left on device",
        "n3: root@10.78.0.3: its processor is aarch64",
        "--target aarch64-unknown-linux-gnu",
    ]);
    assert_eq!(world.processes(), []);
    world
        .ends(
            "n4",
            &brief(&[TRUSTING, "--user", "root", "--clocks", "machine"]),
        )
        .exits(4)
        .says(&[
            "n1: root@10.78.0.4: its clock cannot be set",
            "--clocks process",
        ]);
}

/// What a run says on stderr, as far as it has.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn all(&self) -> String {
        self.0.lock().expect("no panic while held").clone()
    }

    fn add(&self, line: &str) {
        let mut said = self.0.lock().expect("no panic while held");
        said.push_str(line);
        said.push('\n');
    }

    /// Waits until a line has all of these words.
    fn until(&self, words: &[&str]) {
        eventually(&format!("a line says {words:?}"), || {
            let has = |line: &str| words.iter().all(|word| line.contains(word));
            self.all().lines().any(has)
        });
    }
}

/// A long run that has come to its main phase, with every kind of fault in force.
fn in_mid_run(world: &World) -> (Child, Said) {
    in_mid_run_on(world, "n1,n2,n3")
}

fn in_mid_run_on(world: &World, nodes: &str) -> (Child, Said) {
    let fault = |family: &str, more: &str| {
        format!("[[fault]]\nat = \"1s\"\nlasts = \"80s\"\nfamily = \"{family}\"\n{more}\n")
    };
    let schedule = String::from("version = 1\n")
        + &fault("partition", "shape = \"one-node\"\ntargets = [\"n1\"]")
        + &fault(
            "clock",
            "shape = \"jump\"\ntargets = [\"n3\"]\ndelta = \"+30s\"",
        )
        + &fault(
            "packet",
            "shape = \"loss\"\ntargets = [\"n3\"]\nshare = \"5%\"",
        )
        + &fault("pause", "targets = [\"n2\"]");
    let schedule = world.place.file("long.toml", schedule);
    let args = ["--time-limit", "90s", "--seed", "3", TRUSTING, "--schedule"];
    let mut child = world
        .schism(nodes, &args)
        .arg(schedule)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("schism starts");
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let said = Said::default();
    // Somebody must go on reading, or the run would block on its own progress.
    std::thread::spawn({
        let said = said.clone();
        move || lines.map_while(Result::ok).for_each(|line| said.add(&line))
    });
    said.until(&["in force", "one-node", "clock of", "packets of", "pause"]);
    (child, said)
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id() as i32).expect("a pid is not zero");
    kill_process(pid, signal).expect("it still runs");
}

/// No rule of ours, and nobody stopped.
fn assert_whole(world: &World, node: usize) {
    eventually("no rule of ours is left", || {
        let ended = world.in_network_of(node, "nft list tables");
        ended.code == 0 && !ended.stdout.contains("schism")
    });
    eventually("nobody is stopped", || {
        world.processes().iter().all(|(state, _)| *state != 'T')
    });
}

#[test]
fn machines_heal_themselves_when_the_controller_is_killed() {
    let Some(world) = World::new(3, &[]) else {
        return;
    };
    let (mut child, _) = in_mid_run(&world);
    assert!(world.processes().iter().any(|(state, _)| *state == 'T'));
    assert!(
        world
            .in_network_of(1, "nft list tables")
            .stdout
            .contains("schism")
    );
    signal(&child, Signal::KILL);
    child.wait().expect("it is dead");
    for node in 1..=3 {
        assert_whole(&world, node);
    }
    eventually("agents and daemons are gone", || {
        world.processes().is_empty()
    });
}

#[test]
fn machines_heal_themselves_when_the_controller_is_cut_off() {
    let Some(world) = World::new(3, &[]) else {
        return;
    };
    let (mut child, _) = in_mid_run(&world);
    world.run("ip link set bridge0 down").exits(0);
    for node in 1..=3 {
        assert_whole(&world, node);
    }
    assert!(!world.processes().is_empty(), "the daemons run on");
    signal(&child, Signal::KILL);
    child.wait().expect("it is dead");
}

/// The nemesis's events of the latest run.
fn faults(world: &World) -> Vec<String> {
    let history = history_of(&world.place.latest());
    let of_nemesis = |line: &&str| line.contains(r#""process":"nemesis""#);
    history
        .lines()
        .filter(of_nemesis)
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_lost_link_is_taken_up_again_and_nothing_is_repeated_or_forgotten() {
    let Some(world) = World::new(3, &[]) else {
        return;
    };
    let (child, said) = in_mid_run(&world);
    // One node's connections are reset by its network, and it cannot be reached for a while: its
    // own end does not know.
    let filter = "table inet shut { chain in { type filter hook input priority -300; \
                  tcp dport 22 reject with tcp reset; }; }";
    let filter = world.place.file("shut.nft", filter);
    let shut = format!("nft -f {}", filter.display());
    world.in_network_of(1, &shut).exits(0);
    // Of another the sessions' own processes die; the server stays.
    let script = "for p in /proc/[0-9]*; do read -r name <$p/comm && [ \"$name\" = sshd ] && \
                  [ ${p#/proc/} != 1 ] && [ ${p#/proc/} != $PPID ] && kill -9 ${p#/proc/}; done";
    world.on(3, script);
    // Only who sends notices it, and it must not be over before.
    said.until(&["n1: its link is lost"]);
    // Whoever looks on in a browser sees it, and the faults that are in force meanwhile.
    let viewer = Viewer::of(&world.place);
    let latest = world.place.latest();
    let name = latest.file_name().expect("a folder").to_string_lossy();
    let mut now = String::new();
    eventually("the viewer has heard of the link", || {
        now = viewer.get(&format!("/run/{name}/now"));
        now.contains("n1: its link is lost")
    });
    for told in ["main phase", "pause n2", "fetched when the run ends"] {
        assert!(now.contains(told), "{told}: {now}");
    }
    world
        .in_network_of(1, "nft delete table inet shut")
        .exits(0);
    said.until(&["n3: the link was lost", "taken up again"]);
    said.until(&["n1: the link was lost", "taken up again"]);

    // Every fault is as it was, on both.
    let rules = world.in_network_of(1, "nft list tables").stdout;
    assert!(rules.contains("schism"), "the partition is healed: {rules}");
    let rules = world.in_network_of(3, "nft list tables").stdout;
    assert!(rules.contains("schism"), "the loss is healed: {rules}");
    assert!(world.processes().iter().any(|(state, _)| *state == 'T'));
    signal(&child, Signal::TERM);
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    // The faults' healing was asked on the new links, and is known to have worked.
    let faults = faults(&world);
    let healed =
        |line: &&String| line.contains(r#""action":"heal""#) && line.contains(r#""type":"ok""#);
    assert_eq!(
        faults.iter().filter(healed).count(),
        5,
        "four, and all: {faults:#?}"
    );
    assert!(
        !faults.iter().any(|line| line.contains(r#""type":"fail""#)),
        "{faults:#?}"
    );
    // Never green: nobody knows what a run without its controller was like.
    assert_eq!(ended.code, 4, "{ended:#?}\n{}", said.all());
    for told in ["INFRA", "n1: the link was lost", "n3: the link was lost"] {
        assert!(ended.stdout.contains(told), "{told}: {ended:#?}");
    }
    for node in 1..=3 {
        assert_whole(&world, node);
    }
    eventually("agents and daemons are gone", || {
        world.processes().is_empty()
    });
}

#[test]
fn a_node_that_dies_for_good_is_named_and_the_others_are_healed() {
    let Some(world) = World::new(3, &[]) else {
        return;
    };
    let (child, said) = in_mid_run(&world);
    world.end(3);
    said.until(&["n3: ", "gone"]);
    signal(&child, Signal::TERM);
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ended.code, 4, "{ended:#?}\n{}", said.all());
    for told in ["INFRA", "n3: ", "the agent is gone"] {
        assert!(ended.stdout.contains(told), "{told}: {ended:#?}");
    }
    for node in 1..=2 {
        assert_whole(&world, node);
    }
    eventually("agents and daemons are gone", || {
        world.processes().is_empty()
    });
}

#[test]
fn a_machine_that_is_none_cannot_be_suspended_or_reset() {
    let Some(world) = World::new(1, &[]) else {
        return;
    };
    // Each by its name: a family alone leaves it to the seed which of its shapes are drawn.
    for (shape, needs) in [
        ("machine:suspend", "machine:suspend needs suspend"),
        ("machine:reboot", "machine:reboot needs reset"),
    ] {
        let args = ["--nemesis", shape, "--time-limit", "10s", TRUSTING];
        world.ends("n1", &args).exits(4).says(&[
            needs,
            "which n1 cannot offer",
            "--cluster vagrant",
        ]);
        assert_eq!(world.processes(), []);
    }
}

#[test]
fn a_machine_whose_agent_is_killed_or_stopped_heals_itself_while_the_run_goes_on() {
    let Some(world) = World::new(5, &[]) else {
        return;
    };
    // The three that are left are still a majority.
    let (mut child, said) = in_mid_run_on(&world, "n1,n2,n3,n4,n5");
    let signalled = |node: usize, signal: &str| {
        let script = format!(
            "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | \
             grep -q '^{}/.*--control' && kill -{signal} ${{p#/proc/}} && echo done; done; true",
            world.remote()
        );
        assert_eq!(world.on(node, &script).stdout, "done\n", "n{node}");
    };
    signalled(1, "KILL");
    signalled(2, "STOP");
    said.until(&["n1: ", "gone"]);
    let rules = |node: usize| world.in_network_of(node, "nft list tables").stdout;
    eventually("no rule is left on n1", || !rules(1).contains("schism"));
    eventually("n2's daemon, which was paused, is gone", || {
        world.processes().iter().all(|(state, _)| *state != 'T')
    });
    eventually("no rule is left on n2", || !rules(2).contains("schism"));
    // The others know nothing of it, and the run goes on.
    assert!(rules(3).contains("schism"));
    assert!(child.try_wait().expect("it is ours").is_none());
    for node in [1, 2] {
        let log = format!("cat {}/agent/watchdog.log", world.remote());
        let log = world.on(node, &log).exits(0).stdout;
        assert!(log.contains("undone: ["), "n{node}: {log}");
    }
    signal(&child, Signal::TERM);
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ended.code, 4, "{ended:#?}\n{}", said.all());
    for told in ["INFRA", "n1: the agent is gone", "n2: the agent is gone"] {
        assert!(ended.stdout.contains(told), "{told}: {ended:#?}");
    }
    for node in 1..=5 {
        assert_whole(&world, node);
    }
    eventually("agents, watchdogs and daemons are gone", || {
        world.processes().is_empty()
    });
}
