//! What was seen of a fault, and what follows from it.

use agent::protocol::Evidence;
use harness::control::ControlError;
use history::Name;
use history::fault::Receipt;

/// Evidence as it comes in. One contradiction is enough: then the receipt does not hold.
#[derive(Debug, Default)]
pub(crate) struct Sights {
    lines: Vec<String>,
    contradicted: bool,
    /// Where looking itself failed.
    unseen: Vec<String>,
    /// Why the fault was none, as seen at its end.
    void: Vec<String>,
}

impl Sights {
    pub fn agrees(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    pub fn contradicts(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
        self.contradicted = true;
    }

    /// A line that says nothing for or against.
    pub fn note(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    pub fn see(&mut self, agrees: bool, line: impl Into<String>) {
        match agrees {
            true => self.agrees(line),
            false => self.contradicts(line),
        }
    }

    /// Seen at the fault's end: it had not been in force after all, or there was nothing to act on.
    pub fn voids(&mut self, line: impl Into<String>) {
        self.void.push(line.into());
    }

    /// Looks just before the healing: what contradicts the fault then, takes it back.
    pub fn take_back(&mut self, seen: Sights) {
        match seen.contradicted {
            true => self.void.extend(seen.lines),
            false => self.lines.extend(seen.lines),
        }
        self.lines.extend(seen.unseen);
    }

    /// What was seen elsewhere, after what is here.
    pub fn merge(&mut self, other: Sights) {
        self.lines.extend(other.lines);
        self.contradicted |= other.contradicted;
        self.unseen.extend(other.unseen);
        self.void.extend(other.void);
    }

    /// An agent's own evidence.
    pub fn agent(&mut self, node: &Name, evidence: Evidence) {
        self.contradicted |= !evidence.held;
        if evidence.evidence.is_empty() {
            self.lines.push(match evidence.held {
                true => format!("{node}: the agent says so"),
                false => format!("{node}: the agent saw no effect"),
            });
        }
        for line in evidence.evidence {
            self.lines.push(format!("{node}: {line}"));
        }
        let void = evidence.void.into_iter();
        self.void.extend(void.map(|why| format!("{node}: {why}")));
    }

    /// Looking itself failed: what was not seen does not count as seen.
    pub fn blind(&mut self, error: &ControlError) {
        self.unseen.push(format!("no evidence: {error}"));
    }

    pub fn agree(&self) -> bool {
        !self.contradicted && self.unseen.is_empty()
    }

    pub fn receipt(mut self) -> Receipt {
        let held = self.agree();
        self.lines.append(&mut self.unseen);
        Receipt {
            held,
            evidence: self.lines,
            void: self.void,
            stays: false,
        }
    }
}
