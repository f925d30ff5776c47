//! What is asked of a system, and how fast.

use std::time::Duration;

use clap::Args;
use harness::generator::Shape;
use harness::scheduler::Clients;

use crate::flags;
use crate::wanted::Wanted;

#[derive(Clone, Debug, Default, Args)]
pub struct LoadArgs {
    /// Operations offered a second [default: the system's, 200 for most]
    ///
    /// That is the mean: see --load.
    #[arg(
        help_heading = "Load",
        long,
        short,
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub rate: Option<f64>,
    /// Clients [default: the system's, 10 for most]
    ///
    /// That many operations are open at once. There is at least one client a node.
    #[arg(help_heading = "Load", long, short, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Where clients send operations: `sticky`, each client stays at its node, or `roaming`, each
    /// operation may go to another node [default: sticky]
    #[arg(
        help_heading = "Load",
        long,
        value_name = "HOW",
        hide_short_help = true
    )]
    pub clients: Option<Clients>,
    /// How the load varies: `even` gaps, or `varied`, with bursts on one key, quiet and busy
    /// stretches, at the same mean rate [default: varied]
    #[arg(
        help_heading = "Load",
        long,
        value_name = "SHAPE",
        hide_short_help = true
    )]
    pub load: Option<Shape>,
    /// Give an operation up after this time; its outcome is then unknown [default: the system's, 3s
    /// for most]
    #[arg(
        help_heading = "Load",
        long,
        value_parser = flags::duration,
        value_name = "TIME",
        hide_short_help = true
    )]
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
