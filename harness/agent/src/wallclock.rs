//! The machine's own clock: jumps, strobes and drifts that every process sees, as when an
//! administrator, a time server or a worn-out battery sets it.
//!
//! It is the whole machine's, so it is touched only where [`may_set`] says that the machine is the
//! node's alone, and only when the controller asks for it (`--machine-clock`). Everywhere else
//! clock faults go through [`crate::vdso`], process by process.
//!
//! ```text
//!   truth   what the wall clock would show, kept by CLOCK_MONOTONIC_RAW from just before the fault
//!   turn    offset and rate that a fault adds to it
//!   wanted  truth + the sum of all turns: set with clock_settime, bent with adjtimex
//! ```
//!
//! Read next: [`wall`] (the arithmetic, tested against a clock that is not real), [`kernel`] (the
//! system calls), [`sync`] (those who would set it right meanwhile).

pub mod kernel;
pub mod sync;
pub mod wall;

use std::fs;
use std::path::Path;

/// What decides whether this machine's clock may be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// This start of this kernel.
    pub boot: String,
    /// Namespaces of this process whose numbers differ from those that a machine starts with.
    pub inside: Vec<&'static str>,
    /// Whether it has the capability CAP_SYS_TIME.
    pub capable: bool,
}

/// Numbers of the namespaces that a kernel starts with (`include/uapi/linux/nsfs.h`).
const INITIAL: [(&str, u64); 4] = [
    ("user", 0xEFFF_FFFD),
    ("pid", 0xEFFF_FFFC),
    ("time", 0xEFFF_FFFA),
    ("ipc", 0xEFFF_FFFF),
];
const CAP_SYS_TIME: u32 = 25;

impl Standing {
    pub fn here() -> Result<Standing, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        let boot = read("/proc/sys/kernel/random/boot_id")?.trim().to_string();
        let mut inside = Vec::new();
        for (name, initial) in INITIAL {
            let path = format!("/proc/self/ns/{name}");
            // A kernel without time namespaces has no such file.
            if name == "time" && !Path::new(&path).exists() {
                continue;
            }
            let link = fs::read_link(&path).map_err(|e| format!("{path}: {e}"))?;
            if link.to_string_lossy() != format!("{name}:[{initial}]") {
                inside.push(name);
            }
        }
        let status = read("/proc/self/status")?;
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        Ok(Standing {
            boot,
            inside,
            capable: effective.is_some_and(|mask| mask & (1 << CAP_SYS_TIME) != 0),
        })
    }

    /// Whether the machine is one of its own, and not a part of the controller's or of another.
    pub fn judge(&self, controller_boot: &str) -> Result<(), String> {
        if controller_boot.is_empty() || self.boot.is_empty() {
            return Err("which kernel the controller runs on is not known".into());
        }
        if self.boot == controller_boot {
            return Err("it runs on the controller's kernel, whose clock is this machine's".into());
        }
        if !self.inside.is_empty() {
            return Err(format!(
                "it is a container ({} namespace of its own): its clock is the host's",
                self.inside.join(", ")
            ));
        }
        match self.capable {
            true => Ok(()),
            false => Err("the kernel does not let it (CAP_SYS_TIME is missing)".into()),
        }
    }
}

/// Whether this machine's clock may be set, by all that can be known: it is not the kernel that the
/// controller runs on, it is no container, and the kernel allows it.
pub fn may_set(controller_boot: &str) -> Result<(), String> {
    Standing::here()?.judge(controller_boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_machine_of_its_own_may_be_set() {
        let machine = Standing {
            boot: "node".into(),
            inside: vec![],
            capable: true,
        };
        assert_eq!(machine.judge("controller"), Ok(()));
        let refused = |standing: &Standing, controller: &str| {
            standing.judge(controller).expect_err("must not be set")
        };
        assert!(refused(&machine, "node").contains("controller's kernel"));
        assert!(refused(&machine, "").contains("not known"));
        let container = Standing {
            inside: vec!["pid"],
            ..machine.clone()
        };
        assert!(refused(&container, "controller").contains("container"));
        let weak = Standing {
            capable: false,
            ..machine
        };
        assert!(refused(&weak, "controller").contains("CAP_SYS_TIME"));
    }

    #[test]
    fn this_very_kernel_is_never_set() {
        // The controller's boot id is this machine's own, as it is for every node on it.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("is there");
        assert!(may_set(boot.trim()).is_err());
    }
}
