//! What a fault family says about itself. Everything else here (drawing, reading, writing,
//! refusing, listing) walks these descriptions and names no family.
//!
//! ```text
//! Family  clock        what it does, how its faults are made, how they stand to those of others
//!   Shape   strobe       its weight, its needs, its aim, its grip
//!     Figure  delta        its key, its unit, how it is drawn, what is allowed
//!     Figure  period
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use harness::nemesis::Fault;
use history::Name;

use crate::aim::Aim;
use crate::figure::{Figure, Wrong, span};
use crate::targets::{Grudge, Targets};

/// A family: one static, in the family's own file. [`crate::FAMILIES`] lists them.
pub struct Family {
    pub name: &'static str,
    /// What its faults do, in one sentence.
    pub does: &'static str,
    /// For `--nemesis`.
    pub example: &'static str,
    pub shapes: &'static [Shape],
    /// The shape of a name, where the shapes are the system's. The one that is listed is their
    /// pattern, and none that can be asked for.
    pub named: Option<fn(&str) -> Option<&'static Shape>>,
    /// What `--nemesis all` has of it; none: it is asked for by name only.
    pub in_all: Option<&'static str>,
}

impl Family {
    /// Whether every fault of it leaves the daemons' memory as it is.
    pub fn keeps_memory(&self) -> bool {
        self.shapes.iter().all(|shape| shape.grip.keeps_memory())
    }
}

/// One shape of a family's faults.
pub struct Shape {
    /// Empty where the family has one shape only: then the targets say all that there is to say.
    pub name: &'static str,
    /// How often it is drawn, in percent of the family's faults.
    pub percent: u32,
    /// With fewer nodes it makes no sense, or is the same as another shape.
    pub least_nodes: usize,
    pub needs: &'static [Need],
    /// What it does, in one sentence.
    pub does: &'static str,
    pub aim: Aim,
    pub grip: Grip,
    /// In the order in which they are drawn and written.
    pub figures: &'static [Figure],
    /// What its figures may not be together, or in a fault that lasts so long.
    pub check: fn(&What, Option<Duration>) -> Result<(), Wrong>,
    /// Whether healing leaves what was done.
    pub stays: bool,
    /// What it takes away from a quorum of these nodes.
    pub reach: fn(&What, &[Name]) -> Reach,
    /// A fault of it to be injected, with a memory of its own.
    pub make: fn(&What) -> Arc<dyn Fault>,
}

/// What a fault does, and to whom.
#[derive(Clone, PartialEq, Eq)]
pub struct What {
    pub family: &'static Family,
    pub shape: &'static Shape,
    /// What they mean is the shape's [`Aim`].
    pub targets: Targets,
    /// The node between two sides, where the shape has one.
    pub bridge: Option<Name>,
    /// In the order of the shape's figures, in smallest parts.
    pub figures: Vec<i64>,
}

/// Something that a node must be able to do: any one of these names among its agent's offers.
pub type Need = &'static [&'static str];

/// What a fault does with the daemons of its targets: it decides which faults go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grip {
    /// Nothing: it acts on what is sent, or on what is stored.
    Around,
    /// Their clocks are wrong. A clock can only be read, and be put right, in a daemon that runs.
    Clocks,
    /// They are stopped while their clocks stand still.
    Frozen,
    Paused,
    Killed,
    /// Their machine stands still: nobody reaches it.
    Suspended,
    /// Their machine starts anew, without what other faults did to it.
    Reset,
    /// They are asked to do something, and may be started anew for it.
    Operated,
}

impl Grip {
    /// Whether it holds daemons, so that two such faults at once are in each other's way.
    pub fn on_daemons(self) -> bool {
        self != Grip::Around
    }

    /// Whether what a daemon holds in memory is there still when it is over.
    pub fn keeps_memory(self) -> bool {
        match self {
            Grip::Around | Grip::Clocks | Grip::Frozen | Grip::Paused => true,
            Grip::Killed | Grip::Suspended | Grip::Reset | Grip::Operated => false,
        }
    }

    /// Whether the daemons' clocks are wrong under it.
    pub fn on_clocks(self) -> bool {
        matches!(self, Grip::Clocks | Grip::Frozen)
    }
}

/// What a fault takes away from a quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Whoever leads.
    Leader,
    /// These nodes.
    Nodes(Vec<Name>),
    /// Hearing, between some of the nodes.
    Hearing(Grudge),
}

impl What {
    /// The value of one of its shape's figures.
    pub fn get(&self, figure: &Figure) -> i64 {
        let place = self.shape.figures.iter().position(|f| f == figure);
        self.figures[place.expect("a shape is made of its own figures: a test makes each")]
    }

    /// The value of a figure that is a span of time.
    pub fn span(&self, figure: &Figure) -> Duration {
        span(self.get(figure))
    }

    /// The value of a figure that is a share, in millionths.
    pub fn share(&self, figure: &Figure) -> u32 {
        u32::try_from(self.get(figure)).unwrap_or_default()
    }

    /// The operation of the system that it does, if it is one.
    pub fn operation(&self) -> Option<&'static str> {
        self.family.named.map(|_| self.shape.name)
    }

    /// Whether it has to be asked who leads.
    pub fn asks_for_leader(&self) -> bool {
        self.targets == Targets::Leader
    }

    /// `partition:halves`, `kill`.
    pub fn name(&self) -> String {
        match self.shape.name {
            "" => self.family.to_string(),
            shape => format!("{}:{shape}", self.family),
        }
    }

    /// For all families that disturb just their targets.
    pub fn reaches_targets(&self, _: &[Name]) -> Reach {
        match &self.targets {
            Targets::Leader => Reach::Leader,
            Targets::Nodes(names) => Reach::Nodes(names.clone()),
        }
    }

    /// What is wrong with it on these nodes, in a fault that lasts so long.
    pub(crate) fn check(&self, nodes: &[Name], lasts: Option<Duration>) -> Result<(), Wrong> {
        let shape = self.shape;
        if nodes.len() < shape.least_nodes {
            let (least, many) = (shape.least_nodes, nodes.len());
            let why = format!(
                "{} needs {least} nodes or more, and there are {many}",
                shape.name
            );
            return Err(("shape", why));
        }
        shape
            .aim
            .check(shape.name, (&self.targets, self.bridge.as_ref()), nodes)?;
        for (figure, value) in shape.figures.iter().zip(&self.figures) {
            figure.check(*value)?;
        }
        (shape.check)(self, lasts)
    }
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.name(), self.targets, self.figures)
    }
}

impl Shape {
    /// What most shapes have in common: any nodes, no figures, nothing needed.
    pub const fn new(does: &'static str, grip: Grip, make: fn(&What) -> Arc<dyn Fault>) -> Shape {
        Shape {
            name: "",
            percent: 100,
            least_nodes: 1,
            needs: &[],
            does,
            aim: Aim::Daemons,
            grip,
            figures: &[],
            check: |_, _| Ok(()),
            stays: false,
            reach: What::reaches_targets,
            make,
        }
    }
}

impl Shape {
    /// Whether it hits whoever leads, and nobody else.
    pub fn aims_at_leader(&self) -> bool {
        matches!(self.aim, Aim::Leader)
    }
}

impl Family {
    pub fn shape(&self, name: &str) -> Option<&'static Shape> {
        match self.named {
            Some(named) => named(name),
            None => self.shapes.iter().find(|s| s.name == name),
        }
    }

    /// The only shape of a family that has one, without a name.
    pub fn plain(&self) -> Option<&'static Shape> {
        self.shape("")
    }

    /// Whether its faults hold daemons: in a round, each such family has nodes of its own.
    pub fn on_daemons(&self) -> bool {
        self.shapes.iter().any(|s| s.grip.on_daemons())
    }

    /// Whether its faults make clocks wrong: those begin first in a round and end last, so that
    /// they never have to do with a dead daemon.
    pub fn on_clocks(&self) -> bool {
        self.shapes.iter().any(|s| s.grip.on_clocks())
    }
}

/// By name: there is one of each.
impl PartialEq for Family {
    fn eq(&self, other: &Family) -> bool {
        self.name == other.name
    }
}

impl Eq for Family {}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// By name, within a family.
impl PartialEq for Shape {
    fn eq(&self, other: &Shape) -> bool {
        self.name == other.name
    }
}

impl Eq for Shape {}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
