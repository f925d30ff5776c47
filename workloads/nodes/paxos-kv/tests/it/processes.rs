//! Real nodes on loopback: killed, stopped, behind, and shouted at.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use nodekit::testing::{PATIENCE, until};
use serde_json::json;

use crate::cluster::{Cluster, program};

#[test]
fn every_operation_works_at_every_node() {
    let cluster = Cluster::start(3, &[]);
    cluster.leader();
    for node in 0..3 {
        cluster.put_surely(node, "a", &json!({"z": [node], "b": "é"}));
        for mode in ["quorum", "log", "lease"] {
            let answer = cluster
                .get(2 - node, &format!("/kv/a?read={mode}"))
                .unwrap();
            assert_eq!(
                (answer.0, &answer.1["value"]),
                (200, &json!({"b": "é", "z": [node]})),
                "{mode}"
            );
        }
        let cas = |from: &str, to: &str| {
            let body = format!("{{\"from\":{from},\"to\":{to}}}");
            cluster.ask(node, "POST", "/kv/c/cas", "", &body).unwrap()
        };
        assert_eq!(cas("null", "1").1["swapped"], true);
        let (status, refused) = cas("null", "2");
        assert_eq!(
            (status, &refused["swapped"], &refused["actual"]),
            (409, &json!(false), &json!(1))
        );
        assert_eq!(cluster.ask(node, "DELETE", "/kv/c", "", "").unwrap().0, 200);
        assert_eq!(cluster.get(node, "/kv/c").unwrap().0, 404);
        let append = cluster
            .ask(node, "POST", "/kv/l%2Fx/append", "", &node.to_string())
            .unwrap();
        assert_eq!(append.1["length"], node as u64 + 1);
        assert_eq!(
            cluster
                .ask(node, "POST", "/kv/a/append", "", "1")
                .unwrap()
                .0,
            400
        );
    }
    let (_, range) = cluster.get(0, "/kv?prefix=l").unwrap();
    assert_eq!(range["entries"], json!([["l/x", [0, 1, 2]]]));
}

#[test]
fn acknowledged_writes_survive_the_death_of_all() {
    let mut cluster = Cluster::start(3, &[]);
    for key in 0..20 {
        cluster.put_surely(key % 3, &format!("k{key}"), &json!(key));
    }
    (0..3).for_each(|node| cluster.kill(node));
    (0..3).for_each(|node| cluster.start_node(node));
    for key in 0..20 {
        assert_eq!(cluster.value(key % 3, &format!("k{key}")), json!(key));
    }
}

#[test]
fn another_node_leads_when_the_leader_dies_and_the_logs_agree() {
    let mut cluster = Cluster::start(5, &[]);
    let first = cluster.leader();
    cluster.put_surely((first + 1) % 5, "k", &json!(1));
    cluster.kill(first);
    let second = cluster.leader();
    assert_ne!(second, first);
    assert_eq!(cluster.value(second, "k"), json!(1));
    cluster.put_surely((first + 2) % 5, "k", &json!(2));
    cluster.start_node(first);
    assert_eq!(cluster.value(first, "k"), json!(2));
    let log = |node| {
        cluster
            .get(node, "/debug/log?from=1&limit=1000")
            .map(|(_, log)| log)
    };
    let reference = until("the log", || log(second));
    until("the same log at the node that was away", || {
        let mine = log(first)?;
        (mine["decided_upto"].as_u64()? >= reference["decided_upto"].as_u64()?).then(|| {
            for (mine, theirs) in mine["entries"]
                .as_array()
                .unwrap()
                .iter()
                .zip(reference["entries"].as_array().unwrap())
            {
                for field in ["slot", "digest", "chain", "commands"] {
                    assert_eq!(mine[field], theirs[field]);
                }
            }
        })
    });
}

/// On the worst network that the protocol allows for: a leader dies, all is served in the end, no
/// element is lost or there twice, and the logs are the same.
#[test]
fn messages_that_are_lost_late_and_repeated_cost_time_and_nothing_else() {
    let flags = [
        "--peer-loss=10",
        "--peer-late=20",
        "--peer-repeats=20",
        "--peer-delay=200ms",
        "--snapshot-every=20",
    ];
    let mut cluster = Cluster::start(3, &flags);
    let append = |cluster: &Cluster, element: usize| {
        let headers = format!("Session: s\r\nSequence: {}\r\n", element + 1);
        until("an append", || {
            let (node, body) = (element % 3, element.to_string());
            let node = if cluster.is_up(node) {
                node
            } else {
                (node + 1) % 3
            };
            cluster
                .ask(node, "POST", "/kv/l/append", &headers, &body)
                .filter(|(status, _)| *status == 200)
        });
    };
    (0..50).for_each(|element| append(&cluster, element));
    let leader = cluster.leader();
    cluster.kill(leader);
    (50..75).for_each(|element| append(&cluster, element));
    cluster.start_node(leader);
    (75..100).for_each(|element| append(&cluster, element));
    let all: Vec<usize> = (0..100).collect();
    for node in 0..3 {
        assert_eq!(cluster.value(node, "l"), json!(all));
    }
    let state = |node| {
        let status = cluster.status(node)?;
        Some((status["applied"].clone(), status["chain"].clone()))
    };
    until("the same state everywhere", || {
        let first = state(0)?;
        (1..3)
            .all(|node| state(node).as_ref() == Some(&first))
            .then_some(())
    });
}

#[test]
fn a_request_is_applied_once_however_often_and_wherever_it_is_repeated() {
    let mut cluster = Cluster::start(3, &[]);
    let append = |cluster: &Cluster, node, sequence: u64| {
        let headers = format!("Session: s\r\nSequence: {sequence}\r\n");
        until("an append", || {
            cluster
                .ask(
                    node,
                    "POST",
                    "/kv/l/append",
                    &headers,
                    &sequence.to_string(),
                )
                .filter(|(status, _)| *status == 200)
        })
    };
    let first = append(&cluster, 0, 1);
    assert_eq!(append(&cluster, 1, 1), first);
    let leader = cluster.leader();
    cluster.kill(leader);
    let other = (leader + 1) % 3;
    assert_eq!(append(&cluster, other, 1), first, "the new leader knows it");
    assert_eq!(append(&cluster, other, 2).1["length"], 2);
    let late = cluster
        .ask(
            other,
            "POST",
            "/kv/l/append",
            "Session: s\r\nSequence: 1\r\n",
            "1",
        )
        .unwrap();
    assert_eq!((late.0, &late.1["definite"]), (400, &json!(false)));
    assert_eq!(cluster.value(other, "l"), json!([1, 2]));
}

#[test]
fn changes_are_told_by_every_node_and_those_that_a_snapshot_replaced_are_said_to_be_gone() {
    let mut cluster = Cluster::start(3, &["--snapshot-every=10"]);
    let away = (cluster.leader() + 1) % 3;
    let here = (away + 1) % 3;
    let watch = |cluster: &Cluster, node, query: &str| {
        until("an answer", || {
            cluster.get(node, &format!("/watch?{query}"))
        })
    };
    for key in 0..3 {
        cluster.put_surely(here, &format!("k{key}"), &json!([key]));
    }
    let all = |node| {
        until("all three", || {
            let (_, told) = watch(&cluster, node, "prefix=k&after=0&wait=500");
            let last = told["changes"].as_array()?.last()?.clone();
            (last["key"] == "k2" && last["value"] == json!([2])).then_some(told)
        })
    };
    let told = all(0);
    assert_eq!((all(1), all(2)), (told.clone(), told.clone()));
    let (_, nothing) = watch(&cluster, here, "prefix=other&after=0&wait=1");
    assert_eq!(nothing, json!({"upto": told["upto"], "changes": []}));
    cluster.kill(away);
    for key in 0..60 {
        cluster.put_surely(here, &format!("k{key}"), &json!(key));
    }
    cluster.start_node(away);
    let gone = until("a node that lacks what it missed", || {
        let (status, error) = watch(&cluster, away, &format!("after={}&wait=1", told["upto"]));
        (status == 410).then(|| error["revision"].as_u64().unwrap())
    });
    let upto = watch(&cluster, here, "").1["upto"].as_u64().unwrap();
    until("what came after it", || {
        let (_, told) = watch(&cluster, away, &format!("after={gone}&wait=500"));
        (told["upto"] == upto).then(|| {
            let told = told["changes"].as_array().unwrap().iter();
            let told = told.map(|change| change["revision"].as_u64().unwrap());
            assert!(told.eq(gone + 1..=upto), "no hole");
        })
    });
}

#[test]
fn a_lease_is_there_while_it_is_renewed_and_ends_by_itself() {
    let cluster = Cluster::start(3, &["--request-timeout=9s"]);
    cluster.leader();
    let ask = |node, what: &str, body: serde_json::Value| {
        let path = format!("/lease/k/{what}");
        until("an answer", || {
            let answer = cluster.ask(node, "POST", &path, "", &body.to_string());
            answer.filter(|(status, _)| [200, 409].contains(status))
        })
    };
    let (_, granted) = ask(0, "acquire", json!({"holder": "a", "ttl": 20_000}));
    assert_eq!(
        (&granted["held"], &granted["ttl"]),
        (&json!(true), &json!(20_000))
    );
    let lease = json!({"lease": granted["lease"]});
    let wanted = json!({"holder": "b", "ttl": 50});
    let (status, refused) = ask(1, "acquire", wanted.clone());
    assert_eq!((status, &refused["holder"]), (409, &json!("a")));
    assert_eq!(ask(2, "renew", lease.clone()).0, 200);
    assert_eq!(ask(1, "release", lease.clone()).0, 200);
    assert_eq!(ask(1, "renew", lease).0, 409);
    assert_eq!(ask(1, "acquire", wanted.clone()).0, 200);
    until("the end of a lease that nobody renews", || {
        (ask(2, "acquire", wanted.clone()).0 == 200).then_some(())
    });
}

#[test]
fn a_node_that_was_away_catches_up_by_snapshot() {
    // Long timeouts: big values take their time in a debug build on a busy machine.
    let mut cluster = Cluster::start(
        3,
        &[
            "--snapshot-every=10",
            "--election-timeout=3s",
            "--request-timeout=9s",
        ],
    );
    let away = (cluster.leader() + 1) % 3;
    let here = (away + 1) % 3;
    // Together more than one piece of a transfer.
    for part in 0..4 {
        cluster.put_surely(here, &format!("part{part}"), &json!("x".repeat(80_000)));
    }
    cluster.kill(away);
    for key in 0..60 {
        cluster.put_surely(here, &format!("k{key}"), &json!(key));
    }
    cluster.start_node(away);
    until("the snapshot and what came after it", || {
        let (status, reference) = (cluster.status(away)?, cluster.status(here)?);
        (status["chain"] == reference["chain"] && status["first_retained"].as_u64()? > 1)
            .then_some(())
    });
    assert!(
        cluster.log(away).contains("installed from"),
        "{}",
        cluster.log(away)
    );
    let (_, local) = cluster.get(away, "/kv/k59?read=local").unwrap();
    assert_eq!(local["value"], 59);
    // And again from its own disk.
    cluster.kill(away);
    cluster.start_node(away);
    until("all keys, from its disk and what it asks for", || {
        let (_, range) = cluster.get(away, "/kv?prefix=k&read=local")?;
        (range["entries"].as_array()?.len() == 60).then_some(())
    });
}

#[test]
fn without_a_quorum_failures_say_whether_they_are_definite() {
    let mut cluster = Cluster::start(3, &["--request-timeout=700ms"]);
    let leader = cluster.leader();
    cluster.put_surely(leader, "k", &json!(1));
    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster.kill(other);
    }
    // Sent before the leader knows that it is alone, a write's fate is open; later nobody takes it.
    let (status, error) = cluster.put(leader, "k", &json!(2)).unwrap();
    assert!(
        status == 504 && error["definite"] == false || status == 503 && error["definite"] == true,
        "{status} {error}"
    );
    let error = until("503", || {
        cluster
            .put(leader, "k", &json!(3))
            .filter(|(status, _)| *status == 503)
    });
    assert_eq!(
        (error.1["error"].as_str(), error.1["definite"].as_bool()),
        (Some("no-leader"), Some(true))
    );
    assert_eq!(cluster.get(leader, "/kv/k").unwrap().0, 503);
    assert_eq!(
        cluster.get(leader, "/kv/k?read=local").unwrap().1["value"],
        1
    );
    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster.start_node(other);
    }
    let value = cluster.value(leader, "k");
    assert!(
        value == json!(1) || value == json!(2),
        "3 was definitely not written, but there is {value}"
    );
}

#[test]
fn a_stopped_leader_is_replaced_and_joins_again() {
    let cluster = Cluster::start(3, &[]);
    let first = cluster.leader();
    cluster.put_surely(first, "k", &json!(1));
    cluster.signal(first, libc::SIGSTOP);
    let other = (first + 1) % 3;
    cluster.put_surely(other, "k", &json!(2));
    cluster.signal(first, libc::SIGCONT);
    assert_eq!(cluster.value(first, "k"), json!(2));
}

#[test]
fn garbage_on_either_port_harms_nobody() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.put_surely(0, "k", &json!(1));
    let mut noise = 1u64;
    for round in 0..50 {
        for address in [cluster.client_address(0), cluster.peers[0]] {
            let mut stream = TcpStream::connect(address).unwrap();
            let bytes: Vec<u8> = (0..round * 40)
                .map(|_| {
                    noise = noise
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (noise >> 56) as u8
                })
                .collect();
            // The node may hang up while we still talk.
            let _ = stream.write_all(&bytes);
        }
    }
    // A frame that promises four gigabytes, and a head that never ends, are both hung up on.
    let mut peer = TcpStream::connect(cluster.peers[0]).unwrap();
    peer.write_all(&[255; 8]).unwrap();
    let mut client = TcpStream::connect(cluster.client_address(0)).unwrap();
    let _ = client.write_all(&vec![b'a'; 100_000]);
    for stream in [&mut peer, &mut client] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
    assert!(cluster.runs(0));
    assert_eq!(cluster.value(0, "k"), json!(1));
    assert!(
        cluster.log(0).contains("dropped peer connection"),
        "{}",
        cluster.log(0)
    );
}

#[test]
fn requests_may_follow_one_another_on_a_connection() {
    let cluster = Cluster::start(1, &[]);
    cluster.put_surely(0, "k", &json!(7));
    let mut stream = TcpStream::connect(cluster.client_address(0)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let get = "GET /kv/k HTTP/1.1\r\n\r\n";
    let put = "PUT /kv/k HTTP/1.1\r\nContent-Length: 1\r\n\r\n8";
    stream
        .write_all(format!("{get}{put}{get}GET /kv/k HTTP/1.0\r\n\r\n").as_bytes())
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let bodies: Vec<&str> = text.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(bodies.len(), 4, "{text}");
    assert!(
        bodies[0].starts_with("{\"value\":7,") && bodies[2].starts_with("{\"value\":8,"),
        "{text}"
    );
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.put_surely(0, "k", &json!(1));
    let fails = |mut command: std::process::Command, code: i32, message: &str| {
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(message), "{text}");
    };
    fails(cluster.command(0), 1, "another process uses this folder");
    let mut other = cluster.command(0);
    other.arg(format!(
        "--data={}",
        cluster.folder.path().join("other").display()
    ));
    fails(other, 64, "cannot be used multiple times");
    cluster.kill(0);
    // The log of n1 is not that of a node of another cluster.
    let mut foreign = program();
    foreign.args([
        "--id=n1",
        "--client-addr=127.0.0.1:0",
        "--peer-addr=127.0.0.1:0",
    ]);
    foreign.args([
        "--peers=n1=127.0.0.1:1,n2=127.0.0.1:2",
        &format!("--data={}", cluster.data(0).display()),
    ]);
    fails(foreign, 1, "belongs to n1 of n1 ");
    let mut unknown = program();
    unknown.args([
        "--id=n7",
        "--client-addr=127.0.0.1:0",
        "--peer-addr=127.0.0.1:0",
        "--peers=n1=127.0.0.1:1",
        "--data=d",
    ]);
    fails(unknown, 64, "n7 is not one of --peers: n1");
    fails(program(), 64, "--id");
    // A bit that flipped in what was synced.
    let path = cluster.data(0).join("wal-0000000001.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    fails(
        cluster.command(0),
        1,
        "wal-0000000001.log: corrupt at byte 0",
    );
}

#[test]
fn the_catalogue_of_flaws_is_json_lines_and_documented() {
    let output = program().arg("flaws").output().unwrap();
    assert!(output.status.success());
    let page = include_str!("../../../../../harness/docs/paxos-kv.md");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() >= 10);
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let row = format!(
            "| `{}` | {} | {} |",
            entry["name"].as_str().unwrap(),
            entry["summary"].as_str().unwrap(),
            entry["fault"].as_str().unwrap()
        );
        assert!(page.contains(&row), "the protocol page lacks {row}");
    }
}

#[test]
fn snapshots_that_come_faster_than_they_are_saved_stop_no_node() {
    let cluster = Cluster::start(3, &["--snapshot-every=2"]);
    cluster.leader();
    for key in 0..200 {
        cluster.put_surely(key % 3, &format!("k{key}"), &json!(key));
    }
    for node in 0..3 {
        let (status, _) = cluster.get(node, "/debug/status").expect("the node runs");
        assert_eq!(status, 200, "{}", cluster.log(node));
    }
}

#[test]
fn a_node_that_lost_its_disk_is_not_listened_to_under_its_old_name() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.leader();
    cluster.put_surely(0, "a", &json!(1));
    cluster.kill(2);
    std::fs::remove_dir_all(cluster.data(2)).unwrap();
    cluster.start_node(2);
    until("a word about the lost folder", || {
        (0..2)
            .any(|node| {
                cluster
                    .log(node)
                    .contains("n3: it has lost its data folder")
            })
            .then_some(())
    });
    // The two others go on, and the third is no help to a leader that has only it.
    cluster.put_surely(0, "a", &json!(2));
    cluster.kill(0);
    let (status, text) = cluster.ask(1, "PUT", "/kv/a", "", "3").unwrap();
    assert_ne!(status, 200, "{text}");
    cluster.start_node(0);
    cluster.put_surely(1, "a", &json!(4));
}

#[test]
fn a_large_range_is_read_page_by_page_and_deposes_nobody() {
    let cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let value = json!("x".repeat(500 << 10));
    for key in 0..20 {
        cluster.put_surely(leader, &format!("k{key:02}"), &value);
    }
    let elections = |node| cluster.get(node, "/debug/status").unwrap().1["elections"].clone();
    let before: Vec<_> = (0..3).map(elections).collect();
    let (mut keys, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/kv?prefix=k&after={after}");
        let (status, page) = cluster.get((leader + 1) % 3, &path).unwrap();
        assert_eq!(status, 200, "{page}");
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 9, "{}", entries.len());
        keys.extend(
            entries
                .iter()
                .map(|entry| entry[0].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    let all: Vec<_> = (0..20).map(|key| format!("k{key:02}")).collect();
    assert_eq!(keys, all);
    assert_eq!((0..3).map(elections).collect::<Vec<_>>(), before);
}
