//! Packet: packets between the targets and their peers come late, not at all, twice, out of order,
//! damaged or through a thin pipe.
//!
//! Loss is made by the firewall, where packets arrive, because every kernel can do that; everything
//! else is `tc`'s, which disturbs what *leaves* a target. Evidence is statistical: a number of
//! probes, and what became of them. Where chance could explain the figures, the receipt says that
//! it cannot tell, and rests on the agent.

use std::sync::Arc;
use std::time::Duration;

use agent::protocol::{self, Direction, Drop, Netem};
use async_trait::async_trait;
use harness::cluster::Node;
use harness::nemesis::{Fault, FaultError, World};
use harness::units::{write_duration, write_share};
use history::Name;
use history::fault::Loss;

use crate::aim::Aim;
use crate::apply::{Applied, Orders, Policy};
use crate::ask::{Mechanisms, nodes};
use crate::family::{Family, Grip, Need, Shape, What};
use crate::figure::{Drawn, Figure, MILLISECOND, SECOND, Unit, as_drawn};
use crate::probes::{self, Matrix};
use crate::reach::deafened;
use crate::sights::Sights;
use crate::targets::{Targets, join};

/// Probes to each peer in a round: few enough that all peers' fit into a socket's buffer, and so
/// many rounds that shares of a few percent show.
const PROBES: u32 = 25;
const ROUNDS: u32 = 6;
const WAIT: Duration = Duration::from_millis(100);

const fn delay(drawn: Drawn) -> Figure {
    Figure {
        key: "delay",
        unit: Unit::Span,
        example: "\"50ms\"",
        default: None,
        drawn,
        grain: MILLISECOND,
        fit: as_drawn,
        least: MILLISECOND,
        // The kernel counts the delay of a packet in units of 64 ns, in 32 bits.
        allowed: 0..=4 * 60 * SECOND,
        otherwise: "no packet can be delayed by more than 4m",
    }
}

const DELAY: Figure = delay(Drawn::Magnitude(5..=500));

/// How late the packets come that are overtaken.
const OVERTAKEN: Figure = delay(Drawn::Magnitude(10..=200));

/// How much a delay varies.
const JITTER: Figure = Figure {
    key: "jitter",
    default: Some(0),
    least: 0,
    allowed: 0..=i64::MAX,
    ..delay(Drawn::PercentOfLast(0..=50))
};

const fn share(percent: Drawn) -> Figure {
    Figure {
        key: "share",
        unit: Unit::Share,
        example: "\"20%\"",
        default: None,
        drawn: percent,
        grain: 10_000,
        fit: as_drawn,
        // Of a smaller share not one in a thousand probes would show it.
        least: 1_000,
        allowed: 0..=1_000_000,
        otherwise: "a share is 0% to 100%",
    }
}

const LOST: Figure = share(Drawn::Evenly(5..=50));
const DOUBLED: Figure = share(Drawn::Evenly(5..=50));
const EARLY: Figure = share(Drawn::Evenly(10..=50));
const FLIPPED: Figure = share(Drawn::Evenly(1..=20));

const RATE: Figure = Figure {
    key: "rate_kbit",
    unit: Unit::Number,
    example: "1000",
    default: None,
    drawn: Drawn::Magnitude(64..=8_192),
    grain: 1,
    fit: as_drawn,
    least: 1,
    // No link is faster: 1 Tbit/s.
    allowed: 0..=1_000_000_000,
    otherwise: "the rate of a link is 1000000000 kbit at most",
};

const NETEM: &[Need] = &[&["netem"]];

pub static FAMILY: Family = Family {
    name: "packet",
    does: "disturbs packets between the targets and their peers",
    example: "packet:loss:minority",
    shapes: &[
        Shape {
            name: "delay",
            percent: 30,
            figures: &[DELAY, JITTER],
            check: |what, _| match what.get(&JITTER) > what.get(&DELAY) {
                false => Ok(()),
                true => {
                    let why = "more jitter than delay: packets cannot come early";
                    Err((JITTER.key, why.into()))
                }
            },
            ..disturbance(
                NETEM,
                "packets that leave the targets come late, by a time that varies",
                |what| {
                    let (delay, jitter) = (what.span(&DELAY), what.span(&JITTER));
                    made(what, Effect::Delay { delay, jitter })
                },
            )
        },
        Shape {
            name: "loss",
            percent: 25,
            figures: &[LOST],
            ..disturbance(
                &[&["nft"]],
                "a share of the packets to and from the targets is lost",
                |what| {
                    let share_per_million = what.share(&LOST);
                    made(what, Effect::Loss { share_per_million })
                },
            )
        },
        Shape {
            name: "duplicate",
            percent: 10,
            figures: &[DOUBLED],
            ..disturbance(
                NETEM,
                "a share of the packets that leave the targets comes twice",
                |what| {
                    let share_per_million = what.share(&DOUBLED);
                    made(what, Effect::Duplicate { share_per_million })
                },
            )
        },
        Shape {
            name: "reorder",
            percent: 15,
            figures: &[EARLY, OVERTAKEN],
            ..disturbance(
                NETEM,
                "a share of the packets that leave the targets overtakes the others",
                |what| {
                    let effect = Effect::Reorder {
                        share_per_million: what.share(&EARLY),
                        delay: what.span(&OVERTAKEN),
                    };
                    made(what, effect)
                },
            )
        },
        Shape {
            name: "corrupt",
            percent: 10,
            figures: &[FLIPPED],
            ..disturbance(
                NETEM,
                "a share of the packets that leave the targets has a bit flipped",
                |what| {
                    let share_per_million = what.share(&FLIPPED);
                    made(what, Effect::Corrupt { share_per_million })
                },
            )
        },
        Shape {
            name: "rate",
            percent: 10,
            figures: &[RATE],
            ..disturbance(
                &[&["tbf"]],
                "what leaves the targets goes through a thin pipe",
                |what| {
                    let rate_kbit = what.get(&RATE).unsigned_abs();
                    made(what, Effect::Rate { rate_kbit })
                },
            )
        },
    ],
    named: None,
    // The loss alone: it needs nothing of the kernel that a partition does not need.
    in_all: Some("packet:loss"),
};

const fn disturbance(
    needs: &'static [Need],
    does: &'static str,
    make: fn(&What) -> Arc<dyn Fault>,
) -> Shape {
    Shape {
        least_nodes: 2,
        needs,
        aim: Aim::Daemons,
        ..Shape::new(does, Grip::Around, make)
    }
}

fn made(what: &What, effect: Effect) -> Arc<dyn Fault> {
    let targets = what.targets.clone();
    Arc::new(Applied::new(Packet { effect, targets }))
}

/// What happens to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Delay {
        delay: Duration,
        jitter: Duration,
    },
    Loss {
        share_per_million: u32,
    },
    Duplicate {
        share_per_million: u32,
    },
    /// The share goes at once, all others come `delay` late.
    Reorder {
        share_per_million: u32,
        delay: Duration,
    },
    Corrupt {
        share_per_million: u32,
    },
    Rate {
        rate_kbit: u64,
    },
}

impl Effect {
    fn label(&self) -> String {
        match *self {
            Effect::Delay { delay, jitter } => {
                format!(
                    "delay {} ± {}",
                    write_duration(delay),
                    write_duration(jitter)
                )
            }
            Effect::Loss { share_per_million } => {
                format!("loss {}", write_share(share_per_million))
            }
            Effect::Duplicate { share_per_million } => {
                format!("duplicate {}", write_share(share_per_million))
            }
            Effect::Reorder {
                share_per_million,
                delay,
            } => format!(
                "reorder {} by {}",
                write_share(share_per_million),
                write_duration(delay)
            ),
            Effect::Corrupt { share_per_million } => {
                format!("corrupt {}", write_share(share_per_million))
            }
            Effect::Rate { rate_kbit } => format!("rate {rate_kbit} kbit/s"),
        }
    }

    fn netem(&self) -> Netem {
        let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let none = Netem::default();
        match *self {
            Effect::Delay { delay, jitter } => Netem {
                delay_us: us(delay),
                jitter_us: us(jitter),
                ..none
            },
            Effect::Loss { share_per_million } => Netem {
                loss_per_million: share_per_million,
                ..none
            },
            Effect::Duplicate { share_per_million } => Netem {
                duplicate_per_million: share_per_million,
                ..none
            },
            Effect::Reorder {
                share_per_million,
                delay,
            } => Netem {
                reorder_per_million: share_per_million,
                delay_us: us(delay),
                ..none
            },
            Effect::Corrupt { share_per_million } => Netem {
                corrupt_per_million: share_per_million,
                ..none
            },
            Effect::Rate { rate_kbit } => Netem { rate_kbit, ..none },
        }
    }

    /// Whether it acts on packets from one node to another.
    fn acts(&self, targets: &[Name], from: &Name, to: &Name) -> bool {
        match self {
            Effect::Loss { .. } => targets.contains(from) || targets.contains(to),
            _ => targets.contains(from),
        }
    }
}

/// Disturbs the packets of some nodes.
struct Packet {
    effect: Effect,
    targets: Targets,
}

#[async_trait]
impl Policy for Packet {
    type Before = ();

    fn family(&self) -> &'static Family {
        &FAMILY
    }

    fn label(&self) -> String {
        format!("packets of {}: {}", self.targets, self.effect.label())
    }

    async fn orders(&self, world: &World) -> Result<Orders<()>, FaultError> {
        let targets = self.targets.resolve(world).await?;
        Ok(Orders {
            label: match self.targets {
                Targets::Leader => format!(
                    "packets of the leader {}: {}",
                    join(&targets),
                    self.effect.label()
                ),
                Targets::Nodes(_) => self.label(),
            },
            mechanisms: match self.effect {
                Effect::Loss { share_per_million } => losses(world, &targets, share_per_million)?,
                _ => disturbances(world, &targets, &self.effect)?,
            },
            targets,
            before: (),
        })
    }

    fn takes_away(&self, orders: &Orders<()>, world: &World) -> Loss {
        Loss {
            deaf: deafened(&orders.mechanisms, world),
            ..Loss::default()
        }
    }

    async fn witness(&self, orders: &Orders<()>, world: &World, sights: &mut Sights) {
        self.look(orders, world, true, sights).await;
    }

    async fn witness_healed(&self, orders: &Orders<()>, world: &World, sights: &mut Sights) {
        self.look(orders, world, false, sights).await;
    }
}

impl Packet {
    async fn look(&self, orders: &Orders<()>, world: &World, disturbed: bool, sights: &mut Sights) {
        let wait = match self.effect {
            Effect::Delay { delay, jitter } => WAIT + 2 * (delay + jitter),
            Effect::Loss { .. } | Effect::Duplicate { .. } | Effect::Corrupt { .. } => WAIT,
            // What overtakes what, and how fast a pipe fills, probes do not show.
            Effect::Reorder { .. } | Effect::Rate { .. } => return,
        };
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            match probes::ask(&world.nodes, PROBES, wait).await {
                Ok(matrix) => rounds.push(matrix),
                Err(errors) => return errors.iter().for_each(|e| sights.blind(e)),
            }
        }
        let names: Vec<&Name> = world.nodes.iter().map(|n| &n.name).collect();
        let (what, share_per_million) = match self.effect {
            Effect::Delay { delay, jitter } => {
                let least = delay.saturating_sub(jitter);
                let trips = fastest(&rounds, &names, &orders.targets);
                let (agrees, line) = judge_delay(&trips, least, disturbed);
                return sights.see(agrees, line);
            }
            Effect::Duplicate { share_per_million } => ("too many", share_per_million),
            Effect::Loss { share_per_million } | Effect::Corrupt { share_per_million } => {
                ("lost", share_per_million)
            }
            Effect::Reorder { .. } | Effect::Rate { .. } => return,
        };
        let links = self.links(&rounds, &names, &orders.targets);
        let judge = |sent, arrived| {
            let counted = match self.effect {
                Effect::Duplicate { .. } => i64::from(arrived) - i64::from(sent),
                _ => i64::from(sent) - i64::from(arrived),
            };
            judge_share(what, sent, counted, share_per_million, disturbed)
        };
        let sum = |of: fn(&Link) -> u32| links.iter().map(of).sum();
        let (agrees, line) = judge(sum(|l| l.sent), sum(|l| l.arrived));
        sights.see(agrees, line);
        // A single node that does otherwise is lost in the sum.
        for link in &links {
            let (agrees, line) = judge(link.sent, link.arrived);
            if !agrees {
                sights.contradicts(format!("{} -> {}: {line}", link.from, link.to));
            }
        }
    }

    /// What became of the probes where the fault acts. Directions in which nothing at all arrived
    /// are left out: they are cut, by another fault.
    fn links<'n>(&self, rounds: &[Matrix], names: &[&'n Name], targets: &[Name]) -> Vec<Link<'n>> {
        let mut links = Vec::new();
        for from in names {
            for to in names.iter().filter(|to| *to != from) {
                let arrived: u32 = rounds.iter().map(|m| m.arrived(from, to)).sum();
                if self.effect.acts(targets, from, to) && arrived > 0 {
                    let sent = rounds.iter().map(|m| m.sent).sum();
                    links.push(Link {
                        from,
                        to,
                        sent,
                        arrived,
                    });
                }
            }
        }
        links
    }
}

/// Probes from one node to another.
struct Link<'n> {
    from: &'n Name,
    to: &'n Name,
    sent: u32,
    arrived: u32,
}

/// The fastest round trip between a target and any peer, with the number of targets on its way.
fn fastest(rounds: &[Matrix], names: &[&Name], targets: &[Name]) -> Vec<(Duration, u32)> {
    let mut all = Vec::new();
    for from in names {
        for to in names.iter().filter(|to| *to != from) {
            let legs = u32::from(targets.contains(from)) + u32::from(targets.contains(to));
            let pair = ((*from).clone(), (*to).clone());
            let best = rounds
                .iter()
                .filter_map(|m| m.round_trip_ns.get(&pair))
                .min();
            if let (1.., Some(ns)) = (legs, best) {
                all.push((Duration::from_nanos(*ns), legs));
            }
        }
    }
    all
}

fn judge_delay(trips: &[(Duration, u32)], least: Duration, disturbed: bool) -> (bool, String) {
    let Some((best, legs)) = trips.iter().min_by_key(|(trip, legs)| *trip / *legs) else {
        return (true, "no probe was answered: cannot tell the delay".into());
    };
    let line = format!("fastest round trip {} (probes)", write_duration(*best));
    let slow = *best >= least * *legs;
    match (disturbed, slow) {
        (true, true) | (false, false) => (true, line),
        (true, false) => {
            let due = write_duration(least * *legs);
            (false, format!("{line}, where it cannot be under {due}"))
        }
        // A busy machine is slow too, and a heal is not refuted by that.
        (false, true) => (
            true,
            format!("{line}: too slow to tell that the delay is gone"),
        ),
    }
}

/// Whether so many of so many can be, at six standard deviations of a binomial distribution: one
/// false alarm in about a thousand million.
fn judge_share(
    what: &str,
    sent: u32,
    counted: i64,
    share_per_million: u32,
    disturbed: bool,
) -> (bool, String) {
    let line = format!("{counted} of {sent} probes {what}");
    if sent == 0 {
        return (true, "no probe arrived: cannot tell the share".into());
    }
    let share = f64::from(share_per_million) / 1e6;
    let expected = f64::from(sent) * share;
    let least = expected - 6.0 * (expected * (1.0 - share)).sqrt();
    if least < 1.0 {
        return (
            true,
            format!("{line}: too few to tell {}", write_share(share_per_million)),
        );
    }
    match (disturbed, counted as f64 >= least) {
        (true, true) | (false, false) => (true, line),
        (true, false) => (false, format!("{line}, where {expected:.0} were due")),
        (false, true) => (false, format!("{line}, as if it were still in force")),
    }
}

/// Each packet passes one rule, where it arrives, if either end is a target.
fn losses(world: &World, targets: &[Name], per_million: u32) -> Result<Mechanisms, FaultError> {
    nodes(world, targets)?;
    let mut mechanisms = Vec::new();
    for node in &world.nodes {
        let rules: Vec<Drop> = world
            .nodes
            .iter()
            .filter(|peer| peer.name != node.name)
            .filter(|peer| targets.contains(&peer.name) || targets.contains(&node.name))
            .map(|peer| Drop {
                direction: Direction::In,
                peer: Some(peer.address),
                local_port: None,
                per_million,
            })
            .collect();
        if !rules.is_empty() {
            mechanisms.push((node.clone(), protocol::Fault::Cut { rules }));
        }
    }
    Ok(mechanisms)
}

/// Peers are named, so that the controller's own packets are left alone.
fn disturbances(
    world: &World,
    targets: &[Name],
    effect: &Effect,
) -> Result<Mechanisms, FaultError> {
    let disturb = |node: Node| {
        let others = world.nodes.iter().filter(|peer| peer.name != node.name);
        let peers = others.map(|peer| peer.address).collect();
        let netem = effect.netem();
        (node, protocol::Fault::Packet { peers, netem })
    };
    Ok(nodes(world, targets)?.into_iter().map(disturb).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_judged_only_where_chance_cannot_explain_it() {
        for (sent, counted, share, disturbed, agrees, says) in [
            (1_600, 320, 200_000, true, true, "320 of 1600"),
            (1_600, 0, 200_000, true, false, "320 were due"),
            (1_600, 150, 200_000, true, false, "320 were due"),
            (1_600, 3, 200_000, false, true, "3 of 1600"),
            (1_600, 320, 200_000, false, false, "still in force"),
            (100, 0, 10_000, true, true, "too few"),
            (0, 0, 200_000, true, true, "cannot tell"),
        ] {
            let (agreed, line) = judge_share("lost", sent, counted, share, disturbed);
            assert_eq!(agreed, agrees, "{line}");
            assert!(line.contains(says), "{line}");
        }
    }

    #[test]
    fn a_delay_is_due_once_for_every_target_on_the_way() {
        let ms = Duration::from_millis;
        let least = ms(40);
        assert!(judge_delay(&[(ms(45), 1), (ms(90), 2)], least, true).0);
        assert!(!judge_delay(&[(ms(45), 1), (ms(45), 2)], least, true).0);
        assert!(!judge_delay(&[(ms(1), 1)], least, true).0);
        assert!(judge_delay(&[(ms(1), 1)], least, false).0);
    }
}
