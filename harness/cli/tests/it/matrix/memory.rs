//! A cell whose node the kernel kills for memory, in a control group that has too little of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{TOO_FEW, night, results};
use crate::support::{Ended, Place, example};

/// Of this much memory Schism needs a part, and the node takes the rest.
const MIB: u64 = 600;

/// A control group of our own, gone when this is.
struct Group(PathBuf);

impl Group {
    /// None where this user may make none.
    fn new() -> Option<Group> {
        let name = format!("schism-test-{}", std::process::id());
        let places = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        places.into_iter().find_map(|(parent, limit)| {
            let folder = Path::new(parent).join(&name);
            fs::create_dir(&folder).ok()?;
            let group = Group(folder);
            // The second kind refuses what would be no limit.
            fs::write(group.0.join(limit), (MIB << 20).to_string()).ok()?;
            Some(group)
        })
    }

    /// The command, started in the group.
    fn within(&self, command: &Command) -> Command {
        let mut inner = Command::new("sh");
        inner
            .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&self.0)
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(command.get_current_dir().expect("a place"));
        inner
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It can still have somebody in it only if the test has failed.
        let _ = fs::remove_dir(&self.0);
    }
}

const GREEDY: &str = "
def eat():
    import time
    time.sleep(3)
    held = []
    while True:
        held.append(b'x' * (8 << 20))
        time.sleep(0.01)


threading.Thread(target=eat, daemon=True).start()

if __name__";

#[test]
fn a_cell_killed_for_memory_counts_neither_way() {
    let Some(group) = Group::new() else {
        eprintln!("not tried: this user may make no control group");
        return;
    };
    let place = Place::new();
    let system = example("simple-kv");
    fs::create_dir(place.path().join("greedy")).expect("the place is ours");
    let read = |name: &str| fs::read_to_string(system.join(name)).expect("an example");
    let server = read("server.py");
    assert!(server.contains("\nif __name__"));
    place.file("greedy/server.py", server.replace("\nif __name__", GREEDY));
    place.file("greedy/system.toml", read("system.toml"));
    place.file(
        "m.toml",
        "version = 1\nseeds = 1\nnemeses = [\"none\"]\nworkloads = [\"register\"]\n\
         [run]\ntime-limit = \"12s\"\nnodes = 1\nrecovery-time = \"2s\"\n\
         [[system]]\nname = \"./greedy\"\n",
    );
    let night_of = place.command(&["matrix", "m.toml", "--jobs", "1"]);
    let ended = Ended::of(group.within(&night_of).output().expect("a shell starts"));
    ended
        .exits(TOO_FEW)
        .prints(&["out of memory", "the kernel killed for memory while it ran"]);
    let [(_, colour, ending)] = &results(&night(&place))[..] else {
        panic!("not one cell");
    };
    assert_eq!((&colour[..], &ending[..]), ("grey", "out-of-memory"));
    place.assert_nothing_left();
}
