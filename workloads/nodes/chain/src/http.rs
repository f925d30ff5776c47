//! The clients' side: what this node's HTTP requests mean, and how its replies look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nodekit::http::{
    Call, Head, Parameters, Response, bad_request, decode_key, failure, json_text, json_value,
    no_such_method, swap,
};
use nodekit::service::{self, Ask};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::core::block::{Hash, Op, Transaction};
use crate::core::message::{Answer, ID_MAX, Place, Question, Reply, Request};
use crate::event::{Chain, Event, Inspect};
use crate::params::Reads;

const BODY_MAX: usize = 1 << 20;
const BLOCKS_MAX: u64 = 1000;

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

async fn answer(ask: Ask<Chain>, events: &mpsc::Sender<Event>) -> Response {
    match ask {
        Ask::Request(request) => {
            let id = match &request {
                Request::Submit { transaction, .. } => Some(transaction.id.clone()),
                Request::Look { .. } => None,
            };
            match service::request(request, events).await {
                Some(reply) => present(reply, id.as_deref()),
                None => service::stopping(),
            }
        }
        Ask::Inspect(inspect) => service::inspect(inspect, events).await,
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
fn understand(head: &Head, body: &[u8], defaults: &Defaults) -> Result<Ask<Chain>, Response> {
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
        ) => Err(no_such_method(head)),
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
mod tests;
