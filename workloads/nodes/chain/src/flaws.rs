//! The bugs this node can be told to have, so that a test harness can prove that it finds them.
//!
//! Each is a bug that real systems have had, or that the literature warns of; is off by default;
//! and is a small marked branch in the code (`flaws.has(Flaw::X)`). The catalogue below says which
//! family of faults brings each to light.

use std::fmt;

use nodekit::flaws::{self, Entry, Planted};

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// A node stays on the branch that it saw first, however much work others have. Fork choice
    /// taken for first-come-first-served.
    FirstSeen,
    /// Of two branches the one with the later block wins. Ordering by timestamps, as in
    /// last-write-wins stores.
    TimestampForkChoice,
    /// A node that was connected before takes itself to be up to date: it neither asks for what it
    /// missed nor for the parents of blocks that it cannot place. As when initial download is a
    /// state that is left for good.
    NoRelayAfterHeal,
    /// Requests are answered from the mempool whatever depth was asked. Zero-confirmation
    /// acceptance, which merchants lost money to (Karame, Androulaki and Capkun 2012).
    AckUnconfirmed,
    /// A reorganisation applies the new branch on top of the state that the old one left.
    NoRollback,
    /// Transactions of an abandoned branch are put into blocks again even if the new branch has
    /// them, and nothing recognises them. A replay without replay protection.
    ReapplyAfterReorg,
    /// The limit on future drift is nothing, and a block that was too early is refused for ever. As
    /// with monerod, which stays split after the clock is right again because it bans the peer.
    StrictDrift,
    /// Blocks are said to be on the disk long before they are. As in bitcoind and its like, which
    /// flush their block index and coins on a timer.
    UnsyncedStore,
    /// Nobody checks that a block's hash proves its work, and a miner that was restarted takes the
    /// nonce of its first template for solved. Validation left to the miner: the forks of July 2015
    /// ("SPV mining", BIP 66).
    UncheckedWork,
    /// Depth is counted to the highest header heard of rather than to the head of the active chain.
    /// Confirmations taken from a peer's height, as thin wallets do.
    ConfirmByHeight,
    /// The rule that a block's time is later than the median of the eleven before it is not there,
    /// for miner or checker. The rule whose gaps the time warp attack uses.
    MedianUnchecked,
    /// While a restarted node reads its store it forgets branches that are too long, among them one
    /// that is about to become the active chain. So it comes back on a branch that it had left.
    PruneOnReplay,
    /// A transaction that is long in coming is sent again under another name. As exchanges did that
    /// took a changed transaction id for a lost payment and paid twice (Decker and Wattenhofer
    /// 2014).
    ResendRenamed,
    /// The longest chain wins, whatever work is in it. The words of the first paper, and the rule
    /// of the first releases of Bitcoin until July 2010.
    LongestChain,
    /// A node never leaves a branch for one that parts from it more than a few blocks ago. As
    /// Bitcoin ABC 0.18.5, which takes a block for final when it is ten deep; after a longer
    /// partition nobody agrees any more.
    LocalFinality,
    /// Some nodes take fewer transactions in one block than others. As in March 2013, when
    /// Bitcoin's older versions could not take a block that needed more locks than their data base
    /// had (BIP 50).
    UnevenLimit,
    /// Confirmations are counted from the block in which a transaction was first seen, which a
    /// reorganisation may have abandoned. As wallets that note a height and never look again.
    ConfirmAbandoned,
    /// A transaction that is twice in one block is applied twice (CVE-2018-17144), and miners put
    /// what a reorganisation gave back there twice.
    TwiceInBlock,
    /// A block is marked as bad for ever when a copy of it with other transactions is refused
    /// (CVE-2012-2459), and one node sends such copies.
    MutatedCopyBans,
    /// Transactions of an abandoned branch do not wait again for a block. A client that was told
    /// nothing yet is never told anything. Bitcoin puts them back since its first release; a node
    /// that relies on their being sent again does not.
    ForgetAbandoned,
    /// Of two branches of equal work the one that was seen last is taken. The rule is the first
    /// seen (Nakamoto 2008, section 5); without it a withheld block wins every race (Eyal and Sirer
    /// 2014).
    LastSeenWins,
    /// The span over which the difficulty is measured begins with its own first block, so that the
    /// time from one span to the next is in none. The off-by-one of Bitcoin's retargeting on which
    /// the time warp attack rests (BIP 54 closes it).
    TimeWarp,
    /// What a transfer takes is counted in fewer bits than what it gives, so money is made. As the
    /// sum that overflowed on 15 August 2010 and made 184 billion coins (CVE-2010-5139).
    AmountWraps,
    /// The blocks and the state that they make are not saved in one step, so a node that was killed
    /// has a state that lags behind its chain, and does not know it. As in etcd 3.5.0 to 3.5.2,
    /// whose index and data parted when it was killed.
    StateBehindChain,
}

impl Planted for Flaw {
    const ALL: &'static [Flaw] = &[
        Flaw::FirstSeen,
        Flaw::TimestampForkChoice,
        Flaw::NoRelayAfterHeal,
        Flaw::AckUnconfirmed,
        Flaw::NoRollback,
        Flaw::ReapplyAfterReorg,
        Flaw::StrictDrift,
        Flaw::UnsyncedStore,
        Flaw::UncheckedWork,
        Flaw::ConfirmByHeight,
        Flaw::MedianUnchecked,
        Flaw::PruneOnReplay,
        Flaw::ResendRenamed,
        Flaw::LongestChain,
        Flaw::LocalFinality,
        Flaw::UnevenLimit,
        Flaw::ConfirmAbandoned,
        Flaw::TwiceInBlock,
        Flaw::MutatedCopyBans,
        Flaw::ForgetAbandoned,
        Flaw::LastSeenWins,
        Flaw::TimeWarp,
        Flaw::AmountWraps,
        Flaw::StateBehindChain,
    ];

    /// The evidence is `linearizability`, `prefix` (nodes agree again after the heal),
    /// `persistence` (what was deep stays), `validity` (the rules for blocks) or `growth`.
    fn entry(self) -> Entry {
        type Row = (
            &'static str,
            &'static str,
            &'static str,
            &'static [(&'static str, &'static str)],
            &'static [&'static str],
        );
        let (name, summary, fault, params, evidence): Row = match self {
            Flaw::FirstSeen => (
                "first-seen",
                "a node keeps the branch that it saw first, however much work another has",
                "partition",
                &[],
                &["prefix"],
            ),
            Flaw::TimestampForkChoice => (
                "timestamp-fork-choice",
                "of two branches the one whose last block has the later time wins, not the one of most work",
                "clock",
                &[],
                &["prefix", "persistence"],
            ),
            Flaw::NoRelayAfterHeal => (
                "no-relay-after-heal",
                "a node does not ask a peer that comes back for what it missed, nor for parents that it lacks",
                "partition",
                &[],
                &["prefix"],
            ),
            Flaw::AckUnconfirmed => (
                "ack-unconfirmed",
                "requests are answered from the mempool, whatever depth was asked",
                "partition",
                &[],
                &["linearizability"],
            ),
            Flaw::NoRollback => (
                "no-rollback",
                "a reorganisation leaves the abandoned branch's effects in the state",
                "partition",
                &[],
                &["linearizability"],
            ),
            Flaw::ReapplyAfterReorg => (
                "reapply-after-reorg",
                "transactions of an abandoned branch are applied again although the new one has them",
                "partition",
                &[],
                &["linearizability", "validity"],
            ),
            Flaw::StrictDrift => (
                "strict-drift",
                "a block from ahead of this node's clock, however little, is refused for ever",
                "clock",
                &[],
                &["prefix"],
            ),
            Flaw::UnsyncedStore => (
                "unsynced-store",
                "blocks count as stored half a minute before they are on the disk",
                "kill",
                &[],
                &["persistence"],
            ),
            Flaw::UncheckedWork => (
                "unchecked-work",
                "proof of work is not checked, and after a restart a miner claims work that it did not do",
                "kill",
                &[],
                &["validity"],
            ),
            Flaw::ConfirmByHeight => (
                "confirm-by-height",
                "depth is counted to the highest header heard of, not to the head of the node's own chain",
                "partition",
                &[],
                &["persistence", "linearizability"],
            ),
            Flaw::MedianUnchecked => (
                "median-unchecked",
                "a block's time need not be later than the median of the eleven before it",
                "clock",
                &[],
                &["validity"],
            ),
            Flaw::PruneOnReplay => (
                "prune-on-replay",
                "a node that reads its store after a restart forgets the branch that it had changed to",
                "kill",
                &[],
                &["persistence"],
            ),
            Flaw::ResendRenamed => (
                "resend-renamed",
                "a transaction that is long in coming is sent again under another name, and applied twice",
                "pause",
                &[],
                &["linearizability"],
            ),
            Flaw::LongestChain => (
                "longest-chain",
                "the branch of most blocks wins, not that of most work",
                "partition",
                &[("retarget-every", "2")],
                &["validity", "persistence"],
            ),
            Flaw::LocalFinality => (
                "local-finality",
                "a node never gives up more than a few blocks, however much work another branch has",
                "partition",
                &[],
                &["prefix"],
            ),
            Flaw::UnevenLimit => (
                "uneven-limit",
                "every second node refuses blocks of more than a dozen transactions",
                "partition",
                &[],
                &["prefix"],
            ),
            Flaw::ConfirmAbandoned => (
                "confirm-abandoned",
                "confirmations count from the block in which a transaction was first seen, abandoned or not",
                "partition",
                &[],
                &["persistence", "linearizability"],
            ),
            Flaw::TwiceInBlock => (
                "twice-in-block",
                "miners put what a reorganisation gave back into a block twice, and it is applied twice",
                "partition",
                &[],
                &["validity"],
            ),
            Flaw::MutatedCopyBans => (
                "mutated-copy-bans",
                "a block is refused for ever once a copy of it with other transactions was refused",
                "none",
                &[],
                &["prefix"],
            ),
            Flaw::ForgetAbandoned => (
                "forget-abandoned",
                "transactions of an abandoned branch do not wait for a block again",
                "partition",
                &[],
                &["validity"],
            ),
            Flaw::LastSeenWins => (
                "last-seen-wins",
                "of two branches of equal work the one that was seen last wins",
                "partition",
                &[],
                &["validity"],
            ),
            Flaw::TimeWarp => (
                "time-warp",
                "the difficulty is measured over spans between which some time is in none",
                "clock",
                &[("retarget-every", "10")],
                &["validity"],
            ),
            Flaw::AmountWraps => (
                "amount-wraps",
                "what a transfer takes is counted in 32 bits, and what it gives is not",
                "none",
                &[],
                &["linearizability"],
            ),
            Flaw::StateBehindChain => (
                "state-behind-chain",
                "after a restart the state lags behind the chain that it is said to be of",
                "kill",
                &[],
                &["linearizability"],
            ),
        };
        Entry {
            name,
            summary,
            fault,
            reads: None,
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
