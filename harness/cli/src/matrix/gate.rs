//! What a night has come to: a colour for every cell, and whether the night is green.
//!
//! It is made of nothing but the night's file, so a shard, a night that still goes on and a merged
//! one are judged alike.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;

use chrono::NaiveDate;
use history::wording::{counted, either};
use serde::Serialize;

use super::cells::Expected;
use super::known::Issue;
use super::record::{Ending, Head, Planned, Ran, Recorded};
use super::state::{Came, came};

/// What a cell means for the night.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// An anomaly that nobody knew of.
    Red,
    /// A canary that nothing was found in.
    Silent,
    /// A canary that found nothing under this seed, and did under another.
    Missed,
    /// An anomaly that is known.
    Known,
    /// A canary in which it was found.
    Found,
    Green,
    /// It says nothing of the system.
    Grey,
    /// It was not run to its end.
    Left,
}

impl Colour {
    pub const ALL: [Colour; 8] = [
        Colour::Red,
        Colour::Silent,
        Colour::Missed,
        Colour::Known,
        Colour::Found,
        Colour::Green,
        Colour::Grey,
        Colour::Left,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Colour::Red => "red",
            Colour::Silent => "silent",
            Colour::Missed => "missed",
            Colour::Known => "known",
            Colour::Found => "found",
            Colour::Green => "green",
            Colour::Grey => "grey",
            Colour::Left => "left",
        }
    }

    pub fn meaning(self) -> &'static str {
        match self {
            Colour::Red => "an anomaly that nobody knew of",
            Colour::Silent => "a canary: an anomaly was planted, and nothing was found",
            Colour::Missed => "a canary that was not seen under this seed, and was under another",
            Colour::Known => "an anomaly that is in the file of known issues",
            Colour::Found => "a canary: what was planted was found",
            Colour::Green => "everything that was checked held",
            Colour::Grey => "no verdict on the system",
            Colour::Left => "not run, or not to its end",
        }
    }

    /// Whether a person has to look.
    pub fn is_red(self) -> bool {
        matches!(self, Colour::Red | Colour::Silent)
    }
}

/// A cell with what it has come to.
#[derive(Debug)]
pub struct Shown<'a> {
    pub cell: &'a Planned,
    /// None: not run to its end.
    pub came: Option<Came>,
    pub colour: Colour,
    /// The known issue that it is.
    pub issue: Option<&'a Issue>,
    /// One sentence more than the colour says.
    pub why: String,
}

/// A judged night.
#[derive(Debug)]
pub struct Judged<'a> {
    pub head: &'a Head,
    pub cells: Vec<Shown<'a>>,
    /// What keeps the night from being green, and what else a reader has to know.
    pub reasons: Vec<Reason>,
    pub notes: Vec<String>,
    /// Cells of shards that are not there.
    pub missing_shards: Vec<usize>,
}

/// What keeps a night from being green.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub gate: Gate,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The worst first.
    Red,
    Canary,
    Infra,
    Verdicts,
}

impl Gate {
    pub const ALL: [Gate; 4] = [Gate::Red, Gate::Canary, Gate::Verdicts, Gate::Infra];

    pub fn exit_code(self) -> u8 {
        match self {
            Gate::Red => 1,
            Gate::Verdicts => 3,
            Gate::Infra => 4,
            Gate::Canary => 5,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Gate::Red => "red",
            Gate::Verdicts => "verdicts",
            Gate::Infra => "infra",
            Gate::Canary => "canary",
        }
    }

    pub fn meaning(self) -> &'static str {
        match self {
            Gate::Red => "an anomaly that is not known, or no longer excused",
            Gate::Verdicts => "too few cells have a verdict, or some were not run",
            Gate::Infra => "the harness could not do its work",
            Gate::Canary => "a canary stayed green, or has no verdict: the instrument may be blind",
        }
    }
}

/// The exit codes of a night, for `--help`.
pub fn table() -> String {
    let mut text = String::from("Exit codes, the first that fits:\n   0  green    nothing below\n");
    let mut gates = Gate::ALL;
    gates.sort();
    for gate in gates {
        let (code, word, meaning) = (gate.exit_code(), gate.word(), gate.meaning());
        text += &format!("  {code:2}  {word:8} {meaning}\n");
    }
    text + "  64  usage    the command line or a file given to it is wrong"
}

/// Judges what is recorded; `today` decides what is still excused.
pub fn judge(recorded: &Recorded, today: NaiveDate) -> Judged<'_> {
    let head = &recorded.head;
    let mut runs: HashMap<&str, Vec<&Ran>> = HashMap::new();
    for ran in &recorded.runs {
        runs.entry(&ran.cell).or_default().push(ran);
    }
    let none = Vec::new();
    let mut cells: Vec<Shown> = head
        .cells
        .iter()
        .map(|cell| {
            let runs = runs.get(cell.id.as_str()).unwrap_or(&none);
            let came = came(cell, runs.iter().copied(), &head.gate);
            shown(cell, came, &head.known, today)
        })
        .collect();
    judge_canaries(&mut cells);
    let mut judged = Judged {
        head,
        cells,
        reasons: Vec::new(),
        notes: Vec::new(),
        missing_shards: Vec::new(),
    };
    judged.weigh(today);
    if let Some((line, _)) = recorded.torn {
        let text = format!(
            "line {line} of {} is torn and was left out",
            super::record::NAME
        );
        judged.notes.push(text);
    }
    judged
}

fn shown<'a>(
    cell: &'a Planned,
    came: Option<Came>,
    known: &'a [Issue],
    today: NaiveDate,
) -> Shown<'a> {
    let mut issue = None;
    let mut why = String::new();
    let colour = match &came {
        None => Colour::Left,
        Some(came) => {
            let by = came.by.as_ref();
            why = match (&cell.absent, by) {
                (Some(absent), _) => absent.why.clone(),
                (None, by) => by.map_or(String::new(), |ran| ran.why.clone()),
            };
            let fingerprint = by.and_then(|ran| ran.fingerprint.as_ref());
            issue = fingerprint
                .and_then(|print| known.iter().find(|issue| issue.fingerprint == print.id));
            match (came.ending, &cell.expect) {
                (Ending::Valid, Expected::Valid) => Colour::Green,
                (Ending::Invalid, Expected::Valid) => match issue {
                    Some(issue) if !issue.is_expired(today) => Colour::Known,
                    Some(issue) => {
                        why = format!("known until {} ({}): {why}", issue.until, issue.link);
                        Colour::Red
                    }
                    None => Colour::Red,
                },
                (Ending::Invalid, Expected::Invalid(kinds)) => {
                    let has = by.is_some_and(|ran| ran.anomalies.iter().any(|k| kinds.contains(k)));
                    match kinds.is_empty() || has {
                        true => Colour::Found,
                        false => {
                            why = format!("expected {}: {why}", kinds.join(" or "));
                            Colour::Red
                        }
                    }
                }
                (Ending::Valid, Expected::Invalid(_)) => Colour::Missed,
                _ => Colour::Grey,
            }
        }
    };
    Shown {
        cell,
        came,
        colour,
        issue,
        why,
    }
}

/// A canary is one combination: where no seed of it found anything, those that looked are silent.
/// What was not run may still find it.
fn judge_canaries(cells: &mut [Shown]) {
    let mut found: BTreeMap<(String, String, String), bool> = BTreeMap::new();
    let key = |cell: &Planned| {
        let (system, workload, nemesis) = cell.combo();
        (
            system.to_string(),
            workload.to_string(),
            nemesis.to_string(),
        )
    };
    for shown in cells.iter().filter(|s| s.cell.is_canary()) {
        let hit = matches!(shown.colour, Colour::Found | Colour::Left);
        *found.entry(key(shown.cell)).or_default() |= hit;
    }
    for shown in cells.iter_mut().filter(|s| s.colour == Colour::Missed) {
        if !found[&key(shown.cell)] {
            shown.colour = Colour::Silent;
            shown.why = "an anomaly was expected, and none was found".into();
        }
    }
}

impl Judged<'_> {
    pub fn count(&self, colour: Colour) -> usize {
        self.cells.iter().filter(|s| s.colour == colour).count()
    }

    pub fn of(&self, colour: Colour) -> impl Iterator<Item = &Shown<'_>> {
        self.cells.iter().filter(move |s| s.colour == colour)
    }

    /// Cells that ended so.
    pub fn ended(&self, ending: Ending) -> usize {
        let has = |s: &&Shown| s.came.as_ref().is_some_and(|came| came.ending == ending);
        self.cells.iter().filter(has).count()
    }

    /// Runs that went wrong before their cell had a result.
    pub fn infra_retried(&self) -> usize {
        let of = |s: &Shown| s.came.as_ref().map_or(0, |came| came.infra);
        self.cells.iter().map(of).sum()
    }

    /// Shards that are not there.
    pub fn without(&mut self, missing: Vec<usize>) {
        if !missing.is_empty() {
            let all = self.head.shard.1;
            let which: Vec<String> = missing.iter().map(usize::to_string).collect();
            let which = which.join(", ");
            let text = match missing.len() {
                1 => format!("shard {which} of {all} is missing, with all its cells"),
                _ => format!("shards {which} of {all} are missing, with all their cells"),
            };
            self.reason(Gate::Verdicts, text);
        }
        self.missing_shards = missing;
    }

    /// One more thing that keeps it from being green.
    pub fn because(&mut self, reason: Reason) {
        self.reasons.push(reason);
        self.reasons.sort_by_key(|reason| reason.gate);
    }

    fn reason(&mut self, gate: Gate, text: String) {
        self.because(Reason { gate, text });
    }

    fn weigh(&mut self, today: NaiveDate) {
        let red = self.count(Colour::Red);
        if red > 0 {
            self.reason(Gate::Red, format!("{} red", counted(red, "cell")));
        }
        for (id, why) in self.canaries() {
            self.reason(Gate::Canary, format!("canary {id}: {why}"));
        }
        let all = self.cells.len();
        let left = self.count(Colour::Left);
        if left > 0 {
            let text = format!("{left} of {} not run to the end", counted(all, "cell"));
            self.reason(Gate::Verdicts, text);
        }
        let told = self
            .cells
            .iter()
            .filter(|s| s.came.as_ref().is_some_and(|came| came.ending.is_verdict()));
        let told = told.count();
        // What was killed for memory counts neither way.
        let counted_in = all - self.ended(Ending::OutOfMemory);
        let share = 100.0 * told as f64 / counted_in.max(1) as f64;
        // A shard may have nothing to do.
        if all > 0 && left == 0 && (share < self.head.gate.verdicts || told == 0) {
            let wanted = self.head.gate.verdicts;
            let text = format!(
                "a verdict in {told} of {}, {share:.0} %: {wanted} % are wanted",
                counted(counted_in, "cell")
            );
            self.reason(Gate::Verdicts, text);
        }
        self.note(today);
    }

    /// Canaries that show nothing: none of their seeds found anything, or none had a verdict.
    fn canaries(&self) -> Vec<(String, &'static str)> {
        let mut combos: BTreeMap<(&str, &str, &str), Vec<Colour>> = BTreeMap::new();
        for shown in self.cells.iter().filter(|s| s.cell.is_canary()) {
            combos
                .entry(shown.cell.combo())
                .or_default()
                .push(shown.colour);
        }
        let bad = combos
            .into_iter()
            .filter_map(|((system, workload, nemesis), colours)| {
                let id = format!("{system}/{workload}/{nemesis}");
                match &colours {
                    c if c.contains(&Colour::Silent) => Some((id, "nothing was found")),
                    c if c.iter().all(|c| *c == Colour::Grey) => Some((id, "it has no verdict")),
                    _ => None,
                }
            });
        bad.collect()
    }

    fn note(&mut self, today: NaiveDate) {
        let mut notes = Vec::new();
        for ending in [Ending::Missing, Ending::NotOffered, Ending::OutOfMemory] {
            let n = self.ended(ending);
            if n > 0 {
                let mut whys: Vec<&str> = self
                    .cells
                    .iter()
                    .filter(|s| s.came.as_ref().is_some_and(|c| c.ending == ending))
                    .map(|s| s.why.as_str())
                    .collect();
                whys.sort_unstable();
                whys.dedup();
                let why = history::wording::listed(whys, 3);
                notes.push(format!("{} {}: {why}", counted(n, "cell"), ending.word()));
            }
        }
        for issue in &self.head.known {
            let seen = self.cells.iter().any(|s| s.issue == Some(issue));
            let (print, link) = (&issue.fingerprint, &issue.link);
            match (issue.is_expired(today), seen) {
                (true, true) => notes.push(format!(
                    "known issue {print} ({link}) was excused until {}, and is still there",
                    issue.until
                )),
                (true, false) if !self.is_whole() => {}
                (true, false) => notes.push(format!(
                    "known issue {print} ({link}) was excused until {}, and was not seen: take it out",
                    issue.until
                )),
                // Another shard may have seen it.
                (false, false) if !self.is_whole() => {}
                (false, false) => {
                    notes.push(format!("known issue {print} ({link}) was not seen in this night"));
                }
                (false, true) => {}
            }
        }
        if self.head.left_out > 0 {
            let left = counted(self.head.left_out, "cell");
            let are = either(self.head.left_out, "is", "are");
            notes.push(format!(
                "{left} of the matrix {are} not in the night: `schism matrix plan` says why"
            ));
        }
        self.notes.extend(notes);
    }

    /// Whether it is a night and not a shard of one.
    fn is_whole(&self) -> bool {
        self.head.shard.1 == 1 || self.head.shard.0 == 0
    }

    pub fn is_green(&self) -> bool {
        self.reasons.is_empty()
    }

    pub fn exit_code(&self) -> ExitCode {
        let worst = self.reasons.iter().map(|reason| reason.gate).min();
        ExitCode::from(worst.map_or(0, Gate::exit_code))
    }
}
