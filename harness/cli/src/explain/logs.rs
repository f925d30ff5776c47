//! What the nodes' logs said and who led in the window that is explained. While a fault shifts a
//! daemon's clock, its lines are told by the shifted one, and marked.

use history::store::Run;
use history::{History, Time};

use super::{Line, What};
use crate::{led, logs};

/// Lines that are told; more are counted.
const MOST: usize = 24;

/// Lines of the window, those nearest to its middle first, and how many are left out.
pub fn lines(run: &Run, history: &History, window: (Time, Time)) -> (Vec<Line>, usize) {
    let mut found = Vec::new();
    logs::each_node(run, history, |node, of_log| {
        let shifted = logs::shifted(history, node, window);
        let inside = of_log.filter(|(at, _)| (window.0..=window.1).contains(at));
        found.extend(inside.map(|(at, text)| Line {
            at_s: at.as_secs_f64(),
            what: What::Log,
            op: None,
            node: Some(node.to_string()),
            core: false,
            text: match shifted {
                true => format!("log, by its shifted clock: {text}"),
                false => format!("log: {text}"),
            },
        }));
    });
    let middle = (window.0.as_secs_f64() + window.1.as_secs_f64()) / 2.0;
    let far = |line: &Line| (line.at_s - middle).abs();
    found.sort_by(|a, b| far(a).total_cmp(&far(b)));
    let untold = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    (found, untold)
}

/// Nodes that took themselves for the leader in the window, as they begin and end; one that did
/// before stands at its beginning.
pub fn leaders(history: &History, window: (Time, Time)) -> Vec<Line> {
    let line = |at: Time, node: &str, text: String| Line {
        at_s: at.as_secs_f64(),
        what: What::Leader,
        op: None,
        node: Some(node.to_string()),
        core: false,
        text,
    };
    let mut lines = Vec::new();
    for led in led::led(history) {
        if !led.at_any_time(window.0, window.1) {
            continue;
        }
        let ballot = led
            .ballot
            .map_or(String::new(), |ballot| format!(", {ballot}"));
        if !led.sure {
            // It may have begun or ended here, or not.
            let (from, until) = (led.from.max(window.0), led.until.min(window.1));
            let text = format!("until {:.3} it may lead{ballot}", until.as_secs_f64());
            lines.push(line(from, &led.node, text));
            continue;
        }
        lines.push(match led.from < window.0 {
            true => {
                let since = led.from.as_secs_f64();
                line(
                    window.0,
                    &led.node,
                    format!("leads since {since:.3}{ballot}"),
                )
            }
            false => line(led.from, &led.node, format!("leads from here on{ballot}")),
        });
        if led.until <= window.1 {
            lines.push(line(led.until, &led.node, format!("leads no more{ballot}")));
        }
    }
    lines
}
