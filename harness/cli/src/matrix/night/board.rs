//! How far a night has come, for who watches: cells done, running and left, what they came to, and
//! how long it will take.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::matrix::record::{Ending, Head, Purpose, Recorded};
use crate::matrix::state::{Came, came};
use crate::terminal;

pub struct Board<'a> {
    head: &'a Head,
    jobs: usize,
    bar: ProgressBar,
    begun: Instant,
    running: Vec<String>,
    tally: BTreeMap<Ending, usize>,
    retried: usize,
    done: usize,
    /// Seconds that were expected of the cells that this program has done, and of those that are
    /// left.
    expected_done: f64,
    expected_left: f64,
    expected: BTreeMap<&'a str, f64>,
}

impl<'a> Board<'a> {
    pub fn new(
        head: &'a Head,
        jobs: usize,
        queue: &VecDeque<usize>,
        recorded: &Recorded,
    ) -> Board<'a> {
        let bar = ProgressBar::new(head.cells.len() as u64).with_style(
            ProgressStyle::with_template("{bar:24} {pos}/{len} cells  {wide_msg}")
                .expect("the template is constant"),
        );
        let mut tally = BTreeMap::new();
        let mut runs: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for ran in &recorded.runs {
            runs.entry(&ran.cell).or_default().push(ran);
        }
        for cell in &head.cells {
            let runs = runs.get(cell.id.as_str()).cloned().unwrap_or_default();
            if let Some(came) = came(cell, runs, &head.gate) {
                *tally.entry(came.ending).or_default() += 1;
            }
        }
        let done = head.cells.len() - queue.len();
        bar.set_position(done as u64);
        Board {
            head,
            jobs,
            bar,
            begun: Instant::now(),
            running: Vec::new(),
            tally,
            retried: 0,
            done,
            expected_done: 0.0,
            expected_left: queue
                .iter()
                .map(|place| head.cells[*place].expected_s)
                .sum(),
            expected: queue
                .iter()
                .map(|place| {
                    (
                        head.cells[*place].id.as_str(),
                        head.cells[*place].expected_s,
                    )
                })
                .collect(),
        }
    }

    pub fn begins(&mut self, id: &str, purpose: Purpose) {
        let why = match purpose {
            Purpose::First => "",
            Purpose::Retry => " (once more)",
            Purpose::Confirm => " (to confirm)",
        };
        self.running.push(format!("{id}{why}"));
        self.show();
    }

    pub fn ends(&mut self, id: &str) {
        let is = |running: &String| running.split(" (").next() == Some(id);
        if let Some(at) = self.running.iter().position(is) {
            self.running.remove(at);
        }
    }

    pub fn done(&mut self, id: &str, came: Option<Came>, left: usize) {
        let Some(came) = came else { return };
        *self.tally.entry(came.ending).or_default() += 1;
        self.retried += came.infra;
        self.done += 1;
        let expected = self.expected.get(id).copied().unwrap_or_default();
        self.expected_done += expected;
        self.expected_left -= expected;
        self.bar.set_position(self.done as u64);
        self.show();
        // Elsewhere than on a terminal the bar says nothing.
        if self.bar.is_hidden() {
            let why = came
                .by
                .map_or(String::new(), |ran| match ran.why.is_empty() {
                    true => String::new(),
                    false => format!(" ({})", terminal::clipped(&ran.why, 160)),
                });
            terminal::tell(format!(
                "{}/{}  {id}: {}{why}  [{}; {} running, {left} left, {}]",
                self.done,
                self.head.cells.len(),
                came.ending.word(),
                self.counts(),
                self.running.len(),
                self.eta()
            ));
        }
    }

    fn show(&self) {
        let running = history::wording::listed(&self.running, 2);
        let text = format!("{}  {}  {running}", self.counts(), self.eta());
        self.bar.set_message(terminal::word(&text));
    }

    fn counts(&self) -> String {
        let counts = self
            .tally
            .iter()
            .map(|(ending, n)| format!("{n} {}", ending.word()));
        let mut text = counts.collect::<Vec<_>>().join(", ");
        if self.retried > 0 {
            text += &format!(", {} made again", self.retried);
        }
        text
    }

    /// By what was expected of the cells, corrected by what those that are done really took.
    pub fn eta(&self) -> String {
        let ratio = match self.expected_done > 0.0 {
            true => self.begun.elapsed().as_secs_f64() * self.jobs as f64 / self.expected_done,
            false => 1.0,
        };
        let left = self.expected_left.max(0.0) * ratio / self.jobs.max(1) as f64;
        format!(
            "about {} left",
            crate::batch::long(Duration::from_secs_f64(left))
        )
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
