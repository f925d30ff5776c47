//! A client that is a program: one process a client, one line of JSON a message, on its stdin and
//! stdout. `harness/docs/your-own-system.md` describes it for those who write one.
//!
//! ```text
//! it does this                              the open operation    the program
//! answers with the operation's id           as it says            goes on
//! anything else on its stdout: another      info                  is ended, and started again
//!   id, an answer twice, no JSON                                  with the next operation
//! ends                                      info                  is started again
//! says nothing                              info, by the run's    is ended with its client
//!                                           own time-out
//! has not answered `init` yet               fail: nothing was     goes on starting
//!                                           sent to it
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use harness::client::{CLIENT_FAILED, MALFORMED, NO_CLIENT, OpError, REFUSED, REJECTED};
use history::{Name, Value};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::answers::{entries, not_local};
use super::reply::{Kind, Reply, refusal};
use crate::interface::{Bank, Call, Consistency, Kv, Objects, Transactions};

/// Bytes of one answer.
const MOST_BYTES: u64 = 64 << 20;
/// Characters of a wrong line that are shown.
const SHOWN: usize = 200;
/// Bytes of stderr that are kept.
const MOST_COMPLAINTS: usize = 4096;
/// For the exit status and the last words of a program whose output has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long one operation waits for a program that is still starting. Shorter than the time-out of
/// operations, so that its end is definite: nothing was sent.
const START: Duration = Duration::from_secs(1);
/// After this a program that has not answered `init` is started anew.
const STARTS_AT_MOST: Duration = Duration::from_secs(30);

/// What a program is told first.
#[derive(Clone, Debug, Serialize)]
pub struct Greeting {
    pub node: Name,
    pub address: IpAddr,
    pub port: u16,
    pub nodes: BTreeMap<Name, IpAddr>,
    pub params: BTreeMap<String, String>,
    pub workload: String,
}

/// Programs of one node whose clients are over, with nothing open: the next client takes one.
pub type Idle = Arc<Mutex<Vec<Running>>>;

/// The program of one client.
pub struct Process {
    idle: Idle,
    argv: Vec<String>,
    folder: PathBuf,
    greeting: Greeting,
    running: Option<Running>,
    version: Option<Value>,
}

/// A program that runs. Dropped, it is ended with all that it started.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    /// The end of what it said on stderr.
    complaints: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
    stdout: BufReader<ChildStdout>,
    /// What has been read of the line that is not whole yet.
    line: Vec<u8>,
    next_id: u64,
    began: tokio::time::Instant,
    offers: Option<Vec<String>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid as i32));
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Running {
    /// Starts the program and greets it.
    pub async fn start(
        argv: &[String],
        folder: &std::path::Path,
        greeting: &Greeting,
    ) -> Result<Running, OpError> {
        let failed = |e: std::io::Error| OpError::new(REFUSED, format!("{}: {e}", argv[0]));
        let mut command = Command::new(&argv[0]);
        command
            .args(&argv[1..])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // SAFETY: only a system call is made between fork and exec.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let mut child = command.spawn().map_err(failed)?;
        let stdin = child.stdin.take();
        let complaints = Arc::default();
        let stderr = child.stderr.take().expect("it was asked for");
        let listening = tokio::spawn(listen(stderr, Arc::clone(&complaints)));
        let stdout = child.stdout.take().expect("it was asked for");
        let mut running = Running {
            child,
            stdin,
            complaints,
            listening,
            stdout: BufReader::new(stdout),
            line: Vec::new(),
            next_id: 1,
            began: tokio::time::Instant::now(),
            offers: None,
        };
        let mut init = serde_json::to_value(greeting).expect("names and addresses are JSON");
        init["id"] = 0.into();
        init["f"] = "init".into();
        running.send(&init).await?;
        Ok(running)
    }

    async fn send(&mut self, message: &Json) -> Result<(), OpError> {
        let mut line = message.to_string();
        line.push('\n');
        let stdin = self.stdin.as_mut().expect("it is open until the end");
        match stdin.write_all(line.as_bytes()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(OpError::new(CLIENT_FAILED, self.ended().await)),
        }
    }

    /// Waits for the answer to `init`.
    pub async fn greeted(&mut self) -> Result<&[String], OpError> {
        if self.offers.is_none() {
            let reply = self.reply(0).await?;
            if reply.kind != Some(Kind::Ok) {
                return Err(OpError::new(
                    REFUSED,
                    "the client did not answer init with ok",
                ));
            }
            self.offers = Some(reply.offers.unwrap_or_default());
        }
        Ok(self.offers.as_deref().unwrap_or_default())
    }

    /// Asks one thing, and waits for its answer.
    pub async fn ask(&mut self, f: &str, key: &str, value: &Json) -> Result<Reply, OpError> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"id": id, "f": f, "key": key, "value": value}))
            .await?;
        self.reply(id).await
    }

    /// The next line, which must be the answer with this id. If it is given up, nothing is lost.
    async fn reply(&mut self, id: u64) -> Result<Reply, OpError> {
        let left = MOST_BYTES - self.line.len() as u64;
        let read = (&mut self.stdout)
            .take(left)
            .read_until(b'\n', &mut self.line)
            .await;
        let read = read.map_err(|e| OpError::new(CLIENT_FAILED, e.to_string()))?;
        if self.line.last() != Some(&b'\n') {
            return Err(match read as u64 == left {
                true => OpError::new(
                    CLIENT_FAILED,
                    format!("a line of more than {MOST_BYTES} bytes"),
                ),
                false => OpError::new(CLIENT_FAILED, self.ended().await),
            });
        }
        let line = std::mem::take(&mut self.line);
        let wrong = |why: String| OpError::new(CLIENT_FAILED, format!("{why}: {}", shown(&line)));
        let reply: Reply = serde_json::from_slice(&line)
            .map_err(|e| wrong(format!("the client's line is no answer ({e})")))?;
        match reply.id {
            Some(got) if got == id => Ok(reply),
            Some(got) if got < id => Err(wrong(format!(
                "a second answer to {got}, where {id} is open"
            ))),
            Some(got) => Err(wrong(format!("an answer to {got}, which was not asked"))),
            None => Err(wrong("an answer without an id".into())),
        }
    }

    async fn ended(&mut self) -> String {
        let how = match tokio::time::timeout(LAST_WORDS, self.child.wait()).await {
            Ok(Ok(status)) => format!("the client has ended ({status})"),
            _ => "the client has closed its output".into(),
        };
        // What it said last may not have been read yet.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.listening).await;
        let complaints = self.complaints.lock().expect("no panic while held");
        let text = String::from_utf8_lossy(&complaints);
        match text.lines().rfind(|line| !line.trim().is_empty()) {
            Some(last) => format!("{how}: {}", shown(last.as_bytes())),
            None => how,
        }
    }

    /// Ends its input, and waits for its end.
    pub async fn finish(mut self, patience: Duration) -> Option<ExitStatus> {
        self.stdin = None;
        let ended = tokio::time::timeout(patience, self.child.wait()).await;
        ended.ok().and_then(Result::ok)
    }
}

/// Keeps the end of what a program says.
async fn listen(mut stderr: ChildStderr, into: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        let mut kept = into.lock().expect("no panic while held");
        kept.extend_from_slice(&piece[..read]);
        let surplus = kept.len().saturating_sub(MOST_COMPLAINTS);
        kept.drain(..surplus);
    }
}

/// A line for people: bounded, and nothing in it that a terminal obeys.
pub fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .map(|c| match c {
            // Programs quote much, and a terminal obeys none of these.
            '"' | '\'' | '\\' => c.to_string(),
            c => c.escape_debug().to_string(),
        })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

impl Drop for Process {
    fn drop(&mut self) {
        // One with an open operation is not here: it was taken out, and has ended.
        let running = self.running.take();
        self.idle
            .lock()
            .expect("no panic while held")
            .extend(running);
    }
}

impl Process {
    pub fn new(argv: Vec<String>, folder: PathBuf, greeting: Greeting, idle: Idle) -> Process {
        Process {
            idle,
            argv,
            folder,
            greeting,
            running: None,
            version: None,
        }
    }

    /// A program that has answered `init`. What goes wrong here is definite: the operation has not
    /// been sent.
    async fn ready(&mut self) -> Result<Running, OpError> {
        let definite = |e: OpError| OpError::new(NO_CLIENT, e.detail);
        let idle = || self.idle.lock().expect("no panic while held").pop();
        let mut running = match self.running.take().or_else(idle) {
            Some(running) => running,
            None => Running::start(&self.argv, &self.folder, &self.greeting)
                .await
                .map_err(definite)?,
        };
        match tokio::time::timeout(START, running.greeted()).await {
            Ok(greeted) => greeted.map(|_| ()).map_err(definite)?,
            Err(_) => {
                if running.began.elapsed() < STARTS_AT_MOST {
                    self.running = Some(running);
                }
                return Err(OpError::new(
                    NO_CLIENT,
                    "the client has not answered init yet",
                ));
            }
        }
        Ok(running)
    }

    /// Starts the program, and sees whether it offers all of these; it is kept for the first
    /// client.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub async fn rehearse(mut self, calls: &[Call]) -> Result<(), String> {
        let argv = self.argv.join(" ");
        let of_program = |e: OpError| format!("{argv}: {}", e.detail);
        let mut running = Running::start(&self.argv, &self.folder, &self.greeting)
            .await
            .map_err(of_program)?;
        let greeted = tokio::time::timeout(STARTS_AT_MOST, running.greeted()).await;
        let late = |_| format!("{argv}: no answer to init in {STARTS_AT_MOST:?}");
        let offers = greeted.map_err(late)?.map_err(of_program)?;
        let lacking = |call: &&Call| !offers.iter().any(|offered| offered == call.word());
        if let Some(lacks) = calls.iter().find(lacking) {
            let offers = match offers.is_empty() {
                true => "nothing".to_string(),
                false => offers.join(", "),
            };
            return Err(format!(
                "{argv}: its answer to init offers {offers}, and workload {} asks for {}",
                self.greeting.workload,
                lacks.word()
            ));
        }
        self.running = Some(running);
        Ok(())
    }

    /// What it is answered with; nil where that is nothing.
    async fn ask(&mut self, call: Call, key: &str, value: Json) -> Result<Value, OpError> {
        self.version = None;
        let mut running = self.ready().await?;
        let offers = running.greeted().await?;
        if !offers.iter().any(|offered| offered == call.word()) {
            let what = format!(
                "the client offers {}, not {}",
                offers.join(", "),
                call.word()
            );
            self.running = Some(running);
            return Err(OpError::new(REJECTED, what));
        }
        // Taken out: if this is given up, the program is ended with its open operation.
        let reply = running.ask(call.word(), key, &value).await?;
        self.running = Some(running);
        match refusal(&reply) {
            None => {
                self.version.clone_from(&reply.version);
                reply.found(call)
            }
            Some(error) => Err(error),
        }
    }
}

fn as_json(value: &Value) -> Json {
    serde_json::to_value(value).expect("values are JSON")
}

#[async_trait]
impl Kv for Process {
    async fn get(&mut self, key: &str, consistency: Consistency) -> Result<Option<Value>, OpError> {
        not_local(consistency)?;
        match self.ask(Call::Read, key, Json::Null).await {
            Ok(found) => Ok(Some(found).filter(|value| !value.is_nil())),
            Err(e) if e.code == harness::client::NOT_FOUND => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn put(&mut self, key: &str, value: &Value) -> Result<(), OpError> {
        self.ask(Call::Write, key, as_json(value)).await.map(|_| ())
    }

    async fn cas(&mut self, key: &str, from: Option<&Value>, to: &Value) -> Result<bool, OpError> {
        let value = json!([from.map(as_json), as_json(to)]);
        match self.ask(Call::Cas, key, value).await {
            Ok(_) => Ok(true),
            Err(e) if e.code == harness::client::CONFLICT => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn append(&mut self, key: &str, element: &Value) -> Result<(), OpError> {
        self.ask(Call::Append, key, as_json(element))
            .await
            .map(|_| ())
    }

    async fn scan(
        &mut self,
        prefix: &str,
        consistency: Consistency,
    ) -> Result<Vec<(String, Value)>, OpError> {
        not_local(consistency)?;
        let found = self.ask(Call::Scan, prefix, Json::Null).await?;
        entries(&found, prefix)
    }

    fn version(&mut self) -> Option<Value> {
        self.version.take()
    }
}

#[async_trait]
impl Objects for Process {
    async fn perform(&mut self, call: Call, key: &str, value: &Value) -> Result<Value, OpError> {
        self.ask(call, key, as_json(value)).await
    }

    fn version(&mut self) -> Option<Value> {
        self.version.take()
    }
}

#[async_trait]
impl Transactions for Process {
    async fn transact(&mut self, micros: &Value) -> Result<Value, OpError> {
        self.ask(Call::Txn, "", as_json(micros)).await
    }

    fn version(&mut self) -> Option<Value> {
        self.version.take()
    }
}

#[async_trait]
impl Bank for Process {
    async fn transfer(&mut self, from: &str, to: &str, amount: i64) -> Result<bool, OpError> {
        match self.ask(Call::Transfer, from, json!([to, amount])).await {
            Ok(_) => Ok(true),
            Err(e) if e.code == harness::client::CONFLICT => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn balances(&mut self) -> Result<Vec<(String, i64)>, OpError> {
        let found = self.ask(Call::Balances, "", Json::Null).await?;
        let wrong = || OpError::new(MALFORMED, "balances are a map of accounts to whole numbers");
        let all = entries(&found, "")?.into_iter();
        all.map(|(name, balance)| Some((name, balance.as_int()?)))
            .collect::<Option<_>>()
            .ok_or_else(wrong)
    }

    fn version(&mut self) -> Option<Value> {
        self.version.take()
    }
}

#[cfg(test)]
mod tests;
