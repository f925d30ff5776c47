//! Between a node's HTTP and its protocol: what clients ask goes to the one task that owns the
//! protocol, and its answers come back.

use tokio::sync::{mpsc, oneshot};

use crate::event::{Event, Protocol};
use crate::http::{Response, failure};

/// What an HTTP request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask<P: Protocol> {
    Request(P::Request),
    Inspect(P::Inspect),
}

/// The node's reply, if it lives long enough.
pub async fn request<P: Protocol>(
    request: P::Request,
    events: &mpsc::Sender<Event<P>>,
) -> Option<P::Reply> {
    let (sender, receiver) = oneshot::channel();
    events.send(Event::Request(request, sender)).await.ok()?;
    receiver.await.ok()
}

/// The response to a look.
pub async fn inspect<P: Protocol>(
    inspect: P::Inspect,
    events: &mpsc::Sender<Event<P>>,
) -> Response {
    let (sender, receiver) = oneshot::channel();
    if events.send(Event::Inspect(inspect, sender)).await.is_err() {
        return stopping();
    }
    match receiver.await {
        Ok(Some(body)) => (200, body),
        Ok(None) => (404, serde_json::json!({"error": "not-found"}).to_string()),
        Err(_) => stopping(),
    }
}

/// The response when nobody can answer any more. What was asked for may happen all the same.
pub fn stopping() -> Response {
    failure(500, "internal", false, "the node is stopping")
}
