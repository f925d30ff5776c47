//! What becomes of a description on nodes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use agent::protocol::{Daemon, StopSignal};
use harness::cluster::Node;
use history::Name;

use crate::fake::{Act, Fake};
use crate::params::Params;
use crate::systems::folder::find;
use crate::systems::{Ready, Setup};

/// A system whose file begins and ends so.
fn system(name: &str, port: u16, more: &str) -> (tempfile::TempDir, Ready) {
    let dir = tempfile::tempdir().expect("the temporary folder is writable");
    let folder = dir.path().join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("server.py"), "").unwrap();
    let text = format!(
        "about = \"\"\nworkloads = [\"register\"]\nport = {port}\n\
         [programs]\nserver = \"server.py\"\n\
         [params.mode]\nabout = \"\"\ntype = \"choice\"\nwords = [\"a\", \"b\"]\ndefault = \"a\"\n\
         [lists]\nall = {{ each = \"{{index}}:{{name}}={{address}}:{{port}}/{{param.mode}}\" }}\n\
         rest = {{ each = \"{{name}}\", separator = \" \", others = true }}\n\
         [client.http]\nread = {{ request = \"GET /\" }}\nwrite = {{ request = \"PUT /\" }}\n{more}"
    );
    fs::write(folder.join("system.toml"), text).unwrap();
    let entry = find(&folder.display().to_string()).unwrap().unwrap();
    let setup = Setup {
        params: Params::resolve(entry.params, [("mode", "b")]).unwrap(),
        ..Setup::default()
    };
    (dir, entry.set_up(&setup).unwrap())
}

fn nodes(n: u8) -> Vec<Node> {
    let mut nodes = harness::dummy::nodes(n.into());
    for (node, last) in nodes.iter_mut().zip(1..) {
        node.address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    }
    nodes
}

#[tokio::test]
async fn every_name_stands_for_what_it_says() {
    let (_dir, ready) = system(
        "names",
        80,
        "[ready]\ntcp = true\n[daemon]\nunless-first = [\"--join={first}\"]\n\
         environment = { MODE = \"{param.mode}\" }\n\
         command = [\"{program.server}\", \"{name}\", \"{address}\", \"{index}\", \"{port}\", \
         \"{data}\", \"{log}\", \"{peers}\", \"{others}\", \"{list.all}\", \"{list.rest}\"]\n",
    );
    let nodes = nodes(3);
    let Daemon {
        name,
        argv,
        env,
        cwd,
        log,
        stop,
    } = ready.system.daemon(&nodes[1], &nodes);
    let expected = [
        "/nonexistent/bin/server.py",
        "n2",
        "127.0.0.2",
        "2",
        "80",
        "/nonexistent/data",
        "/nonexistent/log",
        "127.0.0.1:80,127.0.0.2:80,127.0.0.3:80",
        "127.0.0.1:80,127.0.0.3:80",
        "1:n1=127.0.0.1:80/b,2:n2=127.0.0.2:80/b,3:n3=127.0.0.3:80/b",
        "n1 n3",
        "--join=127.0.0.1",
    ];
    assert_eq!(argv, expected);
    assert_eq!((name.as_str(), env["MODE"].as_str()), ("names", "b"));
    assert_eq!((cwd, stop), (nodes[1].data(), StopSignal::Term));
    assert_eq!(log, nodes[1].log("names.log"));
    let first = ready.system.daemon(&nodes[0], &nodes);
    assert_eq!(
        first.argv.len(),
        expected.len() - 1,
        "the first joins nobody"
    );
}

/// Who leads if the nodes give these answers.
async fn leader(rule: &str, answers: &[&str]) -> Option<Name> {
    let mut nodes = nodes(answers.len() as u8);
    let mut fakes = Vec::new();
    let mut port = 0;
    for (node, answer) in nodes.iter_mut().zip(answers) {
        let fake = Fake::start_at(
            (node.address, port).into(),
            [Act::Answer(200, answer.to_string())],
        );
        fakes.push(fake.await);
        port = fakes[0].address.port();
    }
    let more =
        format!("[ready]\ntcp = true\n[daemon]\ncommand = [\"x\"]\n[leader]\nhttp = \"/\"\n{rule}");
    let (_dir, ready) = system("led", port, &more);
    ready.system.leader(&nodes).await
}

#[tokio::test]
async fn a_node_says_while_the_run_goes_on_whether_it_leads() {
    let mut nodes = nodes(1);
    let says = |role: &str| Act::Answer(200, format!("{{\"role\": \"{role}\"}}"));
    let acts = [says("leader"), says("follower")];
    let fake = Fake::start_at((nodes[0].address, 0).into(), acts).await;
    let more = "[ready]\ntcp = true\n[daemon]\ncommand = [\"x\"]\n[leader]\nhttp = \"/\"\njson = \"/role\"\nequals = \"leader\"";
    let (_dir, ready) = system("led", fake.address.port(), more);
    let node = nodes.remove(0);
    let watch = ready.system.watch().expect("there is something to see");
    assert_eq!(watch.f, "leader");
    for leads in [true, false] {
        let said = ready.system.look(&node).await.unwrap();
        assert_eq!(said.get("leads"), Some(&history::Value::Bool(leads)));
        assert_eq!(
            said.get("node").and_then(history::Value::as_text),
            Some("n1")
        );
    }
    let silent = ready.system.look(&node).await;
    assert_eq!(silent, Err("it did not say".to_string()));

    let plain = "[ready]\ntcp = true\n[daemon]\ncommand = [\"x\"]";
    let (_dir, ready) = system("plain", 80, plain);
    assert!(ready.system.watch().is_none(), "nobody says how to ask");
}

#[tokio::test]
async fn a_leader_is_whom_most_name_or_who_alone_says_so() {
    let named = "json = \"/leader\"";
    let says = |who: &str| format!("{{\"leader\": \"{who}\"}}");
    let [one, two, url] = [says("n1"), says("n2"), says("http://127.0.0.2:90")];
    assert_eq!(leader(named, &[&one, &two, &url]).await, Some("n2".into()));
    assert_eq!(leader(named, &[&one, &two, "{}"]).await, None);
    assert_eq!(leader(named, &["", &two, "no JSON"]).await, None);
    // 127.0.0.2 is not in 127.0.0.21, nor in 1127.0.0.2.
    let [other, third] = [says("127.0.0.21:90"), says("1127.0.0.2")];
    assert_eq!(leader(named, &[&other, &third, &url]).await, None);
    let role = "json = \"/role\"\nequals = \"leader\"";
    let (leads, follows) = ("{\"role\": \"leader\"}", "{\"role\": \"follower\"}");
    assert_eq!(
        leader(role, &[follows, leads, follows]).await,
        Some("n2".into())
    );
    assert_eq!(leader(role, &[leads, leads, follows]).await, None);
    assert_eq!(leader(role, &[follows, follows]).await, None);
}

#[tokio::test]
async fn a_node_is_ready_when_it_answers_as_it_was_said() {
    let table = [
        ("http = \"/\"", 200, "x", true),
        ("http = \"/\"", 204, "", true),
        ("http = \"/\"", 503, "x", false),
        ("http = \"/\"\nstatus = 503", 503, "x", true),
        (
            "http = \"/\"\njson = \"/a\"\nequals = true",
            200,
            "{\"a\": true}",
            true,
        ),
        (
            "http = \"/\"\njson = \"/a\"\nequals = true",
            200,
            "{\"a\": 1}",
            false,
        ),
        (
            "http = \"/\"\njson = \"/a\"\nequals = true",
            500,
            "{\"a\": true}",
            false,
        ),
        ("tcp = true", 200, "", true),
    ];
    for (rule, status, body, expected) in table {
        let fake = Fake::start([Act::Answer(status, body.into())]).await;
        let more = format!("[ready]\n{rule}\n[daemon]\ncommand = [\"x\"]\n");
        let (_dir, ready) = system("served", fake.address.port(), &more);
        let node = &nodes(1)[0];
        assert_eq!(
            ready.system.ready(node).await.is_ok(),
            expected,
            "{rule} {status} {body}"
        );
    }
    let (_dir, ready) = system(
        "nobody",
        1,
        "[ready]\ntcp = true\n[daemon]\ncommand = [\"x\"]\n",
    );
    let why = ready.system.ready(&nodes(1)[0]).await;
    let why = why.expect_err("nobody listens");
    assert!(why.starts_with("[ready] tcp: 127.0.0.1:1: "), "{why}");
    assert!(why.contains("refused"), "{why}");
}

/// What a node that gives these answers is said to hold.
async fn holds(answers: &[&str]) -> Result<String, String> {
    let acts = answers
        .iter()
        .map(|body| Act::Answer(200, body.to_string()));
    let fake = Fake::start(acts).await;
    let more = "[ready]\ntcp = true\n[daemon]\ncommand = [\"x\"]\n\
                [replica]\nhttp = \"/state\"\nindex = \"/at\"\nholds = \"/sum\"\n";
    let (_dir, ready) = system("held", fake.address.port(), more);
    assert!(ready.offers.replicas);
    let read = ready.system.final_reads(&nodes(1)[0]).await;
    let [(f, value)] = &read[..] else {
        panic!("{read:?}")
    };
    assert_eq!(f.as_str(), "replica");
    value.clone().map(|value| value.to_string())
}

#[tokio::test]
async fn what_a_node_holds_is_what_it_says_twice() {
    let says = |at: &str, sum: &str| format!("{{\"at\": {at}, \"sum\": {sum}}}");
    let (old, new) = (says("7", "\"a\""), says("\"8\"", "[1]"));
    // It was still applying something, and its number of 64 bits is a text.
    let held = holds(&[&old, &new, &new]).await.expect("it is at rest");
    assert_eq!(held, r#"{"node" "n1", "index" 8, "holds" [1]}"#);
    for (answer, why) in [
        ("x", "GET /state: no JSON"),
        ("{\"at\": 1}", "nothing at \"/sum\""),
        (
            "{\"at\": 1.5, \"sum\": 1}",
            "1.5 at \"/at\" is no whole number",
        ),
    ] {
        let told = holds(&[answer]).await.expect_err(answer);
        assert!(
            told.starts_with("[replica]") && told.contains(why),
            "{told}"
        );
    }
    let told = holds(&[&old]).await.expect_err("it closes the connection");
    assert!(told.starts_with("[replica] http: GET /state: "), "{told}");
}
