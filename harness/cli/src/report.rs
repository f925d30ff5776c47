//! `schism report`: the page of a judged run, written again.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use history::History;
use history::store::Store;

use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::judged::{load_results, page};
use crate::led;
use crate::open;
use crate::output::{self, Output};
use crate::spec::Spec;
use crate::terminal;

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A run's name, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// Write it here instead of into the run's folder
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Write the run as a trace here instead, for ui.perfetto.dev
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    pub perfetto: Option<PathBuf>,
    /// Open it in your browser
    #[arg(long, conflicts_with = "perfetto")]
    pub open: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Writes the report of a judged run again.
pub fn command(args: ReportArgs) -> Result<ExitCode, Failure> {
    let store = Store::new(&args.store.store);
    let run = store.open(&args.run).map_err(Failure::usage)?;
    if let Some(path) = args.perfetto {
        let history = run.load().map_err(Failure::usage)?.history;
        let fail = |e| Failure::Infra(format!("cannot write {}: {e}", path.display()));
        trace(&path, &history).map_err(fail)?;
        terminal::line(path.display().to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let spec = Spec::load(&run)?;
    let judged = load_results(&run)?;
    let history = run.load().map_err(Failure::usage)?.history;
    let page = page(&run, &spec, &history, &judged)?;
    let path = match args.output {
        Some(path) => {
            let fail = |e| Failure::Infra(format!("cannot write {}: {e}", path.display()));
            output::put(&path, page.as_bytes()).map_err(fail)?;
            path
        }
        None => {
            let written = run.write(&run.report(), page.as_bytes());
            written.map_err(Failure::infra)?;
            run.report()
        }
    };
    terminal::path("", &path);
    if args.open {
        open::open(&path);
    }
    Ok(ExitCode::SUCCESS)
}

fn trace(path: &Path, history: &History) -> io::Result<()> {
    let mut out = BufWriter::new(Output::to(path)?);
    report::perfetto::write(&mut out, history, &led::led(history))?;
    out.into_inner().map_err(|e| e.into_error())?.keep()
}
