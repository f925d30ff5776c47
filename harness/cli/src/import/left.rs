//! Keys of a compose file's service that are not taken over, and why.

use super::draft::Draft;

/// Keys that were read, or that mean nothing to a node of the lab.
const SILENT: &[&str] = &[
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "user",
    "working_dir",
    "stop_signal",
    "restart",
    "ports",
    "expose",
    "healthcheck",
    "container_name",
    "labels",
    "annotations",
    "logging",
    "depends_on",
    "pull_policy",
    "profiles",
    "platform",
    "tty",
    "stdin_open",
    "attach",
];

/// Keys that cannot be taken over, and why.
const LEFT: &[(&str, &str)] = &[
    (
        "privileged",
        "no program of an image gets more rights than a container usually has",
    ),
    (
        "cap_add",
        "no program of an image gets more rights than a container usually has",
    ),
    (
        "cap_drop",
        "programs of an image have the rights that a container usually has",
    ),
    (
        "devices",
        "an image's programs see null, zero, full, random, urandom and tty",
    ),
    (
        "volumes",
        "a node keeps all that it writes in its folder of the run. Files of yours belong into \
                 the image, or into {data} by `files` in [daemon]",
    ),
    (
        "tmpfs",
        "a node writes to its folder of the run; its /dev/shm is in memory",
    ),
    ("networks", "the nodes have one network, which faults cut"),
    (
        "network_mode",
        "the nodes have one network, which faults cut",
    ),
    (
        "hostname",
        "nodes are called n1, n2, ...: {name}, which is their host name too",
    ),
    (
        "domainname",
        "nodes are called n1, n2, ...: {name}, which is their host name too",
    ),
    (
        "extra_hosts",
        "/etc/hosts has the nodes, and there is no way out",
    ),
    ("dns", "a node has no name server and no way out"),
    ("links", "all nodes know each other by name"),
    (
        "deploy",
        "`schism run --nodes` says how many nodes there are; memory and processors are not \
                limited",
    ),
    (
        "scale",
        "`schism run --nodes` says how many nodes there are",
    ),
    ("mem_limit", "memory and processors are not limited"),
    ("cpus", "memory and processors are not limited"),
    ("ulimits", "limits are the machine's"),
    ("sysctls", "a node's kernel settings are the machine's"),
    (
        "shm_size",
        "a node's /dev/shm is as large as the machine lets it be",
    ),
    ("init", "Schism reaps what a daemon leaves behind"),
    (
        "stop_grace_period",
        "how long a daemon has to end in good order is the agent's to say",
    ),
    (
        "env_file",
        "copy what belongs to the daemon into its environment",
    ),
    ("secrets", "put them into {data} by `files` in [daemon]"),
    ("configs", "put them into {data} by `files` in [daemon]"),
    (
        "extends",
        "write down the whole by `docker compose config`, and import that",
    ),
    (
        "read_only",
        "the image stays as it is; what a node writes lies over it",
    ),
    (
        "security_opt",
        "programs of an image have the rights that a container usually has",
    ),
];

/// Leaves the keys that are not taken over, each once.
pub fn keys<'a>(draft: &mut Draft, keys: impl Iterator<Item = (&'a str, u64)>) {
    for (key, line) in keys {
        let said = draft.left.iter().any(|left| left.what == key);
        if said || SILENT.contains(&key) || key.starts_with("x-") {
            continue;
        }
        let known = LEFT.iter().find(|(known, _)| *known == key);
        let why = known.map_or("what it would mean for a node is not known", |(_, why)| {
            *why
        });
        draft.leave(line, key, why);
    }
}
