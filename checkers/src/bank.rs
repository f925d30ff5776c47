//! Accounts between which money moves: none is made, none is lost, and every balance is the sum of
//! transfers that can have happened.
//!
//! For a read, transfers are of three kinds: those that had returned before it was invoked, which
//! are in it; those that were invoked after it returned, or failed, which are not; and those of
//! which either may be true, because they ran beside it or nobody knows what became of them:
//!
//! ```text
//! transfer a->b 5   |-----|                        in it
//! transfer b->c 2        |--------------|          may be in it
//! transfer c->a 9            |---?                 may be in it, in this and in every later read
//! read                        |-------|
//! transfer a->c 1                        |----|    not in it
//! ```
//!
//! So a read is right only if some choice among the last makes its balances out of those that the
//! accounts had at first. That is looked for account by account (a bound), and then exactly, by
//! trying choices in an order that fills the accounts one after the other; a read for which that
//! takes too many steps is only bounded, and counted. The order of transfers among themselves is
//! not used.

mod read;

use std::collections::BTreeMap;

use history::wording::counted;
use history::{History, Op, Outcome, Value};

use crate::figure::Gauge;
use crate::findings::Findings;
use crate::linearizable::search::NEVER;
use crate::model::{Choice, Model};
use crate::ranks::Ranks;
use crate::{Analysis, Anomaly, Budget, Checker, Exhausted, Explained, Meter, Verdict};

const TRANSFERS: Gauge = Gauge::count("transfers");
const READS: Gauge = Gauge::count("reads");
const BOUNDED: Gauge = Gauge::count("reads only bounded");

pub(crate) const GAUGES: &[Gauge] = &[TRANSFERS, READS, BOUNDED];

/// Judges operations `transfer` (`[from, to, amount]`) and `read` (answered with a list of
/// `[account, balance]`). What the accounts had at first is what a read says that returned before
/// the first transfer was invoked; without one, only totals and signs are judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bank;

/// Choices that are tried to explain one read.
const STEPS: u64 = 100_000;

/// Transfers among which is chosen for one read; the search goes as deep.
const MOST_CHOICES: usize = 1_000;

type Balances<'h> = BTreeMap<&'h Value, i64>;

/// The [ranks](crate::ranks) of an operation's events.
#[derive(Clone, Copy)]
struct Span {
    call: u32,
    /// [`NEVER`] if nobody knows its outcome.
    ret: u32,
}

impl Span {
    fn of(op: &Op, ranks: &Ranks) -> Span {
        let ret = op.completion.filter(|_| op.outcome == Outcome::Ok);
        Span {
            call: ranks.call(op.index as u32),
            ret: ret.map_or(NEVER, |at| ranks.ret(at as u32)),
        }
    }
}

struct Transfer<'h> {
    op: &'h Op,
    span: Span,
    from: &'h Value,
    to: &'h Value,
    amount: i64,
}

struct Read<'h> {
    op: &'h Op,
    span: Span,
    balances: Balances<'h>,
}

impl Checker for Bank {
    fn name(&self) -> &str {
        "bank"
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        match judge(history, &mut budget.start()) {
            Ok((analysis, _)) => analysis,
            Err(why) => Analysis::unknown(self.name(), why.to_string()),
        }
    }

    fn asks(&self) -> Option<Choice> {
        Some(Choice::of_objects(Model::Bank, false))
    }
}

impl Bank {
    /// Of every read, which of the transfers beside it are in it.
    ///
    /// # Errors
    /// The analysis that [`Checker::check`] gives if it is not valid, or why not all reads are
    /// explained.
    pub fn certify(&self, history: &History, budget: &Budget) -> Result<Vec<Explained>, String> {
        match judge(history, &mut budget.start()) {
            Ok((found, Some(reads))) if found.verdict == Verdict::Valid => Ok(reads),
            Ok((found, _)) => Err(found.summary),
            Err(why) => Err(why.to_string()),
        }
    }
}

/// What there is to judge.
struct Operations<'h> {
    /// Those that failed are left out.
    transfers: Vec<Transfer<'h>>,
    reads: Vec<Read<'h>>,
    /// The first that cannot be read, in words.
    unread: Option<String>,
    /// Whether what cannot be read may have moved money.
    moved: bool,
}

impl<'h> Operations<'h> {
    fn of(history: &'h History, meter: &mut Meter) -> Result<Operations<'h>, Exhausted> {
        let mut transfers: Vec<Transfer> = Vec::new();
        let mut reads: Vec<Read> = Vec::new();
        let (mut unread, mut moved) = (None, false);
        let ranks = Ranks::new(history);
        for op in history.ops() {
            meter.tick(0)?;
            let span = Span::of(op, &ranks);
            match (op.f.as_str(), op.outcome) {
                ("transfer", Outcome::Fail) => {}
                ("transfer", _) => match transfer(op, span) {
                    Some(transfer) => transfers.push(transfer),
                    None => {
                        let why = format!(
                            "operation {} is the transfer {}, not [from to amount] with an amount that is \
                             not negative",
                            op.index, op.input
                        );
                        // Whatever it moved, it made no money; but balances may have changed.
                        unread.get_or_insert(why);
                        moved = true;
                    }
                },
                ("read", Outcome::Ok) => match balances(&op.output) {
                    Some(balances) => reads.push(Read { op, span, balances }),
                    None => {
                        let why = format!(
                            "operation {} read {}, not a list of accounts with their balances",
                            op.index, op.output
                        );
                        unread.get_or_insert(why);
                    }
                },
                _ => {}
            }
        }
        Ok(Operations {
            transfers,
            reads,
            unread,
            moved,
        })
    }
}

/// The analysis, and what explains every read: none if some are only bounded.
fn judge(
    history: &History,
    meter: &mut Meter,
) -> Result<(Analysis, Option<Vec<Explained>>), Exhausted> {
    let name = Bank.name();
    let Operations {
        transfers,
        reads,
        unread,
        moved,
    } = Operations::of(history, meter)?;
    let done = transfers.iter().filter(|t| t.op.outcome == Outcome::Ok);
    let done = done.count();
    const NOTHING: &str =
        "the history lacks transfers, or reads that were answered: there is nothing to compare";
    let Some(first) = reads.iter().min_by_key(|read| read.span.ret) else {
        let analysis = match unread {
            Some(why) => Analysis::unknown(name, why),
            None => Analysis::vacuous(name, NOTHING),
        };
        return Ok((analysis, None));
    };
    let mut found = Findings::default();
    for read in &reads {
        meter.tick(0)?;
        totals(first, read, &mut found);
    }
    let precedes = |t: &Transfer| {
        let asked_before = first.op.process == t.op.process && first.op.index < t.op.index;
        first.span.ret < t.span.call || asked_before
    };
    let opened = transfers.iter().all(precedes);
    let (bounded, explained) = match opened && !moved {
        true => explain_all(&first.balances, transfers, &reads, &mut found, meter)?,
        false => (reads.len(), Vec::new()),
    };
    // Money that was lost while nobody moved any is lost all the same.
    if done == 0 && found.is_empty() && unread.is_none() {
        return Ok((Analysis::vacuous(name, NOTHING), None));
    }
    let summary = format!(
        "{} and {} of {}: {}",
        counted(done, "transfer"),
        counted(reads.len(), "read"),
        counted(first.balances.len(), "account"),
        match (found.is_empty(), opened) {
            (false, _) => found.told(),
            (true, false) =>
                "totals are right; no read came before the first transfer, so balances \
                              are not judged"
                    .to_string(),
            (true, true) if bounded > 0 => format!(
                "totals are right, and all balances possible; {} only bounded",
                match bounded {
                    1 => "1 read is".to_string(),
                    n => format!("{} are", counted(n, "read")),
                }
            ),
            (true, true) => "transfers explain them all".to_string(),
        }
    );
    let fine = match unread {
        Some(why) if found.is_empty() => Analysis::unknown(name, why),
        _ => Analysis::valid(name, summary),
    };
    let mut analysis = found.into_analysis(fine);
    for anomaly in &mut analysis.anomalies {
        anomaly.picture = read::picture(first, &reads, anomaly).map(Box::new);
    }
    let analysis = analysis
        .with_figure(TRANSFERS.figure(done))
        .with_figure(READS.figure(reads.len()))
        .with_figure(BOUNDED.figure(bounded));
    let all = bounded == 0 || !opened;
    Ok((analysis, all.then_some(explained)))
}

fn transfer(op: &Op, span: Span) -> Option<Transfer<'_>> {
    let [from, to, amount] = op.input.as_list()? else {
        return None;
    };
    let amount = amount.as_int().filter(|amount| *amount >= 0)?;
    Some(Transfer {
        op,
        span,
        from,
        to,
        amount,
    })
}

/// None if it is no such list, names an account twice, or has a total that no 64 bits hold.
fn balances(value: &Value) -> Option<Balances<'_>> {
    let mut balances = Balances::new();
    for entry in value.as_list()? {
        let (account, balance) = entry.as_pair()?;
        if balances.insert(account, balance.as_int()?).is_some() {
            return None;
        }
    }
    let mut all = balances.values();
    all.try_fold(0_i64, |sum, balance| sum.checked_add(*balance))?;
    Some(balances)
}

fn add(
    found: &mut Findings,
    kind: &'static str,
    object: Option<&Value>,
    ops: Vec<u64>,
    reason: String,
) {
    found.add(kind, || Anomaly {
        object: object.map(|account| account.to_string()),
        ops,
        reason,
        ..Anomaly::default()
    });
}

/// What one read shows by itself, and beside the first.
fn totals(first: &Read, read: &Read, found: &mut Findings) {
    let (op, first_op) = (read.op.index, first.op.index);
    for (account, balance) in read.balances.iter().filter(|(_, balance)| **balance < 0) {
        let reason = format!("the read (op {op}) has {balance} in account {account}");
        add(found, "negative balance", Some(account), vec![op], reason);
    }
    if !read.balances.keys().eq(first.balances.keys()) {
        let reason = format!(
            "the read (op {op}) has {} accounts, and an earlier one (op {first_op}) {} or others",
            read.balances.len(),
            first.balances.len()
        );
        add(found, "accounts changed", None, vec![first_op, op], reason);
        return;
    }
    let total = |read: &Read| read.balances.values().sum::<i64>();
    let (now, before) = (total(read), total(first));
    if now != before {
        let reason = format!(
            "the read (op {op}) has {now} in all accounts together, and an earlier one (op {first_op}) \
             {before}: transfers neither make nor lose money"
        );
        add(found, "total changed", None, vec![first_op, op], reason);
    }
}

/// Holds every read against the transfers that can be in it. How many reads were only bounded, and
/// what explains the others.
fn explain_all<'h>(
    initial: &Balances<'h>,
    transfers: Vec<Transfer<'h>>,
    reads: &[Read<'h>],
    found: &mut Findings,
    meter: &mut Meter,
) -> Result<(usize, Vec<Explained>), Exhausted> {
    let mut reads: Vec<&Read> = reads
        .iter()
        .filter(|read| read.balances.keys().eq(initial.keys()))
        .collect();
    reads.sort_by_key(|read| read.span.call);
    // Those that are in every read from here on are summed up and let go of.
    let mut settled = initial.clone();
    let mut waiting = transfers;
    waiting.sort_by_key(|transfer| transfer.span.call);
    let (mut bounded, mut explained) = (0, Vec::new());
    for read in reads {
        waiting.retain(|transfer| {
            let is_in = transfer.span.ret < read.span.call;
            if is_in {
                apply(&mut settled, transfer, 1);
            }
            !is_in
        });
        let begun = waiting.partition_point(|transfer| transfer.span.call <= read.span.ret);
        // What the reader's own process did before is in it, and what it did afterwards is not,
        // even where ranks do not say so.
        let own = |t: &&Transfer| t.op.process == read.op.process && t.span.ret != NEVER;
        let before = |t: &&Transfer| own(t) && t.op.index < read.op.index;
        let after = |t: &&Transfer| t.op.process == read.op.process && t.op.index > read.op.index;
        let begun = waiting[..begun].iter();
        let maybe: Vec<&Transfer> = begun.clone().filter(|t| !before(t) && !after(t)).collect();
        let mut now = settled.clone();
        begun.filter(before).for_each(|t| apply(&mut now, t, 1));
        let missing: Balances = read
            .balances
            .iter()
            .map(|(account, balance)| {
                let now = now.get(account).copied().unwrap_or_default();
                (*account, balance.saturating_sub(now))
            })
            .collect();
        let maybe = &maybe[..];
        match explain(&missing, maybe, meter)? {
            Found::Yes(with) => explained.push(Explained {
                op: read.op.index,
                with,
            }),
            Found::Perhaps => bounded += 1,
            Found::No(account) => unexplained(read, &missing, maybe, account, found),
        }
    }
    Ok((bounded, explained))
}

fn apply<'h>(balances: &mut Balances<'h>, transfer: &Transfer<'h>, sign: i64) {
    // Kept for accounts that no read has, too: such a transfer cannot have happened, and the one
    // account that a read has will not add up.
    let mut add = |account, amount| {
        let balance: &mut i64 = balances.entry(account).or_default();
        *balance = balance.saturating_add(amount);
    };
    add(transfer.from, -sign * transfer.amount);
    add(transfer.to, sign * transfer.amount);
}

enum Found<'h> {
    /// By these.
    Yes(Vec<u64>),
    /// Within its bounds, and not decided in so many steps.
    Perhaps,
    /// With an account that has too much or too little whatever is chosen, if there is one.
    No(Option<&'h Value>),
}

/// Whether some choice among `maybe` adds up to `missing`.
fn explain<'h>(
    missing: &Balances<'h>,
    maybe: &[&Transfer<'h>],
    meter: &mut Meter,
) -> Result<Found<'h>, Exhausted> {
    meter.tick(0)?;
    for (account, missing) in missing {
        let (mut least, mut most) = (0_i64, 0_i64);
        for transfer in maybe.iter().filter(|t| t.from != t.to) {
            if transfer.from == *account {
                least = least.saturating_sub(transfer.amount);
            }
            if transfer.to == *account {
                most = most.saturating_add(transfer.amount);
            }
        }
        if !(least..=most).contains(missing) {
            return Ok(Found::No(Some(account)));
        }
    }
    if maybe.len() > MOST_CHOICES {
        return Ok(Found::Perhaps);
    }
    // Account after account: the first transfers are all that touch the first account, and so on,
    // so that a choice that cannot fill an account is given up as soon as that account is done.
    let mut order: Vec<&Transfer> = maybe.iter().copied().filter(|t| t.from != t.to).collect();
    let rank: BTreeMap<&Value, usize> = missing.keys().zip(0..).map(|(a, i)| (*a, i)).collect();
    let ranked = |account: &Value| rank.get(account).copied().unwrap_or(usize::MAX);
    order.sort_by_key(|t| ranked(t.from).min(ranked(t.to)));
    let mut search = Search {
        order,
        left: missing.clone(),
        chosen: Vec::new(),
        steps: STEPS,
    };
    Ok(match search.fill(0, meter)? {
        Some(true) => Found::Yes(search.chosen),
        Some(false) => Found::No(None),
        None => Found::Perhaps,
    })
}

struct Search<'a, 'h> {
    order: Vec<&'a Transfer<'h>>,
    /// What the transfers from here on have to add up to.
    left: Balances<'h>,
    chosen: Vec<u64>,
    steps: u64,
}

impl Search<'_, '_> {
    /// Whether the transfers from `at` on can; none if there were too many steps.
    fn fill(&mut self, at: usize, meter: &mut Meter) -> Result<Option<bool>, Exhausted> {
        meter.tick(0)?;
        let Some(steps) = self.steps.checked_sub(1) else {
            return Ok(None);
        };
        self.steps = steps;
        let Some(transfer) = self.order.get(at).copied() else {
            return Ok(Some(self.left.values().all(|missing| *missing == 0)));
        };
        if !self.possible(at) {
            return Ok(Some(false));
        }
        for chosen in [false, true] {
            if chosen {
                apply(&mut self.left, transfer, -1);
                self.chosen.push(transfer.op.index);
            }
            let filled = self.fill(at + 1, meter)?;
            if chosen {
                apply(&mut self.left, transfer, 1);
            }
            if filled != Some(false) {
                return Ok(filled);
            }
            if chosen {
                self.chosen.pop();
            }
        }
        Ok(Some(false))
    }

    /// Whether each account can still get what it lacks.
    fn possible(&self, at: usize) -> bool {
        self.left.iter().all(|(account, missing)| {
            let rest = &self.order[at..];
            let sum = |touches: fn(&Transfer, &Value) -> bool| -> i64 {
                let amounts = rest
                    .iter()
                    .filter(|t| touches(t, account))
                    .map(|t| t.amount);
                amounts.fold(0, i64::saturating_add)
            };
            let least = -sum(|t, account| t.from == account);
            let most = sum(|t, account| t.to == account);
            (least..=most).contains(missing)
        })
    }
}

fn unexplained(
    read: &Read,
    missing: &Balances,
    maybe: &[&Transfer],
    account: Option<&Value>,
    found: &mut Findings,
) {
    let op = read.op.index;
    let known = maybe.iter().filter(|t| t.span.ret == NEVER).count();
    let open = format!(
        "{} transfers ran at the same time, and the outcome of {known} is unknown; no choice among these explains the difference",
        maybe.len() - known
    );
    let reason = match account {
        Some(account) => format!(
            "the read (op {op}) has {} in account {account}, {} than the transfers that had returned leave \
             there; {open}",
            read.balances.get(account).copied().unwrap_or_default(),
            match missing.get(account).copied().unwrap_or_default() {
                less if less < 0 => format!("{} less", less.unsigned_abs()),
                more => format!("{more} more"),
            },
        ),
        None => {
            let off: Vec<String> = missing
                .iter()
                .filter(|(_, missing)| **missing != 0)
                .map(|(account, missing)| format!("{account} {missing:+}"))
                .collect();
            format!(
                "the read (op {op}) differs from what the transfers that had returned leave ({}); {open}",
                off.join(", ")
            )
        }
    };
    add(found, "unexplained balance", account, vec![op], reason);
}
