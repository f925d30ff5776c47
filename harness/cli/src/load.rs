//! What is asked of a system, and how fast.

use std::time::Duration;

use clap::Args;
use harness::generator::Shape;
use harness::scheduler::Clients;

use crate::flags;
use crate::wanted::Wanted;

#[derive(Clone, Debug, Default, Args)]
pub struct LoadArgs {
    /// Operations offered a second, on average [default: the system's, 200 for most]
    #[arg(help_heading = "Load", long, short, allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// Operations open at once: number of clients [default: the system's, 10 for most; at least one
    /// a node]
    #[arg(help_heading = "Load", long, short)]
    pub concurrency: Option<usize>,
    /// How clients and nodes belong together: `sticky`, each stays at its node, or `roaming`, each
    /// operation may be at another node [default: sticky]
    #[arg(help_heading = "Load", long, value_name = "HOW")]
    pub clients: Option<Clients>,
    /// How the load varies: `even` gaps, or `varied`, with bursts on one key, quiet and busy
    /// stretches, at the same mean rate [default: varied]
    #[arg(help_heading = "Load", long, value_name = "SHAPE")]
    pub load: Option<Shape>,
    /// After this an operation is given up, its outcome unknown [default: the system's, 3s for
    /// most]
    #[arg(help_heading = "Load", long, value_parser = flags::duration)]
    pub op_timeout: Option<Duration>,
}

impl LoadArgs {
    /// What is wanted beyond it, under this load.
    pub fn on(&self, wanted: Wanted) -> Wanted {
        Wanted {
            rate: self.rate,
            concurrency: self.concurrency,
            clients: self.clients,
            load: self.load,
            op_timeout: self.op_timeout,
            ..wanted
        }
    }
}
