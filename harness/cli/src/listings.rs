//! What there is: systems, workloads, nemeses, flaws, errors, and what this machine offers.

use std::process::ExitCode;

use clap::Args;
use harness::client::ERRORS;
use harness::nearest::nearest;
use serde_json::{Value as Json, json};
use workloads::Workload;
use workloads::params::Param;
use workloads::{catalogue, systems};

use crate::exit::Failure;
use crate::terminal;

#[derive(Debug, Args)]
pub struct ListingArgs {
    /// Print the list as JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct NemesesArgs {
    /// Only this family
    pub family: Option<String>,
    /// Print the list as JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FlawsArgs {
    /// Of which system
    #[arg(default_value = "paxos-kv")]
    pub system: String,
    /// Print the list as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// Prints rows as JSON lines, or as `text` shows them.
fn show(rows: &[Json], as_json: bool, text: impl Fn(&Json) -> String) -> ExitCode {
    for row in rows {
        match as_json {
            true => terminal::json(row),
            false => terminal::line(text(row)),
        }
    }
    ExitCode::SUCCESS
}

fn word<'a>(row: &'a Json, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

fn params(params: &[Param]) -> Json {
    params
        .iter()
        .map(|p| {
            json!({
                "name": p.name, "default": p.default, "about": p.about,
                "accepts": p.kind.describe(),
            })
        })
        .collect()
}

fn params_text(row: &Json) -> String {
    let params = row["params"].as_array().map_or(&[][..], Vec::as_slice);
    params
        .iter()
        .map(|p| {
            format!(
                "\n    {:<22} {} [default: {}; {}]",
                word(p, "name"),
                word(p, "about"),
                word(p, "default"),
                word(p, "accepts")
            )
        })
        .collect()
}

pub fn systems(as_json: bool) -> Result<ExitCode, Failure> {
    let rows: Vec<Json> = found()
        .into_iter()
        .map(|entry| {
            let interfaces: Vec<_> = entry.interfaces.iter().map(|i| i.word()).collect();
            json!({
                "name": entry.name, "about": entry.about, "interfaces": interfaces,
                "workload": entry.workload, "workloads": served(entry),
                "params": params(entry.params), "operations": operations(entry),
                "installed": entry.missing().is_none(), "install": entry.install,
            })
        })
        .collect();
    Ok(show(&rows, as_json, |row| {
        let here = match row["installed"].as_bool() {
            Some(true) => String::new(),
            _ => format!(
                "\n    not installed here: `schism install {}` says how",
                word(row, "name")
            ),
        };
        let usual = |name: &str| match name == word(row, "workload") {
            true => format!("{name} (the default)"),
            false => name.to_string(),
        };
        format!(
            "{:<12} {}{here}\n    {:<22} {}{}",
            word(row, "name"),
            word(row, "about"),
            "serves",
            names(row, "workloads")
                .into_iter()
                .map(usual)
                .collect::<Vec<_>>()
                .join(", "),
            params_text(row) + &operations_text(row)
        )
    }))
}

/// What can be done to it as faults.
fn operations(entry: &systems::Entry) -> Vec<Json> {
    let all = entry.operations.iter();
    all.map(|o| json!({ "name": o.name, "about": o.about, "undone": o.is_undone }))
        .collect()
}

fn operations_text(row: &Json) -> String {
    let all = row["operations"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |o: &Json| {
        let name = format!("admin:{}", word(o, "name"));
        format!("\n    {name:<22} {}", word(o, "about"))
    };
    all.iter().map(text).collect()
}

/// Every system, those that are folders too. A broken one is told of, and hides no other.
fn found() -> Vec<&'static systems::Entry> {
    let names = systems::names();
    let found = names.iter().filter_map(|name| match systems::find(name) {
        Ok(entry) => Some(entry),
        Err(e) => {
            terminal::tell(format!("{name} cannot be tested: {e}"));
            None
        }
    });
    found.collect()
}

/// The workloads that a system can serve.
fn served(entry: &systems::Entry) -> Vec<&'static str> {
    let all = entry.own.iter().chain(catalogue::WORKLOADS);
    all.filter(|w| entry.can_serve(**w).is_ok())
        .map(|w| w.name())
        .collect()
}

fn names<'a>(row: &'a Json, key: &str) -> Vec<&'a str> {
    let names = row[key].as_array().map_or(&[][..], Vec::as_slice);
    names.iter().filter_map(Json::as_str).collect()
}

pub fn workloads(as_json: bool) -> Result<ExitCode, Failure> {
    let all = found();
    let serving = |w: &dyn Workload| -> Vec<&str> {
        let all = all.iter();
        all.filter(|entry| entry.can_serve(w).is_ok())
            .map(|entry| entry.name)
            .collect()
    };
    let rows: Vec<Json> = catalogue::WORKLOADS
        .iter()
        .map(|w| {
            json!({
                "name": w.name(), "about": w.about(), "systems": serving(*w),
                "params": params(&w.params()),
            })
        })
        .collect();
    Ok(show(&rows, as_json, |row| {
        format!(
            "{:<12} {}\n    {:<22} {}{}",
            word(row, "name"),
            word(row, "about"),
            "of",
            names(row, "systems").join(", "),
            params_text(row)
        )
    }))
}

pub fn nemeses(args: &NemesesArgs) -> Result<ExitCode, Failure> {
    let all = nemeses::FAMILIES;
    if let Some(name) = &args.family
        && !all.iter().any(|family| family.name == name)
    {
        let names = || all.iter().map(|family| family.name);
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        return Err(Failure::usage(format!(
            "no family of faults {name:?}: {hint}"
        )));
    }
    let wanted = |family: &str| args.family.as_deref().is_none_or(|name| name == family);
    let rows: Vec<Json> = all
        .iter()
        .filter(|family| wanted(family.name))
        .map(|family| {
            json!({
                "name": family.name, "does": family.does,
                "example": family.example, "shapes": shapes(family),
            })
        })
        .collect();
    if args.family.is_none() && !args.json {
        let names = all.iter().filter_map(|family| family.in_all);
        let names: Vec<&str> = names.collect();
        terminal::line(format!(
            "all          {}\nnone         no faults",
            names.join(",")
        ));
    }
    Ok(show(&rows, args.json, |row| {
        let shapes = row["shapes"].as_array().map_or(&[][..], Vec::as_slice);
        let shapes: String = shapes
            .iter()
            .map(|s| {
                let figures = s["figures"].as_array().map_or(&[][..], Vec::as_slice);
                let figures = figures.iter().map(|f| {
                    let (key, drawn) = (word(f, "key"), word(f, "drawn"));
                    format!("\n    {:<22}   {key}: {drawn}", "")
                });
                let figures: String = figures.collect();
                format!("\n    {:<22} {}{figures}", word(s, "name"), word(s, "does"))
            })
            .collect();
        format!(
            "{:<12} {}, as in --nemesis {}{shapes}",
            word(row, "name"),
            word(row, "does"),
            word(row, "example")
        )
    }))
}

/// The shapes of a family; of one that has a single shape, whom it can hit.
fn shapes(family: &nemeses::Family) -> Vec<Json> {
    if family.plain().is_some() {
        let who = nemeses::WHO.iter().map(|who| {
            json!({ "name": who.name, "does": who.does, "needs": [], "percent": who.percent })
        });
        return who.collect();
    }
    let shapes = family.shapes.iter().map(|s| {
        let needs: Vec<_> = s.needs.iter().map(|n| n.join(" or ")).collect();
        let figures: Vec<Json> = s
            .figures
            .iter()
            .map(|f| json!({ "key": f.key, "example": f.example, "drawn": f.range() }))
            .collect();
        json!({
            "name": s.name, "does": s.does, "needs": needs, "percent": s.percent,
            "figures": figures,
        })
    });
    shapes.collect()
}

pub fn flaws(system: &str, as_json: bool) -> Result<ExitCode, Failure> {
    let entry = systems::find(system).map_err(Failure::usage)?;
    let flaws = entry.flaws().map_err(Failure::infra)?;
    let rows: Vec<Json> = flaws
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()
        .map_err(Failure::infra)?;
    if rows.is_empty() && !as_json {
        terminal::tell(format!("{system} has no flaws that can be planted"));
    }
    Ok(show(&rows, as_json, |row| {
        format!(
            "{:<24} {} (found under: {})",
            word(row, "name"),
            word(row, "summary"),
            word(row, "fault")
        )
    }))
}

pub fn errors(as_json: bool) -> Result<ExitCode, Failure> {
    let rows: Vec<Json> = ERRORS
        .iter()
        .map(|e| json!({ "code": e.code, "definite": e.definite, "meaning": e.meaning }))
        .collect();
    Ok(show(&rows, as_json, |row| {
        let kind = match row["definite"].as_bool() {
            Some(true) => "fail",
            _ => "info",
        };
        format!("{:<14} {kind}  {}", word(row, "code"), word(row, "meaning"))
    }))
}
