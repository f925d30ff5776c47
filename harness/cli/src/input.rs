//! Histories from files: of any format, compressed or not, and what is done with them alone.

use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use checkers::choice::{Choice, Model};
use checkers::{Analysis, Certificate, Verdict, compose, verify as replay};
use flate2::read::MultiGzDecoder;
use harness::run::{Judged, Notes};
use history::foreign::{self, Format};
use history::jsonl::{self, Loaded};
use ruzstd::decoding::StreamingDecoder;

use crate::args;
use crate::check::print;
use crate::exit::Failure;

/// As much of a file as tells what it is.
const BEGINNING: u64 = 4096;

/// Reads a history; `-` is standard input.
pub fn load(path: &Path, format: Option<Format>) -> Result<Loaded, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Usage(format!("{}: {e}", path.display()));
    let raw: Box<dyn Read + Send> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(|e| fail(&e))?),
    };
    let (magic, raw) = peek(raw, 4).map_err(|e| fail(&e))?;
    let plain: Box<dyn Read + Send> = match magic[..] {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(raw)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(StreamingDecoder::new(raw).map_err(|e| fail(&e))?),
        _ => raw,
    };
    let (beginning, plain) = peek(plain, BEGINNING).map_err(|e| fail(&e))?;
    let format = match format.or_else(|| Format::sniff(&beginning)) {
        Some(format) => format,
        None if beginning.is_empty() => {
            return Err(fail(
                &"the file is empty; with --format it is a history without events",
            ));
        }
        None => {
            let known = Format::ALL.map(Format::name).join(", ");
            return Err(fail(&format!(
                "this looks like none of {known}; --format says which it is"
            )));
        }
    };
    foreign::read(format, plain).map_err(|e| fail(&e))
}

/// The first bytes, and a reader that begins with them.
fn peek(mut from: Box<dyn Read + Send>, bytes: u64) -> io::Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut beginning = Vec::new();
    from.by_ref().take(bytes).read_to_end(&mut beginning)?;
    Ok((
        beginning.clone(),
        Box::new(Cursor::new(beginning).chain(from)),
    ))
}

/// `schism check FILE` without a workload: what it is a history of is told by itself.
pub fn check(args: &args::Check, path: &Path) -> Result<ExitCode, Failure> {
    let budget = args.budget.budget();
    let loaded = load(path, args.input.format)?;
    let mut notes = Notes::default();
    notes.warnings.extend(loaded.torn.map(|torn| {
        let (line, bytes) = (torn.line, torn.bytes);
        format!("line {line} of the history is torn and was left out ({bytes} bytes)")
    }));
    let history = loaded.history;
    let (title, analysis) = match choice(args, &history)? {
        None => {
            let why = "the history has no operation of a client";
            (args.run.clone(), Analysis::vacuous("linearizable", why))
        }
        Some(choice) => {
            let keys = if choice.keyed {
                ", each value with its key"
            } else {
                ""
            };
            let title = format!("{} as {}{keys}", args.run, choice.model.name());
            let analysis = match &args.certificate {
                None => {
                    compose::check_all(&[choice.checker(&history)], &history, &budget).remove(0)
                }
                Some(file) => match choice.certify(&history, &budget) {
                    Err(analysis) => analysis,
                    Ok(certificate) => certified(&certificate, file, &history, &choice)?,
                },
            };
            (title, analysis)
        }
    };
    let judged = Judged {
        verdict: analysis.verdict,
        analyses: vec![analysis],
        notes,
    };
    print(&title, &judged, &history, args.json)
}

/// None if there is nothing to judge.
fn choice(args: &args::Check, history: &history::History) -> Result<Option<Choice>, Failure> {
    if history.pairs().is_empty() {
        return Ok(None);
    }
    let choice = match args.model {
        Some(model) => Choice::with_model(model, history)
            .map_err(|e| Failure::Usage(format!("{}: {e}", args.run)))?,
        None => Choice::of(history)
            .map_err(|e| Failure::Usage(format!("{}: {e}; --model says which it is", args.run)))?,
    };
    let is_txn = matches!(choice.model, Model::Append | Model::RwRegister);
    if args.consistency_model.is_some() && !is_txn {
        let why = format!(
            "--consistency-model is for transactions; this is a history of {}",
            choice.model.name()
        );
        return Err(Failure::Usage(why));
    }
    Ok(Some(Choice {
        initial: args.initial.clone(),
        consistency: args.consistency_model.unwrap_or_default(),
        ..choice
    }))
}

/// Writes the certificate, and believes it only when it has been replayed.
fn certified(
    certificate: &Certificate,
    file: &Path,
    history: &history::History,
    choice: &Choice,
) -> Result<Analysis, Failure> {
    let name = choice.checker(history);
    if let Err(why) = replay(history, certificate) {
        let why = format!("a bug: the order that was found is not right: {why}");
        return Ok(Analysis::unknown(name.name(), why));
    }
    let fail = |e: io::Error| Failure::Usage(format!("{}: {e}", file.display()));
    let mut out = BufWriter::new(File::create(file).map_err(fail)?);
    serde_json::to_writer(&mut out, certificate).map_err(|e| fail(e.into()))?;
    out.write_all(b"\n")
        .and_then(|()| out.flush())
        .map_err(fail)?;
    let ops: usize = certificate.orders.iter().map(|order| order.ops.len()).sum();
    let summary = format!(
        "{ops} operations have an order that explains every answer; it was replayed and is in {}",
        file.display()
    );
    Ok(Analysis::valid(name.name(), summary))
}

/// `schism verify`: replays a certificate, and nothing else.
pub fn verify(args: &args::Verify) -> Result<ExitCode, Failure> {
    let history = load(&args.history, args.input.format)?.history;
    let fail =
        |e: &dyn std::fmt::Display| Failure::Usage(format!("{}: {e}", args.certificate.display()));
    let text = std::fs::read(&args.certificate).map_err(|e| fail(&e))?;
    let certificate: Certificate = serde_json::from_slice(&text).map_err(|e| fail(&e))?;
    match replay(&history, &certificate) {
        Ok(()) => {
            let ops: usize = certificate.orders.iter().map(|order| order.ops.len()).sum();
            println!("VALID  the order of {ops} operations explains every answer");
            Ok(ExitCode::from(Verdict::Valid.exit_code()))
        }
        // A wrong certificate says nothing of the history.
        Err(why) => {
            println!("UNKNOWN  the certificate does not hold: {why}");
            Ok(ExitCode::from(Verdict::Unknown.exit_code()))
        }
    }
}

/// `schism convert`.
pub fn convert(args: &args::Convert) -> Result<ExitCode, Failure> {
    let history = load(&args.from, args.input.format)?.history;
    let (name, to): (String, Box<dyn Write>) = match &args.output {
        None => ("standard output".into(), Box::new(io::stdout())),
        Some(path) => {
            let fail = |e| Failure::Usage(format!("{}: {e}", path.display()));
            (
                path.display().to_string(),
                Box::new(File::create(path).map_err(fail)?),
            )
        }
    };
    let mut to = BufWriter::new(to);
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
    written.map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
    Ok(ExitCode::SUCCESS)
}
