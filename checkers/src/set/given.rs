//! What a history says of a set: its elements by number, who added them and who read them.

use history::{History, Op, Outcome, Value};
use rustc_hash::FxHashMap;

use super::{Element, Found, NEVER, Read, Timed};
use crate::linearizable::search;
use crate::ranks::{Follows, Ranks};
use crate::{Exhausted, Meter};

/// What a history says of a set.
pub struct Given<'h> {
    /// By number.
    pub elements: Vec<Element<'h>>,
    /// Each with the number of its element.
    pub adds: Vec<(u32, Timed<'h>)>,
    pub reads: Vec<Read<'h>>,
    /// What precedes what, though ranks do not say so.
    pub follows: Follows,
    /// The first read that is no list.
    pub unread: Option<String>,
}

impl<'h> Given<'h> {
    pub fn read(
        history: &'h History,
        found: &mut Found,
        meter: &mut Meter,
    ) -> Result<Given<'h>, Exhausted> {
        let mut numbers: FxHashMap<&Value, u32> = FxHashMap::default();
        let mut elements: Vec<Element> = Vec::new();
        let mut number = |value| {
            *numbers.entry(value).or_insert_with(|| {
                elements.push(Element {
                    value,
                    first_call: None,
                    first_ret: None,
                    failed: None,
                    since: NEVER,
                });
                elements.len() as u32 - 1
            })
        };
        let ranks = Ranks::new(history);
        let mut sessions = ranks.sessions();
        let mut follows: Follows = Vec::new();
        let mut timed = |op: &'h Op| {
            let number = op.index as u32;
            let call = ranks.call(number);
            let ret = op.completion.filter(|_| op.outcome == Outcome::Ok);
            let ret = ret.map_or(search::NEVER, |at| ranks.ret(at as u32));
            let before = sessions.follows(0, op.process, number, (call, ret));
            follows.extend(before.map(|before| (before, number)));
            Timed { op, call, ret }
        };
        let (mut adds, mut reads) = (Vec::new(), Vec::new());
        let mut unread = None;
        let mut bytes = 0;
        for op in history.ops() {
            match (op.f.as_str(), op.outcome) {
                ("add", _) => adds.push((number(&op.input), timed(op))),
                ("read", Outcome::Ok) => {
                    let Some(list) = op.output.as_list() else {
                        // The others are judged without it.
                        let why =
                            || format!("operation {} read {}, not a list", op.index, op.output);
                        unread.get_or_insert_with(why);
                        continue;
                    };
                    let mut all = Vec::with_capacity(list.len());
                    for element in list {
                        meter.tick(bytes)?;
                        all.push(number(element));
                    }
                    bytes += 4 * list.len() as u64;
                    let length = all.len();
                    all.sort_unstable();
                    if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
                        let twice = list.iter().find(|e| number(e) == pair[0]);
                        let twice = twice.map(|e| e.to_string()).unwrap_or_default();
                        let reason =
                            format!("the read (op {}) has {twice} more than once", op.index);
                        found.add("duplicate element", vec![op.index], reason);
                    }
                    all.dedup();
                    debug_assert!(all.len() <= length);
                    reads.push(Read {
                        op: timed(op),
                        elements: all,
                        group: 0,
                    });
                }
                _ => {}
            }
        }
        take(&adds, &mut elements);
        Ok(Given {
            elements,
            adds,
            reads,
            follows,
            unread,
        })
    }
}

/// When each element was added first, and when it surely was there.
fn take<'h>(adds: &[(u32, Timed<'h>)], elements: &mut [Element<'h>]) {
    for (element, add) in adds {
        let element = &mut elements[*element as usize];
        match add.op.outcome {
            Outcome::Fail => element.failed = Some(add.op),
            Outcome::Ok | Outcome::Info => {
                if element.first_call.is_none_or(|first| add.call < first.call) {
                    element.first_call = Some(*add);
                }
                if element.first_ret.is_none_or(|first| add.ret < first.ret) {
                    element.first_ret = Some(*add);
                }
            }
        }
    }
}
