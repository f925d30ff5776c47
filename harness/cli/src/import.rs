//! `schism import`: a system's folder from what others start it by.
//!
//! [`compose`] and [`unit`] read, [`draft`] writes. What cannot be taken over becomes a comment
//! that says why, and never silence.

mod compose;
mod draft;
mod fields;
mod left;
mod nodes;
mod unit;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use history::file;

use crate::exit::Failure;
use crate::terminal;

/// More than anybody writes by hand.
const MOST_BYTES: u64 = 4 << 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism import compose docker-compose.yml
  schism import compose compose.yaml --service db --to my-db
  schism import unit /lib/systemd/system/redis-server.service")]
pub struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// A compose file: one service, or several that are alike, become the nodes
    Compose(ComposeArgs),
    /// A service of systemd's
    Unit(UnitArgs),
}

#[derive(Debug, Args)]
struct ComposeArgs {
    /// The compose file
    file: PathBuf,
    /// Which service becomes the nodes; of several that are alike, any of them
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The folder to write; its name is the system's [default: the service's name, here]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct UnitArgs {
    /// The unit file
    file: PathBuf,
    /// The folder to write; its name is the system's [default: the unit's name, here]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// What is wrong, and in which line; 0 for the whole file.
#[derive(Debug)]
pub struct Wrong {
    line: u64,
    why: String,
}

impl Wrong {
    fn at(line: u64, why: impl ToString) -> Wrong {
        let why = why.to_string();
        Wrong { line, why }
    }
}

pub fn command(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let (file, to) = match &args.from {
        From::Compose(args) => (&args.file, &args.to),
        From::Unit(args) => (&args.file, &args.to),
    };
    let fail = |wrong: Wrong| match wrong.line {
        0 => Failure::Usage(format!("{}: {}", file.display(), wrong.why)),
        line => Failure::Usage(format!("{}:{line}: {}", file.display(), wrong.why)),
    };
    let text = text_of(file).map_err(|e| Failure::Usage(format!("{}: {e}", file.display())))?;
    let variable = |name: &str| std::env::var(name).ok();
    let draft = match &args.from {
        From::Compose(args) => {
            let service = args.service.as_deref();
            compose::draft(&text, file, service, &variable).map_err(fail)?
        }
        From::Unit(args) => unit::draft(&text, &args.file).map_err(fail)?,
    };
    let folder = match to {
        Some(to) => to.clone(),
        None => named(&draft.name).map_err(|why| fail(Wrong::at(0, why)))?,
    };
    let path = folder.join("system.toml");
    write_new(&folder, &path, &draft.render())?;
    // Whatever was written must be a system: what is not is a mistake of this command.
    let word = match folder.is_absolute() {
        true => folder.display().to_string(),
        false => format!("./{}", folder.display()),
    };
    workloads::systems::find(&word)
        .map_err(|e| Failure::Infra(format!("what was written is not understood: {e}")))?;
    let left = draft.left.len();
    terminal::line(format!(
        "{} is written{}. Say there what only you know: {}. Then:\n  schism run {word} --nodes 3 \
         --nemesis none --time-limit 10s",
        path.display(),
        match left {
            0 => String::new(),
            1 => ", with one comment on what was left out".into(),
            n => format!(", with {n} comments on what was left out"),
        },
        draft.to_say().join("; ")
    ));
    Ok(ExitCode::SUCCESS)
}

/// The folder that is called as the file says, here: where else, a stranger's file does not decide.
fn named(name: &str) -> Result<PathBuf, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
        true => Ok(name.into()),
        false => Err(format!(
            "{name:?} is no name for a system's folder: say by --to where to write it"
        )),
    }
}

/// A file, which may be anything.
fn text_of(path: &Path) -> io::Result<String> {
    let bytes = file::read(path, MOST_BYTES)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text in UTF-8"))
}

/// Never writes over what is there.
fn write_new(folder: &Path, path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |e: io::Error| match e.kind() {
        ErrorKind::AlreadyExists => Failure::Usage(format!(
            "{} is there already: --to says where else to write",
            path.display()
        )),
        _ => Failure::Usage(format!("{}: {e}", path.display())),
    };
    fs::create_dir_all(folder).map_err(fail)?;
    let mut file = fs::File::create_new(path).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)
}
