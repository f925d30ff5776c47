//! Real systems on loopback: their adapters, and whole runs with every workload.

mod contract;
mod loopback;
mod runs;
mod scenarios;
