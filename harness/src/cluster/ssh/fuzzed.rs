//! For `harness/fuzz`: everything that is read of what somebody else has printed, and what must
//! hold of it whatever that was.

use std::path::{Component, Path, PathBuf};

use super::host::Access;
use super::{collected, host, known, node};

/// Reads this as each reader here would: as a node's first words, as its list of logs, as what
/// `ssh -G` says, and as what `ssh-keygen -F` finds.
pub fn printed(said: &str) {
    match node::read(said) {
        Ok((_, found)) => {
            let mut letters = found.arch.chars();
            assert!(letters.all(|c| c.is_ascii_alphanumeric() || c == '_'));
            assert!(!Path::new(&found.arch).has_root());
        }
        Err(why) => assert!(!why.is_empty()),
    }
    for name in node::log_names(said) {
        let Ok(parts) = collected::parts(name) else {
            continue;
        };
        let mut path = PathBuf::from("log");
        path.extend(&parts);
        let depth = path.components().count();
        assert!(
            path.starts_with("log") && depth == parts.len() + 1,
            "{name:?}"
        );
        assert!(
            path.components()
                .all(|part| matches!(part, Component::Normal(_))),
            "{name:?}"
        );
    }
    match host::read("given", said, Some("/home/somebody".into())) {
        Ok(host) => {
            assert!(!host.to_string().is_empty());
            let way = host.through(&Access::default());
            assert_eq!(way.is_some(), host.proxy.is_some());
        }
        Err(why) => assert!(!why.is_empty()),
    }
    let known: Vec<_> = known::read(said).collect();
    let kinds = known::preference(&known);
    assert!(kinds.is_none_or(|kinds| !kinds.is_empty()));
}
