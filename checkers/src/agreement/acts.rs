//! What a node says of itself: what it promised, accepted and came back with, around the moment at
//! which it knew less than before; and of two that led at once, when each held the lease.

use super::ballots::{Trace, What};
use super::{Ballot, Recorded, show};
use crate::picture::{Cell, Row, Table};

/// Acts before the one that contradicts another, and after it, that are shown.
const BEFORE: usize = 8;
const AFTER: usize = 4;

/// What a node did, as far as it binds the node.
struct Act<'t> {
    t_ns: i64,
    what: Did<'t>,
}

enum Did<'t> {
    ComesBack(Option<&'t Ballot>, Option<i64>),
    Promises(&'t Ballot),
    /// Slots one after the other under one ballot.
    Accepts(&'t Ballot, i64, i64),
    Leads(bool),
}

impl<'t> Did<'t> {
    fn ballot(&self) -> Option<&'t Ballot> {
        match self {
            Did::ComesBack(ballot, _) => *ballot,
            Did::Promises(ballot) | Did::Accepts(ballot, ..) => Some(ballot),
            Did::Leads(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Did::ComesBack(ballot, accepted) => {
                // A node that has promised nothing yet knows a ballot of nobody.
                let promised = ballot.filter(|(_, proposer)| !proposer.is_empty());
                let knows = [
                    promised.map(show),
                    accepted.map(|slot| format!("accepted slots up to {slot}")),
                ];
                let knows: Vec<String> = knows.into_iter().flatten().collect();
                match knows.is_empty() {
                    true => "starts".to_string(),
                    false => format!("starts with {}", knows.join(", ")),
                }
            }
            Did::Promises(ballot) => format!("promises {}", show(ballot)),
            Did::Accepts(ballot, first, last) if first == last => {
                format!("accepts slot {first} under {}", show(ballot))
            }
            Did::Accepts(ballot, first, last) => {
                format!("accepts slots {first} to {last} under {}", show(ballot))
            }
            Did::Leads(true) => "leads".to_string(),
            Did::Leads(false) => "leads no more".to_string(),
        }
    }
}

fn acts<'t>(trace: &'t Trace) -> Vec<Act<'t>> {
    let mut acts: Vec<Act> = Vec::new();
    for event in &trace.events {
        let what = match &event.what {
            What::Start {
                promised,
                accepted_upto,
                ..
            } => Did::ComesBack(promised.as_ref(), *accepted_upto),
            What::Promise(ballot) => Did::Promises(ballot),
            What::Accept { ballot, slot, .. } => {
                if let Some(Act {
                    what: Did::Accepts(under, first, last),
                    ..
                }) = acts.last_mut()
                    && *under == ballot
                {
                    (*first, *last) = ((*first).min(*slot), (*last).max(*slot));
                    continue;
                }
                Did::Accepts(ballot, *slot, *slot)
            }
            What::Lead => Did::Leads(true),
            What::StepDown => Did::Leads(false),
            What::Decide { .. } | What::Lease { .. } => continue,
        };
        let t_ns = event.t_ns;
        acts.push(Act { t_ns, what });
    }
    acts
}

/// Acts that go behind what had bound the node, each with the act that had. As the judge does, it
/// goes on from what a node remembers that came back with less.
fn contradictions(acts: &[Act]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut bound: Option<(usize, &Ballot)> = None;
    let mut accepted: Option<(usize, i64)> = None;
    for (i, act) in acts.iter().enumerate() {
        let comes_back = matches!(act.what, Did::ComesBack(..));
        if let Some(ballot) = act.what.ballot() {
            let before = bound.filter(|(_, before)| ballot < *before);
            found.extend(before.map(|(by, _)| (by, i)));
            // Coming back with less, or doing more.
            if before.is_some() == comes_back {
                bound = Some((i, ballot));
            }
        }
        match act.what {
            Did::ComesBack(_, Some(upto)) => {
                if let Some((by, _)) = accepted.filter(|(_, slot)| upto < *slot) {
                    found.push((by, i));
                    accepted = Some((i, upto));
                }
            }
            Did::Accepts(_, _, last) if accepted.is_none_or(|(_, slot)| slot <= last) => {
                accepted = Some((i, last));
            }
            _ => {}
        }
    }
    found
}

/// What the node did around the moment that the sentence names. None where its trace does not go
/// back on itself.
pub fn of_node(recorded: &Recorded, trace: &Trace, sentence: &str) -> Option<Table> {
    let acts = acts(trace);
    let found = contradictions(&acts);
    let named = |(_, at): &&(usize, usize)| {
        sentence.contains(&format!("at {}", recorded.at(acts[*at].t_ns)))
    };
    let (by, at) = *found.iter().find(named).or(found.first())?;
    let near = at.saturating_sub(BEFORE)..(at + AFTER + 1).min(acts.len());
    let shown: Vec<usize> = (!near.contains(&by))
        .then_some(by)
        .into_iter()
        .chain(near)
        .collect();
    let mut ballots: Vec<&Ballot> = Vec::new();
    let mut value = |ballot| {
        let known = ballots.iter().position(|known| *known == ballot);
        known.unwrap_or_else(|| {
            ballots.push(ballot);
            ballots.len() - 1
        })
    };
    let rows = shown.iter().map(|&i| Row {
        at: recorded.at(acts[i].t_ns),
        cells: vec![Cell {
            column: 0,
            text: acts[i].what.text(),
            value: acts[i].what.ballot().map(&mut value),
        }],
    });
    Some(Table {
        of: format!("What {} says that it did", trace.node),
        columns: vec![trace.node.to_string()],
        rows: rows.collect(),
        untold: acts.len() - shown.len(),
    })
}

/// When each of two nodes held the lease: renewed without a gap, it is one.
pub fn of_leases(recorded: &Recorded, traces: [&Trace; 2]) -> Option<Table> {
    let mut leases: Vec<(i64, i64, usize)> = Vec::new();
    for (column, trace) in traces.into_iter().enumerate() {
        let mut held: Vec<(i64, i64)> = super::leases::held(trace);
        held.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::new();
        for (from, until) in held {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => merged.push((from, until)),
            }
        }
        leases.extend(
            merged
                .into_iter()
                .map(|(from, until)| (from, until, column)),
        );
    }
    leases.sort_unstable();
    let overlap = |a: (i64, i64, usize), b: (i64, i64, usize)| {
        a.2 != b.2 && super::leases::overlap((a.0, a.1), (b.0, b.1))
    };
    // Of each node the lease before that reaches furthest.
    let mut furthest: [Option<(i64, i64, usize)>; 2] = [None; 2];
    let at = leases.iter().position(|lease| {
        let meets = furthest
            .iter()
            .flatten()
            .any(|other| overlap(*other, *lease));
        let own = &mut furthest[lease.2];
        if own.is_none_or(|(_, until, _)| until < lease.1) {
            *own = Some(*lease);
        }
        meets
    })?;
    let near = at.saturating_sub(BEFORE)..(at + AFTER + 1).min(leases.len());
    let rows = near.clone().map(|i| {
        let (from, until, column) = leases[i];
        Row {
            at: recorded.at(from),
            cells: vec![Cell {
                column,
                text: format!("holds the lease until {}", recorded.at(until)),
                value: (i == at || overlap(leases[i], leases[at])).then_some(column),
            }],
        }
    });
    Some(Table {
        of: "When each held the lease; those in colour overlap".to_string(),
        columns: traces.map(|trace| trace.node.to_string()).to_vec(),
        rows: rows.collect(),
        untold: leases.len() - near.len(),
    })
}
