//! How a node is told to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Makes SIGTERM and SIGINT events.
///
/// # Errors
/// The operating system's, when it refuses the handlers.
pub fn stop_on_signals<E: Send + 'static>(
    events: mpsc::Sender<E>,
    stop: fn() -> E,
) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // The node may be stopping already.
        let _ = events.send(stop()).await;
    });
    Ok(())
}
