//! Files of a run or a night, as they are. A path has normal parts only, and what it leads to lies
//! in the folder, whatever links there are.

use std::fs;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use axum::extract::{Path as Segments, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use history::store::{Run, Store};
use history::{file, frames};

use super::{Shared, pages};
use crate::matrix::nights;

/// A larger file is not for a browser.
const MOST: u64 = 256 << 20;

/// A page of somebody's may run its own script, and has no part in what this viewer may do.
const SANDBOX: &str = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src \
                       'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The run of this name in the store, and no other folder: a link to one is none.
pub fn run(store: &Store, name: &str) -> Option<Run> {
    let mut parts = Path::new(name).components();
    let is_name = matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    );
    let path = store.root().join(name);
    let is_folder = fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir());
    (is_name && is_folder && path.join("spec.json").exists()).then(|| Run::at(path))
}

pub async fn of_run(
    State(viewer): Shared,
    Segments((name, path)): Segments<(String, String)>,
) -> Response {
    match run(&viewer.store, &name) {
        Some(run) => send(run.path(), Path::new(&path)),
        None => pages::missing("There is no such run."),
    }
}

pub async fn of_night(
    State(viewer): Shared,
    Segments((night, path)): Segments<(String, String)>,
) -> Response {
    let nights = nights::root(viewer.store.root());
    match below(&nights, Path::new(&night)) {
        Some(folder) => send(&folder, Path::new(&path)),
        None => pages::missing("There is no such night."),
    }
}

/// What the path leads to, if that is in the folder.
pub fn below(folder: &Path, path: &Path) -> Option<PathBuf> {
    let mut parts = path.components();
    if !parts.all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let folder = fs::canonicalize(folder).ok()?;
    let found = fs::canonicalize(folder.join(path)).ok()?;
    found.starts_with(&folder).then_some(found)
}

/// A file's text: what is compressed in frames is shown as what it says.
fn content(path: &Path) -> io::Result<Vec<u8>> {
    if path.extension().is_none_or(|ext| ext != "zst") {
        return file::read(path, MOST);
    }
    let mut content = Vec::new();
    let text = frames::text(BufReader::new(file::open(path)?))?;
    text.take(MOST + 1).read_to_end(&mut content)?;
    match content.len() as u64 > MOST {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(content),
    }
}

fn send(folder: &Path, path: &Path) -> Response {
    let content = below(folder, path).and_then(|path| content(&path).ok());
    let Some(content) = content else {
        return pages::missing("There is no such file.");
    };
    let page = path.extension().is_some_and(|ext| ext == "html");
    let kind = match page {
        true => "text/html; charset=utf-8",
        false => "text/plain; charset=utf-8",
    };
    let mut response = content.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if page {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    }
    response
}
