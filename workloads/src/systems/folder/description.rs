//! What a system's folder says, checked: every name in it is known, and what it promises it has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::system::Operation;

mod admin;
mod asked;
mod client;
mod started;
mod versions;

pub use admin::Administered;
pub use asked::{AskLeader, AskReplica, Leader, Ready, Replica};
pub use client::Client;
pub use started::Started;
pub use versions::{NEXT, NONE, Version};

use super::answers::{Answers, HttpCall, HttpCalls};
use super::file::{
    AnswerFile, CallFile, ClientFile, File, HttpFile, KindFile, ListFile, ParamFile, SidecarFile,
    Text,
};
use super::place::FolderError;
use super::template::Template;
use crate::catalogue::{self, WORKLOADS};
use crate::interface::{Call, Interface};
use crate::params::{Kind, Param, parse_duration};
use crate::workload::Workload;

/// The file that makes a folder a system.
pub const FILE: &str = "system.toml";

/// Names that stand for something of the node.
const OF_NODE: &[&str] = &["name", "address", "index", "port"];

pub struct Description {
    pub folder: PathBuf,
    pub about: String,
    pub workloads: Vec<&'static dyn Workload>,
    pub calls: Vec<Call>,
    pub port: u16,
    pub nodes: usize,
    /// How what is missing is installed.
    pub install: Option<String>,
    /// The file with the image in which everything runs, and which of its images.
    pub image: Option<(String, Option<String>)>,
    pub version: Vec<Template>,
    pub start_time: Duration,
    pub recovery_time: Duration,
    pub may_crash: bool,
    /// What they are called in templates, and as they are written.
    pub programs: Vec<(String, String)>,
    /// The first is that of `programs`.
    pub versions: Vec<Version>,
    pub params: Vec<Param>,
    pub lists: Vec<List>,
    pub started: Started,
    pub files: Vec<(String, Template)>,
    pub ready: Ready,
    pub leader: Option<Leader>,
    pub replica: Option<Replica>,
    /// What can be done to it as faults.
    pub admin: Vec<Administered>,
    pub client: Client,
}

pub struct List {
    pub name: String,
    pub each: Template,
    pub separator: String,
    pub others: bool,
}

/// Reads one file, and knows which names its templates may have.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    params: Vec<String>,
}

type Read<T> = Result<T, FolderError>;

impl Description {
    pub fn read(folder: &Path) -> Read<Description> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| FolderError::whole(&path, format!("cannot be read: {e}")))?;
        let file: File = toml::from_str(&text).map_err(|e| FolderError::toml(&path, &text, &e))?;
        let names = file.params.keys();
        let reader = Reader {
            path: &path,
            text: &text,
            params: names
                .map(|name| format!("param.{}", name.get_ref()))
                .collect(),
        };
        reader.description(folder, &file)
    }

    pub fn interfaces(&self) -> Vec<Interface> {
        let replicas = self.replica.as_ref().map(|_| Interface::Replicas);
        let of_clients = self.client.interfaces().iter().copied();
        of_clients.chain(replicas).collect()
    }

    /// What can be done to it as a fault.
    pub fn operations(&self) -> Vec<Operation> {
        let own = self.admin.iter().map(|admin| admin.operation.clone());
        own.chain(versions::operation(&self.versions)).collect()
    }
}

impl Reader<'_> {
    fn description(&self, folder: &Path, file: &File) -> Read<Description> {
        let client = self.client(&file.client)?;
        let (workloads, calls) = self.workloads(file, &client)?;
        let lists = file.lists.iter().map(|(name, list)| self.list(name, list));
        let lists = lists.collect::<Read<Vec<_>>>()?;
        let known = self.known_to_daemon(file);
        let files = file.daemon.files.iter();
        let versions = self.versions(file)?;
        if *file.port.get_ref() == 0 {
            return self.wrong(
                file.port.span().start,
                "clients need a port from 1 to 65535",
            );
        }
        Ok(Description {
            folder: folder.to_path_buf(),
            about: file.about.clone(),
            workloads,
            calls,
            port: *file.port.get_ref(),
            nodes: self.nodes(file)?,
            install: file.install.clone(),
            image: self.image(file, &client)?,
            version: self.on_a_node(file, &file.version)?,
            start_time: self.duration(file.start_time.as_ref())?,
            recovery_time: self.duration(file.recovery_time.as_ref())?,
            may_crash: file.may_crash,
            programs: file
                .programs
                .iter()
                .map(|(name, from)| (name.clone(), from.get_ref().clone()))
                .collect(),
            params: file
                .params
                .iter()
                .map(|(name, param)| self.param(name, param))
                .chain(versions::params(&versions).into_iter().map(Ok))
                .collect::<Read<_>>()?,
            versions,
            lists,
            started: self.started(file, &known)?,
            files: files
                .map(|(name, from)| self.file(folder, name, from, &known))
                .collect::<Read<_>>()?,
            ready: self.ready(file)?,
            leader: file
                .leader
                .as_ref()
                .map(|leader| self.leader(file, leader))
                .transpose()?,
            replica: file
                .replica
                .as_ref()
                .map(|replica| self.replica(file, replica))
                .transpose()?,
            admin: self.admin(file, &known)?,
            client,
        })
    }

    fn wrong<T>(&self, at: usize, message: impl ToString) -> Read<T> {
        Err(FolderError::at(self.path, self.text, at, message))
    }

    /// What may stand in a daemon's command line and files.
    fn known_to_daemon(&self, file: &File) -> Vec<String> {
        let own = ["data", "log", "first", "peers", "others"].map(String::from);
        let programs = file.programs.keys().map(|name| format!("program.{name}"));
        let lists = file
            .lists
            .keys()
            .map(|name| format!("list.{}", name.get_ref()));
        self.of_node(&[])
            .into_iter()
            .chain(own)
            .chain(programs)
            .chain(lists)
            .collect()
    }

    fn of_node(&self, more: &[&str]) -> Vec<String> {
        let names = OF_NODE.iter().chain(more).map(|name| name.to_string());
        names.chain(self.params.iter().cloned()).collect()
    }

    fn template(&self, text: &Text, known: &[String]) -> Read<Template> {
        Template::parse(text.get_ref(), known).or_else(|wrong| {
            let span = text.span();
            // Quotes, and escapes in them, stand between the two.
            let written = &self.text[span.clone()];
            let inside = written
                .find(text.get_ref().as_str())
                .map(|at| at + wrong.at);
            self.wrong(span.start + inside.unwrap_or_default(), wrong.message)
        })
    }

    fn duration(&self, text: Option<&Text>) -> Read<Duration> {
        let Some(text) = text else {
            return Ok(Duration::from_secs(30));
        };
        match parse_duration(text.get_ref()) {
            Some(span) => Ok(span),
            None => self.wrong(
                text.span().start,
                "this is not a duration such as 30s or 2m",
            ),
        }
    }

    fn workloads(
        &self,
        file: &File,
        client: &Client,
    ) -> Read<(Vec<&'static dyn Workload>, Vec<Call>)> {
        if file.workloads.get_ref().is_empty() {
            return self.wrong(file.workloads.span().start, "say what can be asked of it");
        }
        let mut found = Vec::new();
        let mut calls: Vec<Call> = match client {
            Client::Http(http) => http.calls(),
            Client::Command(_) | Client::Maelstrom(_) => Vec::new(),
        };
        for text in file.workloads.get_ref() {
            let at = text.span().start;
            let workload = self.workload(text.get_ref(), at)?;
            let offered = client.interfaces();
            if let Some(need) = workload.needs().iter().find(|need| !offered.contains(need)) {
                let who = client.word();
                let what = format!(
                    "{} needs the interface {need}, which {who} cannot offer",
                    text.get_ref()
                );
                return self.wrong(at, what);
            }
            let composed = workload.needs().contains(&Interface::Objects);
            match client {
                Client::Command(_) => calls.extend(workload.calls()),
                Client::Maelstrom(spoken) => {
                    if !spoken.workloads().contains(&workload.name()) {
                        let what = format!(
                            "{} is not asked of such a node, but {}",
                            text.get_ref(),
                            spoken.workloads().join(", ")
                        );
                        return self.wrong(at, what);
                    }
                    calls.extend(workload.calls());
                }
                Client::Http(_) => {
                    let asked = match composed {
                        true => &[Call::Read, Call::Cas],
                        false => workload.calls(),
                    };
                    if let Some(call) = asked.iter().find(|call| !calls.contains(call)) {
                        let (workload, call) = (text.get_ref(), call.word());
                        let what =
                            format!("{workload} needs [client.http.{call}], which is not here");
                        return self.wrong(at, what);
                    }
                }
            }
            if composed {
                calls.extend(workload.calls());
            }
            found.push(workload);
        }
        calls.sort_unstable();
        calls.dedup();
        Ok((found, calls))
    }

    /// One of this program's, or one of the folder's own.
    fn workload(&self, name: &str, at: usize) -> Read<&'static dyn Workload> {
        let unknown = match catalogue::find(name) {
            Ok(workload) => return Ok(workload),
            Err(unknown) => unknown,
        };
        let folder = self.path.parent().unwrap_or(self.path);
        match super::workload::find(folder, name)? {
            Some(own) => Ok(own),
            None => self.wrong(at, format!("{unknown}; and {name}.toml is not beside it")),
        }
    }

    fn param(&self, name: &Text, param: &ParamFile) -> Read<Param> {
        let at = param.kind.span().start;
        let kind = match (param.kind.get_ref(), &param.words, param.min, param.max) {
            (KindFile::Choice, Some(words), None, None) => {
                let words = words.iter().map(|word| kept(word)).collect::<Vec<_>>();
                Kind::Choice(words.leak())
            }
            (KindFile::Count, None, Some(min), Some(max)) if min <= max => Kind::Count { min, max },
            (KindFile::Duration, None, None, None) => Kind::Duration,
            (KindFile::Choice, ..) => return self.wrong(at, "a choice has `words`, and no bounds"),
            (KindFile::Count, ..) => return self.wrong(at, "a count has `min` and `max`"),
            (KindFile::Duration, ..) => return self.wrong(at, "a duration has no words or bounds"),
        };
        let taken = WORKLOADS
            .iter()
            .flat_map(|w| w.params())
            .any(|p| p.name == name.get_ref());
        if taken {
            let what = format!(
                "{:?} is a parameter of a workload: choose another name",
                name.get_ref()
            );
            return self.wrong(name.span().start, what);
        }
        let declared = Param {
            name: kept(name.get_ref()),
            kind,
            default: kept(param.default.get_ref()),
            about: kept(&param.about),
        };
        match crate::params::Params::resolve(&[declared], [(declared.name, declared.default)]) {
            Ok(_) => Ok(declared),
            Err(e) => self.wrong(param.default.span().start, e),
        }
    }

    fn list(&self, name: &Text, list: &ListFile) -> Read<List> {
        Ok(List {
            name: name.get_ref().clone(),
            each: self.template(&list.each, &self.of_node(&[]))?,
            separator: list.separator.clone().unwrap_or_else(|| ",".into()),
            others: list.others,
        })
    }

    fn file(
        &self,
        folder: &Path,
        name: &Text,
        from: &Text,
        known: &[String],
    ) -> Read<(String, Template)> {
        if name.get_ref().contains('/') || name.get_ref().starts_with('.') {
            return self.wrong(name.span().start, "a name in {data}, without folders");
        }
        let path = folder.join(from.get_ref());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) => return self.wrong(from.span().start, format!("{}: {e}", path.display())),
        };
        match Template::parse(&text, known) {
            Ok(template) => Ok((name.get_ref().clone(), template)),
            Err(wrong) => Err(FolderError::at(&path, &text, wrong.at, wrong.message)),
        }
    }

    /// A command that is run on a node by itself, where nothing is known of the others.
    fn on_a_node(&self, file: &File, argv: &[Text]) -> Read<Vec<Template>> {
        let mut known = self.of_node(&["data", "log"]);
        known.extend(file.programs.keys().map(|name| format!("program.{name}")));
        argv.iter()
            .map(|text| self.template(text, &known))
            .collect()
    }

    fn path(&self, text: &Text, known: &[String]) -> Read<Template> {
        if !text.get_ref().starts_with('/') {
            return self.wrong(
                text.span().start,
                "a path begins with `/`; the port is `port`",
            );
        }
        self.template(text, known)
    }

    /// A JSON pointer (RFC 6901): empty, or parts that begin with `/`.
    fn pointer(&self, text: &Text) -> Read<String> {
        let pointer = text.get_ref();
        match pointer.is_empty() || pointer.starts_with('/') {
            true => Ok(pointer.clone()),
            false => self.wrong(
                text.span().start,
                format!(
                    "a JSON pointer begins with `/`: did you mean \"/{}\"?",
                    pointer.replace('.', "/")
                ),
            ),
        }
    }

    fn client(&self, client: &toml::Spanned<ClientFile>) -> Read<Client> {
        let at = client.span().start;
        let ClientFile {
            command,
            http,
            maelstrom,
        } = client.get_ref();
        if let (Some(spoken), None, None) = (maelstrom, command, http) {
            return Ok(Client::Maelstrom(*spoken));
        }
        match (command, http) {
            _ if maelstrom.is_some() => self.wrong(at, "`maelstrom` has no client beside it"),
            (Some(command), None) if command.get_ref().is_empty() => {
                self.wrong(command.span().start, "no program to start")
            }
            (Some(command), None) => {
                let known = vec!["folder".to_string()];
                let argv = command.get_ref().iter();
                let argv = argv.map(|text| self.template(text, &known));
                Ok(Client::Command(argv.collect::<Read<_>>()?))
            }
            (None, Some(http)) => Ok(Client::Http(self.http(at, http)?)),
            _ => self.wrong(
                at,
                "a client is a `command`, [client.http] or `maelstrom`, one of them",
            ),
        }
    }

    fn http(&self, at: usize, file: &HttpFile) -> Read<HttpCalls> {
        let given = [
            (Call::Read, &file.read, &["key"][..]),
            (Call::Write, &file.write, &["key", "value"]),
            (Call::Cas, &file.cas, &["key", "from", "to"]),
            (Call::Append, &file.append, &["key", "value"]),
            (Call::Scan, &file.scan, &["prefix"]),
        ];
        let mut calls = Vec::new();
        for (call, file, names) in given {
            if let Some(file) = file {
                calls.push((call, self.call(call, file, &self.of_node(names))?));
            }
        }
        match calls.is_empty() {
            true => self.wrong(
                at,
                "[client.http] has no operation: say how to read and write",
            ),
            false => Ok(HttpCalls(calls)),
        }
    }

    fn call(&self, call: Call, file: &CallFile, known: &[String]) -> Read<HttpCall> {
        let at = file.request.span().start;
        let written = file.request.get_ref();
        let method = written.split(' ').next().unwrap_or_default();
        let Some((_, path)) = written
            .split_once(' ')
            .filter(|(_, path)| path.starts_with('/'))
        else {
            return self.wrong(at, "a request is a method and a path: \"GET /kv/{key}\"");
        };
        let Ok(method) = method.parse() else {
            return self.wrong(at, format!("{method:?} is no method of HTTP"));
        };
        let reads = matches!(call, Call::Read | Call::Scan);
        if let (false, Some(value)) = (reads, &file.value) {
            return self.wrong(
                value.span().start,
                "only `read` and `scan` have a value to be found",
            );
        }
        // The whole text is checked, so that places are right; the method has no names in it.
        self.template(&file.request, known)?;
        let answers = |list: &[AnswerFile]| -> Read<Vec<Answers>> {
            list.iter().map(|answer| self.answer(answer)).collect()
        };
        Ok(HttpCall {
            method,
            path: Template::parse(path, known).expect("it was checked with the method before it"),
            body: file
                .body
                .as_ref()
                .map(|body| self.template(body, known))
                .transpose()?,
            headers: file
                .headers
                .iter()
                .map(|(name, value)| match name.get_ref().parse() {
                    Ok(header) => Ok((header, self.template(value, known)?)),
                    Err(_) => self.wrong(name.span().start, "this is no header of HTTP"),
                })
                .collect::<Read<_>>()?,
            value: match &file.value {
                Some(pointer) => self.pointer(pointer)?,
                None => String::new(),
            },
            shape: file.shape.unwrap_or_default(),
            ok: answers(&file.ok)?,
            absent: answers(&file.absent)?,
            conflict: answers(&file.conflict)?,
            fail: answers(&file.fail)?,
        })
    }

    fn answer(&self, file: &AnswerFile) -> Read<Answers> {
        if let (Some(status), None, None) = (&file.status, &file.contains, &file.json)
            && !(100..600).contains(status.get_ref())
        {
            return self.wrong(status.span().start, "a status of HTTP is from 100 to 599");
        }
        Ok(Answers {
            status: file.status.as_ref().map(|status| *status.get_ref()),
            contains: file.contains.clone(),
            json: file
                .json
                .as_ref()
                .map(|text| self.pointer(text))
                .transpose()?,
            equals: file.equals.clone(),
        })
    }
}

/// A text that lives as long as the program: systems are few, and are read once.
pub fn kept(text: &str) -> &'static str {
    text.to_string().leak()
}
