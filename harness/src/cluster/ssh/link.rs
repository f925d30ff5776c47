//! One SSH connection: made, checked, and used for commands.
//!
//! libssh2 lets one call at a time into a connection, and a call that waits keeps all others out.
//! So each node has two connections, each owned by one plain thread: the agent's ([`super::pump`])
//! and the one for commands and files (here).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use ssh2::{Channel, MethodType, Session};
use tokio::sync::oneshot;

use super::auth::{self, Passphrases};
use super::host::{Access, Host};
use super::known;

/// For a connection to be made, tries included: a machine may be on its way up.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// For one try of TCP.
const TRY: Duration = Duration::from_secs(8);
/// For one step of making a connection, as a small machine's key exchange may take seconds; and for
/// a piece of a program to be taken.
const STEP: Duration = Duration::from_secs(30);
/// After so long without a sign of life the other end is gone. Longer than a lease, which has run
/// out then in any case; shorter, and a busy machine would be taken for a lost one.
pub(super) const LOST: Duration = Duration::from_secs(12);
/// Between two tries, at first; doubled each time.
const BACK_OFF: Duration = Duration::from_millis(250);
/// A connection that is not used says so often that it is there.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often a command that may be repeated is tried.
const TRIES: u32 = 3;
/// For a command's answer, all tries included. A command that says nothing until it ends is not
/// lost: that the machine is there, TCP tells.
const ANSWER: Duration = Duration::from_secs(60);
/// For the other end to say goodbye, where it has failed.
const GOODBYE: Duration = Duration::from_secs(1);
/// Bytes a second at which a program is uploaded at the least.
const SLOWEST: usize = 16 << 10;
/// Bytes that a command may print, and complain.
const PRINTED: usize = 1 << 20;
const COMPLAINED: usize = 64 << 10;
/// What is read and written at once.
const PIECE: usize = 64 << 10;

/// What a command may take. A node is not trusted to come to an end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// That it may print.
    pub bytes: usize,
    pub time: Duration,
}

impl Default for Limit {
    fn default() -> Limit {
        Limit {
            bytes: PRINTED,
            time: ANSWER,
        }
    }
}

/// Why a command has no result.
#[derive(Debug)]
enum Failure {
    /// The connection is lost, and another may do.
    Lost(String),
    /// Another would not.
    Final(String),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        Failure::Lost(e.to_string())
    }
}

impl From<ssh2::Error> for Failure {
    fn from(e: ssh2::Error) -> Failure {
        Failure::Lost(e.to_string())
    }
}

/// Everything that is needed to connect to a node, again and again.
#[derive(Clone)]
pub(super) struct Way {
    pub host: Host,
    pub access: Access,
    pub passphrases: Arc<Passphrases>,
}

/// An authenticated connection.
pub(super) struct Link {
    pub session: Session,
    /// What it goes through, if not TCP.
    _proxy: Option<Guard>,
}

/// Ends the process when dropped.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Why there is no connection.
enum Failed {
    /// Trying again may help.
    Now(String),
    /// Trying again will not.
    Ever(String),
}

impl Way {
    /// Connects, and tries again with growing pauses what may pass: a machine that is starting, a
    /// server that has too many on its doorstep.
    pub fn connect(&self, patience: Duration) -> Result<Link, String> {
        let deadline = Instant::now() + patience;
        let mut pause = BACK_OFF;
        loop {
            match self.attempt(deadline) {
                Ok(link) => return Ok(link),
                Err(Failed::Ever(why)) => return Err(why),
                Err(Failed::Now(why)) if Instant::now() + pause >= deadline => {
                    let seconds = patience.as_secs();
                    return Err(format!(
                        "no SSH connection within {seconds} s: {why}; is the machine up, and does \
                         `ssh {}` work?",
                        self.host.given
                    ));
                }
                Err(Failed::Now(_)) => thread::sleep(pause),
            }
            pause *= 2;
        }
    }

    fn attempt(&self, deadline: Instant) -> Result<Link, Failed> {
        let host = &self.host;
        let mut session = Session::new().map_err(|e| Failed::Ever(e.to_string()))?;
        allow(&session, deadline, STEP);
        let proxy = match host.through(&self.access) {
            None => {
                session.set_tcp_stream(self.dial()?);
                None
            }
            Some(mut command) => {
                let broken = |e: io::Error| Failed::Ever(format!("the way there: {e}"));
                let (ours, theirs) = UnixStream::pair().map_err(broken)?;
                let theirs = OwnedFd::from(theirs);
                let child = command
                    .stdin(theirs.try_clone().map_err(broken)?)
                    .stdout(theirs)
                    .stderr(Stdio::piped())
                    .spawn()
                    .map_err(broken)?;
                session.set_tcp_stream(ours);
                Some(Guard(child))
            }
        };
        let known = known::look_up(host).map_err(Failed::Ever)?;
        if let Some(kinds) = known::preference(&known) {
            // What libssh2 does not know of it leaves out; with nothing left the handshake says so.
            let _ = session.method_pref(MethodType::HostKey, &kinds);
        }
        let mut proxy = proxy;
        if let Err(e) = session.handshake() {
            let said = proxy.take().map(complaint).unwrap_or_default();
            return Err(Failed::Now(format!("handshake: {}{said}", e.message())));
        }
        let (shown, _) = session
            .host_key()
            .ok_or_else(|| Failed::Ever("it shows no host key".into()))?;
        known::check(host, &known, shown).map_err(Failed::Ever)?;
        allow(&session, deadline, STEP);
        auth::authenticate(&session, host, &self.passphrases).map_err(Failed::Ever)?;
        session.set_timeout(STEP.as_millis() as u32);
        Ok(Link {
            session,
            _proxy: proxy,
        })
    }

    fn dial(&self) -> Result<TcpStream, Failed> {
        let (name, port) = (self.host.hostname.as_str(), self.host.port);
        let found = (name, port).to_socket_addrs();
        let addresses = found.map_err(|e| Failed::Ever(format!("{name}: {e}")))?;
        let mut why = format!("{name}: it has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, TRY) {
                Ok(stream) => {
                    // A link that these cannot be set on is watched by its silence all the same.
                    let _ = stream.set_nodelay(true);
                    let _ = sockopt::set_socket_keepalive(&stream, true);
                    let _ = sockopt::set_tcp_user_timeout(&stream, LOST.as_millis() as u32);
                    return Ok(stream);
                }
                Err(e) => why = format!("{address}: {e}"),
            }
        }
        Err(Failed::Now(why))
    }
}

/// Lets the next step of the protocol take what is left of the time, and no longer than it may.
fn allow(session: &Session, deadline: Instant, most: Duration) {
    let left = deadline.saturating_duration_since(Instant::now());
    // Nothing would mean that it may take for ever.
    let left = left.min(most).max(Duration::from_millis(1));
    session.set_timeout(u32::try_from(left.as_millis()).unwrap_or(u32::MAX));
}

/// What a proxy said before it failed.
fn complaint(mut proxy: Guard) -> String {
    let _ = proxy.0.kill();
    let mut said = String::new();
    if let Some(stderr) = proxy.0.stderr.take() {
        // Without it the handshake's own error must do.
        let _ = stderr.take(COMPLAINED as u64).read_to_string(&mut said);
    }
    match said.trim() {
        "" => String::new(),
        said => format!(" (on the way there: {said})"),
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(super) struct Done {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Done {
    /// What it printed; what it complained of, if it failed.
    pub fn success(self) -> Result<String, String> {
        match self.status {
            0 => Ok(String::from_utf8_lossy(&self.stdout).into_owned()),
            status => Err(match self.stderr.trim() {
                "" => format!("exit {status}"),
                said => said.to_string(),
            }),
        }
    }
}

impl Link {
    /// Says that the connection is still wanted. Not while something is waited for: libssh2 takes
    /// the moment at which the next such word is due for the end of the time (libssh2 1.11,
    /// `ssh2_wait_socket`), so that a command which is silent for so long would be given up.
    pub fn keep_alive(&self) -> Result<(), ssh2::Error> {
        self.session.set_keepalive(true, 1);
        let sent = self.session.keepalive_send();
        self.session.set_keepalive(false, 0);
        sent.map(drop)
    }

    /// Runs a command of the node's shell to its end, or to a limit.
    fn exec(
        &self,
        command: &str,
        stdin: &[u8],
        bytes: usize,
        deadline: Instant,
    ) -> Result<Done, Failure> {
        allow(&self.session, deadline, Duration::MAX);
        let mut channel = self.session.channel_session()?;
        let done = self.converse(&mut channel, command, stdin, bytes, deadline);
        if done.is_err() {
            // Closing the channel waits for the other end, which may never answer.
            self.session.set_timeout(GOODBYE.as_millis() as u32);
        }
        done
    }

    fn converse(
        &self,
        channel: &mut Channel,
        command: &str,
        stdin: &[u8],
        bytes: usize,
        deadline: Instant,
    ) -> Result<Done, Failure> {
        channel.exec(command)?;
        // A command that does not read its input says why by its status.
        let fed = stdin.chunks(PIECE).try_for_each(|piece| {
            // Whoever has ended takes nothing more, and libssh2 waits on.
            allow(&self.session, deadline, STEP);
            channel.write_all(piece)
        });
        let fed = fed.and_then(|()| channel.flush());
        allow(&self.session, deadline, Duration::MAX);
        channel.send_eof()?;
        let stdout = self.hear(channel, bytes, deadline)?;
        let stderr = self.hear(&mut channel.stderr(), COMPLAINED, deadline)?;
        channel.wait_close()?;
        let status = channel.exit_status()?;
        if status == 0 {
            fed?;
        }
        Ok(Done {
            status,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Reads to the end, if that comes before the limits do.
    fn hear(
        &self,
        from: &mut impl Read,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let mut heard = Vec::new();
        let mut piece = vec![0; PIECE];
        loop {
            allow(&self.session, deadline, Duration::MAX);
            let count = from.read(&mut piece)?;
            if count == 0 {
                return Ok(heard);
            }
            heard.extend_from_slice(&piece[..count]);
            if heard.len() > bytes {
                let why = format!("it goes on after {bytes} bytes, which are more than are due");
                return Err(Failure::Final(why));
            }
            if Instant::now() >= deadline {
                return Err(Failure::Lost("it comes to no end".into()));
            }
        }
    }
}

/// The thread that owns a node's connection for commands and files.
pub(super) struct Files {
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Hand) + Send>;

/// What a job works with.
pub(super) struct Hand {
    way: Way,
    link: Option<Link>,
    /// No connection could be made the last time: a machine on its way up has been waited for.
    lost: bool,
}

impl Hand {
    /// Connects if need be.
    fn link(&mut self, deadline: Instant) -> Result<&Link, String> {
        if self.link.is_none() {
            let patience = if self.lost { TRY } else { PATIENCE };
            let left = deadline.saturating_duration_since(Instant::now());
            let link = self.way.connect(patience.min(left));
            self.lost = link.is_err();
            self.link = Some(link?);
        }
        Ok(self.link.as_ref().expect("it was just made"))
    }

    /// Runs a command that may be run twice: if the connection is lost, again on a new one.
    pub fn exec(&mut self, command: &str, stdin: &[u8]) -> Result<Done, String> {
        self.exec_within(command, stdin, &Limit::default())
    }

    /// The same within other limits than most commands need.
    pub fn exec_within(
        &mut self,
        command: &str,
        stdin: &[u8],
        limit: &Limit,
    ) -> Result<Done, String> {
        let mut pause = BACK_OFF;
        let time = limit.time + Duration::from_secs((stdin.len() / SLOWEST) as u64);
        let deadline = Instant::now() + time;
        for attempt in 1.. {
            let link = self.link(deadline)?;
            let why = match link.exec(command, stdin, limit.bytes, deadline) {
                Ok(done) => return Ok(done),
                Err(why) => why,
            };
            // Whatever it was, a fresh connection knows nothing of it.
            self.link = None;
            match why {
                Failure::Final(why) => return Err(why),
                Failure::Lost(why) if Instant::now() + pause >= deadline => {
                    let seconds = time.as_secs();
                    return Err(format!("no answer within {seconds} s: {why}"));
                }
                Failure::Lost(why) if attempt >= TRIES => {
                    return Err(format!("the connection fails again and again: {why}"));
                }
                Failure::Lost(_) => thread::sleep(pause),
            }
            pause *= 2;
        }
        unreachable!("it returns at the last attempt")
    }
}

impl Files {
    pub fn new(way: Way) -> io::Result<Files> {
        let (jobs, to_do) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("ssh-files".into())
            .spawn(move || {
                let mut hand = Hand {
                    way,
                    link: None,
                    lost: false,
                };
                loop {
                    match to_do.recv_timeout(KEEP_ALIVE) {
                        Ok(job) => job(&mut hand),
                        Err(RecvTimeoutError::Timeout) => {
                            let kept = hand.link.as_ref().map(Link::keep_alive);
                            if let Some(Err(_)) = kept {
                                // The next command makes a new one.
                                hand.link = None;
                            }
                        }
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            })?;
        Ok(Files { jobs })
    }

    /// Has this done by the thread.
    pub async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Hand) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |hand| {
            // Whoever asked may have gone.
            let _ = tell.send(work(hand));
        });
        let gone = || "the connection's thread is gone".to_string();
        self.jobs.send(job).map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

/// A word as the node's shell reads it.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_word_survives_the_shell() {
        for word in ["", "a b", "it's", "$(x) `y` \"z\" \\", "-n", "*"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output()
                .expect("there is a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }
    }
}
