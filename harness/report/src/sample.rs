//! Few for many: points thinned to what an eye could tell apart.

use std::collections::HashSet;

/// Side of the cell in which one point stands for all, in pixels: the size of a dot.
const CELL_PX: f64 = 3.0;

/// One point for each occupied cell of a grid. The first, the last, the highest and the lowest of
/// every column stay, because no cell that has any point loses all of them.
pub fn thin(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut seen = HashSet::new();
    points
        .filter(|(x, y)| seen.insert(((x / CELL_PX) as i32, (y / CELL_PX) as i32)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_extremes_of_every_column() {
        // A dense cloud with one spike up and one down.
        let mut points: Vec<(f64, f64)> = (0..100_000)
            .map(|i| ((i % 300) as f64, 100.0 + (i * 7 % 30) as f64))
            .collect();
        points.push((150.0, 5.0));
        points.push((151.0, 295.0));
        let thinned = thin(points.iter().copied());
        assert!(thinned.len() < 1_200, "{}", thinned.len());
        for column in 0..100 {
            let in_column = |p: &&(f64, f64)| (p.0 / CELL_PX) as i32 == column;
            let low =
                |ps: &[(f64, f64)]| ps.iter().filter(in_column).map(|p| p.1).fold(1e9, f64::min);
            let high =
                |ps: &[(f64, f64)]| ps.iter().filter(in_column).map(|p| p.1).fold(0.0, f64::max);
            assert!(low(&thinned) - low(&points) < CELL_PX);
            assert!(high(&points) - high(&thinned) < CELL_PX);
        }
    }
}
