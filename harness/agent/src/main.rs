//! The program on the node. See `harness/docs/agent.md`.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use agent::door;
use agent::error::{Error, Result, doing, io};
use agent::folder::Folder;
use agent::group;
use agent::ledger::{Ledger, Recovered, Terms, identity};
use agent::maelstrom;
use agent::nursery::Nursery;
use agent::protocol::Control;
use agent::serve;
use agent::wallclock;
use agent::watchdog;
use rustix::fs::{FlockOperation, OFlags, flock};

const USAGE: &str = "\
Supervises daemons and applies faults, told by a controller on stdio.

usage: schism-agent --dir DIR [--probe-port PORT] [--control ADDRESS:PORT] [--machine-clock BOOT]
                    [--watchdog]            serve until the input ends, then heal and exit
       schism-agent resume --dir DIR --session TOKEN --received LINES
                                            take a session up again whose link was lost
       schism-agent heal --dir DIR          undo what a dead agent left; may be repeated
       schism-agent may-set-clock --controller-boot BOOT
                                            say whether this machine's own clock may be set
       schism-agent group FILE              run the programs that FILE tells of as one daemon
       schism-agent inside FILE COMMAND...  run a command as those programs run, in their image
       schism-agent maelstrom FILE          put the node that FILE tells of on the network
       schism-agent --version

DIR holds the undo journal; one agent at a time may use it. The probe port is UDP, any free one by
default. No fault touches TCP between --control's address and its port here. --machine-clock: clock
faults turn the machine's own clock; refused where that is the controller's (BOOT is what its
/proc/sys/kernel/random/boot_id says) or a container's host's. --watchdog: a second process heals the
node when this one is killed, or stopped for longer than the controller's lease.
exit: 0 done, 1 it failed (the reason is on stderr), 64 usage";

/// A child of a dead agent that has not reached its exec still holds the lock, for a moment.
const DEAD: Duration = Duration::from_secs(2);
/// How long a new agent waits for its predecessor to finish healing.
const PREDECESSOR: Duration = Duration::from_secs(15);

enum Task {
    Serve {
        dir: PathBuf,
        probe_port: u16,
        terms: Terms,
        watchdog: bool,
    },
    Watch {
        dir: PathBuf,
    },
    Resume {
        dir: PathBuf,
        session: String,
        received: u64,
    },
    Heal {
        dir: PathBuf,
    },
    MaySetClock {
        controller_boot: String,
    },
    Group {
        file: PathBuf,
    },
    Inside {
        file: PathBuf,
        argv: Vec<String>,
    },
    Maelstrom {
        file: PathBuf,
    },
    Say(String),
}

fn main() -> ExitCode {
    look_in_sbin();
    let task = match task(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(why) => {
            eprintln!("schism-agent: {why}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let done = match task {
        Task::Say(text) => {
            println!("{text}");
            Ok(())
        }
        Task::Serve {
            dir,
            probe_port,
            terms,
            watchdog,
        } => serve(&dir, probe_port, &terms, watchdog),
        Task::Watch { dir } => watch(&dir),
        Task::MaySetClock { controller_boot } => match wallclock::may_set(&controller_boot) {
            Ok(()) => {
                println!("yes");
                Ok(())
            }
            Err(why) => Err(Error::Refused(why)),
        },
        Task::Resume {
            dir,
            session,
            received,
        } => door::resume(&dir, &session, received),
        Task::Heal { dir } => heal(&dir),
        Task::Group { file } => match group::run(&file) {
            Ok(status) => return ExitCode::from(status),
            Err(error) => Err(error),
        },
        Task::Inside { file, argv } => match group::inside(&file, &argv) {
            Ok(never) => match never {},
            Err(error) => Err(error),
        },
        Task::Maelstrom { file } => match maelstrom::run(&file) {
            Ok(status) => return ExitCode::from(status),
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("schism-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Adds the folders of `nft` and `tc` to those in which programs are looked for: the PATH of an
/// ordinary user, or of a session that is no login, often lacks them.
fn look_in_sbin() {
    let own = std::env::var("PATH").unwrap_or_default();
    let mut all = own.clone();
    for folder in "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".split(':') {
        if !own.split(':').any(|known| known == folder) {
            all = format!("{all}:{folder}");
        }
    }
    // SAFETY: this is the first thing that the program does, and it has one thread yet.
    unsafe { std::env::set_var("PATH", all) };
}

fn task(mut args: impl Iterator<Item = String>) -> Result<Task, String> {
    let (mut heal, mut resume, mut may_set_clock) = (false, false, false);
    let (mut watch, mut watchdog) = (false, false);
    let (mut dir, mut probe_port, mut session, mut received) = (None, 0, None, 0);
    let (mut terms, mut controller_boot) = (Terms::default(), None);
    let value = |of: &str, args: &mut dyn Iterator<Item = String>| {
        args.next().ok_or(format!("{of} needs a value"))
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--version" => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Task::Say(format!("schism-agent {version}")));
            }
            "--help" | "-h" => return Ok(Task::Say(USAGE.into())),
            "group" | "inside" | "maelstrom" => {
                return programs(&arg, value(&arg, &mut args)?.into(), args.collect());
            }
            "heal" if !heal => heal = true,
            "watchdog" if !watch => watch = true,
            "--watchdog" => watchdog = true,
            "resume" if !resume => resume = true,
            "--session" => session = Some(value("--session", &mut args)?),
            "--received" => {
                let count = value("--received", &mut args)?;
                received = count
                    .parse()
                    .map_err(|_| format!("{count:?} is no number of lines"))?;
            }
            "may-set-clock" if !may_set_clock => may_set_clock = true,
            "--controller-boot" => controller_boot = Some(value("--controller-boot", &mut args)?),
            "--machine-clock" => {
                terms.machine_clock = Some(value("--machine-clock", &mut args)?);
            }
            "--control" => {
                let text = value("--control", &mut args)?;
                let path: std::net::SocketAddr = text
                    .parse()
                    .map_err(|_| format!("{text:?} is no address with a port"))?;
                terms.control = Some(Control {
                    address: path.ip().to_canonical(),
                    port: path.port(),
                });
            }
            "--dir" => dir = Some(PathBuf::from(value("--dir", &mut args)?)),
            "--probe-port" => {
                let port = value("--probe-port", &mut args)?;
                probe_port = port
                    .parse()
                    .map_err(|_| format!("{port:?} is no port number"))?;
            }
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    if may_set_clock {
        let controller_boot = controller_boot.ok_or("--controller-boot BOOT is missing")?;
        return Ok(Task::MaySetClock { controller_boot });
    }
    let dir = dir.ok_or("--dir DIR is missing")?;
    if resume {
        return Ok(Task::Resume {
            dir,
            session: session.ok_or("--session TOKEN is missing")?,
            received,
        });
    }
    if watch {
        return Ok(Task::Watch { dir });
    }
    Ok(match heal {
        true => Task::Heal { dir },
        false => Task::Serve {
            dir,
            probe_port,
            terms,
            watchdog,
        },
    })
}

/// What is run beside the agent, as one of its daemons.
fn programs(how: &str, file: PathBuf, argv: Vec<String>) -> Result<Task, String> {
    Ok(match how {
        "group" => Task::Group { file },
        "inside" => Task::Inside { file, argv },
        _ => Task::Maelstrom { file },
    })
}

fn serve(dir: &Path, probe_port: u16, terms: &Terms, watchdog: bool) -> Result<()> {
    let signals = serve::signals().map_err(doing("hold signals back"))?;
    let dir = Folder::open(dir)?;
    let _lock = lock(&dir, PREDECESSOR, Caller::Successor)?;
    // Orphans of daemons come to the agent, not to the machine's process 1, and are reaped here.
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own))
        .map_err(|error| doing("become the reaper of orphans")(error.into()))?;
    let nursery = Nursery::open(identity(&dir)?).map_err(doing("start a thread"))?;
    serve::serve(&dir, probe_port, terms, watchdog, nursery, &signals)
}

/// The watchdog: quiet as long as the agent lives, and then as `heal`.
fn watch(dir: &Path) -> Result<()> {
    // What ends a session ends its agent, which heals; this one is for the case that it cannot.
    let _held_back = serve::signals().map_err(doing("hold signals back"))?;
    watchdog::until_the_agent_is_dead()?;
    let dir = Folder::open(dir)?;
    // Whoever else has the lock has undone, or is about to undo, what is left.
    let Ok(_lock) = lock(&dir, DEAD, Caller::Watchdog) else {
        return Ok(());
    };
    let mut said = match recover(&dir) {
        Ok(Recovered { faults, deeds }) if faults.is_empty() && deeds.is_empty() => return Ok(()),
        Ok(Recovered { faults, mut deeds }) => {
            deeds.push(format!("undone: {faults:?}"));
            deeds
        }
        Err(error) => vec![error.to_string()],
    };
    said.insert(
        0,
        "the agent was killed, or stood still for its lease".into(),
    );
    let path = dir.path().join("watchdog.log");
    let mut log = dir.file("watchdog.log", OFlags::APPEND)?;
    writeln!(log, "{}", said.join("\n")).map_err(io("write", &path))
}

fn heal(dir: &Path) -> Result<()> {
    let dir = Folder::open(dir)?;
    let _lock = lock(&dir, DEAD, Caller::Person)?;
    let Recovered { faults, deeds } = recover(&dir)?;
    for deed in &deeds {
        println!("{deed}");
    }
    match faults.as_slice() {
        [] => println!("no fault was left"),
        faults => println!("undone: {faults:?}"),
    }
    Ok(())
}

/// Undoes what is left by whoever had the lock.
fn recover(dir: &Folder) -> Result<Recovered> {
    let nursery = Nursery::open(identity(dir)?).map_err(doing("start a thread"))?;
    // Nothing is started here, so nothing will happen by itself.
    let (events, _unheard) = mpsc::channel();
    let (_, recovered) = Ledger::open(dir, nursery, events, &Terms::default())?;
    Ok(recovered)
}

/// Who wants the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Successor,
    Person,
    /// Asks nobody to leave.
    Watchdog,
}

/// Held while the process lives, however it dies.
fn lock(dir: &Folder, patience: Duration, caller: Caller) -> Result<File> {
    let path = dir.path().join("lock");
    let file = dir.file("lock", OFlags::empty())?;
    let deadline = Instant::now() + patience;
    loop {
        match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                if caller != Caller::Watchdog {
                    door::ask_to_leave(dir.path());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::Refused(format!(
                    "an agent is alive in {}; close its input, and it heals by itself",
                    dir.path().display()
                )));
            }
            Err(error) => return Err(io("lock", &path)(error.into())),
        }
    }
}
