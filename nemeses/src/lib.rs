//! Fault families and the schedules that are drawn from them.
