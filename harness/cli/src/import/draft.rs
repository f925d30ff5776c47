//! A `system.toml` to be completed by a person.

use toml::Value;

/// What was understood of another file.
#[derive(Debug, Default)]
pub struct Draft {
    /// Of the folder.
    pub name: String,
    pub about: String,
    pub install: Option<String>,
    pub image: Option<Image>,
    pub port: Option<u16>,
    pub start_time: Option<String>,
    pub programs: Vec<(String, String)>,
    pub lists: Vec<List>,
    pub daemon: Daemon,
    pub sidecars: Vec<Sidecar>,
    /// A command whose success says that a node serves.
    pub ready: Option<Vec<String>>,
    pub left: Vec<Left>,
}

#[derive(Debug)]
pub struct Image {
    pub file: String,
    pub name: String,
}

/// Texts here and below are templates already: [`literal`] makes one of any text.
#[derive(Debug, Default)]
pub struct Daemon {
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub unless_first: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub prepare: Vec<Vec<String>>,
    /// A name, and no template.
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub restart: bool,
    pub stop_signal: Option<&'static str>,
}

#[derive(Debug)]
pub struct Sidecar {
    pub name: String,
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub restart: bool,
}

/// A text of all nodes.
#[derive(Debug, PartialEq, Eq)]
pub struct List {
    pub name: String,
    pub each: String,
    pub separator: String,
    pub others: bool,
}

/// What was not taken over.
#[derive(Debug)]
pub struct Left {
    pub line: u64,
    pub what: String,
    pub why: String,
}

/// A template that stands for this text.
pub fn literal(text: &str) -> String {
    text.replace('{', "{{")
}

pub fn literals(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| literal(text)).collect()
}

/// The signals at which a daemon can be told to end.
pub fn stop_signal(text: &str) -> Option<&'static str> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    ["TERM", "INT", "QUIT", "HUP"]
        .into_iter()
        .find(|known| *known == name)
}

impl Draft {
    pub fn leave(&mut self, line: u64, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        self.left.push(Left { line, what, why });
    }

    /// What a person must still say.
    pub fn to_say(&self) -> Vec<&'static str> {
        let mut all = vec!["how a client reads and writes ([client])"];
        if self.port.is_none() {
            all.push("on which port a node answers (port)");
        }
        all.push("where it listens and how it finds the others ([daemon])");
        if self.ready.is_none() {
            all.push("when a node serves ([ready])");
        }
        all
    }

    pub fn render(&self) -> String {
        let mut text = String::new();
        self.comments(&mut text);
        let mut put = |line: String| text.push_str(&format!("{line}\n"));
        put(format!("about = {}", quoted(&self.about)));
        if let Some(Image { file, name }) = &self.image {
            put(String::new());
            put("# To be made where there is a container engine; Schism needs none.".into());
            put(format!("image = {}", quoted(file)));
            put(format!("image-name = {}", quoted(name)));
        }
        if let Some(install) = &self.install {
            put(format!("install = {}", quoted(install)));
        }
        put(
            "\n# TO SAY: what is asked of it; see the table in Schism's your-own-system.md.".into(),
        );
        put("workloads = [\"register\"]".into());
        match self.port {
            Some(port) => put(format!("port = {port}")),
            None => {
                put("# TO SAY: the TCP port on which a node answers clients.\nport = 8000".into())
            }
        }
        if let Some(time) = &self.start_time {
            put(format!("start-time = {}", quoted(time)));
        }
        if !self.programs.is_empty() {
            put("\n[programs]".into());
        }
        for (name, from) in &self.programs {
            put(format!("{} = {}", quoted(name), quoted(from)));
        }
        if !self.lists.is_empty() {
            put("\n[lists]".into());
        }
        for list in &self.lists {
            let others = if list.others { ", others = true" } else { "" };
            let (each, separator) = (quoted(&list.each), quoted(&list.separator));
            let name = &list.name;
            put(format!(
                "{name} = {{ each = {each}, separator = {separator}{others} }}"
            ));
        }
        text += &self.daemon.render();
        for sidecar in &self.sidecars {
            text += &sidecar.render();
        }
        text += &match &self.ready {
            Some(argv) => format!("\n[ready]\nexec = {}\n", list(argv)),
            None => "\n# TO SAY: something better, if there is: http = \"/health\", exec, log.\n\
                     [ready]\ntcp = true\n"
                .into(),
        };
        text + CLIENT
    }

    fn comments(&self, text: &mut String) {
        text.push_str("# TO SAY stands where only you know what belongs there.\n");
        if !self.left.is_empty() {
            text.push_str("#\n# Not taken over, by line:\n");
        }
        for Left { line, what, why } in &self.left {
            let whole = format!("{line}: {what}: {why}");
            let options = textwrap::Options::new(98)
                .initial_indent("#   ")
                .subsequent_indent("#     ")
                .break_words(false);
            // A line of a stranger's must not end the comment.
            let whole: String = whole
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            for line in textwrap::wrap(&whole, options) {
                text.push_str(&format!("{line}\n"));
            }
        }
        text.push('\n');
    }
}

impl Daemon {
    fn render(&self) -> String {
        let mut text =
            "\n# TO SAY: it must listen on {address} (every node has its own, so ports need not \
                        differ),\n# find its peers there, and write below {data} only.\n[daemon]\n"
                .to_string();
        let mut put = |name: &str, value: String| text.push_str(&format!("{name} = {value}\n"));
        let argvs = [("entrypoint", &self.entrypoint), ("command", &self.command)];
        for (name, argv) in argvs {
            if let Some(argv) = argv {
                put(name, list(argv));
            }
        }
        if !self.unless_first.is_empty() {
            put("unless-first", list(&self.unless_first));
        }
        if !self.prepare.is_empty() {
            let all: Vec<_> = self.prepare.iter().map(|argv| list(argv)).collect();
            put("prepare", format!("[{}]", all.join(", ")));
        }
        let texts = [
            ("user", self.user.as_deref()),
            ("working-dir", self.working_dir.as_deref()),
            ("stop-signal", self.stop_signal),
            ("restart", self.restart.then_some("on-exit")),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                put(name, quoted(value));
            }
        }
        if !self.environment.is_empty() {
            text += "\n[daemon.environment]\n";
        }
        text + &environment(&self.environment)
    }
}

impl Sidecar {
    fn render(&self) -> String {
        let (name, command) = (quoted(&self.name), list(&self.command));
        let mut text = format!("\n[[sidecar]]\nname = {name}\ncommand = {command}\n");
        if self.restart {
            text += "restart = \"on-exit\"\n";
        }
        if !self.environment.is_empty() {
            text += "\n[sidecar.environment]\n";
        }
        text + &environment(&self.environment)
    }
}

fn environment(all: &[(String, String)]) -> String {
    let lines = all
        .iter()
        .map(|(name, value)| format!("{} = {}\n", quoted(name), quoted(value)));
    lines.collect()
}

fn quoted(text: &str) -> String {
    Value::String(text.into()).to_string()
}

fn list(texts: &[String]) -> String {
    Value::Array(texts.iter().cloned().map(Value::String).collect()).to_string()
}

const CLIENT: &str = r#"
# TO SAY: how it is read and written, over HTTP as here or by a program of yours:
# [client]
# command = ["python3", "client.py"]
[client.http]
read = { request = "GET /kv/{key}", value = "/value", absent = [{ status = 404 }] }
write = { request = "PUT /kv/{key}", body = '{"value": {value}}' }
"#;
