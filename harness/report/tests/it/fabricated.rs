//! A run made up from a few lines of arithmetic: a replicated register under four overlapping
//! faults, the same at every call. It looks like a real one; nothing in it was measured.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use checkers::{Analysis, Anomaly, Figure, Verdict};
use history::fault::{Action, Note, Receipt};
use history::{Event, History, Kind, Name, Process, Time, Value};
use report::{Input, Told};
use serde_json::{Value as Json, json};

/// Everything that [`Input`] borrows.
pub struct Made {
    pub history: History,
    pub analyses: Vec<Analysis>,
    pub verdict: Verdict,
    pub spec: Json,
    pub schedule: String,
    pub nodes: Vec<Name>,
    pub told: Told,
    pub warnings: Vec<String>,
}

impl Made {
    pub fn input(&self) -> Input<'_> {
        Input {
            system: "paxos-kv",
            workload: "register",
            origin: report::Origin::Run,
            repeated: None,
            command: "schism run paxos-kv --workload register --nemesis partition+pause+clock+kill \
                      --time-limit 60s --seed 7 --flaw lease-by-wall-clock",
            spec: &self.spec,
            schedule: Some(&self.schedule),
            nodes: &self.nodes,
            history: &self.history,
            analyses: &self.analyses,
            verdict: self.verdict,
            told: &self.told,
            warnings: &self.warnings,
        }
    }
}

/// Milliseconds in nanoseconds.
const MS: u64 = 1_000_000;

/// Knuth's MMIX generator: enough for a picture.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}

/// A fault of the made-up schedule; times in thousandths of the run.
struct Fault {
    family: &'static str,
    label: &'static str,
    targets: &'static [&'static str],
    from: u64,
    until: u64,
    evidence: &'static [&'static str],
}

const FAULTS: [Fault; 4] = [
    Fault {
        family: "partition",
        label: "majority [n1 n2 n3] | minority [n4 n5]",
        targets: &["n4", "n5"],
        from: 150,
        until: 380,
        evidence: &[
            "n1 -> n4: no answer in 200 ms (probe)",
            "n4 -> n1: no answer in 200 ms (probe)",
            "n2 -> n5: no answer in 200 ms (probe)",
            "n5 -> n2: no answer in 200 ms (probe)",
        ],
    },
    Fault {
        family: "pause",
        label: "leader n1, 4 threads stopped",
        targets: &["n1"],
        from: 300,
        until: 420,
        evidence: &["n1: state T of pids 212, 215 (/proc)"],
    },
    Fault {
        family: "clock",
        label: "n3 jumps by -2.5 s",
        targets: &["n3"],
        from: 560,
        until: 800,
        evidence: &["n3: offset -2.500 s ± 0.4 ms (comparison)"],
    },
    Fault {
        family: "kill",
        label: "n2",
        targets: &["n2"],
        from: 640,
        until: 700,
        evidence: &["n2: pid 209 is gone (/proc)"],
    },
];

/// What comes next, by time and then by number, which makes the order total.
type Queue = BinaryHeap<Reverse<(u64, u64, Step)>>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Fault, and which of its four events.
    Nemesis(usize, usize),
    Call(u64),
    Effect(u64),
    Return(u64),
}

/// A client's operation on its way.
struct Open {
    node: usize,
    read: bool,
    key: i64,
    value: i64,
    called: u64,
    /// What a read found.
    found: Option<i64>,
    end: Kind,
    error: Option<&'static str>,
}

/// A register's past: the writes that took effect, with the index of their invocation and the time
/// of their answer (none yet, if it is still out).
type Past = Vec<(i64, u64, Option<u64>)>;

/// A run of `seconds` with about `rate` operations a second. At most `stale` reads are wrong, all
/// of them while the clock of n3 is.
pub fn run(seconds: u64, rate: u64, stale: usize) -> Made {
    let end = seconds * 1000 * MS;
    let clients = (rate / 14).clamp(5, 60);
    let think = 2 * 1_000_000_000 * clients / rate;
    let mut dice = Dice(7);
    let mut queue = Queue::new();
    let mut number = 0;
    let mut push = |queue: &mut Queue, at: u64, step: Step| {
        number += 1;
        queue.push(Reverse((at, number, step)));
    };
    for (i, fault) in FAULTS.iter().enumerate() {
        let [from, until] = [fault.from, fault.until].map(|t| end / 1000 * t);
        for (which, at) in [from, from + 40 * MS, until, until + 25 * MS]
            .into_iter()
            .enumerate()
        {
            push(&mut queue, at, Step::Nemesis(i, which));
        }
    }
    for client in 0..clients {
        push(&mut queue, dice.roll(think), Step::Call(client));
    }

    let mut events: Vec<Event> = Vec::new();
    let mut open: HashMap<u64, Open> = HashMap::new();
    let mut invoked: HashMap<u64, u64> = HashMap::new();
    let mut names: BTreeMap<u64, u64> = (0..clients).map(|c| (c, c)).collect();
    let mut past: HashMap<i64, Past> = HashMap::new();
    let mut next_value: HashMap<i64, i64> = HashMap::new();
    let mut anomalies: Vec<Anomaly> = Vec::new();

    while let Some(Reverse((now, _, step))) = queue.pop() {
        if now > end {
            break;
        }
        let index = events.len() as u64;
        let in_force = |i: usize| {
            let fault = &FAULTS[i];
            (end / 1000 * fault.from + 20 * MS..end / 1000 * fault.until).contains(&now)
        };
        match step {
            Step::Nemesis(i, which) => events.push(nemesis(index, now, i, which)),
            Step::Call(client) => {
                let node = (client % 5) as usize;
                let key = dice.roll(8) as i64;
                let read = dice.roll(100) < 55;
                let value = next_value.entry(key).or_insert(0);
                *value += i64::from(!read);
                let cut = in_force(0) && node >= 3;
                let stopped = in_force(1) && node == 0;
                let dead = in_force(3) && node == 1;
                // A new leader is needed for a moment after the old one stopped or died.
                let slow = match in_force(1) || in_force(3) {
                    true => dice.roll(40) * MS,
                    false => 0,
                };
                let (took, end_kind, error) = if stopped || (cut && dice.roll(3) > 0) {
                    (1000 * MS, Kind::Info, Some("timeout: no answer in 1 s"))
                } else if cut {
                    (
                        250 * MS + dice.roll(80) * MS,
                        Kind::Fail,
                        Some("no-leader: n4 knows of none"),
                    )
                } else if dead {
                    (MS / 3, Kind::Fail, Some("refused: 10.9.0.2:7000"))
                } else {
                    let tail = if dice.roll(60) == 0 { 25 * MS } else { 3 * MS };
                    let base = if read { MS } else { 2 * MS };
                    (
                        base + dice.roll(2 * MS) + dice.roll(tail) + slow,
                        Kind::Ok,
                        None,
                    )
                };
                events.push(Event {
                    index,
                    time: Time(now),
                    process: Process::Client(names[&client]),
                    kind: Kind::Invoke,
                    f: if read { "read" } else { "write" }.into(),
                    value: Value::List(vec![
                        key.into(),
                        if read { Value::Nil } else { (*value).into() },
                    ]),
                    error: None,
                    node: Some(format!("n{}", node + 1).into()),
                    version: None,
                    due: None,
                });
                invoked.insert(client, index);
                let op = Open {
                    node,
                    read,
                    key,
                    value: *value,
                    called: now,
                    found: None,
                    end: end_kind,
                    error,
                };
                open.insert(client, op);
                push(&mut queue, now + took / 2, Step::Effect(client));
                push(&mut queue, now + took, Step::Return(client));
            }
            Step::Effect(client) => {
                let op = open.get_mut(&client).expect("effects follow calls");
                if op.end != Kind::Ok {
                    continue;
                }
                let past = past.entry(op.key).or_default();
                if !op.read {
                    past.push((op.value, invoked[&client], None));
                    continue;
                }
                op.found = past.last().map(|w| w.0);
                let [.., (old, old_index, Some(_)), (_, new_index, Some(new_end))] = past[..]
                else {
                    continue;
                };
                let lag = op.called.saturating_sub(new_end);
                if in_force(2) && op.node == 2 && anomalies.len() < stale && lag > 20 * MS {
                    op.found = Some(old);
                    anomalies.push(Anomaly {
                        kind: "stale read".to_string(),
                        object: Some(op.key.to_string()),
                        ops: vec![old_index, new_index, invoked[&client]],
                        reason: format!(
                            "write {old} (op {old_index}) had returned before write {} (op {new_index}) was invoked, which \
                             returned before read of {old} (op {}) was invoked: {old} was written once, and {} stood between",
                            old + 1,
                            invoked[&client],
                            old + 1,
                        ), ..Anomaly::default() });
                }
            }
            Step::Return(client) => {
                let op = open.remove(&client).expect("returns follow calls");
                let value = if op.read {
                    op.found.map_or(Value::Nil, Value::Int)
                } else {
                    op.value.into()
                };
                if !op.read
                    && let Some(past) = past.get_mut(&op.key)
                    && let Some(write) = past.iter_mut().rev().find(|w| w.1 == invoked[&client])
                {
                    write.2 = Some(now);
                }
                events.push(Event {
                    index,
                    time: Time(now),
                    process: Process::Client(names[&client]),
                    kind: op.end,
                    f: if op.read { "read" } else { "write" }.into(),
                    value: Value::List(vec![op.key.into(), value]),
                    error: op.error.map(str::to_string),
                    node: Some(format!("n{}", op.node + 1).into()),
                    version: None,
                    due: None,
                });
                if op.end == Kind::Info {
                    let fresh = names.values().max().copied().unwrap_or(0) + 1;
                    names.insert(client, fresh);
                }
                push(&mut queue, now + dice.roll(think) + 1, Step::Call(client));
            }
        }
    }
    let history = History::new(events).expect("the made-up events are a history");
    let ops = history.ops().len();
    let linearizable = Analysis::of_anomalies(
        "linearizable",
        match anomalies.len() {
            0 => format!("{ops} operations on 8 registers are linearizable, with a certificate"),
            n => format!("{n} reads of {ops} operations on 8 registers cannot be ordered"),
        },
        anomalies,
    )
    .with_figure(figure("operations", ops, ""))
    .with_figure(figure("registers", 8, ""))
    .with_figure(figure("judged in", 12.4, "ms"));
    let availability = Analysis::valid(
        "availability",
        "every node served after the last fault was healed",
    )
    .with_figure(figure(
        "first success after heal",
        json!([31, 18, 4, 210]),
        "ms",
    ))
    .with_figure(figure("longest gap without a success", 312.5, "ms"));
    let analyses = vec![linearizable, availability];
    Made {
        history,
        verdict: Verdict::worst(analyses.iter().map(|a| a.verdict)),
        analyses,
        spec: json!({
            "system": "paxos-kv", "workload": "register", "seed": 7, "nodes": ["n1", "n2", "n3", "n4", "n5"],
            "time_limit": format!("{seconds}s"), "rate": rate, "concurrency": clients,
            "nemesis": "partition+pause+clock+kill", "flaws": ["lease-by-wall-clock"],
            "params": {"election_timeout": "300ms", "lease": "900ms", "reads": "lease"},
            "versions": {"schism": "0.1.0", "paxos-kv": "0.1.0", "kernel": "6.18"},
        }),
        schedule: "[[fault]]\nat = \"9s\"\nfor = \"13.8s\"\npartition = \"n1 n2 n3 | n4 n5\"\n"
            .to_string(),
        nodes: (1..=5).map(|n| format!("n{n}").into()).collect(),
        told: Told::default(),
        warnings: Vec::new(),
    }
}

/// One of the four events of a fault.
fn nemesis(index: u64, now: u64, fault: usize, which: usize) -> Event {
    let of = &FAULTS[fault];
    let evidence = match which {
        1 => of.evidence.iter().map(|e| e.to_string()).collect(),
        _ => vec![format!("{}: as before the fault", of.targets.join(" "))],
    };
    let note = Note {
        fault: fault as u64,
        action: if which < 2 {
            Action::Inject
        } else {
            Action::Heal
        },
        label: of.label.to_string(),
        targets: of.targets.iter().map(|t| Name::from(*t)).collect(),
        loss: Default::default(),
        receipt: (!which.is_multiple_of(2)).then_some(Receipt {
            held: true,
            evidence,
            ..Receipt::default()
        }),
        in_force_ns: None,
    };
    Event {
        index,
        time: Time(now),
        process: Process::Nemesis,
        kind: if which.is_multiple_of(2) {
            Kind::Invoke
        } else {
            Kind::Ok
        },
        f: of.family.into(),
        value: Value::from_serde(&note).expect("a note is plain data"),
        error: None,
        node: None,
        version: None,
        due: None,
    }
}

fn figure(name: &str, value: impl Into<serde_json::Value>, unit: &str) -> Figure {
    Figure {
        name: name.to_string(),
        value: value.into(),
        unit: unit.to_string(),
    }
}
