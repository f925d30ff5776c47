//! Real nodes on loopback: mining, killed, stopped, behind, and damaged.

use std::collections::BTreeSet;
use std::process::Stdio;

use nodekit::testing::until;
use serde_json::{Value, json};

use crate::cluster::{Cluster, program};

#[test]
fn blocks_come_from_several_miners_and_all_agree() {
    let cluster = Cluster::start(3, &[]);
    let blocks = until("blocks of several miners", || {
        let head = cluster.agree(&[0, 1, 2], 10);
        let blocks = cluster.blocks(0, head["head"].as_str()?);
        let miners: BTreeSet<&str> = blocks.iter().filter_map(|b| b["miner"].as_str()).collect();
        // Genesis has none.
        (miners.len() > 2).then_some(blocks)
    });
    for pair in blocks.windows(2) {
        assert_eq!(pair[0]["parent"], pair[1]["hash"]);
        assert_eq!(
            pair[0]["height"].as_u64(),
            pair[1]["height"].as_u64().map(|h| h + 1)
        );
    }
    let genesis = blocks.last().unwrap();
    assert_eq!(
        (&genesis["height"], &genesis["miner"], &genesis["parent"]),
        (&json!(0), &json!(""), &json!("0".repeat(64)))
    );
    let status = cluster.status(0);
    assert_eq!(status["node"], "n1");
    assert!(status["clock"]["wall_ns"].as_u64().unwrap() > 1_700_000_000_000_000_000);
    assert_eq!(status["params"]["block-interval"], "100ms");
    // Each node dialled each other.
    until("four connections", || {
        let (_, peers) = cluster.get(0, "/chain/peers")?;
        let names: Vec<(&str, &str)> = peers["peers"]
            .as_array()?
            .iter()
            .filter_map(|peer| Some((peer["node"].as_str()?, peer["direction"].as_str()?)))
            .collect();
        let expected = [("n2", "in"), ("n2", "out"), ("n3", "in"), ("n3", "out")];
        expected
            .iter()
            .all(|peer| names.contains(peer))
            .then_some(())
    });
}

/// The block that an answer names holds its transaction where it says.
fn assert_placed(cluster: &Cluster, node: usize, answer: &Value) {
    let block = &cluster.blocks(node, answer["block"].as_str().unwrap())[0];
    assert_eq!(block["height"], answer["height"]);
    let position = answer["position"].as_u64().unwrap() as usize;
    assert_eq!(block["transactions"][position][0], answer["tx"], "{block}");
}

#[test]
fn every_operation_is_answered_with_its_place() {
    // Alone: what one answer says no reorganisation takes back before the next.
    let cluster = Cluster::start(1, &["--accounts=2", "--balance=10"]);
    let ask = |method: &str, path: &str, body: &str| {
        let (status, answer) = cluster.ask(0, method, path, "", body).unwrap();
        if answer["block"].is_string() {
            assert_placed(&cluster, 0, &answer);
        }
        (status, answer)
    };
    let value = json!({"b": "é", "z": [1]});
    assert_eq!(ask("PUT", "/kv/a", &value.to_string()).0, 200);
    let (status, read) = ask("GET", "/kv/a", "");
    assert_eq!((status, &read["value"]), (200, &value));
    let cas = |from: &str, to: &str| {
        let body = format!("{{\"from\":{from},\"to\":{to}}}");
        ask("POST", "/kv/c/cas", &body)
    };
    assert_eq!(cas("null", "1").1["swapped"], true);
    let (status, refused) = cas("null", "2");
    assert_eq!(
        (status, &refused["swapped"], &refused["actual"]),
        (409, &json!(false), &json!(1))
    );
    assert_eq!(ask("DELETE", "/kv/c", "").0, 200);
    assert_eq!(ask("GET", "/kv/c", "").0, 404);
    for length in 1..=2 {
        let answer = ask("POST", "/kv/l%2Fx/append", &length.to_string()).1;
        assert_eq!(answer["length"], length);
    }
    let (status, error) = ask("POST", "/kv/a/append", "1");
    assert_eq!((status, &error["definite"]), (400, &json!(true)));
    // Ten are enough for two transfers of four.
    for (status, transferred) in [(200, true), (200, true), (409, false)] {
        let body = "{\"from\":\"a0\",\"to\":\"a1\",\"amount\":4}";
        let (found, answer) = ask("POST", "/transfer", body);
        assert_eq!(
            (found, &answer["transferred"]),
            (status, &json!(transferred))
        );
    }
    let (_, range) = ask("GET", "/kv?prefix=l", "");
    assert_eq!(range["entries"], json!([["l/x", [1, 2]]]));
    let (_, balances) = ask("GET", "/accounts", "");
    assert_eq!(balances["balances"], json!([["a0", 2], ["a1", 18]]));
    let (_, local) = ask("GET", "/kv/l%2Fx?read=local&confirmations=2", "");
    assert_eq!(local["value"], json!([1, 2]));
    assert!(local["height"].is_u64() && local["tx"].is_null(), "{local}");
}

#[test]
fn what_one_node_takes_all_nodes_have() {
    let cluster = Cluster::start(3, &[]);
    for node in 0..3 {
        cluster.put_surely(node, &format!("k{node}"), &json!(node));
    }
    for (node, key) in (0..3).flat_map(|node| (0..3).map(move |key| (node, key))) {
        // A reorganisation may take a while to bring it back.
        until("the value", || {
            (cluster.value(node, &format!("k{key}")) == key).then_some(())
        });
    }
}

#[test]
fn a_repeated_transaction_is_applied_once_wherever_it_is_sent() {
    let cluster = Cluster::start(3, &[]);
    let append = |node: usize| {
        let name = "Transaction: c7\r\n";
        let (status, answer) = cluster
            .ask(node, "POST", "/kv/l/append", name, "7")
            .unwrap();
        assert_eq!((status, &answer["tx"]), (200, &json!("c7")), "{answer}");
        answer["length"].clone()
    };
    assert_eq!([append(0), append(1), append(2)], [1, 1, 1]);
    let height = cluster.height(0);
    cluster.wait_for_height(1, height + 10);
    assert_eq!(cluster.value(1, "l"), json!([7]));
}

#[test]
fn many_requests_wait_for_their_confirmations_at_once() {
    let cluster = Cluster::start(2, &["--confirmations=4"]);
    let places = std::thread::scope(|scope| {
        let cluster = &cluster;
        let requests: Vec<_> = (0..200)
            .map(|number| {
                scope.spawn(move || {
                    let path = format!("/kv/k{number}");
                    let answer = cluster.ask(number % 2, "PUT", &path, "", "1");
                    let (status, answer) = answer.unwrap();
                    assert_eq!(status, 200, "{answer}");
                    (answer["height"].as_u64(), answer["position"].as_u64())
                })
            })
            .collect();
        let answers = requests.into_iter().map(|request| request.join().unwrap());
        answers.collect::<BTreeSet<_>>()
    });
    let (_, range) = cluster.get(0, "/kv?prefix=k&confirmations=1").unwrap();
    assert_eq!(range["entries"].as_array().unwrap().len(), 200);
    // A reorganisation between two answers may give one place twice; that is rare, and never for
    // most of them.
    assert!(places.len() > 100, "{places:?}");
}

#[test]
fn the_depth_that_is_asked_for_decides_when_there_is_an_answer() {
    // Nobody finds a block in this test's time.
    let flags = ["--block-interval=1h", "--request-timeout=500ms"];
    let cluster = Cluster::start_with(1, &flags);
    let put = |depth: &str| {
        let path = format!("/kv/k?confirmations={depth}");
        until("an answer", || cluster.ask(0, "PUT", &path, "", "1"))
    };
    let (status, answer) = put("0");
    assert_eq!(status, 200);
    assert!(
        answer["tx"].is_string() && answer["block"].is_null(),
        "{answer}"
    );
    let (status, error) = put("1");
    assert_eq!((status, &error["definite"]), (504, &json!(false)));
    assert_eq!(cluster.get(0, "/kv/k?read=local").unwrap().0, 404);
    assert_eq!(cluster.status(0)["mempool"], 2);
    let unknown = format!("/chain/blocks?tip={}", "ab".repeat(32));
    assert_eq!(cluster.get(0, &unknown).unwrap().0, 404);
}

#[test]
fn acknowledged_blocks_survive_the_death_of_all() {
    let mut cluster = Cluster::start(3, &["--confirmations=1"]);
    let put = |cluster: &Cluster, key: usize| {
        cluster.put_surely(key % 3, &format!("k{key}"), &json!(key))
    };
    let mut answers: Vec<Value> = (0..5).map(|key| put(&cluster, key)).collect();
    let height = cluster.height(0);
    cluster.agree(&[0, 1, 2], height + 10);
    answers.push(put(&cluster, 5));
    (0..3).for_each(|node| cluster.kill(node));
    (0..3).for_each(|node| cluster.start_node(node));
    for (key, answer) in answers.iter().enumerate() {
        let node = key % 3;
        // It was on this node's disk before anybody heard of it.
        until("the node", || cluster.head(node));
        assert_placed(&cluster, node, answer);
    }
    let height = cluster.height(0);
    cluster.agree(&[0, 1, 2], height + 3);
    // The last one is on disk, but nothing says that its branch wins.
    for key in 0..5 {
        assert_eq!(cluster.value(0, &format!("k{key}")), key);
    }
}

#[test]
fn a_node_that_was_away_catches_up() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.put_surely(0, "before", &json!(1));
    cluster.kill(2);
    let height = cluster.height(0);
    cluster.put_surely(1, "meanwhile", &json!(2));
    cluster.wait_for_height(0, height + 30);
    cluster.start_node(2);
    cluster.agree(&[0, 1, 2], height + 30);
    assert_eq!(cluster.value(2, "before"), 1);
    assert_eq!(cluster.value(2, "meanwhile"), 2);
}

#[test]
fn a_stopped_node_joins_again() {
    let cluster = Cluster::start(3, &[]);
    cluster.agree(&[0, 1, 2], 3);
    cluster.signal(1, libc::SIGSTOP);
    let height = cluster.height(0);
    cluster.put_surely(0, "k", &json!(1));
    cluster.wait_for_height(0, height + 20);
    cluster.signal(1, libc::SIGCONT);
    cluster.agree(&[0, 1, 2], height + 20);
    assert_eq!(cluster.value(1, "k"), 1);
}

#[test]
fn a_damaged_store_is_cut_back_and_the_rest_is_fetched_again() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.put_surely(0, "k", &json!(1));
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        },
        |bytes| bytes.truncate(bytes.len() - 3),
        |bytes| bytes.extend([0; 300]),
        |bytes| bytes[1] ^= 1,
    ];
    for (number, damage) in (1..).zip(damages) {
        let height = cluster.height(2) + 5;
        cluster.agree(&[0, 1, 2], height);
        cluster.kill(2);
        let path = cluster.data(2).join("blocks");
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        cluster.start_node(2);
        cluster.agree(&[0, 1, 2], height + 5);
        let log = cluster.log(2);
        assert_eq!(log.matches("damaged store").count(), number, "{log}");
        assert!(log.contains("cut off"), "{log}");
        assert_eq!(cluster.value(2, "k"), 1);
    }
    // What was fetched again is on the disk again.
    let height = cluster.height(2);
    cluster.kill(2);
    cluster.start_node(2);
    cluster.agree(&[0, 1, 2], height);
    assert_eq!(cluster.log(2).matches("damaged store").count(), 4);
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.wait_for_height(0, 1);
    let fails = |mut command: std::process::Command, code: i32, messages: &[&str]| {
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        for message in messages {
            assert!(text.contains(message), "{text}");
        }
    };
    fails(cluster.command(0), 1, &["another process uses this folder"]);
    let other = cluster.folder.path().join("other");
    let with = |flags: &[&str]| {
        let mut command = program();
        command
            .args([
                "--id=n1",
                "--client-addr=127.0.0.1:0",
                "--peer-addr=127.0.0.1:0",
            ])
            .arg("--peers=n1=127.0.0.1:1,n2=127.0.0.1:2")
            .args(flags);
        command
    };
    let data = |path: &std::path::Path| format!("--data={}", path.display());
    let mut taken = program();
    taken
        .args([
            "--id=n1",
            "--client-addr=127.0.0.1:0",
            "--peers=n1=127.0.0.1:1",
        ])
        .arg(format!("--peer-addr={}", cluster.peers[0]))
        .arg(data(&other));
    fails(taken, 1, &["cannot listen for peers on"]);
    cluster.kill(0);
    let own = data(&cluster.data(0));
    fails(
        with(&[&own, "--balance=7"]),
        1,
        &["belongs to the network of genesis"],
    );
    fails(
        with(&[&own, "--block-interval=0s", "--request-timeout=0s"]),
        64,
        &["--block-interval must be", "--request-timeout must not"],
    );
    fails(with(&[&own, "--flaw=none"]), 64, &["unknown flaw \"none\""]);
    fails(program(), 64, &["--id"]);
}

#[test]
fn a_node_that_is_told_to_stop_stops() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.wait_for_height(0, 1);
    cluster.signal(0, libc::SIGTERM);
    until("its end", || (!cluster.runs(0)).then_some(()));
    assert!(cluster.log(0).ends_with("stops\n"), "{}", cluster.log(0));
}

#[test]
fn the_program_tells_its_version_and_its_flaws() {
    let text = |argument: &str| {
        let output = program().arg(argument).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        text("--version"),
        format!("chain {}\n", env!("CARGO_PKG_VERSION"))
    );
    let flaws = text("flaws");
    assert!(flaws.lines().count() >= 8);
    for line in flaws.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert!(
            entry["name"].is_string() && entry["fault"].is_string(),
            "{line}"
        );
    }
}
