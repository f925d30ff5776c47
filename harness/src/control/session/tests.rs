use super::*;
use tokio::io::AsyncWriteExt;

/// What becomes of a request to an agent that says this again and again, and nothing else.
async fn asked(says: Vec<u8>) -> String {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (from, to) = tokio::io::split(ours);
    tokio::spawn(async move {
        // Read from nothing: its requests stay in the pipe.
        let (_kept, mut to) = tokio::io::split(theirs);
        while to.write_all(&says).await.is_ok() {}
    });
    let (notes, mut noted) = mpsc::unbounded_channel();
    let agent = Agent::new("n1".into(), from, to, notes);
    let answer = agent.call::<()>(Request::InForce).await;
    let told = std::iter::from_fn(|| noted.try_recv().ok()).count();
    assert!(told as u64 <= NOTES_MOST + 1, "{told} notes");
    answer.expect_err("there is no answer").to_string()
}

#[tokio::test]
async fn a_line_that_does_not_end_is_not_waited_for() {
    let why = asked(vec![b'x'; 1 << 20]).await;
    assert!(why.contains("a line of more than 33554432 bytes"), "{why}");
    assert!(why.len() < 1_000, "{} bytes", why.len());
}

#[tokio::test]
async fn nobody_listens_for_ever_to_what_was_not_asked() {
    let note = Line::Note(Note::Trouble {
        what: "oh".repeat(10),
    });
    let mut line = serde_json::to_vec(&note).expect("only text keys");
    line.push(b'\n');
    let why = asked(line).await;
    assert!(why.contains("more than 10000 things unasked"), "{why}");
}

/// An agent that answers the first question with this.
async fn answered(with: Line) -> (String, Vec<Note>) {
    let mut says = serde_json::to_vec(&with).expect("only text keys");
    says.push(b'\n');
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (from, to) = tokio::io::split(ours);
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(theirs);
        let mut question = [0; 10];
        tokio::io::AsyncReadExt::read_exact(&mut from, &mut question)
            .await
            .expect("asked");
        to.write_all(&says).await.expect("the session reads");
    });
    let (notes, mut noted) = mpsc::unbounded_channel();
    let agent = Agent::new("n1".into(), from, to, notes);
    let answer = agent.call::<serde_json::Value>(Request::InForce).await;
    let told = std::iter::from_fn(|| noted.try_recv().ok());
    let told = told.map(|(_, note)| note).collect();
    (answer.expect_err("it is none").to_string(), told)
}

/// Evidence goes into the history, sentences are shown: each may be a line, and a line is long.
#[tokio::test]
async fn an_answer_is_no_longer_than_is_due_and_a_sentence_is_cut() {
    let long = "oh".repeat(4 << 20);
    let (why, _) = answered(Line::Answer {
        id: 1,
        ok: long.clone().into(),
    })
    .await;
    // Beside the text there are 16 bytes of JSON.
    assert!(
        why.contains("8388624 bytes, where at most 1048576"),
        "{why}"
    );
    assert!(why.len() < 1_000, "{} bytes", why.len());
    let error = long.clone();
    let (why, _) = answered(Line::Refusal { id: 1, error }).await;
    assert!(why.starts_with("n1: in-force: ohoh") && why.ends_with("... and so on"));
    assert!(why.len() < SENTENCE_MOST + 100, "{} bytes", why.len());
    let (_, told) = answered(Line::Note(Note::Trouble { what: long })).await;
    let first = |note: &Note| matches!(note, Note::Trouble { what } if what.starts_with("ohoh"));
    assert!(told.iter().any(first));
    let cut =
        |note: &Note| matches!(note, Note::Trouble { what } if what.len() < SENTENCE_MOST + 100);
    assert!(told.iter().all(cut));
}

#[tokio::test]
async fn nonsense_is_not_repeated_at_length() {
    let mut line = vec![b'y'; 1 << 20];
    line.push(b'\n');
    let why = asked(line).await;
    assert!(why.contains("it said \"yyy"), "{why}");
    assert!(why.len() < 1_000, "{} bytes", why.len());
}
