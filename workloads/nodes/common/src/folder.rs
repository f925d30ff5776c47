//! The data folder: one process has it at a time, and names in it can be made durable.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The operating system's error, and where it arose.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct PathError {
    pub path: PathBuf,
    pub error: io::Error,
}

/// Says where an error arose.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> PathError + '_ {
    move |error| PathError {
        path: path.to_owned(),
        error,
    }
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system's error.
    #[error(transparent)]
    Io(#[from] PathError),
    /// Another process has it.
    #[error("{0}: another process uses this folder")]
    InUse(PathBuf),
}

/// Makes the folder if it is missing, and takes it for this process as long as the file lives.
///
/// # Errors
/// When it cannot be made, or another process has it.
pub fn lock(folder: &Path) -> Result<File, FolderError> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(at(&path)(error).into()),
    }
}

/// Writes a whole file, durably and in one step: it is written beside, synced and renamed, so that
/// its name never stands for half of it.
///
/// # Errors
/// The operating system's; the file is then as it was.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), PathError> {
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside).map_err(at(&beside))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(at(&beside))?;
    fs::rename(&beside, path)
        .and_then(|()| sync(path.parent().unwrap_or(Path::new("."))))
        .map_err(at(path))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The operating system's.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        for content in ["first", "2nd"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("none/a.bin");
        let error = replace(&nowhere, b"x").unwrap_err().to_string();
        let beside = folder.path().join("none/a.tmp");
        assert!(error.starts_with(beside.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_folder_is_made_and_has_one_owner() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let first = lock(&folder).unwrap();
        sync(&folder).unwrap();
        let error = lock(&folder).unwrap_err();
        assert!(error.to_string().ends_with("uses this folder"), "{error}");
        drop(first);
        lock(&folder).unwrap();
    }
}
