//! `ip -batch`: many changes for one process.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// Where programs are looked for: an ordinary user's PATH often lacks the folders of `ip`, `tc`
/// and `nft`.
pub fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:{FOLDERS}")
}

/// Where programs of the distribution and of the machine's administrator are.
pub const FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a command to its end with this input.
pub(super) fn feed(command: &mut Command, input: &str) -> io::Result<Output> {
    let mut child = command
        .env("PATH", path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    // A command that ends without reading says more by its status than by a broken pipe.
    let written = match stdin.write_all(input.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    };
    drop(stdin);
    let output = child.wait_with_output()?;
    written.map(|()| output)
}

/// Runs the commands, one a line, all of them even if some fail. The error has what `ip` said,
/// which names failed commands by their line's number.
pub(super) fn batch(commands: &str) -> io::Result<()> {
    let mut ip = Command::new("ip");
    let output =
        feed(ip.args(["-force", "-batch", "-"]), commands).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                io::Error::new(e.kind(), "there is no program `ip`: install iproute2")
            }
            _ => e,
        })?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: Vec<&str> = said.lines().map(str::trim).collect();
            Err(io::Error::other(format!("ip: {}", said.join(", "))))
        }
    }
}
