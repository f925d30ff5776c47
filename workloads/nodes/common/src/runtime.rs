//! The loop that drives a node: one task owns the protocol, takes in what happens and carries out
//! what the protocol wants done.
//!
//! Network and clients are tasks of the same thread; the disk has a thread of its own (`disk.rs`).
//! Ticks come from a thread that sleeps in the kernel: were the process's view of the clock to
//! jump, they would still come.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::clocks::{pause, start_ticks};
use crate::event::{Event, Looking, Protocol};
use crate::log::{log, log_seldom};
use crate::signals::stop_on_signals;

/// Why a node does not start or does not go on, whatever its protocol.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address is taken or not ours.
    #[error("cannot listen for {what} on {address}: {error}")]
    Listen {
        what: &'static str,
        address: SocketAddr,
        error: io::Error,
    },
    /// The disk failed while the node ran.
    #[error("the node must stop, for it cannot write: {0}")]
    Disk(String),
    /// The operating system refuses a thread or an event loop.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// Runs a node's tasks, all on this thread.
///
/// # Errors
/// The future's, or that of an operating system that gives no event loop.
pub fn block_on<E: From<RunError>>(node: impl Future<Output = Result<(), E>>) -> Result<(), E> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().build().map_err(RunError::Start)?;
    runtime.block_on(node)
}

/// Listens on an address; `what` says for whom.
///
/// # Errors
/// When it is taken or not ours.
pub async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| RunError::Listen {
        what,
        address,
        error,
    })
}

/// Takes in a connection. A failure passes: the process is out of file descriptors, most likely.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                log_seldom(&format!("cannot accept connections: {error}"));
                pause(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Makes time pass, and signals stop the node.
///
/// # Errors
/// When the operating system gives no thread, or refuses the handlers.
pub fn start_clockwork<P: Protocol>(
    tick: Duration,
    events: &mpsc::Sender<Event<P>>,
) -> Result<(), RunError> {
    start_ticks(tick, events.clone()).map_err(RunError::Start)?;
    stop_on_signals(events.clone()).map_err(RunError::Start)
}

/// Says in the log that a node was told to have bugs.
pub fn warn_of_flaws(names: &[&str]) {
    if !names.is_empty() {
        log("WARN", &format!("planted flaws: {}", names.join(", ")));
    }
}

/// What the loop hands to a node: a request with the number by which to answer it, or any other
/// event that is not the loop's own.
#[derive(Debug)]
pub enum Taken<P: Protocol> {
    Request(u64, P::Request),
    Inspect(P::Inspect, Looking),
    Tick,
    Durable(u64),
    News(P::News),
}

/// The clients that wait for an answer, by the numbers of their requests.
#[derive(Debug)]
pub struct Waiting<R> {
    clients: HashMap<u64, oneshot::Sender<R>>,
    next: u64,
}

impl<R> Default for Waiting<R> {
    fn default() -> Waiting<R> {
        Waiting {
            clients: HashMap::new(),
            next: 1,
        }
    }
}

impl<R> Waiting<R> {
    fn admit(&mut self, client: oneshot::Sender<R>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.clients.insert(number, client);
        number
    }

    /// Answers the request of this number. Another answer to it goes nowhere.
    pub fn answer(&mut self, number: u64, reply: R) {
        if let Some(client) = self.clients.remove(&number) {
            // The client may have gone.
            let _ = client.send(reply);
        }
    }
}

/// A node that the loop drives.
pub trait Node {
    type Protocol: Protocol;

    /// Events that it takes in before it carries out what they lead to.
    const BATCH: usize;

    /// The protocol takes in what happened.
    fn take_in(&mut self, event: Taken<Self::Protocol>);

    /// Does all that the protocol wants done by now.
    ///
    /// # Errors
    /// When the node must not go on.
    fn carry_out(
        &mut self,
        waiting: &mut Waiting<<Self::Protocol as Protocol>::Reply>,
    ) -> Result<(), RunError>;
}

/// Drives a node until it is told to stop.
///
/// # Errors
/// When the disk fails, or the node must not go on.
pub async fn drive<N: Node>(
    mut node: N,
    mut events: mpsc::Receiver<Event<N::Protocol>>,
) -> Result<(), RunError> {
    let mut waiting = Waiting::default();
    node.carry_out(&mut waiting)?;
    let mut batch = Vec::new();
    loop {
        events.recv_many(&mut batch, N::BATCH).await;
        for event in batch.drain(..) {
            let taken = match event {
                Event::Stop => {
                    log("INFO", "stops");
                    return Ok(());
                }
                Event::Disk(error) => return Err(RunError::Disk(error)),
                Event::Request(request, client) => Taken::Request(waiting.admit(client), request),
                Event::Inspect(inspect, looking) => Taken::Inspect(inspect, looking),
                Event::Tick => Taken::Tick,
                Event::Durable(number) => Taken::Durable(number),
                Event::News(news) => Taken::News(news),
            };
            node.take_in(taken);
        }
        node.carry_out(&mut waiting)?;
    }
}
