//! Branches of a chain: blocks from left to right, a row a branch, long stretches shortened.

use checkers::picture::Block;
use maud::{Markup, html};

use crate::svg::Px;
use crate::text::{clip, counted};

const STEP: (f64, f64) = (158.0, 74.0);
const BOX: (f64, f64) = (122.0, 34.0);
const LEFT: f64 = 10.0;

/// Room behind the last block of a branch for whose head it is.
const NOTES: f64 = 330.0;

pub fn draw(blocks: &[Block]) -> Markup {
    let places = places(blocks);
    let columns = places.iter().map(|(column, _)| column + 1).max();
    let rows = places.iter().map(|(_, row)| row + 1).max();
    let width = LEFT + columns.unwrap_or(1) as f64 * STEP.0 + NOTES;
    let height = rows.unwrap_or(1) as f64 * STEP.1 + 8.0;
    // Shrunk so far and no further, words can still be read; what is wider is scrolled.
    let style = format!("max-width:{width}px;min-width:{:.0}px", 0.85 * width);
    let parents = blocks
        .iter()
        .map(|block| block.parent.and_then(|parent| places.get(parent)));
    html! {
        div.scroll {
            svg.tree viewBox={ "0 0 " (width) " " (height) } style=(style) role="img"
                aria-label="Branches of the chain"
            {
                @for (parent, place) in parents.zip(&places) {
                    @if let Some(parent) = parent { path.edge d=(edge(corner(*parent), corner(*place))) {} }
                }
                @for (i, (block, place)) in blocks.iter().zip(&places).enumerate() {
                    // Behind the block, or below it where another follows there.
                    @let next = (place.0 + 1, place.1);
                    @let is_followed = blocks.iter().zip(&places).any(|(b, p)| b.parent == Some(i) && *p == next);
                    @let (x, y) = corner(*place);
                    (draw_block(block, (x, y)))
                    @if is_followed {
                        (notes(block, (x, y + BOX.1 + 11.0)))
                    } @else {
                        (notes(block, (x + BOX.0 + 8.0, y + 15.0)))
                    }
                }
            }
        }
        p.caption {
            "Blocks from left to right, a row a branch: what stands behind a fork is on one of them only. Dashed \
             boxes stand for several blocks."
        }
    }
}

fn corner((column, row): (usize, usize)) -> (f64, f64) {
    (LEFT + column as f64 * STEP.0, 8.0 + row as f64 * STEP.1)
}

/// From the right of one box to the left of another.
fn edge((x0, y0): (f64, f64), (x1, y1): (f64, f64)) -> String {
    let (from, to) = (y0 + BOX.1 / 2.0, y1 + BOX.1 / 2.0);
    format!(
        "M{:.1} {from:.1}H{:.1}V{to:.1}H{x1:.1}",
        x0 + BOX.0,
        x1 - 14.0
    )
}

fn draw_block(block: &Block, (x, y): (f64, f64)) -> Markup {
    let several = block.blocks != 1;
    let name = match several {
        false => clip(&block.name, 14),
        true => counted(block.blocks as usize, "block"),
    };
    let from = if several { "from " } else { "" };
    let middle = x + BOX.0 / 2.0;
    html! {
        g.block.several[several] {
            rect x=(Px(x)) y=(Px(y)) width=(BOX.0) height=(BOX.1) rx="5" {}
            text x=(Px(middle)) y=(Px(y + 14.0)) text-anchor="middle" { (name) }
            text.who x=(Px(middle)) y=(Px(y + 28.0)) text-anchor="middle" { (from) "height " (block.height) }
        }
    }
}

fn notes(block: &Block, (x, y): (f64, f64)) -> Markup {
    const LINE: f64 = 12.0;
    let most = if block.notes.len() > 3 { 2 } else { 3 };
    let more = block.notes.len().saturating_sub(most);
    let more = (more > 0).then(|| format!("and {more} more"));
    let notes = block.notes.iter().take(most).cloned().chain(more);
    html! {
        @for (i, note) in notes.enumerate() {
            text.note x=(Px(x)) y=(Px(y + LINE * i as f64)) { (clip(note, 44)) }
        }
    }
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
