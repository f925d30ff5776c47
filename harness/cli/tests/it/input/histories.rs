//! Files that should hold a history: none, torn, too long, or of another tool.

use super::*;

#[test]
fn histories_that_are_none() {
    let place = Place::new();
    let good = event(0, 0, "invoke", "[1,2]");
    let cases: &[(&str, Vec<u8>, &[&str])] = &[
        ("empty", Vec::new(), &["empty"]),
        (
            "binary",
            vec![0, 159, 146, 150, 255, 10, 0],
            &["line 1", "header"],
        ),
        (
            "foreign",
            b"{:type :invoke, :f :read}\n".to_vec(),
            &["line 1", "header"],
        ),
        (
            "newer",
            b"{\"schism\":\"history\",\"version\":2}\n".to_vec(),
            &["version", "2"],
        ),
        (
            "damaged",
            format!("{HEADER}{{\"index\":oops\n{good}").into(),
            &["line 2", "column"],
        ),
        (
            "gap",
            format!("{HEADER}{good}{}", event(2, 1, "invoke", "[1,3]")).into(),
            &["index 2"],
        ),
        (
            "twice",
            format!("{HEADER}{good}{}", event(1, 0, "invoke", "[1,3]")).into(),
            &["process 0", "still open"],
        ),
        (
            "orphan",
            format!("{HEADER}{}", event(0, 0, "ok", "[1,3]")).into(),
            &["no operation open"],
        ),
        (
            "big",
            format!(
                "{HEADER}{}",
                event(0, 0, "invoke", "[1,99999999999999999999]")
            )
            .into(),
            &["line 2", "64"],
        ),
        (
            "float",
            format!("{HEADER}{}", event(0, 0, "invoke", "[1,1.5]")).into(),
            &["line 2", "1.5"],
        ),
        (
            "deep",
            format!("{HEADER}{}", event(0, 0, "invoke", &"[".repeat(100_000))).into(),
            &["line 2"],
        ),
    ];
    for (name, bytes, words) in cases {
        let file = place.file(name, bytes);
        place
            .schism(&["check", file.to_str().unwrap(), "--workload", "register"])
            .exits(USAGE)
            .says(&[name])
            .says(words);
    }
    let file = place.file("whole", format!("{HEADER}{good}"));
    place
        .schism(&["check", file.to_str().unwrap()])
        .exits(3)
        .prints(&["as register, each value with its key", "nothing was tested"]);
    place
        .schism(&["check", "no-such-run"])
        .exits(USAGE)
        .says(&["no-such-run", "schism list"]);
    place.schism(&["check", "latest"]).exits(64).says(&[
        "no run in",
        "yet",
        "`schism run` makes one",
    ]);
    let missing = place.path().join("history.edn");
    place
        .schism(&["check", missing.to_str().unwrap()])
        .exits(64)
        .says(&["no file or folder", "history.edn"]);
    let store = place.path().join("elsewhere");
    fs::create_dir_all(store.join("one")).unwrap();
    let folder = store.to_str().unwrap();
    place
        .schism(&["check", folder])
        .exits(64)
        .says(&["elsewhere is no run", "no spec.json"]);
    fs::write(store.join("one/spec.json"), spec(3)).unwrap();
    place
        .schism(&["check", folder])
        .exits(64)
        .says(&["elsewhere is a store and no run", "elsewhere/one"]);
}

/// Recorded by other tools: judged, certified, verified, converted, compressed.
#[test]
fn histories_of_other_tools_are_judged() {
    let place = Place::new();
    let edn = "[{:process 0, :type :invoke, :f :write, :value 3}
 {:process 0, :type :ok, :f :write, :value 3}
 {:process :nemesis, :type :info, :f :start}
 {:process 1, :type :invoke, :f :cas, :value [3 4]}
 {:process 1, :type :info, :f :cas, :value [3 4]}
 {:process 0, :type :invoke, :f :read, :value nil}
 {:process 0, :type :ok, :f :read, :value 4}]";
    let file = place.file("sound.edn", edn);
    let [file, order, converted, wrong] = [
        file,
        place.file("order.json", ""),
        place.file("converted.jsonl", ""),
        {
            place.file(
                "wrong.edn",
                edn.replace(":read, :value 4", ":read, :value 5"),
            )
        },
    ]
    .map(|path| path.to_str().unwrap().to_string());
    place
        .schism(&["check", &file, "--certificate", &order])
        .exits(0)
        .prints(&["as cas-register", "the order of 3 operations was replayed"]);
    place
        .schism(&["verify", &file, &order])
        .exits(0)
        .prints(&["VALID"]);
    place
        .schism(&["verify", &wrong, &order])
        .exits(2)
        .prints(&["op 5: read answered 5, not 4"]);
    place
        .schism(&["check", &wrong])
        .exits(1)
        .prints(&["value from nowhere", "by zones"]);
    place
        .schism(&["check", &wrong, "--certificate", &order])
        .exits(1)
        .prints(&["value from nowhere", "1 of 1 findings were confirmed"]);
    place.schism(&["verify", &wrong, &order]).exits(1).prints(&[
        "INVALID",
        "nothing explains ops 5, wherever all others are put",
    ]);
    place
        .schism(&["verify", &file, &order])
        .exits(2)
        .prints(&["the certificate does not hold: ops [5] have an order"]);
    fs::write(
        &order,
        "{\"model\":\"register\",\"keyed\":false,\"initial\":null}",
    )
    .unwrap();
    place
        .schism(&["verify", &file, &order])
        .exits(USAGE)
        .says(&["order.json", "`orders`, `accounts` or `cores`"]);
    place
        .schism(&["check", &file, "--certificate", &order])
        .exits(0);
    place
        .schism(&["convert", &file, "--to", "jsonl", "--output", &converted])
        .exits(0);
    place
        .schism(&["verify", &converted, &order])
        .exits(0)
        .prints(&["VALID"]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, edn.as_bytes()).unwrap();
    let packed = place.file("packed", packed.finish().unwrap());
    place
        .schism(&["check", packed.to_str().unwrap(), "--model", "register"])
        .exits(0);
    let packed = zstd::bulk::compress(edn.as_bytes(), 1).expect("it fits");
    let packed = place.file("packed", packed);
    place
        .schism(&["check", packed.to_str().unwrap(), "--initial", "7"])
        .exits(0);
    let empty = place.file("empty", "");
    place
        .schism(&["check", empty.to_str().unwrap()])
        .exits(USAGE)
        .says(&["the file is empty"]);
    let strange = place.file("strange", edn.replace(":write", ":enqueue"));
    place
        .schism(&["check", strange.to_str().unwrap()])
        .exits(USAGE)
        .says(&["enqueue, cas, read", "--model"]);
}

/// As Elle's users write them: tagged or not, keys as keywords, a nil for what is not known.
#[test]
fn transactions_of_other_tools_are_held_against_a_model() {
    let place = Place::new();
    let skew = "
        {:type :invoke, :process 0, :f :txn, :value [[:r :x nil] [:append :y 1]], :time 1, :index 0}
        #jepsen.history.Op{:type :invoke, :process 1, :f :txn, :value [[:r :y nil] [:append :x 2]], :time 2, :index 1}
        {:type :info, :process :nemesis, :f :start, :value nil, :time 3, :index 2}
        {:type :ok, :process 0, :f :txn, :value [[:r :x nil] [:append :y 1]], :time 4, :index 3}
        {:type :ok, :process 1, :f :txn, :value [[:r :y []] [:append :x 2]], :time 5, :index 4}
        {:type :invoke, :process 0, :f :txn, :value [[:r :y nil] [:r :x nil]], :time 6, :index 5}
        {:type :ok, :process 0, :f :txn, :value [[:r :y [1]] [:r :x [2]]], :time 7, :index 6}";
    let registers = "
        {:type :invoke, :value [[:r 1 nil] [:w 1 7]]}
        {:type :ok, :value [[:r 1 nil] [:w 1 7]]}
        {:type :invoke, :value [[:r 1 nil]]}
        {:type :ok, :value [[:r 1 nil]]}";
    let file = |name, text: &str| place.file(name, text).to_str().unwrap().to_string();
    let order = file("order.json", "");
    let (skew, well, registers) = (
        file("skew.edn", skew),
        file("well.edn", &skew.replace("[:r :y []]", "[:r :y [1]]")),
        file("registers.edn", registers),
    );
    let model = "--consistency-model";
    place.schism(&["check", &skew]).exits(1).prints(&[
        "as append",
        "write skew",
        "T1 (op 0) < T2 (op 1), since T1 read list \"x\" without 2",
    ]);
    place
        .schism(&["check", &skew, "--certificate", &order])
        .exits(1)
        .prints(&["1 of 1 findings were confirmed"]);
    place
        .schism(&["verify", &skew, &order])
        .exits(1)
        .prints(&["nothing explains ops 0, 1"]);
    let path = std::path::Path::new(&order);
    fs::remove_file(path).unwrap();
    place
        .schism(&["check", &skew, model, "snapshot-isolation"])
        .exits(0);
    place
        .schism(&["check", &skew, model, "repeatable-read"])
        .exits(1);
    place
        .schism(&["check", &well, "--certificate", &order])
        .exits(0);
    place.schism(&["verify", &well, &order]).exits(0);
    place.schism(&["verify", &skew, &order]).exits(2);
    place
        .schism(&["check", &registers])
        .exits(1)
        .prints(&["as rw-register", "G-single-"]);
    place
        .schism(&["check", &registers, model, "serializable"])
        .exits(0);
    place
        .schism(&["check", &registers, model, "serial"])
        .exits(USAGE)
        .says(&["read-uncommitted, read-committed"]);
    let set = file("set.edn", "{:type :invoke, :f :add, :value 1}");
    place
        .schism(&["check", &set, model, "serializable"])
        .exits(USAGE)
        .says(&["a history of set"]);
}

/// A queue and a lock as Jepsen writes them, and the queue as lines of a table.
#[test]
fn other_objects_than_registers_are_judged() {
    let place = Place::new();
    let queue = "
{:type :invoke, :f :enqueue, :value 1, :process 0, :time 10}
{:type :ok, :f :enqueue, :value 1, :process 0, :time 20}
{:type :invoke, :f :enqueue, :value 2, :process 1, :time 30}
{:type :info, :f :enqueue, :value 2, :process 1, :time 40, :error :timeout}
{:type :info, :f :start-partition, :value nil, :process :nemesis, :time 41}
{:type :invoke, :f :dequeue, :value nil, :process 0, :time 50}
{:type :invoke, :f :dequeue, :value nil, :process 2, :time 55}
{:type :fail, :f :dequeue, :value nil, :process 2, :time 56, :error :empty}
{:type :ok, :f :dequeue, :value 1, :process 0, :time 60}
{:type :invoke, :f :dequeue, :value nil, :process 0, :time 70}
{:type :ok, :f :dequeue, :value 2, :process 0, :time 80}
";
    let lock = "
{:type :invoke, :f :acquire, :value nil, :process 0, :time 10}
{:type :ok, :f :acquire, :value nil, :process 0, :time 20}
{:type :invoke, :f :release, :value nil, :process 0, :time 30}
{:type :info, :f :release, :value nil, :process 0, :time 40}
{:type :invoke, :f :acquire, :value nil, :process 1, :time 50}
{:type :ok, :f :acquire, :value nil, :process 1, :time 60}
";
    let table = "process,f,input,output,call,return,status
0,enqueue,1,,10,20,ok
1,enqueue,2,,30,40,info
0,dequeue,,1,50,60,ok
0,dequeue,,2,70,80,ok
";
    let held_twice = lock.replace(":process 0, :time 30", ":process 0, :time 65");
    let held_twice: Vec<&str> = held_twice.lines().collect();
    // By time: the release comes last, and is cut off.
    let held_twice = [&held_twice[..3], &held_twice[5..], &held_twice[3..4]].concat();
    let file = |name: &str, text: &str| place.file(name, text).to_str().unwrap().to_string();
    let (order, converted) = (file("order.json", ""), file("converted.jsonl", ""));
    for (name, text, title) in [
        ("queue.edn", queue, "as queue"),
        ("lock.edn", lock, "as lock"),
        ("queue.csv", table, "as queue"),
    ] {
        let file = file(name, text);
        place
            .schism(&["check", &file, "--certificate", &order])
            .exits(0)
            .prints(&[title, "operations was replayed"]);
        place
            .schism(&["convert", &file, "--to", "jsonl", "--output", &converted])
            .exits(0);
        place
            .schism(&["verify", &converted, &order])
            .exits(0)
            .prints(&["VALID"]);
        let edn = place
            .schism(&["convert", &converted, "--to", "edn"])
            .exits(0);
        edn.prints(&[if name == "lock.edn" {
            ":acquire"
        } else {
            ":enqueue"
        }]);
    }
    let wrong = file(
        "wrong.edn",
        &queue.replace(":dequeue, :value 1", ":dequeue, :value 3"),
    );
    place.schism(&["check", &wrong]).exits(1).prints(&[
        "value from nowhere",
        "3 was dequeued (op 5), but nobody enqueued it",
    ]);
    let wrong = file("held-twice.edn", &held_twice.join("\n"));
    place
        .schism(&["check", &wrong])
        .exits(1)
        .prints(&["held twice"]);
    place
        .schism(&["check", &wrong, "--model", "queue"])
        .exits(USAGE)
        .says(&[
            "a queue has the operations enqueue, dequeue",
            "acquire, release",
        ]);
    place
        .schism(&["check", &wrong, "--model", "semaphore", "--initial", "2"])
        .exits(0)
        .prints(&["as semaphore"]);
    place
        .schism(&["check", &wrong, "--model", "semaphore"])
        .exits(2)
        .prints(&["starts with its number of permits"]);
}

/// Reading and writing have limits too, and past them nobody knows.
#[test]
fn what_is_too_much_is_unknown() {
    let place = Place::new();
    let event = |i: usize| {
        let kind = ["invoke", "ok"][i % 2];
        event(i, 0, kind, &format!("[{},{}]", i / 2 % 7, i / 2))
    };
    let text: String = (0..60_000).map(event).collect();
    let text = HEADER.to_string() + &text;
    let edn: String = (0..20_000)
        .map(|i| {
            format!(
                "{{:process 0, :type :{}, :f :read}}\n",
                ["invoke", "ok"][i % 2]
            )
        })
        .collect();
    // Some kilobytes that become many megabytes.
    let bomb = " ".repeat(16 << 20);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, bomb.as_bytes()).unwrap();
    let gzip = packed.finish().unwrap();
    assert!(gzip.len() < 1 << 20);
    let zstd = zstd::bulk::compress(bomb.as_bytes(), 1).expect("it fits");
    assert!(zstd.len() < 1 << 20);
    let files: Vec<String> = [
        ("long.jsonl", text.into_bytes()),
        ("long.edn", edn.into_bytes()),
        ("gzip", gzip),
        ("zstd", zstd),
    ]
    .map(|(name, bytes)| place.file(name, bytes).to_str().unwrap().to_string())
    .into();
    for file in &files {
        let check = ["check", file, "--format", "edn", "--check-memory", "2"];
        let check = match file.ends_with("jsonl") {
            true => [check[0], check[1], "--format", "jsonl", check[4], check[5]],
            false => check,
        };
        place
            .schism(&check)
            .exits(2)
            .prints(&["UNKNOWN", "the memory limit was reached when"]);
        let late = [&check[..4], &["--check-time", "1us"]].concat();
        place
            .schism(&late)
            .exits(2)
            .prints(&["UNKNOWN", "the time limit was reached"]);
    }
    let [long, order, out] = [&files[0], "order.json", "out.edn"]
        .map(|name| place.path().join(name).to_str().unwrap().to_string());
    // Nothing but writes.
    place
        .schism(&["check", &long, "--certificate", &order])
        .exits(3);
    place
        .schism(&["verify", &long, &order, "--check-memory", "2"])
        .exits(2)
        .prints(&["UNKNOWN", "memory"]);
    place
        .schism(&[
            "convert",
            &long,
            "--to",
            "edn",
            "--output",
            &out,
            "--check-memory",
            "2",
        ])
        .exits(2)
        .says(&["the memory limit was reached"]);
    // A run's history, judged as a workload.
    place
        .schism(&[
            "check",
            &long,
            "--workload",
            "register",
            "--check-memory",
            "2",
        ])
        .exits(2)
        .prints(&["UNKNOWN", "the memory limit was reached when"]);
}

/// One client's events on a key: it writes a value, and then reads it.
fn written_or_read(index: usize, key: usize) -> String {
    let value = index / 4;
    let kind = if index.is_multiple_of(2) {
        "invoke"
    } else {
        "ok"
    };
    let text = event(index, 0, kind, &format!("[{key},{value}]"));
    if index % 4 < 2 {
        return text;
    }
    let asked = text.replace("write", "read");
    match kind {
        "invoke" => asked.replace(&format!("[{key},{value}]"), &format!("[{key},null]")),
        _ => asked,
    }
}

#[test]
fn a_torn_history_is_judged_without_its_last_line() {
    let place = Place::new();
    let mut text = HEADER.to_string();
    for i in 0..160 {
        text += &written_or_read(i, 1);
    }
    text.truncate(text.len() - 10);
    let file = place.file("torn", text);
    place
        .schism(&["check", file.to_str().unwrap(), "--workload", "register"])
        .exits(0)
        .prints(&["line 161", "torn", "linearizable"]);
}

#[test]
fn a_long_history_is_judged() {
    let place = Place::new();
    let mut text = HEADER.to_string();
    for i in 0..200_000 {
        text += &written_or_read(i, i / 40 % 10);
    }
    let file = place.file("long", text);
    place
        .schism(&["check", file.to_str().unwrap(), "--workload", "register"])
        .exits(0)
        .prints(&["100000 operations"]);
}
