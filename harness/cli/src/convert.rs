//! `schism convert`: a history in another format.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use checkers::{Budget, Verdict};
use clap::Args;
use history::foreign::{self, Format};
use history::jsonl::{self, Loaded, ReadError};
use history::store::{self, Store, StoreError};

use crate::exit::Failure;
use crate::flags::{self, BudgetArgs, InputArgs, StoreArgs};
use crate::input::{in_folder, load};
use crate::output::Output;
use crate::stream::Metered;
use crate::terminal;

#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// The history file, a run's name or folder, `latest`, or `-` for standard input
    pub from: PathBuf,
    /// Write `jsonl` or `edn` (as Jepsen's `history.edn`)
    #[arg(long, value_name = "FORMAT", value_parser = flags::format)]
    pub to: Format,
    /// Write it here [default: standard output]
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// The history; or how far it came within the budget.
fn read(args: &ConvertArgs, budget: &Budget) -> Result<Result<Loaded, String>, Failure> {
    let from = &args.from;
    // A pipe is no regular file, and is read all the same.
    if from.as_os_str() == "-" || from.exists() && !from.is_dir() {
        return load(from, args.input.format, budget);
    }
    if let Some(file) = in_folder(from) {
        return load(&file, args.input.format, budget);
    }
    let store = Store::new(&args.store.store);
    let run = store
        .open(&from.to_string_lossy())
        .map_err(Failure::usage)?;
    match store::load_within(&run.history(), &budget.start()) {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(StoreError::History {
            source: why @ ReadError::Exhausted { .. },
            ..
        }) => Ok(Err(why.to_string())),
        Err(e) => Err(Failure::usage(e)),
    }
}

pub fn command(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    let budget = args.budget.budget();
    let unknown = |name: &str, why: &str| {
        terminal::tell(format!("schism: {name}: {why}"));
        Ok(ExitCode::from(Verdict::Unknown.exit_code()))
    };
    let history = match read(args, &budget)? {
        Ok(loaded) => loaded.history,
        Err(why) => return unknown(&args.from.display().to_string(), &why),
    };
    let (name, to) = match &args.output {
        None => ("standard output".into(), Output::Data(terminal::data())),
        Some(path) => {
            let fail = |e| Failure::Usage(format!("{}: {e}", path.display()));
            (path.display().to_string(), Output::to(path).map_err(fail)?)
        }
    };
    let mut to = Metered::new(to, budget.start());
    let written = match args.to {
        Format::Jsonl => jsonl::write(&mut to, &history),
        Format::Edn => foreign::write_edn(&history, &mut to),
        other => {
            let why = format!(
                "{} can be read, but is not written: use jsonl or edn",
                other.name()
            );
            return Err(Failure::Usage(why));
        }
    };
    let written = written.and_then(|()| to.flush());
    if let Some(why) = to.get_ref().exhausted {
        return unknown(&name, &format!("{why} before everything was written"));
    }
    let written = written.and_then(|()| to.into_inner().map_err(|e| e.into_error())?.to.keep());
    match written {
        // Whoever reads has read enough.
        Err(e) if args.output.is_none() && e.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(|e| Failure::Usage(format!("{name}: {e}")))?,
    }
    Ok(ExitCode::SUCCESS)
}
