//! What is wrong in a folder is said with its place; what is right becomes a system.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::description::Description;
use super::{find, hash};
use crate::interface::Call;
use crate::systems::SetupError;

const WHOLE: &str = r#"about = "a test"
workloads = ["register"]
port = 8000

[params.sync]
about = "when"
type = "choice"
words = ["always", "never"]
default = "always"

[lists]
cluster = { each = "{name}=http://{address}:1" }

[daemon]
command = ["server", "--at={address}:{port}", "{param.sync}", "{list.cluster}"]

[ready]
tcp = true

[client.http]
read = { request = "GET /kv/{key}", value = "/value" }
write = { request = "PUT /kv/{key}", body = '{"value": {value}}' }
"#;

fn folder(text: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("the temporary folder is writable");
    fs::write(dir.path().join("system.toml"), text).expect("the folder is writable");
    dir
}

#[test]
fn what_is_wrong_is_said_with_line_and_column_and_what_may_be_meant() {
    let table: &[(&str, &str, &str, &[&str])] = &[
        (
            "port = 8000",
            "prot = 8000",
            "3:1",
            &["unknown field `prot`", "\"port\""],
        ),
        (
            "port = 8000",
            "port = \"8000\"",
            "3:8",
            &["a text: \"8000\"", "0 to 65535"],
        ),
        (
            "port = 8000",
            "port = 8000\nnodes = 10",
            "4:9",
            &["1 to 9 nodes"],
        ),
        ("port = 8000", "port = 0", "3:8", &["1 to 65535"]),
        ("\"register\"", "\"regster\"", "2:14", &["\"register\""]),
        ("\"register\"", "\"kv\"", "2:14", &["[client.http.cas]"]),
        ("\"register\"", "\"bank\"", "2:14", &["interface bank"]),
        ("[\"register\"]", "[]", "2:13", &["say what can be asked"]),
        (
            "{param.sync}",
            "{param.snc}",
            "15:48",
            &["{param.snc}", "\"param.sync\""],
        ),
        ("--at={address}", "--at={adress}", "15:28", &["\"address\""]),
        ("{list.cluster}", "{list.clust}", "15:64", &["list.cluster"]),
        ("1\" }", "1{data}\" }", "12:46", &["{data}"]),
        ("[\"server\", ", "[] # ", "15:11", &["no program"]),
        ("tcp = true", "", "17:1", &["one of `http`"]),
        (
            "tcp = true",
            "tcp = true\nlog = \"x\"",
            "17:1",
            &["one of `http`"],
        ),
        (
            "tcp = true",
            "http = \"health\"",
            "18:8",
            &["begins with `/`"],
        ),
        ("\"/value\"", "\"value\"", "21:45", &["\"/value\""]),
        ("GET /kv", "/kv", "21:20", &["a method and a path"]),
        (
            "{\"value\": {value}}",
            "{\"value\": {valu}}",
            "22:56",
            &["\"value\""],
        ),
        ("\"always\"\n", "\"allways\"\n", "9:11", &["always, never"]),
        (
            "[params.sync]",
            "[params.keys]",
            "5:9",
            &["parameter of a workload"],
        ),
        (
            "type = \"choice\"",
            "type = \"count\"",
            "7:8",
            &["`min` and `max`"],
        ),
        (
            "type = \"choice\"",
            "type = \"chioce\"",
            "7:8",
            &["\"choice\""],
        ),
        (
            "[client.http]",
            "[client]\ncommand = [\"c\"]\n[client.http]",
            "20:1",
            &["one of them"],
        ),
        (
            "[client.http]",
            "[client]\nmaelstrom = \"lin-kv\"\n[client.http]",
            "20:1",
            &["no client beside it"],
        ),
        (
            "[client.http]",
            "[[sidecar]]\nname = \"a b\"\ncommand = [\"x\"]\n[client.http]",
            "21:8",
            &["a sidecar's name"],
        ),
        (
            "[client.http]",
            "[leader]\nhttp = \"/\"\n[client.http]",
            "20:1",
            &["`http` with `json`, or `exec`"],
        ),
        (
            "[client.http]",
            "[replica]\nindex = \"/i\"\nholds = \"/h\"\n[client.http]",
            "20:1",
            &["`http` or `exec`, one of them"],
        ),
        (
            "[client.http]",
            "[replica]\nhttp = \"/\"\nindex = \"a.i\"\nholds = \"/h\"\n[client.http]",
            "22:9",
            &["did you mean \"/a/i\"?"],
        ),
        (
            "[lists]",
            "[versions.\"1 2\"]\nprograms = { server = \"s\" }\n[lists]",
            "11:11",
            &["a version's name"],
        ),
        (
            "[lists]",
            "[versions.default]\nprograms = { server = \"s\" }\n[lists]",
            "11:11",
            &["not `default`, which is what"],
        ),
        (
            "[lists]",
            "[programs]\nserver = \"s\"\n[versions.new]\nprograms = { sever = \"s\" }\n[lists]",
            "14:14",
            &["did you mean \"server\""],
        ),
        (
            "[lists]",
            "[versions.new]\nprograms = {}\n[lists]",
            "12:12",
            &["say which programs"],
        ),
        (
            "[params.sync]",
            "[versions.new]\nprograms = { server = \"s\" }\n[params.version]",
            "7:9",
            &["call this otherwise"],
        ),
        (
            "[lists]",
            "[admin.upgrade]\nabout = \"a\"\ncommand = [\"x\"]\n[versions.new]\n\
             programs = { server = \"s\" }\n[lists]",
            "11:8",
            &["call this otherwise"],
        ),
        (
            "about = \"a test\"",
            "about = \"a test\"\nstart-time = \"soon\"",
            "2:14",
            &["30s"],
        ),
    ];
    let mut wrong = Vec::new();
    for (from, to, place, words) in table {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{from} is not there");
        let dir = folder(&text);
        let error = match Description::read(dir.path()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{to} was accepted"),
        };
        let begins = format!("{}:{place}: ", dir.path().join("system.toml").display());
        let right = error.starts_with(&begins) && words.iter().all(|word| error.contains(word));
        if !right {
            wrong.push(format!("{to}: {error}, not at {place} with {words:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_template_file_is_checked_at_its_own_place() {
    let text = WHOLE.replace("[ready]", "files = { \"a.conf\" = \"a.in\" }\n[ready]");
    let dir = folder(&text);
    let missing = Description::read(dir.path())
        .err()
        .expect("there is no a.in");
    assert!(
        missing.to_string().contains("system.toml:17:22"),
        "{missing}"
    );
    fs::write(dir.path().join("a.in"), "server { }\n  name {nme}\n").unwrap();
    let wrong = Description::read(dir.path())
        .err()
        .expect("it has a wrong name");
    assert!(wrong.to_string().contains("a.in:2:8: "), "{wrong}");
    assert!(wrong.to_string().contains("\"name\""), "{wrong}");
}

#[test]
fn a_folder_is_a_system_with_the_operations_that_it_says() {
    let dir = folder(WHOLE);
    let path = dir.path().display().to_string();
    // A temporary folder's name may begin with a dot, which a name may.
    let entry = find(&path).unwrap().unwrap();
    assert_eq!(entry.calls, [Call::Read, Call::Write]);
    assert_eq!(entry.params.len(), 1);
    let able = |name| entry.can_serve(crate::catalogue::find(name).unwrap());
    able("register").unwrap();
    let lacks = able("cas-register").unwrap_err();
    assert!(lacks.to_string().contains("the operation cas"), "{lacks}");
    // Read once: what changes meanwhile is another run's.
    fs::write(dir.path().join("system.toml"), "").unwrap();
    assert!(std::ptr::eq(find(&path).unwrap().unwrap(), entry));
}

#[test]
fn a_name_is_looked_for_and_a_path_must_be_a_system() {
    assert!(find("no-such-system").unwrap().is_none());
    match find("./no-such-system") {
        Err(SetupError::Folder(e)) => assert!(e.to_string().contains("system.toml:1:1"), "{e}"),
        other => panic!("{:?}", other.map(|entry| entry.map(|e| e.name))),
    }
}

#[test]
fn a_program_that_is_missing_is_answered_with_how_to_install_it() {
    let more =
        "install = \"apt-get install it\"\n[programs]\nserver = \"no-such-server\"\n[params.sync]";
    let dir = folder(&WHOLE.replace("[params.sync]", more));
    let entry = find(&dir.path().display().to_string()).unwrap().unwrap();
    let error = entry
        .set_up(&Default::default())
        .err()
        .expect("there is no program");
    let error = error.to_string();
    assert!(error.contains("apt-get install it"), "{error}");
    assert!(
        error.contains(&dir.path().join("no-such-server").display().to_string()),
        "{error}"
    );
}

#[test]
fn the_hash_is_of_names_and_contents() {
    let dir = folder(WHOLE);
    let of = |dir: &Path| hash(dir).unwrap();
    let first = of(dir.path());
    fs::create_dir(dir.path().join("__pycache__")).unwrap();
    fs::write(dir.path().join("__pycache__/x"), "x").unwrap();
    fs::write(dir.path().join(".hidden"), "x").unwrap();
    assert_eq!(of(dir.path()), first);
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/b"), "cd").unwrap();
    let second = of(dir.path());
    fs::rename(dir.path().join("a/b"), dir.path().join("a/bc")).unwrap();
    fs::write(dir.path().join("a/bc"), "d").unwrap();
    let third = of(dir.path());
    assert!(first != second && second != third && first != third);
}

/// What `new-system` writes is a system, but for its server.
#[test]
fn the_skeleton_is_a_system() {
    let dir = folder(super::SKELETON);
    let description = Description::read(dir.path()).unwrap();
    assert_eq!(description.calls, [Call::Read, Call::Write]);
    // So is what it has in comments, put in the place of what is there.
    let mut text = String::new();
    for line in super::SKELETON.lines() {
        let code = line.strip_prefix("# ").filter(|code| {
            let key = code.split(" = ").next().unwrap_or_default();
            let plain = |c: char| c.is_ascii_lowercase() || "-.[]".contains(c);
            code.contains(" = ") && key.chars().all(plain) || code.starts_with('[')
        });
        text += code.unwrap_or(line);
        text += "\n";
    }
    let text = text.replace("[client]\ncommand = [\"python3\", \"client.py\"]\n", "");
    fs::write(dir.path().join("server.conf.template"), "{list.cluster}").unwrap();
    fs::write(dir.path().join("system.toml"), &text).unwrap();
    let description = Description::read(dir.path()).unwrap_or_else(|e| panic!("{e} in\n{text}"));
    assert_eq!(description.calls, Call::ALL[..5]);
    assert!(description.leader.is_some() && description.files.len() == 1);
    assert!(!description.started.unless_first.is_empty() && !description.version.is_empty());
}

#[test]
fn a_node_of_maelstroms_is_asked_what_it_was_written_for() {
    let text = |workload: &str| {
        format!(
            "about = \"a test\"\nworkloads = [\"{workload}\"]\nport = 8000\n\
             [daemon]\ncommand = [\"x\"]\n[ready]\ntcp = true\n\
             [client]\nmaelstrom = \"g-set\"\n"
        )
    };
    let read = |workload| Description::read(folder(&text(workload)).path());
    assert_eq!(
        read("ledger").expect("it is one").workloads[0].name(),
        "ledger"
    );
    let error = read("set").err().expect("it is none").to_string();
    assert!(
        error.contains("2:14: set is not asked of such a node, but ledger"),
        "{error}"
    );
}
