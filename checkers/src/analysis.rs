//! What a checker found.

use serde::{Deserialize, Serialize};

use crate::figure::Figure;
use crate::picture::Picture;
use crate::{Stretch, Verdict};

/// The result of one checker on one history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The checker's name.
    pub checker: String,
    pub verdict: Verdict,
    /// Whether nothing could have been wrong: what was found is measured and not judged, and the
    /// verdict says no more than that it could be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub measured: bool,
    /// One sentence: what was checked and how it came out, or why it could not be decided.
    pub summary: String,
    /// What speaks against the history, the most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
    /// How many findings there are besides those, which are shown with their evidence.
    #[serde(default, skip_serializing_if = "is_none")]
    pub untold: usize,
    /// What was measured on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

/// One finding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// Its name in the literature: `stale read`, `lost update`, `G1c`.
    pub kind: String,
    /// Which object it concerns, where a history has many: the key, the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Indices of the invocations to point at, few, in the order in which the sentence names them.
    pub ops: Vec<u64>,
    /// Why these operations cannot all be right, in one or two sentences.
    pub reason: String,
    /// The part of the history in which they cannot be ordered, if they could be elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stretch: Option<Stretch>,
    /// What to draw, where the operations do not show it by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Box<Picture>>,
}

impl Analysis {
    fn new(checker: &str, verdict: Verdict, summary: String) -> Analysis {
        Analysis {
            checker: checker.to_string(),
            verdict,
            measured: false,
            summary,
            anomalies: Vec::new(),
            untold: 0,
            figures: Vec::new(),
        }
    }

    /// All anomalies that were found, shown or not.
    pub fn found(&self) -> usize {
        self.anomalies.len() + self.untold
    }

    pub fn valid(checker: &str, summary: impl Into<String>) -> Analysis {
        Analysis::new(checker, Verdict::Valid, summary.into())
    }

    /// What has no verdict of its own to give: how much was served, how old answers were.
    pub fn measured(checker: &str, summary: impl Into<String>) -> Analysis {
        Analysis {
            measured: true,
            ..Analysis::valid(checker, summary)
        }
    }

    /// The verdict's word, or `measured` where valid would claim more than was judged.
    pub fn word(&self) -> &'static str {
        match self.measured {
            true => "measured",
            false => self.verdict.word(),
        }
    }

    pub fn unknown(checker: &str, why: impl Into<String>) -> Analysis {
        Analysis::new(checker, Verdict::Unknown, why.into())
    }

    pub fn vacuous(checker: &str, why: impl Into<String>) -> Analysis {
        Analysis::new(checker, Verdict::Vacuous, why.into())
    }

    pub fn infra(checker: &str, why: impl Into<String>) -> Analysis {
        Analysis::new(checker, Verdict::Infra, why.into())
    }

    /// Invalid if there is any anomaly, else valid.
    pub fn of_anomalies(
        checker: &str,
        summary: impl Into<String>,
        anomalies: Vec<Anomaly>,
    ) -> Analysis {
        let all = anomalies.len();
        Analysis::valid(checker, summary).with_anomalies(anomalies, all)
    }

    /// Adds these anomalies, of which there are so many in all. If there is any, the verdict is
    /// invalid.
    pub fn with_anomalies(mut self, anomalies: Vec<Anomaly>, all: usize) -> Analysis {
        if !anomalies.is_empty() {
            self.verdict = Verdict::Invalid;
        }
        self.untold += all.saturating_sub(anomalies.len());
        self.anomalies.extend(anomalies);
        self
    }

    pub fn with_figure(mut self, figure: Figure) -> Analysis {
        self.figures.push(figure);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_counted_and_stays_so_when_it_is_read_again() {
        let all = Analysis::valid("set", "").with_anomalies(vec![Anomaly::default()], 14);
        assert_eq!((all.verdict, all.found()), (Verdict::Invalid, 14));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Analysis>(&text).unwrap(), all);
        let none = Analysis::valid("set", "").with_anomalies(Vec::new(), 0);
        assert_eq!((none.verdict, none.found()), (Verdict::Valid, 0));
    }

    #[test]
    fn what_was_measured_is_not_called_valid_and_is_so_when_it_is_read_again() {
        let measured = Analysis::measured("staleness", "3 of 4 reads were certainly stale");
        assert_eq!(
            (measured.verdict, measured.word()),
            (Verdict::Valid, "measured")
        );
        let text = serde_json::to_string(&measured).unwrap();
        assert_eq!(serde_json::from_str::<Analysis>(&text).unwrap(), measured);
        let valid = Analysis::valid("set", "");
        assert_eq!(valid.word(), "valid");
        assert!(!serde_json::to_string(&valid).unwrap().contains("measured"));
    }
}
