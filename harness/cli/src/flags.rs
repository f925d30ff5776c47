//! Flags that several commands have.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use history::foreign::Format;

#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Where runs are kept
    #[arg(long, default_value = "store", value_name = "DIR")]
    pub store: PathBuf,
}

#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Open the report in your browser
    #[arg(long, conflicts_with = "json")]
    pub open: bool,
}

#[derive(Debug, Args)]
pub struct BudgetArgs {
    /// How long each checker may take, and reading the history before
    #[arg(help_heading = "Judging", long, default_value = "60s", value_parser = duration, value_name = "TIME", hide_short_help = true)]
    pub check_time: Duration,
    /// How much memory each checker may use beyond the history, and the history itself, in MiB
    #[arg(
        help_heading = "Judging",
        long,
        default_value_t = 1024,
        value_name = "MIB",
        hide_short_help = true
    )]
    pub check_memory: u64,
}

impl BudgetArgs {
    pub fn budget(&self) -> checkers::Budget {
        checkers::Budget {
            time: self.check_time,
            memory_bytes: self.check_memory << 20,
        }
    }
}

/// The heading of what is about histories in files.
pub const FILES: &str = "History files";

#[derive(Debug, Args)]
pub struct InputArgs {
    /// The file's format: `jsonl`, `edn`, `events`, `log`, `csv`, `operations`, `polysi` or `dbcop`
    /// [default: told by the file's beginning]
    #[arg(help_heading = FILES, long, value_name = "FORMAT", value_parser = format)]
    pub format: Option<Format>,
}

/// A span of time as people write it.
pub fn duration(text: &str) -> Result<Duration, String> {
    match harness::units::read_duration(text) {
        Ok(span) if span.as_micros() > 0 => Ok(span),
        Ok(_) => Err("it is less than a microsecond".into()),
        Err(_) => Err("write it like `500ms`, `90s` or `1h30m`".into()),
    }
}

/// A format of histories by its name.
pub fn format(text: &str) -> Result<Format, String> {
    let named = Format::ALL.into_iter().find(|format| format.name() == text);
    named.ok_or_else(|| format!("one of {}", Format::ALL.map(Format::name).join(", ")))
}

/// `name=value`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((k, v)) if !k.is_empty() => Ok((k.to_string(), v.to_string())),
        _ => Err("write it as `name=value`".into()),
    }
}
