//! What was said of the same things at several moments: a column a node or an account, a row a
//! moment.

use std::fmt::{self, Write};

use checkers::picture::{Row, Table};

use crate::text::{Esc, clip, counted};

/// Values with a colour of their own.
const COLOURS: usize = 4;

/// Columns and rows that are drawn.
const MOST_COLUMNS: usize = 16;
const MOST_ROWS: usize = 100;

pub fn draw(out: &mut String, table: &Table) -> fmt::Result {
    write!(
        out,
        "<div class=\"scroll\"><table class=\"nodes\"><caption>{}. The same value has the same \
         colour.</caption><thead><tr><th></th>",
        Esc(clip(&table.of, 80))
    )?;
    let columns = &table.columns[..table.columns.len().min(MOST_COLUMNS)];
    for column in columns {
        write!(out, "<th>{}</th>", Esc(clip(column, 24)))?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for row in table.rows.iter().take(MOST_ROWS) {
        draw_row(out, row, columns.len())?;
    }
    writeln!(out, "</tbody></table></div>")?;
    let left_out = table.untold + table.rows.len().saturating_sub(MOST_ROWS);
    match left_out {
        0 => Ok(()),
        n => writeln!(
            out,
            "<p class=\"caption\">{} left out.</p>",
            counted(n, "other moment")
        ),
    }
}

fn draw_row(out: &mut String, row: &Row, columns: usize) -> fmt::Result {
    write!(out, "<tr><th scope=\"row\">{}</th>", Esc(clip(&row.at, 40)))?;
    for column in 0..columns {
        write!(out, "<td>")?;
        for cell in row.cells.iter().filter(|cell| cell.column == column) {
            let class = match cell.value {
                Some(value) if value < COLOURS => format!("v{value}"),
                _ => "vx".to_string(),
            };
            write!(
                out,
                "<span class=\"value {class}\">{}</span>",
                Esc(clip(&cell.text, 120))
            )?;
        }
        write!(out, "</td>")?;
    }
    writeln!(out, "</tr>")
}
