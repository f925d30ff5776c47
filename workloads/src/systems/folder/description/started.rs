//! What is started on a node: the daemon, and what belongs to it.

use agent::group::Restart;
use agent::protocol::StopSignal;

use super::super::file::{DaemonFile, File, Nodes, Text};
use super::super::template::Template;
use super::{Read, Reader};

/// The programs of a node.
pub struct Started {
    pub command: Vec<Template>,
    pub unless_first: Vec<Template>,
    pub environment: Vec<(String, Template)>,
    /// Commands that are run once on each node, before anything is started there.
    pub prepare: Vec<Vec<Template>>,
    /// The user as whom all of them run.
    pub user: Option<String>,
    pub restart: Restart,
    pub stop: StopSignal,
    /// Started after the daemon, in this order.
    pub sidecars: Vec<Sidecar>,
}

/// One more program.
pub struct Sidecar {
    pub name: String,
    pub command: Vec<Template>,
    pub environment: Vec<(String, Template)>,
    pub restart: Restart,
    pub on: Nodes,
}

impl Started {
    /// Whether the daemon is one program and no more, which the agent starts itself.
    pub fn is_plain(&self) -> bool {
        let alone = self.sidecars.is_empty() && self.prepare.is_empty();
        alone && self.user.is_none() && self.restart == Restart::Never
    }
}

impl Reader<'_> {
    pub(super) fn started(&self, file: &File, known: &[String]) -> Read<Started> {
        let DaemonFile {
            command,
            unless_first,
            environment,
            prepare,
            user,
            restart,
            stop_signal,
            files: _,
        } = &file.daemon;
        let sidecars = file.sidecar.iter().map(|sidecar| {
            let name = sidecar.name.get_ref();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                let what = "a sidecar's name is letters, digits, `-`, `_` and `.`";
                return self.wrong(sidecar.name.span().start, what);
            }
            let same = |other: &&super::SidecarFile| other.name.get_ref() == name;
            if file.sidecar.iter().filter(same).count() > 1 {
                let what = format!("there are two sidecars {name:?}");
                return self.wrong(sidecar.name.span().start, what);
            }
            Ok(Sidecar {
                name: name.clone(),
                command: self.program(&sidecar.command, known)?,
                environment: self.environment(&sidecar.environment, known)?,
                restart: sidecar.restart,
                on: sidecar.on,
            })
        });
        Ok(Started {
            command: self.program(command, known)?,
            unless_first: self.templates(unless_first, known)?,
            environment: self.environment(environment, known)?,
            prepare: prepare
                .iter()
                .map(|argv| self.program(argv, known))
                .collect::<Read<_>>()?,
            user: user.clone(),
            restart: *restart,
            stop: *stop_signal,
            sidecars: sidecars.collect::<Read<_>>()?,
        })
    }

    fn templates(&self, texts: &[Text], known: &[String]) -> Read<Vec<Template>> {
        texts
            .iter()
            .map(|text| self.template(text, known))
            .collect()
    }

    /// A command, which begins with a program.
    fn program(&self, argv: &toml::Spanned<Vec<Text>>, known: &[String]) -> Read<Vec<Template>> {
        if argv.get_ref().is_empty() {
            return self.wrong(argv.span().start, "no program to start");
        }
        self.templates(argv.get_ref(), known)
    }

    fn environment(
        &self,
        given: &std::collections::BTreeMap<String, Text>,
        known: &[String],
    ) -> Read<Vec<(String, Template)>> {
        let all = given.iter();
        all.map(|(name, text)| Ok((name.clone(), self.template(text, known)?)))
            .collect()
    }
}
