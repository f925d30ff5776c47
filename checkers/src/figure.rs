//! What checkers measure. A [`Gauge`] describes it once, where it is measured: its name, its unit
//! and what its numbers mean. A [`Figure`] is what a gauge showed for one history, as it is stored.
//! Whoever reads a stored figure finds its gauge by the checker's name and its own
//! ([`crate::gauges`]).

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Something measured: a name, a number or a structure, and its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    pub value: Json,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Lower,
    Higher,
    /// It says something, but not what to wish for.
    Neither,
}

/// Describes a figure.
#[derive(Debug)]
pub struct Gauge {
    pub name: &'static str,
    pub unit: &'static str,
    /// Every number that its figure can have.
    pub parts: &'static [Part],
}

/// Describes one number of a figure.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where in the figure's value it is: names with `/` between them, nothing if the value is the
    /// number. A `*` stands for one name that only the history knows, such as that of an operation.
    pub path: &'static str,
    /// For people, with a `*` for what the path's stands for. Empty if its names say it all.
    pub label: &'static str,
    /// If it is not the figure's.
    pub unit: Option<&'static str>,
    pub better: Better,
    /// Shown as a picture too, where runs are compared.
    pub headline: bool,
    /// What exactly it is; empty if the label says it all.
    pub about: &'static str,
    /// The number of the same checker that says how much was left out of this one: `figure/part`.
    pub bent_by: Option<&'static str>,
    /// Whether runs are compared by it: not by what is of the harness, or only names something.
    pub compared: bool,
}

impl Gauge {
    pub const fn new(name: &'static str, unit: &'static str, parts: &'static [Part]) -> Gauge {
        Gauge { name, unit, parts }
    }

    /// One number whose name says what it counts.
    pub const fn count(name: &'static str) -> Gauge {
        Gauge::new(name, "", &[Part::WHOLE])
    }

    /// Text, or a list.
    pub const fn without_numbers(name: &'static str) -> Gauge {
        Gauge::new(name, "", &[])
    }

    /// What it showed.
    pub fn figure(&self, value: impl Into<Json>) -> Figure {
        let figure = Figure {
            name: self.name.to_string(),
            value: value.into(),
            unit: self.unit.to_string(),
        };
        if cfg!(debug_assertions) {
            for (path, _) in figure.numbers() {
                let described = self.part(&path).is_some();
                assert!(described, "{}: {path:?} is not described", self.name);
            }
        }
        figure
    }

    /// The description of the number at this path, and what the path's `*` stands for.
    pub fn part<'p>(&self, path: &'p str) -> Option<(&'static Part, &'p str)> {
        let mut parts = self.parts.iter();
        parts.find_map(|part| Some((part, star(part.path, path)?)))
    }
}

impl Part {
    /// The figure is this number.
    pub const WHOLE: Part = Part::of("");

    pub const fn of(path: &'static str) -> Part {
        Part {
            path,
            label: "",
            unit: None,
            better: Better::Neither,
            headline: false,
            about: "",
            bent_by: None,
            compared: true,
        }
    }

    pub const fn called(self, label: &'static str, about: &'static str) -> Part {
        Part {
            label,
            about,
            ..self
        }
    }

    pub const fn in_unit(self, unit: &'static str) -> Part {
        Part {
            unit: Some(unit),
            ..self
        }
    }

    pub const fn lower(self) -> Part {
        Part {
            better: Better::Lower,
            ..self
        }
    }

    pub const fn higher(self) -> Part {
        Part {
            better: Better::Higher,
            ..self
        }
    }

    pub const fn headline(self) -> Part {
        Part {
            headline: true,
            ..self
        }
    }

    pub const fn bent_by(self, number: &'static str) -> Part {
        Part {
            bent_by: Some(number),
            ..self
        }
    }

    pub const fn apart(self) -> Part {
        Part {
            compared: false,
            ..self
        }
    }
}

impl Figure {
    /// All its numbers, each with its path inside the value. Lists have none: they are one number a
    /// second, a fault or a gap, and what they come to is a figure of its own.
    pub fn numbers(&self) -> Vec<(String, f64)> {
        let mut found = Vec::new();
        flatten("", &self.value, &mut found);
        found
    }

    /// Paths of those numbers that are at least so large, and may be larger: the value names them
    /// in `at least`.
    pub fn bounds(&self) -> impl Iterator<Item = &str> {
        let parts = self.value.get("at least").and_then(Json::as_array);
        parts.into_iter().flatten().filter_map(Json::as_str)
    }
}

fn flatten(path: &str, value: &Json, found: &mut Vec<(String, f64)>) {
    match value {
        Json::Number(number) => found.extend(number.as_f64().map(|n| (path.to_string(), n))),
        Json::Object(parts) => {
            for (name, part) in parts {
                flatten(&joined(path, name), part, found);
            }
        }
        _ => {}
    }
}

/// The path of a part inside what is at `path`.
pub fn joined(path: &str, part: &str) -> String {
    match (path, part) {
        (only, "") | ("", only) => only.to_string(),
        (path, part) => format!("{path}/{part}"),
    }
}

/// What the star of a pattern stands for in a path: nothing if there is none. None if the path is
/// another.
fn star<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    let mut found = "";
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return Some(found),
            (Some("*"), Some(part)) => found = part,
            (Some(pattern), Some(part)) if pattern == part => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LATENCY: Gauge = Gauge::new("latency", "ms", &[Part::of("*/p50"), Part::of("slowest")]);

    #[test]
    fn every_number_has_a_path_and_lists_have_none() {
        let value = json!({"read": {"p50": 1.5}, "slowest": 7});
        let figure = LATENCY.figure(value);
        let numbers = [("read/p50", 1.5), ("slowest", 7.0)];
        assert_eq!(
            figure.numbers(),
            numbers.map(|(path, n)| (path.to_string(), n))
        );
        assert_eq!(
            Gauge::without_numbers("ops")
                .figure(json!([1, 2]))
                .numbers(),
            []
        );
        let adds = Gauge::count("adds").figure(3);
        assert_eq!(adds.numbers(), [(String::new(), 3.0)]);
    }

    #[test]
    fn a_part_is_known_by_its_path() {
        let known = |path| LATENCY.part(path).map(|(part, star)| (part.path, star));
        assert_eq!(known("read/p50"), Some(("*/p50", "read")));
        assert_eq!(known("slowest"), Some(("slowest", "")));
        for other in ["", "read", "read/p99", "read/p50/p50", "slowest/p50/x"] {
            assert_eq!(known(other), None, "{other}");
        }
    }

    #[test]
    #[should_panic(expected = "\"read/p99\" is not described")]
    fn a_number_that_nobody_described_is_our_own_mistake() {
        LATENCY.figure(json!({"read": {"p99": 1.5}}));
    }

    #[test]
    fn a_figure_names_those_of_its_numbers_that_are_bounds() {
        const WAIT: Gauge = Gauge::new("wait", "s", &[Part::of("p50"), Part::of("max")]);
        let bounds = |value| {
            WAIT.figure(value)
                .bounds()
                .map(String::from)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            bounds(json!({"p50": 1, "max": 9, "at least": ["max"]})),
            ["max"]
        );
        assert_eq!(bounds(json!({"p50": 1, "max": 9})), [] as [&str; 0]);
    }
}
