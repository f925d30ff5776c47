//! A node's program: its flags and its command `flaws`, what it prints, and how it exits.

use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

use clap::{Args, Command};

use crate::flaws::Planted;
use crate::log::log;

/// The command line was wrong.
const USAGE: u8 = 64;
/// The node could not start, or had to stop.
const FAILED: u8 = 1;

/// What a node's program is made of. `P` are its flags.
pub struct Program<P, E> {
    /// What it is called.
    pub name: &'static str,
    /// Which release of it this is.
    pub version: &'static str,
    /// One sentence for its help.
    pub about: &'static str,
    /// Checks what clap cannot; a sentence for each mistake.
    pub check: fn(&mut P) -> Result<(), Vec<String>>,
    /// Runs a node until it is told to stop.
    pub run: fn(&P) -> Result<(), E>,
}

/// What a command line asks for.
enum Asked<P> {
    Run(P),
    Flaws,
}

impl<P: Args, E: Display> Program<P, E> {
    /// Does what the command line says. `F` are the bugs that the node can be told to have.
    pub fn main<F: Planted>(&self) -> ExitCode {
        match self.parse(std::env::args_os()) {
            Ok(Asked::Run(params)) => self.serve(params),
            Ok(Asked::Flaws) => {
                for flaw in F::ALL {
                    println!("{}", serde_json::json!(flaw.entry()));
                }
                ExitCode::SUCCESS
            }
            Err(error) => {
                // Help and version are no mistakes. A terminal that is gone cannot be told.
                let _ = error.print();
                if error.use_stderr() {
                    ExitCode::from(USAGE)
                } else {
                    ExitCode::SUCCESS
                }
            }
        }
    }

    fn parse(
        &self,
        words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Asked<P>, clap::Error> {
        let flaws = Command::new("flaws").about("Prints the planted bugs, one JSON object a line");
        let command = P::augment_args(Command::new(self.name))
            .version(self.version)
            .about(self.about)
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true)
            .subcommand(flaws);
        let matches = command.try_get_matches_from(words)?;
        match matches.subcommand_name() {
            Some(_) => Ok(Asked::Flaws),
            None => P::from_arg_matches(&matches).map(Asked::Run),
        }
    }

    fn serve(&self, mut params: P) -> ExitCode {
        if let Err(mistakes) = (self.check)(&mut params) {
            for mistake in mistakes {
                eprintln!("error: {mistake}");
            }
            return ExitCode::from(USAGE);
        }
        match (self.run)(&params) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                log("ERROR", &error.to_string());
                ExitCode::from(FAILED)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;
    use crate::flags::Place;

    #[derive(Debug, Args)]
    struct Params {
        #[command(flatten)]
        place: Place,
        #[arg(long, default_value_t = 7)]
        depth: u64,
    }

    const PROGRAM: Program<Params, String> = Program {
        name: "node",
        version: "1.2.3",
        about: "A node",
        check: |_| Ok(()),
        run: |_| Ok(()),
    };

    fn parse(words: &str) -> Result<Asked<Params>, clap::Error> {
        PROGRAM.parse(words.split(' '))
    }

    #[test]
    fn what_every_node_needs_is_enough_to_run_one() {
        let words = "node --id n1 --data d --client-addr 127.0.0.1:1 --peer-addr 127.0.0.1:2 \
                     --peers n1=127.0.0.1:2";
        let Ok(Asked::Run(params)) = parse(words) else {
            panic!("it is not taken");
        };
        assert_eq!((params.place.id.as_str(), params.depth), ("n1", 7));
        let Ok(Asked::Run(params)) = parse(&format!("{words} --depth 9")) else {
            panic!("it is not taken");
        };
        assert_eq!(params.depth, 9);
    }

    #[test]
    fn the_catalogue_needs_no_flags_and_takes_none() {
        assert!(matches!(parse("node flaws"), Ok(Asked::Flaws)));
        for words in ["node", "node --id n1", "node --depth 9 flaws", "node bugs"] {
            let error = parse(words).map(drop).unwrap_err();
            assert!(error.use_stderr(), "{words}: {error}");
        }
        let version = parse("node --version").map(drop).unwrap_err();
        assert_eq!(version.kind(), ErrorKind::DisplayVersion);
        assert_eq!(version.to_string(), "node 1.2.3\n");
    }
}
