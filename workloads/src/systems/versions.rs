//! Several versions of a system beside each other: which one a node runs is a parameter, and to go
//! over to the next while the others serve is an operation.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use harness::cluster::Node;
use harness::control::ControlError;
use harness::system::{Operated, Operation};
use history::Name;

use super::{SHORT, ended, said_by};

/// What the programs are called that are found by themselves.
pub const DEFAULT: &str = "default";
/// The parameter that says which version nodes run.
pub const VERSION: &str = "version";
/// The operation that puts the next version in its place.
pub const UPGRADE: &str = "upgrade";

pub const OPERATION: Operation = Operation {
    name: UPGRADE,
    about: "runs the next version from now on",
    is_undone: false,
    is_checked: true,
    restarts: true,
    takes_node_away: false,
};

/// Whether a process on the node runs one of these files, itself or by an interpreter. The shell
/// that asks names them too.
const RUNS: &str = r#"
for process in /proc/[0-9]*; do
    [ "$process" = "/proc/$$" ] && continue
    for file; do
        [ "$(readlink "$process/exe")" = "$file" ] && exit 0
        tr '\0' '\n' < "$process/cmdline" | grep -qxF -e "$file" && exit 0
    done
done 2> /dev/null
echo "nothing runs $*"
exit 1"#;

/// Which version each node runs.
#[derive(Debug)]
pub struct Turns {
    /// The nodes' own, which go round.
    own: Vec<&'static str>,
    next: Option<&'static str>,
    upgraded: Mutex<BTreeSet<Name>>,
}

impl Turns {
    /// `own` is not empty.
    pub fn new(own: Vec<&'static str>, next: Option<&'static str>) -> Turns {
        Turns {
            own,
            next,
            upgraded: Mutex::default(),
        }
    }

    pub fn next(&self) -> Option<&'static str> {
        self.next
    }

    /// Whether some node runs this version, or may go over to it.
    pub fn have(&self, version: &str) -> bool {
        self.next == Some(version) || self.own.contains(&version)
    }

    /// What the node with this index, from 1 on, runs now.
    pub fn of(&self, node: &Name, index: usize) -> &'static str {
        match self.next {
            Some(next) if self.upgraded().contains(node) => next,
            _ => self.own[(index - 1) % self.own.len()],
        }
    }

    /// Whether nodes run several versions, or one has gone over to another.
    pub fn are_several(&self) -> bool {
        self.own.iter().any(|other| *other != self.own[0]) || !self.upgraded().is_empty()
    }

    /// From now on the node runs the next version.
    pub fn upgrade(&self, node: &Name) {
        self.upgraded().insert(node.clone());
    }

    fn upgraded(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.upgraded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks whether the node runs one of these files.
///
/// # Errors
/// If the node cannot be asked.
pub async fn look(node: &Node, files: Vec<PathBuf>) -> Result<Operated, ControlError> {
    let argv = ["sh", "-c", RUNS, "sh"].map(String::from).into_iter();
    let files = files.into_iter().map(|file| file.display().to_string());
    let ran = ended(node, argv.chain(files).collect(), SHORT).await?;
    Ok(said_by(&ran))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_go_round_the_nodes_until_one_goes_over() {
        let turns = Turns::new(vec!["a", "b"], Some("c"));
        let names: Vec<Name> = ["n1", "n2", "n3"].map(Name::from).to_vec();
        let run = || -> Vec<&str> {
            let nodes = names.iter().enumerate();
            nodes.map(|(at, node)| turns.of(node, at + 1)).collect()
        };
        assert_eq!(run(), ["a", "b", "a"]);
        assert!(turns.are_several());
        turns.upgrade(&names[2]);
        assert_eq!(run(), ["a", "b", "c"]);
        assert!(turns.have("c") && !turns.have("d"));
    }
}
