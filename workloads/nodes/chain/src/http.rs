//! The clients' side: what this node's HTTP requests mean, and how its replies look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nodekit::http::{
    Call, Head, Parameters, Response, bad_request, decode_key, failure, json_text, swap,
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::core::block::{Hash, Op, Transaction};
use crate::core::message::{Answer, ID_MAX, Place, Question, Reply, Request};
use crate::event::{Event, Inspect};
use crate::inspect::json_value;
use crate::params::Reads;

const BODY_MAX: usize = 1 << 20;
const BLOCKS_MAX: u64 = 1000;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Ask {
    Request(Request),
    Inspect(Inspect),
}

/// What a request does not have to say.
#[derive(Debug)]
pub struct Defaults {
    pub reads: Reads,
    pub confirmations: u64,
    pub names: Names,
}

/// Makes up names for transactions whose client gave none.
#[derive(Debug)]
pub struct Names {
    /// Of the node, and of this start of it: a node that lost its folder must not use a name again.
    prefix: String,
    next: AtomicU64,
}

impl Names {
    /// `start` must be another number at every start.
    pub fn new(node: &str, start: u64) -> Names {
        Names {
            prefix: format!("{node}.{start:x}"),
            next: AtomicU64::new(1),
        }
    }

    fn next(&self) -> String {
        format!(
            "{}.{}",
            self.prefix,
            self.next.fetch_add(1, Ordering::Relaxed)
        )
    }
}

/// Serves clients until the node stops.
pub async fn serve(listener: TcpListener, defaults: Defaults, events: mpsc::Sender<Event>) {
    let defaults = Arc::new(defaults);
    let answer = move |call: Call| {
        let (defaults, events) = (defaults.clone(), events.clone());
        async move {
            match understand(&call.head, &call.body, &defaults) {
                Ok(ask) => answer(ask, &events).await,
                Err(response) => response,
            }
        }
    };
    nodekit::http::serve(listener, BODY_MAX, answer).await;
}

async fn answer(ask: Ask, events: &mpsc::Sender<Event>) -> Response {
    let stopping = || failure(500, "internal", false, "the node is stopping");
    match ask {
        Ask::Request(request) => {
            let id = match &request {
                Request::Submit { transaction, .. } => Some(transaction.id.clone()),
                Request::Look { .. } => None,
            };
            let (sender, receiver) = oneshot::channel();
            if events.send(Event::Request(request, sender)).await.is_err() {
                return stopping();
            }
            receiver
                .await
                .map_or_else(|_| stopping(), |reply| present(reply, id.as_deref()))
        }
        Ask::Inspect(inspect) => {
            let (sender, receiver) = oneshot::channel();
            if events.send(Event::Inspect(inspect, sender)).await.is_err() {
                return stopping();
            }
            match receiver.await {
                Ok(Some(body)) => (200, body),
                Ok(None) => (404, json!({"error": "not-found"}).to_string()),
                Err(_) => stopping(),
            }
        }
    }
}

/// The response to a reply; `id` names the transaction, if it was one.
fn present(reply: Reply, id: Option<&str>) -> Response {
    let (answer, place) = match reply {
        Reply::Done(answer, place) => (answer, place),
        Reply::Refused(reason) => return bad_request(reason),
        Reply::Overloaded => {
            return failure(
                429,
                "overloaded",
                true,
                "too many requests or transactions wait; this one was not sent",
            );
        }
        Reply::Timeout => {
            return failure(
                504,
                "timeout",
                false,
                "not deep enough in time; it may or may not happen",
            );
        }
    };
    let (status, fields) = match answer {
        Answer::Done => (200, json!({})),
        Answer::Swapped { swapped: true, .. } => (200, json!({"swapped": true})),
        Answer::Swapped { actual, .. } => (
            409,
            json!({"swapped": false, "actual": actual.as_deref().map(json_value)}),
        ),
        Answer::Length(length) => (200, json!({ "length": length })),
        Answer::Value(Some(value)) => (200, json!({"value": json_value(&value)})),
        Answer::Value(None) => (404, json!({"error": "not-found"})),
        Answer::Entries { entries, more } => {
            let told = entries
                .iter()
                .map(|(key, value)| json!([key, json_value(value)]));
            let mut fields = json!({"entries": told.collect::<Vec<_>>()});
            if let Some((last, _)) = entries.last().filter(|_| more) {
                fields["next"] = json!(last);
            }
            (200, fields)
        }
        Answer::Transferred(transferred) => (
            if transferred { 200 } else { 409 },
            json!({ "transferred": transferred }),
        ),
        Answer::Balances(balances) => (200, json!({ "balances": balances })),
        Answer::Refused(reason) => (
            400,
            json!({"error": "bad-request", "definite": true, "message": reason}),
        ),
    };
    let Value::Object(mut fields) = fields else {
        unreachable!("all of the above are objects");
    };
    add_place(&mut fields, id, place);
    (status, Value::Object(fields).to_string())
}

fn add_place(fields: &mut Map<String, Value>, id: Option<&str>, place: Option<Place>) {
    if let Some(id) = id {
        fields.insert("tx".to_owned(), id.into());
    }
    if let Some(place) = place {
        fields.insert("height".to_owned(), place.height.into());
        fields.insert("position".to_owned(), place.position.into());
        fields.insert("block".to_owned(), place.block.to_string().into());
    }
}

/// What a request means.
fn understand(head: &Head, body: &[u8], defaults: &Defaults) -> Result<Ask, Response> {
    let (params, segments) = (head.query()?, head.segments());
    let confirmations = || {
        let asked = params.number("confirmations")?;
        Ok::<_, Response>(asked.unwrap_or(defaults.confirmations))
    };
    let submit = |op| {
        let transaction = Transaction {
            id: transaction_id(head)?.unwrap_or_else(|| defaults.names.next()),
            op,
        };
        Ok(Ask::Request(Request::Submit {
            transaction,
            confirmations: confirmations()?,
        }))
    };
    let change = |op| {
        params.only(&["confirmations"])?;
        submit(op)
    };
    let read = |question: Question| match mode(&params, defaults.reads)? {
        Reads::Local => Ok(Ask::Request(Request::Look {
            question,
            confirmations: confirmations()?,
        })),
        Reads::Ordered => submit(match question {
            Question::Get(key) => Op::Get { key },
            Question::Range { prefix, after } => Op::Range { prefix, after },
            Question::Balances => Op::Balances,
        }),
    };
    let inspect = |inspect| {
        params.only(&[])?;
        Ok(Ask::Inspect(inspect))
    };
    match (head.method.as_str(), segments.as_slice()) {
        ("GET", ["kv"]) => {
            params.only(&["prefix", "after", "read", "confirmations"])?;
            read(Question::Range {
                prefix: params.get("prefix").unwrap_or_default().to_owned(),
                after: params.get("after").map(str::to_owned),
            })
        }
        ("GET", ["kv", key]) => {
            params.only(&["read", "confirmations"])?;
            read(Question::Get(decode_key(key)?))
        }
        ("GET", ["accounts"]) => {
            params.only(&["read", "confirmations"])?;
            read(Question::Balances)
        }
        ("PUT", ["kv", key]) => change(Op::Put {
            key: decode_key(key)?,
            value: json_text(body)?,
        }),
        ("DELETE", ["kv", key]) => change(Op::Delete {
            key: decode_key(key)?,
        }),
        ("POST", ["kv", key, "append"]) => change(Op::Append {
            key: decode_key(key)?,
            element: json_text(body)?,
        }),
        ("POST", ["kv", key, "cas"]) => {
            let (from, to) = swap(body)?;
            let key = decode_key(key)?;
            change(Op::Cas { key, from, to })
        }
        ("POST", ["transfer"]) => change(transfer(body)?),
        ("GET", ["chain", "head"]) => inspect(Inspect::Head),
        ("GET", ["chain", "tips"]) => inspect(Inspect::Tips),
        ("GET", ["chain", "peers"]) => inspect(Inspect::Peers),
        ("GET", ["debug", "status"]) => inspect(Inspect::Status),
        ("GET", ["chain", "blocks"]) => {
            params.only(&["tip", "limit"])?;
            let tip = params.get("tip").map(hash).transpose()?;
            let limit = params.number("limit")?.unwrap_or(100).min(BLOCKS_MAX) as usize;
            Ok(Ask::Inspect(Inspect::Blocks { tip, limit }))
        }
        (
            _,
            ["kv" | "accounts" | "transfer"]
            | ["kv", _]
            | ["kv", _, "cas" | "append"]
            | ["chain", "head" | "tips" | "peers" | "blocks"]
            | ["debug", "status"],
        ) => Err(failure(
            405,
            "bad-request",
            true,
            &format!("{} knows no {}", head.path(), head.method),
        )),
        _ => Err(bad_request(format!(
            "there is no {}; see /kv/KEY, /kv?prefix=P, /accounts, /transfer, /chain/head, /chain/blocks, \
             /chain/tips, /chain/peers, /debug/status",
            head.path()
        ))),
    }
}

fn mode(params: &Parameters<'_>, reads: Reads) -> Result<Reads, Response> {
    match params.get("read") {
        None => Ok(reads),
        Some("ordered") => Ok(Reads::Ordered),
        Some("local") => Ok(Reads::Local),
        Some(other) => Err(bad_request(format!(
            "read={other:?} is neither ordered nor local"
        ))),
    }
}

/// The name that the client gave its transaction.
fn transaction_id(head: &Head) -> Result<Option<String>, Response> {
    match head.header("transaction") {
        None => Ok(None),
        Some(id)
            if (1..=ID_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Some(id.to_owned()))
        }
        Some(_) => Err(bad_request(format!(
            "Transaction has 1 to {ID_MAX} visible ASCII characters"
        ))),
    }
}

fn transfer(body: &[u8]) -> Result<Op, Response> {
    let wrong =
        || bad_request("the body is not {\"from\": ACCOUNT, \"to\": ACCOUNT, \"amount\": NUMBER}");
    let value: Value = serde_json::from_slice(body).map_err(|_| wrong())?;
    let fields = value.as_object().filter(|fields| fields.len() == 3);
    let fields = fields.ok_or_else(wrong)?;
    let text = |name: &str| fields.get(name)?.as_str().map(str::to_owned);
    match (
        text("from"),
        text("to"),
        fields.get("amount").and_then(Value::as_u64),
    ) {
        (Some(from), Some(to), Some(amount)) => Ok(Op::Transfer { from, to, amount }),
        _ => Err(wrong()),
    }
}

/// A block's hash, in hexadecimal digits.
fn hash(text: &str) -> Result<Hash, Response> {
    let digits = |at: usize| {
        let digits = text.get(2 * at..2 * at + 2)?;
        u8::from_str_radix(digits, 16).ok()
    };
    let bytes: Option<Vec<u8>> = (0..32).map(digits).collect();
    let plain = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        Some(bytes) if plain => Ok(Hash(bytes)),
        _ => Err(bad_request(format!(
            "tip={text:?} is not 64 hexadecimal digits"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use nodekit::http::parse_head;
    use proptest::prelude::*;

    use super::*;

    fn defaults() -> Defaults {
        Defaults {
            reads: Reads::Ordered,
            confirmations: 6,
            names: Names::new("n1", 0xabc),
        }
    }

    fn ask(head: &str, body: &str) -> Result<Ask, Response> {
        let text = format!("{head}\r\n\r\n");
        let head = parse_head(text.as_bytes()).unwrap().unwrap();
        understand(&head, body.as_bytes(), &defaults())
    }

    fn submit(id: &str, op: Op, confirmations: u64) -> Result<Ask, Response> {
        let transaction = Transaction { id: id.into(), op };
        Ok(Ask::Request(Request::Submit {
            transaction,
            confirmations,
        }))
    }

    fn look(question: Question, confirmations: u64) -> Result<Ask, Response> {
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
            let (found, text) = ask(head, body).unwrap_err();
            let text: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (found, text["definite"].as_bool()),
                (status, Some(true)),
                "{head}"
            );
            assert!(
                text["message"].as_str().unwrap().contains(message),
                "{head} gave {text}"
            );
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
}
