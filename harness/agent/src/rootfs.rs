//! The file system of an image, in which programs of a node run instead of in the node's own.
//!
//! ```text
//!   root    the image, unpacked; read-only and the same for all nodes
//!   layer   what this node has written since, in its folder of the run: upper, work
//!           overlay of both ─ pivot_root ─▶ /   with /proc, /sys, a /dev of harmless devices, and
//!                                               the node's own folders where they always are
//! ```
//!
//! An image is a stranger's: any name in it may be a link to anywhere. So whatever is shown in it
//! is opened before the root is exchanged and put in its place after that, where no link leads out.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, Gid, Mode, Uid};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, UnshareFlags, move_into_link_name_space,
    remove_capability_from_bounding_set, unshare_unsafe,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, doing, io};
use crate::tree::{self, Ident, MARKER};
use crate::user::{How, User};

/// Where programs are looked for if the image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Devices that harm nobody.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What of the node's own is said in the image's files too.
const OF_NODE: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Through these somebody who is root could change the machine.
const READ_ONLY: [&str; 5] = [
    "/proc/sys",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/sysrq-trigger",
];

/// What root keeps of its rights, as container engines have it; devices are not made.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT);

/// An image for the programs of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rootfs {
    /// Where it is unpacked.
    pub root: PathBuf,
    /// Where that is kept which the node writes, and where the whole is mounted.
    pub layer: PathBuf,
    /// Of the node's, and seen in the image at the same place.
    pub shown: Vec<PathBuf>,
    /// The environment that the image gives its programs.
    pub env: BTreeMap<String, String>,
}

/// `map_err(at("mount", "/proc"))`
fn at(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(rustix::io::Errno) -> Error {
    let path = path.into();
    move |e| io(what, &path)(e.into())
}

impl Rootfs {
    fn running(&self) -> PathBuf {
        self.layer.join("running")
    }

    /// Goes into the image for good, with all that this process will start.
    ///
    /// # Errors
    /// The step that failed. A kernel without `overlay` fails in the second.
    pub fn enter(&self) -> Result<()> {
        let said = |path: &str| (path.to_string(), fs::read(path).unwrap_or_default());
        let said = OF_NODE.map(said);
        // As container engines have it: without root's rights, servers take low ports all the same.
        let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
        // SAFETY: file descriptors, the only thing that threads could miss, are not unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(at("leave the mounts of", "/"))?;
        let own = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", own).map_err(at("keep for itself", "/"))?;
        let whole = self.overlay()?;
        let shown = self.open_shown()?;

        std::env::set_current_dir(&whole).map_err(io("enter", &whole))?;
        rustix::process::pivot_root(".", ".").map_err(at("make the root", &whole))?;
        // The old root lies on the new one now.
        unmount(".", UnmountFlags::DETACH).map_err(at("leave", "the node's files"))?;
        std::env::set_current_dir("/").map_err(io("enter", Path::new("/")))?;

        // Before anything is shown: no link can lead into that.
        for (path, text) in &said {
            put(Path::new(path), text)?;
        }
        devices()?;
        for (path, tree) in shown {
            attach(&tree, &path)?;
        }
        for path in READ_ONLY
            .map(Path::new)
            .into_iter()
            .filter(|path| path.exists())
        {
            protect(path)?;
        }
        let tmp = Path::new("/tmp");
        if !tmp.exists() {
            fs::create_dir(tmp).map_err(io("make", tmp))?;
            rustix::fs::chmod(tmp, Mode::from_raw_mode(0o1777)).map_err(at("open", tmp))?;
        }
        let me = tree::read(std::process::id()).map(|process| process.ident);
        let me = serde_json::to_string(&me).expect("numbers are JSON");
        fs::write(self.running(), me).map_err(io("write", &self.running()))
    }

    fn overlay(&self) -> Result<PathBuf> {
        let part = |name: &str| {
            let path = self.layer.join(name);
            fs::create_dir_all(&path)
                .map_err(io("make", &path))
                .map(|()| path)
        };
        let (upper, work, whole) = (part("upper")?, part("work")?, part("whole")?);
        let mut options = format!(
            "lowerdir={},upperdir={},workdir={},index=off",
            self.root.display(),
            upper.display(),
            work.display()
        );
        // What an ordinary user may not note down in `trusted` attributes goes into `user`.
        if How::possible() == How::InName {
            options += ",userxattr";
        }
        let options = CString::new(options).map_err(|e| doing("mount the image")(e.into()))?;
        mount(
            "overlay",
            &whole,
            "overlay",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .map_err(at("mount an overlay (`modprobe overlay`?) at", &whole))?;
        Ok(whole)
    }

    fn open_shown(&self) -> Result<Vec<(PathBuf, OwnedFd)>> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        let devices = DEVICES.map(|name| Path::new("/dev").join(name));
        let devices = devices.into_iter().filter(|device| device.exists());
        let system = ["/proc", "/sys"].map(PathBuf::from).into_iter();
        let all = system.chain(devices).chain(self.shown.iter().cloned());
        all.map(|path| {
            let tree = open_tree(CWD, &path, flags).map_err(at("show", &path))?;
            Ok((path, tree))
        })
        .collect()
    }

    /// Prepares a program to be started in the image: its environment, and its rights.
    pub fn dress(&self, command: &mut Command, env: &BTreeMap<String, String>, user: &User) {
        let marker = std::env::var_os(MARKER);
        let home = user.home.as_deref().unwrap_or("/");
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", home)
            .envs(&self.env)
            .envs(env)
            .envs(marker.map(|marker| (MARKER, marker)));
        // SAFETY: plain system calls between fork and exec.
        unsafe {
            command.pre_exec(drop_rights);
        }
    }

    /// Gives a user, in fact, what it must be able to write to: its data, and what it says.
    pub fn give(&self, data: &Path, user: &User) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        rustix::fs::chown(data, Some(uid), Some(gid)).map_err(at("give away", data))?;
        // By /dev/stdout it is opened again, as a file.
        for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
            rustix::fs::fchown(output, Some(uid), Some(gid)).map_err(at("give away", "the log"))?;
        }
        Ok(())
    }

    /// Joins those who run in the image already.
    ///
    /// # Errors
    /// If nobody does.
    pub fn join(&self) -> Result<()> {
        let nobody = || Error::Refused("nothing runs in the image now".into());
        let text = fs::read_to_string(self.running()).map_err(|_| nobody())?;
        let who: Option<Ident> = serde_json::from_str(&text).map_err(|_| nobody())?;
        let who = who.ok_or_else(nobody)?;
        let path = PathBuf::from(format!("/proc/{}/ns/mnt", who.pid));
        let mounts = fs::File::open(&path).map_err(|_| nobody())?;
        // Opened first: whoever has the number later has not been joined.
        if tree::read(who.pid).map(|process| process.ident) != Some(who) {
            return Err(nobody());
        }
        use std::os::fd::AsFd;
        move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
            .map_err(at("join", &path))
    }
}

/// Leaves what container engines leave.
fn drop_rights() -> io::Result<()> {
    for right in CapabilitySet::all().difference(KEPT).iter() {
        match remove_capability_from_bounding_set(right) {
            // Not known to this kernel.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Writes a file of the image anew.
fn put(path: &Path, text: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io("make", folder))?;
    }
    // What is there may be a link to nowhere, or a pipe.
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io("replace", path)(e)),
        _ => {}
    }
    fs::write(path, text).map_err(io("write", path))
}

fn devices() -> Result<()> {
    let dev = Path::new("/dev");
    tmpfs(dev, c"mode=755,size=1m")?;
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        let link = dev.join(name);
        symlink(to, &link).map_err(io("make", &link))?;
    }
    tmpfs(&dev.join("shm"), c"mode=1777")?;
    let pts = dev.join("pts");
    fs::create_dir(&pts).map_err(io("make", &pts))?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    mount("devpts", &pts, "devpts", flags, options).map_err(at("mount", &pts))
}

fn tmpfs(place: &Path, options: &std::ffi::CStr) -> Result<()> {
    fs::create_dir_all(place).map_err(io("make", place))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", place, "tmpfs", flags, options).map_err(at("mount", place))
}

/// Puts what was opened into its place in the image.
fn attach(tree: &OwnedFd, place: &Path) -> Result<()> {
    let kind = rustix::fs::fstat(tree).map_err(at("look at", place))?;
    let folder = rustix::fs::FileType::from_raw_mode(kind.st_mode).is_dir();
    let target = if folder { Some(place) } else { place.parent() };
    if let Some(target) = target {
        fs::create_dir_all(target).map_err(io("make", target))?;
    }
    if !folder {
        fs::write(place, "").map_err(io("make", place))?;
    }
    move_mount(
        tree,
        "",
        CWD,
        place,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(at("show", place))
}

fn protect(path: &Path) -> Result<()> {
    mount_bind_recursive(path, path).map_err(at("protect", path))?;
    let flags = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC;
    mount_remount(path, flags, c"").map_err(at("protect", path))
}
