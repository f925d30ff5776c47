//! Frames: how messages lie on the wire, and records on the disk.
//!
//! ```text
//! ┌────────────┬────────────┬───────────────────────┐
//! │ length u32 │ CRC-32 u32 │ payload, length bytes │   numbers little-endian, CRC over length and payload
//! └────────────┴────────────┴───────────────────────┘
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes before the payload.
pub const HEADER: usize = 8;
/// The longest payload. A longer length is not believed, so that nobody can make us reserve memory.
pub const PAYLOAD_MAX: usize = 64 << 20;

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length cannot be right.
    #[error("a frame of {length} bytes is more than the {limit} allowed")]
    TooLong { length: usize, limit: usize },
    /// The checksum is wrong.
    #[error("the checksum of a frame of {length} bytes is {found:08x}, not {expected:08x}")]
    Checksum {
        length: usize,
        expected: u32,
        found: u32,
    },
    /// The payload is no message.
    #[error("a frame of {length} bytes holds no message: {reason}")]
    Payload { length: usize, reason: String },
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// Adds a frame with `payload` to `out`.
pub fn push_frame(out: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .expect("payloads are far below 4 GiB")
        .to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// A frame with nothing in it: a sign of life.
pub fn life() -> Vec<u8> {
    let mut out = Vec::new();
    push_frame(&mut out, &[]);
    out
}

/// A value as a frame of its own.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    push_frame(
        &mut out,
        &postcard::to_stdvec(value).expect("plain data has an encoding"),
    );
    out
}

/// The first frame's payload and how many bytes the frame takes, or `None` if it is not all there
/// yet.
///
/// # Errors
/// When the bytes cannot be the beginning of a frame of at most `limit` bytes.
pub fn split_frame(bytes: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((length_bytes, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length_bytes) as usize;
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    let Some((expected, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let Some(payload) = rest.get(..length) else {
        return Ok(None);
    };
    let (expected, found) = (
        u32::from_le_bytes(*expected),
        checksum(*length_bytes, payload),
    );
    if expected != found {
        return Err(FrameError::Checksum {
            length,
            expected,
            found,
        });
    }
    Ok(Some((payload, HEADER + length)))
}

/// The first frame of a file: its payload, which is never empty, and how many bytes the frame
/// takes.
///
/// # Errors
/// Why there is none, as a sentence.
pub fn split_record(bytes: &[u8], limit: usize) -> Result<(&[u8], usize), String> {
    match split_frame(bytes, limit) {
        Ok(Some((payload, length))) if !payload.is_empty() => Ok((payload, length)),
        Ok(Some(_)) => Err("an empty frame".to_owned()),
        Ok(None) => Err("the file ends within a frame".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The value in a payload, which it must fill.
///
/// # Errors
/// When it holds something else.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    let error = |reason: String| FrameError::Payload {
        length: payload.len(),
        reason,
    };
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(error(format!("{} bytes are left over", rest.len()))),
        Err(reason) => Err(error(reason.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Message = (u64, Vec<String>, Option<Vec<u8>>);

    fn message() -> impl Strategy<Value = Message> {
        let texts = proptest::collection::vec("[ -~é]{0,12}", 0..4);
        let bytes = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
        (any::<u64>(), texts, bytes)
    }

    proptest! {
        #[test]
        fn values_come_back_as_they_were(message in message()) {
            let bytes = encode(&message);
            let (payload, length) = split_frame(&bytes, PAYLOAD_MAX).unwrap().unwrap();
            prop_assert_eq!(length, bytes.len());
            prop_assert_eq!(decode::<Message>(payload).unwrap(), message);
        }

        #[test]
        fn part_of_a_frame_is_waited_for(message in message(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&message);
            let cut = cut.index(bytes.len());
            prop_assert_eq!(split_frame(&bytes[..cut], PAYLOAD_MAX), Ok(None));
        }

        #[test]
        fn a_flipped_bit_is_noticed(message in message(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes = encode(&message);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            // A longer length waits for bytes that never come; everything else is an error.
            if let Some((payload, _)) = split_frame(&bytes, PAYLOAD_MAX).ok().flatten() {
                prop_assert!(false, "accepted {:?}", payload);
            }
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = split_frame(&bytes, 1 << 10);
            if let Ok(message) = decode::<Message>(&bytes) {
                prop_assert!(postcard::to_stdvec(&message).is_ok());
            }
        }
    }

    #[test]
    fn a_record_is_whole_and_never_empty() {
        let record = encode(&7_u64);
        let length = record.len();
        assert_eq!(split_record(&record, 10), Ok((&record[HEADER..], length)));
        for (bytes, reason) in [
            (&record[..length - 1], "the file ends within a frame"),
            (&[], "the file ends within a frame"),
            (&life(), "an empty frame"),
            // A hole in a file reads as zeros.
            (&[0; 4096], "the checksum"),
            (&[0xff; 16], "more than the 10 allowed"),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 7], "the checksum"),
        ] {
            let error = split_record(bytes, 10).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_hostile_length_is_refused_before_its_bytes_come() {
        let error = split_frame(&u32::MAX.to_le_bytes(), 100).unwrap_err();
        assert_eq!(
            error,
            FrameError::TooLong {
                length: u32::MAX as usize,
                limit: 100
            }
        );
    }
}
