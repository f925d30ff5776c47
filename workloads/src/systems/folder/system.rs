//! A described system on its nodes: templates filled in, programs started, questions asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use agent::group::{self, Group, Member};
use agent::protocol::{Daemon, Request};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::cluster::{Node, Program};
use harness::control::ControlError;
use harness::system::{Operated, Operation, Step, System, Watch};
use history::{Name, Value};
use serde_json::Value as Json;
use tokio::net::TcpStream;

use super::description::{AskLeader, Client, Description, Leader, Ready};
use super::file::Nodes;
use super::in_image::InImage;
use super::process::Idle;
use super::programs::Programs;
use super::template::Template;
use crate::catalogue;
use crate::http::{Http, Patience, told};
use crate::leader_watch::{self, Opinion};
use crate::params::Params;
use crate::systems::{Setup, ask_all, at, majority, make_folders, run};

/// For questions whose answer may take the cluster a moment.
const ASKED: Patience = Patience {
    connect: Duration::from_millis(500),
    answer: Duration::from_secs(2),
};

pub struct Described {
    name: &'static str,
    description: Arc<Description>,
    params: Params,
    workload: String,
    programs: Programs,
    image: Option<InImage>,
    /// Client programs that wait for another client, by their node.
    idle: Mutex<BTreeMap<Name, Idle>>,
    /// Every node, once they are known.
    nodes: OnceLock<Vec<(Name, IpAddr)>>,
}

impl Described {
    /// `programs` are those of the description, found; and so is its image.
    pub fn new(
        name: &'static str,
        description: Arc<Description>,
        setup: &Setup,
        programs: Programs,
        image: Option<InImage>,
    ) -> Described {
        Described {
            name,
            description,
            params: setup.params.clone(),
            workload: setup.workload.clone(),
            programs,
            image,
            idle: Mutex::default(),
            nodes: OnceLock::new(),
        }
    }

    fn http(&self, node: &Node, patience: Patience) -> Http {
        Http::new(at(node, self.description.port), patience)
    }

    /// What a name that stands for something of the node alone stands for.
    fn of_node(&self, node: &Node, index: usize, name: &str) -> Option<String> {
        Some(match name {
            "name" => node.name.to_string(),
            "address" => node.address.to_string(),
            "index" => index.to_string(),
            "port" => self.description.port.to_string(),
            _ => self.params.text(name.strip_prefix("param.")?).to_string(),
        })
    }

    /// A node's place among all, from 1 on. Once the cluster is up, it is known where only the node
    /// itself is.
    fn index(&self, node: &Node, all: &[Node]) -> usize {
        let before = match self.nodes.get() {
            Some(known) => known.iter().position(|(name, _)| *name == node.name),
            None => all.iter().position(|other| other.name == node.name),
        };
        1 + before.unwrap_or_default()
    }

    fn value(&self, node: &Node, all: &[Node], name: &str) -> String {
        let index = |node: &Node| self.index(node, all);
        if let Some(value) = self.of_node(node, index(node), name) {
            return value;
        }
        let port = self.description.port;
        let addresses = |nodes: &mut dyn Iterator<Item = &Node>| {
            let addresses: Vec<_> = nodes.map(|node| at(node, port).to_string()).collect();
            addresses.join(",")
        };
        match name.split_once('.') {
            Some(("program", program)) => {
                let found = self.programs.of(&node.name, index(node), program);
                let path = found.map(|provided| node.bin(&provided.name));
                path.map(|path| path.display().to_string())
                    .unwrap_or_default()
            }
            Some((_, list)) => {
                let mut lists = self.description.lists.iter();
                let list = lists
                    .find(|l| l.name == list)
                    .expect("its name was checked");
                let among = all.iter().filter(|n| !list.others || n.name != node.name);
                let each: Vec<_> = among
                    .map(|n| {
                        list.each
                            .fill(|name| self.of_node(n, index(n), name).unwrap_or_default())
                    })
                    .collect();
                each.join(&list.separator)
            }
            None => match name {
                "data" => node.data().display().to_string(),
                "log" => node.dir.join("log").display().to_string(),
                "first" => all.first().map_or(node.address, |n| n.address).to_string(),
                "peers" => addresses(&mut all.iter()),
                _ => addresses(&mut all.iter().filter(|n| n.name != node.name)),
            },
        }
    }

    fn fill(&self, templates: &[Template], node: &Node, all: &[Node]) -> Vec<String> {
        let fill = |template: &Template| template.fill(|name| self.value(node, all, name));
        templates.iter().map(fill).collect()
    }

    fn environment(
        &self,
        templates: &[(String, Template)],
        node: &Node,
        all: &[Node],
    ) -> BTreeMap<String, String> {
        let fill = |template: &Template| template.fill(|name| self.value(node, all, name));
        let all = templates.iter();
        all.map(|(name, value)| (name.clone(), fill(value)))
            .collect()
    }

    fn command(&self, node: &Node, all: &[Node]) -> Vec<String> {
        let started = &self.description.started;
        let own = |argv: &Option<Vec<Template>>| {
            let argv = argv.as_ref();
            argv.map(|argv| self.fill(argv, node, all))
        };
        let (entrypoint, command) = (own(&started.entrypoint), own(&started.command));
        let mut argv = match &self.image {
            Some(image) => image.argv(entrypoint, command),
            None => command.unwrap_or_default(),
        };
        if !is_first(node, all) {
            argv.extend(self.fill(&started.unless_first, node, all));
        }
        argv
    }

    /// The daemon itself.
    fn main(&self, node: &Node, all: &[Node]) -> Member {
        let started = &self.description.started;
        let mut argv = self.command(node, all);
        // The agent's part puts it on the network.
        if let Client::Maelstrom(_) = self.description.client {
            let file = maelstrom_file(node).display().to_string();
            argv = vec![group::PROGRAM.into(), "maelstrom".into(), file];
        }
        Member {
            name: self.name.into(),
            argv,
            env: self.environment(&started.environment, node, all),
            restart: started.restart,
        }
    }

    /// The daemon and what belongs to it.
    fn group(&self, node: &Node, all: &[Node]) -> Group {
        let started = &self.description.started;
        let here = |on: Nodes| match on {
            Nodes::All => true,
            Nodes::First => is_first(node, all),
            Nodes::Others => !is_first(node, all),
        };
        let sidecars = started.sidecars.iter().filter(|sidecar| here(sidecar.on));
        let sidecars = sidecars.map(|sidecar| Member {
            name: sidecar.name.clone(),
            argv: self.fill(&sidecar.command, node, all),
            env: self.environment(&sidecar.environment, node, all),
            restart: sidecar.restart,
        });
        let prepare = started.prepare.iter();
        let image = self.image.as_ref();
        Group {
            prepare: prepare.map(|argv| self.fill(argv, node, all)).collect(),
            prepared: node.data().join(".prepared"),
            user: started.user.clone().or(image.and_then(InImage::user)),
            rootfs: image.map(|image| image.rootfs(node)),
            cwd: self.cwd(node, all),
            data: node.data(),
            members: [self.main(node, all)].into_iter().chain(sidecars).collect(),
        }
    }

    /// What the agent's part finds on the node and starts its programs by.
    async fn write_starts(&self, node: &Node, all: &[Node]) -> Result<(), ControlError> {
        if let Client::Maelstrom(_) = self.description.client {
            let port = self.description.port;
            let nodes = all.iter().map(|n| (n.name.to_string(), at(n, port)));
            let node_file = agent::maelstrom::Node {
                name: node.name.to_string(),
                listen: at(node, port),
                nodes: nodes.collect(),
                argv: self.command(node, all),
            };
            let text = serde_json::to_string(&node_file).expect("names and texts are JSON");
            put(node, maelstrom_file(node), text).await?;
        }
        if !self.is_plain() {
            let group = serde_json::to_string(&self.group(node, all));
            let group = group.expect("names and texts are JSON");
            put(node, group_file(node), group).await?;
        }
        Ok(())
    }

    fn cwd(&self, node: &Node, all: &[Node]) -> PathBuf {
        let own = self.description.started.working_dir.as_ref();
        let own = own.map(|dir| dir.fill(|name| self.value(node, all, name)).into());
        let image = || self.image.as_ref().map(InImage::working_dir);
        own.or_else(image).unwrap_or_else(|| node.data())
    }

    /// Whether the agent starts the daemon itself.
    fn is_plain(&self) -> bool {
        self.image.is_none() && self.description.started.is_plain()
    }

    /// A command that is run on a node beside the daemon: in the image, if there is one.
    fn beside(&self, argv: &[Template], node: &Node) -> Vec<String> {
        self.inside(self.fill(argv, node, std::slice::from_ref(node)), node)
    }

    fn inside(&self, argv: Vec<String>, node: &Node) -> Vec<String> {
        if self.image.is_none() {
            return argv;
        }
        let file = group_file(node).display().to_string();
        let inside = [group::PROGRAM.to_string(), "inside".into(), file];
        inside.into_iter().chain(argv).collect()
    }

    /// One text for a node, after the cluster is up.
    fn path(&self, template: &Template, node: &Node) -> String {
        let index = self.index(node, std::slice::from_ref(node));
        template.fill(|name| self.of_node(node, index, name).unwrap_or_default())
    }

    /// What a node says at the pointer of who leads.
    fn opinion(&self, node: &Node, leader: &Leader) -> impl Future<Output = Option<Json>> + use<> {
        let mut http = self.http(node, Patience::QUESTION);
        let (node, argv, asked) = match &leader.ask {
            AskLeader::Http { path, pointer } => {
                let asked = Some((self.path(path, node), pointer.clone()));
                (node.clone(), Vec::new(), asked)
            }
            AskLeader::Exec(argv) => (node.clone(), self.beside(argv, node), None),
        };
        async move {
            let Some((path, pointer)) = asked else {
                let ran = run(&node, argv).await.ok()?;
                return Some(Json::String(ran.stdout.trim().to_string()));
            };
            let answer = http.get(&path).await.ok()?;
            let body: Json = serde_json::from_slice(&answer.body).ok()?;
            body.pointer(&pointer).cloned()
        }
    }
}

/// Where the parent of a node's programs finds what they are.
fn group_file(node: &Node) -> PathBuf {
    node.data().join(".group.json")
}

/// Where the agent's part finds the node that it is to put on the network.
fn maelstrom_file(node: &Node) -> PathBuf {
    node.data().join(".maelstrom.json")
}

fn is_first(node: &Node, all: &[Node]) -> bool {
    all.first().is_some_and(|first| first.name == node.name)
}

/// Writes a file on a node.
async fn put(node: &Node, path: PathBuf, text: String) -> Result<(), ControlError> {
    let put = Request::Put {
        path,
        mode: 0o644,
        append: false,
        base64: BASE64.encode(text),
    };
    node.agent.call::<Json>(put).await.map(drop)
}

/// The node that an answer names, by name or address.
fn named<'a>(answer: &Json, mut nodes: impl Iterator<Item = (&'a Name, IpAddr)>) -> Option<Name> {
    let text = answer.as_str()?;
    let found = nodes.find(|(name, address)| *name == text || has_address(text, *address));
    found.map(|(name, _)| name.clone())
}

/// Whether the address stands in the text, and is not the beginning of another: `10.0.0.1` is not
/// in `http://10.0.0.12:80`.
fn has_address(text: &str, address: IpAddr) -> bool {
    let address = address.to_string();
    let more = |c: char| c.is_ascii_hexdigit() || ".:".contains(c);
    text.match_indices(&address).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + address.len()..]);
        !before.ends_with(more) && !after.starts_with(|c: char| c.is_ascii_digit())
    })
}

#[async_trait]
impl System for Described {
    fn name(&self) -> &str {
        self.name
    }

    fn programs(&self) -> Vec<Program> {
        let image = self.image.iter().map(InImage::program);
        self.programs.all().into_iter().chain(image).collect()
    }

    fn daemon(&self, node: &Node, all: &[Node]) -> Daemon {
        let main = self.main(node, all);
        let image = self.image.as_ref();
        let stop = self.description.started.stop;
        let (argv, env) = match self.is_plain() {
            true => (main.argv, main.env),
            false => {
                let file = group_file(node).display().to_string();
                (
                    vec![group::PROGRAM.into(), "group".into(), file],
                    BTreeMap::new(),
                )
            }
        };
        Daemon {
            name: self.name.into(),
            argv,
            env,
            cwd: node.data(),
            log: node.log(&format!("{}.log", self.name)),
            stop: stop.or(image.and_then(InImage::stop)).unwrap_or_default(),
        }
    }

    async fn install(&self, node: &Node, all: &[Node]) -> Result<(), ControlError> {
        let named = || all.iter().map(|n| (n.name.clone(), n.address)).collect();
        self.nodes.get_or_init(named);
        make_folders(node).await?;
        for (name, template) in &self.description.files {
            let text = template.fill(|name| self.value(node, all, name));
            put(node, node.data().join(name), text).await?;
        }
        self.write_starts(node, all).await
    }

    async fn ready(&self, node: &Node) -> Result<(), String> {
        let address = at(node, self.description.port);
        match &self.description.ready {
            Ready::Http { path, answer } => {
                let path = self.path(path, node);
                let asked = self.http(node, ASKED).get(&path).await;
                let is_right = asked.as_ref().is_ok_and(|got| {
                    let is_ok = answer.status.is_some() || got.status.is_success();
                    is_ok && answer.has(got)
                });
                is_right.then_some(()).ok_or_else(|| {
                    format!("[ready] http: GET http://{address}{path}: {}", told(&asked))
                })
            }
            Ready::Tcp => {
                let patience = ASKED.connect;
                let why = match tokio::time::timeout(patience, TcpStream::connect(address)).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(e)) => e.to_string(),
                    Err(_) => format!("no connection in {patience:?}"),
                };
                Err(format!("[ready] tcp: {address}: {why}"))
            }
            Ready::Exec(argv) => {
                let argv = self.beside(argv, node);
                let command = argv.join(" ");
                match run(node, argv).await {
                    Ok(_) => Ok(()),
                    Err(ControlError::Refused { reason, .. }) => {
                        Err(format!("[ready] exec: `{command}`: {reason}"))
                    }
                    Err(e) => Err(e.to_string()),
                }
            }
            Ready::Log(line) => {
                let name = format!("{}.log", self.name);
                let log = node.log(&name).display().to_string();
                let argv = ["grep", "-q", "-F", "-e", line, &log].map(String::from);
                let found = run(node, argv.to_vec()).await;
                let missing = |_| format!("[ready] log: no line of {name} has {line:?}");
                found.map(drop).map_err(missing)
            }
        }
    }

    async fn clients_work(&self, node: &Node) -> Result<(), String> {
        let Client::Command(command) = &self.description.client else {
            return Ok(());
        };
        let asked = catalogue::find_with(&self.description.workloads, &self.workload);
        let calls = asked.map_or(&[][..], |workload| workload.calls());
        self.process(command, node).rehearse(calls).await
    }

    fn patience(&self) -> Duration {
        self.description.start_time
    }

    fn recovery_time(&self) -> Duration {
        self.description.recovery_time
    }

    async fn leader(&self, nodes: &[Node]) -> Option<Name> {
        let leader = self.description.leader.as_ref()?;
        let said = ask_all(nodes, |node| self.opinion(node, leader)).await;
        if leader.equals.is_some() {
            let mut claims = said.iter().filter(|(_, answer)| leader.is_claim(answer));
            // Two who claim it: one of them is wrong, and nobody says which.
            return match (claims.next(), claims.next()) {
                (Some((name, _)), None) => Some(name.clone()),
                _ => None,
            };
        }
        let all = nodes.iter().map(|n| (&n.name, n.address));
        let opinions: Vec<Name> = said
            .iter()
            .filter_map(|(_, answer)| named(answer, all.clone()))
            .collect();
        majority(&opinions, nodes.len())
    }

    fn watch(&self) -> Option<Watch> {
        self.description
            .leader
            .as_ref()
            .map(|_| leader_watch::watch())
    }

    async fn look(&self, node: &Node) -> Result<Value, String> {
        let Some(leader) = &self.description.leader else {
            return Err("it is not said how to ask who leads".into());
        };
        let asked = async {
            let answer = self.opinion(node, leader).await?;
            if leader.equals.is_some() {
                let leads = leader.is_claim(&answer);
                return Some(Opinion {
                    leads,
                    ..Opinion::default()
                });
            }
            let all = self.nodes.get().map(Vec::as_slice).unwrap_or_default();
            let leader = named(&answer, all.iter().map(|(name, address)| (name, *address)));
            Some(Opinion {
                leads: leader.as_ref() == Some(&node.name),
                leader,
                term: None,
            })
        };
        leader_watch::look(node, asked).await
    }

    fn client_port(&self) -> u16 {
        self.description.port
    }

    async fn final_reads(&self, node: &Node) -> Vec<(Name, Result<Value, String>)> {
        match &self.description.replica {
            Some(replica) => vec![("replica".into(), self.held(node, replica).await)],
            None => Vec::new(),
        }
    }

    fn operations(&self) -> Vec<Operation> {
        self.description.operations()
    }

    async fn operate(
        &self,
        operation: &str,
        step: Step,
        node: &Node,
        all: &[Node],
    ) -> Result<Operated, ControlError> {
        self.run_operation(operation, step, node, all).await
    }

    async fn version(&self, node: &Node) -> Result<String, ControlError> {
        if let (Some(image), true) = (&self.image, self.description.version.is_empty()) {
            return Ok(image.title());
        }
        if self.description.version.is_empty() {
            return Ok(format!(
                "{} (it is not said how to ask its version)",
                self.name
            ));
        }
        let ran = run(node, self.beside(&self.description.version, node)).await?;
        let text = if ran.stdout.trim().is_empty() {
            ran.stderr
        } else {
            ran.stdout
        };
        Ok(text.lines().next().unwrap_or_default().trim().to_string())
    }
}

mod clients;
mod operations;
mod replica;
#[cfg(test)]
mod tests;
