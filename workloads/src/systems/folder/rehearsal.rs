//! Tries a client program without a run: does it keep the protocol, what does it make of a system
//! that is not there, and, of one that is, does it read what it wrote?

mod sense;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::client::OpError;
use serde_json::{Value as Json, json};

use super::answers;
use super::description::{Client, Description};
use super::place::FolderError;
use super::process::{Greeting, Running};
use super::reply::{Kind, Reply};
use crate::http::{Http, Patience};
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

/// Tries a folder's requests, where its clients are `[client.http]`, on a node that serves at this
/// address. None: its clients are something else.
///
/// # Errors
/// What is wrong with the folder.
pub async fn requests(folder: &Path, at: SocketAddr) -> Result<Option<Vec<Finding>>, FolderError> {
    let description = Description::read(folder)?;
    let Client::Http(calls) = description.client else {
        return Ok(None);
    };
    let offers: Vec<String> = calls.calls().iter().map(|c| c.word().to_string()).collect();
    let node = [
        ("name", "n1".to_string()),
        ("address", at.ip().to_string()),
        ("index", "1".into()),
        ("port", at.port().to_string()),
    ];
    let node = node.map(|(name, value)| (name.to_string(), value));
    let params = description.params.iter();
    let params = params.map(|p| (format!("param.{}", p.name), p.default.to_string()));
    let mut client = answers::Client {
        http: Http::new(at, Patience::CLIENT),
        calls,
        names: node.into_iter().chain(params).collect(),
    };
    let mut trials = Trials {
        findings: Vec::new(),
    };
    if let Err(e) = sense::look(&mut trials, &mut client, &offers).await {
        trials.wrong("protocol", e.to_string());
    }
    Ok(Some(trials.findings))
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
            trials.wrong("protocol", e.to_string());
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
            Some(Kind::Fail | Kind::Error) if self.serves => {
                trials.fine("unknown operation", "refused");
            }
            Some(Kind::Fail | Kind::Error) => trials.fine(
                "unknown operation",
                "refused, which it may be because nobody listens: --address says more",
            ),
            _ => trials.wrong(
                "unknown operation",
                "must be answered with fail: it did not happen",
            ),
        }
        match self.serves {
            false => nobody(trials, &mut client, &offers).await?,
            true => sense::look(trials, &mut client, &offers).await?,
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
