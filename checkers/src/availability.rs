//! How much of the time a system served, and how soon again after faults: figures, not a verdict.
//!
//! Most figures rest on the *wait* ([`waits`]): a time in which something was asked of the system
//! and nothing succeeded. A figure is only as good as the load. So two figures tell how good that
//! was: how many operations were due and never offered, and how many overlapped. The summary says
//! where they spoil the others. A wait that had not ended when the last operation was asked is at
//! least so long, and is shown as that ([`censored`]).

mod censored;
pub(crate) mod gauges;
mod overlap;
mod waits;

use history::fault::{self, Span};
use history::mark::offered;
use history::offered::Offered;
use history::wording::{counted, seconds, times};
use history::{History, Name, Op, Outcome, Time};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;

use self::censored::{Censored, spread};
use self::waits::{Wait, first_answer, longest_wait, waits};
use crate::role::Roles;
use crate::{Analysis, Budget, Checker, Figure};

/// Waits of this length and more are time without an answer. A tenth of a second is what a person
/// takes for at once (Miller, "Response time in man-computer conversational transactions", 1968), a
/// second what does not yet interrupt a thought.
const PATIENCE: [(&str, Duration); 2] = [
    ("0.1 s", Duration::from_millis(100)),
    ("1 s", Duration::from_secs(1)),
];

/// Where fewer of the writes than this, in per cent, overlapped another operation on their key, the
/// summary says so.
const LEAST_OVERLAP: f64 = 10.0;

/// Of so few writes nothing is said.
const FEW_WRITES: usize = 20;

/// Measures operations of clients; what the harness [observes](Op::observes) is no service. Its
/// verdict is always valid.
#[derive(Clone)]
pub struct Availability {
    /// A time without any success is reported if it is at least this long.
    pub gap: Duration,
    /// What operations do, by which it is known which of them meet; none where it is not known.
    pub roles: Option<Roles>,
}

impl Default for Availability {
    /// Gaps of a second, and nothing known of the operations.
    fn default() -> Availability {
        Availability {
            gap: Duration::from_secs(1),
            roles: None,
        }
    }
}

impl Availability {
    /// Of a run of a workload.
    pub fn of_run(roles: Roles) -> Availability {
        Availability {
            roles: Some(roles),
            ..Availability::default()
        }
    }
}

impl Checker for Availability {
    fn name(&self) -> &str {
        "availability"
    }

    fn check(&self, history: &History, _budget: &Budget) -> Analysis {
        let ops: Vec<&Op> = history.ops().iter().filter(|op| !op.observes()).collect();
        let mut ok: Vec<Time> = ops
            .iter()
            .filter(|op| op.outcome == Outcome::Ok)
            .map(|op| op.ret)
            .collect();
        ok.sort_unstable();
        let spans = fault::spans(history);
        let offered = offered(history);
        let (waits, asked) = waits(&ops, history);
        let overlap = self
            .roles
            .and_then(|roles| overlap::of(&ops, roles, history));
        let gaps: Vec<&Wait> = waits.iter().filter(|w| w.length() >= self.gap).collect();
        let mut summary = summary(&ops, ok.len(), offered.as_ref(), self.gap, &gaps);
        if let Some(little) = overlap.as_ref().and_then(overlap::Overlap::too_little) {
            summary += &little;
        }
        let gaps: Vec<Json> = gaps.iter().map(|wait| wait.json()).collect();
        let mut figures = service(&ops, ok.len(), &waits, asked);
        figures.extend(offered.iter().flat_map(|offered| plan(&ops, offered)));
        figures.extend(overlap.map(|overlap| gauges::OVERLAP.figure(overlap.json())));
        let held: Vec<&Span> = spans.iter().filter(|span| span.held()).collect();
        let views = Views::of(&ops, offered.as_ref(), history, waits);
        figures.extend(views.of_faults(&held));
        let recovery: Vec<Json> = spans
            .iter()
            .map(|span| views.of_fault(span, &ok, history.end()))
            .collect();
        figures.extend([
            gauges::OPERATIONS.figure(outcomes(&ops)),
            gauges::LATENCY.figure(latency(&ops)),
            gauges::PER_SECOND.figure(per_second(&ok, history.end())),
            gauges::WITHOUT_SUCCESS.figure(gaps),
            gauges::AFTER_FAULTS.figure(recovery),
        ]);
        let analysis = Analysis::measured(self.name(), summary);
        figures.into_iter().fold(analysis, Analysis::with_figure)
    }
}

fn summary(
    ops: &[&Op],
    ok: usize,
    offered: Option<&Offered>,
    gap: Duration,
    gaps: &[&Wait],
) -> String {
    let left_out = offered.map_or(0, Offered::not_offered);
    let left_out = match (left_out, offered) {
        (0, _) | (_, None) => String::new(),
        (n, Some(offered)) => {
            format!(" ({n} of {} that were due never offered)", offered.due)
        }
    };
    let longest = gaps.iter().map(|wait| wait.length()).max();
    format!(
        "{ok} of {} succeeded{left_out}; {}",
        counted(ops.len(), "operation"),
        match longest {
            None => format!("never {} without a success", seconds(gap)),
            Some(longest) => format!(
                "{} {} or more without a success, at most {}",
                times(gaps.len()),
                seconds(gap),
                seconds(longest)
            ),
        }
    )
}

/// What became of the plan: what was never offered bends what is said of the rest.
fn plan(ops: &[&Op], offered: &Offered) -> Vec<Figure> {
    if offered.due == 0 {
        return Vec::new();
    }
    let share = 100.0 * offered.share_not_offered();
    let ok = ops
        .iter()
        .filter(|op| op.due.is_some() && op.outcome == Outcome::Ok);
    let answered = 100.0 * ok.count() as f64 / offered.due as f64;
    let busy: serde_json::Map<String, Json> = offered
        .busy
        .iter()
        .map(|(node, n)| (node.to_string(), json!(n)))
        .collect();
    let parts = json!({
        "share": share,
        "due": offered.due,
        "no client free": busy,
        "harness late": offered.late,
    });
    vec![
        gauges::NOT_OFFERED.figure(parts),
        gauges::ANSWERED_OF_DUE.figure(answered),
    ]
}

/// What share of the operations, and of the time, was served.
fn service(ops: &[&Op], ok: usize, waits: &[Wait], asked: Duration) -> Vec<Figure> {
    if ops.is_empty() {
        return Vec::new();
    }
    let seconds = |at_least: Duration| -> f64 {
        let lengths = waits.iter().map(Wait::length);
        let counted = lengths.filter(|length| *length >= at_least);
        counted.map(|length| length.as_secs_f64()).sum()
    };
    let asked = asked.as_secs_f64();
    let mut figures = vec![
        gauges::ANSWERED.figure(100.0 * ok as f64 / ops.len() as f64),
        gauges::TIME_ASKED.figure(asked),
    ];
    if asked > 0.0 {
        let without: serde_json::Map<String, Json> = PATIENCE
            .iter()
            .map(|(name, patience)| {
                (
                    name.to_string(),
                    (100.0 * seconds(*patience) / asked).into(),
                )
            })
            .collect();
        figures.push(gauges::WITHOUT_ANSWER.figure(without));
        figures.push(gauges::THROUGHPUT.figure(ok as f64 / asked));
    }
    figures
}

/// The same system as different people see it: everybody together, the clients of one node, one
/// client.
struct Views<'a> {
    all: View<'a>,
    nodes: BTreeMap<Name, View<'a>>,
    clients: Vec<View<'a>>,
}

struct View<'a> {
    ops: Vec<&'a Op>,
    waits: Vec<Wait>,
    /// Nobody asked any more.
    end: Time,
}

impl<'a> View<'a> {
    fn longest(&self, span: &Span) -> Option<Censored> {
        longest_wait(span, &self.waits)
    }

    fn first(&self, span: &Span) -> Option<Censored> {
        first_answer(span, &self.ops, self.end)
    }
}

impl<'a> Views<'a> {
    fn of(
        ops: &[&'a Op],
        offered: Option<&Offered>,
        history: &History,
        of_all: Vec<Wait>,
    ) -> Views<'a> {
        let view = |ops: Vec<&'a Op>| View {
            waits: waits(&ops, history).0,
            end: waits::end_of_asking(&ops, history),
            ops,
        };
        let mut nodes: BTreeMap<Name, Vec<&Op>> = BTreeMap::new();
        let mut clients: BTreeMap<u64, Vec<&Op>> = BTreeMap::new();
        for op in ops {
            if let Some(node) = &op.node {
                nodes.entry(node.clone()).or_default().push(op);
            }
            let history::Process::Client(process) = op.process else {
                continue;
            };
            // The plan's clients go on as new processes; of others each process is one.
            let client = match offered {
                None => Some(process),
                Some(offered) if op.due.is_some() => offered.client(process),
                Some(_) => None,
            };
            if let Some(client) = client {
                clients.entry(client).or_default().push(op);
            }
        }
        Views {
            all: View {
                waits: of_all,
                end: waits::end_of_asking(ops, history),
                ops: ops.to_vec(),
            },
            nodes: nodes.into_iter().map(|(n, ops)| (n, view(ops))).collect(),
            clients: clients.into_values().map(view).collect(),
        }
    }

    /// Over all faults that held: as everybody together saw them, and as the worst placed did.
    fn of_faults(&self, held: &[&Span]) -> Vec<Figure> {
        let all = || std::iter::once(&self.all);
        let nodes = || self.nodes.values();
        let clients = || self.clients.iter();
        let rows = [
            (gauges::WAIT, worst(held, all(), View::longest)),
            (gauges::WAIT_OF_NODE, worst(held, nodes(), View::longest)),
            (
                gauges::WAIT_OF_CLIENT,
                worst(held, clients(), View::longest),
            ),
            (gauges::AFTER_HEAL, worst(held, all(), View::first)),
            (
                gauges::AFTER_HEAL_OF_NODE,
                worst(held, nodes(), View::first),
            ),
            (
                gauges::AFTER_HEAL_OF_CLIENT,
                worst(held, clients(), View::first),
            ),
        ];
        let rows = rows.into_iter();
        rows.filter_map(|(gauge, values)| {
            let values = spread(values.into_iter().flatten().collect())?;
            Some(gauge.figure(values))
        })
        .collect()
    }

    /// One fault, and what was seen of it from each node.
    fn of_fault(&self, span: &Span, ok: &[Time], end: Time) -> Json {
        let after = |from: Option<Time>| {
            let from = from.filter(|from| *from != Time::MAX)?;
            let next = ok.get(ok.partition_point(|time| *time < from));
            Some(match next {
                Some(next) => Censored::exact(next.since(from)).json(),
                None => Censored::at_least(end.since(from)).json(),
            })
        };
        let nodes: serde_json::Map<String, Json> = self
            .nodes
            .iter()
            .filter_map(|(node, view)| Some((node.to_string(), view.longest(span)?.json())))
            .collect();
        json!({
            "fault": span.fault,
            "family": span.family,
            "label": span.label,
            "after injection": after(span.in_force.or(Some(span.from))),
            "after heal": after(span.healed().then_some(span.until)),
            "longest wait by node": nodes,
        })
    }
}

/// For each fault what the worst of the views saw.
fn worst<'a, 'v: 'a>(
    held: &[&Span],
    views: impl Iterator<Item = &'a View<'v>> + Clone,
    see: fn(&View<'v>, &Span) -> Option<Censored>,
) -> Vec<Option<Censored>> {
    let of = |span: &&Span| {
        let seen: Vec<Censored> = views.clone().filter_map(|view| see(view, span)).collect();
        Censored::max(&seen)
    };
    held.iter().map(of).collect()
}

fn outcomes(ops: &[&Op]) -> Json {
    let mut by_f: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for op in ops {
        let at = match op.outcome {
            Outcome::Ok => 0,
            Outcome::Fail => 1,
            Outcome::Info => 2,
        };
        by_f.entry(&op.f).or_default()[at] += 1;
    }
    by_f.into_iter()
        .map(|(f, [ok, fail, info])| (f.to_string(), json!({"ok": ok, "fail": fail, "info": info})))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Of what succeeded, from when it was due. The quantile is the value that so many per cent do not
/// exceed.
fn latency(ops: &[&Op]) -> Json {
    let mut by_f: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.outcome == Outcome::Ok) {
        by_f.entry(&op.f)
            .or_default()
            .push(op.ret.since(op.wanted()).as_nanos() as u64);
    }
    by_f.into_iter()
        .map(|(f, mut ns)| {
            ns.sort_unstable();
            let ms = |percent: usize| {
                let rank = (ns.len() * percent).div_ceil(100).max(1);
                ns[rank - 1] as f64 / 1e6
            };
            let quantiles = json!({"p50": ms(50), "p90": ms(90), "p99": ms(99), "max": ms(100)});
            (f.to_string(), quantiles)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// One number a second, from the start of the run to its end. A run is no longer than a day, so
/// that a wrong time in a foreign history does not ask for all memory.
fn per_second(ok: &[Time], end: Time) -> Json {
    const DAY_S: usize = 86_400;
    let second = |time: Time| (time.elapsed().as_secs() as usize).min(DAY_S - 1);
    let mut counts = vec![0u64; second(end) + 1];
    for time in ok {
        counts[second(*time)] += 1;
    }
    counts.into()
}
