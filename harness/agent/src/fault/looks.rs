//! Looks at a daemon's clocks: what its programs are shown, and whether they ever looked
//! themselves.

use super::dial::lock;
use crate::error::Result;
use crate::protocol::{ClockFault, Evidence};
use crate::site::Site;
use crate::vdso::{Asked, Clock, ClockError, Patch, Shift};

/// Processes of a tree that are asked for their time, for evidence.
const ASKED_MAX: usize = 8;

/// From now on the turn of this fault is what the daemon's programs are shown.
pub(super) fn begin_count(site: &Site, fault: u64, name: &str) {
    if let Some(dial) = lock(&site.dials).get_mut(name) {
        let asked = dial.tally();
        dial.asked_at.insert(fault, asked);
    }
}

/// How often the daemon's programs read the clocks that this fault turns, while it turned them; and
/// if they never did, that the fault was nothing to them.
pub(super) fn count(
    site: &Site,
    fault: u64,
    name: &str,
    how: &ClockFault,
) -> (String, Vec<String>) {
    let mut dials = lock(&site.dials);
    let counted = dials.get_mut(name).and_then(|dial| {
        let now = dial.tally();
        // A freeze that is not over has turned nothing yet.
        let begun = dial.asked_at.remove(&fault);
        dial.counts
            .then(|| begun.map_or(Asked::default(), |begun| now.since(begun)))
    });
    let Some(Asked {
        realtime,
        monotonic,
    }) = counted
    else {
        let text = format!("how often daemon {name:?} read its clocks is not known");
        return (text, Vec::new());
    };
    let (clock, asked, text) = match how {
        ClockFault::Freeze { .. } => (
            "its clocks while they lagged",
            realtime + monotonic,
            format!(
                "daemon {name:?} read its wall clock {realtime} times and its monotonic clock \
                 {monotonic} times while they lagged"
            ),
        ),
        ClockFault::Jump { .. } | ClockFault::Strobe { .. } | ClockFault::Drift { .. } => (
            "its wall clock while that was off",
            realtime,
            format!("daemon {name:?} read its wall clock {realtime} times while it was off"),
        ),
    };
    let never = || {
        format!(
            "daemon {name:?} never read {clock}: it did not look, or it asks the kernel and not its \
             vDSO"
        )
    };
    (text, (asked == 0).then(never).into_iter().collect())
}

/// Asks the processes for the time, and compares with what they are meant to show.
pub(super) fn ask(site: &mut Site, name: &str, troubles: Vec<String>) -> Result<Evidence> {
    let dials = lock(&site.dials);
    let Some(dial) = dials.get(name).filter(|dial| !dial.patches.is_empty()) else {
        let mut evidence = troubles;
        evidence.push(format!(
            "daemon {name:?} has no process whose clocks are turned"
        ));
        return Ok(Evidence {
            void: Vec::new(),
            held: false,
            evidence,
        });
    };
    let wanted = dial.sum();
    let mut evidence = Evidence {
        void: Vec::new(),
        held: troubles.is_empty(),
        evidence: troubles,
    };
    for (ident, patch) in dial.patches.iter().take(ASKED_MAX) {
        let (held, line) = match look(patch, &wanted) {
            Ok(seen) => seen,
            Err(ClockError::Gone { .. }) => continue,
            Err(error) => (false, error.to_string()),
        };
        evidence.held &= held;
        evidence.evidence.push(format!("{ident}: {line}"));
    }
    Ok(evidence)
}

/// Two looks at one process: its memory, and what its code says when it is run.
fn look(patch: &Patch, wanted: &Shift) -> Result<(bool, String), ClockError> {
    let written = patch.get()? == *wanted && patch.in_force()?;
    let mut said = Vec::new();
    let mut agrees = true;
    for (clock, name) in [
        (Clock::Realtime, "realtime"),
        (Clock::Monotonic, "monotonic"),
    ] {
        let reading = match patch.ask(clock) {
            Ok(reading) => reading,
            Err(ClockError::Stopped { .. }) => {
                let text = "it is stopped and cannot be asked; its memory";
                let shown = if written { "holds" } else { "does not hold" };
                return Ok((written, format!("{text} {shown} the shift")));
            }
            Err(error) => return Err(error),
        };
        let line = wanted.line(clock);
        // No line runs backwards, so the answer lies between what it shows before and after.
        let span = line.show(reading.before_ns)..=line.show(reading.after_ns);
        agrees &= span.contains(&reading.shown_ns);
        said.push(format!(
            "{name} off by {} ns (error {} ns)",
            reading.lie_ns(),
            reading.error_ns()
        ));
    }
    let said = said.join(", ");
    Ok((
        written && agrees,
        match (written, agrees) {
            (true, true) => format!("its code says {said}"),
            (_, false) => format!("its code says {said}, which is not what was set"),
            (false, _) => format!("its code says {said}, but its memory is not as written"),
        },
    ))
}
