//! Users by name or number, and how a program becomes one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Gid, Signal, Uid, set_parent_process_death_signal};
use rustix::thread::{
    UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};

use crate::error::{Error, Result, io};

/// An image may hold anything in place of a list of users.
const LIST_MAX: u64 = 4 << 20;

/// A user of the file system that is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Groups besides its own.
    pub groups: Vec<u32>,
    /// Where it is at home, if it is in the list of users.
    pub home: Option<String>,
}

impl User {
    pub fn root() -> User {
        User {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            home: Some("/root".into()),
        }
    }
}

/// How a program becomes a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In its own eyes: a user namespace in which the own user has that user's number. What belongs
    /// to the one belongs to the other, and root has no more rights there than anybody.
    InName,
    /// For the kernel too, which needs the rights for it and takes files for whose they are.
    InFact,
}

impl How {
    /// In fact, where this user namespace knows all numbers; else in name.
    pub fn possible() -> How {
        let text = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        match text.split_whitespace().eq(["0", "0", "4294967295"]) {
            true => How::InFact,
            false => How::InName,
        }
    }
}

/// `USER` or `USER:GROUP`, each by name or number, as `/etc/passwd` and `/etc/group` know them.
///
/// # Errors
/// If a name is in neither.
pub fn find(text: &str) -> Result<User> {
    let (users, groups) = (read("/etc/passwd")?, read("/etc/group")?);
    look_up(text, &users, &groups)
}

/// A list that may be missing: then only numbers are known.
fn read(path: &str) -> Result<String> {
    let path = Path::new(path);
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(LIST_MAX).read_to_end(&mut bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
    .map_err(io("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn look_up(text: &str, users: &str, groups: &str) -> Result<User> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    let fields = |line: &str| line.split(':').map(str::to_string).collect::<Vec<_>>();
    let number = |fields: &[String], at: usize| fields.get(at)?.parse::<u32>().ok();
    let is = |fields: &[String], wanted: &str| {
        let by_number = wanted.parse().is_ok_and(|n| number(fields, 2) == Some(n));
        fields.first().is_some_and(|name| name == wanted) || by_number
    };
    let known = users.lines().map(fields).find(|user| is(user, name));
    let found = match (&known, name.parse()) {
        (Some(fields), _) => number(fields, 2).zip(number(fields, 3)),
        // A number that nobody has is as good as another, and of root's group.
        (None, Ok(uid)) => Some((uid, 0)),
        (None, Err(_)) => None,
    };
    let Some((uid, own)) = found else {
        return Err(Error::Refused(format!("there is no user {name:?} here")));
    };
    let gid = match group {
        None => own,
        Some(group) => {
            let known = groups.lines().map(fields).find(|known| is(known, group));
            let found = known.and_then(|fields| number(&fields, 2));
            let found = found.or_else(|| group.parse().ok());
            found.ok_or_else(|| Error::Refused(format!("there is no group {group:?} here")))?
        }
    };
    let called = known.as_ref().and_then(|fields| fields.first().cloned());
    let member = |fields: &Vec<String>| {
        let members = fields.get(3).map(String::as_str).unwrap_or_default();
        called
            .as_deref()
            .is_some_and(|own| members.split(',').any(|name| name == own))
    };
    let others = groups.lines().map(fields).filter(member);
    let groups = match group {
        Some(_) => Vec::new(),
        None => others.filter_map(|fields| number(&fields, 2)).collect(),
    };
    let home = known.and_then(|fields| fields.get(5).cloned());
    Ok(User {
        uid,
        gid,
        groups,
        home: home.filter(|home| home.starts_with('/')),
    })
}

/// Has the program become this user before it begins. To be asked of processes of one thread.
pub fn become_user(command: &mut Command, user: &User, how: How) {
    let User { uid, gid, .. } = *user;
    if how == How::InFact {
        let groups: Vec<Gid> = user
            .groups
            .iter()
            .map(|group| Gid::from_raw(*group))
            .collect();
        // SAFETY: plain system calls between fork and exec.
        unsafe {
            command.pre_exec(move || in_fact(Uid::from_raw(uid), Gid::from_raw(gid), &groups));
        }
        return;
    }
    let own = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    if own == (uid, gid) {
        return;
    }
    let maps = [
        ("/proc/self/setgroups", "deny".to_string()),
        ("/proc/self/uid_map", format!("{uid} {} 1", own.0)),
        ("/proc/self/gid_map", format!("{gid} {} 1", own.1)),
    ];
    // SAFETY: this process has one thread, so that the child may do all that it could.
    unsafe {
        command.pre_exec(move || in_name(&maps));
    }
}

fn in_name(maps: &[(&str, String)]) -> io::Result<()> {
    // SAFETY: no file descriptors are shared with anybody.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER)? };
    for (path, text) in maps {
        fs::write(path, text)?;
    }
    stay_bound()
}

fn in_fact(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    set_thread_groups(groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    stay_bound()
}

/// Whoever changes his rights loses the signal of the parent's death.
fn stay_bound() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nnats:x:10:20::/data:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\nnats:x:20:\ntls:x:30:other,nats\nnone:x:40:\n";

    fn found(text: &str) -> (u32, u32, Vec<u32>, Option<String>) {
        let user = look_up(text, USERS, GROUPS).expect("it is there");
        (user.uid, user.gid, user.groups, user.home)
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        let home = Some("/data".to_string());
        assert_eq!(found("nats"), (10, 20, vec![30], home.clone()));
        assert_eq!(found("10"), (10, 20, vec![30], home.clone()));
        assert_eq!(found("nats:tls"), (10, 30, vec![], home.clone()));
        assert_eq!(found("10:77"), (10, 77, vec![], home));
        assert_eq!(found("1000"), (1000, 0, vec![], None));
        assert_eq!(found("1000:nats"), (1000, 20, vec![], None));
        for (text, said) in [("natz", "\"natz\""), ("nats:x", "\"x\""), ("", "\"\"")] {
            let error = look_up(text, USERS, GROUPS).expect_err("it is not there");
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn root_is_a_user_of_this_machine() {
        let root = find("root").expect("it is there");
        assert_eq!((root.uid, root.gid), (0, 0));
    }
}
