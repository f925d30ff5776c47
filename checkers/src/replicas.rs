//! Whether replicas that have applied the same hold the same.
//!
//! One operation of the history carries it, for every node, when the run is over:
//!
//! ```text
//! replica  {node "n1", index 1128, holds {revision 1079, hash 3748181387}}
//! ```
//!
//! `index` is how far in the replicated log the node has applied it. Two nodes at the same index
//! have applied the same entries, so what they hold must be the same; of what it is made nobody
//! here needs to know. Of two at different indices nothing follows, and the summary says so. Where
//! half of the nodes or more do not tell, the verdict is unknown unless two differ.

use history::wording::{counted, listed};
use history::{History, Op, Outcome, Value};

use crate::figure::Gauge;
use crate::findings::Findings;
use crate::{Analysis, Anomaly, Budget, Checker};

const COMPARED: Gauge = Gauge::count("compared");

pub(crate) const GAUGES: &[Gauge] = &[COMPARED];

/// Judges operations `replica`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replicas;

/// What a node holds.
struct State<'h> {
    op: u64,
    node: &'h str,
    index: i64,
    holds: &'h Value,
}

impl Checker for Replicas {
    fn name(&self) -> &str {
        "replicas"
    }

    fn check(&self, history: &History, _budget: &Budget) -> Analysis {
        let (mut states, mut lacking) = (Vec::<State>::new(), Vec::new());
        for op in history.ops().iter().filter(|op| op.f == "replica") {
            match state(op) {
                // The last of each node counts.
                Ok(state) => match states.iter_mut().find(|known| known.node == state.node) {
                    Some(known) => *known = state,
                    None => states.push(state),
                },
                Err(why) => lacking.push(why),
            }
        }
        let mut found = Findings::default();
        let mut compared = 0;
        for (place, state) in states.iter().enumerate() {
            let at_its_index = |other: &State| other.index == state.index;
            if states.iter().filter(|other| at_its_index(other)).count() > 1 {
                compared += 1;
            }
            // Against the first at this index alone: each that differs is told once.
            let first = states[..place].iter().find(|other| at_its_index(other));
            if let Some(first) = first.filter(|first| first.holds != state.holds) {
                found.add("replicas diverge", || diverge(first, state));
            }
        }
        let mut summary = match compared {
            0 => "no two nodes were at the same index at the end".to_string(),
            n => format!(
                "{} of {} that told what they hold were at the same index as another",
                n,
                counted(states.len(), "node")
            ),
        };
        if !found.is_empty() {
            summary = format!("{}; {summary}", found.told());
        }
        if !lacking.is_empty() {
            summary = format!("{summary}; {}", listed(lacking.iter(), 3));
        }
        // Of those that were asked most must have told.
        let too_few = found.is_empty() && lacking.len() >= states.len().max(1);
        let analysis = match compared {
            _ if too_few => Analysis::unknown(self.name(), summary),
            0 => Analysis::measured(self.name(), summary),
            _ => Analysis::valid(self.name(), summary),
        };
        let analysis = analysis.with_figure(COMPARED.figure(compared));
        found.into_analysis(analysis)
    }
}

fn diverge(first: &State, other: &State) -> Anomaly {
    Anomaly {
        object: Some(format!("index {}", other.index)),
        ops: vec![first.op, other.op],
        reason: format!(
            "{} and {} have applied the log up to {}: {} holds {}, and {} holds {}",
            first.node, other.node, other.index, first.node, first.holds, other.node, other.holds
        ),
        ..Anomaly::default()
    }
}

/// Reads the value of an operation `replica`.
///
/// # Errors
/// In words, why there is none.
fn state(op: &Op) -> Result<State<'_>, String> {
    let asked = op.node.as_deref().unwrap_or("a node");
    if op.outcome != Outcome::Ok {
        let why = op.error.as_deref().unwrap_or("it did not answer");
        return Err(format!("what {asked} holds could not be read ({why})"));
    }
    let node = op.output.get("node").and_then(Value::as_text);
    let index = op.output.get("index").and_then(Value::as_int);
    match (node, index, op.output.get("holds")) {
        (Some(node), Some(index), Some(holds)) if op.node.is_none() || node == asked => Ok(State {
            op: op.index,
            node,
            index,
            holds,
        }),
        _ => Err(format!("operation {} is not what {asked} holds", op.index)),
    }
}
