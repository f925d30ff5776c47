//! `schism convert`: a history in another format.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use checkers::Verdict;
use clap::Args;
use history::foreign::{self, Format};
use history::jsonl;

use crate::exit::Failure;
use crate::flags::{self, BudgetArgs, InputArgs};
use crate::input::load;
use crate::output::Output;
use crate::stream::Metered;
use crate::terminal;

#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// The history file, or `-` for standard input
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
}

pub fn command(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    let budget = args.budget.budget();
    let unknown = |name: &str, why: &str| {
        terminal::tell(format!("schism: {name}: {why}"));
        Ok(ExitCode::from(Verdict::Unknown.exit_code()))
    };
    let history = match load(&args.from, args.input.format, &budget)? {
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
