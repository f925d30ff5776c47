//! A night as a grid: a row for each system and workload, a column for each nemesis, a square for
//! each seed, which leads to its run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::{Shared, files, pages};
use crate::matrix::gate::{Colour, Judged, Shown};
use crate::matrix::nights;

pub async fn page(State(viewer): Shared, Path(name): Path<String>) -> Response {
    let store = viewer.store.root();
    let Some(folder) = files::below(&nights::root(store), FilePath::new(&name)) else {
        return pages::missing("There is no such night.");
    };
    let recorded = match nights::read(&folder) {
        Ok(recorded) => recorded,
        Err(why) => return pages::trouble(&why),
    };
    let judged = nights::judged(&recorded);
    let how = if judged.is_green() {
        "green"
    } else {
        "not green"
    };
    let has_run =
        |shown: &Shown| run(shown).is_some_and(|run| files::run(&viewer.store, run).is_some());
    pages::page(
        &format!("{}, {}", recorded.head.name, recorded.head.night),
        html! {
            p { b { (how) } ", begun " (recorded.head.started) }
            ul { @for reason in &judged.reasons { li { (reason.gate.word()) ": " (reason.text) } } }
            (legend(&judged))
            (grid(&judged, has_run))
            @if folder.join("index.html").is_file() {
                p { a href={ "/night/" (pages::encoded(&name)) "/index.html" } { "What the night says of itself" } }
            }
        },
    )
}

fn run<'a>(shown: &'a Shown) -> Option<&'a str> {
    shown.came.as_ref()?.by.as_ref()?.run.as_deref()
}

fn legend(judged: &Judged) -> Markup {
    html! {
        p.lead {
            @for colour in Colour::ALL.into_iter().filter(|colour| judged.count(*colour) > 0) {
                span class={ "cell " (colour.word()) } { (judged.count(colour)) } " "
                (colour.word()) ": " (colour.meaning()) ". "
            }
        }
    }
}

fn grid(judged: &Judged, has_run: impl Fn(&Shown) -> bool) -> Markup {
    let columns: BTreeSet<&str> = judged
        .cells
        .iter()
        .map(|s| s.cell.nemesis.as_str())
        .collect();
    let mut rows: BTreeMap<(&str, &str), BTreeMap<&str, Vec<&Shown>>> = BTreeMap::new();
    for shown in &judged.cells {
        let row = rows
            .entry((&shown.cell.system, &shown.cell.workload))
            .or_default();
        row.entry(&shown.cell.nemesis).or_default().push(shown);
    }
    html! {
        table {
            thead { tr { th { "system" } th { "workload" } @for column in &columns { th { (column) } } } }
            tbody {
                @for ((system, workload), cells) in &rows {
                    tr {
                        th scope="row" { (system) }
                        td { (workload) }
                        @for column in &columns {
                            td { @for shown in cells.get(column).into_iter().flatten() { (square(shown, &has_run)) } }
                        }
                    }
                }
            }
        }
    }
}

fn square(shown: &Shown, has_run: &impl Fn(&Shown) -> bool) -> Markup {
    let ending = shown
        .came
        .as_ref()
        .map_or("not run", |came| came.ending.word());
    let tip = format!(
        "{}: {}, {ending}. {}",
        shown.cell.id,
        shown.colour.word(),
        shown.why
    );
    let class = format!("cell {}", shown.colour.word());
    html! {
        @match run(shown).filter(|_| has_run(shown)) {
            Some(run) => a class=(class) title=(tip) href=(pages::of_run(run)) { (shown.cell.seed) },
            None => span class=(class) title=(tip) { (shown.cell.seed) },
        }
        " "
    }
}
