//! The programs of etcd on this machine: the one that members run, and another one beside it.

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use harness::cluster::{Node, Program};
use harness::control::ControlError;
use harness::system::{Operated, Operation, Step};
use history::Name;

use super::{INSTALL, NAME, VARIABLE};
use crate::params::{Kind, Param, Params};
use crate::systems::versions::{self, DEFAULT, Turns, VERSION};
use crate::systems::{SetupError, locate};

/// The other one is called so, and where it is stands in `SCHISM_ETCD_NEXT`.
const NEXT: &str = "next";
const NEXT_VARIABLE: &str = "SCHISM_ETCD_NEXT";
/// What it is called on a node.
const NEXT_NAME: &str = "etcd-next";

pub const PARAM: Param = Param {
    name: VERSION,
    kind: Kind::Each(&[DEFAULT, NEXT]),
    default: DEFAULT,
    about: "which program a member runs: next is the one that SCHISM_ETCD_NEXT names",
};

pub const UPGRADE: Operation = Operation {
    about: "runs the program that SCHISM_ETCD_NEXT names, from now on",
    ..versions::OPERATION
};

pub struct Programs {
    own: PathBuf,
    next: Option<PathBuf>,
    turns: Turns,
    nodes: OnceLock<Vec<Name>>,
}

impl Programs {
    /// # Errors
    /// One is missing, or a member is to run another one that nobody names.
    pub fn find(params: &Params) -> Result<Programs, SetupError> {
        let named = env::var_os(NEXT_VARIABLE);
        let next = named.map(|_| {
            let remedy = "name a program of etcd's, or nothing";
            locate(NAME, NEXT_VARIABLE, &[], remedy)
        });
        let next = next.transpose()?;
        let own = turns(params);
        if own.contains(&NEXT) && next.is_none() {
            return Err(SetupError::Refused {
                system: NAME,
                reason: format!(
                    "version {}: say which program the next one is: {NEXT_VARIABLE}=PATH",
                    params.text(VERSION)
                ),
            });
        }
        let folders = ["/usr/bin", "/usr/local/bin"].map(PathBuf::from);
        Ok(Programs {
            own: locate(NAME, VARIABLE, &folders, INSTALL)?,
            turns: Turns::new(own, next.as_ref().map(|_| NEXT)),
            next,
            nodes: OnceLock::new(),
        })
    }

    /// Whether members can run one at all.
    pub fn look() -> Result<(), SetupError> {
        let params = Params::resolve(&[PARAM], []).map_err(SetupError::Param)?;
        Programs::find(&params).map(drop)
    }

    /// What every node is given.
    pub fn all(&self) -> Vec<Program> {
        let own = (NAME, Some(&self.own));
        let named = [own, (NEXT_NAME, self.next.as_ref())].into_iter();
        let all = named.filter_map(|(name, from)| Some((name, from?.clone())));
        all.map(|(name, from)| Program {
            name: name.into(),
            from,
        })
        .collect()
    }

    /// Whose turn is first, second and so on.
    pub fn place(&self, all: &[Node]) {
        let names = || all.iter().map(|node| node.name.clone()).collect();
        self.nodes.get_or_init(names);
    }

    /// Which file the member runs.
    pub fn of(&self, node: &Node) -> PathBuf {
        let mut placed = self.nodes.get().into_iter().flatten();
        let before = placed.position(|name| *name == node.name);
        let index = 1 + before.unwrap_or_default();
        node.bin(match self.turns.of(&node.name, index) {
            NEXT => NEXT_NAME,
            _ => NAME,
        })
    }

    /// Whether more than one of the two has written on the members' disks.
    pub fn are_several(&self) -> bool {
        self.turns.are_several()
    }

    pub fn go_over(&self, node: &Node) {
        self.turns.upgrade(&node.name);
    }

    /// The member is started anew after this.
    pub async fn upgrade(&self, step: Step, node: &Node) -> Result<Operated, ControlError> {
        if step == Step::Check {
            return versions::look(node, vec![node.bin(NEXT_NAME)]).await;
        }
        self.go_over(node);
        Ok(Operated {
            worked: true,
            told: format!("it is to run the program that {NEXT_VARIABLE} names"),
        })
    }

    /// For tests: neither of the two is there.
    #[cfg(test)]
    pub fn of_two(params: &Params, all: &[Node]) -> Programs {
        let programs = Programs {
            own: "etcd".into(),
            next: Some("etcd-next".into()),
            turns: Turns::new(turns(params), Some(NEXT)),
            nodes: OnceLock::new(),
        };
        programs.place(all);
        programs
    }
}

/// What the members run at first, in turn.
fn turns(params: &Params) -> Vec<&'static str> {
    let word = |word: &str| [DEFAULT, NEXT].into_iter().find(|known| *known == word);
    params.each(VERSION).filter_map(word).collect()
}
