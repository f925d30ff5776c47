//! Waits: times in which something was asked of the system and nothing succeeded.
//!
//! A wait begins with the last success, or with the first call after it where nothing was open
//! then; it ends with the next success.
//!
//! ```text
//! P0  |--ok--|     |--!  |--!   |--ok--|      |--ok--|      |--!   nobody asks any more
//!     <-wait-|     <-----wait---------->      <-wait->      <-----> at least
//! ```

use std::time::Duration;

use history::fault::Span;
use history::{History, Op, Outcome, Time};
use serde_json::{Value as Json, json};

use super::censored::Censored;

/// For so long nothing is asked before a wait counts as over: the pause between main and final
/// phase is not the system's fault.
const IDLE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub from: Time,
    pub until: Time,
    /// It ended with a success. Else nobody asked any more, and it would have lasted longer.
    pub answered: bool,
}

impl Wait {
    pub fn length(&self) -> Duration {
        self.until.since(self.from)
    }

    pub fn json(&self) -> Json {
        let mut json = json!({"from": self.from.as_secs_f64(), "until": self.until.as_secs_f64()});
        if !self.answered {
            json["unfinished"] = true.into();
        }
        json
    }

    /// How long it was from then on.
    fn since(&self, from: Time) -> Censored {
        let length = self.until.since(self.from.max(from));
        match self.answered {
            true => Censored::exact(length),
            false => Censored::at_least(length),
        }
    }
}

/// Every time in which something was asked and nothing succeeded, in order; and how long something
/// was asked at all: from the first call to the last completion, without idle times.
pub fn waits(ops: &[&Op], history: &History) -> (Vec<Wait>, Duration) {
    // By index, the order in which the recorder saw them.
    let mut moments: Vec<(u64, Option<Outcome>)> = Vec::with_capacity(2 * ops.len());
    for op in ops {
        moments.push((op.index, None));
        moments.extend(op.completion.map(|index| (index, Some(op.outcome))));
    }
    moments.sort_unstable_by_key(|(index, _)| *index);
    let mut waits = Vec::new();
    let wait = |from, until, answered| Wait {
        from,
        until,
        answered,
    };
    let mut open = 0u64;
    let mut since = None;
    let mut idle_from = ops.iter().map(|op| op.call).min().unwrap_or_default();
    let mut asked = Duration::ZERO;
    let mut asked_from = idle_from;
    for (index, ended) in moments {
        let at = history.events()[index as usize].time;
        let Some(outcome) = ended else {
            if open == 0 && at.since(idle_from) >= IDLE {
                waits.extend(since.take().map(|from| wait(from, idle_from, false)));
                asked += idle_from.since(asked_from);
                asked_from = at;
            }
            since = since.or(Some(at));
            open += 1;
            continue;
        };
        open -= 1;
        if outcome == Outcome::Ok {
            waits.extend(since.take().map(|from| wait(from, at, true)));
            since = (open > 0).then_some(at);
        }
        if open == 0 {
            idle_from = at;
        }
    }
    let end = if open > 0 { history.end() } else { idle_from };
    waits.extend(since.map(|from| wait(from, end, false)));
    waits.retain(|wait| wait.from < wait.until);
    (waits, asked + end.since(asked_from))
}

/// When the last of these operations had ended, as far as anybody saw.
pub fn end_of_asking(ops: &[&Op], history: &History) -> Time {
    let ended = |op: &&Op| match op.completion {
        Some(index) => history.events()[index as usize].time,
        None => history.end(),
    };
    ops.iter().map(ended).max().unwrap_or_default()
}

/// The longest wait that a fault touches, counted from when it was in force. None if nobody waited.
pub fn longest_wait(span: &Span, waits: &[Wait]) -> Option<Censored> {
    let from = span.in_force.unwrap_or(span.from);
    let touched = waits[waits.partition_point(|wait| wait.until <= from)..]
        .iter()
        .take_while(|wait| wait.from < span.until);
    let touched: Vec<Censored> = touched.map(|wait| wait.since(from)).collect();
    Censored::max(&touched)
}

/// From the heal to the first success of an operation that was called after it; at least until
/// nobody asked any more, if there was none. None if it was not healed, or nobody asked after it.
pub fn first_answer(span: &Span, ops: &[&Op], end: Time) -> Option<Censored> {
    let asked = &ops[ops.partition_point(|op| op.call < span.until)..];
    if !span.healed() || asked.is_empty() {
        return None;
    }
    let ok = asked.iter().filter(|op| op.outcome == Outcome::Ok);
    Some(match ok.map(|op| op.ret).min() {
        Some(first) => Censored::exact(first.since(span.until)),
        None => Censored::at_least(end.since(span.until)),
    })
}
