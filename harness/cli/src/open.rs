//! `--open`: a page in the user's browser, by the program that desktops have for it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::terminal;

/// What desktops call it.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// The program that opens pages; none on a machine without a desktop.
fn opener() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // `open` means something else on Linux.
    let names = if cfg!(target_os = "macos") {
        &OPENERS[1..]
    } else {
        &OPENERS[..1]
    };
    let all = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|program| program.is_file())
}

fn none(page: &Path) {
    terminal::tell(format!(
        "--open: there is no {} here to open {}",
        OPENERS[0],
        page.display()
    ));
}

/// Opens a page, and waits for nobody.
pub fn open(page: &Path) {
    let Some(program) = opener() else {
        return none(page);
    };
    let page = absolute(page);
    let started = silent(Command::new(&program).arg(&page)).spawn();
    if let Err(e) = started {
        terminal::tell(format!("--open: {}: {e}", program.display()));
    }
}

/// Nothing that it says or is told concerns this command, and a Ctrl-C here is not meant for it.
fn silent(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
}

fn absolute(page: &Path) -> OsString {
    std::path::absolute(page)
        .unwrap_or_else(|_| page.into())
        .into()
}

/// A way to open a page later, from wherever this command is by then: a lab has no desktop, and
/// everything that is started in it ends with it. Whoever reads at its end opens the page.
pub type Way = OwnedFd;

/// Somebody who waits outside for the page's path, and ends if none comes; none where nobody could
/// open it.
pub fn later() -> Option<Way> {
    let mut command = Command::new("/bin/sh");
    let script = "IFS= read -r page && exec \"$0\" \"$page\" </dev/null";
    silent(command.arg("-c").arg(script).arg(opener()?)).stdin(Stdio::piped());
    Some(command.spawn().ok()?.stdin.take()?.into())
}

/// Has the page opened by whoever waits.
pub fn open_by(way: Option<Way>, page: &Path) {
    let Some(way) = way else {
        return none(page);
    };
    let line = [absolute(page).as_bytes(), b"\n"].concat();
    // If it is gone, so is whoever could be shown the page.
    let _ = File::from(way).write_all(&line);
}
