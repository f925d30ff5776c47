//! How a session is taken up again after its link broke: by a socket beside the journal.
//!
//! ```text
//!   controller ─ new link ─ sshd ─ schism-agent resume ─┐ DIR/socket: "resume TOKEN LINES", and its
//!                              └──── stdio ────▶ agent ◀┘ own stdin, stdout and stderr
//! ```
//!
//! The helper hands its descriptors over (SCM_RIGHTS) and then only waits, so that sshd believes
//! its command to be running; not a byte goes through it.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::error::{Error, Result, io};
use crate::protocol::Line;

/// What a visitor is given to say what it wants.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is said to one whose link was taken over.
const TAKEN: &[u8] = b"y";
/// A request is a word, a token and a number.
const REQUEST_MAX: usize = 256;

fn path(dir: &Path) -> PathBuf {
    dir.join("socket")
}

/// The agent's side.
pub(crate) struct Door {
    listener: UnixListener,
    token: String,
}

/// Who is at the door.
pub(crate) enum Visitor {
    /// The controller of this session, on a new link.
    Back(Taken),
    /// Another agent wants to work here.
    Successor,
}

/// A link that was handed over.
pub(crate) struct Taken {
    pub input: OwnedFd,
    pub output: OwnedFd,
    pub complaints: OwnedFd,
    /// How many of the agent's lines the controller has.
    pub received: u64,
    /// The helper stays as long as this is open.
    pub helper: UnixStream,
}

impl Door {
    /// Lets those in who know the token. Whoever holds DIR's lock may open it.
    pub fn open(dir: &Path, token: String) -> Result<Door> {
        let path = path(dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("remove", &path)(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(io("listen on", &path))?;
        let own = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, own).map_err(io("set the mode of", &path))?;
        Ok(Door { listener, token })
    }

    /// The next visitor; none if it left or made no sense.
    pub fn answer(&self) -> Option<Visitor> {
        let (helper, _) = self.listener.accept().ok()?;
        helper.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut passed = RecvAncillaryBuffer::new(&mut space);
        let mut text = [0; REQUEST_MAX];
        let got = recvmsg(
            &helper,
            &mut [IoSliceMut::new(&mut text)],
            &mut passed,
            RecvFlags::CMSG_CLOEXEC,
        )
        .ok()?;
        let mut fds: Vec<OwnedFd> = Vec::new();
        for message in passed.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        let text = std::str::from_utf8(&text[..got.bytes]).ok()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["leave"] => Some(Visitor::Successor),
            ["resume", token, received] if *token == self.token => {
                let [input, output, complaints] = fds.try_into().ok()?;
                (&helper).write_all(TAKEN).ok()?;
                Some(Visitor::Back(Taken {
                    input,
                    output,
                    complaints,
                    received: received.parse().ok()?,
                    helper,
                }))
            }
            _ => None,
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// `schism-agent resume`: hands this program's stdio to the agent that holds the session, and waits
/// until that is done with it.
///
/// # Errors
/// There is no such session. The controller, who reads stdout, is told so there too.
pub fn resume(dir: &Path, token: &str, received: u64) -> Result<()> {
    let handed = hand_over(dir, token, received);
    if let Err(error) = &handed {
        let line = Line::Refusal {
            id: 0,
            error: error.to_string(),
        };
        let line = serde_json::to_string(&line).expect("lines have string keys only");
        println!("{line}");
    }
    handed
}

fn hand_over(dir: &Path, token: &str, received: u64) -> Result<()> {
    let none = |error: io::Error| Error::Refused(format!("no agent holds this session: {error}"));
    let mut stream = UnixStream::connect(path(dir)).map_err(none)?;
    let text = format!("resume {token} {received}");
    let (input, output, complaints) = (io::stdin(), io::stdout(), io::stderr());
    let fds = [input.as_fd(), output.as_fd(), complaints.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut passed = SendAncillaryBuffer::new(&mut space);
    let fits = passed.push(SendAncillaryMessage::ScmRights(&fds));
    assert!(fits, "there is room for three");
    let bytes = IoSlice::new(text.as_bytes());
    sendmsg(&stream, &[bytes], &mut passed, SendFlags::NOSIGNAL)
        .map_err(|error| none(error.into()))?;
    let mut taken = [0; TAKEN.len()];
    stream.read_exact(&mut taken).map_err(none)?;
    // Nothing more is said here; the end is what is waited for.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    Ok(())
}

/// Asks an agent that has lost its controller to leave, if there is one. One that has not stays.
pub fn ask_to_leave(dir: &Path) {
    // Nobody there, or nobody who listens: the lock tells in any case.
    if let Ok(stream) = UnixStream::connect(path(dir)) {
        let _ = rustix::io::write(&stream, b"leave");
    }
}
