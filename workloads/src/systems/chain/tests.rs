use harness::client::{MALFORMED, OVERLOADED, REJECTED, TIMEOUT, UNKNOWN};

use super::*;
use crate::fake::{Act, Fake};
use crate::interface::Consistency;

async fn client(acts: Vec<(u16, &str)>) -> (Client, Fake) {
    let acts = acts
        .into_iter()
        .map(|(s, body)| Act::Answer(s, body.into()));
    let fake = Fake::start(acts).await;
    let http = Http::new(fake.address, Patience::COLLECT);
    (Client::with_places(http, place), fake)
}

fn placed(tx: Value) -> Option<Value> {
    Some(Value::List(vec![
        3.into(),
        1.into(),
        Value::text("00ab"),
        tx,
    ]))
}

#[test]
fn a_node_that_lags_by_one_block_has_not_caught_up() {
    // Blocks by height, newest first; `fork` is where another branch begins.
    let chain = |head: i64, blocks: i64, fork: i64| -> Vec<(i64, String)> {
        let of = |height| match height >= fork {
            true => format!("b{height}"),
            false => format!("a{height}"),
        };
        let heights = (0..=head).rev().take(blocks as usize);
        heights.map(|height| (height, of(height))).collect()
    };
    let never = i64::MAX;
    let mine = |head, fork| chain(head, 6 + SPREAD, fork);
    let theirs = |head, fork| chain(head, 6, fork);
    let caught = |mine: &[_], theirs: &[_]| caught_up(mine, theirs, 6);
    assert!(caught(&mine(20, never), &theirs(20, never)));
    assert!(caught(&mine(25, never), &theirs(20, never)));
    assert!(!caught(&mine(20, never), &theirs(21, never)));
    // Branches above what answers are given from are no matter, those below are.
    assert!(caught(&mine(20, 16), &theirs(20, 17)));
    assert!(!caught(&mine(20, 14), &theirs(20, never)));
    // Another that is far behind is not looked at; a chain that is not deep yet has genesis.
    assert!(caught(&mine(90, never), &theirs(20, 3)));
    assert!(caught(&mine(2, never), &theirs(1, never)));
    assert!(!caught(&[], &theirs(1, never)));
}

const LINEAR: Consistency = Consistency::Linearizable;

#[tokio::test]
async fn calls_are_asked_and_answered_as_the_protocol_says() {
    let (mut kv, fake) = client(vec![
        (200, r#"{"value":[1,"x"],"tx":"c1","height":3,"position":1,"block":"00ab"}"#),
        (404, r#"{"error":"not-found","height":3,"position":1,"block":"00ab"}"#),
        (200, r#"{"tx":"c2","height":3,"position":1,"block":"00ab"}"#),
        (200, r#"{"swapped":true,"tx":"c3","height":3,"position":1,"block":"00ab"}"#),
        (409, r#"{"swapped":false,"actual":7,"tx":"c4","height":3,"position":1,"block":"00ab"}"#),
        (200, r#"{"length":2}"#),
        (200, r#"{"entries":[["a-1",1]],"height":3,"position":1,"block":"00ab"}"#),
        (200, r#"{"transferred":true,"tx":"c5","height":3,"position":1,"block":"00ab"}"#),
        (409, r#"{"transferred":false,"tx":"c6","height":3,"position":1,"block":"00ab"}"#),
        (200, r#"{"balances":[["a0",95],["a1",105]],"tx":"c7","height":3,"position":1,"block":"00ab"}"#),
    ])
    .await;
    let tx = |id: &str| placed(Value::text(id));
    assert_eq!(kv.get("a b", LINEAR).await, Ok(Some(Value::pair(1, "x"))));
    assert_eq!(Kv::version(&mut kv), tx("c1"));
    // What was said of one answer is not said of the next.
    assert_eq!(Kv::version(&mut kv), None);
    assert_eq!(kv.get("c", Consistency::Local).await, Ok(None));
    assert_eq!(Kv::version(&mut kv), placed(Value::Nil));
    assert_eq!(kv.put("c", &Value::Int(5)).await, Ok(()));
    assert_eq!(Kv::version(&mut kv), tx("c2"));
    assert_eq!(kv.cas("c", None, &Value::Int(6)).await, Ok(true));
    let five = Value::Int(5);
    assert_eq!(kv.cas("c", Some(&five), &Value::Int(8)).await, Ok(false));
    assert_eq!(Kv::version(&mut kv), tx("c4"));
    // Answered from the mempool: in no place yet.
    assert_eq!(kv.append("l", &Value::Int(9)).await, Ok(()));
    assert_eq!(Kv::version(&mut kv), None);
    let found = vec![("a-1".to_string(), Value::Int(1))];
    assert_eq!(kv.scan("a-", LINEAR).await, Ok(found));
    assert_eq!(kv.transfer("a0", "a1", 5).await, Ok(true));
    assert_eq!(kv.transfer("a0", "a1", 500).await, Ok(false));
    assert_eq!(Bank::version(&mut kv), tx("c6"));
    let balances = vec![("a0".to_string(), 95), ("a1".to_string(), 105)];
    assert_eq!(kv.balances().await, Ok(balances));
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
            r#"POST /transfer {"amount":5,"from":"a0","to":"a1"}"#,
            r#"POST /transfer {"amount":500,"from":"a0","to":"a1"}"#,
            "GET /accounts",
        ]
    );
}

#[tokio::test]
async fn errors_are_as_definite_as_the_protocol_says() {
    for (status, body, code) in [
        (
            504,
            r#"{"error":"timeout","definite":false,"message":""}"#,
            TIMEOUT,
        ),
        (
            429,
            r#"{"error":"overloaded","definite":true,"message":""}"#,
            OVERLOADED,
        ),
        (
            400,
            r#"{"error":"bad-request","definite":true,"message":""}"#,
            REJECTED,
        ),
        (
            500,
            r#"{"error":"internal","definite":false,"message":""}"#,
            UNKNOWN,
        ),
        (200, r#"{"transferred":false}"#, MALFORMED),
        (409, r#"{"transferred":true}"#, MALFORMED),
        (200, "gibberish", MALFORMED),
    ] {
        let (mut bank, _fake) = client(vec![(status, body)]).await;
        let error = bank.transfer("a0", "a1", 1).await.unwrap_err();
        assert_eq!(error.code, code, "{status} {body}");
        assert_eq!(Bank::version(&mut bank), None);
    }
    // A page that is missing is not a key that is absent.
    let (mut kv, _fake) = client(vec![(404, "404 page not found")]).await;
    assert_eq!(kv.get("k", LINEAR).await.unwrap_err().code, MALFORMED);
}
