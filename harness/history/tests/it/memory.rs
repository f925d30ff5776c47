//! What a reader holds is what its budget was told.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use history::foreign::{Format, read_within};
use history::jsonl::ReadError;
use history::{Budget, Exhausted};

/// The system's allocator, which also counts what is held, and the most that ever was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: everything is done by the system's allocator, with what it was given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as the caller promises to this allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises to this allocator.
        unsafe { System.dealloc(at, layout) }
    }

    // A block that grows is copied at worst: both are there for a moment.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises to this allocator.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HEADER: &str = "{\"schism\":\"history\",\"version\":1}\n";

fn events(count: usize, value: &str) -> String {
    let event = |i: usize| {
        let kind = ["invoke", "ok"][i % 2];
        format!(
            "{{\"index\":{i},\"time\":{i},\"process\":0,\"type\":\"{kind}\",\"f\":\"r\",\"value\":{value}}}\n"
        )
    };
    HEADER.to_string() + &(0..count).map(event).collect::<String>()
}

fn edn(count: usize, value: &str) -> String {
    let event = |i: usize| {
        format!(
            "{{:type :{}, :f :r, :value {value}}}\n",
            ["invoke", "ok"][i % 2]
        )
    };
    (0..count).map(event).collect()
}

fn operations(count: usize, value: &str) -> String {
    let op = |i: usize| {
        format!(
            "{{\"process\":{},\"f\":\"w\",\"input\":{value},\"call\":{},\"return\":{}}}\n",
            i % 9,
            9 * i,
            9 * i + 5
        )
    };
    (0..count).map(op).collect()
}

fn csv(count: usize, value: &str) -> String {
    let op = |i: usize| format!("{},w,{value},{},{}\n", i % 9, 9 * i, 9 * i + 5);
    "process,f,value,call,return\n".to_string() + &(0..count).map(op).collect::<String>()
}

/// Texts that become much more than they are, each in its own way.
fn texts() -> Vec<(Format, String)> {
    let list = |item: &str, close: &str| format!("[{}{close}]", item.repeat(80_000));
    let pairs = "[3,4]".to_string();
    vec![
        (Format::Jsonl, events(10_000, "[3,17]")),
        (
            Format::Jsonl,
            events(20_000, "[1,[2,3],\"a text that is not short\"]"),
        ),
        (Format::Jsonl, events(1, &list("1,", "1"))),
        (Format::Jsonl, events(1, &list("[],", "1"))),
        (
            Format::Jsonl,
            events(1, &list("[1.5],", "1")).replace("1.5", "{\"\\u00e9\":1}"),
        ),
        (
            Format::Jsonl,
            events(1, &list("\"\",", "1")).replace("\"\"", "\"\\u00e9\""),
        ),
        (Format::Log, "I - 1048575 :invoke :w 1\n".into()),
        (Format::Edn, edn(10_000, "[3 17]")),
        (Format::Edn, edn(1, &list("1 ", ""))),
        (Format::Edn, edn(1, &list("[] ", ""))),
        (Format::Edn, edn(1, &list("{1 2}", ""))),
        (Format::Edn, edn(1, &list("#_ [1] ", ""))),
        (
            Format::Edn,
            edn(1, &format!("\"{}\"", "text ".repeat(80_000))),
        ),
        (
            Format::Log,
            (0..20_000)
                .map(|i| format!("INFO x - {i} :invoke :w {i}\n"))
                .collect(),
        ),
        (
            Format::Log,
            format!("INFO x - 1 :invoke :w {}\n", list("1 ", "")),
        ),
        (Format::Operations, operations(5_000, &pairs)),
        (Format::Operations, operations(1, &list("1,", "1"))),
        (Format::Csv, csv(5_000, "17")),
        (Format::Csv, csv(1, &list("1 ", ""))),
        (
            Format::Csv,
            csv(1, &format!("\"{}\"", "text ".repeat(100_000))),
        ),
        (Format::Csv, csv(1, &",".repeat(400_000))),
    ]
}

/// One test, since all threads of the process share what is counted.
#[test]
fn readers_hold_no_more_than_their_budget() {
    const MIB: usize = 1 << 20;
    // Buffers of the readers, and what grows between two looks at the budget.
    let spare = MIB;
    let mut ended = 0;
    for (format, text) in texts() {
        let name = format!("{} {}", format.name(), &text[..text.len().min(120)]);
        for budget_mib in [2, 4, 8, 16, 32, 64, 256] {
            let budget = Budget {
                memory_bytes: (budget_mib * MIB) as u64,
                ..Budget::default()
            };
            let before = HELD.load(Ordering::Relaxed);
            MOST.store(before, Ordering::Relaxed);
            let found = read_within(format, text.as_bytes(), &budget.start());
            let most = MOST.load(Ordering::Relaxed) - before;
            let allowed = budget_mib * MIB + spare;
            assert!(most <= allowed, "{most} bytes in {budget_mib} MiB: {name}");
            match found {
                Err(ReadError::Exhausted { why, .. }) => {
                    assert_eq!(why, Exhausted::Memory, "{name}");
                    assert_ne!(budget_mib, 256, "{name}");
                    ended += 1;
                }
                // It is counted so that no honest history of this size is refused.
                Err(e) => assert!(text.contains(",,,"), "{e}: {name}"),
                Ok(_) => {}
            }
        }
    }
    assert!(
        ended > texts().len(),
        "the budgets were too large to end anything"
    );
}
