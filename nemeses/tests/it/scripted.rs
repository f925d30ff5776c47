//! A cluster of agents that exist on paper: they speak the protocol over pipes, keep the faults
//! that they are told, and let probes and clocks be as those faults say, unless told to lie.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::protocol::{
    ClockFault, Clocks, Connected, Daemon, Direction, Envelope, Evidence, Fault, Hello, Line,
    Probed, Request, Seen, State,
};
use async_trait::async_trait;
use harness::cluster::{Node, Program};
use harness::control::{Agent, ControlError};
use harness::nemesis::World;
use harness::system::System;
use history::Name;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::mpsc;

pub const CLIENT_PORT: u16 = 7_000;
const PROBE_PORT: u16 = 7_001;
/// 2026, in nanoseconds since 1970.
pub const EPOCH_NS: i64 = 1_795_000_000_000_000_000;
const ROUND_TRIP_NS: u64 = 100_000;

/// How a node deviates from what an honest agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Refuses to inject, and has applied nothing.
    RefusesInject,
    /// Answers an injection with an error, and has applied it.
    AppliesAndFails,
    /// Says that it applied it, and applied nothing.
    AppliesNothing,
    /// Its own evidence says that it did not take hold.
    SeesNoEffect,
    /// Says that it healed, and did not.
    HealsNothing,
    /// None of its probes arrives anywhere.
    IsUnheard,
    /// Answers clients although it is dead.
    Answers,
    /// Its agent says at the end that the fault was none.
    FindsItVoid,
}

#[derive(Default)]
pub struct Script {
    pub lies: BTreeSet<(Name, Lie)>,
    pub leader: Option<Name>,
    pub leader_asked: u32,
    /// Whether the system says what time it is.
    pub tells_time: bool,
    /// What the daemons have logged.
    pub logs: BTreeMap<Name, Vec<String>>,
    /// Nodes whose daemons do not run, whatever is done to them.
    pub dead: BTreeSet<Name>,
    /// Nodes whose daemons are stopped, whatever is done to them.
    pub stopped: BTreeSet<Name>,
    in_force: BTreeMap<Name, BTreeMap<u64, (Fault, Instant)>>,
    /// Lags that are never made up.
    kept_ns: BTreeMap<Name, i64>,
    seen: BTreeMap<(Name, u64), BTreeMap<IpAddr, u32>>,
    /// All requests that change something, in the order in which they came.
    pub told: Vec<(Name, Request)>,
}

/// The agents' common script, and the world made of them.
pub struct Stage {
    pub script: Arc<Mutex<Script>>,
    pub world: World,
}

pub fn names(count: usize) -> Vec<Name> {
    (1..=count).map(|i| Name::new(format!("n{i}"))).collect()
}

pub fn address(name: &str) -> IpAddr {
    let number = name
        .trim_start_matches('n')
        .parse()
        .expect("n and a number");
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, number))
}

pub async fn stage(count: usize) -> Stage {
    let script = Arc::new(Mutex::new(Script {
        tells_time: true,
        ..Script::default()
    }));
    let began = Instant::now();
    let nodes: Vec<Node> = names(count)
        .into_iter()
        .map(|name| {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let (from, to) = tokio::io::split(ours);
            tokio::spawn(play(name.clone(), theirs, script.clone(), began));
            // Notes have nobody to say them here.
            let (notes, _) = mpsc::unbounded_channel();
            Node {
                agent: Agent::new(name.clone(), from, to, notes),
                address: address(&name),
                name,
                dir: PathBuf::from("/nowhere"),
                machine: None,
            }
        })
        .collect();
    for node in &nodes {
        let greeted = node.agent.hello(Duration::from_secs(3600)).await;
        greeted.expect("the script answers");
    }
    let system = Arc::new(Paper {
        script: script.clone(),
        began,
    });
    let world = World {
        nodes,
        system,
        daemon: "paper".into(),
    };
    Stage { script, world }
}

impl Stage {
    pub fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub fn lie(&self, name: &str, lie: Lie) {
        self.script().lies.insert((Name::new(name), lie));
    }

    /// Faults in force anywhere.
    pub fn in_force(&self) -> Vec<(Name, u64)> {
        let script = self.script();
        let of = |(node, faults): (&Name, &BTreeMap<u64, _>)| -> Vec<(Name, u64)> {
            faults.keys().map(|f| (node.clone(), *f)).collect()
        };
        script.in_force.iter().flat_map(of).collect()
    }

    /// The mechanisms that were asked for.
    pub fn injected(&self) -> Vec<(Name, Fault)> {
        let mechanism = |(node, request): &(Name, Request)| match request {
            Request::Inject { kind, .. } => Some((node.clone(), kind.clone())),
            _ => None,
        };
        self.script().told.iter().filter_map(mechanism).collect()
    }
}

async fn play(name: Name, pipe: DuplexStream, script: Arc<Mutex<Script>>, began: Instant) {
    let (from, mut to) = tokio::io::split(pipe);
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Envelope { id, request } = serde_json::from_str(&line).expect("a request");
        let wait = match &request {
            Request::Probe { wait_ms, .. } => Duration::from_millis(*wait_ms / 20),
            _ => Duration::ZERO,
        };
        let answer = script.lock().unwrap().answer(&name, request, began);
        tokio::time::sleep(wait).await;
        let line = match answer {
            Ok(ok) => Line::Answer { id, ok },
            Err(error) => Line::Refusal { id, error },
        };
        let mut bytes = serde_json::to_vec(&line).unwrap();
        bytes.push(b'\n');
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn json<T: serde::Serialize>(answer: T) -> Result<serde_json::Value, String> {
    Ok(serde_json::to_value(answer).unwrap())
}

fn now_ns(began: Instant) -> i64 {
    EPOCH_NS + i64::try_from(began.elapsed().as_nanos()).unwrap()
}

impl Script {
    fn lies(&self, name: &Name, lie: Lie) -> bool {
        self.lies.contains(&(name.clone(), lie))
    }

    fn answer(
        &mut self,
        name: &Name,
        request: Request,
        began: Instant,
    ) -> Result<serde_json::Value, String> {
        if matches!(request, Request::Inject { .. } | Request::Heal { .. }) {
            self.told.push((name.clone(), request.clone()));
        }
        match request {
            Request::Hello { .. } => json(Hello {
                agent: "paper".into(),
                pid: 1,
                hostname: name.to_string(),
                arch: "paper".into(),
                kernel: "paper".into(),
                probe_port: PROBE_PORT,
                offers: Vec::new(),
                undone: Vec::new(),
            }),
            Request::Inject { fault, kind } => {
                if self.lies(name, Lie::RefusesInject) {
                    return Err("will not".into());
                }
                if !self.lies(name, Lie::AppliesNothing) {
                    let faults = self.in_force.entry(name.clone()).or_default();
                    faults.insert(fault, (kind, Instant::now()));
                }
                if self.lies(name, Lie::AppliesAndFails) {
                    return Err("lost my way".into());
                }
                json(Evidence {
                    void: Vec::new(),
                    held: !self.lies(name, Lie::SeesNoEffect),
                    evidence: vec![format!("fault {fault} entered")],
                })
            }
            Request::Heal { fault } => {
                if !self.lies(name, Lie::HealsNothing) {
                    let healed = self
                        .in_force
                        .entry(name.clone())
                        .or_default()
                        .remove(&fault);
                    if let Some((
                        Fault::Clock {
                            how:
                                ClockFault::Freeze {
                                    pause_ms,
                                    kept: true,
                                },
                            ..
                        },
                        _,
                    )) = healed
                    {
                        *self.kept_ns.entry(name.clone()).or_default() -=
                            pause_ms as i64 * 1_000_000;
                    }
                }
                json(Evidence {
                    void: match self.lies(name, Lie::FindsItVoid) {
                        true => vec!["nobody noticed".into()],
                        false => Vec::new(),
                    },
                    held: true,
                    evidence: vec![format!("fault {fault} gone")],
                })
            }
            Request::State { .. } => json(self.state(name)),
            Request::Probe {
                peers,
                nonce,
                count,
                ..
            } => {
                let mut answered = BTreeMap::new();
                for peer in peers {
                    let there = self.through(name, address_name(peer.ip()), count);
                    let back = self.through(&address_name(peer.ip()), name.clone(), there);
                    if there > 0 {
                        let seen = self
                            .seen
                            .entry((address_name(peer.ip()), nonce))
                            .or_default();
                        seen.insert(address(name), there);
                    }
                    if back > 0 {
                        let delay = self.delay_ns(name) + self.delay_ns(&address_name(peer.ip()));
                        answered.insert(peer, ROUND_TRIP_NS + delay);
                    }
                }
                json(Probed { answered })
            }
            Request::Seen { nonce } => {
                let from = self
                    .seen
                    .get(&(name.clone(), nonce))
                    .cloned()
                    .unwrap_or_default();
                json(Seen { from })
            }
            Request::Connect { to, .. } => {
                let target = address_name(to.ip());
                let dropped = self.rules(&target).any(|rule| {
                    rule.direction == Direction::Out && rule.local_port == Some(to.port())
                });
                let there = self.through(name, target.clone(), 1);
                let back = self.through(&target, name.clone(), there);
                let dropped = dropped || back == 0;
                let dead = matches!(self.state(&target), State::Stopped { .. })
                    && !self.lies(&target, Lie::Answers);
                json(match (dropped, dead) {
                    (true, _) => Connected::TimedOut,
                    (false, true) => Connected::Refused,
                    (false, false) => Connected::Yes,
                })
            }
            Request::Clocks { daemon } => json(Clocks {
                monotonic_ns: began.elapsed().as_nanos() as u64,
                realtime_ns: now_ns(began),
                window_ns: 100,
                daemon_offset_ns: daemon.map(|_| (self.offset_ns(name), 0)),
            }),
            Request::Tail { lines, .. } => {
                let log = self.logs.get(name).map_or(&[][..], Vec::as_slice);
                let from = log.len().saturating_sub(lines as usize);
                json(log[from..].join("\n"))
            }
            other => Err(format!("not in the script: {other:?}")),
        }
    }

    fn kinds(&self, name: &Name) -> impl Iterator<Item = &(Fault, Instant)> {
        self.in_force
            .get(name)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    fn rules(&self, name: &Name) -> impl Iterator<Item = &agent::protocol::Drop> {
        self.kinds(name).flat_map(|(kind, _)| match kind {
            Fault::Cut { rules } => rules.as_slice(),
            _ => &[],
        })
    }

    /// How many of so many probes arrive. Shares are taken exactly: chance is not what is tested.
    fn through(&self, from: &Name, to: Name, count: u32) -> u32 {
        if self.lies(from, Lie::IsUnheard) {
            return 0;
        }
        let lost: u32 = self
            .rules(&to)
            .filter(|rule| rule.direction == Direction::In && rule.peer == Some(address(from)))
            .map(|rule| rule.per_million)
            .sum();
        let doubled: u32 = self
            .kinds(from)
            .map(|(kind, _)| match kind {
                Fault::Packet { netem, .. } => netem.duplicate_per_million,
                _ => 0,
            })
            .sum();
        let share = 1_000_000u64.saturating_sub(lost.into()) + u64::from(doubled);
        u32::try_from(u64::from(count) * share / 1_000_000).unwrap()
    }

    fn delay_ns(&self, name: &Name) -> u64 {
        let delay = |(kind, _): &(Fault, Instant)| match kind {
            Fault::Packet { netem, .. } => netem.delay_us * 1_000,
            _ => 0,
        };
        self.kinds(name).map(delay).sum()
    }

    fn state(&self, name: &Name) -> State {
        let any = |wanted: fn(&Fault) -> bool| self.kinds(name).any(|(kind, _)| wanted(kind));
        match () {
            () if self.dead.contains(name) || any(|k| matches!(k, Fault::Kill { .. })) => {
                State::Stopped {
                    status: "signal 9".into(),
                }
            }
            () if self.stopped.contains(name) || any(|k| matches!(k, Fault::Pause { .. })) => {
                State::Paused { pid: 7 }
            }
            () => State::Running { pid: 7 },
        }
    }

    fn offset_ns(&self, name: &Name) -> i64 {
        let shift = |(kind, since): &(Fault, Instant)| match kind {
            Fault::Clock { how, .. } => match *how {
                ClockFault::Jump { delta_ns } => delta_ns,
                ClockFault::Strobe {
                    delta_ns,
                    period_us,
                } => match (since.elapsed().as_micros() as u64 / period_us).is_multiple_of(2) {
                    true => delta_ns,
                    false => 0,
                },
                ClockFault::Drift { ppb } => since.elapsed().as_micros() as i64 * ppb / 1_000_000,
                ClockFault::Freeze { pause_ms, .. } => -(pause_ms as i64) * 1_000_000,
            },
            _ => 0,
        };
        self.kinds(name).map(shift).sum::<i64>() + self.kept_ns.get(name).copied().unwrap_or(0)
    }
}

fn address_name(ip: IpAddr) -> Name {
    match ip {
        IpAddr::V4(v4) => Name::new(format!("n{}", v4.octets()[3])),
        IpAddr::V6(_) => panic!("nobody here has such an address"),
    }
}

/// A system without programs.
struct Paper {
    script: Arc<Mutex<Script>>,
    began: Instant,
}

#[async_trait]
impl System for Paper {
    fn name(&self) -> &str {
        "paper"
    }

    fn programs(&self) -> Vec<Program> {
        Vec::new()
    }

    fn daemon(&self, _: &Node, _: &[Node]) -> Daemon {
        unreachable!("faults do not start daemons")
    }

    async fn install(&self, _: &Node, _: &[Node]) -> Result<(), ControlError> {
        Ok(())
    }

    async fn ready(&self, _: &Node) -> Result<(), String> {
        Ok(())
    }

    async fn leader(&self, _: &[Node]) -> Option<Name> {
        let mut script = self.script.lock().unwrap();
        script.leader_asked += 1;
        script.leader.clone()
    }

    fn client_port(&self) -> u16 {
        CLIENT_PORT
    }

    async fn wall_clock(&self, node: &Node) -> Option<i64> {
        let script = self.script.lock().unwrap();
        let stopped = !matches!(script.state(&node.name), State::Running { .. });
        if stopped || !script.tells_time {
            return None;
        }
        // The system itself is not asked to lie: it tells the time that its agent gave it.
        Some(now_ns(self.began) + script.offset_ns(&node.name))
    }

    async fn version(&self, _: &Node) -> Result<String, ControlError> {
        Ok("paper".into())
    }
}
