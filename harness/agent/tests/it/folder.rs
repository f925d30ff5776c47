//! Whoever was at the agent's folder before it: links, second names, folders of somebody else's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::session::{Session, program};

const PRECIOUS: &str = "precious";

/// Runs the agent on `dir`, as a controller and by hand, and expects it to refuse with these words.
fn refuses(dir: &Path, says: &str) {
    for task in [&["heal"][..], &[]] {
        let output: Output = Command::new(program())
            .args(task)
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::null())
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{task:?}: {said}");
        assert!(said.contains(says), "{task:?}: {said}");
    }
}

#[test]
fn a_link_in_the_place_of_a_file_leads_nowhere() {
    for file in ["lock", "id", "undo.jsonl"] {
        let place = tempfile::tempdir().expect("a folder");
        let victim = place.path().join("victim");
        let new = place.path().join("new");
        let dir = place.path().join("agent");
        fs::create_dir(&dir).expect("a folder");
        fs::write(&victim, PRECIOUS).expect("writes");
        let way = dir.join(file);

        symlink(&victim, &way).expect("a link");
        refuses(&dir, &format!("{file} is a link"));
        fs::remove_file(&way).expect("ours");
        symlink(&new, &way).expect("a link to nothing");
        refuses(&dir, &format!("{file} is a link"));
        fs::remove_file(&way).expect("ours");
        fs::hard_link(&victim, &way).expect("another name");
        refuses(&dir, &format!("{file} has another name"));
        fs::remove_file(&way).expect("ours");
        let made = Command::new("mkfifo").arg(&way).status();
        assert!(made.expect("coreutils are everywhere").success());
        refuses(&dir, &format!("{file} is no regular file"));

        assert_eq!(fs::read_to_string(&victim).expect("reads"), PRECIOUS);
        assert!(!new.exists(), "{file}");
    }
}

/// The agent writes its name beside, and renames.
#[test]
fn a_link_where_a_file_is_about_to_be_made_is_taken_away() {
    let place = tempfile::tempdir().expect("a folder");
    let victim = place.path().join("victim");
    let dir = place.path().join("agent");
    fs::create_dir(&dir).expect("a folder");
    fs::write(&victim, PRECIOUS).expect("writes");
    symlink(&victim, dir.join("id.new")).expect("a link");
    let mut agent = Session::open(&dir);
    assert!(agent.close().success());
    assert_eq!(fs::read_to_string(&victim).expect("reads"), PRECIOUS);
    let id = fs::symlink_metadata(dir.join("id")).expect("is there");
    assert!(id.is_file());
    assert_eq!(id.len(), 36);
}

#[test]
fn a_folder_that_others_can_write_to_or_that_is_a_link_is_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("agent");
    fs::create_dir(&dir).expect("a folder");
    for mode in [0o777, 0o1777, 0o770] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).expect("ours");
        refuses(&dir, "can be written to by others");
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("ours");
    let link = place.path().join("link");
    symlink(&dir, &link).expect("a link");
    refuses(&link, "is a link or no folder");
    assert_eq!(fs::read_dir(&dir).expect("ours").count(), 0);
    // One that is not there is made for its user alone.
    let own = place.path().join("deep/own");
    let mut agent = Session::open(&own);
    assert!(agent.close().success());
    assert_eq!(fs::metadata(&own).expect("made").mode() & 0o777, 0o700);
}

#[test]
fn what_belongs_to_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: it needs root, to make what is somebody else's");
        return;
    }
    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("agent");
    fs::create_dir(&dir).expect("a folder");
    chown(&dir, Some(4242), Some(4242)).expect("root may");
    refuses(&dir, "belongs to another user (uid 4242");
    assert_eq!(fs::read_dir(&dir).expect("readable").count(), 0);
    chown(&dir, Some(0), Some(0)).expect("root may");
    let lock = dir.join("lock");
    fs::write(&lock, PRECIOUS).expect("writes");
    chown(&lock, Some(4242), Some(4242)).expect("root may");
    refuses(&dir, "lock belongs to another user (uid 4242");
    assert_eq!(fs::read_to_string(&lock).expect("reads"), PRECIOUS);
}
