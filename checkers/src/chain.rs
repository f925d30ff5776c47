//! Blockchains: what the nodes' chains have in common, how they grow, what becomes of what is in
//! them.
//!
//! Operations `head` of the history carry it: looks at a node's head, several a second and of every
//! node, each with the blocks that nobody had shown before.
//!
//! ```text
//! head   {node "n1", head "00ab..", height 12, final "00aa..",
//!         blocks [["00ab..", "0031..", 12, time_ms, work, "n3", [["c7", "put", "3", 17], ...]], ...],
//!         refused {"time-too-new" 3, ...}}
//! ```
//!
//! Of every property the tightest parameter that holds is a figure, with a witness: the
//! definitions, the algorithms and what decides the verdict are in `harness/docs/chains.md`.
//! [`record`] reads the history, [`tree`] answers what is a prefix of what, and every property is
//! one pass over them.

mod confirmed;
mod depth;
mod eventual;
mod figures;
mod fork;
pub(crate) mod gauges;
mod growth;
mod kept;
mod ledger;
mod prefix;
mod record;
mod refused;
mod rules;
mod tell;
mod tree;
mod validity;

use std::time::Duration;

use history::{History, Name};

use self::ledger::{Clients, Places};
use self::record::Record;
use self::tell::Told;
use crate::findings::Findings;
use crate::{Analysis, Anomaly, Budget, Checker, Exhausted, Meter};

pub use self::rules::{Retarget, Rules};

/// Where the depth of an answer is not told: what most chains' users wait for.
const USUAL_CONFIRMATIONS: u64 = 6;

/// Judges operations `head`, and clients' operations whose `version` is `[height, position, block,
/// tx]`.
///
/// ```
/// use checkers::chain::Chain;
/// use std::time::Duration;
///
/// let judge = Chain::new()
///     .with_nodes(["n1", "n2", "n3"].map(Into::into))
///     .with_confirmations(6)
///     .with_liveness(Duration::from_secs(30));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Chain {
    nodes: Vec<Name>,
    gentle: Vec<Name>,
    confirmations: Option<u64>,
    rules: Rules,
    settle: Option<Duration>,
    common_prefix: Option<u64>,
    growth: Option<(f64, Duration)>,
    quality: Option<(f64, usize)>,
    liveness: Option<Duration>,
}

impl Chain {
    /// Judges validity and convergence; of all else gives the figures.
    pub fn new() -> Chain {
        Chain::default()
    }

    /// Every node of the cluster; those that the history names are added.
    pub fn with_nodes(mut self, nodes: impl IntoIterator<Item = Name>) -> Chain {
        self.nodes = nodes.into_iter().collect();
        self
    }

    /// Families of faults that leave a node's memory as it is: after any other it may have begun
    /// anew.
    pub fn with_gentle(mut self, families: impl IntoIterator<Item = Name>) -> Chain {
        self.gentle = families.into_iter().collect();
        self
    }

    /// The depth at which the system gives its answers, 1 for the head: what is so deep must stay.
    pub fn with_confirmations(mut self, depth: u64) -> Chain {
        self.confirmations = Some(depth);
        self
    }

    /// What the chain's own rules say of blocks, beyond what every chain's do.
    pub fn with_rules(mut self, rules: Rules) -> Chain {
        self.rules = rules;
        self
    }

    /// What nodes are granted after the last heal to come together; ten blocks' time, and ten
    /// seconds at least, unless this says otherwise.
    pub fn with_settle(mut self, time: Duration) -> Chain {
        self.settle = Some(time);
        self
    }

    /// Common prefix must hold with this k.
    pub fn with_common_prefix(mut self, blocks: u64) -> Chain {
        self.common_prefix = Some(blocks);
        self
    }

    /// Chains must grow by so many blocks a second in any such window without faults.
    pub fn with_growth(mut self, blocks_per_second: f64, window: Duration) -> Chain {
        self.growth = Some((blocks_per_second, window));
        self
    }

    /// Of any so many consecutive blocks such a share must be the nodes' own.
    pub fn with_quality(mut self, share: f64, blocks: usize) -> Chain {
        self.quality = Some((share, blocks));
        self
    }

    /// A transaction that is submitted while nothing is wrong must be confirmed everywhere in this
    /// time.
    pub fn with_liveness(mut self, within: Duration) -> Chain {
        self.liveness = Some(within);
        self
    }

    fn judge(&self, history: &History, meter: &mut Meter) -> Result<Analysis, Exhausted> {
        let record = Record::new(history, &self.nodes, &self.gentle, meter)?;
        let mut found = Findings::default();
        validity::blocks(&record, &mut found, meter)?;
        rules::work(&record, &self.rules, &mut found, meter)?;
        rules::future(&record, &self.rules, &mut found, meter)?;
        let Some(last) = record.last() else {
            return Ok(tell::nothing(self, &record, found));
        };
        let places = Places::new(&record, meter)?;
        let clients = Clients::new(&record, &places);
        let reorgs = prefix::reorgs(&record);
        validity::fork_choice(&record, &reorgs, &self.rules, &mut found);
        validity::transactions(&record, &places, &clients, &mut found, meter)?;
        let answers = ledger::replay(&places, meter)?;
        let compared = ledger::answers(&record, &places, &clients, &answers, &mut found);

        let above = prefix::above(&record, meter)?;
        let common_prefix = prefix::common_prefix(&record, meter)?;
        let confirmations = self.confirmations.unwrap_or(USUAL_CONFIRMATIONS).max(1);
        let interval = record.interval(record.looks[last].tip);
        let ten_blocks = interval.map_or(Duration::ZERO, |interval| interval * 10);
        let settle = self
            .settle
            .unwrap_or(ten_blocks.max(Duration::from_secs(10)));
        let bound = confirmations.max(USUAL_CONFIRMATIONS);
        if self.rules.gives_back {
            let end = (last, bound);
            kept::given_up(&record, &places, &reorgs, end, &mut found, meter)?;
        }
        let window = self.growth.map_or(ten_blocks, |(_, window)| window);
        let length = self
            .quality
            .map_or(tell::USUAL_STRETCH, |(_, blocks)| blocks);
        let given = depth::Given {
            places: &places,
            clients: &clients,
            answers: &answers,
            promised: self.confirmations,
        };
        let told = Told {
            chain: self,
            record: &record,
            places: &places,
            clients: &clients,
            last,
            confirmations,
            compared,
            interval,
            window,
            length,
            bound,
            reorgs,
            finality: prefix::finality(&record),
            refused: refused::refused(history),
            eventual: eventual::eventual(&record, bound, settle),
            growth: growth::growth(&record, window),
            quality: growth::quality(&record, length),
            shares: growth::shares(&record, record.looks[last].tip),
            persistence: confirmed::persistence(&record, &places, &clients, &above, last, meter)?,
            liveness: confirmed::liveness(&record, &places, &clients, confirmations, meter)?,
            smallest: depth::smallest(&record, &given, above.deepest().blocks, meter)?,
            common_prefix,
            above,
        };
        Ok(told.analysis(found))
    }
}

impl Checker for Chain {
    fn name(&self) -> &str {
        "chain"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        match self.judge(history, &mut budget.start()) {
            Ok(analysis) => analysis,
            Err(why) => Analysis::unknown(self.name(), why.to_string()),
        }
    }
}

impl Findings {
    /// Of operations, which are all that a finding on a chain points at.
    fn of(&mut self, kind: &'static str, ops: Vec<u64>, reason: String) {
        self.add(kind, || Anomaly {
            ops,
            reason,
            ..Anomaly::default()
        });
    }
}
