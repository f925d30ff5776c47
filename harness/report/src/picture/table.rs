//! What was said of the same things at several moments: a column a node or an account, a row a
//! moment.

use checkers::picture::{Cell, Table};
use maud::{Markup, html};

use crate::text::{clip, counted};

/// Values with a colour of their own.
const COLOURS: usize = 4;

/// Columns and rows that are drawn.
const MOST_COLUMNS: usize = 16;
const MOST_ROWS: usize = 100;

pub fn draw(table: &Table) -> Markup {
    let columns = &table.columns[..table.columns.len().min(MOST_COLUMNS)];
    let left_out = table.untold + table.rows.len().saturating_sub(MOST_ROWS);
    html! {
        div.scroll {
            table.nodes {
                caption { (clip(&table.of, 80)) ". The same value has the same colour." }
                thead { tr { th {} @for column in columns { th { (clip(column, 24)) } } } }
                tbody {
                    @for row in table.rows.iter().take(MOST_ROWS) {
                        tr {
                            th scope="row" { (clip(&row.at, 40)) }
                            @for column in 0..columns.len() {
                                td {
                                    @for cell in row.cells.iter().filter(|cell| cell.column == column) {
                                        span class={ "value " (colour(cell)) } { (clip(&cell.text, 120)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if left_out > 0 { p.caption { (counted(left_out, "other moment")) " left out." } }
    }
}

fn colour(cell: &Cell) -> String {
    match cell.value {
        Some(value) if value < COLOURS => format!("v{value}"),
        _ => "vx".to_string(),
    }
}
