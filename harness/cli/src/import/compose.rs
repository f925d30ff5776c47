//! A compose file: one service, or several of one image that are called alike, are the nodes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;
use serde_saphyr::Spanned;

use super::Wrong;
use super::draft::{Draft, Image, Sidecar, literal, literals, stop_signal};
use super::fields::{self, Variable};
use super::left;
use super::nodes::Alike;

#[derive(Deserialize)]
struct File {
    name: Option<String>,
    #[serde(default)]
    services: BTreeMap<String, Spanned<BTreeMap<String, Spanned<Json>>>>,
}

/// A service, with values in place of its variables.
struct Service {
    name: String,
    line: u64,
    fields: BTreeMap<String, Spanned<Json>>,
}

type Read<T> = Result<T, Wrong>;

impl Service {
    fn get(&self, key: &str) -> Option<&Json> {
        let value = self.fields.get(key).map(|field| &field.value);
        value.filter(|value| !value.is_null())
    }

    fn line(&self, key: &str) -> u64 {
        self.fields
            .get(key)
            .map_or(self.line, |field| field.referenced.line())
    }

    fn text(&self, key: &str) -> Option<String> {
        fields::text(self.get(key)?)
    }

    fn words(&self, key: &str) -> Read<Option<Vec<String>>> {
        let words = self.get(key).map(fields::words).transpose();
        words.map_err(|why| Wrong::at(self.line(key), format!("{key}: {why}")))
    }

    fn environment(&self, variable: Variable<'_>) -> Read<Vec<(String, String)>> {
        let key = "environment";
        let all = self
            .get(key)
            .map(|value| fields::environment(value, variable));
        let all = all
            .transpose()
            .map_err(|why| Wrong::at(self.line(key), why))?;
        Ok(all.unwrap_or_default())
    }

    /// What it runs: an image, or what is built here.
    fn image(&self, project: &str) -> Option<String> {
        let built = || Some(format!("{project}-{}", self.name));
        self.text("image")
            .or_else(|| self.get("build").and_then(|_| built()))
    }

    /// Its name without a number at its end: what services that are alike have in common.
    fn stem(&self) -> &str {
        let stem = self.name.trim_end_matches(|c: char| c.is_ascii_digit());
        match stem.trim_end_matches(['-', '_']) {
            "" => &self.name,
            stem => stem,
        }
    }

    fn depends_on(&self) -> Vec<String> {
        match self.get("depends_on") {
            Some(Json::Array(all)) => all.iter().filter_map(fields::text).collect(),
            Some(Json::Object(all)) => all.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether others wait for its end.
    fn ends(&self, all: &[Service]) -> bool {
        let waits = |other: &Service| {
            let on = other.get("depends_on").and_then(|on| on.get(&self.name));
            on.and_then(|on| on["condition"].as_str()) == Some("service_completed_successfully")
        };
        all.iter().any(waits)
    }
}

pub fn draft(text: &str, file: &Path, wanted: Option<&str>, variable: Variable<'_>) -> Read<Draft> {
    let parsed: File = serde_saphyr::from_str(text).map_err(|e| {
        let line = e.location().map_or(0, |at| at.line());
        let why = e.to_string();
        Wrong::at(line, why.lines().next().unwrap_or_default().to_string())
    })?;
    let project = parsed.name.clone().unwrap_or_else(|| project(file));
    let services = services(parsed.services, variable)?;
    let (nodes, others) = choose(services, wanted, &project)?;
    let mut draft = Draft {
        name: nodes[0].stem().to_string(),
        ..Draft::default()
    };
    let shown = file.file_name().unwrap_or_default().to_string_lossy();
    draft.about = match nodes.len() {
        1 => format!("{} of {shown}", nodes[0].name),
        n => format!("{} and {} more of {shown}", nodes[0].name, n - 1),
    };
    image(&mut draft, &nodes[0], &project, &shown)?;
    started(&mut draft, &nodes, variable)?;
    simple(&mut draft, &nodes[0]);
    healthcheck(&mut draft, &nodes[0])?;
    for service in &others {
        beside(&mut draft, service, &nodes, &others, &project, variable)?;
    }
    for node in &nodes {
        let keys = node
            .fields
            .iter()
            .filter(|(_, field)| !field.value.is_null());
        let keys = keys.map(|(key, field)| (key.as_str(), field.referenced.line()));
        left::keys(&mut draft, keys);
    }
    draft.left.sort_by_key(|left| left.line);
    Ok(draft)
}

/// What compose calls the whole where nobody says: the folder's name.
fn project(file: &Path) -> String {
    let folder = file.canonicalize().ok();
    let folder = folder
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::file_name);
    folder.unwrap_or_default().to_string_lossy().to_lowercase()
}

fn services(
    parsed: BTreeMap<String, Spanned<BTreeMap<String, Spanned<Json>>>>,
    variable: Variable<'_>,
) -> Read<Vec<Service>> {
    let mut services = Vec::new();
    for (name, body) in parsed {
        let line = body.referenced.line();
        let mut fields = body.value;
        for (key, field) in &mut fields {
            let why = |why: String| Wrong::at(field.referenced.line(), format!("{key}: {why}"));
            fields::interpolate(&mut field.value, variable).map_err(why)?;
        }
        services.push(Service { name, line, fields });
    }
    if services.is_empty() {
        return Err(Wrong::at(0, "there are no services in it"));
    }
    // db2 before db10.
    services.sort_by_key(|service| (service.name.len(), service.name.clone()));
    Ok(services)
}

/// The services that are nodes, and the rest.
fn choose(
    services: Vec<Service>,
    wanted: Option<&str>,
    project: &str,
) -> Read<(Vec<Service>, Vec<Service>)> {
    let key = |service: &Service| (service.stem().to_string(), service.image(project));
    let mut groups: BTreeMap<_, Vec<&Service>> = BTreeMap::new();
    for service in &services {
        groups.entry(key(service)).or_default().push(service);
    }
    let chosen = match wanted {
        Some(name) => {
            let known = services.iter().find(|service| service.name == name);
            let names: Vec<_> = services
                .iter()
                .map(|service| service.name.as_str())
                .collect();
            let none = || {
                Wrong::at(
                    0,
                    format!(
                        "there is no service {name:?} (there are {})",
                        names.join(", ")
                    ),
                )
            };
            key(known.ok_or_else(none)?)
        }
        None => {
            let most = groups.values().map(Vec::len).max().unwrap_or_default();
            let mut largest = groups.iter().filter(|(_, group)| group.len() == most);
            match (largest.next(), largest.next()) {
                (Some((key, _)), None) => key.clone(),
                _ => {
                    let names: Vec<_> = groups
                        .values()
                        .map(|group| group[0].name.as_str())
                        .collect();
                    return Err(Wrong::at(
                        0,
                        format!(
                            "which service becomes the nodes? Say it by --service: {}",
                            names.join(", ")
                        ),
                    ));
                }
            }
        }
    };
    let (nodes, others): (Vec<_>, Vec<_>) = services
        .into_iter()
        .partition(|service| key(service) == chosen);
    Ok((nodes, others))
}

fn image(draft: &mut Draft, node: &Service, project: &str, file: &str) -> Read<()> {
    let Some(name) = node.image(project) else {
        let why = format!("{}: it has neither `image` nor `build`", node.name);
        return Err(Wrong::at(node.line, why));
    };
    let tar = format!("{}.tar", draft.name);
    let quoted = shlex::try_quote(&name).unwrap_or_default().into_owned();
    let get = match node.get("build") {
        None => format!("docker pull {quoted}"),
        Some(_) => {
            let why = format!("Schism builds nothing: run `install` where {file} lies");
            draft.leave(node.line("build"), "build", why);
            let file = shlex::try_quote(file).unwrap_or_default().into_owned();
            format!("docker compose -f {file} build {}", node.name)
        }
    };
    draft.install = Some(format!("{get} && docker save -o {tar} {quoted}"));
    draft.image = Some(Image { file: tar, name });
    Ok(())
}

/// Entrypoint, command and environment: one template for all nodes.
fn started(draft: &mut Draft, nodes: &[Service], variable: Variable<'_>) -> Read<()> {
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let mut alike = Alike {
        names: &names,
        lists: Vec::new(),
    };
    let all = |key: &str| {
        nodes
            .iter()
            .map(|node| node.words(key))
            .collect::<Read<Vec<_>>>()
    };
    if let Some(argvs) = all("entrypoint")?.into_iter().collect::<Option<Vec<_>>>() {
        draft.daemon.entrypoint = Some(argv(draft, &mut alike, &argvs, nodes, "entrypoint"));
    }
    let commands = all("command")?;
    if commands.iter().any(Option::is_some) {
        let argvs: Vec<_> = commands
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect();
        draft.daemon.command = Some(argv(draft, &mut alike, &argvs, nodes, "command"));
    }
    let mut environments = Vec::new();
    for node in nodes {
        let all = node.environment(variable)?;
        environments.push(all.into_iter().collect::<BTreeMap<_, _>>());
    }
    let keys = environments.iter().flat_map(BTreeMap::keys).cloned();
    let keys: std::collections::BTreeSet<String> = keys.collect();
    for key in keys {
        let found = environments.iter().filter_map(|all| all.get(&key));
        let texts: Vec<String> = found.cloned().collect();
        let value = alike.template(&texts).unwrap_or_else(|| {
            let why = "it differs between the services by more than name and number: only the \
                       first value is here";
            draft.leave(
                nodes[0].line("environment"),
                format!("environment: {key}"),
                why,
            );
            alike.with_name(&texts[0], 0, false)
        });
        draft.daemon.environment.push((key, value));
    }
    draft.lists = alike.lists;
    Ok(())
}

fn argv(
    draft: &mut Draft,
    alike: &mut Alike<'_>,
    argvs: &[Vec<String>],
    nodes: &[Service],
    key: &str,
) -> Vec<String> {
    let (first, second) = (
        argvs[0].len(),
        argvs.get(1).map_or(argvs[0].len(), Vec::len),
    );
    let others_alike = argvs.iter().skip(1).all(|argv| argv.len() == second);
    let at = |at: usize| {
        argvs
            .iter()
            .filter_map(|argv| argv.get(at).cloned())
            .collect::<Vec<_>>()
    };
    let mut differ = |place: String, alike: &Alike<'_>, text: &str| {
        let why = "it differs between the services by more than name and number: only the first's \
                   is here";
        draft.leave(nodes[0].line(key), format!("{key}: {place}"), why);
        alike.with_name(text, 0, false)
    };
    if !others_alike || second < first || (second > first && key != "command") {
        let own = &argvs[0];
        let place = "its length".to_string();
        let _ = differ(place, alike, "");
        return own
            .iter()
            .map(|text| alike.with_name(text, 0, false))
            .collect();
    }
    let mut template = Vec::new();
    for place in 0..first {
        let texts = at(place);
        let found = alike.template(&texts);
        template.push(found.unwrap_or_else(|| differ(texts[0].clone(), alike, &texts[0])));
    }
    let mut more = Vec::new();
    for place in first..second {
        let texts = at(place);
        let found = alike.of_others(&texts);
        more.push(found.unwrap_or_else(|| differ(texts[0].clone(), alike, &texts[0])));
    }
    draft.daemon.unless_first.extend(more);
    template
}

fn simple(draft: &mut Draft, node: &Service) {
    draft.daemon.user = node.text("user");
    draft.daemon.working_dir = node.text("working_dir").map(|text| literal(&text));
    if let Some(text) = node.text("stop_signal") {
        draft.daemon.stop_signal = stop_signal(&text);
        if draft.daemon.stop_signal.is_none() {
            let why = "daemons are told to end by TERM, INT, QUIT or HUP";
            draft.leave(
                node.line("stop_signal"),
                format!("stop_signal: {text}"),
                why,
            );
        }
    }
    let restart = node.text("restart").unwrap_or_default();
    draft.daemon.restart = restarts(&restart);
    if restart.starts_with("on-failure") {
        let why = "what ends is started again, however it ended";
        draft.leave(node.line("restart"), format!("restart: {restart}"), why);
    }
    for key in ["ports", "expose"] {
        let all = node
            .get(key)
            .and_then(Json::as_array)
            .cloned()
            .unwrap_or_default();
        let mut ports = all.iter().filter_map(fields::port);
        if draft.port.is_none() {
            draft.port = ports.next();
        }
        let more: Vec<_> = ports.filter(|port| Some(*port) != draft.port).collect();
        if !more.is_empty() {
            let more: Vec<_> = more.iter().map(u16::to_string).collect();
            let why = "clients are answered on one port; all others are open between nodes anyway";
            draft.leave(node.line(key), format!("{key}: {}", more.join(", ")), why);
        }
    }
}

fn restarts(text: &str) -> bool {
    ["always", "unless-stopped", "on-failure"]
        .iter()
        .any(|word| text.starts_with(word))
}

fn healthcheck(draft: &mut Draft, node: &Service) -> Read<()> {
    let Some(check) = node.get("healthcheck") else {
        return Ok(());
    };
    let line = node.line("healthcheck");
    if check["disable"] == Json::Bool(true) {
        return Ok(());
    }
    let shell = |text: &str| vec!["/bin/sh".into(), "-c".into(), literal(text)];
    match &check["test"] {
        Json::String(text) => draft.ready = Some(shell(text)),
        Json::Array(words) => {
            let words: Vec<String> = words.iter().filter_map(fields::text).collect();
            draft.ready = match (words.first().map(String::as_str), words.get(1)) {
                (Some("CMD-SHELL"), Some(text)) => Some(shell(text)),
                (Some("CMD"), Some(_)) => Some(literals(&words[1..])),
                (Some("NONE"), _) => None,
                _ => {
                    return Err(Wrong::at(
                        line,
                        "healthcheck: test begins with CMD, CMD-SHELL or NONE",
                    ));
                }
            };
        }
        _ => {}
    }
    if let Some(time) = check["start_period"].as_str() {
        let seconds = fields::seconds(time).filter(|seconds| *seconds > 30);
        draft.start_time = seconds.map(|seconds| format!("{seconds}s"));
    }
    let timings = ["interval", "timeout", "retries"]
        .into_iter()
        .filter(|key| !check[key].is_null());
    let timings: Vec<_> = timings.collect();
    if !timings.is_empty() {
        let why = "Schism asks when it has to know, within start-time and recovery-time";
        draft.leave(line, format!("healthcheck: {}", timings.join(", ")), why);
    }
    Ok(())
}

/// A service that is not the nodes': of the same image it is one more program of each.
fn beside(
    draft: &mut Draft,
    service: &Service,
    nodes: &[Service],
    others: &[Service],
    project: &str,
    variable: Variable<'_>,
) -> Read<()> {
    let what = format!("service {}", service.name);
    let waits = nodes
        .iter()
        .any(|node| node.depends_on().contains(&service.name));
    if service.image(project) != nodes[0].image(project) {
        let why = match waits {
            true => {
                "the nodes depend on it, and it is of another image: all programs of a node are in \
                     one image. Put it into that one and make it a [[sidecar]], or do without"
            }
            false => {
                "it is of another image and no node depends on it. A client belongs into [client]"
            }
        };
        draft.leave(service.line, what, why);
        return Ok(());
    }
    let Some(entrypoint) = service.words("entrypoint")? else {
        let why = "of the nodes' image, and only the image knows its entrypoint: write it as a \
                   [[sidecar]], or under `prepare`, with the whole command";
        draft.leave(service.line, what, why);
        return Ok(());
    };
    let more = service.words("command")?.unwrap_or_default();
    let command = literals(&[entrypoint, more].concat());
    if service.ends(others) || service.ends(nodes) {
        let why = "it ends before others begin: taken as `prepare`, which runs on every node";
        draft.leave(service.line, what, why);
        draft.daemon.prepare.push(command);
        return Ok(());
    }
    let environment = service.environment(variable)?;
    let environment = environment
        .into_iter()
        .map(|(name, value)| (name, literal(&value)));
    draft.sidecars.push(Sidecar {
        name: service.name.clone(),
        command,
        environment: environment.collect(),
        restart: service.text("restart").is_some_and(|text| restarts(&text)),
    });
    let why = "taken as a [[sidecar]]: one runs on every node";
    draft.leave(service.line, what, why);
    Ok(())
}
