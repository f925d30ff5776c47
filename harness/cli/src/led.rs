//! Who led, and when: as the nodes' own traces have it, or as nodes said that were asked now and
//! then. Of a chain: which block each node had for its head.

use std::collections::BTreeMap;

use history::{History, Name, Op, Outcome, Time, Value};
use report::{Led, Tip};

/// By node, and then by time.
pub fn led(history: &History) -> Vec<Led> {
    let mut led = by_trace(history);
    led.extend(by_answers(history));
    led
}

/// Nothing where nodes keep no trace, or by a clock that is not the history's.
pub fn by_trace(history: &History) -> Vec<Led> {
    let mut all = Vec::new();
    let Some(began) = history.began_ns() else {
        return all;
    };
    let traces = history.ops().iter().filter(|op| op.f == "trace");
    for op in traces.filter(|op| op.outcome == Outcome::Ok) {
        let events = op.output.get("events").and_then(Value::as_list);
        let mut leads: Option<Led> = None;
        for event in events.unwrap_or_default() {
            let what = event.get("event").and_then(Value::as_text);
            let at = event.get("t_ns").and_then(Value::as_int);
            // Who led when the history began led at its time 0.
            let since = |t_ns| Some(Time(u64::try_from(t_ns).ok()?.saturating_sub(began)));
            let at = at.and_then(since);
            let (Some(what), Some(at), Some(node)) = (what, at, &op.node) else {
                continue;
            };
            if matches!(what, "lead" | "step-down" | "start")
                && let Some(led) = leads.take()
            {
                all.push(Led { until: at, ..led });
            }
            if what == "lead" {
                let ballot = event.get("ballot");
                leads = Some(Led {
                    node: node.clone(),
                    from: at,
                    until: Time::MAX,
                    ballot: ballot.map(|ballot| format!("ballot {ballot}")),
                    sure: true,
                });
            }
        }
        all.extend(leads);
    }
    all.retain(|led: &Led| led.until > Time(0));
    all
}

/// Answers of one kind, by node, in the order in which they were given.
fn answers<'a>(history: &'a History, f: &str) -> BTreeMap<&'a Name, Vec<&'a Op>> {
    let mut by_node: BTreeMap<&Name, Vec<&Op>> = BTreeMap::new();
    let ops = history.ops().iter();
    for op in ops.filter(|op| op.f == f && op.outcome == Outcome::Ok) {
        if let Some(node) = &op.node {
            by_node.entry(node).or_default().push(op);
        }
    }
    by_node
}

/// What a node said of itself at some moment between `asked` and `answered`.
#[derive(Clone, Copy, Debug)]
struct Said {
    asked: Time,
    answered: Time,
    leads: bool,
    term: Option<i64>,
}

/// An answer was true at some moment between the question and itself. Two answers that name the
/// same term are true all the time between them, for nobody leads in it twice; else nobody knows
/// how it was between an answer that it led and the next, or the one before.
fn by_answers(history: &History) -> Vec<Led> {
    let mut all = Vec::new();
    for (node, ops) in answers(history, "leader") {
        let said = ops.into_iter().filter_map(|op| {
            Some(Said {
                asked: op.call,
                answered: op.ret,
                leads: op.output.get("leads").and_then(Value::as_bool)?,
                term: op.output.get("term").and_then(Value::as_int),
            })
        });
        spans(node, &said.collect::<Vec<_>>(), &mut all);
    }
    all
}

fn spans(node: &Name, said: &[Said], all: &mut Vec<Led>) {
    let span = |from, until, of: &Said, sure| Led {
        node: node.clone(),
        from,
        until,
        ballot: of.term.map(|term| format!("term {term}")),
        sure,
    };
    // The same reign as the answer before, or none: then it may have begun or ended at any time.
    let mut reign: Option<Led> = None;
    let mut before: Option<&Said> = None;
    for one in said {
        let gap = before.map_or(one.asked, |before| before.answered);
        let same = |before: &&Said| before.leads && one.term.is_some() && before.term == one.term;
        let goes_on = before.filter(same).is_some() && one.leads;
        match (&mut reign, goes_on) {
            (Some(reign), true) => reign.until = one.answered,
            (of, _) => {
                all.extend(of.take());
                let led = before.filter(|before| before.leads);
                if let Some(of) = led.or(Some(one).filter(|one| one.leads && before.is_some())) {
                    // Whose term it would be is not known where both led.
                    let of = Said {
                        term: of.term.filter(|_| !(one.leads && led.is_some())),
                        ..*of
                    };
                    all.push(span(gap, one.asked, &of, false));
                }
                *of = one.leads.then(|| span(one.asked, one.answered, one, true));
            }
        }
        before = Some(one);
    }
    all.extend(reign);
    if let Some(last) = before.filter(|last| last.leads) {
        all.push(span(last.answered, Time::MAX, last, false));
    }
}

/// Which block each node of a chain had for its head, by node, and then by time. A node that names
/// the same head twice had it between: it leaves one only for a heavier.
pub fn tips(history: &History) -> Vec<Tip> {
    let mut all: Vec<Tip> = Vec::new();
    for (node, ops) in answers(history, "head") {
        let mut last: Option<Tip> = None;
        for op in ops {
            let Some(hash) = op.output.get("head").and_then(Value::as_text) else {
                continue;
            };
            match &mut last {
                Some(tip) if tip.hash == hash => tip.until = op.ret,
                last => {
                    all.extend(last.take());
                    *last = Some(Tip {
                        node: node.clone(),
                        from: op.call,
                        until: op.ret,
                        hash: hash.to_string(),
                        height: op.output.get("height").and_then(Value::as_int),
                    });
                }
            }
        }
        all.extend(last);
    }
    // In the order in which they were seen, so that neighbours on a chain have other colours.
    all.sort_by_key(|tip| tip.from);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_leads_until_it_steps_down_or_starts_again() {
        let events = r#"{"event":"start","t_ns":900},{"event":"lead","t_ns":920,"ballot":[0,"n2"]},
            {"event":"step-down","t_ns":930},{"event":"lead","t_ns":940,"ballot":[0,"n2"]},{"event":"lead","t_ns":1010,"ballot":[1,"n2"]},
            {"event":"decide","t_ns":1015},{"event":"step-down","t_ns":1020},
            {"event":"lead","t_ns":1030,"ballot":[3,"n2"]},{"event":"start","t_ns":1040},
            {"event":"lead","t_ns":1050,"ballot":[4,"n2"]}"#;
        let text = format!(
            "{}\n{}\n{}\n",
            r#"{"schism":"history","version":1,"began_ns":1000}"#,
            r#"{"index":0,"time":90,"process":1,"type":"invoke","f":"trace","value":null,"node":"n2"}"#,
            format_args!(
                r#"{{"index":1,"time":95,"process":1,"type":"ok","f":"trace","value":{{"node":"n2","events":[{}]}},"node":"n2"}}"#,
                events.replace('\n', "")
            )
        );
        let history = history::jsonl::read(text.as_bytes()).unwrap().history;
        let spans: Vec<_> = led(&history)
            .into_iter()
            .map(|led| (led.from.0, led.until, led.ballot.unwrap()))
            .collect();
        let is = |ballot: &str| format!("ballot {ballot}");
        assert_eq!(
            spans,
            [
                (0, Time(10), is("[0 \"n2\"]")),
                (10, Time(20), is("[1 \"n2\"]")),
                (30, Time(40), is("[3 \"n2\"]")),
                (50, Time::MAX, is("[4 \"n2\"]")),
            ]
        );
    }
    fn said(at: u64, leads: bool, term: Option<i64>) -> Said {
        Said {
            asked: Time(at),
            answered: Time(at + 2),
            leads,
            term,
        }
    }

    /// From, until, term, and whether it is known.
    fn drawn(said: &[Said]) -> Vec<(u64, u64, String, bool)> {
        let mut all = Vec::new();
        spans(&"n1".into(), said, &mut all);
        let of = |led: Led| {
            (
                led.from.0,
                led.until.0,
                led.ballot.unwrap_or_default(),
                led.sure,
            )
        };
        all.into_iter().map(of).collect()
    }

    #[test]
    fn between_answers_only_a_term_is_known() {
        let five = || "term 5".to_string();
        let none = String::new;
        let end = Time::MAX.0;
        // It began somewhere between 2 and 10, and ended between 22 and 30.
        let reign = [
            said(0, false, Some(4)),
            said(10, true, Some(5)),
            said(20, true, Some(5)),
            said(30, false, Some(6)),
        ];
        assert_eq!(
            drawn(&reign),
            [
                (2, 10, five(), false),
                (10, 22, five(), true),
                (22, 30, five(), false)
            ]
        );
        // Without terms nothing is known between.
        let plain = [said(10, true, None), said(20, true, None)];
        assert_eq!(
            drawn(&plain),
            [
                (10, 12, none(), true),
                (12, 20, none(), false),
                (20, 22, none(), true),
                (22, end, none(), false)
            ]
        );
        // Deposed and elected again between two answers.
        let again = [said(10, true, Some(5)), said(20, true, Some(7))];
        assert_eq!(
            drawn(&again)[..3],
            [
                (10, 12, five(), true),
                (12, 20, none(), false),
                (20, 22, "term 7".into(), true)
            ]
        );
        assert!(drawn(&[said(0, false, None), said(9, false, None)]).is_empty());
    }

    #[test]
    fn answers_that_did_not_come_and_other_values_say_nothing() {
        let text = r#"{"schism":"history","version":1}
{"index":0,"time":0,"process":1000000000,"type":"invoke","f":"leader","value":null,"node":"n1"}
{"index":1,"time":5,"process":1000000000,"type":"ok","f":"leader","value":{"node":"n1","leads":true,"term":3},"node":"n1"}
{"index":2,"time":10,"process":1000000000,"type":"invoke","f":"leader","value":null,"node":"n1"}
{"index":3,"time":15,"process":1000000000,"type":"fail","f":"leader","value":null,"node":"n1","error":"no answer"}
{"index":4,"time":20,"process":1000000000,"type":"invoke","f":"leader","value":null,"node":"n1"}
{"index":5,"time":25,"process":1000000000,"type":"ok","f":"leader","value":7,"node":"n1"}
{"index":6,"time":30,"process":1000000000,"type":"invoke","f":"leader","value":null,"node":"n1"}
{"index":7,"time":35,"process":1000000000,"type":"ok","f":"leader","value":{"node":"n1","leads":true,"term":3},"node":"n1"}
"#;
        let history = history::jsonl::read(text.as_bytes()).unwrap().history;
        let led = led(&history);
        assert_eq!(
            (led[0].from, led[0].until, led[0].sure),
            (Time(0), Time(35), true)
        );
        assert_eq!((led.len(), led[1].sure), (2, false));
        assert!(history.ops().iter().all(Op::observes));
    }

    #[test]
    fn a_head_that_is_named_twice_was_there_between() {
        let mut text = String::from("{\"schism\":\"history\",\"version\":1}\n");
        for (i, (node, head)) in [
            ("n1", "a"),
            ("n2", "a"),
            ("n1", "a"),
            ("n2", "b"),
            ("n1", "b"),
        ]
        .iter()
        .enumerate()
        {
            let (at, process) = (10 * i, 1_000_000_000 + i);
            for (n, kind, value) in [
                (0, "invoke", "null".to_string()),
                (
                    1,
                    "ok",
                    format!(
                        "{{\"node\":\"{node}\",\"head\":\"{head}\",\"height\":4,\"blocks\":[]}}"
                    ),
                ),
            ] {
                text += &format!(
                    "{{\"index\":{},\"time\":{},\"process\":{process},\"type\":\"{kind}\",\"f\":\"head\",\"value\":{value},\"node\":\"{node}\"}}\n",
                    2 * i + n,
                    at + 5 * n
                );
            }
        }
        let history = history::jsonl::read(text.as_bytes()).unwrap().history;
        let seen: Vec<_> = tips(&history)
            .into_iter()
            .map(|tip| (tip.node.to_string(), tip.hash, tip.from.0, tip.until.0))
            .collect();
        let is =
            |node: &str, hash: &str, from, until| (node.to_string(), hash.to_string(), from, until);
        assert_eq!(
            seen,
            [
                is("n1", "a", 0, 25),
                is("n2", "a", 10, 15),
                is("n2", "b", 30, 35),
                is("n1", "b", 40, 45)
            ]
        );
    }
}
