//! One fault out of its table.

use history::Name;

use super::fields::{Fields, KEYS, unknown};
use crate::clock::{Clock, Warp};
use crate::kill::Kill;
use crate::machine::Machine;
use crate::packet::{Effect, Packet};
use crate::partition::{Partition, SPLITS, Topology};
use crate::pause::Pause;
use crate::registry::{FAMILIES, Family, Shape};
use crate::schedule::draw::{blow, settle_topology};
use crate::schedule::{Entry, What};
use crate::units::{read_delta, read_duration, read_share};

/// One fault. None: something is wrong with it, and the fields know what.
pub fn read_entry(fields: &mut Fields, seed: u64, number: usize, nodes: &[Name]) -> Option<Entry> {
    let at = fields.required("at", "\"2.5s\"", read_duration);
    let lasts = fields.with("lasts", read_duration);
    let lasts_is_wrong = fields.has("lasts") && lasts.is_none();
    let families: Vec<&str> = FAMILIES.iter().map(|l| l.family.name()).collect();
    let family = fields.required("family", "\"partition\"", |text| {
        Family::named(text).ok_or_else(|| unknown("fault family", text, &families))
    });
    let Some(family) = family else {
        // Without a family nobody can say which other keys are right.
        fields.asked.extend(KEYS);
        return None;
    };
    let shape = match family.shapes_are_targets() {
        true => None,
        false => {
            let names: Vec<&str> = family.listing().shapes.iter().map(|s| s.name).collect();
            let example = format!("{:?}", names[0]);
            let what = format!("shape of a {family}");
            let shape = fields.required("shape", &example, |text| {
                family
                    .shape(text)
                    .ok_or_else(|| unknown(&what, text, &names))
            });
            if shape.is_none() {
                fields.asked.extend(KEYS);
                return None;
            }
            shape
        }
    };
    let before = fields.problems.len();
    let what = match (family, shape) {
        (Family::Pause, _) => fields
            .targets(seed, number, nodes)
            .map(|targets| What::Pause(Pause { targets })),
        (Family::Kill, _) => fields
            .targets(seed, number, nodes)
            .map(|targets| What::Kill(Kill { targets })),
        (Family::Partition, Some(shape)) => read_topology(fields, shape, seed, number, nodes)
            .map(|topology| What::Partition(Partition { topology })),
        (Family::Clock, Some(shape)) => {
            let targets = fields.targets(seed, number, nodes);
            let warp = read_warp(fields, shape);
            targets
                .zip(warp)
                .map(|(targets, warp)| What::Clock(Clock { targets, warp }))
        }
        (Family::Packet, Some(shape)) => {
            let targets = fields.targets(seed, number, nodes);
            let effect = read_effect(fields, shape);
            targets
                .zip(effect)
                .map(|(targets, effect)| What::Packet(Packet { targets, effect }))
        }
        (Family::Machine, Some(shape)) => fields.targets(seed, number, nodes).map(|targets| {
            let blow = blow(shape);
            What::Machine(Machine { targets, blow })
        }),
        (_, None) => None,
    };
    if lasts_is_wrong || fields.problems.len() > before {
        return None;
    }
    Some(Entry {
        at: at?,
        lasts,
        what: what?,
    })
}

fn read_topology(
    fields: &mut Fields,
    shape: &'static Shape,
    seed: u64,
    number: usize,
    nodes: &[Name],
) -> Option<Topology> {
    match shape.name {
        "leader" => return Some(Topology::Leader),
        "one-way-in" => {
            return Some(Topology::OneWayIn {
                targets: fields.targets(seed, number, nodes)?,
            });
        }
        "one-way-out" => {
            return Some(Topology::OneWayOut {
                targets: fields.targets(seed, number, nodes)?,
            });
        }
        "no-response" => {
            return Some(Topology::NoResponse {
                targets: fields.targets(seed, number, nodes)?,
            });
        }
        _ => {}
    }
    let names = fields.names("targets");
    let bridge = match shape.name {
        "bridge" => fields.with("bridge", |text| Ok(Name::new(text))),
        _ => None,
    };
    let Some(names) = names else {
        let open = !fields.has("targets") && !fields.has("bridge");
        if open && nodes.len() >= shape.least_nodes {
            return Some(settle_topology(seed, number, shape, nodes));
        }
        if open {
            let message = format!(
                "{} needs {} nodes or more, and there are {}",
                shape.name,
                shape.least_nodes,
                nodes.len()
            );
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
    Some(match shape.name {
        "majorities-ring" => Topology::MajoritiesRing { order: names },
        "bridge" => match bridge {
            Some(bridge) => Topology::Bridge {
                bridge,
                side: names,
            },
            None if fields.has("bridge") => return None,
            None => {
                let hint = Some("write bridge = \"n3\"".to_string());
                fields.complain(
                    fields.place("shape"),
                    "a bridge between two sides needs `bridge`",
                    hint,
                );
                return None;
            }
        },
        "partial" => match <[Name; 2]>::try_from(names) {
            Ok([a, b]) => Topology::Partial { a, b },
            Err(names) => {
                let message = format!(
                    "partial is between two nodes, and {} are named",
                    names.len()
                );
                fields.complain(fields.place("targets"), message, None);
                return None;
            }
        },
        _ => {
            let (shape, _) = SPLITS.iter().find(|(name, _)| *name == shape.name)?;
            Topology::Split { shape, side: names }
        }
    })
}

fn read_warp(fields: &mut Fields, shape: &Shape) -> Option<Warp> {
    let delta = |f: &mut Fields| f.required("delta", "\"-30s\"", read_delta);
    match shape.name {
        "jump" => Some(Warp::Jump {
            delta_ns: delta(fields)?,
        }),
        "strobe" => {
            let delta_ns = delta(fields);
            let period = fields.required("period", "\"20ms\"", read_duration);
            Some(Warp::Strobe {
                delta_ns: delta_ns?,
                period: period?,
            })
        }
        "drift" => {
            let (rate_ppm, at) = fields.required_integer("rate_ppm", "5000")?;
            match i64::try_from(rate_ppm) {
                Ok(rate_ppm) => Some(Warp::Drift { rate_ppm }),
                Err(_) => {
                    fields.complain(at, "rate_ppm is too large", None);
                    None
                }
            }
        }
        kind => Some(Warp::Freeze {
            pause: fields.required("pause", "\"3s\"", read_duration)?,
            kept: kind == "freeze-kept",
        }),
    }
}

fn read_effect(fields: &mut Fields, shape: &Shape) -> Option<Effect> {
    let share = |f: &mut Fields| f.required("share", "\"20%\"", read_share);
    let delay = |f: &mut Fields| f.required("delay", "\"50ms\"", read_duration);
    match shape.name {
        "delay" => {
            let delay = delay(fields);
            let jitter = fields.with("jitter", read_duration);
            Some(Effect::Delay {
                delay: delay?,
                jitter: jitter.unwrap_or_default(),
            })
        }
        "duplicate" => Some(Effect::Duplicate {
            share_per_million: share(fields)?,
        }),
        "reorder" => {
            let (share, delay) = (share(fields), delay(fields));
            Some(Effect::Reorder {
                share_per_million: share?,
                delay: delay?,
            })
        }
        "corrupt" => Some(Effect::Corrupt {
            share_per_million: share(fields)?,
        }),
        "rate" => {
            let (rate_kbit, at) = fields.required_integer("rate_kbit", "1000")?;
            match u64::try_from(rate_kbit) {
                Ok(rate_kbit) => Some(Effect::Rate { rate_kbit }),
                Err(_) => {
                    fields.complain(at, "rate_kbit is no rate", None);
                    None
                }
            }
        }
        _ => Some(Effect::Loss {
            share_per_million: share(fields)?,
        }),
    }
}
