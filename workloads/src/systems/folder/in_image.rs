//! A system whose programs are in an image: what the image says where `system.toml` says nothing,
//! and what of it cannot work here, said before anything starts.

use std::path::{Path, PathBuf};

use agent::protocol::StopSignal;
use agent::rootfs::Rootfs;
use harness::cluster::{Node, Program};

use super::description::{Description, kept};
use super::template::Template;
use crate::image::{Image, Unpacked, knows_all_users};
use crate::systems::SetupError;

/// What the image's files are called in a node's `bin/`. No program is called so.
const BIN: &str = "@image";

/// Programs that are a whole machine's first, and want it to be theirs.
const INITS: [&str; 3] = ["systemd", "init", "openrc-init"];

pub struct InImage {
    image: Unpacked,
}

impl InImage {
    /// The image of a description, if it has one, unpacked.
    ///
    /// # Errors
    /// What of it cannot work here, with the way out.
    pub fn of(
        system: &'static str,
        description: &Description,
    ) -> Result<Option<InImage>, SetupError> {
        InImage::look(description)?;
        let Some((file, name)) = &description.image else {
            return Ok(None);
        };
        let path = description.folder.join(file);
        let refused = |reason: String| SetupError::Refused { system, reason };
        let image = Image::open(&path, name.as_deref()).map_err(|e| refused(e.to_string()))?;
        let said = |why: String| refused(format!("{}: {why}", path.display()));
        let plain = |argv: &Option<Vec<Template>>| {
            let argv = argv.as_ref();
            argv.map(|argv| {
                argv.iter()
                    .map(|text| text.fill(|_| String::new()))
                    .collect()
            })
        };
        let started = &description.started;
        let (entrypoint, command) = (plain(&started.entrypoint), plain(&started.command));
        check_first(&argv(image.config(), entrypoint, command)).map_err(said)?;
        let image = image.unpack().map_err(|e| refused(e.to_string()))?;
        check_user(&image, started.user.as_deref(), knows_all_users()).map_err(said)?;
        Ok(Some(InImage { image }))
    }

    /// Whether the file is there, if there is to be one.
    pub fn look(description: &Description) -> Result<(), SetupError> {
        let file = description.image.as_ref().map(|(file, _)| file);
        match file.map(|file| description.folder.join(file)) {
            Some(path) if !path.is_file() => Err(no_file(&path, description)),
            _ => Ok(()),
        }
    }

    /// What is provided to every node.
    pub fn program(&self) -> Program {
        Program {
            name: BIN.into(),
            from: self.image.root.clone(),
        }
    }

    pub fn rootfs(&self, node: &Node) -> Rootfs {
        let env = self.image.config.config.env.iter();
        let env = env.filter_map(|text| text.split_once('='));
        Rootfs {
            root: node.bin(BIN),
            layer: node.data().join(".image"),
            shown: vec![node.data(), node.dir.join("log"), node.dir.join("bin")],
            env: env
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }

    pub fn argv(
        &self,
        entrypoint: Option<Vec<String>>,
        command: Option<Vec<String>>,
    ) -> Vec<String> {
        argv(&self.image.config, entrypoint, command)
    }

    pub fn user(&self) -> Option<String> {
        let user = &self.image.config.config.user;
        (!user.is_empty()).then(|| user.clone())
    }

    pub fn working_dir(&self) -> PathBuf {
        Path::new("/").join(&self.image.config.config.working_dir)
    }

    /// That of the image, if it is one of those at which daemons are told to end.
    pub fn stop(&self) -> Option<StopSignal> {
        let text = self.image.config.config.stop_signal.as_str();
        match text.strip_prefix("SIG").unwrap_or(text) {
            "TERM" | "15" => Some(StopSignal::Term),
            "INT" | "2" => Some(StopSignal::Int),
            "QUIT" | "3" => Some(StopSignal::Quit),
            "HUP" | "1" => Some(StopSignal::Hup),
            _ => None,
        }
    }

    pub fn title(&self) -> String {
        self.image.title.clone()
    }
}

fn no_file(path: &Path, description: &Description) -> SetupError {
    SetupError::NoProgram {
        program: "the image",
        looked: format!("there is no {}", path.display()),
        remedy: match &description.install {
            Some(install) => kept(install),
            None => "write it where there is an engine: `docker save -o FILE NAME`",
        },
    }
}

/// What is started: another entrypoint has the image's arguments no longer, as with `docker run`.
fn argv(
    config: &crate::image::Config,
    entrypoint: Option<Vec<String>>,
    command: Option<Vec<String>>,
) -> Vec<String> {
    let own = &config.config;
    let command = match (command, &entrypoint) {
        (Some(command), _) => command,
        (None, Some(_)) => Vec::new(),
        (None, None) => own.cmd.clone(),
    };
    let entrypoint = entrypoint.unwrap_or_else(|| own.entrypoint.clone());
    entrypoint.into_iter().chain(command).collect()
}

fn check_first(argv: &[String]) -> Result<(), String> {
    let Some(program) = argv.first() else {
        return Err("the image does not say what it starts: say it by `command`".into());
    };
    let name = program.rsplit('/').next().unwrap_or_default();
    match INITS.contains(&name) {
        true => Err(format!(
            "the image starts {program}, which wants a whole machine: name the server itself by \
             `entrypoint`"
        )),
        false => Ok(()),
    }
}

/// That the user is there, and can be had. `given`: what `system.toml` says.
fn check_user(image: &Unpacked, given: Option<&str>, knows_all: bool) -> Result<(), String> {
    let own = image.config.config.user.as_str();
    let text = given.unwrap_or(own);
    let name = text.split(':').next().unwrap_or_default();
    let users = image.users();
    let known = users.iter().find(|(known, _)| known == name);
    let uid = match (name, known) {
        ("", _) => 0,
        (_, Some((_, uid))) => *uid,
        (name, None) => name.parse().map_err(|_| {
            let names: Vec<_> = users.iter().map(|(name, _)| name.as_str()).collect();
            format!(
                "the image has no user {name:?} (there are {}): give `user` in [daemon], by name or \
                 number",
                names.join(", ")
            )
        })?,
    };
    let others: Vec<u32> = image
        .contents
        .owners
        .keys()
        .copied()
        .filter(|uid| *uid != 0)
        .collect();
    if knows_all || given.is_some() || uid != 0 || others.is_empty() {
        return Ok(());
    }
    let called = others.iter().map(|uid| {
        let known = users.iter().find(|(_, known)| known == uid);
        known.map_or(uid.to_string(), |(name, _)| name.clone())
    });
    let called: Vec<String> = called.collect();
    Err(format!(
        "the image starts as root and has files of others ({}), as whom its entrypoint may want to go \
         on; an ordinary user has one user to give. Say `user = \"{}\"` in [daemon] to start as that \
         one from the beginning, `user = \"root\"` if it stays root, or run it as root",
        called.join(", "),
        called[0]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Config, Contents, Started};

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn another_entrypoint_has_other_arguments_and_another_command_has_not() {
        let config = Config {
            config: Started {
                entrypoint: texts(&["/run.sh"]),
                cmd: texts(&["serve", "-v"]),
                ..Started::default()
            },
            ..Config::default()
        };
        let all = |entrypoint: Option<&[&str]>, command: Option<&[&str]>| {
            argv(&config, entrypoint.map(texts), command.map(texts)).join(" ")
        };
        assert_eq!(all(None, None), "/run.sh serve -v");
        assert_eq!(all(None, Some(&["x"])), "/run.sh x");
        assert_eq!(all(Some(&["/bin/y"]), None), "/bin/y");
        assert_eq!(all(Some(&["/bin/y"]), Some(&["x"])), "/bin/y x");
        assert_eq!(all(Some(&[]), Some(&["/bin/z"])), "/bin/z");
    }

    #[test]
    fn what_needs_a_machine_of_its_own_is_refused() {
        assert!(check_first(&texts(&["/usr/bin/tini", "--", "x"])).is_ok());
        for (argv, said) in [
            (&["/sbin/init"][..], "whole machine"),
            (&["/lib/systemd/systemd", "--x"], "whole machine"),
            (&[], "does not say what it starts"),
        ] {
            let why = check_first(&texts(argv)).expect_err("it cannot work");
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn an_ordinary_user_is_told_what_an_image_of_several_needs() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let users = "root:x:0:0::/root:/bin/sh\nredis:x:999:999::/data:/bin/sh\n";
        std::fs::write(dir.path().join("etc/passwd"), users).unwrap();
        let image = |user: &str, owners: &[u32]| Unpacked {
            root: dir.path().to_path_buf(),
            title: String::new(),
            config: Config {
                config: Started {
                    user: user.into(),
                    ..Started::default()
                },
                ..Config::default()
            },
            contents: Contents {
                owners: owners.iter().map(|uid| (*uid, 1)).collect(),
                ..Contents::default()
            },
        };
        let several = image("", &[0, 999, 1001]);
        let why = check_user(&several, None, false).expect_err("it may want to be redis");
        assert!(
            why.contains("(redis, 1001)") && why.contains("user = \"redis\""),
            "{why}"
        );
        assert_eq!(check_user(&several, None, true), Ok(()));
        for given in ["redis", "999", "root", "4711:4711"] {
            assert_eq!(check_user(&several, Some(given), false), Ok(()));
        }
        assert_eq!(check_user(&image("redis", &[0, 999]), None, false), Ok(()));
        assert_eq!(check_user(&image("", &[0]), None, false), Ok(()));
        let why = check_user(&image("nats", &[0]), None, true).expect_err("it is not there");
        assert!(
            why.contains("\"nats\"") && why.contains("root, redis"),
            "{why}"
        );
    }
}
