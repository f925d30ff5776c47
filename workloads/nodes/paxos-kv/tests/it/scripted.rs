//! Nodes among peers that follow a script: what may happen by the rules of the protocol, and hardly
//! ever does.
//!
//! Five nodes. Some are real, the others are what the test says of them.

use std::sync::Arc;
use std::time::Duration;

use paxos_kv::core::kv::Kv;
use paxos_kv::core::message::*;
use paxos_kv::core::{Config, Core, Effect, Event, Input, Now, Recovered, Request, Role};
use paxos_kv::flaws::{Flaw, Flaws};

const MS: u64 = 1_000_000;
const OLD: Ballot = Ballot { round: 0, node: 2 };
/// Above any that a real node comes to in these tests.
const HIGH: Ballot = Ballot { round: 99, node: 4 };

/// A node, its clock, its disk, and what it has said.
struct Real {
    core: Core,
    config: Config,
    now_ns: u64,
    records: Vec<Record>,
    said: Vec<Message>,
    decided: Vec<(Slot, Digest)>,
    saves: Vec<(Slot, Arc<Vec<u8>>)>,
}

impl Real {
    fn new(me: NodeIndex, flaw: Option<Flaw>) -> Real {
        let config = Config {
            me,
            names: (1..=5).map(|n| format!("n{n}")).collect(),
            election_timeout: Duration::from_millis(500),
            heartbeat_interval: Duration::from_millis(100),
            lease: Duration::from_millis(400),
            max_drift: Duration::from_millis(50),
            request_timeout: Duration::from_secs(2),
            tick: Duration::from_millis(20),
            lease_reads: false,
            snapshot_every: 1_000,
            max_batch: 16,
            flaws: Flaws::from_iter(flaw),
            seed: 7,
        };
        Real::started(config, 1_000 * MS, Vec::new())
    }

    fn started(config: Config, now_ns: u64, records: Vec<Record>) -> Real {
        let recovered = Recovered {
            incarnation: 1,
            snapshot: None,
            records: records.clone(),
        };
        let now = Now {
            monotonic_ns: now_ns,
            wall_ns: now_ns,
        };
        let core = Core::new(config.clone(), recovered, now).unwrap();
        Real {
            core,
            config,
            now_ns,
            records,
            said: Vec::new(),
            decided: Vec::new(),
            saves: Vec::new(),
        }
    }

    /// Killed and started again, with what the log holds; a snapshot was never saved.
    fn killed_and_started(self) -> Real {
        Real::started(self.config, self.now_ns + 10 * MS, self.records)
    }

    fn input(&mut self, input: Input) {
        let now = Now {
            monotonic_ns: self.now_ns,
            wall_ns: self.now_ns,
        };
        self.core.step(now, input);
        for effect in self.core.effects() {
            match effect {
                Effect::Persist {
                    records,
                    durability,
                } => {
                    self.records.extend(records);
                    self.input(Input::Durable(durability.unwrap()));
                }
                Effect::Send(_, message) | Effect::Broadcast(message) => self.said.push(message),
                Effect::SaveSnapshot { slot, kv } => self.saves.push((slot, Arc::new(kv.encode()))),
                Effect::Trace(Event::Decide { slot, digest, .. }) => {
                    self.decided.push((slot, digest));
                }
                _ => {}
            }
        }
    }

    fn hears(&mut self, from: NodeIndex, message: Message) {
        self.input(Input::Message(from, message));
    }

    fn ticks(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 20 {
            self.now_ns += 20 * MS;
            self.input(Input::Tick);
        }
    }

    /// Follows a leader of an old ballot that decides so many slots.
    fn learns_old_slots(&mut self, upto: Slot) {
        for slot in 1..=upto {
            let (ballot, batch) = (OLD, batch(&format!("old {slot}")));
            self.hears(
                2,
                Message::Accept {
                    ballot,
                    slot,
                    batch,
                    decided: slot - 1,
                },
            );
        }
        self.hears(
            2,
            Message::Heartbeat {
                ballot: OLD,
                round: 1,
                decided: upto,
            },
        );
        assert_eq!(self.core.kv().applied, upto);
    }

    /// Stands for election until it leads, with the promises of nodes 2 and 3, who have decided so
    /// many slots and accepted nothing since.
    fn leads(&mut self, decided: Slot) -> Ballot {
        self.leads_with(decided, [Vec::new(), Vec::new()])
    }

    /// The same, but they report what they accepted.
    fn leads_with(&mut self, decided: Slot, reported: [Vec<Accepted>; 2]) -> Ballot {
        self.ticks(1_500);
        let asked = |message: &Message| match message {
            Message::PreVote { ballot } => Some(*ballot),
            _ => None,
        };
        let ballot = self
            .said
            .iter()
            .rev()
            .find_map(asked)
            .expect("it stands for election");
        for from in [2, 3] {
            self.hears(
                from,
                Message::PreVoteReply {
                    ballot,
                    granted: true,
                    promised: OLD,
                },
            );
        }
        for (from, accepted) in [2, 3].into_iter().zip(reported) {
            self.hears(
                from,
                Message::Promise {
                    ballot,
                    decided,
                    accepted,
                },
            );
        }
        assert_eq!(self.core.status().role, Role::Leader);
        ballot
    }

    fn digest(&self, slot: Slot) -> Option<Digest> {
        let found = self.decided.iter().find(|(decided, _)| *decided == slot);
        found.map(|(_, digest)| *digest)
    }
}

fn batch(text: &str) -> Arc<Batch> {
    let op = Op::Put {
        key: "k".into(),
        value: format!("\"{text}\""),
    };
    Arc::new(Batch {
        commands: vec![Command {
            session: text.into(),
            sequence: 1,
            settled: 1,
            op,
        }],
    })
}

/// Slots 1 to 5 as everybody knows them, and 6 and 7 as a leader of a high ballot had them chosen.
fn chosen() -> Vec<(Ballot, Arc<Batch>)> {
    let old = (1..=5).map(|slot| (OLD, batch(&format!("old {slot}"))));
    old.chain([(HIGH, batch("high 6")), (HIGH, batch("high 7"))])
        .collect()
}

/// A leader proposes slots 6 and 7, which one follower accepts. Others choose something else there
/// in a higher ballot, and the leader learns of it: by entries, or by a snapshot. Returns the
/// leader and the follower after it has told the follower all that it then says.
fn a_leader_learns_that_others_chose(flaw: Option<Flaw>, by_snapshot: bool) -> (Real, Real) {
    let (mut leader, mut follower) = (Real::new(0, flaw), Real::new(1, flaw));
    follower.learns_old_slots(5);
    leader.leads(5);
    leader.input(Input::Request(
        1,
        Request::Write(
            None,
            Op::Put {
                key: "k".into(),
                value: "\"of the leader\"".into(),
            },
        ),
    ));
    let tell = |leader: &mut Real, follower: &mut Real| {
        for message in std::mem::take(&mut leader.said) {
            follower.hears(0, message);
        }
    };
    tell(&mut leader, &mut follower);
    assert_eq!(
        follower.core.kv().applied,
        5,
        "6 and 7 are accepted, and not chosen"
    );
    if by_snapshot {
        let mut kv = Kv::default();
        for (slot, (_, batch)) in (1..).zip(chosen()) {
            kv.apply(slot, &batch, batch.digest(), true);
        }
        let (slot, offset, bytes) = (7, 0, kv.encode());
        let total = bytes.len() as u64;
        leader.hears(
            2,
            Message::SnapshotChunk {
                slot,
                offset,
                total,
                bytes,
            },
        );
    } else {
        let (first, entries, decided) = (1, chosen(), 7);
        leader.hears(
            2,
            Message::Entries {
                first,
                entries,
                decided,
            },
        );
    }
    assert_eq!(leader.core.kv().applied, 7);
    leader.ticks(200);
    tell(&mut leader, &mut follower);
    (leader, follower)
}

#[test]
fn a_leader_that_learns_of_slots_of_a_higher_ballot_does_not_announce_them_in_its_own() {
    for by_snapshot in [false, true] {
        let (leader, follower) = a_leader_learns_that_others_chose(None, by_snapshot);
        assert_eq!(leader.core.status().role, Role::Follower);
        assert_eq!(follower.core.kv().applied, 5, "by snapshot: {by_snapshot}");
    }
    // The same with the flaw gives one slot two values, so the script leads to where it should.
    let flaw = Some(Flaw::StaleBallotDecides);
    let (leader, follower) = a_leader_learns_that_others_chose(flaw, false);
    assert_eq!(leader.digest(6), Some(batch("high 6").digest()));
    assert!(
        follower
            .digest(6)
            .is_some_and(|digest| Some(digest) != leader.digest(6))
    );
    let (_, follower) = a_leader_learns_that_others_chose(flaw, true);
    assert!(
        follower
            .digest(6)
            .is_some_and(|digest| digest != batch("high 6").digest())
    );
}

/// A node has accepted slots 6 and 7 that were never chosen, installs a snapshot of slot 7, accepts
/// slot 8, and is killed before the snapshot is on the disk.
fn a_node_is_killed_while_an_installed_snapshot_is_saved(flaw: Option<Flaw>) -> Real {
    let mut node = Real::new(1, flaw);
    node.learns_old_slots(5);
    for slot in [6, 7] {
        let batch = batch(&format!("never chosen {slot}"));
        node.hears(
            2,
            Message::Accept {
                ballot: OLD,
                slot,
                batch,
                decided: 5,
            },
        );
    }
    node.hears(
        4,
        Message::Heartbeat {
            ballot: HIGH,
            round: 1,
            decided: 7,
        },
    );
    let mut kv = Kv::default();
    for (slot, (_, batch)) in (1..).zip(chosen()) {
        kv.apply(slot, &batch, batch.digest(), true);
    }
    let (slot, offset, bytes) = (7, 0, kv.encode());
    let total = bytes.len() as u64;
    node.hears(
        4,
        Message::SnapshotChunk {
            slot,
            offset,
            total,
            bytes,
        },
    );
    assert_eq!((node.core.kv().applied, node.saves.len()), (7, 1));
    node.hears(
        4,
        Message::Accept {
            ballot: HIGH,
            slot: 8,
            batch: batch("high 8"),
            decided: 7,
        },
    );
    node.killed_and_started()
}

#[test]
fn a_snapshot_counts_as_decided_only_when_it_is_on_the_disk() {
    let node = a_node_is_killed_while_an_installed_snapshot_is_saved(None);
    assert_eq!(node.core.kv().applied, 5, "what the disk proves");
    let flaw = Some(Flaw::SnapshotDecidedEarly);
    let node = a_node_is_killed_while_an_installed_snapshot_is_saved(flaw);
    assert_ne!(
        node.core.kv().applied,
        5,
        "the script leads to where it should"
    );
}

#[test]
fn a_transfer_of_a_snapshot_goes_on_although_there_is_a_newer_one() {
    let mut node = Real::new(1, None);
    let value = "x".repeat(600 << 10);
    let mut slot = 0;
    let mut snapshots = || {
        for _ in 0..1_000 {
            slot += 1;
            let batch = batch(if slot % 500 == 0 { &value } else { "small" });
            let ballot = OLD;
            let decided = slot - 1;
            node.hears(
                2,
                Message::Accept {
                    ballot,
                    slot,
                    batch,
                    decided,
                },
            );
        }
        node.hears(
            2,
            Message::Heartbeat {
                ballot: OLD,
                round: slot,
                decided: slot,
            },
        );
        let (slot, bytes) = node.saves.pop().expect("a snapshot is due");
        node.input(Input::SnapshotSaved(slot, bytes));
        node.said.clear();
    };
    snapshots();
    snapshots();
    snapshots();
    let mut piece = |slot, offset| {
        node.said.clear();
        node.hears(3, Message::FetchSnapshot { slot, offset });
        match &node.said[..] {
            [Message::SnapshotChunk { slot, offset, .. }] => (*slot, *offset),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(piece(0, 0), (3_000, 0), "who asks for any gets the newest");
    assert_eq!(piece(2_000, 1_000), (2_000, 1_000));
    assert_eq!(piece(1_000, 1_000), (3_000, 0), "what is gone begins anew");
}

#[test]
fn whoever_asks_for_slots_that_nobody_has_yet_gets_none() {
    let mut node = Real::new(1, None);
    node.learns_old_slots(5);
    node.said.clear();
    node.hears(3, Message::Fetch { from: 9 });
    let nothing = Message::Entries {
        first: 9,
        entries: Vec::new(),
        decided: 5,
    };
    assert_eq!(node.said, [nothing]);
}

/// A node that had granted a lease to node 2 is killed, started again, and asked at once for a
/// promise to node 3. Returns what it said until 300 ms later, and until after the lease.
fn a_node_that_granted_a_lease_starts_again(flaw: Option<Flaw>) -> [usize; 2] {
    let mut node = Real::new(1, flaw);
    let (round, decided) = (1, 0);
    let ballot = OLD;
    node.hears(
        2,
        Message::Heartbeat {
            ballot,
            round,
            decided,
        },
    );
    let mut node = node.killed_and_started();
    let ballot = Ballot { round: 1, node: 3 };
    let mut promises = |milliseconds| {
        node.ticks(milliseconds);
        node.hears(3, Message::Prepare { ballot });
        let promise = |message: &&Message| matches!(message, Message::Promise { .. });
        node.said.iter().filter(promise).count()
    };
    [promises(300), promises(120)]
}

#[test]
fn a_lease_outlives_the_death_of_whoever_granted_it() {
    assert_eq!(a_node_that_granted_a_lease_starts_again(None), [0, 1]);
    let flaw = Some(Flaw::NoGraceAfterRestart);
    assert_eq!(a_node_that_granted_a_lease_starts_again(flaw), [1, 2]);
}

/// Two acceptors report different values for slot 6, and the one that is heard last has that of the
/// lower ballot. Returns what the new leader proposes there.
fn a_leader_hears_of_two_values(flaw: Option<Flaw>) -> Arc<Batch> {
    let mut leader = Real::new(0, flaw);
    leader.learns_old_slots(5);
    let accepted = |round, text| {
        let ballot = Ballot { round, node: 4 };
        vec![Accepted {
            slot: 6,
            ballot,
            batch: batch(text),
        }]
    };
    leader.leads_with(
        5,
        [accepted(2, "perhaps chosen"), accepted(1, "never chosen")],
    );
    let proposed = leader.said.iter().find_map(|message| match message {
        Message::Accept { slot: 6, batch, .. } => Some(batch.clone()),
        _ => None,
    });
    proposed.expect("a leader finishes what was begun")
}

#[test]
fn of_several_reported_values_that_of_the_highest_ballot_goes_on() {
    assert_eq!(a_leader_hears_of_two_values(None), batch("perhaps chosen"));
    let flaw = Some(Flaw::AnyReportedValue);
    assert_eq!(a_leader_hears_of_two_values(flaw), batch("never chosen"));
}

/// A node learns of slot 7 while it asks for more, and then a piece comes that it had asked for
/// before: a snapshot of slot 5. Returns what it has applied then.
fn an_older_snapshot_comes_late(flaw: Option<Flaw>) -> Slot {
    let mut node = Real::new(1, flaw);
    let (ballot, round, decided) = (OLD, 1, 9);
    node.hears(
        2,
        Message::Heartbeat {
            ballot,
            round,
            decided,
        },
    );
    let (first, entries) = (1, chosen());
    node.hears(
        2,
        Message::Entries {
            first,
            entries,
            decided,
        },
    );
    assert_eq!(node.core.kv().applied, 7);
    let mut kv = Kv::default();
    for (slot, (_, batch)) in (1..=5).zip(chosen()) {
        kv.apply(slot, &batch, batch.digest(), true);
    }
    let (slot, offset, bytes) = (5, 0, kv.encode());
    let total = bytes.len() as u64;
    node.hears(
        2,
        Message::SnapshotChunk {
            slot,
            offset,
            total,
            bytes,
        },
    );
    node.core.kv().applied
}

#[test]
fn a_snapshot_never_replaces_a_newer_state() {
    assert_eq!(an_older_snapshot_comes_late(None), 7);
    assert_eq!(
        an_older_snapshot_comes_late(Some(Flaw::OlderSnapshotInstalls)),
        5
    );
}

/// How often a node that has stood for election stands again when it hears of another leader.
fn a_candidate_hears_of_a_leader(flaw: Option<Flaw>) -> usize {
    let mut node = Real::new(0, flaw);
    node.ticks(1_500);
    for message in std::mem::take(&mut node.said) {
        if let Message::PreVote { ballot } = message {
            for from in [2, 3] {
                let yes = Message::PreVoteReply {
                    ballot,
                    granted: true,
                    promised: OLD,
                };
                node.hears(from, yes);
            }
        }
    }
    let theirs = Ballot { round: 50, node: 4 };
    node.said.clear();
    node.hears(
        4,
        Message::Heartbeat {
            ballot: theirs,
            round: 1,
            decided: 0,
        },
    );
    let above =
        |message: &&Message| matches!(message, Message::Prepare { ballot } if *ballot > theirs);
    node.said.iter().filter(above).count()
}

#[test]
fn whoever_hears_of_another_leader_leaves_it_to_that_one() {
    assert_eq!(a_candidate_hears_of_a_leader(None), 0);
    let flaw = Some(Flaw::DuellingLeaders);
    assert_eq!(a_candidate_hears_of_a_leader(flaw), 1);
}
