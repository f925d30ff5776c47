//! How things went from run to run, and from night to night: verdicts, and what is measured, as
//! small pictures whose marks lead to the runs.
//!
//! Only runs of the same system and workload stand in one picture, and all pictures of a group have
//! a run at the same place. Nothing here knows a figure by name.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::response::Response;
use history::wording::counted;
use maud::{Markup, html};
use report::experiment::Measure;
use report::trend::{self, Point, Stack};

use super::runs::{self, Wanted};
use super::{Shared, pages};
use crate::list::Row;
use crate::matrix::nights::{self, Night};
use crate::measures;

/// Groups of one page, those with the most runs.
const MOST_GROUPS: usize = 6;
/// Runs of a group, and nights: the newest.
const MOST: usize = 120;

pub async fn page(State(viewer): Shared, Query(wanted): Query<Wanted>) -> Response {
    let (all, rows) = match runs::pick(&viewer, &wanted) {
        Ok(picked) => picked,
        Err(why) => return pages::trouble(&why.to_string()),
    };
    let found = rows.len();
    let mut groups: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    // What still goes on, or was cut short, has come to nothing yet.
    for row in rows.into_iter().filter(|row| row.verdict.is_some()) {
        groups.entry(row.title.clone()).or_default().push(row);
    }
    let mut groups: Vec<(String, Vec<Row>)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    let left_out = groups.len().saturating_sub(MOST_GROUPS);
    groups.truncate(MOST_GROUPS);
    let store = viewer.store.root();
    let nights = tokio::task::block_in_place(|| nights::all(store));
    let matrices = matrices(nights.iter().flatten());
    pages::page(
        "Trends",
        html! {
            (runs::form(&wanted, "/trends"))
            p.lead {
                (found) " of " (counted(all, "run")) ", from the oldest to the newest; each mark leads to its run: "
                @for (i, tone) in ["valid", "invalid", "unknown", "vacuous", "infra"].iter().enumerate() {
                    @if i > 0 { ", " } (trend::mark(tone)) " " (tone)
                }
                ". The line is the median of seven runs around."
            }
            @for (title, rows) in &groups { (group(title, rows)) }
            @if left_out > 0 {
                p.lead { (counted(left_out, "group")) " with fewer runs are left out: choose some by words." }
            }
            @for (name, nights) in &matrices { (matrix(name, nights)) }
            @for unread in nights.iter().filter_map(|night| night.as_ref().err()) {
                p.lead { "The night " (unread.folder) " cannot be read: " (unread.why) }
            }
        },
    )
}

fn group(title: &str, rows: &[Row]) -> Markup {
    let rows = &rows[rows.len().saturating_sub(MOST)..];
    let ids = rows.iter().flat_map(|row| row.figures.keys());
    let mut ended: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *ended.entry(pages::ended(row)).or_default() += 1;
    }
    let ended = ended.iter().map(|(word, n)| format!("{n} {word}"));
    let verdicts: Vec<Point> = rows
        .iter()
        .enumerate()
        .map(|(place, row)| point(place, row, 0.0, String::new()))
        .collect();
    html! {
        section {
            h2 { (title) }
            p.lead { (counted(rows.len(), "run")) ": " (ended.collect::<Vec<_>>().join(", ")) }
            div.trends {
                figure {
                    figcaption { "verdict" }
                    (trend::strip("verdict", rows.len(), &verdicts))
                }
                @for measure in measures::headlines(ids) { (chart(rows, &measure)) }
            }
        }
    }
}

fn chart(rows: &[Row], measure: &Measure) -> Markup {
    let points: Vec<Point> = rows
        .iter()
        .enumerate()
        .filter_map(|(place, row)| {
            let value = *row.figures.get(&measure.id)?;
            Some(point(place, row, value, trend::told(value, &measure.unit)))
        })
        .collect();
    figure(measure, &trend::points(&measure.label, rows.len(), &points))
}

fn figure(measure: &Measure, svg: &Markup) -> Markup {
    html! {
        figure {
            figcaption title=(measure.about) {
                (measure.label)
                @if !measure.unit.is_empty() { " [" (measure.unit) "]" }
            }
            (svg)
        }
    }
}

fn point(place: usize, row: &Row, value: f64, told: String) -> Point {
    let mut tip = vec![row.run.clone(), pages::ended(row).to_string()];
    tip.extend(row.seed.map(|seed| format!("seed {seed}")));
    tip.extend(Some(told).filter(|told| !told.is_empty()));
    tip.extend(row.why.clone());
    Point {
        place,
        value,
        tone: pages::ended(row),
        link: pages::of_run(&row.run),
        tip: tip.join("\n"),
    }
}

/// The nights of each matrix, the newest of them.
fn matrices<'a>(nights: impl Iterator<Item = &'a Night>) -> BTreeMap<&'a str, Vec<&'a Night>> {
    let mut matrices: BTreeMap<&str, Vec<&Night>> = BTreeMap::new();
    for night in nights {
        matrices.entry(&night.name).or_default().push(night);
    }
    for nights in matrices.values_mut() {
        let old = nights.len().saturating_sub(MOST);
        nights.drain(..old);
    }
    matrices
}

fn matrix(name: &str, nights: &[&Night]) -> Markup {
    let ids = nights.iter().flat_map(|night| night.figures.keys());
    let cells: Vec<Stack> = nights.iter().map(|night| stack(night)).collect();
    html! {
        section {
            h2 { "Nights of " (name) }
            p.lead {
                (counted(nights.len(), "night")) ", of which "
                (nights.iter().filter(|night| night.green).count())
                " green. A figure is the median of the night's valid runs."
            }
            div.trends {
                figure { figcaption { "cells" } (trend::stacks("cells by colour", &cells)) }
                @for measure in measures::headlines(ids) { (of_nights(nights, &measure)) }
            }
        }
    }
}

fn stack(night: &Night) -> Stack {
    let counts = night.colours.iter();
    let counts = counts.map(|(colour, n)| format!("{n} {}", colour.word()));
    let how = if night.green { "green" } else { "not green" };
    Stack {
        // What is well lies below.
        parts: night
            .colours
            .iter()
            .rev()
            .map(|(colour, n)| (colour.word(), *n))
            .collect(),
        link: of_night(&night.folder),
        tip: format!(
            "{}: {how}\n{}",
            night.folder,
            counts.collect::<Vec<_>>().join(", ")
        ),
    }
}

fn of_nights(nights: &[&Night], measure: &Measure) -> Markup {
    let points: Vec<Point> = nights
        .iter()
        .enumerate()
        .filter_map(|(place, night)| {
            let value = *night.figures.get(&measure.id)?;
            Some(Point {
                place,
                value,
                tone: if night.green { "valid" } else { "invalid" },
                link: of_night(&night.folder),
                tip: format!("{}\n{}", night.folder, trend::told(value, &measure.unit)),
            })
        })
        .collect();
    figure(
        measure,
        &trend::points(&measure.label, nights.len(), &points),
    )
}

/// Where the page of a night is.
pub fn of_night(folder: &str) -> String {
    format!("/night/{}", pages::encoded(folder))
}
