//! Who a node is, beside its name: it is born once, when it starts with an empty data folder.
//!
//! An acceptor that lost its disk has forgotten what it promised. Under its old name it would break
//! those promises without knowing it, and acknowledged writes with them. So every node draws a
//! number at its birth, its peers write down the first one that they hear from a name, and never
//! listen to that name with another number again. A file `births` holds a line each: the node's own
//! number, and those of its peers by their place in the list of names.
//!
//! ```text
//! own 5c0e3f0a7b1d4e6f8091a2b3c4d5e6f7
//! 1 9a2b...
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nodekit::folder::{self, PathError, at};
use serde::{Deserialize, Serialize};

use crate::core::message::{NodeIndex, Record};
use crate::wal::Contents;

/// The number of one birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth(u128);

/// Why a node does not know who it is.
#[derive(Debug, thiserror::Error)]
pub enum BirthError {
    /// The operating system's error.
    #[error(transparent)]
    Io(#[from] PathError),
    /// Somebody changed it.
    #[error("{path}: line {line} is no birth: restore the file from a copy of the folder")]
    Line { path: PathBuf, line: usize },
    /// One of the two was removed.
    #[error(
        "{folder}: {lost} is gone, so what this node promised is unknown. Restore the whole data folder \
         from the moment at which the node stopped; without one it cannot take part any more, and the \
         others go on without it"
    )]
    Lost { folder: PathBuf, lost: &'static str },
}

/// The births that a node knows, its own among them.
pub struct Births {
    path: PathBuf,
    own: Birth,
    peers: Mutex<BTreeMap<NodeIndex, Birth>>,
}

impl Births {
    /// Reads the file, or has the node born if it never promised or accepted anything.
    ///
    /// # Errors
    /// When the file cannot be used, or it is there without the log, or the log without it.
    pub fn open(folder: &Path, log: &Contents) -> Result<Births, BirthError> {
        let path = folder.join("births");
        let lost = |lost| BirthError::Lost {
            folder: folder.to_owned(),
            lost,
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A node that died at its birth has a log, and nothing in it.
                if log.records.iter().any(binds) {
                    return Err(lost("the file `births`"));
                }
                let own = draw().map_err(at(&path))?;
                let births = Births {
                    path: path.clone(),
                    own,
                    peers: Mutex::default(),
                };
                births.write(&BTreeMap::new())?;
                return Ok(births);
            }
            Err(error) => return Err(at(&path)(error).into()),
        };
        if log.incarnation == 1 {
            return Err(lost("the log"));
        }
        let (mut own, mut peers) = (None, BTreeMap::new());
        for (index, line) in text.lines().enumerate() {
            let wrong = || BirthError::Line {
                path: path.clone(),
                line: index + 1,
            };
            let (whose, birth) = line.split_once(' ').ok_or_else(wrong)?;
            let birth = Birth(u128::from_str_radix(birth, 16).map_err(|_| wrong())?);
            if whose == "own" {
                own = Some(birth);
            } else {
                peers.insert(whose.parse().map_err(|_| wrong())?, birth);
            }
        }
        Ok(Births {
            own: own.ok_or_else(|| BirthError::Line {
                path: path.clone(),
                line: 1,
            })?,
            path,
            peers: Mutex::new(peers),
        })
    }

    /// This node's.
    pub fn own(&self) -> Birth {
        self.own
    }

    /// Whether a peer is who it was. Who comes for the first time is written down before it is let
    /// in.
    ///
    /// # Errors
    /// Why it must not be listened to.
    pub fn admit(&self, peer: NodeIndex, birth: Birth) -> Result<(), String> {
        let mut peers = self.peers.lock().expect("no panic while held");
        match peers.get(&peer) {
            Some(known) if *known == birth => Ok(()),
            Some(_) => Err(
                "it has lost its data folder, and with it what it promised: it is not listened to. \
                 Restore the folder, or go on without this node"
                    .to_owned(),
            ),
            None => {
                let mut more = peers.clone();
                more.insert(peer, birth);
                self.write(&more).map_err(|error| error.to_string())?;
                *peers = more;
                Ok(())
            }
        }
    }

    fn write(&self, peers: &BTreeMap<NodeIndex, Birth>) -> Result<(), PathError> {
        let mut text = format!("own {:032x}\n", self.own.0);
        for (peer, birth) in peers {
            text.push_str(&format!("{peer} {:032x}\n", birth.0));
        }
        folder::replace(&self.path, text.as_bytes())
    }
}

/// Whether a node that wrote this is bound by it.
fn binds(record: &Record) -> bool {
    match record {
        Record::Accepted(_) => true,
        Record::Promised { ballot } => ballot.round > 0,
        Record::Started { .. } | Record::Decided { .. } => false,
    }
}

fn draw() -> io::Result<Birth> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Birth(u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodekit::disk::Journal;

    use crate::core::message::Ballot;
    use crate::wal::{Habits, Wal};

    fn opened(folder: &Path) -> Result<Births, BirthError> {
        let (mut wal, contents) = Wal::open(folder, "n1 of n1,n2", &Habits::default()).unwrap();
        let births = Births::open(folder, &contents)?;
        let ballot = Ballot { round: 3, node: 0 };
        wal.append(&[Record::Promised { ballot }]).unwrap();
        Ok(births)
    }

    #[test]
    fn a_peer_is_let_in_as_whom_it_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let births = opened(folder.path()).unwrap();
        let own = births.own();
        births.admit(1, Birth(7)).unwrap();
        births.admit(1, Birth(7)).unwrap();
        assert!(
            births
                .admit(1, Birth(8))
                .unwrap_err()
                .contains("lost its data")
        );
        // Also after a restart of this node.
        let births = opened(folder.path()).unwrap();
        assert_eq!(births.own(), own);
        births.admit(1, Birth(7)).unwrap();
        births.admit(1, Birth(8)).unwrap_err();
        assert_ne!(
            own,
            opened(tempfile::tempdir().unwrap().path()).unwrap().own()
        );
    }

    #[test]
    fn half_a_memory_is_none() {
        for lost in ["births", "wal-0000000001.log"] {
            let folder = tempfile::tempdir().unwrap();
            opened(folder.path()).unwrap();
            fs::remove_file(folder.path().join(lost)).unwrap();
            let error = opened(folder.path()).map(drop).unwrap_err();
            assert!(matches!(error, BirthError::Lost { .. }), "{lost}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        opened(folder.path()).unwrap();
        fs::write(folder.path().join("births"), "own 5c\n1 z\n").unwrap();
        let error = opened(folder.path()).map(drop).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
