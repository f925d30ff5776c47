//! Certificates of runs, and of models weaker than serializability: what is written is believed by
//! `verify`, and what is changed is not.

use serde_json::{Value, json};

use crate::support::{Place, recorded};

const INVALID: i32 = 1;
const UNKNOWN: i32 = 2;

/// Judges the latest run and gives its certificate.
fn certified(place: &Place, said: &str) -> Value {
    place
        .schism(&["check", "latest", "--certificate", "proof.json"])
        .prints(&[said]);
    read(place)
}

fn read(place: &Place) -> Value {
    let text = std::fs::read(place.path().join("proof.json")).expect("it was written");
    serde_json::from_slice(&text).expect("certificates are JSON")
}

/// Holds a certificate that was changed against the latest run.
fn refused(place: &Place, changed: &Value, why: &str) {
    place.file("changed.json", changed.to_string());
    place
        .schism(&["verify", "latest", "changed.json"])
        .exits(UNKNOWN)
        .prints(&["UNKNOWN", why]);
}

#[test]
fn an_order_of_a_run_is_replayed_and_a_changed_one_refused() {
    let place = Place::new();
    recorded(&place, "20260101T000000-good", "1");
    let proof = certified(&place, "the order of 180 operations was replayed");
    place
        .schism(&["verify", "latest", "proof.json"])
        .exits(0)
        .prints(&["VALID", "the order of 180 operations explains every answer"]);
    let change = |edit: &dyn Fn(&mut Value)| {
        let mut changed = proof.clone();
        edit(&mut changed);
        assert_ne!(changed, proof);
        changed
    };
    let ops = |proof: &mut Value| {
        let ops = proof["orders"][0]["ops"].as_array_mut();
        std::mem::take(ops.expect("one key has an order"))
    };
    let missing = change(&|proof| {
        let ops = ops(proof);
        proof["orders"][0]["ops"] = ops[1..].into();
    });
    refused(&place, &missing, "op 2: read answered 1, not nil");
    let twice = change(&|proof| {
        let ops = ops(proof);
        proof["orders"][0]["ops"] = [&ops[..], &ops[..1]].concat().into();
    });
    refused(&place, &twice, "the certificate does not hold: op");
    let backwards = change(&|proof| {
        let ops = ops(proof).into_iter().rev();
        proof["orders"][0]["ops"] = ops.collect::<Vec<_>>().into();
    });
    refused(&place, &backwards, "the certificate does not hold: op");
    let nothing = change(&|proof| proof["orders"] = json!([]));
    refused(&place, &nothing, "the certificate does not hold");
    let other = change(&|proof| proof["initial"] = json!(1));
    refused(&place, &other, "it answers another question");
    let lock = json!({"model": "lock", "keyed": true, "initial": null, "orders": []});
    refused(&place, &lock, "it answers another question");
    // Another run is another history.
    recorded(&place, "20260101T000001-bad", "2");
    refused(&place, &proof, "op 358: read answered 2, not 1");
}

#[test]
fn the_core_of_a_run_is_confirmed_and_a_changed_one_refused() {
    let place = Place::new();
    recorded(&place, "20260101T000000-bad", "2");
    let proof = certified(&place, "1 of 1 findings were confirmed");
    place
        .schism(&["verify", "latest", "proof.json"])
        .exits(INVALID)
        .prints(&["INVALID", "nothing explains ops 358 of key 0"]);
    let mut sound = proof.clone();
    sound["cores"][0]["ops"] = json!([0]);
    refused(&place, &sound, "ops [0] have an order");
    let mut none = proof.clone();
    none["cores"] = json!([]);
    refused(&place, &none, "the certificate does not hold");
    recorded(&place, "20260101T000001-good", "1");
    refused(&place, &proof, "ops [358] have an order");
}

/// They ask for no serial order. If there is one, it shows that they hold; else nothing does.
#[test]
fn a_weaker_model_has_the_certificate_of_a_stronger_one() {
    let place = Place::new();
    let overwritten = "
        {:process 0, :type :invoke, :f :txn, :value [[:w 0 1]]}
        {:process 1, :type :invoke, :f :txn, :value [[:w 0 2]]}
        {:process 0, :type :ok, :f :txn, :value [[:w 0 1]]}
        {:process 1, :type :ok, :f :txn, :value [[:w 0 2]]}
        {:process 2, :type :invoke, :f :txn, :value [[:r 0 nil]]}
        {:process 2, :type :ok, :f :txn, :value [[:r 0 1]]}";
    let skew = "
        {:process 0, :type :invoke, :f :txn, :value [[:r 0 nil] [:r 1 nil] [:w 0 1]]}
        {:process 1, :type :invoke, :f :txn, :value [[:r 0 nil] [:r 1 nil] [:w 1 2]]}
        {:process 0, :type :ok, :f :txn, :value [[:r 0 nil] [:r 1 nil] [:w 0 1]]}
        {:process 1, :type :ok, :f :txn, :value [[:r 0 nil] [:r 1 nil] [:w 1 2]]}";
    place.file("overwritten.edn", overwritten);
    place.file("skew.edn", skew);
    let run = |command: &str, file: &str, model: &str| {
        let flag = if command == "check" {
            "--certificate"
        } else {
            "proof.json"
        };
        let mut args = vec![command, file, flag];
        if command == "check" {
            args.push("proof.json");
        }
        args.extend(["--consistency-model", model]);
        place.schism(&args)
    };
    for model in [
        "read-committed",
        "monotonic-atomic-view",
        "read-atomic",
        "transactional-causal",
        "snapshot-isolation",
        "strict-serializable",
    ] {
        run("check", "overwritten.edn", model)
            .exits(0)
            .prints(&["the order of 3 operations was replayed"]);
        run("verify", "overwritten.edn", model)
            .exits(0)
            .prints(&["VALID"]);
    }
    std::fs::remove_file(place.path().join("proof.json")).expect("it was written");
    run("check", "skew.edn", "snapshot-isolation")
        .exits(0)
        .prints(&[
            "no certificate was written",
            "no serial order explains them",
        ]);
    assert!(!place.path().join("proof.json").exists());
}
