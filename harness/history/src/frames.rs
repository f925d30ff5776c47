//! Text that is compressed as it comes, and read back as far as it goes.
//!
//! A file is frames of zstd one after another, each of which any tool reads by itself. A frame ends
//! when it has [`FRAME_BYTES`] of text. Until then [`Frames::flush`] hands on all that was written
//! before it, so whoever reads the file meanwhile, or after its writer was killed, gets that.

use std::io::{self, BufRead, Read, Write};

use zstd::stream::{read, write};

/// Text of a frame: enough for it to be small, and little enough to lose.
pub const FRAME_BYTES: usize = 4 << 20;
/// Higher levels cost more than the controller has left while a run goes on.
const LEVEL: i32 = 3;
/// How a frame begins.
pub const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compresses what is written to it.
pub struct Frames<W: Write> {
    /// None only between two frames.
    frame: Option<write::Encoder<'static, W>>,
    /// Bytes of text in the frame.
    has: usize,
}

impl<W: Write> Frames<W> {
    /// # Errors
    /// There is no memory for it.
    pub fn new(to: W) -> io::Result<Frames<W>> {
        Ok(Frames {
            frame: Some(frame(to)?),
            has: 0,
        })
    }

    /// Ends the last frame.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.frame.ok_or_else(broken)?.finish()
    }
}

/// A frame that could not be ended takes the file with it.
fn broken() -> io::Error {
    io::Error::other("writing has failed before")
}

fn frame<W: Write>(to: W) -> io::Result<write::Encoder<'static, W>> {
    let mut frame = write::Encoder::new(to, LEVEL)?;
    frame.include_checksum(true)?;
    Ok(frame)
}

impl<W: Write> Write for Frames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.has >= FRAME_BYTES {
            let to = self.frame.take().ok_or_else(broken)?.finish()?;
            self.frame = Some(frame(to)?);
            self.has = 0;
        }
        let written = self.frame.as_mut().ok_or_else(broken)?.write(bytes)?;
        self.has += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.frame.as_mut().ok_or_else(broken)?.flush()
    }
}

/// The text of a file of [`Frames`], or of one that is plain. A last frame that is not whole is
/// read as far as it goes: it is being written, or its writer was killed.
///
/// # Errors
/// The file cannot be read.
pub fn text<R: BufRead + Send + 'static>(mut from: R) -> io::Result<Box<dyn Read + Send>> {
    let beginning = from.fill_buf()?;
    // Less than that is no frame, and no line of a history either.
    let compressed = beginning.starts_with(&MAGIC);
    Ok(match compressed {
        true => Box::new(Whole(read::Decoder::with_buffer(from)?)),
        false => Box::new(from),
    })
}

/// Ends where its frames do.
struct Whole<R: BufRead>(read::Decoder<'static, R>);

impl<R: BufRead> Read for Whole<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.0.read(to) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Lines that differ, so that frames are not next to nothing.
    fn lines(from: u64, count: u64) -> Vec<u8> {
        let mixed = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let lines = (from..from + count).map(|n| format!("{n} {:x}\n", mixed(n)));
        lines.collect::<String>().into_bytes()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        text(Cursor::new(bytes.to_vec()))?.read_to_end(&mut all)?;
        Ok(all)
    }

    /// Where frames begin.
    fn frames(bytes: &[u8]) -> Vec<usize> {
        let places = 0..bytes.len() - MAGIC.len();
        places
            .filter(|at| bytes[*at..].starts_with(&MAGIC))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_and_each_frame_stands_by_itself() {
        let mut to = Frames::new(Vec::new()).unwrap();
        let all = lines(0, 400_000);
        for part in all.chunks(100_000) {
            to.write_all(part).unwrap();
        }
        let bytes = to.finish().unwrap();
        assert_eq!(read(&bytes).unwrap(), all);
        assert!(
            bytes.len() < all.len() * 2 / 3,
            "{} of {}",
            bytes.len(),
            all.len()
        );
        let begin = frames(&bytes);
        assert_eq!(begin.len(), all.len().div_ceil(FRAME_BYTES));
        let last = read(&bytes[*begin.last().unwrap()..]).unwrap();
        assert!(all.ends_with(&last) && !last.is_empty());
    }

    #[test]
    fn what_was_flushed_is_there_wherever_the_rest_is_cut() {
        let mut to = Frames::new(Vec::new()).unwrap();
        let (first, second) = (lines(0, 300), lines(300, 300));
        to.write_all(&first).unwrap();
        to.flush().unwrap();
        let flushed = to.frame.as_ref().unwrap().get_ref().len();
        to.write_all(&second).unwrap();
        let bytes = to.finish().unwrap();
        let all = [first.clone(), second].concat();
        for cut in flushed..bytes.len() {
            let found = read(&bytes[..cut]).unwrap();
            assert!(
                found.len() >= first.len() && all.starts_with(&found),
                "cut at {cut}"
            );
        }
        assert_eq!(read(&bytes).unwrap(), all);
    }

    #[test]
    fn a_file_that_is_cut_where_a_frame_begins_has_all_frames_before() {
        let mut to = Frames::new(Vec::new()).unwrap();
        let all = lines(0, 200_000);
        for part in all.chunks(100_000) {
            to.write_all(part).unwrap();
        }
        let bytes = to.finish().unwrap();
        let second = frames(&bytes)[1];
        let first = read(&bytes[..second]).unwrap();
        assert!(first.len() >= FRAME_BYTES && all.starts_with(&first));
        // With some of the next one's head.
        for cut in second + 1..second + 12 {
            assert_eq!(read(&bytes[..cut]).unwrap().len(), first.len(), "{cut}");
        }
    }

    #[test]
    fn damage_is_an_error_and_plain_text_is_read_as_it_is() {
        let mut to = Frames::new(Vec::new()).unwrap();
        to.write_all(&lines(0, 3000)).unwrap();
        let mut bytes = to.finish().unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        assert!(read(&bytes).is_err());
        for plain in [&b""[..], b"(", b"{\"schism\":\"history\"}\n"] {
            assert_eq!(read(plain).unwrap(), plain);
        }
    }
}
