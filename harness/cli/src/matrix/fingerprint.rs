//! By what an anomaly is known again, whatever the seed.
//!
//! Two runs that went wrong in the same way differ in nearly everything: which key, which nodes,
//! when, how many anomalies there are, and which symptoms clients saw of it. What stays is *what*
//! went wrong, as near to its cause as anybody saw, *where* (system with its parameters, workload),
//! and its shape: which checker saw it, what the nodes told beside it, and under which families of
//! faults. Which operations a core has is chance, and so is whether one lies between two faults.
//! How well that holds has been measured: `harness/docs/nightly.md`.

mod looks;

use std::collections::BTreeSet;
use std::process::ExitCode;

use checkers::{Analysis, Anomaly, Verdict};
use clap::Args;
use history::store::{Run, Store};
use history::{History, fault};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::looks::{knows_better, parted};
use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::judged::load_results;
use crate::led;
use crate::spec::Spec;
use crate::terminal::{self, word};

/// Digits of a fingerprint.
pub const DIGITS: usize = 12;

/// A fingerprint, and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of all that follows.
    pub id: String,
    pub kind: String,
    /// With the parameters that differ from their defaults.
    pub system: String,
    pub workload: String,
    pub shape: String,
}

impl Fingerprint {
    fn new(kind: &str, system: String, workload: &str, shape: String) -> Fingerprint {
        let mut hash = Sha256::new();
        for part in [kind, &system, workload, &shape] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Fingerprint {
            id: hex[..DIGITS].to_string(),
            kind: kind.to_string(),
            system,
            workload: workload.to_string(),
            shape,
        }
    }
}

#[derive(Debug, Args)]
pub struct FingerprintArgs {
    /// Runs' names, `latest`, or runs' folders
    #[arg(default_value = "latest")]
    pub runs: Vec<String>,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `schism fingerprint`: what a line of known.toml is about.
pub fn command(args: &FingerprintArgs) -> Result<ExitCode, Failure> {
    let store = Store::new(&args.store.store);
    for name in &args.runs {
        let run = store.open(name).map_err(Failure::usage)?;
        let name = run.name();
        terminal::line(match of_run(&run)? {
            Some(print) => {
                let parts = [&print.kind, &print.system, &print.workload, &print.shape];
                let parts = parts.map(|part| word(part)).join("; ");
                format!("{}  {}  {parts}", print.id, word(&name))
            }
            None => format!("{:<12}  {}  it is not invalid", "-", word(&name)),
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// The fingerprint of a judged run; none if nothing speaks against its system.
///
/// # Errors
/// The run's folder cannot be read.
pub fn of_run(run: &Run) -> Result<Option<Fingerprint>, Failure> {
    let spec = Spec::load(run)?;
    let judged = load_results(run)?;
    if judged.verdict != Verdict::Invalid {
        return Ok(None);
    }
    let history = run.load().map_err(Failure::infra)?.history;
    Ok(of(&spec, &judged.analyses, &history))
}

/// Kinds that stand nearer to a cause than what clients see, the nearest first: what a node forgot,
/// a rule that it broke, what it made of that. Of the first, all that are there are taken: a disk
/// that loses everything is another bug than one that loses promises.
const FORGOTTEN: &[&str] = &[
    "accepted value forgotten",
    "no promise restored",
    "promise forgotten",
];
const CAUSES: &[&str] = &[
    "work not proven",
    "time not past the median",
    "left for less work",
    "heavier branch never taken",
    "heavier branch not taken",
    "decided by followers only",
    "left for equal work",
    GIVEN_UP,
    "decided without a quorum",
    "chosen value replaced",
    "state went back",
    "overlapping leases",
    "applied twice",
    "transaction twice in one block",
    "transaction twice",
    "two values in one slot",
    "divergent logs",
    "sum too high",
    "sum too low",
    "acknowledged too early",
];

/// A node left a branch, and what was in it is not in the chain that another node has at the end.
/// Where the two have not come together that is no wonder.
const GIVEN_UP: &str = "transaction given up";

/// Symptoms of one thing: which of them clients happened to see is chance. Each line is known by
/// its first.
const ALIKE: &[&[&str]] = &[
    // Somebody read what was no longer so.
    &["stale read", "order inverted", "incomparable reads"],
    // Two held a lock: at once, or the later with the earlier's token.
    &["held twice", "token not greater"],
    // The accounts do not add up, all together or one of them.
    &["total changed", "unexplained balance"],
    // A write was acknowledged in a block that did not stay.
    &["acknowledged too early", "acknowledged write moved"],
];

/// Decided by a leader, with what it counted.
const HASTY: &str = "decided without a quorum";
/// Longer than a leader takes to see what makes it decide.
const MUCH_MS: f64 = 50.0;

/// Whether chains that part go on side by side for so long that they conflict, or only do not come
/// together, is a question of when the run ended.
const APART: &str = "chains apart";
const APARTS: &[&str] = &[
    "conflicting confirmed blocks",
    "chains do not converge",
    "common prefix stuck",
];

/// Chains stay apart, too, where a node does not go over to a branch that it knows of. Whether it
/// has that branch's blocks, or has not even asked for them, is a question of how far it got.
const NOT_TAKEN: &str = "heavier branch not taken";
/// The same where no node ever gave up a block.
const NEVER_TAKEN: &str = "heavier branch never taken";
/// What comes of it that chains are apart, and all that is left to see where too much was late for
/// them to be judged.
const SILENT: &str = "never served again";

/// What is taken for what went wrong.
struct Core<'a> {
    kind: String,
    checker: &'a str,
    /// All anomalies of this kind.
    anomalies: Vec<&'a Anomaly>,
}

fn of(spec: &Spec, analyses: &[Analysis], history: &History) -> Option<Fingerprint> {
    let mut core = core(analyses)?;
    if core.kind == SILENT && parted(history) {
        (core.kind, core.checker) = (APART.into(), "chain");
    }
    if core.kind == APART && refused(analyses).is_empty() && knows_better(history) {
        core.kind = match gave_up(analyses) {
            true => NOT_TAKEN.into(),
            false => NEVER_TAKEN.into(),
        };
    }
    let params = spec.params.iter().map(|(k, v)| format!(" {k}={v}"));
    let system = spec.system.clone() + &params.collect::<String>();
    let shape = format!(
        "{}{}{}",
        core.checker,
        clue(&core, analyses, history),
        faults(history)
    );
    Some(Fingerprint::new(&core.kind, system, &spec.workload, shape))
}

fn core(analyses: &[Analysis]) -> Option<Core<'_>> {
    let invalid = analyses.iter().filter(|a| a.verdict == Verdict::Invalid);
    let found: Vec<(&str, &Anomaly)> = invalid
        .flat_map(|a| {
            a.anomalies
                .iter()
                .map(|anomaly| (a.checker.as_str(), anomaly))
        })
        .collect();
    let of = |kinds: &[&str]| -> Vec<(&str, &Anomaly)> {
        let is = |(_, a): &&(&str, &Anomaly)| kinds.contains(&a.kind.as_str());
        found.iter().filter(is).copied().collect()
    };
    let alike = |kind| ALIKE.iter().find(|alike| alike.contains(kind));
    let causes = CAUSES.iter().map(|kind| match *kind {
        GIVEN_UP if !of(APARTS).is_empty() => Vec::new(),
        kind => of(&[kind]),
    });
    // Nodes that hold a block against the rules go apart by that, whatever comes of it.
    let split = match refused(analyses).is_empty() {
        true => Vec::new(),
        false => of(APARTS),
    };
    // Checkers, and a checker's anomalies, stand in the order in which a reader wants them.
    let first = found.first().map(|(_, a)| a.kind.as_str());
    let symptoms = match (first.as_ref().and_then(alike), first) {
        (Some(alike), _) => of(alike),
        (None, Some(kind)) => of(&[kind]),
        (None, None) => Vec::new(),
    };
    let taken = [of(FORGOTTEN), split].into_iter().chain(causes);
    let taken = taken.chain([of(APARTS), symptoms]);
    let taken = taken.into_iter().find(|taken| !taken.is_empty())?;
    let kinds: BTreeSet<&str> = taken.iter().map(|(_, a)| a.kind.as_str()).collect();
    Some(Core {
        kind: match kinds.first().and_then(alike) {
            Some(alike) => alike[0].into(),
            None if kinds.iter().all(|kind| APARTS.contains(kind)) => APART.into(),
            None => kinds.into_iter().collect::<Vec<_>>().join(", "),
        },
        checker: taken[0].0,
        anomalies: taken.into_iter().map(|(_, a)| a).collect(),
    })
}

/// What nodes told of themselves that says more of what was seen.
fn clue(core: &Core, analyses: &[Analysis], history: &History) -> String {
    match core.kind.as_str() {
        "stale read" => asked(core, history),
        HASTY => hasty(analyses, history),
        APART | SILENT => refused(analyses),
        _ => "",
    }
    .into()
}

/// What a leader thought enough to decide: its own accept, or half of all; or that it asked again.
fn hasty(analyses: &[Analysis], history: &History) -> &'static str {
    let mut figures = analyses.iter().flat_map(|a| &a.figures);
    let figure = figures.find(|figure| figure.name == "decided by leaders without a quorum");
    let Some(figure) = figure.map(|figure| &figure.value) else {
        return "";
    };
    let nodes = history.ops().iter().filter(|op| op.f == "trace");
    let nodes: BTreeSet<_> = nodes.filter_map(|op| op.node.clone()).collect();
    let accepted = figure["accepted"].as_u64().unwrap_or_default() as usize;
    match figure["waited_ms"].as_f64() {
        Some(waited) if waited >= MUCH_MS => " by a leader that waited",
        _ if accepted == 1 => " by a leader alone",
        _ if accepted * 2 == nodes.len() => " by a leader with half",
        _ => " by a leader with few",
    }
}

/// Whether a follower answered with something old, where nodes keep a trace. A node that is asked
/// may hand the read on to whoever leads. So a read only counts as the follower's if one node led,
/// and nobody else, since before the newer value was written: that one has it.
fn asked(core: &Core, history: &History) -> &'static str {
    let led = led::by_trace(history);
    if led.is_empty() {
        return "";
    }
    let by_follower = |anomaly: &&Anomaly| {
        let mut ops = anomaly.ops.iter().rev();
        let mut op = || ops.next().and_then(|op| history.find(*op));
        let Some(read) = op().filter(|read| read.f == "read") else {
            return false;
        };
        let since = op().map_or(read.call, |newer| newer.call.min(read.call));
        let mut leaders = led.iter().filter(|led| led.at_any_time(since, read.ret));
        let (Some(only), None) = (leaders.next(), leaders.next()) else {
            return false;
        };
        let all_the_time = only.from <= since && read.ret <= only.until;
        all_the_time && Some(&only.node) != read.node.as_ref()
    };
    match core.anomalies.iter().any(by_follower) {
        true => " by a follower",
        false => " by a leader",
    }
}

/// Whether any node ever gave up a block.
fn gave_up(analyses: &[Analysis]) -> bool {
    let mut figures = analyses.iter().flat_map(|a| &a.figures);
    let figure = figures.find(|figure| figure.name == "reorganisations");
    figure.is_none_or(|figure| figure.value["count"].as_u64() != Some(0))
}

/// Whether nodes found blocks of each other against the rules. That one is too early is a matter of
/// clocks, and is over with it.
fn refused(analyses: &[Analysis]) -> &'static str {
    let mut figures = analyses.iter().flat_map(|a| &a.figures);
    let refused = figures.find(|figure| figure.name == "blocks refused");
    let rules = refused.and_then(|figure| figure.value["by rule"].as_object());
    let mut rules = rules.into_iter().flatten();
    match rules.any(|(rule, n)| !rule.starts_with("time-") && n.as_u64() > Some(0)) {
        true => " after refusals",
        false => "",
    }
}

/// The families of the faults that took hold.
fn faults(history: &History) -> String {
    let spans = fault::spans(history);
    let held = spans.iter().filter(|span| span.held());
    let families: BTreeSet<&str> = held.map(|span| span.family.as_str()).collect();
    match families.is_empty() {
        true => String::new(),
        false => format!(
            " under {}",
            families.into_iter().collect::<Vec<_>>().join("+")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::looks::LOOKS;
    use super::*;

    fn analysis(checker: &str, kinds: &[&str]) -> Analysis {
        let anomaly = |kind: &&str| Anomaly {
            kind: kind.to_string(),
            ..Anomaly::default()
        };
        Analysis::of_anomalies(checker, "", kinds.iter().map(anomaly).collect())
    }

    #[test]
    fn what_stands_nearest_to_the_cause_is_taken_whatever_symptoms_there_are() {
        let register = || analysis("linearizable", &["stale read", "order inverted"]);
        let kind = |analyses: &[Analysis]| core(analyses).map(|core| core.kind);
        let is = |kind: &str| Some(kind.to_string());
        assert_eq!(kind(&[]), None);
        assert_eq!(kind(&[analysis("set", &[])]), None);
        assert_eq!(kind(&[register()]), is("stale read"));
        let quorum = ["two values in one slot", "decided without a quorum"];
        let quorum = || analysis("agreement", &quorum);
        assert_eq!(
            kind(&[register(), quorum()]),
            is("decided without a quorum")
        );
        assert_eq!(kind(&[quorum()]), is("decided without a quorum"));
        let both = analysis(
            "agreement",
            &["promise forgotten", "accepted value forgotten"],
        );
        let all = [register(), quorum(), both];
        assert_eq!(
            kind(&all),
            is("accepted value forgotten, promise forgotten")
        );
        // Of a write that was acknowledged too early it is chance what is seen. It moves, too,
        // where chains part, and then it is no cause.
        let moved = || analysis("chain", &["acknowledged write moved"]);
        assert_eq!(kind(&[moved(), register()]), is("acknowledged too early"));
        let parted = || analysis("chain", &["chains do not converge"]);
        assert_eq!(kind(&[moved(), parted()]), is(APART));
        // Nor does what a node gave up count where nodes have not come together.
        let given_up = || analysis("chain", &[GIVEN_UP]);
        assert_eq!(kind(&[given_up(), register()]), is(GIVEN_UP));
        assert_eq!(kind(&[given_up(), parted()]), is(APART));
        // Checkers that found nothing, and kinds that nobody has heard of, change nothing.
        let mine = analysis("mine", &["a new kind", "stale read"]);
        assert_eq!(kind(&[analysis("set", &[]), mine]), is("a new kind"));
    }

    fn figure(name: &str, value: serde_json::Value) -> checkers::Figure {
        checkers::Figure {
            name: name.into(),
            value,
            unit: String::new(),
        }
    }

    /// What is told of a history of these events beside the kind.
    fn told(analysis: Analysis, events: &[&str]) -> String {
        let mut text = r#"{"schism":"history","version":1,"began_ns":1000}"#.to_string();
        for (index, event) in events.iter().enumerate() {
            text += &format!("\n{{\"index\":{index},{event}}}");
        }
        let history = history::jsonl::read((text + "\n").as_bytes())
            .unwrap()
            .history;
        let analyses = [analysis];
        clue(&core(&analyses).unwrap(), &analyses, &history)
    }

    /// As traces are recorded: n1 leads from 10 to 50, n2 from 40 to 80, n3 never.
    const TRACES: [&str; 6] = [
        r#""time":900,"process":7,"type":"invoke","f":"trace","value":null,"node":"n1""#,
        r#""time":901,"process":7,"type":"ok","f":"trace","value":{"node":"n1","events":[
            {"event":"lead","t_ns":1010},{"event":"step-down","t_ns":1050}]},"node":"n1""#,
        r#""time":902,"process":8,"type":"invoke","f":"trace","value":null,"node":"n2""#,
        r#""time":903,"process":8,"type":"ok","f":"trace","value":{"node":"n2","events":[
            {"event":"lead","t_ns":1040},{"event":"step-down","t_ns":1080}]},"node":"n2""#,
        r#""time":904,"process":9,"type":"invoke","f":"trace","value":null,"node":"n3""#,
        r#""time":905,"process":9,"type":"ok","f":"trace","value":{"node":"n3","events":[]},"node":"n3""#,
    ];

    #[test]
    fn a_stale_read_is_a_followers_if_one_node_led_since_before_the_newer_write() {
        let at = |written: u64, read: u64, node: &str| {
            let event = |time, kind, f, value: &str| {
                format!(
                    r#""time":{time},"process":1,"type":"{kind}","f":"{f}","value":[1,{value}],"node":"{node}""#
                )
            };
            let events = [
                event(written, "invoke", "write", "4"),
                event(written + 1, "ok", "write", "4"),
                event(read, "invoke", "read", "null"),
                event(read + 2, "ok", "read", "3"),
            ];
            let mut stale = analysis("linearizable", &["stale read"]);
            stale.anomalies[0].ops = vec![0, 2];
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            let traces = TRACES.map(|event| event.replace('\n', " "));
            let with = events.iter().copied();
            let with = with.chain(traces.iter().map(String::as_str));
            // Without traces nobody knows.
            assert_eq!(told(stale.clone(), &events), "");
            told(stale, &with.collect::<Vec<_>>())
        };
        assert_eq!(at(15, 20, "n3"), " by a follower");
        assert_eq!(at(15, 20, "n1"), " by a leader");
        // Whoever led later may not have had the newer value when it answered for n3.
        assert_eq!(at(5, 20, "n3"), " by a leader");
        // Two led, or nobody.
        assert_eq!(at(30, 42, "n3"), " by a leader");
        assert_eq!(at(60, 85, "n3"), " by a leader");
        assert_eq!(at(60, 65, "n3"), " by a follower");
    }

    #[test]
    fn a_hasty_leader_is_told_by_what_it_counted() {
        let with = |accepted: u64, waited_ms: f64| {
            let value =
                serde_json::json!({"count": 3, "accepted": accepted, "waited_ms": waited_ms});
            let hasty = analysis("agreement", &["decided without a quorum"]);
            let hasty = hasty.with_figure(figure("decided by leaders without a quorum", value));
            let traces = TRACES.map(|e| e.replace('\n', " "));
            told(hasty, &traces.each_ref().map(String::as_str))
        };
        assert_eq!(with(1, 0.1), " by a leader alone");
        assert_eq!(with(1, 410.0), " by a leader that waited");
        assert_eq!(with(2, 0.1), " by a leader with few");
    }

    #[test]
    fn chains_apart_are_one_kind_and_told_by_whether_blocks_were_refused() {
        let with = |kinds: &[&str], rules: serde_json::Value| {
            let apart = analysis("chain", kinds);
            let apart = apart.with_figure(figure(
                "blocks refused",
                serde_json::json!({"by rule": rules}),
            ));
            assert_eq!(core(std::slice::from_ref(&apart)).unwrap().kind, APART);
            told(apart, &[])
        };
        let none = serde_json::json!({"malformed": 0, "time-too-new": 7});
        assert_eq!(with(&["conflicting confirmed blocks"], none.clone()), "");
        assert_eq!(
            with(&["common prefix stuck", "chains do not converge"], none),
            ""
        );
        let some = serde_json::json!({"malformed": 2});
        assert_eq!(with(&["chains do not converge"], some), " after refusals");
    }

    /// Looks at two nodes, whether each time n1 knew of a better branch.
    fn looks(knew: &[bool]) -> History {
        looks_at(knew, |_| "a".into())
    }

    /// The same, with the heads that n2 had.
    fn looks_at(knew: &[bool], other: impl Fn(usize) -> String) -> History {
        let mut text = r#"{"schism":"history","version":1,"began_ns":0}"#.to_string();
        let mut event = |index: usize, kind: &str, node: &str, value: &str| {
            text += &format!(
                "\n{{\"index\":{index},\"time\":{index},\"process\":1,\"type\":\"{kind}\",\"f\":\"head\",\"value\":{value},\"node\":\"{node}\"}}"
            );
        };
        for (n, knew) in knew.iter().enumerate() {
            let better = if *knew { r#","best_header":"b""# } else { "" };
            let of_both = [("n1", "a".to_string(), better), ("n2", other(n), "")];
            for (m, (node, head, better)) in of_both.into_iter().enumerate() {
                let head = format!(r#"{{"head":"{head}"{better}}}"#);
                event(4 * n + 2 * m, "invoke", node, "null");
                event(4 * n + 2 * m + 1, "ok", node, &head);
            }
        }
        let read = history::jsonl::read((text + "\n").as_bytes());
        read.expect("it is a history").history
    }

    fn chain() -> Spec {
        serde_json::from_str(
            r#"{"schism":"0","created":"","machine":{"kernel":"","arch":"","cores":1},"cluster":"lab",
            "system":"chain","workload":"set","nemesis":"none","nodes":2,"time_limit_ms":52000,
            "op_timeout_ms":3000,"rate":200.0,"concurrency":3,"seed":1,"params":{},"flaws":[]}"#,
        )
        .expect("a specification")
    }

    /// The chains could not be judged, and nobody served.
    #[test]
    fn nodes_that_never_serve_again_with_heads_of_their_own_are_chains_apart() {
        let print = |checker: &str, kind: &str, history: &History| {
            of(&chain(), &[analysis(checker, &[kind])], history).expect("it is invalid")
        };
        let silent = |knew: &[bool], other: fn(usize) -> String| {
            print("recovery", SILENT, &looks_at(knew, other))
        };
        let judged = |knew: &[bool]| print("chain", "chains do not converge", &looks(knew));
        let (no, yes) = ([false; LOOKS], [true; LOOKS]);
        let own = |n| format!("b{n}");
        assert_eq!(silent(&no, own).id, judged(&no).id);
        assert_eq!(silent(&yes, own).id, judged(&yes).id);
        // For too short a time, or with the same head once.
        assert_eq!(silent(&no[1..], own).kind, SILENT);
        let once = |n| if n == 3 { "a".into() } else { format!("b{n}") };
        assert_eq!(silent(&no, once).kind, SILENT);
        let history = looks_at(&no, own);
        assert_eq!(print("set", "lost element", &history).kind, "lost element");
    }

    #[test]
    fn a_node_that_stays_apart_and_knows_of_better_did_not_take_it() {
        let spec = chain();
        let print = |kind: &str, knew: &[bool]| {
            let analyses = [analysis("chain", &[kind])];
            of(&spec, &analyses, &looks(knew)).expect("it is invalid")
        };
        let apart = "chains do not converge";
        let (long, short) = ([true; LOOKS], [true; LOOKS - 1]);
        assert_eq!(print(apart, &long).kind, NOT_TAKEN);
        assert_eq!(print(apart, &short).kind, APART);
        // What it knew of and then had.
        let then = [&long[..], &[false]].concat();
        assert_eq!(print(apart, &then).kind, APART);
        assert_eq!(print("lost element", &long).kind, "lost element");
        // Nobody takes a branch with blocks that it refuses, and whoever knows their headers knows
        // of a better one.
        let rules = serde_json::json!({"by rule": {"too-large": 2}});
        let refusing = analysis("chain", &[apart]).with_figure(figure("blocks refused", rules));
        let kind = of(&spec, &[refusing], &looks(&long)).map(|print| print.kind);
        assert_eq!(kind.as_deref(), Some(APART));
        assert_eq!(print(NOT_TAKEN, &[]).id, print(apart, &long).id);
    }

    /// Known issues are written down: what makes a fingerprint is not to change by chance.
    #[test]
    fn a_fingerprint_depends_on_all_its_parts_and_stays() {
        let print = |kind: &str, system: &str, workload: &str, shape: &str| {
            Fingerprint::new(kind, system.into(), workload, shape.into()).id
        };
        let base = print("stale read", "etcd", "register", "s");
        // By another program, from the same parts.
        assert_eq!(base, "e7c88ab53d6b");
        for other in [
            print("lost update", "etcd", "register", "s"),
            print("stale read", "etcd reads=x", "register", "s"),
            print("stale read", "etcd", "registe", "rs"),
            print("stale read", "etcd", "register", "t"),
        ] {
            assert_ne!(base, other);
        }
    }
}
