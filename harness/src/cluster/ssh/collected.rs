//! Where what a node calls its logs comes to lie here.
//!
//! A node may call its files as it likes, and may not be the node that it was. So a name is made of
//! plain parts or refused; each folder on the way is opened by itself, below the run's own and
//! never through a link; and a file is made anew or not at all.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

/// Folders in folders that a log may lie in.
const DEEPEST: usize = 16;
/// Bytes of a name's part: no file system takes more.
const LONGEST: usize = 255;

/// Logs of one node that are fetched.
const MOST: usize = 1_000;

/// Fetches each of a node's logs, as many as there may be, within this time; says what went wrong.
/// One that cannot be fetched does not keep the others.
pub(super) fn each(
    logs: &[String],
    time: Duration,
    mut fetch: impl FnMut(&str) -> Result<(), String>,
) -> Vec<String> {
    let all = logs.len();
    let mut troubles = Vec::new();
    if all > MOST {
        troubles.push(format!("it has {all} logs, of which {MOST} were fetched"));
    }
    let deadline = Instant::now() + time;
    for (done, log) in logs.iter().take(MOST).enumerate() {
        if Instant::now() >= deadline {
            let seconds = time.as_secs();
            troubles.push(format!(
                "after {seconds} s {done} of its {all} logs were fetched"
            ));
            break;
        }
        let failed = fetch(log).err();
        troubles.extend(failed.map(|why| format!("log {log:?}: {why}")));
    }
    troubles
}

/// The parts of a name that a node gave, the last of which is the file's.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parts(name: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<&str> = name.split('/').collect();
    let plain = |part: &&str| {
        !matches!(*part, "" | "." | "..")
            && part.len() <= LONGEST
            && !part.chars().any(char::is_control)
    };
    match parts.iter().all(plain) && parts.len() <= DEEPEST {
        true => Ok(parts),
        false => Err("that is no name of a file below its log folder".into()),
    }
}

/// A folder of the run's.
pub(super) struct Folder(OwnedFd);

const FOLDER: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Folder {
    pub fn open(path: &Path) -> io::Result<Folder> {
        Ok(Folder(openat(CWD, path, FOLDER, Mode::empty())?))
    }

    /// Makes a file, and the folders that it lies in.
    pub fn create(&self, parts: &[&str]) -> io::Result<File> {
        let Some((file, folders)) = parts.split_last() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut at = self.0.try_clone()?;
        for folder in folders {
            match mkdirat(&at, *folder, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            at = openat(&at, *folder, FOLDER, Mode::empty())?;
        }
        let anew =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&at, *file, anew, Mode::from_raw_mode(0o666))?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_fetched_until_there_were_enough_or_the_time_is_over() {
        let logs: Vec<String> = (0..1_500).map(|n| format!("{n}.log")).collect();
        let hour = Duration::from_secs(3_600);
        let mut fetched = 0;
        let odd = |log: &str| {
            fetched += 1;
            match log {
                "7.log" => Err("is torn".into()),
                _ => Ok(()),
            }
        };
        let troubles = each(&logs, hour, odd);
        let too_many = "it has 1500 logs, of which 1000 were fetched";
        assert_eq!(troubles, [too_many, "log \"7.log\": is torn"]);
        assert_eq!(fetched, 1_000);
        // A node that takes its time over each.
        let time = Duration::from_millis(50);
        let slow = |_: &str| {
            std::thread::sleep(time);
            Ok(())
        };
        let troubles = each(&logs[..9], time, slow);
        assert_eq!(troubles, ["after 0 s 1 of its 9 logs were fetched"]);
    }
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_name_is_made_of_plain_parts() {
        assert_eq!(parts("a.log"), Ok(vec!["a.log"]));
        assert_eq!(parts("a/b c/..d"), Ok(vec!["a", "b c", "..d"]));
        for name in [
            "",
            "/etc/x",
            "a//b",
            "../x",
            "a/../../x",
            "a/..",
            ".",
            "./x",
            "a/",
            "a\u{1b}[2J",
            "a\0b",
            "a\rb",
            &"x".repeat(256),
            &"a/".repeat(1_000),
        ] {
            assert!(parts(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn nothing_gets_out_of_the_folder_or_over_what_is_in_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir(&inside).expect("ours");
        fs::create_dir(&outside).expect("ours");
        fs::write(outside.join("victim"), "precious").expect("ours");
        symlink(&outside, inside.join("link")).expect("ours");
        symlink(outside.join("victim"), inside.join("file")).expect("ours");
        symlink(outside.join("new"), inside.join("dangling")).expect("ours");
        fs::write(inside.join("there"), "precious").expect("ours");
        let folder = Folder::open(&inside).expect("it is there");
        for taken in [
            &["link", "victim"][..],
            &["link", "new"],
            &["file"],
            &["dangling"],
            &["there"],
            &["there", "below"],
            &[],
        ] {
            assert!(folder.create(taken).is_err(), "{taken:?}");
        }
        assert_eq!(fs::read_dir(&outside).expect("there").count(), 1);
        let victim = fs::read_to_string(outside.join("victim"));
        assert_eq!(victim.expect("there"), "precious");
        let mut file = folder.create(&["a", "b", "c.log"]).expect("is free");
        file.write_all(b"said").expect("ours");
        let read = fs::read_to_string(inside.join("a/b/c.log"));
        assert_eq!(read.expect("there"), "said");
        assert!(Folder::open(&inside.join("link")).is_err());
    }
}
