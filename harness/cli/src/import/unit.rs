//! A service of systemd's, whose program is one of this machine's.
//!
//! Folders that systemd makes for a service become folders in `{data}`, in its paths too: on a node
//! nothing else can be written to.

use std::collections::BTreeMap;
use std::path::Path;

use super::draft::{Draft, literal, stop_signal};
use super::fields;
use super::{Wrong, text_of};

type Read<T> = Result<T, Wrong>;

/// `Key=Value` in a section, where lines were continued made one.
#[derive(Debug)]
struct Setting {
    line: u64,
    section: String,
    key: String,
    value: String,
}

fn settings(text: &str) -> Read<Vec<Setting>> {
    let mut found = Vec::new();
    let mut section = String::new();
    let mut open: Option<(u64, String)> = None;
    for (line, text) in (1..).zip(text.lines()) {
        let comment = text.trim_start().starts_with(['#', ';']);
        if comment || open.is_none() && text.trim().is_empty() {
            continue;
        }
        let (begun, mut whole) = open.take().unwrap_or((line, String::new()));
        if let Some(text) = text.strip_suffix('\\') {
            whole += text;
            open = Some((begun, whole + " "));
            continue;
        }
        whole += text;
        let whole = whole.trim();
        if let Some(name) = whole
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.into();
        } else if let Some((key, value)) = whole.split_once('=') {
            found.push(Setting {
                line: begun,
                section: section.clone(),
                key: key.trim().into(),
                value: value.trim().into(),
            });
        } else {
            return Err(Wrong::at(
                begun,
                format!("{whole:?} is neither a [section] nor NAME=VALUE"),
            ));
        }
    }
    Ok(found)
}

/// What stands for what in the texts of a unit.
struct Words {
    /// The unit's name: prefix, and whether it is of a template (`name@.service`).
    prefix: String,
    template: bool,
    /// Folders that systemd makes, and what they are here; the longest first.
    folders: Vec<(String, String)>,
    environment: BTreeMap<String, String>,
}

pub fn draft(text: &str, file: &Path) -> Read<Draft> {
    let settings = settings(text)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".service").unwrap_or(&name);
    let (prefix, template) = match stem.split_once('@') {
        Some((prefix, _)) => (prefix.to_string(), true),
        None => (stem.to_string(), false),
    };
    let mut draft = Draft {
        name: prefix.clone(),
        about: format!("{prefix}, a service of systemd's"),
        ..Draft::default()
    };
    let mut words = Words {
        prefix,
        template,
        folders: Vec::new(),
        environment: BTreeMap::new(),
    };
    // First what others refer to.
    for setting in &settings {
        folders(&mut draft, &mut words, setting)?;
        environment(&mut draft, &mut words, setting)?;
    }
    words
        .folders
        .sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
    let mut started = false;
    for setting in &settings {
        match (setting.section.as_str(), setting.key.as_str()) {
            ("Service", "ExecStart") if setting.value.is_empty() => {}
            ("Service", "ExecStart") if started => {
                let why = "a service of several commands ends with each: the first is here";
                draft.leave(setting.line, "ExecStart", why);
            }
            ("Service", "ExecStart") => {
                start(&mut draft, &words, setting)?;
                started = true;
            }
            ("Service", key) => service(&mut draft, &words, setting, key)?,
            ("Unit", "Description") => draft.about = setting.value.clone(),
            ("Unit", key) => unit(&mut draft, setting, key),
            _ => {}
        }
    }
    if !started {
        return Err(Wrong::at(0, "it has no ExecStart in its [Service]"));
    }
    for (name, value) in &words.environment {
        let value = words.fill(value, 0)?;
        draft.daemon.environment.push((name.clone(), value));
    }
    draft.left.sort_by_key(|left| left.line);
    Ok(draft)
}

fn folders(draft: &mut Draft, words: &mut Words, setting: &Setting) -> Read<()> {
    let (above, below) = match (setting.section.as_str(), setting.key.as_str()) {
        ("Service", "StateDirectory") => ("/var/lib", "{data}"),
        ("Service", "CacheDirectory") => ("/var/cache", "{data}/cache"),
        ("Service", "RuntimeDirectory") => ("/run", "{data}/run"),
        ("Service", "LogsDirectory") => ("/var/log", "{log}"),
        _ => return Ok(()),
    };
    for folder in setting.value.split_whitespace() {
        let folder = folder.split(':').next().unwrap_or_default();
        let folder = words.fill(folder, setting.line)?;
        let here = format!("{below}/{folder}");
        draft
            .daemon
            .prepare
            .push(["mkdir", "-p", &here].map(String::from).to_vec());
        if above == "/run" {
            words
                .folders
                .push((format!("/var/run/{folder}"), here.clone()));
        }
        words.folders.push((format!("{above}/{folder}"), here));
    }
    Ok(())
}

fn environment(draft: &mut Draft, words: &mut Words, setting: &Setting) -> Read<()> {
    let line = setting.line;
    match (setting.section.as_str(), setting.key.as_str()) {
        ("Service", "Environment") if setting.value.is_empty() => words.environment.clear(),
        ("Service", "Environment") => {
            let all = shlex::split(&setting.value);
            let all = all.ok_or_else(|| Wrong::at(line, "Environment: a quote stands alone"))?;
            for text in all {
                let (name, value) = text
                    .split_once('=')
                    .ok_or_else(|| Wrong::at(line, format!("Environment: {text:?} has no `=`")))?;
                words.environment.insert(name.into(), value.into());
            }
        }
        ("Service", "EnvironmentFile") => {
            let path = setting.value.trim_start_matches('-');
            match text_of(Path::new(path)) {
                // Percent signs in it stand for themselves.
                Ok(text) => words.environment.extend(
                    fields::environment_lines(&text)
                        .into_iter()
                        .map(|(name, value)| (name, value.replace('%', "%%"))),
                ),
                Err(e) => draft.leave(
                    line,
                    format!("EnvironmentFile: {path}"),
                    format!("not read ({e})"),
                ),
            }
        }
        _ => {}
    }
    Ok(())
}

impl Words {
    /// A text without systemd's specifiers, as a template.
    fn fill(&self, text: &str, line: u64) -> Read<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out += &literal(&rest[..at]);
            let mut after = rest[at + 1..].chars();
            let specifier = after.next();
            let unit = match self.template {
                true => format!("{}@{{name}}.service", literal(&self.prefix)),
                false => format!("{}.service", literal(&self.prefix)),
            };
            out += &match specifier {
                Some('%') => "%".to_string(),
                Some('n') => unit,
                Some('N') => unit.trim_end_matches(".service").to_string(),
                Some('p') => literal(&self.prefix),
                Some('i' | 'I') if self.template => "{name}".into(),
                Some('i' | 'I') => String::new(),
                Some('H' | 'l') => "{name}".into(),
                Some('S') => "/var/lib".into(),
                Some('C') => "/var/cache".into(),
                Some('L') => "/var/log".into(),
                Some('E') => "/etc".into(),
                Some('t') => "/run".into(),
                Some('T') => "/tmp".into(),
                Some('V') => "/var/tmp".into(),
                Some('h') => "{data}".into(),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    let why =
                        format!("%{other} in {text:?} stands for nothing on a node: write it out");
                    return Err(Wrong::at(line, why));
                }
            };
            rest = after.as_str();
        }
        out += &literal(rest);
        for (from, to) in &self.folders {
            out = replace_path(&out, from, to);
        }
        Ok(out)
    }

    /// A command line: what stands before the program, and the words.
    fn command(&self, setting: &Setting) -> Read<(String, Vec<String>)> {
        let line = setting.line;
        let program = setting
            .value
            .trim_start_matches(['-', '@', ':', '+', '!', '|']);
        let marks = setting.value[..setting.value.len() - program.len()].to_string();
        let all = shlex::split(program)
            .ok_or_else(|| Wrong::at(line, format!("{}: a quote stands alone", setting.key)))?;
        let mut words = Vec::new();
        for word in all {
            // As a word of its own a variable is as many words as its value has.
            let own = word.strip_prefix('$').filter(|name| !name.starts_with('{'));
            match own {
                Some(name) if !marks.contains(':') => {
                    let value = self
                        .environment
                        .get(name)
                        .map(String::as_str)
                        .unwrap_or_default();
                    let split = shlex::split(value).unwrap_or_default();
                    for word in split {
                        words.push(self.fill(&word, line)?);
                    }
                }
                _ if marks.contains(':') => words.push(self.fill(&word, line)?),
                _ => words.push(self.fill(&self.variables(&word), line)?),
            }
        }
        if words.is_empty() {
            return Err(Wrong::at(
                line,
                format!("{}: it has no program", setting.key),
            ));
        }
        Ok((marks, words))
    }

    /// Values in place of `${NAME}`.
    fn variables(&self, word: &str) -> String {
        let mut word = word.to_string();
        for (name, value) in &self.environment {
            word = word.replace(&format!("${{{name}}}"), value);
        }
        word.replace("$$", "$")
    }
}

/// Replaces a folder at the beginning of a path, wherever that stands in the text.
fn replace_path(text: &str, from: &str, to: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let part = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        let whole =
            !after.starts_with(part) && !before.ends_with(|c| part(c) || c == '/' || c == '}');
        out.push_str(before);
        out.push_str(if whole { to } else { from });
        rest = after;
    }
    out + rest
}

/// Programs that run others: they are every node's own.
const RUNNERS: [&str; 8] = [
    "sh", "bash", "dash", "env", "python3", "perl", "java", "node",
];

fn start(draft: &mut Draft, words: &Words, setting: &Setting) -> Read<()> {
    let (marks, mut command) = words.command(setting)?;
    if marks.contains('@') {
        let why = "another name than the program's own cannot be given: it is left out";
        draft.leave(setting.line, "ExecStart: @", why);
        if command.len() > 1 {
            command.remove(1);
        }
    }
    let path = command[0].clone();
    let name = path.rsplit('/').next().unwrap_or_default().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !RUNNERS.contains(&name.as_str()) && !name.is_empty() && name.chars().all(plain) {
        draft.programs.push((name.clone(), path));
        command[0] = format!("{{program.{name}}}");
    }
    draft.daemon.command = Some(command);
    Ok(())
}

fn service(draft: &mut Draft, words: &Words, setting: &Setting, key: &str) -> Read<()> {
    let (line, value) = (setting.line, setting.value.as_str());
    match key {
        "StateDirectory" | "CacheDirectory" | "RuntimeDirectory" | "LogsDirectory"
        | "Environment" | "EnvironmentFile" => {}
        "ExecStartPre" if value.is_empty() => {}
        "ExecStartPre" => {
            let (marks, command) = words.command(setting)?;
            let command = match marks.contains('-') {
                false => command,
                true => ["/bin/sh", "-c", "\"$@\" || true", "sh"]
                    .map(String::from)
                    .into_iter()
                    .chain(command)
                    .collect(),
            };
            draft.daemon.prepare.push(command);
            let why = "taken as `prepare`, which runs before the first start on a node, and not before \
                       each";
            draft.leave(line, "ExecStartPre", why);
        }
        "User" => draft.daemon.user = Some(value.into()),
        "WorkingDirectory" => {
            let path = value.trim_start_matches('-');
            draft.daemon.working_dir = Some(match path {
                "~" => "{data}".into(),
                path => words.fill(path, line)?,
            });
        }
        "Restart" => restart(draft, setting),
        "KillSignal" => {
            draft.daemon.stop_signal = stop_signal(value);
            if draft.daemon.stop_signal.is_none() {
                let why = "daemons are told to end by TERM, INT, QUIT or HUP";
                draft.leave(line, format!("KillSignal: {value}"), why);
            }
        }
        "TimeoutStartSec" | "TimeoutSec" => {
            let seconds = fields::seconds(value).filter(|seconds| *seconds > 30);
            draft.start_time = seconds.map(|seconds| format!("{seconds}s"));
        }
        "Type" if matches!(value, "simple" | "exec") => {}
        "Type" => {
            let why = match value {
                "forking" => {
                    "it goes into the background: look for the flag that keeps it in front"
                }
                "notify" | "notify-reload" | "dbus" => {
                    "nobody listens to what it says of itself: [ready] says how one sees that it serves"
                }
                _ => "a daemon runs until it is stopped",
            };
            draft.leave(line, format!("Type: {value}"), why);
        }
        _ => {
            let known = LEFT.iter().find(|(known, _)| key.starts_with(known));
            let why = known.map_or("a node does without it", |(_, why)| *why);
            draft.leave(line, key, why);
        }
    }
    Ok(())
}

fn restart(draft: &mut Draft, setting: &Setting) {
    let value = setting.value.as_str();
    draft.daemon.restart = value != "no" && !value.is_empty();
    if draft.daemon.restart && value != "always" {
        let why = "what ends is started again, however it ended";
        draft.leave(setting.line, format!("Restart: {value}"), why);
    }
}

fn unit(draft: &mut Draft, setting: &Setting, key: &str) {
    let needs = ["Requires", "Wants", "BindsTo", "Requisite", "PartOf"];
    let of_services = setting
        .value
        .split_whitespace()
        .filter(|unit| unit.ends_with(".service"));
    let services: Vec<_> = of_services.collect();
    if needs.contains(&key) && !services.is_empty() {
        let why = "a node has no other services: what it needs becomes a [[sidecar]]";
        draft.leave(setting.line, format!("{key}: {}", services.join(", ")), why);
    }
}

/// Beginnings of keys that cannot be taken over, and why.
const LEFT: &[(&str, &str)] = &[
    (
        "ExecStartPost",
        "nothing is run after the start: `prepare` is before it, [ready] waits for it",
    ),
    ("ExecStop", "a daemon is told to end by its stop-signal"),
    (
        "ExecReload",
        "a daemon is not told to read its configuration again",
    ),
    ("ExecCondition", "a daemon is started on every node"),
    (
        "TimeoutStop",
        "how long a daemon has to end in good order is the agent's to say",
    ),
    (
        "RestartSec",
        "what is started again is started after a second",
    ),
    ("StartLimit", "it is started again as often as it ends"),
    ("Group", "a node's user has its own group"),
    ("SupplementaryGroups", "a node's user has its own group"),
    (
        "DynamicUser",
        "without `user` it runs as root, who on a node is whoever started the run",
    ),
    ("Limit", "limits are the machine's"),
    ("PIDFile", "the agent knows its daemons"),
    ("KillMode", "every process of a daemon is told to end"),
    ("SendSIGKILL", "what does not end is killed"),
    ("WatchdogSec", "nobody listens to what it says of itself"),
    ("Sockets", "it is given no sockets: it must listen itself"),
    (
        "ConfigurationDirectory",
        "put configuration into {data} by `files` in [daemon]",
    ),
    ("StandardOutput", "what it says is its log"),
    ("StandardError", "what it says is its log"),
    ("StandardInput", "it has no input"),
    ("SyslogIdentifier", "what it says is its log"),
    (
        "Protect",
        "a node's files are read-only but for its own folders",
    ),
    ("Private", "a node has its own processes, network and /tmp"),
    (
        "ReadWrite",
        "a node's files are read-only but for its own folders",
    ),
    (
        "ReadOnly",
        "a node's files are read-only but for its own folders",
    ),
    (
        "Inaccessible",
        "a node's files are read-only but for its own folders",
    ),
    ("Memory", "memory and processors are not limited"),
    ("CPU", "memory and processors are not limited"),
    ("Tasks", "memory and processors are not limited"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_replaced_as_whole_paths() {
        let replaced = |text: &str| replace_path(text, "/run/redis", "{data}/run/redis");
        assert_eq!(
            replaced("--pidfile=/run/redis/x.pid"),
            "--pidfile={data}/run/redis/x.pid"
        );
        assert_eq!(replaced("/run/redis"), "{data}/run/redis");
        assert_eq!(
            replaced("/run/redis-2 /srv/run/redis"),
            "/run/redis-2 /srv/run/redis"
        );
    }

    #[test]
    fn lines_are_continued_and_say_where_they_began() {
        let text = "# x\n[Service]\nExecStart=/bin/a \\\n# between\n  b \\\n  c\n\nUser=d\n";
        let found = settings(text).expect("sound");
        let found: Vec<_> = found.iter().map(|s| (s.line, &*s.key, &*s.value)).collect();
        assert_eq!(
            found,
            [(3, "ExecStart", "/bin/a    b    c"), (8, "User", "d")]
        );
        let wrong = settings("[Service]\nnonsense\n").expect_err("no setting");
        assert_eq!(wrong.line, 2);
    }
}
