//! A script as the judge of runs: of what a workload asked, and of nothing else that is recorded.

use history::{History, Name, Op, Outcome, Process, Time, Value};

use super::{NAME, Scripted};
use crate::script::{Fault, Running, Script, Stopped, with_stack};
use crate::{Analysis, Budget, Checker};

/// Judges the operations of a workload by a script.
#[derive(Clone, Debug)]
pub struct Described {
    script: Script,
    operations: Vec<String>,
}

impl Described {
    /// The judge of these operations, each with a value that it may be invoked with, `[key value]`.
    /// The script is asked about each once, with an answer that nobody knows, so that what it
    /// cannot be asked shows before there is a history.
    ///
    /// # Errors
    /// What is wrong with the script.
    pub fn new(script: Script, examples: &[(String, Value)]) -> Result<Described, Box<Fault>> {
        match with_stack(|| tried(&script, examples)) {
            Ok(()) => Ok(Described {
                script,
                operations: examples.iter().map(|(f, _)| f.clone()).collect(),
            }),
            Err(Stopped::Fault(fault)) => Err(fault),
            Err(Stopped::Limit(why)) => {
                Err(Fault::of(script.name(), format!("it is tried before the run: {why}")).into())
            }
        }
    }
}

fn tried(script: &Script, examples: &[(String, Value)]) -> Result<(), Stopped> {
    let running = Running::new(script, &Budget::default().start())?;
    if !running.has_key() {
        let why = "it has no fn key(f, value), and a workload's operations are of several objects: `fn key(f, value) \
                   { value[0] }` says which, and step is given [key, value] too";
        return Err(Fault::of(script.name(), why).into());
    }
    let init = running.state(&running.init()?)?;
    for (f, value) in examples {
        let op = asked(f, value);
        running.key(&op)?;
        running.reads(f)?;
        let then = running.step(&init, &running.asked_so(&op, None)?)?;
        then.map(|state| running.show(&state)).transpose()?;
    }
    Ok(())
}

/// An operation whose outcome is not known.
fn asked(f: &str, value: &Value) -> Op {
    Op {
        index: 0,
        completion: None,
        process: Process::Client(0),
        node: None,
        f: Name::from(f),
        input: value.clone(),
        output: Value::Nil,
        outcome: Outcome::Info,
        call: Time(0),
        ret: Time::MAX,
        error: None,
        version: None,
        due: None,
    }
}

impl Checker for Described {
    fn name(&self) -> &str {
        NAME
    }

    fn check(&self, history: &History, budget: &Budget) -> Analysis {
        let names = history.columns().names();
        let ours: Vec<u32> = self
            .operations
            .iter()
            .filter_map(|f| names.find(f))
            .collect();
        let history = history.without_ops(|call, _| !ours.contains(&call.f()));
        match Scripted::new(self.script.clone()).judge(&history, budget) {
            Ok(judged) => judged.analysis,
            Err(fault) => Analysis::unknown(NAME, format!("the script is wrong: {fault}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use history::{Event, Kind};

    const COUNTER: &str = "
        fn init() { 0 }
        fn key(f, value) { value[0] }
        fn step(count, f, value, output) {
            switch f {
                \"take\" => if count < 1 { count + 1 },
                \"read\" => if is_unknown(output) || output[1] == count { count },
                _ => throw `no ${f}`,
            }
        }";

    fn described(text: &str, operations: &[&str]) -> Result<Described, Box<Fault>> {
        let script = Script::new("counter.rhai", text)?;
        let example = |f: &&str| (f.to_string(), Value::pair(1, Value::Nil));
        let examples: Vec<_> = operations.iter().map(example).collect();
        Described::new(script, &examples)
    }

    fn history(answers: &[(&str, i64, Value)]) -> History {
        let mut events = Vec::new();
        for (f, key, answer) in answers {
            for (kind, value) in [(Kind::Invoke, Value::Nil), (Kind::Ok, answer.clone())] {
                let index = events.len() as u64;
                events.push(Event {
                    index,
                    time: Time(index),
                    process: Process::Client(0),
                    kind,
                    f: (*f).into(),
                    value: Value::pair(*key, value),
                    error: None,
                    node: None,
                    version: None,
                    due: None,
                });
            }
        }
        History::new(events).expect("well formed")
    }

    #[test]
    fn a_run_is_judged_by_key_and_what_others_asked_is_left_out() {
        let judge = described(COUNTER, &["take", "read"]).unwrap();
        let asked = [
            ("take", 1, Value::Nil),
            ("log", 1, Value::Nil),
            ("read", 1, 1.into()),
            ("read", 2, 0.into()),
        ];
        let found = judge.check(&history(&asked), &Budget::default());
        assert_eq!(found.verdict, Verdict::Valid, "{found:#?}");
        let twice = [("take", 1, Value::Nil), ("take", 1, Value::Nil)];
        let found = judge.check(&history(&twice), &Budget::default());
        assert_eq!(found.verdict, Verdict::Invalid, "{found:#?}");
    }

    #[test]
    fn what_a_script_cannot_be_asked_shows_before_the_run() {
        let wrong =
            |text: &str, operations: &[&str]| described(text, operations).unwrap_err().to_string();
        let said = wrong(COUNTER, &["take", "give"]);
        assert!(said.contains("no give"), "{said}");
        let said = wrong(&COUNTER.replace("fn key", "fn other"), &["take"]);
        assert!(said.contains("fn key(f, value)"), "{said}");
        let said = wrong(&COUNTER.replace("value[0]", "value[7]"), &["take"]);
        assert!(said.contains("key"), "{said}");
        let said = wrong(&COUNTER.replace("count + 1", "count +"), &["take"]);
        assert!(said.contains("counter.rhai"), "{said}");
    }
}
