//! The nemesis's own events, read back as spans of time.
//!
//! Every fault is four events of process `nemesis`, all carrying a [`Note`] as their value:
//!
//! ```text
//! invoke f=partition {fault 3, action "inject", label "majority | minority", targets [..]}
//! ok     f=partition {fault 3, action "inject", ..., receipt {..}}     the fault is in force
//! invoke f=partition {fault 3, action "heal"}
//! ok     f=partition {fault 3, action "heal", receipt {..}}            it is undone
//! ```
//!
//! `fail` in place of `ok` means that it could not be done (or undone); `info` that it was passed
//! over, because there was nobody to do it to, such as no leader, or because its time was over
//! before it could begin. A fault with no span of its own (kill and restart of a daemon) is the
//! time from kill to restart.

use serde::{Deserialize, Serialize};

use crate::{Event, History, Kind, Name, Process, Time};

/// What the nemesis did in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Inject,
    Heal,
}

/// The value of a nemesis event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Number of the fault in the schedule, from 0.
    pub fault: u64,
    pub action: Action,
    /// One line for people: `majority [n1 n2 n3] | minority [n4 n5]`.
    pub label: String,
    /// Nodes that the fault acts on.
    #[serde(default)]
    pub targets: Vec<Name>,
    /// What it takes away while it is in force, for whoever judges whether the rest sufficed.
    #[serde(default, skip_serializing_if = "Loss::is_empty")]
    pub loss: Loss,
    /// Evidence by a second path that it took hold, or that it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// When the first agent said that it had done its part, in nanoseconds of the history. The
    /// event itself is later: it waits for all agents, and for the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_ns: Option<u64>,
}

/// What a fault takes away from the nodes' protocol. What it only makes slow, wrong or unlikely (a
/// clock, a share of the packets, answers to clients) is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Nodes whose daemon does not run, or not all of the time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub down: Vec<Name>,
    /// A node, and one that it does not hear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deaf: Vec<(Name, Name)>,
}

impl Loss {
    pub fn is_empty(&self) -> bool {
        self.down.is_empty() && self.deaf.is_empty()
    }
}

/// Evidence by a second path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whether the evidence shows what the action wanted.
    pub held: bool,
    /// How it was seen, one line for each observation: `n1 -> n4: no answer in 200 ms (probe)`.
    pub evidence: Vec<String>,
    /// Of a healing: why the fault had not been in force after all, or could not act on anything,
    /// whatever its injection showed. It takes that receipt back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub void: Vec<String>,
    /// Of a healing: what was done stays, for nothing undoes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays: bool,
}

/// One fault, from injection to healing.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub fault: u64,
    /// `partition`, `pause`, `kill`, `clock`, `packet`, ...
    pub family: Name,
    pub label: String,
    pub targets: Vec<Name>,
    pub loss: Loss,
    /// When injection began.
    pub from: Time,
    /// From when it was in force in part: when the first agent said that it had done its own; where
    /// nobody recorded that, as `held_from`.
    pub in_force: Option<Time>,
    /// When its receipt said that it was in force as a whole; none if it never was.
    pub held_from: Option<Time>,
    /// When healing was finished; [`Time::MAX`] if it never was.
    pub until: Time,
    /// When it was to begin and to be healed by the schedule, where the history says so.
    pub due: Option<Time>,
    pub heal_due: Option<Time>,
    pub inject: Option<Receipt>,
    pub heal: Option<Receipt>,
    /// What went wrong with the injection or the healing.
    pub error: Option<String>,
    /// It was passed over: there was nobody to do it to, or its time was over.
    pub skipped: bool,
}

impl Span {
    /// Whether the evidence says that the fault was in force, and nothing seen at its end speaks
    /// against that.
    pub fn held(&self) -> bool {
        self.held_from.is_some()
            && self.inject.as_ref().is_some_and(|r| r.held)
            && self.void().is_empty()
    }

    /// What was seen at its end that takes the injection's receipt back.
    pub fn void(&self) -> &[String] {
        self.heal.as_ref().map_or(&[], |receipt| &receipt.void)
    }

    pub fn healed(&self) -> bool {
        self.until != Time::MAX
    }

    /// `kill n1`, `partition: n1 | n2 n3`: the label, behind its family where it does not begin
    /// with it.
    pub fn told(&self) -> String {
        match self.label.starts_with(self.family.as_str()) {
            true => self.label.clone(),
            false if self.label.is_empty() => self.family.to_string(),
            false => format!("{}: {}", self.family, self.label),
        }
    }
}

impl Note {
    /// The note of a nemesis event; none if the event is a client's or carries something else.
    pub fn of(event: &Event) -> Option<Note> {
        match event.process {
            Process::Nemesis => event.value.to_serde().ok(),
            Process::Client(_) => None,
        }
    }
}

/// Every fault of a history, by the time of its injection.
pub fn spans(history: &History) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let columns = history.columns();
    let nemesis = columns
        .rows()
        .filter(|row| row.process() == Process::Nemesis);
    for event in nemesis.map(|row| columns.event(row)) {
        let Some(note) = Note::of(&event) else {
            continue;
        };
        let known = spans.iter_mut().rev().find(|s| s.fault == note.fault);
        match (note.action, event.kind, known) {
            (Action::Inject, Kind::Invoke, None) => spans.push(Span {
                fault: note.fault,
                family: event.f.clone(),
                label: note.label,
                targets: note.targets,
                loss: note.loss,
                from: event.time,
                in_force: None,
                held_from: None,
                until: Time::MAX,
                due: event.due,
                heal_due: None,
                inject: None,
                heal: None,
                error: None,
                skipped: false,
            }),
            (Action::Inject, kind, Some(span)) => {
                if kind == Kind::Ok {
                    span.held_from = Some(event.time);
                    span.in_force = Some(note.in_force_ns.map_or(event.time, Time).min(event.time));
                    // What a target such as "the leader" turned out to be is known only now.
                    span.label = note.label;
                    span.targets = note.targets;
                    span.loss = note.loss;
                }
                if kind == Kind::Info {
                    span.skipped = true;
                    span.until = event.time;
                }
                span.inject = note.receipt.or(span.inject.take());
                span.error = event.error.clone().or(span.error.take());
            }
            (Action::Heal, kind, Some(span)) => {
                if kind == Kind::Ok {
                    span.until = event.time;
                }
                span.heal_due = event.due.or(span.heal_due);
                span.heal = note.receipt.or(span.heal.take());
                // Whoever asks why it did not hold looks at the injection's evidence.
                if let (Some(inject), Some(heal)) = (&mut span.inject, &span.heal) {
                    let void = heal.void.iter().cloned();
                    inject.evidence.splice(0..0, void);
                }
                span.error = event.error.clone().or(span.error.take());
            }
            (_, _, None) => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    /// What was seen at the end takes back what was seen at the beginning, and says why.
    #[test]
    fn a_fault_that_its_end_finds_void_has_not_held() {
        let event = |index: u64, kind, action, receipt: Option<Receipt>| Event {
            index,
            time: Time(index),
            process: Process::Nemesis,
            kind,
            f: "clock".into(),
            value: Value::from_serde(&Note {
                fault: 0,
                action,
                label: "clock of n1".into(),
                targets: vec!["n1".into()],
                loss: Loss::default(),
                in_force_ns: None,
                receipt,
            })
            .expect("a note has text keys"),
            error: None,
            node: None,
            version: None,
            due: None,
        };
        let held = Receipt {
            held: true,
            evidence: vec!["off by an hour".into()],
            ..Receipt::default()
        };
        for void in [vec![], vec!["n1: never asked".to_string()]] {
            let healed = Receipt {
                void: void.clone(),
                ..held.clone()
            };
            let events = vec![
                event(0, Kind::Invoke, Action::Inject, None),
                event(1, Kind::Ok, Action::Inject, Some(held.clone())),
                event(2, Kind::Invoke, Action::Heal, None),
                event(3, Kind::Ok, Action::Heal, Some(healed)),
            ];
            let spans = spans(&History::new(events).expect("a history"));
            let [span] = spans.as_slice() else {
                panic!("{spans:?}");
            };
            assert_eq!(span.held(), void.is_empty());
            assert_eq!(span.void(), void);
            assert!(span.healed() && span.heal.as_ref().is_some_and(|r| r.held));
            let first = void.first().unwrap_or(&held.evidence[0]);
            let inject = span.inject.as_ref().expect("a receipt");
            assert_eq!(&inject.evidence[0], first);
        }
    }
}
