//! Who hears whom, by probes between the agents: evidence for everything that is done to the
//! network.
//!
//! Every node sends numbered datagrams to all others, all at once; then every node is asked which
//! have arrived. Sent and received are seen apart, so a cut in one direction shows as one. Nothing
//! here knows of rules: a cut that the firewall lists and the wire ignores is found out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent::protocol::{Connected, Probed, Request, Seen};
use harness::at_once::at_once;
use harness::cluster::Node;
use harness::control::ControlError;
use harness::nemesis::World;
use history::Name;
use tokio::task::JoinSet;

use crate::ask::Mechanisms;
use crate::sights::Sights;
use crate::targets::Grudge;

/// Datagrams to each peer in one round.
const COUNT: u32 = 5;
/// For answers to the first round.
const WAIT: Duration = Duration::from_millis(200);
/// A busy machine, or another fault, may lose datagrams that nothing cuts, or keep them for long:
/// they are sent again, and waited for twice as long each time, 6 s in all.
const ROUNDS: u32 = 5;

/// How long a peer waits for an answer that should not come.
const CONNECT_PATIENCE: Duration = Duration::from_millis(1_000);

/// What arrived of one or more rounds.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    /// Datagrams sent from each node to each other.
    pub sent: u32,
    /// How many arrived, by sender and receiver.
    pub arrived: BTreeMap<(Name, Name), u32>,
    /// Fastest round trip in nanoseconds, by sender and receiver; absent where none was answered.
    pub round_trip_ns: BTreeMap<(Name, Name), u64>,
}

/// Sends `count` datagrams from every node to every other, and waits so long for answers.
pub(crate) async fn ask(
    nodes: &[Node],
    count: u32,
    wait: Duration,
) -> Result<Matrix, Vec<ControlError>> {
    // One controller speaks to an agent in its whole life, so counting up is unique enough.
    static NONCE: AtomicU64 = AtomicU64::new(1);
    let nonce = NONCE.fetch_add(1, Ordering::Relaxed);
    let ports: Vec<SocketAddr> = nodes.iter().map(probe_address).collect();

    let probed = all(at_once(nodes.iter().map(|node| {
        let peers = ports
            .iter()
            .copied()
            .filter(|p| p.ip() != node.address)
            .collect();
        let agent = node.agent.clone();
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let request = Request::Probe {
            peers,
            nonce,
            count,
            wait_ms,
        };
        async move { agent.call::<Probed>(request).await }
    }))
    .await)?;
    let seen = all(at_once(nodes.iter().map(|node| {
        let agent = node.agent.clone();
        async move { agent.call::<Seen>(Request::Seen { nonce }).await }
    }))
    .await)?;

    let name_of = |ip: &IpAddr| {
        nodes
            .iter()
            .find(|n| n.address == *ip)
            .map(|n| n.name.clone())
    };
    let mut matrix = Matrix {
        sent: count,
        ..Matrix::default()
    };
    for (node, probed) in nodes.iter().zip(probed) {
        for (peer, fastest) in probed.answered {
            if let Some(peer) = name_of(&peer.ip()) {
                matrix
                    .round_trip_ns
                    .insert((node.name.clone(), peer), fastest);
            }
        }
    }
    for (node, seen) in nodes.iter().zip(seen) {
        for (from, count) in seen.from {
            if let Some(from) = name_of(&from) {
                matrix.arrived.insert((from, node.name.clone()), count);
            }
        }
    }
    Ok(matrix)
}

impl Matrix {
    pub fn arrived(&self, from: &Name, to: &Name) -> u32 {
        let pair = (from.clone(), to.clone());
        self.arrived.get(&pair).copied().unwrap_or(0)
    }

    fn add(&mut self, other: Matrix) {
        self.sent += other.sent;
        for (pair, count) in other.arrived {
            *self.arrived.entry(pair).or_default() += count;
        }
        self.round_trip_ns.extend(other.round_trip_ns);
    }
}

/// Compares what arrives with what a grudge says, both ways: what is cut must be silent, and all
/// else must be alive.
pub(crate) async fn witness(world: &World, grudge: &Grudge, sights: &mut Sights) {
    let mut matrix = Matrix::default();
    for round in 0..ROUNDS {
        match ask(&world.nodes, COUNT, WAIT * 2u32.pow(round)).await {
            Ok(round) => matrix.add(round),
            Err(errors) => {
                errors.iter().for_each(|e| sights.blind(e));
                return;
            }
        }
        // Silence where there should be life may be a busy machine. Life where there should be
        // silence is final, and so is agreement.
        let expected =
            |(from, to): &(&Name, &Name)| matrix.arrived(from, to) > 0 || cut(grudge, from, to);
        if pairs(world).all(|pair| expected(&pair)) {
            break;
        }
    }
    judge(world, grudge, &matrix, sights);
}

fn judge(world: &World, grudge: &Grudge, matrix: &Matrix, sights: &mut Sights) {
    let sent = matrix.sent;
    let mut alive = 0;
    for (from, to) in pairs(world) {
        let arrived = matrix.arrived(from, to);
        match (cut(grudge, from, to), arrived) {
            (true, 0) => sights.agrees(format!("{from} -> {to}: none of {sent} probes arrived")),
            (true, n) => sights.contradicts(format!(
                "{from} -> {to}: {n} of {sent} probes arrived, although it is cut"
            )),
            (false, 0) => sights.contradicts(format!(
                "{from} -> {to}: none of {sent} probes arrived, although nothing cuts it"
            )),
            (false, _) => alive += 1,
        }
        let answered = matrix
            .round_trip_ns
            .contains_key(&(from.clone(), to.clone()));
        if answered && (cut(grudge, from, to) || cut(grudge, to, from)) {
            sights.contradicts(format!(
                "{from} -> {to} -> {from}: a probe was answered, although a direction is cut"
            ));
        }
    }
    if alive > 0 {
        let other = if grudge.is_empty() { "" } else { "other " };
        sights.agrees(format!("{alive} {other}directions: probes arrive"));
    }
}

fn cut(grudge: &Grudge, from: &Name, to: &Name) -> bool {
    grudge.get(to).is_some_and(|unheard| unheard.contains(from))
}

fn pairs(world: &World) -> impl Iterator<Item = (&Name, &Name)> {
    let names = || world.nodes.iter().map(|n| &n.name);
    names().flat_map(move |a| names().filter(move |b| *b != a).map(move |b| (a, b)))
}

/// All answers, or all errors.
fn all<T>(answers: Vec<Result<T, ControlError>>) -> Result<Vec<T>, Vec<ControlError>> {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => good.push(answer),
            Err(error) => bad.push(error),
        }
    }
    match bad.is_empty() {
        true => Ok(good),
        false => Err(bad),
    }
}

/// Where a node's agent answers probes.
fn probe_address(node: &Node) -> SocketAddr {
    let hello = node.agent.greeting();
    let hello = hello.expect("a cluster that is up has greeted its agents");
    SocketAddr::new(node.address, hello.probe_port)
}

/// Tries a TCP connection to each target's client port, from all nodes that are not hit at once.
pub(crate) async fn connect(
    targets: &Mechanisms,
    world: &World,
    sights: &mut Sights,
    wanted: fn(&Connected) -> bool,
) {
    let port = world.system.client_port();
    let tried = at_once(targets.iter().map(|(target, _)| {
        let of = |who: &dyn Fn(&Node) -> bool| -> Vec<Node> {
            world.nodes.iter().filter(|n| who(n)).cloned().collect()
        };
        let hit = |n: &Node| targets.iter().any(|(target, _)| target.name == n.name);
        // Where all are hit they ask each other, and a lone node asks itself.
        let mut from = of(&|n| !hit(n));
        if from.is_empty() {
            from = of(&|n| n.name != target.name);
        }
        if from.is_empty() {
            from.push(target.clone());
        }
        let target = target.clone();
        async move {
            let (from, answer) = first_answered(from, SocketAddr::new(target.address, port)).await;
            (from, target.name, answer)
        }
    }))
    .await;
    for (from, target, answer) in tried {
        match answer {
            Err(error) => sights.blind(&error),
            Ok(answer) => {
                let line = match &answer {
                    Connected::Yes => "connected".to_string(),
                    Connected::Refused => "refused".into(),
                    Connected::Unreachable => "unreachable".into(),
                    Connected::TimedOut => {
                        format!("no answer in {} ms", CONNECT_PATIENCE.as_millis())
                    }
                };
                sights.see(
                    wanted(&answer),
                    format!("{from} -> {target} port {port}: {line}"),
                );
            }
        }
    }
}

/// What the first of them says who was answered, if only by a refusal: whoever another fault has
/// cut off from there hears nothing, and that proves nothing. Without such a one the first of all.
async fn first_answered(
    from: Vec<Node>,
    to: SocketAddr,
) -> (Name, Result<Connected, ControlError>) {
    let mut asked = JoinSet::new();
    for (place, node) in from.into_iter().enumerate() {
        let request = Request::Connect {
            to,
            timeout_ms: u64::try_from(CONNECT_PATIENCE.as_millis()).unwrap_or(u64::MAX),
        };
        asked.spawn(async move {
            let answer = node.agent.call::<Connected>(request).await;
            (answer.is_err(), place, node.name, answer)
        });
    }
    let mut silent = Vec::new();
    while let Some(tried) = asked.join_next().await {
        let tried = tried.expect("a question does not panic");
        if let (_, _, from, Ok(Connected::Yes | Connected::Refused)) = tried {
            return (from, tried.3);
        }
        silent.push(tried);
    }
    silent.sort_by_key(|(failed, place, ..)| (*failed, *place));
    let (.., from, answer) = silent.swap_remove(0);
    (from, answer)
}
