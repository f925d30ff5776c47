//! Files of the node: written, read in pieces, removed.
//!
//! The controller may do anything here (it can run any command), so nothing is forbidden for
//! safety from it. What is refused are slips: paths that are not absolute, and removals that no
//! controller means.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{Error, Result, io};
use crate::protocol::Piece;

/// Most that one answer carries.
const PIECE_MAX: u64 = 16 << 20;

fn absolute(path: &Path) -> Result<()> {
    if !path.is_absolute() {
        return Err(Error::Refused(format!(
            "{} is not an absolute path",
            path.display()
        )));
    }
    Ok(())
}

/// Writes a file: whole, under another name first, so that nobody sees a part of it; or appends.
/// Missing folders are made.
pub fn put(path: &Path, mode: u32, append: bool, base64: &str) -> Result<()> {
    absolute(path)?;
    let bytes = BASE64
        .decode(base64)
        .map_err(|error| Error::Refused(format!("bad base64 for {}: {error}", path.display())))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io("make the folder", folder))?;
    }
    if append {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(mode)
            .open(path)
            .map_err(io("append to", path))?;
        return file.write_all(&bytes).map_err(io("append to", path));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".put-{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written = (|| -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&beside)?;
        file.write_all(&bytes)?;
        // Set afterwards too: the umask does not count, the controller said which mode.
        file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
        fs::rename(&beside, path)
    })();
    written.map_err(|source| {
        // The first error is the one to report.
        let _ = fs::remove_file(&beside);
        io("write", path)(source)
    })
}

/// Reads up to `limit` bytes from `offset`; fewer at the end of the file.
pub fn get(path: &Path, offset: u64, limit: u64) -> Result<Piece> {
    absolute(path)?;
    let read = (|| -> io::Result<Piece> {
        let mut file = OpenOptions::new().read(true).open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(limit.min(PIECE_MAX)).read_to_end(&mut bytes)?;
        Ok(Piece {
            base64: BASE64.encode(bytes),
            size,
        })
    })();
    read.map_err(io("read", path))
}

/// Removes a file, or a folder with all that is in it. `own` is the agent's own folder.
pub fn remove(path: &Path, own: &Path) -> Result<()> {
    absolute(path)?;
    let named: PathBuf = path.components().collect();
    let depth = named.components().count();
    let climbs = named.components().any(|part| part == Component::ParentDir);
    // `/`, and the folders right below it, are nobody's to remove; nor is the undo journal.
    if depth <= 2 || climbs || own.starts_with(&named) {
        return Err(Error::Refused(format!(
            "will not remove {}: it is the root, right below it, climbs by `..`, or holds the \
             agent's own folder",
            path.display()
        )));
    }
    let removed = match fs::symlink_metadata(&named) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&named),
        Ok(_) => fs::remove_file(&named),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(io("remove", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_pieces_comes_back_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a/b");
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for (at, piece) in bytes.chunks(4_096).enumerate() {
            put(&path, 0o640, at > 0, &BASE64.encode(piece)).expect("writes");
        }
        let mut back = Vec::new();
        loop {
            let piece = get(&path, back.len() as u64, 3_000).expect("reads");
            assert_eq!(piece.size, 10_000);
            let bytes = BASE64.decode(piece.base64).expect("base64");
            if bytes.is_empty() {
                break;
            }
            back.extend(bytes);
        }
        assert_eq!(back, bytes);
        let mode = fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn slips_are_refused_and_what_is_not_there_is_fine() {
        let dir = tempfile::tempdir().expect("a folder");
        let own = dir.path().join("x/own");
        fs::create_dir_all(&own).expect("makes");
        let inside = dir.path().join("x");
        for path in ["/", "/usr", "relative", "/usr/../usr/lib"] {
            assert!(remove(Path::new(path), &own).is_err(), "{path}");
        }
        assert!(remove(&inside, &own).is_err(), "holds the agent's folder");
        remove(&own.join("nothing"), &own).expect("fine");
        let folder = dir.path().join("y/z");
        fs::create_dir_all(&folder).expect("makes");
        remove(&dir.path().join("y"), &own).expect("removes");
        assert!(!folder.exists());
    }
}
