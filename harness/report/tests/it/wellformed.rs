//! A tiny check that a page is well formed: tags balance, attributes are quoted, text is escaped.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::Value as Json;

/// Elements that have no end.
const VOID: [&str; 5] = ["meta", "link", "input", "br", "hr"];

/// Elements whose content is not markup.
const RAW: [&str; 2] = ["script", "style"];

/// Panics with the surroundings of the first thing that is wrong.
pub fn check(page: &str) {
    let mut rest = page
        .strip_prefix("<!DOCTYPE html>")
        .expect("a page begins with its type");
    let mut open: Vec<&str> = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    while let Some(at) = rest.find('<') {
        text(&rest[..at]);
        rest = &rest[at + 1..];
        let here: String = rest.chars().take(80).collect();
        if let Some(tag) = rest.strip_prefix('/') {
            let (name, after) = tag.split_once('>').expect("an end tag ends");
            assert_eq!(open.pop(), Some(name), "near </{here}");
            rest = after;
            continue;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .expect("a name ends");
        let name = &rest[..end];
        assert!(!name.is_empty(), "a bare < near {here}");
        rest = &rest[end..];
        let closed = loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix("/>") {
                rest = after;
                break true;
            }
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break VOID.contains(&name);
            }
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
                .expect("an attribute ends");
            assert!(end > 0, "no attribute's name near {here}");
            let attribute = &rest[..end];
            rest = &rest[end..];
            if let Some(value) = rest.strip_prefix("=\"") {
                let (value, after) = value.split_once('"').expect("a value ends");
                text(value);
                assert!(
                    !value.contains("NaN") && !value.contains("inf "),
                    "{attribute}={value:?} near {here}"
                );
                if attribute == "id" {
                    assert!(!ids.contains(&value), "two elements have the id {value}");
                    ids.push(value);
                }
                rest = after;
            }
        };
        if closed {
            continue;
        }
        open.push(name);
        if RAW.contains(&name) {
            let stop = format!("</{name}>");
            rest = &rest[rest.find(&stop).expect("raw text ends")..];
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "elements left open");
}

/// Text has no stray markup, and its ampersands are escapes.
fn text(text: &str) {
    assert!(!text.contains('>'), "a bare > in {text:?}");
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        assert!(
            known.iter().any(|k| text[at..].starts_with(k)),
            "a bare & in {:?}",
            text[at..].chars().take(60).collect::<String>()
        );
    }
}

/// What a page holds packed, taken apart.
pub struct Packed {
    pub head: Json,
    pub values: String,
    columns: Vec<Vec<u8>>,
    /// As it is in the page.
    pub bytes: usize,
}

pub fn unpack(page: &str) -> Packed {
    let start = "<script type=\"application/octet-stream\" id=\"packed\">";
    let (_, rest) = page.split_once(start).expect("operations");
    let (text, _) = rest.split_once("</script>").expect("they end");
    let packed = STANDARD.decode(text).expect("base64");
    let mut bytes = Vec::new();
    GzDecoder::new(&packed[..])
        .read_to_end(&mut bytes)
        .expect("gzip");
    let mut rest = &bytes[..];
    let mut blocks = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (block, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        blocks.push(block.to_vec());
        rest = after;
    }
    let mut blocks = blocks.into_iter();
    let mut next = || blocks.next().expect("a block");
    Packed {
        head: serde_json::from_slice(&next()).expect("JSON"),
        values: String::from_utf8(next()).expect("text"),
        columns: blocks.collect(),
        bytes: text.len(),
    }
}

impl Packed {
    pub fn operations(&self) -> usize {
        self.head["n"].as_u64().expect("a number") as usize
    }

    pub fn column(&self, name: &str) -> Vec<u64> {
        let names = self.head["columns"].as_array().expect("names");
        let at = names.iter().position(|n| n == name).expect("a column");
        let mut numbers = vec![0; self.operations()];
        for (plane, bytes) in self.columns[at].chunks(self.operations()).enumerate() {
            for (number, byte) in numbers.iter_mut().zip(bytes) {
                *number |= u64::from(*byte) << (8 * plane);
            }
        }
        numbers
    }
}
