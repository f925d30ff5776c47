//! What a proof came to: a row for each scenario, as Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use checkers::Verdict;
use history::store::Store;
use history::wording::{counted, either};
use workloads::scenario::Scenario;

use super::{Entry, Made, found, runs};
use crate::judged::Outcome;
use crate::matrix::fingerprint::{self, Fingerprint};

pub struct Table<'a> {
    entries: &'a [Entry],
    made: &'a [Made<'a>],
    /// Nemeses that scenarios do not ask for.
    others: &'a [String],
    /// By scenario: how a night would know its flaw again, and how many runs each.
    prints: Vec<BTreeMap<String, (Fingerprint, usize)>>,
}

impl<'a> Table<'a> {
    pub fn new(
        entries: &'a [Entry],
        made: &'a [Made<'a>],
        others: &'a [String],
        store: &Store,
    ) -> Table<'a> {
        let prints = entries.iter().map(|entry| {
            let mut prints = BTreeMap::new();
            for outcome in runs(made, entry, false, None) {
                let run = store.open(&outcome.run).ok();
                let print = run.and_then(|run| fingerprint::of_run(&run).ok().flatten());
                if let Some(print) = print.filter(|_| found(entry, outcome)) {
                    prints.entry(print.id.clone()).or_insert((print, 0)).1 += 1;
                }
            }
            prints
        });
        Table {
            entries,
            made,
            others,
            prints: prints.collect(),
        }
    }

    fn own(&self, entry: &Entry) -> Vec<&'a Outcome> {
        runs(self.made, entry, false, None)
    }

    /// In how many of its runs a flaw was found, under a nemesis other than its own or under that.
    fn share(&self, entry: &Entry, nemesis: Option<&str>) -> String {
        let of = runs(self.made, entry, false, nemesis);
        let hits = of.iter().filter(|outcome| found(entry, outcome)).count();
        match of.len() {
            0 => "-".into(),
            all => format!("{hits} of {all}"),
        }
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, entry: &Entry, prints: usize) -> fmt::Result {
        let own = self.own(entry);
        let hits: Vec<&&Outcome> = own.iter().filter(|o| found(entry, o)).collect();
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for kind in hits.iter().filter_map(|o| o.anomalies.first()) {
            *kinds.entry(kind).or_default() += 1;
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let kinds: Vec<_> = kinds.into_iter().map(|(kind, _)| kind).collect();
        write!(
            f,
            "| {} | {} | {} | {} | {} | {prints} |",
            entry.name,
            fault(&entry.scenario),
            self.share(entry, None),
            median(hits.iter().filter_map(|o| o.found_at_s).collect()),
            kinds.join(", "),
        )?;
        for other in self.others {
            write!(f, " {} |", self.share(entry, Some(other)))?;
        }
        writeln!(f)
    }

    fn clean(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.iter();
        let clean: Vec<&Outcome> = entries
            .flat_map(|entry| runs(self.made, entry, true, None))
            .collect();
        let count = |v| clean.iter().filter(|o| o.verdict == v).count();
        writeln!(
            f,
            "\nClean twins: {}, {} ({} valid, {} unknown, {} vacuous, {} infra).",
            counted(clean.len(), "run"),
            counted(count(Verdict::Invalid), "false alarm"),
            count(Verdict::Valid),
            count(Verdict::Unknown),
            count(Verdict::Vacuous),
            count(Verdict::Infra),
        )
    }

    /// A known issue is known by its fingerprint: more than one for a flaw, and it is not known in
    /// every night; one for two flaws, and a new one passes for it.
    fn fingerprints(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut owners: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (entry, prints) in self.entries.iter().zip(&self.prints) {
            for id in prints.keys() {
                owners.entry(id).or_default().insert(&entry.name);
            }
            if prints.len() > 1 {
                writeln!(f, "\nFingerprints of {}:\n", entry.name)?;
                for (print, times) in prints.values() {
                    let times = counted(*times, "run");
                    writeln!(
                        f,
                        "- {} ({times}): {}, {}",
                        print.id, print.kind, print.shape
                    )?;
                }
            }
        }
        for (id, owners) in owners.iter().filter(|(_, owners)| owners.len() > 1) {
            let owners: Vec<&str> = owners.iter().copied().collect();
            writeln!(f, "\n{} share the fingerprint {id}.", owners.join(" and "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| flaw | its fault | found | median s to find | shown by | fingerprints |"
        )?;
        for other in self.others {
            write!(f, " {other} |")?;
        }
        writeln!(f, "\n|{}", " --- |".repeat(6 + self.others.len()))?;
        for (entry, prints) in self.entries.iter().zip(&self.prints) {
            self.row(f, entry, prints.len())?;
        }
        self.clean(f)?;
        self.fingerprints(f)?;
        let broken = self.made.iter().filter(|m| m.outcome.is_err()).count();
        if broken > 0 {
            writeln!(
                f,
                "\n{} gave no result and {} not counted.",
                counted(broken, "run"),
                either(broken, "is", "are")
            )?;
        }
        Ok(())
    }
}

/// What a scenario does to its system: drawn faults by their families, others by their file.
fn fault(scenario: &Scenario) -> String {
    let file = scenario.schedule.as_deref().and_then(Path::file_name);
    match file {
        Some(file) => file.to_string_lossy().into_owned(),
        None if scenario.nemesis.is_empty() => "none".into(),
        None => scenario.nemesis.clone(),
    }
}

fn median(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values.get(values.len() / 2) {
        Some(value) => format!("{value:.0}"),
        None => "-".into(),
    }
}
