//! What a folder says of several versions of its programs.

use std::collections::BTreeMap;

use harness::nearest::nearest;
use harness::system::Operation;

use super::super::file::{File, Text, VersionFile};
use super::{Read, Reader, kept};
use crate::params::{Kind, Param};
use crate::systems::versions::{DEFAULT, OPERATION, UPGRADE, VERSION};

/// There is no next version.
pub const NONE: &str = "none";
/// To which they are upgraded.
pub const NEXT: &str = "next-version";

/// One, with the programs that it has of its own.
#[derive(Clone, Debug)]
pub struct Version {
    pub name: &'static str,
    pub programs: BTreeMap<String, String>,
    pub install: Option<String>,
}

/// What chooses among versions; nothing where there is one.
pub fn params(versions: &[Version]) -> Vec<Param> {
    if versions.len() < 2 {
        return Vec::new();
    }
    let names: Vec<&str> = versions.iter().map(|version| version.name).collect();
    let with_none: Vec<&str> = [NONE].into_iter().chain(names.iter().copied()).collect();
    vec![
        Param {
            name: VERSION,
            kind: Kind::Each(names.leak()),
            default: DEFAULT,
            about: "which version of its programs a node runs",
        },
        Param {
            name: NEXT,
            kind: Kind::Choice(with_none.leak()),
            default: NONE,
            about: "what `--nemesis admin:upgrade` puts in its place",
        },
    ]
}

/// What goes over to another, if there is one.
pub fn operation(versions: &[Version]) -> Option<Operation> {
    (versions.len() > 1).then_some(Operation {
        about: "runs the version that the parameter next-version names, from now on",
        ..OPERATION
    })
}

impl Reader<'_> {
    pub(super) fn versions(&self, file: &File) -> Read<Vec<Version>> {
        let own = Version {
            name: DEFAULT,
            programs: BTreeMap::new(),
            install: None,
        };
        let more = file.versions.iter();
        let more = more.map(|(name, version)| self.version(file, name, version));
        [Ok(own)].into_iter().chain(more).collect()
    }

    fn version(&self, file: &File, name: &Text, version: &VersionFile) -> Read<Version> {
        let at = name.span().start;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let text = name.get_ref();
        if text.is_empty() || [DEFAULT, NONE].contains(&text.as_str()) || !text.chars().all(plain) {
            let what = "a version's name is letters, digits, `-`, `_` and `.`; not `default`, which is what \
                        [programs] has, and not `none`";
            return self.wrong(at, what);
        }
        if file.image.is_some() {
            return self.wrong(at, "the programs are in an image, which has one version");
        }
        let mut params = file.params.keys();
        if let Some(param) =
            params.find(|param| [VERSION, NEXT].contains(&param.get_ref().as_str()))
        {
            let what = "where there are [versions] this chooses among them: call this otherwise";
            return self.wrong(param.span().start, what);
        }
        let mut admin = file.admin.keys();
        if let Some(upgrade) = admin.find(|admin| admin.get_ref() == UPGRADE) {
            let what = "where there are [versions] this goes over to another: call this otherwise";
            return self.wrong(upgrade.span().start, what);
        }
        let programs = version.programs.get_ref();
        if programs.is_empty() {
            let what = "say which programs of [programs] this version has of its own";
            return self.wrong(version.programs.span().start, what);
        }
        let known = || file.programs.keys().map(String::as_str);
        if let Some(other) = programs
            .keys()
            .find(|called| !known().any(|own| own == called.get_ref()))
        {
            let called = other.get_ref();
            let what = match nearest(called, known()) {
                Some(near) => format!("[programs] has no {called:?}: did you mean {near:?}?"),
                None => format!("[programs] has no {called:?}"),
            };
            return self.wrong(other.span().start, what);
        }
        Ok(Version {
            name: kept(text),
            programs: programs
                .iter()
                .map(|(called, written)| (called.get_ref().clone(), written.clone()))
                .collect(),
            install: version.install.clone(),
        })
    }
}
