//! Many agents asked at once.

use agent::protocol::{self, Evidence, Request, State};
use harness::at_once::at_once;
use harness::cluster::Node;
use harness::control::ControlError;
use harness::nemesis::{FaultError, World};
use history::Name;
use tokio::time::Instant;

use crate::sights::Sights;

/// What each agent is told. Not only targets' agents: a node is cut off by what its peers drop.
pub(crate) type Mechanisms = Vec<(Node, protocol::Fault)>;

/// What agents answered.
pub(crate) struct Told {
    pub sights: Sights,
    /// When the first of them said that it was done.
    pub first: Option<std::time::Instant>,
}

impl Told {
    /// What each node saw, and when it said so. Every failure is in the error.
    pub fn of(
        answers: impl IntoIterator<Item = Result<(Sights, std::time::Instant), ControlError>>,
    ) -> Result<Told, FaultError> {
        let mut sights = Sights::default();
        let mut first: Option<std::time::Instant> = None;
        let mut errors = Vec::new();
        for answer in answers {
            match answer {
                Ok((seen, at)) => {
                    sights.merge(seen);
                    first = Some(first.map_or(at, |first| first.min(at)));
                }
                Err(error) => errors.push(error),
            }
        }
        match errors.is_empty() {
            true => Ok(Told { sights, first }),
            false => Err(FaultError::Control(errors)),
        }
    }
}

/// Tells all agents at once and waits for all of them: one that fails must not leave the others in
/// the middle of it. Every failure is in the error.
pub(crate) async fn tell(
    requests: impl Iterator<Item = (Node, Request)>,
) -> Result<Told, FaultError> {
    let answers = at_once(requests.map(|(node, request)| async move {
        let evidence = node.agent.call::<Evidence>(request).await?;
        let mut sights = Sights::default();
        sights.agent(&node.name, evidence);
        Ok((sights, Instant::now().into_std()))
    }));
    Told::of(answers.await)
}

/// The nodes of these names. A name without a node is an error of whoever made the schedule.
pub(crate) fn nodes(world: &World, names: &[Name]) -> Result<Vec<Node>, FaultError> {
    names
        .iter()
        .map(|name| {
            let node = world.node(name).cloned();
            node.ok_or_else(|| FaultError::NoTarget(format!("there is no node {name}")))
        })
        .collect()
}

/// The same mechanism on every target.
pub(crate) fn on_each(
    world: &World,
    targets: &[Name],
    mechanism: &protocol::Fault,
) -> Result<Mechanisms, FaultError> {
    let nodes = nodes(world, targets)?;
    Ok(nodes
        .into_iter()
        .map(|node| (node, mechanism.clone()))
        .collect())
}

/// Asks every target's agent how the daemon is, and compares.
pub(crate) async fn witness_state(
    mechanisms: &Mechanisms,
    world: &World,
    sights: &mut Sights,
    wanted: fn(&State) -> bool,
) {
    let daemon = &world.daemon;
    let states = at_once(mechanisms.iter().map(|(node, _)| {
        let (node, daemon) = (node.clone(), daemon.clone());
        async move {
            let state = node.agent.call::<State>(Request::State { daemon }).await;
            (node.name, state)
        }
    }))
    .await;
    for (node, state) in states {
        match state {
            Err(error) => sights.blind(&error),
            Ok(state) => {
                let line = match &state {
                    State::Running { pid } => format!("{node}: {daemon} runs, pid {pid}"),
                    State::Paused { pid } => format!("{node}: {daemon} is stopped, pid {pid}"),
                    State::Stopped { status } => format!("{node}: {daemon} is gone ({status})"),
                };
                sights.see(wanted(&state), line);
            }
        }
    }
}
