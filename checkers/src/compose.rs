//! Several checkers on one history.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use history::History;

use crate::{Analysis, Budget, Checker, Verdict, prefix};

/// Runs every checker, each under the whole budget, and draws how far what has no order has one. A
/// checker that panics gives `unknown`, with what it
/// said, and takes no other down.
pub fn check_all(
    checkers: &[Box<dyn Checker>],
    history: &History,
    budget: &Budget,
) -> Vec<Analysis> {
    checkers
        .iter()
        .map(|checker| {
            // A checker is not used again after it panicked, and shares nothing that it could have
            // left half done.
            let check = || {
                let meter = budget.start();
                let mut analysis = checker.check(history, budget);
                if let Some(choice) = checker.asks() {
                    prefix::add(&choice, history, &mut analysis, &meter);
                }
                analysis
            };
            catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
                let why = format!("the checker panicked, which is a bug: {}", said(&*panic));
                Analysis::unknown(checker.name(), why)
            })
        })
        .collect()
}

/// The worst.
pub fn overall(analyses: &[Analysis]) -> Verdict {
    Verdict::worst(analyses.iter().map(|analysis| analysis.verdict))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Anomaly;

    struct Says(Verdict);

    impl Checker for Says {
        fn name(&self) -> &str {
            "says"
        }

        fn check(&self, _: &History, _: &Budget) -> Analysis {
            Analysis {
                verdict: self.0,
                ..Analysis::of_anomalies("says", "", Vec::<Anomaly>::new())
            }
        }
    }

    struct Panics;

    impl Checker for Panics {
        fn name(&self) -> &str {
            "panics"
        }

        fn check(&self, _: &History, _: &Budget) -> Analysis {
            panic!("index 7 of {}", 3)
        }
    }

    #[test]
    fn a_panic_is_unknown_and_the_others_are_heard() {
        let checkers: Vec<Box<dyn Checker>> = vec![
            Box::new(Panics),
            Box::new(Says(Verdict::Valid)),
            Box::new(Says(Verdict::Invalid)),
        ];
        let found = check_all(&checkers, &History::default(), &Budget::default());
        assert_eq!(found[0].verdict, Verdict::Unknown);
        assert_eq!(found[0].checker, "panics");
        assert_eq!(
            found[0].summary,
            "the checker panicked, which is a bug: index 7 of 3"
        );
        assert_eq!(overall(&found[..2]), Verdict::Unknown);
        assert_eq!(overall(&found), Verdict::Invalid);
        assert_eq!(overall(&[]), Verdict::Valid);
    }
}
