//! Models that are scripts: the examples against brute force, what is wrong with a script and how
//! it is told, and that no script gets beyond its bounds.

use std::time::Duration;

use checkers::picture::Picture;
use checkers::script::{Fault, Script, bounds};
use checkers::scripted::{Judged, Scripted};
use checkers::{Budget, Doubt, Proof, Verdict, drawing};
use history::{History, Value};

use crate::random::{Random, seeds};
use crate::subjects;
use crate::subjects::models::{self, Example};

#[test]
fn bounded_counters_agree_with_brute_force() {
    agrees("bounded-counter");
}

#[test]
fn registers_that_expire_agree_with_brute_force() {
    agrees("expiring-register");
}

#[test]
fn logs_of_two_phase_commit_agree_with_brute_force() {
    agrees("two-phase-commit");
}

fn agrees(name: &str) {
    let counts = subjects::run(name, 300);
    let enough = counts.histories() / 10;
    counts.has_at_least(enough, &[Verdict::Valid, Verdict::Invalid]);
}

fn history(drawn: &str) -> History {
    drawing::history(drawn).unwrap()
}

fn judge_within(text: &str, history: &History, budget: &Budget) -> Result<Judged, Box<Fault>> {
    Scripted::new(Script::new("mine.rhai", text)?).judge(history, budget)
}

fn judge(text: &str, drawn: &str) -> Result<Judged, Box<Fault>> {
    judge_within(text, &history(drawn), &Budget::default())
}

/// What is said of a script that is at fault.
fn fault(text: &str, drawn: &str) -> String {
    judge(text, drawn).expect_err("it is wrong").to_string()
}

/// A script whose step is this.
fn with_step(step: &str) -> String {
    format!("fn init() {{ 0 }}\nfn step(state, f, value, output) {{\n  {step}\n}}")
}

const REGISTER: &str = "
    fn init() { #{ value: () } }
    fn step(state, f, value, output) {
        switch f {
            \"write\" => #{ value: value },
            \"read\" => if answers(output, state.value) { state },
            _ => throw `what is ${f}?`,
        }
    }
    fn reads(f) { f == \"read\" }";

#[test]
fn a_script_is_held_against_a_history() {
    let valid = "
        P0 |-write 1-|        |-write 2-|
        P1      |-read nil-|             |-read 2-|";
    let judged = judge(REGISTER, valid).unwrap();
    assert_eq!(judged.analysis.verdict, Verdict::Valid);
    assert_eq!(
        judged.analysis.summary,
        "4 operations have an order that explains every answer by mine.rhai"
    );
    let judged = judge(REGISTER, &valid.replace("read 2", "read 1")).unwrap();
    assert_eq!(judged.analysis.verdict, Verdict::Invalid);
    assert!(judged.certificate.is_none());
    let anomaly = &judged.analysis.anomalies[0];
    let read = anomaly.ops[0];
    assert!(
        anomaly.reason.ends_with(&format!(
            "in one order of what returned before op {read} the state is {{\"value\" 2}}, where `read` answered 1 \
             cannot happen"
        )),
        "{}",
        anomaly.reason
    );
    let Some(Picture::Table(table)) = anomaly.picture.as_deref() else {
        panic!("{anomaly:?}");
    };
    // The start, three operations that returned, and the one that fits nowhere.
    assert_eq!((table.rows.len(), table.untold), (5, 0));
    assert_eq!(table.rows[4].cells[1].text, "cannot happen");
}

#[test]
fn show_says_what_a_state_is() {
    let text = format!("{REGISTER} fn show(state) {{ `it holds ${{state.value}}` }}");
    let judged = judge(&text, "P0 |-write 7-| |-read 8-|").unwrap();
    let reason = &judged.analysis.anomalies[0].reason;
    assert!(
        reason.contains("the state is it holds 7, where"),
        "{reason}"
    );
}

/// A lost write may have happened at any time since, or never; one that failed never did.
#[test]
fn outcomes_mean_what_they_mean_everywhere() {
    for (drawn, verdict) in [
        (
            "P0 |-write 1-| |-write 2-? \nP1 |-read nil-|   |-read 1-| |-read 2-|",
            Verdict::Valid,
        ),
        (
            "P0 |-write 1-| |-write 2-? \nP1 |-read nil-|   |-read 2-| |-read 1-|",
            Verdict::Invalid,
        ),
        ("P0 |-write 1-| |-write 2-! |-read 1-|", Verdict::Valid),
        ("P0 |-write 1-| |-write 2-! |-read 2-|", Verdict::Invalid),
    ] {
        let judged = judge(REGISTER, drawn).unwrap();
        assert_eq!(judged.analysis.verdict, verdict, "{drawn}");
    }
}

/// Of each key, and named by it.
#[test]
fn keys_are_judged_apart() {
    let text = "
        fn key(f, value) { value[0] }
        fn init() { [()] }
        fn step(state, f, value, output) {
            if f == \"write\" { [value[1]] } else if answers(output, [value[0], state[0]]) { state }
        }";
    let valid = "P0 |-7:write 1-| |-8:write 2-| |-7:read 1-| |-8:read 2-|";
    let judged = judge(text, valid).unwrap();
    assert_eq!(judged.analysis.verdict, Verdict::Valid);
    let orders = judged.certificate.unwrap().orders;
    let keys: Vec<Option<Value>> = orders.into_iter().map(|order| order.key).collect();
    assert_eq!(keys, [Some(7.into()), Some(8.into())]);
    let judged = judge(text, &valid.replace("8:read 2", "8:read 1")).unwrap();
    assert_eq!(judged.analysis.anomalies[0].object.as_deref(), Some("8"));
    assert!(
        judged
            .analysis
            .summary
            .contains("key 8 is wrong by mine.rhai")
    );
}

#[test]
fn a_lock_knows_who_asks() {
    let text = "
        fn init() { -1 }
        fn step(holder, f, value, output, process) {
            if f == \"acquire\" { if holder == -1 { process } }
            else if holder == process { -1 }
        }";
    let sound = "
        P0 |-acquire-| |-release-|
        P1                         |-acquire-|";
    assert_eq!(judge(text, sound).unwrap().analysis.verdict, Verdict::Valid);
    let stolen = sound.replace("release", "acquire");
    let judged = judge(text, &stolen).unwrap();
    assert_eq!(judged.analysis.verdict, Verdict::Invalid);
}

/// A model that takes everything shows nothing.
#[test]
fn what_could_not_have_been_wrong_is_vacuous() {
    let drawn = "P0 |-write 1-| |-read 1-|";
    let judged = judge(&with_step("state + 1"), drawn).unwrap();
    assert_eq!(judged.analysis.verdict, Verdict::Vacuous);
    assert!(judged.certificate.is_none());
    let judged = judge(REGISTER, drawn).unwrap();
    assert_eq!(judged.analysis.verdict, Verdict::Valid);
    let judged = judge(REGISTER, "P0 |-write 1-?").unwrap();
    assert_eq!(judged.analysis.verdict, Verdict::Vacuous);
}

/// The likeliest mistakes are told where they lead to a verdict.
#[test]
fn operations_that_can_never_happen_are_named() {
    let text = with_step("if f == \"add\" { state + value } else if f == \"get\" { state }");
    let judged = judge(&text, "P0 |-add 1-| |-read 1-|").unwrap();
    let reason = &judged.analysis.anomalies[0].reason;
    assert!(
        reason.ends_with(
            "the script does not name read, which could happen in no state that was tried"
        ),
        "{reason}"
    );
    let text = with_step(
        "if f == \"take\" { if output == state { state + 1 } } else if f == \"read\" && output == state { state }",
    );
    let judged = judge(&text, "P0 |-take 0-?\nP1 |-read 1-|").unwrap();
    let reason = &judged.analysis.anomalies[0].reason;
    assert!(
        reason.contains("answers(output, x) is true of an unknown answer"),
        "{reason}"
    );
}

#[test]
#[rustfmt::skip]
fn what_is_wrong_with_a_script_is_said_where_it_is() {
    let one = "P0 |-add 1-| |-read 1-|";
    for (text, said) in [
        ("fn init() { 0 }\nfn step(a, b, c, d) { 1 + }",
         "mine.rhai:2:27: "),
        ("fn init() { 0 }",
         "mine.rhai: it has no fn step(state, f, value, output)"),
        ("fn step(a, b, c, d) { a }",
         "mine.rhai: it has no fn init()"),
        ("fn init() { 0 } fn step(a, b) { a }",
         "mine.rhai: it should have one fn step(state, f, value, output)"),
        ("fn init() { 0 } fn step(a, b, c, d) { a } fn key(a) { 1 }",
         "mine.rhai: it should have one fn key(f, value)"),
        ("const MOST = 5; fn init() { 0 } fn step(a, b, c, d) { a }",
         "mine.rhai: MOST stands outside of all functions, which cannot see it: write `fn MOST() { ... }`"),
        ("fn init() { } fn step(a, b, c, d) { a }",
         "mine.rhai:1:1: init: the state at the start may not be ()"),
        ("fn init() { 'c' } fn step(a, b, c, d) { a }",
         "mine.rhai:1:1: init: the state is no value of a history: a single character (to_string() makes text of it)"),
        ("fn init() { [|x| x] } fn step(a, b, c, d) { a }",
         "mine.rhai:1:1: init: the state is no value of a history: a function"),
    ] {
        let fault = Script::new("mine.rhai", text).expect_err(text).to_string();
        assert!(fault.starts_with(said), "{fault}");
    }
    for (step, said) in [
        ("state + \"x\".len() / 0",
         "mine.rhai:3:21: step: Division by zero"),
        ("missing(state)",
         "mine.rhai:3:3: step: Function not found: missing (i64)"),
        ("throw `no ${f} here`",
         "mine.rhai:3:3: step: no add here; this was at operation 0, `add 1` answered 1, in the state 0"),
        ("f == \"add\"",
         "mine.rhai:2:1: step: it returned true, and the state was a number: the new state is wanted, or ()"),
        ("[output, |x| x]",
         "mine.rhai:2:1: step: the state is no value of a history: a function"),
        ("9223372036854775807 + value",
         "mine.rhai:3:23: step: Addition overflow: 9223372036854775807 + 1"),
        ("while true { }",
         "mine.rhai:2:1: step: it does not end within 100000 operations"),
        ("let all = []; loop { all.push(0); }",
         "mine.rhai:2:1: step: size of array/blob is beyond its limit: 16384 elements"),
        ("let text = \"x\"; loop { text += text; }",
         "mine.rhai:2:1: step: length of string is beyond its limit: 16384 elements"),
    ] {
        let fault = fault(&with_step(step), one);
        assert!(fault.starts_with(said), "{step}: {fault}");
    }
    let deep = format!("fn again(n) {{ again(n + 1) }}\n{}", with_step("again(0)"));
    let fault_of_deep = fault(&deep, one);
    assert!(fault_of_deep.contains("functions call each other more than 32 deep"), "{fault_of_deep}");
    let reads = format!("{} fn reads(f) {{ true }}", with_step("state + 1"));
    let said = fault(&reads, one);
    assert!(said.contains("it makes 1 of the state, and reads(\"add\") says that it leaves every state as it is"), "{said}");
}

/// Neither clock nor chance, neither files nor other scripts.
#[test]
fn nothing_leads_out_of_a_script() {
    for step in [
        "timestamp()",
        "sleep(1)",
        "rand()",
        "import \"other\" as other; 1",
        "eval(\"1\")",
        "exit(1)",
        "open_file(\"/etc/passwd\")",
        "0.5",
        "blob(3)",
        "parse_json(\"1\")",
        "global::state",
    ] {
        let found = judge(&with_step(step), "P0 |-add 1-| |-read 1-|");
        assert!(found.is_err(), "{step}: {found:?}");
    }
}

/// Lists within lists, of which there may be as many as elements.
#[test]
fn depth_costs_no_stack() {
    let ten = format!("{}deep{}", "[".repeat(10), "]".repeat(10));
    let text = with_step(&format!(
        "let deep = []; for i in 0..500 {{ deep = {ten}; }} deep"
    ));
    let said = fault(&text, "P0 |-add 1-| |-read 1-|");
    let deep = "lists and maps stand more than 64 deep in each other";
    assert!(said.contains(deep), "{said}");
}

#[test]
fn limits_of_the_budget_are_unknown_and_no_fault() {
    // Each state is new, and each step takes long.
    let slow = with_step("let n = 0; while n < 5000 { n += 1; } state + 1");
    let drawn: Vec<String> = (0..8).map(|p| format!("P{p} |-add {p}-|")).collect();
    let history = history(&drawn.join("\n"));
    for (budget, said) in [
        (
            Budget {
                time: Duration::ZERO,
                ..Budget::default()
            },
            "the time limit was reached",
        ),
        (
            Budget {
                memory_bytes: 2_000,
                ..Budget::default()
            },
            "the memory limit was reached",
        ),
    ] {
        let judged = judge_within(&slow, &history, &budget).unwrap();
        assert_eq!(judged.analysis.verdict, Verdict::Unknown);
        assert!(
            judged.analysis.summary.contains(said),
            "{:?}",
            judged.analysis
        );
    }
}

#[test]
fn a_proof_carries_its_script_and_answers_no_other_question() {
    let history = history("P0 |-write 1-| |-read 1-|");
    let script = Script::new("mine.rhai", REGISTER).unwrap();
    let budget = Budget::default();
    let judged = Scripted::new(script.clone())
        .judge(&history, &budget)
        .unwrap();
    let proof = Proof::Script(judged.certificate.unwrap());
    let text = serde_json::to_string(&proof).unwrap();
    assert_eq!(serde_json::from_str::<Proof>(&text).unwrap(), proof);
    for asked in [Some(&script), None] {
        let shown = proof.verify_by(&history, asked, &budget).unwrap();
        assert_eq!((shown.verdict, shown.operations), (Verdict::Valid, 2));
    }
    let renamed = Script::new("other.rhai", REGISTER).unwrap();
    assert!(proof.verify_by(&history, Some(&renamed), &budget).is_ok());
    let other = Script::new("mine.rhai", REGISTER.replace("what", "which")).unwrap();
    let why = proof
        .verify_by(&history, Some(&other), &budget)
        .unwrap_err();
    assert!(matches!(why, Doubt::Wrong(why) if why.contains("which reads otherwise")));
    let choice = checkers::choice::Choice::of(&history).unwrap();
    let why = proof.verify(&history, &choice.terms(&history), &budget);
    let said = "it answers another question: it is of mine.rhai, and what is asked is cas-register";
    assert_eq!(why, Err(Doubt::Wrong(said.into())));
    let of_register = Proof::Order(choice.certify(&history, &budget).unwrap());
    for asked in [Some(&script), None] {
        assert!(of_register.verify_by(&history, asked, &budget).is_err());
    }
    let odd = text.replace("\"orders\"", "\"model\":\"register\",\"orders\"");
    let why = serde_json::from_str::<Proof>(&odd).unwrap_err().to_string();
    assert!(
        why.contains("with `script` there should be `orders`, and nothing else"),
        "{why}"
    );
}

/// The page for people says what the code does.
#[test]
fn the_page_has_the_example_and_the_bounds() {
    let page = include_str!("../../../harness/docs/your-own-model.md");
    let code = Example::BoundedCounter.text().lines();
    let code: Vec<&str> = code.skip_while(|line| !line.starts_with("fn ")).collect();
    assert!(page.contains(&code.join("\n")), "{code:?}");
    let thousands = |n: u64| match n {
        1_000.. => format!("{},{:03}", n / 1_000, n % 1_000),
        n => n.to_string(),
    };
    for (what, most) in [
        ("operations of the language", bounds::OPERATIONS),
        ("functions within functions", bounds::CALLS as u64),
        ("expressions within expressions", bounds::DEPTH as u64),
        ("variables of a function", bounds::VARIABLES as u64),
        (
            "elements of an array or map, with all that are within it",
            bounds::ELEMENTS as u64,
        ),
        (
            "bytes of a text, or of all texts within a value",
            bounds::TEXT_BYTES as u64,
        ),
    ] {
        let row = format!("| {what} | {} |", thousands(most));
        assert!(page.contains(&row), "{row}");
    }
    let mib = format!(
        "| bytes of the script | {} MiB |",
        bounds::SCRIPT_BYTES >> 20
    );
    assert!(page.contains(&mib), "{mib}");
}

/// Words of scripts, for those that nobody would write.
const WORDS: [&str; 40] = [
    "state",
    "f",
    "value",
    "output",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "#{",
    ",",
    ";",
    "==",
    "+",
    "-",
    "*",
    "if",
    "else",
    "switch",
    "=>",
    "while true",
    "for i in 0..9",
    "let x =",
    "return",
    "fn",
    "|x|",
    "\"a\"",
    "1",
    "9223372036854775807",
    "()",
    "answers",
    ".push",
    ".filter",
    ".len()",
    "throw",
    "x",
    "`${x}`",
    "%",
    "/",
];

/// Scripts that were hit by something are answered with a verdict or a fault, and with neither a
/// panic nor a search without end.
#[test]
fn spoilt_scripts_are_told_from_sound_ones() {
    let (mut faults, mut verdicts) = (0, 0);
    let budget = Budget {
        time: Duration::from_secs(5),
        memory_bytes: 64 << 20,
    };
    for seed in seeds(400) {
        let random = &mut Random::new(seed);
        let example = *random.pick(&Example::ALL);
        let mut pieces: Vec<&str> = example
            .text()
            .split_inclusive([' ', '(', ')', ','])
            .collect();
        for _ in 0..1 + random.below(3) {
            let at = random.below(pieces.len() as u64) as usize;
            match random.below(3) {
                0 => drop(pieces.remove(at)),
                1 => pieces.insert(at, random.pick::<&str>(&WORDS)),
                _ => pieces.insert(at, pieces[random.below(at as u64 + 1) as usize]),
            }
        }
        let text = pieces.concat();
        let history = models::random_history(example, random);
        match judge_within(&text, &history, &budget) {
            Ok(judged) => {
                assert_ne!(judged.analysis.verdict, Verdict::Infra, "{text}");
                verdicts += 1;
            }
            Err(_) => faults += 1,
        }
    }
    println!("{faults} faults, {verdicts} verdicts");
    assert!(faults > 0 && verdicts > 0, "{faults} {verdicts}");
}
