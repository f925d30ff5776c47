//! Operations of the system's own: what is run on a node to do one, to undo it, and to look
//! whether it is done.

use harness::system::{Operation, Step};

use super::super::file::{AdminFile, File, Text};
use super::super::template::Template;
use super::{Read, Reader, kept};

/// One, with its commands.
pub struct Administered {
    pub operation: Operation,
    command: Vec<Template>,
    undo: Vec<Template>,
    check: Vec<Template>,
}

impl Administered {
    pub fn command(&self, step: Step) -> &[Template] {
        match step {
            Step::Do => &self.command,
            Step::Undo => &self.undo,
            Step::Check => &self.check,
        }
    }
}

impl Reader<'_> {
    pub(super) fn admin(&self, file: &File, known: &[String]) -> Read<Vec<Administered>> {
        let all = file.admin.iter();
        all.map(|(name, admin)| self.administered(name, admin, known))
            .collect()
    }

    fn administered(&self, name: &Text, admin: &AdminFile, known: &[String]) -> Read<Administered> {
        if !Operation::is_name(name.get_ref()) {
            let what = "an operation's name is lower-case letters, digits and `-`, begins with a letter, \
                        and is no kind of target such as `leader`";
            return self.wrong(name.span().start, what);
        }
        let optional = |argv: &Option<toml::Spanned<Vec<Text>>>| match argv {
            Some(argv) => self.program(argv, known),
            None => Ok(Vec::new()),
        };
        Ok(Administered {
            operation: Operation {
                name: kept(name.get_ref()),
                about: kept(&admin.about),
                is_undone: admin.undo.is_some(),
                is_checked: admin.check.is_some(),
                restarts: admin.restart,
                takes_node_away: admin.down,
            },
            command: self.program(&admin.command, known)?,
            undo: optional(&admin.undo)?,
            check: optional(&admin.check)?,
        })
    }
}
