//! Numbers, names and other words.

use super::{LONGEST_TOKEN, Reader, Wrong};
use crate::Value;

impl<'a> Reader<'a> {
    /// The integer that comes next, if it is one of at most 18 digits.
    #[inline]
    pub fn small_integer(&mut self) -> Result<Option<i64>, Wrong> {
        self.skip(0)?;
        Ok(self.short_integer())
    }

    #[inline]
    pub(super) fn short_integer(&mut self) -> Option<i64> {
        let rest = &self.text.as_bytes()[self.at..];
        let negative = rest.first() == Some(&b'-');
        let digits = &rest[usize::from(negative)..];
        let mut n = 0_i64;
        let mut len = 0;
        while let Some(digit @ b'0'..=b'9') = digits.get(len) {
            let digit = i64::from(digit - b'0');
            // Eighteen digits fit in any case; nanoseconds since 1970 have nineteen.
            n = match len {
                0..18 => 10 * n + digit,
                _ => n.checked_mul(10)?.checked_add(digit)?,
            };
            len += 1;
        }
        // What goes on is a float, a ratio, or large.
        let ends = digits.get(len).is_none_or(|b| ends_token(*b));
        if len == 0 || !ends {
            return None;
        }
        self.at += usize::from(negative) + len;
        Some(if negative { -n } else { n })
    }

    /// Up to white space or a bracket.
    #[inline]
    pub(super) fn token(&mut self) -> Result<&'a str, Wrong> {
        let rest = &self.text[self.at..];
        let bytes = rest.as_bytes();
        let most = bytes.len().min(LONGEST_TOKEN - 1);
        let stop = bytes[..most]
            .iter()
            .position(|b| ends_token(*b) || *b >= 0x80);
        match stop {
            Some(end) if bytes[end] < 0x80 => {
                self.at += end;
                return Ok(&rest[..end]);
            }
            None if most == bytes.len() => {
                self.at += most;
                return Ok(rest);
            }
            _ => {}
        }
        let ends = |c: char| c.is_whitespace() || "\",;()[]{}".contains(c);
        let chars = rest.char_indices().take(LONGEST_TOKEN);
        let end = chars.clone().find(|(_, c)| ends(*c)).map(|(at, _)| at);
        let end = end.or_else(|| (chars.count() < LONGEST_TOKEN).then_some(rest.len()));
        let Some(end) = end else {
            let reason = format!("a word of {LONGEST_TOKEN} characters or more");
            return Err(self.wrong(self.at, reason));
        };
        self.at += end;
        Ok(&rest[..end])
    }

    pub(super) fn atom(&mut self) -> Result<Value, Wrong> {
        let from = self.at;
        let token = self.token()?;
        if token.is_empty() {
            return Err(self.wrong(from, "expected a value"));
        }
        if let Some(keyword) = token.strip_prefix(':') {
            return match keyword.is_empty() {
                true => Err(self.wrong(from, "expected a name after :")),
                false => Ok(Value::text(keyword)),
            };
        }
        let digits = token.strip_prefix(['-', '+']).unwrap_or(token);
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            let integer = digits.strip_suffix('N').unwrap_or(digits);
            if !integer.bytes().all(|b| b.is_ascii_digit()) {
                // Floats, ratios and other bases are never compared as numbers.
                return Ok(Value::text(token));
            }
            let token = token.strip_suffix('N').unwrap_or(token);
            let token = token.strip_prefix('+').unwrap_or(token);
            return match token.parse() {
                Ok(n) => Ok(Value::Int(n)),
                Err(_) if self.any_number => Ok(Value::text(token)),
                Err(_) => Err(self.wrong(
                    from,
                    format!("integer {token} does not fit in 64 signed bits"),
                )),
            };
        }
        Ok(match token {
            "null" if self.null => Value::Nil,
            "nil" => Value::Nil,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            symbol => Value::text(symbol),
        })
    }
}

/// Whether a word ends before this byte.
#[inline]
pub fn ends_token(byte: u8) -> bool {
    const ENDS: [bool; 128] = {
        let mut ends = [false; 128];
        let bytes = b" \t\n\x0b\x0c\r\",;()[]{}";
        let mut at = 0;
        while at < bytes.len() {
            ends[bytes[at] as usize] = true;
            at += 1;
        }
        ends
    };
    byte < 128 && ENDS[byte as usize]
}
