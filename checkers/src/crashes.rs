//! Whether a daemon ended by itself: neither killed nor stopped by us, at any time from the start
//! of the main phase on. A daemon that ends when it is started again after a kill of ours is one of
//! them. One that ended while the disk of the run was full is not its system's failure: then nobody
//! can say.

use history::mark::{Crash, Mark, Phase, Placed, began, marks};
use history::{History, Name, fault};

use crate::figure::Gauge;
use crate::recovery::log_text;
use crate::{Analysis, Anomaly, Budget, Checker};

const CRASHES: Gauge = Gauge::count("crashes");

pub(crate) const GAUGES: &[Gauge] = &[CRASHES];

/// Invalid if a daemon ended by itself, unless that is allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crashes {
    pub allowed: bool,
}

impl Checker for Crashes {
    fn name(&self) -> &str {
        "crashes"
    }

    fn check(&self, history: &History, _budget: &Budget) -> Analysis {
        let marks = marks(history);
        let spans = fault::spans(history);
        let crashes: Vec<Anomaly> = marks
            .iter()
            .filter_map(|placed| match &placed.mark {
                Mark::Crash(node, crash) => Some(anomaly(placed, node, crash, &spans)),
                _ => None,
            })
            .collect();
        let count = CRASHES.figure(crashes.len());
        let first = crashes.first().map(|crash| crash.reason.clone());
        let first = first.map(|reason| reason.lines().next().unwrap_or_default().to_string());
        let more = match crashes.len() {
            0 | 1 => String::new(),
            n => format!(" ({n} in all)"),
        };
        let analysis = match first {
            None if began(&marks, Phase::Main).is_none() => {
                let why = "the history does not say whether daemons ended";
                Analysis::measured(self.name(), why)
            }
            None => Analysis::valid(self.name(), "no daemon ended by itself"),
            Some(first) if self.allowed => {
                Analysis::measured(self.name(), format!("{first}{more}; that is allowed"))
            }
            Some(first) if all_without_disk(&marks) => {
                let why = "the disk that the run is recorded on was full then";
                Analysis::unknown(self.name(), format!("{first}{more}; {why}"))
            }
            Some(first) => Analysis::of_anomalies(self.name(), format!("{first}{more}"), crashes),
        };
        analysis.with_figure(count)
    }
}

fn all_without_disk(marks: &[Placed]) -> bool {
    marks.iter().all(|placed| match &placed.mark {
        Mark::Crash(_, crash) => crash.disk_full,
        _ => true,
    })
}

fn anomaly(placed: &Placed, node: &Name, crash: &Crash, spans: &[fault::Span]) -> Anomaly {
    let pid = crash
        .pid
        .map_or(String::new(), |pid| format!(" (pid {pid})"));
    let in_force = spans
        .iter()
        .filter(|span| span.held() && span.from <= placed.time && placed.time <= span.until)
        .map(|span| format!("fault {} ({})", span.fault, span.label));
    let in_force: Vec<String> = in_force.collect();
    let in_force = match in_force.is_empty() {
        true => "no fault was in force".to_string(),
        false => format!("in force was {}", in_force.join(", ")),
    };
    Anomaly {
        kind: "crashed".into(),
        object: Some(node.to_string()),
        ops: vec![placed.index],
        reason: format!(
            "{} of {node}{pid} ended by itself at {}: {}; {in_force}{}",
            crash.daemon,
            placed.time,
            crash.status,
            log_text(&crash.log)
        ),
        ..Anomaly::default()
    }
}
