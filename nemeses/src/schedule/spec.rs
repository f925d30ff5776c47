//! Which faults a run is to have, as people say it on the command line.
//!
//! ```text
//! partition                     faults of one family
//! partition,kill                first one, then the other, and so on in turn
//! partition+clock               both at the same time
//! partition+clock,kill          both at the same time, then a kill, then both again
//! partition:one-way-in          one shape only
//! kill:leader  clock:jump:all   one kind of target only
//! none  all                     nothing; in turn what every family has for it
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use harness::nearest::nearest;
use thiserror::Error;

use crate::aim::{WHO, Who};
use crate::catalogue::{self, FAMILIES};
use crate::family::{Family, Need, Shape};

/// Rounds of faults, repeated in turn until the time is over. No round: no faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NemesisSpec {
    /// Faults of one round are in force at the same time.
    pub rounds: Vec<Vec<FaultSpec>>,
}

/// A family, narrowed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSpec {
    pub family: &'static Family,
    /// Never given for a family whose one shape has no name.
    pub shape: Option<&'static Shape>,
    pub who: Option<&'static Who>,
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
            "all" => parse(&all()),
            _ => parse(text),
        }
    }
}

/// What `all` stands for.
fn all() -> String {
    let parts: Vec<&str> = FAMILIES.iter().filter_map(|f| f.in_all).collect();
    parts.join(",")
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
    let names = || FAMILIES.iter().map(|f| f.name);
    let Some(family) = catalogue::family(name) else {
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
        let shape = family.shape(part).filter(|shape| !shape.name.is_empty());
        let who = Who::named(part);
        match (shape, who) {
            (Some(shape), _) if spec.shape.is_none() => spec.shape = Some(shape),
            (_, Some(who)) if spec.who.is_none() => spec.who = Some(who),
            (None, None) => return Err(unknown(family, part)),
            _ => return Err((format!("{text:?} says twice what is meant by it"), None)),
        }
    }
    if family.named.is_some() && spec.shape.is_none() {
        let message = format!("{text:?} does not say which operation of the system is meant");
        return Err((message, Some(named(family))));
    }
    let Some(who) = spec.who else {
        return Ok(spec);
    };
    let meant = match spec.shape {
        Some(shape) => std::slice::from_ref(shape),
        None => family.shapes,
    };
    if !meant.iter().all(|shape| shape.aim.can_be_chosen()) {
        let chosen = family.shapes.iter().filter(|s| s.aim.can_be_chosen());
        let chosen: Vec<&str> = chosen.map(|s| s.name).collect();
        let hint = format!(
            "of a {family}, only {} have targets to choose",
            chosen.join(", ")
        );
        let message = format!("{text:?}: {} does not go with this shape", who.name);
        return Err((message, Some(hint)));
    }
    if who.is_all() && meant.iter().all(|shape| shape.aim.needs_others()) {
        let message = format!("{text:?}: with all nodes as targets nothing is cut");
        return Err((message, None));
    }
    Ok(spec)
}

/// How a shape is asked for that the system names.
fn named(family: &Family) -> String {
    format!(
        "write \"{}\", with what `schism systems` lists",
        family.example
    )
}

fn unknown(family: &Family, part: &str) -> (String, Option<String>) {
    if family.named.is_some() {
        let message = format!("{part:?} is no name of an operation");
        return (message, Some(named(family)));
    }
    let who = WHO.iter().map(|w| w.name);
    let shapes: Vec<&str> = match family.plain() {
        Some(_) => who.clone().collect(),
        None => family.shapes.iter().map(|s| s.name).collect(),
    };
    let hint = match nearest(part, shapes.iter().copied().chain(who)) {
        Some(near) => format!("did you mean \"{family}:{near}\"?"),
        None => format!("there are {}", shapes.join(", ")),
    };
    (format!("{family} has no shape {part:?}"), Some(hint))
}

impl NemesisSpec {
    /// Operations of the system that it asks for.
    pub fn operations(&self) -> impl Iterator<Item = &'static str> {
        let faults = self.rounds.iter().flatten();
        faults.filter_map(|fault| Some(fault.shape.filter(|_| fault.family.named.is_some())?.name))
    }

    /// What the nodes must be able to do for anything that may be drawn: for [`crate::missing`].
    /// Where all shapes of a family need the same, the family stands for them.
    pub fn needs(&self) -> BTreeMap<String, &'static [Need]> {
        let mut needs = BTreeMap::new();
        for fault in self.rounds.iter().flatten() {
            let family = fault.family;
            let shapes = family.shapes;
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
        let parts = [self.shape.map(|s| s.name), self.who.map(|w| w.name)];
        for part in parts.into_iter().flatten() {
            write!(f, ":{part}")?;
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
            "admin:compact:leader,admin:remove-member:all",
            &all(),
        ] {
            assert_eq!(spec(text).unwrap().to_string(), text);
        }
        assert_eq!(spec("all"), spec(&all()));
        assert_eq!(
            spec(" partition + kill ").unwrap().to_string(),
            "partition+kill"
        );
        assert_eq!(spec("partition+clock,kill").unwrap().rounds.len(), 2);
    }

    #[test]
    fn every_example_of_the_listing_is_a_spec() {
        for family in FAMILIES {
            assert!(spec(family.example).is_ok(), "{}", family.example);
            let shapes = family.shapes.iter().filter(|_| family.named.is_none());
            for shape in shapes.filter(|s| !s.name.is_empty()) {
                assert!(spec(&format!("{family}:{}", shape.name)).is_ok());
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
            ("admin", 0..5, "does not say which operation"),
            ("admin:all", 0..9, "does not say which operation"),
            ("admin:Compact", 0..13, "is no name of an operation"),
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
