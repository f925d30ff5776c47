//! Certificates of every model: right ones are accepted, wrong ones refused with the reason.

use checkers::choice::{Choice, Model};
use checkers::transactions::Scope;
use checkers::{Budget, Certificate, Order, Verdict, drawing, verify};
use history::foreign::{self, Format};
use history::{Kind, Value};

use crate::random::Recorder;

/// An order of one object.
fn certificate(scope: Scope, model: Model, order: &[u64]) -> Certificate {
    Certificate {
        model,
        keyed: false,
        initial: Value::Nil,
        scope,
        orders: vec![Order {
            key: None,
            ops: order.to_vec(),
        }],
    }
}

/// What the verifier says of these operations in this order.
fn replayed(model: Model, drawn: &str, order: &[u64]) -> Result<(), String> {
    within(Scope::Realtime, model, drawn, order)
}

/// The same of an order that agrees with less than real time.
fn within(scope: Scope, model: Model, drawn: &str, order: &[u64]) -> Result<(), String> {
    verify(
        &drawing::history(drawn).unwrap(),
        &certificate(scope, model, order),
    )
}

/// A transaction of one micro-operation on one list.
fn txn(f: &str, value: Value) -> Value {
    let mop = vec![Value::text(f), Value::text("x"), value];
    Value::List(vec![Value::List(mop)])
}

#[test]
fn transactions_are_replayed_on_lists() {
    let drawn = "
        P0  |-txn [[append x 1] [r x [1]]]-|     |-txn [[r x [1 2]] [r y nil]]-|
        P1     |-txn [[append x 2] [append y 3]]-?
        P2     |-txn [[append x 2]]-----------|
        ";
    // Transactions 0 and 1, of which nobody knows the second's outcome, 2, and 6 which reads.
    let replayed = |order| replayed(Model::Append, drawn, order);
    assert_eq!(replayed(&[0, 2, 5]), Ok(()));
    for (order, reason) in [
        (&[0, 5, 2][..], "op 5: read [1 2] of \"x\", not [1]"),
        (&[2, 0, 5], "op 0: read [1] of \"x\", not [2 1]"),
        (&[0, 1, 2, 5], "op 5: read [1 2] of \"x\", not [1 2 2]"),
        (&[0, 1, 5], "op 5: read nil of \"y\", not [3]"),
        (&[0, 2], "op 5 happened, but is not placed"),
    ] {
        assert_eq!(replayed(order), Err(reason.to_string()));
    }
}

#[test]
fn sets_are_replayed_whole_and_by_element() {
    let drawn = "
        P0  |-add 1-|  |-read [1]-| |-read [2 1]-|
        P1  |-add 2-----------------|
        ";
    let order = |order: &[u64]| replayed(Model::Set, drawn, order);
    assert_eq!(order(&[0, 3, 1, 5]), Ok(()));
    assert_eq!(
        order(&[0, 1, 3, 5]),
        Err("op 3: read 1 elements, which are not the 2 of the set".to_string())
    );
    let twice = "P0  |-add 1-| |-add 2-| |-read [1 1]-|";
    assert!(replayed(Model::Set, twice, &[0, 2, 4]).is_err());
}

/// What was asked of one key is not judged by the answer of another; no answer at all has no key.
#[test]
fn answers_belong_to_the_key_that_was_asked() {
    let judge = |model, f: &str, input: &str, output: &str| {
        let text = format!(
            "{{:process 0 :type :invoke :f :{f} :value {input}}}
             {{:process 0 :type :ok :f :{f} :value {output}}}
             {{:process 0 :type :invoke :f :get :value [0 nil]}}
             {{:process 0 :type :ok :f :get :value [0 \"a\"]}}"
        );
        let history = foreign::read(Format::Edn, text.as_bytes()).unwrap().history;
        let choice = Choice::with_model(model, &history).unwrap();
        let choice = Choice {
            keyed: true,
            initial: (f == "get").then(|| "a".into()),
            ..choice
        };
        let found = choice.checker(&history).check(&history, &Budget::default());
        if let Ok(certificate) = choice.certify(&history, &Budget::default()) {
            assert_eq!(verify(&history, &certificate), Ok(()), "{text}");
        }
        (found.verdict, found.summary)
    };
    // The second is judged by the engine of texts.
    for (model, f) in [(Model::CasRegister, "put"), (Model::Kv, "append")] {
        for output in ["[0 \"a\"]", "nil"] {
            let (verdict, summary) = judge(model, f, "[0 \"a\"]", output);
            assert_eq!(verdict, Verdict::Valid, "{f} {output}: {summary}");
        }
        let (verdict, summary) = judge(model, f, "[0 \"a\"]", "[1 \"a\"]");
        assert_eq!(verdict, Verdict::Unknown, "{f}");
        assert!(
            summary.contains("asks for one key and is answered with another"),
            "{summary}"
        );
    }
    // Nothing is no text, and cannot be added to one.
    let (verdict, summary) = judge(Model::Kv, "append", "[0 nil]", "nil");
    assert_eq!(verdict, Verdict::Unknown);
    assert!(summary.contains("nil is no text"), "{summary}");
    for answer in ["[1 \"a\"]", "nil"] {
        assert_eq!(
            judge(Model::CasRegister, "get", "[0 nil]", answer).0,
            Verdict::Unknown
        );
    }
}

#[test]
fn a_text_that_was_never_written_may_be_read_as_nothing() {
    let certified = |drawn: &str| {
        let history = drawing::history(drawn).unwrap();
        let choice = Choice::of(&history).unwrap();
        assert_eq!(choice.model, Model::Kv);
        let certificate = choice.certify(&history, &Budget::default());
        certificate
            .map(|c| verify(&history, &c))
            .map_err(|a| a.verdict)
    };
    assert_eq!(
        certified("P0 |-get nil-| |-append a-| |-get a-|"),
        Ok(Ok(()))
    );
    assert_eq!(
        certified("P0 |-append a-| |-get nil-|"),
        Err(Verdict::Invalid)
    );
    // But not where it is known to have begun as something.
    let drawn = "P0 |-get nil-| |-append a-|";
    let history = drawing::history(drawn).unwrap();
    let choice = Choice {
        initial: Some("b".into()),
        ..Choice::of(&history).unwrap()
    };
    let found = choice.checker(&history).check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Unknown);
    assert!(found.summary.contains("nil is no text"), "{found:?}");
}

#[test]
fn serial_orders_agree_with_as_much_of_time_as_they_say() {
    // The read comes after the append, of another process, and does not see it; then its own process does.
    let drawn = "
        P0  |-txn [[append x 1]]-|                        |-txn [[r x [1]]]-|
        P1                         |-txn [[r x nil]]-|
        ";
    let late = Err("op 0 returned before one placed ahead of it was invoked".to_string());
    let order = |scope| within(scope, Model::Append, drawn, &[2, 0, 4]);
    assert_eq!(order(Scope::Data), Ok(()));
    assert_eq!(order(Scope::Process), Ok(()));
    assert_eq!(order(Scope::Realtime), late);
    // Now it is the same process, which asks at the very time of the answer.
    let mut recorder = Recorder::default();
    for txn in [txn("append", Value::Int(1)), txn("r", Value::Nil)] {
        recorder.record(0, Kind::Invoke, "txn", txn.clone());
        recorder.record(0, Kind::Ok, "txn", txn);
    }
    let history = recorder.history();
    let order = |scope| verify(&history, &certificate(scope, Model::Append, &[2, 0]));
    assert_eq!(order(Scope::Data), Ok(()));
    assert_eq!(order(Scope::Process), late);
    assert_eq!(order(Scope::Realtime), late);
    // Of other objects a weaker order proves nothing that is called valid.
    let drawn = "P0  |-enqueue 1-| |-dequeue nil-|";
    let weaker = within(Scope::Data, Model::Queue, drawn, &[2, 0]);
    assert!(weaker.unwrap_err().contains("only transactions"));
}
