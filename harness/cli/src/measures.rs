//! What is measured in a run: every number that a checker gives, by its name. A figure that no
//! checker gives is absent, which is not zero. The checkers' gauges say what the numbers mean;
//! nothing here knows one by name.

use std::collections::{BTreeMap, BTreeSet};

use checkers::gauges::{self, Described};
use checkers::{Analysis, Better, Figure};
use report::experiment::Measure;

/// Every number of a judged run by which runs are compared: `checker/figure`, and further names
/// where a figure has parts.
pub fn figures(analyses: &[Analysis]) -> BTreeMap<String, f64> {
    let numbers = all(analyses).map(|number| (number.path, number.value));
    numbers.collect()
}

struct Number<'a> {
    path: String,
    value: f64,
    figure: &'a Figure,
    described: Option<Described>,
}

fn all(analyses: &[Analysis]) -> impl Iterator<Item = Number<'_>> {
    let figures = analyses
        .iter()
        .flat_map(|analysis| analysis.figures.iter().map(move |f| (analysis, f)));
    let numbers = figures.flat_map(|(analysis, figure)| {
        let named = move |(part, value): (String, f64)| (path(analysis, figure, &part), value);
        let numbers = figure.numbers().into_iter().map(named);
        numbers.map(move |(path, value)| Number {
            described: gauges::described(&path),
            path,
            value,
            figure,
        })
    });
    numbers.filter(|number| number.described.is_none_or(|d| d.part.compared))
}

fn path(analysis: &Analysis, figure: &Figure, part: &str) -> String {
    let whole = format!("{}/{}", analysis.checker, figure.name);
    match part {
        "" => whole,
        part => format!("{whole}/{part}"),
    }
}

/// Those of them that are at least so large.
pub fn bounds(analyses: &[Analysis]) -> BTreeSet<String> {
    let of = |analysis: &Analysis, figure: &Figure| -> Vec<String> {
        let bounds = figure.bounds();
        bounds.map(|part| path(analysis, figure, part)).collect()
    };
    let figures = |analysis: &Analysis| -> Vec<String> {
        let figures = analysis.figures.iter();
        figures.flat_map(|figure| of(analysis, figure)).collect()
    };
    analyses.iter().flat_map(figures).collect()
}

/// The units of all figures, by path.
pub fn units(analyses: &[Analysis]) -> BTreeMap<String, String> {
    let unit = |number: Number<'_>| {
        let unit = number.described.map(|described| described.unit());
        let unit = unit.unwrap_or(&number.figure.unit).to_string();
        (number.path, unit)
    };
    all(analyses).map(unit).collect()
}

/// Measures for these figures, with their units: those that have a label first and in the order of
/// the gauges, the others under their own names.
pub fn measures(units: &BTreeMap<String, String>) -> Vec<Measure> {
    let mut measures: Vec<(usize, Measure)> = units
        .iter()
        .map(|(id, unit)| {
            let described = gauges::described(id);
            let part = described.map(|described| described.part);
            let measure = Measure {
                id: id.clone(),
                label: match described {
                    Some(described) => described.label(id),
                    None => gauges::unlabelled(id),
                },
                unit: unit.clone(),
                better: part.map_or(Better::Neither, |part| part.better),
                headline: part.is_some_and(|part| part.headline),
                bent_by: described.and_then(|described| described.bent_by()),
                about: part.map_or(String::new(), |part| part.about.to_string()),
            };
            let labelled = described.filter(|described| !described.part.label.is_empty());
            (labelled.map_or(usize::MAX, |d| d.place), measure)
        })
        .collect();
    measures.sort_by_key(|(place, _)| *place);
    measures.into_iter().map(|(_, measure)| measure).collect()
}

/// The figures of a run that are shown as pictures too.
pub fn headline(analyses: &[Analysis]) -> BTreeMap<String, f64> {
    let mut figures = figures(analyses);
    figures.retain(|path, _| gauges::described(path).is_some_and(|d| d.part.headline));
    figures
}

/// The measures of these figures that are shown as pictures, in their order.
pub fn headlines<'a>(ids: impl IntoIterator<Item = &'a String>) -> Vec<Measure> {
    let units = ids.into_iter().filter_map(|id| {
        let unit = gauges::described(id)?.unit();
        Some((id.clone(), unit.to_string()))
    });
    let mut measures = measures(&units.collect());
    measures.retain(|measure| measure.headline);
    measures
}

#[cfg(test)]
mod tests {
    use checkers::availability::Availability;
    use checkers::linearizable::Registers;
    use checkers::{Budget, Checker, drawing};
    use serde_json::json;

    use super::*;

    /// What checkers really say of a write that another overlaps, and of a read.
    fn judged() -> Vec<Analysis> {
        let history = drawing::history("P0 |-x:write 1-| |-x:read 1-|").unwrap();
        let judges: [Box<dyn Checker>; 2] = [
            Box::new(Availability::default()),
            Box::new(Registers::keyed()),
        ];
        let judges = judges.iter();
        judges
            .map(|judge| judge.check(&history, &Budget::default()))
            .collect()
    }

    fn figure(name: &str, value: serde_json::Value) -> Figure {
        Figure {
            name: name.to_string(),
            value,
            unit: "cm".to_string(),
        }
    }

    #[test]
    fn what_checkers_measure_has_their_labels_and_comes_in_their_order() {
        let figures = figures(&judged());
        assert_eq!(figures["availability/answered"], 100.0);
        assert!(figures.contains_key("availability/latency/read/p99"));
        let measures = measures(&units(&judged()));
        assert_eq!(measures.len(), figures.len());
        let labels: Vec<&str> = measures.iter().map(|m| m.label.as_str()).collect();
        assert_eq!(
            &labels[..9],
            [
                "time without an answer for 0.1 s",
                "time without an answer for 1 s",
                "operations answered",
                "throughput",
                "latency of read, median",
                "latency of write, median",
                "latency of read, p99",
                "latency of write, p99",
                "availability: latency, read, max",
            ]
        );
        assert!(labels.contains(&"linearizable: keys judged by zones"));
        let answered = &measures[2];
        assert_eq!(
            (answered.better, answered.unit.as_str()),
            (Better::Higher, "%")
        );
        assert!(answered.headline && !answered.about.is_empty());
        let bent = measures.iter().filter(|m| m.bent_by.is_some());
        let bent: BTreeSet<&str> = bent.map(|m| m.bent_by.as_deref().unwrap()).collect();
        assert_eq!(bent, BTreeSet::from(["availability/not offered/share"]));
    }

    #[test]
    fn what_is_of_the_harness_is_not_compared_and_a_part_can_have_its_own_unit() {
        let waits = json!({"p50": 1.0, "max": 9.0, "of": 4, "at least": ["max"], "unfinished": 1});
        let gone = json!({"k": 3, "acknowledged gone": 2});
        let analyses = [
            Analysis::valid("availability", "")
                .with_figure(figure("longest wait of a fault", waits)),
            Analysis::valid("chain", "").with_figure(figure("persistence", gone)),
        ];
        assert_eq!(
            bounds(&analyses).into_iter().collect::<Vec<_>>(),
            ["availability/longest wait of a fault/max"]
        );
        let units = units(&analyses);
        let expected = [
            ("availability/longest wait of a fault/max", "s"),
            ("availability/longest wait of a fault/p50", "s"),
            ("availability/longest wait of a fault/unfinished", "faults"),
            ("chain/persistence/acknowledged gone", "writes"),
            ("chain/persistence/k", "blocks"),
        ];
        let expected = expected.map(|(path, unit)| (path.to_string(), unit.to_string()));
        assert_eq!(units, expected.into());
    }

    #[test]
    fn what_nobody_describes_keeps_its_unit_and_comes_last_under_its_own_name() {
        let odd = Analysis::valid("nobody", "").with_figure(figure("length", json!({"deep": 3})));
        let analyses = [&[odd][..], &judged()[..1]].concat();
        let measures = measures(&units(&analyses));
        let last = measures.last().unwrap();
        assert_eq!(
            (last.label.as_str(), last.unit.as_str()),
            ("nobody: length, deep", "cm")
        );
        assert!(!last.headline);
    }
}
