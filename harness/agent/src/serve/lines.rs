//! Input, cut into lines and lines into requests.

use serde_json::Value;

use crate::protocol::Request;

/// Longest line that is read. Longer ones are refused and skipped.
const LINE_MAX: usize = 64 << 20;
/// Cuts input into lines of bounded length.
#[derive(Default)]
pub struct Lines {
    number: u64,
    begun: Vec<u8>,
    /// The line that is being read is too long; its rest is thrown away.
    skipping: bool,
}

/// A line of input with its number, or the fact that it was too long.
pub type Numbered = (u64, Option<Vec<u8>>);

impl Lines {
    /// How many have been whole.
    pub fn count(&self) -> u64 {
        self.number
    }

    /// Forgets a line that is not whole yet; says how many have been.
    pub fn restart(&mut self) -> u64 {
        self.begun = Vec::new();
        self.skipping = false;
        self.number
    }

    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<Numbered> {
        let mut whole = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.take(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.number += 1;
            let line = std::mem::take(&mut self.begun);
            let too_long = std::mem::take(&mut self.skipping);
            whole.push((self.number, (!too_long).then_some(line)));
        }
        self.take(bytes);
        whole
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.begun.len() + bytes.len() > LINE_MAX {
            self.skipping = true;
        }
        if self.skipping {
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }
}

/// The number and the request of a line; for a bad one, the number as far as it can be read, 0
/// otherwise, and what is wrong and where.
pub fn parse((number, line): Numbered) -> Result<(u64, Request), (u64, String)> {
    let Some(line) = line else {
        let max = LINE_MAX >> 20;
        return Err((0, format!("line {number} is longer than {max} MiB")));
    };
    let value: Value = serde_json::from_slice(&line).map_err(|error| {
        // serde_json counts from the start of the line it was given.
        let column = error.column();
        (0, format!("line {number}, column {column}: {error}"))
    })?;
    let Some(id) = value.get("id").and_then(Value::as_u64) else {
        return Err((0, format!("line {number}: no `id` (a number from 0)")));
    };
    match serde_json::from_value(value) {
        Ok(request) => Ok((id, request)),
        Err(error) => Err((id, format!("line {number}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (u64, String) {
        parse((3, Some(text.into()))).expect_err("is refused")
    }

    #[test]
    fn bad_lines_are_refused_by_position_and_reason() {
        assert_eq!(refusal("{\"id\":1,").0, 0);
        assert!(refusal("{\"id\":1,").1.starts_with("line 3, column 8: EOF"));
        assert_eq!(
            refusal("{\"do\":\"renew\"}"),
            (0, "line 3: no `id` (a number from 0)".into())
        );
        let (id, error) = refusal("{\"id\":9,\"do\":\"dance\"}");
        assert_eq!(id, 9);
        assert!(
            error.starts_with("line 3: unknown variant `dance`"),
            "{error}"
        );
        let (id, error) = refusal("{\"id\":9,\"do\":\"heal\"}");
        assert_eq!((id, error), (9, "line 3: missing field `fault`".into()));
        assert!(parse((4, None)).expect_err("too long").1.contains("line 4"));
        let renew = parse((1, Some(b"{\"id\":2,\"do\":\"renew\"}".to_vec())));
        assert!(matches!(renew, Ok((2, Request::Renew { received: 0 }))));
    }

    #[test]
    fn lines_are_cut_wherever_the_pieces_end() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"ab"), []);
        assert_eq!(lines.feed(b"c\nd"), [(1, Some(b"abc".to_vec()))]);
        let two = [(2, Some(b"d".to_vec())), (3, Some(Vec::new()))];
        assert_eq!(lines.feed(b"\n\n"), two);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_the_next_is_read() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..=LINE_MAX / piece.len() {
            assert_eq!(lines.feed(&piece), []);
        }
        assert!(lines.begun.capacity() == 0);
        let next = [(1, None), (2, Some(b"ok".to_vec()))];
        assert_eq!(lines.feed(b"x\nok\n"), next);
    }
}
