//! The report of a history that is no run of ours.

use std::path::Path;

use checkers::choice::{Choice, Question};
use checkers::script::Script;
use harness::run::Judged;
use history::History;
use serde_json::{Value as Json, json};

use crate::exit::Failure;
use crate::led;
use crate::output;
use crate::spec::quoted;

/// What a history was held against.
#[derive(Default)]
pub struct Asked {
    /// `as register, each value with its key`.
    pub words: String,
    settings: serde_json::Map<String, Json>,
}

impl Asked {
    pub fn workload(name: &str) -> Asked {
        Asked {
            words: format!("as {name}"),
            settings: [("workload".to_string(), name.into())]
                .into_iter()
                .collect(),
        }
    }

    pub fn script(script: &Script, ignored: &[String]) -> Asked {
        Asked {
            words: format!("as {script}"),
            settings: [
                ("model", script.name().into()),
                ("script", script.text().into()),
                ("ignored", json!(ignored)),
            ]
            .map(|(name, value): (&str, Json)| (name.to_string(), value))
            .into_iter()
            .collect(),
        }
    }

    pub fn model(choice: &Choice, question: &Question) -> Asked {
        let keys = if choice.keyed {
            ", each value with its key"
        } else {
            ""
        };
        Asked {
            words: format!("as {}{keys}", choice.model.name()),
            settings: [
                ("model", choice.model.name().into()),
                ("keyed", choice.keyed.into()),
                (
                    "initial",
                    json!(question.initial.as_ref().map(ToString::to_string)),
                ),
                ("ignored", json!(question.ignore)),
            ]
            .map(|(name, value): (&str, Json)| (name.to_string(), value))
            .into_iter()
            .collect(),
        }
    }
}

/// The page of a file's history.
pub fn of_file(file: &str, asked: &Asked, judged: &Judged, history: &History) -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let command = quoted(&[vec!["schism".to_string()], words].concat());
    let mut settings = asked.settings.clone();
    settings.insert("file".into(), file.into());
    let spec = Json::Object(settings);
    report::render(&report::Input {
        system: file,
        workload: &asked.words,
        origin: report::Origin::File,
        command: &command,
        repeated: None,
        spec: &spec,
        schedule: None,
        nodes: &[],
        history,
        analyses: &judged.analyses,
        verdict: judged.verdict,
        told: &report::Told {
            led: led::led(history),
            tips: led::tips(history),
            ..report::Told::default()
        },
        warnings: &judged.notes.warnings,
    })
}

pub fn put(to: &Path, page: &str) -> Result<(), Failure> {
    let fail = |e| Failure::Infra(format!("cannot write {}: {e}", to.display()));
    output::put(to, page.as_bytes()).map_err(fail)
}
