//! Histories as other people's tools write them: what they mean, and what they are worth.

use crate::support::Place;

const USAGE: i32 = 64;

/// A file's name and text, arguments, the exit code that is right, and words of the answer.
type Case<'a> = (&'a str, &'a str, &'a [&'a str], i32, &'a [&'a str]);

/// Writes each text to a file of its name, and checks it.
fn check_all(cases: &[Case]) {
    let place = Place::new();
    for (name, text, args, exits, words) in cases {
        let file = place.file(name, text);
        let args = [&["check", file.to_str().unwrap()], *args].concat();
        let ended = place.schism(&args).exits(*exits);
        match *exits {
            USAGE => ended.says(words),
            _ => ended.prints(words),
        };
    }
}

/// In files of events the place is the order; in files of operations times are, and a client's
/// operations follow each other.
#[test]
fn the_order_of_a_file() {
    let stale = "
        {:process 3, :type :invoke, :f :write, :value 1, :time 5}
        {:process 3, :type :ok, :f :write, :value 1, :time 5}
        {:process 4, :type :invoke, :f :write, :value 2, :time 5}
        {:process 4, :type :ok, :f :write, :value 2, :time 5}
        {:process 5, :type :invoke, :f :read, :value nil, :time 5}
        {:process 5, :type :ok, :f :read, :value 1, :time 5}";
    let json = "[
        {\"process\":3,\"type\":\"invoke\",\"f\":\"write\",\"value\":1,\"time\":5},
        {\"process\":3,\"type\":\"ok\",\"f\":\"write\",\"value\":1,\"time\":4},
        {\"process\":4,\"type\":\"invoke\",\"f\":\"read\",\"value\":null,\"time\":4},
        {\"process\":4,\"type\":\"ok\",\"f\":\"read\",\"value\":null,\"time\":4}]";
    let back = stale.replace(
        ":value 1, :time 5}\n        {:process 4",
        ":value 1, :time 3}\n        {:process 4",
    );
    check_all(&[
        (
            "equal.edn",
            stale,
            &[],
            1,
            &["stale read", "5 have the time of the event before"],
        ),
        (
            "back.edn",
            &back,
            &[],
            1,
            &["of 1 the time is before that of an earlier event, by at most 2"],
        ),
        (
            "right.edn",
            &stale.replace(":read, :value 1", ":read, :value 2"),
            &[],
            0,
            &[],
        ),
        ("events.json", json, &[], 1, &["stale read"]),
        (
            "touching.csv",
            "process,f,value,call,return\n0,write,1,1,2\n1,read,,2,3\n",
            &[],
            0,
            &[],
        ),
    ]);
}

#[test]
fn a_process_of_any_name_is_a_client() {
    let text = "
        {:process \"admin\" :type :invoke :f :write :value 1}
        {:process \"admin\" :type :ok :f :write :value 1}
        {:process :nemesis :type :info :f :write :value 3}
        {:process :c1 :type :invoke :f :read :value nil}
        {:process :c1 :type :ok :f :read :value 1}";
    check_all(&[
        ("right.edn", text, &[], 0, &["2 operations"]),
        (
            "wrong.edn",
            &text.replace(":read :value 1", ":read :value 3"),
            &[],
            1,
            &["value from nowhere"],
        ),
    ]);
}

#[test]
fn nothing_is_passed_over_in_silence() {
    let deleted = "
        {:process 0 :type :invoke :f :write :value 1}
        {:process 0 :type :ok :f :write :value 1}
        {:process 0 :type :invoke :f :delete :value nil}
        {:process 0 :type :ok :f :delete :value nil}
        {:process 0 :type :invoke :f :read :value nil}
        {:process 0 :type :ok :f :read :value 1}";
    let way_out = &["delete", "--ignore delete"];
    let log = "2023-02-22 17:37:12,345{GMT}\tINFO\t[main] jepsen.core: Nothing was done\n";
    check_all(&[
        ("guessed.edn", deleted, &[], USAGE, way_out),
        ("named.edn", deleted, &["--model", "register"], USAGE, way_out),
        (
            "ignored.edn",
            deleted,
            &["--ignore", "delete"],
            0,
            &["note: 1 operation was ignored, and can have changed anything: delete"],
        ),
        (
            "mistyped.edn",
            deleted,
            &["--ignore", "delte"],
            USAGE,
            &["--ignore delte: the history has no such operation, but write, delete, read"],
        ),
        ("empty.log", log, &[], USAGE, &["no line of this log is an event"]),
        (
            "odd-answer.edn",
            "{:process 0 :type :invoke :f :write :value 5}\n{:process 0 :type :ok :f :write :value 5}
             {:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value {:v 5}}",
            &[],
            USAGE,
            &["a map", "the nearest are register and set"],
        ),
    ]);
}

/// Sets, counters and banks of many keys, and what nothing looks like in each.
#[test]
fn each_key_is_an_object() {
    let set = "process,f,key,value,output,call,return
0,add,a,1,,1,2
0,add,b,2,,3,4
1,read,a,,[1],5,6
1,read,b,,[2],7,8
1,read,c,,nil,9,10
";
    let counter = "
        {:process 0 :type :invoke :f :read :value [:y nil]}
        {:process 0 :type :ok :f :read :value [:y nil]}
        {:process 0 :type :invoke :f :add :value [:x 2]}
        {:process 0 :type :ok :f :add :value [:x 2]}
        {:process 1 :type :invoke :f :read :value [:x nil]}
        {:process 1 :type :ok :f :read :value [:x 2]}";
    let bank = "
        {:process 0 :type :invoke :f :read :value [7 nil]}
        {:process 0 :type :ok :f :read :value [7 {:a 5, :b 5}]}
        {:process 0 :type :invoke :f :read :value [8 nil]}
        {:process 0 :type :ok :f :read :value [8 {:a 9, :b 9}]}
        {:process 0 :type :invoke :f :pay :value [7 {:from :a, :to :b, :amount 2}]}
        {:process 0 :type :ok :f :pay :value [7 {:from :a, :to :b, :amount 2}]}
        {:process 0 :type :invoke :f :read :value [7 nil]}
        {:process 0 :type :ok :f :read :value [7 {:a 3, :b 7}]}";
    let accounts = "
        {:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value [5 5]}
        {:process 0 :type :invoke :f :transfer :value {:from 0 :to 1 :amount 5}}
        {:process 0 :type :ok :f :transfer :value {:from 0 :to 1 :amount 5}}
        {:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value [0 10]}";
    check_all(&[
        ("set.csv", set, &[], 0, &["as set, each value with its key"]),
        (
            "lost.csv",
            &set.replace("[2]", "[]"),
            &[],
            1,
            &["lost element of \"b\""],
        ),
        (
            "counter.edn",
            counter,
            &[],
            0,
            &["as counter, each value with its key"],
        ),
        (
            "more.edn",
            &counter.replace(":ok :f :read :value [:x 2]", ":ok :f :read :value [:x 3]"),
            &[],
            1,
            &["sum too high of \"x\""],
        ),
        (
            "bank.edn",
            bank,
            &[],
            0,
            &[
                "as bank, each value with its key",
                "note: pay: judged as transfer",
            ],
        ),
        (
            "made.edn",
            &bank.replace(":a 3", ":a 4"),
            &[],
            1,
            &["total changed of 7"],
        ),
        ("accounts.edn", accounts, &[], 0, &["as bank"]),
        (
            "lost.edn",
            &accounts.replace("[0 10]", "[0 9]"),
            &[],
            1,
            &["total changed"],
        ),
        (
            "text.csv",
            "process,f,key,value,call,return\n0,put,x,one,1,2\n0,get,y,\"\",3,4\n0,get,x,one,5,6\n",
            &[],
            0,
            &["as kv"],
        ),
    ]);
}

/// What only read is passed over; what may have changed a key leaves that open, and the others as
/// they are.
#[test]
fn what_cannot_be_judged_hides_nothing_and_shows_nothing() {
    let odd = "
        {:process 0 :type :invoke :f :read :value [7 nil]}
        {:process 0 :type :ok :f :read :value [8 ANSWER]}
        {:process 0 :type :invoke :f PUT :value [8 1]}
        {:process 0 :type :ok :f PUT :value [8 1]}
        {:process 0 :type :invoke :f :read :value [8 nil]}
        {:process 0 :type :ok :f :read :value [8 FOUND]}";
    let read_of = "operation 0 cannot be read: it asks for one key and is answered with another";
    let file = |put: &str, answer: &str, found: &str| {
        let text = odd.replace("PUT", put).replace("ANSWER", answer);
        text.replace("FOUND", found)
    };
    // A read of key 7 says nothing of what key 8 held, nor of whether somebody wrote 3 to either.
    let register = |found| file(":write", "3", found);
    let set = |found| file(":add", "[]", found);
    let counter = |found| file(":add", "0", found);
    let bank = "
        {:process 0 :type :invoke :f :read :value [7 nil]}
        {:process 0 :type :ok :f :read :value [8 {:a 1}]}
        {:process 0 :type :invoke :f :transfer :value [7 {:from :a :to :b :amount 1}]}
        {:process 0 :type :ok :f :transfer :value [7 {:from :a :to :b :amount 1}]}
        {:process 0 :type :invoke :f :read :value [7 nil]}
        {:process 0 :type :ok :f :read :value [7 {:a 1, :b 1}]}
        {:process 0 :type :invoke :f :read :value [7 nil]}
        {:process 0 :type :ok :f :read :value [7 {:a 1, :b 2}]}";
    check_all(&[
        ("register.edn", &register("1"), &[], 2, &[read_of]),
        ("stale.edn", &register("nil"), &[], 1, &["stale read of 8"]),
        ("set.edn", &set("[1]"), &[], 2, &[read_of]),
        ("lost.edn", &set("[]"), &[], 1, &["lost element of 8"]),
        ("counter.edn", &counter("1"), &[], 2, &[read_of]),
        ("more.edn", &counter("2"), &[], 1, &["sum too high of 8"]),
        ("bank.edn", bank, &[], 1, &["total changed of 7"]),
        // A compare-and-set of one value is none of a register that holds pairs, where reads have
        // keys.
        (
            "swap.edn",
            "{:process 0 :type :invoke :f :cas :value [7 1]}\n{:process 0 :type :ok :f :cas :value [7 1]}
             {:process 0 :type :invoke :f :read :value [8 nil]}\n{:process 0 :type :ok :f :read :value [8 nil]}",
            &[],
            2,
            &["operation 0 cannot be read: 1 is not [from, to]"],
        ),
        (
            "null.csv",
            "process,f,input,output,call,return\n0,read,\"[7, null]\",\"[7, null]\",1,2\n0,write,\"[7, 1]\",,3,4\n0,read,\"[7, null]\",\"[7, 1]\",5,6\n",
            &[],
            0,
            &["on 1 key"],
        ),
    ]);
}

#[test]
fn micro_operations_are_transactions_whatever_they_are_called() {
    let text = "
        {:process 0 :type :invoke :f :update :value [[:append 1 7]]}
        {:process 0 :type :ok :f :update :value [[:append 1 7]]}
        {:process 1 :type :invoke :f :read :value [[:read 1 nil]]}
        {:process 1 :type :ok :f :read :value [[:read 1 [7]]]}";
    let elle = "
        {:process 0 :type :ok :value [[:append :x 1] [:r :y [1]]]}
        {:process 1 :type :ok :value [[:append :y 1] [:r :x [1]]]}";
    check_all(&[
        (
            "right.edn",
            text,
            &[],
            0,
            &[
                "as append",
                "note: update, read: of micro-operations, and judged as txn",
            ],
        ),
        (
            "wrong.edn",
            &text.replace("[7]]]", "[]]]"),
            &[],
            1,
            &["as append"],
        ),
        (
            "elle.edn",
            elle,
            &[],
            1,
            &["G1c", "2 operations have no invocation"],
        ),
        (
            "elle.edn",
            elle,
            &["--model", "list-append", "--consistency-model", "PL-1"],
            0,
            &[],
        ),
        (
            "overlapping.edn",
            &elle
                .replace("[:r :y [1]]", "[:r :y nil]")
                .replace("[:r :x [1]]", "[:r :x nil]"),
            &["--consistency-model", "PL-SI"],
            0,
            &[],
        ),
        (
            "polysi.txt",
            "w(1,2,0,0)\nr(1,2,1,1)\nr(1,0,1,2)\n",
            &[],
            1,
            &["as rw-register"],
        ),
        (
            "polysi-right.txt",
            "w(1,2,0,0)\nr(1,0,1,1)\nr(1,2,1,2)\n",
            &[],
            0,
            &["as rw-register"],
        ),
    ]);
}

#[test]
fn what_could_not_have_been_wrong_is_vacuous() {
    let unknown: String = (0..20)
        .map(|i| {
            format!(
                "{{:process {i} :type :invoke :f :write :value {i}}}\n{{:process {i} :type :info :f :write :value {i}}}\n"
            )
        })
        .collect();
    let read = "{:process 99 :type :invoke :f :read :value nil}\n{:process 99 :type :ok :f :read :value nil}\n";
    let adds =
        "{:process 0 :type :invoke :f :add :value 1}\n{:process 0 :type :ok :f :add :value 1}\n";
    let idle = "{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value {0 5, 1 5}}
        {:process 1 :type :invoke :f :transfer :value [0 1 1]}\n{:process 1 :type :fail :f :transfer :value [0 1 1]}
        {:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value {0 5, 1 4}}";
    let nobody =
        "{:process 0 :type :invoke :f :add :value 1}\n{:process 0 :type :info :f :add :value 1}
        {:process 1 :type :invoke :f :read}\n{:process 1 :type :ok :f :read :value [2]}";
    check_all(&[
        ("unknown.edn", &unknown, &[], 3, &["VACUOUS"]),
        (
            "read.edn",
            &format!("{unknown}{read}"),
            &[],
            3,
            &["no operation is known to have changed anything"],
        ),
        (
            "seen.edn",
            &format!(
                "{unknown}{}",
                read.replace("ok :f :read :value nil", "ok :f :read :value 7")
            ),
            &[],
            0,
            &[],
        ),
        ("adds.edn", adds, &[], 3, &["VACUOUS"]),
        ("idle.edn", idle, &[], 1, &["total changed"]),
        ("nobody.edn", nobody, &[], 1, &["element from nowhere"]),
        (
            "still.edn",
            &idle.replace("1 4}", "1 5}"),
            &[],
            3,
            &["VACUOUS"],
        ),
    ]);
}

#[test]
fn a_read_of_nil_is_an_answer_unless_it_is_said_to_be_none() {
    let text = "
        {:process 0 :type :invoke :f :write :value [2 1]}
        {:process 0 :type :ok :f :write :value [2 1]}
        {:process 0 :type :invoke :f :read :value [2 nil]}
        {:process 0 :type :ok :f :read :value [2 nil]}
        {:process 0 :type :invoke :f :read :value [2 nil]}
        {:process 0 :type :ok :f :read :value [2 1]}";
    let unknown = &["--nil-reads", "unknown"];
    let set = "{:process 0 :type :invoke :f :add :value 1}\n{:process 0 :type :invoke :f :read}";
    check_all(&[
        (
            "nil.edn",
            text,
            &[],
            1,
            &["`read [2 nil] ok → nil` (op 2)", "--nil-reads unknown"],
        ),
        (
            "nil.edn",
            text,
            unknown,
            0,
            &["1 read was answered with nil, which is taken for no answer"],
        ),
        (
            "set.edn",
            &set.replace(
                "process 0 :type :invoke :f :read",
                "process 1 :type :invoke :f :read",
            ),
            unknown,
            USAGE,
            &["--nil-reads is for registers"],
        ),
    ]);
}

#[test]
fn a_folder_of_jepsens_is_its_history() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("run")).unwrap();
    place.file("run/jepsen.log", "nothing\n");
    place.file(
        "run/history.txt",
        "0\t:invoke\t:write\t1\n0\t:ok\t:write\t1\n1\t:invoke\t:read\tnil\n1\t:ok\t:read\t2\n",
    );
    place
        .schism(&["check", "run"])
        .exits(1)
        .prints(&["run/history.txt as register", "value from nowhere"]);
}

/// The same histories through every format that can say them: the same verdict.
#[test]
fn every_format_says_the_same() {
    let place = Place::new();
    let events = |ok: &str, back: &str| {
        [
            ("0", "invoke", "write", "1"),
            ("1", "invoke", "read", "null"),
            ("0", "ok", "write", "1"),
            ("1", "ok", "read", ok),
            ("0", "invoke", "read", "null"),
            ("0", "ok", "read", back),
        ]
        .map(|(process, kind, f, value)| [process, kind, f, value].map(String::from))
    };
    for (ok, back, exits) in [
        ("1", "1", 0),
        ("null", "1", 0),
        ("1", "null", 1),
        ("5", "1", 1),
    ] {
        let events = events(ok, back);
        let edn: String = events
            .iter()
            .map(|[p, k, f, v]| {
                format!(
                    "{{:process {p} :type :{k} :f :{f} :value {}}}\n",
                    v.replace("null", "nil")
                )
            })
            .collect();
        let json = events.iter().map(|[p, k, f, v]| {
            format!("{{\"process\":{p},\"type\":\"{k}\",\"f\":\"{f}\",\"value\":{v}}}")
        });
        let json = json.collect::<Vec<_>>();
        let table: String = events
            .iter()
            .map(|[p, k, f, v]| format!("{p}\t:{k}\t:{f}\t{}\n", v.replace("null", "nil")))
            .collect();
        let log: String = table
            .lines()
            .map(|line| format!("INFO  jepsen.util - {line}\n"))
            .collect();
        let csv = format!(
            "process,f,value,call,return\n0,write,1,0,2\n1,read,{ok},1,3\n0,read,{back},4,5\n"
        );
        let operations: String = csv
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                format!(
                    "{{\"process\":{},\"f\":\"{}\",\"value\":{},\"call\":{},\"return\":{}}}\n",
                    cells[0], cells[1], cells[2], cells[3], cells[4]
                )
            })
            .collect();
        let texts = [
            ("a.edn", edn.clone()),
            ("b.edn", format!("[{edn}]")),
            ("c.json", format!("[{}]", json.join(",\n"))),
            ("d.json", json.join("\n")),
            ("e.txt", table),
            ("f.log", log),
            ("g.csv", csv),
            ("h.jsonl", operations),
        ];
        for (name, text) in texts {
            let file = place.file(name, text);
            let file = file.to_str().unwrap();
            place.schism(&["check", file]).exits(exits);
            for to in ["jsonl", "edn"] {
                let converted = place.path().join(format!("{name}.{to}"));
                let converted = converted.to_str().unwrap();
                place
                    .schism(&["convert", file, "--to", to, "--output", converted])
                    .exits(0);
                place.schism(&["check", converted]).exits(exits);
            }
        }
    }
}
