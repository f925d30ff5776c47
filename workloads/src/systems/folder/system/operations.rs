//! Operations of a described system: commands that are run on a node, beside its daemon.

use agent::protocol::{Ran, Request};
use harness::cluster::Node;
use harness::control::ControlError;
use harness::system::{Operated, Step};

use super::Described;
use crate::systems::folder::description::NEXT;

/// How long one command of an operation may take.
const MOST: std::time::Duration = std::time::Duration::from_secs(30);
/// Of what it says, for people.
const MOST_CHARS: usize = 200;

/// Whether a process on the node runs one of these files, itself or by an interpreter. The shell
/// that asks names them too.
const RUNS: &str = r#"
for process in /proc/[0-9]*; do
    [ "$process" = "/proc/$$" ] && continue
    for file; do
        [ "$(readlink "$process/exe")" = "$file" ] && exit 0
        tr '\0' '\n' < "$process/cmdline" | grep -qxF -e "$file" && exit 0
    done
done 2> /dev/null
echo "nothing runs $*"
exit 1"#;

impl Described {
    pub(super) async fn run_operation(
        &self,
        operation: &str,
        step: Step,
        node: &Node,
        all: &[Node],
    ) -> Result<Operated, ControlError> {
        let mut own = self.description.admin.iter();
        let Some(admin) = own.find(|admin| admin.operation.name == operation) else {
            return self.upgrade(step, node, all).await;
        };
        let argv = self.fill(admin.command(step), node, all);
        self.told_by(self.inside(argv, node), node).await
    }

    /// The daemon is started anew after this, by the next version's programs.
    async fn upgrade(
        &self,
        step: Step,
        node: &Node,
        all: &[Node],
    ) -> Result<Operated, ControlError> {
        if step != Step::Check {
            self.programs.upgrade(&node.name);
            self.write_starts(node, all).await?;
            return Ok(Operated {
                worked: true,
                told: format!("it is to run the version {}", self.params.text(NEXT)),
            });
        }
        let next = self.programs.next();
        let paths = next
            .iter()
            .map(|program| node.bin(&program.name).display().to_string());
        let argv = ["sh", "-c", RUNS, "sh"].map(String::from).into_iter();
        self.told_by(argv.chain(paths).collect(), node).await
    }

    async fn told_by(&self, argv: Vec<String>, node: &Node) -> Result<Operated, ControlError> {
        let run = Request::Run {
            argv,
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
