//! A schedule's file as it is written.

use std::fmt::{self, Write};

use harness::units::write_duration;
use history::Name;

use crate::aim::Aim;
use crate::family::What;
use crate::schedule::{Schedule, VERSION};
use crate::targets::Targets;

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
            write_what(&entry.what, &mut key);
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

fn write_what(what: &What, key: &mut impl FnMut(&str, String)) {
    key("family", quoted(what.family.name));
    if !what.shape.name.is_empty() {
        key("shape", quoted(what.shape.name));
    }
    if let Some(bridge) = &what.bridge {
        key("bridge", quoted(bridge));
    }
    match &what.targets {
        // Nobody else can be meant.
        _ if matches!(what.shape.aim, Aim::Leader) => {}
        Targets::Leader => key("targets", quoted("leader")),
        Targets::Nodes(names) => key("targets", list(names)),
    }
    for (figure, value) in what.shape.figures.iter().zip(&what.figures) {
        let text = figure.unit.write(*value);
        match figure.unit.is_text() {
            true => key(figure.key, quoted(&text)),
            false => key(figure.key, text),
        }
    }
}
