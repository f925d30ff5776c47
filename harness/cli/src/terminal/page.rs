//! Lines with a tone each, for a person: in colour and as wide as the terminal, or plain.
//!
//! Colours follow the customs that others keep too: none where the output is no terminal or
//! `NO_COLOR` is set, and always with `CLICOLOR_FORCE`. Only a terminal's lines are broken: a file
//! or a pipe gets each line whole, so that `grep` finds it.

use std::io::{self, IsTerminal};

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
