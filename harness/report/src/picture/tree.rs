//! Branches of a chain: blocks from left to right, a row a branch, long stretches shortened.

use std::fmt::{self, Write};

use checkers::picture::Block;

use crate::text::{Esc, clip, counted};

const STEP: (f64, f64) = (158.0, 74.0);
const BOX: (f64, f64) = (122.0, 34.0);
const LEFT: f64 = 10.0;

/// Room behind the last block of a branch for whose head it is.
const NOTES: f64 = 330.0;

pub fn draw(out: &mut String, blocks: &[Block]) -> fmt::Result {
    let places = places(blocks);
    let columns = places.iter().map(|(column, _)| column + 1).max();
    let rows = places.iter().map(|(_, row)| row + 1).max();
    let width = LEFT + columns.unwrap_or(1) as f64 * STEP.0 + NOTES;
    let height = rows.unwrap_or(1) as f64 * STEP.1 + 8.0;
    writeln!(
        out,
        "<div class=\"scroll\"><svg class=\"tree\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         style=\"max-width:{width:.0}px\" role=\"img\" aria-label=\"Branches of the chain\">"
    )?;
    let corner =
        |(column, row): (usize, usize)| (LEFT + column as f64 * STEP.0, 8.0 + row as f64 * STEP.1);
    for (block, place) in blocks.iter().zip(&places) {
        let Some(parent) = block.parent.and_then(|parent| places.get(parent)) else {
            continue;
        };
        let ((x0, y0), (x1, y1)) = (corner(*parent), corner(*place));
        let (from, to) = ((x0 + BOX.0, y0 + BOX.1 / 2.0), (x1, y1 + BOX.1 / 2.0));
        let middle = to.0 - 14.0;
        writeln!(
            out,
            "<path class=\"edge\" d=\"M{:.1} {:.1}H{middle:.1}V{:.1}H{:.1}\"/>",
            from.0, from.1, to.1, to.0
        )?;
    }
    for (i, (block, place)) in blocks.iter().zip(&places).enumerate() {
        let (x, y) = corner(*place);
        draw_block(out, block, (x, y))?;
        // Behind the block, or below it where another follows there.
        let next = (place.0 + 1, place.1);
        let is_followed = blocks
            .iter()
            .zip(&places)
            .any(|(b, p)| b.parent == Some(i) && *p == next);
        let at = match is_followed {
            true => (x, y + BOX.1 + 11.0),
            false => (x + BOX.0 + 8.0, y + 15.0),
        };
        draw_notes(out, block, at)?;
    }
    writeln!(out, "</svg></div>")?;
    writeln!(
        out,
        "<p class=\"caption\">Blocks from left to right, a row a branch: what stands behind a fork is on one \
         of them only. Dashed boxes stand for several blocks.</p>"
    )
}

fn draw_block(out: &mut String, block: &Block, (x, y): (f64, f64)) -> fmt::Result {
    let (class, name, below) = match block.blocks {
        1 => (
            "block",
            clip(&block.name, 14),
            format!("height {}", block.height),
        ),
        n => (
            "block several",
            counted(n as usize, "block"),
            format!("from height {}", block.height),
        ),
    };
    writeln!(
        out,
        "<g class=\"{class}\"><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{}\" height=\"{}\" rx=\"5\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text class=\"who\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></g>",
        BOX.0,
        BOX.1,
        x + BOX.0 / 2.0,
        y + 14.0,
        Esc(name),
        x + BOX.0 / 2.0,
        y + 28.0,
        Esc(below),
    )
}

fn draw_notes(out: &mut String, block: &Block, (x, y): (f64, f64)) -> fmt::Result {
    const LINE: f64 = 12.0;
    let most = if block.notes.len() > 3 { 2 } else { 3 };
    let more = block.notes.len().saturating_sub(most);
    let more = (more > 0).then(|| format!("and {} more", more));
    let notes = block.notes.iter().take(most).cloned().chain(more);
    for (i, note) in notes.enumerate() {
        writeln!(
            out,
            "<text class=\"note\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x,
            y + LINE * i as f64,
            Esc(clip(note, 44))
        )?;
    }
    Ok(())
}

/// Column and row of each block: the first that follows another stays in its row, whoever else does
/// begins a new one.
fn places(blocks: &[Block]) -> Vec<(usize, usize)> {
    let mut places: Vec<(usize, usize)> = Vec::with_capacity(blocks.len());
    let mut followed = vec![false; blocks.len()];
    let mut rows = 0;
    for (i, block) in blocks.iter().enumerate() {
        let place = match block.parent.filter(|parent| *parent < i) {
            None => {
                rows += 1;
                (0, rows - 1)
            }
            Some(parent) => {
                let (column, row) = places[parent];
                match std::mem::replace(&mut followed[parent], true) {
                    false => (column + 1, row),
                    true => {
                        rows += 1;
                        (column + 1, rows - 1)
                    }
                }
            }
        };
        places.push(place);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_branch_has_a_row_of_its_own() {
        let block = |parent| Block {
            parent,
            name: String::new(),
            height: 0,
            blocks: 1,
            notes: Vec::new(),
        };
        // 0 - 1 - 2
        //     '--- 3 - 4
        let blocks = [None, Some(0), Some(1), Some(1), Some(3)].map(block);
        assert_eq!(places(&blocks), [(0, 0), (1, 0), (2, 0), (2, 1), (3, 1)]);
        // A parent that is not there yet is none.
        assert_eq!(places(&[block(Some(7))]), [(0, 0)]);
    }
}
