//! The one place that prints.
//!
//! Much of what this program says was written by others: by daemons into their logs, by nodes, by
//! whoever made a history or a run's folder, or gave a file its name. A terminal obeys some of what
//! it is sent: it can be made to hide lines, to show words backwards, to rename its window, to
//! answer as if somebody had typed. So whatever goes to stdout or stderr goes through here, where
//! such characters are written as what they are, and where too long a text is cut in its middle.
//!
//! A reader that has gone and a disk that is full are no reason to lose a verdict: what cannot be
//! printed is not, and the exit code says it all the same.

mod page;

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

pub use self::page::{Line, Look, Tone};

/// Characters of one text that are shown: a daemon's last lines may be of any length.
const MOST: usize = 16 << 10;
/// Characters of one sentence that are shown in a summary.
const SENTENCE: usize = 1_000;

/// Prints text of several lines.
pub fn print(text: &str) {
    write(io::stdout().lock(), &harmless(text, Breaks::Kept));
}

/// Prints one line, or several.
pub fn line(text: impl AsRef<str>) {
    print(&format!("{}\n", text.as_ref()));
}

/// Prints lines for a person, in colour and as wide as the terminal.
pub fn page(lines: &[Line]) {
    write(io::stdout().lock(), &page::render(lines, Look::stdout()));
}

/// What a file would get of such lines.
#[cfg(test)]
pub fn plain(lines: &[Line]) -> String {
    page::render(lines, Look::PLAIN)
}

/// Prints a path behind these words; a terminal that can follow links is given one.
pub fn path(words: &str, path: &Path) {
    let shown = told(&path.display().to_string());
    let shown = match page::follows_links() {
        true => page::link(path, &shown),
        false => shown,
    };
    write(io::stdout().lock(), &format!("{words}{shown}\n"));
}

/// Prints one line of JSON.
pub fn json(value: &impl Serialize) {
    let text = match serde_json::to_string(value) {
        Ok(text) => text,
        Err(e) => unreachable!("what this program prints can be written as JSON: {e}"),
    };
    write(io::stdout().lock(), &format!("{}\n", harmless_json(&text)));
}

/// Tells a person something, on stderr.
pub fn tell(text: impl AsRef<str>) {
    let text = page::broken(&told(text.as_ref()), 2, Look::stderr());
    write(io::stderr().lock(), &format!("{text}\n"));
}

/// What [`tell`] would write, for what writes to the terminal itself.
pub fn told(text: &str) -> String {
    harmless(&cut(text, MOST), Breaks::Kept)
}

/// Somebody else's text inside a line of ours: it stays on that line.
pub fn word(text: &str) -> String {
    harmless(&cut(text, SENTENCE), Breaks::Shown)
}

/// Somebody else's text as one line, cut after so many characters.
pub fn clipped(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", harmless(&text[..at], Breaks::Shown)),
        None => harmless(text, Breaks::Shown),
    }
}

/// Writes what it can, and leaves at that.
fn write(mut to: impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// What becomes of the ends of lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Kept,
    Shown,
}

fn harmless(text: &str, breaks: Breaks) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' if breaks == Breaks::Kept => out.push(c),
            '\t' => out.push(c),
            c if obeyed(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Outside of its texts JSON has no such characters, and inside they may be written by their
/// numbers.
fn harmless_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match obeyed(c) {
            true => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out += &format!("\\u{unit:04x}");
                }
            }
            false => out.push(c),
        }
    }
    out
}

/// Whether a terminal does something about the character instead of showing it: controls, marks
/// that change the direction of writing, and what takes no room and so could not be seen.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The text, or its beginning and its end.
fn cut(text: &str, most: usize) -> String {
    // No text of so few bytes has more characters.
    if text.len() <= most {
        return text.to_string();
    }
    let length = text.chars().count();
    if length <= most {
        return text.to_string();
    }
    let half = most / 2;
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    let (first, last) = (at(half), at(length - half));
    format!(
        "{} … [{} characters are left out] … {}",
        &text[..first],
        length - 2 * half,
        &text[last..]
    )
}

/// Standard output for data of a person's own making, such as a history in another format. On a
/// terminal it is shown like everything else; a pipe or a file gets it byte by byte.
pub fn data() -> Box<dyn Write> {
    use io::IsTerminal;
    match io::stdout().is_terminal() {
        true => Box::new(Shown::default()),
        false => Box::new(io::stdout()),
    }
}

/// Prints whole lines.
#[derive(Default)]
struct Shown {
    begun: Vec<u8>,
}

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        if let Some(end) = self.begun.iter().rposition(|b| *b == b'\n') {
            let whole: Vec<u8> = self.begun.drain(..=end).collect();
            print(&String::from_utf8_lossy(&whole));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        print(&String::from_utf8_lossy(&self.begun));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "\u{1b}]0;title\u{7}\u{9b}2J\u{202e}back\u{200b}\r\u{7f}\u{e0041}";

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        for text in [
            told(EVIL),
            word(EVIL),
            clipped(EVIL, 100),
            harmless_json(EVIL),
        ] {
            assert!(!text.chars().any(obeyed), "{text:?}");
            assert!(text.contains("title") && text.contains("back"), "{text}");
        }
        assert_eq!(told("a\u{1b}[2Jb\n\tc\rd"), "a\\u{1b}[2Jb\n\tc\\rd");
        assert_eq!(word("VALID\nVALID"), "VALID\\nVALID");
        let plain = "1–2 s … ünïcode 日本 🙂";
        assert_eq!(told(plain), plain);
    }

    #[test]
    fn json_means_the_same_after_it() {
        let text = serde_json::to_string(EVIL).unwrap();
        let read: String = serde_json::from_str(&harmless_json(&text)).unwrap();
        assert_eq!(read, EVIL);
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        let long = format!("first{}last", "–".repeat(1_000_000));
        let told = told(&long);
        assert!(told.len() < 4 * MOST && told.starts_with("first") && told.ends_with("last"));
        assert!(told.contains(&format!("[{} characters are left out]", 1_000_009 - MOST)));
        assert_eq!(clipped("abc", 3), "abc");
        assert_eq!(clipped("abcd", 3), "abc…");
    }
}
