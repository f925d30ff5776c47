//! Files that are there whole or not at all, and files that are what they are taken for.
//!
//! A run's folder may be somebody else's, and whoever prepared it may have put links and pipes
//! where files are expected. So what is written gets a name of its own that nobody can foresee, is
//! created by us alone, and takes its place by rename; and what is read has to be a file.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A file on its way to its place. Unless it is [`NewFile::keep`]t, nothing of it stays.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// Where it is written.
    next: PathBuf,
    /// Where it is to be.
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    /// Begins a file that will be at `path`; what is there stays as it is until then.
    ///
    /// # Errors
    /// The folder cannot be written to, or what is at `path` is neither a file nor a link.
    pub fn at(path: &Path) -> io::Result<NewFile> {
        if let Ok(there) = fs::symlink_metadata(path)
            && !there.is_file()
            && !there.is_symlink()
        {
            return Err(io::Error::other("it is there, and is no regular file"));
        }
        for _ in 0..100 {
            let next = path.with_file_name(format!(".schism-{:016x}", unforeseen()));
            match File::create_new(&next) {
                Ok(file) => {
                    let path = path.to_path_buf();
                    return Ok(NewFile {
                        file,
                        next,
                        path,
                        kept: false,
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The same, with the rights of what it replaces.
    pub fn keep_as(self, permissions: Option<fs::Permissions>) -> io::Result<()> {
        if let Some(permissions) = permissions {
            self.file.set_permissions(permissions)?;
        }
        self.keep()
    }

    /// Puts it in its place.
    pub fn keep(mut self) -> io::Result<()> {
        fs::rename(&self.next, &self.path)?;
        self.kept = true;
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // There is nobody to tell, and nothing else to be done.
            let _ = fs::remove_file(&self.next);
        }
    }
}

/// The hash of nothing, under keys that the system's random numbers gave.
fn unforeseen() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Opens a file for reading, and nothing else: to open a pipe may take for ever.
pub fn open(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Reads a file whole, if it is not longer than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let too_long = || io::Error::other(format!("it is longer than {most} bytes"));
    if file.metadata()?.len() > most {
        return Err(too_long());
    }
    let mut content = Vec::new();
    // It may grow meanwhile.
    file.take(most + 1).read_to_end(&mut content)?;
    match content.len() as u64 > most {
        false => Ok(content),
        true => Err(too_long()),
    }
}
