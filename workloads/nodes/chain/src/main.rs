//! `chain`: one node of a proof-of-work blockchain, and the catalogue of its planted bugs.

fn main() {}
