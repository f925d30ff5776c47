//! What is started on a node: the daemon, and what belongs to it.

use agent::group::Restart;
use agent::protocol::StopSignal;

use super::super::file::{DaemonFile, File, Nodes, Text};
use super::super::template::Template;
use super::{Client, Read, Reader};
use crate::systems::NODES;

/// The programs of a node.
pub struct Started {
    /// None if the image's own is meant.
    pub command: Option<Vec<Template>>,
    /// In place of the image's.
    pub entrypoint: Option<Vec<Template>>,
    pub unless_first: Vec<Template>,
    pub environment: Vec<(String, Template)>,
    /// Commands that are run once on each node, before anything is started there.
    pub prepare: Vec<Vec<Template>>,
    /// The user as whom all of them run.
    pub user: Option<String>,
    pub restart: Restart,
    /// None if the image's own is meant.
    pub stop: Option<StopSignal>,
    pub working_dir: Option<Template>,
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
        // A folder to start in is made, if it is not there.
        let here = self.working_dir.is_none();
        alone && here && self.user.is_none() && self.restart == Restart::Never
    }
}

impl Reader<'_> {
    /// On how many nodes it runs where nobody says.
    pub(super) fn nodes(&self, file: &File) -> Read<usize> {
        match &file.nodes {
            None => Ok(NODES),
            Some(nodes) if (1..=9).contains(nodes.get_ref()) => Ok(*nodes.get_ref()),
            Some(nodes) => self.wrong(nodes.span().start, "there can be 1 to 9 nodes"),
        }
    }

    pub(super) fn started(&self, file: &File, known: &[String]) -> Read<Started> {
        let DaemonFile {
            command,
            entrypoint,
            unless_first,
            environment,
            prepare,
            user,
            restart,
            stop_signal,
            working_dir,
            files: _,
        } = &file.daemon;
        if let (None, Some(entrypoint)) = (&file.image, entrypoint) {
            let what = "an entrypoint is an image's: without `image` there is `command`";
            return self.wrong(entrypoint.span().start, what);
        }
        if let (None, None) = (&file.image, command) {
            let at = self.text.find("[daemon]").unwrap_or_default();
            return self.wrong(at, "[daemon] has no `command`: what is started on a node?");
        }
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
            command: match (command, &file.image) {
                (Some(command), None) => Some(self.program(command, known)?),
                (command, _) => command
                    .as_ref()
                    .map(|argv| self.templates(argv.get_ref(), known))
                    .transpose()?,
            },
            entrypoint: entrypoint
                .as_ref()
                .map(|argv| self.templates(argv.get_ref(), known))
                .transpose()?,
            unless_first: self.templates(unless_first, known)?,
            environment: self.environment(environment, known)?,
            prepare: prepare
                .iter()
                .map(|argv| self.program(argv, known))
                .collect::<Read<_>>()?,
            user: user.clone(),
            restart: *restart,
            stop: *stop_signal,
            working_dir: working_dir
                .as_ref()
                .map(|text| self.template(text, known))
                .transpose()?,
            sidecars: sidecars.collect::<Read<_>>()?,
        })
    }

    pub(super) fn image(
        &self,
        file: &File,
        client: &Client,
    ) -> Read<Option<(String, Option<String>)>> {
        match (&file.image, &file.image_name, client) {
            (None, Some(name), _) => {
                self.wrong(name.span().start, "a name of an image, and no `image` here")
            }
            (Some(image), _, Client::Maelstrom(_)) => {
                let what = "a node of Maelstrom's is started by the agent, and not in an image";
                self.wrong(image.span().start, what)
            }
            (image, name, _) => {
                let name = name.as_ref().map(|name| name.get_ref().clone());
                Ok(image.as_ref().map(|image| (image.get_ref().clone(), name)))
            }
        }
    }

    fn templates(&self, texts: &[Text], known: &[String]) -> Read<Vec<Template>> {
        texts
            .iter()
            .map(|text| self.template(text, known))
            .collect()
    }

    /// A command, which begins with a program.
    pub(super) fn program(
        &self,
        argv: &toml::Spanned<Vec<Text>>,
        known: &[String],
    ) -> Read<Vec<Template>> {
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
