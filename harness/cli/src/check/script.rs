//! `schism check FILE --model mine.rhai`: a history against a person's own model.

use std::path::Path;
use std::process::ExitCode;

use checkers::Analysis;
use checkers::scripted::{Judged as Scripted, Scripted as Judge};
use harness::run::Judged;
use harness::test::Notes;

use super::file::loaded;
use super::page::Asked;
use super::{CheckArgs, probe, tell};
use crate::certificate;
use crate::exit::Failure;
use crate::own_model;

pub fn check(args: &CheckArgs, path: &Path, script: &Path) -> Result<ExitCode, Failure> {
    let name = path.display().to_string();
    let budget = args.budget.budget();
    probe(args)?;
    args.question.fits_a_script()?;
    let script = own_model::read(script)?;
    let mut notes = Notes::default();
    let history = match loaded(args, path, &budget, &mut notes)? {
        Ok(history) => history,
        Err(code) => return Ok(code),
    };
    let put = args.question.question().without_others(history);
    let (history, said) = put.map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
    notes.warnings.extend(said);
    let what = Asked::script(&script, &args.question.ignore);
    let Scripted {
        analysis,
        certificate,
    } = match history.pairs().is_empty() {
        true => Scripted {
            analysis: Analysis::vacuous("linearizable", "the history has no operation of a client"),
            certificate: None,
        },
        false => {
            let judged = Judge::new(script).judge(&history, &budget);
            judged.map_err(|fault| own_model::fault(*fault, path))?
        }
    };
    if let Some(file) = &args.certificate {
        let came = certificate::write_order(file, certificate, &analysis, &budget);
        notes.warnings.push(came);
    }
    let judged = Judged {
        verdict: analysis.verdict,
        analyses: vec![analysis],
        notes,
    };
    tell(
        args,
        &format!("{name} {}", what.words),
        &what,
        &judged,
        &history,
    )
}
