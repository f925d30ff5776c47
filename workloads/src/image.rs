//! Images as `docker save` writes them: which there are in a file, what one says of how it is
//! started, and its files in a folder. No engine has a part in it.
//!
//! [`archive`] is the file around the layers, [`config`] what an image says of itself, [`layer`]
//! one layer put over those before it, [`cache`] where the whole is kept. Everything here is a
//! stranger's: sizes are bounded, and no name leads out of the folder.

mod archive;
pub mod cache;
mod config;
mod items;
mod layer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use agent::user::How;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use self::archive::{Archive, Found};
pub use self::config::{Config, Started};
use self::layer::Layers;

/// A list of users that is larger than this is none.
const USERS_MAX: u64 = 4 << 20;

/// Why an image cannot be used.
#[derive(Debug, Error)]
#[error("{}: {why}", path.display())]
pub struct ImageError {
    pub path: PathBuf,
    pub why: String,
}

/// An image in a file.
#[derive(Debug)]
pub struct Image {
    archive: Archive,
    found: Found,
    config: Config,
    /// SHA-256 of its configuration, which names the SHA-256 of every layer.
    digest: String,
}

/// An image whose files are in a folder.
#[derive(Clone, Debug)]
pub struct Unpacked {
    pub root: PathBuf,
    /// `nats:2.10 (sha256:...)`
    pub title: String,
    pub config: Config,
    pub contents: Contents,
}

/// What was seen when it was unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Whether files belong to whom the image says, which only root can do.
    pub owners_kept: bool,
    /// Numbers of users to whom files belong in the image, and how many.
    pub owners: BTreeMap<u32, u64>,
    /// What was left out, by kind: devices and pipes.
    pub skipped: BTreeMap<String, u64>,
}

/// How whoever waits is told that something takes a while.
static TELL: OnceLock<fn(&str)> = OnceLock::new();

/// Has what takes a while announced so.
pub fn tell_by(tell: fn(&str)) {
    // Set once, at the start of the program.
    let _ = TELL.set(tell);
}

impl Image {
    /// Reads what the file says of its images, and chooses one: the only one, or that of this name.
    ///
    /// # Errors
    /// If the file is no image, if there are several and none is named, or if it is for another
    /// machine.
    pub fn open(path: &Path, name: Option<&str>) -> Result<Image, ImageError> {
        let open = || {
            let archive = Archive::open(path)?;
            let found = archive.choose(name)?;
            let text = archive.text(&found.config)?;
            let config = Config::read(&text)?;
            config.check_machine()?;
            if config.rootfs.diff_ids.len() != found.layers.len() {
                return Err(format!(
                    "its configuration tells of {} layers, and there are {}",
                    config.rootfs.diff_ids.len(),
                    found.layers.len()
                ));
            }
            let digest = hex(&Sha256::digest(&text));
            Ok(Image {
                archive,
                found,
                config,
                digest,
            })
        };
        open().map_err(|why| wrong(path, why))
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its files in a folder: those of an earlier time, if it was unpacked before.
    ///
    /// # Errors
    /// If a layer is not what the configuration says, has what no image has, or there is no room.
    pub fn unpack(&self) -> Result<Unpacked, ImageError> {
        let fail = |why| wrong(self.archive.path(), why);
        self.unpack_in(&cache::folder().map_err(fail)?)
    }

    fn unpack_in(&self, cache: &Path) -> Result<Unpacked, ImageError> {
        let fail = |why| wrong(self.archive.path(), why);
        let owners_kept = knows_all_users();
        let key = match owners_kept {
            true => format!("{}-owned", self.digest),
            false => self.digest.clone(),
        };
        let (root, contents) = cache::get(cache, &key, |root| {
            if let Some(tell) = TELL.get() {
                tell(&format!("unpacking {}", self.archive.path().display()));
            }
            let contents = self.fill(root, owners_kept)?;
            let kinds = contents.skipped.iter();
            let kinds: Vec<_> = kinds.map(|(kind, n)| format!("{n} {kind}")).collect();
            if let (Some(tell), false) = (TELL.get(), kinds.is_empty()) {
                tell(&format!("left out of the image: {}", kinds.join(", ")));
            }
            Ok(contents)
        })
        .map_err(fail)?;
        let name = self.found.names.first().map_or("an image", String::as_str);
        Ok(Unpacked {
            root,
            title: format!("{name} (sha256:{})", &self.digest[..12]),
            config: self.config.clone(),
            contents,
        })
    }

    fn fill(&self, root: &Path, owners_kept: bool) -> Result<Contents, String> {
        let mut layers = Layers::new(root, owners_kept)?;
        for (at, (name, diff_id)) in
            (1..).zip(self.found.layers.iter().zip(&self.config.rootfs.diff_ids))
        {
            let of = |why| format!("layer {at} ({name}): {why}");
            let hash = hash(self.archive.layer(name).map_err(of)?).map_err(of)?;
            if format!("sha256:{hash}") != *diff_id {
                return Err(of(format!(
                    "it is damaged: its content has sha256:{hash}, and should have {diff_id}"
                )));
            }
            layers
                .remove_below(self.archive.layer(name).map_err(of)?)
                .map_err(of)?;
            layers
                .add(self.archive.layer(name).map_err(of)?)
                .map_err(of)?;
        }
        Ok(layers.contents)
    }
}

impl Unpacked {
    /// Users of its `/etc/passwd` by name, with their numbers.
    pub fn users(&self) -> Vec<(String, u32)> {
        let text = self.text("etc/passwd").unwrap_or_default();
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_string();
            Some((name, fields.nth(1)?.parse().ok()?))
        };
        text.lines().filter_map(user).collect()
    }

    /// A text of its files; links are followed as within.
    fn text(&self, path: &str) -> Option<String> {
        let root = rustix::fs::open(&self.root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        // A pipe is not waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(root.ok()?, path, flags, Mode::empty(), within).ok()?;
        let mut bytes = Vec::new();
        fs::File::from(file)
            .take(USERS_MAX)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Whether files can be given to anybody here: root of the machine, and not of a namespace.
pub fn knows_all_users() -> bool {
    How::possible() == How::InFact && rustix::process::geteuid().is_root()
}

fn wrong(path: &Path, why: String) -> ImageError {
    let path = path.to_path_buf();
    ImageError { path, why }
}

fn hash(mut from: impl Read) -> Result<String, String> {
    let mut hash = Sha256::new();
    io::copy(&mut from, &mut hash).map_err(|e| e.to_string())?;
    Ok(hex(&hash.finalize()))
}

/// In digits of base 16.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
