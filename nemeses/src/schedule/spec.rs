//! Which faults a run is to have, as people say it on the command line.
//!
//! ```text
//! partition                     faults of one family
//! partition,kill                first one, then the other, and so on in turn
//! partition+clock               both at the same time
//! partition+clock,kill          both at the same time, then a kill, then both again
//! partition:one-way-in          one shape only
//! kill:leader  clock:jump:all   one kind of target only
//! none  all                     nothing; every family in turn
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::registry::{FAMILIES, Family, Need, Shape, WHO, nearest};

/// What `all` stands for. Of the packet family only the loss, which needs nothing of the kernel that
/// a partition does not need.
const ALL: &str = "partition,pause,kill,clock,packet:loss";

/// Partition shapes that act on a set of targets, so that the set can be narrowed.
const AIMED: &[&str] = &["one-way-in", "one-way-out", "no-response"];

/// Rounds of faults, repeated in turn until the time is over. No round: no faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NemesisSpec {
    /// Faults of one round are in force at the same time.
    pub rounds: Vec<Vec<FaultSpec>>,
}

/// A family, narrowed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSpec {
    pub family: Family,
    /// Never given for a family whose shapes only say who is hit.
    pub shape: Option<&'static Shape>,
    /// A row of [`WHO`].
    pub who: Option<&'static Shape>,
}

/// What is wrong with such a text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("nemesis {text:?}: {message}{}", .hint.as_ref().map(|h| format!(": {h}")).unwrap_or_default())]
pub struct SpecError {
    pub text: String,
    /// Which bytes of the text.
    pub at: Range<usize>,
    pub message: String,
    pub hint: Option<String>,
}

impl std::str::FromStr for NemesisSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<NemesisSpec, SpecError> {
        match text.trim() {
            "none" => Ok(NemesisSpec::default()),
            "all" => parse(ALL),
            _ => parse(text),
        }
    }
}

fn parse(text: &str) -> Result<NemesisSpec, SpecError> {
    let mut rounds = Vec::new();
    let mut at = 0;
    for round in text.split(',') {
        let mut faults: Vec<FaultSpec> = Vec::new();
        for part in round.split('+') {
            let error = |message: String, hint: Option<String>| SpecError {
                text: text.to_string(),
                at: at..at + part.len(),
                message,
                hint,
            };
            let fault = fault(part.trim()).map_err(|(message, hint)| error(message, hint))?;
            if faults.iter().any(|f| f.family == fault.family) {
                return Err(error(
                    format!(
                        "two faults of one family ({}) at the same time would undo each other",
                        fault.family
                    ),
                    Some("put a comma between them to have them in turn".into()),
                ));
            }
            faults.push(fault);
            at += part.len() + 1;
        }
        rounds.push(faults);
    }
    Ok(NemesisSpec { rounds })
}

fn fault(text: &str) -> Result<FaultSpec, (String, Option<String>)> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let names = || FAMILIES.iter().map(|l| l.family.name());
    let Some(family) = Family::named(name) else {
        let all: Vec<&str> = names().collect();
        return Err(match name {
            "" => (
                "a fault family is missing".into(),
                Some(format!("there are {}", all.join(", "))),
            ),
            "none" | "all" => (format!("{name:?} stands alone"), None),
            _ => (
                format!("there is no fault family {name:?}"),
                Some(match nearest(name, names().chain(["none", "all"])) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("there are {}", all.join(", ")),
                }),
            ),
        });
    };
    let mut spec = FaultSpec {
        family,
        shape: None,
        who: None,
    };
    for part in parts {
        let shape = match family.shapes_are_targets() {
            true => None,
            false => family.shape(part),
        };
        let who = WHO.iter().find(|w| w.name == part);
        match (shape, who) {
            (Some(shape), _) if spec.shape.is_none() => spec.shape = Some(shape),
            (_, Some(who)) if spec.who.is_none() => spec.who = Some(who),
            (None, None) => return Err(unknown(family, part)),
            _ => return Err((format!("{text:?} says twice what is meant by it"), None)),
        }
    }
    let aimed = match (family, spec.shape) {
        (Family::Partition, Some(shape)) => AIMED.contains(&shape.name),
        (Family::Partition, None) => false,
        _ => true,
    };
    if let (Some(who), false) = (spec.who, aimed) {
        let hint = format!(
            "of the partitions, only {} have targets to choose",
            AIMED.join(", ")
        );
        return Err((
            format!("{text:?}: {} does not go with this shape", who.name),
            Some(hint),
        ));
    }
    if let (Some(who), Family::Partition) = (spec.who, family)
        && who.name == "all"
        && spec.shape.is_some_and(|s| s.name != "no-response")
    {
        return Err((
            format!("{text:?}: with all nodes as targets nothing is cut"),
            None,
        ));
    }
    Ok(spec)
}

fn unknown(family: Family, part: &str) -> (String, Option<String>) {
    let shapes = family.listing().shapes.iter().map(|s| s.name);
    let known: Vec<&str> = match family.shapes_are_targets() {
        true => shapes.collect(),
        false => shapes.chain(WHO.iter().map(|w| w.name)).collect(),
    };
    let hint = match nearest(part, known.iter().copied()) {
        Some(near) => format!("did you mean \"{family}:{near}\"?"),
        None => {
            let shapes: Vec<&str> = family.listing().shapes.iter().map(|s| s.name).collect();
            format!("there are {}", shapes.join(", "))
        }
    };
    (format!("{family} has no shape {part:?}"), Some(hint))
}

impl NemesisSpec {
    /// What the nodes must be able to do for anything that may be drawn: for [`crate::missing`].
    /// Where all shapes of a family need the same, the family stands for them.
    pub fn needs(&self) -> BTreeMap<String, &'static [Need]> {
        let mut needs = BTreeMap::new();
        for fault in self.rounds.iter().flatten() {
            let family = fault.family;
            let shapes = family.listing().shapes;
            match fault.shape {
                Some(shape) => {
                    needs.insert(format!("{family}:{}", shape.name), shape.needs);
                }
                None if shapes.windows(2).all(|w| w[0].needs == w[1].needs) => {
                    needs.insert(family.to_string(), shapes[0].needs);
                }
                None => needs.extend(
                    shapes
                        .iter()
                        .map(|s| (format!("{family}:{}", s.name), s.needs)),
                ),
            }
        }
        needs
    }
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.family.fmt(f)?;
        for part in [self.shape, self.who].into_iter().flatten() {
            write!(f, ":{}", part.name)?;
        }
        Ok(())
    }
}

impl fmt::Display for NemesisSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rounds.is_empty() {
            return f.write_str("none");
        }
        let round = |faults: &Vec<FaultSpec>| {
            let faults: Vec<String> = faults.iter().map(FaultSpec::to_string).collect();
            faults.join("+")
        };
        let rounds: Vec<String> = self.rounds.iter().map(round).collect();
        f.write_str(&rounds.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<NemesisSpec, SpecError> {
        text.parse()
    }

    #[test]
    fn specs_are_read_and_written_the_same() {
        for text in [
            "none",
            "partition",
            "partition,kill",
            "partition+clock,kill",
            "partition:one-way-in",
            "partition:one-way-in:leader",
            "partition:leader",
            "partition:no-response:all",
            "kill:leader",
            "clock:jump",
            "clock:jump:minority",
            "clock:leader",
            "packet:loss:all,pause:one",
            ALL,
        ] {
            assert_eq!(spec(text).unwrap().to_string(), text);
        }
        assert_eq!(spec("all"), spec(ALL));
        assert_eq!(
            spec(" partition + kill ").unwrap().to_string(),
            "partition+kill"
        );
        assert_eq!(spec("partition+clock,kill").unwrap().rounds.len(), 2);
    }

    #[test]
    fn every_example_of_the_listing_is_a_spec() {
        for listing in FAMILIES {
            assert!(spec(listing.example).is_ok(), "{}", listing.example);
            for shape in listing.shapes {
                assert!(spec(&format!("{}:{}", listing.family, shape.name)).is_ok());
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_a_hint() {
        for (text, at, says) in [
            ("partiton", 0..8, "did you mean \"partition\"?"),
            (
                "kill,partition:halfs",
                5..20,
                "did you mean \"partition:halves\"?",
            ),
            ("kill:leeder", 0..11, "did you mean \"kill:leader\"?"),
            (
                "kill:jump",
                0..9,
                "there are one, minority, majority, leader, all",
            ),
            (
                "earthquake",
                0..10,
                "there are partition, pause, kill, clock, packet",
            ),
            ("", 0..0, "is missing"),
            ("kill,,pause", 5..5, "is missing"),
            ("kill+none", 5..9, "stands alone"),
            ("kill+kill:all", 5..13, "undo each other"),
            ("partition:halves:leader", 0..23, "only one-way-in"),
            ("partition:one-way-in:all", 0..24, "nothing is cut"),
            ("clock:jump:drift", 0..16, "twice"),
        ] {
            let error = spec(text).unwrap_err();
            assert_eq!(error.at, at, "{text}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn needs_are_those_of_what_may_be_drawn() {
        let keys = |text: &str| spec(text).unwrap().needs().into_keys().collect::<Vec<_>>();
        assert_eq!(keys("partition+kill:all"), ["kill", "partition"]);
        assert_eq!(keys("packet:loss"), ["packet:loss"]);
        assert_eq!(keys("packet").len(), 6);
        assert!(keys("none").is_empty());
        let needs = |need: &str| {
            spec("all")
                .unwrap()
                .needs()
                .values()
                .any(|n| n.iter().any(|n| n == &[need]))
        };
        assert!(needs("nft") && !needs("netem"));
    }
}
