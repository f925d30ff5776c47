//! What the command's readers name when they fail.

/// As of the command itself; nothing is read from a folder here.
#[derive(Debug)]
pub enum Failure {
    #[allow(dead_code)]
    Usage(String),
}
