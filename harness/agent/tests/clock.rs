//! Clocks of real processes: programs of several languages whose vDSO is patched while they run.
//!
//! Every expectation is a bracket: the true time before the question and after the answer, taken
//! by this test with a system call, each put through the definition of the line. So nothing here
//! depends on how fast the machine is.

#[path = "clock/child.rs"]
mod child;
#[path = "clock/languages.rs"]
mod languages;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use agent::vdso::{
    Clock, ClockError, Line, Patch, Removal, Shift, cover, now, rehearse, spawn, start_time,
    support, tree,
};

const NANOS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600 * NANOS;

fn realtime(line: Line) -> Shift {
    Shift {
        realtime: line,
        ..Shift::IDENTITY
    }
}

/// A program that answers each line it reads with a line that begins with `@`: what its clocks
/// show. Killed when dropped.
struct Program {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// An answer: named readings, in ns, between two true times of both clocks.
struct Answer {
    readings: Vec<(String, i64)>,
    before: [i64; 4],
    after: [i64; 4],
}

impl Program {
    fn start(command: &mut Command) -> Program {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Program::over(child)
    }

    fn over(mut child: Child) -> Program {
        let (stdin, stdout) = (
            child.stdin.take().unwrap(),
            BufReader::new(child.stdout.take().unwrap()),
        );
        Program {
            child,
            stdin,
            stdout,
        }
    }

    /// Started and past its first answer, so that it surely runs its own program by now.
    fn ready(command: &mut Command) -> Program {
        let mut program = Program::start(command);
        program.ask("clocks");
        program
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
        self.stdin.flush().unwrap();
    }

    /// The next line that is an answer, without its mark.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.stdout.read_line(&mut line).unwrap(),
                0,
                "the program ended: {:?}",
                self.child.wait()
            );
            if let Some((_, answer)) = line.split_once('@') {
                return answer.trim().to_owned();
            }
        }
    }

    fn ask(&mut self, line: &str) -> Answer {
        let before = truth();
        self.say(line);
        let text = self.hear();
        let after = truth();
        let readings = text.split_whitespace().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{text}"));
            (
                name.to_owned(),
                value.parse().unwrap_or_else(|_| panic!("{text}")),
            )
        });
        Answer {
            readings: readings.collect(),
            before,
            after,
        }
    }

    fn assert_shows(&mut self, shift: &Shift) {
        self.ask("clocks").assert_shows(shift);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// Each reading lies between what the shift makes of the true times before and after.
    ///
    /// A reading's name: `r` or `m` for the clock, `R` or `M` for its coarse sister, and the ns to
    /// which the program rounds it down.
    fn assert_shows(&self, shift: &Shift) {
        assert!(!self.readings.is_empty());
        for (name, shown) in &self.readings {
            let (clock, unit) = name.split_once('/').unwrap_or((name, "0"));
            let index = ["r", "m", "R", "M"]
                .iter()
                .position(|known| *known == clock)
                .unwrap();
            let line = [shift.realtime, shift.monotonic][index % 2];
            let unit: i64 = unit.parse().unwrap();
            let (low, high) = (
                line.show(self.before[index]) - unit,
                line.show(self.after[index]),
            );
            assert!(
                (low..=high).contains(shown),
                "{name} shows {shown}, not {low}..={high}, by {line:?}"
            );
        }
    }
}

/// The true times, by system call: real time, monotonic, and both coarse clocks.
fn truth() -> [i64; 4] {
    [
        libc::CLOCK_REALTIME,
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_REALTIME_COARSE,
        libc::CLOCK_MONOTONIC_COARSE,
    ]
    .map(child::system_call)
}

/// This test program itself, as a child: see child.rs.
fn rust() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child::program", "--nocapture"])
        .env(child::MARK, "1");
    command
}

fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat[stat.rfind(')').unwrap() + 2..].chars().next().unwrap()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: a signal to a child that is not reaped.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

fn image(pid: u32) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let range = maps
        .lines()
        .find(|line| line.ends_with("[vdso]"))
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let (start, end) = range.split_once('-').unwrap();
    let (start, end) = (
        u64::from_str_radix(start, 16).unwrap(),
        u64::from_str_radix(end, 16).unwrap(),
    );
    let mut bytes = vec![0; (end - start) as usize];
    fs::File::open(format!("/proc/{pid}/mem"))
        .unwrap()
        .read_exact_at(&mut bytes, start)
        .unwrap();
    bytes
}

#[test]
fn this_machine_is_supported() {
    let layout = support().unwrap();
    assert!(
        layout.payload_len <= layout.free_len && layout.free_len < layout.image_len,
        "{layout:?}"
    );
    rehearse().unwrap();
}

#[test]
fn a_spawned_child_never_sees_the_true_time() {
    let shift = Shift {
        realtime: Line::offset(HOUR_NS),
        monotonic: Line::offset(90 * NANOS),
    };
    let mut command = rust();
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let before = truth();
    let (child, patch) = spawn(&mut command, &shift).unwrap();
    let mut program = Program::over(child);
    // The child read its clocks first thing, before it was asked.
    let first = program.ask("first");
    Answer { before, ..first }.assert_shows(&shift);
    program.assert_shows(&shift);
    assert_eq!(patch.get().unwrap(), shift);
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/status", program.pid()))
            .unwrap()
            .lines()
            .find(|l| l.starts_with("TracerPid")),
        Some("TracerPid:\t0")
    );

    let missing = spawn(&mut Command::new("/nowhere/nothing"), &shift);
    assert!(matches!(missing, Err(ClockError::Spawn { .. })));
    let absurd = realtime(Line {
        rate_ppb: 11 * NANOS,
        ..Line::IDENTITY
    });
    assert!(matches!(
        spawn(&mut rust(), &absurd),
        Err(ClockError::Line { .. })
    ));
}

#[test]
fn siblings_and_this_program_keep_the_truth() {
    let (mut one, mut two) = (Program::ready(&mut rust()), Program::ready(&mut rust()));
    let own = image(std::process::id());
    let other = image(two.pid());
    let patch = Patch::install(one.pid()).unwrap();
    patch.set(&realtime(Line::offset(HOUR_NS))).unwrap();
    one.assert_shows(&realtime(Line::offset(HOUR_NS)));
    two.assert_shows(&Shift::IDENTITY);
    assert_eq!(image(two.pid()), other);
    assert_eq!(image(std::process::id()), own);
    // And one that starts now.
    Program::ready(&mut rust()).assert_shows(&Shift::IDENTITY);
}

#[test]
fn a_patch_is_adopted_with_its_shift() {
    let mut program = Program::ready(&mut rust());
    let shift = realtime(Line::offset(HOUR_NS));
    Patch::install(program.pid()).unwrap().set(&shift).unwrap();
    let patched = image(program.pid());
    let again = Patch::install(program.pid()).unwrap();
    assert_eq!(image(program.pid()), patched);
    assert_eq!(again.get().unwrap(), shift);
    assert_eq!(again.start_time(), start_time(program.pid()).unwrap());
    assert_eq!(again.remove().unwrap(), Removal::Whole);
    program.assert_shows(&Shift::IDENTITY);
}

#[test]
fn fork_inherits_and_exec_resets() {
    let shift = realtime(Line::offset(HOUR_NS));
    let mut program = Program::ready(&mut rust());
    let patch = Patch::install(program.pid()).unwrap();
    patch.set(&shift).unwrap();
    program.ask("fork").assert_shows(&shift);

    program.ask("exec").assert_shows(&Shift::IDENTITY);
    assert!(matches!(patch.set(&shift), Err(ClockError::Gone { .. })));
    assert!(matches!(patch.get(), Err(ClockError::Gone { .. })));
    assert!(matches!(patch.remove(), Err(ClockError::Gone { .. })));
    program.assert_shows(&Shift::IDENTITY);

    let covered = cover(program.pid(), &shift);
    assert_eq!(
        covered.iter().map(|c| c.pid).collect::<Vec<_>>(),
        [program.pid()]
    );
    assert!(covered[0].patch.is_ok());
    program.assert_shows(&shift);
}

#[test]
fn a_whole_tree_is_covered() {
    let mut parent = Program::ready(&mut rust());
    parent.say("child");
    let child: u32 = parent.hear().parse().unwrap();
    assert_eq!(tree(parent.pid()), [parent.pid(), child]);
    let shift = Shift {
        realtime: Line::offset(-HOUR_NS),
        monotonic: Line::offset(NANOS),
    };
    for covered in cover(parent.pid(), &shift) {
        assert_eq!(covered.patch.unwrap().get().unwrap(), shift);
    }
    parent.assert_shows(&shift);
    // Its line is passed on to the child, and the child's answer back.
    parent.ask("pass").assert_shows(&shift);
}

#[test]
fn a_stopped_process_stays_stopped() {
    let mut program = Program::ready(&mut rust());
    let pid = program.pid();
    signal(pid, libc::SIGSTOP);
    until("the process stops", || state(pid) == 'T');
    let since = now(Clock::Monotonic);
    let shift = realtime(Line::offset(HOUR_NS));
    let patch = Patch::install(pid).unwrap();
    until("it is back in its stop", || state(pid) == 'T');
    patch.set(&shift).unwrap();
    assert!(matches!(
        patch.ask(Clock::Realtime),
        Err(ClockError::Stopped { .. })
    ));
    until("it is back in its stop", || state(pid) == 'T');
    program.say("clocks");
    assert_eq!(patch.remove().unwrap(), Removal::Whole);
    let patch = Patch::install(pid).unwrap();
    // A suspended machine: nothing passed.
    let until_ns = now(Clock::Monotonic);
    let frozen = Shift {
        monotonic: Line::IDENTITY.frozen(since, until_ns),
        ..shift
    };
    patch.set(&frozen).unwrap();
    until("it is back in its stop", || state(pid) == 'T');
    signal(pid, libc::SIGCONT);
    program.hear();
    program.assert_shows(&frozen);
}

#[test]
fn a_monotonic_clock_never_steps_back_however_its_rate_is_bent() {
    let mut program = Program::ready(&mut rust());
    let patch = Patch::install(program.pid()).unwrap();
    program.say("watch");
    assert_eq!(program.hear(), "watching");
    let mut line = Line::IDENTITY;
    for step in 0..2_000 {
        let rate_ppb = [NANOS, 0, 500_000_000, -500_000_000, 10 * NANOS, -NANOS][step % 6];
        let started = now(Clock::Monotonic);
        let bent = line.bent(rate_ppb, started);
        patch
            .set(&Shift {
                monotonic: bent,
                ..Shift::IDENTITY
            })
            .unwrap();
        line = bent;
        if now(Clock::Monotonic) - started > 1_900_000 {
            // The machine kept us longer than the helper allows for: the watcher may be right to
            // complain. Begin anew, as this says nothing about the code.
            program.say("reset");
        }
    }
    program.say("report");
    let report = program.hear();
    let counts: Vec<u64> = report.split(' ').map(|n| n.parse().unwrap()).collect();
    assert!(counts[0] > 1_000, "{report}");
    assert_eq!(counts[1], 0, "steps back of the clock");
}

/// Many changes between two shifts that differ in every word; each reading must be by one of them.
#[test]
fn a_strobe_is_never_seen_half() {
    let mut program = Program::ready(&mut rust());
    let patch = Patch::install(program.pid()).unwrap();
    let shifts = child::strobe_shifts(now(Clock::Realtime));
    patch.set(&shifts[0]).unwrap();
    program.say(&format!("strobe {}", shifts[0].realtime.base_ns));
    assert_eq!(program.hear(), "watching");
    for i in 0..100_000 {
        patch.set(&shifts[i % 2]).unwrap();
    }
    program.say("report");
    let report = program.hear();
    let counts: Vec<u64> = report.split(' ').map(|n| n.parse().unwrap()).collect();
    assert!(
        counts[0] > 100 && counts[1] > 100,
        "both shifts must have been seen: {report}"
    );
    assert_eq!(counts[2], 0, "readings by neither shift: {report}");
}

/// Four threads read all clocks as fast as they can while code appears and vanishes under them,
/// `SCHISM_PATCH_ROUNDS` times.
#[test]
fn threads_survive_many_patches() {
    let mut program = Program::ready(&mut rust());
    let clean = image(program.pid());
    program.say(&format!("hammer {HOUR_NS}"));
    assert_eq!(program.hear(), "hammering");
    let shift = realtime(Line::offset(HOUR_NS));
    let (mut whole, mut inert) = (0, 0);
    let rounds = std::env::var("SCHISM_PATCH_ROUNDS").map_or(1_000, |text| text.parse().unwrap());
    for _ in 0..rounds {
        let patch = Patch::install(program.pid()).unwrap();
        patch.set(&shift).unwrap();
        match patch.remove().unwrap() {
            Removal::Whole => whole += 1,
            Removal::Inert => inert += 1,
        }
    }
    program.say("report");
    let report = program.hear();
    eprintln!("{whole} removed whole, {inert} left inert; readings true, shifted, wrong: {report}");
    let counts: Vec<u64> = report.split(' ').map(|n| n.parse().unwrap()).collect();
    assert!(counts[0] > 1_000 && counts[1] > 0, "{report}");
    assert_eq!(
        counts[2], 0,
        "readings that are neither true nor shifted: {report}"
    );
    assert_eq!(
        Patch::install(program.pid()).unwrap().remove().unwrap(),
        Removal::Whole
    );
    assert_eq!(image(program.pid()), clean);
}

/// Signals of a kind that queues: as many arrive as were sent, though the process is stopped and
/// released all the while.
#[test]
fn no_signal_is_lost() {
    const COUNT: u64 = 3_000;
    let mut program = Program::ready(&mut rust());
    program.say("signals");
    assert_eq!(program.hear(), "ready");
    let pid = program.pid();
    let sender = std::thread::spawn(move || {
        for _ in 0..COUNT {
            signal(pid, libc::SIGRTMIN());
            std::thread::sleep(Duration::from_micros(50));
        }
    });
    let mut rounds = 0;
    while rounds < 20 || !sender.is_finished() {
        let patch = Patch::install(pid).unwrap();
        patch.ask(Clock::Realtime).unwrap();
        patch.remove().unwrap();
        rounds += 1;
    }
    sender.join().unwrap();
    program.say(&format!("signalled {COUNT}"));
    assert_eq!(program.hear(), COUNT.to_string(), "after {rounds} rounds");
}

/// A relative sleep that is asked in its midst, again and again, goes on with what is left of it.
/// One that began anew each time would never end.
#[test]
fn an_interrupted_sleep_is_not_begun_anew() {
    let mut program = Program::ready(&mut rust());
    // The sleeper inherits it: to patch it now would be the first interruption, and a harmless one.
    Patch::install(program.pid()).unwrap();
    program.say("nap");
    let sleeper: u32 = program.hear().parse().unwrap();
    let asleep = format!("{} ", libc::SYS_clock_nanosleep);
    until("it sleeps", || {
        fs::read_to_string(format!("/proc/{sleeper}/syscall"))
            .unwrap()
            .starts_with(&asleep)
    });
    let patch = Patch::install(sleeper).unwrap();
    let mut asked = 0;
    until("its two seconds are over", || {
        asked += u32::from(patch.ask(Clock::Monotonic).is_ok());
        state(sleeper) == 'Z'
    });
    assert_ne!(asked, 0);
}

#[test]
fn what_cannot_be_patched_is_said() {
    // No such process; this process itself; one that is traced by somebody else.
    assert!(matches!(
        Patch::install(0x3fff_fff0),
        Err(ClockError::Gone { .. })
    ));
    assert!(matches!(
        Patch::install(std::process::id()),
        Err(ClockError::Ours { .. })
    ));
    let mut zombie = Command::new("true").spawn().unwrap();
    until("it ends", || state(zombie.id()) == 'Z');
    assert!(matches!(
        Patch::install(zombie.id()),
        Err(ClockError::Gone { .. })
    ));
    zombie.wait().unwrap();

    let mut tracer = Program::ready(&mut rust());
    tracer.say("trace");
    let traced: u32 = tracer.hear().parse().unwrap();
    match Patch::install(traced) {
        Err(ClockError::Traced { tracer: found, .. }) => assert_eq!(found, tracer.pid()),
        other => panic!("{other:?}"),
    }
}
