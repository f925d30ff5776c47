//! Why a history is one of a script's object: the order itself, and who replays it.

use history::{History, Op, Outcome, Value};
use rhai::Dynamic;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::{Running, Script, Stopped, with_stack};
use crate::certificate::{Latest, Order};
use crate::consistency::Scope;
use crate::refutation::Doubt;
use crate::{Budget, Meter};

/// Orders that explain every answer by a script, one for each object. The script is in it whole, so
/// that it can be replayed when its file is gone; who verifies it says which script is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderOf {
    pub script: Script,
    pub orders: Vec<Order>,
}

impl OrderOf {
    /// Operations that are placed.
    pub fn placed(&self) -> usize {
        self.orders.iter().map(|order| order.ops.len()).sum()
    }

    /// Replays the orders against the history: every operation that happened is there once and of
    /// the object that the script says, the script takes each from its state to the next, and
    /// nothing stands behind an operation that was invoked only after it had returned.
    ///
    /// # Errors
    /// What is wrong with the first order that is wrong, or with the script; or that the budget
    /// ended.
    pub fn verify(&self, history: &History, budget: &Budget) -> Result<(), Doubt> {
        let meter = budget.start();
        let replayed = with_stack(|| {
            let running = Running::new(&self.script, &meter)?;
            Ok(self.replay(&running, history, &meter))
        });
        let replayed = replayed.map_err(Wrong::from).and_then(|replayed| replayed);
        replayed.map_err(|Wrong(why)| why)
    }

    fn replay(&self, running: &Running, history: &History, meter: &Meter) -> Result<(), Wrong> {
        let judged = |op: &&Op| op.outcome != Outcome::Fail;
        let ops = history.ops().iter().filter(judged);
        let mut left: FxHashMap<u64, &Op> = ops.map(|op| (op.index, op)).collect();
        let mut keys: FxHashSet<&Option<Value>> = FxHashSet::default();
        for order in &self.orders {
            if !keys.insert(&order.key) || order.key.is_some() != running.has_key() {
                return Err(format!("one order for each key, not {:?}", order.key).into());
            }
            let mut state = running.state(&running.init()?)?;
            let mut latest = Latest::default();
            for index in &order.ops {
                meter.look(0).map_err(Doubt::from)?;
                let op = left.remove(index);
                let op = op.ok_or_else(|| format!("op {index} is not to be placed"))?;
                if latest.begins_after(Scope::Realtime, op) {
                    let why = "returned before one placed ahead of it was invoked";
                    return Err(format!("op {index} {why}").into());
                }
                latest.place(op);
                if running.key(op)? != order.key {
                    return Err(format!("op {index} is of another key").into());
                }
                state = stepped(running, &state, op)?;
            }
        }
        let missing = left.values().filter(|op| op.outcome == Outcome::Ok);
        match missing.map(|op| op.index).min() {
            Some(index) => Err(format!("op {index} happened, but is not placed").into()),
            None => Ok(()),
        }
    }
}

fn stepped(running: &Running, state: &Dynamic, op: &Op) -> Result<Dynamic, Wrong> {
    match running.step(state, &running.asked(op)?)? {
        Some(then) => Ok(running.state(&then)?),
        None => Err(format!("op {} cannot happen where it is placed", op.index).into()),
    }
}

/// Why it proves nothing, from wherever that comes.
struct Wrong(Doubt);

impl From<Doubt> for Wrong {
    fn from(why: Doubt) -> Wrong {
        Wrong(why)
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Wrong {
        Wrong(why.into())
    }
}

impl From<Stopped> for Wrong {
    fn from(why: Stopped) -> Wrong {
        Wrong(match why {
            Stopped::Fault(fault) => Doubt::Wrong(fault.to_string()),
            Stopped::Limit(why) => Doubt::Exhausted(why),
        })
    }
}
