//! Pictures of what operations on a time axis do not show: circles of transactions, what nodes say
//! of one slot, branches of a chain, and how long a value was there.

mod cycle;
mod lives;
mod prefix;
mod table;
mod tree;

use checkers::Anomaly;
use checkers::picture::Picture;
use history::Op;
use maud::{Markup, html};

use crate::Run;

/// Draws what there is to draw of an anomaly above the timeline of its operations.
pub fn draw(run: &Run, anomaly: &Anomaly, named: &[&Op]) -> Markup {
    match anomaly.picture.as_deref() {
        Some(Picture::Cycle { edges }) => cycle::draw(run, edges),
        Some(Picture::Table(content)) => table::draw(content),
        Some(Picture::Tree { blocks }) => tree::draw(blocks),
        Some(Picture::Prefix(_)) | None => lives::draw(run, anomaly, named),
    }
}

/// And what stands below it.
pub fn draw_below(run: &Run, anomaly: &Anomaly) -> Markup {
    match anomaly.picture.as_deref() {
        Some(Picture::Prefix(content)) => prefix::draw(run, anomaly.object.as_deref(), content),
        _ => html! {},
    }
}
