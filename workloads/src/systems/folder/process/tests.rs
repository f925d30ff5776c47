//! Client programs that do what they should not.

use std::path::Path;

use super::*;

const INIT: &str = r#"read line; echo '{"id":0,"type":"ok","offers":["read","write","cas"]}'"#;

fn greeting() -> Greeting {
    Greeting {
        node: "n1".into(),
        address: [127, 0, 0, 1].into(),
        port: 1,
        nodes: BTreeMap::new(),
        params: BTreeMap::new(),
        workload: "register".into(),
    }
}

/// A client whose program is this shell script.
fn client(script: &str) -> Process {
    let argv = ["/bin/sh", "-c", script].map(String::from);
    Process::new(argv.to_vec(), "/".into(), greeting(), Idle::default())
}

fn after_init(script: &str) -> Process {
    client(&format!("{INIT}; {script}"))
}

async fn put(client: &mut Process) -> (&'static str, bool, String) {
    match client.put("k", &1.into()).await {
        Ok(()) => ("ok", true, String::new()),
        Err(e) => (e.code.code, e.code.definite, e.detail),
    }
}

const NOW: Consistency = Consistency::Linearizable;

#[tokio::test]
async fn operations_are_lines_and_so_are_their_answers() {
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let script = format!(
        "tee {} | while read line; do id=${{line#*\\\"id\\\":}}; id=${{id%%,*}}; case $line in
         *init*) echo '{{\"id\":0,\"type\":\"ok\",\"offers\":[\"read\",\"write\",\"cas\",\"scan\"]}}';;
         *read*) echo \"{{\\\"id\\\":$id,\\\"type\\\":\\\"ok\\\",\\\"value\\\":7,\\\"version\\\":3}}\";;
         *cas*) echo \"{{\\\"id\\\":$id,\\\"type\\\":\\\"fail\\\",\\\"code\\\":22}}\";;
         *scan*) echo \"{{\\\"id\\\":$id,\\\"type\\\":\\\"ok\\\",\\\"value\\\":{{\\\"p-1\\\":1,\\\"q\\\":2}}}}\";;
         *) echo \"{{\\\"id\\\":$id,\\\"type\\\":\\\"ok\\\"}}\";; esac; done",
        seen.display()
    );
    let mut client = client(&script);
    assert_eq!(put(&mut client).await.0, "ok");
    assert_eq!(client.get("k", NOW).await, Ok(Some(7.into())));
    assert_eq!(Kv::version(&mut client), Some(3.into()));
    assert_eq!(client.cas("k", None, &2.into()).await, Ok(false));
    assert_eq!(
        client.scan("p-", NOW).await,
        Ok(vec![("p-1".into(), 1.into())])
    );
    // It does not offer append, so it is not asked.
    assert_eq!(
        client.append("k", &1.into()).await.unwrap_err().code,
        REJECTED
    );
    // What `tee` hands on it may write a moment later.
    let lines = || std::fs::read_to_string(&seen).unwrap_or_default();
    while lines().lines().count() < 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seen = lines();
    let asked: Vec<Json> = seen
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(asked[0]["f"], "init");
    assert_eq!(asked[0]["address"], "127.0.0.1");
    assert_eq!(
        asked[1],
        json!({"id": 1, "f": "write", "key": "k", "value": 1})
    );
    assert_eq!(
        asked[3],
        json!({"id": 3, "f": "cas", "key": "k", "value": [null, 2]})
    );
    assert_eq!(asked.len(), 5);
}

#[tokio::test]
async fn what_is_no_answer_leaves_the_operation_open_and_is_shown() {
    let long = format!("echo '{}'; read l", "x".repeat(500));
    let table = [
        ("read l; echo garbage", "client-failed", "garbage"),
        (
            "read l; printf 'a\\033[31mb\\n'",
            "client-failed",
            "a\\u{1b}[31mb",
        ),
        (long.as_str(), "client-failed", "xxx…"),
        (
            r#"read l; echo "it's \"no\" \\ answer""#,
            "client-failed",
            r#"it's "no" \ answer"#,
        ),
        (
            r#"read l; echo '{"id":7,"type":"ok"}'"#,
            "client-failed",
            "answer to 7",
        ),
        (
            r#"read l; echo '{"type":"ok"}'"#,
            "client-failed",
            "without an id",
        ),
        (
            r#"read l; echo '{"id":0,"type":"ok"}'"#,
            "client-failed",
            "a second answer to 0",
        ),
        (
            r#"read l; echo '{"id":1,"type":"done"}'"#,
            "client-failed",
            "done",
        ),
        (
            "read l; exec >&-; echo sorry >&2; exit 3",
            "client-failed",
            "exit status: 3): sorry",
        ),
    ];
    for (script, code, words) in table {
        let mut client = after_init(script);
        let (got, definite, detail) = put(&mut client).await;
        assert_eq!((got, definite), (code, false), "{script}: {detail}");
        assert!(detail.contains(words), "{script}: {detail}");
        assert!(!detail.contains('\u{1b}'), "{detail}");
    }
}

/// No value and `null` are two things: whoever forgets it would say that there is nothing.
#[tokio::test]
async fn what_was_asked_for_is_in_the_answer() {
    let init = r#"read l; echo '{"id":0,"type":"ok","offers":["read","dequeue"]}'"#;
    let answers = |answer: &str| client(&format!("{init}; read l; echo '{answer}'; read l"));
    let mut says = answers(r#"{"id":1,"type":"ok","value":null}"#);
    assert_eq!(says.get("k", NOW).await, Ok(None));
    let silent = r#"{"id":1,"type":"ok"}"#;
    let why = answers(silent).get("k", NOW).await.unwrap_err();
    assert!(why.detail.contains("ok to read has no `value`"), "{why}");
    let mut taker = answers(silent);
    let why = taker.perform(Call::Dequeue, "q", &Value::Nil).await;
    // It may have been taken.
    assert!(why.is_err_and(|e| e.code == MALFORMED && !e.code.definite));
    let mut text = answers(r#"{"id":1,"type":"ok","value":[[1,"7"]]}"#);
    let why = text.get("k", NOW).await.unwrap_err();
    assert!(why.detail.contains(r#"the text "7""#), "{why}");
}

/// It is started again for the next operation, so one mistake does not end a run.
#[tokio::test]
async fn after_a_mistake_a_new_program_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("been-here");
    let script = format!(
        "read l; if mkdir {}; then echo garbage; else echo '{{\"id\":1,\"type\":\"ok\"}}'; fi; read l",
        flag.display()
    );
    let mut client = after_init(&script);
    assert_eq!(put(&mut client).await.0, "client-failed");
    assert_eq!(put(&mut client).await.0, "ok");
}

#[tokio::test]
async fn nothing_was_sent_to_a_program_that_never_began() {
    let mut missing = Process::new(
        vec!["/no/such/program".into()],
        "/".into(),
        greeting(),
        Idle::default(),
    );
    let (code, definite, detail) = put(&mut missing).await;
    assert_eq!((code, definite), ("no-client", true));
    assert!(detail.contains("/no/such/program"), "{detail}");
    let dies = "echo ModuleNotFoundError >&2; exit 1";
    let refuses = r#"read l; echo '{"id":0,"type":"fail"}'; read l"#;
    for (script, words) in [
        (dies, "ModuleNotFoundError"),
        (refuses, "init"),
        ("echo hm; read l", "hm"),
    ] {
        let (code, definite, detail) = put(&mut client(script)).await;
        assert_eq!((code, definite), ("no-client", true), "{script}: {detail}");
        assert!(detail.contains(words), "{script}: {detail}");
    }
}

/// One that takes its time to start is not started anew for each operation.
#[tokio::test]
async fn a_slow_start_is_waited_for_over_several_operations() {
    let script = format!("sleep 2; {INIT}; read l; echo '{{\"id\":1,\"type\":\"ok\"}}'; read l");
    let mut client = client(&script);
    let first = put(&mut client).await;
    assert_eq!((first.0, first.1), ("no-client", true), "{first:?}");
    let mut tries = 0;
    while put(&mut client).await.0 != "ok" {
        tries += 1;
        assert!(tries < 60);
    }
}

/// Starting a program can take longer than all that it is asked.
#[tokio::test]
async fn a_program_with_nothing_open_serves_the_next_client() {
    let answer =
        |id| format!("read l; echo '{{\"id\":{id},\"type\":\"info\",\"error\":\"'$$'\"}}'");
    let script = format!("{INIT}; {}; {}; read l", answer(1), answer(2));
    let argv = ["/bin/sh", "-c", &script].map(String::from);
    let idle = Idle::default();
    let next = || Process::new(argv.to_vec(), "/".into(), greeting(), idle.clone());
    let (mut first, mut beside) = (next(), next());
    let (one, other) = (put(&mut first).await, put(&mut beside).await);
    assert_ne!(one, other, "two clients at a time are two programs");
    drop(first);
    assert_eq!(put(&mut next()).await, one);
}

/// A client that is given up ends with all that it started.
#[tokio::test]
async fn nothing_outlives_its_client() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = format!(
        "sleep 300 & echo $! $$ > {}; read l; sleep 300",
        pids.display()
    );
    let mut client = after_init(&script);
    let given_up = tokio::time::timeout(Duration::from_secs(1), client.put("k", &1.into())).await;
    assert!(given_up.is_err(), "it is silent");
    let text = std::fs::read_to_string(pids).unwrap();
    for pid in text.split_whitespace() {
        let proc = format!("/proc/{pid}/stat");
        let dead = || {
            let stat = std::fs::read_to_string(Path::new(&proc)).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        let mut tries = 0;
        while !dead() {
            tries += 1;
            assert!(tries < 500, "{pid} still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What is found before a run is not found in its verdict.
#[tokio::test]
async fn a_program_is_tried_before_the_run() {
    let rehearse = async |script: &str| {
        let client = client(script);
        client.rehearse(&[Call::Read, Call::Scan]).await
    };
    let offers =
        |all: &str| format!(r#"read l; echo '{{"id":0,"type":"ok","offers":[{all}]}}'; read l"#);
    assert_eq!(rehearse(&offers(r#""scan","read""#)).await, Ok(()));
    for (script, words) in [
        (offers(r#""read""#), ["offers read,", "asks for scan"]),
        (offers(""), ["offers nothing,", "asks for read"]),
        (
            "echo ModuleNotFoundError >&2; exit 1".into(),
            ["exit status: 1", "ModuleNotFoundError"],
        ),
        ("echo hm; read l".into(), ["is no answer", "hm"]),
    ] {
        let why = rehearse(&script).await.unwrap_err();
        assert!(
            words.iter().all(|word| why.contains(word)),
            "{script}: {why}"
        );
    }
}
