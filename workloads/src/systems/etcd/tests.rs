use super::*;
use crate::fake::{Act, Fake};
use crate::interface::Transactions;
use crate::leader_watch::Opinion;

async fn client(acts: Vec<(u16, &str)>) -> (Client, Fake) {
    let acts = acts
        .into_iter()
        .map(|(s, body)| Act::Answer(s, body.into()));
    let fake = Fake::start(acts).await;
    let client = Client {
        http: Http::new(fake.address, Patience::COLLECT),
        serializable: false,
        whole_range: false,
    };
    (client, fake)
}

/// `[1]` at revision 7.
const ONE: &str = r#"{"header":{},"kvs":[{"key":"bA==","value":"WzFd","mod_revision":"7"}]}"#;
const LOST: &str = r#"{"header":{}}"#;
const WON: &str = r#"{"header":{},"succeeded":true}"#;

#[tokio::test]
async fn an_append_that_loses_reads_again() {
    let (mut kv, fake) = client(vec![(200, ONE), (200, LOST), (200, ONE), (200, WON)]).await;
    assert_eq!(kv.append("l", &Value::Int(2)).await, Ok(()));
    let requests = fake.requests();
    assert_eq!(requests.len(), 4);
    assert!(
        requests[3].contains(r#""mod_revision":"7""#),
        "{}",
        requests[3]
    );
    // [1,2]
    assert!(requests[3].contains("WzEsMl0="), "{}", requests[3]);
}

#[tokio::test]
async fn an_append_that_always_loses_is_a_conflict() {
    let rounds = [(200, ONE), (200, LOST)].repeat(APPEND_ATTEMPTS);
    let (mut kv, fake) = client(rounds).await;
    let error = kv.append("l", &Value::Int(2)).await.unwrap_err();
    assert_eq!(error.code, CONFLICT);
    assert_eq!(fake.requests().len(), 2 * APPEND_ATTEMPTS);
}

#[tokio::test]
async fn an_append_is_indefinite_only_if_its_write_is() {
    let timed_out = r#"{"error":"etcdserver: request timed out","code":14}"#;
    let (mut kv, _fake) = client(vec![(503, timed_out)]).await;
    let error = kv.append("l", &Value::Int(2)).await.unwrap_err();
    assert!(error.code.definite, "{error:?}");
    let (mut kv, _fake) = client(vec![(200, ONE), (503, timed_out)]).await;
    let error = kv.append("l", &Value::Int(2)).await.unwrap_err();
    assert_eq!(error.code, TIMEOUT);
}

#[tokio::test]
#[rustfmt::skip]
async fn errors_are_told_apart_by_their_text() {
    for (status, body, code) in [
        (503, r#"{"error":"etcdserver: request timed out","code":14}"#, TIMEOUT),
        (503, r#"{"error":"etcdserver: request timed out, possibly due to previous leader failure","code":14}"#, TIMEOUT),
        (429, r#"{"error":"etcdserver: too many requests","code":8}"#, OVERLOADED),
        (400, r#"{"error":"etcdserver: key is not provided","code":3}"#, REJECTED),
        (500, r#"{"error":"raft proposal dropped","code":2}"#, UNAVAILABLE),
        (503, r#"{"error":"etcdserver: server stopped","code":14}"#, UNKNOWN),
        (503, r#"{"error":"transport is closing","code":14}"#, UNKNOWN),
        (429, r#"{"error":"etcdserver: mvcc: database space exceeded","code":8}"#, UNKNOWN),
        (404, "Not Found", MALFORMED),
        (200, "[]", MALFORMED),
        (200, "{}", MALFORMED),
    ] {
        let (mut kv, _fake) = client(vec![(status, body)]).await;
        let error = kv.put("k", &Value::Int(1)).await.unwrap_err();
        assert_eq!(error.code, code, "{status} {body}");
    }
}

#[test]
fn a_scan_ends_behind_the_prefix() {
    assert_eq!(after("set-"), b"set.");
    assert_eq!(after("é"), [0xc3, 0xaa]);
    assert_eq!(after(""), [0]);
}

const MEMBERS: &str = r#"{"members":[{"ID":"7","name":"n1"},{"ID":"9","name":"n2"}]}"#;

/// As etcd 3.4 answers; what is zero or empty it leaves out.
#[tokio::test]
async fn a_member_says_who_leads_in_which_term() {
    let of = |leads, leader: Option<&str>, term| Opinion {
        leads,
        leader: leader.map(Name::from),
        term: Some(term),
    };
    for (status, opinion) in [
        (
            r#"{"header":{"member_id":"7"},"leader":"7","raftTerm":"4"}"#,
            of(true, Some("n1"), 4),
        ),
        (
            r#"{"header":{"member_id":"7"},"leader":"9","raftTerm":"5"}"#,
            of(false, Some("n2"), 5),
        ),
        (
            r#"{"header":{"member_id":"7"},"raftTerm":"6"}"#,
            of(false, None, 6),
        ),
    ] {
        let (client, fake) = client(vec![(200, status), (200, MEMBERS)]).await;
        assert_eq!(opinion_of(client.http).await, Some(opinion), "{status}");
        // Who knows of no leader is asked for no name.
        let asked = if status.contains("leader") { 2 } else { 1 };
        assert_eq!(fake.requests().len(), asked, "{status}");
    }
    for (status, body) in [(503, "{}"), (200, "[]")] {
        let (client, _fake) = client(vec![(status, body)]).await;
        assert_eq!(opinion_of(client.http).await, None, "{status} {body}");
    }
}

#[tokio::test]
async fn a_condition_on_the_range_compares_every_key_and_those_that_were_read() {
    const NOTHING: &str = r#"{"responses":[{"response_range":{}}]}"#;
    let append = Value::List(vec!["append".into(), 1.into(), 7.into()]);
    for whole_range in [true, false] {
        let (mut kv, fake) = client(vec![(200, NOTHING), (200, WON)]).await;
        kv.whole_range = whole_range;
        let micros = Value::List(vec![append.clone()]);
        assert_eq!(kv.transact(&micros).await, Ok(micros));
        let requests = fake.requests();
        // From `txn-` up to `txn.`, and `txn-1`.
        let range = r#""range_end":"dHhuLg==""#;
        assert_eq!(requests[1].contains(range), whole_range, "{}", requests[1]);
        assert!(
            requests[1].contains(r#""key":"dHhuLTE=""#),
            "{}",
            requests[1]
        );
    }
}

#[tokio::test]
async fn members_of_several_versions_are_compared_by_their_keys() {
    const AT: &str = r#"{"header":{"revision":"4"},"raftIndex":"9","raftAppliedIndex":"9"}"#;
    let name: Name = "n1".into();
    let held = |of, answer| {
        let name = name.clone();
        async move {
            let (client, fake) = client(vec![(200, AT), (200, answer), (200, AT)]).await;
            let held = replica::read(client.http, &name, of)
                .await
                .expect("it is at rest");
            assert_eq!(held.get("index"), Some(&Value::Int(9)));
            let hash = held
                .get("holds")
                .and_then(|holds| holds.get("hash"))
                .cloned();
            (hash.expect("there is one"), fake.requests()[1].clone())
        }
    };
    let (disk, asked) = held(Of::Disk, r#"{"hash":5}"#).await;
    assert_eq!(disk, Value::Int(5));
    assert!(asked.contains("/v3/maintenance/hash"), "{asked}");
    let other = ONE.replace("WzFd", "WzJd");
    let (one, asked) = held(Of::Keys, ONE).await;
    assert!(asked.contains(r#""serializable":true"#), "{asked}");
    let [same, another] = [ONE, &other].map(|answer| held(Of::Keys, answer));
    assert_eq!(same.await.0, one);
    assert_ne!(another.await.0, one);
}

#[tokio::test]
async fn a_cluster_is_of_several_versions_once_a_member_has_gone_over() {
    let params = |word: &str| Params::resolve(PARAMS, [("version", word)]).expect("a version");
    let nodes = harness::dummy::nodes(2);
    let programs = Programs::of_two(&params("default"), &nodes);
    assert!(!programs.are_several());
    assert_eq!(programs.of(&nodes[0]), nodes[0].bin("etcd"));
    programs.go_over(&nodes[0]);
    assert!(programs.are_several());
    assert_eq!(programs.of(&nodes[0]), nodes[0].bin("etcd-next"));
    // Whoever has gone over has notes of the first version on its disk.
    programs.go_over(&nodes[1]);
    assert!(programs.are_several());
    assert!(Programs::of_two(&params("default,next"), &nodes).are_several());
}
