//! The agent's own folder: the journal, the lock, the name and the socket, and nothing of
//! anybody's.
//!
//! The agent is root on a node. A folder that another user made beforehand, or a link that he put
//! in the place of one of these files, would have it write where he likes. So nothing is opened by
//! a path of several steps: the folder is opened once and looked at, and its files are opened in
//! it, without following a link, and looked at before they are used.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, Result, io};

/// DIR, open.
#[derive(Debug)]
pub struct Folder {
    /// By its one true name.
    path: PathBuf,
    fd: OwnedFd,
}

impl Folder {
    /// Opens DIR, and makes it if it is not there.
    ///
    /// # Errors
    /// It is a link, belongs to somebody else, or others can write to it. Process 1 of a namespace
    /// has its whole file system arranged for it and does not ask whose it is: a lab's may lie on a
    /// disk that knows no owners.
    pub fn open(dir: &Path) -> Result<Folder> {
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(io("make the folder", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io("make the folder", dir)(error));
            }
            _ => {}
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty()).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => {
                let dir = dir.display();
                Error::Refused(format!(
                    "{dir} is a link or no folder: name a folder itself"
                ))
            }
            error => io("open the folder", dir)(error.into()),
        })?;
        let seen = fstat(&fd).map_err(|error| io("look at", dir)(error.into()))?;
        if std::process::id() != 1 {
            ours(&seen).map_err(|why| {
                let dir = dir.display();
                Error::Refused(format!(
                    "{dir} {why}: choose a folder that nobody else can write to"
                ))
            })?;
        }
        let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let path = path.map_err(io("find the folder", dir))?;
        Ok(Folder { path, fd })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens one of the folder's files for reading and writing, and makes it if it is not there.
    /// What is in it stays.
    ///
    /// # Errors
    /// It is a link, another kind of file, has a second name, or is somebody else's.
    pub fn file(&self, name: &str, more: OFlags) -> Result<File> {
        let path = self.path.join(name);
        let refused = |why: &str| {
            let path = path.display();
            Error::Refused(format!(
                "{path} {why}, so it is not this agent's: remove it, or choose another folder"
            ))
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&self.fd, name, flags | more, Mode::RUSR | Mode::WUSR);
        let fd = opened.map_err(|error| match error {
            Errno::LOOP => refused("is a link"),
            Errno::ISDIR => refused("is a folder"),
            error => io("open", &path)(error.into()),
        })?;
        let seen = fstat(&fd).map_err(|error| io("look at", &path)(error.into()))?;
        if FileType::from_raw_mode(seen.st_mode) != FileType::RegularFile {
            return Err(refused("is no regular file"));
        }
        if seen.st_nlink != 1 {
            return Err(refused("has another name besides"));
        }
        if std::process::id() != 1 {
            ours(&seen).map_err(|why| refused(&why))?;
        }
        Ok(File::from(fd))
    }

    /// Makes a file with this content in one step: whoever looks sees all of it, or what was
    /// before.
    pub fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let beside = format!("{name}.new");
        let path = self.path.join(&beside);
        let failed = |error: Errno| io("write", &path)(error.into());
        match unlinkat(&self.fd, &beside, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error)),
        }
        let mut file = self.file(&beside, OFlags::EXCL)?;
        io::Write::write_all(&mut file, content).map_err(io("write", &path))?;
        renameat(&self.fd, &beside, &self.fd, name).map_err(failed)
    }
}

/// Whether nobody else could have made it, or can change it. The error goes on behind its name.
fn ours(seen: &Stat) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    if seen.st_uid != own {
        return Err(format!(
            "belongs to another user (uid {}; this is uid {own})",
            seen.st_uid
        ));
    }
    match seen.st_mode & 0o022 {
        0 => Ok(()),
        _ => Err(format!(
            "can be written to by others (mode {:o})",
            seen.st_mode & 0o7777
        )),
    }
}
