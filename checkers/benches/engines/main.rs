//! What it costs to load a history and to judge it: one line for each, best of three.
//!
//! `cargo bench -p checkers` runs all rows; words after `--` choose those that contain one of them.
//! With `--budgets` each is loaded and judged under four limits of time, and the line tells by how
//! many milliseconds the worst of three was late, if the limit was met. With `--seed=N` the
//! histories are others, of the same shape; with `KEEP=FOLDER` the histories stay there, by the
//! names of their rows.

mod histories;
#[path = "../../tests/it/splitmix.rs"]
mod splitmix;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use checkers::linearizable::Registers;
use checkers::set::GrowOnlySet;
use checkers::transactions::ListAppend;
use checkers::{Budget, Checker, Verdict};
use history::{jsonl, store};
use rustix::time::{ClockId, clock_gettime};

use histories::{Ops, Shape, history};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, file, checker, ..] = &arguments[..] {
        match first.as_str() {
            JUDGE => return judge(Path::new(file), checker),
            OVERRUN => return overrun(Path::new(file), checker),
            _ => {}
        }
    }
    let how = match arguments.iter().any(|arg| arg == "--budgets") {
        true => OVERRUN,
        false => JUDGE,
    };
    let seed = arguments.iter().find_map(|arg| arg.strip_prefix("--seed="));
    let seed = seed.map_or(7, |seed| seed.parse().expect("--seed=N, a number"));
    let chosen: Vec<String> = arguments
        .into_iter()
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let base = Shape {
        seed,
        ops: 1_000_000,
        clients: 100,
        keys: 1,
        values: None,
        lost_per_mille: 0,
        stale: false,
        versions: false,
        kind: Ops::Register,
    };
    let search = Shape {
        values: Some(5),
        kind: Ops::Cas,
        ..base
    };
    let rows = [
        (
            "unique, 1 key, 100 clients",
            Shape {
                ops: 100_000,
                ..base
            },
        ),
        (
            "unique, 1 key, 100 clients, stale",
            Shape {
                ops: 100_000,
                stale: true,
                ..base
            },
        ),
        ("unique, 1 key, 100 clients", Shape { ..base }),
        (
            "10 M unique, 1 key, 100 clients",
            Shape {
                ops: 10_000_000,
                ..base
            },
        ),
        (
            "unique, 1 key, 100 clients, stale",
            Shape {
                stale: true,
                ..base
            },
        ),
        (
            "unique, 1 key, 100 clients, 5 % lost",
            Shape {
                lost_per_mille: 50,
                ..base
            },
        ),
        (
            "unique, 1 key, 100 clients, 5 % lost, stale",
            Shape {
                lost_per_mille: 50,
                stale: true,
                ..base
            },
        ),
        (
            "unique, 100 keys, 30 clients",
            Shape {
                keys: 100,
                clients: 30,
                ..base
            },
        ),
        (
            "unique, 100 keys, 30 clients, 1 % lost, stale",
            Shape {
                keys: 100,
                clients: 30,
                lost_per_mille: 10,
                stale: true,
                ..base
            },
        ),
        (
            "unique cas, 1 key, 30 clients",
            Shape {
                clients: 30,
                kind: Ops::Cas,
                ..base
            },
        ),
        (
            "versions, 5 values, 1 key, 100 clients",
            Shape {
                values: Some(5),
                versions: true,
                ..base
            },
        ),
        (
            "cas of 5 values, 5 clients",
            Shape {
                ops: 10_000,
                clients: 5,
                ..search
            },
        ),
        (
            "cas of 5 values, 5 clients, stale",
            Shape {
                ops: 10_000,
                clients: 5,
                stale: true,
                ..search
            },
        ),
        (
            "cas of 5 values, 10 clients",
            Shape {
                ops: 10_000,
                clients: 10,
                ..search
            },
        ),
        (
            "cas of 5 values, 10 clients, stale",
            Shape {
                ops: 10_000,
                clients: 10,
                stale: true,
                ..search
            },
        ),
        (
            "cas of 5 values, 10 clients",
            Shape {
                ops: 100_000,
                clients: 10,
                ..search
            },
        ),
        (
            "cas of 5 values, 10 clients, stale",
            Shape {
                ops: 100_000,
                clients: 10,
                stale: true,
                ..search
            },
        ),
        (
            "cas of 5 values, 30 clients",
            Shape {
                ops: 1_000,
                clients: 30,
                ..search
            },
        ),
        (
            "cas of 5 values, 30 clients, stale",
            Shape {
                ops: 1_000,
                clients: 30,
                stale: true,
                ..search
            },
        ),
        (
            "cas of 5 values, 5 clients, 1 % lost",
            Shape {
                ops: 10_000,
                clients: 5,
                lost_per_mille: 10,
                ..search
            },
        ),
        (
            "cas of 5 values, 5 clients, 1 % lost, stale",
            Shape {
                ops: 10_000,
                clients: 5,
                lost_per_mille: 10,
                stale: true,
                ..search
            },
        ),
        (
            "cas of 5 values, 5 clients, 5 % lost",
            Shape {
                ops: 10_000,
                clients: 5,
                lost_per_mille: 50,
                ..search
            },
        ),
        (
            "cas of 5 values, 5 clients, 5 % lost, stale",
            Shape {
                ops: 10_000,
                clients: 5,
                lost_per_mille: 50,
                stale: true,
                ..search
            },
        ),
        (
            "cas of 5 values, 10 clients, 1 % lost",
            Shape {
                ops: 10_000,
                clients: 10,
                lost_per_mille: 10,
                ..search
            },
        ),
        (
            "cas of 5 values, 10 clients, 1 % lost, stale",
            Shape {
                ops: 10_000,
                clients: 10,
                lost_per_mille: 10,
                stale: true,
                ..search
            },
        ),
        (
            "cas of 5 values, 10 clients, 5 % lost",
            Shape {
                ops: 10_000,
                clients: 10,
                lost_per_mille: 50,
                ..search
            },
        ),
        (
            "cas of 5 values, 10 clients, 5 % lost, stale",
            Shape {
                ops: 10_000,
                clients: 10,
                lost_per_mille: 50,
                stale: true,
                ..search
            },
        ),
        (
            "5 values, 10 clients",
            Shape {
                ops: 10_000,
                clients: 10,
                kind: Ops::Register,
                ..search
            },
        ),
        (
            "5 values, 10 clients, stale",
            Shape {
                ops: 10_000,
                clients: 10,
                stale: true,
                kind: Ops::Register,
                ..search
            },
        ),
        (
            "5 values, 30 clients",
            Shape {
                ops: 10_000,
                clients: 30,
                kind: Ops::Register,
                ..search
            },
        ),
        (
            "5 values, 30 clients, stale",
            Shape {
                ops: 10_000,
                clients: 30,
                stale: true,
                kind: Ops::Register,
                ..search
            },
        ),
        (
            "set, 100 clients",
            Shape {
                ops: 30_000,
                kind: Ops::Set,
                ..base
            },
        ),
        (
            "append, 5000 lists, 30 clients",
            Shape {
                ops: 100_000,
                clients: 30,
                keys: 5000,
                kind: Ops::Append,
                ..base
            },
        ),
        (
            "append, 100000 lists, 30 clients",
            Shape {
                ops: 1_000_000,
                clients: 30,
                keys: 100_000,
                kind: Ops::Append,
                ..base
            },
        ),
    ];
    if how == JUDGE {
        println!("| history | operations | verdict | load s | cpu | check s | cpu | peak MB |");
        println!("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |");
    } else {
        let limits = LIMITS_MS.map(|ms| format!("load {ms} | check {ms}"));
        println!("| history | operations | {} |", limits.join(" | "));
        println!("| --- | ---: |{}", " ---: | ---: |".repeat(LIMITS_MS.len()));
    }
    for (name, shape) in rows {
        if !chosen.is_empty() && !chosen.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        measure(name, &shape, how);
    }
}

/// Writes the history to a file and judges it in a process of its own, so that what it holds is all
/// that is measured.
fn measure(name: &str, shape: &Shape, how: &str) {
    let file = std::env::temp_dir().join(format!("engines-{}.jsonl", std::process::id()));
    let mut out = BufWriter::new(File::create(&file).expect("the folder is writable"));
    jsonl::write_header(&mut out, None).expect("there is room");
    for event in history(shape).events() {
        jsonl::write_event(&mut out, event).expect("there is room");
    }
    out.flush().expect("there is room");
    drop(out);
    let judged = Command::new(std::env::current_exe().expect("it runs"))
        .args([how.as_ref(), file.as_os_str()])
        .arg(shape.kind.checker().name())
        .output()
        .expect("it runs");
    match std::env::var_os("KEEP") {
        Some(folder) => {
            let name = format!("{name}, {} operations.jsonl", shape.ops);
            std::fs::copy(&file, Path::new(&folder).join(name)).expect("there is room");
            std::fs::remove_file(&file).expect("it was written");
        }
        None => std::fs::remove_file(&file).expect("it was written"),
    }
    assert!(judged.status.success(), "{judged:?}");
    let judged = String::from_utf8(judged.stdout).expect("it prints text");
    let row: Vec<&str> = judged.split_whitespace().collect();
    println!("| {name} | {} | {} |", shape.ops, row.join(" | "));
}

/// Seconds by the clock, which other programs on the machine lengthen, and of processors used,
/// which they hardly do.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

impl Cost {
    const MOST: Cost = Cost {
        wall: f64::MAX,
        cpu: f64::MAX,
    };

    fn now() -> Cost {
        let seconds = |clock| {
            let now = clock_gettime(clock);
            now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
        };
        Cost {
            wall: seconds(ClockId::Monotonic),
            cpu: seconds(ClockId::ProcessCPUTime),
        }
    }

    fn elapsed(self) -> Cost {
        let now = Cost::now();
        Cost {
            wall: now.wall - self.wall,
            cpu: now.cpu - self.cpu,
        }
    }

    fn min(self, other: Cost) -> Cost {
        Cost {
            wall: self.wall.min(other.wall),
            cpu: self.cpu.min(other.cpu),
        }
    }
}

/// Instead of names of rows: judge a file, and print what it cost.
const JUDGE: &str = "judge";

/// Verdict, seconds to load and to check (best of three), and the most memory ever held.
fn judge(file: &Path, checker: &str) {
    let checker = checker_named(checker);
    let budget = Budget {
        time: std::time::Duration::from_secs(20),
        ..Budget::default()
    };
    let (mut load, mut check) = (Cost::MOST, Cost::MOST);
    let mut verdict = "";
    for _ in 0..3 {
        let start = Cost::now();
        let loaded = store::load(file).expect("a history");
        load = load.min(start.elapsed());
        let start = Cost::now();
        verdict = checker.check(&loaded.history, &budget).verdict.word();
        check = check.min(start.elapsed());
        // What did not end the first time will not end the next.
        if check.wall > 5.0 {
            break;
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|kb| kb.trim().trim_end_matches(" kB").parse::<f64>().ok());
    let peak = peak.map_or("-".to_string(), |kb| format!("{:.0}", kb / 1024.0));
    println!(
        "{verdict} {:.4} {:.4} {:.4} {:.4} {peak}",
        load.wall, load.cpu, check.wall, check.cpu
    );
}

/// Likewise: say how late it ends under limits of time.
const OVERRUN: &str = "overrun";

const LIMITS_MS: [u64; 4] = [20, 50, 100, 200];

/// Milliseconds beyond each limit, of loading and of judging; `-` for what ended in time.
fn overrun(file: &Path, checker: &str) {
    let checker = checker_named(checker);
    let whole = store::load(file).expect("a history").history;
    let late = |limit: Budget, work: &mut dyn FnMut(&Budget) -> bool| {
        let one = |_| {
            let start = Cost::now();
            let met = work(&limit);
            met.then(|| 1e3 * start.elapsed().wall - limit.time.as_millis() as f64)
        };
        let worst = (0..3).filter_map(one).reduce(f64::max);
        worst.map_or("-".to_string(), |ms| format!("{ms:.1}"))
    };
    for ms in LIMITS_MS {
        let limit = Budget {
            time: std::time::Duration::from_millis(ms),
            ..Budget::default()
        };
        let load = late(limit, &mut |limit| {
            store::load_within(file, &limit.start()).is_err()
        });
        let check = late(limit, &mut |limit| {
            checker.check(&whole, limit).verdict == Verdict::Unknown
        });
        print!("{load} {check} ");
    }
    println!();
}

fn checker_named(name: &str) -> Box<dyn Checker> {
    let checkers = [Ops::Register, Ops::Set, Ops::Append].map(Ops::checker);
    let mut checkers = checkers.into_iter();
    checkers
        .find(|c| c.name() == name)
        .expect("one of the three")
}

impl Ops {
    fn checker(self) -> Box<dyn Checker> {
        match self {
            Ops::Register | Ops::Cas => Box::new(Registers::keyed()),
            Ops::Set => Box::new(GrowOnlySet),
            Ops::Append => Box::new(ListAppend::new()),
        }
    }
}
