//! The code and data that go into the vDSO: where its parts lie and what its data words mean.
//!
//! The code is `payload_x86_64.s` or `payload_aarch64.s`, assembled into this program's read-only
//! data, so that nobody types machine code by hand. Its last 256 bytes are data:
//!
//! ```text
//!     0  magic "SCHISMCK"
//!     8  version u32, length of the whole payload u32
//!    16  sequence number u64: its lowest bit says which slot is in use
//!    24  route u64: 0 trampoline, 1 system call
//!    32  three jumps, 16 bytes each: offset of the jump in the image u32, its length u32, the
//!        eight bytes that stood there before
//!    80  address u64 of the counters; 0: nothing is counted
//!   128  slot 0: real-time line, monotonic line 32 bytes behind it: offset, rate, base each, i64
//!   192  slot 1
//! ```
//!
//! The vDSO is not writable for the process itself, so what it counts lies in a page of its own
//! that it was made to map: how often the real-time line was applied, and 32 bytes behind that how
//! often the monotonic line was, u64 each. Counting is one plain addition. Threads that ask in the
//! same instant may be counted as one, and a locked addition would cost each of them more than the
//! reading itself. So a count is a lower bound; what matters is whether it has moved.
//!
//! The displaced bytes live in the process itself, so that whoever finds the patch, also an agent
//! that was started later, can take it away again.

use super::line::{Line, Shift};

pub(super) const MAGIC: [u8; 8] = *b"SCHISMCK";
pub(super) const VERSION: u32 = 3;
/// Alignment of the payload in the image: a data slot is one cache line.
pub(super) const ALIGN: usize = 64;

pub(super) const DATA_LEN: usize = 256;
pub(super) const SEQUENCE_AT: usize = 16;
const ROUTE_AT: usize = 24;
const JUMPS_AT: usize = 32;
const JUMP_LEN: usize = 16;
const JUMPS_MAX: usize = 3;
/// Offset in the data of the counters' address.
pub(super) const COUNTERS_AT: usize = 80;
const SLOTS_AT: usize = 128;
const SLOT_STRIDE: usize = 64;
/// From the real-time line to the monotonic one, in a slot and among the counters.
const CLOCK_STRIDE: usize = 32;
const LINE_LEN: usize = 24;
pub(super) const SLOT_LEN: usize = CLOCK_STRIDE + LINE_LEN;
/// From the first counter to the end of the second.
pub(super) const COUNTERS_LEN: usize = CLOCK_STRIDE + 8;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(include_str!("payload_x86_64.s"));
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(include_str!("payload_aarch64.s"));

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("clocks of single processes are written for Linux on x86-64 and AArch64");

unsafe extern "C" {
    static schism_clock_start: u8;
    static schism_clock_gettimeofday: u8;
    #[cfg(target_arch = "x86_64")]
    static schism_clock_time: u8;
    static schism_clock_call: u8;
    static schism_clock_park: u8;
    static schism_clock_original: u8;
    static schism_clock_data: u8;
    static schism_clock_end: u8;
}

/// How the hooks get at the true time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Through the original function: a few ns more than unpatched.
    Trampoline,
    /// By a system call, several times slower, because the function's first instructions could not
    /// be moved.
    SystemCall { reason: String },
}

/// One function of the vDSO that is led to a hook.
pub(super) struct Target {
    /// The names under which vDSOs export it.
    pub names: &'static [&'static str],
    /// The hook's offset in the payload.
    pub hook: usize,
}

/// Offset of a label in the payload.
fn at(label: *const u8) -> usize {
    label as usize - (&raw const schism_clock_start) as usize
}

pub(super) fn len() -> usize {
    at(&raw const schism_clock_end)
}

/// Offset of the data.
pub(super) fn data_at() -> usize {
    at(&raw const schism_clock_data)
}

/// Offset of a system call that leads into that loop.
pub(super) fn call_at() -> usize {
    at(&raw const schism_clock_call)
}

/// Offset of the loop in which an injected call waits.
pub(super) fn park_at() -> usize {
    at(&raw const schism_clock_park)
}

/// Length of that loop.
pub(super) const PARK_LEN: u64 = 4;

/// Offset of the slot for the way to the original function.
pub(super) fn original_at() -> usize {
    at(&raw const schism_clock_original)
}

/// Room in that slot.
#[cfg(target_arch = "x86_64")]
pub(super) const ORIGINAL_LEN: usize = 64;
#[cfg(target_arch = "aarch64")]
pub(super) const ORIGINAL_LEN: usize = 12;

/// The functions to lead away. The first one is the one that the hooks themselves call.
pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            names: &["__vdso_clock_gettime", "__kernel_clock_gettime"],
            hook: 0,
        },
        Target {
            names: &["__vdso_gettimeofday", "__kernel_gettimeofday"],
            hook: at(&raw const schism_clock_gettimeofday),
        },
        #[cfg(target_arch = "x86_64")]
        Target {
            names: &["__vdso_time"],
            hook: at(&raw const schism_clock_time),
        },
    ]
}

/// A fresh copy of the payload, its slot for the original unfilled and its data zero.
pub(super) fn code() -> Vec<u8> {
    // SAFETY: the labels enclose one section of this program's read-only data.
    unsafe { std::slice::from_raw_parts(&raw const schism_clock_start, len()) }.to_vec()
}

/// A jump that was written over a function's head, with what it displaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jump {
    /// Offset in the image.
    pub at: usize,
    pub len: usize,
    pub displaced: [u8; 8],
}

/// The payload's data, without the slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub version: u32,
    pub len: usize,
    pub sequence: u64,
    pub trampoline: bool,
    pub jumps: Vec<Jump>,
}

impl Header {
    pub fn encode(&self) -> [u8; SLOTS_AT] {
        assert!(
            self.jumps.len() <= JUMPS_MAX,
            "there are three functions at most"
        );
        let mut out = [0; SLOTS_AT];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        out[12..16].copy_from_slice(&(self.len as u32).to_le_bytes());
        out[SEQUENCE_AT..ROUTE_AT].copy_from_slice(&self.sequence.to_le_bytes());
        out[ROUTE_AT..JUMPS_AT].copy_from_slice(&u64::from(!self.trampoline).to_le_bytes());
        for (jump, field) in self
            .jumps
            .iter()
            .zip(out[JUMPS_AT..].chunks_exact_mut(JUMP_LEN))
        {
            field[..4].copy_from_slice(&(jump.at as u32).to_le_bytes());
            field[4..8].copy_from_slice(&(jump.len as u32).to_le_bytes());
            field[8..].copy_from_slice(&jump.displaced);
        }
        out
    }

    /// `None` where there is no payload, or none that makes sense.
    pub fn decode(data: &[u8]) -> Option<Header> {
        let data: &[u8; SLOTS_AT] = data.get(..SLOTS_AT)?.try_into().ok()?;
        if data[..8] != MAGIC {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes"));
        let long =
            |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"));
        let jumps: Vec<Jump> = (0..JUMPS_MAX)
            .map(|i| JUMPS_AT + i * JUMP_LEN)
            .filter(|&at| word(at + 4) != 0)
            .map(|at| Jump {
                at: word(at) as usize,
                len: word(at + 4) as usize,
                displaced: long(at + 8).to_le_bytes(),
            })
            .collect();
        if jumps.iter().any(|jump| jump.len > jump.displaced.len()) {
            return None;
        }
        Some(Header {
            version: word(8),
            len: word(12) as usize,
            sequence: long(SEQUENCE_AT),
            trampoline: long(ROUTE_AT) == 0,
            jumps,
        })
    }
}

/// Offset in the data of the slot that a sequence number selects.
pub(super) fn slot_at(sequence: u64) -> usize {
    SLOTS_AT + (sequence & 1) as usize * SLOT_STRIDE
}

pub(super) fn encode(shift: &Shift) -> [u8; SLOT_LEN] {
    let mut out = [0; SLOT_LEN];
    for (line, field) in [shift.realtime, shift.monotonic]
        .iter()
        .zip(out.chunks_mut(CLOCK_STRIDE))
    {
        let words = [line.offset_ns, line.rate_ppb, line.base_ns];
        for (word, field) in words.iter().zip(field.chunks_exact_mut(8)) {
            field.copy_from_slice(&word.to_le_bytes());
        }
    }
    out
}

pub(super) fn decode(slot: &[u8; SLOT_LEN]) -> Shift {
    let word = |at: usize| i64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
    let line = |at: usize| Line {
        offset_ns: word(at),
        rate_ppb: word(at + 8),
        base_ns: word(at + 16),
    };
    Shift {
        realtime: line(0),
        monotonic: line(CLOCK_STRIDE),
    }
}

/// The two counters, real time first.
pub(super) fn counts(counters: &[u8; COUNTERS_LEN]) -> [u64; 2] {
    [0, CLOCK_STRIDE]
        .map(|at| u64::from_le_bytes(counters[at..at + 8].try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_lie_as_the_assembly_has_them() {
        assert_eq!(len() - data_at(), DATA_LEN);
        assert!(original_at() + ORIGINAL_LEN <= data_at());
        assert!(park_at() + PARK_LEN as usize <= original_at());
        assert_eq!(data_at() % ALIGN, 0);
        assert!(code()[data_at()..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_header_comes_back() {
        let jump = |at| Jump {
            at,
            len: 5,
            displaced: [1, 2, 3, 4, 5, 6, 7, at as u8],
        };
        for jumps in [
            vec![],
            vec![jump(0xaf0)],
            vec![jump(0xaf0), jump(0x810), jump(0xac0)],
        ] {
            let header = Header {
                version: VERSION,
                len: len(),
                sequence: u64::MAX - 1,
                trampoline: jumps.len() != 1,
                jumps,
            };
            assert_eq!(Header::decode(&header.encode()), Some(header));
        }
        assert_eq!(Header::decode(&[0; SLOTS_AT]), None);
        assert_eq!(Header::decode(&MAGIC), None);
    }
}
