//! Nodes that speak Maelstrom's protocol, put on the network by the program itself.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::maelstrom::Node;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node in shell: answers init, answers `echo`, sends on what it is to `pass`, and asks a service
/// that is not there.
const SCRIPT: &str = r#"
while read -r line; do
    id=${line#*\"msg_id\":}; id=${id%%[,\}]*}
    src=${line#*\"src\":\"}; src=${src%%\"*}
    me=${line#*\"dest\":\"}; me=${me%%\"*}
    say() { echo "{\"src\":\"$me\",\"dest\":\"$1\",\"body\":{\"in_reply_to\":$id,$2}}"; }
    case $line in
        *'"init"'*) say c0 '"type":"init_ok"' ;;
        *'"echo"'*) say "$src" '"type":"echo_ok"' ;;
        *'"pass"'*) echo "{\"src\":\"$me\",\"dest\":\"n2\",\"body\":{\"type\":\"passed\",\"for\":\"$src\",\"msg_id\":$id}}" ;;
        *'"passed"'*) client=${line#*\"for\":\"}; echo "$line" >> "$1.heard"; say "$src" "\"type\":\"back\",\"for\":\"${client%%\"*}\"" ;;
        *'"back"'*) client=${line#*\"for\":\"}; id=${line#*\"in_reply_to\":}; id=${id%%[,\}]*}; say "${client%%\"*}" '"type":"pass_ok"' ;;
        *'"ask"'*) asker=$src; asked=$id; echo "{\"src\":\"$me\",\"dest\":\"lin-kv\",\"body\":{\"type\":\"read\",\"msg_id\":$id}}" ;;
        *'"error"'*) src=$asker; id=$asked; say "$src" '"type":"ask_ok"' ;;
        *'"quit"'*) exit 7 ;;
        *'"babble"'*) echo "no message" ;;
    esac
done
"#;

/// Ports that were free a moment ago.
fn free() -> [SocketAddr; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    held.map(|listener| listener.local_addr().expect("has one"))
}

fn start(dir: &Path, name: &str, addresses: [SocketAddr; 2]) -> Child {
    let [one, two] = addresses;
    let node = Node {
        name: name.into(),
        listen: if name == "n1" { one } else { two },
        nodes: [("n1".to_string(), one), ("n2".to_string(), two)].into(),
        argv: ["/bin/sh", "-c", SCRIPT, name, name]
            .map(String::from)
            .to_vec(),
    };
    let file = dir.join(format!("{name}.json"));
    fs::write(&file, serde_json::to_string(&node).expect("is JSON")).expect("writes");
    Command::new(env!("CARGO_BIN_EXE_schism-agent"))
        .arg("maelstrom")
        .arg(&file)
        .current_dir(dir)
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

struct Client {
    reader: BufReader<TcpStream>,
    next: u64,
}

impl Client {
    fn of(address: SocketAddr) -> Client {
        let began = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(e) => assert!(began.elapsed() < PATIENCE, "{e}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("can be set");
        writeln!(stream, "{}", json!({"src": "c9"})).expect("is heard");
        let reader = BufReader::new(stream);
        Client { reader, next: 1 }
    }

    fn tell(&mut self, kind: &str) {
        let body = json!({"type": kind, "msg_id": self.next});
        let message = json!({"src": "c9", "dest": "n1", "body": body});
        writeln!(self.reader.get_mut(), "{message}").expect("is heard");
        self.next += 1;
    }

    /// The type of the answer, which must be one to what was asked last.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("an answer in time");
        let message: Value = serde_json::from_str(&line).expect("a message");
        assert_eq!(
            message["body"]["in_reply_to"],
            json!(self.next - 1),
            "{line}"
        );
        assert_eq!(message["dest"], "c9");
        message["body"]["type"]
            .as_str()
            .expect("a type")
            .to_string()
    }
}

/// Its exit status, when it has ended.
fn ended(mut child: Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("can be waited for") {
            return status.code();
        }
        assert!(began.elapsed() < PATIENCE, "it still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn messages_go_to_nodes_and_clients_and_the_nodes_end_is_the_programs() {
    let dir = tempfile::tempdir().expect("a folder");
    let addresses = free();
    let one = start(dir.path(), "n1", addresses);
    let mut client = Client::of(addresses[0]);
    client.tell("echo");
    assert_eq!(client.answer(), "echo_ok");
    // A client that comes back gets its answers, whenever its old connection is seen to end.
    let again = Client::of(addresses[0]);
    let old = std::mem::replace(&mut client, again);
    client.tell("echo");
    assert_eq!(client.answer(), "echo_ok");
    let stream = old.reader.into_inner();
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    let mut rest = String::new();
    // Its thread lets go of the connection last of all.
    drop(BufReader::new(stream).read_to_string(&mut rest));
    client.tell("echo");
    assert_eq!(client.answer(), "echo_ok");
    let mut two = start(dir.path(), "n2", addresses);
    drop(Client::of(addresses[1]));
    client.tell("pass");
    assert_eq!(client.answer(), "pass_ok");
    let heard = fs::read_to_string(dir.path().join("n2.heard")).expect("it heard");
    assert_eq!(heard.lines().count(), 1, "{heard}");
    // What is not here says so, and a node does not wait for it.
    client.tell("ask");
    assert_eq!(client.answer(), "ask_ok");
    client.tell("quit");
    assert_eq!(ended(one), Some(7));
    two.kill().expect("it runs");
    two.wait().expect("it ends");
}

#[test]
fn what_is_no_message_ends_the_node() {
    let dir = tempfile::tempdir().expect("a folder");
    let addresses = free();
    let one = start(dir.path(), "n1", addresses);
    Client::of(addresses[0]).tell("babble");
    assert_eq!(ended(one), Some(1));
}
