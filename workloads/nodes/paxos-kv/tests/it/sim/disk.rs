//! The disks of the simulated world: writes take their time, and a crash loses what was not synced.

use std::sync::Arc;

use paxos_kv::core::message::{Record, Slot};
use rand::RngExt;

use super::{Happening, MS, Sim};

#[derive(Default)]
pub(super) struct Disk {
    pub(super) records: Vec<Record>,
    pub(super) snapshot: Option<Arc<Vec<u8>>>,
    pub(super) incarnation: u64,
    /// When the last write in the queue is done.
    pub(super) busy_until: u64,
    /// Writes that are not done, for a crash to do or to lose.
    pub(super) queued: Vec<(u64, Vec<Record>)>,
    /// Whether a snapshot is being saved, and the one that comes after it.
    pub(super) saving: bool,
    pub(super) next_save: Option<(Slot, Arc<Vec<u8>>, bool)>,
}

impl Sim {
    /// One save at a time; of those that come meanwhile the last is what counts.
    pub(super) fn save_snapshot(
        &mut self,
        node: usize,
        slot: Slot,
        bytes: Arc<Vec<u8>>,
        installed: bool,
    ) {
        let disk = &mut self.nodes[node].disk;
        if disk.saving {
            disk.next_save = Some((slot, bytes, installed));
            return;
        }
        disk.saving = true;
        let life = self.nodes[node].life;
        let most = self.plan.rough.save_ms * MS;
        self.after(
            MS,
            most,
            Happening::SnapshotDone {
                node,
                life,
                slot,
                bytes,
                installed,
            },
        );
    }

    pub(super) fn persist(
        &mut self,
        node: usize,
        records: Vec<Record>,
        durability: Result<u64, u64>,
    ) {
        let life = self.nodes[node].life;
        match durability {
            Ok(number) => {
                // Writes are done one after the other.
                let wait = self.nodes[node]
                    .disk
                    .busy_until
                    .saturating_sub(self.agenda.now());
                let time = wait
                    + self
                        .rng
                        .random_range(MS / 10..=self.plan.rough.sync_ms * MS);
                self.nodes[node].disk.busy_until = self.agenda.now() + time;
                self.nodes[node].disk.queued.push((number, records.clone()));
                self.after(
                    time,
                    time,
                    Happening::DiskDone {
                        node,
                        life,
                        records,
                        number: Some(number),
                    },
                );
            }
            Err(delay) => self.after(
                delay,
                delay,
                Happening::DiskDone {
                    node,
                    life,
                    records,
                    number: None,
                },
            ),
        }
    }
}
