//! A small history is judged the same in every form, and a certificate is believed for a reason.

use std::sync::LazyLock;
use std::time::Duration;

use checkers::choice::{Choice, Model};
use checkers::{Analysis, Budget, Certificate, Proof, Refutation, Verdict, refute, verify};
use history::{History, Value, json, jsonl};

use crate::kept::{as_edn, as_json_can_say, stored, with_text_keys};

/// Engines are exponential in the operations open at once.
const MOST_OPS: usize = 16;

const BUDGET: Budget = Budget {
    time: Duration::from_secs(2),
    memory_bytes: 64 << 20,
};

pub fn judged(history: &History) {
    if history.pairs().len() > MOST_OPS {
        return;
    }
    let Ok(choice) = Choice::of(history) else {
        return;
    };
    let found = choice.checker(history).check(history, &BUDGET);
    let mut forms = vec![];
    if as_json_can_say(history) == history.events() {
        forms.push(stored(history));
    }
    forms.extend(as_edn(history));
    for form in forms {
        assert_eq!(Choice::of(&form).as_ref(), Ok(&choice));
        let again = choice.checker(&form).check(&form, &BUDGET);
        // Where a budget ended, it may have ended elsewhere.
        if [&found, &again]
            .iter()
            .all(|a| a.verdict != Verdict::Unknown)
        {
            assert_eq!(again, found);
        }
    }
    match choice.certify(history, &BUDGET) {
        Ok(certificate) => {
            assert_ne!(
                found.verdict,
                Verdict::Invalid,
                "{certificate:?}\n{found:?}"
            );
            assert_eq!(verify(history, &certificate), Ok(()));
            // Of a map whose keys are no texts JSON makes one whose keys are.
            let keys = certificate
                .orders
                .iter()
                .filter_map(|order| order.key.as_ref());
            let is_kept = keys.clone().all(|key| with_text_keys(key) == *key);
            let proof = Proof::Order(certificate);
            let text = serde_json::to_vec(&proof).expect("it can be written");
            let again = serde_json::from_slice::<Proof>(&text).ok();
            assert!(!is_kept || again == Some(proof));
        }
        Err(Analysis { verdict, .. }) => {
            let differ = [verdict, found.verdict];
            assert!(
                differ != [Verdict::Invalid, Verdict::Valid],
                "certifying finds it invalid: {found:?}"
            );
        }
    }
}

/// Histories with an order and without, one or two for each object, that certificates are held
/// against.
static HISTORIES: LazyLock<Vec<History>> = LazyLock::new(|| {
    macro_rules! texts {
        ($($name:literal)*) => {
            [$(include_str!(concat!("../../../checkers/tests/histories/", $name, ".jsonl"))),*]
        };
    }
    let texts = texts![
        "registers-sound" "stale-after-cas" "few-values-sound" "few-values-stale" "set-sound"
        "elements-sound" "elements-added-twice" "queue-sound" "queue-overtaken" "stack-sound"
        "priority-queue-sound" "lock-sound" "semaphore-sound" "counter-sound" "unique-ids-sound"
        "append-sound" "lost-update"
    ];
    let read = |text: &str| jsonl::read(text.as_bytes()).expect("it is of the corpus");
    texts.iter().map(|text| read(text).history).collect()
});

/// A certificate, after a byte that says for which history. What is accepted has an order, so no
/// engine may find that it has none; what is confirmed to have none may not be found valid.
pub fn certifies(text: &[u8]) {
    let Some((which, text)) = text.split_first() else {
        return;
    };
    let history = &HISTORIES[usize::from(*which) % HISTORIES.len()];
    let meter = &mut BUDGET.start();
    let Ok(proof) = json::read_within::<Proof>(text, 0, meter) else {
        return;
    };
    let text = serde_json::to_vec(&proof).expect("it has no keys but texts");
    let again: Proof = serde_json::from_slice(&text).expect("what is written is read");
    assert_eq!(again, proof);
    match proof {
        Proof::Order(certificate) => accepted(history, certificate),
        Proof::Cores(refutation) => impossible(history, refutation),
        // None of these histories is judged by accounts.
        Proof::Accounts(_) => {}
        // A stranger's script: it may prove what it likes, and does so within its bounds.
        Proof::Script(_) => drop(proof.verify_by(history, None, &BUDGET)),
    }
}

fn accepted(history: &History, certificate: Certificate) {
    let found = verify(history, &certificate);
    // Texts are written only where something is appended: here an engine for registers would judge
    // them.
    if found.is_ok() && certificate.model != Model::Kv {
        contradicts(
            history,
            certificate.model,
            certificate.keyed,
            certificate.initial,
            Verdict::Invalid,
        );
    }
}

fn impossible(history: &History, refutation: Refutation) {
    let found = refute(history, &refutation, &BUDGET);
    // Transactions may be ordered by less than the engine asks for, which finds more wrong: no
    // contradiction.
    if found.is_ok() && refutation.model != Model::Kv {
        contradicts(
            history,
            refutation.model,
            refutation.keyed,
            refutation.initial,
            Verdict::Valid,
        );
    }
}

/// Panics if the engine says just this.
fn contradicts(history: &History, model: Model, keyed: bool, initial: Value, never: Verdict) {
    let Ok(choice) = Choice::with_model(model, history) else {
        return;
    };
    if choice.keyed != keyed {
        return;
    }
    let choice = Choice {
        initial: Some(initial),
        ..choice
    };
    let judged = choice.checker(history).check(history, &BUDGET);
    assert_ne!(judged.verdict, never, "{judged:?}");
}
