//! Whom a shape is aimed at: any nodes, the leader, one side of a split.

use std::fmt;
use std::ops::RangeInclusive;

use harness::seed::Seed;
use history::Name;

use crate::dice::Dice;
use crate::targets::{self, Targets, majority};

/// How the nodes of a fault are chosen, and what they mean.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// Any nodes.
    Daemons,
    /// Nodes, as against the others. `all`: it makes sense if there are no others.
    Peers { all: bool },
    /// Whoever leads when the fault begins, and nobody else.
    Leader,
    /// One side of two, of so many nodes.
    Side(Sizes),
    /// All nodes, in the order of a ring.
    Ring,
    /// One side of two, and the node between them.
    Bridge,
    /// Two nodes.
    Pair,
}

/// How large a side may be, of so many nodes.
pub type Sizes = fn(usize) -> RangeInclusive<usize>;

/// A kind of target: the same words for all families whose targets can be chosen.
pub struct Who {
    pub name: &'static str,
    /// How often it is drawn, in percent.
    pub percent: u32,
    /// With fewer nodes it makes no sense, or is the same as another.
    pub least_nodes: usize,
    pub does: &'static str,
    /// None: whoever leads when the fault begins.
    count: Option<fn(usize) -> usize>,
}

const ONE: Who = Who {
    name: "one",
    percent: 40,
    least_nodes: 1,
    does: "one node",
    count: Some(|_| 1),
};

/// A minority is the largest one, and a majority the smallest: those are the ones between which a
/// quorum is kept or lost.
pub const WHO: &[Who] = &[
    ONE,
    Who {
        name: "minority",
        percent: 20,
        least_nodes: 3,
        does: "the largest minority: whatever is left is a majority",
        count: Some(|nodes| nodes - majority(nodes)),
    },
    Who {
        name: "majority",
        percent: 10,
        least_nodes: 3,
        does: "the smallest majority: whatever is left is a minority",
        count: Some(majority),
    },
    Who {
        name: "leader",
        percent: 20,
        least_nodes: 1,
        does: "whoever leads when the fault begins",
        count: None,
    },
    Who {
        name: "all",
        percent: 10,
        least_nodes: 1,
        does: "all nodes at once",
        count: Some(|nodes| nodes),
    },
];

impl Who {
    pub fn named(name: &str) -> Option<&'static Who> {
        WHO.iter().find(|who| who.name == name)
    }

    pub fn one() -> &'static Who {
        &ONE
    }

    pub fn is_leader(&self) -> bool {
        self.count.is_none()
    }

    /// Whether nobody is left besides.
    pub fn is_all(&self) -> bool {
        self.count.is_some_and(|count| count(9) == 9)
    }

    /// One of the kinds. `some`: nobody else would be left by all nodes, so they are not drawn.
    pub(crate) fn draw(dice: &mut Dice, nodes: usize, some: bool, no_leader: bool) -> &'static Who {
        let weight = |who: &Who| match who {
            who if some && who.is_all() => 0,
            who if no_leader && who.is_leader() => 0,
            who if who.least_nodes > nodes => 0,
            who => who.percent,
        };
        dice.weighted(WHO, weight).unwrap_or(Who::one())
    }

    /// The targets of this kind, taken from the front of a shuffled line.
    pub(crate) fn take(&self, line: &[Name]) -> Targets {
        match self.count {
            None => Targets::Leader,
            Some(count) => Targets::Nodes(sorted(&line[..count(line.len())])),
        }
    }

    /// The targets that a word of a file stands for.
    pub(crate) fn settle(&self, seed: u64, fault: usize, nodes: &[Name]) -> Targets {
        let (_, line) = shuffled(seed, fault, nodes);
        self.take(&line)
    }
}

/// By name: there is one of each.
impl PartialEq for Who {
    fn eq(&self, other: &Who) -> bool {
        self.name == other.name
    }
}

impl Eq for Who {}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The nodes of a fault, and the one between two sides where there is one.
pub(crate) type Aimed = (Targets, Option<Name>);

impl Aim {
    /// Whether its targets are for a person to choose.
    pub fn can_be_chosen(self) -> bool {
        matches!(self, Aim::Daemons | Aim::Peers { .. })
    }

    /// Whether it does nothing to all nodes at once.
    pub fn needs_others(self) -> bool {
        matches!(self, Aim::Peers { all: false })
    }

    /// `who` chooses the targets of those that can be chosen; it is told whether all would be too
    /// many. The nodes are as many as the shape needs. All but the first draw an order of the nodes
    /// even if they do not need it: that way a seed keeps meaning the same schedule.
    pub(crate) fn draw(
        self,
        dice: &mut Dice,
        nodes: &[Name],
        who: impl FnOnce(&mut Dice, bool) -> Targets,
    ) -> Aimed {
        if let Aim::Daemons = self {
            return (who(dice, false), None);
        }
        let mut line = nodes.to_vec();
        dice.shuffle(&mut line);
        let n = line.len();
        match self {
            Aim::Daemons | Aim::Peers { .. } => (who(dice, self.needs_others()), None),
            Aim::Leader => (Targets::Leader, None),
            Aim::Ring => (Targets::Nodes(line), None),
            Aim::Bridge => {
                let side = sorted(&line[1..=(n - 1) / 2]);
                (Targets::Nodes(side), Some(line.swap_remove(0)))
            }
            Aim::Pair => (Targets::Nodes(sorted(&line[..2])), None),
            Aim::Side(sizes) => {
                let sizes = sizes(n);
                let size = dice.within(*sizes.start() as u64..=*sizes.end() as u64);
                let size = usize::try_from(size).expect("a number of nodes");
                (Targets::Nodes(sorted(&line[..size])), None)
            }
        }
    }

    /// The nodes of a fault whose file leaves them open.
    pub(crate) fn settle(self, seed: u64, fault: usize, nodes: &[Name]) -> Aimed {
        let (mut dice, line) = shuffled(seed, fault, nodes);
        self.draw(&mut dice, nodes, |_, _| Who::one().take(&line))
    }

    /// Whether these targets make sense for a shape of this name: the key at fault, and why not.
    pub(crate) fn check(
        self,
        shape: &str,
        (targets, bridge): (&Targets, Option<&Name>),
        nodes: &[Name],
    ) -> Result<(), (&'static str, String)> {
        if let Some(bridge) = bridge {
            let bridge = std::slice::from_ref(bridge);
            targets::check(bridge, nodes).map_err(|why| ("bridge", why))?;
        }
        let Targets::Nodes(names) = targets else {
            return Ok(());
        };
        let among = |names: &[Name]| targets::check(names, nodes);
        let told = match self {
            Aim::Leader => Ok(()),
            Aim::Daemons | Aim::Peers { all: true } => among(names),
            Aim::Peers { all: false } => among(names).and(match names.len() < nodes.len() {
                true => Ok(()),
                false => Err("with all nodes as targets nothing is cut".into()),
            }),
            Aim::Side(sizes) => among(names).and(fits(shape, sizes, names.len(), nodes.len())),
            Aim::Ring => among(names).and(match names.len() == nodes.len() {
                true => Ok(()),
                false => Err(format!(
                    "{shape} names all {} nodes in the order of the ring, and {} are named",
                    nodes.len(),
                    names.len()
                )),
            }),
            Aim::Bridge => among(names).and(match bridge {
                Some(bridge) if names.contains(bridge) => {
                    Err(format!("{bridge} is the bridge, and on one side of it too"))
                }
                _ if names.len() + 1 < nodes.len() => Ok(()),
                _ => Err("nobody is left for the other side of the bridge".into()),
            }),
            Aim::Pair => match names.len() {
                2 => among(names),
                n => Err(format!("{shape} is between two nodes, and {n} are named")),
            },
        };
        told.map_err(|why| ("targets", why))
    }
}

fn fits(shape: &str, sizes: Sizes, side: usize, nodes: usize) -> Result<(), String> {
    let sizes = sizes(nodes);
    if sizes.contains(&side) {
        return Ok(());
    }
    let range = match sizes.start() == sizes.end() {
        true => sizes.start().to_string(),
        false => format!("{} to {}", sizes.start(), sizes.end()),
    };
    Err(format!(
        "{shape} of {nodes} nodes has {range} on its side, and {side} are named"
    ))
}

/// In the order of the cluster's numbering: `n2` before `n10`.
fn sorted(names: &[Name]) -> Vec<Name> {
    let mut names = names.to_vec();
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    names
}

fn shuffled(seed: u64, fault: usize, nodes: &[Name]) -> (Dice, Vec<Name>) {
    let mut dice = Dice::new(Seed(seed).stream(&format!("targets of fault {fault}")));
    let mut line = nodes.to_vec();
    dice.shuffle(&mut line);
    (dice, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_targets_are_percentages() {
        assert_eq!(WHO.iter().map(|w| w.percent).sum::<u32>(), 100);
        let all: Vec<&str> = WHO.iter().filter(|w| w.is_all()).map(|w| w.name).collect();
        assert_eq!(all, ["all"]);
        assert_eq!(Who::named("one"), Some(Who::one()));
    }
}
