use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use checkers::{Budget, Verdict};
use harness::generator::{Combine, sim};
use history::{Event, History, Kind, Process, Time};

use super::*;

const SCRIPT: &str = "fn init() { 3 }
fn key(f, value) { value[0] }
fn step(left, f, value, output) {
    switch f {
        \"take\" => if left >= value[1] { left - value[1] },
        \"tag\" => left,
        \"look\" => if is_unknown(output) || output[1] == left { left },
    }
}
";

const TAKES: &str = "about = \"takes some\"
model = \"shelf.rhai\"

[[operation]]
f = \"take\"
from = 1
to = 2
weight = 3

[[operation]]
f = \"tag\"
unique = true

[[operation]]
f = \"look\"
value = { how = \"closely\" }
reads = true
";

/// A folder with a workload and its script.
fn folder(workload: &str, script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("takes.toml"), workload).unwrap();
    std::fs::write(folder.path().join("shelf.rhai"), script).unwrap();
    folder
}

fn found(workload: &str, script: &str) -> Result<&'static Own, String> {
    let folder = folder(workload, script);
    let found = find(folder.path(), "takes").map_err(|e| {
        let name = PathBuf::from(e.path.file_name().unwrap());
        FolderError { path: name, ..e }.to_string()
    });
    found.map(|own| own.expect("it is there"))
}

#[test]
fn operations_are_drawn_by_weight_with_values_of_their_kind() {
    let own = found(TAKES, SCRIPT).unwrap();
    assert_eq!((own.name(), own.about()), ("takes", "takes some"));
    let params = Params::resolve(&own.params(), [("keys", "3"), ("ops-per-key", "100")]).unwrap();
    let Load { main, mut closing } = own.load(&params);
    let mut asked: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut keys = Vec::new();
    sim::simulate(main.limit(1_000), 5, |event| {
        let (key, value) = event.value.as_pair().unwrap();
        keys.push(key.clone());
        let of = asked.entry(event.f.to_string()).or_default();
        of.push(value.clone());
        (Duration::from_millis(1), Kind::Ok)
    });
    let (takes, tags, looks) = (&asked["take"], &asked["tag"], &asked["look"]);
    assert!((500..700).contains(&takes.len()), "{}", takes.len());
    assert!((150..250).contains(&tags.len()), "{}", tags.len());
    assert!(takes.iter().all(|n| [1, 2].map(Value::Int).contains(n)));
    assert!(takes.contains(&1.into()) && takes.contains(&2.into()));
    let closely = Value::Map(vec![("how".into(), "closely".into())]);
    assert!(looks.iter().all(|value| *value == closely));
    let mut once = tags.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), tags.len());
    keys.sort();
    keys.dedup();
    assert!(keys.len() > 8, "keys are replaced: {}", keys.len());

    // At the end something is changed, and every key that was used is looked at.
    let last = (closing.write)().unwrap();
    assert_eq!(last.f.as_str(), "take");
    let mut looked: Vec<Value> = (closing.reads)()
        .iter()
        .map(|read| {
            assert_eq!(read.f.as_str(), "look");
            read.value.as_pair().unwrap().0.clone()
        })
        .collect();
    looked.sort();
    assert_eq!(looked, keys);
}

#[test]
fn roles_and_judge_are_as_the_files_say() {
    let own = found(TAKES, SCRIPT).unwrap();
    let roles = own.roles();
    assert_eq!(roles("take", &Value::pair(7, 1)), Role::writes(7));
    assert_eq!(roles("look", &Value::pair(7, Value::Nil)), Role::reads(7));
    let params = Params::resolve(&own.params(), []).unwrap();
    let [judge] = &own.checkers(&params)[..] else {
        panic!("one judge");
    };
    let history = |left: i64| {
        let mut events = Vec::new();
        for (f, asked, answer) in [
            ("take", 2.into(), Value::Nil),
            ("look", Value::Nil, left.into()),
        ] {
            for (kind, value) in [(Kind::Invoke, asked), (Kind::Ok, answer)] {
                let index = events.len() as u64;
                events.push(Event {
                    index,
                    time: Time(index),
                    process: Process::Client(0),
                    kind,
                    f: f.into(),
                    value: Value::pair(7, value),
                    error: None,
                    node: None,
                    version: None,
                    due: None,
                });
            }
        }
        History::new(events).unwrap()
    };
    let verdict = |left| judge.check(&history(left), &Budget::default()).verdict;
    assert_eq!(verdict(1), Verdict::Valid);
    assert_eq!(verdict(2), Verdict::Invalid);
}

/// A run keeps the texts, and needs neither file then.
#[test]
fn it_is_made_again_from_its_texts() {
    let own = found(TAKES, SCRIPT).unwrap();
    let texts = own.texts().unwrap();
    assert!(std::ptr::eq(again(texts).unwrap(), own));
    let other = Texts {
        script: SCRIPT.replace("{ 3 }", "{ 4 }"),
        ..texts.clone()
    };
    assert!(!std::ptr::eq(again(&other).unwrap(), own));
    let broken = Texts {
        workload: "about = 3".into(),
        ..texts.clone()
    };
    assert!(again(&broken).is_err());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (workload, script, said) in [
        (
            TAKES.replace("weight", "wieght"),
            SCRIPT.into(),
            "takes.toml:8:1: unknown field `wieght`",
        ),
        (
            TAKES.replace("shelf.rhai", "../shelf.rhai"),
            SCRIPT.into(),
            "takes.toml:2:9: \"../shelf.rhai\" is no script",
        ),
        (
            TAKES.replace("shelf.rhai", "other.rhai"),
            SCRIPT.into(),
            "takes.toml:2:9: other.rhai: ",
        ),
        (
            TAKES.replace("weight = 3", "weight = 0"),
            SCRIPT.into(),
            "takes.toml:4:1: take has weight 0",
        ),
        (
            TAKES.replace("to = 2\n", ""),
            SCRIPT.into(),
            "takes.toml:4:1: take is invoked with one of these",
        ),
        (
            TAKES.replace("from = 1", "from = 5"),
            SCRIPT.into(),
            "takes.toml:4:1: take is invoked with one of these",
        ),
        (
            TAKES.replace("\"tag\"", "\"take\""),
            SCRIPT.into(),
            "takes.toml:11:5: a second operation \"take\"",
        ),
        (
            TAKES.replace("\"tag\"", "\"Tag it\""),
            SCRIPT.into(),
            "takes.toml:10:1: \"Tag it\" is no name",
        ),
        (
            TAKES
                .replace("unique = true", "unique = true\nreads = true")
                .replace("weight = 3", "reads = true"),
            SCRIPT.into(),
            "all of its operations only read",
        ),
        (
            TAKES.into(),
            SCRIPT.replace("fn key", "fn k"),
            "takes.toml:2:9: shelf.rhai",
        ),
        (
            TAKES.into(),
            SCRIPT.replace("left - ", "left -* "),
            "takes.toml:2:9: shelf.rhai",
        ),
        (
            TAKES.replace("\"tag\"", "\"head\""),
            SCRIPT.into(),
            "takes.toml:10:1: head is the name by which Schism itself",
        ),
        // What the script does not know shows before the run.
        (
            TAKES.into(),
            SCRIPT
                .replace("\"tag\" =>", "\"tog\" =>")
                .replace("    }\n}", "        _ => throw \"no such thing\"\n    }\n}"),
            "no such thing",
        ),
    ] {
        let told = found(&workload, &script).err().expect(said);
        assert!(told.contains(said), "{said}: {told}");
    }
    let folder = folder(TAKES, SCRIPT);
    assert!(find(folder.path(), "gives").unwrap().is_none());
    assert!(find(folder.path(), "../takes").unwrap().is_none());
}
