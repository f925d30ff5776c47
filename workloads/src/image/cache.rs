//! Where unpacked images are kept: `$XDG_CACHE_HOME/schism/images`, one folder a content.
//!
//! ```text
//!   images/DIGEST.lock      held by whoever unpacks
//!   images/DIGEST.part/     what is not whole yet; whoever has the lock may remove it
//!   images/DIGEST/root/     the files
//!   images/DIGEST/contents.json
//! ```

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Contents;

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
            "{} is another user's, or others can write to it: images are not unpacked there; XDG_CACHE_HOME says \
             where else",
            cache.display()
        )),
    }
}

/// What is kept under this key, made by `fill` if it is not there.
pub fn get(
    cache: &Path,
    key: &str,
    fill: impl FnOnce(&Path) -> Result<Contents, String>,
) -> Result<(PathBuf, Contents), String> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |e: io::Error| match e.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => {
                format!("{path}: {e}; XDG_CACHE_HOME says where else images are unpacked")
            }
            _ => format!("{path}: {e}"),
        }
    };
    // Nobody else may come to an image's programs: some of them run as root, whoever starts them.
    let private = |path: &Path| {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
    };
    private(cache).map_err(at(cache))?;
    own(cache)?;
    let whole = cache.join(key);
    let lock = cache.join(format!("{key}.lock"));
    let held = fs::File::create(&lock).map_err(at(&lock))?;
    flock(&held, FlockOperation::LockExclusive).map_err(|e| at(&lock)(e.into()))?;
    let list = |folder: &Path| folder.join("contents.json");
    if let Ok(text) = fs::read(list(&whole))
        && let Ok(contents) = serde_json::from_slice(&text)
    {
        return Ok((whole.join("root"), contents));
    }
    let part = cache.join(format!("{key}.part"));
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
        fs::write(list(&part), text).map_err(at(&list(&part)))?;
        fs::rename(&part, &whole).map_err(at(&whole))?;
        Ok(contents)
    });
    if filled.is_err() {
        // What cannot be removed now is tried again by the next one.
        let _ = fs::remove_dir_all(&part);
    }
    Ok((whole.join("root"), filled?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

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
