//! Is anything slower than it was? This night's figures against those of nights before.
//!
//! Two groups of runs are compared by the ranks of their figures (Mann and Whitney, "On a test of
//! whether one of two random variables is stochastically larger than the other", 1947), so it needs
//! no threshold and no shape of distribution. Many figures of many combinations are looked at, so
//! the levels are divided among them (Holm, "A simple sequentially rejective multiple test
//! procedure", 1979).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use report::experiment::Better;
use serde::Serialize;

use super::record::{self, Ending, Purpose, Ran, Recorded};
use crate::exit::Failure;
use crate::measures;

/// How often any change at all is reported where there is none.
const LEVEL: f64 = 0.05;
/// Folders below a folder of nights.
const DEPTH: usize = 4;

/// A figure that has changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub combo: String,
    pub figure: String,
    /// Medians.
    pub before: f64,
    pub now: f64,
    pub runs_before: usize,
    pub runs_now: usize,
    /// How probable ranks so far apart are, if nothing had changed.
    pub p: f64,
    /// Whether it is for the worse; none if there is no better and worse.
    pub worse: Option<bool>,
}

/// What is compared, and what has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trend {
    /// Nights before that were read.
    pub nights: usize,
    /// Figures that there were enough runs of to compare.
    pub compared: usize,
    /// Those that had too few for any difference to be told from chance.
    pub too_few: usize,
    pub changes: Vec<Change>,
}

/// The files of all nights in these folders.
///
/// # Errors
/// A folder in which there is none, or one that cannot be read.
pub fn find(folders: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for folder in folders {
        let before = files.len();
        search(folder, DEPTH, &mut files)
            .map_err(|e| Failure::Usage(format!("cannot read {}: {e}", folder.display())))?;
        if files.len() == before {
            let folder = folder.display();
            let name = record::NAME;
            return Err(Failure::Usage(format!(
                "there is no night in {folder}: no {name}, {DEPTH} folders deep"
            )));
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn search(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let own = folder.join(record::NAME);
    if own.is_file() {
        files.push(own);
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Runs have no nights in them, and much else.
        if entry.file_type()?.is_dir() && !entry.path().join("spec.json").exists() {
            search(&entry.path(), depth - 1, files)?;
        }
    }
    Ok(())
}

/// Compares a night with those before. The night itself may be among them, and is passed over.
pub fn compare(now: &Recorded, before: &[Recorded]) -> Trend {
    let same = |other: &&Recorded| {
        (&other.head.matrix, &other.head.night) != (&now.head.matrix, &now.head.night)
    };
    let before: Vec<&Recorded> = before.iter().filter(same).collect();
    let mut nights: Vec<_> = before
        .iter()
        .map(|r| (&r.head.matrix, &r.head.night))
        .collect();
    nights.sort();
    nights.dedup();
    let (now, then) = (samples([now]), samples(before.iter().copied()));
    let mut trend = Trend {
        nights: nights.len(),
        ..Trend::default()
    };
    let mut tested = Vec::new();
    for ((combo, figure), values) in &now {
        let Some(old) = then.get(&(combo.clone(), figure.clone())) else {
            continue;
        };
        if least_p(values.len(), old.len()) > LEVEL {
            trend.too_few += 1;
            continue;
        }
        trend.compared += 1;
        let (before, now) = (median(old), median(values));
        tested.push(Change {
            combo: combo.clone(),
            figure: figure.clone(),
            before,
            now,
            runs_before: old.len(),
            runs_now: values.len(),
            p: mann_whitney(values, old),
            worse: worse(figure, before, now),
        });
    }
    trend.changes = holm(tested);
    trend
}

/// By combination and figure, the values of the first runs that had a verdict.
fn samples<'a>(
    nights: impl IntoIterator<Item = &'a Recorded>,
) -> BTreeMap<(String, String), Vec<f64>> {
    let mut samples: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for night in nights {
        // A confirmation is the same seed again, and would count twice.
        let counts = |ran: &&Ran| ran.ending == Ending::Valid && ran.purpose != Purpose::Confirm;
        for ran in night.runs.iter().filter(counts) {
            let combo = ran.cell.rsplit_once('/').map_or("", |(combo, _)| combo);
            for (figure, value) in &ran.figures {
                let key = (combo.to_string(), figure.clone());
                samples.entry(key).or_default().push(*value);
            }
        }
    }
    samples
}

fn worse(figure: &str, before: f64, now: f64) -> Option<bool> {
    let units = BTreeMap::from([(figure.to_string(), String::new())]);
    match measures::measures(&units).first()?.better {
        Better::Lower => Some(now > before),
        Better::Higher => Some(now < before),
        Better::Neither => None,
    }
}

/// Those that are significant all together, the surest first.
fn holm(mut tested: Vec<Change>) -> Vec<Change> {
    tested.sort_by(|a, b| a.p.total_cmp(&b.p));
    let all = tested.len();
    let sure = tested
        .iter()
        .enumerate()
        .take_while(|(i, c)| c.p <= LEVEL / (all - i) as f64);
    let sure = sure.count();
    tested.truncate(sure);
    tested
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// The least probability that so many runs can give.
fn least_p(n: usize, m: usize) -> f64 {
    let orders: f64 = (1..=m).map(|i| (n + i) as f64 / i as f64).product();
    2.0 / orders
}

/// How probable it is that ranks of two samples are as far apart as these or farther, if both are
/// of the same population: exact by counting where nothing is tied and there are few, else by the
/// normal distribution with the correction for ties.
fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    const FEW: usize = 400;
    let (n, m) = (a.len(), b.len());
    let mut u = 0.0;
    let mut tied = false;
    for x in a {
        for y in b {
            u += match x.total_cmp(y) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
            tied |= x == y;
        }
    }
    let far = f64::max(u, (n * m) as f64 - u);
    match !tied && n * m <= FEW {
        true => exact(n, m, far as usize),
        false => normal(a, b, far),
    }
}

/// P(U >= far or U <= nm - far).
fn exact(n: usize, m: usize, far: usize) -> f64 {
    // ways[j][u]: of i values of a and j of b, how many orders have this u; the recurrence takes
    // the greatest value away, which is above all j of b or adds nothing.
    let most = n * m;
    let mut ways = vec![vec![0.0f64; most + 1]; m + 1];
    for row in &mut ways {
        row[0] = 1.0;
    }
    for _ in 1..=n {
        let mut next = vec![vec![0.0; most + 1]; m + 1];
        for j in 0..=m {
            for u in 0..=most {
                let above = if u >= j { ways[j][u - j] } else { 0.0 };
                let below = if j > 0 { next[j - 1][u] } else { 0.0 };
                next[j][u] = above + below;
            }
        }
        ways = next;
    }
    let all: f64 = ways[m].iter().sum();
    let tail: f64 = ways[m][far..].iter().sum();
    (2.0 * tail / all).min(1.0)
}

fn normal(a: &[f64], b: &[f64], far: f64) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let mut all: Vec<f64> = [a, b].concat();
    all.sort_by(f64::total_cmp);
    let ties: f64 = all
        .chunk_by(|x, y| x == y)
        .map(|t| (t.len() as f64).powi(3) - t.len() as f64)
        .sum();
    let total = n + m;
    let variance = n * m / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    // Half a step back, for U has steps.
    let z = (far - n * m / 2.0 - 0.5).max(0.0) / variance.sqrt();
    (2.0 * above(z)).min(1.0)
}

/// The normal distribution's share above z: Abramowitz and Stegun, "Handbook of Mathematical
/// Functions", 26.2.17, off by less than 7.5e-8.
fn above(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(found: f64, wanted: f64) {
        assert!(
            (found - wanted).abs() < 0.5e-4 + wanted * 1e-3,
            "{found} is not {wanted}"
        );
    }

    /// By counting orders by hand, and by tables of the normal distribution.
    #[test]
    fn probabilities_are_those_that_counting_gives() {
        // All of a above all of b: one order of C(8,4) = 70 on either side.
        about(
            mann_whitney(&[5.0, 6.0, 7.0, 8.0], &[1.0, 2.0, 3.0, 4.0]),
            2.0 / 70.0,
        );
        // U = 8 of 9: 1 + 1 orders of 20 are as far on either side.
        about(mann_whitney(&[3.0, 5.0, 6.0], &[1.0, 2.0, 4.0]), 4.0 / 20.0);
        about(mann_whitney(&[1.0], &[2.0]), 1.0);
        about(mann_whitney(&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0]), 1.0);
        about(above(1.959_964), 0.025);
        about(above(0.0), 0.5);
        assert!(least_p(3, 3) > LEVEL);
        assert!(least_p(4, 4) < LEVEL);
    }

    /// The two ways agree where both can be taken.
    #[test]
    fn the_normal_distribution_comes_close_where_there_are_many() {
        let a: Vec<f64> = (0..20).map(|n| f64::from(n) * 1.37).collect();
        let b: Vec<f64> = (0..20).map(|n| f64::from(n) * 1.11 - 3.1).collect();
        let far = a
            .iter()
            .map(|x| b.iter().filter(|y| x > y).count())
            .sum::<usize>();
        let (exact, normal) = (exact(20, 20, far), normal(&a, &b, far as f64));
        assert!((exact - normal).abs() < 0.01, "{exact} {normal}");
    }

    /// Of a thousand nights in which nothing changed, so many report a change; and one that is
    /// there is reported.
    #[test]
    fn changes_are_seldom_reported_where_there_are_none_and_always_where_they_are_clear() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        let mut sample = |shift: f64| -> Vec<f64> {
            (0..8)
                .map(|_| random.random_range(0.0..1.0) + shift)
                .collect()
        };
        let change = |p| Change {
            combo: String::new(),
            figure: String::new(),
            before: 0.0,
            now: 0.0,
            runs_before: 8,
            runs_now: 8,
            p,
            worse: None,
        };
        let mut alarms = 0;
        for _ in 0..1000 {
            let tested = (0..10).map(|_| change(mann_whitney(&sample(0.0), &sample(0.0))));
            alarms += usize::from(!holm(tested.collect()).is_empty());
        }
        assert!(alarms <= 70, "{alarms}");
        let tested = (0..10).map(|n| {
            change(mann_whitney(
                &sample(if n == 3 { 2.0 } else { 0.0 }),
                &sample(0.0),
            ))
        });
        assert_eq!(holm(tested.collect()).len(), 1);
    }
}
