//! How a history is written, told by the beginning of its file.

use super::{log, sessions};

/// How a history is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jsonl,
    Edn,
    Events,
    Log,
    Csv,
    Operations,
    Polysi,
    Dbcop,
}

impl Format {
    pub const ALL: [Format; 8] = [
        Format::Jsonl,
        Format::Edn,
        Format::Events,
        Format::Log,
        Format::Csv,
        Format::Operations,
        Format::Polysi,
        Format::Dbcop,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Edn => "edn",
            Format::Events => "events",
            Format::Log => "log",
            Format::Csv => "csv",
            Format::Operations => "operations",
            Format::Polysi => "polysi",
            Format::Dbcop => "dbcop",
        }
    }

    /// What the beginning of a file looks like.
    pub fn sniff(beginning: &[u8]) -> Option<Format> {
        let text = String::from_utf8_lossy(beginning);
        let mut text = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t', ',']);
        while let Some(comment) = text.strip_prefix(';') {
            text = comment
                .split_once('\n')
                .map_or("", |(_, rest)| rest)
                .trim_start();
        }
        let first = text.lines().next().unwrap_or_default();
        let inside = text.trim_start_matches(['[', '(', '{', ' ', '\n', '\r', '\t']);
        match text.chars().next()? {
            '{' if inside.starts_with("\"schism\"") => Some(Format::Jsonl),
            // A value may be a text in which a line of a log stands.
            '{' | '[' | '(' if inside.starts_with(':') => Some(Format::Edn),
            '#' => Some(Format::Edn),
            _ if log::is_event(first) => Some(Format::Log),
            '{' | '[' if inside.starts_with('"') => json(text),
            // A log may begin with the time in brackets.
            '[' if has_level(first) => Some(Format::Log),
            '{' | '[' | '(' => Some(Format::Edn),
            _ if first.contains("call") && first.contains(',') => Some(Format::Csv),
            _ if sessions::is_line(first) => Some(Format::Polysi),
            _ if looks_like_a_log(text) => Some(Format::Log),
            _ => None,
        }
    }
}

/// Which of the formats that are JSON.
fn json(text: &str) -> Option<Format> {
    let has = |name: &str| text.contains(&format!("\"{name}\""));
    match () {
        // Within its first kilobytes: sessions are lists of transactions, which are lists of
        // events.
        () if has("events") && (has("variable") || has("data")) => Some(Format::Dbcop),
        () if has("params") && has("data") => Some(Format::Dbcop),
        () if has("call") && !has("type") => Some(Format::Operations),
        () if has("type") => Some(Format::Events),
        () => Some(Format::Operations),
    }
}

/// Whether any line of the beginning is an event of a log, or the first is a line of one.
fn looks_like_a_log(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let is_line = first.contains(" - ") && first.contains(':') || first.contains("{GMT}");
    is_line || has_level(first) || text.lines().any(log::is_event)
}

fn has_level(line: &str) -> bool {
    let levels = ["INFO", "WARN", "ERROR", "DEBUG"];
    let mut words = line.split_ascii_whitespace().take(4);
    words.any(|word| levels.contains(&word.trim_matches(['[', ']'])))
}
