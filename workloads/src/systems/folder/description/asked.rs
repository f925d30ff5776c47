//! How a node is asked whether it serves, who leads, and what it holds.

use serde_json::Value as Json;
use toml::Spanned;

use super::super::answers::Answers;
use super::super::file::{File, LeaderFile, ReplicaFile};
use super::super::template::Template;
use super::{Read, Reader};

/// When a node serves.
pub enum Ready {
    Http { path: Template, answer: Answers },
    Tcp,
    Exec(Vec<Template>),
    Log(String),
}

/// Who leads.
pub struct Leader {
    pub ask: AskLeader,
    /// What a node answers that leads; without it nodes answer the leader's name or address.
    pub equals: Option<Json>,
}

impl Leader {
    /// Whether a node that answers so says that it leads.
    pub fn is_claim(&self, answer: &Json) -> bool {
        self.equals.as_ref() == Some(answer)
    }
}

/// How a node is asked who leads.
pub enum AskLeader {
    Http {
        path: Template,
        /// Where in the answer it stands.
        pointer: String,
    },
    /// What a command on the node prints.
    Exec(Vec<Template>),
}

/// What a node holds.
pub struct Replica {
    pub ask: AskReplica,
    /// Where in the answer it stands how far the node has applied the log.
    pub index: String,
    /// Where it stands what it holds then.
    pub holds: String,
}

/// How a node is asked what it holds.
pub enum AskReplica {
    Http(Template),
    Exec(Vec<Template>),
}

impl Reader<'_> {
    pub(super) fn ready(&self, file: &File) -> Read<Ready> {
        let (at, ready) = (file.ready.span().start, file.ready.get_ref());
        let tcp = ready.tcp.then_some(());
        match (&ready.http, tcp, &ready.exec, &ready.log) {
            (Some(path), None, None, None) => Ok(Ready::Http {
                path: self.path(path, &self.of_node(&[]))?,
                answer: Answers {
                    status: ready.status.as_ref().map(|status| *status.get_ref()),
                    contains: None,
                    json: ready
                        .json
                        .as_ref()
                        .map(|text| self.pointer(text))
                        .transpose()?,
                    equals: ready.equals.clone(),
                },
            }),
            (None, Some(()), None, None) => Ok(Ready::Tcp),
            (None, None, Some(argv), None) if !argv.is_empty() => {
                Ok(Ready::Exec(self.on_a_node(file, argv)?))
            }
            (None, None, None, Some(line)) if !line.is_empty() => Ok(Ready::Log(line.clone())),
            _ => self.wrong(
                at,
                "one of `http`, `tcp = true`, `exec` and `log` says when a node serves",
            ),
        }
    }

    pub(super) fn leader(&self, file: &File, leader: &Spanned<LeaderFile>) -> Read<Leader> {
        let (at, leader) = (leader.span().start, leader.get_ref());
        let ask = match (&leader.http, &leader.json, &leader.exec) {
            (Some(http), Some(json), None) => AskLeader::Http {
                path: self.path(http, &self.of_node(&[]))?,
                pointer: self.pointer(json)?,
            },
            (None, None, Some(argv)) if !argv.is_empty() => {
                AskLeader::Exec(self.on_a_node(file, argv)?)
            }
            _ => return self.wrong(at, "`http` with `json`, or `exec`, says who leads"),
        };
        Ok(Leader {
            ask,
            equals: leader.equals.clone(),
        })
    }

    pub(super) fn replica(&self, file: &File, replica: &Spanned<ReplicaFile>) -> Read<Replica> {
        let (at, replica) = (replica.span().start, replica.get_ref());
        let ask = match (&replica.http, &replica.exec) {
            (Some(path), None) => AskReplica::Http(self.path(path, &self.of_node(&[]))?),
            (None, Some(argv)) if !argv.is_empty() => AskReplica::Exec(self.on_a_node(file, argv)?),
            _ => return self.wrong(at, "`http` or `exec`, one of them, says what a node holds"),
        };
        Ok(Replica {
            ask,
            index: self.pointer(&replica.index)?,
            holds: self.pointer(&replica.holds)?,
        })
    }
}
