//! Operations of a described system: commands that are run on a node, beside its daemon.

use harness::cluster::Node;
use harness::control::ControlError;
use harness::system::{Operated, Step};

use super::Described;
use crate::systems::folder::description::NEXT;
use crate::systems::{ended, said_by, versions};

/// How long one command of an operation may take.
const MOST: std::time::Duration = std::time::Duration::from_secs(30);

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
        let argv = self.inside(argv, node);
        Ok(said_by(&ended(node, argv, MOST).await?))
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
        let files = next.iter().map(|program| node.bin(&program.name));
        versions::look(node, files.collect()).await
    }
}
