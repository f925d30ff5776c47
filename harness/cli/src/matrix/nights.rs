//! The nights of a store, for whoever looks at many of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::gate::{Colour, Judged, judge};
use super::record::{self, Ending, Purpose, Recorded};
use super::today;
use super::trend::median;

/// What a night came to.
pub struct Night {
    /// Its folder's name.
    pub folder: String,
    /// What its matrix is called.
    pub name: String,
    pub started: String,
    pub green: bool,
    pub colours: Vec<(Colour, usize)>,
    /// Medians over the first runs that were valid.
    pub figures: BTreeMap<String, f64>,
}

/// One that cannot be read, and why.
pub struct Unread {
    pub folder: String,
    pub why: String,
}

/// Every night of a store, by the time at which it began.
pub fn all(store: &Path) -> Vec<Result<Night, Unread>> {
    let entries = fs::read_dir(root(store)).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut nights: Vec<_> = folders
        .filter(|entry| entry.path().join(record::NAME).exists())
        .map(|entry| {
            let folder = entry.file_name().to_string_lossy().into_owned();
            match record::read(&entry.path().join(record::NAME)) {
                Ok(recorded) => Ok(night(folder, &recorded)),
                Err(why) => Err(Unread { folder, why }),
            }
        })
        .collect();
    nights.sort_by_key(|night| match night {
        Ok(night) => (night.started.clone(), night.folder.clone()),
        Err(unread) => (String::new(), unread.folder.clone()),
    });
    nights
}

/// Where they are.
pub fn root(store: &Path) -> PathBuf {
    store.join("nights")
}

/// What is recorded in a night's folder, judged as of today.
///
/// # Errors
/// What is wrong with its file.
pub fn read(folder: &Path) -> Result<Recorded, String> {
    record::read(&folder.join(record::NAME))
}

pub fn judged(recorded: &Recorded) -> Judged<'_> {
    judge(recorded, today())
}

fn night(folder: String, recorded: &Recorded) -> Night {
    let judged = judged(recorded);
    let colours = Colour::ALL.map(|colour| (colour, judged.count(colour)));
    Night {
        folder,
        name: recorded.head.name.clone(),
        started: recorded.head.started.clone(),
        green: judged.is_green(),
        colours: colours.into_iter().filter(|(_, n)| *n > 0).collect(),
        figures: figures(recorded),
    }
}

fn figures(recorded: &Recorded) -> BTreeMap<String, f64> {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let valid = recorded
        .runs
        .iter()
        .filter(|ran| ran.ending == Ending::Valid && ran.purpose != Purpose::Confirm);
    for (figure, value) in valid.flat_map(|ran| &ran.figures) {
        values.entry(figure).or_default().push(*value);
    }
    let medians = values.into_iter();
    medians
        .map(|(figure, values)| (figure.to_string(), median(&values)))
        .collect()
}
