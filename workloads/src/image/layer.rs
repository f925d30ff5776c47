//! One layer over those before it. All that is written is written below the root: folders on the
//! way are opened by the kernel as a process would that has this root, so that no `..` and no link
//! leads out, and the last name of a path is never followed.
//!
//! A layer is gone through twice. What it removes was made by layers below it, never by itself, in
//! whatever order its entries stand; so it is removed first.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, chownat,
    fchmod, linkat, mkdirat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, EntryType};

use super::Contents;
use super::items::{Item, walk};

/// More than any image has. A layer of zeros is small, and its content is not.
const BYTES_MAX: u64 = 32 << 30;
const ENTRIES_MAX: u64 = 2_000_000;

/// What removes a name, and what removes all of a folder.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What an old file system of Docker's noted down for itself.
const NOTE: &[u8] = b".wh..wh.";

/// A folder that layers are put into.
pub struct Layers {
    root: OwnedFd,
    owners_kept: bool,
    bytes: u64,
    entries: u64,
    pub contents: Contents,
}

type Parts<'a> = Vec<&'a OsStr>;

impl Layers {
    pub fn new(root: &Path, owners_kept: bool) -> Result<Layers, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(root, flags, Mode::empty());
        let root = opened.map_err(|e| format!("{}: {e}", root.display()))?;
        // Whatever the caller's mask is: other users than its own look into it.
        fchmod(&root, Mode::from_raw_mode(0o755)).map_err(|e| e.to_string())?;
        Ok(Layers {
            root,
            owners_kept,
            bytes: 0,
            entries: 0,
            contents: Contents {
                owners_kept,
                ..Contents::default()
            },
        })
    }

    /// Removes what the layer says is no longer there.
    pub fn remove_below(&mut self, layer: impl Read) -> Result<(), String> {
        let mut gone = BTreeSet::new();
        let mut tar = Archive::new(layer);
        walk(tar.entries().map_err(|e| e.to_string())?, |item, _| {
            let parts = parts(&item.name)?;
            let Some((last, folder)) = parts.split_last() else {
                return Ok(());
            };
            let removed = match last.as_bytes() {
                OPAQUE => None,
                name if name.starts_with(NOTE) => return Ok(()),
                name => match name.strip_prefix(WHITEOUT) {
                    Some(name) => Some(name),
                    None => return Ok(()),
                },
            };
            // A name that was removed once is not looked for again: hostile layers are long.
            if !gone.insert(item.name.clone()) || gone.len() as u64 > ENTRIES_MAX {
                return Ok(());
            }
            let Some(folder) = self.folder(folder)? else {
                return Ok(());
            };
            match removed {
                None => empty(folder.as_fd()),
                Some(name @ (b"" | b"." | b"..")) => {
                    let name = String::from_utf8_lossy(name);
                    Err(format!("it removes {name:?}, which is no file's name"))
                }
                Some(name) => remove(folder.as_fd(), OsStr::from_bytes(name)),
            }
            .map_err(|why| format!("{}: {why}", shown(&item.name)))
        })
    }

    /// Adds what the layer has.
    pub fn add(&mut self, layer: impl Read) -> Result<(), String> {
        let mut tar = Archive::new(layer);
        walk(
            tar.entries().map_err(|e| e.to_string())?,
            |item, content| {
                self.entries += 1;
                if self.entries > ENTRIES_MAX {
                    return Err(format!("it has more than {ENTRIES_MAX} files"));
                }
                let name = shown(&item.name);
                self.put(&item, content)
                    .map_err(|why| format!("{name}: {why}"))
            },
        )
    }

    fn put(&mut self, item: &Item, content: &mut impl Read) -> Result<(), String> {
        let parts = parts(&item.name)?;
        let Some((last, folder)) = parts.split_last() else {
            let root = self.open(&[]).map_err(|e| e.to_string())?;
            return self.finish(root.as_fd(), OsStr::new("."), item);
        };
        if last.as_bytes().starts_with(WHITEOUT) {
            return Ok(());
        }
        let kind = match item.kind {
            EntryType::Char | EntryType::Block => Some("device files"),
            EntryType::Fifo => Some("pipes"),
            kind if kind.is_file() || kind.is_dir() => None,
            EntryType::Continuous | EntryType::Link | EntryType::Symlink => None,
            kind => return Err(format!("no image has entries of kind {:?}", kind.as_byte())),
        };
        if let Some(kind) = kind {
            *self.contents.skipped.entry(kind.into()).or_default() += 1;
            return Ok(());
        }
        let parent = self.make_folder(folder)?;
        let parent = parent.as_fd();
        let is_folder = item.kind.is_dir();
        // A folder over a folder keeps what is in it; anything else takes the place of what was.
        let there = kind_of(parent, last)?;
        if there.is_some() && !(is_folder && there == Some(FileType::Directory)) {
            remove(parent, last)?;
        }
        match item.kind {
            EntryType::Directory => match mkdirat(parent, *last, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.to_string()),
            },
            EntryType::Symlink => {
                let to = OsStr::from_bytes(&item.link);
                symlinkat(to, parent, *last).map_err(|e| e.to_string())?;
            }
            // It is that file, with its owner and rights.
            EntryType::Link => return self.link(item, parent, last),
            _ => self.write(parent, last, content)?,
        }
        self.finish(parent, last, item)
    }

    fn link(&self, item: &Item, parent: BorrowedFd<'_>, last: &OsStr) -> Result<(), String> {
        let parts = parts(&item.link)?;
        let to = shown(&item.link);
        let (name, folder) = parts.split_last().ok_or("a link to the root itself")?;
        let folder = self
            .folder(folder)?
            .ok_or(format!("a link to {to}, which is not there"))?;
        linkat(folder, *name, parent, last, AtFlags::empty())
            .map_err(|e| format!("a link to {to}: {e}"))
    }

    fn write(
        &mut self,
        parent: BorrowedFd<'_>,
        last: &OsStr,
        content: &mut impl Read,
    ) -> Result<(), String> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, last, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(|e| e.to_string())?);
        let left = BYTES_MAX.saturating_sub(self.bytes);
        let written =
            io::copy(&mut content.take(left + 1), &mut file).map_err(|e| e.to_string())?;
        self.bytes += written;
        match written > left {
            true => Err(format!("the image has more than {} GiB", BYTES_MAX >> 30)),
            false => Ok(()),
        }
    }

    /// Owner, rights and time of what was made.
    fn finish(&mut self, parent: BorrowedFd<'_>, last: &OsStr, item: &Item) -> Result<(), String> {
        let fail = |e: Errno| e.to_string();
        *self.contents.owners.entry(item.uid).or_default() += 1;
        if self.owners_kept {
            let (uid, gid) = (Uid::from_raw(item.uid), Gid::from_raw(item.gid));
            chownat(
                parent,
                last,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(fail)?;
        }
        if item.kind != EntryType::Symlink {
            let mut mode = item.mode & 0o7777;
            if !self.owners_kept {
                // To become the owner of a file that is one's own already means nothing.
                mode &= 0o1777;
            }
            if item.kind.is_dir() {
                // Later layers, and whoever removes it, must be able to.
                mode |= 0o700;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let made = openat(parent, last, flags, Mode::empty()).map_err(fail)?;
            fchmod(made, Mode::from_raw_mode(mode)).map_err(fail)?;
        }
        let then = Timespec {
            tv_sec: i64::try_from(item.mtime).unwrap_or_default(),
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: then,
            last_modification: then,
        };
        utimensat(parent, last, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)
    }

    /// The folder of this path, if there is one.
    fn folder(&self, path: &[&OsStr]) -> Result<Option<OwnedFd>, String> {
        match self.open(path) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    fn make_folder(&self, path: &[&OsStr]) -> Result<OwnedFd, String> {
        if let Ok(folder) = self.open(path) {
            return Ok(folder);
        }
        let mut folder = self.open(&[]).map_err(|e| e.to_string())?;
        for (at, part) in (1..).zip(path) {
            match mkdirat(&folder, *part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.to_string()),
            }
            folder = self.open(&path[..at]).map_err(|e| match e {
                Errno::NOENT => "a link to nowhere stands on the way".to_string(),
                e => e.to_string(),
            })?;
        }
        Ok(folder)
    }

    fn open(&self, path: &[&OsStr]) -> Result<OwnedFd, Errno> {
        let path = match path {
            [] => b".".to_vec(),
            path => path.join(OsStr::new("/")).as_bytes().to_vec(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        openat2(
            &self.root,
            OsStr::from_bytes(&path),
            flags,
            Mode::empty(),
            within,
        )
    }
}

/// The names of a path, from the root on.
fn parts(path: &[u8]) -> Result<Parts<'_>, String> {
    let parts = path.split(|byte| *byte == b'/');
    let parts: Parts<'_> = parts
        .filter(|part| !matches!(*part, b"" | b"."))
        .map(OsStr::from_bytes)
        .collect();
    match parts.iter().any(|part| *part == "..") {
        true => Err(format!(
            "{} leads upwards, which no image needs",
            shown(path)
        )),
        false => Ok(parts),
    }
}

fn shown(path: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(path).into_owned();
    if text.chars().count() > 200 {
        text = text.chars().take(200).chain("...".chars()).collect();
    }
    text
}

fn kind_of(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Option<FileType>, String> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(FileType::from_raw_mode(found.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// Removes a file, or a folder with all that is in it; fine if it is not there.
fn remove(folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), String> {
    let fail = |e: Errno| e.to_string();
    match kind_of(folder, name)? {
        None => Ok(()),
        Some(FileType::Directory) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = openat(folder, name, flags, Mode::empty()).map_err(fail)?;
            empty(inner.as_fd())?;
            unlinkat(folder, name, AtFlags::REMOVEDIR).map_err(fail)
        }
        Some(_) => unlinkat(folder, name, AtFlags::empty()).map_err(fail),
    }
}

/// Removes all that is in a folder.
fn empty(folder: BorrowedFd<'_>) -> Result<(), String> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let name = entry.file_name().to_bytes().to_vec();
        if !matches!(&name[..], b"." | b"..") {
            names.push(name);
        }
    }
    names
        .iter()
        .try_for_each(|name| remove(folder, OsStr::from_bytes(name)))
}
