//! A client without code: each operation is one HTTP request, and what its answers mean is named.
//!
//! ```text
//! an answer that `fail` names            fail: it did not happen
//! one that `conflict` names              fail: the condition of a compare-and-set did not hold
//! one that `absent` names                ok: the key has no value
//! one that `ok` names, else any 2xx      ok
//! any other                              info for what writes; a read has failed
//! ```
//!
//! They are asked in this order, so that a refusal with status 200 can be named.

use async_trait::async_trait;
use harness::client::{CONFLICT, MALFORMED, OpError, REJECTED, UNAVAILABLE, UNKNOWN};
use history::Value;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value as Json;

use super::file::Shape;
use super::template::Template;
use crate::http::{Answer, Http, segment};
use crate::interface::{Call, Consistency, Kv};

/// Characters of an answer that are shown.
const SHOWN: usize = 120;

/// Answers that have all of what is said here.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub status: Option<u16>,
    pub contains: Option<String>,
    /// A JSON pointer into the body, to something that is there and, if it is said, equals this.
    pub json: Option<String>,
    pub equals: Option<Json>,
}

impl Answers {
    pub fn has(&self, answer: &Answer) -> bool {
        let status = self.status.is_none_or(|status| answer.status == status);
        let contains = self
            .contains
            .as_ref()
            .is_none_or(|text| String::from_utf8_lossy(&answer.body).contains(text.as_str()));
        status && contains && (self.json.is_none() && self.equals.is_none() || self.points(answer))
    }

    fn points(&self, answer: &Answer) -> bool {
        let body: Option<Json> = serde_json::from_slice(&answer.body).ok();
        let pointer = self.json.as_deref().unwrap_or_default();
        let found = body.as_ref().and_then(|body| body.pointer(pointer));
        found.is_some_and(|found| self.equals.as_ref().is_none_or(|wanted| wanted == found))
    }
}

/// How one operation is asked.
#[derive(Clone, Debug)]
pub struct HttpCall {
    pub method: Method,
    pub path: Template,
    pub body: Option<Template>,
    pub headers: Vec<(HeaderName, Template)>,
    /// Where in the answer the value is: a JSON pointer.
    pub value: String,
    pub shape: Shape,
    pub ok: Vec<Answers>,
    pub absent: Vec<Answers>,
    pub conflict: Vec<Answers>,
    pub fail: Vec<Answers>,
}

#[derive(Clone, Debug)]
pub struct HttpCalls(pub Vec<(Call, HttpCall)>);

impl HttpCalls {
    pub fn calls(&self) -> Vec<Call> {
        self.0.iter().map(|(call, _)| *call).collect()
    }

    fn find(&self, call: Call) -> Result<&HttpCall, OpError> {
        let found = self.0.iter().find(|(c, _)| *c == call);
        let lacks = || OpError::new(REJECTED, format!("[client.http] has no {}", call.word()));
        found.map(|(_, call)| call).ok_or_else(lacks)
    }
}

/// What an answer means.
enum Meaning {
    Ok,
    Absent,
}

impl HttpCall {
    fn meaning(&self, answer: &Answer) -> Result<Meaning, OpError> {
        let any = |list: &[Answers]| list.iter().any(|one| one.has(answer));
        let shown = || {
            format!(
                "status {} with {:?}",
                answer.status.as_u16(),
                begins(&answer.body)
            )
        };
        if any(&self.fail) {
            return Err(OpError::new(UNAVAILABLE, shown()));
        }
        if any(&self.conflict) {
            return Err(OpError::new(CONFLICT, ""));
        }
        if any(&self.absent) {
            return Ok(Meaning::Absent);
        }
        let ok = match self.ok.is_empty() {
            true => answer.status.is_success(),
            false => any(&self.ok),
        };
        match ok {
            true => Ok(Meaning::Ok),
            false => Err(OpError::new(UNKNOWN, shown())),
        }
    }

    /// The value that the answer holds.
    fn found(&self, answer: &Answer) -> Result<Value, OpError> {
        let malformed =
            |why: String| OpError::new(MALFORMED, format!("{why} in {:?}", begins(&answer.body)));
        let body: Json =
            serde_json::from_slice(&answer.body).map_err(|e| malformed(e.to_string()))?;
        let found = body
            .pointer(&self.value)
            .ok_or_else(|| malformed(format!("there is no {}", self.value)))?;
        let found = shaped(found.clone(), self.shape);
        match number_as_text(&found) {
            None => Ok(found),
            Some(text) => Err(malformed(format!(
                "{text:?} is a text, and what was written a number: say as = \"int\""
            ))),
        }
    }
}

/// A text in what was found that is a number. Workloads write numbers, and texts are no numbers: it
/// would be taken for what nobody wrote, and the system blamed for it.
pub fn number_as_text(found: &Value) -> Option<&str> {
    match found {
        Value::Text(text) => text.parse::<i64>().is_ok().then_some(text.as_str()),
        Value::List(items) => items.iter().find_map(number_as_text),
        Value::Map(pairs) => pairs.iter().find_map(|(_, value)| number_as_text(value)),
        Value::Nil | Value::Bool(_) | Value::Int(_) => None,
    }
}

/// Numbers that were kept as texts become numbers again, in lists and maps too.
fn shaped(json: Json, shape: Shape) -> Value {
    match (shape, json) {
        (Shape::Json, json) => json.into(),
        (Shape::Int, Json::String(text)) => match text.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => Value::text(text),
        },
        (Shape::Int, Json::Array(items)) => {
            let items = items.into_iter().map(|item| shaped(item, shape));
            Value::List(items.collect())
        }
        (Shape::Int, Json::Object(map)) => {
            let pairs = map.into_iter();
            let pairs = pairs.map(|(key, value)| (Value::text(key), shaped(value, shape)));
            Value::Map(pairs.collect())
        }
        (Shape::Int, json) => json.into(),
    }
}

/// As much of an answer as people are shown.
pub fn begins(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(SHOWN).collect()
}

/// One client at one node.
pub struct Client {
    pub http: Http,
    pub calls: HttpCalls,
    /// What stands for the node and the parameters.
    pub names: Vec<(String, String)>,
}

impl Client {
    async fn ask(
        &mut self,
        call: Call,
        values: &[(&str, &Value)],
    ) -> Result<(Answer, HttpCall, Meaning), OpError> {
        let asked = self.calls.find(call)?.clone();
        let value = |name: &str| {
            values
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| *value)
        };
        let own = |name: &str| {
            let found = self.names.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        // A key is a text, and stands in quotes of its own; other values are JSON.
        let plain = |name: &str| match value(name) {
            Some(Value::Text(text)) => text.to_string(),
            Some(value) => json(value),
            None => own(name),
        };
        let path = asked.path.fill(|name| match value(name) {
            Some(_) => segment(&plain(name)),
            None => own(name),
        });
        let body = asked.body.as_ref().map(|body| body.fill(plain));
        let mut headers = Vec::new();
        for (name, value) in &asked.headers {
            let text = value.fill(plain);
            let value = HeaderValue::from_str(&text)
                .map_err(|_| OpError::new(REJECTED, format!("{text:?} cannot be a header")))?;
            headers.push((name.clone(), value));
        }
        let body = body.unwrap_or_default().into_bytes();
        let answer = self
            .http
            .send(asked.method.clone(), &path, &headers, body)
            .await?;
        let meaning = asked.meaning(&answer)?;
        Ok((answer, asked, meaning))
    }
}

fn json(value: &Value) -> String {
    serde_json::to_string(value).expect("values are JSON")
}

#[async_trait]
impl Kv for Client {
    async fn get(&mut self, key: &str, consistency: Consistency) -> Result<Option<Value>, OpError> {
        not_local(consistency)?;
        let (answer, asked, meaning) = self.ask(Call::Read, &[("key", &Value::text(key))]).await?;
        match meaning {
            Meaning::Absent => Ok(None),
            Meaning::Ok => Ok(Some(asked.found(&answer)?).filter(|value| !value.is_nil())),
        }
    }

    async fn put(&mut self, key: &str, value: &Value) -> Result<(), OpError> {
        let values = [("key", &Value::text(key)), ("value", value)];
        self.ask(Call::Write, &values).await.map(|_| ())
    }

    async fn cas(&mut self, key: &str, from: Option<&Value>, to: &Value) -> Result<bool, OpError> {
        let from = from.unwrap_or(&Value::Nil);
        let values = [("key", &Value::text(key)), ("from", from), ("to", to)];
        match self.ask(Call::Cas, &values).await {
            Ok(_) => Ok(true),
            Err(e) if e.code == CONFLICT => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn append(&mut self, key: &str, element: &Value) -> Result<(), OpError> {
        let values = [("key", &Value::text(key)), ("value", element)];
        self.ask(Call::Append, &values).await.map(|_| ())
    }

    async fn scan(
        &mut self,
        prefix: &str,
        consistency: Consistency,
    ) -> Result<Vec<(String, Value)>, OpError> {
        not_local(consistency)?;
        let values = [("prefix", &Value::text(prefix))];
        let (answer, asked, meaning) = self.ask(Call::Scan, &values).await?;
        match meaning {
            Meaning::Absent => Ok(Vec::new()),
            Meaning::Ok => entries(&asked.found(&answer)?, prefix),
        }
    }
}

/// What a node itself has cannot be asked for: a read would be of another kind than the run says.
pub fn not_local(consistency: Consistency) -> Result<(), OpError> {
    match consistency {
        Consistency::Linearizable => Ok(()),
        Consistency::Local => Err(OpError::new(
            REJECTED,
            "a system's folder has no local reads: leave consistency=local",
        )),
    }
}

/// Keys with their values: a map, or a list of pairs. Keys of others are left out.
pub fn entries(found: &Value, prefix: &str) -> Result<Vec<(String, Value)>, OpError> {
    let malformed = || {
        let text: String = found.to_string().chars().take(SHOWN).collect();
        OpError::new(
            MALFORMED,
            format!("neither a map nor a list of pairs: {text}"),
        )
    };
    let mut pairs = Vec::new();
    match found {
        Value::Map(map) => {
            for (key, value) in map {
                let key = key.as_text().ok_or_else(malformed)?;
                pairs.push((key.to_string(), value.clone()));
            }
        }
        Value::List(list) => {
            for item in list {
                let (key, value) = item.as_pair().ok_or_else(malformed)?;
                let key = key.as_text().ok_or_else(malformed)?;
                pairs.push((key.to_string(), value.clone()));
            }
        }
        _ => return Err(malformed()),
    }
    pairs.retain(|(key, _)| key.starts_with(prefix));
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fake::{Act, Fake};
    use crate::http::Patience;

    const READ: &str = r#"request = "GET /kv/{key}"
        value = "/value"
        as = "int"
        absent = [{ status = 404 }]
        fail = [{ json = "/error" }]"#;
    const WRITE: &str = r#"request = "PUT /kv/{key}?by={name}"
        body = '{"v": {value}}'
        headers = { "x-mode" = "{param.sync}" }
        ok = [{ status = 200, json = "/ok", equals = true }]
        fail = [{ status = 503, contains = "no leader" }]"#;
    const CAS: &str = r#"request = "POST /kv/{key}"
        body = '{"from": {from}, "to": {to}}'
        conflict = [{ json = "/swapped", equals = false }]"#;
    const SCAN: &str = "request = \"GET /kv?prefix={prefix}\"\nas = \"int\"";

    async fn client(answers: &[(u16, &str)]) -> (Client, Fake) {
        let acts = answers
            .iter()
            .map(|(status, body)| Act::Answer(*status, body.to_string()));
        let fake = Fake::start(acts).await;
        let text = format!(
            "about = \"\"\nworkloads = [\"kv\", \"set\"]\nport = 1\n\
             [params.sync]\nabout = \"\"\ntype = \"choice\"\nwords = [\"on\"]\ndefault = \"on\"\n\
             [daemon]\ncommand = [\"x\"]\n[ready]\ntcp = true\n\
             [client.http.read]\n{READ}\n[client.http.write]\n{WRITE}\n\
             [client.http.cas]\n{CAS}\n[client.http.scan]\n{SCAN}\n"
        );
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("system.toml"), text).unwrap();
        let description = super::super::description::Description::read(dir.path());
        let calls = match description.unwrap_or_else(|e| panic!("{e}")).client {
            super::super::description::Client::Http(calls) => calls,
            _ => unreachable!("it is HTTP"),
        };
        let patience = Patience {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(10),
        };
        let names = [("name", "n1"), ("param.sync", "on")];
        let client = Client {
            http: Http::new(fake.address, patience),
            calls,
            names: names.map(|(n, v)| (n.into(), v.into())).to_vec(),
        };
        (client, fake)
    }

    fn code<T>(result: Result<T, OpError>) -> &'static str {
        result.err().map_or("ok", |e| e.code.code)
    }

    const NOW: Consistency = Consistency::Linearizable;

    #[tokio::test]
    async fn requests_are_as_written_with_the_values_in_their_places() {
        let (mut client, fake) = client(&[
            (200, r#"{"value": "7"}"#),
            (200, r#"{"ok": true}"#),
            (200, "{}"),
            (200, r#"{"set-1": "1", "other": 2}"#),
        ])
        .await;
        assert_eq!(client.get("a b", NOW).await, Ok(Some(7.into())));
        client.put("k", &Value::pair(1, 2)).await.unwrap();
        assert_eq!(client.cas("k", None, &3.into()).await, Ok(true));
        let found = client.scan("set-", NOW).await.unwrap();
        assert_eq!(found, [("set-1".to_string(), Value::from(1))]);
        let asked = [
            "GET /kv/a%20b",
            "PUT /kv/k?by=n1 {\"v\": [1,2]}",
            "POST /kv/k {\"from\": null, \"to\": 3}",
            "GET /kv?prefix=set-",
        ];
        assert_eq!(fake.requests(), asked);
    }

    #[tokio::test]
    async fn only_what_is_named_is_definite() {
        let writes = [
            (200, r#"{"ok": true}"#, "ok"),
            // A status of success is not enough where `ok` is said.
            (200, r#"{"ok": false}"#, "unknown"),
            (200, "done", "unknown"),
            (503, "there is no leader", "unavailable"),
            (503, "busy", "unknown"),
            (404, "no leader", "unknown"),
        ];
        let (mut to, _fake) = client(&writes.map(|(status, body, _)| (status, body))).await;
        for (status, body, expected) in writes {
            assert_eq!(
                code(to.put("k", &1.into()).await),
                expected,
                "{status} {body}"
            );
        }
        let (mut to, _fake) = client(&[(200, r#"{"swapped": false}"#), (409, "no")]).await;
        assert_eq!(to.cas("k", Some(&1.into()), &2.into()).await, Ok(false));
        assert_eq!(code(to.cas("k", None, &2.into()).await), "unknown");
    }

    #[tokio::test]
    async fn a_value_is_found_or_absent_or_the_read_has_failed() {
        let (mut to, _fake) = client(&[
            (404, "none"),
            (200, r#"{"value": null}"#),
            (200, r#"{"error": "locked", "value": 1}"#),
            (200, r#"{"val": 1}"#),
            (200, "not JSON"),
            (500, "oh"),
            (200, r#"[[1, "7"]]"#),
        ])
        .await;
        assert_eq!(to.get("k", NOW).await, Ok(None));
        assert_eq!(to.get("k", NOW).await, Ok(None));
        for expected in ["unavailable", "malformed", "malformed", "unknown"] {
            assert_eq!(code(to.get("k", NOW).await), expected);
        }
        let text = HttpCall {
            value: String::new(),
            shape: Shape::Json,
            ..to.calls.find(Call::Read).unwrap().clone()
        };
        let answer = to.http.get("/kv/k").await.unwrap();
        let why = text.found(&answer).unwrap_err();
        assert!(why.detail.contains(r#""7" is a text"#), "{why}");
        assert_eq!(code(to.get("k", Consistency::Local).await), "rejected");
    }
}
