//! Who led, and when, as the nodes' own traces have it.

use history::{History, Outcome, Time, Value};
use report::Led;

/// By node, and then by time. Nothing where nodes keep no trace, or by a clock that is not the
/// history's.
pub fn led(history: &History) -> Vec<Led> {
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
                leads = Some(Led {
                    node: node.clone(),
                    from: at,
                    until: Time::MAX,
                    ballot: event.get("ballot").map(ToString::to_string),
                });
            }
        }
        all.extend(leads);
    }
    all.retain(|led: &Led| led.until > Time(0));
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
        let is = |ballot: &str| ballot.to_string();
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
}
