use nodekit::http::parse_head;
use nodekit::testing::assert_mistake;
use proptest::prelude::*;

use super::*;

fn defaults() -> Defaults {
    Defaults {
        reads: Reads::Ordered,
        confirmations: 6,
        names: Names::new("n1", 0xabc),
    }
}

fn ask(head: &str, body: &str) -> Result<Ask<Chain>, Response> {
    let text = format!("{head}\r\n\r\n");
    let head = parse_head(text.as_bytes()).unwrap().unwrap();
    understand(&head, body.as_bytes(), &defaults())
}

fn submit(id: &str, op: Op, confirmations: u64) -> Result<Ask<Chain>, Response> {
    let transaction = Transaction { id: id.into(), op };
    Ok(Ask::Request(Request::Submit {
        transaction,
        confirmations,
    }))
}

fn look(question: Question, confirmations: u64) -> Result<Ask<Chain>, Response> {
    Ok(Ask::Request(Request::Look {
        question,
        confirmations,
    }))
}

#[test]
fn the_surface_is_understood() {
    let key = || "a/b".to_owned();
    let made = "n1.abc.1";
    assert_eq!(
        ask("GET /kv/a%2Fb HTTP/1.1", ""),
        submit(made, Op::Get { key: key() }, 6)
    );
    assert_eq!(
        ask("GET /kv/a%2Fb?read=local&confirmations=2 HTTP/1.1", ""),
        look(Question::Get(key()), 2)
    );
    assert_eq!(
        ask("GET /kv?prefix=p&after=p7&read=local HTTP/1.1", ""),
        look(
            Question::Range {
                prefix: "p".into(),
                after: Some("p7".into())
            },
            6
        )
    );
    assert_eq!(
        ask("GET /accounts?confirmations=1 HTTP/1.1", ""),
        submit(made, Op::Balances, 1)
    );
    let value = "[1,2]".to_owned();
    assert_eq!(
        ask(
            "PUT /kv/a%2Fb?confirmations=0 HTTP/1.1\r\nTransaction: c7",
            " [1, 2]"
        ),
        submit("c7", Op::Put { key: key(), value }, 0)
    );
    let (from, to) = (None, "1".to_owned());
    assert_eq!(
        ask("POST /kv/a%2Fb/cas HTTP/1.1", "{\"from\":null,\"to\":1}"),
        submit(
            made,
            Op::Cas {
                key: key(),
                from,
                to
            },
            6
        )
    );
    let element = "7".to_owned();
    assert_eq!(
        ask("POST /kv/a%2Fb/append HTTP/1.1", "7"),
        submit(
            made,
            Op::Append {
                key: key(),
                element
            },
            6
        )
    );
    assert_eq!(
        ask("DELETE /kv/a%2Fb HTTP/1.1", ""),
        submit(made, Op::Delete { key: key() }, 6)
    );
    let (from, to, amount) = ("a0".to_owned(), "a1".to_owned(), 5);
    assert_eq!(
        ask(
            "POST /transfer HTTP/1.1",
            "{\"from\":\"a0\",\"to\":\"a1\",\"amount\":5}"
        ),
        submit(made, Op::Transfer { from, to, amount }, 6)
    );
    let tip = Hash([0xab; 32]);
    assert_eq!(
        ask(
            &format!("GET /chain/blocks?tip={tip}&limit=9999 HTTP/1.1"),
            ""
        ),
        Ok(Ask::Inspect(Inspect::Blocks {
            tip: Some(tip),
            limit: 1000
        }))
    );
    assert_eq!(
        ask("GET /debug/status HTTP/1.1", ""),
        Ok(Ask::Inspect(Inspect::Status))
    );
}

#[test]
fn mistakes_are_definite_and_named() {
    for (head, body, status, message) in [
        ("GET / HTTP/1.1", "", 400, "there is no /"),
        ("GET /kv/ HTTP/1.1", "", 400, "1 to 1024 bytes"),
        ("GET /kv/%zz HTTP/1.1", "", 400, "percent"),
        (
            "GET /kv/k?read=fast HTTP/1.1",
            "",
            400,
            "neither ordered nor local",
        ),
        ("GET /kv/k?confirmations=x HTTP/1.1", "", 400, "no number"),
        (
            "PUT /kv/k?read=local HTTP/1.1",
            "1",
            400,
            "unknown parameter \"read\"",
        ),
        ("PUT /kv/k HTTP/1.1", "{", 400, "not JSON"),
        (
            "PUT /kv/k HTTP/1.1\r\nTransaction: a b",
            "1",
            400,
            "1 to 128 visible",
        ),
        (
            "PUT /kv/k HTTP/1.1\r\nTransaction:",
            "1",
            400,
            "1 to 128 visible",
        ),
        ("POST /kv/k/cas HTTP/1.1", "{\"from\":1}", 400, "from"),
        (
            "POST /transfer HTTP/1.1",
            "{\"from\":\"a\",\"to\":\"b\",\"amount\":-1}",
            400,
            "amount",
        ),
        ("GET /transfer HTTP/1.1", "", 405, "GET"),
        ("PATCH /kv/k HTTP/1.1", "1", 405, "PATCH"),
        (
            "GET /chain/blocks?tip=00 HTTP/1.1",
            "",
            400,
            "64 hexadecimal",
        ),
        ("GET /chain/head?x HTTP/1.1", "", 400, "unknown parameter"),
    ] {
        assert_mistake(&ask(head, body).unwrap_err(), status, message);
    }
}

#[test]
fn answers_look_as_the_protocol_page_says() {
    let place = Some(Place {
        block: Hash([0xab; 32]),
        height: 7,
        position: 2,
    });
    let block = "ab".repeat(32);
    for (answer, status, text) in [
        (Answer::Done, 200, json!({})),
        (
            Answer::Swapped {
                swapped: true,
                actual: None,
            },
            200,
            json!({"swapped": true}),
        ),
        (
            Answer::Swapped {
                swapped: false,
                actual: Some("[1]".into()),
            },
            409,
            json!({"swapped": false, "actual": [1]}),
        ),
        (
            Answer::Swapped {
                swapped: false,
                actual: None,
            },
            409,
            json!({"swapped": false, "actual": null}),
        ),
        (Answer::Length(3), 200, json!({"length": 3})),
        (
            Answer::Value(Some("{\"a\":1}".into())),
            200,
            json!({"value": {"a": 1}}),
        ),
        (Answer::Value(None), 404, json!({"error": "not-found"})),
        (
            Answer::Entries {
                entries: vec![("k".into(), "1".into())],
                more: false,
            },
            200,
            json!({"entries": [["k", 1]]}),
        ),
        (
            Answer::Entries {
                entries: vec![("k".into(), "1".into())],
                more: true,
            },
            200,
            json!({"entries": [["k", 1]], "next": "k"}),
        ),
        (Answer::Transferred(true), 200, json!({"transferred": true})),
        (
            Answer::Transferred(false),
            409,
            json!({"transferred": false}),
        ),
        (
            Answer::Balances(vec![("a0".into(), 100)]),
            200,
            json!({"balances": [["a0", 100]]}),
        ),
        (
            Answer::Refused("no list".into()),
            400,
            json!({"error": "bad-request", "definite": true, "message": "no list"}),
        ),
    ] {
        let mut expected = text;
        for (name, value) in [
            ("height", json!(7)),
            ("position", json!(2)),
            ("block", json!(block)),
        ] {
            expected[name] = value;
        }
        let (found, text) = present(Reply::Done(answer.clone(), place), None);
        let text: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((found, &text), (status, &expected));
        expected["tx"] = json!("c7");
        let (_, text) = present(Reply::Done(answer, place), Some("c7"));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
    let (status, text) = present(Reply::Done(Answer::Done, None), Some("c7"));
    assert_eq!((status, text.as_str()), (200, "{\"tx\":\"c7\"}"));
    assert_eq!(present(Reply::Timeout, None).0, 504);
    assert_eq!(present(Reply::Overloaded, None).0, 429);
    assert_eq!(present(Reply::Refused("no".into()), None).0, 400);
}

#[test]
fn made_up_names_are_different() {
    let names = Names::new("n1", 5);
    assert_ne!(names.next(), names.next());
    assert_ne!(Names::new("n1", 6).next(), Names::new("n1", 5).next());
}

proptest! {
    #[test]
    fn any_target_is_answered(target in "/(kv|chain|debug|accounts|transfer)?[/?&=%a-z0-9é]{0,30}", body in "[\\[\\]{}\":,0-9a-z]{0,20}") {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            let text = format!("{method} {target} HTTP/1.1\r\n\r\n");
            if let Ok(Some(head)) = parse_head(text.as_bytes()) {
                let _ = understand(&head, body.as_bytes(), &defaults());
            }
        }
    }
}
