//! One fault out of its table.

use std::time::Duration;

use harness::units::{read_delta, read_duration, read_share};
use history::Name;

use super::fields::{Fields, keys, unknown};
use crate::aim::{Aim, Aimed};
use crate::catalogue::{self, FAMILIES};
use crate::family::{Family, Shape, What};
use crate::figure::{Figure, Unit};
use crate::schedule::Entry;
use crate::targets::Targets;

/// One fault. None: something is wrong with it, and the fields know what.
pub fn read_entry(fields: &mut Fields, seed: u64, number: usize, nodes: &[Name]) -> Option<Entry> {
    let at = fields.required("at", "\"2.5s\"", read_duration);
    let lasts = fields.with("lasts", read_duration);
    let lasts_is_wrong = fields.has("lasts") && lasts.is_none();
    let Some((family, shape)) = read_kind(fields) else {
        // Without them nobody can say which other keys are right.
        fields.asked.extend(keys());
        return None;
    };
    let before = fields.problems.len();
    let aimed = read_aim(fields, shape, seed, number, nodes);
    let figures: Vec<Option<i64>> = shape
        .figures
        .iter()
        .map(|f| read_figure(fields, f))
        .collect();
    if lasts_is_wrong || fields.problems.len() > before {
        return None;
    }
    let (targets, bridge) = aimed?;
    Some(Entry {
        at: at?,
        lasts,
        what: What {
            family,
            shape,
            targets,
            bridge,
            figures: figures.into_iter().collect::<Option<_>>()?,
        },
    })
}

fn read_kind(fields: &mut Fields) -> Option<(&'static Family, &'static Shape)> {
    let families: Vec<&str> = FAMILIES.iter().map(|f| f.name).collect();
    let family = fields.required("family", &format!("{:?}", families[0]), |text| {
        catalogue::family(text).ok_or_else(|| unknown("fault family", text, &families))
    })?;
    if let Some(shape) = family.plain() {
        return Some((family, shape));
    }
    let names: Vec<&str> = family.shapes.iter().map(|s| s.name).collect();
    let example = match family.named.is_some() {
        true => format!(
            "{:?}",
            family.example.split(':').next_back().unwrap_or_default()
        ),
        false => format!("{:?}", names[0]),
    };
    let what = format!("shape of a {family}");
    let shape = fields.required("shape", &example, |text| {
        let shape = family.shape(text);
        shape.ok_or_else(|| match family.named.is_some() {
            true => format!("{text:?} is no name of an operation, which is letters and dashes"),
            false => unknown(&what, text, &names),
        })
    })?;
    Some((family, shape))
}

fn read_figure(fields: &mut Fields, figure: &Figure) -> Option<i64> {
    if let (Some(default), false) = (figure.default, fields.has(figure.key)) {
        fields.asked.push(figure.key);
        return Some(default);
    }
    let (key, example) = (figure.key, figure.example);
    let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    match figure.unit {
        Unit::Delta => fields.required(key, example, read_delta),
        Unit::Span => fields.required(key, example, read_duration).map(nanos),
        Unit::Share => fields.required(key, example, read_share).map(i64::from),
        Unit::Number => {
            let (number, _) = fields.required_integer(key, example)?;
            // What is too large for it is more than any figure may be.
            let largest = if number < 0 { i64::MIN } else { i64::MAX };
            Some(i64::try_from(number).unwrap_or(largest))
        }
    }
}

/// What is left open is settled by the seed.
fn read_aim(
    fields: &mut Fields,
    shape: &'static Shape,
    seed: u64,
    number: usize,
    nodes: &[Name],
) -> Option<Aimed> {
    let bridge = match shape.aim {
        Aim::Leader => return Some((Targets::Leader, None)),
        Aim::Daemons | Aim::Peers { .. } => {
            return Some((fields.targets(seed, number, nodes)?, None));
        }
        Aim::Bridge => fields.with("bridge", |text| Ok(Name::new(text))),
        Aim::Side(_) | Aim::Ring | Aim::Pair => None,
    };
    let Some(names) = fields.names("targets") else {
        let open = !fields.has("targets") && !fields.has("bridge");
        if open && nodes.len() >= shape.least_nodes {
            return Some(shape.aim.settle(seed, number, nodes));
        }
        if open {
            let (least, many) = (shape.least_nodes, nodes.len());
            let name = shape.name;
            let message = format!("{name} needs {least} nodes or more, and there are {many}");
            fields.complain(fields.place("shape"), message, None);
        } else if !fields.has("targets") {
            fields.complain(
                fields.place("bridge"),
                "a bridge without `targets`, the nodes on one side of it",
                None,
            );
        }
        return None;
    };
    if let (Aim::Bridge, None, false) = (shape.aim, &bridge, fields.has("bridge")) {
        fields.complain(
            fields.place("shape"),
            "a bridge between two sides needs `bridge`",
            Some("write bridge = \"n3\"".into()),
        );
    }
    Some((Targets::Nodes(names), bridge))
}
