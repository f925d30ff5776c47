//! Known issues: reds that somebody has looked at, until when that is enough.
//!
//! ```toml
//! [[issue]]
//! fingerprint = "3f2a91c07d5e"
//! link = "https://tracker.example/123"
//! until = "2027-03-01"          # from then on it is red again
//! about = "a deposed leader answers reads"
//! ```

use std::path::Path;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::file::{self, Wrong, wrong};
use crate::exit::Failure;

/// A known issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    pub fingerprint: String,
    pub link: String,
    /// The first day on which it is not excused any more.
    pub until: NaiveDate,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    issue: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    fingerprint: Spanned<String>,
    link: String,
    until: Spanned<String>,
    #[serde(default)]
    about: String,
}

/// Reads the file, or says all that is wrong with it.
pub fn read(path: &Path) -> Result<Vec<Issue>, Failure> {
    let text = file::text(path).map_err(Failure::Usage)?;
    parse(&text).map_err(|wrongs| Failure::Usage(file::complaints(path, &text, wrongs)))
}

fn parse(text: &str) -> Result<Vec<Issue>, Vec<Wrong>> {
    let file: File = file::parse(text).map_err(|wrong| vec![wrong])?;
    let (mut issues, mut wrongs) = (Vec::<Issue>::new(), Vec::new());
    for entry in file.issue {
        let fingerprint = entry.fingerprint.get_ref();
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if fingerprint.len() != super::fingerprint::DIGITS || !fingerprint.chars().all(hex) {
            let message = format!(
                "a fingerprint is {} digits of 0-9 and a-f, as the night's summary has it",
                super::fingerprint::DIGITS
            );
            wrongs.push(wrong(entry.fingerprint.span(), message));
        }
        if issues.iter().any(|issue| issue.fingerprint == *fingerprint) {
            wrongs.push(wrong(entry.fingerprint.span(), "it is there twice"));
        }
        match entry.until.get_ref().parse() {
            Ok(until) => issues.push(Issue {
                fingerprint: fingerprint.clone(),
                link: entry.link,
                until,
                about: entry.about,
            }),
            Err(_) => {
                let message = "until when: a day such as \"2027-03-01\"";
                wrongs.push(wrong(entry.until.span(), message));
            }
        }
    }
    match wrongs.is_empty() {
        true => Ok(issues),
        false => Err(wrongs),
    }
}

impl Issue {
    pub fn is_expired(&self, today: NaiveDate) -> bool {
        today >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[issue]]\nfingerprint = \"3f2a91c07d5e\"\nlink = \"https://x/1\"\nuntil = \"2027-03-01\"\n";

    #[test]
    fn an_issue_is_excused_up_to_its_day_and_no_longer() {
        let issues = parse(GOOD).unwrap();
        let day = |text: &str| text.parse().unwrap();
        assert!(!issues[0].is_expired(day("2027-02-28")));
        assert!(issues[0].is_expired(day("2027-03-01")));
    }

    #[test]
    fn mistakes_are_said_with_their_place() {
        let twice = format!("{GOOD}{GOOD}");
        for (text, at, says) in [
            (GOOD.replace("link", "lnk"), 3, "unknown field `lnk`"),
            (GOOD.replace("3f2a", "3F2a"), 2, "12 digits"),
            (GOOD.replace("3f2a", ""), 2, "12 digits"),
            (GOOD.replace("2027-03-01", "March"), 4, "a day such as"),
            (twice, 6, "twice"),
        ] {
            let wrongs = parse(&text).unwrap_err();
            let said = file::complaints(Path::new("known.toml"), &text, wrongs);
            assert!(said.starts_with(&format!("known.toml:{at}:")), "{said}");
            assert!(said.contains(says), "{said}");
        }
    }
}
