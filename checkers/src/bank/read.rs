//! The balances that an anomaly is about, read by read: a column an account, and all together.

use history::Value;

use super::Read;
use crate::Anomaly;
use crate::picture::{Cell, Picture, Row, Table};

/// Accounts that are shown.
const MOST: usize = 12;

/// Marks what is wrong.
const WRONG: usize = 1;

/// The first read, and those that the anomaly names.
pub fn picture(first: &Read, reads: &[Read], anomaly: &Anomaly) -> Option<Picture> {
    let named = |read: &&Read| anomaly.ops.contains(&read.op.index);
    let named: Vec<&Read> = reads.iter().filter(named).collect();
    let accounts: Vec<&Value> = first.balances.keys().copied().take(MOST).collect();
    let earlier = named.iter().all(|read| read.op.index != first.op.index);
    let rows: Vec<Row> = earlier
        .then_some(first)
        .into_iter()
        .chain(named.iter().copied())
        .map(|read| row(read, &accounts, first, anomaly))
        .collect();
    let all = (accounts.len() == first.balances.len()).then(|| "all".to_string());
    let columns = accounts.iter().map(|account| format!("account {account}"));
    (!named.is_empty()).then(|| {
        Picture::Table(Table {
            of: "The balances that were read".to_string(),
            columns: columns.chain(all).collect(),
            rows,
            untold: 0,
        })
    })
}

fn row(read: &Read, accounts: &[&Value], first: &Read, anomaly: &Anomaly) -> Row {
    let total = |read: &Read| read.balances.values().sum::<i64>();
    let is_object = |account: &Value| {
        let is_first = read.op.index == first.op.index && anomaly.ops.len() > 1;
        !is_first && anomaly.object.as_ref() == Some(&account.to_string())
    };
    let balances = accounts.iter().enumerate().map(|(column, account)| Cell {
        column,
        text: match read.balances.get(account) {
            Some(balance) => balance.to_string(),
            None => "none".to_string(),
        },
        value: is_object(account).then_some(WRONG),
    });
    let mut cells: Vec<Cell> = balances.collect();
    if accounts.len() == first.balances.len() {
        cells.push(Cell {
            column: accounts.len(),
            text: total(read).to_string(),
            value: (total(read) != total(first)).then_some(WRONG),
        });
    }
    Row {
        at: format!("op {}, {}", read.op.index, read.op.call),
        cells,
    }
}
