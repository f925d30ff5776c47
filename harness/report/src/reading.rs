//! What operations say, seen from the object that an anomaly concerns: their words, the values that
//! they write and read, and what flowed from one to another.
//!
//! Inferred from the operations alone, for registers, sets and lists, and whatever looks like them.

use history::{Op, Outcome, Time, Value};

use crate::text::clip;

/// Longest text of an operation, in characters.
const MAX_TEXT: usize = 44;

/// What an operation says and does, seen from one object.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    object: Option<&'a str>,
}

impl<'a> Reading<'a> {
    /// `object` is the key that an anomaly concerns, as the checker printed it.
    pub fn new(object: Option<&'a str>) -> Reading<'a> {
        Reading { object }
    }

    /// Whether an operation is `[key, ..]` of the object.
    pub fn concerns(&self, op: &Op) -> bool {
        let Some((object, (key, _))) = self.object.zip(op.input.as_pair()) else {
            return false;
        };
        key.as_text() == Some(object) || clip(key, object.len() + 1) == object
    }

    /// A value without its key, if the operation concerns the object.
    pub fn bare<'v>(&self, op: &Op, value: &'v Value) -> &'v Value {
        match value.as_pair() {
            Some((_, rest)) if self.concerns(op) => rest,
            _ => value,
        }
    }

    /// What the operation leaves behind, if it changes anything.
    pub fn writes<'v>(&self, op: &'v Op) -> Option<&'v Value> {
        let input = self.bare(op, &op.input);
        match input.as_pair() {
            Some((_, to)) if op.f.contains("cas") => Some(to),
            _ if input.is_nil() || op.f.contains("read") => None,
            _ => Some(input),
        }
    }

    /// What the operation found, if it says so.
    pub fn reads<'v>(&self, op: &'v Op) -> Option<&'v Value> {
        if op.outcome != Outcome::Ok {
            return None;
        }
        let input = self.bare(op, &op.input);
        match input.as_pair() {
            Some((from, _)) if op.f.contains("cas") => Some(from),
            _ if self.writes(op).is_none() => Some(self.bare(op, &op.output)),
            _ => None,
        }
    }

    /// `write 17`, `read → 17`, `cas 3 → 5`, `append 9 ✗ refused`, `write 4 ?`.
    pub fn text(&self, op: &Op) -> String {
        let input = self.bare(op, &op.input);
        let output = self.bare(op, &op.output);
        if let Some(text) = transaction(if output.is_nil() { input } else { output }) {
            let sign = match op.outcome {
                Outcome::Ok => "",
                Outcome::Fail => " ✗",
                Outcome::Info => " ?",
            };
            return format!("{}{sign}", clip(text, MAX_TEXT));
        }
        let mut text = clip(&op.f, 20);
        match input.as_pair() {
            Some((from, to)) if op.f.contains("cas") => text.push_str(&format!(
                " {} → {}",
                clip(from, MAX_TEXT / 3),
                clip(to, MAX_TEXT / 3)
            )),
            _ if !input.is_nil() => text.push_str(&format!(" {}", clip(input, MAX_TEXT / 2))),
            _ => {}
        }
        match op.outcome {
            Outcome::Ok if input.is_nil() || (output != input && !output.is_nil()) => {
                text.push_str(&format!(" → {}", clip(output, MAX_TEXT / 2)))
            }
            Outcome::Ok => {}
            Outcome::Fail => text.push_str(" ✗"),
            Outcome::Info => text.push_str(" ?"),
        }
        clip(text, MAX_TEXT)
    }
}

/// A transaction by its micro-operations: `r x 1, append y 2`.
pub fn transaction(value: &Value) -> Option<String> {
    let micro = |value: &Value| {
        let [f, key, value] = value.as_list()? else {
            return None;
        };
        let f = f.as_text()?;
        Some(format!("{f} {} {}", clip(key, 12), clip(value, 24)))
    };
    let ops: Option<Vec<String>> = value.as_list()?.iter().map(micro).collect();
    ops.filter(|ops| !ops.is_empty()).map(|ops| ops.join(", "))
}

/// What one operation is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The second operation read what the first wrote.
    Read,
    /// The first had ended before the second began, and yet the second does not know of it.
    Missed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    pub from: usize,
    pub to: usize,
    pub what: What,
}

/// Whether an operation shows what was there: only then has it missed something. Whoever takes from
/// a queue or a lock misses nothing.
fn looks(op: &Op) -> bool {
    ["read", "get", "cas", "scan", "txn"]
        .iter()
        .any(|f| op.f.contains(f))
}

/// What flowed between the operations of an anomaly, and what should have and did not.
pub fn flows(reading: &Reading, ops: &[&Op]) -> Vec<Flow> {
    let mut flows = Vec::new();
    for (to, reader) in ops.iter().enumerate() {
        let Some(found) = reading.reads(reader) else {
            continue;
        };
        let contains = |v: &Value| match found {
            Value::List(items) => items.contains(v),
            found => found == v,
        };
        let is_list = matches!(found, Value::List(_));
        let source = ops.iter().enumerate().position(|(i, op)| {
            i != to && reading.writes(op).is_some_and(|v| !is_list && contains(v))
        });
        if let Some(from) = source {
            flows.push(Flow {
                from,
                to,
                what: What::Read,
            });
        }
        if !looks(reader) {
            continue;
        }
        // A value that nobody here wrote and that is not nil has no known age: nothing is missed.
        if source.is_none() && !found.is_nil() && !is_list {
            continue;
        }
        let written = source.map_or(Time(0), |from| ops[from].ret);
        let missed = ops.iter().enumerate().filter(|(i, op)| {
            let knows = reading.writes(op).or_else(|| reading.reads(op));
            *i != to
                && Some(*i) != source
                && op.outcome == Outcome::Ok
                && op.ret < reader.call
                && (source.is_none() || written < op.call)
                && knows.is_some_and(|v| !matches!(v, Value::Nil | Value::List(_)) && !contains(v))
        });
        // The latest of them says it best.
        if let Some((from, _)) = missed.max_by_key(|(_, op)| op.ret) {
            flows.push(Flow {
                from,
                to,
                what: What::Missed,
            });
        }
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;
    use history::Process;

    const MS: u64 = 1_000_000;

    fn op(index: u64, f: &str, input: Value, output: Value, call: u64, ret: u64) -> Op {
        Op {
            index,
            completion: Some(index + 1),
            process: Process::Client(index),
            node: Some("n1".into()),
            f: f.into(),
            input,
            output,
            outcome: Outcome::Ok,
            call: Time(call * MS),
            ret: Time(ret * MS),
            error: None,
            version: None,
            due: None,
        }
    }

    fn write(index: u64, v: i64, call: u64, ret: u64) -> Op {
        op(
            index,
            "write",
            Value::pair(5, v),
            Value::pair(5, v),
            call,
            ret,
        )
    }

    fn read(index: u64, v: impl Into<Value>, call: u64, ret: u64) -> Op {
        let input = Value::List(vec![5.into(), Value::Nil]);
        op(
            index,
            "read",
            input,
            Value::List(vec![5.into(), v.into()]),
            call,
            ret,
        )
    }

    fn flows_of(ops: &[Op]) -> Vec<(usize, usize, What)> {
        let refs: Vec<&Op> = ops.iter().collect();
        let flows = flows(&Reading::new(Some("5")), &refs);
        flows.into_iter().map(|a| (a.from, a.to, a.what)).collect()
    }

    #[test]
    fn operations_are_told_without_their_key() {
        let on_key = Reading::new(Some("5"));
        assert_eq!(on_key.text(&write(0, 17, 0, 1)), "write 17");
        assert_eq!(on_key.text(&read(0, 17, 0, 1)), "read → 17");
        assert_eq!(on_key.text(&read(0, Value::Nil, 0, 1)), "read → nil");
        assert_eq!(Reading::new(None).text(&write(0, 17, 0, 1)), "write [5 17]");
        assert_eq!(
            Reading::new(Some("6")).text(&write(0, 17, 0, 1)),
            "write [5 17]"
        );
        let micro = Value::List(vec![Value::text("r"), 1.into(), 2.into()]);
        let txn = Value::List(vec![micro]);
        let txn = op(0, "txn", txn.clone(), txn, 0, 1);
        assert_eq!(Reading::new(None).text(&txn), "r 1 2");
        let cas = op(0, "cas", Value::pair(3, 4), Value::pair(3, 4), 0, 1);
        assert_eq!(Reading::new(None).text(&cas), "cas 3 → 4");
        let mut unknown = write(0, 17, 0, 1);
        unknown.outcome = Outcome::Info;
        assert_eq!(on_key.text(&unknown), "write 17 ?");
    }

    #[test]
    fn keys_may_be_text() {
        let op = op(0, "write", Value::pair("a", 1), Value::Nil, 0, 1);
        assert!(Reading::new(Some("a")).concerns(&op));
        assert!(Reading::new(Some("\"a\"")).concerns(&op));
        assert!(!Reading::new(Some("b")).concerns(&op));
        assert!(!Reading::new(None).concerns(&op));
    }

    #[test]
    fn a_stale_read_has_its_source_and_what_it_missed() {
        // w1 |--|   w2 |--|   read -> 1 |--|
        let ops = [write(0, 1, 0, 2), write(2, 2, 5, 7), read(4, 1, 10, 12)];
        assert_eq!(flows_of(&ops), [(0, 2, What::Read), (1, 2, What::Missed)]);
    }

    #[test]
    fn a_lawful_read_misses_nothing() {
        let ops = [write(0, 1, 0, 2), write(2, 2, 5, 7), read(4, 2, 10, 12)];
        assert_eq!(flows_of(&ops), [(1, 2, What::Read)]);
        // Concurrent with the write it does not know of.
        let ops = [write(0, 1, 0, 2), write(2, 2, 5, 11), read(4, 1, 10, 12)];
        assert_eq!(flows_of(&ops), [(0, 2, What::Read)]);
    }

    #[test]
    fn a_read_of_the_past_after_a_read_of_the_present() {
        // The new value is read while its write is open, then the old one by a later read.
        let ops = [
            write(0, 1, 0, 2),
            write(2, 2, 5, 30),
            read(4, 2, 8, 10),
            read(6, 1, 12, 14),
        ];
        assert_eq!(
            flows_of(&ops),
            [(1, 2, What::Read), (0, 3, What::Read), (2, 3, What::Missed)]
        );
    }

    #[test]
    fn an_empty_read_misses_a_write() {
        let ops = [write(0, 1, 0, 2), read(2, Value::Nil, 5, 6)];
        assert_eq!(flows_of(&ops), [(0, 1, What::Missed)]);
    }

    #[test]
    fn a_set_that_lost_an_element_misses_its_addition() {
        let add = |i, v: i64, call, ret| op(i, "add", v.into(), v.into(), call, ret);
        let found = Value::List(vec![1.into()]);
        let ops = [
            add(0, 1, 0, 1),
            add(2, 2, 2, 3),
            op(4, "read", Value::Nil, found, 5, 6),
        ];
        assert_eq!(flows_of(&ops), [(1, 2, What::Missed)]);
    }

    #[test]
    fn a_value_from_nowhere_accuses_nobody() {
        let ops = [write(0, 1, 0, 2), read(2, 9, 5, 6)];
        assert_eq!(flows_of(&ops), []);
    }
}
