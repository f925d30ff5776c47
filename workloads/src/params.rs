//! Parameters of systems and workloads: what can be set, to what, and what it is if it is not set.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::nearest::nearest;
use harness::units::read_duration;
use thiserror::Error;

/// Something that can be set, with `--param NAME=VALUE` or in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    pub name: &'static str,
    pub kind: Kind,
    /// As it would be written.
    pub default: &'static str,
    /// One line for people.
    pub about: &'static str,
}

/// What a parameter can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `500ms`, `2s`, `1m`; never zero.
    Duration,
    /// A whole number from `min` to `max`.
    Count { min: u64, max: u64 },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words for all nodes, or several, which go round the nodes.
    Each(&'static [&'static str]),
}

impl Kind {
    /// What may be written, for help texts and errors.
    pub fn describe(self) -> String {
        match self {
            Kind::Duration => "a duration such as 500ms, 2s or 1m".into(),
            Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Each(words) => format!(
                "one of {}, or several of them with commas, which go round the nodes",
                words.join(", ")
            ),
        }
    }

    fn accepts(self, text: &str) -> bool {
        match self {
            Kind::Duration => parse_duration(text).is_some(),
            Kind::Count { min, max } => text.parse().is_ok_and(|n| (min..=max).contains(&n)),
            Kind::Choice(words) => words.contains(&text),
            Kind::Each(words) => text.split(',').all(|word| words.contains(&word)),
        }
    }
}

/// Why parameters were not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParamError {
    #[error("there is no parameter {name:?}{}{}", hint(.nearest), listed(.known))]
    Unknown {
        name: String,
        nearest: Option<String>,
        known: Vec<String>,
    },
    #[error("parameter {name} cannot be {value:?}: it is {wanted}")]
    Value {
        name: String,
        value: String,
        wanted: String,
    },
}

pub(crate) fn hint(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name:?}?"),
        None => String::new(),
    }
}

fn listed(known: &[String]) -> String {
    match known.is_empty() {
        true => " (there are none)".into(),
        false => format!(" (there are {})", known.join(", ")),
    }
}

/// Parameters with their values, every declared one once, all of them acceptable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    values: BTreeMap<&'static str, String>,
}

impl Params {
    /// Defaults, overridden by what was given.
    ///
    /// # Errors
    /// The first name that is not declared, or value that its parameter cannot have.
    pub fn resolve<'a>(
        declared: &[Param],
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Params, ParamError> {
        let mut values: BTreeMap<_, _> = declared
            .iter()
            .map(|p| (p.name, p.default.to_string()))
            .collect();
        for (name, value) in given {
            let Some(param) = declared.iter().find(|p| p.name == name) else {
                return Err(ParamError::Unknown {
                    name: name.into(),
                    nearest: nearest(name, declared.iter().map(|p| p.name)).map(str::to_string),
                    known: declared.iter().map(|p| p.name.to_string()).collect(),
                });
            };
            if !param.kind.accepts(value) {
                return Err(ParamError::Value {
                    name: name.into(),
                    value: value.into(),
                    wanted: param.kind.describe(),
                });
            }
            values.insert(param.name, value.into());
        }
        Ok(Params { values })
    }

    /// Splits what was given between two owners of parameters, such as a system and a workload.
    /// Their names must not overlap; a test sees to that.
    ///
    /// # Errors
    /// As [`Params::resolve`].
    pub fn resolve_both<'a>(
        first: &[Param],
        second: &[Param],
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(Params, Params), ParamError> {
        let all: Vec<Param> = [first, second].concat();
        let both = Params::resolve(&all, given)?;
        let part = |params: &[Param]| Params {
            values: params
                .iter()
                .map(|p| (p.name, both.text(p.name).to_string()))
                .collect(),
        };
        Ok((part(first), part(second)))
    }

    /// Every parameter with its value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// The value as it was written.
    ///
    /// # Panics
    /// If no such parameter was declared, as do the other two: names are constants of the code.
    pub fn text(&self, name: &str) -> &str {
        self.values
            .get(name)
            .unwrap_or_else(|| panic!("parameter {name} is not declared"))
    }

    pub fn duration(&self, name: &str) -> Duration {
        parse_duration(self.text(name)).expect("accepted as a duration when it was resolved")
    }

    /// The words that go round the nodes.
    pub fn each(&self, name: &str) -> impl Iterator<Item = &str> {
        self.text(name).split(',')
    }

    pub fn count(&self, name: &str) -> u64 {
        self.text(name)
            .parse()
            .expect("accepted as a number when it was resolved")
    }
}

/// As [`read_duration`]. None if it is anything else, or less than a microsecond, which nodes are
/// not told.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span = read_duration(text).ok()?;
    (span.as_micros() > 0).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &[Param] = &[
        Param {
            name: "lease",
            kind: Kind::Duration,
            default: "400ms",
            about: "",
        },
        Param {
            name: "keys",
            kind: Kind::Count { min: 1, max: 9 },
            default: "5",
            about: "",
        },
        Param {
            name: "reads",
            kind: Kind::Choice(&["quorum", "log"]),
            default: "quorum",
            about: "",
        },
        Param {
            name: "version",
            kind: Kind::Each(&["old", "new"]),
            default: "old",
            about: "",
        },
    ];

    #[test]
    #[rustfmt::skip]
    fn durations() {
        for (text, ms) in [
            ("500ms", Some(500.0)), ("2s", Some(2_000.0)), ("1.5s", Some(1_500.0)),
            ("1m", Some(60_000.0)), ("1h", Some(3_600_000.0)), ("250us", Some(0.25)),
            ("0s", None), ("2", None), ("s", None), ("", None), ("-1s", None), ("2 s", None),
            ("1.2.3s", None), ("3d", None), ("1h30m", Some(5_400_000.0)), ("7ns", None),
        ] {
            let want = ms.map(|ms| Duration::from_secs_f64(ms / 1e3));
            assert_eq!(parse_duration(text), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_given_overrides_the_default() {
        let params = Params::resolve(DECLARED, [("lease", "2s"), ("keys", "9")]).unwrap();
        assert_eq!(params.duration("lease"), Duration::from_secs(2));
        assert_eq!(params.count("keys"), 9);
        assert_eq!(params.text("reads"), "quorum");
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        let error = Params::resolve(DECLARED, [("leas", "2s")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no parameter \"leas\"; did you mean \"lease\"? (there are lease, keys, reads, version)"
        );
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_it_can_be() {
        for (name, value, says) in [
            ("lease", "400", "a duration such as"),
            ("lease", "0ms", "a duration such as"),
            ("keys", "10", "from 1 to 9"),
            ("keys", "-1", "from 1 to 9"),
            ("reads", "Log", "one of quorum, log"),
            ("reads", "quorum,log", "one of quorum, log"),
            ("version", "old,knew", "one of old, new, or several"),
            ("version", "old,", "one of old, new, or several"),
            ("version", "", "one of old, new, or several"),
        ] {
            let error = Params::resolve(DECLARED, [(name, value)]).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn there_can_be_several_words() {
        let of = |text| Params::resolve(DECLARED, [("version", text)]).unwrap();
        assert_eq!(of("new").each("version").collect::<Vec<_>>(), ["new"]);
        let several = of("new,old,old");
        assert_eq!(
            several.each("version").collect::<Vec<_>>(),
            ["new", "old", "old"]
        );
    }

    #[test]
    fn two_owners_get_their_own() {
        let (first, second) = Params::resolve_both(
            &DECLARED[..1],
            &DECLARED[1..],
            [("keys", "3"), ("lease", "1s")],
        )
        .unwrap();
        assert_eq!(first.iter().collect::<Vec<_>>(), [("lease", "1s")]);
        assert_eq!(second.count("keys"), 3);
        let unknown = Params::resolve_both(&DECLARED[..1], &DECLARED[1..], [("read", "log")]);
        assert!(
            unknown
                .unwrap_err()
                .to_string()
                .contains("did you mean \"reads\"?")
        );
    }
}
