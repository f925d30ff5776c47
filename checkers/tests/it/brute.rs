//! Linearizability by trying everything: the definition, written down.

use history::{History, Op, Outcome, Value};
use rustc_hash::FxHashSet;

use crate::random::precedes;

/// Whether some order explains the operations of `key`. If there are `kept` ones, all others are
/// relaxed: they may have happened at any time, or never, and what they read does not matter.
pub fn linearizable(history: &History, key: i64, kept: Option<&[u64]>) -> bool {
    linearizable_until(history, key, kept, None)
}

/// The same of a text, which is empty at the start.
pub fn linearizable_text(
    history: &History,
    key: i64,
    kept: Option<&[u64]>,
    last: Option<u64>,
) -> bool {
    linearizable_from(history, key, kept, last, &Value::text(""))
}

/// The same of the history as it was when operation `last` had returned.
pub fn linearizable_until(
    history: &History,
    key: i64,
    kept: Option<&[u64]>,
    last: Option<u64>,
) -> bool {
    linearizable_from(history, key, kept, last, &Value::Nil)
}

fn linearizable_from(
    history: &History,
    key: i64,
    kept: Option<&[u64]>,
    last: Option<u64>,
    initial: &Value,
) -> bool {
    let Some(last) = last.and_then(|op| history.op(op)) else {
        let all = kept_of(history, key, kept, |_| Some(true));
        return Brute::new(&all, initial).explains();
    };
    // What had ended when the last one did must have happened, and what had begun may have. Where
    // stamps are equal more than one cut is right: as the stamps say, and as the last one's own
    // process saw it.
    let end = last.ret;
    let by_stamps = kept_of(history, key, kept, |op| {
        let (began, ended) = (op.call, op.ret);
        (began <= end).then_some(ended <= end)
    });
    let by_process = kept_of(history, key, kept, |op| {
        let own = op.process == last.process && op.index <= last.index;
        let ended = own || op.ret < end;
        (!precedes(last, op)).then_some(ended)
    });
    [by_stamps, by_process]
        .iter()
        .all(|ops| Brute::new(ops, initial).explains())
}

/// The operations of a key that may have happened when `ended` says whether they had ended.
fn kept_of<'h>(
    history: &'h History,
    key: i64,
    kept: Option<&[u64]>,
    ended: impl Fn(&Op) -> Option<bool>,
) -> Vec<Kept<'h>> {
    let ops = history.ops().iter().filter(|op| {
        let of = op.input.as_pair();
        of.is_some_and(|(k, _)| *k == Value::Int(key)) && op.outcome != Outcome::Fail
    });
    let ops = ops.filter_map(|op| Some((op, ended(op)?)));
    ops.map(|(op, ended)| {
        let kept = kept.is_none_or(|kept| kept.contains(&op.index));
        (op, kept.then_some(ended && op.outcome == Outcome::Ok))
    })
    .collect()
}

/// What an operation does to the content of a key, which has a number.
enum Action<'h> {
    Find(u32),
    Write(u32),
    Append(&'h str),
    Cas(u32, u32),
}

/// An operation, and whether it must be placed; none if it is relaxed.
type Kept<'h> = (&'h Op, Option<bool>);

struct Brute<'h> {
    /// Each, and which must stand before it.
    actions: Vec<(Action<'h>, u32)>,
    /// Those that must be placed.
    must: u32,
    contents: Vec<Value>,
    seen: FxHashSet<(u32, u32)>,
}

impl<'h> Brute<'h> {
    fn new(ops: &[Kept<'h>], initial: &Value) -> Brute<'h> {
        // A read that need not be placed explains nothing.
        let explains = |(op, kept): &&Kept| {
            *kept == Some(true) || matches!(op.f.as_str(), "write" | "put" | "append" | "cas")
        };
        let ops: Vec<&Kept> = ops.iter().filter(explains).collect();
        assert!(ops.len() <= 32, "brute force is for small histories");
        let mask = |is: &dyn Fn(&Kept) -> bool| {
            let these = ops.iter().enumerate().filter(|(_, op)| is(op));
            these.fold(0u32, |mask, (i, _)| mask | 1 << i)
        };
        let mut brute = Brute {
            actions: Vec::new(),
            must: mask(&|(_, kept)| *kept == Some(true)),
            contents: vec![initial.clone()],
            seen: FxHashSet::default(),
        };
        for (op, kept) in &ops {
            let before = match kept {
                None => 0,
                Some(_) => mask(&|(o, kept)| *kept == Some(true) && precedes(o, op)),
            };
            let asked = content(&op.input);
            let action = match op.f.as_str() {
                "write" | "put" => Action::Write(brute.number(asked.expect("a content"))),
                "append" => Action::Append(asked.and_then(Value::as_text).expect("a text")),
                "cas" => {
                    let (from, to) = asked.and_then(Value::as_pair).expect("a pair");
                    Action::Cas(brute.number(from), brute.number(to))
                }
                _ => Action::Find(brute.number(content(&op.output).expect("a content"))),
            };
            brute.actions.push((action, before));
        }
        brute
    }

    fn number(&mut self, content: &Value) -> u32 {
        let known = self.contents.iter().position(|c| c == content);
        known.unwrap_or_else(|| {
            self.contents.push(content.clone());
            self.contents.len() - 1
        }) as u32
    }

    fn explains(&mut self) -> bool {
        // Who was placed, and what there is then.
        let mut stack = vec![(0u32, 0u32)];
        while let Some((placed, now)) = stack.pop() {
            if placed & self.must == self.must {
                return true;
            }
            if !self.seen.insert((placed, now)) {
                continue;
            }
            for i in 0..self.actions.len() {
                let (action, before) = &self.actions[i];
                if placed & 1 << i != 0 || before & !placed != 0 {
                    continue;
                }
                let then = match *action {
                    Action::Find(found) if found == now => now,
                    Action::Cas(from, to) if from == now => to,
                    Action::Find(_) | Action::Cas(..) => continue,
                    Action::Write(content) => content,
                    Action::Append(more) => match self.contents[now as usize].as_text() {
                        Some(text) => self.number(&Value::text(format!("{text}{more}"))),
                        None => continue,
                    },
                };
                stack.push((placed | 1 << i, then));
            }
        }
        false
    }
}

fn content(value: &Value) -> Option<&Value> {
    value.as_pair().map(|(_, content)| content)
}
