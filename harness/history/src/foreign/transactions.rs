//! Micro-operations are transactions, whatever their operation is called.
//!
//! ```text
//! {:f :write, :value [[:w 0 1]]}        is a  txn  of  [["w" 0 1]]
//! {:f :txn,   :value [[:read x nil]]}   is a  txn  of  [["r" "x" nil]]
//! ```

use crate::columns::Row;
use crate::word::Stored;
use crate::{History, Kind, Process, Value};

const TXN: &str = "txn";

/// What a micro-operation is called, and by others.
const FUNCTIONS: [(&str, &str); 5] = [
    ("append", "append"),
    ("r", "r"),
    ("w", "w"),
    ("read", "r"),
    ("write", "w"),
];

/// Whether a value is a list of micro-operations.
pub fn is_txn_value(value: &Value) -> bool {
    let is_micro = |micro: &Value| {
        let parts = micro.as_list().unwrap_or_default();
        let name = parts.first().and_then(Value::as_text);
        matches!(parts.len(), 2 | 3) && name.is_some_and(|n| FUNCTIONS.iter().any(|f| f.0 == n))
    };
    let micros = value.as_list().unwrap_or_default();
    !micros.is_empty() && micros.iter().all(is_micro)
}

/// The same of a stored one.
fn is_txn(value: Stored) -> bool {
    let Some(mut micros) = value.items().filter(|micros| micros.len() > 0) else {
        return false;
    };
    micros.all(|micro| {
        let Some(mut parts) = micro.items().filter(|parts| matches!(parts.len(), 2 | 3)) else {
            return false;
        };
        let name = parts.next();
        name.is_some_and(|name| FUNCTIONS.iter().any(|f| name.is_text(f.0)))
    })
}

/// Whether any micro-operation is written otherwise than the rest of this program writes it.
fn is_written_otherwise(value: Stored) -> bool {
    let mut micros = value.items().into_iter().flatten();
    micros.any(|micro| {
        let Some(mut parts) = micro.items() else {
            return false;
        };
        let name = parts.next();
        name.is_some_and(|name| name.is_text("read") || name.is_text("write"))
    })
}

/// As many transactions are looked at to learn how micro-operations are written.
const FIRST: usize = 1000;

/// The same history with every transaction as `txn`, and what there is to say of that.
pub fn named(history: History) -> (History, Option<String>) {
    let columns = history.columns();
    let clients = |row: &Row| row.process() != Process::Nemesis;
    // An operation is a transaction if what is asked first of it is one; else, if that says
    // nothing, its answer.
    let mut told: Vec<Option<bool>> = vec![None; columns.names().iter().count()];
    let mut untold = told.len();
    for row in columns.rows().filter(clients) {
        let told = &mut told[row.f() as usize];
        let says = told.is_none() && row.value().items().is_some_and(|items| items.len() > 0);
        let asked = matches!(row.kind(), Kind::Invoke | Kind::Ok);
        if asked && (says || told.is_none() && !row.value().is_nil()) {
            *told = Some(is_txn(row.value()));
            untold -= 1;
            if untold == 0 {
                break;
            }
        }
    }
    let is_txn_name: Vec<bool> = told.iter().map(|told| *told == Some(true)).collect();
    let numbered = columns.names().iter().zip(&is_txn_name);
    let renamed: Vec<String> = numbered
        .filter(|(name, is_txn)| **is_txn && *name != TXN)
        .map(|(name, _)| name.to_string())
        .collect();
    let otherwise = {
        let txns = columns.rows().filter(clients);
        let mut first = txns.filter(|row| is_txn_name[row.f() as usize]).take(FIRST);
        first.any(|row| is_written_otherwise(row.value()))
    };
    let history = match otherwise {
        true => history.with_values(|row| match is_txn_name[row.f() as usize] {
            true if is_written_otherwise(row.value()) => Some(rewritten(row.value().to_value())),
            _ => None,
        }),
        false => history,
    };
    match renamed.is_empty() {
        true => (history, None),
        false => {
            let names = renamed.join(", ");
            let note = format!("{names}: of micro-operations, and judged as {TXN}");
            let history =
                history.with_names(|name| renamed.iter().any(|r| r == name).then_some(TXN));
            (history, Some(note))
        }
    }
}

fn rewritten(value: Value) -> Value {
    let micro = |micro: Value| match micro {
        Value::List(mut parts) => {
            if let Some(Value::Text(name)) = parts.first_mut()
                && let Some((_, own)) = FUNCTIONS.iter().find(|f| f.0 == name.as_str())
            {
                *name = (*own).into();
            }
            Value::List(parts)
        }
        other => other,
    };
    match value {
        Value::List(micros) => Value::List(micros.into_iter().map(micro).collect()),
        other => other,
    }
}
