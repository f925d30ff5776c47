//! A length of time that is given, or given within bounds: `2s`, `1s..4s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use harness::units::{read_duration, write_duration};
use serde::{Deserialize, Serialize};

/// From `least` to `most`, both included; in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Length {
    pub least: Duration,
    pub most: Duration,
}

impl FromStr for Length {
    /// A hint for who wrote it.
    type Err = String;

    fn from_str(text: &str) -> Result<Length, String> {
        let millis = |text: &str| {
            let span = read_duration(text.trim())?;
            match span.subsec_nanos() % 1_000_000 == 0 && !span.is_zero() {
                true => Ok(span),
                false => Err(format!(
                    "{text:?}: a millisecond is the least, and the grain"
                )),
            }
        };
        let (least, most) = match text.split_once("..") {
            Some((least, most)) => (millis(least)?, millis(most)?),
            None => {
                let only = millis(text)?;
                (only, only)
            }
        };
        match least <= most {
            true => Ok(Length { least, most }),
            false => Err(format!("{text:?} is a range with nothing in it")),
        }
    }
}

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Length, String> {
        text.parse()
    }
}

impl From<Length> for String {
    fn from(length: Length) -> String {
        length.to_string()
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write_duration(self.least))?;
        match self.least == self.most {
            true => Ok(()),
            false => write!(f, "..{}", write_duration(self.most)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_written_the_same() {
        for text in ["2s", "500ms", "1s..4s", "250ms..1.5s"] {
            assert_eq!(text.parse::<Length>().unwrap().to_string(), text);
        }
        let one: Length = "2s..2s".parse().unwrap();
        assert_eq!(one.to_string(), "2s");
    }

    #[test]
    fn what_is_no_length_is_said() {
        for (text, says) in [
            ("2", "did you mean \"2s\"?"),
            ("4s..1s", "nothing in it"),
            ("0s", "the least"),
            ("10us", "the least"),
            ("soon", "no span of time"),
            ("1s..", "no span of time"),
            ("", "no span of time"),
        ] {
            let hint = text.parse::<Length>().unwrap_err();
            assert!(hint.contains(says), "{text:?}: {hint}");
        }
    }
}
