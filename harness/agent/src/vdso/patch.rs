//! Putting the payload into a process, turning its clocks, and taking it out again.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::image::Image;
use super::line::{Clock, Shift};
use super::payload::{self, Header, Jump};
use super::plan::{jump_bytes, jumps_stand, plan};
use super::process::{self, Mapping, Memory, start_time};
use super::remote::{self, Call};
use super::threads::{Held, hold_all, tracing};
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
    /// What the counters said when this hold was taken.
    counted_before: [u64; 2],
    /// How often the process was made to ask since then, by [`Patch::ask`].
    own: [AtomicU64; 2],
}

/// How often a program has read its clocks, each way of asking counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    pub realtime: u64,
    pub monotonic: u64,
}

impl Asked {
    #[must_use]
    pub fn plus(self, other: Asked) -> Asked {
        Asked {
            realtime: self.realtime + other.realtime,
            monotonic: self.monotonic + other.monotonic,
        }
    }

    /// What came after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Asked) -> Asked {
        Asked {
            realtime: self.realtime.saturating_sub(earlier.realtime),
            monotonic: self.monotonic.saturating_sub(earlier.monotonic),
        }
    }
}

/// The page of the counters: one is enough anywhere.
const PAGE: u64 = 4096;

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
                    return target.into_patch(found);
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
            target.into_patch(found)
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
        target.into_patch(found)
    }

    /// Sees to it that the process counts from now on how often it asks. Its threads are stopped
    /// for that, and one of them maps the page. Does nothing where it counts already.
    ///
    /// # Errors
    /// [`ClockError::Stopped`] when the process is stopped by a signal: its threads cannot run.
    pub fn count(&mut self) -> Result<()> {
        if self.counters()? != 0 {
            return Ok(());
        }
        let at = self.payload_at();
        let target = self.target()?;
        tracing(|| target.map_counters(&mut hold_all(self.pid)?, at))?;
        self.counted_before = self.counts()?.unwrap_or_default();
        self.own = Default::default();
        Ok(())
    }

    /// How often the program has asked since this hold was taken, what it was made to ask by
    /// [`Patch::ask`] left out. `None`: it does not count.
    pub fn asked(&self) -> Result<Option<Asked>> {
        Ok(self.counts()?.map(|now| {
            let since = |i: usize| {
                let own = self.own[i].load(Ordering::Relaxed);
                now[i]
                    .saturating_sub(self.counted_before[i])
                    .saturating_sub(own)
            };
            Asked {
                realtime: since(0),
                monotonic: since(1),
            }
        }))
    }

    /// The process is about to be made to ask.
    pub(super) fn will_ask(&self, clock: Clock) {
        let index = match clock {
            Clock::Realtime => 0,
            Clock::Monotonic => 1,
        };
        self.own[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Address of the counters; 0 for none.
    fn counters(&self) -> Result<u64> {
        self.header()?;
        let mut word = [0; 8];
        self.memory
            .read(self.data + payload::COUNTERS_AT as u64, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn counts(&self) -> Result<Option<[u64; 2]>> {
        match self.counters()? {
            0 => Ok(None),
            at => {
                let mut counters = [0; payload::COUNTERS_LEN];
                self.memory.read(at, &mut counters)?;
                Ok(Some(payload::counts(&counters)))
            }
        }
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
        let target = self.target()?;
        // The number may be another's by now: our own hold tells, and it must be the same process.
        let header = self.header()?;
        if start_time(self.pid) != Some(self.start_time) {
            return Err(ClockError::Gone { pid: self.pid });
        }
        let at = self.payload_at();
        let counters = self.counters()?;
        let attempt = || target.restore(&mut hold_all(self.pid)?, &header, at, counters);
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

    fn target(&self) -> Result<Target> {
        Ok(Target {
            pid: self.pid,
            start_time: self.start_time,
            vdso: self.vdso,
            memory: Memory::open(self.pid)?,
        })
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

    fn into_patch(self, found: Found) -> Result<Patch> {
        let data = self.vdso.start + (found.at + payload::data_at()) as u64;
        let mut patch = Patch {
            pid: self.pid,
            start_time: self.start_time,
            vdso: self.vdso,
            data,
            memory: self.memory,
            counted_before: [0; 2],
            own: Default::default(),
        };
        patch.counted_before = patch.counts()?.unwrap_or_default();
        Ok(patch)
    }

    /// Has the process map a page for its counters, in one of its threads, all of which are held,
    /// and tells the payload at offset `at` of it.
    fn map_counters(&self, threads: &mut [Held], at: usize) -> Result<()> {
        let data = at + payload::data_at();
        let mut word = [0; 8];
        self.memory.read(
            self.vdso.start + (data + payload::COUNTERS_AT) as u64,
            &mut word,
        )?;
        if word != [0; 8] {
            return Ok(());
        }
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        let map = Call {
            number: libc::SYS_mmap,
            arguments: [0, PAGE, protection as u64, flags as u64, u64::MAX, 0],
        };
        let address = self.call(threads, at, &map)?;
        self.put(threads, data + payload::COUNTERS_AT, &address.to_le_bytes())
    }

    /// Makes a system call in one of the threads, which are all held.
    fn call(&self, threads: &mut [Held], at: usize, call: &Call) -> Result<u64> {
        let pid = self.pid;
        let thread = threads.first_mut().ok_or(ClockError::Gone { pid })?;
        let payload = self.vdso.start + at as u64;
        match remote::system_call(thread, &self.memory, payload, call)? {
            error @ -4095..=-1 => Err(ClockError::Access {
                pid,
                action: "have it map memory",
                source: std::io::Error::from_raw_os_error(-error as i32),
            }),
            answer => Ok(answer as u64),
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

    /// Writes back what the jumps displaced and, where possible, zeros over the payload; the page
    /// of its counters goes with it.
    fn restore(
        &self,
        threads: &mut [Held],
        header: &Header,
        at: usize,
        counters: u64,
    ) -> Result<Removal> {
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
        if counters != 0 {
            let unmap = Call {
                number: libc::SYS_munmap,
                arguments: [counters, PAGE, 0, 0, 0, 0],
            };
            // Of a stopped process the page stays behind: nobody knows of it any more.
            let _ = self.call(threads, at, &unmap);
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
