//! Putting the payload into a process, turning its clocks, and taking it out again.

use std::fmt;
use std::time::{Duration, Instant};

use super::line::Shift;
use super::payload::{self, Header, Jump};
use super::plan::{jump_bytes, jumps_stand, plan};
use super::process::{self, Mapping, Memory, start_time};
use super::threads::{Held, hold_all, tracing};
use super::vdso::Image;
use super::{ClockError, Result};

/// For how long a process is looked at again when a thread stands where bytes are to change. A
/// running thread is there for nanoseconds, so twice is rare.
const PATIENCE: Duration = Duration::from_secs(1);

/// The hold on one process whose clocks can be turned.
///
/// Dropping it changes nothing: the process keeps its patch, which [`Patch::install`] finds again.
/// There must be one writer at a time per process; readers inside the process need no care.
#[derive(Debug)]
pub struct Patch {
    pid: u32,
    start_time: u64,
    vdso: Mapping,
    /// Address of the payload's data.
    data: u64,
    memory: Memory,
}

/// What became of a removed patch. Either way the clocks are true and new calls take no detour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Every byte of the vDSO is again as it was.
    Whole,
    /// The functions are as they were, but a thread may still return through the payload, so its
    /// bytes were left behind the vDSO's end.
    Inert,
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Removal::Whole => "every byte is as it was",
            Removal::Inert => {
                "its functions are as they were, and what is left behind them is not called"
            }
        })
    }
}

impl Patch {
    /// Patches a running process; its clocks stay true until [`Patch::set`]. All its threads are
    /// stopped for some tens of microseconds. A process that is patched already, by this program,
    /// an earlier one, or by descent, is left as it is, its shift included.
    ///
    /// Call it when the process runs its own program: between fork and exec it would be lost.
    ///
    /// # Errors
    /// Nothing is changed on any of them.
    pub fn install(pid: u32) -> Result<Patch> {
        // Adopting one needs no stop.
        match Target::open(pid) {
            Ok(target) => {
                if let Some((found, true)) = target.find()? {
                    return Ok(target.into_patch(found));
                }
            }
            Err(ours @ ClockError::Ours { .. }) => return Err(ours),
            // In the midst of exec there is no vDSO for a moment.
            Err(_) => {}
        }
        let attempt = || {
            let threads = hold_all(pid)?;
            // Opened only now: a process that was in the midst of exec stopped behind it, and has
            // the address space and the vDSO that it will keep.
            let target = Target::open(pid)?;
            let found = target.write(&threads)?;
            Ok(target.into_patch(found))
        };
        tracing(|| {
            until_not(attempt, |result| {
                matches!(result, Err(ClockError::Busy { .. }))
            })
        })
    }

    /// The same for a child that the calling thread traces and that is stopped, alone with itself.
    pub(super) fn install_held(pid: u32, thread: &Held) -> Result<Patch> {
        let target = Target::open(pid)?;
        let found = target.write(std::slice::from_ref(thread))?;
        Ok(target.into_patch(found))
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// With [`Patch::pid`] it names the process for ever; see [`start_time`](super::start_time).
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Turns the clocks. Takes effect for every call of the process that begins afterwards, and
    /// stops nobody: each call sees the old shift or the new one whole.
    pub fn set(&self, shift: &Shift) -> Result<()> {
        shift.check().map_err(|source| ClockError::Line {
            pid: self.pid,
            source,
        })?;
        let header = self.header()?;
        let next = header.sequence.wrapping_add(1);
        // The slot first, then the number that brings it into use. A reader that was delayed over
        // two sets sees that the number has changed and reads again. No reader ever waits for us,
        // so it does no harm to die between the two writes.
        self.write(
            self.data + payload::slot_at(next) as u64,
            &payload::encode(shift),
        )?;
        self.write(self.data + payload::SEQUENCE_AT as u64, &next.to_le_bytes())
    }

    /// The shift that is in force, read from the process's memory.
    pub fn get(&self) -> Result<Shift> {
        let header = self.header()?;
        let mut slot = [0; payload::SLOT_LEN];
        self.memory.read(
            self.data + payload::slot_at(header.sequence) as u64,
            &mut slot,
        )?;
        Ok(payload::decode(&slot))
    }

    /// Whether the functions really lead to the payload now, and the payload's code is as written:
    /// with [`Patch::get`] the evidence of the bytes.
    pub fn in_force(&self) -> Result<bool> {
        let header = self.header()?;
        let image = Image::read(&self.memory, self.vdso)?;
        let at = (self.data - self.vdso.start) as usize - payload::data_at();
        let ours = payload::code();
        let theirs = &image.bytes[at..at + payload::data_at()];
        let same_code = theirs[..payload::original_at()] == ours[..payload::original_at()];
        Ok(same_code && jumps_stand(&image, &header.jumps, at))
    }

    /// Takes the patch away: first the jumps, then, if no thread can be inside it, the payload.
    pub fn remove(&self) -> Result<Removal> {
        let target = Target {
            pid: self.pid,
            start_time: self.start_time,
            vdso: self.vdso,
            memory: Memory::open(self.pid)?,
        };
        // The number may be another's by now: our own hold tells, and it must be the same process.
        let header = self.header()?;
        if start_time(self.pid) != Some(self.start_time) {
            return Err(ClockError::Gone { pid: self.pid });
        }
        let at = self.payload_at();
        let attempt = || target.restore(&hold_all(self.pid)?, &header, at);
        tracing(|| {
            until_not(attempt, |result| {
                matches!(result, Err(ClockError::Busy { .. }) | Ok(Removal::Inert))
            })
        })
    }

    /// Address in the process of an offset in the payload.
    pub(super) fn address(&self, offset: usize) -> u64 {
        self.vdso.start + (self.payload_at() + offset) as u64
    }

    /// Address of the process's `clock_gettime`, by its vDSO's own symbols.
    pub(super) fn clock_gettime(&self) -> Result<u64> {
        let image = Image::read(&self.memory, self.vdso)?;
        let names = payload::targets()[0].names;
        let unsupported = || ClockError::Unsupported {
            pid: self.pid,
            reason: format!("it has no {}", names[0]),
        };
        Ok(self.vdso.start + image.function(names).ok_or_else(unsupported)?.at as u64)
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    fn payload_at(&self) -> usize {
        (self.data - self.vdso.start) as usize - payload::data_at()
    }

    fn header(&self) -> Result<Header> {
        let mut data = [0; payload::DATA_LEN];
        self.memory.read(self.data, &mut data)?;
        Header::decode(&data).ok_or(ClockError::NotPatched { pid: self.pid })
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        match self.memory.write(address, bytes) {
            Err(ClockError::Access { .. }) => tracing(|| {
                // The kernel forbids it to all but tracers, so one thread has to stop for it.
                let thread =
                    Held::seize(self.pid, self.pid)?.ok_or(ClockError::Gone { pid: self.pid })?;
                thread.poke(&self.memory, address, bytes)
            }),
            done => done,
        }
    }
}

/// A process as it is before anything is known of a patch in it.
struct Target {
    pid: u32,
    start_time: u64,
    vdso: Mapping,
    memory: Memory,
}

/// A payload in an image: its offset and what its header says.
struct Found {
    at: usize,
}

impl Target {
    fn open(pid: u32) -> Result<Target> {
        // In this order: the memory's file outlives no exec, so what the others say belongs to it
        // or is an error later.
        let memory = Memory::open(pid)?;
        let start_time = start_time(pid).ok_or(ClockError::Gone { pid })?;
        let vdso = process::vdso(pid)?;
        if memory.is_ours(vdso)? {
            return Err(ClockError::Ours { pid });
        }
        Ok(Target {
            pid,
            start_time,
            vdso,
            memory,
        })
    }

    fn into_patch(self, found: Found) -> Patch {
        let data = self.vdso.start + (found.at + payload::data_at()) as u64;
        Patch {
            pid: self.pid,
            start_time: self.start_time,
            vdso: self.vdso,
            data,
            memory: self.memory,
        }
    }

    /// The patch that is there, if any, and whether all its jumps stand.
    fn find(&self) -> Result<Option<(Found, bool)>> {
        let image = Image::read(&self.memory, self.vdso)?;
        let Some((at, header)) = self.find_in(&image)? else {
            return Ok(None);
        };
        let standing = jumps_stand(&image, &header.jumps, at);
        Ok(Some((Found { at }, standing)))
    }

    fn find_in(&self, image: &Image) -> Result<Option<(usize, Header)>> {
        for data in (0..image.bytes.len()).step_by(payload::ALIGN) {
            let Some(header) = Header::decode(&image.bytes[data..]) else {
                continue;
            };
            if header.version != payload::VERSION
                || header.len != payload::len()
                || data < payload::data_at()
            {
                return Err(ClockError::Foreign {
                    pid: self.pid,
                    version: header.version,
                    ours: payload::VERSION,
                });
            }
            return Ok(Some((data - payload::data_at(), header)));
        }
        Ok(None)
    }

    /// Writes payload and jumps while all threads are held.
    fn write(&self, threads: &[Held]) -> Result<Found> {
        let image = Image::read(&self.memory, self.vdso)?;
        let (at, jumps) = match self.find_in(&image)? {
            // What a removal had to leave behind serves again.
            Some((at, header)) => (at, header.jumps),
            None => {
                let plan =
                    plan(&image, self.vdso.start).map_err(|reason| ClockError::Unsupported {
                        pid: self.pid,
                        reason,
                    })?;
                self.refuse_threads_in(&plan.jumps, threads)?;
                self.put(threads, plan.at, &plan.payload)?;
                (plan.at, plan.jumps)
            }
        };
        self.refuse_threads_in(&jumps, threads)?;
        for (jump, bytes) in jumps.iter().zip(jump_bytes(&jumps, at)) {
            self.put(threads, jump.at, &bytes)?;
        }
        Ok(Found { at })
    }

    /// Writes back what the jumps displaced and, where possible, zeros over the payload.
    fn restore(&self, threads: &[Held], header: &Header, at: usize) -> Result<Removal> {
        self.refuse_threads_in(&header.jumps, threads)?;
        for jump in &header.jumps {
            self.put(threads, jump.at, &jump.displaced[..jump.len])?;
        }
        // A thread can be in the payload, in the original function that returns to it, or in a
        // signal handler that interrupted either.
        let image = Image::read(&self.memory, self.vdso)?;
        let inside = |address: u64| {
            let Some(offset) = address
                .checked_sub(self.vdso.start)
                .map(|offset| offset as usize)
            else {
                return false;
            };
            (at..at + header.len).contains(&offset)
                || image
                    .functions
                    .iter()
                    .any(|function| (function.at..function.at + function.len).contains(&offset))
        };
        let mappings = process::mappings(self.pid)?;
        let stack = |thread: &Held| {
            let sp = super::threads::sp(&thread.registers);
            mappings
                .iter()
                .map(|(mapping, _)| *mapping)
                .find(|mapping| mapping.contains(sp))
        };
        if threads
            .iter()
            .any(|thread| thread.may_enter(&self.memory, stack(thread), inside))
        {
            return Ok(Removal::Inert);
        }
        self.put(threads, at, &vec![0; header.len])?;
        Ok(Removal::Whole)
    }

    /// A thread must not wake up in the middle of a jump.
    fn refuse_threads_in(&self, jumps: &[Jump], threads: &[Held]) -> Result<()> {
        for thread in threads {
            let offset = super::threads::pc(&thread.registers).wrapping_sub(self.vdso.start);
            if jumps
                .iter()
                .any(|jump| (jump.at as u64 + 1..(jump.at + jump.len) as u64).contains(&offset))
            {
                return Err(ClockError::Busy {
                    pid: self.pid,
                    tid: thread.tid,
                });
            }
        }
        Ok(())
    }

    fn put(&self, threads: &[Held], at: usize, bytes: &[u8]) -> Result<()> {
        let address = self.vdso.start + at as u64;
        match (self.memory.write(address, bytes), threads.first()) {
            (Err(ClockError::Access { .. }), Some(tracer)) => {
                tracer.poke(&self.memory, address, bytes)
            }
            (done, _) => done,
        }
    }
}

/// Repeats `attempt`, with a breath for the threads in between, until its result is not `bad` or
/// that has gone on for too long.
fn until_not<T>(attempt: impl Fn() -> T, bad: impl Fn(&T) -> bool) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        let result = attempt();
        if !bad(&result) || Instant::now() > limit {
            return result;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}
