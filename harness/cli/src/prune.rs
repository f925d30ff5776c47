//! `schism prune`: old runs go, and so do unpacked images. What somebody may still want to see or
//! to run stays.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use checkers::Verdict;
use clap::Args;
use history::store::{Run, Store};
use history::wording::counted;
use workloads::image::cache;

use crate::exit::Failure;
use crate::flags::{self, StoreArgs};
use crate::judged::load_results;
use crate::terminal;

#[derive(Debug, Args)]
#[command(
    after_help = "Runs that still go on are not removed. Nights are not removed either, because they are small. Unpacked images are in \
$XDG_CACHE_HOME/schism/images, and are unpacked again by the next run that wants them. Without --keep, --cap and \
--images nothing is removed."
)]
pub struct PruneArgs {
    /// Keep runs that are younger than this, and remove the others: `30d`, `12h`
    #[arg(long, value_parser = age, value_name = "AGE")]
    pub keep: Option<Duration>,
    /// Keep invalid runs, however old
    #[arg(long)]
    pub keep_red: bool,
    /// Remove the oldest of the rest, until the runs take no more MiB than this
    #[arg(long, value_name = "MIB")]
    pub cap: Option<u64>,
    /// Remove unpacked images that no run has used for so long
    #[arg(long, value_parser = age, value_name = "AGE")]
    pub images: Option<Duration>,
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Days and hours, beside what is shorter.
fn age(text: &str) -> Result<Duration, String> {
    let unit = |end: char, seconds: u64| {
        let n: u64 = text.strip_suffix(end)?.parse().ok()?;
        n.checked_mul(seconds).map(Duration::from_secs)
    };
    let long = unit('d', 24 * 3600).or_else(|| unit('h', 3600));
    long.map_or_else(
        || flags::duration(text).map_err(|_| "write it like `30d` or `12h`".into()),
        Ok,
    )
}

/// A run that may go.
struct Found {
    run: Run,
    /// Since its specification was written, which is before anything was run.
    age: Duration,
    bytes: u64,
    stays: bool,
}

pub fn command(args: &PruneArgs) -> Result<ExitCode, Failure> {
    if args.keep.is_none() && args.cap.is_none() && args.images.is_none() {
        return Err(Failure::Usage(
            "say what may go: --keep AGE, --cap MIB, --images AGE, or more of them".into(),
        ));
    }
    prune_runs(args)?;
    prune_images(args)?;
    Ok(ExitCode::SUCCESS)
}

fn prune_runs(args: &PruneArgs) -> Result<(), Failure> {
    let store = Store::new(&args.store.store);
    let runs = store.list().map_err(Failure::infra)?;
    let mut found: Vec<Found> = runs.into_iter().map(|run| look(run, args)).collect();
    // The oldest first.
    found.sort_by_key(|found| std::cmp::Reverse(found.age));
    let mut total: u64 = found.iter().map(|found| found.bytes).sum();
    let (mut gone, mut freed) = (0, 0);
    for found in found.iter().filter(|found| !found.stays) {
        let old = args.keep.is_some_and(|keep| found.age >= keep);
        let over = args.cap.is_some_and(|cap| total > cap << 20);
        if !old && !over {
            continue;
        }
        if !args.dry_run {
            remove(&store, &found.run)?;
        }
        terminal::line(format!("{}  {} MiB", found.run.name(), found.bytes >> 20));
        total -= found.bytes;
        freed += found.bytes;
        gone += 1;
    }
    tell(args, "run", (gone, freed), (found.len() - gone, total));
    Ok(())
}

/// How many went and how many stayed, with their bytes.
fn tell(args: &PruneArgs, what: &str, gone: (usize, u64), left: (usize, u64)) {
    terminal::tell(format!(
        "{} {}, {} MiB; {} left, {} MiB",
        counted(gone.0, what),
        if args.dry_run { "would go" } else { "gone" },
        gone.1 >> 20,
        counted(left.0, what),
        left.1 >> 20
    ));
}

fn prune_images(args: &PruneArgs) -> Result<(), Failure> {
    // Where nobody says where caches are, nothing was unpacked.
    let Ok(cache) = cache::folder() else {
        return Ok(());
    };
    let found = cache::list(&cache).map_err(Failure::Infra)?;
    if found.is_empty() {
        return Ok(());
    }
    let (mut gone, mut left) = ((0, 0), (0, 0));
    for kept in &found {
        let folders = kept.folders();
        let sizes: Vec<u64> = folders.iter().map(|folder| bytes(folder)).collect();
        let size = sizes.iter().sum::<u64>();
        let old = args.images.is_some_and(|age| kept.age >= age);
        // Held until it is gone, so that no run begins with half of it.
        let claimed = match old {
            true => kept.claim().map_err(Failure::infra)?,
            false => None,
        };
        let counts = match claimed {
            Some(_) => &mut gone,
            None => &mut left,
        };
        *counts = (counts.0 + 1, counts.1 + size);
        for (folder, bytes) in folders.iter().zip(sizes).filter(|_| claimed.is_some()) {
            terminal::line(format!("{}  {} MiB", folder.display(), bytes >> 20));
            if !args.dry_run {
                remove_all(folder)?;
            }
        }
    }
    tell(args, "unpacked image", gone, left);
    if args.images.is_none() {
        terminal::tell("--images AGE removes unpacked images that were not used for so long");
    }
    Ok(())
}

fn look(run: Run, args: &PruneArgs) -> Found {
    let written = fs::metadata(run.spec()).and_then(|spec| spec.modified());
    // A clock that was put back makes nothing old.
    let age = written
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    let red =
        args.keep_red && load_results(&run).is_ok_and(|judged| judged.verdict == Verdict::Invalid);
    Found {
        age: age.unwrap_or_default(),
        bytes: bytes(run.path()),
        stays: red || run.is_live(),
        run,
    }
}

/// Of all files in the folder; links count as nothing, and lead nowhere.
fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let of = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
        _ => 0,
    };
    entries.flatten().map(of).sum()
}

/// Lets the owner into every folder. Daemons leave some that not even he may open, and overlays do;
/// an ordinary user could not remove them. Where that fails, removing tells.
fn open_up(folder: &Path) {
    let owner = 0o700;
    if let Ok(found) = fs::symlink_metadata(folder)
        && found.permissions().mode() & owner != owner
    {
        let _ = fs::set_permissions(folder, Permissions::from_mode(owner));
    }
    let inner = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        open_up(&entry.path());
    }
}

/// Renamed first, so that what was interrupted is no run any more.
fn remove(store: &Store, run: &Run) -> Result<(), Failure> {
    let aside = store.root().join(format!(".pruned-{}", run.name()));
    fs::rename(run.path(), &aside).map_err(cannot_remove(run.path()))?;
    remove_all(&aside)?;
    let latest = store.root().join("latest");
    if fs::read_link(&latest).is_ok_and(|to| to == Path::new(&run.name())) {
        fs::remove_file(&latest).map_err(cannot_remove(&latest))?;
    }
    Ok(())
}

fn remove_all(folder: &Path) -> Result<(), Failure> {
    open_up(folder);
    fs::remove_dir_all(folder).map_err(cannot_remove(folder))
}

fn cannot_remove(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    move |e| Failure::Infra(format!("cannot remove {}: {e}", path.display()))
}
