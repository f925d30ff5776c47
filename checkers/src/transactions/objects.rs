//! What the search for cycles has to know of lists and registers.

use history::wording::{counted, either};

use super::consistency::Class;
use super::findings::{Findings, Tell};
use super::graph::Edges;
use super::lists::Lists;
use super::read::Txns;
use super::registers::Registers;
use super::seen::Seen;
use super::visibility::Forced;
use crate::figure::Gauge;
use crate::{Analysis, Exhausted, Meter};

pub const LISTS: Gauge = Gauge::count("lists");
pub const APPENDS: Gauge = Gauge::count("appends");
pub const NEVER_READ: Gauge = Gauge::count("appends never read");
pub const REGISTERS: Gauge = Gauge::count("registers");
pub const WRITTEN_BLINDLY: Gauge = Gauge::count("registers written blindly");

/// What transactions are about.
pub trait Objects: Tell {
    fn txns(&self) -> &Txns;

    fn keys(&self) -> usize;

    /// What transactions read of each other and wrote.
    fn seen(&self, meter: &mut Meter) -> Result<Seen, Exhausted>;

    /// The order of versions, where it was read as such.
    fn known(&self, edges: &mut Edges, meter: &mut Meter) -> Result<(), Exhausted>;

    /// Whether the one version is known to come after the other, or before it.
    fn follows(&self, older: u32, newer: u32) -> Option<bool>;

    /// What somebody read although it knew of another version.
    fn missed(&self, forced: &Forced) -> String;

    /// `3 lists`.
    fn counted(&self) -> String;

    /// What is wrong without any cycle.
    fn anomalies(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted>;

    /// What orders transactions, real time apart.
    fn edges(&self, meter: &mut Meter) -> Result<Edges, Exhausted>;

    /// Why the order of versions is not known, if it is not.
    fn unordered(&self) -> Option<String>;

    /// Whether the verdict on this class of anomalies can depend on that order, although nothing
    /// was found, or something.
    fn depends(&self, class: Class, found: bool) -> bool;

    fn figures(&self, analysis: Analysis) -> Analysis;
}

impl Objects for Lists<'_> {
    fn txns(&self) -> &Txns {
        &self.txns
    }

    fn keys(&self) -> usize {
        Lists::keys(self)
    }

    fn seen(&self, meter: &mut Meter) -> Result<Seen, Exhausted> {
        Lists::seen(self, meter)
    }

    fn known(&self, edges: &mut Edges, meter: &mut Meter) -> Result<(), Exhausted> {
        Lists::known(self, edges, meter)
    }

    fn follows(&self, older: u32, newer: u32) -> Option<bool> {
        Lists::follows(self, older, newer)
    }

    fn missed(&self, forced: &Forced) -> String {
        Lists::missed(self, forced)
    }

    fn counted(&self) -> String {
        counted(self.keys(), "list")
    }

    fn anomalies(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        Lists::anomalies(self, found, meter)
    }

    fn edges(&self, meter: &mut Meter) -> Result<Edges, Exhausted> {
        Lists::edges(self, meter)
    }

    fn unordered(&self) -> Option<String> {
        let n = self.unordered();
        let why = || {
            format!(
                "{} {} several appends that nobody read, in an unknown order",
                counted(n, "list"),
                either(n, "has", "have")
            )
        };
        (n > 0).then(why)
    }

    /// With nothing at all there is a serial order, whatever the order of what nobody read. And
    /// dirty and fractured reads do not depend on that.
    fn depends(&self, class: Class, found: bool) -> bool {
        found && class >= Class::Single && class < Class::Item
    }

    fn figures(&self, analysis: Analysis) -> Analysis {
        analysis
            .with_figure(LISTS.figure(self.keys()))
            .with_figure(APPENDS.figure(self.appends()))
            .with_figure(NEVER_READ.figure(self.unseen()))
    }
}

impl Objects for Registers<'_> {
    fn txns(&self) -> &Txns {
        &self.txns
    }

    fn keys(&self) -> usize {
        Registers::keys(self)
    }

    fn seen(&self, meter: &mut Meter) -> Result<Seen, Exhausted> {
        Registers::seen(self, meter)
    }

    /// What was read and then overwritten is in order by that.
    fn known(&self, _edges: &mut Edges, _meter: &mut Meter) -> Result<(), Exhausted> {
        Ok(())
    }

    fn follows(&self, older: u32, newer: u32) -> Option<bool> {
        Registers::follows(self, older, newer)
    }

    fn missed(&self, forced: &Forced) -> String {
        Registers::missed(self, forced)
    }

    fn counted(&self) -> String {
        counted(self.keys(), "register")
    }

    fn anomalies(&mut self, found: &mut Findings, meter: &mut Meter) -> Result<(), Exhausted> {
        Registers::anomalies(self, found, meter)
    }

    fn edges(&self, meter: &mut Meter) -> Result<Edges, Exhausted> {
        Registers::edges(self, meter)
    }

    fn unordered(&self) -> Option<String> {
        let n = self.unordered();
        let why = || {
            format!(
                "{} {} written blindly, in an unknown order",
                counted(n, "register"),
                either(n, "was", "were")
            )
        };
        (n > 0).then(why)
    }

    /// Up to causality only what was read counts.
    fn depends(&self, class: Class, _found: bool) -> bool {
        class >= Class::Single
    }

    fn figures(&self, analysis: Analysis) -> Analysis {
        analysis
            .with_figure(REGISTERS.figure(self.keys()))
            .with_figure(WRITTEN_BLINDLY.figure(self.unordered()))
    }
}
