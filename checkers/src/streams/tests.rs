use std::collections::BTreeSet;

use history::{Event, Kind, Process, Time, Value};

use super::*;
use crate::Verdict;
use crate::splitmix::Random;

/// An operation, each of a process of its own.
#[derive(Clone, Debug)]
struct Asked {
    span: (u64, u64),
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// Stream, element, how it ended, and the position with which it was acknowledged.
    Put(i64, i64, Kind, Option<i64>),
    /// Stream, from behind where, up to where, and what was told. In a change feed odd elements are
    /// of key 1, and even ones of key 0.
    Piece(i64, i64, i64, Vec<(i64, i64)>),
}

fn list(told: &[(i64, i64)], of: impl Fn(i64) -> Value) -> Value {
    let pair = |(at, element): &(i64, i64)| Value::pair(*at, of(*element));
    told.iter().map(pair).collect::<Vec<_>>().into()
}

/// As a history of a log, or of a change feed in which streams are keys of one.
fn history(shape: Shape, asked: &[Asked]) -> History {
    let mut events = Vec::new();
    for (i, one) in asked.iter().enumerate() {
        let (f, input, kind, output, version) = match (&one.what, shape) {
            (What::Put(stream, element, kind, at), _) => {
                let f = if shape == Shape::Log { "send" } else { "write" };
                let input = Value::pair(*stream, *element);
                (f, input.clone(), *kind, input, at.map(Value::Int))
            }
            (What::Piece(stream, from, _, told), Shape::Log) => {
                let output = Value::pair(*stream, list(told, Value::Int));
                (
                    "poll",
                    Value::pair(*stream, from + 1),
                    Kind::Ok,
                    output,
                    None,
                )
            }
            (What::Piece(_, from, upto, told), Shape::Watch) => {
                let told = list(told, |element| Value::pair(element % 2, element));
                let output = vec![Value::Int(*from), Value::Int(*upto), told];
                ("watch", Value::Nil, Kind::Ok, output.into(), None)
            }
        };
        let event = |time, kind, value, version| Event {
            index: 0,
            time: Time(time),
            process: Process::Client(i as u64),
            kind,
            f: f.into(),
            value,
            error: None,
            node: None,
            version,
            due: None,
        };
        events.push(event(one.span.0, Kind::Invoke, input, None));
        events.push(event(one.span.1, kind, output, version));
    }
    events.sort_by_key(|event| event.time);
    for (index, event) in events.iter_mut().enumerate() {
        event.index = index as u64;
    }
    History::new(events).unwrap()
}

fn kinds(shape: Shape, asked: &[Asked]) -> BTreeSet<String> {
    let streams = Streams { shape };
    let found = streams.check(&history(shape, asked), &Budget::default());
    let kinds: BTreeSet<String> = found.anomalies.iter().map(|a| a.kind.clone()).collect();
    let expected = match kinds.is_empty() {
        true => [Verdict::Valid, Verdict::Vacuous],
        false => [Verdict::Invalid; 2],
    };
    assert!(expected.contains(&found.verdict), "{found:#?}");
    kinds
}

type Put = ((u64, u64), i64, i64, Kind, Option<i64>);
type Piece<'a> = ((u64, u64), i64, i64, i64, &'a [(i64, i64)]);

/// The definitions, one after the other, over all pairs of operations. Times are all different.
fn by_definition(shape: Shape, asked: &[Asked]) -> BTreeSet<String> {
    let puts: Vec<Put> = asked
        .iter()
        .filter_map(|one| match one.what {
            // Of one whose outcome nobody knows, the end is no end, and the position not known.
            What::Put(stream, element, Kind::Ok, at) => {
                Some((one.span, stream, element, Kind::Ok, at))
            }
            What::Put(stream, element, Kind::Fail, _) => {
                Some((one.span, stream, element, Kind::Fail, None))
            }
            What::Put(stream, element, kind, _) => {
                Some(((one.span.0, u64::MAX), stream, element, kind, None))
            }
            What::Piece(..) => None,
        })
        .collect();
    let pieces: Vec<Piece> = asked
        .iter()
        .filter_map(|one| match &one.what {
            What::Piece(stream, from, upto, told) => {
                let last = told
                    .iter()
                    .map(|(at, _)| *at)
                    .max()
                    .unwrap_or(*from)
                    .max(*from);
                let upto = if shape == Shape::Log { last } else { *upto };
                Some((one.span, *stream, *from, upto, &told[..]))
            }
            What::Put(..) => None,
        })
        .collect();
    // In a change feed all keys are one stream.
    let same = |a: i64, b: i64| shape == Shape::Watch || a == b;
    let whole = |stream: i64, element: i64| match shape {
        Shape::Log => (stream, element),
        Shape::Watch => (element % 2, element),
    };
    let mut said: Vec<(i64, i64, (i64, i64))> = Vec::new();
    for (_, stream, element, _, at) in &puts {
        said.extend(at.map(|at| (*stream, at, (*stream, *element))));
    }
    for (_, stream, _, _, told) in &pieces {
        said.extend(
            told.iter()
                .map(|(at, e)| (*stream, *at, whole(*stream, *e))),
        );
    }
    let mut kinds = BTreeSet::new();
    let mut add = |kind: &str, holds: bool| {
        if holds {
            kinds.insert(kind.to_string());
        }
    };
    for (a, at, one) in &said {
        for (b, other_at, other) in &said {
            let differ = same(*a, *b) && at == other_at && one != other;
            add("different elements at a position", differ);
        }
    }
    let last_call = puts.iter().map(|put| put.0.0).max();
    for (span, stream, from, upto, told) in &pieces {
        for (nth, (at, element)) in told.iter().enumerate() {
            let before = told[..nth].iter().map(|(at, _)| *at).max();
            let before = before.unwrap_or(*from).max(*from);
            add("order inverted", at > upto || *at < before);
            add("duplicate elements", at <= upto && *at == before);
            let mut written = puts
                .iter()
                .filter(|put| (put.1, put.2) == whole(*stream, *element));
            let Some(put) = written.next() else {
                add("element from nowhere", true);
                continue;
            };
            add("aborted read", put.3 == Kind::Fail);
            add(
                "element from nowhere",
                put.3 != Kind::Fail && span.1 < put.0.0,
            );
            add("wrong position", put.4.is_some_and(|acked| acked != *at));
            for (_, other, _, _, also) in &pieces {
                let elsewhere = |(b, e): &(i64, i64)| e == element && b != at;
                let twice = same(*other, *stream) && also.iter().any(elsewhere);
                add("duplicate elements", put.4.is_none() && twice);
            }
        }
        for (other, at, _) in &said {
            let within = same(*other, *stream) && (from + 1..=*upto).contains(at);
            let has = told.iter().any(|(b, _)| b == at);
            add("missing element", within && !has);
            let at_the_end = |span: &(u64, u64)| last_call.is_some_and(|last| last < span.0);
            let still = |piece: &Piece| {
                at_the_end(&piece.0) && piece.1 == *other && piece.4.iter().any(|(b, _)| b == at)
            };
            let gone = at_the_end(span) && told.is_empty() && !pieces.iter().any(still);
            let behind = same(*other, *stream) && at > from;
            add("lost element", shape == Shape::Log && gone && behind);
        }
    }
    for a in &puts {
        for b in &puts {
            if let (Some(high), Some(low)) = (a.4, b.4) {
                add(
                    "order inverted",
                    same(a.1, b.1) && a.0.1 < b.0.0 && high > low,
                );
            }
        }
    }
    kinds
}

/// Of elements 0 to 5, in two streams, most of which are where they should be.
fn operations(shape: Shape, random: &mut Random) -> Vec<Asked> {
    // In a change feed positions are of all keys together.
    let place = |element: i64| match shape {
        Shape::Log => element / 2 + 1,
        Shape::Watch => element + 1,
    };
    let mut all: Vec<What> = Vec::new();
    for element in 0..6 {
        let kind = match random.below(9) {
            0 => Kind::Fail,
            1 => Kind::Info,
            _ => Kind::Ok,
        };
        let at = match random.below(9) {
            0 => Some(1 + random.below(6) as i64),
            1 | 2 => None,
            _ => Some(place(element)),
        };
        all.push(What::Put(element % 2, element, kind, at));
    }
    for _ in 0..random.below(5) {
        let (stream, from) = (random.below(2) as i64, random.below(4) as i64);
        let upto = from + random.below(5) as i64;
        let right = (0..6).filter(|e| shape == Shape::Watch || e % 2 == stream);
        let mut told: Vec<(i64, i64)> = right.map(|e| (place(e), e)).collect();
        told.retain(|(at, _)| (from + 1..=upto).contains(at));
        // A few are changed in some way.
        for i in 0..told.len() {
            match random.below(14) {
                0 => told[i].0 += 1,
                1 => told[i].1 = (told[i].1 + 2) % 7,
                2 => told.swap(i, 0),
                3 => {
                    told.remove(i);
                    break;
                }
                4 => told.insert(i, told[i]),
                _ => {}
            }
        }
        all.push(What::Piece(stream, from, upto, told));
    }
    // Each time is that of one event.
    let mut times: Vec<u64> = (0..2 * all.len() as u64).collect();
    for i in (1..times.len()).rev() {
        times.swap(i, random.below(i as u64 + 1) as usize);
    }
    let spans = times.chunks(2);
    let spans = spans.map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1])));
    let asked = all.into_iter().zip(spans);
    asked.map(|(what, span)| Asked { span, what }).collect()
}

fn is_judged_as_defined(shape: Shape) {
    let (mut valid, mut met) = (0, BTreeSet::new());
    for seed in 0..5_000 {
        let asked = operations(shape, &mut Random::new(seed));
        let found = kinds(shape, &asked);
        assert_eq!(
            found,
            by_definition(shape, &asked),
            "seed {seed}: {asked:#?}"
        );
        valid += usize::from(found.is_empty());
        met.extend(found);
    }
    // What is drawn tries all of the definitions.
    assert!(valid > 100, "{valid}");
    assert_eq!(
        met.len(),
        if shape == Shape::Log { 8 } else { 7 },
        "{met:?}"
    );
}

#[test]
fn a_log_is_judged_as_defined() {
    is_judged_as_defined(Shape::Log);
}

#[test]
fn a_change_feed_is_judged_as_defined() {
    is_judged_as_defined(Shape::Watch);
}

fn put(span: (u64, u64), element: i64, kind: Kind, at: Option<i64>) -> Asked {
    Asked {
        span,
        what: What::Put(1, element, kind, at),
    }
}

fn piece(span: (u64, u64), from: i64, upto: i64, told: &[(i64, i64)]) -> Asked {
    Asked {
        span,
        what: What::Piece(1, from, upto, told.to_vec()),
    }
}

#[test]
fn what_is_right_is_valid_whatever_was_late_or_not_known() {
    let asked = [
        put((0, 1), 11, Kind::Ok, Some(5)),
        put((2, 3), 21, Kind::Info, None),
        put((4, 5), 31, Kind::Ok, Some(9)),
        put((6, 7), 41, Kind::Fail, None),
        // Behind the others, and then from the beginning.
        piece((8, 9), 5, 7, &[(7, 21)]),
        piece((10, 11), 0, 9, &[(5, 11), (7, 21), (9, 31)]),
    ];
    for shape in [Shape::Watch, Shape::Log] {
        let found = Streams { shape }.check(&history(shape, &asked), &Budget::default());
        assert_eq!(found.verdict, Verdict::Valid, "{found:#?}");
        let figure = |name: &str| {
            let mut figures = found.figures.iter();
            figures.find(|f| f.name == name).unwrap().value.clone()
        };
        assert_eq!(figure(ACKNOWLEDGED.name), 2);
        assert_eq!(figure(DELIVERED.name), 3);
        assert_eq!(figure(UNSEEN.name), 0);
    }
}

#[test]
fn a_log_that_forgot_its_end_is_found_by_who_looks_there() {
    let looks = |first: i64, told: &[(i64, i64)]| {
        let asked = [
            put((0, 1), 11, Kind::Ok, Some(1)),
            put((2, 3), 21, Kind::Ok, Some(2)),
            piece((4, 5), 0, 1, &[(1, 11)]),
            piece((6, 7), first, 9, told),
        ];
        kinds(Shape::Log, &asked)
    };
    assert_eq!(looks(1, &[]), BTreeSet::from(["lost element".to_string()]));
    assert!(looks(2, &[]).is_empty());
    // Another has it still: the one who was told that there is nothing is late.
    let late = [
        put((0, 1), 10, Kind::Ok, Some(1)),
        piece((2, 3), 0, 1, &[(1, 10)]),
        piece((4, 5), 0, 0, &[]),
    ];
    assert!(kinds(Shape::Log, &late).is_empty());
    // Nobody knows what lies behind an answer that has something.
    assert!(looks(0, &[(1, 11)]).is_empty());
}

#[test]
fn what_cannot_be_read_is_not_judged() {
    let mut events = history(
        Shape::Log,
        &[
            put((0, 1), 1, Kind::Ok, Some(1)),
            piece((2, 3), 0, 1, &[(1, 1)]),
        ],
    );
    assert_eq!(
        Streams::log().check(&events, &Budget::default()).verdict,
        Verdict::Valid
    );
    let broken: Vec<Event> = events
        .events()
        .iter()
        .cloned()
        .map(|event| match (event.kind, event.f.as_str()) {
            (Kind::Ok, "poll") => Event {
                value: Value::pair(1, Value::text("all of them")),
                ..event
            },
            _ => event,
        })
        .collect();
    events = History::new(broken).unwrap();
    let found = Streams::log().check(&events, &Budget::default());
    assert_eq!(found.verdict, Verdict::Unknown);
    assert!(
        found.summary.contains("not an answer of a stream"),
        "{}",
        found.summary
    );
    let nothing = history(Shape::Watch, &[put((0, 1), 1, Kind::Ok, Some(1))]);
    let found = Streams::watch().check(&nothing, &Budget::default());
    assert_eq!(found.verdict, Verdict::Vacuous);
}
