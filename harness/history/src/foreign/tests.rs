use super::damage::{CSV, EDN, LOG, OPERATIONS};
use super::*;
use crate::jsonl::Torn;
use crate::{Event, History, Op, Outcome, Process, Time, Value};
use proptest::prelude::*;

fn load(format: Format, text: &str) -> Result<Loaded, String> {
    read(format, text.as_bytes()).map_err(|e| e.to_string())
}

/// `f input -> output, outcome, call..ret`
fn shown(history: &History) -> Vec<String> {
    let one = |op: &Op| {
        let ret = if op.ret == Time::MAX {
            String::new()
        } else {
            op.ret.0.to_string()
        };
        let (f, input, output) = (&op.f, &op.input, &op.output);
        format!(
            "{f} {input} -> {output}, {:?}, {}..{ret}",
            op.outcome, op.call.0
        )
    };
    history.ops().iter().map(one).collect()
}

#[test]
fn each_format_is_recognised_and_read() {
    for (format, text, ops) in [
        (
            Format::Edn,
            EDN,
            &["write 3 -> 3, Ok, 10..15", "cas [3 4] -> nil, Info, 12.."][..],
        ),
        (
            Format::Log,
            LOG,
            &["write 3 -> 3, Ok, 0..2", "cas [3 4] -> nil, Info, 1.."],
        ),
        (
            Format::Csv,
            CSV,
            &[
                "write [\"x\" 3] -> [\"x\" 3], Ok, 10..15",
                "cas [\"x\" [3 4]] -> nil, Info, 11..",
                "read [\"x\" nil] -> [\"x\" 4], Ok, 15..17",
                "read [\"y\" nil] -> [\"y\" \"a \\\"word\\\"\"], Ok, 16..18",
            ],
        ),
        (
            Format::Operations,
            OPERATIONS,
            &["write 3 -> 3, Ok, 10..15", "read nil -> nil, Fail, 15..17"],
        ),
        (
            Format::Edn,
            "{:index 0 :type :invoke :value [[:r 1 nil]]}",
            &["txn [[\"r\" 1 nil]] -> nil, Info, 0.."],
        ),
        (Format::Edn, "()", &[]),
    ] {
        assert_eq!(Format::sniff(text.as_bytes()), Some(format), "{text}");
        let loaded = load(format, text).unwrap();
        assert_eq!(shown(&loaded.history), ops);
    }
    assert_eq!(
        Format::sniff(b"{\"schism\":\"history\""),
        Some(Format::Jsonl)
    );
    // A line of a log stands in a text, and the file is none.
    for text in [
        "{:type :ok, :f :write, :value \"INFO - 1 :ok :write 2\", :process 0}",
        "[{:type :ok, :f :write, :value \"INFO - 1 :ok :write 2\", :process 0}]",
        "#jepsen.history.Op{:type :ok, :f :write, :value \"INFO - 1 :ok :write 2\"}",
    ] {
        assert_eq!(Format::sniff(text.as_bytes()), Some(Format::Edn), "{text}");
    }
    assert_eq!(Format::sniff(b""), None);
    assert_eq!(Format::sniff(b"\x7fELF"), None);
}

#[test]
#[rustfmt::skip]
fn what_is_wrong_is_said_with_its_place() {
    for (format, text, said) in [
        (Format::Edn, "[{:type :invoke :f :r}\n{:type :ok :f :w}]", "line 2, column 1: event 1: process 0 completes w, but its open operation 0 is r"),
        (Format::Edn, "{:type :invoke, :process 0, :f :read}\n{:type :invoke, :process 0, :f :read}",
            "line 2, column 1: event 1: process 0 invokes read while its operation 0 is still open"),
        (Format::Edn, "[{:type :begin}]", "line 1, column 2: \"begin\" is not :invoke, :ok, :fail or :info"),
        (Format::Edn, "{:type :invoke :value 99999999999999999999}", "line 1, column 23: integer 99999999999999999999 does not fit in 64 signed bits"),
        (Format::Edn, "[1 2]", "line 1, column 2: expected an event, {:process ...}, not 1"),
        (Format::Edn, "[] {:type :ok}", "line 1, column 4: expected nothing after the history"),
        (Format::Log, "I - 1 :ok", "line 1, column 10: expected a function, such as :read"),
        (Format::Log, "INFO [10:15] jepsen.core Running test\nINFO [10:16] jepsen.core Done",
            "line 1, column 1: no line of this log is an event, such as `INFO  jepsen.util - 4 :invoke :read nil`"),
        (Format::Events, "[{\"type\":\"invoke\",\"value\":18446744073709551616}]", "line 1, column 27: integer 18446744073709551616 does not fit in 64 signed bits"),
        (Format::Polysi, "w(1,2,0,0)\nw(1,2)", "line 2, column 1: expected r(key,value,session,transaction) or w(...)"),
        (Format::Dbcop, "{\"data\":[[{\"events\":[{\"Scan\":1}]}]]}", "line 1, column 1: session 0, transaction 0: {\"Scan\" 1} is not a read or write of a variable"),
        (Format::Log, "I - 1 :ok :read [", "line 1, column 17: this is never closed"),
        (Format::Csv, "f,call\nread,x", "line 2, column 1: call: \"x\" is not a time: an integer from 0"),
        (Format::Csv, "f,colour\n", "line 1, column 1: no column \"colour\": an operation has process, f, key, input, output, value, call, return and status"),
        (Format::Csv, "f,call\nread", "line 2, column 1: expected 2 columns, found 1"),
        (Format::Csv, "f,call\nread,1,2,3", "line 2, column 1: expected 2 columns, found more"),
        (Format::Csv, "f,call,f\n", "line 1, column 1: two columns \"f\""),
        (Format::Edn, "\u{feff}[{:type :oh}]", "line 1, column 2: \"oh\" is not :invoke, :ok, :fail or :info"),
        (Format::Csv, "f,call\n\"read,1", "line 2, column 1: this quote is never closed"),
        (Format::Csv, "process,f,call,return\n1,read,1,5\n1,read,4,7", "line 3, column 1: its process has another operation open, of line 2"),
        (Format::Csv, "f,call,return\nread,3,2", "line 2, column 1: it returns before it is called"),
        (Format::Operations, "{\"f\":1}", "line 1, column 1: f: expected a name, not 1"),
        (Format::Operations, "\n{\"f\":", "line 2, column 6: the text ends where a value was expected"),
    ] {
        assert_eq!(load(format, text).map(|l| shown(&l.history)), Err(said.to_string()), "{text}");
    }
    let bytes = b"{:type :invoke}\n \xff";
    let said = read(Format::Edn, &bytes[..]).unwrap_err().to_string();
    assert_eq!(said, "line 2, column 2: expected UTF-8");
}

/// What is an event, an operation or a transaction of anybody's.
#[test]
fn everybody_writes_it_otherwise() {
    for (format, text, ops) in [
        (
            Format::Events,
            "[{\"index\":0,\"type\":\"invoke\",\"f\":\"read\",\"value\":null,\"process\":0},\n{\"type\":\"ok\",\"f\":\"read\",\"value\":[1,\"\\ud83d\\ude00\"],\"process\":0}]",
            &["read nil -> [1 \"😀\"], Ok, 0..1"][..],
        ),
        (
            Format::Events,
            "{\"process\":\"p\",\"type\":\":invoke\",\"f\":\":w\",\"value\":1}\n{\"process\":\"p\",\"type\":\"ok\",\"f\":\":w\",\"value\":1}\n",
            &[":w 1 -> 1, Ok, 0..1"],
        ),
        (
            Format::Log,
            "2023-02-22 17:37:12,345{GMT}\tINFO\t[jepsen test runner] jepsen.core: Running:\n{:concurrency 5}\n\
             2023-02-22 17:37:12,345{GMT}\tINFO\t[jepsen worker 4] jepsen.util: 4\t:invoke\t:read\tnil\n\
             2023-02-22 17:37:12,346{GMT}\tINFO\t[jepsen worker 4] jepsen.util: 4\t:ok\t:read\t[1 nil]\n",
            &["read nil -> [1 nil], Ok, 0..1"],
        ),
        (
            Format::Log,
            "INFO [2021-04-13 23:32:28,000] jepsen test runner - jepsen.core Running test:\n\
             INFO [2021-04-13 23:32:29,761] jepsen worker 0 - jepsen.print 0\t:invoke\t:write\t1\n\
             INFO [2021-04-13 23:32:29,762] jepsen worker 0 - jepsen.print 0\t:info\t:write\t1\t:timeout\n",
            &["write 1 -> nil, Info, 0.."],
        ),
        (
            Format::Log,
            "0\t:invoke\t:write\t1\n0\t:fail\t:write\t1\tgone: {(\n:nemesis\t:info\t:start\tnil\n",
            &["write 1 -> nil, Fail, 0..1"],
        ),
        // Cut off, and with what no 64 bits hold, patterns, namespaces and numbers of any kind.
        (
            Format::Edn,
            "[{:type :invoke :f :w :value 1 :time 1.5 :debug {:id 18446744073709551615 :r #\"a\\\"b\" :m #:n{:a 1}}}\n{:type :ok",
            &["w 1 -> nil, Info, 0.."],
        ),
        (
            Format::Edn,
            "{:type :invoke :f :write :value [[:write 0 1] [:read 1 nil]]}\n{:type :ok :f :write :value [[:write 0 1] [:read 1 nil]]}",
            &["txn [[\"w\" 0 1] [\"r\" 1 nil]] -> [[\"w\" 0 1] [\"r\" 1 nil]], Ok, 0..1"],
        ),
        (
            Format::Polysi,
            "w(1,5,0,0)\nr(2,0,0,0)\nr(1,5,1,1)\n",
            &[
                "txn [[\"w\" 1 5] [\"r\" 2 nil]] -> [[\"w\" 1 5] [\"r\" 2 nil]], Ok, 0..0",
                "txn [[\"r\" 1 5]] -> [[\"r\" 1 5]], Ok, 0..0",
            ],
        ),
        (
            Format::Dbcop,
            "{\"params\":{\"id\":0},\"info\":\"\",\"data\":[[{\"events\":[{\"Write\":{\"variable\":3,\"version\":1}}],\"committed\":true}],\
             [{\"events\":[{\"Read\":{\"variable\":3,\"version\":null}}],\"committed\":false}]]}",
            &[
                "txn [[\"w\" 3 1]] -> [[\"w\" 3 1]], Ok, 0..0",
                "txn [[\"r\" 3 nil]] -> nil, Fail, 0..0",
            ],
        ),
        (
            Format::Dbcop,
            "{\"data\":[[{\"events\":[{\"write\":true,\"variable\":3,\"value\":1,\"success\":true},\
             {\"write\":false,\"variable\":4,\"value\":0,\"success\":true}],\"success\":true}]]}",
            &["txn [[\"w\" 3 1] [\"r\" 4 nil]] -> [[\"w\" 3 1] [\"r\" 4 nil]], Ok, 0..0"],
        ),
    ] {
        assert_eq!(Format::sniff(text.as_bytes()), Some(format), "{text}");
        assert_eq!(shown(&load(format, text).unwrap().history), ops, "{text}");
    }
}

#[test]
fn the_place_of_an_event_is_its_order() {
    let text = "{:process 0 :type :invoke :f :w :time 50}\n{:process 0 :type :ok :f :w :time 30}\n\
                {:process 1 :type :invoke :f :r :time 50}\n{:process 1 :type :ok :f :r :time 50}\n";
    let loaded = load(Format::Edn, text).unwrap();
    let times: Vec<Time> = loaded.history.columns().times().collect();
    assert_eq!(times, [50, 51, 52, 53].map(Time));
    assert_eq!(
        loaded.notes,
        [
            "of 4 events of 1 the time is before that of an earlier event, by at most 20, and 2 have the time of \
             the event before: the place in the file is the order, and these times were raised to it"
        ]
    );
}

#[test]
fn a_process_may_be_anything_and_only_the_nemesis_is_the_nemesis() {
    let text = "{:process :p1 :type :invoke :f :w}\n{:process 7 :type :invoke :f :w}\n\
                {:process \"admin\" :type :invoke :f :w}\n{:process -1 :type :invoke :f :w}\n\
                {:process :nemesis :type :info :f :start}\n{:process :p1 :type :ok :f :w}\n";
    let loaded = load(Format::Edn, text).unwrap();
    let of = |event: &Event| event.process;
    let processes: Vec<Process> = loaded.history.events().iter().map(of).collect();
    let [p1, seven, admin, negative] = [8, 7, 9, 10].map(Process::Client);
    assert_eq!(
        processes,
        [p1, seven, admin, negative, Process::Nemesis, p1]
    );
    assert_eq!(
        loaded.notes,
        ["processes that are no numbers have numbers here: p1 is 8, admin is 9, -1 is 10"]
    );
}

/// Elle's own examples: each overlaps all of other processes, and follows its own process's last.
#[test]
fn what_nothing_invoked_overlaps_everything() {
    let text = "{:process 0 :type :ok :value [[:append 1 1]]}\n{:process 1 :type :ok :value [[:r 1 nil]]}\n\
                {:process 0 :type :ok :value [[:append 1 2]]}\n";
    let loaded = load(Format::Edn, text).unwrap();
    assert_eq!(
        shown(&loaded.history),
        [
            "txn [[\"append\" 1 1]] -> [[\"append\" 1 1]], Ok, 0..0",
            "txn [[\"r\" 1 nil]] -> [[\"r\" 1 nil]], Ok, 0..0",
            "txn [[\"append\" 1 2]] -> [[\"append\" 1 2]], Ok, 0..0",
        ]
    );
    assert_eq!(
        loaded.notes,
        ["3 operations have no invocation: each overlaps all operations of other processes"]
    );
    let of_nobody = load(
        Format::Edn,
        &text.replace(":process 0", "").replace(":process 1", ""),
    );
    let ops = of_nobody.unwrap().history.ops().to_vec();
    let processes: Vec<Process> = ops.iter().map(|op| op.process).collect();
    assert_eq!(processes, [0, 1, 2].map(Process::Client));
    let text = "{:process 1 :type :invoke :f :w :value 1}\n{:process 0 :type :ok :f :w :value 2}\n\
                {:process 1 :type :ok :f :w :value 1}\n{:process 1 :type :ok :f :w :value 3}\n";
    let loaded = load(Format::Edn, text).unwrap();
    assert_eq!(
        shown(&loaded.history),
        [
            "w 2 -> 2, Ok, 0..2",
            "w 1 -> 1, Ok, 1..3",
            "w 3 -> 3, Ok, 4..5"
        ]
    );
}

/// At one time calls stand first and returns last, so that what touches overlaps; but a client's
/// operations follow each other.
#[test]
fn operations_that_touch_overlap_but_for_a_clients_own() {
    let text =
        "process,f,value,call,return\n0,write,1,1,2\n0,write,2,2,3\n1,read,1,3,4\nx,read,2,2,2\n";
    let history = load(Format::Csv, text).unwrap().history;
    let events: Vec<String> = history
        .events()
        .iter()
        .map(|e| format!("{} {} {:?}", e.time.0, e.process, e.kind))
        .collect();
    assert_eq!(
        events,
        [
            "1 0 Invoke",
            "2 2 Invoke",
            "2 0 Ok",
            "2 0 Invoke",
            "2 2 Ok",
            "3 1 Invoke",
            "3 0 Ok",
            "4 1 Ok"
        ]
    );
    let mut stored = Vec::new();
    jsonl::write(&mut stored, &history).unwrap();
    assert!(
        stored.starts_with(b"{\"schism\":\"history\",\"version\":1,\"equal_times\":\"overlap\"}\n")
    );
    assert_eq!(jsonl::read(&stored[..]).unwrap().history, history);
}

#[test]
fn a_torn_last_event_is_dropped() {
    let text = "{:type :invoke, :process 0, :f :read}\n{:type :ok, :proc";
    let loaded = load(Format::Edn, text).unwrap();
    assert_eq!(loaded.torn, Some(Torn { line: 2, bytes: 17 }));
    assert_eq!(loaded.history.ops()[0].outcome, Outcome::Info);
}

#[test]
fn a_lost_operation_retires_its_process() {
    let text = "process,f,value,call,return\n0,write,1,0,\n0,read,1,5,6\n0,read,1,6,6\n";
    let history = load(Format::Csv, text).unwrap().history;
    let processes: Vec<Process> = history.ops().iter().map(|op| op.process).collect();
    assert_eq!(
        processes,
        [Process::Client(0), Process::Client(1), Process::Client(1)]
    );
}

/// Two sessions without times: each has an order of its own, and none with the other.
#[test]
fn an_order_that_nobody_told_is_not_written() {
    let csv = |rows: &str| {
        let text = format!("process,f,value,call,return\n{rows}");
        load(Format::Csv, &text).unwrap().history
    };
    let edn = |history: &History| {
        let mut out = Vec::new();
        let written = write_edn(history, &mut out);
        written.map(|()| {
            load(Format::Edn, &String::from_utf8(out).unwrap())
                .unwrap()
                .history
        })
    };
    // One operation each: an order of the events says that they overlap.
    let told = csv("0,write,1,0,10\n1,read,1,10,20\n");
    let again = edn(&told).unwrap();
    assert!(again.ops()[1].call < again.ops()[0].ret);
    let sessions = csv("0,write,1,0,0\n0,write,2,0,0\n1,read,1,0,0\n1,read,2,0,0\n");
    let refused = edn(&sessions).unwrap_err().to_string();
    assert!(
        refused.contains("overlap, for their times are equal"),
        "{refused}"
    );
    // One session alone is in order.
    assert!(edn(&csv("0,write,1,0,0\n0,write,2,0,0\n")).is_ok());
}

#[test]
fn edn_goes_there_and_back() {
    let history = load(Format::Edn, EDN).unwrap().history;
    let mut out = Vec::new();
    write_edn(&history, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(history.ops()[1].due, Some(Time(9)));
    assert!(
        text.starts_with("{:type :invoke, :f :write, :value 3, :process 0, :time 10, :index 0}\n")
    );
    assert_eq!(load(Format::Edn, &text).unwrap().history, history);
}

#[test]
fn of_several_processes_that_are_wrong_the_first_is_named() {
    let wrong = |process| format!("{process},w,1,3\n{process},w,2,4\n");
    let text: String = (0..20).rev().map(wrong).collect();
    let said = load(Format::Csv, &format!("process,f,call,return\n{text}")).unwrap_err();
    assert_eq!(
        said,
        "line 41, column 1: its process has another operation open, of line 40"
    );
}

/// What can be read can be stored and converted: the parser of the stored form has a limit of its
/// own, and in the others a key and its value are one form, which is a level deeper than they are.
#[test]
fn nesting_ends_where_it_could_not_be_stored_or_converted() {
    let event = "{\"index\":0,\"time\":1,\"process\":0,\"type\":\"invoke\",\"f\":\"w\",";
    let native = format!("{{\"schism\":\"history\",\"version\":1}}\n{event}\"value\":");
    let versioned = format!("{{\"schism\":\"history\",\"version\":1}}\n{event}\"version\":");
    for (format, before, after, most) in [
        (Format::Edn, "{:type :invoke :f :w :value ", "}", 125),
        (Format::Edn, "{:type :invoke :f :w :key 1 :value ", "}", 124),
        (Format::Edn, "{:type :invoke :f :w :value 1 :key ", "}", 124),
        (Format::Edn, "{:type :invoke :f :w :version ", "}", 125),
        (Format::Log, "I - 1 :invoke :w ", "", 125),
        (Format::Csv, "f,key,call,value\nw,1,1,", "", 124),
        (
            Format::Operations,
            "{\"f\":\"w\",\"key\":1,\"call\":1,\"input\":",
            "}",
            124,
        ),
        (Format::Jsonl, native.as_str(), "}\n", 125),
        (Format::Jsonl, versioned.as_str(), "}\n", 125),
    ] {
        let nested = |levels: usize| {
            let text = format!(
                "{before}{}{}{after}",
                "[".repeat(levels),
                "]".repeat(levels)
            );
            load(format, &text)
        };
        let found = (1..200).take_while(|levels| nested(*levels).is_ok()).last();
        assert_eq!(found, Some(most), "{before}");
        let said = nested(most + 1).unwrap_err();
        assert!(said.contains("nested more than 124 deep"), "{said}");
        let history = nested(most).unwrap().history;
        let mut stored = Vec::new();
        jsonl::write(&mut stored, &history).unwrap();
        assert_eq!(jsonl::read(&stored[..]).unwrap().history, history);
        let mut written = Vec::new();
        write_edn(&history, &mut written).unwrap();
        let again = load(Format::Edn, std::str::from_utf8(&written).unwrap()).unwrap();
        assert_eq!(again.history, history, "{before}");
    }
}

#[test]
fn any_name_is_written_so_that_it_is_read() {
    for name in [
        "",
        "a b",
        ":a",
        "\"",
        "{",
        "1",
        "é",
        "nil",
        "true",
        "a\n",
        "delete-min",
    ] {
        let event = Event {
            index: 0,
            time: Time(0),
            process: Process::Client(0),
            kind: Kind::Invoke,
            f: name.into(),
            value: Value::Nil,
            error: None,
            node: None,
            version: None,
            due: None,
        };
        let history = History::new(vec![event]).unwrap();
        let mut out = Vec::new();
        write_edn(&history, &mut out).unwrap();
        assert_eq!(
            read(Format::Edn, &out[..]).unwrap().history,
            history,
            "{name:?}"
        );
    }
}

/// What each operation is, and which precede which by their places.
fn meant(history: &History) -> Vec<String> {
    let one = |op: &Op| {
        let (process, f, input, output) = (op.process, &op.f, &op.input, &op.output);
        format!(
            "{process} {f} {input} {output} {:?} {}..{:?}",
            op.outcome, op.index, op.completion
        )
    };
    history.ops().iter().map(one).collect()
}

proptest! {
       #![proptest_config(ProptestConfig::with_cases(200))]
       /// The same events through every format that can say them are the same operations.
       #[test]
       fn every_format_of_events_tells_the_same(
           steps in prop::collection::vec((0..4u64, 0..3u8, 0..3u8, -2..3i64, 0..3u64), 0..30),
       ) {
           let mut open: [Option<(&str, Value)>; 4] = Default::default();
           let (mut events, mut time) = (Vec::new(), 0);
           for (process, what, how, n, later) in steps {
               time += later;
               let value = match what {
                   0 => Value::Int(n),
                   1 => Value::pair(n, Value::Nil),
                   _ => Value::List(vec![Value::Int(n), Value::text("a b"), Value::Bool(true)]),
               };
               let slot = &mut open[process as usize];
               let (kind, (f, value)) = match slot.take() {
                   None => {
                       let asked = (["read", "write", "delete-min"][how as usize], value);
                       *slot = Some(asked.clone());
                       (Kind::Invoke, asked)
                   }
                   Some((f, _)) => ([Kind::Ok, Kind::Fail, Kind::Info][how as usize], (f, value)),
               };
               events.push(Event {
                   index: events.len() as u64,
                   time: Time(time),
                   process: Process::Client(process),
                   kind,
                   f: f.into(),
                   value,
                   error: None,
                   node: None,
                   version: None,
due: None,
               });
           }
           let history = History::new(events).unwrap();
           let (mut edn, mut table) = (Vec::new(), String::new());
           let as_edn = write_edn(&history, &mut edn);
           let mut json = Vec::new();
           for event in history.events() {
               jsonl::write_event(&mut json, event).unwrap();
               let mut value = String::new();
               crate::edn::write(&event.value, &[], &mut value);
               let kind = format!("{:?}", event.kind).to_lowercase();
               table += &format!("{}\t:{kind}\t:{}\t{value}\n", event.process, event.f);
           }
           let array = String::from_utf8(json.clone()).unwrap().trim().replace('\n', ",");
           let log = table.lines().map(|line| format!("INFO  jepsen.util - {line}\n"));
           // By the history's times they may overlap where the places of EDN would order them.
           let edn = if as_edn.is_ok() { edn } else { json.clone() };
           let texts = [
               (if as_edn.is_ok() { Format::Edn } else { Format::Events }, edn),
               (Format::Events, json),
               (Format::Events, format!("[{array}]").into_bytes()),
               (Format::Log, log.collect::<String>().into_bytes()),
               (Format::Log, table.into_bytes()),
           ];
           let mut stored = Vec::new();
           for (format, text) in texts {
               let read = read(format, &text[..]).unwrap().history;
               prop_assert_eq!(meant(&read), meant(&history), "{:?}", format);
               // The places are the order, whatever the stamps' grain, and stay so in the stored
               // form.
               let times: Vec<Time> = read.columns().times().collect();
               prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
               stored.clear();
               jsonl::write(&mut stored, &read).unwrap();
               prop_assert_eq!(&jsonl::read(&stored[..]).unwrap().history, &read);
           }
       }
   }

/// Nineteen digits: as many as a clock shows, and the most that there are.
#[test]
fn nanoseconds_since_1970_are_times() {
    let (begins, ends) = (1_764_459_000_000_000_000, i64::MAX as u64);
    let edn = format!(
        "{{:type :invoke, :f :write, :value 1, :process 0, :time {begins}}}\n\
         {{:type :ok, :f :write, :value 1, :process 0, :time {ends}}}"
    );
    let json = format!(
        "[{{\"type\":\"invoke\",\"f\":\"write\",\"value\":1,\"process\":0,\"time\":{begins}}},\
         {{\"type\":\"ok\",\"f\":\"write\",\"value\":1,\"process\":0,\"time\":{ends}}}]"
    );
    for (format, text) in [(Format::Edn, edn), (Format::Events, json)] {
        let history = load(format, &text).unwrap().history;
        let times: Vec<u64> = history.events().iter().map(|event| event.time.0).collect();
        assert_eq!(times, [begins, ends], "{text}");
    }
    // Beyond that it tells no time; the place does.
    let late = format!("{{:type :invoke, :f :write, :value 1, :time {}}}", ends + 1);
    let history = load(Format::Edn, &late).unwrap().history;
    assert_eq!(history.events()[0].time.0, 0);
}
