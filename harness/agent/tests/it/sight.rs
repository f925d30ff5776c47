//! Looks at the node that do not go through the agent.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;

/// Output of a command that must succeed.
pub fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The names of all packet filter tables.
pub fn tables() -> Vec<String> {
    output("nft", &["list", "tables"])
        .lines()
        .map(str::to_owned)
        .collect()
}

/// A process's state letter; `None` when it is gone or dead.
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat[stat.rfind(')')? + 2..].chars().next()?;
    (!matches!(state, 'Z' | 'X')).then_some(state)
}

/// Every living `sleep` that was given this time.
pub fn sleepers(time: &str) -> Vec<u32> {
    with_arguments(|args| args == ["sleep", time])
}

/// Every living process that runs this program.
pub fn running(program: &str) -> Vec<u32> {
    with_arguments(|args| args.first() == Some(&program))
}

pub fn with_arguments(is: impl Fn(&[&str]) -> bool) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        is(&line.trim_end_matches('\0').split('\0').collect::<Vec<_>>())
    })
    .filter(|pid| state(*pid).is_some())
    .collect()
}

/// The vDSO of a process, byte for byte.
fn vdso(pid: u32) -> Option<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (start, rest) = line.split_once('-')?;
    let (end, _) = rest.split_once(' ')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    let mut bytes = vec![0; (end - start) as usize];
    let memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.read_exact_at(&mut bytes, start).ok()?;
    Some(bytes)
}

/// Whether a process has the kernel's own vDSO, which this one has too. `None`: it is gone.
pub fn clocks_untouched(pid: u32) -> Option<bool> {
    let own = vdso(std::process::id()).expect("this process has one");
    Some(vdso(pid)? == own)
}
