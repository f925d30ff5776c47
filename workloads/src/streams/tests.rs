use std::collections::BTreeSet;
use std::time::Duration;

use harness::generator::{Combine, sim};
use history::{Process, Time};

use super::*;

fn event(f: &str, value: Value, version: Option<Value>) -> Event {
    Event {
        index: 0,
        time: Time(1),
        process: Process::Client(1),
        kind: Kind::Ok,
        f: f.into(),
        value,
        error: None,
        node: None,
        version,
        due: None,
    }
}

#[test]
fn every_value_is_sent_once_and_every_log_is_read_from_its_beginning_and_its_end() {
    let params = Params::resolve(&Log.params(), [("ops-per-key", "100")]).unwrap();
    let Load { main, mut closing } = Log.load(&params);
    let (mut sent, mut keys, mut polls) = (BTreeSet::new(), BTreeSet::new(), 0);
    sim::simulate(main.limit(1_000), 5, |event| {
        let (key, value) = event.value.as_pair().unwrap();
        keys.insert(key.clone());
        match event.f.as_str() {
            "send" => assert!(sent.insert(value.clone()), "{value} is sent twice"),
            _ => polls += 1,
        }
        (Duration::from_millis(1), Kind::Ok)
    });
    assert!((400..600).contains(&polls), "{polls}");
    let last = (closing.write)().unwrap();
    assert_eq!(last.f.as_str(), "send");
    assert!(!sent.contains(last.value.as_pair().unwrap().1));
    let read: BTreeSet<Value> = (closing.reads)()
        .iter()
        .map(|read| read.value.as_pair().unwrap().0.clone())
        .collect();
    assert_eq!(read, keys);
}

#[test]
fn a_log_is_polled_behind_what_is_known_of_it() {
    let logs = Used::<i64>::default();
    let mut following = Following {
        chooser: Chooser::new(register::keys(&Params::resolve(&Log.params(), []).unwrap())),
        put: Call::Send,
        follow: following,
        next: Arc::default(),
        logs: logs.clone(),
    };
    let mut behind = |event: Event| {
        following.update(&event);
        logs.lock().unwrap().get(&7).copied()
    };
    let sent = |at: i64| event("send", Value::pair(7, 1), Some(at.into()));
    assert_eq!(behind(sent(4)), Some(5));
    assert_eq!(behind(sent(2)), Some(5));
    let told: Value = vec![Value::pair(8, 2), Value::pair(9, 3)].into();
    assert_eq!(behind(event("poll", Value::pair(7, told), None)), Some(10));
    let failed = Event {
        kind: Kind::Fail,
        ..sent(40)
    };
    assert_eq!(behind(failed), Some(10));
}

#[test]
fn changes_have_the_keys_of_the_workload() {
    let told = |changes: Vec<Value>| Value::from(vec![3.into(), 9.into(), changes.into()]);
    let change = |key: &str| Value::from(vec![5.into(), Value::text(key), 17.into()]);
    let known = feed("watch-", &told(vec![change("watch-2")])).unwrap();
    let expected = vec![Value::pair(5, Value::pair(2, 17))];
    assert_eq!(known, told(expected));
    for wrong in [
        told(vec![change("other-2")]),
        told(vec![change("watch-x")]),
        told(vec![Value::pair(5, 17)]),
        Value::pair(3, 9),
        Value::Nil,
    ] {
        assert_eq!(feed("watch-", &wrong).unwrap_err().code, MALFORMED);
    }
    assert_eq!(position(&Value::Nil).unwrap(), None);
    assert_eq!(position(&4.into()).unwrap(), Some(4.into()));
    assert!(position(&Value::text("4")).is_err());
}
