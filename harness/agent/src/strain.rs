//! How hard it is for a daemon to get a processor, by the kernel's own accounts: how long its
//! threads ran, how long they waited for their turn, and how much all processors did.

use std::fs;
use std::io;

use crate::protocol::Strain;
use crate::tree::Ident;

/// The kernel counts a processor's time for people in these, whatever its own clock is.
const TICK_NS: u64 = 10_000_000;

/// Sums since the machine, and each living thread, began.
pub(crate) fn look(members: &[Ident]) -> io::Result<Strain> {
    let (busy_ns, processors) = busy(&fs::read_to_string("/proc/stat")?);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let mut strain = Strain {
        boot: boot.trim().into(),
        processors,
        busy_ns,
        ran_ns: 0,
        waited_ns: 0,
    };
    for ident in members {
        // One that has ended meanwhile has nothing more to say.
        let threads = fs::read_dir(format!("/proc/{}/task", ident.pid));
        for thread in threads.into_iter().flatten().flatten() {
            let account = fs::read_to_string(thread.path().join("schedstat"));
            let (ran, waited) = account.map(|text| of_thread(&text)).unwrap_or_default();
            strain.ran_ns += ran;
            strain.waited_ns += waited;
        }
    }
    Ok(strain)
}

/// Of `/proc/stat`: how long all processors were busy together, and how many there are. What a
/// hypervisor gave to others counts as busy.
fn busy(text: &str) -> (u64, u32) {
    let mut ticks = 0;
    let mut processors = 0;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("cpu") => {
                // user, nice, system, idle, iowait, irq, softirq, steal
                let counts: Vec<u64> = words.map(|word| word.parse().unwrap_or_default()).collect();
                let busy = counts.iter().take(8).enumerate();
                let busy = busy.filter(|(at, _)| ![3, 4].contains(at));
                ticks = busy.map(|(_, count)| count).sum();
            }
            Some(word) if word.starts_with("cpu") => processors += 1,
            _ => {}
        }
    }
    (ticks * TICK_NS, processors)
}

/// Of a thread's `schedstat`: how long it ran, and how long it waited to.
fn of_thread(text: &str) -> (u64, u64) {
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next()?.parse().ok();
    (next().unwrap_or_default(), next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_accounts_are_read() {
        let stat = "cpu  10 1 20 4000 500 3 4 2 9 9\ncpu0 5 0 10 2000 250 1 2 1 0 0\n\
                    cpu1 5 1 10 2000 250 2 2 1 0 0\nintr 7 8\nctxt 99\n";
        assert_eq!(busy(stat), (40 * TICK_NS, 2));
        assert_eq!(of_thread("7000 300 12\n"), (7000, 300));
        assert_eq!(of_thread(""), (0, 0));
    }

    #[test]
    fn who_works_is_seen_to_run() {
        let own = crate::tree::read(std::process::id())
            .expect("we live")
            .ident;
        let before = look(&[own]).expect("there is a /proc");
        let began = std::time::Instant::now();
        let mut sum = 0_u64;
        while began.elapsed().as_millis() < 200 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        let after = look(&[own]).expect("there is a /proc");
        assert!(after.ran_ns > before.ran_ns && after.processors > 0);
        assert!(after.ran_ns - before.ran_ns <= 8 * 200_000_000, "{after:?}");
        assert!(after.busy_ns >= before.busy_ns && !after.boot.is_empty());
    }
}
