//! What readers say of files that were damaged: a history, or what is wrong, and never more than a
//! budget.

use proptest::prelude::*;

use super::*;
use crate::{Budget, Exhausted};

pub const EDN: &str = "; recorded by hand
[{:process 0, :type :invoke, :f :write, :value 3, :time 10, :index 0}
 #jepsen.history.Op{:process :nemesis, :type :info, :f :start, :value nil, :time 11, :index 1}
 {:process 1, :type :invoke, :f :cas, :value [3 4], :time 11, :index 2, :due 9}
 {:process 0, :type :ok, :f :write, :value 3, :time 15, :index 3, :node \"n1\"}
 {:process 1, :type :info, :f :cas, :value [3 4], :error [:net \"lost\"], :time 20, :index 4}]
";
pub const LOG: &str = "INFO  jepsen.util - 0\t:invoke\t:write\t3
WARN  something else
INFO  jepsen.util - 1\t:invoke\t:cas\t[3 4]
INFO  jepsen.util - 0\t:ok\t:write\t3
INFO  jepsen.util - 1\t:info\t:cas\t:timed-out
";
pub const CSV: &str = "process,f,key,value,call,return
0,write,x,3,10,15
1,cas,x,[3, 4],11,
0,read,x,4,15,17
2,read,y,\"a \"\"word\"\"\",16,18
";
pub const OPERATIONS: &str = "{\"f\":\"write\",\"input\":3,\"call\":10,\"return\":15}
{\"f\":\"read\",\"output\":3,\"call\":15,\"return\":17,\"status\":\"fail\"}
";

const JSONL: &str = r#"{"schism":"history","version":1,"began_ns":5}
{"index":0,"time":10,"process":0,"type":"invoke","f":"write","value":[3,17],"node":"n1"}
{"index":1,"time":11,"process":"nemesis","type":"info","f":"kill","value":{"targets":["n1"]}}
{"index":2,"time":11,"process":1,"type":"invoke","f":"read","value":[3,null],"due":9}
{"index":3,"time":15,"process":0,"type":"ok","f":"write","value":[3,17]}
{"index":4,"time":20,"process":1,"type":"ok","f":"read","value":[3,17],"version":[1,2]}
"#;

const EVENTS: &str = r#"[{"process":0,"type":"invoke","f":"write","value":[7,1],"time":1},
{"process":"c1","type":"invoke","f":"read","value":[7,null],"time":1},
{"process":0,"type":"ok","f":"write","value":[7,1]},
{"process":"c1","type":"ok","f":"read","value":[7,1],"time":0,"error":"none"}]
"#;
const POLYSI: &str = "w(0,1,0,0)\nr(0,1,0,1)\nw(0,2,1,2)\nr(0,2,1,2)\nr(1,0,2,3)\nw(1,-9,2,3)\n";
const DBCOP: &str = r#"{"params":{"n_node":2},"data":[
[{"events":[{"write":true,"variable":0,"value":1,"success":true}],"success":true}],
[{"events":[{"Write":{"variable":1,"version":2}}],"committed":false},
 {"events":[{"Read":{"variable":0,"version":1}}],"committed":true}]]}
"#;

/// Damage by bytes: one is replaced, put in or removed, or the text ends.
fn bytes_damaged(text: &mut Vec<u8>, what: u8, place: usize, with: usize) {
    let alphabet = b"{}[]()\":;,#_^\\'-019. \n\txnil\xc3\xa9";
    let at = place % text.len();
    match what {
        0 => text[at] = alphabet[with % alphabet.len()],
        1 => text.insert(at, alphabet[with % alphabet.len()]),
        2 => text.truncate(at.max(1)),
        _ => drop(text.remove(at)),
    }
    if text.is_empty() {
        text.push(b'[');
    }
}

/// Damage by lines, which leaves each of them whole: what is recorded twice, out of order or not
/// at all, and numbers and texts that are larger than they should be.
fn lines_damaged(text: &[u8], what: u8, place: usize, with: usize) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = text
        .split_inclusive(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let (a, b) = (place % lines.len(), with % lines.len());
    let insert = |line: &mut Vec<u8>, at: usize, text: &[u8]| {
        let at = at % line.len();
        line.splice(at..at, text.iter().copied());
    };
    match what {
        // Two operations at once, or two answers to one.
        0 => lines.insert(b, lines[a].clone()),
        // Answers before questions, and time that goes backwards.
        1 => lines.swap(a, b),
        // An answer or a question without the other.
        2 => drop(lines.remove(a)),
        // A number that fits into no 64 bits, wherever there is a digit.
        3 => {
            let digits: Vec<usize> = (0..lines[a].len())
                .filter(|at| lines[a][*at].is_ascii_digit())
                .collect();
            if let Some(at) = digits.get(with % digits.len().max(1)) {
                let many = [18, 19, 20, 400][with % 4];
                insert(&mut lines[a], *at, "9".repeat(many).as_bytes());
            }
        }
        // Nesting without end, and one long line.
        4 => insert(&mut lines[a], with, &b"[{(".repeat(1 + with % 300)),
        _ => insert(&mut lines[a], with, "long ".repeat(16_000).as_bytes()),
    }
    lines.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]
    #[test]
    fn no_text_makes_a_reader_panic(
        which in 0..8usize,
        as_format in 0..Format::ALL.len(),
        edits in prop::collection::vec((any::<bool>(), 0..6u8, any::<usize>(), any::<usize>()), 0..5),
        memory_bytes in 0..400_000u64,
    ) {
        let mut text = [EDN, LOG, CSV, OPERATIONS, JSONL, EVENTS, POLYSI, DBCOP][which].as_bytes().to_vec();
        for (bytes, what, place, with) in edits {
            match bytes {
                true => bytes_damaged(&mut text, what % 4, place, with),
                false => text = lines_damaged(&text, what, place, with),
            }
            if text.is_empty() {
                text.push(b'\n');
            }
        }
        for format in [Format::ALL[as_format], Format::sniff(&text).unwrap_or(Format::Edn)] {
            let found = read(format, &text[..]).map_err(|e| e.to_string());
            if let Ok(loaded) = &found {
                // What was read is a history, and goes through the stored form unchanged.
                let mut stored = Vec::new();
                jsonl::write(&mut stored, &loaded.history).unwrap();
                prop_assert_eq!(&jsonl::read(&stored[..]).unwrap().history, &loaded.history);
            }
            // A budget ends the reading, and changes nothing else.
            let budget = Budget { memory_bytes, ..Budget::default() };
            match read_within(format, &text[..], &budget.start()) {
                Err(ReadError::Exhausted { why, .. }) => {
                    prop_assert_eq!(why, Exhausted::Memory);
                }
                Err(e) => prop_assert_eq!(Err(e.to_string()), found.map(drop)),
                Ok(loaded) => prop_assert_eq!(Ok(loaded.history), found.map(|f| f.history)),
            }
        }
    }
}
