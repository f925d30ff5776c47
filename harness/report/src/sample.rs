//! Few for many: points thinned to what an eye could tell apart, and the operations worth listing.

use std::collections::{BTreeSet, HashSet};

use checkers::Analysis;
use history::fault::Span;
use history::{History, Outcome, Time};

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

/// Operations to keep around each one that an anomaly names.
const AROUND_ANOMALY: usize = 40;

/// Operations to keep around each injection and healing.
const AROUND_FAULT: usize = 15;

/// Positions in `history.ops()` of at most `max` operations, in order: those that anomalies name,
/// their neighbours, the first error, the neighbours of faults, other errors, then the beginning
/// of the run. What the harness looked at is there only where an anomaly names it.
pub fn notable(history: &History, analyses: &[Analysis], spans: &[Span], max: usize) -> Vec<usize> {
    let ops = history.ops();
    let named: Vec<usize> = analyses
        .iter()
        .flat_map(|a| &a.anomalies)
        .flat_map(|a| &a.ops)
        .filter_map(|index| ops.binary_search_by_key(index, |op| op.index).ok())
        .collect();
    let is_named: HashSet<usize> = named.iter().copied().collect();
    let worth = |at: &usize| !ops[*at].observes() || is_named.contains(at);
    if (0..ops.len()).filter(worth).count() <= max {
        return (0..ops.len()).filter(worth).collect();
    }
    let mut chosen = BTreeSet::new();
    let mut take = |positions: &mut dyn Iterator<Item = usize>, share: usize| {
        for at in positions.filter(worth) {
            if chosen.len() >= share {
                break;
            }
            chosen.insert(at);
        }
    };
    let around = |at: usize, n: usize| at.saturating_sub(n)..(at + n + 1).min(ops.len());
    let errors = || {
        let not_ok = ops
            .iter()
            .enumerate()
            .filter(|(_, op)| op.outcome != Outcome::Ok);
        not_ok.map(|(at, _)| at)
    };
    let at_time = |t: Time| ops.partition_point(|op| op.call < t);
    take(&mut named.iter().copied(), max / 2);
    take(&mut errors().take(1), max);
    // Neighbours of the first anomalies before those of later ones, and never so many that faults
    // and errors find no room.
    take(
        &mut named.iter().flat_map(|&at| around(at, AROUND_ANOMALY)),
        max / 2,
    );
    let moments = spans
        .iter()
        .flat_map(|s| [Some(s.from), s.held_from, s.healed().then_some(s.until)]);
    take(
        &mut moments
            .flatten()
            .flat_map(|t| around(at_time(t), AROUND_FAULT)),
        max * 3 / 4,
    );
    take(&mut errors(), max * 9 / 10);
    take(&mut (0..ops.len()), max);
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkers::Anomaly;
    use history::{Event, Kind, Process, Value};

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

    fn history(n: u64) -> History {
        let events = (0..2 * n).map(|i| Event {
            index: i,
            time: Time(i),
            process: Process::Client(0),
            kind: match i {
                i if i % 2 == 0 => Kind::Invoke,
                // Operation 700 fails.
                1401 => Kind::Fail,
                _ => Kind::Ok,
            },
            f: "read".into(),
            value: Value::Nil,
            error: None,
            node: None,
            version: None,
            due: None,
        });
        History::new(events.collect()).unwrap()
    }

    #[test]
    fn a_short_history_is_kept_whole() {
        assert_eq!(notable(&history(5), &[], &[], 5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_anomalies_name_and_the_first_error_come_before_all_else() {
        let history = history(2_000);
        let anomaly = Anomaly {
            kind: "stale read".into(),
            object: None,
            ops: vec![3_000, 10],
            reason: String::new(),
            ..Anomaly::default()
        };
        let analyses = [Analysis::of_anomalies("linearizable", "", vec![anomaly])];
        let chosen = notable(&history, &analyses, &[], 200);
        assert_eq!(chosen.len(), 200);
        assert!(chosen.is_sorted());
        for want in [5, 1_500, 700, 1_480, 1_520] {
            assert!(chosen.contains(&want), "{want} in {chosen:?}");
        }
    }
}
