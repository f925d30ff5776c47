//! Pictures of what operations on a time axis do not show: circles of transactions, what nodes say
//! of one slot, branches of a chain, and how long a value was there.

mod cycle;
mod lives;
mod prefix;
mod table;
mod tree;

use std::fmt;

use checkers::Anomaly;
use checkers::picture::Picture;
use history::Op;

use crate::Run;

/// Draws what there is to draw of an anomaly above the timeline of its operations.
pub fn draw(out: &mut String, run: &Run, anomaly: &Anomaly, named: &[&Op]) -> fmt::Result {
    match anomaly.picture.as_deref() {
        Some(Picture::Cycle { edges }) => cycle::draw(out, run, edges),
        Some(Picture::Table(content)) => table::draw(out, content),
        Some(Picture::Tree { blocks }) => tree::draw(out, blocks),
        Some(Picture::Prefix(_)) | None => lives::draw(out, run, anomaly, named),
    }
}

/// And what stands below it.
pub fn draw_below(out: &mut String, run: &Run, anomaly: &Anomaly) -> fmt::Result {
    match anomaly.picture.as_deref() {
        Some(Picture::Prefix(content)) => {
            prefix::draw(out, run, anomaly.object.as_deref(), content)
        }
        _ => Ok(()),
    }
}
