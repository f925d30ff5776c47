//! No history makes a checker panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use checkers::agreement::Agreement;
use checkers::availability::Availability;
use checkers::bank::Bank;
use checkers::linearizable::Registers;
use checkers::set::GrowOnlySet;
use checkers::staleness::Staleness;
use checkers::transactions::ListAppend;
use checkers::vacuity::Vacuity;
use checkers::{Budget, Checker};
use history::{Event, History, Kind, Process, Time, Value};

use crate::random::{Random, seeds, show};

/// Of the shapes that checkers look for, often put where they do not belong.
fn value(random: &mut Random, depth: u64) -> Value {
    match random.below(if depth == 0 { 4 } else { 8 }) {
        0 => Value::Nil,
        1 => Value::Bool(true),
        2 => Value::Int(*random.pick(&[0, 1, 2, 3, -1, i64::MIN, i64::MAX])),
        3 => Value::text(*random.pick(&["r", "append", "n1", "promise", "lease", "inject", ""])),
        4 => Value::pair(value(random, depth - 1), value(random, depth - 1)),
        5 => {
            let mop = [value(random, 0), value(random, 0), value(random, depth - 1)];
            Value::List(vec![Value::List(mop.to_vec())])
        }
        6 => Value::List(
            (0..random.below(4))
                .map(|_| value(random, depth - 1))
                .collect(),
        ),
        _ => {
            let names = [
                "node", "entries", "events", "event", "t_ns", "ballot", "slot", "digest",
                "from_ns", "until_ns", "fault", "action", "label", "head", "height", "final",
            ];
            let mut entries = Vec::new();
            for name in names {
                if random.percent(60) {
                    entries.push((Value::text(name), value(random, depth - 1)));
                }
            }
            if random.percent(60) {
                let blocks = (0..random.below(4)).map(|_| block(random)).collect();
                entries.push((Value::text("blocks"), Value::List(blocks)));
            }
            Value::Map(entries)
        }
    }
}

/// Where on a chain an answer took effect.
fn place(random: &mut Random) -> Value {
    let names = ["n1", "r", "append"];
    let (block, tx) = (*random.pick(&names), *random.pick(&names));
    Value::List(vec![
        value(random, 0),
        value(random, 0),
        block.into(),
        tx.into(),
    ])
}

/// A block that may hang on any other, also on itself.
fn block(random: &mut Random) -> Value {
    let hashes = ["n1", "r", "append", "", "promise", "lease"];
    let numbers = [0, 1, 2, 3, -1, i64::MIN, i64::MAX];
    let transaction = |random: &mut Random| {
        let names = ["put", "cas", "append", "delete", "get", "range", "transfer"];
        let what = [
            Value::text(*random.pick(&hashes)),
            Value::text(*random.pick(&names)),
        ];
        let arguments = (0..random.below(4)).map(|_| value(random, 1));
        Value::List(what.into_iter().chain(arguments).collect())
    };
    let (hash, parent) = (*random.pick(&hashes), *random.pick(&hashes));
    let number = |random: &mut Random| Value::Int(*random.pick(&numbers));
    let (height, time, work) = (number(random), number(random), number(random));
    let transactions = (0..random.below(3)).map(|_| transaction(random)).collect();
    let parts = [hash.into(), parent.into(), height, time, work, "n1".into()];
    Value::List(
        parts
            .into_iter()
            .chain([Value::List(transactions)])
            .collect(),
    )
}

fn history(random: &mut Random) -> History {
    let mut events: Vec<Event> = Vec::new();
    let mut open: Vec<Option<&str>> = vec![None; 3];
    let mut time = 0;
    for index in 0..2 + random.below(20) {
        time += match random.below(2000) {
            // A wrong clock. Rarely, since availability has a number for each second up to there.
            0 => 1 << 58,
            n => n % 3 * 500_000_000,
        };
        let who = random.below(3) as usize;
        let (kind, f) = match open[who].take() {
            Some(f) => (
                *random.pick(&[Kind::Ok, Kind::Ok, Kind::Ok, Kind::Fail, Kind::Info]),
                f,
            ),
            None => {
                let names = [
                    "read", "write", "cas", "add", "txn", "transfer", "log", "trace", "head",
                    "head", "refused", "other",
                ];
                let f = *random.pick(&names);
                open[who] = Some(f);
                (Kind::Invoke, f)
            }
        };
        let process = match random.below(8) {
            0 if kind == Kind::Invoke => {
                open[who] = None;
                Process::Nemesis
            }
            _ => Process::Client(who as u64),
        };
        events.push(Event {
            index,
            time: Time(time),
            process,
            kind,
            f: f.into(),
            value: value(random, 4),
            error: None,
            node: None,
            version: random.percent(50).then(|| place(random)),
            due: None,
        });
    }
    History::new(events).expect("events are in order, one operation a process")
}

#[test]
fn no_history_makes_a_checker_panic() {
    let checkers: Vec<Box<dyn Checker>> = vec![
        Box::new(Registers::keyed()),
        Box::new(Registers::single()),
        Box::new(GrowOnlySet),
        Box::new(ListAppend::new()),
        Box::new(Agreement::new()),
        Box::new(Availability::default()),
        Box::new(Bank),
        Box::new(crate::story::chain()),
        Box::new(
            crate::story::chain()
                .with_nodes(["n1".into()])
                .with_confirmations(u64::MAX)
                .with_common_prefix(0)
                .with_growth(1.0, Duration::ZERO)
                .with_quality(1.0, 0)
                .with_liveness(Duration::ZERO)
                .with_settle(Duration::ZERO),
        ),
        Box::new(Staleness),
        Box::new(Vacuity::default()),
    ];
    for seed in seeds(2_000) {
        let history = history(&mut Random::new(seed));
        for checker in &checkers {
            let check = || checker.check(&history, &Budget::default());
            if catch_unwind(AssertUnwindSafe(check)).is_err() {
                panic!(
                    "{} panics on seed {seed}\n{}",
                    checker.name(),
                    show(&history)
                );
            }
        }
    }
}
