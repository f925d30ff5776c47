//! `schism pack` and `unpack`: a run as one file, to be sent to somebody or kept with a night.
//!
//! `RUN.tar.zst` has the run's folder without the nodes' data folders, and the history as text, so
//! that `tar` and `zstd` read all of it. What nodes wrote into their logs is in the history once
//! more, far from there: a long window finds it. A file that is unpacked may be anybody's: it has
//! one folder, plain files in it, and no name that leads elsewhere; and it is in the store whole or
//! not at all.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use history::file::NewFile;
use history::frames::{self, Frames};
use history::store::{Run, Store};
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::spec::Spec;
use crate::terminal;

/// A second for each MB, and seven tenths of what level 12 comes to:
/// `harness/docs/measurements.md`.
const LEVEL: i32 = 19;
/// So far back, as a power of two, a repetition is found. Reading takes as much memory.
const WINDOW_LOG: u32 = 27;
/// The history's name in the file, as text.
const HISTORY: &str = "history.jsonl";
/// What a file may come to, of whosever run it is.
const MOST_BYTES: u64 = 16 << 30;
const MOST_FILES: usize = 100_000;

#[derive(Debug, Args)]
pub struct PackArgs {
    /// A run's name, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// Write it here [default: the run's name with .tar.zst]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Args)]
pub struct UnpackArgs {
    /// What `schism pack` wrote
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub store: StoreArgs,
}

pub fn pack(args: &PackArgs) -> Result<ExitCode, Failure> {
    let run = Store::new(&args.store.store)
        .open(&args.run)
        .map_err(Failure::usage)?;
    // What is no run is not packed as one.
    Spec::load(&run)?;
    if run.is_live() {
        return Err(Failure::Usage(format!("{} still goes on", run.name())));
    }
    let path = match &args.output {
        Some(path) => path.clone(),
        None => PathBuf::from(format!("{}.tar.zst", run.name())),
    };
    let fail = |e: io::Error| Failure::Infra(format!("cannot pack {}: {e}", run.path().display()));
    let (before, after) = write(&run, &path).map_err(fail)?;
    terminal::line(format!(
        "{}  {} of {} KiB",
        path.display(),
        after.div_ceil(1 << 10),
        before.div_ceil(1 << 10)
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes the file; bytes before and after.
fn write(run: &Run, path: &Path) -> io::Result<(u64, u64)> {
    let mut file = NewFile::at(path)?;
    let mut zstd = Encoder::new(BufWriter::new(&mut file), LEVEL)?;
    zstd.long_distance_matching(true)?;
    zstd.window_log(WINDOW_LOG)?;
    zstd.include_checksum(true)?;
    let mut tar = tar::Builder::new(zstd);
    tar.follow_symlinks(false);
    let mut before = 0;
    add(&mut tar, run.path(), Path::new(&run.name()), &mut before)?;
    tar.into_inner()?.finish()?.flush()?;
    file.keep()?;
    Ok((before, fs::metadata(path)?.len()))
}

/// A folder with all that is in it, but for data folders, links and whatever else is no file.
fn add<W: Write>(
    tar: &mut tar::Builder<W>,
    folder: &Path,
    name: &Path,
    bytes: &mut u64,
) -> io::Result<()> {
    tar.append_dir(name, folder)?;
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = name.join(entry.file_name());
        let of_node = name.iter().nth(1).is_some_and(|part| part == "nodes");
        if kind.is_dir() {
            if !(of_node && name.iter().count() == 4 && entry.file_name() == "data") {
                add(tar, &path, &name, bytes)?;
            }
        } else if name.iter().count() == 2 && path == Run::at(folder).history() {
            *bytes += add_history(tar, &path, &name.with_file_name(HISTORY))?;
        } else if kind.is_file() {
            let mut file = File::open(&path)?;
            *bytes += file.metadata()?.len();
            tar.append_file(&name, &mut file)?;
        }
    }
    Ok(())
}

/// The history's text. It is read twice: its length comes before it.
fn add_history<W: Write>(tar: &mut tar::Builder<W>, path: &Path, name: &Path) -> io::Result<u64> {
    let text = || frames::text(BufReader::new(File::open(path)?));
    let bytes = io::copy(&mut text()?, &mut io::sink())?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&fs::metadata(path)?);
    header.set_size(bytes);
    tar.append_data(&mut header, name, text()?)?;
    Ok(bytes)
}

pub fn unpack(args: &UnpackArgs) -> Result<ExitCode, Failure> {
    let store = &args.store.store;
    fs::create_dir_all(store)
        .map_err(|e| Failure::Infra(format!("cannot make {}: {e}", store.display())))?;
    for file in &args.files {
        let run = unpack_one(file, store)
            .map_err(|why| Failure::Usage(format!("{}: {why}", file.display())))?;
        terminal::line(format!("unpacked {}", run.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn unpack_one(path: &Path, store: &Path) -> Result<PathBuf, String> {
    let file = history::file::open(path).map_err(|e| e.to_string())?;
    // Gone, with all that is in it, unless it is put in its place.
    let aside = tempfile::Builder::new()
        .prefix(".unpack-")
        .tempdir_in(store)
        .map_err(|e| e.to_string())?;
    let plain = Decoder::new(file).map_err(|e| e.to_string())?;
    let plain = plain.take(MOST_BYTES);
    let mut tar = tar::Archive::new(plain);
    let mut name = None;
    for (number, entry) in tar.entries().map_err(|e| e.to_string())?.enumerate() {
        let mut entry =
            entry.map_err(|e| format!("it is no run that was packed, or not all of it: {e}"))?;
        if number >= MOST_FILES {
            return Err(format!("it has more than {MOST_FILES} files in it"));
        }
        let inside = entry.path().map_err(|e| e.to_string())?.into_owned();
        let parts = plain_parts(&inside)?;
        if *name.get_or_insert_with(|| parts[0].clone()) != parts[0] {
            return Err("it has more than one run in it".into());
        }
        let to = aside.path().join(&inside);
        match entry.header().entry_type() {
            tar::EntryType::Directory => fs::create_dir_all(&to).map_err(|e| e.to_string())?,
            tar::EntryType::Regular => {
                let put = match parts[1..] == [HISTORY] {
                    true => put_history(&mut entry, &Run::at(aside.path().join(&parts[0]))),
                    false => put(&mut entry, &to),
                };
                put.map_err(|e| format!("{}: {e}", inside.display()))?;
            }
            other => return Err(format!("{} is no file: {other:?}", inside.display())),
        }
    }
    let name = name.ok_or("there is nothing in it")?;
    let run = Run::at(aside.path().join(&name));
    Spec::load(&run).map_err(|e| e.to_string())?;
    let place = store.join(&name);
    if place.symlink_metadata().is_ok() {
        return Err(format!(
            "{} is already there, and not replaced",
            place.display()
        ));
    }
    fs::rename(run.path(), &place).map_err(|e| e.to_string())?;
    Ok(place)
}

fn put(from: &mut impl Read, to: &Path) -> io::Result<()> {
    io::copy(from, &mut File::create_new(to)?).map(drop)
}

fn put_history(from: &mut impl Read, run: &Run) -> io::Result<()> {
    let mut frames = Frames::new(File::create_new(run.history())?)?;
    io::copy(from, &mut frames)?;
    frames.finish().map(drop)
}

/// The parts of a name that leads down and nowhere else.
fn plain_parts(path: &Path) -> Result<Vec<String>, String> {
    let parts = path.components().map(|part| match part {
        Component::Normal(part) => part.to_str().map(String::from),
        _ => None,
    });
    let parts: Option<Vec<String>> = parts.collect();
    match parts {
        // `latest` and what begins with a dot are names of the store's own.
        Some(parts)
            if parts
                .first()
                .is_some_and(|p| !p.starts_with('.') && p != "latest") =>
        {
            Ok(parts)
        }
        _ => Err(format!("{} is no name in a run's folder", path.display())),
    }
}
