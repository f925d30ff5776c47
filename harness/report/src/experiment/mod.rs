//! Many runs on one page: two systems side by side, or one along a parameter.
//!
//! Nothing here knows a figure by name. Whoever asks says which [`Measure`]s there are; what an arm
//! does not have is "not applicable" and never zero. No single run speaks: every number is a
//! median over seeds with its interval ([`spread`]).

mod compare;
pub(crate) mod panel;
mod reading;
mod sheet;
mod spread;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};

pub use checkers::Better;
use checkers::Verdict;
use serde::Serialize;

pub use reading::Reading;
pub use spread::Spread;

use crate::text::harmless;

/// Something that was measured in every run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// The key of [`Trial::figures`].
    pub id: String,
    /// For people: `latency of read, p99`.
    pub label: String,
    pub unit: String,
    pub better: Better,
    /// Shown as a picture too; the others are in the tables.
    pub headline: bool,
    /// The measure of how much was left out of this one: a share in per cent, shown beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bent_by: Option<String>,
    /// What exactly it is; empty if the label says it all.
    pub about: String,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    pub seed: u64,
    /// The run's folder; empty if there is none.
    pub run: String,
    /// None if there was no result.
    pub verdict: Option<Verdict>,
    /// Kinds of its anomalies, each once.
    pub anomalies: Vec<String>,
    /// Measures by their id. Empty if the harness could not do its work: then they mean nothing.
    pub figures: BTreeMap<String, f64>,
    /// Those of them that are at least so large, since what they measure had not ended.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub bounds: BTreeSet<String>,
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Runs that differ in nothing but their seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Arm {
    pub name: String,
    pub trials: Vec<Trial>,
}

/// Arms under the same faults.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The faults: `partition`.
    pub name: String,
    pub arms: Vec<Arm>,
}

/// The same seeds with and without the clock's faults.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClockTest {
    /// The system.
    pub system: String,
    pub without: Arm,
    pub with: Arm,
    /// By which the system lets time in, as it says itself.
    pub rules: Vec<Rule>,
}

/// A rule of a system by which a clock can change what it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// The measure in which it shows.
    pub measure: String,
    /// One sentence.
    pub text: String,
    /// The measure that counts how often it decided, if anybody counts it.
    pub uses: Option<String>,
}

/// How often a rule decided, with the clock's faults and without.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Uses {
    pub measure: String,
    /// The rule's sentence.
    pub text: String,
    /// Seeds under which it decided more often with the clock's faults, of so many that tell.
    pub rose: usize,
    pub of: usize,
    /// In all runs together.
    pub without: f64,
    pub with: f64,
}

/// Two systems under the same faults.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub systems: [String; 2],
    /// What was asked, as names and values, for the head of the page.
    pub asked: Vec<(String, String)>,
    pub seeds: Vec<u64>,
    pub measures: Vec<Measure>,
    pub groups: Vec<Group>,
    pub clock: Vec<ClockTest>,
    /// The command that repeats it.
    pub command: String,
}

/// One value of a swept parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// In the parameter's unit.
    pub value: f64,
    /// As it was given to the system: `250ms`.
    pub text: String,
    pub arm: Arm,
}

/// One system along a parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    pub system: String,
    /// `election-timeout`.
    pub parameter: String,
    /// What the parameter's values are counted in; empty for mere numbers.
    pub unit: String,
    /// Whether values are spaced by a factor.
    pub log: bool,
    pub asked: Vec<(String, String)>,
    pub seeds: Vec<u64>,
    pub measures: Vec<Measure>,
    /// By value.
    pub points: Vec<Point>,
    /// The measures that the best value is looked for in; see [`Valley`].
    pub valleys: Vec<Valley>,
    pub command: String,
}

/// Where a curve is best, and how far from there it makes no difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Valley {
    /// The measure's id.
    pub measure: String,
    /// Places in [`Sweep::points`].
    pub best: usize,
    /// The points around the best, without a gap, whose medians are within 10 % of the best one's.
    pub near: (usize, usize),
    /// The points around the best, without a gap, that are not surely worse than it, seed by seed.
    /// None if there are too few seeds to be sure of anything.
    pub noise: Option<(usize, usize)>,
}

/// The page of a comparison, complete.
pub fn compare(comparison: &Comparison) -> String {
    harmless(compare::page(comparison))
}

/// The page of a sweep, complete.
pub fn sweep(sweep: &Sweep) -> String {
    harmless(sweep::page(sweep))
}

impl Arm {
    /// A measure's values with their seeds; runs that lack it are left out.
    pub fn values(&self, measure: &str) -> Vec<(u64, f64)> {
        let of = |t: &Trial| Some((t.seed, *t.figures.get(measure)?));
        self.trials.iter().filter_map(of).collect()
    }

    /// The same with what is known of each.
    fn readings(&self, measure: &str) -> impl Iterator<Item = (u64, Reading)> {
        self.trials.iter().filter_map(move |trial| {
            let value = *trial.figures.get(measure)?;
            let reading = match trial.bounds.contains(measure) {
                true => Reading::at_least(value),
                false => Reading::from(value),
            };
            Some((trial.seed, reading))
        })
    }

    /// How much was left out of a measure, in per cent, if it is worth a word.
    pub fn left_out(&self, measure: &Measure) -> Option<f64> {
        const NEXT_TO_NOTHING: f64 = 0.05;
        let share = self.spread(measure.bent_by.as_ref()?)?.median.shown();
        (share >= NEXT_TO_NOTHING).then_some(share)
    }

    /// None: not applicable.
    pub fn spread(&self, measure: &str) -> Option<Spread> {
        Spread::of(self.readings(measure).map(|(_, reading)| reading))
    }

    /// By how much this arm is above `other`, seed by seed.
    pub fn above(&self, other: &Arm, measure: &str) -> Option<Spread> {
        let theirs: BTreeMap<u64, Reading> = other.readings(measure).collect();
        let mine = self.readings(measure);
        Spread::of(mine.filter_map(|(seed, v)| Some(v - *theirs.get(&seed)?)))
    }

    /// How many runs came to each verdict, the worst first; `None` is no result.
    pub fn verdicts(&self) -> Vec<(Option<Verdict>, usize)> {
        let all = [None]
            .into_iter()
            .chain(Verdict::ALL.map(Some).into_iter().rev());
        all.map(|v| (v, self.trials.iter().filter(|t| t.verdict == v).count()))
            .filter(|(_, n)| *n > 0)
            .collect()
    }

    /// In how many runs each kind of anomaly was found, the most frequent first.
    pub fn anomalies(&self) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for kind in self.trials.iter().flat_map(|t| &t.anomalies) {
            *counts.entry(kind).or_default() += 1;
        }
        let mut counts: Vec<_> = counts
            .into_iter()
            .map(|(k, n)| (k.to_string(), n))
            .collect();
        counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        counts
    }
}

impl ClockTest {
    /// Seeds whose verdict is another with the clock's faults, with both verdicts.
    pub fn flips(&self) -> Vec<(u64, Verdict, Verdict)> {
        let flip = |with: &Trial| {
            let without = self.without.trials.iter().find(|t| t.seed == with.seed)?;
            let pair = (without.verdict?, with.verdict?);
            // That the harness failed says nothing of the system.
            let told = pair.0 != Verdict::Infra && pair.1 != Verdict::Infra;
            (told && pair.0 != pair.1).then_some((with.seed, pair.0, pair.1))
        };
        self.with.trials.iter().filter_map(flip).collect()
    }

    /// The rule that the system names for a measure.
    pub fn rule(&self, measure: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.measure == measure)
    }

    /// What the counted rules did, each once.
    pub fn uses(&self) -> Vec<Uses> {
        let mut all: Vec<Uses> = Vec::new();
        for rule in &self.rules {
            if let Some(uses) = self.uses_of(rule)
                && !all.contains(&uses)
            {
                all.push(uses);
            }
        }
        all
    }

    /// None if nobody counts it, or no seed has the count in both its runs.
    pub fn uses_of(&self, rule: &Rule) -> Option<Uses> {
        let measure = rule.uses.as_ref()?;
        let without: BTreeMap<u64, f64> = self.without.values(measure).into_iter().collect();
        let with = self.with.values(measure).into_iter();
        let pairs: Vec<(f64, f64)> = with
            .filter_map(|(seed, with)| Some((*without.get(&seed)?, with)))
            .collect();
        (!pairs.is_empty()).then(|| Uses {
            measure: measure.clone(),
            text: rule.text.clone(),
            rose: pairs
                .iter()
                .filter(|(without, with)| with > without)
                .count(),
            of: pairs.len(),
            without: pairs.iter().map(|(without, _)| without).sum(),
            with: pairs.iter().map(|(_, with)| with).sum(),
        })
    }

    /// Whether the rule that is named for a measure is ruled out by its own count: it decided no
    /// more often with the clock's faults.
    pub fn ruled_out(&self, rule: &Rule) -> bool {
        self.uses_of(rule).is_some_and(|uses| uses.rose == 0)
    }
}

impl Valley {
    /// Of the medians along the sweep. None if no point has the measure, or none is better than
    /// another.
    pub fn of(points: &[Point], measure: &Measure) -> Option<Valley> {
        // A median that is known in part counts as the worst that it may be: what never ended is
        // not best.
        let (sign, worst): (f64, fn(&Reading) -> f64) = match measure.better {
            Better::Lower => (1.0, |median| median.most),
            Better::Higher => (-1.0, |median| median.least),
            Better::Neither => return None,
        };
        let median = |p: &Point| p.arm.spread(&measure.id).map(|s| worst(&s.median));
        let medians = || {
            let all = points.iter().enumerate();
            all.filter_map(|(i, p)| Some((i, sign * median(p)?)))
        };
        let (best, least) = medians().min_by(|a, b| a.1.total_cmp(&b.1))?;
        if medians().all(|(_, m)| m == least) || !least.is_finite() {
            return None;
        }
        let around = |holds: &dyn Fn(&Point) -> bool| {
            let below = points[..best].iter().rev().take_while(|p| holds(p)).count();
            let above = points[best + 1..].iter().take_while(|p| holds(p)).count();
            (best - below, best + above)
        };
        let bound = least + 0.1 * least.abs();
        let near = around(&|p| median(p).is_some_and(|m| sign * m <= bound));
        let sure = points[best].arm.spread(&measure.id)?.is_sure();
        let noise = sure.then(|| {
            around(&|p| {
                let worse = p.arm.above(&points[best].arm, &measure.id);
                worse.is_some_and(|s| !(s.differs() && sign * s.median.shown() > 0.0))
            })
        });
        Some(Valley {
            measure: measure.id.clone(),
            best,
            near,
            noise,
        })
    }
}

/// A number with about three digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value == 0.0 => "0".into(),
        _ if size >= 99.95 => crate::text::signed(value.round()),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if size >= 0.0995 => format!("{value:.2}"),
        _ if size >= 0.000_995 => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(values: &[f64]) -> Arm {
        let trials = values.iter().zip(1..).map(|(value, seed)| Trial {
            seed,
            run: String::new(),
            verdict: Some(Verdict::Valid),
            anomalies: vec![],
            figures: BTreeMap::from([("wait".to_string(), *value)]),
            bounds: BTreeSet::new(),
            error: None,
        });
        Arm {
            name: String::new(),
            trials: trials.collect(),
        }
    }

    fn wait(better: Better) -> Measure {
        Measure {
            id: "wait".into(),
            label: "wait".into(),
            unit: "s".into(),
            better,
            headline: true,
            bent_by: None,
            about: String::new(),
        }
    }

    fn points(medians: &[f64]) -> Vec<Point> {
        let point = |m: &f64| Point {
            value: 0.0,
            text: String::new(),
            arm: arm(&[*m; 6]),
        };
        medians.iter().map(point).collect()
    }

    #[test]
    fn what_is_lacking_is_lacking_and_not_zero() {
        let mut few = arm(&[1.0, 2.0, 3.0]);
        few.trials[1].figures.clear();
        assert_eq!(few.values("wait"), [(1, 1.0), (3, 3.0)]);
        assert_eq!(few.spread("other"), None);
        // Only seeds that both have are compared.
        let above = arm(&[5.0, 5.0, 5.0]).above(&few, "wait").unwrap();
        assert_eq!(
            (above.n, above.low, above.high),
            (2, 2.0.into(), 4.0.into())
        );
    }

    #[test]
    fn what_never_ended_is_neither_best_nor_surely_the_same() {
        let mut never = arm(&[1.0; 6]);
        for trial in &mut never.trials {
            trial.bounds.insert("wait".into());
        }
        let ended = arm(&[3.0; 6]);
        assert_eq!(never.spread("wait").unwrap().median, Reading::at_least(1.0));
        // At least 1 against 3: nobody knows which is longer.
        let above = never.above(&ended, "wait").unwrap();
        assert!(!above.differs() && above.median == Reading::at_least(-2.0));
        // At least 1 against 0.5: surely longer.
        assert!(never.above(&arm(&[0.5; 6]), "wait").unwrap().differs());
        let curve = [never, ended, arm(&[4.0; 6])].map(|arm| Point {
            value: 0.0,
            text: String::new(),
            arm,
        });
        assert_eq!(Valley::of(&curve, &wait(Better::Lower)).unwrap().best, 1);
        assert_eq!(Valley::of(&curve[..1], &wait(Better::Lower)), None);
    }

    #[test]
    fn what_was_left_out_is_told_where_it_is_not_next_to_nothing() {
        let mut arm = arm(&[1.0; 6]);
        let bent = Measure {
            bent_by: Some("not offered".into()),
            ..wait(Better::Lower)
        };
        assert_eq!(arm.left_out(&bent), None);
        for (share, told) in [(0.01, None), (12.0, Some(12.0))] {
            for trial in &mut arm.trials {
                trial.figures.insert("not offered".into(), share);
            }
            assert_eq!(arm.left_out(&bent), told);
        }
        assert_eq!(arm.left_out(&wait(Better::Lower)), None);
    }

    #[test]
    fn a_rule_that_decided_no_more_often_is_no_cause() {
        let rule = |measure: &str, uses: Option<&str>| Rule {
            measure: measure.into(),
            text: "a sentence".into(),
            uses: uses.map(Into::into),
        };
        let of = |without: &[f64], with: &[f64]| ClockTest {
            system: String::new(),
            without: arm(without),
            with: arm(with),
            rules: vec![
                rule("forks", Some("wait")),
                rule("depth", Some("wait")),
                rule("growth", None),
            ],
        };
        let test = of(&[0.0, 4.0, 1.0], &[3.0, 4.0, 2.0]);
        let uses = test.uses();
        assert_eq!(uses.len(), 1, "a count is told once: {uses:?}");
        let Uses {
            rose,
            of: seeds,
            without,
            with,
            ..
        } = uses[0];
        assert_eq!((rose, seeds, without, with), (2, 3, 5.0, 9.0));
        assert!(!test.ruled_out(test.rule("forks").unwrap()));
        // In all it decided more often, but under no seed because of the clock: seeds 3 are not
        // compared.
        let test = of(&[4.0, 4.0], &[3.0, 4.0, 2.0]);
        assert!(test.ruled_out(test.rule("depth").unwrap()));
        // What nobody counts is not ruled out, and no seed that tells is no count of zero.
        assert!(!test.ruled_out(test.rule("growth").unwrap()));
        let untold = of(&[], &[1.0]);
        assert_eq!(untold.uses(), []);
        assert!(!untold.ruled_out(untold.rule("forks").unwrap()));
    }

    #[test]
    fn a_valley_has_no_gap_and_its_bounds_are_what_they_say() {
        let curve = points(&[9.0, 1.05, 3.0, 1.0, 1.05, 1.2, 1.05]);
        let valley = Valley::of(&curve, &wait(Better::Lower)).unwrap();
        assert_eq!((valley.best, valley.near), (3, (3, 4)));
        // Every seed is worse anywhere else: there is no noise.
        assert_eq!(valley.noise, Some((3, 3)));
        let valley = Valley::of(&curve, &wait(Better::Higher)).unwrap();
        assert_eq!((valley.best, valley.near), (0, (0, 0)));
        assert_eq!(Valley::of(&curve, &wait(Better::Neither)), None);
        assert_eq!(Valley::of(&points(&[2.0; 4]), &wait(Better::Lower)), None);
        // Of nothing, ten per cent is nothing.
        let valley = Valley::of(&points(&[0.0, 0.0, 0.1]), &wait(Better::Lower)).unwrap();
        assert_eq!(valley.near, (0, 1));
    }

    #[test]
    fn what_differs_from_the_best_in_some_seeds_only_is_noise() {
        let mut curve = points(&[1.0, 2.0]);
        curve[1].arm = arm(&[9.0, 9.0, 9.0, 9.0, 9.0, 0.5]);
        let valley = Valley::of(&curve, &wait(Better::Lower)).unwrap();
        assert_eq!(
            (valley.best, valley.near, valley.noise),
            (0, (0, 0), Some((0, 1)))
        );
    }

    #[test]
    fn of_few_seeds_nobody_knows_what_is_noise() {
        let mut curve = points(&[1.0, 2.0]);
        for point in &mut curve {
            point.arm.trials.truncate(5);
        }
        let valley = Valley::of(&curve, &wait(Better::Lower)).unwrap();
        assert_eq!((valley.best, valley.noise), (0, None));
    }

    #[test]
    fn numbers_have_about_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1234.6, "1,235"),
            (-1234.6, "-1,235"),
            (99.96, "100"),
            (42.04, "42.0"),
            (-3.456, "-3.46"),
            (0.1, "0.10"),
            (0.0123, "0.0123"),
            (0.000012, "1.2e-5"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
