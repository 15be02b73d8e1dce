//! Opening a process's inspector after proofs, proving whose it is, and closing it again.

pub mod assume;
pub mod close;
pub mod eyes;
pub mod ladder;
pub mod link;
pub mod open;
pub mod sight;
pub mod signal;
pub mod trace;
