//! What is called impossible is confirmed by trying every order of few operations; what is possible
//! never is.

use checkers::choice::{Choice, Model};
use checkers::transactions::Consistency;
use checkers::{Budget, Core, Stretch, Verdict, confirmed, refute};
use history::{History, Op, Outcome};

use super::{Counts, set_whole, texts, transactions, versions};
use crate::random::{self, Random, show};
use crate::small_objects::{self, MODELS, Shape, initial};

/// A history of any object that is judged by orders, and what it is.
pub fn any(seed: u64, random: &mut Random) -> (History, Model, Choice) {
    let serial = *random.pick(&[
        Consistency::Serializable,
        Consistency::StrongSessionSerializable,
        Consistency::StrictSerializable,
    ]);
    let (model, history) = match seed % 16 {
        0 => (
            Model::Append,
            transactions::random_history(transactions::Objects::Lists, random),
        ),
        1 => (
            Model::RwRegister,
            transactions::random_history(transactions::Objects::Registers, random),
        ),
        2 => (Model::Kv, texts::history(random)),
        3 => (Model::Set, set_whole::random_history(random)),
        n @ 4..8 => {
            let shape = versions::shape(random, n % 2 == 0);
            (Model::CasRegister, random::history(random, shape))
        }
        n => {
            let model = MODELS[n as usize - 8];
            let shape = Shape::random(random, 9);
            (model, small_objects::history(model, random, shape))
        }
    };
    let choice = Choice {
        model,
        keyed: matches!(model, Model::Kv | Model::CasRegister),
        initial: (model == Model::Semaphore).then(|| initial(model)),
        consistency: serial,
        guarantee: Default::default(),
    };
    (history, model, choice)
}

/// Holds every anomaly of what is invalid, and arbitrary operations of what is valid, against the
/// verifier.
pub fn judge(seed: u64, counts: &mut Counts) {
    let mut random = Random::new(seed);
    let (history, model, choice) = any(seed, &mut random);
    let budget = Budget::default();
    let found = choice.checker(&history).check(&history, &budget);
    counts.add(model.name(), found.verdict);
    let say = || show(&history);
    let mut refutation = match found.verdict {
        Verdict::Valid | Verdict::Invalid => choice
            .refutation(&history, &found)
            .expect("there are orders"),
        _ => return,
    };
    if found.verdict == Verdict::Invalid {
        let sure = confirmed(&history, &refutation, &budget);
        let sure = sure.unwrap_or_else(|why| panic!("{why}: {found:#?}\n{}", say()));
        assert_eq!(
            sure.cores.len(),
            refutation.cores.len(),
            "{sure:#?} of {found:#?}\n{}",
            say()
        );
        assert_eq!(
            refute(&history, &sure, &budget),
            Ok(()),
            "{sure:#?}\n{}",
            say()
        );
        return;
    }
    let ops: Vec<&Op> = history.ops().iter().collect();
    for _ in 0..4 {
        refutation.cores = vec![arbitrary(&ops, &choice, &mut random)];
        let doubt = refute(&history, &refutation, &budget);
        assert!(
            doubt.is_err(),
            "{:?} of {model:?}\n{}",
            refutation.cores,
            say()
        );
    }
}

/// Some operations of an object, within all of its history or a part.
fn arbitrary(ops: &[&Op], choice: &Choice, random: &mut Random) -> Core {
    let key = |op: &Op| {
        choice
            .keyed
            .then(|| op.input.as_pair().expect("a pair").0.clone())
    };
    let of = key(ops[random.below(ops.len() as u64) as usize]);
    let own = || ops.iter().filter(|op| key(op) == of);
    let mut returned = own().filter(|op| op.outcome == Outcome::Ok);
    let until = returned.find(|_| random.percent(15));
    let registers = matches!(choice.model, Model::CasRegister);
    let after = returned_before(own(), until).filter(|_| registers && random.percent(50));
    let share = *random.pick(&[30, 60, 100]);
    let within = own().filter(|op| until.is_none_or(|until| op.call <= until.ret));
    Core {
        key: of.clone(),
        ops: within
            .filter(|_| random.percent(share))
            .map(|op| op.index)
            .collect(),
        stretch: until.map(|until| Stretch {
            after: after.map(|op| op.index),
            until: until.index,
        }),
    }
}

/// The first that did.
fn returned_before<'a, 'h: 'a>(
    mut ops: impl Iterator<Item = &'a &'h Op>,
    until: Option<&&'h Op>,
) -> Option<&'a &'h Op> {
    let until = until?;
    ops.find(|op| op.outcome == Outcome::Ok && op.ret < until.ret)
}
