//! Systems in images: started without an engine, put under faults, and what cannot work.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::read::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::support::{Ended, Place};

/// A user who is on every Debian-like machine, and may do nothing.
const NOBODY: u32 = 65534;

/// The image's own user: its name is on no machine.
const OWN: u32 = 4242;

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_schism")).with_file_name(name)
}

/// What the dynamic linker needs for a program, as it says itself.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .expect("ldd is part of libc");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

fn entry(tar: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, uid: u32, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    header.set_uid(uid.into());
    header.set_gid(uid.into());
    tar.append_data(&mut header, path, content).expect("memory");
}

/// A layer with a shell and what it needs.
fn shell() -> Builder<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    let sh = fs::canonicalize("/bin/sh").expect("a shell");
    entry(
        &mut tar,
        EntryType::Regular,
        "bin/sh",
        0,
        &fs::read(&sh).expect("it is readable"),
    );
    let node = program("paxos-kv");
    let mut all: Vec<PathBuf> = [&sh, &node]
        .into_iter()
        .flat_map(|p| libraries(p))
        .collect();
    all.sort();
    all.dedup();
    for library in all {
        let path = library
            .strip_prefix("/")
            .expect("from the root on")
            .display()
            .to_string();
        entry(
            &mut tar,
            EntryType::Regular,
            &path,
            0,
            &fs::read(&library).expect("it is readable"),
        );
    }
    let users = format!("root:x:0:0::/root:/bin/sh\npaxos:x:{OWN}:{OWN}::/home/paxos:/bin/sh\n");
    entry(
        &mut tar,
        EntryType::Regular,
        "etc/passwd",
        0,
        users.as_bytes(),
    );
    tar
}

/// As `docker save` writes it, the second layer compressed.
fn save(user: &str, layers: Vec<Builder<Vec<u8>>>) -> Vec<u8> {
    let layers: Vec<Vec<u8>> = layers
        .into_iter()
        .map(|tar| tar.into_inner().expect("memory"))
        .collect();
    let id = |layer: &Vec<u8>| {
        let hash = Sha256::digest(layer);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    };
    let ids: Vec<_> = layers.iter().map(id).collect();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        _ => "arm64",
    };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {
            "User": user, "Env": ["PATH=/app:/bin", "GREETING=hello"], "WorkingDir": "/work",
            "Entrypoint": ["paxos-kv"], "Cmd": ["--help"], "StopSignal": "SIGINT",
        },
        "rootfs": {"type": "layers", "diff_ids": ids},
    });
    let mut tar = Builder::new(Vec::new());
    entry(
        &mut tar,
        EntryType::Regular,
        "c.json",
        0,
        config.to_string().as_bytes(),
    );
    let mut paths = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let path = format!("{at}/layer.tar");
        let mut packed = Vec::new();
        GzEncoder::new(&layer[..], Compression::fast())
            .read_to_end(&mut packed)
            .expect("memory");
        let bytes = if at == 0 { layer } else { &packed };
        entry(&mut tar, EntryType::Regular, &path, 0, bytes);
        paths.push(path);
    }
    let manifest = json!([{"Config": "c.json", "RepoTags": ["paxos:1"], "Layers": paths}]);
    entry(
        &mut tar,
        EntryType::Regular,
        "manifest.json",
        0,
        manifest.to_string().as_bytes(),
    );
    tar.into_inner().expect("memory")
}

/// paxos-kv in an image that starts as this user.
fn paxos(user: &str) -> Vec<u8> {
    let mut app = Builder::new(Vec::new());
    let node = fs::read(program("paxos-kv")).expect("it is built");
    entry(&mut app, EntryType::Regular, "app/paxos-kv", 0, &node);
    entry(&mut app, EntryType::Directory, "home/paxos", OWN, b"");
    save(user, vec![shell(), app])
}

const SYSTEM: &str = r#"
about = "paxos-kv from an image"
image = "app.tar"
workloads = ["register"]
port = 7000

[lists]
cluster = { each = "{name}={address}:7100" }

[daemon]
command = ["--id", "{name}", "--data", "{data}/paxos", "--client-addr", "{address}:{port}",
           "--peer-addr", "{address}:7100", "--peers", "{list.cluster}"]
prepare = [["/bin/sh", "-c", '''
    {
        echo "$GREETING $HOME $(pwd)"
        while read -r name first rest; do
            case $name in Uid:|CapBnd:) echo "$name $first" ;; esac
        done < /proc/self/status
        while read -r address name; do echo "$name is $address"; done < /etc/hosts
        [ -e /usr/share/dpkg ] && echo "the machine is seen"
        [ -e /dev/null ] && [ ! -e /dev/mem ] && [ ! -e /dev/vda ] && echo "harmless devices"
        true > written && echo "wrote in $(pwd)"
    } > {data}/facts 2>> {data}/errors
    echo "a line of the daemon's" > /dev/stderr''']]

# Neither is on the machine.
[ready]
exec = ["/app/paxos-kv", "--version"]

[leader]
http = "/debug/status"
json = "/leader"

[client.http]
read = { request = "GET /kv/{key}", value = "/value", absent = [{ status = 404 }] }
write = { request = "PUT /kv/{key}", body = "{value}", fail = [{ json = "/definite", equals = true }] }
"#;

/// A folder `paxos` with the image and this description.
fn folder(place: &Place, image: &[u8], text: &str) -> PathBuf {
    let folder = place.path().join("paxos");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("app.tar"), image).expect("a file");
    fs::write(folder.join("system.toml"), text).expect("a file");
    folder
}

fn command(place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    command.env("XDG_CACHE_HOME", place.path().join("cache"));
    command
}

fn run(place: &Place, args: &[&str]) -> Ended {
    Ended::of(command(place, args).output().expect("schism starts"))
}

const SHORT: [&str; 9] = [
    "run", "./paxos", "--nodes", "3", "--seed", "4", "--keep", "all", "-t",
];

fn facts(place: &Place) -> String {
    let data = place.latest().join("nodes/n2/data");
    fs::read_to_string(data.join("facts")).expect("it was prepared")
}

#[test]
fn an_image_is_a_system_without_an_engine() {
    let place = Place::new();
    folder(&place, &paxos(""), SYSTEM);
    run(&place, &[&SHORT[..], &["2s", "--nemesis", "none"]].concat())
        .exits(0)
        .prints(&["VALID", "paxos"])
        .says(&["unpacking"]);
    let facts = facts(&place);
    for fact in [
        "hello /root /work\n",
        "n3 is 10.77.0.3\n",
        "controller is ",
        "harmless devices\n",
    ] {
        assert!(facts.contains(fact), "{fact:?} is not in:\n{facts}");
    }
    // What container engines leave to root, but for making devices and writing the audit's log.
    assert!(facts.contains("CapBnd: 00000000800425fb\n"), "{facts}");
    assert!(
        facts.contains("Uid: 0\n") && facts.contains("wrote in /work\n"),
        "{facts}"
    );
    assert!(!facts.contains("the machine is seen"), "{facts}");
    let log = fs::read_to_string(place.latest().join("nodes/n2/log/paxos.log")).expect("a log");
    assert!(log.contains("a line of the daemon's"), "{log}");
    let written = place
        .latest()
        .join("nodes/n2/data/.image/upper/work/written");
    assert!(written.exists(), "what a node writes lies in its folder");
    let versions = fs::read_to_string(place.latest().join("results.json")).expect("judged");
    assert!(versions.contains("paxos:1 (sha256:"), "{versions}");

    // Faults reach it, and it is not unpacked again.
    let often = ["--fault-gap", "1s", "--fault-length", "1s"];
    let faults = [&["8s", "--nemesis", "kill,pause,clock"][..], &often].concat();
    let ended = run(&place, &[&SHORT[..], &faults].concat())
        .exits(0)
        .prints(&["VALID"]);
    assert!(!ended.stderr.contains("unpacking"), "{}", ended.stderr);
    let schedule = fs::read_to_string(place.latest().join("schedule.toml")).expect("it is there");
    for family in ["kill", "pause", "clock"] {
        assert!(schedule.contains(family), "{family} is not in:\n{schedule}");
    }
    place.assert_nothing_left();

    // What was unpacked stays until it is told to go.
    run(&place, &["prune", "--keep", "1d"]).exits(0).says(&[
        "0 unpacked images gone",
        "1 unpacked image left",
        "--images AGE",
    ]);
    run(&place, &["prune", "--images", "1d"])
        .exits(0)
        .says(&["1 unpacked image left"]);
    let images = place.path().join("cache/schism/images");
    let folders = || fs::read_dir(&images).expect("it is there").flatten();
    let folders = || folders().filter(|entry| entry.path().is_dir()).count();
    run(&place, &["prune", "--images", "1ms", "--dry-run"])
        .exits(0)
        .says(&["1 unpacked image would go", "0 unpacked images left"]);
    assert_eq!(folders(), 1);
    run(&place, &["prune", "--images", "1ms"])
        .exits(0)
        .says(&["1 unpacked image gone"]);
    assert_eq!(folders(), 0);
}

#[test]
fn an_image_starts_as_its_own_user() {
    let place = Place::new();
    folder(&place, &paxos("paxos"), SYSTEM);
    run(
        &place,
        &[
            &SHORT[..],
            &["3s", "--nemesis", "kill", "--fault-gap", "1s"],
        ]
        .concat(),
    )
    .exits(0)
    .prints(&["VALID"]);
    let facts = facts(&place);
    assert!(facts.contains("hello /home/paxos /work\n"), "{facts}");
    assert!(facts.contains(&format!("Uid: {OWN}\n")), "{facts}");
    // The folder is root's, as it would be in a container.
    assert!(!facts.contains("wrote in"), "{facts}");
    place.assert_nothing_left();
}

#[test]
fn an_ordinary_user_runs_an_image_and_is_told_what_cannot_be() {
    let as_root = rustix::process::geteuid().is_root();
    let place = Place::new();
    let all = ["", "paxos"].map(|name| place.path().join(name));
    folder(&place, &paxos(""), SYSTEM);
    let run = |args: &[&str]| {
        let mut command = command(&place, args);
        if as_root {
            for path in &all {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
            }
            command.uid(NOBODY).gid(NOBODY);
        }
        Ended::of(command.output().expect("schism starts"))
    };
    let quiet = ["2s", "--nemesis", "none"];
    run(&[&SHORT[..], &quiet].concat())
        .exits(64)
        .says(&["files of others (paxos)", "user = \"paxos\""]);
    assert!(!place.store().exists(), "nothing was started");

    for (user, uid) in [("root", 0), ("paxos", OWN)] {
        let text = SYSTEM.replace("[daemon]", &format!("[daemon]\nuser = \"{user}\""));
        folder(&place, &paxos(""), &text);
        let faults = [
            "6s",
            "--nemesis",
            "kill,pause,clock",
            "--fault-gap",
            "500ms",
        ];
        run(&[&SHORT[..], &faults].concat())
            .exits(0)
            .prints(&["VALID"]);
        let facts = facts(&place);
        assert!(facts.contains(&format!("Uid: {uid}\n")), "{facts}");
        assert!(!facts.contains("the machine is seen"), "{facts}");
    }
    // An overlay leaves a folder that not even its owner may open.
    run(&["prune", "--cap", "0"]).exits(0);
    let left = fs::read_dir(place.store())
        .expect("the store stays")
        .count();
    assert_eq!(left, 0, "all runs are gone");
    place.assert_nothing_left();
}

#[test]
fn what_of_an_image_cannot_work_is_said_before_the_start() {
    let place = Place::new();
    let sound = paxos("");
    let refused = |image: &[u8], text: &str, said: &[&str]| {
        folder(&place, image, text);
        run(
            &place,
            &SHORT[..].iter().copied().chain(["2s"]).collect::<Vec<_>>(),
        )
        .exits(64)
        .says(said);
        assert!(!place.store().exists(), "nothing was started");
    };
    let with = |more: &str| SYSTEM.replace("[daemon]", &format!("[daemon]\n{more}"));
    refused(
        &sound,
        &with("entrypoint = [\"/sbin/init\"]"),
        &["whole machine", "`entrypoint`"],
    );
    refused(
        &sound,
        &with("user = \"nginx\""),
        &["no user \"nginx\"", "root, paxos"],
    );
    refused(
        &sound,
        &SYSTEM.replace("app.tar", "ap.tar"),
        &["no ", "ap.tar", "docker save"],
    );
    let named = SYSTEM.replace("\"app.tar\"", "\"app.tar\"\nimage-name = \"paxos:2\"");
    refused(&sound, &named, &["\"paxos:2\"", "paxos:1"]);
    refused(&sound[..sound.len() / 2], SYSTEM, &["app.tar"]);
    let mut other = sound.clone();
    let at = sound
        .windows(7)
        .position(|w| w == b"\"linux\"")
        .expect("its system");
    other[at..at + 7].copy_from_slice(b"\"plan9\"");
    refused(&other, SYSTEM, &["is for plan9/", "--platform linux/"]);
    let both = SYSTEM.replace(
        "[client.http]",
        "[client]\nmaelstrom = \"lin-kv\"\n[unused]",
    );
    refused(
        &sound,
        &both[..both.find("[unused]").expect("it is there")],
        &["Maelstrom", ":3:"],
    );
    refused(
        &sound,
        &SYSTEM.replace("image = \"app.tar\"\n", "image-name = \"x\"\n"),
        &["no `image`"],
    );

    folder(&place, &sound, SYSTEM);
    let ssh = ["run", "./paxos", "--cluster", "ssh", "--nodes", "a.invalid"];
    run(&place, &ssh).exits(64).says(&["only the lab's nodes"]);
}

/// Folders that a node is given are links to elsewhere: the daemon does not start, and nothing is
/// changed where they lead.
#[test]
fn an_image_of_links_leads_nowhere() {
    let place = Place::new();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("hosts"), "untouched").expect("a file");
    for name in ["etc", "dev", "proc", "srv"] {
        let mut links = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        links
            .append_link(&mut header, name, &outside)
            .expect("memory");
        let image = save("0", vec![shell(), links]);
        folder(
            &place,
            &image,
            &SYSTEM.replace("port = 7000", "port = 7000\nstart-time = \"3s\""),
        );
        let ended = run(&place, &[&SHORT[..], &["2s", "--nemesis", "none"]].concat());
        assert_eq!(ended.code, 4, "{name}: {ended:#?}");
        let hosts = fs::read_to_string(outside.join("hosts")).expect("it is there");
        assert_eq!(hosts, "untouched", "{name}");
        assert_eq!(fs::read_dir(&outside).expect("there").count(), 1, "{name}");
    }
    place.assert_nothing_left();
}

#[test]
fn a_system_is_installed_by_its_own_command() {
    let place = Place::new();
    let text = SYSTEM.replace(
        "port = 7000",
        "port = 7000\ninstall = \"cp saved.tar app.tar\"",
    );
    let folder = folder(&place, b"", &text);
    fs::rename(folder.join("app.tar"), folder.join("saved.tar")).expect("can be moved");
    let listed = |installed: bool| {
        let systems = place.path().display().to_string();
        let output = run(&place, &["systems", "--json", "--systems", &systems])
            .exits(0)
            .stdout;
        let row = output
            .lines()
            .find(|row| row.contains("\"paxos\""))
            .expect("it is listed");
        let row: serde_json::Value = serde_json::from_str(row).expect("JSON");
        assert_eq!(row["installed"], installed, "{row}");
    };
    listed(false);
    run(&place, &["install", "./paxos"])
        .exits(0)
        .prints(&["cp saved.tar app.tar\n"]);
    assert!(!folder.join("app.tar").exists(), "it was only printed");
    run(&place, &["install", "./paxos", "--yes"])
        .exits(0)
        .says(&["installed here"]);
    assert!(folder.join("app.tar").exists());
    listed(true);
    run(&place, &["install", "./paxos"])
        .exits(0)
        .says(&["installed here"]);

    // A command that fails, one that does nothing, and none.
    let write = |install: &str| {
        fs::remove_file(folder.join("app.tar")).ok();
        let mut file = fs::File::create(folder.join("system.toml")).expect("a file");
        file.write_all(SYSTEM.replace("port = 7000", install).as_bytes())
            .expect("room");
    };
    write("port = 7000\ninstall = \"exit 3\"");
    run(&place, &["install", "./paxos", "--yes"])
        .exits(4)
        .says(&["exit 3", "exit status: 3"]);
    write("port = 7000\ninstall = \"true\"");
    run(&place, &["install", "./paxos", "--yes"])
        .exits(4)
        .says(&["app.tar"]);
    write("port = 7000");
    run(&place, &["install", "./paxos", "--yes"])
        .exits(64)
        .says(&["app.tar", "docker save"]);
    write("port = 7000\ninstall = \"apt-get install no-such-thing\"");
    let mut ordinary = command(&place, &["install", "./paxos", "--yes"]);
    if rustix::process::geteuid().is_root() {
        chown(place.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        ordinary.uid(NOBODY).gid(NOBODY);
    }
    let output = ordinary
        .stdin(Stdio::null())
        .output()
        .expect("schism starts");
    Ended::of(output)
        .exits(64)
        .says(&["only root", "sudo apt-get install no-such-thing"]);
    run(&place, &["install", "paxos-kv"])
        .exits(0)
        .says(&["paxos-kv is installed here"]);
    run(&place, &["install", "paxos-k"])
        .exits(64)
        .says(&["\"paxos-kv\""]);
}
