//! The bugs this node can be told to have, so that a test harness can prove that it finds them.
//!
//! Each is a bug that real systems have had, is off by default, and is one small marked branch in
//! the code (`flaws.has(Flaw::X)`). The catalogue below says which family of faults brings each to
//! light.

use std::fmt;

use nodekit::flaws::{self, Entry, Planted};

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// A leader answers reads from its own state without asking a quorum whether it still leads,
    /// and does not step down when it loses the quorum. As in the first Consul and etcd, which
    /// Jepsen found in 2014.
    StaleReadLeader,
    /// Followers answer reads from their own state. As with `serializable` reads in etcd or reads
    /// from a ZooKeeper follower without `sync`, sold as linearizable.
    StaleReadFollower,
    /// Leases and timers are measured with the wall clock, and a leader that trusts its lease takes
    /// no notice of others. As in ceph-mon, whose leases follow the wall clock.
    WallClockLease,
    /// The lease is checked against a count of timer ticks, which stands still while the process is
    /// stopped, and is used after the pause. As in `ReadOnlyLeaseBased` of etcd's raft, whose clock
    /// is a count of ticks.
    LeaseCheckedEarly,
    /// A promise is answered before it is on the disk, and reaches it much later. As in systems
    /// that flush their "hard state" in the background.
    UnsyncedPromise,
    /// An accept is answered before it is on the disk. As in any database with `fsync` off or a
    /// write-behind log.
    UnsyncedAccept,
    /// The promised ballot is not restored after a restart, so ballots are used twice.
    BallotReuse,
    /// A new leader does not carry on the values which the promises of phase 1 report. The classic
    /// error in home-made Paxos: phase 1 taken for a mere election.
    IgnoreAccepted,
    /// The leader counts its own accept as enough and answers before a quorum has accepted. As with
    /// MongoDB's `w: 1` or asynchronous replication sold as durable.
    EarlyAck,
    /// A majority is taken to be n/2 (rounded down), so that two halves can both lead and decide.
    HalfQuorum,
    /// What was sent before a connection broke is sent again when it is back, and nothing
    /// recognises it: a retried request is applied twice. At-least-once delivery taken for
    /// exactly-once.
    DuplicateApply,
    /// A snapshot holds the state of some slots ago under the label of the current one, so entries
    /// between them are lost on restart or transfer. As in snapshots captured before, and labelled
    /// after, a write goes through.
    SnapshotLosesTail,
    /// Compare-and-set compares when it is proposed, against the leader's state, and swaps without
    /// comparing when it is applied.
    CasNotAtomic,
    /// A follower takes the leader's commit index for its own log, without regard to whether its
    /// entries are of that leader's ballot. The mistake which the figure 8 of the Raft paper warns
    /// of, on the follower's side.
    CommitAnyBallot,
    /// A new leader takes its time to decide what phase 1 told it and serves reads meanwhile, so it
    /// may not know the last acknowledged writes. Raft, section 8: the no-op at the start of a
    /// term.
    ReadBeforeRecovery,
    /// A node that installs a snapshot writes down that its slots are decided before the snapshot
    /// is on the disk. Killed in between, it takes what its log holds in these slots for decided,
    /// though others were chosen.
    SnapshotDecidedEarly,
    /// A leader that is refused because of a higher ballot takes itself for one that is behind: it
    /// catches up, goes on leading and announces what it learned in its own ballot, so that
    /// followers take what they accepted from it there for chosen.
    StaleBallotDecides,
    /// Of several values that phase 1 reports for a slot a new leader carries on any, not that of
    /// the highest ballot. The condition of "Paxos Made Simple" that implementations most often
    /// leave out.
    AnyReportedValue,
    /// An acceptor checks its promise in phase 1 only, and accepts whatever it is sent in phase 2.
    /// As when a leader, once elected, is taken for the leader until it says otherwise.
    AcceptBelowPromise,
    /// Accepts are counted by message and not by acceptor, so one that is asked again counts twice.
    AcksCountedTwice,
    /// Commands of one slot are applied at the same time, in an order that chance decides, so
    /// states differ though logs do not. A state machine must be deterministic (Schneider,
    /// "Implementing Fault-Tolerant Services Using the State Machine Approach", 1990).
    ParallelApply,
    /// The leader answers reads from what it has proposed, decided or not. Dirty reads, as in
    /// VoltDB 6.3, which Jepsen found in 2016.
    DirtyRead,
    /// A leader counts its lease from the moment when the answers to its heartbeat came, not from
    /// when it sent it. What lies between may be longer than the lease.
    LeaseFromReply,
    /// A request that was not answered in time is said to have failed, though it may still happen.
    /// As with clients that map every error to "aborted".
    TimeoutIsFailure,
    /// A node that starts again begins with nothing, under its old name. As one whose disk was
    /// replaced, and that joins again as if it had never promised anything.
    RejoinEmpty,
    /// A node that starts again promises at once, without waiting until a lease that it may have
    /// granted before is over.
    NoGraceAfterRestart,
    /// The log is cut when a snapshot is begun, not when it is on the disk, for which there is no
    /// hurry then.
    LogCutEarly,
    /// What a write left half done is not cut off: the log goes on behind it, and the next start
    /// takes all of that for torn too. As in logs that are opened for appending before they are
    /// read to their end.
    TornTailKept,
    /// A sync of the log that failed is taken for one that did not, or is tried again and succeeds
    /// because the kernel took the pages for clean. PostgreSQL until 11.2 ("fsyncgate", 2018);
    /// Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020.
    SyncErrorIgnored,
    /// A long range is read page by page and given out as one answer, so it mixes several moments.
    /// Scans without a snapshot, as by cursors of many stores.
    TornRange,
    /// A snapshot holds the values and not the sessions, so whoever starts from it applies a
    /// repeated request again. The thesis on Raft (Ongaro 2014, section 6.3) warns of it: both are
    /// the state.
    SessionsNotInSnapshot,
    /// A snapshot that comes late replaces a newer state, with no restart in between. Snapshots
    /// must be refused below what is applied, as the last rule of Raft's InstallSnapshot says for
    /// its log.
    OlderSnapshotInstalls,
    /// Whoever has seen a leader go stands for election as soon as it hears of another one, in a
    /// higher ballot, and asks nobody first. Such nodes depose one another for ever: the livelock
    /// of "Paxos Made Simple", section 2.4.
    DuellingLeaders,
    /// The index of what was applied is saved and the state is not, so a node that was killed
    /// leaves commands out. As in etcd 3.5.0 to 3.5.2.
    IndexAheadOfState,
    /// A node that has caught up by a snapshot goes on telling those who follow changes, and does
    /// not say that it lacks what the snapshot has replaced. As in etcd 18089, where a watch that
    /// was behind lost a change to the compaction.
    WatchSkipsGap,
    /// Changes are told when they are accepted, not when they are decided. As when MongoDB's oplog
    /// was followed, before it had change streams: what a primary had not replicated was rolled
    /// back.
    WatchFromUndecided,
    /// A leader that was stopped finds leases expired when it wakes, and has them ended though they
    /// were renewed meanwhile. As in etcd 12528 and 15247.
    ExpiredByOldLeader,
    /// The leader renews leases in its memory alone, and the next one counts from when they were
    /// granted. etcd does the former, and so gives every lease its whole time when a leader begins.
    RenewalNotReplicated,
}

impl Planted for Flaw {
    const ALL: &'static [Flaw] = &[
        Flaw::StaleReadLeader,
        Flaw::StaleReadFollower,
        Flaw::WallClockLease,
        Flaw::LeaseCheckedEarly,
        Flaw::UnsyncedPromise,
        Flaw::UnsyncedAccept,
        Flaw::BallotReuse,
        Flaw::IgnoreAccepted,
        Flaw::EarlyAck,
        Flaw::HalfQuorum,
        Flaw::DuplicateApply,
        Flaw::SnapshotLosesTail,
        Flaw::CasNotAtomic,
        Flaw::CommitAnyBallot,
        Flaw::ReadBeforeRecovery,
        Flaw::SnapshotDecidedEarly,
        Flaw::StaleBallotDecides,
        Flaw::AnyReportedValue,
        Flaw::AcceptBelowPromise,
        Flaw::AcksCountedTwice,
        Flaw::ParallelApply,
        Flaw::DirtyRead,
        Flaw::LeaseFromReply,
        Flaw::TimeoutIsFailure,
        Flaw::RejoinEmpty,
        Flaw::NoGraceAfterRestart,
        Flaw::LogCutEarly,
        Flaw::TornTailKept,
        Flaw::SyncErrorIgnored,
        Flaw::TornRange,
        Flaw::SessionsNotInSnapshot,
        Flaw::OlderSnapshotInstalls,
        Flaw::DuellingLeaders,
        Flaw::IndexAheadOfState,
        Flaw::WatchSkipsGap,
        Flaw::WatchFromUndecided,
        Flaw::ExpiredByOldLeader,
        Flaw::RenewalNotReplicated,
    ];

    /// The evidence is `linearizability`, `ballots` (the trace's promises never sink), `agreement`
    /// (what logs and traces say of decided slots), `leases` (of the trace), `recovery` (after the
    /// heal all nodes serve), `watch` (what those were told who follow changes) or `lease` (of two
    /// clients).
    fn entry(self) -> Entry {
        let (name, summary, fault, reads, params, evidence): (
            _,
            _,
            _,
            _,
            &[(_, _)],
            &'static [&'static str],
        ) = match self {
            Flaw::StaleReadLeader => (
                "stale-read-leader",
                "a deposed leader answers reads from its own state without confirming that it still leads",
                "partition",
                None,
                &[],
                &["linearizability"],
            ),
            Flaw::StaleReadFollower => (
                "stale-read-follower",
                "followers answer reads from their own state",
                "partition",
                None,
                &[],
                &["linearizability"],
            ),
            Flaw::WallClockLease => (
                "wall-clock-lease",
                "the lease is measured with the wall clock: a jump back keeps it alive",
                "clock",
                Some("lease"),
                &[],
                &["linearizability", "leases"],
            ),
            Flaw::LeaseCheckedEarly => (
                "lease-checked-early",
                "the lease is checked against the last tick, before a pause, and used after it",
                "pause",
                Some("lease"),
                &[],
                &["linearizability", "leases"],
            ),
            Flaw::UnsyncedPromise => (
                "unsynced-promise",
                "promises are answered long before they are on the disk",
                "kill",
                None,
                &[],
                &["ballots"],
            ),
            Flaw::UnsyncedAccept => (
                "unsynced-accept",
                "accepts are answered seconds before they are on the disk",
                "kill",
                None,
                &[],
                &["ballots", "agreement", "linearizability"],
            ),
            Flaw::BallotReuse => (
                "ballot-reuse",
                "the promised ballot is not restored after a restart, so ballots are used twice",
                "kill",
                None,
                &[],
                &["ballots"],
            ),
            Flaw::IgnoreAccepted => (
                "ignore-accepted",
                "a new leader ignores the highest accepted values which phase 1 reports",
                "kill",
                None,
                &[],
                &["agreement", "linearizability"],
            ),
            Flaw::EarlyAck => (
                "early-ack",
                "the leader decides and answers when it alone has accepted",
                "partition",
                None,
                &[],
                &["agreement", "linearizability"],
            ),
            Flaw::HalfQuorum => (
                "half-quorum",
                "a majority is n/2, so two halves can both decide",
                "partition",
                None,
                &[],
                &["agreement", "linearizability"],
            ),
            Flaw::DuplicateApply => (
                "duplicate-apply",
                "requests sent before a connection broke are sent again after it, and applied twice",
                "partition",
                None,
                &[],
                &["linearizability"],
            ),
            Flaw::SnapshotLosesTail => (
                "snapshot-loses-tail",
                "a snapshot lacks the entries between its capture and its label",
                "kill",
                None,
                &[("snapshot-every", "100")],
                &["agreement", "linearizability"],
            ),
            Flaw::CasNotAtomic => (
                "cas-not-atomic",
                "compare-and-set compares when proposed and swaps blindly when applied",
                "pause",
                None,
                &[],
                &["linearizability"],
            ),
            Flaw::CommitAnyBallot => (
                "commit-any-ballot",
                "a follower decides its own entries up to the leader's commit index, whatever their ballot",
                "partition",
                None,
                &[],
                &["agreement", "linearizability"],
            ),
            Flaw::ReadBeforeRecovery => (
                "read-before-recovery",
                "a new leader answers reads before it has decided what phase 1 told it",
                "kill",
                None,
                &[],
                &["linearizability"],
            ),
            Flaw::SnapshotDecidedEarly => (
                "snapshot-decided-early",
                "an installed snapshot counts as decided on the disk before it is there",
                "kill",
                None,
                &[("snapshot-every", "20")],
                &["agreement", "linearizability"],
            ),
            Flaw::StaleBallotDecides => (
                "stale-ballot-decides",
                "a leader that is refused goes on, and announces in its ballot what was decided in a higher one",
                "partition+clock",
                None,
                &[],
                &["agreement", "linearizability"],
            ),
            Flaw::AnyReportedValue => (
                "any-reported-value",
                "a new leader carries on any value that phase 1 reports, not that of the highest ballot",
                "kill",
                None,
                &[],
                &["agreement", "linearizability"],
            ),
            Flaw::AcceptBelowPromise => (
                "accept-below-promise",
                "an acceptor accepts in ballots below the one that it promised",
                "packet",
                None,
                &[],
                &["ballots", "agreement", "linearizability"],
            ),
            Flaw::AcksCountedTwice => (
                "acks-counted-twice",
                "an acceptor that is asked again counts twice towards the quorum",
                "partition",
                None,
                &[],
                &["agreement", "linearizability"],
            ),
            Flaw::ParallelApply => (
                "parallel-apply",
                "commands of one slot are applied in an order that differs from node to node",
                "kill",
                None,
                &[],
                &["linearizability"],
            ),
            Flaw::DirtyRead => (
                "dirty-read",
                "the leader answers reads from what it has proposed, decided or not",
                "partition",
                Some("lease"),
                &[],
                &["linearizability"],
            ),
            Flaw::LeaseFromReply => (
                "lease-from-reply",
                "the lease counts from when the answers to a heartbeat came, not from when it was sent",
                "partition",
                Some("lease"),
                &[("peer-hazards", "first"), ("peer-late", "100")],
                &["linearizability", "leases"],
            ),
            Flaw::TimeoutIsFailure => (
                "timeout-is-failure",
                "a request without an answer in time is said to have surely failed",
                "partition",
                None,
                &[("request-timeout", "500ms")],
                &["linearizability"],
            ),
            Flaw::RejoinEmpty => (
                "rejoin-empty",
                "a node that starts again has forgotten everything, and takes part as before",
                "kill",
                None,
                &[],
                &["ballots", "agreement", "linearizability"],
            ),
            Flaw::NoGraceAfterRestart => (
                "no-grace-after-restart",
                "a node that starts again promises although a lease that it granted may still run",
                "kill",
                Some("lease"),
                &[],
                &["linearizability", "leases"],
            ),
            Flaw::LogCutEarly => (
                "log-cut-early",
                "the log is cut when a snapshot is begun, not when it is on the disk",
                "kill",
                None,
                &[("snapshot-every", "20")],
                &["ballots", "agreement", "linearizability"],
            ),
            Flaw::TornTailKept => (
                "torn-tail-kept",
                "a torn write at the log's end is left there, and what follows it is lost with it at the next start",
                "kill",
                None,
                &[("slow-writes", "30")],
                &["ballots", "agreement", "linearizability"],
            ),
            Flaw::SyncErrorIgnored => (
                "sync-error-ignored",
                "a sync of the log that failed is taken for one that did not",
                "kill",
                None,
                &[("failed-syncs", "90")],
                &["ballots", "agreement", "linearizability"],
            ),
            Flaw::TornRange => (
                "torn-range",
                "a long range is put together from pages of several moments",
                "pause",
                None,
                &[],
                &["linearizability"],
            ),
            Flaw::SessionsNotInSnapshot => (
                "sessions-not-in-snapshot",
                "a snapshot lacks the sessions, so repeated requests are applied again after it",
                "kill",
                None,
                &[("snapshot-every", "2")],
                &["linearizability"],
            ),
            Flaw::OlderSnapshotInstalls => (
                "older-snapshot-installs",
                "a snapshot that comes late replaces a newer state",
                "partition",
                None,
                &[
                    ("snapshot-every", "2"),
                    ("peer-late", "20"),
                    ("peer-repeats", "50"),
                ],
                &["agreement", "linearizability"],
            ),
            Flaw::DuellingLeaders => (
                "duelling-leaders",
                "whoever has seen a leader go stands for election as soon as it hears of another one",
                "partition",
                None,
                &[],
                &["recovery"],
            ),
            Flaw::IndexAheadOfState => (
                "index-ahead-of-state",
                "after a restart the state lacks commands that count as applied",
                "kill",
                None,
                &[],
                &["linearizability"],
            ),
            Flaw::WatchSkipsGap => (
                "watch-skips-gap",
                "a node that has caught up by a snapshot does not tell watchers that it lacks what came before",
                "kill",
                None,
                &[("snapshot-every", "20")],
                &["watch"],
            ),
            Flaw::WatchFromUndecided => (
                "watch-from-undecided",
                "watchers are told of changes that are accepted, decided or not",
                "partition",
                None,
                &[],
                &["watch"],
            ),
            Flaw::ExpiredByOldLeader => (
                "expired-by-old-leader",
                "a leader that was stopped ends clients' leases when it wakes, though they were renewed",
                "pause",
                None,
                &[],
                &["lease"],
            ),
            Flaw::RenewalNotReplicated => (
                "renewal-not-replicated",
                "a leader renews clients' leases alone, and the next one counts from their grants",
                "kill",
                None,
                &[],
                &["lease"],
            ),
        };
        Entry {
            name,
            summary,
            fault,
            reads,
            params: params.iter().copied().collect(),
            evidence,
        }
    }

    fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The flaws that are switched on in this node.
pub type Flaws = flaws::Flaws<Flaw>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flaw_is_found_by_its_name_and_has_its_own_bit() {
        nodekit::testing::assert_catalogue::<Flaw>();
    }
}
