//! Reads V8's profiles and says what was found.
//!
//! Profiles come from apps that may be hostile: whatever the bytes, reading ends in a profile or in a
//! [`ReadError`], within [`Limits`](cpu::Limits), and never in a panic. [`analyse_artifact`] does it all, from the bytes
//! of an artifact to a [`Report`] of less than [`LARGEST_REPORT`] bytes.
//!
//! - [`cpu`]: reading a `.cpuprofile` and what its samples say.
//! - [`heap_sampling`]: joining the parts of a `.heapprofile`.
//! - [`optimizations`]: reading V8's trace of what it optimized and deoptimized.
//! - [`export`]: CPU profiles in the formats of other tools.
//! - [`finding`]: the sentences, each with its evidence.
//! - [`report`]: what the operator keeps of an analysis.

pub mod cpu;
mod error;
pub mod export;
pub mod finding;
pub mod heap_sampling;
mod input;
mod json;
pub mod optimizations;
mod place;
pub mod report;
mod text;
mod tree;

pub use error::ReadError;
pub use finding::{Finding, FindingKind};
pub use report::{LARGEST_REPORT, Report, Summary, analyse_artifact};
