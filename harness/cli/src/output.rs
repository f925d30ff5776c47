//! Files that a person asked for, by whatever name.
//!
//! The name may be that of a file, of a link to one, of a device or of a pipe, such as
//! `/dev/stdout`. A file is replaced when all is written, and stays as it was if that fails;
//! whatever else is there is written into and never replaced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use history::file::NewFile;

/// Something to write to. What is not [`Output::keep`]t leaves nothing behind.
pub enum Output {
    File(NewFile, Option<fs::Permissions>),
    Other(File),
    /// Standard output.
    Data(Box<dyn Write>),
}

impl Output {
    pub fn to(path: &Path) -> io::Result<Output> {
        let there = match fs::metadata(path) {
            Ok(there) => there,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Output::File(NewFile::at(&unmade(path)?)?, None));
            }
            Err(e) => return Err(e),
        };
        if there.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !there.is_file() {
            return Ok(Output::Other(File::options().write(true).open(path)?));
        }
        // A file that may not be written to is not to be replaced either.
        File::options().append(true).open(path)?;
        let file = NewFile::at(&fs::canonicalize(path)?)?;
        Ok(Output::File(file, Some(there.permissions())))
    }

    /// To be called when all is written.
    pub fn keep(self) -> io::Result<()> {
        match self {
            Output::File(file, permissions) => file.keep_as(permissions),
            Output::Other(mut file) => file.flush(),
            Output::Data(mut data) => data.flush(),
        }
    }
}

/// Whether a file can be written there, as far as that can be said beforehand.
pub fn probe(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        // Some can be opened only once.
        Ok(there) if !there.is_file() && !there.is_dir() => Ok(()),
        _ => Output::to(path).map(drop),
    }
}

/// Where a file is to be that is not there yet: a link to nothing leads there too.
fn unmade(path: &Path) -> io::Result<PathBuf> {
    match fs::read_link(path) {
        Err(_) => Ok(path.to_path_buf()),
        Ok(to) => Err(io::Error::other(format!(
            "it is a link to {}, which is not there",
            to.display()
        ))),
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::File(file, _) => file.write(bytes),
            Output::Other(file) => file.write(bytes),
            Output::Data(data) => data.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::File(file, _) => file.flush(),
            Output::Other(file) => file.flush(),
            Output::Data(data) => data.flush(),
        }
    }
}

/// Writes it whole.
pub fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut output = Output::to(path)?;
    output.write_all(content)?;
    output.keep()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    #[test]
    fn a_file_is_replaced_and_anything_else_is_written_into() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        put(&file, b"one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let link = dir.path().join("link");
        symlink("file", &link).unwrap();
        put(&link, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let null = dir.path().join("null");
        symlink("/dev/null", &null).unwrap();
        put(&null, b"three").unwrap();
        let there = fs::metadata("/dev/null").unwrap();
        assert!(there.file_type().is_char_device());

        assert!(put(dir.path(), b"").is_err());
        let nothing = dir.path().join("nothing");
        symlink("nowhere", &nothing).unwrap();
        assert!(put(&nothing, b"").is_err());
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 4, "file, link, null and nothing");
    }

    #[test]
    fn what_is_not_kept_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        put(&file, b"one").unwrap();
        let mut output = Output::to(&file).unwrap();
        output.write_all(b"tw").unwrap();
        drop(output);
        assert_eq!(fs::read(&file).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
