//! What a shell proposes for the word that is being typed: names of systems, workloads, faults,
//! flaws, parameters, models and recorded runs, as they are here and now.
//!
//! `schism completions bash` prints the few lines that have the shell ask this program each time.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, Args, Command};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::{CompleteEnv, Shells};
use history::store::Store;
use nemeses::FAMILIES;
use workloads::{catalogue, systems};

use crate::exit::Failure;
use crate::terminal;

/// The shell sets it when it asks.
const VARIABLE: &str = "SCHISM_COMPLETE";
/// Characters of an explanation.
const MOST_HELP: usize = 100;
/// Of the runs of a store, the newest.
const MOST_RUNS: usize = 100;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(schism completions bash)             # in ~/.bashrc
  source <(schism completions zsh)              # in ~/.zshrc
  schism completions fish | source              # in ~/.config/fish/config.fish")]
pub struct CompletionsArgs {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_parser = shell)]
    pub shell: String,
}

fn shell(name: &str) -> Result<String, String> {
    let shells = Shells::builtins();
    match shells.completer(name) {
        Some(_) => Ok(name.to_string()),
        None => Err(format!(
            "one of {}",
            shells.names().collect::<Vec<_>>().join(", ")
        )),
    }
}

pub fn command(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(&args.shell) else {
        return Err(Failure::usage(format!("no shell {}", args.shell)));
    };
    let mut script = Vec::new();
    let me = std::env::current_exe().map_err(Failure::infra)?;
    shell
        .write_registration(
            VARIABLE,
            "schism",
            "schism",
            &me.to_string_lossy(),
            &mut script,
        )
        .map_err(Failure::infra)?;
    terminal::print(&String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}

/// Answers a shell and ends, if one asks for a word of these commands.
pub fn answer(commands: impl Fn() -> Command) {
    let tree = || with_names(commands());
    CompleteEnv::with_factory(tree).var(VARIABLE).complete();
}

fn with_names(command: Command) -> Command {
    command.mut_args(known).mut_subcommands(with_names)
}

fn known(arg: Arg) -> Arg {
    let complete: fn(&OsStr) -> Vec<CompletionCandidate> = match arg.get_id().as_str() {
        "system" | "system_a" | "system_b" => of_systems,
        "workload" => of_workloads,
        "nemesis" | "family" => of_faults,
        "flaw" => of_flaws,
        "param" => of_params,
        "model" => of_models,
        "run" | "runs" => of_runs,
        _ => return arg,
    };
    arg.add(ArgValueCompleter::new(complete))
}

/// Those of the names that begin like the word, but for those that a terminal would obey.
fn like(
    word: &OsStr,
    names: impl IntoIterator<Item = (String, String)>,
) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    let plain = |name: &str| terminal::word(name) == name;
    let names = names.into_iter();
    let names = names.filter(|(name, _)| name.starts_with(&*word) && plain(name));
    let shown = |(name, help): (String, String)| {
        let help = terminal::clipped(&help, MOST_HELP);
        CompletionCandidate::new(name).help(Some(help.into()))
    };
    names.map(shown).collect()
}

fn all_systems() -> impl Iterator<Item = &'static systems::Entry> {
    systems::names()
        .into_iter()
        .filter_map(|name| systems::find(&name).ok())
}

fn of_systems(word: &OsStr) -> Vec<CompletionCandidate> {
    like(
        word,
        all_systems().map(|e| (e.name.to_string(), e.about.to_string())),
    )
}

fn of_workloads(word: &OsStr) -> Vec<CompletionCandidate> {
    let all = catalogue::WORKLOADS.iter();
    like(
        word,
        all.map(|w| (w.name().to_string(), w.about().to_string())),
    )
}

/// The last of several faults, after `,` or `+`.
fn of_faults(word: &OsStr) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    let (before, last) = match word.rfind([',', '+']) {
        Some(at) => word.split_at(at + 1),
        None => ("", &*word),
    };
    let mut names: Vec<(String, String)> = Vec::new();
    for family in FAMILIES {
        names.push((family.name.to_string(), family.does.to_string()));
        if family.named.is_some() {
            let own = all_systems().flat_map(|system| system.operations);
            names.extend(own.map(|o| (format!("{}:{}", family.name, o.name), o.about.into())));
            continue;
        }
        let shapes = family.shapes.iter().filter(|shape| !shape.name.is_empty());
        names.extend(shapes.map(|shape| {
            let name = format!("{}:{}", family.name, shape.name);
            (name, shape.does.to_string())
        }));
        if family.plain().is_some() {
            names.extend(nemeses::WHO.iter().map(|who| {
                let name = format!("{}:{}", family.name, who.name);
                (name, who.does.to_string())
            }));
        }
    }
    if before.is_empty() {
        names.push(("none".into(), "no faults".into()));
        names.push(("all".into(), "every family that is drawn by default".into()));
    }
    // Shapes only once their family stands there: there are many.
    let wanted = |name: &String| last.contains(':') == name.contains(':');
    let names = names.into_iter().filter(|(name, _)| wanted(name));
    like(
        OsStr::new(&*word),
        names.map(|(name, does)| (format!("{before}{name}"), does)),
    )
}

fn of_flaws(word: &OsStr) -> Vec<CompletionCandidate> {
    let all = all_systems()
        .filter_map(|system| system.flaws().ok())
        .flatten();
    like(word, all.map(|flaw| (flaw.name, flaw.summary)))
}

fn of_params(word: &OsStr) -> Vec<CompletionCandidate> {
    let all = all_systems().flat_map(|system| system.params.iter());
    like(
        word,
        all.map(|p| (format!("{}=", p.name), p.about.to_string())),
    )
}

fn of_models(word: &OsStr) -> Vec<CompletionCandidate> {
    let all = checkers::choice::Model::ALL.iter();
    let known = all.map(|model| (model.name().to_string(), String::new()));
    let mut found = like(word, known);
    let is_script = |path: &Path| path.extension().is_some_and(|e| e == "rhai");
    let scripts = PathCompleter::file().filter(is_script);
    let plain = |script: &CompletionCandidate| {
        let name = script.get_value().to_string_lossy();
        terminal::word(&name) == name
    };
    found.extend(scripts.complete(word).into_iter().filter(plain));
    found
}

fn of_runs(word: &OsStr) -> Vec<CompletionCandidate> {
    let runs = Store::new(Path::new("store")).list().unwrap_or_default();
    let newest = runs.into_iter().rev().take(MOST_RUNS);
    let latest = ("latest".to_string(), "the newest run".to_string());
    like(
        word,
        std::iter::once(latest).chain(newest.map(|run| (run.name(), String::new()))),
    )
}
