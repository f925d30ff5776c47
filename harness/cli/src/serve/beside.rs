//! Two runs side by side: what they are, how they ended, and the figures that both have.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use history::store::Run;
use maud::html;
use serde_json::Value as Json;

use super::{Shared, files, pages};
use crate::judged::load_results;
use crate::spec::Spec;

/// A run as far as it is compared.
struct Side {
    name: String,
    title: String,
    facts: Vec<(String, String)>,
    figures: BTreeMap<String, String>,
}

/// A form sends `run=A&run=B`.
pub async fn page(State(viewer): Shared, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let named = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("run="));
    let runs = named.filter_map(|name| files::run(&viewer.store, name));
    let sides: Vec<Side> = runs.take(2).map(|run| side(&run)).collect();
    let [a, b] = &sides[..] else {
        return pages::trouble("Tick two runs, and then ask for them side by side.");
    };
    let facts = a.facts.iter().zip(&b.facts);
    let names = a
        .figures
        .keys()
        .chain(b.figures.keys().filter(|f| !a.figures.contains_key(*f)));
    pages::page(
        "Side by side",
        html! {
            table {
                thead {
                    tr {
                        th {}
                        @for side in [a, b] {
                            th { a href=(pages::of_run(&side.name)) { (side.title) } }
                        }
                    }
                }
                tbody {
                    @for ((name, one), (_, other)) in facts {
                        tr class=[(one != other).then_some("differs")] {
                            th scope="row" { (name) }
                            td { (one) }
                            td { (other) }
                        }
                    }
                    @for name in names {
                        tr {
                            th scope="row" { (name) }
                            td.n { (a.figures.get(name).map_or("", String::as_str)) }
                            td.n { (b.figures.get(name).map_or("", String::as_str)) }
                        }
                    }
                }
            }
        },
    )
}

fn side(run: &Run) -> Side {
    let mut side = Side {
        name: run.name(),
        title: run.name(),
        facts: Vec::new(),
        figures: BTreeMap::new(),
    };
    let spec = Spec::load(run).ok();
    let judged = load_results(run).ok();
    let of_spec = |fact: fn(&Spec) -> String| spec.as_ref().map_or(String::new(), fact);
    let verdict = judged.as_ref().map_or("", |judged| judged.verdict.word());
    side.facts = vec![
        ("verdict".into(), verdict.to_string()),
        ("what".into(), of_spec(Spec::title)),
        (
            "faults".into(),
            of_spec(|spec| spec.nemesis.clone().unwrap_or_else(|| "(schedule)".into())),
        ),
        ("seed".into(), of_spec(|spec| spec.seed.to_string())),
        ("nodes".into(), of_spec(|spec| spec.nodes.to_string())),
    ];
    for analysis in judged.iter().flat_map(|judged| &judged.analyses) {
        for figure in &analysis.figures {
            let name = format!("{}: {}", analysis.checker, figure.name);
            numbers(&name, &figure.value, &figure.unit, &mut side.figures);
        }
    }
    side
}

/// Numbers, and those one level below.
fn numbers(name: &str, value: &Json, unit: &str, figures: &mut BTreeMap<String, String>) {
    match value {
        Json::Number(n) => {
            let n = match n.as_f64() {
                Some(x) if x.fract() != 0.0 => format!("{x:.3}"),
                _ => n.to_string(),
            };
            figures.insert(
                name.to_string(),
                format!("{n} {unit}").trim_end().to_string(),
            );
        }
        Json::Object(parts) if !name.contains(" / ") => {
            for (part, value) in parts {
                numbers(&format!("{name} / {part}"), value, unit, figures);
            }
        }
        _ => {}
    }
}
