//! What registers give, by definitions: every order of writes, or of all operations, is tried.

use checkers::guarantees::{Guarantee, Guarantees};
use checkers::linearizable::Registers;
use checkers::{Analysis, Budget, Checker, Verdict};
use history::{History, Kind, Op, Outcome, Value};

use super::Counts;
use crate::random::{Random, Recorder, precedes, show};

/// A read or a write that happened; value 0 was there at the start.
#[derive(Clone)]
struct Access {
    op: Op,
    key: i64,
    value: i64,
    is_read: bool,
}

impl Access {
    fn of(op: &Op) -> Option<Access> {
        let is_read = op.f == "read";
        let value = match (is_read, op.outcome) {
            (true, Outcome::Ok) => &op.output,
            (false, Outcome::Ok | Outcome::Info) => &op.input,
            _ => return None,
        };
        let (key, value) = value.as_pair().expect("they have keys");
        Some(Access {
            op: op.clone(),
            key: key.as_int().expect("keys are numbers"),
            value: value.as_int().unwrap_or(0),
            is_read,
        })
    }

    fn before_in_session(&self, other: &Access) -> bool {
        self.op.process == other.op.process && precedes(&self.op, &other.op)
    }
}

/// Those that happened: of what is lost, what was read.
fn accesses(history: &History) -> Vec<Access> {
    let all: Vec<Access> = history.ops().iter().filter_map(Access::of).collect();
    let read = |value| all.iter().any(|a| a.is_read && a.value == value);
    let happened = |a: &&Access| a.op.outcome == Outcome::Ok || read(a.value);
    all.iter().filter(happened).cloned().collect()
}

struct Brute<'a> {
    all: &'a [Access],
}

impl Brute<'_> {
    fn writer(&self, read: usize) -> Option<usize> {
        let value = self.all[read].value;
        (0..self.all.len()).find(|w| !self.all[*w].is_read && self.all[*w].value == value)
    }

    fn session(&self, a: usize, b: usize) -> bool {
        self.all[a].before_in_session(&self.all[b])
    }

    /// Whether a session had read a write when it read, or by this read.
    fn has_read(&self, read: usize, write: usize) -> bool {
        (0..self.all.len()).any(|r| {
            self.all[r].is_read
                && (r == read || self.session(r, read))
                && self.writer(r) == Some(write)
        })
    }

    fn read_before_writing(&self, first: usize, second: usize) -> bool {
        (0..self.all.len()).any(|r| {
            self.all[r].is_read && self.writer(r) == Some(first) && self.session(r, second)
        })
    }

    /// Closed by one more step after the other.
    fn closed(&self, step: impl Fn(usize, usize) -> bool) -> Vec<Vec<bool>> {
        let n = self.all.len();
        let mut closed: Vec<Vec<bool>> = (0..n)
            .map(|a| (0..n).map(|b| step(a, b)).collect())
            .collect();
        for via in 0..n {
            for a in 0..n {
                for b in 0..n {
                    closed[a][b] |= closed[a][via] && closed[via][b];
                }
            }
        }
        closed
    }

    fn allows(&self, guarantee: Guarantee) -> bool {
        let n = self.all.len();
        let is_write = |a: usize| !self.all[a].is_read;
        let nowhere =
            |r: usize| self.all[r].is_read && self.all[r].value != 0 && self.writer(r).is_none();
        if (0..n).any(nowhere) {
            return false;
        }
        let writes_in_session =
            |a: usize, b: usize| is_write(a) && is_write(b) && self.session(a, b);
        let follows =
            self.closed(|a, b| is_write(a) && is_write(b) && self.read_before_writing(a, b));
        let happens_before = self.closed(|a, b| {
            self.session(a, b) || (self.all[b].is_read && self.writer(b) == Some(a))
        });
        let nothing = |_: usize, _: usize| false;
        let through = |read: usize, write: usize, step: &dyn Fn(usize, usize) -> bool| {
            (0..n).any(|later| is_write(later) && step(write, later) && self.has_read(read, later))
        };
        match guarantee {
            Guarantee::ReadYourWrites => self.ordered(nothing, |r, w| self.session(w, r)),
            Guarantee::MonotonicReads => self.ordered(nothing, |r, w| self.has_read(r, w)),
            Guarantee::MonotonicWrites => {
                self.ordered(writes_in_session, |r, w| through(r, w, &writes_in_session))
            }
            Guarantee::WritesFollowReads => self.ordered(
                |a, b| follows[a][b],
                |r, w| through(r, w, &|a, b| follows[a][b]),
            ),
            Guarantee::Causal => {
                (0..n).all(|a| !happens_before[a][a])
                    && self.ordered(|a, b| happens_before[a][b], |r, w| happens_before[w][r])
            }
            Guarantee::Sequential => self.sequential(&mut Vec::new(), |_| true),
            Guarantee::PerKeySequential => (self.all.iter())
                .all(|of| self.sequential(&mut Vec::new(), |a| self.all[a].key == of.key)),
            Guarantee::Linearizable => unreachable!("others test it"),
        }
    }

    /// Whether some order of all writes has what is ordered, and every read returns the last that
    /// it must know of.
    fn ordered(
        &self,
        before: impl Fn(usize, usize) -> bool,
        knows: impl Fn(usize, usize) -> bool,
    ) -> bool {
        let writes: Vec<usize> = (0..self.all.len())
            .filter(|w| !self.all[*w].is_read)
            .collect();
        let reads: Vec<usize> = (0..self.all.len())
            .filter(|r| self.all[*r].is_read)
            .collect();
        let right = |order: &[usize]| {
            let at = |w: usize| order.iter().position(|o| *o == w).expect("all are in it");
            let kept = writes
                .iter()
                .all(|a| writes.iter().all(|b| !before(*a, *b) || at(*a) < at(*b)));
            kept && reads.iter().all(|r| {
                let known = order.iter().filter(|w| {
                    self.all[**w].key == self.all[*r].key
                        && (self.writer(*r) == Some(**w) || knows(*r, **w))
                });
                known.last().copied() == self.writer(*r)
            })
        };
        permuted(&mut writes.clone(), 0, &right)
    }

    /// Whether some order of those that are in question explains them.
    fn sequential(&self, order: &mut Vec<usize>, of: impl Fn(usize) -> bool + Copy) -> bool {
        let left: Vec<usize> = (0..self.all.len())
            .filter(|a| of(*a) && !order.contains(a))
            .collect();
        if left.is_empty() {
            return true;
        }
        for next in &left {
            if left.iter().any(|other| self.session(*other, *next)) {
                continue;
            }
            let access = &self.all[*next];
            let same = order
                .iter()
                .rev()
                .find(|a| !self.all[**a].is_read && self.all[**a].key == access.key);
            if access.is_read && same.map_or(0, |a| self.all[*a].value) != access.value {
                continue;
            }
            order.push(*next);
            let found = self.sequential(order, of);
            order.pop();
            if found {
                return true;
            }
        }
        false
    }
}

fn permuted(items: &mut Vec<usize>, from: usize, right: &dyn Fn(&[usize]) -> bool) -> bool {
    if from == items.len() {
        return right(items);
    }
    for i in from..items.len() {
        items.swap(from, i);
        if permuted(items, from + 1, right) {
            return true;
        }
        items.swap(from, i);
    }
    false
}

/// Up to nine operations by up to three sessions, of up to three keys; reads return what was asked
/// to be written, mostly of late.
fn history(random: &mut Random) -> History {
    let mut recorder = Recorder::default();
    let (processes, keys) = (1 + random.below(3), 1 + random.below(3));
    let mut open: Vec<Option<(i64, Option<i64>)>> = vec![None; processes as usize];
    let mut written: Vec<Vec<i64>> = vec![vec![0]; keys as usize];
    let (mut left, mut values) = (3 + random.below(7), 0);
    let lost = *random.pick(&[0, 0, 0, 15]);
    while left > 0 || open.iter().any(Option::is_some) {
        recorder.advance(1 + random.below(5));
        let process = random.below(processes);
        let value = |value: i64| if value == 0 { Value::Nil } else { value.into() };
        match open[process as usize].take() {
            Some((key, Some(new))) => {
                let kind = match () {
                    () if random.percent(lost) => *random.pick(&[Kind::Info, Kind::Fail]),
                    () => Kind::Ok,
                };
                recorder.record(process, kind, "write", Value::pair(key, new));
            }
            Some((key, None)) => {
                let versions = &written[key as usize];
                let back = *random.pick(&[0, 0, 0, 1, 1, 2, 3]);
                let seen = match random.below(200) {
                    0 => 99,
                    _ => versions[versions.len() - 1 - back.min(versions.len() - 1)],
                };
                recorder.record(process, Kind::Ok, "read", Value::pair(key, value(seen)));
            }
            None if left > 0 => {
                left -= 1;
                let key = random.below(keys) as i64;
                let write = values < 5 && random.percent(50);
                let f = if write { "write" } else { "read" };
                if write {
                    values += 1;
                    written[key as usize].push(values);
                }
                let asked = if write { values } else { 0 };
                recorder.record(process, Kind::Invoke, f, Value::pair(key, value(asked)));
                open[process as usize] = Some((key, write.then_some(values)));
            }
            None => {}
        }
    }
    recorder.history()
}

fn names(found: &Analysis, figure: &str) -> Vec<String> {
    let figure = found.figures.iter().find(|f| f.name == figure);
    let names = figure.and_then(|figure| figure.value.as_array());
    let names = names.into_iter().flatten().filter_map(|name| name.as_str());
    names.map(str::to_string).collect()
}

pub fn judge(seed: u64, counts: &mut Counts) {
    let history = history(&mut Random::new(seed));
    let all = accesses(&history);
    let registers = || Guarantees::of(Registers::keyed());
    let found = registers().check(&history, &Budget::default());
    if found.verdict == Verdict::Vacuous {
        return;
    }
    let (holds, refuted) = (
        names(&found, "models that hold"),
        names(&found, "models refuted"),
    );
    let is_in = |names: &[String], model: Guarantee| names.iter().any(|name| name == model.name());
    let cores = found.figures.iter().find(|f| f.name == "cores");
    for model in &Guarantee::ALL[..7] {
        let right = Brute { all: &all }.allows(*model);
        let told = (is_in(&holds, *model), is_in(&refuted, *model));
        assert_eq!(told, (right, !right), "{model}\n{}", show(&history));
        let by = registers().by(*model).check(&history, &Budget::default());
        let verdict = if right {
            Verdict::Valid
        } else {
            Verdict::Invalid
        };
        assert_eq!(
            by.verdict,
            verdict,
            "{model}: {}\n{}",
            by.summary,
            show(&history)
        );
        counts.add(model.name(), verdict);
        if right {
            continue;
        }
        let core = cores.and_then(|cores| cores.value[model.name()]["ops"].as_array());
        let core: Vec<u64> = core
            .expect("it has one")
            .iter()
            .filter_map(|op| op.as_u64())
            .collect();
        let few: Vec<Access> = all
            .iter()
            .filter(|a| core.contains(&a.op.index))
            .cloned()
            .collect();
        let written = |read: &Access| {
            read.value == 0
                || all.iter().all(|a| a.is_read || a.value != read.value)
                || few.iter().any(|a| !a.is_read && a.value == read.value)
        };
        let few: Vec<Access> = few
            .iter()
            .filter(|a| !a.is_read || written(a))
            .cloned()
            .collect();
        let alone = Brute { all: &few }.allows(*model);
        assert!(!alone, "{model}: {core:?} are fine\n{}", show(&history));
    }
}
