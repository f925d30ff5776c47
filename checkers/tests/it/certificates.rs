//! Certificates of every model: right ones are accepted, wrong ones refused with the reason.

use checkers::choice::{Choice, Model};
use checkers::transactions::Scope;
use checkers::{Budget, Certificate, Core, Order, Proof, Refutation, Verdict, drawing, verify};
use history::foreign::{self, Format};
use history::{History, Kind, Value};

use crate::random::Recorder;
use crate::subjects;

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
    // The read comes after the append, of another process, and does not see it; then its own
    // process does.
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

#[test]
fn every_model_has_proofs_that_hold_and_false_ones_do_not() {
    subjects::run("proofs", 4_000);
}

/// What a proof shows of a history, as its own question or another asks.
fn shown(history: &History, asked: &Choice, proof: &str) -> Result<Verdict, String> {
    let proof: Proof = serde_json::from_str(proof).unwrap();
    let asked = asked.terms(history);
    let shown = proof.verify(history, &asked, &Budget::default());
    shown
        .map(|shown| shown.verdict)
        .map_err(|why| why.to_string())
}

#[test]
fn a_certificate_answers_what_is_asked_and_nothing_else() {
    let registers = drawing::history("P0 |-write 1-| |-read 2-|").unwrap();
    let asked = Choice::of(&registers).unwrap();
    let held_twice = drawing::history(
        "P0 |-acquire-|
                                       P1 |-acquire-|",
    )
    .unwrap();
    let lock = Choice::of(&held_twice).unwrap();
    for (history, asked, proof) in [
        // A register's history has no operation of a lock.
        (
            &registers,
            &asked,
            r#"{"model":"lock","keyed":false,"initial":null,"orders":[]}"#,
        ),
        // It holds 2 if it held 2.
        (
            &registers,
            &asked,
            r#"{"model":"cas-register","keyed":false,"initial":2,"orders":[{"key":null,"ops":[2,0]}]}"#,
        ),
        (
            &registers,
            &asked,
            r#"{"model":"cas-register","keyed":true,"initial":null,"orders":[]}"#,
        ),
        // A semaphore of nine is broken less easily.
        (
            &held_twice,
            &lock,
            r#"{"model":"semaphore","keyed":false,"initial":9,"orders":[{"key":null,"ops":[0,1]}]}"#,
        ),
        (
            &held_twice,
            &lock,
            r#"{"model":"total-queue","keyed":false,"initial":null,"accounts":[]}"#,
        ),
        (
            &held_twice,
            &lock,
            r#"{"model":"lock","keyed":false,"initial":null,"scope":"data","orders":[]}"#,
        ),
    ] {
        let why = shown(history, asked, proof).unwrap_err();
        assert!(
            why.starts_with("it answers another question"),
            "{proof}: {why}"
        );
    }
    // Asked with the same question, they are wrong by themselves.
    let nothing = r#"{"model":"lock","keyed":false,"initial":null,"orders":[]}"#;
    let why = shown(&held_twice, &lock, nothing).unwrap_err();
    assert_eq!(why, "op 0 happened, but is not placed");
}

#[test]
fn what_nobody_judged_is_named() {
    let history = drawing::history("P0 |-write 1-| |-read 1-| |-delete 1-| |-write 2-? ").unwrap();
    let choice = Choice {
        model: Model::Register,
        keyed: false,
        initial: None,
        consistency: Default::default(),
        guarantee: Default::default(),
    };
    let found = choice.checker(&history).check(&history, &Budget::default());
    let proof = choice.prove(&history, &found, &Budget::default()).unwrap();
    let shown = proof
        .verify(&history, &choice.terms(&history), &Budget::default())
        .unwrap();
    assert_eq!((shown.operations, shown.left_out, shown.failed), (2, 1, 0));
    let not_judged: Vec<_> = shown.not_judged.into_iter().collect();
    assert_eq!(not_judged, [("delete".to_string(), 1)]);
}

/// Operations of a table, and what the engine of registers says of them; its proof must hold, and
/// no proof of the contrary.
fn of_table(rows: &str) -> Verdict {
    let table = format!("process,f,value,call,return\n{rows}");
    let history = foreign::read(Format::Csv, table.as_bytes())
        .unwrap()
        .history;
    let choice = Choice::of(&history).unwrap();
    let found = choice.checker(&history).check(&history, &Budget::default());
    let asked = choice.terms(&history);
    let proof = choice.prove(&history, &found, &Budget::default());
    let proof = proof.unwrap_or_else(|why| panic!("{rows}: {why}"));
    let shown = proof.verify(&history, &asked, &Budget::default()).unwrap();
    assert_eq!(shown.verdict, found.verdict, "{rows}");
    let all: Vec<u64> = history.ops().iter().map(|op| op.index).collect();
    if found.verdict == Verdict::Valid {
        let core = Core {
            key: None,
            ops: all.clone(),
            stretch: None,
        };
        let refutation = Proof::Cores(Refutation {
            model: asked.model,
            keyed: asked.keyed,
            initial: asked.initial.clone(),
            scope: asked.scope,
            cores: vec![core],
        });
        assert!(
            refutation
                .verify(&history, &asked, &Budget::default())
                .is_err(),
            "{rows}"
        );
    }
    found.verdict
}

#[test]
fn a_clients_operations_follow_each_other_whatever_the_grain_of_the_stamps() {
    use Verdict::{Invalid, Valid};
    for (rows, verdict) in [
        // One client, and stamps that touch.
        ("0,write,1,1,2\n0,write,2,2,3\n0,read,1,3,4", Invalid),
        ("0,write,1,1,2\n0,write,2,2,3\n0,read,2,3,4", Valid),
        ("0,write,1,5,5\n0,write,2,5,5\n0,read,1,5,5", Invalid),
        // Three clients at one time overlap.
        ("0,write,1,5,5\n1,write,2,5,5\n2,read,1,5,5", Valid),
        // Another client at the moment between two of one client.
        ("0,write,1,0,5\n0,write,2,5,10\n1,read,,5,5", Valid),
        ("0,write,1,0,5\n0,write,2,5,10\n1,read,1,5,5", Valid),
        ("0,write,1,0,5\n0,write,2,5,10\n1,read,2,5,5", Valid),
        // Two clients that go on at one moment: what no intervals say.
        (
            "0,write,1,0,5\n0,write,2,5,10\n1,read,2,0,5\n1,read,1,5,10",
            Invalid,
        ),
        (
            "0,write,1,0,5\n0,write,2,5,10\n1,read,1,0,5\n1,read,2,5,10",
            Valid,
        ),
        (
            "0,write,1,0,5\n0,read,2,5,10\n1,write,2,0,5\n1,read,1,5,10",
            Invalid,
        ),
        (
            "0,write,1,0,5\n0,read,1,5,10\n1,write,2,0,5\n1,read,1,5,10",
            Valid,
        ),
    ] {
        assert_eq!(of_table(rows), verdict, "{rows}");
    }
}

#[test]
fn check_and_verify_read_the_same_of_an_answer() {
    let shapes = [
        "[:r :x]",
        "[:r :x nil]",
        "[:r :x 1]",
        "[:r :x 1 2]",
        "[:w :x 3]",
        "[:w :x 2]",
        "[:r]",
        ":r",
        "[]",
        "nil",
    ];
    let (mut judged, mut refused) = (0, 0);
    for asked in shapes {
        for told in shapes {
            let text = format!(
                "{{:process 0 :type :invoke :f :txn :value [[:w :x 1]]}}
                 {{:process 0 :type :ok :f :txn :value [[:w :x 1]]}}
                 {{:process 1 :type :invoke :f :txn :value [{asked}]}}
                 {{:process 1 :type :ok :f :txn :value [{told}]}}"
            );
            let history = foreign::read(Format::Edn, text.as_bytes()).unwrap().history;
            let choice = Choice::with_model(Model::RwRegister, &history).unwrap();
            let found = choice.checker(&history).check(&history, &Budget::default());
            let order = |ops: &[u64]| {
                verify(
                    &history,
                    &certificate(Scope::Realtime, Model::RwRegister, ops),
                )
            };
            match found.verdict {
                Verdict::Valid => {
                    judged += 1;
                    assert!(
                        order(&[0, 2]).is_ok(),
                        "{asked} {told}: {:?}",
                        order(&[0, 2])
                    );
                }
                Verdict::Unknown => {
                    refused += 1;
                    assert!(
                        order(&[0, 2]).is_err() && order(&[2, 0]).is_err(),
                        "{asked} {told}"
                    );
                }
                _ => {}
            }
        }
    }
    assert!(judged >= 3 && refused > 50, "{judged} {refused}");
}

#[test]
fn a_long_history_of_a_lock_that_is_broken_has_a_certificate() {
    let mut recorder = Recorder::default();
    let mut hold = |process: u64, until: &[(u64, &str)]| {
        let mut record = |process, f: &str| {
            recorder.advance(1);
            recorder.record(process, Kind::Invoke, f, Value::Nil);
            recorder.advance(1);
            recorder.record(process, Kind::Ok, f, Value::Nil);
        };
        record(process, "acquire");
        until.iter().for_each(|(process, f)| record(*process, f));
        record(process, "release");
    };
    for n in 0..400 {
        match n {
            // Held by two, in the middle of hundreds of sections of each.
            200 => hold(0, &[(1, "acquire"), (1, "release")]),
            n => hold(n % 2, &[]),
        }
    }
    let history = recorder.history();
    let choice = Choice::of(&history).unwrap();
    let found = choice.checker(&history).check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Invalid);
    let proof = choice.prove(&history, &found, &Budget::default()).unwrap();
    let shown = proof.verify(&history, &choice.terms(&history), &Budget::default());
    assert_eq!(shown.unwrap().verdict, Verdict::Invalid);
}
