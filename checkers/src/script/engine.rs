//! A script that runs, in a world in which there is nothing but it.

use std::cell::Cell;

use history::{Op, Outcome, Process, Value};
use rhai::def_package;
use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage,
    Package,
};
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, FuncArgs, ImmutableString, Scope};

use super::fault::Fault;
use super::value::{Unknown, equal, from_script, kind, to_script};
use super::{Script, Stopped};
use crate::{Exhausted, Meter};

/// What a script may take. Beyond any of these it is at fault.
pub mod bounds {
    /// Of the language, in one call of a function of the script.
    pub const OPERATIONS: u64 = 100_000;
    /// Functions that call each other.
    pub const CALLS: usize = 32;
    /// Expressions within each other.
    pub const DEPTH: usize = 48;
    /// Of one function at one time.
    pub const VARIABLES: usize = 64;
    pub const FUNCTIONS: usize = 256;
    /// Of a list or map together with all that are within it.
    pub const ELEMENTS: usize = 1 << 14;
    /// Of a text, or of all within one list or map.
    pub const TEXT_BYTES: usize = 1 << 16;
    /// Of the script itself.
    pub const SCRIPT_BYTES: u64 = 1 << 20;
}

/// How often the clock is read: each time after so many operations of the language, which together
/// take some microseconds.
const LOOK_EVERY: u64 = 64;

/// A script ready to be asked. It stays in its thread.
pub(crate) struct Running {
    script: Script,
    engine: Engine,
    ast: AST,
    has_process: bool,
    has_key: bool,
    has_reads: bool,
    has_show: bool,
}

/// An operation as a script sees it. Two that are equal are the same to it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    f: ImmutableString,
    value: Dynamic,
    output: Dynamic,
    process: i64,
}

impl Running {
    /// Compiles it. It is stopped when the meter's time is over.
    pub fn new(script: &Script, meter: &Meter) -> Result<Running, Stopped> {
        let name = script.name();
        if script.text().len() as u64 > bounds::SCRIPT_BYTES {
            let why = format!("it has more than {} bytes", bounds::SCRIPT_BYTES);
            return Err(Fault::of(name, why).into());
        }
        let engine = engine(meter);
        let compiled = engine.compile(script.text());
        let ast = compiled.map_err(|e| Fault::of_parsing(name, &e))?;
        let arities = |wanted: &str| -> Vec<usize> {
            let functions = ast.iter_functions().filter(|f| f.name == wanted);
            functions.map(|f| f.params.len()).collect()
        };
        let has = |wanted: &str, form: &str, fits: &[usize]| match &arities(wanted)[..] {
            [] => Ok(None),
            [one] if fits.contains(one) => Ok(Some(*one)),
            _ => Err(Stopped::from(Fault::of(
                name,
                format!("it should have one {form}"),
            ))),
        };
        let needed = |form: &str| Fault::of(name, format!("it has no {form}"));
        let (init, step) = ("fn init()", "fn step(state, f, value, output)");
        has("init", init, &[0])?.ok_or_else(|| needed(init))?;
        let parameters = has("step", step, &[4, 5])?.ok_or_else(|| needed(step))?;
        let mut running = Running {
            has_process: parameters == 5,
            has_key: has("key", "fn key(f, value)", &[2])?.is_some(),
            has_reads: has("reads", "fn reads(f)", &[1])?.is_some(),
            has_show: has("show", "fn show(state)", &[1])?.is_some(),
            script: script.clone(),
            engine,
            ast,
        };
        running.nothing_outside()?;
        running.ast.clear_statements();
        Ok(running)
    }

    /// Functions see nothing that stands outside of them.
    fn nothing_outside(&self) -> Result<(), Stopped> {
        let mut scope = Scope::new();
        let ran = self
            .engine
            .eval_ast_with_scope::<Dynamic>(&mut scope, &self.ast);
        let ran = ran.map(drop);
        ran.map_err(|e| self.stopped("outside of all functions", *e))?;
        match scope.iter_raw().next() {
            None => Ok(()),
            Some((name, ..)) => {
                let why = format!(
                    "{name} stands outside of all functions, which cannot see it: write `fn {name}() {{ ... }}`, and \
                     `{name}()` where it is used"
                );
                Err(Fault::of(self.script.name(), why).into())
            }
        }
    }

    pub fn has_key(&self) -> bool {
        self.has_key
    }

    /// The state at the start.
    pub fn init(&self) -> Result<Value, Stopped> {
        let state = self.call("init", ())?;
        if state.is_unit() {
            let why = "the state at the start may not be (), with which step says that an operation cannot happen; \
                       [] or #{} can stand for nothing";
            return Err(self.fault("init", why).into());
        }
        self.value("init", &state, "the state")
    }

    /// An operation as the script sees it.
    pub fn asked(&self, op: &Op) -> Result<Asked, Stopped> {
        let output = (op.outcome == Outcome::Ok).then_some(&op.output);
        self.asked_so(op, output)
    }

    /// The same with this answer.
    pub fn asked_so(&self, op: &Op, output: Option<&Value>) -> Result<Asked, Stopped> {
        let given = |value: &Value| {
            let fail = |why| {
                Fault::of(
                    self.script.name(),
                    format!("it cannot be given {value}: {why}"),
                )
            };
            to_script(value).map_err(|why| Stopped::from(fail(why)))
        };
        Ok(Asked {
            f: ImmutableString::from(op.f.as_str()),
            value: given(&op.input)?,
            output: match output {
                Some(output) => given(output)?,
                None => Dynamic::from(Unknown),
            },
            process: match op.process {
                Process::Client(n) => i64::try_from(n).unwrap_or(i64::MAX),
                Process::Nemesis => -1,
            },
        })
    }

    /// What of an operation its meaning depends on, beside its name, value and answer.
    pub fn asks(&self, op: &Op) -> Option<Process> {
        self.has_process.then_some(op.process)
    }

    /// The state after the operation; none if it cannot happen.
    pub fn step(&self, state: &Dynamic, op: &Asked) -> Result<Option<Value>, Stopped> {
        let Asked {
            f,
            value,
            output,
            process,
        } = op.clone();
        let then = match self.has_process {
            false => self.call("step", (state.clone(), f, value, output))?,
            true => self.call("step", (state.clone(), f, value, output, process))?,
        };
        if then.is_unit() {
            return Ok(None);
        }
        if then.is_bool() && !state.is_bool() {
            let why = format!(
                "it returned {then}, and the state was {}: the new state is wanted, or () if the operation cannot \
                 happen",
                kind(state)
            );
            return Err(self.fault("step", why).into());
        }
        self.value("step", &then, "the state").map(Some)
    }

    /// Whose operation it is; none if there is one object.
    pub fn key(&self, op: &Op) -> Result<Option<Value>, Stopped> {
        if !self.has_key {
            return Ok(None);
        }
        let Asked { f, value, .. } = self.asked_so(op, None)?;
        let key = self.call("key", (f, value))?;
        if key.is_unit() {
            let why = "it returned (): every operation belongs to one key";
            return Err(self.fault("key", why).into());
        }
        self.value("key", &key, "the key").map(Some)
    }

    /// Whether operations of this name never change a state.
    pub fn reads(&self, f: &str) -> Result<bool, Stopped> {
        if !self.has_reads {
            return Ok(false);
        }
        let said = self.call("reads", (ImmutableString::from(f),))?;
        said.as_bool().map_err(|_| {
            let why = format!(
                "it should return true or false, and returned {}",
                kind(&said)
            );
            self.fault("reads", why).into()
        })
    }

    /// A state in words.
    pub fn show(&self, state: &Value) -> Result<String, Stopped> {
        if !self.has_show {
            return Ok(state.to_string());
        }
        let shown = self.call("show", (self.state(state)?,))?;
        if let Ok(text) = shown.as_immutable_string_ref() {
            return Ok(text.to_string());
        }
        Ok(self.value("show", &shown, "what it returns")?.to_string())
    }

    /// A state as the script has it.
    pub fn state(&self, state: &Value) -> Result<Dynamic, Stopped> {
        to_script(state).map_err(|why| Fault::of(self.script.name(), why).into())
    }

    /// That one of its functions does what it must not.
    pub fn fault(&self, function: &str, why: impl Into<String>) -> Fault {
        self.placed(Fault::in_function(self.script.name(), function, why))
    }

    /// At its function's beginning, if nothing better is known.
    fn placed(&self, fault: Fault) -> Fault {
        let begins = fault
            .function
            .as_ref()
            .and_then(|f| begins(self.script.text(), f));
        Fault {
            at: fault.at.or(begins),
            ..fault
        }
    }

    fn value(&self, function: &str, value: &Dynamic, what: &str) -> Result<Value, Stopped> {
        let fail = |why| format!("{what} is no value of a history: {why}");
        from_script(value).map_err(|why| self.fault(function, fail(why)).into())
    }

    fn call(&self, function: &str, arguments: impl FuncArgs) -> Result<Dynamic, Stopped> {
        let options = CallFnOptions::new().eval_ast(false);
        let mut scope = Scope::new();
        let called = self
            .engine
            .call_fn_with_options::<Dynamic>(options, &mut scope, &self.ast, function, arguments);
        called.map_err(|e| self.stopped(function, *e))
    }

    fn stopped(&self, function: &str, error: EvalAltResult) -> Stopped {
        match error.unwrap_inner() {
            EvalAltResult::ErrorTerminated(..) => Exhausted::Time.into(),
            _ => {
                let fault = Fault::of_call(self.script.name(), function, error);
                self.placed(fault).into()
            }
        }
    }
}

/// Line and column of a function's beginning.
fn begins(text: &str, function: &str) -> Option<(usize, usize)> {
    text.lines().enumerate().find_map(|(at, line)| {
        let mut fns = line.match_indices("fn ");
        let column = fns.find_map(|(column, word)| {
            let name = line[column + word.len()..].trim_start();
            let rest = name.strip_prefix(function)?;
            rest.trim_start().starts_with('(').then_some(column + 1)
        });
        Some((at + 1, column?))
    })
}

def_package! {
    /// All that a script can call. The package of the language's core is left out: of what it has,
    /// sleeping and exiting would be harmful, and the rest is not missed. In one piece a function
    /// is found sooner.
    Reckoning(module):
        ArithmeticPackage,
        LogicPackage,
        BitFieldPackage,
        BasicMathPackage,
        BasicStringPackage,
        MoreStringPackage,
        BasicIteratorPackage,
        BasicFnPackage,
        BasicArrayPackage,
        BasicMapPackage
    {
        module.set_id("reckoning");
    }
}

/// The language without whatever leads out of it.
fn engine(meter: &Meter) -> Engine {
    let mut engine = Engine::new_raw();
    Reckoning::new().register_into_engine(&mut engine);
    engine.register_type_with_name::<Unknown>("unknown");
    engine.register_fn("is_unknown", |output: Dynamic| output.is::<Unknown>());
    engine.register_fn("answers", answers);
    engine.disable_symbol("eval");
    engine
        .set_max_operations(bounds::OPERATIONS)
        .set_max_call_levels(bounds::CALLS)
        .set_max_expr_depths(bounds::DEPTH, bounds::DEPTH)
        .set_max_variables(bounds::VARIABLES)
        .set_max_functions(bounds::FUNCTIONS)
        .set_max_array_size(bounds::ELEMENTS)
        .set_max_map_size(bounds::ELEMENTS)
        .set_max_string_size(bounds::TEXT_BYTES);
    // Of all calls together: each may be short.
    let (meter, operations) = (meter.clone(), Cell::new(0u64));
    engine.on_progress(move |_| {
        let done = operations.get() + 1;
        operations.set(done);
        let is_over = done % LOOK_EVERY == 0 && meter.look(0).is_err();
        is_over.then_some(Dynamic::UNIT)
    });
    engine
}

/// Whether an answer may have been this one.
fn answers(output: Dynamic, right: Dynamic) -> Result<bool, Box<EvalAltResult>> {
    if output.is::<Unknown>() {
        return Ok(true);
    }
    Ok(equal(&output, &right)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Budget, drawing};

    fn running(step: &str, time: Duration) -> Running {
        let text = format!("fn init() {{ 0 }} fn step(state, f, value, output) {{ {step} }}");
        let script = Script::new("mine.rhai", text).expect("it is right");
        let budget = Budget {
            time,
            ..Budget::default()
        };
        Running::new(&script, &budget.start()).expect("it is right")
    }

    fn step(running: &Running) -> Result<Option<Value>, Stopped> {
        let history = drawing::history("P0 |-add 1-|").expect("it is drawn right");
        let asked = running.asked(&history.ops()[0])?;
        running.step(&Dynamic::from(0_i64), &asked)
    }

    /// The clock is read in the midst of a step, not only between two.
    #[test]
    fn the_budget_ends_a_step_that_is_long() {
        let long = "let n = 0; while n < 1000 { n += 1; } n";
        let in_time = running(long, Duration::MAX);
        assert_eq!(step(&in_time), Ok(Some(1000.into())));
        let too_late = running(long, Duration::ZERO);
        assert_eq!(step(&too_late), Err(Stopped::Limit(Exhausted::Time)));
    }

    /// What one call left behind is not there for the next: the same question has one answer.
    #[test]
    fn a_call_remembers_nothing() {
        let running = running("let n = state; n += value; n", Duration::MAX);
        for _ in 0..3 {
            assert_eq!(step(&running), Ok(Some(1.into())));
        }
    }
}
