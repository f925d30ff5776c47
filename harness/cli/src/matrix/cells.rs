//! From a matrix's file to its cells: who goes with whom, what cannot, and in which order.
//!
//! Nothing here depends on the machine, so every shard of a night has the same cells.

mod combine;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::nearest::nearest;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::combine::Combining;
use super::file::{self, Gate, Matrix, Pattern, VERSION, Wrong, wrong};
use super::known::{self, Issue};
use crate::exit::Failure;
use crate::run::Keep;
use crate::spec::{Machine, Spec};

/// A night's work.
#[derive(Debug)]
pub struct Night {
    pub path: PathBuf,
    pub name: String,
    pub combos: Vec<Combo>,
    /// In the order in which they are run.
    pub cells: Vec<Cell>,
    pub left_out: Vec<LeftOut>,
    pub gate: Gate,
    pub known: Vec<Issue>,
    pub jobs: Option<usize>,
    pub keep: Keep,
    /// How long a shard may take.
    pub budget: Option<Duration>,
}

/// Cells that differ in their seeds only.
#[derive(Clone, Debug)]
pub struct Combo {
    pub label: String,
    pub workload: String,
    pub nemesis: String,
    /// Of the first seed.
    pub spec: Spec,
    /// Which program the system is, if it is not the one that is found by itself.
    pub program: Option<PathBuf>,
    pub expect: Expected,
    pub weight: f64,
    pub seeds: Vec<u64>,
    /// What a cell takes.
    pub takes: Duration,
    /// Where it stands in the file.
    pub at: std::ops::Range<usize>,
}

/// What a cell is to end as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    #[default]
    Valid,
    /// A canary: an anomaly, of one of these kinds if any is named.
    Invalid(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Place in [`Night::combos`].
    pub combo: usize,
    pub seed: u64,
}

/// Cells that are not in the night.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub what: String,
    pub why: String,
    pub cells: usize,
}

impl Combo {
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.label, self.workload, self.nemesis)
    }

    pub fn is_canary(&self) -> bool {
        self.expect != Expected::Valid
    }

    fn matches(&self, system: &Name, workload: &Name, nemesis: &Name) -> bool {
        let says = |wanted: &Name, is: &str| wanted.as_ref().is_none_or(|w| w.get_ref() == is);
        says(system, &self.label) && says(workload, &self.workload) && says(nemesis, &self.nemesis)
    }
}

type Name = Option<toml::Spanned<String>>;

impl fmt::Display for Combo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

impl Night {
    /// Reads the file and says all that is wrong with it. A night over so many shards has the more
    /// time the more there are.
    pub fn read(path: &Path, shards: usize) -> Result<Night, Failure> {
        let text = file::text(path).map_err(Failure::Usage)?;
        let said = |wrongs| Failure::Usage(file::complaints(path, &text, wrongs));
        let matrix: Matrix = file::parse(&text).map_err(|wrong| said(vec![wrong]))?;
        let mut wrongs = Vec::new();
        check(&matrix, &mut wrongs);
        let known = known_issues(path, &matrix, &mut wrongs)?;
        let combining = Combining::new(path, &matrix);
        let (mut combos, mut left_out) = combining.combine(&mut wrongs);
        if wrongs.is_empty() {
            exclude(&matrix, &text, &mut combos, &mut left_out, &mut wrongs);
            weigh(&matrix, &mut combos, &mut wrongs);
            twice(&combos, &mut wrongs);
        }
        if wrongs.is_empty() && combos.is_empty() {
            wrongs.push(nothing(&left_out));
        }
        if !wrongs.is_empty() {
            return Err(said(wrongs));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut night = Night {
            path: path.to_path_buf(),
            name: matrix.name.map_or(stem.into(), |name| name.into_inner()),
            cells: ordered(&combos),
            combos,
            left_out,
            gate: matrix.gate,
            known,
            jobs: matrix.jobs.map(|jobs| jobs.into_inner()),
            keep: matrix.keep,
            budget: matrix.budget.map(|budget| budget.0),
        };
        night.keep_within_budget(shards);
        Ok(night)
    }

    pub fn combo(&self, cell: Cell) -> &Combo {
        &self.combos[cell.combo]
    }

    pub fn id(&self, cell: Cell) -> String {
        format!("{}/{}", self.combo(cell).id(), cell.seed)
    }

    /// What is to be run.
    pub fn spec(&self, cell: Cell) -> Spec {
        Spec {
            seed: cell.seed,
            ..self.combo(cell).spec.clone()
        }
    }

    /// What all cells take, one after the other.
    pub fn takes(&self) -> Duration {
        self.cells.iter().map(|cell| self.combo(*cell).takes).sum()
    }

    /// A night is told from others by what it asks: its cells, and what is expected of them.
    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        for combo in &self.combos {
            let spec = Spec {
                created: String::new(),
                machine: Machine {
                    kernel: String::new(),
                    arch: String::new(),
                    cores: 0,
                },
                ..combo.spec.clone()
            };
            // As the file has it: machines may keep the file in different folders.
            let folder = self.path.parent().unwrap_or(Path::new(""));
            let program = combo.program.as_deref();
            let program = program.map(|path| path.strip_prefix(folder).unwrap_or(path));
            let whole = (combo.id(), spec, &combo.expect, program);
            let whole = serde_json::to_vec(&whole).expect("it has only text keys");
            hash.update(whole);
        }
        for cell in &self.cells {
            hash.update((cell.combo as u64).to_le_bytes());
            hash.update(cell.seed.to_le_bytes());
        }
        let digest = hash.finalize();
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Cells that would come too late are left out, the last ones first.
    fn keep_within_budget(&mut self, shards: usize) {
        let Some(budget) = self.budget else { return };
        let capacity = budget * (shards * self.jobs.unwrap_or(1)) as u32;
        let mut sum = Duration::ZERO;
        let combos = &self.combos;
        let within = self.cells.iter().take_while(|cell| {
            sum += combos[cell.combo].takes;
            sum <= capacity
        });
        let within = within.count();
        let beyond = self.cells.split_off(within);
        let places: BTreeSet<usize> = beyond.iter().map(|cell| cell.combo).collect();
        self.left_out
            .extend(places.into_iter().map(|combo| LeftOut {
                what: self.combos[combo].id(),
                why: "beyond the budget".into(),
                cells: beyond.iter().filter(|cell| cell.combo == combo).count(),
            }));
    }
}

fn check(matrix: &Matrix, wrongs: &mut Vec<Wrong>) {
    let version = *matrix.version.get_ref();
    if version != VERSION {
        let message =
            format!("the matrix is of version {version}, and this program reads {VERSION}");
        wrongs.push(wrong(matrix.version.span(), message));
    }
    if let Some(name) = &matrix.name {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let text = name.get_ref();
        if text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
            let message = "a name is made of letters, digits, `-`, `_` and `.`: folders have it";
            wrongs.push(wrong(name.span(), message));
        }
    }
    if let Some(jobs) = matrix.jobs.as_ref().filter(|jobs| *jobs.get_ref() == 0) {
        wrongs.push(wrong(jobs.span(), "jobs: at least one at a time"));
    }
    let share = matrix.gate.verdicts;
    if !(0.0..=100.0).contains(&share) {
        let message = format!("[gate] verdicts = {share}: a share in per cent, 0 to 100");
        wrongs.push(wrong(0..0, message));
    }
    if matrix.system.is_empty() && matrix.include.is_empty() {
        let message = "there is nothing in it: add a [[system]] or an [[include]], or let \
            `schism matrix init` write one";
        wrongs.push(wrong(0..0, message));
    }
}

fn known_issues(
    path: &Path,
    matrix: &Matrix,
    wrongs: &mut Vec<Wrong>,
) -> Result<Vec<Issue>, Failure> {
    let Some(file) = &matrix.known else {
        return Ok(Vec::new());
    };
    let beside = path.with_file_name(file.get_ref());
    if !beside.exists() {
        let message = format!("there is no {}", beside.display());
        wrongs.push(wrong(file.span(), message));
        return Ok(Vec::new());
    }
    known::read(&beside)
}

/// Takes away what patterns say.
fn exclude(
    matrix: &Matrix,
    text: &str,
    combos: &mut Vec<Combo>,
    left_out: &mut Vec<LeftOut>,
    wrongs: &mut Vec<Wrong>,
) {
    let included: BTreeSet<usize> = matrix.include.iter().map(|i| i.span().start).collect();
    for spanned in &matrix.exclude {
        let pattern: &Pattern = spanned.get_ref();
        let (line, _) = file::place(text, spanned.span().start);
        let why = match &pattern.why {
            Some(why) => format!("excluded in line {line}: {why}"),
            None => format!("excluded in line {line}"),
        };
        let mut hit = false;
        for combo in combos.iter_mut() {
            if !combo.matches(&pattern.system, &pattern.workload, &pattern.nemesis) {
                continue;
            }
            let before = combo.seeds.len();
            combo
                .seeds
                .retain(|seed| pattern.seed.is_some_and(|s| s != *seed));
            let cells = before - combo.seeds.len();
            if cells == 0 {
                continue;
            }
            hit = true;
            if included.contains(&combo.at.start) {
                let (other, _) = file::place(text, combo.at.start);
                let message = format!(
                    "this excludes {combo}, which line {other} includes: take one of them away"
                );
                wrongs.push(wrong(spanned.span(), message));
            }
            let what = match pattern.seed {
                Some(seed) => format!("{combo}/{seed}"),
                None => combo.id(),
            };
            let why = why.clone();
            left_out.push(LeftOut { what, why, cells });
        }
        if !hit {
            let there = combos.iter().map(Combo::id);
            let near = pattern.nearest(combos).map_or_else(
                || format!("there are {}", history::wording::listed(there, 6)),
                |near| format!("did you mean {near:?}?"),
            );
            let message = format!("this excludes nothing: {near}");
            wrongs.push(wrong(spanned.span(), message));
        }
    }
    combos.retain(|combo| !combo.seeds.is_empty());
}

impl Pattern {
    /// What a name of it may have been meant to be.
    fn nearest(&self, combos: &[Combo]) -> Option<String> {
        let of = |name: &Name, is: fn(&Combo) -> &str| {
            let name = name.as_ref()?.get_ref();
            let known = combos.iter().map(is);
            match known.clone().any(|k| k == name) {
                true => None,
                false => nearest(name, known).map(str::to_string),
            }
        };
        let system = of(&self.system, |c| &c.label);
        let workload = || of(&self.workload, |c| &c.workload);
        let nemesis = || of(&self.nemesis, |c| &c.nemesis);
        system.or_else(workload).or_else(nemesis)
    }
}

fn weigh(matrix: &Matrix, combos: &mut [Combo], wrongs: &mut Vec<Wrong>) {
    for spanned in &matrix.weight {
        let weight = spanned.get_ref();
        let factor = *weight.weight.get_ref();
        if !(factor.is_finite() && factor > 0.0) {
            wrongs.push(wrong(weight.weight.span(), "a weight is above zero"));
        }
        let mut hit = false;
        for combo in combos.iter_mut() {
            if combo.matches(&weight.system, &weight.workload, &weight.nemesis) {
                combo.weight *= factor;
                hit = true;
            }
        }
        if !hit {
            wrongs.push(wrong(spanned.span(), "this weighs nothing of the matrix"));
        }
    }
}

fn twice(combos: &[Combo], wrongs: &mut Vec<Wrong>) {
    let mut seen = BTreeSet::new();
    for combo in combos {
        if !seen.insert(combo.id()) {
            let message = format!("{combo} is there twice: give one of them a `label`");
            wrongs.push(wrong(combo.at.clone(), message));
        }
    }
}

fn nothing(left_out: &[LeftOut]) -> Wrong {
    let first = left_out.first();
    let why = first.map_or(String::new(), |l| format!("; {}: {}", l.what, l.why));
    wrong(0..0, format!("no cell is left in it{why}"))
}

/// Canaries first, for without them nobody knows what green means; then by turns, so that a night
/// that is cut short has a little of everything, and more of what weighs more.
fn ordered(combos: &[Combo]) -> Vec<Cell> {
    let mut cells: Vec<((bool, f64), Cell)> = Vec::new();
    for (combo, of) in combos.iter().enumerate() {
        cells.extend(of.seeds.iter().enumerate().map(|(nth, seed)| {
            let turn = (nth + 1) as f64 / of.weight;
            ((!of.is_canary(), turn), Cell { combo, seed: *seed })
        }));
    }
    cells.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    cells.into_iter().map(|(_, cell)| cell).collect()
}
