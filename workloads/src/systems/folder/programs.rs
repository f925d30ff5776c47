//! The programs of a folder's system, found on this machine: of one version, or of several beside
//! each other.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};

use harness::cluster::Program;
use history::Name;

use super::description::{Description, NEXT, Version, kept};
use crate::params::Params;
use crate::systems::SetupError;
use crate::systems::versions::{DEFAULT, Turns, VERSION};

/// What nodes are given, and which of it each runs.
pub struct Programs {
    /// By version, and by what templates call them.
    found: BTreeMap<(&'static str, String), Program>,
    /// Which versions there are to choose among, if there are several.
    several: Option<Several>,
}

struct Several {
    turns: Turns,
    /// What templates call the programs of which there are several.
    differ: BTreeSet<String>,
}

impl Programs {
    /// # Errors
    /// One is missing, or two would have one name on a node.
    pub fn find(
        system: &'static str,
        description: &Description,
        params: &Params,
    ) -> Result<Programs, SetupError> {
        let several = (description.versions.len() > 1).then(|| {
            let named = |name: &str| {
                let mut all = description.versions.iter().map(|version| version.name);
                all.find(|known| *known == name)
            };
            let all = description.versions.iter();
            let own = params.each(VERSION).filter_map(named).collect();
            Several {
                turns: Turns::new(own, named(params.text(NEXT))),
                differ: all.flat_map(|v| v.programs.keys().cloned()).collect(),
            }
        });
        let is_asked_for = |version: &&Version| match &several {
            None => true,
            Some(several) => several.turns.have(version.name),
        };
        let mut found: BTreeMap<(&'static str, String), Program> = BTreeMap::new();
        for version in description.versions.iter().filter(is_asked_for) {
            for provided in &description.programs {
                let called = &provided.0;
                let from = locate_or_say(description, version, provided)?;
                let file = from.file_name().unwrap_or_default().to_string_lossy();
                let taken = |name: &str| {
                    let is_other =
                        |program: &&Program| program.name == name && program.from != from;
                    found.values().find(is_other)
                };
                let name = match version.programs.contains_key(called) && taken(&file).is_some() {
                    true => format!("{file}-{}", version.name),
                    false => file.into_owned(),
                };
                if let Some(other) = taken(&name) {
                    return Err(SetupError::Refused {
                        system,
                        reason: format!(
                            "{} and {} would have one name on a node",
                            other.from.display(),
                            from.display()
                        ),
                    });
                }
                found.insert((version.name, called.clone()), Program { name, from });
            }
        }
        Ok(Programs { found, several })
    }

    /// Whether all programs of this version are there.
    pub fn look(description: &Description, version: &Version) -> Result<(), SetupError> {
        let mut programs = description.programs.iter();
        programs.try_for_each(|program| locate_or_say(description, version, program).map(drop))
    }

    /// What every node is given.
    pub fn all(&self) -> Vec<Program> {
        let by_name = self.found.values().map(|p| (p.name.clone(), p.clone()));
        let by_name: BTreeMap<_, _> = by_name.collect();
        by_name.into_values().collect()
    }

    /// What a template means by this name on the node with this index, from 1 on.
    pub fn of(&self, node: &Name, index: usize, called: &str) -> Option<&Program> {
        let several = self.several.as_ref();
        let version = several.map_or(DEFAULT, |several| several.turns.of(node, index));
        self.found.get(&(version, called.to_string()))
    }

    /// From now on the node runs the next version.
    pub fn upgrade(&self, node: &Name) {
        if let Some(several) = &self.several {
            several.turns.upgrade(node);
        }
    }

    /// What tells that a node runs the next version: its programs of which there are several.
    pub fn next(&self) -> Vec<&Program> {
        let next = self.several.iter().flat_map(|several| {
            let named = several.turns.next().map(|next| (next, &several.differ));
            named
                .into_iter()
                .flat_map(|(next, differ)| differ.iter().map(move |called| (next, called.clone())))
        });
        next.filter_map(|key| self.found.get(&key)).collect()
    }
}

/// Where a program of this version is.
fn locate_or_say(
    description: &Description,
    version: &Version,
    (called, written): &(String, String),
) -> Result<PathBuf, SetupError> {
    let folder = &description.folder;
    let written = version.programs.get(called).unwrap_or(written);
    let install = version.install.as_deref();
    locate(folder, written).ok_or_else(|| SetupError::NoProgram {
        program: kept(called),
        looked: format!(
            "[programs] {called} = {written:?}: neither {} nor in PATH",
            folder.join(written).display()
        ),
        remedy: match install.or(description.install.as_deref()) {
            Some(install) => kept(install),
            None => "its system.toml does not say how to install it (`install`)",
        },
    })
}

/// A program: a path, from the folder on, to a file or a whole folder, or a name in PATH.
fn locate(folder: &Path, written: &str) -> Option<PathBuf> {
    let beside = folder.join(written);
    if beside.is_file() || beside.is_dir() {
        return Some(beside);
    }
    let path = env::var_os("PATH").filter(|_| !written.contains('/'))?;
    env::split_paths(&path)
        .map(|dir| dir.join(written))
        .find(|file| file.is_file())
}
