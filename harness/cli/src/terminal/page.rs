//! Lines with a tone each, for a person: in colour and as wide as the terminal, or plain.
//!
//! Colours follow the customs that others keep too: none where the output is no terminal or
//! `NO_COLOR` is set, and always with `CLICOLOR_FORCE`. Only a terminal's lines are broken: a file
//! or a pipe gets each line whole, so that `grep` finds it.

use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use checkers::Verdict;

use super::{Breaks, harmless};

/// What a text is to a reader, apart from its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Nothing is wrong.
    Good,
    /// Something is.
    Bad,
    /// Nobody can say.
    Open,
    /// The name of something to look at.
    Strong,
    /// What few readers look for.
    Faint,
}

impl Tone {
    pub fn of(verdict: Verdict) -> Tone {
        match verdict {
            Verdict::Valid => Tone::Good,
            Verdict::Invalid => Tone::Bad,
            Verdict::Unknown | Verdict::Vacuous | Verdict::Infra => Tone::Open,
        }
    }

    fn style(self) -> Style {
        let colour = |colour: AnsiColor| colour.on_default();
        match self {
            Tone::Plain => Style::new(),
            Tone::Good => colour(AnsiColor::Green).bold(),
            Tone::Bad => colour(AnsiColor::Red).bold(),
            Tone::Open => colour(AnsiColor::Yellow).bold(),
            Tone::Strong => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
        }
    }
}

/// One line, which a terminal may have to break into several.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pieces: Vec<(Style, String)>,
    /// How far what is broken off is indented.
    hang: usize,
}

impl Line {
    /// What is broken off begins under column `hang`.
    pub fn hanging(hang: usize) -> Line {
        Line {
            pieces: Vec::new(),
            hang,
        }
    }

    pub fn plain(text: impl Into<String>) -> Line {
        Line::default().and(Tone::Plain, text)
    }

    pub fn and(mut self, tone: Tone, text: impl Into<String>) -> Line {
        self.pieces.push((tone.style(), text.into()));
        self
    }
}

/// What a stream can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    colour: bool,
    /// Columns, of a terminal.
    width: Option<usize>,
}

/// Whether standard output shows hyperlinks: a terminal does, unless it is one without any arts or
/// somebody wants it plain. `FORCE_HYPERLINK` decides it where it is set, `0` for no.
pub fn follows_links() -> bool {
    let stream = io::stdout();
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    match set("FORCE_HYPERLINK") {
        Some(value) => value != "0",
        None => {
            let dumb = set("TERM").is_none_or(|term| term == "dumb");
            stream.is_terminal() && !dumb && AutoStream::choice(&stream) != ColorChoice::Never
        }
    }
}

/// The text as a link to a file, as terminals agreed upon:
/// <https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda>.
pub fn link(path: &Path, text: &str) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut to = String::from("file://");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                to.push(char::from(*byte));
            }
            byte => to += &format!("%{byte:02X}"),
        }
    }
    format!("\u{1b}]8;;{to}\u{1b}\\{text}\u{1b}]8;;\u{1b}\\")
}

/// Below this nothing is broken: it would be unreadable in another way.
const NARROW: usize = 40;

impl Look {
    #[cfg(test)]
    pub const PLAIN: Look = Look {
        colour: false,
        width: None,
    };

    pub fn stdout() -> Look {
        let stream = io::stdout();
        Look::of(&stream, AutoStream::choice(&stream))
    }

    pub fn stderr() -> Look {
        let stream = io::stderr();
        Look::of(&stream, AutoStream::choice(&stream))
    }

    fn of(stream: &(impl IsTerminal + std::os::fd::AsFd), choice: ColorChoice) -> Look {
        let size = rustix::termios::tcgetwinsize(stream);
        let columns = size.map_or(80, |size| usize::from(size.ws_col));
        Look {
            colour: choice != ColorChoice::Never,
            width: (stream.is_terminal() && columns >= NARROW).then_some(columns),
        }
    }
}

/// The lines as they are written.
pub fn render(lines: &[Line], look: Look) -> String {
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (style, piece) in &line.pieces {
            let piece = harmless(piece, Breaks::Kept);
            match look.colour && *style != Style::new() {
                true => text += &format!("{style}{piece}{style:#}"),
                false => text += &piece,
            }
        }
        out += &broken(&text, line.hang, look);
        out.push('\n');
    }
    out
}

/// The text as wide as the terminal is. Words stay whole: a path must be there to be copied.
pub fn broken(text: &str, hang: usize, look: Look) -> String {
    let Some(width) = look.width else {
        return text.to_string();
    };
    let hang = " ".repeat(hang.min(width / 2));
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .subsequent_indent(&hang);
    let lines = text.split('\n').map(|line| textwrap::fill(line, &options));
    lines.collect::<Vec<String>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Line> {
        vec![
            Line::default()
                .and(Tone::Bad, "INVALID")
                .and(Tone::Plain, "  a register"),
            Line::hanging(4).and(
                Tone::Plain,
                "  op 1 read 7, which was never written by anybody",
            ),
        ]
    }

    #[test]
    fn a_file_gets_whole_lines_without_colour() {
        assert_eq!(
            render(&sample(), Look::PLAIN),
            "INVALID  a register\n  op 1 read 7, which was never written by anybody\n"
        );
    }

    #[test]
    fn a_terminal_gets_colours_and_lines_that_fit() {
        let look = Look {
            colour: true,
            width: Some(40),
        };
        assert_eq!(
            render(&sample(), look),
            "\u{1b}[1m\u{1b}[31mINVALID\u{1b}[0m  a register\n  op 1 read 7, which was never written\n    \
             by anybody\n"
        );
        // The colours take no room.
        let narrow = Look {
            width: Some(19),
            ..look
        };
        assert!(render(&sample()[..1], narrow).ends_with("a register\n"));
        assert_eq!(render(&sample()[..1], narrow).lines().count(), 1);
    }

    /// Nothing in a path ends the link, or is an order to the terminal.
    #[test]
    fn a_link_is_a_link_to_the_path_whatever_that_is() {
        let path = Path::new("/store/a b\u{1b}]8;;c\u{e9};/report.html");
        assert_eq!(
            link(path, "here"),
            "\u{1b}]8;;file:///store/a%20b%1B%5D8%3B%3Bc%C3%A9%3B/report.html\u{1b}\\here\u{1b}]8;;\u{1b}\\"
        );
    }

    #[test]
    fn what_cannot_be_broken_stays_whole() {
        let look = Look {
            colour: false,
            width: Some(40),
        };
        let path = format!("/store/{}/report.html", "x".repeat(60));
        let line = Line::hanging(9).and(Tone::Plain, format!("report   {path}"));
        assert!(render(&[line], look).contains(&path));
        assert_eq!(broken("ab\n  cd", 4, look), "ab\n  cd");
    }

    #[test]
    fn nobody_elses_colours_get_through() {
        let look = Look {
            colour: true,
            width: Some(80),
        };
        let evil = Line::default().and(Tone::Good, "\u{1b}[2Jgone\u{7}");
        let shown = render(&[evil], look);
        assert!(shown.contains("\\u{1b}[2Jgone\\u{7}"), "{shown:?}");
    }
}
