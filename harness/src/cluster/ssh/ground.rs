//! Whether the folder on a node may be used: what the node's shell asks before it does anything
//! there.
//!
//! Everything is done as root there, so whoever can put a folder, a link or a file in the way of
//! [`Place::dir`](super::node::Place) can have root write and run what he likes. So the path is
//! walked from `/` down, and each step is decided by one `stat` of what is really there, no link
//! followed:
//!
//! ```text
//!   /, /var, /var/lib    folders of root's that nobody else can write to. Where everybody can, as in
//!                        /tmp, the sticky bit keeps them from what is not theirs, and what is there is
//!                        no FUSE file system, which can say what it likes of owners
//!   /var/lib/schism      root's, mode 0700; empty, or with the file `made-by-schism` in it
//! ```
//!
//! Nobody but root can exchange what has passed. So it holds while the command runs, and for all
//! that was ever put there: programs are run from where they were compared. A machine that has
//! started anew may have lost the folder, and somebody may have made another: so it is asked before
//! every command.

use std::path::Path;

use super::link::quoted;

/// The file by which the folder is known.
pub(super) const MARK: &str = "made-by-schism";

/// The shell's functions. Messages go to stderr; nothing of the command is done after one.
const FUNCTIONS: &str = r#"
no() { printf '%s\n' "$1" >&2; exit 73; }
# Sets uid and mode of what is there itself.
at() {
    seen=$(stat -c '%u %f' "$1") || exit 73
    uid=${seen% *}; mode=$((0x${seen#* }))
    [ $((mode & 0170000)) -ne $((0120000)) ] ||
        no "$1 is a link to $(readlink "$1"): name the folder itself, with no link on the way to it"
    [ $((mode & 0170000)) -eq $((0040000)) ] || no "$1 is not a folder"
    [ -z "$shared" ] || [ "$(stat -f -c %t "$1")" != 65735546 ] ||
        no "$1 is a FUSE file system that any user may have mounted, and says of owners what he likes: choose a folder in one of root's, such as /var/lib/schism"
    shared=
}
step() {
    at "$1"
    [ "$uid" = 0 ] || [ "$uid" = "$own" ] ||
        no "$1 belongs to another user (uid $uid), who could put anything in the way: choose a folder in one of root's, such as /var/lib/schism"
    [ $((mode & 022)) -eq 0 ] || [ $((mode & 01000)) -ne 0 ] ||
        no "others can write to $1 (mode $(printf %o $((mode & 07777)))) and put anything in the way: choose a folder in one that only root can write to, such as /var/lib/schism"
    [ $((mode & 022)) -eq 0 ] || shared=yes
}
last() {
    at "$1"
    [ "$uid" = "$own" ] ||
        no "$1 belongs to another user (uid $uid): choose a folder that is not there yet, or remove this one"
    [ $((mode & 077)) -eq 0 ] ||
        no "others can use $1 (mode $(printf %o $((mode & 07777)))): take that from them (chmod 700 $1), or choose a folder that is not there yet"
    if [ "$2" = take ] && [ -z "$(ls -A "$1")" ]; then
        : >"$1/$mark" || exit 73
    fi
    [ -f "$1/$mark" ] && [ ! -L "$1/$mark" ] ||
        no "$1 is there and has no file $mark in it, so what it holds is not of Schism's making: choose an empty folder or one that is not there yet"
}
make() { [ -e "$2" ] || [ -L "$2" ] || mkdir -m "$1" "$2" || exit 73; }
"#;

/// What the shell does with the folder before all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Makes it if it is not there, and takes it if it is empty.
    Take,
    /// It must be there, and ours.
    Keep,
}

/// The beginning of every script that has to do with the folder. `dir` is absolute.
pub(super) fn guard(dir: &Path, claim: Claim) -> String {
    let mut script = format!("own=$(id -u); mark={MARK}; shared=;{FUNCTIONS}");
    let mut ways: Vec<&Path> = dir.ancestors().skip(1).collect();
    ways.reverse();
    let word = |path: &Path| quoted(&path.to_string_lossy());
    for way in ways {
        if claim == Claim::Take {
            script += &format!("make 755 {}; ", word(way));
        }
        script += &format!("step {}; ", word(way));
    }
    let dir = word(dir);
    script
        + &match claim {
            Claim::Take => format!("make 700 {dir}; last {dir} take\n"),
            Claim::Keep => format!("last {dir} keep\n"),
        }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    /// Runs it here, as whoever runs the tests.
    fn asked(dir: &Path, claim: Claim) -> Result<(), String> {
        answered(dir, claim, "")
    }

    /// The same where this has been said to the shell before.
    fn answered(dir: &Path, claim: Claim, before: &str) -> Result<(), String> {
        let script = before.to_string() + &guard(dir, claim) + "echo passed";
        let output = Command::new("/bin/sh").args(["-c", &script]).output();
        let output = output.expect("there is a shell");
        let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
        match output.status.code() {
            Some(0) => {
                assert_eq!((&output.stdout[..], said.as_str()), (&b"passed\n"[..], ""));
                Ok(())
            }
            Some(73) => {
                assert_eq!(output.stdout, b"");
                Err(said)
            }
            code => panic!("{code:?}: {said}"),
        }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn a_folder_is_made_taken_if_it_is_empty_and_known_again() {
        let place = tempfile::tempdir().expect("a folder");
        for name in ["a b/it's $(x)", "plain"] {
            let dir = place.path().join(name);
            let why = asked(&dir, Claim::Keep).expect_err("it is not there");
            assert!(why.contains("No such file"), "{why}");
            assert_eq!(asked(&dir, Claim::Take), Ok(()));
            assert_eq!(asked(&dir, Claim::Keep), Ok(()));
            fs::write(dir.join("run"), "").expect("ours");
            assert_eq!(asked(&dir, Claim::Take), Ok(()));
            let mode = fs::metadata(&dir).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }

    /// There, an owner is what its user says that it is.
    #[test]
    fn a_fuse_file_system_where_anybody_may_mount_one_is_refused() {
        let fuse = "stat() { case $1 in -f) echo 65735546;; *) command stat \"$@\";; esac; }\n";
        let place = tempfile::tempdir().expect("a folder");
        for (parent, mode, refused) in [("own", 0o755, false), ("shared", 0o1777, true)] {
            let parent = place.path().join(parent);
            fs::create_dir(&parent).expect("a folder");
            chmod(&parent, mode);
            let dir = parent.join("dir");
            assert_eq!(asked(&dir, Claim::Take), Ok(()));
            // That of all temporary folders is shared too.
            let is_plain = std::env::temp_dir().metadata().expect("is there");
            let shared = refused || is_plain.permissions().mode() & 0o022 != 0;
            let answer = answered(&dir, Claim::Keep, fuse);
            assert_eq!(answer.is_err(), shared, "{answer:?}");
            let says = |why: String| why.contains("FUSE");
            assert!(answer.err().is_none_or(says));
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_with_the_way_out_and_left_as_it_is() {
        let place = tempfile::tempdir().expect("a folder");
        let path = |name: &str| place.path().join(name);
        let made = |name: &str, mode: u32| {
            fs::create_dir(path(name)).expect("a folder");
            chmod(&path(name), mode);
        };
        made("project", 0o700);
        fs::write(path("project/run"), "precious").expect("ours");
        made("open", 0o750);
        made("everybody", 0o777);
        made("group", 0o770);
        made("sticky", 0o1777);
        fs::write(path("file"), "").expect("ours");
        symlink(path("project"), path("link")).expect("a link");
        made("marked", 0o700);
        symlink("/etc/hostname", path("marked").join(MARK)).expect("a link");
        for (name, says) in [
            ("project", "no file made-by-schism"),
            ("marked", "no file made-by-schism"),
            ("open", "chmod 700"),
            ("file", "not a folder"),
            ("file/below", "not a folder"),
            ("link", "is a link to"),
            ("link/below", "is a link to"),
            ("everybody/below", "mode 777"),
            ("everybody/below/deep", "mode 777"),
            ("group/below", "mode 770"),
        ] {
            let dir = path(name);
            for claim in [Claim::Take, Claim::Keep] {
                let why = asked(&dir, claim).expect_err(name);
                assert!(why.contains(says), "{name}: {why}");
            }
            assert!(!dir.join(MARK).is_file() || name == "marked", "{name}");
        }
        assert_eq!(asked(&path("sticky/below"), Claim::Take), Ok(()));
        let left = fs::read_dir(path("everybody")).expect("ours").count();
        assert_eq!(left, 0, "nothing is made where it is not safe");
        assert_eq!(
            fs::read_to_string(path("project/run")).expect("is there"),
            "precious"
        );
    }
}
