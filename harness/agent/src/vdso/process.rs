//! Processes as `/proc` shows them: identity, descendants, threads, and memory.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ClockError, Result};

/// When a process was started, in clock ticks since the machine's boot: together with the number
/// it names a process for ever, while numbers alone are used again. `None` when there is none.
pub fn start_time(pid: u32) -> Option<u64> {
    Stat::of(pid, pid).map(|stat| stat.start_time)
}

/// The process and all its descendants that live now, parents before children. Zombies are left
/// out.
///
/// A descendant whose parent died belongs to the nearest subreaper (an agent that is pid 1 of its
/// namespace, say) and is found only from there.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut found: Vec<u32> = Vec::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return found;
    };
    for other in entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    {
        if let Some(stat) = Stat::of(other, other).filter(Stat::lives) {
            children.entry(stat.parent).or_default().push(other);
            if other == pid {
                found.push(pid);
            }
        }
    }
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        // Taken out of the map: a number used again between two reads cannot make a cycle.
        let family = children.remove(&parent).unwrap_or_default();
        found.extend(family.iter().copied().filter(|&child| child != pid));
        next.extend(family);
    }
    found
}

/// The few fields of /proc/PID/task/TID/stat that matter here.
pub(super) struct Stat {
    pub state: u8,
    pub parent: u32,
    pub start_time: u64,
}

impl Stat {
    pub fn of(pid: u32, tid: u32) -> Option<Stat> {
        // In pid's own file the leader's fields are the process's.
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
        // The name is in parentheses and may hold anything, parentheses too.
        let fields: Vec<&str> = text
            .get(text.rfind(')')? + 1..)?
            .split_ascii_whitespace()
            .collect();
        Some(Stat {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }

    pub fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// The thread numbers of a process.
pub(super) fn threads(pid: u32) -> Result<Vec<u32>> {
    let entries =
        fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| ClockError::Gone { pid })?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// The process that traces this one; 0 for none.
pub(super) fn tracer(pid: u32) -> u32 {
    let field = |pid: u32, name: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))?
            .trim()
            .parse()
            .ok()
    };
    // The kernel names the tracing thread.
    match field(pid, "TracerPid:") {
        None | Some(0) => 0,
        Some(thread) => field(thread, "Tgid:").unwrap_or(thread),
    }
}

/// One line of /proc/PID/maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapping {
    pub start: u64,
    pub end: u64,
}

impl Mapping {
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// All mappings with their names.
pub(super) fn mappings(pid: u32) -> Result<Vec<(Mapping, String)>> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps"))
        .map_err(|error| access(pid, "read its memory map", error))?;
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let mapping = Mapping {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
        };
        Some((mapping, fields.nth(4).unwrap_or_default().to_owned()))
    };
    Ok(text.lines().filter_map(parse).collect())
}

/// The mapping of the vDSO.
pub(super) fn vdso(pid: u32) -> Result<Mapping> {
    let all = mappings(pid)?;
    if all.is_empty() {
        // A zombie's map, and a kernel thread's, is there and empty.
        return Err(ClockError::Gone { pid });
    }
    all.into_iter()
        .find(|(_, name)| name == "[vdso]")
        .map(|(mapping, _)| mapping)
        .ok_or_else(|| ClockError::Unsupported {
            pid,
            reason: "there is none (booted with vdso=0?)".into(),
        })
}

/// A process's memory.
///
/// The open file belongs to the *address space* that was there when it was opened: after exit or
/// exec every access fails, so that neither a number used again nor another program under the same
/// number is ever written to.
#[derive(Debug)]
pub(super) struct Memory {
    pub pid: u32,
    file: File,
}

impl Memory {
    pub fn open(pid: u32) -> Result<Memory> {
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"));
        let file = open.map_err(|error| access(pid, "open its memory", error))?;
        Ok(Memory { pid, file })
    }

    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(into, address)
            .map_err(|error| self.failed("read its memory", error))
    }

    /// Writes also where the process itself may not: the kernel gives it a private copy of the
    /// page.
    ///
    /// # Errors
    /// [`Forbidden`](io::ErrorKind::PermissionDenied)-like refusals where the kernel was built or
    /// booted with `proc_mem.force_override=never` or `=ptrace`; a tracer's write
    /// ([`threads::Held::poke`](super::threads::Held::poke)) works there.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, address)
            .map_err(|error| self.failed("write its memory", error))
    }

    /// Whether this is this program's own memory: a child between `vfork` and `exec` runs in it.
    /// `vdso` is where the other's vDSO lies.
    pub fn is_ours(&self, other: Mapping) -> Result<bool> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if vdso(std::process::id())? != other {
            return Ok(false);
        }
        // Ours, or a copy of it by fork. A copy does not see what is written from now on.
        let written = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
        let mut seen = [0; 8];
        self.read((&raw const COUNT) as u64, &mut seen)?;
        Ok(u64::from_ne_bytes(seen) >= written)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> ClockError {
        // With the address space gone the kernel transfers nothing.
        match source.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::WriteZero => ClockError::Gone { pid: self.pid },
            _ => ClockError::Access {
                pid: self.pid,
                action,
                source,
            },
        }
    }
}

pub(super) fn access(pid: u32, action: &'static str, source: io::Error) -> ClockError {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => ClockError::Gone { pid },
        _ => ClockError::Access {
            pid,
            action,
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn the_tree_of_this_process_has_its_child() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let tree = tree(me);
        assert_eq!(tree[0], me);
        assert!(tree.contains(&child.id()));
        assert!(!tree.contains(&Stat::of(me, me).unwrap().parent));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(start_time(child.id()), None);
    }

    #[test]
    fn a_reader_of_a_dead_process_is_told() {
        let mut cat = std::process::Command::new("cat");
        let mut child = cat
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Once it answers, exec is over: before, it has no vDSO yet.
        child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = child.id();
        let memory = Memory::open(pid).unwrap();
        let image = vdso(pid).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(
            memory.read(image.start, &mut [0; 8]),
            Err(ClockError::Gone { .. })
        ));
        assert!(matches!(
            memory.write(image.start, &[0; 8]),
            Err(ClockError::Gone { .. })
        ));
        assert!(matches!(vdso(pid), Err(ClockError::Gone { .. })));
    }
}
