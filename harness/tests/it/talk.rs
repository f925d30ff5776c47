//! A lab in another process, `examples/lab.rs`, and the traces that it may leave.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use agent::protocol::Ran;
use tempfile::TempDir;

/// How long anything may take on a machine that is busy with other things.
pub const LIMIT: Duration = Duration::from_secs(90);

/// What a lab is run with.
const PROGRAM_NAMES: [&str; 2] = ["lab", "schism-agent"];

/// Who runs a lab: whoever runs the test, or somebody with this user id and no rights at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Same,
    Ordinary(u32),
}

/// Everybody that the test can be: only root can become an ordinary user.
pub fn users() -> Vec<User> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    match rustix::process::geteuid().is_root() {
        false => vec![User::Same],
        true => {
            // A user that owns no other files, so that every file it left can be told.
            let n = std::process::id().wrapping_mul(8) + NEXT.fetch_add(1, Ordering::Relaxed);
            vec![User::Same, User::Ordinary(60_500 + n % 4_000)]
        }
    }
}

/// Folders of one lab: where its programs are and all that it may write to.
pub struct Home {
    folder: TempDir,
    user: User,
}

impl Home {
    pub fn new(user: User) -> Home {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home { folder, user };
        for (name, from) in PROGRAM_NAMES.iter().zip(&programs()) {
            fs::copy(from, home.program(name)).expect("a program");
        }
        for part in ["run", "cwd", "tmp", "home"] {
            fs::create_dir(home.path().join(part)).expect("a folder");
            if let User::Ordinary(id) = user {
                std::os::unix::fs::chown(home.path().join(part), Some(id), Some(id))
                    .expect("chown");
            }
        }
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        home
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// `nodes/` of the run.
    pub fn nodes(&self) -> PathBuf {
        self.path().join("run/nodes")
    }

    /// The example, to be started with so many nodes.
    pub fn command(&self, nodes: &str) -> Command {
        let mut command = Command::new(self.program("lab"));
        command
            .arg(nodes)
            .arg(self.nodes())
            .current_dir(self.path().join("cwd"))
            .env("TMPDIR", self.path().join("tmp"))
            .env("HOME", self.path().join("home"))
            .env_remove("SCHISM_AGENT")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let User::Ordinary(id) = self.user {
            command.uid(id).gid(id);
        }
        command
    }

    /// Files outside the run's folder that the lab has made.
    pub fn strays(&self) -> Vec<PathBuf> {
        let mut strays = Vec::new();
        for part in ["cwd", "tmp", "home"] {
            find(&self.path().join(part), &|_| true, &mut strays);
        }
        // An ordinary user can write to few other places, and is known by its number.
        if let User::Ordinary(id) = self.user {
            for place in ["/tmp", "/var/tmp", "/dev/shm", "/run"] {
                find(Path::new(place), &|m| m.uid() == id, &mut strays);
            }
            strays.retain(|path| !path.starts_with(self.path().join("run")));
            // The folders that the test itself gave away.
            strays.retain(|path| path.parent() != Some(self.path()));
        }
        strays
    }
}

/// All entries below `folder` that `which` is true of. What cannot be read is not ours.
fn find(folder: &Path, which: &dyn Fn(&fs::Metadata) -> bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.path().symlink_metadata() else {
            continue;
        };
        if which(&metadata) {
            found.push(entry.path());
        }
        if metadata.is_dir() {
            find(&entry.path(), which, found);
        }
    }
}

/// The programs of a lab, in the folder that this test was built into: building the whole
/// workspace's tests builds them too.
fn programs() -> [PathBuf; 2] {
    let test = std::env::current_exe().expect("this program has a path");
    let profile = test.ancestors().nth(2).expect("it lies in PROFILE/deps");
    let [example, agent] = PROGRAM_NAMES;
    let programs = [profile.join("examples").join(example), profile.join(agent)];
    for program in &programs {
        assert!(
            program.exists(),
            "{} is missing: build it with `cargo build --package harness --example lab --package agent --bin schism-agent`",
            program.display()
        );
    }
    programs
}

/// A running lab that is talked to.
pub struct Talk {
    child: Child,
    lines: Receiver<String>,
}

impl Talk {
    /// Starts a lab, and waits until its nodes are up.
    pub fn start(home: &Home, nodes: u8) -> Talk {
        let mut talk = Talk::launch(home, nodes);
        let first = talk.hear();
        assert!(first.starts_with("ready "), "{first}");
        talk
    }

    /// Starts a lab, and does not wait.
    pub fn launch(home: &Home, nodes: u8) -> Talk {
        let mut child = home
            .command(&nodes.to_string())
            .spawn()
            .expect("the example starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (tell, lines) = mpsc::channel();
        for source in [
            Box::new(stdout) as Box<dyn BufRead + Send>,
            Box::new(stderr),
        ] {
            let tell = tell.clone();
            std::thread::spawn(move || {
                for line in source.lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
        Talk { child, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("the example listens");
    }

    pub fn hear(&mut self) -> String {
        self.lines.recv_timeout(LIMIT).expect("the example answers")
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.hear()
    }

    /// Runs a shell command on a node.
    pub fn run(&mut self, node: &str, command: &str) -> Ran {
        let answer = self.ask(&format!("{node} {command}"));
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }

    /// What a shell command on a node printed, when it did what it should.
    pub fn output(&mut self, node: &str, command: &str) -> String {
        let ran = self.run(node, command);
        assert!(ran.success, "{command}: {ran:?}");
        ran.stdout
    }

    /// Waits for the process outside to end.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < LIMIT, "the lab does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes and namespaces of a lab, taken while it runs.
pub struct Traces {
    /// With the time of its start: numbers are used again.
    processes: BTreeSet<(u32, u64)>,
    namespaces: BTreeSet<(&'static str, u64)>,
    /// Open descriptors of the namespaces: their inode numbers cannot be used again meanwhile.
    _pins: Vec<fs::File>,
    /// Device and inode of the lab's own copies of its programs: whoever runs them belongs to it.
    programs: Vec<(u64, u64)>,
}

impl Traces {
    /// The traces of these processes and all their descendants. Namespaces that they share with
    /// the parent of the first are not theirs.
    pub fn of(home: &Home, ancestors: &[u32]) -> Traces {
        let all = processes();
        let mut family: BTreeSet<u32> = ancestors.iter().copied().collect();
        // Parents may have higher numbers than their children: go round until nothing is new.
        while all
            .iter()
            .any(|p| family.contains(&p.parent) && family.insert(p.id))
        {}
        let parent = all.iter().find(|p| p.id == ancestors[0]).map(|p| p.parent);
        let others = namespaces(parent.expect("it runs"));
        let mut traces = Traces {
            processes: BTreeSet::new(),
            namespaces: BTreeSet::new(),
            _pins: Vec::new(),
            programs: PROGRAM_NAMES
                .map(|name| fs::metadata(home.program(name)).expect("its programs"))
                .map(|m| (m.dev(), m.ino()))
                .into(),
        };
        for process in all.iter().filter(|p| family.contains(&p.id)) {
            traces.processes.insert((process.id, process.started));
            for (kind, file) in open_namespaces(process.id) {
                let inode = file.metadata().expect("an open file").ino();
                if !others.contains(&(kind, inode)) && traces.namespaces.insert((kind, inode)) {
                    traces._pins.push(file);
                }
            }
        }
        traces
    }

    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    pub fn namespaces(&self, kind: &str) -> usize {
        self.namespaces.iter().filter(|(k, _)| *k == kind).count()
    }

    /// What is still there, in words.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for Process { id, started, .. } in processes() {
            if self.processes.contains(&(id, started)) {
                left.push(format!("process {id}"));
            }
            let shared = namespaces(id)
                .into_iter()
                .filter(|n| self.namespaces.contains(n));
            left.extend(shared.map(|(kind, _)| format!("{kind} namespace of process {id}")));
        }
        left
    }

    /// Processes that run the lab's programs, whether they were seen before or not.
    pub fn strangers(&self) -> Vec<u32> {
        let runs = |id: &u32| {
            let program = fs::metadata(format!("/proc/{id}/exe"));
            program.is_ok_and(|m| self.programs.contains(&(m.dev(), m.ino())))
        };
        processes().into_iter().map(|p| p.id).filter(runs).collect()
    }

    /// Waits until nothing is left.
    pub fn vanish(&self) {
        let start = Instant::now();
        loop {
            let (left, strangers) = (self.left(), self.strangers());
            if left.is_empty() && strangers.is_empty() {
                return;
            }
            assert!(
                start.elapsed() < LIMIT,
                "still there: {left:?}, {strangers:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let all = processes().into_iter();
    all.filter(|p| p.parent == parent).map(|p| p.id).collect()
}

struct Process {
    id: u32,
    parent: u32,
    started: u64,
}

/// All processes but those that ended and wait for their parent to notice: an orphan's parent is
/// the machine's init, which takes its time.
fn processes() -> Vec<Process> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name, in brackets, may contain anything; see proc(5) for the numbers.
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let fields: Vec<&str> = rest.split(' ').collect();
        if fields[0] != "Z" && fields[0] != "X" {
            all.push(Process {
                id,
                parent: fields[1].parse().expect("a number"),
                started: fields[19].parse().expect("a number"),
            });
        }
    }
    all
}

fn namespaces(process: u32) -> BTreeSet<(&'static str, u64)> {
    open_namespaces(process)
        .into_iter()
        .filter_map(|(kind, file)| Some((kind, file.metadata().ok()?.ino())))
        .collect()
}

/// A process that ends meanwhile, or is somebody else's, has none.
fn open_namespaces(process: u32) -> Vec<(&'static str, fs::File)> {
    ["pid", "net", "mnt", "uts", "ipc", "user"]
        .into_iter()
        .filter_map(|kind| {
            Some((
                kind,
                fs::File::open(format!("/proc/{process}/ns/{kind}")).ok()?,
            ))
        })
        .collect()
}
