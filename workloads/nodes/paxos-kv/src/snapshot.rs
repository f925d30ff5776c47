//! Snapshots on disk: `snapshot-SLOT.bin`, written beside, synced and renamed, so that a name
//! always stands for a whole file.
//!
//! A file is one magic line and then frames (`nodekit::frame`) of at most a few megabytes, the last
//! one empty.

use std::fs;
use std::path::{Path, PathBuf};

use nodekit::folder::{self, PathError, at};
use nodekit::frame;

use crate::core::message::Slot;

const MAGIC: &[u8] = b"paxos-kv snapshot 2\n";
const PIECE: usize = 4 << 20;

/// Why there is no snapshot although there is a file.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system's error.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The file is not what was written.
    #[error("{path}: corrupt at byte {offset}: {reason}")]
    Corrupt {
        path: PathBuf,
        offset: usize,
        reason: String,
    },
}

fn snapshot_path(folder: &Path, slot: Slot) -> PathBuf {
    folder.join(format!("snapshot-{slot:020}.bin"))
}

fn slots(folder: &Path) -> Result<Vec<Slot>, PathError> {
    let mut slots = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let name = entry.map_err(at(folder))?.file_name();
        slots.extend(name.to_str().and_then(|name| {
            name.strip_prefix("snapshot-")?
                .strip_suffix(".bin")?
                .parse::<Slot>()
                .ok()
        }));
    }
    slots.sort_unstable();
    Ok(slots)
}

/// Saves a snapshot and removes the older ones.
///
/// # Errors
/// The operating system's; the older snapshots are then still there.
pub fn save(folder: &Path, slot: Slot, bytes: &[u8]) -> Result<(), PathError> {
    let mut content = MAGIC.to_vec();
    bytes
        .chunks(PIECE)
        .for_each(|piece| frame::push_frame(&mut content, piece));
    frame::push_frame(&mut content, &[]);
    folder::replace(&snapshot_path(folder, slot), &content)?;
    for older in slots(folder)?.into_iter().filter(|&older| older < slot) {
        let path = snapshot_path(folder, older);
        fs::remove_file(&path).map_err(at(&path))?;
    }
    Ok(())
}

/// The newest snapshot, if there is one. What a crash left half written is removed.
///
/// # Errors
/// When it is damaged, or cannot be read.
pub fn load(folder: &Path) -> Result<Option<(Slot, Vec<u8>)>, SnapshotError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with("snapshot-") && name.ends_with(".tmp") {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    let Some(&slot) = slots(folder)?.last() else {
        return Ok(None);
    };
    let path = snapshot_path(folder, slot);
    let content = fs::read(&path).map_err(at(&path))?;
    let corrupt = |offset, reason: &str| SnapshotError::Corrupt {
        path: path.clone(),
        offset,
        reason: reason.to_owned(),
    };
    if !content.starts_with(MAGIC) {
        return Err(corrupt(0, "it does not begin like a snapshot"));
    }
    let (mut offset, mut bytes) = (MAGIC.len(), Vec::new());
    loop {
        match frame::split_frame(&content[offset..], frame::PAYLOAD_MAX) {
            Ok(Some((piece, length))) => {
                offset += length;
                bytes.extend_from_slice(piece);
                if piece.is_empty() {
                    break;
                }
            }
            Ok(None) => return Err(corrupt(offset, "the file ends too early")),
            Err(error) => return Err(corrupt(offset, &error.to_string())),
        }
    }
    if offset < content.len() {
        return Err(corrupt(offset, "there are bytes after the end"));
    }
    Ok(Some((slot, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_snapshot_comes_back_and_older_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), None);
        let large: Vec<u8> = (0..PIECE * 2 + 7).map(|n| n as u8).collect();
        save(folder.path(), 5, b"five").unwrap();
        save(folder.path(), 40, &large).unwrap();
        fs::write(
            folder.path().join("snapshot-00000000000000000099.tmp"),
            b"half",
        )
        .unwrap();
        assert_eq!(load(folder.path()).unwrap(), Some((40, large)));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "only the newest file is left"
        );
    }

    #[test]
    fn damage_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), 5, b"some state").unwrap();
        let path = snapshot_path(folder.path(), 5);
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, &damaged).unwrap();
            assert!(
                matches!(load(folder.path()), Err(SnapshotError::Corrupt { .. })),
                "bit flipped at {at}"
            );
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(
                matches!(load(folder.path()), Err(SnapshotError::Corrupt { .. })),
                "cut at {at}"
            );
        }
        fs::write(&path, [bytes.as_slice(), b"x"].concat()).unwrap();
        assert!(matches!(
            load(folder.path()),
            Err(SnapshotError::Corrupt { .. })
        ));
    }
}
