//! Tables on the terminal: columns as wide as what is in them.

use report::experiment::{Arm, Measure, Spread, number};

/// Rows of cells; a row of one cell is a heading and widens nothing.
#[derive(Default)]
pub struct Grid {
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// A line that stands by itself.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.rows.push(vec![text.into()]);
    }

    pub fn text(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in self.rows.iter().filter(|row| row.len() > 1) {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        for row in &self.rows {
            let line: String = match &row[..] {
                [heading] => heading.clone(),
                cells => cells
                    .iter()
                    .zip(&widths)
                    .map(|(cell, width)| format!("{cell:<width$}   "))
                    .collect(),
            };
            out += line.trim_end();
            out.push('\n');
        }
        out
    }
}

/// `1.23 [1.10, 1.31]`, or that there is no such thing; of how many values, where that is fewer
/// than the seeds.
pub fn interval(arm: &Arm, measure: &Measure, seeds: usize) -> String {
    match arm.spread(&measure.id) {
        None => "not applicable".into(),
        Some(s) => format!(
            "{} [{}, {}]{}{}",
            s.median,
            s.low,
            s.high,
            of(&s, seeds),
            match arm.left_out(measure) {
                None => String::new(),
                Some(share) => format!(" ({} % never offered)", number(share)),
            }
        ),
    }
}

fn of(spread: &Spread, seeds: usize) -> String {
    match spread.n < seeds {
        true => format!(" of {}", spread.n),
        false => String::new(),
    }
}

/// The same of a difference; a star where it is sure.
pub fn difference(spread: Option<Spread>, seeds: usize) -> String {
    match spread {
        None => "-".into(),
        Some(s) => format!(
            "{} [{}, {}]{}{}",
            s.median.signed(),
            s.low.signed(),
            s.high.signed(),
            of(&s, seeds),
            if s.differs() { " *" } else { "" }
        ),
    }
}

/// What the numbers of a table are.
pub fn legend(seeds: u64) -> String {
    match seeds {
        0..6 => format!(
            "median [smallest, largest] over {seeds} seeds: six are the least for an interval of 95 %; ≥ had not ended"
        ),
        n => format!(
            "median [95 % interval of the median] over {n} seeds; * surely not zero; ≥ had not ended"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_headings_widen_nothing() {
        let mut grid = Grid::default();
        grid.heading("a heading that is longer than all the columns");
        grid.row(["a", "µs", "x"]);
        grid.row(["longer", "", "y"]);
        assert_eq!(
            grid.text(),
            "a heading that is longer than all the columns\n\
             a        µs   x\n\
             longer        y\n"
        );
    }
}
