//! Systems that are folders: a `system.toml` and what lies beside it, without a line of Rust.
//!
//! [`file`] is the file as it is written, [`description`] what it says once it is checked,
//! [`system`] the system on its nodes. A client is [`answers`], plain HTTP, or [`process`], any
//! program.

mod answers;
mod description;
mod file;
mod in_image;
mod maelstrom;
mod place;
mod process;
mod programs;
pub mod rehearsal;
mod reply;
mod system;
mod template;
#[cfg(test)]
mod tests;
pub mod workload;

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use sha2::{Digest, Sha256};

pub use description::{NEXT, NONE};
pub use place::FolderError;

use self::description::{Client, Description, FILE, kept};
use self::in_image::InImage;
use self::programs::Programs;
use self::system::Described;
use super::{Entry, Origin, Pace, Ready, SYSTEMS, Setup, SetupError, Version};
use crate::image::hex;
use crate::interface::{LedgerOverKv, Offers};
use crate::recipes::ObjectsOverKv;

/// A commented `system.toml` to begin with.
pub const SKELETON: &str = include_str!("folder/skeleton.toml");

/// More files than that are no system's description.
const MOST_FILES: usize = 10_000;

/// Where systems are looked for by their names.
static SEARCHED: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Folders that were read. Each is read once, so that a run is of one text throughout.
static READ: Mutex<BTreeMap<PathBuf, &'static Entry>> = Mutex::new(BTreeMap::new());

/// Says where systems are looked for, before those where a user keeps data.
pub fn search_in(folders: Vec<PathBuf>) {
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".local/share"));
    let data = data.filter(|path| path.is_absolute()).or_else(home);
    let own = data.map(|data| data.join("schism/systems"));
    // Set once, at the start of the program.
    let _ = SEARCHED.set(folders.into_iter().chain(own).collect());
}

fn searched() -> &'static [PathBuf] {
    SEARCHED.get().map(Vec::as_slice).unwrap_or_default()
}

/// The folder of this path or name; none if a name is nowhere.
///
/// # Errors
/// What is wrong with the folder, and where.
pub(super) fn find(name: &str) -> Result<Option<&'static Entry>, SetupError> {
    if name.contains('/') || Path::new(name).join(FILE).is_file() {
        return load(Path::new(name)).map(Some);
    }
    let folders = searched().iter().map(|folder| folder.join(name));
    let mut there = folders.filter(|folder| folder.join(FILE).is_file());
    there.next().map(|folder| load(&folder)).transpose()
}

/// Names of the systems on the search path.
pub(super) fn names() -> Vec<String> {
    let folders = searched()
        .iter()
        .filter_map(|folder| folder.read_dir().ok());
    let inside = folders
        .flatten()
        .flatten()
        .filter(|e| e.path().join(FILE).is_file());
    let mut names: Vec<_> = inside
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn load(folder: &Path) -> Result<&'static Entry, SetupError> {
    let file = folder.join(FILE);
    let path = folder
        .canonicalize()
        .map_err(|e| FolderError::whole(&file, format!("cannot be read: {e}")))?;
    let mut read = READ.lock().expect("no panic while held");
    if let Some(entry) = read.get(&path) {
        return Ok(entry);
    }
    let entry: &'static Entry = Box::leak(Box::new(entry(&path)?));
    read.insert(path, entry);
    Ok(entry)
}

fn entry(folder: &Path) -> Result<Entry, SetupError> {
    let file = folder.join(FILE);
    let name = name(folder).map_err(|why| FolderError::whole(&file, why))?;
    let description = Arc::new(Description::read(folder)?);
    let sha256 = hash(folder)
        .map_err(|e| FolderError::whole(&file, format!("its folder cannot be read: {e}")))?;
    let origin = Origin {
        path: folder.to_path_buf(),
        sha256,
    };
    let params = description.params.clone().leak();
    let calls = description.calls.clone().leak();
    let (about, workload) = (kept(&description.about), description.workloads[0].name());
    let own = description.workloads.iter().copied();
    let own: Vec<_> = own.filter(|workload| workload.texts().is_some()).collect();
    let (leads, may_crash) = (description.leader.is_some(), description.may_crash);
    let nodes = description.nodes;
    let interfaces = description.interfaces().leak();
    let operations = description.operations();
    let install = description.install.as_deref().map_or("", kept);
    let looked = description.clone();
    let look = move || {
        InImage::look(&looked)?;
        Programs::look(&looked, &looked.versions[0])
    };
    let versions = versions(&description);
    let set_up = move |setup: &Setup| set_up(name, &description, setup);
    Ok(Entry {
        name,
        about,
        interfaces,
        calls,
        folder: Some(Box::leak(Box::new(origin))),
        params,
        workload,
        own: own.leak(),
        variable: "",
        operations: operations.leak(),
        nodes,
        leads,
        may_crash,
        time_rules: &[],
        install,
        versions: versions.leak(),
        look: Box::leak(Box::new(look)),
        pace: |_| Pace::QUICK,
        flaws: || Ok(Vec::new()),
        set_up: Box::leak(Box::new(set_up)),
    })
}

/// Those that are beside its own.
fn versions(description: &Arc<Description>) -> Vec<Version> {
    let beside = 1..description.versions.len();
    let version = |at: usize| {
        let described = &description.versions[at];
        let own = described.install.as_ref();
        let looked = description.clone();
        Version {
            name: described.name,
            install: own
                .or(description.install.as_ref())
                .map_or("", |install| kept(install)),
            look: Box::leak(Box::new(move || {
                Programs::look(&looked, &looked.versions[at])
            })),
        }
    };
    beside.map(version).collect()
}

/// The folder's own name, which daemons, logs and runs get.
fn name(folder: &Path) -> Result<&'static str, String> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!(
            "the folder is called {name:?}: a system's name is letters, digits, `-`, `_` and `.`"
        ));
    }
    match SYSTEMS.iter().any(|entry| entry.name == name) {
        true => Err(format!(
            "{name} is a system of Schism's own: call the folder otherwise"
        )),
        false => Ok(kept(&name)),
    }
}

fn set_up(
    name: &'static str,
    description: &Arc<Description>,
    setup: &Setup,
) -> Result<Ready, SetupError> {
    let programs = Programs::find(name, description, &setup.params)?;
    let image = InImage::of(name, description)?;
    let system = Arc::new(Described::new(
        name,
        description.clone(),
        setup,
        programs,
        image,
    ));
    let offers = Offers {
        kv: Some(system.clone()),
        ledger: Some(Arc::new(LedgerOverKv(system.clone()))),
        replicas: description.replica.is_some(),
        ..Offers::default()
    };
    Ok(Ready {
        offers: match description.client {
            // A program is asked for objects and transactions itself.
            Client::Command(_) => Offers {
                objects: Some(system.clone()),
                transactions: Some(system.clone()),
                bank: Some(system.clone()),
                leases: Some(system.clone()),
                feed: Some(system.clone()),
                logs: Some(system.clone()),
                ..offers
            },
            Client::Maelstrom(_) => Offers {
                ledger: Some(system.clone()),
                objects: Some(system.clone()),
                transactions: Some(system.clone()),
                logs: Some(system.clone()),
                ..offers
            },
            Client::Http(_) => Offers {
                objects: Some(Arc::new(ObjectsOverKv(system.clone()))),
                ..offers
            },
        },
        system,
    })
}

/// SHA-256 of the names and contents of all files. Hidden files, and what Python keeps beside its
/// sources, say nothing of the system.
fn hash(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort_unstable();
    let mut hash = Sha256::new();
    for path in files {
        let inside = path.strip_prefix(folder).expect("it was found below");
        let mut content = std::fs::File::open(&path)?;
        hash.update(inside.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(content.metadata()?.len().to_le_bytes());
        // Images are large.
        io::copy(&mut content, &mut hash)?;
    }
    Ok(hex(&hash.finalize()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || name == "__pycache__" {
            continue;
        }
        if files.len() >= MOST_FILES {
            return Err(io::Error::other(format!(
                "it has more than {MOST_FILES} files"
            )));
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
