//! `schism new-system`: a folder to begin with.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use workloads::systems::folder::SKELETON;

use crate::exit::Failure;
use crate::terminal;

#[derive(Debug, Args)]
pub struct NewSystemArgs {
    /// The folder to make; its name is the system's
    #[arg(value_name = "NAME")]
    pub folder: PathBuf,
}

/// Never writes over what is there.
pub fn command(args: &NewSystemArgs) -> Result<ExitCode, Failure> {
    let path = args.folder.join("system.toml");
    let fail = |e: std::io::Error| match e.kind() {
        ErrorKind::AlreadyExists => Failure::Usage(format!("{} is there already", path.display())),
        _ => Failure::Usage(format!("{}: {e}", path.display())),
    };
    fs::create_dir_all(&args.folder).map_err(fail)?;
    let mut file = fs::File::create_new(&path).map_err(fail)?;
    file.write_all(SKELETON.as_bytes()).map_err(fail)?;
    let run = match args.folder.is_absolute() {
        true => args.folder.display().to_string(),
        false => format!("./{}", args.folder.display()),
    };
    terminal::line(format!(
        "{} is written. Say there how your system is started and asked, then:\n  schism run {run} --nodes 3",
        path.display()
    ));
    Ok(ExitCode::SUCCESS)
}
