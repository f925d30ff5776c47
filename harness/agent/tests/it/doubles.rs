//! Daemons that only seem to be dead, stopped, or wrong about the time; and what is said of them.
//!
//! The doubles are this test program itself, run again for one of its ignored tests: so they need
//! nothing of their environment, which some of them clear.

use std::fs;
use std::io::Write;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::alone::alone;
use crate::session::{Session, program, until};
use crate::sight;

const PORT: u16 = 7_411;

/// The command line of a double.
fn double(name: &str) -> String {
    let test = std::env::current_exe().expect("this program");
    format!(
        "{} --ignored --exact doubles::{name} --nocapture",
        test.display()
    )
}

/// A shell's words that start a double of which nothing tells whose it is: another session, no
/// parent, no environment.
fn away(name: &str) -> String {
    let double = double(name);
    format!("(setsid env -i {double} </dev/null >/dev/null 2>&1 &)")
}

/// Greets whoever comes, as soon as it gets the port.
#[test]
#[ignore = "a double, run by other tests"]
fn serves() {
    let listener = loop {
        match TcpListener::bind(("127.0.0.1", PORT)) {
            Ok(listener) => break listener,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    for stream in listener.incoming() {
        // Whoever does not wait for it is not helped by a panic here.
        let _ = stream.and_then(|mut stream| stream.write_all(b"here\n"));
    }
}

/// Serves once it has another's place.
#[test]
#[ignore = "a double, run by other tests"]
fn inherits() {
    let path = Path::new("risen");
    until("it may rise", || path.exists().then_some(()));
    serves();
}

/// Whether somebody greets.
fn greeted() -> bool {
    use std::io::Read;
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", PORT)) else {
        return false;
    };
    let patience = Some(Duration::from_millis(500));
    stream.set_read_timeout(patience).expect("a time");
    matches!(stream.read(&mut [0; 5]), Ok(5))
}

fn on(daemon: &str, kind: &str) -> Value {
    json!({"kind": kind, "daemon": daemon, "ports": [PORT]})
}

fn has(seen: &Value, field: &str, part: &str) -> bool {
    let lines = seen[field].as_array().into_iter().flatten();
    lines
        .filter_map(Value::as_str)
        .any(|line| line.contains(part))
}

#[test]
fn a_daemon_that_forked_away_is_killed_and_stopped_all_the_same() {
    alone(
        "doubles::a_daemon_that_forked_away_is_killed_and_stopped_all_the_same",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            agent.start("d", &format!("{}; exit 0", away("serves")), dir.path());
            agent.note(|note| note["note"] == "exited");
            until("it serves", || greeted().then_some(()));
            let seen = agent.inject(1, &on("d", "pause"));
            assert!(has(&seen, "evidence", "listens on TCP port 7411"), "{seen}");
            assert!(!greeted(), "it is stopped");
            assert_eq!(agent.state("d")["state"], "paused");
            let healed = agent.heal(1);
            assert!(healed["void"].is_null(), "{healed}");
            until("it serves again", || greeted().then_some(()));
            let seen = agent.inject(2, &on("d", "kill"));
            assert!(has(&seen, "evidence", "nobody is at ports 7411"), "{seen}");
            assert!(TcpStream::connect(("127.0.0.1", PORT)).is_err());
            assert_eq!(agent.state("d")["state"], "stopped");
            let healed = agent.heal(2);
            assert!(healed["void"].is_null(), "{healed}");
            until("it is started again", || greeted().then_some(()));
            // It is stopped with the daemon, and not left on the node.
            agent.get(json!({"do": "stop", "daemon": "d", "grace_ms": 50}));
            assert!(!greeted());
        },
    );
}

/// Somebody else's service at another port is nobody's daemon.
#[test]
fn who_serves_elsewhere_is_left_alone() {
    alone("doubles::who_serves_elsewhere_is_left_alone", || {
        let dir = tempfile::tempdir().expect("a folder");
        let mut agent = Session::open(dir.path());
        let other = Command::new("sh").args(["-c", &away("serves")]).status();
        assert!(other.expect("a shell").success());
        until("it serves", || greeted().then_some(()));
        agent.start("d", "exec sleep 7831", dir.path());
        until("it runs", || sight::sleepers("7831").pop());
        agent.inject(
            1,
            &json!({"kind": "kill", "daemon": "d", "ports": [PORT + 1]}),
        );
        assert!(greeted() && sight::sleepers("7831").is_empty());
    });
}

#[test]
fn a_daemon_whose_place_is_taken_was_not_dead() {
    alone(
        "doubles::a_daemon_whose_place_is_taken_was_not_dead",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            // Not the daemon's child: its tree might have been seen while that was its parent.
            let other = Command::new("sh")
                .args(["-c", &away("inherits")])
                .current_dir(dir.path())
                .status();
            assert!(other.expect("a shell").success());
            agent.start("d", "exec sleep 7841", dir.path());
            until("it runs", || sight::sleepers("7841").pop());
            agent.inject(1, &on("d", "kill"));
            fs::write(dir.path().join("risen"), "").expect("writes");
            until("another serves", || greeted().then_some(()));
            fs::remove_file(dir.path().join("risen")).expect("removes");
            let healed = agent.heal(1);
            assert!(has(&healed, "void", "7411"), "{healed}");
            assert!(!greeted(), "it has gone before the daemon was started");
            until("the daemon runs", || sight::sleepers("7841").pop());
        },
    );
}

/// Where the agent is process 1, no sign is needed at all. What it runs for itself is its own.
#[test]
fn all_of_a_namespace_is_the_daemons_but_the_agents_own() {
    alone(
        "doubles::all_of_a_namespace_is_the_daemons_but_the_agents_own",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut command = Command::new("unshare");
            let own = [
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                program(),
                "--dir",
            ];
            let (mut agent, hello) = Session::with(command.args(own).arg(dir.path()), 600_000);
            assert_eq!(hello["pid"], 1);
            let script = "(setsid env -i sleep 7851 &); exec sleep 7852";
            agent.start("d", script, dir.path());
            let run = json!({"do": "run", "argv": ["sh", "-c", "setsid env -i sleep 7853; echo whole"],
                "timeout_ms": 60_000});
            let run = agent.send(run);
            let sleeper = |time: &str| until("it runs", || sight::sleepers(time).pop());
            let (stray, ours) = (sleeper("7851"), sleeper("7853"));
            agent.inject(1, &json!({"kind": "pause", "daemon": "d"}));
            assert_eq!(sight::state(stray), Some('T'));
            assert_eq!(sight::state(ours), Some('S'));
            agent.heal(1);
            agent.inject(2, &json!({"kind": "kill", "daemon": "d"}));
            assert_eq!(sight::state(stray), None);
            assert_eq!(sight::state(ours), Some('S'));
            sight::output("kill", &[&ours.to_string()]);
            let ran = agent.answer(run).expect("it lives").expect("it runs");
            assert_eq!(ran["stdout"], "whole\n");
        },
    );
}

/// A process that was stopped by somebody else is not stopped by a pause.
#[test]
fn what_was_stopped_before_there_was_nothing_to_stop() {
    alone(
        "doubles::what_was_stopped_before_there_was_nothing_to_stop",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let root = agent.start("d", "exec sleep 7861", dir.path());
            until("it runs", || sight::sleepers("7861").pop());
            sight::output("kill", &["-STOP", &root.to_string()]);
            until("it is stopped", || {
                (sight::state(root) == Some('T')).then_some(())
            });
            let mut pause = on("d", "pause");
            pause["do"] = "inject".into();
            pause["fault"] = 1.into();
            let seen = agent.get(pause);
            assert_eq!(seen["held"], false, "{seen}");
            assert!(has(&seen, "evidence", "was stopped before"), "{seen}");
            // One that somebody lets go on in between was not stopped.
            sight::output("kill", &["-CONT", &root.to_string()]);
            agent.heal(1);
            agent.inject(2, &on("d", "pause"));
            sight::output("kill", &["-CONT", &root.to_string()]);
            until("it runs", || {
                (sight::state(root) == Some('S')).then_some(())
            });
            let healed = agent.heal(2);
            assert!(has(&healed, "void", "was to be stopped"), "{healed}");
        },
    );
}

fn jump(seconds: i64) -> Value {
    json!({"kind": "clock", "daemon": "d", "how": "jump", "delta_ns": seconds * 1_000_000_000})
}

fn log(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("d.log")).unwrap_or_default();
    let whole = &text[..text.rfind('\n').unwrap_or(0)];
    whole.lines().map(str::to_owned).collect()
}

/// How many lines of a word there are.
fn count(dir: &Path, word: &str) -> usize {
    log(dir).iter().filter(|line| *line == word).count()
}

/// Waits for so many more lines of a word.
fn more(dir: &Path, word: &str, lines: usize) {
    let before = count(dir, word);
    until(&format!("there are {lines} more of {word}"), || {
        (count(dir, word) >= before + lines).then_some(())
    });
}

/// Asks the kernel for the time, again and again, past its vDSO.
#[test]
#[ignore = "a double, run by other tests"]
fn asks_the_kernel() {
    loop {
        agent::vdso::now(agent::vdso::Clock::Realtime);
        println!("asked");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks its C library.
#[test]
#[ignore = "a double, run by other tests"]
fn asks_its_library() {
    loop {
        std::hint::black_box(std::time::SystemTime::now());
        println!("asked");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_clock_that_is_never_read_was_not_wrong_for_anybody() {
    alone(
        "doubles::a_clock_that_is_never_read_was_not_wrong_for_anybody",
        || {
            for (name, reads) in [("asks_the_kernel", false), ("asks_its_library", true)] {
                let dir = tempfile::tempdir().expect("a folder");
                let mut agent = Session::open(dir.path());
                agent.start("d", &format!("exec {}", double(name)), dir.path());
                more(dir.path(), "asked", 1);
                for fault in [
                    jump(3_600),
                    json!({"kind": "clock", "daemon": "d", "how": "drift", "ppb": 200_000_000}),
                    json!({"kind": "clock", "daemon": "d", "how": "strobe",
                        "delta_ns": 1_000_000_000, "period_us": 10_000}),
                ] {
                    agent.inject(1, &fault);
                    more(dir.path(), "asked", 5);
                    // What it is made to ask for evidence is not its own doing.
                    agent.get(json!({"do": "clocks", "daemon": "d"}));
                    let healed = agent.heal(1);
                    let void = has(&healed, "void", "never read its wall clock");
                    assert_eq!(void, !reads, "{name}: {fault}: {healed}");
                    assert_eq!(
                        has(&healed, "evidence", "read its wall clock 0 times"),
                        !reads,
                        "{healed}"
                    );
                }
                // Started during the fault, it is counted too.
                agent.inject(1, &jump(60));
                agent.inject(2, &on("d", "kill"));
                agent.heal(2);
                more(dir.path(), "asked", 20);
                let healed = agent.heal(1);
                assert_eq!(healed["void"].is_null(), reads, "{name}: {healed}");
            }
        },
    );
}

fn in_half_a_second(clock: libc::clockid_t) -> libc::timespec {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the C library, by the vDSO, fills the struct.
    let mut time = unsafe {
        assert_eq!(libc::clock_gettime(clock, time.as_mut_ptr()), 0);
        time.assume_init()
    };
    time.tv_nsec += 500_000_000;
    if time.tv_nsec >= 1_000_000_000 {
        time.tv_nsec -= 1_000_000_000;
        time.tv_sec += 1;
    }
    time
}

/// Waits until a time, half a second ahead by its wall clock, and says that it is over; again and
/// again, in one thread by a condition variable, in another asleep. And holds two timers that are
/// set.
#[test]
#[ignore = "a double, run by other tests"]
fn waits_until_a_time() {
    let asleep = || loop {
        let until = in_half_a_second(libc::CLOCK_REALTIME);
        // SAFETY: a plain system call with a struct that lives through it.
        unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_REALTIME,
                libc::TIMER_ABSTIME,
                &raw const until,
                std::ptr::null_mut(),
            );
        }
        println!("slept");
    };
    std::thread::spawn(asleep);
    let later = libc::itimerspec {
        it_interval: libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: libc::timespec {
            tv_sec: 4_000_000_000,
            tv_nsec: 0,
        },
    };
    // SAFETY: both objects are initialised as pthread.h says and stay where they are.
    unsafe {
        let timer = libc::timerfd_create(libc::CLOCK_REALTIME, 0);
        let flags = libc::TFD_TIMER_ABSTIME;
        libc::timerfd_settime(timer, flags, &raw const later, std::ptr::null_mut());
        let mut posix = std::ptr::null_mut();
        let made = libc::timer_create(libc::CLOCK_REALTIME, std::ptr::null_mut(), &raw mut posix);
        assert_eq!(made, 0);
        let flags = libc::TIMER_ABSTIME;
        libc::timer_settime(posix, flags, &raw const later, std::ptr::null_mut());
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        let mut condition = libc::PTHREAD_COND_INITIALIZER;
        libc::pthread_mutex_lock(&raw mut mutex);
        loop {
            let until = in_half_a_second(libc::CLOCK_REALTIME);
            libc::pthread_cond_timedwait(&raw mut condition, &raw mut mutex, &raw const until);
            println!("waited");
        }
    }
}

/// By a clock that is an hour ahead, half a second is an hour and a half second to the kernel.
#[cfg(target_arch = "x86_64")]
#[test]
fn who_waits_until_a_time_waits_by_the_clock_that_it_is_shown() {
    alone(
        "doubles::who_waits_until_a_time_waits_by_the_clock_that_it_is_shown",
        || {
            let dir = tempfile::tempdir().expect("a folder");
            let mut agent = Session::open(dir.path());
            let script = format!("exec {}", double("waits_until_a_time"));
            agent.start("d", &script, dir.path());
            let both = |lines: usize| {
                more(dir.path(), "waited", lines);
                more(dir.path(), "slept", lines);
            };
            both(1);
            for seconds in [3_600, 7_200] {
                agent.inject(1, &jump(seconds));
                both(3);
                let healed = agent.heal(1);
                // Nearly always both are in the midst of a wait.
                assert!(healed["void"].is_null(), "{healed}");
                for timer in [": set to a time perhaps", "of timer_create"] {
                    assert!(has(&healed, "evidence", timer), "{timer}: {healed}");
                }
                both(3);
            }
            // It pays nothing for it: half a second is half a second.
            agent.inject(2, &jump(3_600));
            let (began, before) = (std::time::Instant::now(), count(dir.path(), "waited"));
            both(6);
            let waits = count(dir.path(), "waited") - before;
            // One ends at the jump, and one had begun before.
            let least = Duration::from_millis(400) * u32::try_from(waits - 2).expect("few");
            assert!(began.elapsed() >= least, "{waits} waits ended too early");
            agent.heal(2);
            // The other clock leaves them alone.
            let freeze = json!({"kind": "clock", "daemon": "d", "how": "freeze", "pause_ms": 300,
                "kept": false});
            agent.inject(3, &freeze);
            both(1);
            agent.heal(3);
            both(1);
        },
    );
}
