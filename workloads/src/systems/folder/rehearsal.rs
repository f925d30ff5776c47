//! Tries a client program without a run: does it keep the protocol, what does it make of a system
//! that is not there, and, of one that is, does it read what it wrote?

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::client::OpError;
use serde_json::{Value as Json, json};

use super::description::{Client, Description};
use super::place::FolderError;
use super::process::{Greeting, Running};
use super::reply::{Kind, Reply};
use crate::interface::Call;

/// For an answer: a system that is not there refuses at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the end of the program, once its input has ended.
const ENDS: Duration = Duration::from_secs(2);
/// How long its speed is measured.
const MEASURED: Duration = Duration::from_secs(2);

/// What came of one trial.
#[derive(Clone, Debug)]
pub struct Finding {
    pub what: &'static str,
    pub wrong: bool,
    pub detail: String,
}

/// A client to be tried.
pub struct Rehearsal<'a> {
    pub argv: &'a [String],
    /// Operations that workloads of the system's own ask for.
    pub own: &'a [String],
    /// Where it is started.
    pub folder: &'a Path,
    /// A system that runs, and whether it does: else nobody listens there.
    pub at: SocketAddr,
    pub serves: bool,
}

/// A folder's client program.
pub struct Program {
    pub argv: Vec<String>,
    /// Operations that workloads of the folder's own ask for.
    pub own: Vec<String>,
}

/// The program that is a folder's client; none if it has no program.
///
/// # Errors
/// What is wrong with the folder.
pub fn program(folder: &Path) -> Result<Option<Program>, FolderError> {
    let description = Description::read(folder)?;
    let Client::Command(argv) = &description.client else {
        return Ok(None);
    };
    let path = folder.display().to_string();
    let own = description.workloads.iter().filter(|w| w.texts().is_some());
    let words = own.flat_map(|workload| workload.calls());
    Ok(Some(Program {
        argv: argv
            .iter()
            .map(|text| text.fill(|_| path.clone()))
            .collect(),
        own: words.map(|call| call.word().to_string()).collect(),
    }))
}

struct Trials {
    findings: Vec<Finding>,
}

impl Trials {
    fn fine(&mut self, what: &'static str, detail: impl Into<String>) {
        self.say(what, false, detail);
    }

    fn wrong(&mut self, what: &'static str, detail: impl Into<String>) {
        self.say(what, true, detail);
    }

    fn say(&mut self, what: &'static str, wrong: bool, detail: impl Into<String>) {
        let detail = detail.into();
        self.findings.push(Finding {
            what,
            wrong,
            detail,
        });
    }
}

impl Rehearsal<'_> {
    /// Tries everything that can be tried; what follows a broken protocol is left out.
    pub async fn run(&self) -> Vec<Finding> {
        let mut trials = Trials {
            findings: Vec::new(),
        };
        if let Err(e) = self.trials(&mut trials).await {
            trials.wrong("protocol", format!("{}: {}", e.code.code, e.detail));
        }
        trials.findings
    }

    async fn trials(&self, trials: &mut Trials) -> Result<(), OpError> {
        let began = Instant::now();
        let mut client = Running::start(self.argv, self.folder, &self.greeting()).await?;
        let offers = within(client.greeted()).await?.to_vec();
        let took = began.elapsed().as_millis();
        trials.fine(
            "init",
            format!("answered after {took} ms, offers {}", offers.join(", ")),
        );
        let known = |word: &&String| {
            self.own.contains(*word) || Call::ALL.iter().any(|call| call.word() == word.as_str())
        };
        if let Some(other) = offers.iter().find(|word| !known(word)) {
            let words: Vec<_> = Call::ALL.iter().map(|call| call.word()).collect();
            trials.wrong(
                "init",
                format!(
                    "offers {other:?}, which is none of {}, and no operation of the system's own workloads (`--system DIR` \
                     says which there are)",
                    words.join(", ")
                ),
            );
        }
        if offers.is_empty() {
            trials.wrong(
                "init",
                "offers nothing: `offers` is a list such as [\"read\", \"write\"]",
            );
        }
        let reply = asked(&mut client, "no-such-operation", "k", &Json::Null).await?;
        match reply.kind {
            Some(Kind::Fail | Kind::Error) => trials.fine("unknown operation", "refused"),
            _ => trials.wrong(
                "unknown operation",
                "must be answered with fail: it did not happen",
            ),
        }
        match self.serves {
            false => nobody(trials, &mut client, &offers).await?,
            true => sense(trials, &mut client, &offers).await?,
        }
        speed(trials, &mut client, "speed", "no-such-operation").await?;
        if self.serves && offers.iter().any(|word| word == "read") {
            speed(trials, &mut client, "speed of reads", "read").await?;
        }
        match client.finish(ENDS).await {
            Some(_) => trials.fine("end", "ends with its input"),
            None => trials.wrong(
                "end",
                format!("still runs {ENDS:?} after the end of its input"),
            ),
        }
        Ok(())
    }

    fn greeting(&self) -> Greeting {
        let (node, address) = (history::Name::from("n1"), self.at.ip());
        Greeting {
            nodes: [(node.clone(), address)].into(),
            node,
            address,
            port: self.at.port(),
            params: Default::default(),
            workload: "register".into(),
        }
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, OpError>>) -> Result<T, OpError> {
    let silent = |_| {
        let what = format!("no answer in {PATIENCE:?}");
        OpError::new(harness::client::TIMEOUT, what)
    };
    tokio::time::timeout(PATIENCE, answer)
        .await
        .map_err(silent)?
}

async fn asked(client: &mut Running, f: &str, key: &str, value: &Json) -> Result<Reply, OpError> {
    within(client.ask(f, key, value)).await
}

/// What each operation is asked with.
fn example(call: &str) -> Json {
    match call {
        "write" | "append" | "enqueue" | "acquire" | "release" | "add" => json!(1),
        "cas" => json!([1, 2]),
        "txn" => json!([["r", 1, null]]),
        "transfer" => json!(["k", 1]),
        "renew" => json!([1, 1000]),
        "send" => json!(1),
        "poll" => json!(0),
        _ => Json::Null,
    }
}

/// Nobody listens: nothing can have happened, and the client must live to say so.
async fn nobody(
    trials: &mut Trials,
    client: &mut Running,
    offers: &[String],
) -> Result<(), OpError> {
    for call in Call::ALL
        .iter()
        .filter(|call| offers.iter().any(|word| word == call.word()))
    {
        let word = call.word();
        let reply = asked(client, word, "k", &example(word)).await?;
        match reply.kind {
            Some(Kind::Fail | Kind::Error) => trials.fine(word, "nobody listens: refused"),
            Some(Kind::Info) => trials.fine(
                word,
                "nobody listens: info. It may be fail, for nothing was sent; info costs power",
            ),
            _ => trials.wrong(word, "nobody listens, and it is answered with ok"),
        }
    }
    Ok(())
}

/// A system serves: what was written is read, and a compare-and-set compares.
async fn sense(
    trials: &mut Trials,
    client: &mut Running,
    offers: &[String],
) -> Result<(), OpError> {
    let key = format!("schism-check-{}", std::process::id());
    let list = format!("{key}-list");
    let steps: [(&str, &str, Json, Option<Json>); 10] = [
        ("read", &key, Json::Null, Some(Json::Null)),
        ("write", &key, json!(1), None),
        ("read", &key, Json::Null, Some(json!(1))),
        ("cas", &key, json!([1, 2]), None),
        ("cas", &key, json!([1, 3]), Some(json!("fail"))),
        ("read", &key, Json::Null, Some(json!(2))),
        ("append", &list, json!(1), None),
        ("append", &list, json!(2), None),
        ("read", &list, Json::Null, Some(json!([1, 2]))),
        ("scan", &key, Json::Null, Some(json!("has it"))),
    ];
    let has = |word: &str| offers.iter().any(|offered| offered == word);
    for (f, key, value, expected) in steps {
        let needs_cas = expected == Some(json!(2)) && !has("cas");
        let needs_append = key == list && !has("append");
        if !has(f) || needs_cas || needs_append {
            continue;
        }
        let reply = asked(client, f, key, &value).await?;
        let got = serde_json::to_value(&reply.value).unwrap_or_default();
        let right = match (&expected, f) {
            (None, _) => reply.kind == Some(Kind::Ok),
            (Some(_), "cas") => matches!(reply.kind, Some(Kind::Fail | Kind::Error)),
            (Some(_), "scan") => {
                let found = super::answers::entries(&reply.value, key);
                found.is_ok_and(|pairs| !pairs.is_empty())
            }
            (Some(expected), _) => {
                let absent = expected.is_null() && reply.code == Some(20);
                absent || reply.kind == Some(Kind::Ok) && got == *expected
            }
        };
        let what = Call::ALL
            .iter()
            .find(|call| call.word() == f)
            .map_or("", |call| call.word());
        let asked = format!("{f} {key} {value}");
        let kind = reply
            .kind
            .map_or("no type".into(), |kind| format!("{kind:?}").to_lowercase());
        match right {
            true => trials.fine(what, format!("{asked}: {kind} with {got}")),
            false => {
                let wanted = expected.map_or("ok".to_string(), |value| value.to_string());
                trials.wrong(what, format!("{asked}: {kind} with {got}, not {wanted}"));
            }
        }
    }
    Ok(())
}

/// Answers a second, one question after the other.
async fn speed(
    trials: &mut Trials,
    client: &mut Running,
    what: &'static str,
    f: &str,
) -> Result<(), OpError> {
    let (began, mut answers) = (Instant::now(), 0u32);
    while began.elapsed() < MEASURED {
        asked(client, f, "k", &Json::Null).await?;
        answers += 1;
    }
    let each = f64::from(answers) / began.elapsed().as_secs_f64();
    trials.fine(
        what,
        format!("{each:.0} answers a second to {f}, one after the other"),
    );
    Ok(())
}
