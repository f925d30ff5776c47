//! What of a night this machine cannot do, found before anything is run.

use std::collections::BTreeMap;
use std::path::Path;

use harness::doctor;
use history::Name;
use nemeses::schedule::{NemesisSpec, Schedule};
use workloads::params::Params;
use workloads::systems::{Setup, SetupError};

use super::cells::{Cell, Combo, Night};
use super::file;
use super::record::{Absent, Ending};
use crate::exit::Failure;
use crate::plan;
use crate::spec::Spec;

/// For each cell of the night, why this machine cannot do it, if so.
///
/// # Errors
/// What the system itself refuses, with the place in the file.
pub fn absent(night: &Night, store: &Path) -> Result<Vec<Option<Absent>>, Failure> {
    let mut here = Here::new(store);
    let mut combos = Vec::with_capacity(night.combos.len());
    for combo in &night.combos {
        combos.push(here.combo(combo).map_err(|why| at(night, combo, &why))?);
    }
    let of = |cell: &Cell| match &combos[cell.combo] {
        Found::Able => None,
        Found::Absent(absent) => Some(absent.clone()),
        Found::BySeed => here.seed(&night.spec(*cell)),
    };
    Ok(night.cells.iter().map(of).collect())
}

/// What is known of a combination.
#[derive(Clone)]
enum Found {
    Able,
    Absent(Absent),
    /// Some of its faults cannot be done, so it depends on which are drawn.
    BySeed,
}

/// This machine.
struct Here<'a> {
    store: &'a Path,
    /// Looked at when first asked for: it takes a second.
    offers: Option<BTreeMap<Name, Vec<String>>>,
    systems: BTreeMap<String, Option<Absent>>,
}

impl Here<'_> {
    fn new(store: &Path) -> Here<'_> {
        Here {
            store,
            offers: None,
            systems: BTreeMap::new(),
        }
    }

    fn combo(&mut self, combo: &Combo) -> Result<Found, String> {
        let (label, spec) = (&combo.label, &combo.spec);
        let key = format!("{label}\0{:?}\0{:?}", spec.params, spec.flaws);
        let missing = match self.systems.get(&key) {
            Some(known) => known.clone(),
            None => {
                let found = missing(combo)?;
                self.systems.insert(key, found.clone());
                found
            }
        };
        if let Some(absent) = missing {
            return Ok(Found::Absent(absent));
        }
        let needs = match &spec.nemesis {
            Some(nemesis) => nemesis
                .parse::<NemesisSpec>()
                .map_err(|e| e.to_string())?
                .needs(),
            None => schedule(spec)?.needs(),
        };
        if needs.values().all(|needs| needs.is_empty()) {
            return Ok(Found::Able);
        }
        let offers = self.offers.get_or_insert_with(|| {
            let offers = doctor::offers(&doctor::examine(self.store));
            BTreeMap::from([(Name::new("this machine"), offers)])
        });
        Ok(match nemeses::missing(&needs, offers).is_empty() {
            true => Found::Able,
            false => Found::BySeed,
        })
    }

    /// The faults of one run, against what this machine offers.
    fn seed(&self, spec: &Spec) -> Option<Absent> {
        let needs = schedule(spec).ok()?.needs();
        let lacking = nemeses::missing(&needs, self.offers.as_ref()?);
        Some(Absent {
            ending: Ending::NotOffered,
            why: lacking.first()?.to_string(),
        })
    }
}

fn schedule(spec: &Spec) -> Result<Schedule, String> {
    let entry = spec.entry().map_err(|e| e.to_string())?;
    plan::schedule(spec, entry).map_err(|e| e.to_string())
}

fn missing(combo: &Combo) -> Result<Option<Absent>, String> {
    let missing = |why: String| {
        Some(Absent {
            ending: Ending::Missing,
            why,
        })
    };
    if let Some(program) = &combo.program {
        use std::os::unix::fs::PermissionsExt;
        let there = program.metadata();
        let runs = there.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        // What it says of itself is heard in its runs.
        return Ok(match runs {
            true => None,
            false => missing(format!("{} is no program", program.display())),
        });
    }
    let entry = combo.spec.entry().map_err(|e| e.to_string())?;
    let given = combo
        .spec
        .params
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()));
    let workload = entry
        .workload_named(&combo.spec.workload)
        .map_err(|e| e.to_string())?;
    let (params, _) =
        Params::resolve_both(entry.params, &workload.params(), given).map_err(|e| e.to_string())?;
    let setup = Setup {
        params,
        flaws: combo.spec.flaws.clone(),
        seed: combo.spec.seed,
        workload: combo.spec.workload.clone(),
    };
    match entry.set_up(&setup) {
        Ok(_) => Ok(None),
        Err(e @ SetupError::NoProgram { .. }) => Ok(missing(e.to_string())),
        Err(e) => Err(e.to_string()),
    }
}

fn at(night: &Night, combo: &Combo, why: &str) -> Failure {
    let path = &night.path;
    let text = file::text(path).unwrap_or_default();
    let wrong = file::wrong(combo.at.clone(), why);
    Failure::Usage(file::complaints(path, &text, vec![wrong]))
}
