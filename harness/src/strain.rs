//! Whether the machines gave the daemons the processors that they wanted. A node that does not
//! serve because other work has its machine shows nothing about its system.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent::protocol::{Request, Strain as Account};
use history::Name;
use history::mark::{Mark, Strain};

use crate::at_once::at_once;
use crate::cluster::Node;
use crate::recorder::{RecordError, Recorder};

/// An agent that does not answer in this time is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// The accounts of all nodes at one moment.
pub struct Accounts {
    at: Instant,
    of: BTreeMap<Name, Account>,
}

impl Accounts {
    pub async fn take(nodes: &[Node], daemon: &str) -> Accounts {
        let asked = nodes.iter().map(|node| {
            let (node, daemon) = (node.clone(), daemon.to_string());
            async move {
                let asked = node.agent.call::<Account>(Request::Strain { daemon });
                let answer = tokio::time::timeout(PATIENCE, asked).await;
                Some((node.name.clone(), answer.ok()?.ok()?))
            }
        });
        let of = at_once(asked).await.into_iter().flatten().collect();
        Accounts {
            at: Instant::now(),
            of,
        }
    }

    /// Writes down what each node's machine was like from then until now.
    pub async fn record(
        self,
        nodes: &[Node],
        daemon: &str,
        recorder: &Recorder,
    ) -> Result<(), RecordError> {
        let now = Accounts::take(nodes, daemon).await;
        for (node, strain) in between(&self, &now) {
            recorder.mark(Mark::Strain(node, strain))?;
        }
        Ok(())
    }
}

fn between(before: &Accounts, after: &Accounts) -> Vec<(Name, Strain)> {
    let span = u64::try_from(after.at.duration_since(before.at).as_nanos()).unwrap_or(u64::MAX);
    let of_node = |name: &Name| {
        let (before, after) = (before.of.get(name)?, after.of.get(name)?);
        // A machine that started anew has other accounts.
        (before.boot == after.boot).then_some((before, after))
    };
    // Less than before: threads have ended, and with them their accounts.
    let since = |before: u64, after: u64| after.checked_sub(before);
    let strain = |name: &Name| {
        let (then, now) = of_node(name)?;
        let on_machine = after.of.keys().filter_map(of_node);
        let on_machine = on_machine.filter(|(_, other)| other.boot == now.boot);
        let daemons = on_machine.filter_map(|(then, now)| since(then.ran_ns, now.ran_ns));
        let busy = now.busy_ns.saturating_sub(then.busy_ns);
        Some(Strain {
            span_ns: span,
            processors: now.processors,
            others_ns: busy.saturating_sub(daemons.sum()),
            ran_ns: since(then.ran_ns, now.ran_ns)?,
            waited_ns: since(then.waited_ns, now.waited_ns)?,
        })
    };
    let all = after.of.keys();
    all.filter_map(|name| Some((name.clone(), strain(name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(boot: &str, busy_ns: u64, ran_ns: u64, waited_ns: u64) -> Account {
        Account {
            boot: boot.into(),
            processors: 2,
            busy_ns,
            ran_ns,
            waited_ns,
        }
    }

    #[test]
    fn what_the_daemons_of_a_machine_did_is_no_other_work() {
        let at = Instant::now();
        let accounts = |seconds, of: [Account; 4]| Accounts {
            at: at + Duration::from_secs(seconds),
            of: ["n1", "n2", "n3", "n4"]
                .map(Name::new)
                .into_iter()
                .zip(of)
                .collect(),
        };
        // Two on one machine, the second with other threads than before; one alone; one whose
        // machine started anew.
        let before = accounts(
            0,
            [
                account("a", 100, 10, 5),
                account("a", 100, 30, 5),
                account("b", 7, 1, 0),
                account("c", 9, 9, 9),
            ],
        );
        let after = accounts(
            4,
            [
                account("a", 200, 25, 45),
                account("a", 200, 20, 7),
                account("b", 9, 3, 0),
                account("d", 2, 1, 1),
            ],
        );
        let strain = |others_ns, ran_ns, waited_ns| Strain {
            span_ns: 4_000_000_000,
            processors: 2,
            others_ns,
            ran_ns,
            waited_ns,
        };
        assert_eq!(
            between(&before, &after),
            [
                (Name::new("n1"), strain(100 - 15, 15, 40)),
                (Name::new("n3"), strain(0, 2, 0)),
            ]
        );
    }
}
