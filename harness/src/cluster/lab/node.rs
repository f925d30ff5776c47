//! The keeper of one node: a small process of one thread that makes the node's namespaces, has the
//! agent started as pid 1 of them, and waits for its end.
//!
//! ```text
//! controller                         keeper                         agent
//!     │ spawns, stdio by pipes          │
//!     │ ◀──────────── stderr: "ready\n" │ network, mount, pid, uts, ipc namespace
//!     │ cables the namespace            │
//!     │ stdin: the plan, one line ────▶ │ address, host name
//!     │                                 │ forks ────────────────────▶ │ mounts, /proc
//!     │ ◀──────────── stderr: what went wrong, or nothing, and its end │ exec
//!     │ stdin, stdout: the agent's protocol ◀──────────────────────────▶ │
//! ```
//!
//! The keeper's stderr is where failures are told; the agent's goes to its log. So the end of the
//! keeper's stderr without a word means that the agent's program runs.
//!
//! What a node sees of the file system is the machine's, read-only, with these exceptions: its own
//! folder of the run at [`DIR`] (on the real disk, so that a sync is a sync), private and empty
//! `/tmp`, `/var/tmp` and `/dev/shm`, its own `/proc`, and its own `/etc/hosts`, `/etc/hostname`
//! and `/etc/resolv.conf`. Read-only, because a program under test that runs as root on somebody's
//! machine must not be able to write to it.

use std::ffi::CString;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountFlags;
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::{child, ip, net};

/// A node's folder, as the node sees it.
pub(super) const DIR: &str = "/srv/schism";

/// Where [`DIR`] is put: a folder that every system has and that nothing is run from.
const MOUNT: &str = "/srv";

/// What the agent is called in a node's `bin/`.
pub(super) const AGENT: &str = "schism-agent";

/// Said when the namespaces are there.
pub(super) const READY: &str = "ready";

/// What a keeper is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub name: String,
    pub number: u8,
    pub hosts: String,
    /// The node's folder in the run's.
    pub folder: PathBuf,
    /// What is put into its `bin/`, as what.
    pub programs: Vec<(String, PathBuf)>,
    /// After which a stopped agent is killed.
    pub lease_ms: u64,
}

/// A step of a node's way up, for the error message.
fn to<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> String {
    let what = what.into();
    move |e| format!("{what}: {}", e.into())
}

/// The keeper's `main`.
pub(super) fn main() -> ! {
    let code = match keep() {
        Ok(ended) => ended.code(),
        Err(why) => {
            eprintln!("{why}");
            1
        }
    };
    std::process::exit(code.into())
}

fn keep() -> Result<child::Ended, String> {
    let signals = child::Signals::block().map_err(to("signals"))?;
    unshare(NAMESPACES)?;
    eprintln!("{READY}");

    // The controller sends nothing after the plan until the agent runs, so that a buffer cannot
    // swallow what is the agent's.
    let mut plan = String::new();
    io::stdin()
        .lock()
        .read_line(&mut plan)
        .map_err(to("the plan"))?;
    let plan: Plan = serde_json::from_str(&plan).map_err(to("the plan"))?;
    net::no_ipv6().map_err(to("turning IPv6 off"))?;
    ip::batch(&net::plug(plan.number)).map_err(to("eth0"))?;
    rustix::system::sethostname(plan.name.as_bytes()).map_err(to("the host name"))?;

    // Only now: the first child from here on is the node's pid 1, and `ip` above was a child too.
    unshare(UnshareFlags::NEWPID)?;
    // SAFETY: this process has one thread, so its copy is as whole as itself.
    match unsafe { libc::fork() } {
        -1 => Err(to("fork")(io::Error::last_os_error())),
        0 => {
            eprintln!("{}", become_agent(&plan, &signals));
            std::process::exit(1)
        }
        agent => {
            let_go().map_err(to("/dev/null"))?;
            // The keeper is asked to end only after the agent was asked politely and did not.
            // One that stands still cannot keep its lease: the node ends with it instead.
            let lease = Duration::from_millis(plan.lease_ms);
            Ok(child::wait(agent, &signals, |_| libc::SIGKILL, Some(lease)))
        }
    }
}

/// A node's namespaces but that of its processes.
const NAMESPACES: UnshareFlags = UnshareFlags::NEWNET
    .union(UnshareFlags::NEWNS)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWIPC);

fn unshare(which: UnshareFlags) -> Result<(), String> {
    // SAFETY: file descriptors, the only thing that threads could miss, are not unshared.
    unsafe { rustix::thread::unshare_unsafe(which) }.map_err(to("namespaces"))
}

/// Whether a node could be made here, found out in children that end at once.
pub(super) fn trial() -> Result<(), String> {
    let made = || {
        unshare(NAMESPACES | UnshareFlags::NEWPID)?;
        in_child(|| {
            set_read_only(Path::new("/"), true, libc::AT_RECURSIVE as u32)?;
            tmpfs(Path::new("/tmp"), "mode=1777")?;
            fresh_proc()
        })
    };
    in_child(made)
}

/// Runs this in a copy of the process, and returns what came of it.
fn in_child(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let (mut from, to_us) = io::pipe().map_err(to("a pipe"))?;
    // SAFETY: trials are made in a process of one thread, so its copy is as whole as itself.
    match unsafe { libc::fork() } {
        -1 => Err(to("fork")(io::Error::last_os_error())),
        0 => {
            let mut to_parent = to_us;
            if let Err(why) = work() {
                // If the parent cannot be told, it sees the exit code.
                let _ = to_parent.write_all(why.as_bytes());
                std::process::exit(1)
            }
            std::process::exit(0)
        }
        child => {
            drop(to_us);
            let mut why = String::new();
            from.read_to_string(&mut why).map_err(to("a pipe"))?;
            let mut status = 0;
            // SAFETY: a plain system call.
            unsafe { libc::waitpid(child, &mut status, 0) };
            match status {
                0 => Ok(()),
                _ => Err(why),
            }
        }
    }
}

/// Drops the pipes: they are the agent's now, and their ends must be seen when it closes them.
fn let_go() -> io::Result<()> {
    let nothing = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    Ok(())
}

/// The rest of the way, as pid 1 of the node. Comes back only with what went wrong.
fn become_agent(plan: &Plan, signals: &child::Signals) -> String {
    let go = || -> Result<Command, String> {
        // The keeper cannot have died unnoticed meanwhile: only the controller knows it, which
        // then ends the agent by the end of its input.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(to("asking to die with the keeper"))?;
        signals.unblock().map_err(to("signals"))?;
        arrange(plan)?;
        let log = Path::new(DIR).join("log/agent.log");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(to(log.display().to_string()))?;
        let mut agent = Command::new(Path::new(DIR).join("bin").join(AGENT));
        agent
            .args(["--dir", DIR])
            .current_dir(DIR)
            // What happens to be in a person's environment must not decide how a system behaves;
            // over SSH it is not there either.
            .env_clear()
            .env("PATH", ip::FOLDERS)
            .env("HOME", Path::new(DIR).join("data"))
            .env("LANG", "C.UTF-8")
            .stderr(log);
        Ok(agent)
    };
    match go() {
        Err(why) => why,
        Ok(mut agent) => {
            // A failing exec may already have replaced stderr.
            let tell = io::stderr().as_fd().try_clone_to_owned();
            let why = to("starting the agent")(agent.exec());
            if let Ok(tell) = tell {
                // Nobody is left to be told of this one.
                let _ = writeln!(fs::File::from(tell), "{why}");
                std::process::exit(1)
            }
            why
        }
    }
}

/// What the node sees of the file system.
fn arrange(plan: &Plan) -> Result<(), String> {
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(to(path.display().to_string()))
    };
    // Opened before anything is hidden: the run, or a program, may well lie in /tmp.
    let folder = open(&plan.folder)?;
    let programs = plan
        .programs
        .iter()
        .map(|(name, from)| Ok((name, open(from)?)))
        .collect::<Result<Vec<_>, String>>()?;

    set_read_only(Path::new("/"), true, libc::AT_RECURSIVE as u32)?;
    let own = Path::new(DIR);
    tmpfs(Path::new(MOUNT), "mode=755,size=1m")?;
    make_dir(own)?;
    bind(&folder, own)?;
    set_read_only(own, false, 0)?;

    let bin = own.join("bin");
    tmpfs(&bin, "mode=755,size=1m")?;
    for (name, from) in &programs {
        let place = bin.join(name);
        let found = rustix::fs::fstat(from).map_err(to(name.as_str()))?;
        match FileType::from_raw_mode(found.st_mode).is_dir() {
            true => make_dir(&place)?,
            false => fs::write(&place, "").map_err(to(place.display().to_string()))?,
        }
        bind(from, &place)?;
    }
    set_read_only(&bin, true, 0)?;

    let made = Path::new(MOUNT).join("etc");
    make_dir(&made)?;
    for (file, text) in [
        ("hosts", plan.hosts.as_str()),
        ("hostname", &format!("{}\n", plan.name)),
        ("resolv.conf", "# Nobody to ask: there is no way out.\n"),
    ] {
        let from = made.join(file);
        fs::write(&from, text).map_err(to(from.display().to_string()))?;
        let place = Path::new("/etc").join(file);
        // A file that is not there, or a link to nowhere, cannot be replaced; only the addresses
        // of the nodes cannot be done without.
        if place.exists() || file == "hosts" {
            bind(&open(&from)?, &place)?;
        }
    }
    set_read_only(Path::new(MOUNT), true, 0)?;

    for private in ["/tmp", "/var/tmp", "/dev/shm"] {
        let private = Path::new(private);
        // /var/tmp is a link to /tmp on some systems.
        if private.is_dir() && !private.is_symlink() {
            tmpfs(private, "mode=1777")?;
        }
    }
    // Last, for the descriptors above are found through the old one.
    fresh_proc()
}

fn fresh_proc() -> Result<(), String> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", flags, None).map_err(to("a /proc of its own"))
}

fn make_dir(path: &Path) -> Result<(), String> {
    fs::create_dir(path).map_err(to(path.display().to_string()))
}

fn tmpfs(place: &Path, options: &str) -> Result<(), String> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = CString::new(options).expect("written above, without zeros");
    rustix::mount::mount("tmpfs", place, "tmpfs", flags, options.as_c_str())
        .map_err(to(format!("a tmpfs at {}", place.display())))
}

/// Shows what `from` has open at `place`.
fn bind(from: &OwnedFd, place: &Path) -> Result<(), String> {
    rustix::mount::mount_bind(format!("/proc/self/fd/{}", from.as_raw_fd()), place)
        .map_err(to(format!("binding {}", place.display())))
}

/// Makes the mount at `place` read-only or writable; with `AT_RECURSIVE` those below it too.
///
/// `mount_setattr` (Linux 5.12) changes this one property; a remount would have to repeat all
/// others, which an ordinary user's namespace enforces.
fn set_read_only(place: &Path, yes: bool, flags: u32) -> Result<(), String> {
    let place = CString::new(place.as_os_str().as_encoded_bytes()).expect("no zeros in our paths");
    let bit = libc::MOUNT_ATTR_RDONLY;
    let (attr_set, attr_clr) = if yes { (bit, 0) } else { (0, bit) };
    let attributes = libc::mount_attr {
        attr_set,
        attr_clr,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: both pointers are to values that live through the call, and the size is the second's.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            place.as_ptr(),
            flags,
            &attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(to(format!("protecting {}", place.to_string_lossy()))(
            io::Error::last_os_error(),
        )),
    }
}
