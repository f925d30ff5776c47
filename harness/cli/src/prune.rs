//! `schism prune`: old runs go, and those that somebody may still want to see stay.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use checkers::Verdict;
use clap::Args;
use history::store::{Run, Store};
use history::wording::counted;

use crate::exit::Failure;
use crate::flags::{self, StoreArgs};
use crate::judged::load_results;
use crate::terminal;

#[derive(Debug, Args)]
#[command(
    after_help = "A run that still goes on stays, and so do nights, which are small. Without --keep and --cap \
nothing is removed."
)]
pub struct PruneArgs {
    /// Runs that are younger stay: `30d`, `12h`
    #[arg(long, value_parser = age, value_name = "AGE")]
    pub keep: Option<Duration>,
    /// Runs that are invalid stay, however old
    #[arg(long)]
    pub keep_red: bool,
    /// Of those that are left the oldest go, until the runs take no more MiB than this
    #[arg(long, value_name = "MIB")]
    pub cap: Option<u64>,
    /// Only say what would go
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
    if args.keep.is_none() && args.cap.is_none() {
        return Err(Failure::Usage(
            "say what may go: --keep AGE, --cap MIB, or both".into(),
        ));
    }
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
    let what = if args.dry_run { "would go" } else { "gone" };
    terminal::tell(format!(
        "{} {what}, {} MiB; {} left, {} MiB",
        counted(gone, "run"),
        freed >> 20,
        counted(found.len() - gone, "run"),
        total >> 20
    ));
    Ok(ExitCode::SUCCESS)
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
    let fail =
        |e: std::io::Error| Failure::Infra(format!("cannot remove {}: {e}", run.path().display()));
    let aside = store.root().join(format!(".pruned-{}", run.name()));
    fs::rename(run.path(), &aside).map_err(fail)?;
    open_up(&aside);
    fs::remove_dir_all(&aside).map_err(fail)?;
    let latest = store.root().join("latest");
    if fs::read_link(&latest).is_ok_and(|to| to == Path::new(&run.name())) {
        fs::remove_file(&latest).map_err(fail)?;
    }
    Ok(())
}
