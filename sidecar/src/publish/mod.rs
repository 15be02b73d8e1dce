//! From the recording's bytes to parts at the store: compress, spool, cut, upload.

pub mod chunks;
pub mod collect;
pub mod put;
pub mod spill;
pub mod spool;
pub mod upload;
