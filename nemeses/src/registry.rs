//! What there is: one table of families and shapes, for parsing, drawing, listing and refusing.

use std::collections::BTreeMap;
use std::fmt;

use history::Name;

/// Which kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Partition,
    Pause,
    Kill,
    Clock,
    Packet,
    Machine,
}

/// Something that a node must be able to do: any one of these names among its agent's offers.
pub type Need = &'static [&'static str];

const NFT: &[Need] = &[&["nft"]];
const NETEM: &[Need] = &[&["netem"]];
const TBF: &[Need] = &[&["tbf"]];
const CLOCK: &[Need] = &[&["vdso", "set-clock"]];
const SUSPEND: &[Need] = &[&["suspend"]];
const RESET: &[Need] = &[&["reset"]];
const VDSO: &[Need] = &[&["vdso"]];

/// One shape of a family's faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub name: &'static str,
    /// How often it is drawn, in percent of the family's faults.
    pub percent: u32,
    /// With fewer nodes it makes no sense, or is the same as another shape.
    pub least_nodes: usize,
    pub needs: &'static [Need],
    /// What it does, in one sentence.
    pub does: &'static str,
}

/// A family, as `schism nemeses` lists it.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    pub family: Family,
    pub does: &'static str,
    pub shapes: &'static [Shape],
    /// For `--nemesis`.
    pub example: &'static str,
}

const fn shape(
    name: &'static str,
    percent: u32,
    least_nodes: usize,
    needs: &'static [Need],
    does: &'static str,
) -> Shape {
    Shape {
        name,
        percent,
        least_nodes,
        needs,
        does,
    }
}

pub const FAMILIES: &[Listing] = &[
    Listing {
        family: Family::Partition,
        does: "cuts the network between nodes, in one direction or both",
        shapes: &[
            shape(
                "halves",
                14,
                2,
                NFT,
                "two halves that cannot hear each other",
            ),
            shape(
                "one-node",
                10,
                2,
                NFT,
                "one node alone, all others together",
            ),
            shape(
                "majority-minority",
                12,
                3,
                NFT,
                "a majority on one side, a minority of any size on the other",
            ),
            shape(
                "minority-third",
                6,
                3,
                NFT,
                "a third of the nodes on one side, the others on the other",
            ),
            shape(
                "majorities-ring",
                10,
                4,
                NFT,
                "every node hears a majority, no two nodes the same one, and no majority is whole",
            ),
            shape(
                "bridge",
                10,
                3,
                NFT,
                "two halves that only one node, the bridge, can hear and reach",
            ),
            shape(
                "leader",
                12,
                2,
                NFT,
                "whoever leads when the fault begins, alone",
            ),
            shape(
                "one-way-in",
                8,
                2,
                NFT,
                "the targets hear nobody else, but are heard",
            ),
            shape(
                "one-way-out",
                8,
                2,
                NFT,
                "the targets hear everybody, but nobody else hears them",
            ),
            shape(
                "partial",
                6,
                3,
                NFT,
                "two nodes cannot hear each other; all others hear and reach both",
            ),
            shape(
                "no-response",
                4,
                1,
                NFT,
                "requests reach the targets, and every answer from their client port is dropped",
            ),
        ],
        example: "partition:one-way-in",
    },
    Listing {
        family: Family::Pause,
        does: "stops every process of a daemon, and lets them run on later as if nothing had been",
        shapes: WHO,
        example: "pause:leader",
    },
    Listing {
        family: Family::Kill,
        does: "kills every process of a daemon, and starts it again later",
        shapes: WHO,
        example: "kill:all",
    },
    Listing {
        family: Family::Clock,
        does: "shifts the clocks that a daemon sees",
        shapes: &[
            shape(
                "jump",
                45,
                1,
                CLOCK,
                "the wall clock is off by a constant, from 10 ms to 1 h either way",
            ),
            shape("strobe", 15, 1, CLOCK, "the wall clock jumps to and fro"),
            shape(
                "drift",
                15,
                1,
                CLOCK,
                "the wall clock runs too fast or too slow",
            ),
            shape(
                "freeze",
                15,
                1,
                VDSO,
                "the daemon is stopped while its clocks stand still, as a suspended machine; healing makes the lost time up",
            ),
            shape(
                "freeze-kept",
                10,
                1,
                VDSO,
                "the same, and the lost time is never made up",
            ),
        ],
        example: "clock:jump:leader",
    },
    Listing {
        family: Family::Packet,
        does: "disturbs packets between the targets and their peers",
        shapes: &[
            shape(
                "delay",
                30,
                2,
                NETEM,
                "packets that leave the targets come late, by a time that varies",
            ),
            shape(
                "loss",
                25,
                2,
                NFT,
                "a share of the packets to and from the targets is lost",
            ),
            shape(
                "duplicate",
                10,
                2,
                NETEM,
                "a share of the packets that leave the targets comes twice",
            ),
            shape(
                "reorder",
                15,
                2,
                NETEM,
                "a share of the packets that leave the targets overtakes the others",
            ),
            shape(
                "corrupt",
                10,
                2,
                NETEM,
                "a share of the packets that leave the targets has a bit flipped",
            ),
            shape(
                "rate",
                10,
                2,
                TBF,
                "what leaves the targets goes through a thin pipe",
            ),
        ],
        example: "packet:loss:minority",
    },
    Listing {
        family: Family::Machine,
        does: "stops or restarts whole virtual machines",
        shapes: &[
            shape(
                "suspend",
                60,
                1,
                SUSPEND,
                "the machine stands still, its clocks too, and goes on as if nothing had been; its wall clock is set right then",
            ),
            shape(
                "reboot",
                40,
                1,
                RESET,
                "the machine is reset: what is not on its disk is lost; its daemon is started when the fault ends",
            ),
        ],
        example: "machine:suspend:leader",
    },
];

/// Who is hit, for the families that act on daemons. The same words are the targets of other
/// families, with the same weights.
pub const WHO: &[Shape] = &[
    shape("one", 40, 1, &[], "one node"),
    shape(
        "minority",
        20,
        3,
        &[],
        "the largest minority: whatever is left is a majority",
    ),
    shape(
        "majority",
        10,
        3,
        &[],
        "the smallest majority: whatever is left is a minority",
    ),
    shape("leader", 20, 1, &[], "whoever leads when the fault begins"),
    shape("all", 10, 1, &[], "all nodes at once"),
];

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Family::Partition => "partition",
            Family::Pause => "pause",
            Family::Kill => "kill",
            Family::Clock => "clock",
            Family::Packet => "packet",
            Family::Machine => "machine",
        }
    }

    pub fn named(name: &str) -> Option<Family> {
        FAMILIES.iter().map(|l| l.family).find(|f| f.name() == name)
    }

    pub fn listing(self) -> &'static Listing {
        FAMILIES
            .iter()
            .find(|l| l.family == self)
            .expect("every family is in the table: a test walks them")
    }

    pub fn shape(self, name: &str) -> Option<&'static Shape> {
        self.listing().shapes.iter().find(|s| s.name == name)
    }

    /// Whether the family's shapes say who is hit, and nothing else.
    pub fn shapes_are_targets(self) -> bool {
        matches!(self, Family::Pause | Family::Kill)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A need that some nodes cannot meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What needs it: `packet:delay`.
    pub fault: String,
    pub need: Need,
    pub nodes: Vec<Name>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<&str> = self.nodes.iter().map(Name::as_str).collect();
        write!(
            f,
            "{} needs {}, which {} cannot offer",
            self.fault,
            self.need.join(" or "),
            nodes.join(", ")
        )?;
        if self
            .need
            .iter()
            .any(|need| ["suspend", "reset"].contains(need))
        {
            // Nodes that share this kernel have no machine, and of others the hypervisor is not known.
            write!(f, " (only --cluster vagrant with libvirt can)")?;
        }
        if self.need.contains(&"netem") {
            // Loss is the one disturbance of packets that works on every kernel.
            write!(f, " (packet:loss works without)")?;
        }
        Ok(())
    }
}

/// What is asked for, against what each node's agent offers ([`agent::protocol::Hello::offers`]).
/// Every mismatch is in the answer, so that one look is enough.
pub fn missing(
    asked: &BTreeMap<String, &'static [Need]>,
    offers: &BTreeMap<Name, Vec<String>>,
) -> Vec<Missing> {
    let mut all = Vec::new();
    for (fault, needs) in asked {
        for need in *needs {
            let nodes: Vec<Name> = offers
                .iter()
                .filter(|(_, offers)| !offers.iter().any(|o| need.contains(&o.as_str())))
                .map(|(node, _)| node.clone())
                .collect();
            if !nodes.is_empty() {
                all.push(Missing {
                    fault: fault.clone(),
                    need,
                    nodes,
                });
            }
        }
    }
    all
}

/// The name among `known` that somebody may have meant.
pub(crate) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .min()
        // A third of the letters wrong is a slip; more is another word.
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_listed_and_its_weights_are_percentages() {
        for family in [
            Family::Partition,
            Family::Pause,
            Family::Kill,
            Family::Clock,
            Family::Packet,
            Family::Machine,
        ] {
            let listing = family.listing();
            let sum: u32 = listing.shapes.iter().map(|s| s.percent).sum();
            assert_eq!(sum, 100, "{family}");
            assert_eq!(Family::named(family.name()), Some(family));
        }
    }

    #[test]
    fn all_that_is_missing_is_said_at_once() {
        let offers = BTreeMap::from([
            (Name::new("n1"), vec!["nft".to_string(), "tbf".into()]),
            (
                Name::new("n2"),
                vec!["netem".to_string(), "set-clock".into()],
            ),
        ]);
        let asked = BTreeMap::from([
            ("clock:jump".to_string(), CLOCK),
            ("packet:delay".to_string(), NETEM),
            ("packet:rate".to_string(), TBF),
            ("partition:halves".to_string(), NFT),
            ("pause".to_string(), &[] as &[Need]),
        ]);
        let said: Vec<String> = missing(&asked, &offers)
            .iter()
            .map(Missing::to_string)
            .collect();
        assert_eq!(
            said,
            [
                "clock:jump needs vdso or set-clock, which n1 cannot offer",
                "packet:delay needs netem, which n1 cannot offer (packet:loss works without)",
                "packet:rate needs tbf, which n2 cannot offer",
                "partition:halves needs nft, which n2 cannot offer",
            ]
        );
    }

    #[test]
    fn a_slip_has_a_nearest_name_and_another_word_has_none() {
        let known = || FAMILIES.iter().map(|l| l.family.name());
        assert_eq!(nearest("partiton", known()), Some("partition"));
        assert_eq!(nearest("kil", known()), Some("kill"));
        assert_eq!(nearest("earthquake", known()), None);
    }
}
