//! Strings and patterns, and what is escaped in them.

use super::{LONGEST_TOKEN, Reader, Wrong};
use crate::Value;

impl<'a> Reader<'a> {
    /// The string that comes next, if it says everything as it is.
    #[inline]
    pub(super) fn plain_string(&mut self) -> Option<&'a str> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        let most = rest.len().min(LONGEST_TOKEN);
        let end = rest[..most]
            .iter()
            .position(|b| matches!(b, b'"' | b'\\'))?;
        if rest[end] != b'"' {
            return None;
        }
        let text = &self.text[self.at + 1..self.at + 1 + end];
        self.at += end + 2;
        Some(text)
    }

    /// As it is written: nothing is escaped in it but for the pattern itself.
    pub(super) fn regex(&mut self) -> Result<Value, Wrong> {
        let from = self.at;
        self.at += 1;
        let start = self.at;
        while let Some(byte) = self.peek() {
            self.hold(4)?;
            match byte {
                b'"' => {
                    let pattern = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Value::text(pattern));
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
        Err(self.wrong(from, "this pattern is never closed"))
    }

    pub(super) fn string(&mut self) -> Result<Value, Wrong> {
        let from = self.at;
        if let Some(plain) = self.plain_string() {
            self.hold(4 * plain.len() as u64)?;
            return Ok(Value::text(plain));
        }
        self.at += 1;
        let mut text = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((at, c)) = chars.next() {
            // The text has twice the room that it needs, and is copied.
            self.hold(4)?;
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(Value::text(text));
                }
                '\\' => {
                    let escaped = chars.next().map(|(_, c)| c);
                    let plain = match escaped {
                        Some('n') => Some('\n'),
                        Some('t') => Some('\t'),
                        Some('r') => Some('\r'),
                        Some('b') => Some('\u{8}'),
                        Some('f') => Some('\u{c}'),
                        Some('u') => {
                            match hex_of(&mut chars) {
                                // The first of two halves.
                                Some(high @ 0xd800..0xdc00) => {
                                    let low = chars.by_ref().take(2).map(|(_, c)| c);
                                    let low = low.eq(['\\', 'u']).then(|| hex_of(&mut chars));
                                    low.flatten()
                                        .filter(|low| (0xdc00..0xe000).contains(low))
                                        .and_then(|low| {
                                            let both = (high - 0xd800) << 10 | (low - 0xdc00);
                                            char::from_u32(0x10000 + both)
                                        })
                                }
                                one => one.and_then(char::from_u32),
                            }
                        }
                        Some(c @ ('"' | '\\' | '\'' | '/')) => Some(c),
                        _ => None,
                    };
                    match plain {
                        Some(c) => text.push(c),
                        None => {
                            self.at += at;
                            return Err(self.wrong(self.at, "no such escape in a string"));
                        }
                    }
                }
                c => text.push(c),
            }
        }
        self.at = self.text.len();
        Err(self.wrong(from, "this string is never closed"))
    }
}

/// The number that the next four characters write.
fn hex_of(chars: &mut std::str::CharIndices) -> Option<u32> {
    let hex: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
    u32::from_str_radix(&hex, 16).ok()
}
