//! The replicated state: a map of JSON values, and the sessions that make requests exactly-once.
//!
//! Everything here must come out the same on every node, so it depends on nothing but the commands
//! and their order.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::message::{Batch, Command, Digest, Op, Outcome, Query, Slot};

/// So many sessions are remembered; beyond it the quarter that was silent for longest is forgotten.
pub const SESSIONS: usize = 8192;

/// A value that a session's outcome names is remembered up to this length.
const REMEMBERED: usize = 4 << 10;
/// A value is no longer than this, so that one answer holds up the protocol for milliseconds at
/// most.
pub const VALUE_MAX: usize = 4 << 20;
/// A range ends with the entry that makes it this long, and is then a page of it: what comes after
/// is of another moment.
pub const RANGE_BYTES: usize = 4 << 20;

/// A value as JSON text, with its length if it is known to be a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    json: String,
    /// Saves counting the elements at each append.
    length: Option<u64>,
}

/// What is remembered of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// Requests below this are settled: they are never applied (again).
    settled: u64,
    /// Outcomes of the others that were applied, with their slots.
    outcomes: BTreeMap<u64, (Slot, Outcome)>,
    /// When it was last heard of, for forgetting.
    last: Slot,
}

/// The state after all slots up to `applied`. Its maps share what they have in common with their
/// clones, so a clone costs the same however large the state is, and a change what it touches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kv {
    /// The last slot that was applied.
    pub applied: Slot,
    /// The rolling hash of all batches up to there.
    pub chain: Digest,
    map: OrdMap<String, Arc<Item>>,
    sessions: OrdMap<String, Session>,
}

/// What came of a command in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where it really happened: a repeated command has the outcome of its first application.
    pub slot: Slot,
    pub outcome: Outcome,
    /// Whether this very time it changed the state, or could have: it is no read, and was not
    /// known.
    pub ran: bool,
}

impl Kv {
    /// Applies the next slot and returns what came of each command.
    ///
    /// With `dedup` off (the flaw `duplicate-apply`) sessions are not consulted.
    pub fn apply(
        &mut self,
        slot: Slot,
        batch: &Batch,
        digest: Digest,
        dedup: bool,
    ) -> Vec<Applied> {
        assert_eq!(slot, self.applied + 1, "slots are applied in order");
        self.applied = slot;
        self.chain = self.chain.chain(slot, digest);
        batch
            .commands
            .iter()
            .map(|command| self.apply_one(slot, command, dedup))
            .collect()
    }

    fn apply_one(&mut self, slot: Slot, command: &Command, dedup: bool) -> Applied {
        let before = |(slot, outcome)| Applied {
            slot,
            outcome,
            ran: false,
        };
        if let Op::Read(query) = &command.op {
            // A read leaves no trace, so to run it twice does no harm and there is nothing to
            // remember.
            return before((slot, self.read(query)));
        }
        if dedup && let Some(known) = self.remembered(&command.session, command.sequence) {
            return before(known);
        }
        let outcome = self.run(&command.op);
        let session = self.sessions.entry(command.session.clone()).or_default();
        session.last = slot;
        if command.settled > session.settled {
            session.settled = command.settled;
            session.outcomes = session.outcomes.split_off(&command.settled);
        }
        let remembered = match &outcome {
            Outcome::NotSwapped {
                actual: Some(actual),
            } if actual.len() > REMEMBERED => Outcome::NotSwappedFromLong,
            outcome => outcome.clone(),
        };
        session
            .outcomes
            .insert(command.sequence, (slot, remembered));
        if self.sessions.len() > SESSIONS {
            self.forget_sessions();
        }
        Applied {
            slot,
            outcome,
            ran: true,
        }
    }

    /// The outcome of a request that was applied before, or `Superseded` for one that is settled.
    pub fn remembered(&self, session: &str, sequence: u64) -> Option<(Slot, Outcome)> {
        let known = self.sessions.get(session)?;
        if let Some(outcome) = known.outcomes.get(&sequence) {
            return Some(outcome.clone());
        }
        (sequence < known.settled).then_some((self.applied, Outcome::Superseded))
    }

    /// The values and sessions of an earlier state under the index of this one. Only for the flaw
    /// `index-ahead-of-state`.
    pub(super) fn fall_back_to(&mut self, earlier: Kv) {
        (self.map, self.sessions) = (earlier.map, earlier.sessions);
    }

    /// The values without the sessions. Only for the flaw `sessions-not-in-snapshot`.
    pub(super) fn forget_all_sessions(&mut self) {
        self.sessions.clear();
    }

    fn forget_sessions(&mut self) {
        let mut last: Vec<Slot> = self.sessions.values().map(|session| session.last).collect();
        last.sort_unstable();
        let bound = last[last.len() / 4];
        let kept = self.sessions.iter();
        let kept = kept.filter(|(_, session)| session.last > bound);
        self.sessions = kept
            .map(|(name, session)| (name.clone(), session.clone()))
            .collect();
    }

    fn run(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Put { key, value } => {
                self.set(key, value);
                Outcome::Written
            }
            Op::Cas { key, from, to } => {
                let actual = self.map.get(key).map(|item| &item.json);
                if actual == from.as_ref() {
                    self.set(key, to);
                    Outcome::Swapped
                } else {
                    Outcome::NotSwapped {
                        actual: actual.cloned(),
                    }
                }
            }
            Op::SwapUnchecked { key, to } => {
                self.set(key, to);
                Outcome::Swapped
            }
            Op::Append { key, element } => self.append(key, element),
            Op::Delete { key } => {
                self.map.remove(key);
                Outcome::Written
            }
            Op::Read(query) => self.read(query),
        }
    }

    fn set(&mut self, key: &str, json: &str) {
        self.map.insert(
            key.to_owned(),
            Arc::new(Item {
                json: json.to_owned(),
                length: None,
            }),
        );
    }

    fn append(&mut self, key: &str, element: &str) -> Outcome {
        let Some(item) = self.map.get_mut(key) else {
            self.map.insert(
                key.to_owned(),
                Arc::new(Item {
                    json: format!("[{element}]"),
                    length: Some(1),
                }),
            );
            return Outcome::Appended { length: 1 };
        };
        let length = match item.length {
            Some(length) => length,
            None => match serde_json::from_str::<Vec<serde::de::IgnoredAny>>(&item.json) {
                Ok(list) => list.len() as u64,
                Err(_) => return Outcome::NotAList,
            },
        };
        if item.json.len() + 1 + element.len() > VALUE_MAX {
            return Outcome::TooLong;
        }
        let item = Arc::make_mut(item);
        item.json.pop();
        if length > 0 {
            item.json.push(',');
        }
        item.json.push_str(element);
        item.json.push(']');
        item.length = Some(length + 1);
        Outcome::Appended { length: length + 1 }
    }

    /// Answers a query from this state.
    pub fn read(&self, query: &Query) -> Outcome {
        match query {
            Query::Get { key } => Outcome::Value(self.map.get(key).map(|item| item.json.clone())),
            Query::Range {
                prefix,
                after,
                limit,
            } => self.page(prefix, after.as_deref(), *limit),
        }
    }

    fn page(&self, prefix: &str, after: Option<&str>, limit: u32) -> Outcome {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut rest = self
            .map
            .range::<_, str>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < limit as usize && bytes < RANGE_BYTES {
            let Some((key, item)) = rest.next() else {
                break;
            };
            bytes += key.len() + item.json.len();
            entries.push((key.clone(), item.json.clone()));
        }
        Outcome::Entries {
            entries,
            more: rest.peek().is_some(),
        }
    }

    /// Whether a compare-and-set from `from` would swap now, and the value there is.
    pub fn compare(&self, key: &str, from: Option<&String>) -> (bool, Option<String>) {
        let actual = self.map.get(key).map(|item| &item.json);
        (actual == from, actual.cloned())
    }

    /// The state as bytes, for a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data has an encoding")
    }

    /// The state from a snapshot's bytes.
    ///
    /// # Errors
    /// The decoder's message when they are none.
    pub fn decode(bytes: &[u8]) -> Result<Kv, String> {
        match postcard::take_from_bytes(bytes) {
            Ok((kv, [])) => Ok(kv),
            Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nodekit::http::canonical;

    use super::*;

    fn command(session: &str, sequence: u64, settled: u64, op: Op) -> Command {
        Command {
            session: session.into(),
            sequence,
            settled,
            op,
        }
    }

    fn append(element: &str) -> Op {
        Op::Append {
            key: "k".into(),
            element: element.into(),
        }
    }

    fn apply(kv: &mut Kv, command: Command) -> (Slot, Outcome) {
        let batch = Batch {
            commands: vec![command],
        };
        let applied = kv
            .apply(kv.applied + 1, &batch, batch.digest(), true)
            .remove(0);
        (applied.slot, applied.outcome)
    }

    #[test]
    fn a_repeated_command_is_answered_as_before_and_applied_once() {
        let mut kv = Kv::default();
        assert_eq!(
            apply(&mut kv, command("a", 1, 1, append("7"))),
            (1, Outcome::Appended { length: 1 })
        );
        assert_eq!(
            apply(&mut kv, command("b", 1, 1, append("8"))),
            (2, Outcome::Appended { length: 2 })
        );
        assert_eq!(
            apply(&mut kv, command("a", 1, 1, append("7"))),
            (1, Outcome::Appended { length: 1 })
        );
        assert_eq!(
            kv.read(&Query::Get { key: "k".into() }),
            Outcome::Value(Some("[7,8]".into()))
        );
    }

    #[test]
    fn what_ran_is_told_from_what_was_known() {
        let mut kv = Kv::default();
        let get = Op::Read(Query::Get { key: "k".into() });
        let commands = [
            command("a", 1, 1, append("7")),
            command("a", 1, 1, append("7")),
            command("b", 1, 1, get),
        ];
        let batch = Batch {
            commands: commands.to_vec(),
        };
        let ran = |kv: &mut Kv, dedup| -> Vec<bool> {
            let applied = kv.apply(kv.applied + 1, &batch, batch.digest(), dedup);
            applied.into_iter().map(|applied| applied.ran).collect()
        };
        assert_eq!(ran(&mut kv, true), [true, false, false]);
        assert_eq!(ran(&mut kv, true), [false, false, false]);
        assert_eq!(ran(&mut kv, false), [true, true, false]);
    }

    #[test]
    fn what_is_settled_is_forgotten_and_never_applied_late() {
        let mut kv = Kv::default();
        apply(&mut kv, command("a", 3, 3, append("3")));
        assert_eq!(
            apply(&mut kv, command("a", 2, 2, append("2"))).1,
            Outcome::Superseded
        );
        apply(&mut kv, command("a", 4, 3, append("4")));
        assert_eq!(
            kv.remembered("a", 3),
            Some((1, Outcome::Appended { length: 1 })),
            "3 is not settled yet"
        );
        apply(&mut kv, command("a", 5, 5, append("5")));
        assert_eq!(
            kv.remembered("a", 3).map(|known| known.1),
            Some(Outcome::Superseded)
        );
        assert_eq!(
            kv.read(&Query::Get { key: "k".into() }),
            Outcome::Value(Some("[3,4,5]".into()))
        );
    }

    #[test]
    fn compare_and_set_compares_canonical_texts() {
        let mut kv = Kv::default();
        let cas = |from: Option<&str>, to: &str| Op::Cas {
            key: "k".into(),
            from: from.map(|text| canonical(text.as_bytes()).unwrap()),
            to: canonical(to.as_bytes()).unwrap(),
        };
        assert_eq!(
            apply(
                &mut kv,
                command("a", 1, 1, cas(None, "{\"b\": 1, \"a\": [ 2 ]}"))
            )
            .1,
            Outcome::Swapped
        );
        assert_eq!(
            apply(&mut kv, command("a", 2, 2, cas(None, "1"))).1,
            Outcome::NotSwapped {
                actual: Some("{\"a\":[2],\"b\":1}".into())
            }
        );
        assert_eq!(
            apply(
                &mut kv,
                command("a", 3, 3, cas(Some("{\"a\":[2],\"b\":1}"), "1"))
            )
            .1,
            Outcome::Swapped
        );
        assert_eq!(
            apply(&mut kv, command("a", 4, 4, append("1"))).1,
            Outcome::NotAList
        );
    }

    #[test]
    fn appends_go_on_from_a_list_that_was_put() {
        let mut kv = Kv::default();
        apply(
            &mut kv,
            command(
                "a",
                1,
                1,
                Op::Put {
                    key: "k".into(),
                    value: "[]".into(),
                },
            ),
        );
        assert_eq!(
            apply(&mut kv, command("a", 2, 2, append("[1]"))).1,
            Outcome::Appended { length: 1 }
        );
        apply(
            &mut kv,
            command(
                "a",
                3,
                3,
                Op::Put {
                    key: "k".into(),
                    value: "[1,[2,3]]".into(),
                },
            ),
        );
        assert_eq!(
            apply(&mut kv, command("a", 4, 4, append("4"))).1,
            Outcome::Appended { length: 3 }
        );
        assert_eq!(
            kv.read(&Query::Get { key: "k".into() }),
            Outcome::Value(Some("[1,[2,3],4]".into()))
        );
    }

    #[test]
    fn ranges_hold_exactly_the_prefix() {
        let mut kv = Kv::default();
        for (sequence, key) in ["a", "b", "b/1", "b/2", "c"].iter().enumerate() {
            let op = Op::Put {
                key: (*key).into(),
                value: "1".into(),
            };
            apply(&mut kv, command("s", sequence as u64, 0, op));
        }
        let page = |prefix: &str, after: Option<&str>, limit| {
            let query = Query::Range {
                prefix: prefix.into(),
                after: after.map(str::to_owned),
                limit,
            };
            match kv.read(&query) {
                Outcome::Entries { entries, more } => {
                    let keys: Vec<_> = entries.into_iter().map(|(key, _)| key).collect();
                    (keys.join(" "), more)
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(page("b/", None, 9), ("b/1 b/2".into(), false));
        assert_eq!(page("b", None, 9), ("b b/1 b/2".into(), false));
        assert_eq!(page("d", None, 9), (String::new(), false));
        assert_eq!(page("", None, 9).0.len(), 13);
        // Page by page.
        assert_eq!(page("b", None, 2), ("b b/1".into(), true));
        assert_eq!(page("b", Some("b/1"), 2), ("b/2".into(), false));
        assert_eq!(page("b", Some("a"), 1), ("b".into(), true));
        assert_eq!(page("b", Some("c"), 1), (String::new(), false));
    }

    #[test]
    fn a_page_and_a_list_have_a_greatest_length() {
        let mut kv = Kv::default();
        for n in 0..5 {
            let (key, value) = (
                format!("k{n}"),
                format!("\"{}\"", "x".repeat(RANGE_BYTES / 2)),
            );
            apply(&mut kv, command("s", n, 0, Op::Put { key, value }));
        }
        let all = Query::Range {
            prefix: String::new(),
            after: None,
            limit: u32::MAX,
        };
        match kv.read(&all) {
            Outcome::Entries { entries, more } => assert_eq!((entries.len(), more), (2, true)),
            other => panic!("{other:?}"),
        }
        let mut length = 0;
        let outcome = (5..).find_map(|n| {
            let element = format!("\"{}\"", "x".repeat(VALUE_MAX / 8));
            let key = "list".to_owned();
            match apply(&mut kv, command("s", n, 0, Op::Append { key, element })).1 {
                Outcome::Appended { length: grown } => {
                    length = grown;
                    None
                }
                other => Some(other),
            }
        });
        assert_eq!((outcome, length), (Some(Outcome::TooLong), 7));
    }

    #[test]
    fn a_long_value_is_not_remembered_with_a_session() {
        let mut kv = Kv::default();
        let (key, value) = ("k".to_owned(), "7".repeat(REMEMBERED + 1));
        apply(
            &mut kv,
            command(
                "a",
                1,
                1,
                Op::Put {
                    key: key.clone(),
                    value: value.clone(),
                },
            ),
        );
        let swap = command(
            "b",
            1,
            1,
            Op::Cas {
                key,
                from: None,
                to: "1".into(),
            },
        );
        let told = Outcome::NotSwapped {
            actual: Some(value),
        };
        assert_eq!(apply(&mut kv, swap.clone()).1, told);
        assert_eq!(apply(&mut kv, swap).1, Outcome::NotSwappedFromLong);
    }

    #[test]
    fn old_sessions_are_forgotten_in_a_bounded_table() {
        let mut kv = Kv::default();
        for n in 0..SESSIONS + 10 {
            apply(&mut kv, command(&format!("s{n}"), 1, 1, append("1")));
            assert!(kv.sessions.len() <= SESSIONS);
        }
        assert_eq!(kv.remembered("s0", 1), None);
        assert!(kv.remembered(&format!("s{SESSIONS}"), 1).is_some());
    }

    #[test]
    fn snapshots_round_trip_and_refuse_garbage() {
        let mut kv = Kv::default();
        apply(&mut kv, command("a", 1, 1, append("7")));
        let bytes = kv.encode();
        assert_eq!(Kv::decode(&bytes), Ok(kv));
        assert!(Kv::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Kv::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
