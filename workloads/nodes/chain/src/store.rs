//! The block store: every block that this node took in, on disk before anybody hears that it has
//! it.
//!
//! One file, `blocks`, which only grows: a row of frames (`nodekit::frame`). The first names the
//! format and the network's genesis; every other holds one block, in the order in which they came.
//! A frame that is torn or does not have its checksum ends what can be believed: the file is cut
//! off there, which is reported, for whatever is missing then the other nodes have. A file of
//! another network is refused and not touched.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nodekit::disk::Journal;
use nodekit::folder::{self, PathError, at};
use nodekit::frame;
use serde::{Deserialize, Serialize};

use crate::core::block::{Block, Hash};
use crate::core::message::MESSAGE_MAX;

const VERSION: u32 = 1;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system's error.
    #[error(transparent)]
    Io(#[from] PathError),
    /// It is another network's, or of another version of this program.
    #[error(
        "{path}: belongs to the network of genesis {found}, not to that of {expected}: \
         a node of another network, or with other rules, needs another folder"
    )]
    Foreign {
        path: PathBuf,
        found: String,
        expected: String,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    version: u32,
    genesis: Hash,
}

impl Head {
    fn text(&self) -> String {
        format!("{} (format {})", self.genesis, self.version)
    }
}

/// The store, open for appending.
#[derive(Debug)]
pub struct Store {
    file: File,
    path: PathBuf,
}

/// What was in the store.
#[derive(Debug, Default)]
pub struct Contents {
    /// In the order of writing.
    pub blocks: Vec<Arc<Block>>,
    /// What was cut off, as a sentence.
    pub cut: Option<String>,
}

impl Store {
    /// Reads the store in `folder`, cuts off what is damaged, and opens it for appending.
    ///
    /// # Errors
    /// When it cannot be read or written, or is another network's.
    pub fn open(folder: &Path, genesis: Hash) -> Result<(Store, Contents), StoreError> {
        let path = folder.join("blocks");
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(at(&path))?;
        let size = file.metadata().map_err(at(&path))?.len();
        let expected = Head {
            version: VERSION,
            genesis,
        };
        let (mut contents, mut offset) = (Contents::default(), 0);
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut buffer = Vec::new();
        while offset < size {
            let read = read_frame(&mut reader, &mut buffer).map_err(at(&path))?;
            let taken = read.and_then(|payload| {
                if offset == 0 {
                    let found: Head = frame::decode(payload).map_err(|error| error.to_string())?;
                    return Ok(Some(found));
                }
                let block = frame::decode(payload).map_err(|error| error.to_string())?;
                contents.blocks.push(Arc::new(block));
                Ok(None)
            });
            match taken {
                Ok(Some(found)) if found != expected => {
                    return Err(StoreError::Foreign {
                        path,
                        found: found.text(),
                        expected: expected.text(),
                    });
                }
                Ok(_) => offset += buffer.len() as u64,
                Err(reason) => {
                    contents.cut = Some(format!(
                        "{}: {} bytes after byte {offset} cut off: {reason}",
                        path.display(),
                        size - offset
                    ));
                    break;
                }
            }
        }
        if contents.cut.is_some() {
            file.set_len(offset).map_err(at(&path))?;
        }
        // A process that died between a write and its sync leaves blocks that the next one reads,
        // but that a loss of power would take away. They count from now on.
        sync(&file).map_err(at(&path))?;
        if offset == 0 {
            file.write_all(&frame::encode(&expected))
                .and_then(|()| file.sync_all())
                .and_then(|()| folder::sync(folder))
                .map_err(at(&path))?;
        }
        Ok((Store { file, path }, contents))
    }
}

impl Journal for Store {
    type Record = Arc<Block>;
    type Error = PathError;

    fn append(&mut self, blocks: &[Arc<Block>]) -> Result<(), PathError> {
        let mut bytes = Vec::new();
        for block in blocks {
            bytes.extend(frame::encode(block));
        }
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(at(&self.path))
    }

    /// A chain keeps all its blocks.
    fn truncate(&mut self, _: u64) -> Result<(), PathError> {
        Ok(())
    }
}

fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    tests::SYNCS.set(tests::SYNCS.get() + 1);
    file.sync_all()
}

/// Reads one frame into the buffer, which only grows with bytes that are there, and returns its
/// payload or why it is none.
fn read_frame<'a>(
    reader: &mut impl Read,
    buffer: &'a mut Vec<u8>,
) -> io::Result<Result<&'a [u8], String>> {
    buffer.clear();
    reader.take(frame::HEADER as u64).read_to_end(buffer)?;
    if let Some(length) = buffer.first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        if length <= MESSAGE_MAX {
            reader.take(length as u64).read_to_end(buffer)?;
        }
    }
    Ok(frame::split_record(buffer, MESSAGE_MAX).map(|(payload, _)| payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::block::{Header, Op, Transaction};

    const GENESIS: Hash = Hash([7; 32]);

    thread_local! {
        /// How often [`sync`] was called in this test.
        pub(super) static SYNCS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }

    #[test]
    fn what_is_read_back_is_synced_before_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(folder.path(), GENESIS).unwrap();
        store.append(&[block(1)]).unwrap();
        SYNCS.set(0);
        let (_, contents) = Store::open(folder.path(), GENESIS).unwrap();
        assert_eq!((contents.blocks.len(), SYNCS.get()), (1, 1));
    }

    fn block(height: u64) -> Arc<Block> {
        let put = Op::Put {
            key: format!("k{height}"),
            value: "\"some value\"".into(),
        };
        let transactions = vec![Arc::new(Transaction {
            id: format!("t{height}"),
            op: put,
        })];
        let header = Header {
            parent: Hash([height as u8; 32]),
            height,
            time_ms: 1_795_428_444_936 + height,
            work: 50_000,
            miner: "n1".into(),
            transactions: Block::transactions_hash(&transactions),
            nonce: height << 40,
        };
        Arc::new(Block {
            header,
            transactions,
        })
    }

    fn heights(contents: &Contents) -> Vec<u64> {
        contents.blocks.iter().map(|b| b.header.height).collect()
    }

    /// A store of five blocks: its folder, and where each frame ends.
    fn five() -> (tempfile::TempDir, PathBuf, Vec<u64>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks");
        let (mut store, contents) = Store::open(folder.path(), GENESIS).unwrap();
        assert!(contents.blocks.is_empty() && contents.cut.is_none());
        let mut ends = vec![path.metadata().unwrap().len()];
        for height in 1..=5 {
            store.append(&[block(height)]).unwrap();
            ends.push(path.metadata().unwrap().len());
        }
        (folder, path, ends)
    }

    #[test]
    fn blocks_come_back_in_the_order_of_writing() {
        let (folder, _, _) = five();
        let (mut store, contents) = Store::open(folder.path(), GENESIS).unwrap();
        assert_eq!(heights(&contents), [1, 2, 3, 4, 5]);
        assert_eq!((&contents.blocks[1], contents.cut), (&block(2), None));
        store.append(&[block(9), block(8)]).unwrap();
        let (_, contents) = Store::open(folder.path(), GENESIS).unwrap();
        assert_eq!(heights(&contents), [1, 2, 3, 4, 5, 9, 8]);
    }

    #[test]
    fn another_networks_store_is_refused_and_left_as_it_is() {
        let (folder, path, ends) = five();
        let error = Store::open(folder.path(), Hash([8; 32])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("genesis 0707") && text.contains("that of 0808"),
            "{text}"
        );
        assert_eq!(path.metadata().unwrap().len(), ends[5]);
    }

    #[test]
    fn zeros_at_the_end_are_cut_off() {
        let (folder, path, ends) = five();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(ends[5] + 4096).unwrap();
        let (_, contents) = Store::open(folder.path(), GENESIS).unwrap();
        assert_eq!(heights(&contents), [1, 2, 3, 4, 5]);
        let cut = contents.cut.unwrap();
        assert!(
            cut.contains(&format!("4096 bytes after byte {} cut off", ends[5])),
            "{cut}"
        );
    }

    /// Damages the store, opens it twice, and says which blocks were left.
    fn survivors(damage: impl FnOnce(&mut Vec<u8>)) -> (Vec<u64>, Option<String>, Vec<u64>) {
        let (folder, path, ends) = five();
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let (mut store, contents) = Store::open(folder.path(), GENESIS).unwrap();
        let left = heights(&contents);
        // What is refetched is appended behind the cut and is there the next time.
        store.append(&[block(7)]).unwrap();
        let (_, again) = Store::open(folder.path(), GENESIS).unwrap();
        assert_eq!(again.cut, None);
        assert_eq!(heights(&again), [left.as_slice(), &[7]].concat());
        (left, contents.cut, ends)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_truncated_store_keeps_its_whole_blocks(cut in any::<prop::sample::Index>()) {
            let mut length = 0;
            let (left, told, ends) = survivors(|bytes| {
                length = cut.index(bytes.len());
                bytes.truncate(length);
            });
            let whole = ends.iter().filter(|end| **end <= length as u64).count();
            prop_assert_eq!(left.len(), whole.saturating_sub(1));
            let torn = length > 0 && !ends.contains(&(length as u64));
            prop_assert_eq!(told.is_some(), torn);
        }

        #[test]
        fn a_flipped_bit_ends_what_is_believed(at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut place = 0;
            let (left, told, ends) = survivors(|bytes| {
                place = at.index(bytes.len());
                bytes[place] ^= 1 << bit;
            });
            let whole = ends.iter().filter(|end| **end <= place as u64).count();
            prop_assert_eq!(left.len(), whole.saturating_sub(1));
            prop_assert!(told.is_some());
        }

        #[test]
        fn any_bytes_are_a_store_in_the_end(garbage in proptest::collection::vec(any::<u8>(), 1..400)) {
            let (left, told, _) = survivors(|bytes| *bytes = garbage);
            prop_assert!(left.is_empty() && told.is_some());
        }
    }
}
