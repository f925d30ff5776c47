//! What compose files and units become, and what is said of the rest.

use std::fs;
use std::path::Path;

use toml::Value;

use crate::support::{Ended, Place, example};

const CLUSTER: &str = r#"name: kv
x-common: &common
  image: quay.io/kv/kv:${KV_TAG:-3.5}
  restart: on-failure
  healthcheck:
    test: ["CMD", "kvctl", "--json={}", "health"]
    interval: 5s
    start_period: 1m30s
services:
  kv1:
    <<: *common
    hostname: kv1
    user: "1000:1000"
    stop_signal: SIGINT
    ports: ["12379:2379", "2380"]
    volumes: ["kv1:/var/lib/kv"]
    environment: {KV_NAME: kv1, KV_ID: 1, KV_SIZE: 1}
    command: kv --name kv1 --listen 'http://kv1:2379' --all=kv1=http://kv1:2380,kv2=http://kv2:2380,kv3=http://kv3:2380
  kv2:
    <<: *common
    environment: {KV_NAME: kv2, KV_ID: 2, KV_SIZE: 5}
    command: kv --name kv2 --listen 'http://kv2:2379' --all=kv1=http://kv1:2380,kv2=http://kv2:2380,kv3=http://kv3:2380 --join kv1
  kv3:
    <<: *common
    environment: {KV_NAME: kv3, KV_ID: 3, KV_SIZE: 1}
    command: kv --name kv3 --listen 'http://kv3:2379' --all=kv1=http://kv1:2380,kv2=http://kv2:2380,kv3=http://kv3:2380 --join kv1
  prepare:
    <<: *common
    entrypoint: ["kvinit"]
    command: ["{format}"]
  metrics:
    <<: *common
    entrypoint: ["kvmetrics", "--to", "x"]
    depends_on: {prepare: {condition: service_completed_successfully}}
  ui:
    image: nginx
    depends_on: [kv1]
"#;

fn read(path: &Path) -> (String, Value) {
    let text = fs::read_to_string(path.join("system.toml")).expect("it was written");
    let table = text.parse::<toml::Table>().expect("TOML");
    (text, Value::Table(table))
}

fn texts(value: &Value) -> Vec<&str> {
    let all = value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"));
    all.iter()
        .map(|text| text.as_str().expect("a text"))
        .collect()
}

#[test]
fn services_that_are_alike_become_one_template_of_a_node() {
    let place = Place::new();
    place.file("compose.yml", CLUSTER);
    place
        .schism(&["import", "compose", "compose.yml"])
        .exits(0)
        .prints(&["kv/system.toml is written", "[client]", "schism run ./kv"]);
    let (_, file) = read(&place.path().join("kv"));
    let daemon = &file["daemon"];
    let command = [
        "kv",
        "--name",
        "{name}",
        "--listen",
        "http://{name}:2379",
        "--all={list.nodes}",
    ];
    assert_eq!(texts(&daemon["command"]), command);
    assert_eq!(texts(&daemon["unless-first"]), ["--join", "{first}"]);
    assert_eq!(
        file["lists"]["nodes"]["each"].as_str(),
        Some("{name}=http://{name}:2380")
    );
    assert_eq!(daemon["environment"]["KV_NAME"].as_str(), Some("{name}"));
    assert_eq!(daemon["environment"]["KV_ID"].as_str(), Some("{index}"));
    assert_eq!(daemon["environment"]["KV_SIZE"].as_str(), Some("1"));
    assert_eq!(daemon["user"].as_str(), Some("1000:1000"));
    assert_eq!(daemon["stop-signal"].as_str(), Some("INT"));
    assert_eq!(daemon["restart"].as_str(), Some("on-exit"));
    assert_eq!(texts(&daemon["prepare"][0]), ["kvinit", "{{format}"]);
    assert_eq!(file["port"].as_integer(), Some(2379));
    assert_eq!(file["start-time"].as_str(), Some("90s"));
    assert_eq!(
        texts(&file["ready"]["exec"]),
        ["kvctl", "--json={{}", "health"]
    );
    assert_eq!(file["image"].as_str(), Some("kv.tar"));
    assert_eq!(file["image-name"].as_str(), Some("quay.io/kv/kv:3.5"));
    let install = "docker pull quay.io/kv/kv:3.5 && docker save -o kv.tar quay.io/kv/kv:3.5";
    assert_eq!(file["install"].as_str(), Some(install));
    assert_eq!(
        texts(&file["sidecar"][0]["command"]),
        ["kvmetrics", "--to", "x"]
    );
}

#[test]
fn what_of_a_compose_file_was_left_out_is_said_and_nothing_is_written_over() {
    let place = Place::new();
    place.file("compose.yml", CLUSTER);
    place.schism(&["import", "compose", "compose.yml"]).exits(0);
    let (text, _) = read(&place.path().join("kv"));
    // With its line and the reason.
    for said in [
        "#   12: hostname: nodes are called",
        "#   16: volumes: ",
        "ports: 2380: clients are answered on one port",
        "environment: KV_SIZE: it differs",
        "service ui: it is of another image",
        "service prepare: it ends before others begin",
        "healthcheck: interval: ",
        "restart: on-failure: ",
        "# TO SAY",
    ] {
        assert!(text.contains(said), "{said:?} is not in:\n{text}");
    }
    assert!(
        text.lines()
            .all(|line| !line.starts_with('#') || line.chars().count() <= 100)
    );

    // Never over what is there; elsewhere, and by the value of a variable.
    let again = ["import", "compose", "compose.yml"];
    place
        .schism(&again)
        .exits(64)
        .says(&["kv/system.toml is there already", "--to"]);
    let mut other = place.command(&[&again[..], &["--to", "other"]].concat());
    let output = other.env("KV_TAG", "3.6").output().expect("schism starts");
    assert!(output.status.success());
    let (_, file) = read(&place.path().join("other"));
    assert_eq!(file["image-name"].as_str(), Some("quay.io/kv/kv:3.6"));

    // It is a system: the image is all that it lacks.
    place
        .schism(&["run", "./kv", "--nodes", "3"])
        .exits(64)
        .says(&["kv.tar", "docker save -o kv.tar"]);
    place
        .schism(&["install", "./kv"])
        .exits(0)
        .prints(&["docker pull quay.io/kv/kv:3.5 && docker save -o kv.tar quay.io/kv/kv:3.5"]);
}

#[test]
fn what_is_wrong_in_a_compose_file_is_said_with_its_line() {
    let place = Place::new();
    let wrong = |text: &str, said: &[&str]| {
        place.file("compose.yml", text);
        place
            .schism(&["import", "compose", "compose.yml", "--to", "x"])
            .exits(64)
            .says(said);
        assert!(
            !place.path().join("x").exists(),
            "nothing is written: {text}"
        );
    };
    let one = "services:\n  a:\n    image: a\n";
    wrong("services:\n  a: [\n", &["compose.yml:"]);
    wrong("services: {}\n", &["compose.yml: there are no services"]);
    wrong(
        "services:\n  a:\n    ports: [80]\n",
        &["neither `image` nor `build`"],
    );
    wrong(
        &format!("{one}    command: \"x 'y\"\n"),
        &["compose.yml:4: command: "],
    );
    wrong(
        &format!("{one}    user: ${{NO_SUCH_VARIABLE}}\n"),
        &["compose.yml:4: ", "not set"],
    );
    wrong(
        &format!("{one}    healthcheck: {{test: [x]}}\n"),
        &["compose.yml:4: ", "CMD"],
    );
    wrong(&format!("{one}  b:\n    image: b\n"), &["--service: a, b"]);
    place
        .schism(&["import", "compose", "nowhere.yml"])
        .exits(64)
        .says(&["nowhere.yml"]);
    place
        .schism(&["import", "compose", "compose.yml", "--service", "c"])
        .exits(64)
        .says(&["\"c\"", "a, b"]);
    let chosen = ["import", "compose", "compose.yml", "--service", "b"];
    place.schism(&chosen).exits(0).prints(&["b/system.toml"]);
}

const UNIT: &str = r#"[Unit]
Description=A key-value store, %p
Requires=network.target token.service

[Service]
Type=notify
User=kv
Environment=KV_MODE=fast "KV_OPTS=--a --b"
EnvironmentFile=FOLDER/kv.env
EnvironmentFile=-FOLDER/none.env
StateDirectory=kv
RuntimeDirectory=kv
WorkingDirectory=/var/lib/kv
ExecStartPre=-/bin/mkdir /var/lib/kv/x
ExecStart=/usr/bin/kv --name %H --pid /run/kv/kv.pid \
    --data=${KV_DIR} $KV_OPTS --rate=100%% --json={x}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
KillSignal=SIGQUIT
TimeoutStartSec=2min
TimeoutStopSec=9
ProtectSystem=strict
"#;

#[test]
fn a_unit_becomes_a_daemon_whose_folders_are_its_nodes() {
    let place = Place::new();
    let folder = place.path().display().to_string();
    place.file("kv.env", "# a comment\nKV_DIR='/var/lib/kv/db'\n");
    place.file("kv.service", UNIT.replace("FOLDER", &folder));
    place
        .schism(&["import", "unit", "kv.service"])
        .exits(0)
        .prints(&["kv/system.toml is written", "(port)"]);
    let (text, file) = read(&place.path().join("kv"));
    let daemon = &file["daemon"];
    let command = [
        "{program.kv}",
        "--name",
        "{name}",
        "--pid",
        "{data}/run/kv/kv.pid",
        "--data={data}/kv/db",
        "--a",
        "--b",
        "--rate=100%",
        "--json={{x}",
    ];
    assert_eq!(texts(&daemon["command"]), command);
    assert_eq!(file["programs"]["kv"].as_str(), Some("/usr/bin/kv"));
    let prepare = daemon["prepare"].as_array().expect("a list");
    let prepare: Vec<String> = prepare.iter().map(|argv| texts(argv).join(" ")).collect();
    let expected = [
        "mkdir -p {data}/kv",
        "mkdir -p {data}/run/kv",
        "/bin/sh -c \"$@\" || true sh /bin/mkdir {data}/kv/x",
    ];
    assert_eq!(prepare, expected);
    assert_eq!(
        daemon["environment"]["KV_DIR"].as_str(),
        Some("{data}/kv/db")
    );
    assert_eq!(daemon["environment"]["KV_MODE"].as_str(), Some("fast"));
    assert_eq!(daemon["working-dir"].as_str(), Some("{data}/kv"));
    assert_eq!(daemon["stop-signal"].as_str(), Some("QUIT"));
    assert_eq!(daemon["user"].as_str(), Some("kv"));
    assert_eq!(file["start-time"].as_str(), Some("120s"));
    for said in [
        "#   3: Requires: token.service: ",
        "#   6: Type: notify: nobody listens",
        "#   10: EnvironmentFile: ",
        "#   14: ExecStartPre: ",
        "#   17: ExecReload: ",
        "#   18: Restart: on-failure: ",
        "#   21: TimeoutStopSec: ",
        "#   22: ProtectSystem: ",
    ] {
        assert!(text.contains(said), "{said:?} is not in:\n{text}");
    }
    // A template's instance is the node.
    place.file(
        "db@.service",
        "[Service]\nExecStart=/bin/sh -c 'db %i %n'\n",
    );
    place.schism(&["import", "unit", "db@.service"]).exits(0);
    let (_, file) = read(&place.path().join("db"));
    let command = ["/bin/sh", "-c", "db {name} db@{name}.service"];
    assert_eq!(texts(&file["daemon"]["command"]), command);

    for (text, said) in [
        ("[Service]\nUser=x\n", "w.service: it has no ExecStart"),
        ("[Service]\nExecStart=/bin/x 'y\n", "w.service:2: ExecStart"),
        ("[Service]\nExecStart=/bin/x %m\n", "w.service:2: %m"),
        ("nonsense\n", "w.service:1: "),
    ] {
        place.file("w.service", text);
        place
            .schism(&["import", "unit", "w.service"])
            .exits(64)
            .says(&[said]);
        assert!(!place.path().join("w").exists(), "nothing is written");
    }
}

/// Such a unit, completed by hand as the comments ask, is put on trial.
#[test]
fn an_imported_unit_runs_once_what_was_to_say_is_said() {
    let place = Place::new();
    let server = example("simple-kv").join("server.py");
    let unit = format!(
        "[Service]\nExecStart=/usr/bin/python3 {} --listen ADDRESS --data /var/lib/mine\n\
         StateDirectory=mine\nRestart=no\nWorkingDirectory=/var/lib/mine\n",
        place.path().join("server.py").display()
    );
    fs::copy(server, place.path().join("server.py")).expect("a file");
    place.file("mine.service", unit);
    place.schism(&["import", "unit", "mine.service"]).exits(0);
    let path = place.path().join("mine/system.toml");
    let text = fs::read_to_string(&path).expect("it was written");
    let own = place.path().join("server.py").display().to_string();
    let text = text
        .replace("ADDRESS", "{address}:{port}")
        // /tmp is a node's own.
        .replace(&own, "{program.server}")
        .replace(
            "\n[daemon]",
            &format!("\n[programs]\nserver = \"{own}\"\n\n[daemon]"),
        );
    fs::write(&path, text).expect("a file");
    let run = [
        "run",
        "./mine",
        "--nodes",
        "1",
        "-t",
        "2s",
        "--nemesis",
        "none",
    ];
    place.schism(&run).exits(0).prints(&["VALID"]);
    place.assert_nothing_left();
}

/// Names in a stranger's file lead nowhere else than here.
#[test]
fn a_file_does_not_say_where_else_it_is_written() {
    let place = Place::new();
    fs::create_dir(place.path().join("inner")).unwrap();
    for name in ["../up", "/tmp/schism-import", "..", ".hidden", "a/b"] {
        let text = format!("services:\n  {name:?}:\n    image: app:1\n");
        place.file("inner/compose.yml", text);
        let before = fs::read_dir(place.path()).unwrap().count();
        let mut import = place.command(&["import", "compose", "compose.yml"]);
        let ended = Ended::of(
            import
                .current_dir(place.path().join("inner"))
                .output()
                .unwrap(),
        );
        ended
            .exits(64)
            .says(&["is no name for a system's folder", "--to"]);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), before);
        assert_eq!(fs::read_dir(place.path().join("inner")).unwrap().count(), 1);
        assert!(!Path::new("/tmp/schism-import").exists());
    }
}
