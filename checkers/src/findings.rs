//! Anomalies as they are found: every one is counted, and of each kind the first few are kept with
//! their evidence.

use history::wording::with_first;
use rustc_hash::FxHashMap;

use crate::{Analysis, Anomaly};

/// As many of each kind as a person will look at.
const MOST_OF_A_KIND: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<Anomaly>,
    counts: FxHashMap<String, usize>,
}

impl Findings {
    /// Counts a finding. Its evidence is made only if it is kept.
    pub fn add(&mut self, kind: &str, evidence: impl FnOnce() -> Anomaly) {
        let count = match self.counts.get_mut(kind) {
            Some(count) => count,
            None => self.counts.entry(kind.to_string()).or_default(),
        };
        *count += 1;
        if *count <= MOST_OF_A_KIND {
            self.kept.push(Anomaly {
                kind: kind.to_string(),
                ..evidence()
            });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.counts.values().sum()
    }

    /// `3 anomalies, the first: stale read`
    pub fn told(&self) -> String {
        let first = self.kept.first().map_or("", |first| first.kind.as_str());
        with_first(self.count(), "anomaly", first)
    }

    /// By the last invocation that they name: a finding is there to be seen when that is made.
    pub fn sort_by_time(&mut self) {
        self.kept
            .sort_by_key(|anomaly| anomaly.ops.iter().copied().max());
    }

    /// Puts the findings into an analysis, which they make invalid if there are any.
    pub fn into_analysis(self, analysis: Analysis) -> Analysis {
        let all = self.count();
        analysis.with_anomalies(self.kept, all)
    }
}
