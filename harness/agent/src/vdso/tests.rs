//! The payload's code, run in a page of this process with a clock of the test's own behind it: the
//! very bytes that go into other processes, against the definition in [`Line::show`].

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::line::{Line, Shift};
use super::payload::{self, Header};

thread_local! {
    /// What the "original" clock_gettime answers: result, seconds, nanoseconds; and whom it was
    /// asked for.
    static TRUTH: Cell<(i32, i64, i64)> = const { Cell::new((0, 0, 0)) };
    static ASKED: Cell<i32> = const { Cell::new(-1) };
}

/// Stands where the original function does. It also leaves rubbish in every register that the
/// calling convention gives it, as the original may.
extern "C" fn truth(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    let (result, tv_sec, tv_nsec) = TRUTH.get();
    ASKED.set(clock);
    if result == 0 {
        // SAFETY: the hooks pass their caller's pointer or one to their own stack.
        unsafe { *time = libc::timespec { tv_sec, tv_nsec } };
    }
    result
}

/// The payload in memory of its own, callable.
struct Page {
    at: *mut u8,
    /// The same memory, writable.
    alias: *mut u8,
    len: usize,
}

impl Page {
    fn new(shift: &Shift, sequence: u64) -> Page {
        let mut bytes = payload::code();
        #[cfg(target_arch = "x86_64")]
        let way: Vec<u8> = [
            &[0x48, 0xb8][..],
            &(truth as *const () as u64).to_le_bytes(),
            &[0xff, 0xe0],
        ]
        .concat(); // mov rax, ..; jmp rax
        // ldr x16, end of the payload; br x16
        #[cfg(target_arch = "aarch64")]
        let way: Vec<u8> = {
            let distance = (payload::len() - payload::original_at()) as u32 / 4;
            let words = [0x5800_0010 | distance << 5, 0xd61f_0200];
            words.into_iter().flat_map(u32::to_le_bytes).collect()
        };
        bytes[payload::original_at()..][..way.len()].copy_from_slice(&way);
        let header = Header {
            version: payload::VERSION,
            len: bytes.len(),
            sequence,
            trampoline: true,
            jumps: vec![],
        }
        .encode();
        let data = payload::data_at();
        bytes[data..][..header.len()].copy_from_slice(&header);
        // The slot that is not in use holds what must never be seen.
        bytes[data + payload::slot_at(sequence + 1)..][..payload::SLOT_LEN].fill(0x5a);
        bytes[data + payload::slot_at(sequence)..][..payload::SLOT_LEN]
            .copy_from_slice(&payload::encode(shift));
        #[cfg(target_arch = "aarch64")]
        bytes.extend((truth as *const () as u64).to_le_bytes());

        let len = bytes.len().next_multiple_of(4096);
        // SAFETY: a file and two mappings of our own, filled before anybody runs in them.
        unsafe {
            let file = libc::memfd_create(c"payload".as_ptr(), 0);
            assert!(file >= 0 && libc::ftruncate(file, len as i64) == 0);
            let map = |protection| {
                let at = libc::mmap(ptr::null_mut(), len, protection, libc::MAP_SHARED, file, 0);
                assert_ne!(at, libc::MAP_FAILED);
                at.cast::<u8>()
            };
            let alias = map(libc::PROT_READ | libc::PROT_WRITE);
            ptr::copy_nonoverlapping(bytes.as_ptr(), alias, bytes.len());
            let at = map(libc::PROT_READ | libc::PROT_EXEC);
            libc::close(file);
            Page { at, alias, len }
        }
    }

    /// The writable words of a part of the data.
    fn words<const N: usize>(&self, at: usize) -> &[AtomicU64; N] {
        assert!(at.is_multiple_of(8) && payload::data_at() + at + 8 * N <= self.len);
        // SAFETY: the words lie in the mapping, aligned; the code reads them as the machine does.
        unsafe { &*self.alias.add(payload::data_at() + at).cast() }
    }

    fn hook(&self, index: usize) -> *const () {
        // SAFETY: the hook lies in the mapping.
        unsafe {
            self.at
                .add(payload::targets()[index].hook)
                .cast_const()
                .cast()
        }
    }

    fn clock_gettime(&self, clock: i32) -> (i32, i64, i64) {
        let mut time = libc::timespec {
            tv_sec: -7,
            tv_nsec: -7,
        };
        // SAFETY: the bytes at the hook are a function of this signature.
        let result = unsafe {
            let call: extern "C" fn(i32, *mut libc::timespec) -> i32 =
                std::mem::transmute(self.hook(0));
            call(clock, &raw mut time)
        };
        (result, time.tv_sec, time.tv_nsec)
    }

    fn gettimeofday(&self, time: *mut libc::timeval, zone: *mut [i32; 2]) -> i32 {
        // SAFETY: the bytes at the hook are a function of this signature.
        unsafe {
            let call: extern "C" fn(*mut libc::timeval, *mut [i32; 2]) -> i32 =
                std::mem::transmute(self.hook(1));
            call(time, zone)
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn time(&self, into: *mut i64) -> i64 {
        // SAFETY: the bytes at the hook are a function of this signature.
        unsafe {
            let call: extern "C" fn(*mut i64) -> i64 = std::mem::transmute(self.hook(2));
            call(into)
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: our own mappings, and nobody runs in them any more.
        unsafe {
            libc::munmap(self.at.cast(), self.len);
            libc::munmap(self.alias.cast(), self.len);
        }
    }
}

const NANOS: i64 = 1_000_000_000;
const REALTIME: [i32; 4] = [0, 5, 8, 11];
const MONOTONIC: [i32; 5] = [1, 4, 6, 7, 9];

/// True times from the epoch to 2080, offsets of years, every rate, and bases on both sides: past
/// the documented bounds of what is useful, within what [`Line::check`] accepts.
fn lines() -> impl Strategy<Value = Line> {
    let offset = prop_oneof![
        Just(0),
        -4_000 * NANOS..4_000 * NANOS,
        -(1_i64 << 60)..1_i64 << 60
    ];
    let rate = prop_oneof![
        Just(0),
        Just(-NANOS),
        Just(NANOS),
        Just(10 * NANOS),
        -1_000..1_000_i64,
        -NANOS..=10 * NANOS
    ];
    let base = prop_oneof![
        Just(0),
        0..3_000_000_000 * NANOS,
        -(1_i64 << 62)..1_i64 << 62
    ];
    (offset, rate, base).prop_map(|(offset_ns, rate_ppb, base_ns)| Line {
        offset_ns,
        rate_ppb,
        base_ns,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_clock_shows_what_its_line_says(
        realtime in lines(), monotonic in lines(), sequence in 0_u64..4,
        sec in prop_oneof![0..10_i64, 0..2_300_000_000_i64], nsec in 0..NANOS,
    ) {
        let shift = Shift { realtime, monotonic };
        let page = Page::new(&shift, sequence);
        let true_ns = sec * NANOS + nsec;
        TRUTH.set((0, sec, nsec));
        for (clocks, line) in [(&REALTIME[..], realtime), (&MONOTONIC[..], monotonic)] {
            let shown = line.show(true_ns);
            for &clock in clocks {
                prop_assert_eq!(page.clock_gettime(clock), (0, shown / NANOS, shown % NANOS), "clock {}", clock);
                prop_assert_eq!(ASKED.get(), clock);
            }
        }
        let shown = realtime.show(true_ns);
        let mut time = libc::timeval { tv_sec: -7, tv_usec: -7 };
        prop_assert_eq!(page.gettimeofday(&raw mut time, ptr::null_mut()), 0);
        prop_assert_eq!((time.tv_sec, time.tv_usec), (shown / NANOS, shown % NANOS / 1_000));
        #[cfg(target_arch = "x86_64")]
        {
            let mut seconds = -7;
            prop_assert_eq!(page.time(&raw mut seconds), shown / NANOS);
            prop_assert_eq!(seconds, shown / NANOS);
            prop_assert_eq!(page.time(ptr::null_mut()), shown / NANOS);
        }
    }
}

#[test]
fn other_clocks_and_failures_pass_untouched() {
    let page = Page::new(
        &Shift {
            realtime: Line::offset(NANOS),
            monotonic: Line::offset(NANOS),
        },
        0,
    );
    TRUTH.set((0, 5, 6));
    // CPU time of process and thread, a hole, the auxiliary clocks, beyond the table, and the
    // dynamic ones, which are negative.
    for clock in [
        2,
        3,
        10,
        12,
        16,
        23,
        31,
        32,
        33,
        64,
        i32::MAX,
        -1,
        -6,
        i32::MIN,
        i32::MIN + 1,
    ] {
        assert_eq!(page.clock_gettime(clock), (0, 5, 6), "clock {clock}");
        assert_eq!(ASKED.get(), clock);
    }
    TRUTH.set((-libc::EINVAL, 5, 6));
    assert_eq!(page.clock_gettime(0), (-libc::EINVAL, -7, -7));
    let mut time = libc::timeval {
        tv_sec: -7,
        tv_usec: -7,
    };
    assert_eq!(
        page.gettimeofday(&raw mut time, ptr::null_mut()),
        -libc::EINVAL
    );
    assert_eq!((time.tv_sec, time.tv_usec), (-7, -7));
    #[cfg(target_arch = "x86_64")]
    assert_eq!(page.time(ptr::null_mut()), i64::from(-libc::EINVAL));
}

/// Each clock has its counter, every way of asking is counted, and what fails or is passed on is
/// not.
#[test]
fn what_is_asked_is_counted_by_clock() {
    let page = Page::new(&Shift::IDENTITY, 0);
    TRUTH.set((0, 5, 6));
    // Without counters nothing is counted, and nothing goes wrong.
    assert_eq!(page.clock_gettime(0), (0, 5, 6));
    let counters: [AtomicU64; payload::COUNTERS_LEN / 8] = Default::default();
    let [at] = page.words(payload::COUNTERS_AT);
    at.store(counters.as_ptr() as u64, Ordering::Release);
    let counted = || {
        let bytes: Vec<u8> = counters
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .collect();
        payload::counts(&bytes.try_into().expect("the counters' length"))
    };
    assert_eq!(counted(), [0, 0]);
    for (n, clock) in (1..).zip(REALTIME) {
        page.clock_gettime(clock);
        assert_eq!(counted(), [n, 0], "clock {clock}");
    }
    for (n, clock) in (1..).zip(MONOTONIC) {
        page.clock_gettime(clock);
        assert_eq!(counted(), [4, n], "clock {clock}");
    }
    let mut time = libc::timeval {
        tv_sec: -7,
        tv_usec: -7,
    };
    page.gettimeofday(&raw mut time, ptr::null_mut());
    assert_eq!(counted(), [5, 5]);
    page.gettimeofday(ptr::null_mut(), ptr::null_mut());
    page.clock_gettime(2);
    TRUTH.set((-libc::EINVAL, 5, 6));
    page.clock_gettime(0);
    assert_eq!(counted(), [5, 5]);
    TRUTH.set((0, 5, 6));
    #[cfg(target_arch = "x86_64")]
    {
        page.time(ptr::null_mut());
        assert_eq!(counted(), [6, 5]);
    }
}

/// A function whose landing pad is `paciasp`, in a page whose pads the processor insists on, called
/// as the C library calls the vDSO: through a pointer.
#[cfg(target_arch = "aarch64")]
#[test]
fn a_function_that_signs_its_return_address_is_hooked_where_landing_pads_count() {
    use super::relocate::{head, jump, relocate};
    const PROT_BTI: i32 = 0x10;
    const HWCAP2_BTI: u64 = 1 << 17;
    // SAFETY: it looks a number up.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_BTI == 0 {
        eprintln!("NOT TESTED: this processor has no landing pads");
        return;
    }
    let code = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    // paciasp; add w0, w0, #1; autiasp; ret
    let function: Vec<u8> = code(&[0xd503_233f, 0x1100_0400, 0xd503_23bf, 0xd65f_03c0]);
    // stp x29, x30, [sp, #-16]!; bl +60; add w0, w0, #40; ldp x29, x30, [sp], #16; ret
    let hook: Vec<u8> = code(&[
        0xa9bf_7bfd,
        0x9400_000f,
        0x1100_a000,
        0xa8c1_7bfd,
        0xd65f_03c0,
    ]);
    const HOOK: usize = 64;
    const ORIGINAL: usize = 128;
    // SAFETY: a page of our own, filled before anybody runs in it; its head is a function of this
    // signature, hooked or not.
    let called = unsafe {
        let page = libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(page, libc::MAP_FAILED);
        let put = |at: usize, bytes: &[u8]| {
            ptr::copy_nonoverlapping(bytes.as_ptr(), page.cast::<u8>().add(at), bytes.len());
        };
        let (at, head) = (page as u64, head(&function));
        let to = at + ORIGINAL as u64;
        let moved = relocate(&function, at, head, to, std::iter::empty()).unwrap();
        put(0, &function);
        put(
            head.at,
            &jump(at + head.at as u64, head.len, at + HOOK as u64).unwrap(),
        );
        put(HOOK, &hook);
        put(ORIGINAL, &moved.bytes);
        let protection = libc::PROT_READ | libc::PROT_EXEC | PROT_BTI;
        assert_eq!(libc::mprotect(page, 4096, protection), 0);
        let call: extern "C" fn(i32) -> i32 = std::mem::transmute(page.cast_const());
        let called = std::hint::black_box(call)(1);
        libc::munmap(page, 4096);
        called
    };
    assert_eq!(called, 42);
}

#[test]
fn gettimeofday_takes_null_for_either() {
    let page = Page::new(
        &Shift {
            realtime: Line::offset(NANOS),
            ..Shift::IDENTITY
        },
        1,
    );
    TRUTH.set((0, 5, 6_000));
    assert_eq!(page.gettimeofday(ptr::null_mut(), ptr::null_mut()), 0);
    let mut zone = [77; 2];
    assert_eq!(page.gettimeofday(ptr::null_mut(), &raw mut zone), 0);
    // The kernel's answer, which the test asks for itself.
    let mut kernel = [78; 2];
    let nothing = ptr::null_mut::<libc::timeval>();
    // SAFETY: the kernel fills two words.
    let status = unsafe { libc::syscall(libc::SYS_gettimeofday, nothing, &raw mut kernel) };
    assert_eq!(status, 0);
    assert_eq!(zone, kernel);
    let mut time = libc::timeval {
        tv_sec: -7,
        tv_usec: -7,
    };
    zone = [77; 2];
    assert_eq!(page.gettimeofday(&raw mut time, &raw mut zone), 0);
    assert_eq!((time.tv_sec, time.tv_usec, zone), (6, 6, kernel));
}

/// A writer at full speed, far faster than any agent. Its lines differ in offset and base, but all
/// show twice the true time: offset - base is 0 and the rate is 2. A mixture of two does not.
#[test]
fn a_reader_never_sees_half_a_shift() {
    let line = |i: i64| Line {
        offset_ns: i * 1_000,
        rate_ppb: NANOS,
        base_ns: i * 1_000,
    };
    let shifts: Vec<[u64; 7]> = (0..1_024)
        .map(|i| Shift {
            realtime: line(i),
            monotonic: line(-i),
        })
        .map(|shift| {
            let bytes = payload::encode(&shift);
            std::array::from_fn(|i| u64::from_le_bytes(bytes[8 * i..][..8].try_into().unwrap()))
        })
        .collect();
    let page = Page::new(
        &Shift {
            realtime: line(0),
            monotonic: line(0),
        },
        0,
    );
    let slots: [&[AtomicU64; 7]; 2] = [0, 1].map(|sequence| page.words(payload::slot_at(sequence)));
    let [sequence] = page.words(payload::SEQUENCE_AT);
    let stop = AtomicBool::new(false);
    let hook = page.hook(0) as usize;
    let clock_gettime = move |clock| {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the bytes at the hook are a function of this signature, and the page stays.
        unsafe {
            let call: extern "C" fn(i32, *mut libc::timespec) -> i32 =
                std::mem::transmute(hook as *const ());
            assert_eq!(call(clock, &raw mut time), 0);
        }
        (time.tv_sec, time.tv_nsec)
    };
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            let mut next = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                for words in &shifts {
                    next += 1;
                    let slot = slots[(next & 1) as usize];
                    slot[0].store(words[0], Ordering::Release);
                    slot[1].store(words[1], Ordering::Release);
                    slot[2].store(words[2], Ordering::Release);
                    slot[3].store(words[3], Ordering::Release);
                    slot[4].store(words[4], Ordering::Release);
                    slot[5].store(words[5], Ordering::Release);
                    slot[6].store(words[6], Ordering::Release);
                    sequence.store(next, Ordering::Release);
                }
            }
        });
        TRUTH.set((0, 1, 500));
        let mut wrong = 0;
        for i in 0..3_000_000 {
            wrong += u64::from(clock_gettime(i % 2) != (2, 1_000));
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(wrong, 0);
    });
    assert!(
        sequence.load(Ordering::Relaxed) > 10_000,
        "the writer did not get to run"
    );
}
