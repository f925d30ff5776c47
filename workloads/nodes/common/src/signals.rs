//! How a node is told to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::event::{Event, Protocol};

/// Makes SIGTERM and SIGINT events.
///
/// # Errors
/// The operating system's, when it refuses the handlers.
pub fn stop_on_signals<P: Protocol>(events: mpsc::Sender<Event<P>>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // The node may be stopping already.
        let _ = events.send(Event::Stop).await;
    });
    Ok(())
}
