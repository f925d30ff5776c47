//! Operations of a described system: commands that are run on a node, beside its daemon.

use agent::protocol::{Ran, Request};
use harness::cluster::Node;
use harness::control::ControlError;
use harness::system::{Operated, Operation, Step};

use super::Described;

/// How long one command of an operation may take.
const MOST: std::time::Duration = std::time::Duration::from_secs(30);
/// Of what it says, for people.
const MOST_CHARS: usize = 200;

impl Described {
    pub(super) fn own_operations(&self) -> Vec<Operation> {
        let all = self.description.admin.iter();
        all.map(|admin| admin.operation.clone()).collect()
    }

    pub(super) async fn run_operation(
        &self,
        operation: &str,
        step: Step,
        node: &Node,
        all: &[Node],
    ) -> Result<Operated, ControlError> {
        let mut known = self.description.admin.iter();
        let admin = known.find(|admin| admin.operation.name == operation);
        let admin = admin.expect("it is one of those that are offered");
        let argv = self.fill(admin.command(step), node, all);
        let run = Request::Run {
            argv: self.inside(argv, node),
            stdin: String::new(),
            timeout_ms: MOST.as_millis() as u64,
        };
        let ran: Ran = node.agent.call(run).await?;
        Ok(Operated {
            worked: ran.success,
            told: told(&ran),
        })
    }
}

/// `exit 1: member not found`.
fn told(ran: &Ran) -> String {
    let lines = ran.stdout.lines().chain(ran.stderr.lines());
    match lines.map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => {
            let line: String = line.chars().take(MOST_CHARS).collect();
            format!("{}: {line}", ran.status)
        }
        None => ran.status.clone(),
    }
}
