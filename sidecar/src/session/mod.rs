//! What the sidecar does for one process: attach, record, collect, publish, detach.
//!
//! [`Session`] decides and touches nothing: [`Session::handle`] takes what happened and the time, and returns
//! what is to be done. [`driver`] does it, and brings back what came of it. So every race is a table test.
//!
//! A session has two lanes that run side by side once the profile is collected: the inspector's (from the
//! proofs to the closed port) and the artifact's (from the spool to the store). Each has at most one thing
//! going on; starting the next one on a lane ends the former. The end is reported when the artifact's lane is
//! done and the inspector is closed or given up.

mod begin;
pub mod beside;
pub mod budget;
pub mod driver;
mod effect;
pub mod guard;
mod machine;
pub mod preflight;
pub mod recorder;
mod report;
#[cfg(test)]
mod tests;
pub mod workers;

pub use begin::Begun;
pub use effect::{BeginError, Effect, Event};
pub(crate) use machine::micros;
pub use machine::{
    ATTACH_PATIENCE, LATE_WATCH, Session, TRACE_MARGIN, needs_preflight, switch_margin, unsupported,
};
