use harness::client::{
    CONFLICT, MALFORMED, NOT_HELD, OVERLOADED, OpError, REJECTED, TIMEOUT, UNAVAILABLE, UNKNOWN,
};

use super::feed::{Ends, Follower};
use super::leases::Holder;
use super::*;
use crate::fake::{Act, Fake};
use crate::interface::{Consistency, Objects};

async fn client(acts: Vec<Act>) -> (Client, Fake) {
    let fake = Fake::start(acts).await;
    (
        Client::new(Http::new(fake.address, Patience::COLLECT)),
        fake,
    )
}

fn answer(status: u16, body: &str) -> Act {
    Act::Answer(status, body.into())
}

#[tokio::test]
async fn calls_are_asked_and_answered_as_the_protocol_says() {
    let (mut kv, fake) = client(vec![
        answer(200, r#"{"value":[1,"x"],"slot":3}"#),
        answer(404, r#"{"error":"not-found","slot":3}"#),
        answer(200, r#"{"slot":4}"#),
        answer(200, r#"{"swapped":true,"slot":5}"#),
        answer(409, r#"{"swapped":false,"actual":7,"slot":6}"#),
        answer(200, r#"{"length":2,"slot":7}"#),
        answer(200, r#"{"entries":[["a-1",1],["a-2",2]],"slot":8}"#),
        answer(200, r#"{"entries":[["a-1",1]],"next":"a-1","slot":8}"#),
    ])
    .await;
    let one_x = Value::pair(1, "x");
    let linear = Consistency::Linearizable;
    assert_eq!(kv.get("a b", linear).await, Ok(Some(one_x)));
    assert_eq!(kv.get("c", Consistency::Local).await, Ok(None));
    assert_eq!(kv.put("c", &Value::Int(5)).await, Ok(()));
    assert_eq!(kv.cas("c", None, &Value::Int(6)).await, Ok(true));
    assert_eq!(
        kv.cas("c", Some(&Value::Int(5)), &Value::Int(8)).await,
        Ok(false)
    );
    assert_eq!(kv.append("l", &Value::Int(9)).await, Ok(()));
    let found = vec![("a-1".into(), Value::Int(1)), ("a-2".into(), Value::Int(2))];
    assert_eq!(kv.scan("a-", linear).await, Ok(found));
    // A part of a range is no answer: whoever took it for the whole would see elements lost.
    let part = kv.scan("a-", linear).await.unwrap_err();
    assert_eq!(part.code, MALFORMED);
    assert_eq!(
        fake.requests(),
        [
            "GET /kv/a%20b",
            "GET /kv/c?read=local",
            "PUT /kv/c 5",
            r#"POST /kv/c/cas {"from":null,"to":6}"#,
            r#"POST /kv/c/cas {"from":5,"to":8}"#,
            "POST /kv/l/append 9",
            "GET /kv?prefix=a-",
            "GET /kv?prefix=a-",
        ]
    );
}

#[tokio::test]
#[rustfmt::skip]
async fn errors_are_definite_only_when_status_and_body_agree() {
    let unavailable = r#"{"error":"unavailable","definite":true,"message":"no leader"}"#;
    for (status, body, code) in [
        (503, unavailable, UNAVAILABLE),
        (503, r#"{"error":"no-leader"}"#, UNAVAILABLE),
        (503, r#"{"error":"unavailable","definite":false,"message":""}"#, UNKNOWN),
        (429, r#"{"error":"overloaded","definite":true,"message":""}"#, OVERLOADED),
        (400, r#"{"error":"rejected","definite":true,"message":""}"#, REJECTED),
        (504, r#"{"error":"timeout","definite":false,"message":""}"#, TIMEOUT),
        (504, r#"{"error":"timeout","definite":true,"message":""}"#, TIMEOUT),
        (500, r#"{"error":"internal","definite":false,"message":""}"#, UNKNOWN),
        // A definite code under an indefinite status is not believed.
        (500, unavailable, UNKNOWN),
        (418, r#"{"error":"teapot","definite":true,"message":""}"#, UNKNOWN),
        (503, "upstream not ready", MALFORMED),
        (200, "gibberish", MALFORMED),
        (200, r#"{"swapped":false,"slot":1}"#, MALFORMED),
        (409, r#"{"swapped":true,"slot":1}"#, MALFORMED),
    ] {
        let (mut kv, _fake) = client(vec![answer(status, body)]).await;
        let error = kv.cas("k", None, &Value::Int(1)).await.unwrap_err();
        assert_eq!(error.code, code, "{status} {body}");
    }
}

#[tokio::test]
async fn a_missing_page_is_not_a_missing_key() {
    let (mut kv, _fake) = client(vec![answer(404, "404 page not found")]).await;
    let error = kv.get("k", Consistency::Linearizable).await.unwrap_err();
    assert_eq!(error.code, MALFORMED);
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

#[tokio::test]
async fn changes_are_followed_from_where_they_were_told_and_behind_what_is_gone() {
    let change = r#"{"revision":6,"key":"w-1","value":7}"#;
    let told = |upto: i64, changes: &str| {
        let body = format!(r#"{{"upto":{upto},"changes":[{changes}]}}"#);
        answer(200, &body)
    };
    let gone = r#"{"error":"compacted","definite":true,"message":"","revision":9}"#;
    let fake = Fake::start([
        answer(200, r#"{"slot":3,"revision":4}"#),
        told(5, ""),
        told(6, change),
        answer(503, r#"{"error":"x"}"#),
        answer(410, gone),
        told(11, ""),
        told(11, change),
    ])
    .await;
    let mut follower = Follower::of(Http::new(fake.address, Patience::COLLECT), Ends::default());
    let written = follower.perform(Call::Write, "w-1", &Value::Int(7)).await;
    assert_eq!(written, Ok(Value::Int(4)));
    let nothing = Value::Nil;
    let first = follower.perform(Call::Watch, "w-", &nothing).await;
    assert_eq!(first, Ok(value(r#"[5,6,[[6,"w-1",7]]]"#)));
    let failed = follower.perform(Call::Watch, "w-", &nothing).await;
    assert!(failed.is_err());
    let behind = follower.perform(Call::Watch, "w-", &nothing).await;
    assert_eq!(behind, Ok(value("[9,11,[]]")));
    let all = follower.perform(Call::Watch, "w-", &Value::Int(0)).await;
    assert_eq!(all, Ok(value(r#"[0,11,[[6,"w-1",7]]]"#)));
    assert_eq!(
        fake.requests(),
        [
            "PUT /kv/w-1 7",
            "GET /watch?prefix=w-",
            "GET /watch?prefix=w-&after=5&wait=100",
            "GET /watch?prefix=w-&after=6&wait=100",
            "GET /watch?prefix=w-&after=6&wait=100",
            "GET /watch?prefix=w-&after=9&wait=100",
            "GET /watch?prefix=w-&after=0&wait=100",
        ]
    );
}

#[tokio::test]
async fn a_client_goes_on_where_another_one_has_ended() {
    let nothing = |upto: i64| answer(200, &format!(r#"{{"upto":{upto},"changes":[]}}"#));
    let fake = Fake::start([nothing(5), nothing(8), nothing(9)]).await;
    let ends = Ends::default();
    let open = || Follower::of(Http::new(fake.address, Patience::COLLECT), ends.clone());
    let mut one = open();
    let told = one.perform(Call::Watch, "w-", &Value::Nil).await;
    assert_eq!(told, Ok(value("[5,8,[]]")));
    drop(one);
    let told = open().perform(Call::Watch, "w-", &Value::Nil).await;
    assert_eq!(told, Ok(value("[8,9,[]]")));
}

#[tokio::test]
async fn leases_go_by_their_numbers_and_a_renewal_without_an_answer_has_failed() {
    let fake = Fake::start([
        answer(200, r#"{"held":true,"lease":7,"ttl":1500,"slot":3}"#),
        answer(200, r#"{"held":true,"lease":7,"ttl":1500,"slot":4}"#),
        answer(504, r#"{"error":"timeout","definite":false,"message":""}"#),
        answer(409, r#"{"held":false,"slot":5}"#),
        answer(200, r#"{"held":false,"slot":6}"#),
        answer(409, r#"{"held":false,"holder":2,"slot":7}"#),
    ])
    .await;
    let mut holder = Holder::of(Http::new(fake.address, Patience::COLLECT));
    let who = Value::pair(1, 1_500);
    let code = |answer: Result<Value, OpError>| answer.unwrap_err().code;
    let mut ask = async |call| holder.perform(call, "k", &who).await;
    assert_eq!(code(ask(Call::Renew).await), NOT_HELD);
    assert_eq!(ask(Call::Acquire).await, Ok(Value::Int(1_500_000_000)));
    assert_eq!(ask(Call::Renew).await, Ok(Value::Int(1_500_000_000)));
    assert_eq!(code(ask(Call::Renew).await), UNAVAILABLE);
    assert_eq!(code(ask(Call::Renew).await), CONFLICT);
    assert_eq!(ask(Call::Release).await, Ok(Value::Nil));
    assert_eq!(code(ask(Call::Acquire).await), CONFLICT);
    assert_eq!(
        fake.requests(),
        [
            r#"POST /lease/k/acquire {"holder":1,"ttl":1500}"#,
            r#"POST /lease/k/renew {"lease":7}"#,
            r#"POST /lease/k/renew {"lease":7}"#,
            r#"POST /lease/k/renew {"lease":7}"#,
            r#"POST /lease/k/release {"lease":7}"#,
            r#"POST /lease/k/acquire {"holder":1,"ttl":1500}"#,
        ]
    );
}

fn page(first: i64, slots: std::ops::RangeInclusive<i64>, decided_upto: i64) -> LogPage {
    let entries: Vec<_> = slots
        .map(|slot| {
            serde_json::json!({"slot": slot, "ballot": [1, "n1"], "digest": "d", "chain": "c", "commands": [
                {"op": "put", "key": "a", "value": {"x": 1}, "session": "n2.1", "sequence": 1, "applied": true},
                {"op": "cas", "key": "a", "from": null, "to": 7, "session": "n2.1", "sequence": 2, "applied": true},
                {"op": "delete", "key": "a", "session": "n2.1", "sequence": 3, "applied": true},
                {"op": "range", "prefix": "a", "session": "n2.1", "sequence": 4, "applied": false},
            ]})
        })
        .collect();
    let page =
        serde_json::json!({"first": first, "decided_upto": decided_upto, "entries": entries});
    serde_json::from_value(page).unwrap()
}

fn slots(reading: &Reading) -> Vec<i64> {
    reading.log.entries.iter().map(|entry| entry.slot).collect()
}

#[test]
fn commands_of_a_log_say_what_they_do_and_what_they_write_comes_last() {
    let mut reading = Reading::of(&"n1".into());
    assert_eq!(reading.add(page(1, 1..=1, 1)), Ok(true));
    let value = reading.log.to_value();
    let entry = &value.get("entries").unwrap().as_list().unwrap()[0];
    let commands =
        r#"[["n2.1",1,"put","a",{"x":1}],["n2.1",2,"cas","a",null,7],["n2.1",3,"delete","a"]]"#;
    let commands: Value = serde_json::from_str(commands).unwrap();
    assert_eq!(entry.as_list().unwrap()[4], commands);
    assert_eq!(value.get("first"), Some(&Value::Int(1)));
}

#[test]
fn a_snapshot_between_two_pages_leaves_no_hole_and_a_restart_is_said() {
    let mut reading = Reading::of(&"n1".into());
    assert_eq!(reading.add(page(1, 1..=3, 9)), Ok(false));
    assert_eq!(reading.add(page(4, 4..=5, 9)), Ok(false));
    assert_eq!(
        (slots(&reading), reading.log.first),
        (vec![1, 2, 3, 4, 5], Some(1))
    );
    assert_eq!(reading.add(page(8, 8..=9, 10)), Ok(false));
    assert_eq!(reading.add(page(10, 10..=10, 10)), Ok(true));
    assert_eq!(
        (slots(&reading), reading.log.first),
        (vec![8, 9, 10], Some(8))
    );
    let mut reading = Reading::of(&"n1".into());
    assert_eq!(reading.add(page(1, 1..=3, 9)), Ok(false));
    assert!(reading.add(page(4, 4..=4, 4)).is_err());
    // Everything is in a snapshot, or the node has nothing where it should have something.
    let mut reading = Reading::of(&"n1".into());
    let mut none = page(8, 1..=1, 7);
    none.entries.clear();
    assert_eq!(reading.add(none), Ok(true));
    assert_eq!((reading.log.first, reading.log.decided_upto), (Some(8), 7));
}

#[test]
fn torn_lines_of_a_trace_cost_only_themselves() {
    let node = Name::from("n1");
    let events = |text: &str| {
        let value = trace_value(&node, text.as_bytes())?;
        let events = value.get("events").unwrap().as_list().unwrap().to_vec();
        Ok::<_, String>(
            events
                .iter()
                .map(|e| e.get("t").unwrap().clone())
                .collect::<Vec<_>>(),
        )
    };
    let (one, two) = (Value::Int(1), Value::Int(2));
    assert_eq!(
        events("{\"t\":1}\n{\"t\":2}\n{\"t\""),
        Ok(vec![one.clone(), two.clone()])
    );
    assert_eq!(events("{\"t\":1}\n{\"t\"{\"t\":2}\n"), Ok(vec![one, two]));
    let error = events("{\"t\":1}\nnonsense\n").unwrap_err();
    assert!(error.starts_with("line 2 of the trace"), "{error}");
}
