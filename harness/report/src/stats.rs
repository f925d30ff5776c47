//! What a run comes to in numbers: totals, latencies by f, errors by code, and everything in bins
//! of time.

use std::collections::HashMap;
use std::time::Duration;

use history::fault::Span;
use history::{History, Name, Op, Outcome, Time};

/// Most bins of the time axis: about one for four pixels of the charts.
const MAX_BINS: usize = 240;

/// Most kinds of operation told apart; a history with more has them in the last one, [`OTHER`].
const MAX_FS: usize = 6;

/// Name of the kinds of operation beyond [`MAX_FS`].
const OTHER: &str = "(others)";

/// Everything the page counts.
#[derive(Debug)]
pub struct Stats {
    pub end: Time,
    pub tally: Tally,
    /// By f, the most frequent first.
    pub by_f: Vec<OfF>,
    /// By error code, the most frequent first.
    pub errors: Vec<OfError>,
    pub bin: Duration,
    /// Completions in each bin, from the start of the run.
    pub bins: Vec<Tally>,
    pub nodes: Vec<OfNode>,
}

/// Operations by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub ok: usize,
    pub fail: usize,
    pub info: usize,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Fail => self.fail += 1,
            Outcome::Info => self.info += 1,
        }
    }

    pub fn total(self) -> usize {
        self.ok + self.fail + self.info
    }
}

/// One kind of operation.
#[derive(Debug)]
pub struct OfF {
    pub f: Name,
    pub tally: Tally,
    /// Latency of those that succeeded; none if none did.
    pub latency: Option<Latency>,
    /// Median and 99th percentile of those that succeeded in each bin.
    pub bins: Vec<Option<(Duration, Duration)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// One error code: the first word of the error.
#[derive(Debug)]
pub struct OfError {
    pub code: String,
    pub fail: usize,
    pub info: usize,
    /// The first such error in full.
    pub example: String,
    pub first: Time,
}

/// One node, as the clients that talk to it saw it.
#[derive(Debug)]
pub struct OfNode {
    pub node: Name,
    pub bins: Vec<Tally>,
}

/// When an operation's answer, or the news that there is none, came; none if the run ended first.
pub fn ended(history: &History, op: &Op) -> Option<Time> {
    let event = usize::try_from(op.completion?).ok()?;
    history.events().get(event).map(|e| e.time)
}

/// The code of an error: its first word.
pub fn code(error: &str) -> &str {
    let end = error
        .find(|c: char| c.is_whitespace() || c == ':' || c == '(')
        .unwrap_or(error.len());
    match &error[..end] {
        "" => "(no code)",
        code => code,
    }
}

impl Stats {
    pub fn of(history: &History, spans: &[Span], nodes: &[Name]) -> Stats {
        let end = history.end();
        let bin = bin_of(end);
        let n_bins = (end.0 / bin.as_nanos() as u64) as usize + 1;
        let bin_at = |t: Time| (t.0 / bin.as_nanos() as u64) as usize;

        let mut tally = Tally::default();
        let mut bins = vec![Tally::default(); n_bins];
        let mut nodes: Vec<OfNode> = all_nodes(history, spans, nodes)
            .into_iter()
            .map(|node| OfNode {
                node,
                bins: vec![Tally::default(); n_bins],
            })
            .collect();
        let node_at: HashMap<Name, usize> = nodes
            .iter()
            .enumerate()
            .map(|(i, n)| (n.node.clone(), i))
            .collect();
        let mut errors: HashMap<String, OfError> = HashMap::new();

        for op in history.asked() {
            tally.add(op.outcome);
            let ended = ended(history, op);
            if let Some(ended) = ended {
                bins[bin_at(ended)].add(op.outcome);
                if let Some(&at) = op.node.as_ref().and_then(|n| node_at.get(n)) {
                    nodes[at].bins[bin_at(ended)].add(op.outcome);
                }
            }
            if let Some(error) = &op.error {
                let code = crate::text::clip(code(error), 60);
                let entry = errors.entry(code.clone()).or_insert_with(|| OfError {
                    code,
                    fail: 0,
                    info: 0,
                    example: crate::text::clip(error, 300),
                    first: ended.unwrap_or(op.call),
                });
                match op.outcome {
                    Outcome::Fail => entry.fail += 1,
                    _ => entry.info += 1,
                }
            }
        }
        let mut errors: Vec<OfError> = errors.into_values().collect();
        errors.sort_by(|a, b| {
            (b.fail + b.info)
                .cmp(&(a.fail + a.info))
                .then_with(|| a.code.cmp(&b.code))
        });
        Stats {
            end,
            tally,
            by_f: by_f(history, n_bins, bin_at),
            errors,
            bin,
            bins,
            nodes,
        }
    }

    /// The place of an f in `by_f`.
    pub fn f_at(&self, f: &Name) -> usize {
        let last = self.by_f.len().saturating_sub(1);
        self.by_f.iter().position(|k| k.f == *f).unwrap_or(last)
    }
}

/// The shortest round span of which at most [`MAX_BINS`] cover the run.
fn bin_of(end: Time) -> Duration {
    let mut bin = 1_000_000u64;
    loop {
        for step in [bin, 2 * bin, 5 * bin] {
            if (end.0 / step) < MAX_BINS as u64 {
                return Duration::from_nanos(step);
            }
        }
        bin *= 10;
    }
}

/// The nodes given, then those that only the history or the faults name, in order of their names.
fn all_nodes(history: &History, spans: &[Span], given: &[Name]) -> Vec<Name> {
    let mut nodes = given.to_vec();
    let mut more: Vec<Name> = Vec::new();
    let named = history.ops().iter().filter_map(|op| op.node.as_ref());
    for node in named.chain(spans.iter().flat_map(|s| &s.targets)) {
        if !nodes.contains(node) && !more.contains(node) {
            more.push(node.clone());
        }
    }
    // n2 before n10.
    more.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    nodes.extend(more);
    nodes
}

fn by_f(history: &History, n_bins: usize, bin_at: impl Fn(Time) -> usize) -> Vec<OfF> {
    let mut tallies: Vec<(Name, Tally)> = Vec::new();
    for op in history.asked() {
        match tallies.iter_mut().find(|t| t.0 == op.f) {
            Some((_, tally)) => tally.add(op.outcome),
            None => {
                let mut tally = Tally::default();
                tally.add(op.outcome);
                tallies.push((op.f.clone(), tally));
            }
        }
    }
    tallies.sort_by(|a, b| b.1.total().cmp(&a.1.total()).then_with(|| a.0.cmp(&b.0)));
    if tallies.len() > MAX_FS {
        let rest = tallies.split_off(MAX_FS - 1);
        let sum = rest.iter().fold(Tally::default(), |sum, (_, t)| Tally {
            ok: sum.ok + t.ok,
            fail: sum.fail + t.fail,
            info: sum.info + t.info,
        });
        tallies.push((OTHER.into(), sum));
    }
    let mut samples: Vec<Vec<(usize, Duration)>> = vec![Vec::new(); tallies.len()];
    for op in history.asked().filter(|op| op.outcome == Outcome::Ok) {
        let at = tallies.iter().position(|t| t.0 == op.f);
        samples[at.unwrap_or(tallies.len() - 1)].push((bin_at(op.ret), op.ret.since(op.call)));
    }
    tallies
        .into_iter()
        .zip(samples)
        .map(|((f, tally), mut samples)| {
            let mut bins = vec![None; n_bins];
            samples.sort_unstable();
            for of_bin in samples.chunk_by(|a, b| a.0 == b.0) {
                let sorted: Vec<Duration> = of_bin.iter().map(|s| s.1).collect();
                bins[of_bin[0].0] = Some((quantile(&sorted, 0.5), quantile(&sorted, 0.99)));
            }
            let mut all: Vec<Duration> = samples.into_iter().map(|s| s.1).collect();
            all.sort_unstable();
            OfF {
                f,
                tally,
                latency: all.last().map(|&max| Latency {
                    p50: quantile(&all, 0.5),
                    p99: quantile(&all, 0.99),
                    max,
                }),
                bins,
            }
        })
        .collect()
}

/// The smallest value that at least the part `q` of a sorted, non-empty list does not exceed.
fn quantile(sorted: &[Duration], q: f64) -> Duration {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use history::{Event, Kind, Process, Value};

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let hundred: Vec<Duration> = (1..=100).map(ms).collect();
        assert_eq!(quantile(&hundred, 0.5), ms(50));
        assert_eq!(quantile(&hundred, 0.99), ms(99));
        assert_eq!(quantile(&hundred[..1], 0.99), ms(1));
        assert_eq!(quantile(&hundred[..2], 0.5), ms(1));
    }

    #[test]
    fn bins_are_round_and_bounded() {
        for (s, want) in [(0, ms(1)), (1, ms(5)), (60, ms(500)), (600, ms(5000))] {
            assert_eq!(bin_of(Time::from(Duration::from_secs(s))), want, "{s} s");
        }
        for ns in [1, 239_999_999, 240_000_000, 12_345_678_901_234] {
            assert!(ns / bin_of(Time(ns)).as_nanos() as u64 <= 240);
        }
    }

    #[test]
    fn the_code_of_an_error_is_its_first_word() {
        for (error, want) in [
            ("timeout after 1 s", "timeout"),
            ("refused: n3", "refused"),
            ("refused", "refused"),
            ("", "(no code)"),
        ] {
            assert_eq!(code(error), want);
        }
    }

    fn history(rows: &[(u64, u64, Kind, &str)]) -> History {
        let events = rows.iter().enumerate().map(|(i, (at, p, kind, f))| Event {
            index: i as u64,
            time: Time(at * 1_000_000),
            process: Process::Client(*p),
            kind: *kind,
            f: (*f).into(),
            value: Value::Nil,
            error: (*kind == Kind::Info).then(|| "timeout 1 s".to_string()),
            node: Some(format!("n{}", 12 - p).into()),
            version: None,
            due: None,
        });
        History::new(events.collect()).unwrap()
    }

    #[test]
    fn operations_are_counted_where_they_end() {
        use Kind::*;
        let history = history(&[
            (0, 1, Invoke, "read"),
            (2, 1, Ok, "read"),
            (3, 2, Invoke, "write"),
            (4, 1, Invoke, "read"),
            (8, 1, Ok, "read"),
            (9, 2, Info, "write"),
            (9, 1, Invoke, "read"),
        ]);
        let stats = Stats::of(&history, &[], &["n1".into()]);
        let tally = |ok, fail, info| Tally { ok, fail, info };
        assert_eq!(stats.tally, tally(2, 0, 2));
        assert_eq!(stats.bin, ms(1));
        assert_eq!(stats.bins.len(), 10);
        assert_eq!(stats.bins[2], tally(1, 0, 0));
        // The read that the end of the run cut off is in the totals and in no bin.
        assert_eq!(stats.bins[9], tally(0, 0, 1));
        let nodes: Vec<&str> = stats.nodes.iter().map(|n| n.node.as_str()).collect();
        assert_eq!(nodes, ["n1", "n10", "n11"]);
        let read = &stats.by_f[0];
        assert_eq!((read.f.as_str(), read.tally), ("read", tally(2, 0, 1)));
        let latency = Latency {
            p50: ms(2),
            p99: ms(4),
            max: ms(4),
        };
        assert_eq!(read.latency, Some(latency));
        assert_eq!(read.bins[8], Some((ms(4), ms(4))));
        assert_eq!(stats.by_f[1].latency, None);
        assert_eq!(
            (stats.errors[0].code.as_str(), stats.errors[0].info),
            ("timeout", 1)
        );
    }

    #[test]
    fn many_kinds_of_operation_share_the_last_place() {
        let names: Vec<String> = (0..9).map(|i| format!("f{i}")).collect();
        let rows: Vec<_> = names
            .iter()
            .enumerate()
            .flat_map(|(i, f)| {
                let at = i as u64;
                [
                    (at, 0, Kind::Invoke, f.as_str()),
                    (at, 0, Kind::Ok, f.as_str()),
                ]
            })
            .collect();
        let stats = Stats::of(&history(&rows), &[], &[]);
        assert_eq!(stats.by_f.len(), MAX_FS);
        assert_eq!(stats.by_f[5].f, OTHER);
        assert_eq!(stats.by_f[5].tally.ok, 4);
        assert!(stats.by_f[5].latency.is_some());
        assert_eq!(stats.f_at(&"f8".into()), 5);
    }
}
