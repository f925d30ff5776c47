//! What shifted clocks cost a program: ns per call before and after the patch, and µs per change.
//!
//! `cargo bench -p agent --bench clock`. The figures in harness/docs/clocks.md are from here.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use agent::vdso::{Clock, Line, Patch, Shift, now, support};

const MARK: &str = "SCHISM_CLOCK_BENCH_CHILD";
const CALLS: u32 = 50_000;
const ROUNDS: usize = 200;

fn main() {
    if std::env::var_os(MARK).is_some() {
        return child();
    }
    println!(
        "{:?}",
        support().expect("this machine's vDSO can be patched").route
    );
    let mut child = Command::new(std::env::current_exe().expect("a running program has a file"))
        .env(MARK, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut ask = |what: &str| {
        writeln!(stdin, "measure").expect("the child reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the child answers");
        println!("{what:<22} {}", line.trim());
    };
    println!("ns per call (fastest)   clock_gettime  gettimeofday          time    system call");
    ask("unpatched");
    let mut patch = Patch::install(child.id()).expect("it can be patched");
    ask("patched, true");
    patch.count().expect("it can be made to count");
    ask("counted, true");
    let offset = Line::offset(3_600_000_000_000);
    let shifts = [
        (
            "offset",
            Shift {
                realtime: offset,
                monotonic: offset,
            },
        ),
        ("offset and rate", {
            let rate = |clock| Line {
                rate_ppb: 200_000_000,
                base_ns: now(clock),
                ..offset
            };
            Shift {
                realtime: rate(Clock::Realtime),
                monotonic: rate(Clock::Monotonic),
            }
        }),
    ];
    for (what, shift) in &shifts {
        patch.set(shift).expect("it can be set");
        ask(what);
    }
    let each = |what: &str, count: u32, mut body: Box<dyn FnMut() + '_>| {
        let start = Instant::now();
        (0..count).for_each(|_| body());
        println!(
            "{what:<22} {:>10.1} us",
            start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
        );
    };
    let mut turn = 0;
    each(
        "set",
        10_000,
        Box::new(|| {
            turn = 1 - turn;
            patch.set(&shifts[turn].1).expect("it can be set");
        }),
    );
    each(
        "get",
        10_000,
        Box::new(|| {
            black_box(patch.get().expect("it can be read"));
        }),
    );
    each(
        "ask",
        300,
        Box::new(|| {
            black_box(patch.ask(Clock::Realtime).expect("it answers"));
        }),
    );
    let errors = (0..300).map(|_| patch.ask(Clock::Realtime).expect("it answers").error_ns());
    println!(
        "{:<22} {:>10.1} us",
        "ask: error bound",
        errors.min().expect("some") as f64 / 1e3
    );
    each(
        "install and remove",
        300,
        Box::new(|| {
            patch.remove().expect("it can be removed");
            Patch::install(child.id()).expect("it can be patched");
        }),
    );
    drop(stdin);
    child.wait().expect("it ends");
}

fn child() {
    for _ in std::io::stdin().lock().lines() {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut day = libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        let (clock, time, day) = (libc::CLOCK_MONOTONIC, &raw mut time, &raw mut day);
        let null = std::ptr::null_mut();
        // SAFETY: library and kernel fill the structs that the pointers lead to.
        let times = unsafe {
            [
                fastest(|| libc::clock_gettime(clock, time)),
                fastest(|| libc::gettimeofday(day, null)),
                fastest(|| libc::time(std::ptr::null_mut())),
                fastest(|| libc::syscall(libc::SYS_clock_gettime, clock, time)),
            ]
        };
        println!(
            "{:>13.1} {:>13.1} {:>13.1} {:>14.1}",
            times[0], times[1], times[2], times[3]
        );
    }
}

/// ns per call in the fastest of the rounds, which other programs disturbed least, timed by the
/// kernel's own clock, which no patch shifts.
fn fastest<T>(mut call: impl FnMut() -> T) -> f64 {
    let round = |_| {
        let start = now(Clock::Monotonic);
        for _ in 0..CALLS {
            black_box(call());
        }
        (now(Clock::Monotonic) - start) as f64 / f64::from(CALLS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
