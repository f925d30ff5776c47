//! What a schedule may not say: times out of order, nodes that do not exist, faults that would undo
//! each other.

use std::time::Duration;

use history::Name;

use super::{Entry, Schedule, What};
use crate::clock::Warp;
use crate::machine::Blow;
use crate::packet::Effect;
use crate::partition::Topology;
use crate::registry::Family;
use crate::targets::{self, Targets, join};
use crate::units::write_duration;

/// What the agents can show.
const MOST_DELTA_NS: u64 = agent::clock::line::OFFSET_MAX_NS.unsigned_abs();
/// To look whether a fault took hold takes about so long, on an idle machine. What is shorter cannot be
/// known to have been there for the time that it says.
pub const LEAST_LENGTH: Duration = Duration::from_millis(100);
/// Clocks, and delays, are told in whole milliseconds.
const LEAST_SHIFT: Duration = Duration::from_millis(1);
/// Of a smaller share of packets not one in a thousand probes would show it.
const LEAST_SHARE_PER_MILLION: u32 = 1_000;

/// A strobe is waited for by its receipt; and a slower one is a series of jumps.
const LONGEST_STROBE_PERIOD: Duration = Duration::from_secs(10);
/// The agents turn a clock no faster to and fro.
const SHORTEST_STROBE_PERIOD: Duration = Duration::from_micros(100);
/// Nor do they stop anything for longer.
const LONGEST_FREEZE: Duration = Duration::from_hours(24);
/// The kernel counts the delay of a packet in units of 64 ns, in 32 bits.
const LONGEST_DELAY: Duration = Duration::from_mins(4);
/// No link is faster: 1 Tbit/s.
const MOST_RATE_KBIT: u64 = 1_000_000_000;

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
    /// What is wrong with it on these nodes, and of very much the first. A drawn schedule has nothing
    /// wrong.
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

    /// Faults that cannot be in force together. Of a long schedule only those are compared that are:
    /// it is walked in the order of its times, with what is in force then.
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
fn check_alone(entry: &Entry, nodes: &[Name]) -> Result<(), (&'static str, String)> {
    if let Some(lasts) = entry.lasts.filter(|lasts| *lasts < LEAST_LENGTH) {
        let (lasts, least) = (write_duration(lasts), write_duration(LEAST_LENGTH));
        let why =
            format!("{lasts} is too short to see whether it takes hold: {least} is the least");
        return Err(("lasts", why));
    }
    let named = |targets: &Targets| match targets {
        Targets::Leader => Ok(()),
        Targets::Nodes(names) => targets::check(names, nodes).map_err(|e| ("targets", e)),
    };
    let positive = |key: &'static str, figure: u64| match figure {
        0 => Err((key, format!("{key} of nothing does nothing"))),
        _ => Ok(()),
    };
    // What no look could tell from nothing.
    let seen = |key: &'static str, span: Duration| match span < LEAST_SHIFT {
        false => Ok(()),
        true if span.is_zero() => positive(key, 0),
        true => {
            let (span, least) = (write_duration(span), write_duration(LEAST_SHIFT));
            Err((
                key,
                format!("{span} is too little to be seen: {least} is the least"),
            ))
        }
    };
    let share = |share_per_million: u32| match share_per_million {
        1..LEAST_SHARE_PER_MILLION => {
            let why = "too few packets to be seen: 0.1% is the least";
            Err(("share", why.to_string()))
        }
        _ => positive("share", share_per_million.into()),
    };
    match &entry.what {
        What::Partition(p) => {
            let key = match p.topology {
                _ if nodes.len() < p.topology.shape().least_nodes => "shape",
                Topology::Bridge { ref bridge, .. } if !nodes.contains(bridge) => "bridge",
                _ => "targets",
            };
            p.topology.check(nodes).map_err(|e| (key, e))
        }
        What::Pause(p) => named(&p.targets),
        What::Kill(k) => named(&k.targets),
        What::Machine(m) => named(&m.targets),
        What::Clock(c) => {
            named(&c.targets)?;
            match c.warp {
                Warp::Jump { delta_ns } => {
                    check_delta(delta_ns)?;
                    seen("delta", Duration::from_nanos(delta_ns.unsigned_abs()))
                }
                Warp::Strobe { delta_ns, period } => {
                    check_delta(delta_ns)?;
                    seen("delta", Duration::from_nanos(delta_ns.unsigned_abs()))?;
                    positive(
                        "period",
                        u64::try_from(period.as_micros()).unwrap_or(u64::MAX),
                    )?;
                    if !(SHORTEST_STROBE_PERIOD..=LONGEST_STROBE_PERIOD).contains(&period) {
                        return Err(("period", "a strobe's period is 100us to 10s".into()));
                    }
                    match entry.lasts.is_none_or(|lasts| 2 * period <= lasts) {
                        true => Ok(()),
                        false => Err((
                            "period",
                            "the fault ends before the clock was once off and once right".into(),
                        )),
                    }
                }
                // At -1,000,000 ppm the clock stands still, and beyond it would run backwards.
                Warp::Drift { rate_ppm } if !(-999_999..=10_000_000).contains(&rate_ppm) => Err((
                    "rate_ppm",
                    "a drift is between -999999 and 10000000 ppm".into(),
                )),
                Warp::Drift { rate_ppm } => {
                    positive("rate_ppm", rate_ppm.unsigned_abs())?;
                    let gained = |lasts: Duration| {
                        lasts.as_nanos() * u128::from(rate_ppm.unsigned_abs()) / 1_000_000
                    };
                    match entry
                        .lasts
                        .is_none_or(|l| gained(l) >= LEAST_SHIFT.as_nanos())
                    {
                        true => Ok(()),
                        false => Err((
                            "rate_ppm",
                            "the whole fault gains or loses less than a millisecond, which nobody \
                             could see"
                                .into(),
                        )),
                    }
                }
                Warp::Freeze { pause, .. } => {
                    positive(
                        "pause",
                        u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    )?;
                    if pause > LONGEST_FREEZE {
                        return Err(("pause", "nothing is stopped for more than 24h".into()));
                    }
                    match entry.lasts.is_none_or(|lasts| pause < lasts) {
                        true => Ok(()),
                        false => Err((
                            "pause",
                            "the stop is as long as the whole fault, or longer: the daemon must run \
                             on with clocks that lag before they are set right"
                                .into(),
                        )),
                    }
                }
            }
        }
        What::Packet(p) => {
            named(&p.targets)?;
            if nodes.len() < p.effect.shape().least_nodes {
                return Err((
                    "family",
                    "with one node there are no packets to disturb".into(),
                ));
            }
            match p.effect {
                Effect::Delay { delay, .. } | Effect::Reorder { delay, .. }
                    if delay > LONGEST_DELAY =>
                {
                    Err(("delay", "no packet can be delayed by more than 4m".into()))
                }
                Effect::Rate { rate_kbit } if rate_kbit > MOST_RATE_KBIT => Err((
                    "rate_kbit",
                    format!("the rate of a link is {MOST_RATE_KBIT} kbit at most"),
                )),
                Effect::Delay { delay, jitter } if jitter > delay => Err((
                    "jitter",
                    "more jitter than delay: packets cannot come early".into(),
                )),
                Effect::Delay { delay, .. } => seen("delay", delay),
                Effect::Reorder {
                    share_per_million,
                    delay,
                } => {
                    share(share_per_million)?;
                    seen("delay", delay)
                }
                Effect::Loss { share_per_million }
                | Effect::Duplicate { share_per_million }
                | Effect::Corrupt { share_per_million } => share(share_per_million),
                Effect::Rate { rate_kbit } => positive("rate_kbit", rate_kbit),
            }
        }
    }
}

/// How far a clock may be set.
fn check_delta(delta_ns: i64) -> Result<(), (&'static str, String)> {
    match delta_ns.unsigned_abs() {
        0..=MOST_DELTA_NS => Ok(()),
        _ => Err((
            "delta",
            "a clock can be set forward or back by 36 years at most".into(),
        )),
    }
}

fn overlap(a: &Entry, b: &Entry) -> bool {
    a.ends().is_none_or(|end| b.at < end) && b.ends().is_none_or(|end| a.at < end)
}

/// Why two faults cannot be in force together, and what to do.
fn conflict(earlier: &Entry, later: &Entry, nodes: &[Name]) -> Option<(String, &'static str)> {
    let family = later.what.family();
    if earlier.what.family() == family {
        return Some((
            format!("two faults of one family ({family}) would undo each other"),
            "let the first end before the second begins",
        ));
    }
    let reboots = |what: &What| matches!(what, What::Machine(m) if m.blow == Blow::Reboot);
    if reboots(&earlier.what) || reboots(&later.what) {
        return Some((
            "a reboot takes away what other faults do to the machine".into(),
            "let them follow each other",
        ));
    }
    let shared = shared(&earlier.what, &later.what, nodes);
    if shared.is_empty() {
        return None;
    }
    let frozen =
        |what: &What| matches!(what, What::Clock(c) if matches!(c.warp, Warp::Freeze { .. }));
    let pair = [&earlier.what, &later.what];
    let has = |f: Family| pair.iter().any(|w| w.family() == f);
    let both = join(&shared);
    if has(Family::Kill) && has(Family::Pause) {
        let why = format!("{both} cannot be both killed and paused");
        return Some((why, "name other targets, or let them follow each other"));
    }
    if pair.iter().any(|w| frozen(w)) && (has(Family::Kill) || has(Family::Pause)) {
        let why = format!(
            "{both} cannot be frozen and {} too",
            match has(Family::Kill) {
                true => "killed",
                false => "paused",
            }
        );
        return Some((why, "name other targets, or let them follow each other"));
    }
    if has(Family::Machine) {
        let why = format!("nobody reaches {both} while their machines stand still");
        return Some((why, "name other targets, or let them follow each other"));
    }
    // A clock can only be read, and be put right, in a daemon that runs.
    if has(Family::Kill) && has(Family::Clock) {
        let (clock, kill) = match earlier.what.family() {
            Family::Clock => (earlier, later),
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

/// Nodes whose daemons both act on. A leader is not known yet, and is left to the run.
fn shared(a: &What, b: &What, nodes: &[Name]) -> Vec<Name> {
    let of = |what: &What| match (what, what.targets()) {
        (What::Packet(_), _) => Vec::new(),
        (_, Some(Targets::Nodes(names))) => names.clone(),
        (_, Some(Targets::Leader) | None) => Vec::new(),
    };
    let (a, b) = (of(a), of(b));
    let in_both = |n: &&Name| a.contains(n) && b.contains(n);
    nodes.iter().filter(in_both).cloned().collect()
}
