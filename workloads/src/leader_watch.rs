//! Who leads, as every node has it, while a run goes on. What a node says was true at some moment
//! between the question and the answer, and nothing is known of other moments: so it is recorded,
//! and no checker judges by it.

use std::time::Duration;

use harness::cluster::Node;
use harness::system::Watch;
use history::{Name, Value};

/// Often enough to see who led around an anomaly, and seldom enough to be no load.
const EVERY: Duration = Duration::from_secs(1);

/// An answer that takes longer says too little of when it was true.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a node says of who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opinion {
    /// Whether it takes itself for the leader.
    pub leads: bool,
    /// Whom it takes for the leader, where it names one.
    pub leader: Option<Name>,
    /// In which term, where the system has terms. Nobody leads in one term, ceases, and leads in it
    /// again.
    pub term: Option<i64>,
}

/// How often nodes are asked, and under which name the answers are recorded.
pub fn watch() -> Watch {
    Watch {
        f: "leader".into(),
        every: EVERY,
    }
}

/// The value of the event `leader`: see `harness/docs/history.md`.
///
/// # Errors
/// That there was no answer, or none in time, for the history.
pub async fn look(
    node: &Node,
    asked: impl Future<Output = Option<Opinion>>,
) -> Result<Value, String> {
    let opinion = tokio::time::timeout(PATIENCE, asked).await;
    let opinion = opinion.map_err(|_| format!("no answer in {PATIENCE:?}"))?;
    let opinion = opinion.ok_or("it did not say")?;
    let mut entries = vec![
        ("node".into(), node.name.clone().into()),
        ("leads".into(), Value::Bool(opinion.leads)),
    ];
    entries.extend(
        opinion
            .leader
            .map(|leader| ("leader".into(), leader.into())),
    );
    entries.extend(opinion.term.map(|term| ("term".into(), term.into())));
    Ok(Value::Map(entries))
}

#[cfg(test)]
mod tests {
    use harness::dummy;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_no_answer() {
        let node = &dummy::nodes(1)[0];
        let said = look(node, async {
            Some(Opinion {
                leads: true,
                leader: Some("n1".into()),
                term: Some(4),
            })
        });
        let said = said.await.unwrap();
        assert_eq!(said.get("leads"), Some(&Value::Bool(true)));
        assert_eq!(said.get("leader").and_then(Value::as_text), Some("n1"));
        assert_eq!(said.get("term").and_then(Value::as_int), Some(4));
        let silent = look(node, async { None }).await;
        assert_eq!(silent, Err("it did not say".to_string()));
        let never = look(node, std::future::pending()).await;
        assert_eq!(never, Err("no answer in 3s".to_string()));
    }
}
