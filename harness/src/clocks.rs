//! What the wall clocks of the nodes' machines show when a run begins, so that what their logs say
//! can be put beside the history.

use std::time::{Duration, Instant};

use agent::protocol::{Clocks, Request};
use history::Name;
use history::mark::{Clock, Mark};

use crate::at_once::at_once;
use crate::cluster::Node;
use crate::recorder::{RecordError, Recorder};

/// A node that takes longer is not waited for: its logs cannot be placed then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks all nodes at once, and writes down what can be had.
pub async fn look(nodes: &[Node], recorder: &Recorder) -> Result<(), RecordError> {
    let start = recorder.start();
    let clocks = at_once(nodes.iter().map(|node| reading(node.clone(), start))).await;
    for (node, clock) in clocks.into_iter().flatten() {
        recorder.mark(Mark::Clock(node, clock))?;
    }
    Ok(())
}

async fn reading(node: Node, start: Instant) -> Option<(Name, Clock)> {
    let before = start.elapsed();
    let asked = node.agent.call::<Clocks>(Request::Clocks { daemon: None });
    let clocks = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    let half = start.elapsed().saturating_sub(before) / 2;
    let clock = Clock {
        wall_ns: u64::try_from(clocks.realtime_ns).ok()?,
        at_ns: (before + half).as_nanos() as u64,
        within_ns: half.as_nanos() as u64,
    };
    Some((node.name, clock))
}
