//! What is proved is believed only of the history and of the question: proofs of every model, and
//! false ones.

use checkers::choice::{Choice, Model};
use checkers::transactions::Scope;
use checkers::{Budget, Proof, Terms, Verdict};
use history::{History, Op, Outcome, Value};

use super::{Counts, accounts, bank, cores};
use crate::random::{Random, show};

/// A history of any model, and what it is.
fn any(seed: u64, random: &mut Random) -> (History, Choice) {
    let (model, history) = match seed % 8 {
        0 => (Model::Bank, bank::random_history(random)),
        1 => (Model::Lease, accounts::leases(random)),
        2 => (Model::TotalQueue, accounts::bag(random)),
        _ => {
            let (history, _, choice) = cores::any(random.below(1 << 32), random);
            return (history, choice);
        }
    };
    let choice = Choice::with_model(model, &history).expect("it is one of these");
    (history, choice)
}

/// Judges the history of a seed, proves it, and panics where the proof does not hold, or a false
/// one does.
pub fn judge(seed: u64, counts: &mut Counts) {
    let mut random = Random::new(seed);
    let (history, choice) = any(seed, &mut random);
    let budget = Budget::default();
    let found = choice.checker(&history).check(&history, &budget);
    counts.add(choice.model.name(), found.verdict);
    let say = || format!("{found:?}\n{}", show(&history));
    if !matches!(found.verdict, Verdict::Valid | Verdict::Invalid) {
        assert!(
            choice.prove(&history, &found, &budget).is_err(),
            "{}",
            say()
        );
        return;
    }
    let asked = choice.terms(&history);
    let proof = choice.prove(&history, &found, &budget);
    let proof = proof.unwrap_or_else(|why| panic!("{why}: {}", say()));
    let shown = proof.verify(&history, &asked, &budget);
    let shown = shown.unwrap_or_else(|why| panic!("{why}: {proof:?}\n{}", say()));
    assert_eq!(shown.verdict, found.verdict, "{}", say());
    for other in others(&asked) {
        let refused = proof.verify(&history, &other, &budget);
        assert!(refused.is_err(), "{proof:?} as {other}\n{}", say());
    }
    if let Some(spoilt) = spoilt(&proof, &history, &mut random) {
        let refused = spoilt.verify(&history, &asked, &budget);
        assert!(refused.is_err(), "{spoilt:?}\n{}", say());
    }
}

/// Other questions, of which the proof says nothing.
fn others(asked: &Terms) -> [Terms; 4] {
    let model = match asked.model {
        Model::Lock => Model::Semaphore,
        _ => Model::Lock,
    };
    let scope = match asked.scope {
        Scope::Realtime => Scope::Process,
        _ => Scope::Realtime,
    };
    let (keyed, initial) = (!asked.keyed, Value::Int(9));
    [
        Terms {
            model,
            ..asked.clone()
        },
        Terms {
            keyed,
            ..asked.clone()
        },
        Terms {
            initial,
            ..asked.clone()
        },
        Terms {
            scope,
            ..asked.clone()
        },
    ]
}

/// The same with an operation that happened left out, or named twice; none if it has none.
fn spoilt(proof: &Proof, history: &History, random: &mut Random) -> Option<Proof> {
    let mut proof = proof.clone();
    let happened = |op: &u64| {
        let op: Option<&Op> = history.op(*op);
        op.is_some_and(|op| op.outcome == Outcome::Ok)
    };
    match &mut proof {
        Proof::Order(certificate) => {
            let mut orders = certificate.orders.iter_mut();
            let ops = &mut orders.find(|order| order.ops.iter().any(happened))?.ops;
            let at = ops.iter().position(happened)?;
            match random.percent(50) {
                true => drop(ops.remove(at)),
                false => ops.push(ops[at]),
            }
        }
        Proof::Accounts(accounts) => match accounts.accounts.first_mut() {
            Some(account) if !account.reads.is_empty() && random.percent(50) => {
                drop(account.reads.pop());
            }
            _ => drop(accounts.accounts.pop()?),
        },
        Proof::Cores(refutation) => refutation.cores.first_mut()?.ops.clear(),
        Proof::Script(_) => return None,
    }
    Some(proof)
}
