//! A node that speaks Maelstrom's protocol on its stdin and stdout, put on a real network: what it
//! sends goes over TCP to the nodes and clients that it names, so that faults of the network meet
//! it as they meet a server.
//!
//! The protocol is that of <https://github.com/jepsen-io/maelstrom/blob/main/doc/protocol.md>:
//! one line of JSON a message, `{"src", "dest", "body"}`. Whoever connects here says in a first
//! line who it is, `{"src": "n2"}` or `{"src": "c7"}`, and then sends messages; a client gets its
//! answers on the same connection. As the network between Maelstrom's nodes may lose messages, so
//! may this one: what cannot be sent is dropped, and what was sent before a connection broke may
//! not have arrived.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result, doing, io};
use crate::nursery::bind_to_agent;

/// Messages for another node that wait for the network; more are dropped.
const WAITING: usize = 10_000;
/// Bytes of one message.
const MOST_BYTES: u64 = 64 << 20;
/// For a connection to another node.
const CONNECT: Duration = Duration::from_millis(500);
/// After this without a sign of the other node, a connection is given up, and made anew for the
/// next message. TCP by itself would try for a quarter of an hour, less and less often.
const SILENCE: Duration = Duration::from_secs(5);
/// For a client that does not read its answers.
const UNREAD: Duration = Duration::from_secs(5);
/// Maelstrom's code for what is not offered.
const NOT_SUPPORTED: u64 = 10;

/// What is run, as JSON in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub name: String,
    /// Where others and clients reach it.
    pub listen: SocketAddr,
    /// Every node, itself too.
    pub nodes: BTreeMap<String, SocketAddr>,
    pub argv: Vec<String>,
}

type Stdin = Arc<Mutex<ChildStdin>>;
/// By name, each with its address: a client that comes back has another.
type Clients = Arc<Mutex<BTreeMap<String, (SocketAddr, TcpStream)>>>;

/// Runs the node until it ends. The answer is its exit status.
///
/// # Errors
/// If the file cannot be read, the node cannot be started, or it says what is no message.
pub fn run(file: &Path) -> Result<u8> {
    let text = fs::read_to_string(file).map_err(io("read", file))?;
    let node: Node = serde_json::from_str(&text)
        .map_err(|e| Error::Refused(format!("{}: {e}", file.display())))?;
    let [program, args @ ..] = node.argv.as_slice() else {
        return Err(Error::Refused("a program without a name".into()));
    };
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    bind_to_agent(&mut command);
    let failed = |e: io::Error| doing("start")(io::Error::new(e.kind(), format!("{program}: {e}")));
    let mut child = command.spawn().map_err(failed)?;
    let stdin = child.stdin.take().expect("it was asked for");
    let stdin: Stdin = Arc::new(Mutex::new(stdin));
    let mut stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
    let said = begin(&node, &stdin, &mut stdout).and_then(|()| serve(&node, &stdin, &mut stdout));
    if let Err(error) = said {
        // What says something else than messages is not to go on without being heard.
        let _ = child.kill();
        return Err(error);
    }
    let status = child.wait().map_err(doing("wait for the node"))?;
    eprintln!("schism-maelstrom: {} has ended ({status})", node.name);
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1))
}

/// Tells the node who it is, and waits until it has heard.
fn begin(node: &Node, stdin: &Stdin, stdout: &mut impl BufRead) -> Result<()> {
    let names: Vec<&String> = node.nodes.keys().collect();
    let body = json!({"type": "init", "msg_id": 1, "node_id": node.name, "node_ids": names});
    tell(
        stdin,
        &json!({"src": "c0", "dest": node.name, "body": body}),
    )
    .map_err(doing("tell the node who it is"))?;
    loop {
        let Some(message) = hear(stdout)? else {
            return Err(Error::Refused(
                "the node ended before it answered init".into(),
            ));
        };
        match message["body"]["type"].as_str() {
            Some("init_ok") => return Ok(()),
            Some("error") => {
                let text = &message["body"]["text"];
                return Err(Error::Refused(format!("the node refused init: {text}")));
            }
            _ => eprintln!("schism-maelstrom: dropped, for it came before init_ok: {message}"),
        }
    }
}

/// The next message of the node; none at its end.
fn hear(stdout: &mut impl BufRead) -> Result<Option<Value>> {
    let mut line = Vec::new();
    let read = stdout.take(MOST_BYTES).read_until(b'\n', &mut line);
    if read.map_err(doing("read from the node"))? == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&line).map_err(|e| {
        let begins: String = String::from_utf8_lossy(&line).chars().take(200).collect();
        Error::Refused(format!(
            "the node said what is no message ({e}): {begins:?}"
        ))
    })?;
    Ok(Some(message))
}

fn tell(stdin: &Stdin, message: &Value) -> io::Result<()> {
    let mut stdin = stdin.lock().expect("nothing panics while holding it");
    stdin.write_all(line(message).as_bytes())?;
    stdin.flush()
}

fn line(message: &Value) -> String {
    let mut line = message.to_string();
    line.push('\n');
    line
}

/// Carries messages from and to the node until it ends.
fn serve(node: &Node, stdin: &Stdin, stdout: &mut impl BufRead) -> Result<()> {
    let clients = Clients::default();
    let listener = TcpListener::bind(node.listen).map_err(doing("listen"))?;
    let (for_clients, into) = (clients.clone(), stdin.clone());
    spawn(move || {
        for connection in listener.incoming().flatten() {
            let (clients, stdin) = (for_clients.clone(), into.clone());
            // A connection for which there is no thread is closed, and is lost as others are.
            let _ = thread::Builder::new().spawn(move || take_in(connection, &clients, &stdin));
        }
    })?;
    let mut peers: BTreeMap<&str, SyncSender<String>> = BTreeMap::new();
    for (name, address) in node.nodes.iter().filter(|(name, _)| **name != node.name) {
        let (queue, waiting) = mpsc::sync_channel(WAITING);
        let (own, address) = (node.name.clone(), *address);
        spawn(move || send_out(&own, address, &waiting))?;
        peers.insert(name, queue);
    }
    while let Some(message) = hear(stdout)? {
        let dest = message["dest"].as_str().unwrap_or_default();
        if let Some(queue) = peers.get(dest) {
            // A full queue is a network that loses messages.
            let _ = queue.try_send(line(&message));
        } else if dest == node.name {
            tell(stdin, &message).map_err(doing("tell the node"))?;
        } else if dest.starts_with('c') {
            answer(&clients, dest, &message);
        } else {
            let text = format!("there is no {dest:?} here: only nodes and clients");
            let body = json!({"type": "error", "code": NOT_SUPPORTED, "text": text,
                              "in_reply_to": message["body"]["msg_id"]});
            tell(
                stdin,
                &json!({"src": dest, "dest": node.name, "body": body}),
            )
            .map_err(doing("tell the node"))?;
        }
    }
    Ok(())
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = thread::Builder::new().spawn(work);
    spawned.map(drop).map_err(doing("start a thread"))
}

/// Gives a client its answer; one that is gone, or does not read, gets none.
fn answer(clients: &Clients, client: &str, message: &Value) {
    let mut all = clients.lock().expect("nothing panics while holding it");
    if let Some((_, connection)) = all.get_mut(client)
        && connection.write_all(line(message).as_bytes()).is_err()
    {
        all.remove(client);
    }
}

/// Hands on to the node what comes over one connection.
fn take_in(connection: TcpStream, clients: &Clients, stdin: &Stdin) {
    let (Ok(writer), Ok(from)) = (connection.try_clone(), connection.peer_addr()) else {
        return;
    };
    let _ = (
        writer.set_write_timeout(Some(UNREAD)),
        writer.set_nodelay(true),
    );
    let mut reader = BufReader::new(connection);
    let mut who = None;
    loop {
        let mut text = Vec::new();
        let read = reader
            .by_ref()
            .take(MOST_BYTES)
            .read_until(b'\n', &mut text);
        let whole = matches!(read, Ok(1..)) && text.ends_with(b"\n");
        let message: Option<Value> = serde_json::from_slice(&text).ok().filter(|_| whole);
        let Some(message) = message else {
            break;
        };
        match &who {
            Some(_) => {
                if tell(stdin, &message).is_err() {
                    break;
                }
            }
            None => {
                let name = message["src"].as_str().unwrap_or_default().to_string();
                if name.starts_with('c')
                    && let Ok(writer) = writer.try_clone()
                {
                    let mut all = clients.lock().expect("nothing panics while holding it");
                    all.insert(name.clone(), (from, writer));
                }
                who = Some(name);
            }
        }
    }
    if let Some(name) = who {
        let mut all = clients.lock().expect("nothing panics while holding it");
        // It may have come back before its old connection was seen to end.
        if all.get(&name).is_some_and(|(address, _)| *address == from) {
            all.remove(&name);
        }
    }
}

/// Sends another node what is for it.
fn send_out(own: &str, to: SocketAddr, waiting: &Receiver<String>) {
    let mut connection: Option<TcpStream> = None;
    while let Ok(message) = waiting.recv() {
        if connection.is_none() {
            connection = connect(own, to).ok();
        }
        if let Some(open) = &mut connection
            && open.write_all(message.as_bytes()).is_err()
        {
            connection = None;
        }
    }
}

fn connect(own: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect_timeout(&to, CONNECT)?;
    connection.set_nodelay(true)?;
    connection.set_write_timeout(Some(SILENCE))?;
    let silence = u32::try_from(SILENCE.as_millis()).expect("it is short");
    set_tcp_user_timeout(&connection, silence)?;
    connection.write_all(line(&json!({"src": own})).as_bytes())?;
    Ok(connection)
}
