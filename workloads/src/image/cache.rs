//! Where unpacked images are kept: `$XDG_CACHE_HOME/schism/images`, one folder a content.
//!
//! ```text
//!   images/DIGEST.lock      held by whoever unpacks or removes, and shared by whoever runs the image;
//!                           written when it was last run
//!   images/DIGEST.part/     what is not whole yet; whoever has the lock may remove it
//!   images/DIGEST/root/     the files
//!   images/DIGEST/contents.json
//! ```

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Contents;

const CONTENTS: &str = "contents.json";

/// Locks of the images that this process runs, by their files, until it ends.
static RUN: Mutex<BTreeMap<PathBuf, fs::File>> = Mutex::new(BTreeMap::new());

/// # Errors
/// If nobody says where caches are.
pub fn folder() -> Result<PathBuf, String> {
    let given = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    let cache = given.filter(|path| path.is_absolute()).or_else(home);
    let cache = cache.ok_or("where to unpack it is not known: set HOME or XDG_CACHE_HOME")?;
    Ok(cache.join("schism/images"))
}

/// That nobody else could have put something there, which would be run as if it had been unpacked.
fn own(cache: &Path) -> Result<(), String> {
    let found = fs::metadata(cache).map_err(|e| format!("{}: {e}", cache.display()))?;
    let (whose, us) = (found.uid(), rustix::process::geteuid().as_raw());
    match whose == us && found.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(format!(
            "{} is another user's, or others can write to it: no image is unpacked or removed there; XDG_CACHE_HOME \
             says where else",
            cache.display()
        )),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> String + use<> {
    let path = path.display().to_string();
    move |e: io::Error| match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => {
            format!("{path}: {e}; XDG_CACHE_HOME says where else images are unpacked")
        }
        _ => format!("{path}: {e}"),
    }
}

/// Nobody else may come to an image's programs: some of them run as root, whoever starts them.
fn private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// What is kept under this key, made by `fill` if it is not there.
pub fn get(
    cache: &Path,
    key: &str,
    fill: impl FnOnce(&Path) -> Result<Contents, String>,
) -> Result<(PathBuf, Contents), String> {
    private(cache).map_err(at(cache))?;
    own(cache)?;
    let whole = cache.join(key);
    let lock = cache.join(format!("{key}.lock"));
    let held = fs::File::create(&lock).map_err(at(&lock))?;
    let hold = |how| flock(&held, how).map_err(|e| at(&lock)(e.into()));
    held.set_modified(SystemTime::now()).map_err(at(&lock))?;
    hold(FlockOperation::LockShared)?;
    if contents(&whole).is_none() {
        // It was run by this process, and is gone: that lock would be waited for without end.
        RUN.lock().expect("no panic while held").remove(&lock);
        // Whoever wants it too waits here, and finds it whole then.
        hold(FlockOperation::LockExclusive)?;
        if contents(&whole).is_none() {
            unpack(cache, key, fill)?;
        }
        hold(FlockOperation::LockShared)?;
    }
    // Between the two locks somebody may have had the only one.
    let Some(contents) = contents(&whole) else {
        return Err(format!("{}: it was removed meanwhile", whole.display()));
    };
    RUN.lock().expect("no panic while held").insert(lock, held);
    Ok((whole.join("root"), contents))
}

/// What an unpacked image says of itself, if it is whole.
fn contents(whole: &Path) -> Option<Contents> {
    let text = fs::read(whole.join(CONTENTS)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Makes what is kept under a key that nobody else holds.
fn unpack(
    cache: &Path,
    key: &str,
    fill: impl FnOnce(&Path) -> Result<Contents, String>,
) -> Result<(), String> {
    let (whole, part) = (cache.join(key), cache.join(format!("{key}.part")));
    for left in [&part, &whole] {
        match fs::remove_dir_all(left) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(left)(e)),
            _ => {}
        }
    }
    private(&part).map_err(at(&part))?;
    let root = part.join("root");
    fs::DirBuilder::new()
        .mode(0o755)
        .create(&root)
        .map_err(at(&root))?;
    let filled = fill(&root).and_then(|contents| {
        let text = serde_json::to_string(&contents).expect("its keys are texts and numbers");
        fs::write(part.join(CONTENTS), text).map_err(at(&part))?;
        fs::rename(&part, &whole).map_err(at(&whole))
    });
    if filled.is_err() {
        // What cannot be removed now is tried again by the next one.
        let _ = fs::remove_dir_all(&part);
    }
    filled
}

/// An image that was unpacked, whole or not.
pub struct Kept {
    key: String,
    cache: PathBuf,
    /// Since it was last run, or unpacked.
    pub age: Duration,
}

impl Kept {
    /// What there is of it.
    pub fn folders(&self) -> Vec<PathBuf> {
        let both = [self.key.clone(), format!("{}.part", self.key)];
        let both = both.iter().map(|name| self.cache.join(name));
        both.filter(|path| path.is_dir()).collect()
    }

    /// Keeps others from running or unpacking it, until what is returned is dropped; nothing if
    /// somebody does already.
    ///
    /// # Errors
    /// If its lock cannot be opened.
    pub fn claim(&self) -> io::Result<Option<fs::File>> {
        let lock = self.cache.join(format!("{}.lock", self.key));
        let held = fs::File::options().write(true).open(lock)?;
        match flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(held)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// All that is unpacked there. What has no lock is nothing that was put there by [`get`].
///
/// # Errors
/// If the folder is there and cannot be read, or is not this user's alone: where others could
/// exchange a folder for a link, nothing is removed.
pub fn list(cache: &Path) -> Result<Vec<Kept>, String> {
    let entries = match fs::read_dir(cache) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at(cache))?,
    };
    own(cache)?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at(cache))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(key) = name.strip_suffix(".lock") else {
            continue;
        };
        // A clock that was put back makes nothing old.
        let since = entry.metadata().and_then(|found| found.modified());
        let since = since.map_err(at(&entry.path()))?;
        let kept = Kept {
            key: key.to_string(),
            cache: cache.to_path_buf(),
            age: SystemTime::now().duration_since(since).unwrap_or_default(),
        };
        if !kept.folders().is_empty() {
            found.push(kept);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_run_is_nobodys_to_remove_and_what_is_not_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("images");
        assert!(list(&cache).unwrap().is_empty(), "there is no folder yet");
        get(&cache, "key", |_| Ok(Contents::default())).unwrap();
        let found = list(&cache).unwrap();
        assert_eq!(found[0].folders(), [cache.join("key")]);
        assert!(found[0].claim().unwrap().is_none(), "it is run here");
        // As if the process had ended.
        RUN.lock().unwrap().clear();
        let claimed = found[0].claim().unwrap().expect("nobody runs it");
        assert!(found[0].claim().unwrap().is_none(), "somebody removes it");
        fs::create_dir(cache.join("key.part")).unwrap();
        for folder in found[0].folders() {
            fs::remove_dir_all(folder).unwrap();
        }
        drop(claimed);
        assert!(list(&cache).unwrap().is_empty(), "only its lock is left");
        get(&cache, "key", |_| Ok(Contents::default())).unwrap();
        assert_eq!(list(&cache).unwrap().len(), 1);
    }

    #[test]
    fn where_others_can_write_nothing_is_taken_or_put() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("images");
        let planted = || Ok(Contents::default());
        let kept = get(&cache, "key", |_| planted()).unwrap();
        assert_eq!(kept.0, cache.join("key/root"));
        // What is there is taken without being made again.
        let again = get(&cache, "key", |_| panic!("it is there")).unwrap();
        assert_eq!(again, kept);
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
        let why = get(&cache, "key", |_| planted()).unwrap_err();
        assert!(why.contains("others can write to it"), "{why}");
    }
}
