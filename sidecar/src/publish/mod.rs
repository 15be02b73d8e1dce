//! From the recording's bytes to parts at the store: compress, spool, cut, upload.

pub mod collect;
pub mod cpu_chunks;
pub mod heap_chunks;
mod joining;
pub mod put;
pub mod spill;
pub mod spool;
pub mod upload;
