use history::{Event, Kind, Time};

use super::*;
use crate::linearizable::Registers;
use crate::objects::Objects;
use crate::splitmix::Random;
use crate::{Budget, Checker, compose, drawing};

fn prefix(checker: impl Checker + 'static, history: &History) -> Option<Prefix> {
    let checkers: Vec<Box<dyn Checker>> = vec![Box::new(checker)];
    let analyses = compose::check_all(&checkers, history, &Budget::UNLIMITED);
    let anomaly = analyses[0].anomalies.first()?;
    match anomaly.picture.as_deref() {
        Some(Picture::Prefix(prefix)) => Some(prefix.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_a_stale_read_the_two_writes_have_an_order_and_the_read_cannot_come_next() {
    let drawn = drawing::history(
        "
        P0 |-write 1-| |-write 2-|
        P1                         |-read 1--|
        P2                           |-read 2----|
        P3                        |-write 3------------?",
    );
    let prefix = prefix(Registers::single(), &drawn.unwrap()).unwrap();
    // In the order of their calls: 0 and 2 write, 4 writes 3, 5 reads 1, 6 reads 2.
    assert_eq!((prefix.explained, prefix.of), (2, 4));
    let placed: Vec<_> = prefix.placed.iter().map(|p| (p.op, &p.then[..])).collect();
    assert_eq!(placed, [(0, "1"), (2, "2")]);
    assert_eq!(prefix.holds, "2");
    let next: Vec<_> = prefix
        .next
        .iter()
        .map(|n| (n.op, n.why.as_deref()))
        .collect();
    assert_eq!(next, [(5, Some("read answered 1, not 2")), (6, None)]);
}

#[test]
fn of_a_queue_it_shows_what_is_in_it() {
    let drawn = drawing::history(
        "
        P0 |-enqueue 1-| |-enqueue 2-| |-enqueue 3-| |-dequeue 1-|
        P1                                                         |-dequeue 3-|",
    );
    let queue = Objects::single(model::Model::Queue);
    let prefix = prefix(queue, &drawn.unwrap()).unwrap();
    assert_eq!((prefix.explained, prefix.of), (4, 5));
    assert_eq!(prefix.holds, "[2 3]");
    let why = prefix.next[0].why.as_deref();
    assert_eq!(why, Some("dequeue answered 3, not 2"));
}

/// Twenty values at once, of which the last is taken, and nobody put it in: there are too many
/// orders to try.
#[test]
fn what_takes_too_many_steps_says_how_far_it_came() {
    let mut drawn = String::new();
    for process in 0..20 {
        drawn += &format!("P{process} |-enqueue {process}-{}|\n", "-".repeat(10));
    }
    drawn += &format!("P20 {}|-dequeue 99-|", " ".repeat(60));
    let history = drawing::history(&drawn).unwrap();
    let prefix = prefix(Objects::single(model::Model::Queue), &history).unwrap();
    assert_eq!(prefix.of, 21);
    assert!(
        prefix.explained <= 20 && prefix.placed.is_empty(),
        "{prefix:?}"
    );
    assert!(prefix.ended.is_some());
}

/// By trying all orders: whether one has all of `must`, and of the others what it likes.
fn has_order(start: &dyn Object, ops: &[&Op], must: &[bool], left: &[bool]) -> bool {
    if (0..ops.len()).all(|i| !must[i] || !left[i]) {
        return true;
    }
    (0..ops.len()).any(|i| {
        let first = |j: usize| !must[j] || !left[j] || !ops[j].precedes(ops[i]);
        if !left[i] || !(0..ops.len()).all(first) {
            return false;
        }
        let mut object = start.copy();
        let step = Step {
            f: &ops[i].f,
            process: ops[i].process,
            input: &ops[i].input,
            output: must[i].then_some(&ops[i].output),
        };
        let mut left = left.to_vec();
        left[i] = false;
        object.step(&step).is_ok() && has_order(&*object, ops, must, &left)
    })
}

/// The most returns up to which there is an order.
fn longest(start: &dyn Object, history: &History) -> usize {
    let mut returns: Vec<&Op> = history
        .ops()
        .iter()
        .filter(|op| op.has_returned())
        .collect();
    returns.sort_by_key(|op| op.ret);
    let fits = |k: &usize| {
        // Seen just before the next return.
        let end = returns.get(*k).map_or(Time::MAX, |op| op.ret);
        let called = |op: &&Op| op.call < end;
        let ops: Vec<&Op> = history.ops().iter().filter(called).collect();
        let has_returned = |op: &&Op| returns[..*k].iter().any(|r| r.index == op.index);
        let must: Vec<bool> = ops.iter().map(has_returned).collect();
        has_order(start, &ops, &must, &vec![true; ops.len()])
    };
    (0..=returns.len())
        .rev()
        .find(fits)
        .expect("none is an order")
}

/// Up to six operations of three processes, every event at its own time.
fn random(random: &mut Random, kinds: [(&str, bool); 2]) -> History {
    let mut clock = [0u64; 3];
    let mut lost = [false; 3];
    let mut events = Vec::new();
    for i in 0..random.below(6) + 1 {
        let process = random.below(3);
        let at = process as usize;
        if lost[at] {
            continue;
        }
        let (f, asks) = kinds[random.below(2) as usize];
        let call = clock[at] + 1 + random.below(4);
        clock[at] = call + 1 + random.below(4);
        lost[at] = random.below(5) == 0;
        let value = Value::Int(random.below(3) as i64);
        let input = if asks { Value::Nil } else { value.clone() };
        let kind = if lost[at] { Kind::Info } else { Kind::Ok };
        let (call, ret) = (16 * call + i, 16 * clock[at] + 8 + i);
        for (time, kind, value) in [(call, Kind::Invoke, input), (ret, kind, value)] {
            events.push(Event {
                index: 0,
                time: Time(time),
                process: Process::Client(process),
                kind,
                f: f.into(),
                value,
                error: None,
                node: None,
                version: None,
                due: None,
            });
        }
    }
    events.sort_by_key(|event| event.time);
    (0..)
        .zip(&mut events)
        .for_each(|(i, event)| event.index = i);
    History::new(events).expect("a history")
}

/// 1 if the history has no order.
fn agrees(checker: impl Checker + 'static, model: model::Model, history: &History) -> u32 {
    let start = replay::object(model, &Value::Nil).expect("it starts empty");
    let returned = history.ops().iter().filter(|op| op.has_returned()).count();
    let longest = longest(&*start, history);
    match prefix(checker, history) {
        None => {
            assert_eq!(longest, returned, "{history:?}");
            0
        }
        Some(prefix) => {
            assert_eq!(prefix.ended, None);
            assert_eq!(
                (prefix.explained, prefix.of),
                (longest, returned),
                "{history:?}"
            );
            let why = prefix.next.first().map(|next| next.why.is_some());
            assert_eq!(why, Some(true), "{history:?}");
            1
        }
    }
}

#[test]
fn it_is_as_long_as_trying_all_orders_says() {
    let mut dice = Random::new(7);
    let mut wrong = 0;
    for _ in 0..1500 {
        let history = random(&mut dice, [("read", true), ("write", false)]);
        wrong += agrees(Registers::single(), model::Model::CasRegister, &history);
        let history = random(&mut dice, [("dequeue", true), ("enqueue", false)]);
        wrong += agrees(
            Objects::single(model::Model::Queue),
            model::Model::Queue,
            &history,
        );
    }
    assert!(wrong > 500, "{wrong} had no order");
}
