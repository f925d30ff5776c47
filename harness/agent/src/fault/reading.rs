//! What the clocks of a node and of a daemon say.

use rustix::time::{ClockId, clock_gettime};

use super::dial::lock;
use crate::error::{Error, Result};
use crate::protocol::Clocks;
use crate::site::Site;
use crate::vdso::{self, Clock, ClockError, Patch};

/// Reads both of the node's clocks close together, the wall clock between two looks at the other,
/// and asks a daemon's root process for its own.
pub(crate) fn read(site: &mut Site, daemon: Option<&str>) -> Result<Clocks> {
    let mut window_ns = 0;
    let mut daemon_offset_ns = None;
    if let Some(name) = daemon {
        let root = site.daemon(name)?.root;
        let dials = lock(&site.dials);
        let patch = root.and_then(|root| dials.get(name)?.patches.get(&root));
        daemon_offset_ns = match (root, patch) {
            (None, _) => None,
            // Without a patch it is shown what everybody is.
            (Some(_), None) => Some((0, 0)),
            (Some(_), Some(patch)) => {
                let (offsets, error_ns) = offsets(patch)?;
                window_ns = error_ns;
                Some(offsets)
            }
        };
    }
    let ns = |clock| {
        let now = clock_gettime(clock);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    };
    let before = ns(ClockId::Monotonic);
    let realtime_ns = ns(ClockId::Realtime);
    let after = ns(ClockId::Monotonic);
    Ok(Clocks {
        monotonic_ns: before.unsigned_abs(),
        realtime_ns,
        window_ns: window_ns.max((after - before).unsigned_abs()),
        daemon_offset_ns,
    })
}

/// How far a process's clocks are off, realtime and monotonic, and with what error. One that is
/// stopped cannot be asked: then what its memory says it would answer.
fn offsets(patch: &Patch) -> Result<((i64, i64), u64)> {
    let asked = patch.ask(Clock::Realtime).and_then(|realtime| {
        let monotonic = patch.ask(Clock::Monotonic)?;
        let error_ns = realtime.error_ns().max(monotonic.error_ns());
        Ok((
            (realtime.lie_ns(), monotonic.lie_ns()),
            error_ns.unsigned_abs(),
        ))
    });
    match asked {
        Err(ClockError::Stopped { .. }) => {
            let shift = patch.get().map_err(Error::Clock)?;
            let off = |clock| {
                let now = vdso::now(clock);
                shift.line(clock).show(now) - now
            };
            Ok(((off(Clock::Realtime), off(Clock::Monotonic)), 0))
        }
        other => other.map_err(Error::Clock),
    }
}
