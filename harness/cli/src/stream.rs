//! Reading and writing that end when the budget does.

use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use checkers::{Exhausted, Meter};

/// Opens what a person named, `-` for standard input. Nothing is waited for beyond the meter's
/// time: neither what comes through a pipe, nor its other end.
pub fn open(path: &Path, meter: &Meter) -> io::Result<Box<dyn Read + Send>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(Waiting::on(|| Ok(io::stdin()), meter)));
    }
    let there = fs::metadata(path)?;
    if there.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if there.is_file() {
        return Ok(Box::new(File::open(path)?));
    }
    let path = path.to_path_buf();
    Ok(Box::new(Waiting::on(move || File::open(path), meter)))
}

/// A pipe: whoever waits for what comes through it gives up when the time is over.
pub struct Waiting {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Cursor<Vec<u8>>,
    meter: Meter,
}

impl Waiting {
    /// `open` may take its time too.
    pub fn on<R: Read>(
        open: impl FnOnce() -> io::Result<R> + Send + 'static,
        meter: &Meter,
    ) -> Waiting {
        let (to, pieces) = mpsc::sync_channel(4);
        // It ends with the pipe, or when nobody listens any more; at the latest with the program.
        thread::spawn(move || {
            let mut from = match open() {
                Ok(from) => from,
                Err(e) => {
                    // Whoever would have read may have given up.
                    let _ = to.send(Err(e));
                    return;
                }
            };
            loop {
                let mut piece = vec![0; 1 << 16];
                let read = from.read(&mut piece);
                let ends = !matches!(read, Ok(1..));
                if to.send(read.map(|len| piece[..len].to_vec())).is_err() || ends {
                    return;
                }
            }
        });
        Waiting {
            pieces,
            piece: Cursor::default(),
            meter: meter.clone(),
        }
    }
}

impl Read for Waiting {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.piece.read(to)?;
        if read > 0 {
            return Ok(read);
        }
        match self.pieces.recv_timeout(self.meter.left().time) {
            Ok(piece) => self.piece = Cursor::new(piece?),
            Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
            Err(RecvTimeoutError::Disconnected) => {}
        }
        self.piece.read(to)
    }
}

/// Writes as long as there is time.
pub struct Metered<W> {
    pub to: W,
    meter: Meter,
    /// What ended it, if anything did.
    pub exhausted: Option<Exhausted>,
}

impl<W: Write> Metered<W> {
    pub fn new(to: W, meter: Meter) -> BufWriter<Metered<W>> {
        BufWriter::with_capacity(
            1 << 16,
            Metered {
                to,
                meter,
                exhausted: None,
            },
        )
    }
}

impl<W: Write> Write for Metered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(why) = self.meter.look(0) {
            self.exhausted = Some(why);
            return Err(io::Error::other(why));
        }
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkers::Budget;
    use std::time::Duration;

    const NO_TIME: Budget = Budget {
        time: Duration::ZERO,
        memory_bytes: u64::MAX,
    };

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let bytes: Vec<u8> = (0..300_000).map(|n| n as u8).collect();
        let mut read = Vec::new();
        let meter = Budget::UNLIMITED.start();
        let mut pipe = Waiting::on(
            {
                let bytes = bytes.clone();
                || Ok(Cursor::new(bytes))
            },
            &meter,
        );
        pipe.read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
    }

    #[test]
    fn nobody_waits_for_a_pipe_when_the_time_is_over() {
        let (silent, _kept) = io::pipe().unwrap();
        let mut pipe = Waiting::on(|| Ok(silent), &NO_TIME.start());
        let found = pipe.read(&mut [0]).unwrap_err();
        assert_eq!(found.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn nothing_is_written_when_the_time_is_over() {
        let mut written = Vec::new();
        let mut to = Metered::new(&mut written, NO_TIME.start());
        to.write_all(b"kept until it is flushed").unwrap();
        assert!(to.flush().is_err());
        assert_eq!(to.get_ref().exhausted, Some(Exhausted::Time));
        drop(to);
        assert!(written.is_empty());
    }
}
