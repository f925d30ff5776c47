//! The data folder: one process has it at a time, and names in it can be made durable.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system's error.
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    /// Another process has it.
    #[error("{0}: another process uses this folder")]
    InUse(PathBuf),
}

/// Makes the folder if it is missing, and takes it for this process as long as the file lives.
///
/// # Errors
/// When it cannot be made, or another process has it.
pub fn lock(folder: &Path) -> Result<File, FolderError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| FolderError::Io { path, error }
    };
    fs::create_dir_all(folder).map_err(io(folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(&path)(error)),
    }
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
