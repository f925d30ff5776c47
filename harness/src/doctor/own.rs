//! The agent's program, the clock's layout, and what room there is.

use std::fs;
use std::path::Path;

use agent::vdso;

use super::trials::{Outcome, Trials};
use super::{Answer, State, works};
use crate::cluster::lab::{self, what};

pub fn agent_program() -> Answer {
    let program = match lab::agent_program() {
        Ok(program) => program,
        Err(why) => return (State::Missing, why, None),
    };
    let shown = program.display();
    match fs::read(&program) {
        Err(e) => (State::Forbidden, format!("{shown}: {e}"), None),
        Ok(bytes) => match needs_loader(&bytes) {
            None => (
                State::Forbidden,
                format!("{shown} is not a 64-bit ELF program"),
                None,
            ),
            Some(false) => works(format!("{shown}, static")),
            Some(true) => works(format!(
                "{shown}, linked dynamically: good for the lab, not for other machines"
            )),
        },
    }
}

/// Whether a 64-bit little-endian ELF program asks for a dynamic loader: it has a program header
/// of type PT_INTERP (3), see elf(5). None if it is no such program.
fn needs_loader(elf: &[u8]) -> Option<bool> {
    let number = |at: usize, length: usize| -> Option<u64> {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(elf.get(at..at.checked_add(length)?)?);
        Some(u64::from_le_bytes(bytes))
    };
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (offset, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let at = usize::try_from(offset.checked_add(index * size)?).ok()?;
        if number(at, 4)? == 3 {
            return Some(true);
        }
    }
    Some(false)
}

pub fn vdso(trials: &Trials) -> Answer {
    let layout = match vdso::support() {
        Ok(layout) => layout,
        Err(e) => {
            let remedy =
                "clocks can be turned on x86-64 and aarch64, with a kernel that has a vDSO";
            return (State::Missing, e.to_string(), Some(remedy.to_string()));
        }
    };
    let layout = format!(
        "{}, {} functions, {} of {} free bytes used",
        layout.arch,
        layout.functions.len(),
        layout.payload_len,
        layout.free_len
    );
    match trials.extra(what::VDSO) {
        Outcome::Works => works(format!("{layout}; a program's clock was turned")),
        Outcome::Fails(why) => (
            State::Forbidden,
            why.to_string(),
            Some("a container may forbid ptrace: start it with --cap-add SYS_PTRACE".to_string()),
        ),
        Outcome::NotReached(why) => (State::Unknown, format!("{layout}; {why}"), None),
    }
}

/// Below this a run may not have room for its history and the nodes' data.
const LEAST_DISK: u64 = 1 << 30;

pub fn disk(store: &Path) -> Answer {
    // The folder may not have been made yet: then its place is what counts.
    let absolute = std::path::absolute(store).unwrap_or_else(|_| store.to_path_buf());
    let Some(there) = absolute.ancestors().find(|folder| folder.exists()) else {
        return (
            State::Unknown,
            format!("{} is nowhere", store.display()),
            None,
        );
    };
    let shown = there.display();
    match rustix::fs::statvfs(there) {
        Err(e) => (State::Unknown, format!("{shown}: {e}"), None),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let detail = format!("{} free at {shown}", gigabytes(free));
            match free >= LEAST_DISK {
                true => works(detail),
                false => (
                    State::Missing,
                    detail,
                    Some("free 1 GB, or put the runs elsewhere with --store".to_string()),
                ),
            }
        }
    }
}

pub fn cores() -> Answer {
    match std::thread::available_parallelism() {
        Ok(count) => works(count.to_string()),
        Err(e) => (State::Unknown, e.to_string(), None),
    }
}

pub fn memory() -> Answer {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |key: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    match (kilobytes("MemAvailable:"), kilobytes("MemTotal:")) {
        (Some(free), Some(all)) => works(format!(
            "{} of {} available",
            gigabytes(free << 10),
            gigabytes(all << 10)
        )),
        _ => (
            State::Unknown,
            "/proc/meminfo does not say".to_string(),
            None,
        ),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_static_or_not_and_junk_is_neither() {
        let own = std::env::current_exe()
            .and_then(fs::read)
            .expect("a test has a program");
        let dynamic = !cfg!(target_feature = "crt-static");
        assert_eq!(needs_loader(&own), Some(dynamic));
        assert_eq!(needs_loader(b"#!/bin/sh\n"), None);
        assert_eq!(needs_loader(b"\x7fELF\x02\x01"), None);
        // A header alone that says: no program headers.
        let mut header = [0; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(needs_loader(&header), Some(false));
        // The same with one, of type PT_INTERP, behind it.
        let mut with_one = header.to_vec();
        with_one[32] = 64;
        with_one[54] = 56;
        with_one[56] = 1;
        with_one.extend([3, 0, 0, 0]);
        assert_eq!(needs_loader(&with_one), Some(true));
    }
}
