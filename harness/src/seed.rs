//! Randomness: one seed a run, one named stream for each consumer.
//!
//! ChaCha8 gives the same numbers in every version and on every machine; a stream by name keeps a
//! consumer's numbers the same when another consumer is added.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The seed of a run. Everything random that a run decides follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream of one consumer, such as `schedule` or `operations`.
    pub fn stream(self, name: &str) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.0.to_le_bytes());
        // FNV-1a (Fowler, Noll, Vo): it only has to keep a handful of names apart.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        key[8..16].copy_from_slice(&hash.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn streams_differ_by_name_and_by_seed_and_repeat() {
        let first = |seed, name| Seed(seed).stream(name).next_u64();
        assert_eq!(first(1, "schedule"), first(1, "schedule"));
        assert_ne!(first(1, "schedule"), first(1, "operations"));
        assert_ne!(first(1, "schedule"), first(2, "schedule"));
    }
}
