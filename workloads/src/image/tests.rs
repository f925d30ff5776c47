//! Images made here, sound and hostile, and what becomes of them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::config::processor;
use super::{Image, Unpacked, hex};

/// A tar, entry by entry, with any bytes as names.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Tar {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o640 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Tar {
        self.entry(EntryType::Regular, name, "", content.as_bytes())
    }

    fn folder(self, name: &str) -> Tar {
        self.entry(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, to: &str) -> Tar {
        self.entry(EntryType::Symlink, name, to, b"")
    }

    fn link(self, name: &str, to: &str) -> Tar {
        self.entry(EntryType::Link, name, to, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn sha(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("memory");
    gzip.finish().expect("memory")
}

fn configuration(layers: &[Vec<u8>]) -> String {
    let ids: Vec<_> = layers
        .iter()
        .map(|layer| format!("sha256:{}", sha(layer)))
        .collect();
    json!({
        "architecture": processor(), "os": "linux",
        "config": {"User": "app", "Env": ["A=b"], "Entrypoint": ["/run"], "Cmd": null},
        "rootfs": {"type": "layers", "diff_ids": ids},
    })
    .to_string()
}

/// As `docker save` wrote it for years.
fn docker(names: &[&str], layers: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = Tar::default().file("c.json", &configuration(layers));
    let mut paths = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let path = format!("{at}/layer.tar");
        tar = tar.entry(EntryType::Regular, &path, "", layer);
        paths.push(path);
    }
    let manifest = json!([{"Config": "c.json", "RepoTags": names, "Layers": paths}]);
    tar.file("manifest.json", &manifest.to_string()).end()
}

/// The OCI layout, with an index in the index as builders of today write it, for two processors.
fn oci(layers: &[Vec<u8>], pack: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut blob = |bytes: &[u8]| {
        let own = std::mem::take(&mut tar);
        tar = own.entry(
            EntryType::Regular,
            &format!("blobs/sha256/{}", sha(bytes)),
            "",
            bytes,
        );
        json!({"digest": format!("sha256:{}", sha(bytes))})
    };
    let config = blob(configuration(layers).as_bytes());
    let packed: Vec<_> = layers.iter().map(|layer| blob(&pack(layer))).collect();
    let manifest = json!({"config": config, "layers": packed}).to_string();
    let digest = blob(manifest.as_bytes())["digest"].clone();
    let other = blob(b"{}")["digest"].clone();
    let index = json!({"manifests": [
        {"digest": other, "platform": {"architecture": "s390x", "os": "linux"}},
        {"digest": digest, "platform": {"architecture": processor(), "os": "linux"}},
    ]});
    let digest = blob(index.to_string().as_bytes())["digest"].clone();
    let name = json!({"org.opencontainers.image.ref.name": "app:1"});
    let whole = json!({"manifests": [{"digest": digest, "annotations": name}]});
    tar.file("index.json", &whole.to_string()).end()
}

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("app.tar");
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn unpack(&self, bytes: &[u8]) -> Result<Unpacked, String> {
        let image = Image::open(&self.file(bytes), None).map_err(|e| e.to_string())?;
        image
            .unpack_in(&self.0.path().join("cache"))
            .map_err(|e| e.to_string())
    }

    fn layers(&self, layers: &[Vec<u8>]) -> Result<Unpacked, String> {
        self.unpack(&docker(&["app:1"], layers))
    }
}

/// Every file below a folder, with its content or what it leads to.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .strip_prefix(root)
                .expect("below")
                .display()
                .to_string();
            if path.is_symlink() {
                found.push(format!(
                    "{name} -> {}",
                    path.read_link().expect("a link").display()
                ));
            } else if path.is_dir() {
                found.push(format!("{name}/"));
                folders.push(path);
            } else {
                found.push(format!(
                    "{name}: {}",
                    fs::read_to_string(&path).expect("a text")
                ));
            }
        }
    }
    found.sort();
    found
}

fn three_layers() -> Vec<Vec<u8>> {
    let first = Tar::default()
        .folder("./")
        .folder("bin/")
        .file("bin/sh", "old")
        .file("gone", "x")
        .folder("cleared/deep/")
        .file("cleared/deep/a", "a")
        .file("cleared/b", "b")
        .folder("was-folder/")
        .file("was-folder/x", "x")
        .symlink("lib", "usr/lib")
        .file("/absolute", "below the root");
    let second = Tar::default()
        // The order within a layer does not matter: what it adds itself stays.
        .file("cleared/new", "new")
        .file("cleared/.wh..wh..opq", "")
        .file(".wh.gone", "")
        .file(".wh.never-there", "")
        .file("bin/sh", "new")
        .file("was-folder", "a file now")
        .symlink("link", "bin/sh")
        .link("hard", "bin/sh");
    // Through a link of an earlier layer, as within.
    let third = Tar::default()
        .folder("usr/lib/")
        .file("lib/x.so", "x")
        .file(".wh.link", "");
    [first, second, third].map(Tar::end).to_vec()
}

#[test]
fn layers_lie_over_each_other_in_every_layout_and_compression() {
    let layers = three_layers();
    let expected = [
        "absolute: below the root",
        "bin/",
        "bin/sh: new",
        "cleared/",
        "cleared/new: new",
        "hard: new",
        "lib -> usr/lib",
        "usr/",
        "usr/lib/",
        "usr/lib/x.so: x",
        "was-folder: a file now",
    ];
    let zstd: fn(&[u8]) -> Vec<u8> = |bytes| zstd::bulk::compress(bytes, 1).expect("memory");
    for (what, bytes) in [
        ("docker", docker(&["app:1"], &layers)),
        ("plain", oci(&layers, <[u8]>::to_vec)),
        ("gzip", oci(&layers, gzip)),
        ("zstd", oci(&layers, zstd)),
    ] {
        let place = Place::new();
        let image = place
            .unpack(&bytes)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(tree(&image.root), expected, "{what}");
        assert!(
            image.title.starts_with("app:1 (sha256:"),
            "{what}: {}",
            image.title
        );
        let found = |name: &str| fs::metadata(image.root.join(name)).expect("it is there");
        assert_eq!(found("hard").ino(), found("bin/sh").ino(), "{what}");
        assert_eq!(
            found("bin/sh").permissions().mode() & 0o7777,
            0o640,
            "{what}"
        );
        assert_eq!(found("bin/sh").mtime(), 1_000_000, "{what}");
        let config = &image.config.config;
        assert_eq!(
            (config.user.as_str(), &config.env[..]),
            ("app", &["A=b".to_string()][..])
        );
        assert_eq!((config.entrypoint.len(), config.cmd.len()), (1, 0));
    }
}

#[test]
fn an_image_is_unpacked_once_and_again_where_that_was_not_finished() {
    let place = Place::new();
    let layers = three_layers();
    let first = place.layers(&layers).expect("a sound image");
    let key = first.root.parent().expect("its folder").to_path_buf();
    let inode = |path: &Path| fs::metadata(path).expect("it is there").ino();
    let before = inode(&first.root);
    assert_eq!(
        place.layers(&layers).expect("again").contents,
        first.contents
    );
    assert_eq!(inode(&first.root), before, "it was not unpacked again");
    let mode = fs::metadata(place.0.path().join("cache"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(
        mode & 0o777,
        0o700,
        "others must not come to setuid programs"
    );

    // Killed in the midst of it: half of it lies there, with a file that is no part of it.
    fs::rename(&key, key.with_extension("part")).expect("can be moved");
    fs::write(key.with_extension("part").join("root/stray"), "x").expect("a file");
    place.layers(&layers).expect("again");
    assert!(!first.root.join("stray").exists());
    assert!(first.root.join("bin/sh").exists() && !key.with_extension("part").exists());
}

#[test]
fn no_name_and_no_link_leads_out_of_the_folder() {
    let outside = tempfile::tempdir().expect("a folder");
    let target = outside.path().join("target");
    fs::write(&target, "untouched").expect("a file");
    let out = outside.path().display().to_string();
    let ups = "../".repeat(20);
    let ways = [
        Tar::default()
            .symlink("x", &out)
            .file("x/target", "overwritten"),
        Tar::default().symlink("x", &out).file("x/new", "made"),
        Tar::default()
            .symlink("x", &format!("{ups}{out}"))
            .file("x/target", "overwritten"),
        Tar::default()
            .symlink("x", &out)
            .symlink("y", "x")
            .file("y/z/new", "made"),
        Tar::default()
            .symlink("target", &target.display().to_string())
            .file("target", "over"),
        Tar::default()
            .symlink("x", &out)
            .folder("x/")
            .file("x/target", "overwritten"),
        Tar::default()
            .symlink("x", &out)
            .link("stolen", "x/target")
            .file("stolen", "over"),
        Tar::default()
            .link("stolen", &target.display().to_string())
            .file("stolen", "over"),
        Tar::default().file("../../../../target", "over"),
        Tar::default().file("a/../../target", "over"),
        Tar::default().link("a", "../../target"),
        Tar::default()
            .symlink("/proc/self/cwd", "/")
            .file("proc/self/cwd/target", "over"),
        Tar::default()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/x", "loop"),
        Tar::default().symlink("a", "nowhere").file("a/x", "made?"),
    ];
    let mut refused = 0;
    for (at, way) in ways.into_iter().enumerate() {
        let place = Place::new();
        refused += usize::from(place.layers(&[way.end()]).is_err());
        assert_eq!(
            fs::read_to_string(&target).expect("it is there"),
            "untouched",
            "way {at}"
        );
        assert_eq!(
            fs::read_dir(outside.path()).expect("there").count(),
            1,
            "way {at}"
        );
        let left = fs::read_dir(place.0.path().join("cache")).expect("there");
        let names = left.map(|entry| entry.expect("an entry").file_name().into_string());
        assert!(
            !names.flatten().any(|name| name.ends_with(".part")),
            "way {at}"
        );
    }
    // Upwards three times, a loop, two hard links to what is not there, and five times by a link
    // that within leads nowhere. Three are as good as any: a link or a file in place of a link, and
    // a link that within leads somewhere.
    assert_eq!(refused, 11);
}

#[test]
fn what_a_layer_removes_is_below_the_folder() {
    let outside = tempfile::tempdir().expect("a folder");
    let target = outside.path().join("target");
    fs::write(&target, "untouched").expect("a file");
    let out = outside.path().display().to_string();
    for name in [
        "x/.wh.target",
        "x/.wh..wh..opq",
        ".wh...",
        "x/.wh..",
        "x/../.wh.target",
    ] {
        let place = Place::new();
        let first = Tar::default().symlink("x", &out).end();
        let _ = place.layers(&[first, Tar::default().file(name, "").end()]);
        assert!(target.exists(), "{name}");
    }
}

#[test]
fn what_is_no_image_of_this_machine_is_said_with_the_way_out() {
    let layer = Tar::default().file("a", "a").end();
    let sound = docker(&["app:1", "app:2"], std::slice::from_ref(&layer));
    let with = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len(), "offsets stay");
        let at = sound
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .expect(from);
        let mut bytes = sound.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let two = json!([
        {"Config": "c", "RepoTags": ["a:1"], "Layers": []},
        {"Config": "d", "RepoTags": ["b:1"], "Layers": []},
    ]);
    let cases: [(&str, Vec<u8>); 10] = [
        (
            "is for linux/",
            with(
                &format!("\"{}\"", processor()),
                &format!("\"{}\"", "x".repeat(processor().len())),
            ),
        ),
        ("is for linus/", with("\"linux\"", "\"linus\"")),
        ("is damaged", with("\0a\0", "\0b\0")),
        (
            "there is no 0/layer.tax",
            with("layer.tar\"]", "layer.tax\"]"),
        ),
        (
            "say which by `image-name` (there are: a:1, b:1)",
            Tar::default().file("manifest.json", &two.to_string()).end(),
        ),
        ("gunzip", gzip(&sound)),
        (
            "`docker save` writes one",
            Tar::default().file("etc/passwd", "").end(),
        ),
        ("no tar", vec![7; 2000]),
        (
            "manifest.json: ",
            Tar::default().file("manifest.json", "[{").end(),
        ),
        (
            "too many links",
            Tar::default()
                .file(
                    "manifest.json",
                    &two.to_string()
                        .replace("b:1", "")
                        .replace("[\"\"]", "[\"x\"]"),
                )
                .symlink("c", "c")
                .end(),
        ),
    ];
    for (said, bytes) in cases {
        let place = Place::new();
        let file = place.file(&bytes);
        let name = said.contains("links").then_some("a:1");
        let opened = Image::open(&file, name);
        let done = opened.and_then(|image| image.unpack_in(&place.0.path().join("cache")));
        let why = done.expect_err(said).to_string();
        assert!(
            why.contains(said) && why.contains("app.tar: "),
            "{said}: {why}"
        );
    }
    let place = Place::new();
    let file = place.file(&sound);
    assert!(Image::open(&file, Some("app:2")).is_ok());
    let why = Image::open(&file, Some("ap:2"))
        .expect_err("no such image")
        .to_string();
    assert!(why.contains("app:1, app:2"), "{why}");
}

#[test]
fn devices_are_left_out_and_said_and_a_name_without_end_is_not_kept() {
    let layer = Tar::default()
        .entry(EntryType::Char, "dev/null", "", b"")
        .entry(EntryType::Block, "dev/sda", "", b"")
        .entry(EntryType::Fifo, "run/initctl", "", b"")
        .file("a", "a")
        .end();
    let place = Place::new();
    let image = place.layers(&[layer]).expect("the rest is there");
    assert_eq!(tree(&image.root), ["a: a"]);
    let skipped: Vec<_> = image.contents.skipped.into_iter().collect();
    assert_eq!(
        skipped,
        [("device files".to_string(), 2), ("pipes".to_string(), 1)]
    );

    for kind in [
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
    ] {
        let long = Tar::default().entry(kind, "././@LongLink", "", &vec![b'n'; 3 << 20]);
        let why = Place::new()
            .layers(&[long.file("x", "").end()])
            .expect_err("too long");
        assert!(why.contains("more than a million bytes"), "{why}");
    }
    let sparse = Tar::default()
        .entry(EntryType::GNUSparse, "x", "", b"")
        .end();
    assert!(
        Place::new()
            .layers(&[sparse])
            .expect_err("not read")
            .contains("sparse")
    );
}

#[test]
fn users_are_read_as_within() {
    let place = Place::new();
    let layer = Tar::default()
        .symlink("etc/passwd", "/data/users")
        .file("data/users", "root:x:0:0::/:\nnonsense\nnats:x:10:10::/:\n")
        .end();
    let image = place.layers(&[layer]).expect("a sound image");
    let users = image.users();
    assert_eq!(users, [("root".to_string(), 0), ("nats".to_string(), 10)]);
    let layer = Tar::default()
        .symlink("etc/passwd", "../../../../../etc/passwd")
        .end();
    assert_eq!(place.layers(&[layer]).expect("a sound image").users(), []);
}
