//! The file that `docker save` and `skopeo copy` write: a tar of layers, each a tar itself, and of
//! texts that say which of them are an image.
//!
//! ```text
//! docker   manifest.json   [{"Config": PATH, "RepoTags": [NAME], "Layers": [PATH, ...]}, ...]
//! OCI      index.json      {"manifests": [{"digest": D, "annotations": {...}}, ...]}
//!          blobs/sha256/D  {"config": {"digest": D}, "layers": [{"digest": D}, ...]}, or an index
//! ```
//!
//! Docker of today writes both into one file; the first has the names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tar::EntryType;
use zstd::stream::read::Decoder as Zstd;

use super::config::processor;
use super::items::walk;

/// A text that is larger than this is none.
const TEXT_MAX: u64 = 4 << 20;
/// More than any image has; the largest have a few hundred layers of three files each.
const MEMBERS_MAX: usize = 100_000;
/// Links in a row, indices in each other.
const DEPTH: usize = 8;

const NAME: &str = "org.opencontainers.image.ref.name";
const FULL_NAME: &str = "io.containerd.image.name";

#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    members: BTreeMap<String, Member>,
}

#[derive(Debug)]
enum Member {
    At {
        offset: u64,
        size: u64,
    },
    /// Docker of old saved a layer once.
    Link(String),
}

/// An image: which members it consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub names: Vec<String>,
    pub config: String,
    pub layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Manifest {
    Image { config: Blob, layers: Vec<Blob> },
    Index(Index),
}

#[derive(Deserialize)]
struct Blob {
    digest: String,
}

impl Archive {
    pub fn open(path: &Path) -> Result<Archive, String> {
        let mut file = File::open(path).map_err(|e| e.to_string())?;
        let mut magic = Vec::new();
        file.by_ref()
            .take(4)
            .read_to_end(&mut magic)
            .map_err(|e| e.to_string())?;
        if matches!(magic[..], [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]) {
            return Err(
                "it is compressed as a whole: unpack it with `gunzip` or `unzstd` first".into(),
            );
        }
        file.rewind().map_err(|e| e.to_string())?;
        let mut tar = tar::Archive::new(BufReader::new(file));
        let mut members = BTreeMap::new();
        let entries = tar.entries_with_seek().map_err(|e| e.to_string())?;
        walk(entries, |item, entry| {
            let name = String::from_utf8_lossy(&item.name);
            let name = name.trim_start_matches("./").to_string();
            let member = match item.kind {
                EntryType::Regular | EntryType::Continuous => Member::At {
                    offset: entry.raw_file_position(),
                    size: item.size,
                },
                EntryType::Symlink => {
                    Member::Link(beside(&name, &String::from_utf8_lossy(&item.link)))
                }
                EntryType::Link => Member::Link(String::from_utf8_lossy(&item.link).into_owned()),
                _ => return Ok(()),
            };
            if members.len() >= MEMBERS_MAX {
                return Err(format!(
                    "it has more than {MEMBERS_MAX} files beside each other"
                ));
            }
            members.insert(name, member);
            Ok(())
        })?;
        Ok(Archive {
            path: path.to_path_buf(),
            members,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, name: &str) -> Result<(impl Read + use<>, u64), String> {
        let mut name = name;
        for _ in 0..DEPTH {
            match self.members.get(name) {
                Some(Member::Link(to)) => name = to,
                Some(Member::At { offset, size }) => {
                    let mut file = File::open(&self.path).map_err(|e| e.to_string())?;
                    file.seek(SeekFrom::Start(*offset))
                        .map_err(|e| e.to_string())?;
                    return Ok((BufReader::new(file).take(*size), *size));
                }
                None => return Err(format!("there is no {name} in it")),
            }
        }
        Err(format!("{name}: too many links in a row"))
    }

    /// A small member.
    pub fn text(&self, name: &str) -> Result<Vec<u8>, String> {
        let (from, size) = self.read(name)?;
        if size > TEXT_MAX {
            return Err(format!("{name}: it is too large to be a text"));
        }
        let mut text = Vec::new();
        let mut from = from;
        from.read_to_end(&mut text)
            .map_err(|e| format!("{name}: {e}"))?;
        Ok(text)
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        serde_json::from_slice(&self.text(name)?).map_err(|e| format!("{name}: {e}"))
    }

    /// A layer, no longer compressed.
    pub fn layer(&self, name: &str) -> Result<Box<dyn Read>, String> {
        let (mut from, _) = self.read(name)?;
        let mut magic = Vec::new();
        from.by_ref()
            .take(6)
            .read_to_end(&mut magic)
            .map_err(|e| e.to_string())?;
        let whole = Cursor::new(magic.clone()).chain(from);
        Ok(match magic[..] {
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(whole)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(Zstd::new(whole).map_err(|e| e.to_string())?),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => {
                return Err("it is compressed by xz; save the image with gzip or zstd".into());
            }
            _ => Box::new(whole),
        })
    }

    /// The image of this name; the only one, if there is no name.
    pub fn choose(&self, name: Option<&str>) -> Result<Found, String> {
        let mut all = self.images()?;
        let listed = |all: &[Found]| {
            let names = all.iter().flat_map(|found| found.names.iter());
            names.cloned().collect::<Vec<_>>().join(", ")
        };
        if let Some(name) = name {
            let known = listed(&all);
            all.retain(|found| found.names.iter().any(|own| is_called(own, name)));
            if all.is_empty() {
                return Err(format!(
                    "there is no image {name:?} in it (there are: {known})"
                ));
            }
        }
        match all.len() {
            1 => Ok(all.remove(0)),
            0 => Err("there is no image in it".into()),
            _ => Err(format!(
                "there are several images in it: say which by `image-name` (there are: {})",
                listed(&all)
            )),
        }
    }

    fn images(&self) -> Result<Vec<Found>, String> {
        if self.members.contains_key("manifest.json") {
            let all: Vec<Docker> = self.json("manifest.json")?;
            let found = |image: Docker| Found {
                names: image.repo_tags.unwrap_or_default(),
                config: image.config,
                layers: image.layers,
            };
            return Ok(all.into_iter().map(found).collect());
        }
        if !self.members.contains_key("index.json") {
            return Err(
                "it is no image: there is neither manifest.json nor index.json in it. `docker save` \
                 writes one, `docker export` does not"
                    .into(),
            );
        }
        let mut found = Vec::new();
        self.follow(self.json("index.json")?, &[], DEPTH, &mut found)?;
        // One manifest may be listed under several names.
        let mut all: Vec<Found> = Vec::new();
        for image in found {
            match all.iter_mut().find(|known| known.config == image.config) {
                Some(known) => known.names.extend(image.names),
                None => all.push(image),
            }
        }
        Ok(all)
    }

    fn follow(
        &self,
        index: Index,
        names: &[String],
        depth: usize,
        found: &mut Vec<Found>,
    ) -> Result<(), String> {
        if depth == 0 || found.len() > MEMBERS_MAX {
            return Err("it has too many indices in each other".into());
        }
        let several = index.manifests.len() > 1;
        for descriptor in index.manifests {
            let wanted = |p: &Platform| p.os == "linux" && p.architecture == processor();
            // Of an image for several machines the one for this is meant. That of another machine,
            // if it is the only one, is refused where its configuration is read.
            if several && descriptor.platform.as_ref().is_some_and(|p| !wanted(p)) {
                continue;
            }
            let own = [FULL_NAME, NAME].map(|key| descriptor.annotations.get(key));
            let own: Vec<String> = own.into_iter().flatten().cloned().collect();
            let names = if own.is_empty() { names } else { &own };
            match self.json(&blob(&descriptor.digest)?)? {
                Manifest::Index(index) => self.follow(index, names, depth - 1, found)?,
                Manifest::Image { config, layers } => found.push(Found {
                    names: names.to_vec(),
                    config: blob(&config.digest)?,
                    layers: layers
                        .iter()
                        .map(|layer| blob(&layer.digest))
                        .collect::<Result<_, _>>()?,
                }),
            }
        }
        Ok(())
    }
}

fn blob(digest: &str) -> Result<String, String> {
    let (algorithm, hex) = digest
        .split_once(':')
        .ok_or(format!("{digest:?} is no digest"))?;
    Ok(format!("blobs/{algorithm}/{hex}"))
}

/// Where a link leads that stands at `name`.
fn beside(name: &str, link: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether a person who writes `name` means the image with this one.
fn is_called(own: &str, name: &str) -> bool {
    let short = own.strip_prefix("docker.io/").unwrap_or(own);
    let short = short.strip_prefix("library/").unwrap_or(short);
    own == name || short == name || short.strip_suffix(":latest") == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_docker_of_old_leads_to_its_layer() {
        assert_eq!(beside("b/layer.tar", "../a/layer.tar"), "a/layer.tar");
        assert_eq!(beside("b/layer.tar", "../../../etc/passwd"), "etc/passwd");
        assert_eq!(beside("layer", "./x"), "x");
    }

    #[test]
    fn an_image_is_found_by_what_people_call_it() {
        for (own, name) in [
            ("nats:2.10", "nats:2.10"),
            ("nats:latest", "nats"),
            ("docker.io/library/nats:latest", "nats"),
            ("docker.io/library/nats:2", "nats:2"),
            ("docker.io/me/app:1", "me/app:1"),
        ] {
            assert!(is_called(own, name), "{own} {name}");
        }
        assert!(!is_called("nats:2.10", "nats"));
        assert!(!is_called("nats:latest", "nat"));
    }
}
