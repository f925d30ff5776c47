//! What a node of a described system holds when the run is over, for comparison with the others.

use std::time::Duration;

use harness::cluster::Node;
use history::{Name, Value};
use serde_json::Value as Json;
use tokio::time::{Instant, sleep};

use super::Described;
use crate::http::{Patience, told};
use crate::systems::folder::answers::begins;
use crate::systems::folder::description::{AskReplica, Replica};
use crate::systems::{SHORT, ended, said_by};

/// So long for a node to apply what it knows of, and so often it is asked meanwhile.
const AT_REST: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);

/// How far a node has applied the log, and what it holds then.
#[derive(Debug, PartialEq)]
struct State {
    index: i64,
    holds: Value,
}

impl Described {
    /// Asks until the node says the same twice: then nothing was applied in between.
    pub(super) async fn held(&self, node: &Node, replica: &Replica) -> Result<Value, String> {
        let ends = Instant::now() + AT_REST;
        let mut before = self.state(node, replica).await?;
        loop {
            sleep(AGAIN).await;
            let now = self.state(node, replica).await?;
            if now == before {
                return Ok(now.of(&node.name));
            }
            if Instant::now() > ends {
                let (was, is) = (before.index, now.index);
                return Err(format!(
                    "it was never at rest: at {was}, and then at {is}, after {AT_REST:?}"
                ));
            }
            before = now;
        }
    }

    async fn state(&self, node: &Node, replica: &Replica) -> Result<State, String> {
        let (asked, body) = match &replica.ask {
            AskReplica::Http(path) => {
                let path = self.path(path, node);
                let asked = format!("GET {path}");
                match self.http(node, Patience::COLLECT).get(&path).await {
                    Ok(answer) if answer.status.is_success() => (asked, answer.body.to_vec()),
                    answer => return Err(format!("[replica] http: {asked}: {}", told(&answer))),
                }
            }
            AskReplica::Exec(argv) => {
                let argv = self.beside(argv, node);
                let asked = format!("`{}`", argv.join(" "));
                let ran = ended(node, argv, SHORT).await.map_err(|e| e.to_string())?;
                if !ran.success {
                    let said = said_by(&ran).told;
                    return Err(format!("[replica] exec: {asked}: {said}"));
                }
                (asked, ran.stdout.into_bytes())
            }
        };
        state_in(&body, replica).map_err(|why| format!("[replica]: {asked}: {why}"))
    }
}

impl State {
    fn of(self, node: &Name) -> Value {
        Value::Map(vec![
            ("node".into(), node.clone().into()),
            ("index".into(), self.index.into()),
            ("holds".into(), self.holds),
        ])
    }
}

fn state_in(body: &[u8], replica: &Replica) -> Result<State, String> {
    let no_json = |e| format!("no JSON ({e}): {:?}", begins(body));
    let answer: Json = serde_json::from_slice(body).map_err(no_json)?;
    let at = |pointer: &str| {
        let found = answer.pointer(pointer);
        found.ok_or_else(|| format!("nothing at {pointer:?} in {:?}", begins(body)))
    };
    let index = at(&replica.index)?;
    let number = match index {
        Json::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    Ok(State {
        index: number
            .ok_or_else(|| format!("{index} at {:?} is no whole number", replica.index))?,
        holds: at(&replica.holds)?.clone().into(),
    })
}
