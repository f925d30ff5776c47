//! Banks: money is neither made nor lost, and the transfers that can be in a read make up its
//! balances.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use history::{Op, Value};

use super::{Account, Entry};
use crate::{Doubt, Exhausted, Meter};

type Balances<'h> = BTreeMap<&'h Value, i64>;

struct Read<'h> {
    op: &'h Op,
    balances: Balances<'h>,
}

struct Transfer<'h> {
    op: &'h Op,
    from: &'h Value,
    to: &'h Value,
    amount: i64,
}

struct Bank<'h> {
    /// By call.
    reads: Vec<Read<'h>>,
    /// By return, those of unknown outcome last.
    transfers: Vec<Transfer<'h>>,
}

impl<'h> Bank<'h> {
    fn of(entries: &[Entry<'h>]) -> Result<Bank<'h>, String> {
        let (mut reads, mut transfers) = (Vec::new(), Vec::new());
        for Entry { op, input, output } in entries.iter().copied() {
            let bad = |value: &Value| format!("op {}: {value} cannot be read", op.index);
            match (op.f.as_str(), output) {
                ("transfer", _) => match input.as_list() {
                    Some([from, to, Value::Int(amount)]) if *amount >= 0 => {
                        transfers.push(Transfer {
                            op,
                            from,
                            to,
                            amount: *amount,
                        });
                    }
                    _ => return Err(bad(input)),
                },
                (_, Some(read)) => {
                    let balances = balances(read).ok_or_else(|| bad(read))?;
                    reads.push(Read { op, balances });
                }
                (_, None) => {}
            }
        }
        reads.sort_by_key(|read| (read.op.call, read.op.index));
        transfers.sort_by_key(|transfer| transfer.op.ret);
        Ok(Bank { reads, transfers })
    }

    /// What the accounts held before the first transfer.
    fn opening(&self) -> Option<&Balances<'h>> {
        let before_all = |read: &&Read| self.transfers.iter().all(|t| read.op.precedes(t.op));
        let first = self.reads.iter().min_by_key(|read| read.op.ret);
        first.filter(before_all).map(|read| &read.balances)
    }
}

fn balances(value: &Value) -> Option<Balances<'_>> {
    let mut balances = Balances::new();
    for entry in value.as_list()? {
        let (account, balance) = entry.as_pair()?;
        if balances.insert(account, balance.as_int()?).is_some() {
            return None;
        }
    }
    Some(balances)
}

fn total(balances: &Balances) -> i128 {
    balances.values().map(|balance| i128::from(*balance)).sum()
}

fn add<'h>(balances: &mut Balances<'h>, transfer: &Transfer<'h>) {
    let mut add = |account, amount: i64| {
        let balance = balances.entry(account).or_default();
        *balance = balance.saturating_add(amount);
    };
    add(transfer.from, -transfer.amount);
    add(transfer.to, transfer.amount);
}

/// Whether two reads are of the same accounts with the same sum, and neither of less than nothing.
fn agree(a: &Balances, b: &Balances) -> bool {
    let whole = |balances: &Balances| balances.values().all(|balance| *balance >= 0);
    a.keys().eq(b.keys()) && total(a) == total(b) && whole(a) && whole(b)
}

pub fn sound(entries: &[Entry], account: &Account) -> Result<(), String> {
    let bank = Bank::of(entries)?;
    if let [first, rest @ ..] = &bank.reads[..] {
        let all = [first].into_iter().chain(rest);
        if let Some(read) = all
            .into_iter()
            .find(|read| !agree(&first.balances, &read.balances))
        {
            let (a, b) = (first.op.index, read.op.index);
            return Err(format!("the reads of op {a} and op {b} do not add up"));
        }
    }
    let Some(mut now) = bank.opening().cloned() else {
        // Then only sums are judged.
        return Ok(());
    };
    let with: BTreeMap<u64, &[u64]> = account.reads.iter().map(|r| (r.op, &r.with[..])).collect();
    let by_op: BTreeMap<u64, &Transfer> = bank.transfers.iter().map(|t| (t.op.index, t)).collect();
    let mut ended = bank.transfers.iter().peekable();
    for read in &bank.reads {
        while let Some(transfer) = ended.next_if(|t| t.op.has_returned() && t.op.ret < read.op.call)
        {
            add(&mut now, transfer);
        }
        let mut seen = now.clone();
        // Of the reader's own process, and it ended at that very time.
        let touching = ended.clone().take_while(|t| t.op.ret == read.op.call);
        touching
            .filter(|t| t.op.precedes(read.op))
            .for_each(|transfer| add(&mut seen, transfer));
        let op = read.op.index;
        let with = with.get(&op).ok_or(format!("op {op} is not explained"))?;
        let once: BTreeSet<&u64> = with.iter().collect();
        for other in once {
            let transfer = by_op.get(other).filter(|t| {
                let (before, after) = (t.op.precedes(read.op), read.op.precedes(t.op));
                !before && !after
            });
            let transfer = transfer.ok_or(format!("op {other} does not run beside op {op}"))?;
            add(&mut seen, transfer);
        }
        seen.retain(|account, balance| *balance != 0 || read.balances.contains_key(account));
        if seen != read.balances {
            return Err(format!(
                "op {op} read other balances than these transfers leave"
            ));
        }
    }
    Ok(())
}

/// Whether two of the reads do not agree, or one has less than nothing in an account, or balances
/// that no choice of transfers leaves.
pub fn impossible(entries: &[Entry], ops: &[u64], meter: &mut Meter) -> Result<bool, Doubt> {
    let bank = Bank::of(entries)?;
    let named: Vec<&Read> = bank
        .reads
        .iter()
        .filter(|read| ops.contains(&read.op.index))
        .collect();
    let pairs = named.iter().flat_map(|a| named.iter().map(move |b| (a, b)));
    if pairs
        .into_iter()
        .any(|(a, b)| !agree(&a.balances, &b.balances))
    {
        return Ok(true);
    }
    let Some(opening) = bank.opening() else {
        return Ok(false);
    };
    for read in named {
        let mut known = opening.clone();
        let mut open = Vec::new();
        for transfer in &bank.transfers {
            if transfer.op.precedes(read.op) {
                add(&mut known, transfer);
            } else if !read.op.precedes(transfer.op) {
                open.push(transfer);
            }
        }
        if !reaches(known, &open, &read.balances, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether some of the transfers lead from the one to the other: all sums are tried.
fn reaches<'h>(
    from: Balances<'h>,
    open: &[&Transfer<'h>],
    to: &Balances<'h>,
    meter: &mut Meter,
) -> Result<bool, Exhausted> {
    let normal = |mut balances: Balances<'h>| {
        balances.retain(|account, balance| *balance != 0 || to.contains_key(account));
        balances
    };
    let mut sums: HashSet<Balances> = HashSet::from([normal(from)]);
    for transfer in open {
        let mut more = Vec::new();
        for sum in &sums {
            meter.tick((sums.len() + more.len()) as u64 * 64 * (1 + to.len()) as u64)?;
            let mut with = sum.clone();
            add(&mut with, transfer);
            more.push(normal(with));
        }
        sums.extend(more);
    }
    Ok(sums.contains(to))
}
