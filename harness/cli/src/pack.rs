//! `schism pack` and `unpack`: a run as one file, to be sent to somebody or kept with a night.
//!
//! `RUN.tar.zst` has the run's folder without the nodes' data folders. It is made of independent
//! frames of zstd, so any tool reads it. A file that is unpacked may be anybody's: it has one
//! folder, plain files in it, and no name that leads elsewhere; and it is in the store whole or not
//! at all.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use history::file::NewFile;
use history::store::{Run, Store};

use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::packed::Zstd;
use crate::spec::Spec;
use crate::terminal;

/// Bytes of a frame before it is compressed.
const FRAME: usize = 8 << 20;
/// Histories come to a thirteenth by it, in a second for each 40 MB; beyond it is slow for little.
const LEVEL: i32 = 9;
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

/// What is written to it comes out as frames, one after another.
struct Frames<W> {
    to: W,
    frame: Vec<u8>,
}

impl<W: Write> Frames<W> {
    fn end_frame(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let compressed = zstd::bulk::compress(&self.frame, LEVEL)?;
        self.frame.clear();
        self.to.write_all(&compressed)
    }
}

impl<W: Write> Write for Frames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.len().min(FRAME - self.frame.len());
        self.frame.extend(&bytes[..part]);
        if self.frame.len() == FRAME {
            self.end_frame()?;
        }
        Ok(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end_frame()?;
        self.to.flush()
    }
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
    let mut tar = tar::Builder::new(Frames {
        to: BufWriter::new(&mut file),
        frame: Vec::with_capacity(FRAME),
    });
    tar.follow_symlinks(false);
    let mut before = 0;
    add(&mut tar, run.path(), Path::new(&run.name()), &mut before)?;
    tar.into_inner()?.flush()?;
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
        } else if kind.is_file() {
            let mut file = File::open(&path)?;
            *bytes += file.metadata()?.len();
            tar.append_file(&name, &mut file)?;
        }
    }
    Ok(())
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
    let plain = Zstd::new(BufReader::new(file)).take(MOST_BYTES);
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
                let mut file =
                    File::create_new(&to).map_err(|e| format!("{}: {e}", inside.display()))?;
                io::copy(&mut entry, &mut file)
                    .map_err(|e| format!("{}: {e}", inside.display()))?;
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
