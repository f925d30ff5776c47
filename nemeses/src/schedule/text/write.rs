//! A schedule's file as it is written.

use std::fmt::{self, Write};

use history::Name;

use crate::clock::Warp;
use crate::packet::Effect;
use crate::partition::Topology;
use crate::schedule::{Schedule, VERSION, What};
use crate::targets::Targets;
use crate::units::{write_delta, write_duration, write_share};

/// The file's text.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "version = {VERSION}")?;
        match i64::try_from(self.seed) {
            Ok(seed) => writeln!(f, "seed = {seed}")?,
            Err(_) => writeln!(f, "seed = \"{}\"", self.seed)?,
        }
        for entry in &self.entries {
            let mut table = String::new();
            let mut key = |key: &str, value: String| {
                writeln!(table, "{key} = {value}").expect("a string takes all");
            };
            key("at", quoted(&write_duration(entry.at)));
            if let Some(lasts) = entry.lasts {
                key("lasts", quoted(&write_duration(lasts)));
            }
            key("family", quoted(entry.what.family().name()));
            if let Some(shape) = entry.what.shape() {
                key("shape", quoted(shape.name));
            }
            match &entry.what {
                What::Partition(p) => write_topology(&p.topology, &mut key),
                What::Pause(p) => write_targets(&p.targets, &mut key),
                What::Kill(k) => write_targets(&k.targets, &mut key),
                What::Machine(m) => write_targets(&m.targets, &mut key),
                What::Clock(c) => {
                    write_targets(&c.targets, &mut key);
                    write_warp(&c.warp, &mut key);
                }
                What::Packet(p) => {
                    write_targets(&p.targets, &mut key);
                    write_effect(&p.effect, &mut key);
                }
            }
            write!(f, "\n[[fault]]\n{table}")?;
        }
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn list(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(|n| quoted(n)).collect();
    format!("[{}]", names.join(", "))
}

fn write_targets(targets: &Targets, key: &mut impl FnMut(&str, String)) {
    key(
        "targets",
        match targets {
            Targets::Leader => quoted("leader"),
            Targets::Nodes(names) => list(names),
        },
    );
}

fn write_topology(topology: &Topology, key: &mut impl FnMut(&str, String)) {
    match topology {
        Topology::Leader => {}
        Topology::Split { side, .. } => key("targets", list(side)),
        Topology::MajoritiesRing { order } => key("targets", list(order)),
        Topology::Bridge { bridge, side } => {
            key("bridge", quoted(bridge));
            key("targets", list(side));
        }
        Topology::Partial { a, b } => key("targets", list(&[a.clone(), b.clone()])),
        Topology::OneWayIn { targets }
        | Topology::OneWayOut { targets }
        | Topology::NoResponse { targets } => write_targets(targets, key),
    }
}

fn write_warp(warp: &Warp, key: &mut impl FnMut(&str, String)) {
    match warp {
        Warp::Jump { delta_ns } => key("delta", quoted(&write_delta(*delta_ns))),
        Warp::Strobe { delta_ns, period } => {
            key("delta", quoted(&write_delta(*delta_ns)));
            key("period", quoted(&write_duration(*period)));
        }
        Warp::Drift { rate_ppm } => key("rate_ppm", rate_ppm.to_string()),
        Warp::Freeze { pause, .. } => key("pause", quoted(&write_duration(*pause))),
    }
}

fn write_effect(effect: &Effect, key: &mut impl FnMut(&str, String)) {
    let share = |per_million: &u32| quoted(&write_share(*per_million));
    match effect {
        Effect::Delay { delay, jitter } => {
            key("delay", quoted(&write_duration(*delay)));
            key("jitter", quoted(&write_duration(*jitter)));
        }
        Effect::Reorder {
            share_per_million,
            delay,
        } => {
            key("share", share(share_per_million));
            key("delay", quoted(&write_duration(*delay)));
        }
        Effect::Loss { share_per_million }
        | Effect::Duplicate { share_per_million }
        | Effect::Corrupt { share_per_million } => key("share", share(share_per_million)),
        Effect::Rate { rate_kbit } => key("rate_kbit", rate_kbit.to_string()),
    }
}
