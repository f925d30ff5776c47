//! `system.toml` as it is written: its keys, and nothing about what they mean. The page
//! `harness/docs/your-own-system.md` describes them.

use std::collections::BTreeMap;

use super::maelstrom::Spoken;
use agent::group::Restart;
use agent::protocol::StopSignal;
use serde::Deserialize;
use serde_json::Value as Json;
use toml::Spanned;

pub type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct File {
    pub about: String,
    pub workloads: Spanned<Vec<Text>>,
    pub port: Spanned<u16>,
    pub nodes: Option<Spanned<usize>>,
    pub install: Option<String>,
    /// What `docker save` wrote, in which the programs are.
    pub image: Option<Text>,
    /// Which of several images in it.
    pub image_name: Option<Text>,
    #[serde(default)]
    pub version: Vec<Text>,
    pub start_time: Option<Text>,
    pub recovery_time: Option<Text>,
    #[serde(default)]
    pub may_crash: bool,
    #[serde(default)]
    pub programs: BTreeMap<String, Text>,
    /// Other versions of them.
    #[serde(default)]
    pub versions: BTreeMap<Text, VersionFile>,
    #[serde(default)]
    pub params: BTreeMap<Text, ParamFile>,
    #[serde(default)]
    pub lists: BTreeMap<Text, ListFile>,
    #[serde(default)]
    pub daemon: DaemonFile,
    /// More programs of each node, started after the daemon in this order.
    #[serde(default)]
    pub sidecar: Vec<SidecarFile>,
    pub ready: Spanned<ReadyFile>,
    pub leader: Option<Spanned<LeaderFile>>,
    /// What a node holds when the run is over.
    pub replica: Option<Spanned<ReplicaFile>>,
    /// Operations of its own that can be asked for as faults, by name.
    #[serde(default)]
    pub admin: BTreeMap<Text, AdminFile>,
    pub client: Spanned<ClientFile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VersionFile {
    /// Those that differ from `[programs]`.
    pub programs: Spanned<BTreeMap<Text, String>>,
    pub install: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ParamFile {
    pub about: String,
    #[serde(rename = "type")]
    pub kind: Spanned<KindFile>,
    pub default: Text,
    pub words: Option<Vec<String>>,
    pub min: Option<u64>,
    pub max: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KindFile {
    Choice,
    Count,
    Duration,
}

/// One text a node, put together.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ListFile {
    pub each: Text,
    pub separator: Option<String>,
    #[serde(default)]
    pub others: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DaemonFile {
    /// Of an image, arguments of its entrypoint, in place of its own.
    pub command: Option<Spanned<Vec<Text>>>,
    /// In place of the image's.
    pub entrypoint: Option<Spanned<Vec<Text>>>,
    /// Arguments of all nodes but the first.
    #[serde(default)]
    pub unless_first: Vec<Text>,
    #[serde(default)]
    pub environment: BTreeMap<String, Text>,
    /// What they are called on the node, and the template beside `system.toml`.
    #[serde(default)]
    pub files: BTreeMap<Text, Text>,
    /// Commands that are run once on each node, before anything is started there.
    #[serde(default)]
    pub prepare: Vec<Spanned<Vec<Text>>>,
    /// The user as whom everything on a node runs, for servers that refuse root.
    pub user: Option<String>,
    #[serde(default)]
    pub restart: Restart,
    pub stop_signal: Option<StopSignal>,
    /// Where everything on a node is started.
    pub working_dir: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SidecarFile {
    pub name: Text,
    pub command: Spanned<Vec<Text>>,
    #[serde(default)]
    pub environment: BTreeMap<String, Text>,
    #[serde(default)]
    pub restart: Restart,
    #[serde(default)]
    pub on: Nodes,
}

/// Which nodes have a program.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Nodes {
    #[default]
    All,
    First,
    Others,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReadyFile {
    pub http: Option<Text>,
    pub status: Option<Spanned<u16>>,
    pub json: Option<Text>,
    pub equals: Option<Json>,
    #[serde(default)]
    pub tcp: bool,
    pub exec: Option<Vec<Text>>,
    pub log: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LeaderFile {
    pub http: Option<Text>,
    pub json: Option<Text>,
    pub exec: Option<Vec<Text>>,
    pub equals: Option<Json>,
}

/// The answer has both: how far the node has applied the log, and what it holds then.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReplicaFile {
    pub http: Option<Text>,
    pub exec: Option<Vec<Text>>,
    pub index: Text,
    pub holds: Text,
}

/// An operation: commands that are run on a node, beside its daemon.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AdminFile {
    pub about: String,
    pub command: Spanned<Vec<Text>>,
    /// Its inverse, when the fault ends.
    pub undo: Option<Spanned<Vec<Text>>>,
    /// Succeeds while it is in force.
    pub check: Option<Spanned<Vec<Text>>>,
    /// The daemon is stopped before the command, and before the one that undoes it, and started
    /// again after.
    #[serde(default)]
    pub restart: bool,
    /// The node serves nobody meanwhile.
    #[serde(default)]
    pub down: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClientFile {
    pub command: Option<Spanned<Vec<Text>>>,
    pub http: Option<HttpFile>,
    /// The daemon speaks Maelstrom's protocol, for this workload of Maelstrom's.
    pub maelstrom: Option<Spoken>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpFile {
    pub read: Option<CallFile>,
    pub write: Option<CallFile>,
    pub cas: Option<CallFile>,
    pub append: Option<CallFile>,
    pub scan: Option<CallFile>,
}

/// How one operation is asked over HTTP, and what its answers mean.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CallFile {
    pub request: Text,
    pub body: Option<Text>,
    #[serde(default)]
    pub headers: BTreeMap<Text, Text>,
    pub value: Option<Text>,
    #[serde(rename = "as")]
    pub shape: Option<Shape>,
    #[serde(default)]
    pub ok: Vec<AnswerFile>,
    #[serde(default)]
    pub absent: Vec<AnswerFile>,
    #[serde(default)]
    pub conflict: Vec<AnswerFile>,
    #[serde(default)]
    pub fail: Vec<AnswerFile>,
}

/// What a value looks like in an answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// As it was sent.
    #[default]
    Json,
    /// A number, be it written as a text.
    Int,
}

/// An answer that has all of this.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AnswerFile {
    pub status: Option<Spanned<u16>>,
    pub contains: Option<String>,
    pub json: Option<Text>,
    pub equals: Option<Json>,
}
