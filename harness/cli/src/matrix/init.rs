//! `schism matrix init`: the files that a night begins with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::exit::Failure;
use crate::output;
use crate::terminal;

const MATRIX: &str = include_str!("init/nightly.toml");
const KNOWN: &str = include_str!("init/known.toml");
const GITHUB: &str = include_str!("init/github.yml");
const GITLAB: &str = include_str!("init/gitlab.yml");
const KUBERNETES: &str = include_str!("init/kubernetes.yaml");
const SLURM: &str = include_str!("init/slurm.sh");

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Also write the file for this CI or scheduler
    #[arg(long)]
    ci: Option<Ci>,
    /// Into this folder
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ci {
    Github,
    Gitlab,
    Kubernetes,
    Slurm,
}

impl Ci {
    /// Where its file is looked for, and what is in it.
    fn file(self) -> (&'static str, String) {
        match self {
            Ci::Github => (".github/workflows/nightly.yml", GITHUB.into()),
            Ci::Gitlab => ("nightly.gitlab-ci.yml", GITLAB.into()),
            Ci::Kubernetes => {
                let text = KUBERNETES.replace("@MATRIX@\n", &indented(MATRIX));
                ("nightly.yaml", text.replace("@KNOWN@\n", &indented(KNOWN)))
            }
            Ci::Slurm => ("nightly.sbatch", SLURM.into()),
        }
    }
}

/// As text within a block of YAML.
fn indented(text: &str) -> String {
    let line = |line: &str| match line.is_empty() {
        true => "\n".to_string(),
        false => format!("    {line}\n"),
    };
    text.lines().map(line).collect()
}

pub fn command(args: &InitArgs) -> Result<ExitCode, Failure> {
    let mut files = vec![
        ("nightly.toml", MATRIX.to_string()),
        ("known.toml", KNOWN.to_string()),
    ];
    files.extend(args.ci.map(Ci::file));
    let files: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|(name, text)| (args.folder.join(name), text))
        .collect();
    // All or none: what is there is somebody's work.
    let there: Vec<String> = files
        .iter()
        .filter(|(path, _)| path.symlink_metadata().is_ok())
        .map(|(path, _)| path.display().to_string())
        .collect();
    if !there.is_empty() {
        let there = there.join(", ");
        return Err(Failure::Usage(format!(
            "{there}: already there, and not replaced"
        )));
    }
    for (path, text) in &files {
        write(path, text)?;
        terminal::line(format!("written  {}", path.display()));
    }
    terminal::line(format!(
        "\nnext     schism matrix plan {}",
        files[0].0.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::Infra(format!("cannot write {}: {e}", path.display()));
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    output::put(path, text.as_bytes()).map_err(fail)
}
