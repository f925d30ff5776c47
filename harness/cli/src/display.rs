//! Progress on stderr: one live line on a terminal, a plain line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::progress::{Counts, Lasts, Now, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::terminal;

/// How often the live line is drawn.
const LIVE: Duration = Duration::from_millis(200);
/// How often a plain line is printed while nothing changes.
const PLAIN: Duration = Duration::from_secs(10);

/// Shows a run's progress until it is dropped.
pub struct Display {
    task: JoinHandle<()>,
    bar: ProgressBar,
}

impl Display {
    /// Must be called within a tokio runtime.
    pub fn start(progress: Arc<Progress>) -> Display {
        let live = std::io::stderr().is_terminal();
        let bar = match live {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        bar.set_style(style("{spinner} {wide_msg}"));
        let task = match live {
            true => tokio::spawn(draw(progress, bar.clone())),
            false => tokio::spawn(print(progress)),
        };
        Display { task, bar }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is constant")
}

impl Drop for Display {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

async fn draw(progress: Arc<Progress>, bar: ProgressBar) {
    let mut beat = tokio::time::interval(LIVE);
    loop {
        beat.tick().await;
        for remark in progress.take_remarks() {
            bar.println(terminal::told(&remark));
        }
        let now = progress.now();
        match now.lasts {
            Lasts::Planned(planned) => {
                bar.set_style(style("{spinner} {bar:20} {wide_msg}"));
                bar.set_length(planned.as_millis() as u64);
                bar.set_position(now.since.elapsed().min(planned).as_millis() as u64);
            }
            Lasts::AtMost(_) | Lasts::Unknown => bar.set_style(style("{spinner} {wide_msg}")),
        }
        bar.set_message(terminal::word(&line(&now, progress.counts())));
        bar.tick();
    }
}

async fn print(progress: Arc<Progress>) {
    let mut beat = tokio::time::interval(LIVE);
    let mut shown: Option<(String, Vec<u64>)> = None;
    let mut last = Instant::now();
    loop {
        beat.tick().await;
        for remark in progress.take_remarks() {
            terminal::tell(remark);
        }
        let now = progress.now();
        let state = (
            now.phase.clone(),
            now.faults.iter().map(|(n, _)| *n).collect(),
        );
        if shown.as_ref() != Some(&state) || last.elapsed() >= PLAIN {
            terminal::tell(line(&now, progress.counts()));
            shown = Some(state);
            last = Instant::now();
        }
    }
}

fn line(now: &Now, counts: Counts) -> String {
    let elapsed = now.since.elapsed();
    let s = elapsed.as_secs();
    let time = match now.lasts {
        Lasts::Planned(planned) if elapsed <= planned => {
            format!("{s} of {} s", planned.as_secs())
        }
        Lasts::Planned(planned) => format!("{s} s, {} s were planned", planned.as_secs()),
        Lasts::AtMost(most) => format!("{s} s, at most {} s", most.as_secs()),
        Lasts::Unknown => format!("{s} s"),
    };
    let mut text = format!("{}: {time}", now.phase);
    if counts != Counts::default() {
        text += &format!(
            "  ok {} fail {} info {}",
            counts.ok, counts.fail, counts.info
        );
    }
    if !now.faults.is_empty() {
        let labels: Vec<_> = now.faults.iter().map(|(_, l)| l.as_str()).collect();
        text += &format!("  in force: {}", labels.join("; "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn a_line_says_phase_time_counts_and_faults() {
        let now = Now {
            phase: "main phase".into(),
            since: Instant::now(),
            lasts: Lasts::Planned(Duration::from_secs(60)),
            faults: vec![(0, "pause n1".into()), (2, "n2 clock +3 s".into())],
            remarks: Vec::new(),
            said: VecDeque::new(),
        };
        let counts = Counts {
            ok: 10,
            fail: 2,
            info: 1,
        };
        assert_eq!(
            line(&now, counts),
            "main phase: 0 of 60 s  ok 10 fail 2 info 1  in force: pause n1; n2 clock +3 s"
        );
        let quiet = Now {
            lasts: Lasts::Unknown,
            faults: Vec::new(),
            ..now
        };
        assert_eq!(line(&quiet, Counts::default()), "main phase: 0 s");
        let waits = Now {
            lasts: Lasts::AtMost(Duration::from_secs(30)),
            ..quiet.clone()
        };
        let said = line(&waits, Counts::default());
        assert_eq!(said, "main phase: 0 s, at most 30 s");
        // A late machine makes it longer than was planned.
        let late = Now {
            since: Instant::now() - Duration::from_secs(25),
            lasts: Lasts::Planned(Duration::from_secs(20)),
            ..quiet
        };
        let said = line(&late, Counts::default());
        assert_eq!(said, "main phase: 25 s, 20 s were planned");
    }
}
