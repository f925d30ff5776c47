//! All gauges of the checkers that judge runs, in the order in which they are to be read.

use crate::figure::{Gauge, Part, joined};
use crate::{agreement, availability, bank, chain, crashes, linearizable, models, objects};
use crate::{recovery, replicas, set, staleness, streams, transactions, vacuity};

/// By the checker's name.
const GAUGES: &[(&str, &[&[Gauge]])] = &[
    ("availability", &[availability::gauges::GAUGES]),
    ("agreement", &[agreement::gauges::GAUGES]),
    ("replicas", &[replicas::GAUGES]),
    ("staleness", &[staleness::GAUGES]),
    ("set", &[set::GAUGES]),
    ("chain", &[chain::gauges::GAUGES]),
    (
        "linearizable",
        &[
            linearizable::gauges::GAUGES,
            models::GAUGES,
            staleness::OF_OTHERS,
        ],
    ),
    (
        "append",
        &[transactions::GAUGES, transactions::OF_LISTS, models::GAUGES],
    ),
    (
        "rw-register",
        &[
            transactions::GAUGES,
            transactions::OF_REGISTERS,
            models::GAUGES,
        ],
    ),
    ("queue", &[objects::GAUGES]),
    ("lock", &[objects::GAUGES]),
    ("lease", &[objects::GAUGES]),
    ("counter", &[objects::GAUGES]),
    ("unique-ids", &[objects::GAUGES]),
    ("watch", &[streams::GAUGES]),
    ("log", &[streams::GAUGES]),
    ("bank", &[bank::GAUGES]),
    ("recovery", &[recovery::GAUGES]),
    ("crashes", &[crashes::GAUGES]),
    ("vacuity", &[vacuity::GAUGES]),
];

/// Every gauge, with its checker's name.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Gauge)> {
    GAUGES.iter().flat_map(|(checker, gauges)| {
        let gauges = gauges.iter().copied().flatten();
        gauges.map(move |gauge| (*checker, gauge))
    })
}

/// What every number is called, with a `*` where the history says how.
pub fn paths() -> impl Iterator<Item = String> {
    let parts = |(checker, gauge): (&str, &'static Gauge)| {
        let figure = joined(checker, gauge.name);
        let parts = gauge.parts.iter();
        parts.map(move |part| joined(&figure, part.path))
    };
    all().flat_map(parts)
}

/// The number that is called `checker/figure`, or `checker/figure/part` where a figure has parts.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    pub checker: &'static str,
    pub gauge: &'static Gauge,
    pub part: &'static Part,
    /// Its place among all that are described.
    pub place: usize,
}

impl Described {
    pub fn unit(&self) -> &'static str {
        self.part.unit.unwrap_or(self.gauge.unit)
    }

    /// As [`paths`] calls it.
    pub fn path(&self) -> String {
        joined(&joined(self.checker, self.gauge.name), self.part.path)
    }

    /// The number that says how much was left out of this one, as it is called.
    pub fn bent_by(&self) -> Option<String> {
        self.part.bent_by.map(|number| joined(self.checker, number))
    }

    /// How a number at this path is called, for people.
    pub fn label(&self, path: &str) -> String {
        let inside = path.strip_prefix(self.checker).unwrap_or(path);
        let inside = inside.trim_start_matches('/');
        let inside = inside.strip_prefix(self.gauge.name).unwrap_or(inside);
        let star = self.gauge.part(inside.trim_start_matches('/'));
        match self.part.label {
            "" => unlabelled(path),
            label => label.replace('*', star.map_or("", |(_, star)| star)),
        }
    }
}

/// The names of a number that has no label of its own.
pub fn unlabelled(path: &str) -> String {
    path.replacen('/', ": ", 1).replace('/', ", ")
}

/// What is said of a number.
pub fn described(path: &str) -> Option<Described> {
    let (checker, rest) = path.split_once('/')?;
    let mut place = 0;
    for (of, gauge) in all() {
        let inside = rest.strip_prefix(gauge.name);
        let inside = inside.and_then(|inside| match inside {
            "" => Some(inside),
            inside => inside.strip_prefix('/'),
        });
        if of == checker
            && let Some((part, _)) = inside.and_then(|inside| gauge.part(inside))
        {
            let at = gauge.parts.iter().position(|p| p.path == part.path);
            return Some(Described {
                checker: of,
                gauge,
                part,
                place: place + at.unwrap_or(0),
            });
        }
        place += gauge.parts.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_described_by_its_path() {
        let read = described("availability/latency/read/p99").unwrap();
        assert_eq!(read.unit(), "ms");
        assert_eq!(
            read.label("availability/latency/read/p99"),
            "latency of read, p99"
        );
        assert_eq!(
            read.bent_by().as_deref(),
            Some("availability/not offered/share")
        );
        let gone = described("chain/persistence/acknowledged gone").unwrap();
        assert_eq!(gone.unit(), "writes");
        let forks = "chain/agreement/forks";
        assert_eq!(
            described(forks).unwrap().label(forks),
            "chain: agreement, forks"
        );
        for nobody in [
            "chain",
            "chain/forks",
            "chain/persistence",
            "staleness/elections",
            "availability/answered/of",
        ] {
            assert!(described(nobody).is_none(), "{nobody}");
        }
    }

    #[test]
    fn no_number_is_described_twice() {
        let mut names = Vec::new();
        for (checker, gauge) in all() {
            let name = joined(checker, gauge.name);
            assert!(!names.contains(&name), "{name}");
            for (at, part) in gauge.parts.iter().enumerate() {
                let first = gauge.parts.iter().position(|p| p.path == part.path);
                assert_eq!(first, Some(at), "{name}/{}", part.path);
            }
            names.push(name);
        }
    }

    #[test]
    fn what_bends_a_number_is_one() {
        let mut bent = 0;
        for (checker, gauge) in all() {
            for by in gauge.parts.iter().filter_map(|part| part.bent_by) {
                let by = described(&joined(checker, by)).unwrap();
                assert_eq!(by.unit(), "%");
                bent += 1;
            }
        }
        assert!(bent > 0);
    }
}
