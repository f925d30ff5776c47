//! What a schedule may not say: times out of order, nodes that do not exist, faults that would undo
//! each other.

use std::time::Duration;

use harness::units::write_duration;
use history::Name;

use super::{Entry, Schedule};
use crate::family::{Grip, What};
use crate::figure::Wrong;
use crate::targets::{Targets, join};

/// To look whether a fault took hold takes about so long, on an idle machine. What is shorter
/// cannot be known to have been there for the time that it says.
pub const LEAST_LENGTH: Duration = Duration::from_millis(100);
/// Nobody reads more complaints than these.
pub const ENOUGH: usize = 100;

/// Something wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which entry, from 0.
    pub entry: usize,
    /// The key of the file at which to look.
    pub key: &'static str,
    pub message: String,
    pub hint: Option<String>,
}

impl Schedule {
    /// What is wrong with it on these nodes, and of very much the first. A drawn schedule has
    /// nothing wrong.
    pub fn check(&self, nodes: &[Name]) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for (i, entry) in self.entries.iter().enumerate() {
            if complaints.len() >= ENOUGH {
                break;
            }
            let mut complain = |key, message: String, hint: Option<&str>| {
                complaints.push(Complaint {
                    entry: i,
                    key,
                    message,
                    hint: hint.map(str::to_string),
                });
            };
            if let Err((key, message)) = check_alone(entry, nodes) {
                complain(key, message, None);
            }
            if i > 0 && entry.at < self.entries[i - 1].at {
                let message = format!(
                    "begins at {}, before the fault above it ({})",
                    write_duration(entry.at),
                    write_duration(self.entries[i - 1].at)
                );
                complain(
                    "at",
                    message,
                    Some("faults stand in the order of their times"),
                );
            }
        }
        let left = ENOUGH.saturating_sub(complaints.len());
        complaints.extend(self.overlaps(nodes).take(left));
        complaints.sort_by_key(|complaint| complaint.entry);
        complaints
    }

    /// Faults that cannot be in force together. Of a long schedule only those are compared that
    /// are: it is walked in the order of its times, with what is in force then.
    fn overlaps<'a>(&'a self, nodes: &'a [Name]) -> impl Iterator<Item = Complaint> + 'a {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|i| self.entries[*i].at);
        let mut in_force: Vec<usize> = Vec::new();
        order.into_iter().flat_map(move |next| {
            let begins = self.entries[next].at;
            in_force.retain(|i| self.entries[*i].ends().is_none_or(|end| begins < end));
            let mut found = Vec::new();
            for other in &in_force {
                let (i, j) = (next.max(*other), next.min(*other));
                let (earlier, later) = (&self.entries[j], &self.entries[i]);
                if !overlap(earlier, later) {
                    continue;
                }
                if let Some((why, hint)) = conflict(earlier, later, nodes) {
                    found.push(Complaint {
                        entry: i,
                        key: "at",
                        message: format!("overlaps fault {}: {why}", j + 1),
                        hint: Some(hint.to_string()),
                    });
                }
            }
            in_force.push(next);
            found
        })
    }
}

/// What can be said of an entry without its neighbours: the key at fault, and why.
fn check_alone(entry: &Entry, nodes: &[Name]) -> Result<(), Wrong> {
    if let Some(lasts) = entry.lasts.filter(|lasts| *lasts < LEAST_LENGTH) {
        let (lasts, least) = (write_duration(lasts), write_duration(LEAST_LENGTH));
        let why =
            format!("{lasts} is too short to see whether it takes hold: {least} is the least");
        return Err(("lasts", why));
    }
    entry.what.check(nodes, entry.lasts)
}

fn overlap(a: &Entry, b: &Entry) -> bool {
    a.ends().is_none_or(|end| b.at < end) && b.ends().is_none_or(|end| a.at < end)
}

/// Why two faults cannot be in force together, and what to do.
fn conflict(earlier: &Entry, later: &Entry, nodes: &[Name]) -> Option<(String, &'static str)> {
    const FOLLOW: &str = "name other targets, or let them follow each other";
    let family = later.what.family;
    if earlier.what.family == family {
        return Some((
            format!("two faults of one family ({family}) would undo each other"),
            "let the first end before the second begins",
        ));
    }
    let grips = [earlier.what.shape.grip, later.what.shape.grip];
    let has = |grip: Grip| grips.contains(&grip);
    if has(Grip::Reset) {
        return Some((
            "a reboot takes away what other faults do to the machine".into(),
            "let them follow each other",
        ));
    }
    let shared = shared(&earlier.what, &later.what, nodes);
    if shared.is_empty() {
        return None;
    }
    let both = join(&shared);
    if has(Grip::Operated) {
        let why = format!("an operation needs {both} as it is without faults");
        return Some((why, FOLLOW));
    }
    if has(Grip::Killed) && has(Grip::Paused) {
        let why = format!("{both} cannot be both killed and paused");
        return Some((why, FOLLOW));
    }
    if has(Grip::Frozen) && (has(Grip::Killed) || has(Grip::Paused)) {
        let other = match has(Grip::Killed) {
            true => "killed",
            false => "paused",
        };
        return Some((format!("{both} cannot be frozen and {other} too"), FOLLOW));
    }
    if has(Grip::Suspended) {
        let why = format!("nobody reaches {both} while their machines stand still");
        return Some((why, FOLLOW));
    }
    // A clock can only be read, and be put right, in a daemon that runs.
    if has(Grip::Killed) && has(Grip::Clocks) {
        let (clock, kill) = match earlier.what.shape.grip {
            Grip::Clocks => (earlier, later),
            _ => (later, earlier),
        };
        let inside = clock.at <= kill.at
            && match (kill.ends(), clock.ends()) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(kill), Some(clock)) => kill <= clock,
            };
        if !inside {
            let why = format!("{both} would be dead when its clock is to be changed");
            return Some((
                why,
                "let the clock's fault begin first and end last, or name other targets",
            ));
        }
    }
    None
}

/// Nodes whose daemons both hold. A leader is not known yet, and is left to the run.
fn shared(a: &What, b: &What, nodes: &[Name]) -> Vec<Name> {
    let of = |what: &What| match &what.targets {
        Targets::Nodes(names) if what.shape.grip.on_daemons() => names.clone(),
        _ => Vec::new(),
    };
    let (a, b) = (of(a), of(b));
    let in_both = |n: &&Name| a.contains(n) && b.contains(n);
    nodes.iter().filter(in_both).cloned().collect()
}
