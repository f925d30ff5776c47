//! Histories as a file has them: written in some format, by clients of any name, with nil, keys,
//! operations that no model knows and such that nobody can judge; read, put into the words of a
//! model, and judged. What is right is told by the rules of `harness/docs/checkers.md`, with every
//! order tried.
//!
//! Each rule can be taken out of what is held to be right: then some history must go wrong, or the
//! histories would not show that the rule is kept.

use std::collections::HashSet;

use checkers::choice::{Model, Question};
use checkers::{Analysis, Budget, Verdict};
use history::foreign::{Format, read};
use history::{Outcome, Value};

use super::Counts;
use crate::random::Random;

/// What a file means beside what its operations say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// One client's operations follow each other, also where stamps are equal.
    ProgramOrder,
    /// Whoever is not the nemesis is a client.
    AnyProcess,
    /// A read of nil is an answer: an unwritten register, a counter's 0, an empty set or queue.
    Nil,
    /// Each key is an object by itself.
    Keys,
    /// An operation that the model does not know can have changed anything.
    Strangers,
    /// An operation that cannot be judged hides no other's anomaly.
    BesideUnjudged,
}

impl Rule {
    pub const ALL: [Rule; 6] = [
        Rule::ProgramOrder,
        Rule::AnyProcess,
        Rule::Nil,
        Rule::Keys,
        Rule::Strangers,
        Rule::BesideUnjudged,
    ];
}

/// Objects whose operations are told apart by their names.
const MODELS: [Model; 4] = [Model::CasRegister, Model::Counter, Model::Set, Model::Queue];

/// A client, as files call it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Name {
    Number(u64),
    Text(u64),
    Keyword(u64),
}

/// An operation as the file tells it.
#[derive(Clone, Debug)]
struct Told {
    client: Name,
    f: &'static str,
    key: i64,
    input: Value,
    outcome: Outcome,
    output: Value,
    /// Where its events stand.
    asked: usize,
    answered: usize,
    /// Their stamps.
    call: u64,
    ret: u64,
    /// Nobody can judge it; and whether it may have changed its object.
    unjudged: Option<bool>,
}

/// A history, and how its file is written.
#[derive(Debug)]
struct File {
    model: Model,
    keyed: bool,
    format: Format,
    ops: Vec<Told>,
}

/// The verdict of a history, or that it is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Right {
    Refused,
    Judged(Verdict),
}

/// Judges the history of a seed as `schism check` does, and panics where the rules say something
/// else.
pub fn judge(seed: u64, counts: &mut Counts) {
    match agree(seed, None) {
        Ok((model, Some(verdict))) => counts.add(model.name(), verdict),
        Ok((_, None)) => {}
        Err(why) => panic!("{why}"),
    }
}

/// What the history of a seed is of, and the verdict; none if it is refused.
///
/// # Errors
/// How the verdict differs from what is right by all rules, or all but one.
pub fn agree(seed: u64, without: Option<Rule>) -> Result<(Model, Option<Verdict>), String> {
    let mut random = Random::new(seed);
    let file = File::random(&mut random);
    let text = file.text(&mut random);
    let right = file.right(without);
    let found = file.judged(&text, random.percent(50));
    let verdict = match (&found, right) {
        (Err(_), Right::Refused) => None,
        (Ok(found), Right::Judged(verdict)) if found.verdict == verdict => Some(verdict),
        // Nothing happened that anybody knows of.
        (Ok(found), Right::Judged(verdict))
            if found.verdict == Verdict::Vacuous && verdict != Verdict::Invalid =>
        {
            Some(Verdict::Vacuous)
        }
        _ => return Err(format!("{right:?}, but {found:#?}\n{text}\n{file:#?}")),
    };
    Ok((file.model, verdict))
}

/// The object after an operation, and its answer; none if it does nothing.
fn step(model: Model, state: &Value, f: &str, input: &Value) -> Option<(Value, Value)> {
    let list = || state.as_list().unwrap_or_default().to_vec();
    Some(match (model, f) {
        (Model::CasRegister, "read") => (state.clone(), state.clone()),
        (Model::CasRegister, "write") => (input.clone(), input.clone()),
        (Model::CasRegister, _) => {
            let (from, to) = input.as_pair()?;
            (from == state).then(|| (to.clone(), input.clone()))?
        }
        (Model::Counter, "add") => {
            let sum = state.as_int().unwrap_or(0) + input.as_int()?;
            (Value::Int(sum), input.clone())
        }
        (Model::Counter, _) => (state.clone(), Value::Int(state.as_int().unwrap_or(0))),
        (Model::Set, "add") => {
            let mut elements = list();
            elements.push(input.clone());
            elements.sort();
            elements.dedup();
            (Value::List(elements), input.clone())
        }
        (Model::Set, _) => (state.clone(), Value::List(list())),
        (_, "enqueue") => (
            Value::List([list(), vec![input.clone()]].concat()),
            input.clone(),
        ),
        _ => match &list()[..] {
            [] => (state.clone(), Value::Nil),
            [first, rest @ ..] => (Value::List(rest.to_vec()), first.clone()),
        },
    })
}

impl File {
    /// Plays clients against real objects, one step at a time, and spoils some answers.
    fn random(random: &mut Random) -> File {
        let model = *random.pick(&MODELS);
        let keyed = random.percent(50);
        let keys = if keyed { 3 } else { 1 };
        let odd = *random.pick(&[0, 0, 50]);
        let name = |number: u64, random: &mut Random| match random.below(100) {
            n if n >= odd => Name::Number(number),
            n if n % 2 == 0 => Name::Text(number),
            _ => Name::Keyword(number),
        };
        let grain = *random.pick(&[1, 1, 3, 1_000]);
        let (lost, wrong) = (*random.pick(&[0, 15]), *random.pick(&[0, 15, 40]));
        let most = 2 + random.below(7);
        let clients = 1 + random.below(3);
        let mut names: Vec<Name> = (0..clients).map(|n| name(n, random)).collect();
        let mut fresh_name = clients;
        let mut open: Vec<Option<(usize, bool)>> = vec![None; clients as usize];
        let mut states = vec![Value::Nil; keys as usize];
        let (mut ops, mut place, mut time): (Vec<Told>, _, _) = (Vec::new(), 0, 0);
        while (ops.len() as u64) < most || open.iter().any(Option::is_some) {
            time += random.below(3);
            let who = random.below(clients) as usize;
            let Some((at, happened)) = open[who].take() else {
                if (ops.len() as u64) < most {
                    let key = random.below(keys) as i64;
                    let (f, input) = ask(model, ops.len() as i64, &states[key as usize], random);
                    open[who] = Some((ops.len(), false));
                    ops.push(Told {
                        client: names[who],
                        f,
                        key,
                        input,
                        outcome: Outcome::Info,
                        output: Value::Nil,
                        asked: place,
                        answered: usize::MAX,
                        call: time / grain,
                        ret: u64::MAX,
                        unjudged: None,
                    });
                    place += 1;
                }
                continue;
            };
            let op = &mut ops[at];
            let state = &mut states[op.key as usize];
            if !happened {
                let then = step(model, state, op.f, &op.input);
                op.outcome = if then.is_some() {
                    Outcome::Ok
                } else {
                    Outcome::Fail
                };
                if let Some((then, answer)) = then {
                    // Now and then it claims what it did not do.
                    if !random.percent(wrong / 4) {
                        *state = then;
                    }
                    op.output = answer;
                }
                open[who] = Some((at, true));
                continue;
            }
            (op.answered, op.ret) = (place, time / grain);
            place += 1;
            if random.percent(lost) {
                op.outcome = Outcome::Info;
                op.ret = u64::MAX;
                names[who] = name(fresh_name, random);
                fresh_name += 1;
            } else if op.outcome == Outcome::Ok && op.input.is_nil() {
                spoil(model, &mut op.output, wrong, random);
            }
        }
        let mut file = File {
            model,
            keyed,
            format: *random.pick(&[Format::Edn, Format::Events, Format::Csv, Format::Operations]),
            ops,
        };
        if random.percent(15) {
            file.make_odd(random);
        }
        file
    }

    /// Makes one operation what the model does not know, or what nobody can judge.
    fn make_odd(&mut self, random: &mut Random) {
        let at = random.below(self.ops.len() as u64) as usize;
        let (model, keyed) = (self.model, self.keyed);
        // Of a key and one value nobody can tell that they are not two values, unless a read does.
        let is_told = !keyed || self.ops.iter().any(|op| op.f == "read");
        let op = &mut self.ops[at];
        if op.outcome == Outcome::Fail {
            return;
        }
        let reads = op.input.is_nil() && op.f == "read";
        match op.f {
            _ if random.percent(40) => op.f = "delete",
            // It is answered of another key.
            _ if keyed && reads && op.outcome == Outcome::Ok => op.unjudged = Some(false),
            "cas" if is_told => (op.input, op.unjudged) = (Value::Int(5), Some(true)),
            "add" if model == Model::Counter => {
                (op.input, op.unjudged) = (Value::text("much"), Some(true));
            }
            _ => {}
        }
    }

    fn value(&self, op: &Told, content: &Value, is_answer: bool) -> Value {
        let other = is_answer && op.unjudged == Some(false);
        match self.keyed {
            true => Value::pair(op.key + i64::from(other), content.clone()),
            false => content.clone(),
        }
    }

    fn answer(&self, op: &Told) -> Value {
        match (op.outcome, op.unjudged) {
            (Outcome::Ok, Some(true)) | (Outcome::Fail, _) => self.value(op, &op.input, true),
            (Outcome::Ok, _) => self.value(op, &op.output, true),
            (Outcome::Info, _) => Value::Nil,
        }
    }

    fn text(&self, random: &mut Random) -> String {
        match self.format {
            Format::Edn | Format::Events => self.events(random),
            Format::Csv => self.table(),
            _ => self.lines(),
        }
    }

    fn events(&self, random: &mut Random) -> String {
        let mut events: Vec<(usize, String)> = Vec::new();
        let is_json = self.format == Format::Events;
        let mut add = |place: usize, op: &Told, kind: &str, value: &Value| {
            let time = if place == op.asked { op.call } else { op.ret };
            let (name, f) = (op.client, op.f);
            let time = (time != u64::MAX).then_some(time);
            let event = match is_json {
                true => {
                    let time = time.map_or(String::new(), |time| format!(",\"time\":{time}"));
                    let (name, value) = (name.json(), json(value));
                    format!(
                        "{{\"process\":{name},\"type\":\"{kind}\",\"f\":\"{f}\",\"value\":{value}{time}}}\n"
                    )
                }
                false => {
                    let time = time.map_or(String::new(), |time| format!(" :time {time}"));
                    let name = name.edn();
                    format!("{{:process {name} :type :{kind} :f :{f} :value {value}{time}}}\n")
                }
            };
            events.push((place, event));
        };
        for op in &self.ops {
            add(op.asked, op, "invoke", &self.value(op, &op.input, false));
            // Who never answers may say so.
            if op.outcome != Outcome::Info || random.percent(50) {
                let kind = match op.outcome {
                    Outcome::Ok => "ok",
                    Outcome::Fail => "fail",
                    Outcome::Info => "info",
                };
                add(op.answered, op, kind, &self.answer(op));
            }
        }
        events.sort();
        let nemesis = match is_json {
            true => "{\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"add\",\"value\":1}\n",
            false => "{:process :nemesis :type :info :f :write :value 1}\n",
        };
        let begin = if random.percent(20) { nemesis } else { "" };
        let events = events.into_iter().map(|(_, event)| event);
        format!("{begin}{}", events.collect::<String>())
    }

    fn table(&self) -> String {
        // A number that is quoted would be text.
        let cell = |text: String| match text.parse::<i64>() {
            Ok(_) => text,
            Err(_) => format!("\"{}\"", text.replace('"', "\"\"")),
        };
        let lines = self.ops.iter().map(|op| {
            let (name, f) = (op.client.json(), op.f);
            let input = cell(json(&self.value(op, &op.input, false)));
            let output = match op.outcome {
                Outcome::Ok => cell(json(&self.answer(op))),
                _ => String::new(),
            };
            let (ret, status) = (op.told_ret().unwrap_or_default(), op.status());
            format!(
                "{},{f},{input},{output},{},{ret},{status}\n",
                cell(name),
                op.call
            )
        });
        format!(
            "process,f,input,output,call,return,status\n{}",
            lines.collect::<String>()
        )
    }

    fn lines(&self) -> String {
        let lines = self.ops.iter().map(|op| {
            let (name, f, input) = (op.client.json(), op.f, json(&self.value(op, &op.input, false)));
            let output = match op.outcome {
                Outcome::Ok => format!(",\"output\":{}", json(&self.answer(op))),
                _ => String::new(),
            };
            let ret = op.told_ret().map_or(String::new(), |ret| format!(",\"return\":{ret}"));
            let (call, status) = (op.call, op.status());
            format!(
                "{{\"process\":{name},\"f\":\"{f}\",\"input\":{input}{output},\"call\":{call}{ret},\"status\":\"{status}\"}}\n"
            )
        });
        lines.collect()
    }

    /// As `schism check` judges it; the model is named unless the operations tell.
    fn judged(&self, text: &str, named: bool) -> Result<Analysis, String> {
        assert_eq!(Format::sniff(text.as_bytes()), Some(self.format), "{text}");
        let loaded = read(self.format, text.as_bytes());
        let loaded = loaded.unwrap_or_else(|e| panic!("{e}\n{text}"));
        let adds = self.ops.iter().any(|op| op.f == "add");
        let mut reads = self.ops.iter().filter(|op| op.f == "read");
        let is_told = match self.model {
            Model::CasRegister | Model::Queue => true,
            _ => adds && reads.any(|op| op.outcome == Outcome::Ok && !op.output.is_nil()),
        };
        let question = Question {
            model: (named || !is_told).then_some(self.model),
            ..Question::default()
        };
        let asked = question.put(loaded.history)?;
        let choice = asked.choice.expect("there are operations");
        Ok(choice
            .checker(&asked.history)
            .check(&asked.history, &Budget::default()))
    }

    fn is_by_place(&self) -> bool {
        matches!(self.format, Format::Edn | Format::Events)
    }

    fn right(&self, without: Option<Rule>) -> Right {
        let keeps = |rule| without != Some(rule);
        let is_client =
            |op: &&Told| keeps(Rule::AnyProcess) || matches!(op.client, Name::Number(_));
        let ops: Vec<&Told> = self.ops.iter().filter(is_client).collect();
        if keeps(Rule::Strangers) && ops.iter().any(|op| op.f == "delete") {
            return Right::Refused;
        }
        let unjudged = || ops.iter().filter(|op| op.unjudged.is_some());
        let is_hidden = !keeps(Rule::BesideUnjudged) && unjudged().next().is_some();
        let keys = if keeps(Rule::Keys) { 0..3 } else { 0..1 };
        let mut is_wrong = false;
        for key in keys {
            let is_of = |op: &&&Told| op.key == key || !keeps(Rule::Keys);
            let changed = |op: &&&Told| op.unjudged == Some(true) && is_of(op);
            if is_hidden || unjudged().any(|op| changed(&op)) {
                continue;
            }
            let part = ops.iter().filter(is_of).copied();
            let part = part.filter(|op| {
                op.unjudged.is_none() && op.outcome != Outcome::Fail && op.f != "delete"
            });
            let part: Vec<&Told> = part.collect();
            let mut seen = HashSet::new();
            is_wrong |= !self.explains(&part, 0, &Value::Nil, without, &mut seen);
        }
        Right::Judged(match (is_wrong, unjudged().next()) {
            (true, _) => Verdict::Invalid,
            (false, Some(_)) => Verdict::Unknown,
            (false, None) => Verdict::Valid,
        })
    }

    fn precedes(&self, a: &Told, b: &Told, without: Option<Rule>) -> bool {
        let own = a.client == b.client && a.asked < b.asked;
        let before = match self.is_by_place() {
            true => a.answered < b.asked,
            false => a.ret < b.call || own && without != Some(Rule::ProgramOrder),
        };
        a.outcome == Outcome::Ok && before
    }

    /// Whether some order explains the operations that are not placed yet.
    fn explains(
        &self,
        ops: &[&Told],
        placed: u32,
        state: &Value,
        without: Option<Rule>,
        seen: &mut HashSet<(u32, Value)>,
    ) -> bool {
        let is_open = |i: usize| placed & (1 << i) == 0;
        let must = |i: usize| ops[i].outcome == Outcome::Ok;
        if (0..ops.len()).all(|i| !is_open(i) || !must(i)) {
            return true;
        }
        if !seen.insert((placed, state.clone())) {
            return false;
        }
        (0..ops.len()).filter(|i| is_open(*i)).any(|i| {
            let waits = |j: usize| is_open(j) && must(j) && self.precedes(ops[j], ops[i], without);
            if (0..ops.len()).any(waits) {
                return false;
            }
            let Some((then, answer)) = step(self.model, state, ops[i].f, &ops[i].input) else {
                return false;
            };
            let told = &ops[i].output;
            let is_nothing = told.is_nil() && ops[i].input.is_nil();
            let fits = match () {
                () if !must(i) => true,
                () if is_nothing && without == Some(Rule::Nil) => true,
                () if is_nothing => answer == nothing(self.model),
                () => *told == answer,
            };
            fits && self.explains(ops, placed | 1 << i, &then, without, seen)
        })
    }
}

/// What a client might ask next; the number is fresh.
fn ask(model: Model, fresh: i64, state: &Value, random: &mut Random) -> (&'static str, Value) {
    // What is added may be a pair: only reads tell whether there are keys.
    let tells = fresh == 0 && matches!(model, Model::Counter | Model::Set);
    let changes = random.percent(55) && !tells;
    let few = Value::Int(random.below(3) as i64 + 1);
    match (model, changes) {
        (Model::CasRegister, true) if random.percent(20) => {
            let from = if random.percent(70) {
                state.clone()
            } else {
                few.clone()
            };
            ("cas", Value::pair(from, few))
        }
        (Model::CasRegister, true) if random.percent(50) => ("write", few),
        (Model::CasRegister, true) => ("write", Value::Int(fresh + 10)),
        (Model::Counter, true) => ("add", random.pick(&[Value::Int(1), few]).clone()),
        (Model::Set, true) => ("add", Value::Int(fresh)),
        (Model::Queue, true) => ("enqueue", Value::Int(fresh)),
        (Model::Queue, false) => ("dequeue", Value::Nil),
        _ => ("read", Value::Nil),
    }
}

/// What is nothing may be told as nil, and some answers are wrong.
fn spoil(model: Model, answer: &mut Value, wrong: u64, random: &mut Random) {
    if random.percent(wrong) {
        let n = random.below(4) as i64;
        *answer = match (model, answer.as_list()) {
            _ if random.percent(40) => Value::Nil,
            (Model::Set, Some(elements)) => Value::List(elements.iter().skip(1).cloned().collect()),
            _ => Value::Int(n),
        };
    }
    if *answer == nothing(model) && random.percent(50) {
        *answer = Value::Nil;
    }
}

/// What an object says that holds nothing.
fn nothing(model: Model) -> Value {
    match model {
        Model::Counter => Value::Int(0),
        Model::Set => Value::List(Vec::new()),
        _ => Value::Nil,
    }
}

impl Told {
    fn status(&self) -> &'static str {
        match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
        }
    }

    fn told_ret(&self) -> Option<String> {
        (self.ret != u64::MAX).then(|| self.ret.to_string())
    }
}

impl Name {
    fn edn(self) -> String {
        match self {
            Name::Number(n) => n.to_string(),
            Name::Text(n) => format!("\"client {n}\""),
            Name::Keyword(n) => format!(":client-{n}"),
        }
    }

    fn json(self) -> String {
        match self {
            Name::Number(n) => n.to_string(),
            Name::Text(n) => format!("\"client {n}\""),
            Name::Keyword(n) => format!("\"client-{n}\""),
        }
    }
}

fn json(value: &Value) -> String {
    serde_json::to_string(value).expect("it has no keys but texts")
}
