//! What the node's clocks say.

use rustix::time::{ClockId, clock_gettime};

use crate::error::Result;
use crate::ledger::Ledger;
use crate::protocol::Clocks;

/// Reads both clocks close together: the wall clock between two looks at the other.
pub(crate) fn read(ledger: &mut Ledger, daemon: Option<&str>) -> Result<Clocks> {
    let ns = |clock| {
        let now = clock_gettime(clock);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    };
    let before = ns(ClockId::Monotonic);
    let realtime_ns = ns(ClockId::Realtime);
    let after = ns(ClockId::Monotonic);
    if let Some(name) = daemon {
        ledger.daemon(name)?;
    }
    Ok(Clocks {
        monotonic_ns: before.unsigned_abs(),
        realtime_ns,
        window_ns: (after - before).unsigned_abs(),
        daemon_offset_ns: daemon.map(|_| (0, 0)),
    })
}
