//! Whether a history could have been wrong.
//!
//! That an order explains it says nothing if any order would. It was tested if some effect is known
//! to have happened, since it was acknowledged or seen, and some observation could have
//! contradicted it, since it returned after the effect was asked for. It may be of another key:
//! what is written to one must not be read from another:
//!
//! ```text
//! write 1 |----|                    acknowledged
//! write 2    |------?               not known to have happened, unless somebody reads 2
//! read         |-------|  1         could have been 7
//! ```

use history::word::Stored;
use history::{History, Kind};

use super::{Choice, Model};

/// What an operation that happened did.
#[derive(Clone, Copy, Default)]
struct Part {
    /// It changed it.
    effect: bool,
    /// It would have been answered otherwise, had the object been otherwise.
    observes: bool,
    /// It was answered with what somebody must have done.
    seen: bool,
}

const EFFECT: Part = Part {
    effect: true,
    observes: false,
    seen: false,
};

const BOTH: Part = Part {
    effect: true,
    observes: true,
    seen: false,
};

fn observation(seen: bool) -> Part {
    Part {
        effect: false,
        observes: true,
        seen,
    }
}

/// What is known so far.
#[derive(Default)]
struct Tally {
    effect: bool,
    /// Something was seen, or is known to have happened.
    effects: bool,
    observations: bool,
    /// When the last observation returned.
    observed: Option<u32>,
}

impl Tally {
    /// Whether this, with what came before, is a test. Operations come by their calls.
    fn tests(&self, part: Part, call: u32) -> bool {
        part.observes && (part.seen || self.effect)
            || part.effect && self.observed.is_some_and(|ret| ret > call)
    }

    fn add(&mut self, part: Part, ret: u32) {
        self.effects |= part.effect || part.seen;
        self.observations |= part.observes;
        self.effect |= part.effect;
        if part.observes {
            self.observed = self.observed.max(Some(ret));
        }
    }
}

/// # Errors
/// Why nothing was tested.
pub fn tested(choice: &Choice, history: &History) -> Result<(), String> {
    let columns = history.columns();
    let (mut calls, mut rets) = (columns.cursor(), columns.cursor());
    let mut tally = Tally::default();
    for pair in history.pairs() {
        let Some(ret) = pair.completion() else {
            continue;
        };
        let (call, ret) = (calls.row(pair.invocation), rets.row(ret));
        let Some(f) = columns.names().get(call.f()) else {
            continue;
        };
        if ret.kind() != Kind::Ok {
            continue;
        }
        let (at, until) = (call.index(), ret.index());
        if choice.model.is_txn() {
            let micros = micros(choice, ret.value());
            for (i, part) in micros.iter().enumerate() {
                // What it read behind its own change could have been without it.
                let own = micros[..i].iter().any(|own| own.effect);
                if tally.tests(*part, at) || part.observes && own {
                    return Ok(());
                }
            }
            for part in micros {
                tally.add(part, until);
            }
            continue;
        }
        let part = part(choice, f, choice.content(ret.value()));
        if tally.tests(part, at) {
            return Ok(());
        }
        tally.add(part, until);
    }
    Err(match (tally.effects, tally.observations) {
        (false, _) => "nothing was tested: no operation is known to have changed anything",
        (true, false) => "nothing was tested: no operation looked at what was changed",
        (true, true) => {
            "nothing was tested: no answer came after a known change, so no answer could be wrong"
        }
    }
    .into())
}

fn part(choice: &Choice, f: &str, answer: Stored) -> Part {
    let initial = choice.initial.clone().unwrap_or_default();
    let nothing = |answer: Stored| {
        answer.is_nil()
            || answer.items().is_some_and(|items| items.len() == 0)
            || answer.to_value() == initial
    };
    match (choice.model, f) {
        (Model::Counter, "read") => {
            observation(!nothing(answer) && answer.as_int() != Some(initial.as_int().unwrap_or(0)))
        }
        (Model::Bank, "read") => observation(false),
        (Model::Set, "contains") => observation(answer.to_value().as_bool() == Some(true)),
        (Model::Set, "add" | "remove") if answer.to_value().as_bool().is_some() => BOTH,
        (_, "read" | "get" | "drain") => observation(!nothing(answer)),
        (_, "dequeue" | "pop" | "delete-min") => Part {
            effect: !answer.is_nil(),
            ..observation(!answer.is_nil())
        },
        (_, "cas" | "acquire" | "renew" | "release" | "generate") => BOTH,
        _ => EFFECT,
    }
}

/// What each micro-operation of a transaction did.
fn micros(choice: &Choice, value: Stored) -> Vec<Part> {
    let micros = value.items().into_iter().flatten();
    let parts = micros.filter_map(|micro| {
        let mut parts = micro.items()?;
        let (name, _, value) = (parts.next()?, parts.next()?, parts.next()?);
        let empty = value.is_nil() || value.items().is_some_and(|items| items.len() == 0);
        Some(match name.is_text("r") {
            true => observation(!empty && Some(value.to_value()) != choice.initial),
            false => EFFECT,
        })
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing;

    #[test]
    #[rustfmt::skip]
    fn what_could_not_have_been_wrong_was_not_tested() {
        for (drawn, good) in [
            // Registers: an effect that is known, and an answer that came after it was asked for.
            ("P0 |-write 1-| |-read 1-|",                   true),
            ("P0 |-write 1-?\nP1          |-read 1-|",      true),
            ("P0 |-write 1-?\nP1          |-read nil-|",    false),
            ("P0 |-write 1-?\nP1          |-read 1-?",      false),
            ("P0 |-write 1-| |-write 2-|",                  false),
            ("P0              |-write 1-|\nP1 |-read nil-|", false),
            ("P0       |-write 1-|\nP1 |-read nil-|",       true),
            ("P0 |-7:write 1-| |-8:read nil-|",             true),
            ("P0 |-7:write 1-| |-7:read 1-|",               true),
            ("P0 |-cas nil 1-| |-cas 1 2-|",                true),
            ("P0 |-cas nil 1-|",                            false),
            // Others.
            ("P0 |-add 1-| |-add 2-|",                      false),
            ("P0 |-add 1-| |-read [1]-|",                   true),
            ("P0 |-add 1-? \nP1            |-read []-|",    false),
            ("P0 |-add 1-| |-read 1-|",                     true),
            ("P0 |-enqueue 1-| |-enqueue 2-|",              false),
            ("P0 |-enqueue 1-| |-dequeue 1-|",              true),
            ("P0 |-dequeue nil-|",                          false),
            ("P0 |-acquire-| |-release-|",                  true),
            ("P0 |-acquire-|",                              false),
            ("P0 |-generate 5-| |-generate 6-|",            true),
            ("P0 |-txn [[append 1 2]]-| |-txn [[r 1 [2]]]-|", true),
            ("P0 |-txn [[append 1 2]]-| |-txn [[r 3 []]]-|",  true),
            ("P0 |-txn [[append 1 2] [r 1 [2]]]-|",         true),
            ("P0 |-txn [[r 1 []] [append 1 2]]-|",          false),
        ] {
            let history = drawing::history(drawn).unwrap();
            let choice = Choice::of(&history).unwrap();
            assert_eq!(tested(&choice, &history).is_ok(), good, "{drawn}");
        }
    }
}
