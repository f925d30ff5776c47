//! Mistakes of the clients, which are not to be taken for the system's.

use super::*;

fn change(tape: &mut Tape, which: impl Fn(&Event) -> bool, change: impl Fn(&mut Event)) {
    tape.events
        .iter_mut()
        .filter(|event| matches!(event.process, Process::Client(_)) && event.kind != Kind::Invoke)
        .filter(|event| which(event))
        .for_each(change);
}

fn garbage(event: &mut Event) {
    event.kind = Kind::Info;
    event.error = Some("malformed: the text \"5\", where a number was written".into());
}

#[test]
fn answers_without_sense_leave_little_to_judge() {
    let mut tape = good();
    let main = Time(10_000 * MS);
    // Five of a hundred, and then ten.
    let every = |n: u64, of: u64| {
        move |event: &Event| {
            event.f == "read" && event.time < main && event.time.0 / MS / 100 % n < of
        }
    };
    change(&mut tape, every(20, 1), garbage);
    is(
        &check(&vacuity(), &tape),
        Verdict::Valid,
        &[],
        "200 operations",
    );
    change(&mut tape, every(20, 2), garbage);
    is(
        &check(&vacuity(), &tape),
        Verdict::Vacuous,
        &["answers without sense"],
        "10 of 100 operations read had an answer that makes no sense, such as `malformed: the text",
    );
}

#[test]
fn reads_that_never_find_what_was_written_are_doubted_first() {
    let mut tape = good();
    let nothing = |event: &mut Event| {
        let key = event.value.as_pair().map(|(key, _)| key.clone());
        event.value = Value::pair(key.unwrap_or_default(), Value::Nil);
    };
    change(&mut tape, |event| event.f == "read", nothing);
    is(
        &check(&vacuity(), &tape),
        Verdict::Vacuous,
        &["nothing was ever read"],
        "none of 100 reads found anything, though 100 writes succeeded",
    );
    // One that found something is enough.
    let first = tape
        .events
        .iter_mut()
        .find(|e| e.f == "read" && e.kind == Kind::Ok);
    first.expect("there are reads").value = Value::pair(0, 7);
    assert_eq!(check(&vacuity(), &tape).verdict, Verdict::Valid);
}

/// The nodes call themselves ready, and nobody was ever told anything.
#[test]
fn where_no_client_was_ever_answered_nobody_knows_whose_fault_it_is() {
    let mut tape = good();
    change(&mut tape, |_| true, garbage);
    let says = "no client was ever answered, at any node: it may be the clients";
    is(&recovered(&tape), Verdict::Unknown, &[], says);
    let found = check(&vacuity(), &tape);
    assert_eq!(found.verdict, Verdict::Vacuous);
    let says = "of those that did not, 200 of 200 had the error `malformed: the text";
    assert!(found.summary.contains(says), "{found:#?}");
    // Most found no client, because theirs was starting anew after it had ended.
    let mut ended = tape.clone();
    let waits = |event: &mut Event| event.error = Some("no-client: no init yet".into());
    change(&mut ended, |_| true, waits);
    let is_write = |e: &&mut Event| e.kind == Kind::Info && e.f == "write";
    let first = ended.events.iter_mut().find(is_write);
    first.expect("all have failed").error = Some("client-failed: no such attribute".into());
    let found = check(&vacuity(), &ended);
    let says = "had the error `client-failed: no such attribute`";
    assert!(found.summary.contains(says), "{found:#?}");
    // One answer in the main phase, and the silence after it is a failure.
    let first = tape
        .events
        .iter_mut()
        .find(|e| e.kind == Kind::Info && e.f == "write");
    let first = first.expect("there are writes");
    (first.kind, first.error) = (Kind::Ok, None);
    let found = recovered(&tape);
    assert_eq!(found.verdict, Verdict::Invalid, "{found:#?}");
    assert!(found.summary.contains("did not serve"), "{found:#?}");
}
