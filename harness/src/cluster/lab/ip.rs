//! `ip -batch`: many changes for one process.

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Where programs are looked for: an ordinary user's PATH often lacks the folders of `ip`, `tc`
/// and `nft`.
pub(super) fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
}

/// Runs the commands, one a line, all of them even if some fail. The error has what `ip` said,
/// which names failed commands by their line's number.
pub(super) fn batch(commands: &str) -> io::Result<()> {
    let mut ip = Command::new("ip")
        .args(["-force", "-batch", "-"])
        .env("PATH", path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                io::Error::new(e.kind(), "there is no program `ip`: install iproute2")
            }
            _ => e,
        })?;
    let mut stdin = ip.stdin.take().expect("it was asked for");
    let written = stdin.write_all(commands.as_bytes());
    drop(stdin);
    let output = ip.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.lines().map(str::trim).collect();
        return Err(io::Error::other(format!("ip: {}", said.join(", "))));
    }
    written
}
