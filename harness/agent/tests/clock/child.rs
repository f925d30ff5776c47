//! The child that the tests patch: this test program itself, started with [`MARK`] in its
//! environment. It does what the lines on its standard input say and answers each with one line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::SystemTime;

use agent::vdso::{Clock, Line, Shift, now};

pub const MARK: &str = "SCHISM_CLOCK_TEST_CHILD";
const NANOS: i64 = 1_000_000_000;

/// Two shifts that differ in each of their words by far more than a reading takes.
pub fn strobe_shifts(base_ns: i64) -> [Shift; 2] {
    let hours = |n: i64| n * 3_600 * NANOS;
    [
        Shift {
            realtime: Line {
                offset_ns: hours(1),
                rate_ppb: 0,
                base_ns,
            },
            monotonic: Line::IDENTITY,
        },
        Shift {
            realtime: Line {
                offset_ns: hours(-3),
                rate_ppb: 900_000_000,
                base_ns: base_ns - hours(7),
            },
            monotonic: Line::offset(NANOS),
        },
    ]
}

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the C library fills the struct.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    assert!((0..NANOS).contains(&time.tv_nsec));
    time.tv_sec * NANOS + time.tv_nsec
}

/// A clock's true time, past the vDSO.
pub fn system_call(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel fills the struct.
    let status = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    assert_eq!(status, 0);
    time.tv_sec * NANOS + time.tv_nsec
}

fn clocks() -> String {
    let mut now = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let mut into = 0;
    // SAFETY: the C library fills what the pointers lead to; either may be null.
    let seconds = unsafe {
        assert_eq!(libc::gettimeofday(&raw mut now, std::ptr::null_mut()), 0);
        let seconds = libc::time(&raw mut into);
        assert!(libc::time(std::ptr::null_mut()) >= seconds);
        seconds
    };
    let system = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    format!(
        "r={} r={system} r/1000={} R/1000000000={} R/1000000000={} R={} m={} M={}",
        read(libc::CLOCK_REALTIME),
        now.tv_sec * NANOS + now.tv_usec * 1_000,
        seconds * NANOS,
        into * NANOS,
        read(libc::CLOCK_REALTIME_COARSE),
        read(libc::CLOCK_MONOTONIC),
        read(libc::CLOCK_MONOTONIC_COARSE),
    )
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "@{text}").unwrap();
    out.flush().unwrap();
}

fn again() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child::program", "--nocapture"])
        .env(MARK, "1");
    command
}

/// Runs `count` on threads until a line comes, and reports the sums of what they counted.
struct Watch {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
    counts: Arc<[AtomicU64; 3]>,
}

impl Watch {
    fn start(threads: usize, body: impl FnMut(&[AtomicU64; 3]) + Clone + Send + 'static) -> Watch {
        let (stop, counts) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new([const { AtomicU64::new(0) }; 3]),
        );
        let threads = (0..threads).map(|_| {
            let (stop, counts, mut body) = (stop.clone(), counts.clone(), body.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    body(&counts);
                }
            })
        });
        let threads = threads.collect();
        Watch {
            stop,
            threads,
            counts,
        }
    }

    fn end(self) -> [u64; 3] {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        [0, 1, 2].map(|i| self.counts[i].load(Ordering::Relaxed))
    }
}

/// Not a test: the child's program, which a plain test run skips.
#[test]
fn program() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let first = clocks();
    if std::env::var_os(ANSWER_FIRST).is_some() {
        say(&first);
    }
    let mut watch: Option<Watch> = None;
    let mut family = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["clocks"] => say(&clocks()),
            ["first"] => say(&first),
            ["nap"] => {
                let nap = libc::timespec {
                    tv_sec: 2,
                    tv_nsec: 0,
                };
                // SAFETY: the child, whose only thread this is, sleeps and ends.
                unsafe {
                    match libc::fork() {
                        -1 => panic!("fork failed"),
                        0 => {
                            libc::nanosleep(&raw const nap, std::ptr::null_mut());
                            libc::_exit(0);
                        }
                        child => say(&child.to_string()),
                    }
                }
            }
            ["fork"] => {
                // SAFETY: the child reads clocks, writes and ends; the parent waits for it.
                unsafe {
                    match libc::fork() {
                        -1 => panic!("fork failed"),
                        0 => {
                            let text = format!("@{}\n", clocks());
                            libc::write(1, text.as_ptr().cast(), text.len());
                            libc::_exit(0);
                        }
                        pid => assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid),
                    }
                }
            }
            ["exec"] => {
                // The new program answers the question that is asked of the old one.
                panic!("{}", again().env(ANSWER_FIRST, "1").exec());
            }
            ["child"] => {
                let mut child = again()
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut stdin = child.stdin.take().unwrap();
                let mut stdout = BufReader::new(child.stdout.take().unwrap());
                pass(&mut stdin, &mut stdout);
                say(&child.id().to_string());
                family = Some((child, stdin, stdout));
            }
            ["pass"] => {
                let (_, stdin, stdout) = family.as_mut().unwrap();
                say(&pass(stdin, stdout));
            }
            ["watch"] => {
                let mut last = read(libc::CLOCK_MONOTONIC);
                watch = Some(Watch::start(1, move |counts| {
                    let shown = read(libc::CLOCK_MONOTONIC);
                    counts[0].fetch_add(1, Ordering::Relaxed);
                    counts[1].fetch_add(u64::from(shown < last), Ordering::Relaxed);
                    last = shown;
                }));
                say("watching");
            }
            ["reset"] => watch.as_ref().unwrap().counts[1].store(0, Ordering::Relaxed),
            ["strobe", base] => {
                let shifts = strobe_shifts(base.parse().unwrap());
                watch = Some(Watch::start(2, move |counts| {
                    let before = now(Clock::Realtime);
                    let shown = read(libc::CLOCK_REALTIME);
                    let after = now(Clock::Realtime);
                    let by = |shift: &Shift| {
                        (shift.realtime.show(before)..=shift.realtime.show(after)).contains(&shown)
                    };
                    let which = shifts.iter().position(by).unwrap_or(2);
                    counts[which].fetch_add(1, Ordering::Relaxed);
                }));
                say("watching");
            }
            ["hammer", offset] => {
                let offset: i64 = offset.parse().unwrap();
                watch = Some(Watch::start(4, move |counts| {
                    let both =
                        || [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE].map(system_call);
                    let mut time = libc::timeval {
                        tv_sec: 0,
                        tv_usec: 0,
                    };
                    let before = both();
                    // SAFETY: the C library fills the struct.
                    let seconds = unsafe {
                        libc::gettimeofday(&raw mut time, std::ptr::null_mut());
                        libc::time(std::ptr::null_mut())
                    };
                    let readings = [
                        (read(libc::CLOCK_REALTIME), 0, 0),
                        (time.tv_sec * NANOS + time.tv_usec * 1_000, 0, 1_000),
                        (seconds * NANOS, 1, NANOS),
                    ];
                    let after = both();
                    for (shown, i, unit) in readings {
                        let between = |offset: i64| {
                            (before[i] + offset - unit..=after[i] + offset).contains(&shown)
                        };
                        let which = [0, offset].into_iter().position(between).unwrap_or(2);
                        counts[which].fetch_add(1, Ordering::Relaxed);
                    }
                }));
                say("hammering");
            }
            ["trace"] => {
                let mut child = again()
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let (mut stdin, mut stdout) = (
                    child.stdin.take().unwrap(),
                    BufReader::new(child.stdout.take().unwrap()),
                );
                pass(&mut stdin, &mut stdout);
                // SAFETY: attaches to our own child; it is let go when this program ends.
                let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, child.id() as i32, 0, 0) };
                assert_eq!(seized, 0);
                say(&child.id().to_string());
                family = Some((child, stdin, stdout));
            }
            ["signals"] => {
                extern "C" fn count(_: libc::c_int) {
                    SIGNALS.fetch_add(1, Ordering::Relaxed);
                }
                // SAFETY: the handler only counts, and its flag lets system calls go on after it.
                unsafe {
                    let mut action: libc::sigaction = std::mem::zeroed();
                    action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
                    action.sa_flags = libc::SA_RESTART;
                    assert_eq!(
                        libc::sigaction(libc::SIGRTMIN(), &raw const action, std::ptr::null_mut()),
                        0
                    );
                }
                say("ready");
            }
            ["signalled", sent] => {
                // All were sent before this line, but one may be on its way to another thread.
                let sent: u64 = sent.parse().unwrap();
                let limit = system_call(libc::CLOCK_MONOTONIC) + 10 * NANOS;
                while SIGNALS.load(Ordering::Relaxed) < sent
                    && system_call(libc::CLOCK_MONOTONIC) < limit
                {
                    thread::yield_now();
                }
                say(&SIGNALS.load(Ordering::Relaxed).to_string());
            }
            ["report"] => {
                let counts = watch.take().unwrap().end();
                say(&counts.map(|count| count.to_string()).join(" "));
            }
            _ => panic!("{line}"),
        }
    }
    // Nobody is there any more to read what the test runner would print.
    std::process::exit(0);
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

/// Set for the program behind an exec.
const ANSWER_FIRST: &str = "SCHISM_CLOCK_TEST_ANSWER_FIRST";

/// Asks another such child.
fn pass(stdin: &mut impl Write, stdout: &mut impl BufRead) -> String {
    writeln!(stdin, "clocks").unwrap();
    loop {
        let mut line = String::new();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0);
        if let Some((_, answer)) = line.split_once('@') {
            return answer.trim().to_owned();
        }
    }
}
