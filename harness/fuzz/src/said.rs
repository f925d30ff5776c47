//! What controller and agent say to each other, read at both ends, and what an agent leaves on a
//! disk.

use std::io::Cursor;
use std::time::Duration;

use agent::journal;
use agent::protocol::{Envelope, Evidence, Hello, Note, Request};
use agent::serve::lines::{Lines, parse};
use harness::control::{Agent, ControlError};
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// A controller's lines, as the agent reads them: the same wherever the pieces end, and each
/// refused with a reason or a request that can be said again.
pub fn requests(text: &[u8]) {
    let whole = Lines::default().feed(text);
    let size = 1 + crate::number(text) as usize % 64;
    let mut lines = Lines::default();
    let pieces: Vec<_> = text
        .chunks(size)
        .flat_map(|piece| lines.feed(piece))
        .collect();
    assert_eq!(pieces, whole);
    assert_eq!(lines.count(), whole.len() as u64);
    for line in whole {
        match parse(line) {
            Ok((id, request)) => {
                let said = serde_json::to_vec(&Envelope { id, request }).expect("only text keys");
                let again =
                    parse((1, Some(said.clone()))).map(|(id, request)| Envelope { id, request });
                let again = again.unwrap_or_else(|why| panic!("{why:?}"));
                let again = serde_json::to_vec(&again).expect("only text keys");
                assert_eq!(
                    String::from_utf8_lossy(&again),
                    String::from_utf8_lossy(&said)
                );
            }
            Err((_, why)) => assert!(why.contains("line ")),
        }
    }
}

/// A journal that somebody left: each of its whole lines is understood or said to be none, and what
/// is torn at its end does not count.
pub fn undo(text: &[u8]) {
    let left = journal::read(text, "boot");
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let mut last = 0;
    for unread in &left.unread {
        assert!(unread.line > last && unread.line <= lines);
        assert!(
            !unread.why.is_empty() && unread.why.len() < 2_000,
            "{unread}"
        );
        last = unread.line;
    }
    let end = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    assert_eq!(journal::read(&text[..end], "boot"), left);
    // Of another boot nothing is left but what nobody understands.
    let mut other = b"{\"record\":\"boot\",\"id\":\"other\"}\n".to_vec();
    let known = text[..end]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"{\"record\":\"boot\""));
    other.extend(known.collect::<Vec<_>>().join(&b'\n'));
    if !text.windows(6).any(|part| part == b"\"boot\"") {
        let left = journal::read(&other, "boot");
        assert!(left.faults.is_empty() && left.stopped.is_empty() && left.turned.is_none());
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("nothing is needed for it");
}

/// An agent's lines, as the controller hears them: whoever asks has an answer or a reason, in
/// short.
pub fn agent(text: &[u8]) {
    RUNTIME.with(|runtime| runtime.block_on(hear(text.to_vec())));
}

async fn hear(text: Vec<u8>) {
    let bytes = text.len();
    let (notes, mut noted) = mpsc::unbounded_channel();
    let agent = Agent::new("n1".into(), Cursor::new(text), tokio::io::sink(), notes);
    let hello = agent.hello(Duration::from_secs(10));
    let (hello, evidence, list) = tokio::join!(
        short::<Hello>(hello),
        short::<Evidence>(agent.call(Request::HealAll)),
        short::<Vec<u64>>(agent.call(Request::InForce)),
    );
    assert!(hello || evidence || list || agent.is_gone());
    let mut count = 0;
    while let Ok((_, note)) = noted.try_recv() {
        count += 1;
        if let Note::Trouble { what } = note {
            // As much as is ever shown of a line, however its bytes are written for people.
            assert!(what.len() < 17_000, "{what}");
        }
    }
    assert!(count <= bytes + 1);
}

/// Whether there was an answer.
async fn short<T: DeserializeOwned>(answer: impl Future<Output = Result<T, ControlError>>) -> bool {
    match answer.await {
        Ok(_) => true,
        Err(ControlError::Silent { .. }) => panic!("its end was not noticed"),
        Err(e) => {
            assert!(e.to_string().len() < 8_000, "{e}");
            false
        }
    }
}
