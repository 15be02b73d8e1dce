//! The store that comes with Pitwall: one small process with a volume, behind signed URLs.
//!
//! [`sign`] is pure; [`client`] is the operator's side; [`serve`] is the role of the binary; [`disk`] is what lies
//! on the volume. Every call is authorised by a signature over method, path and query: path and query alone, so
//! that a URL works through the API server's service proxy as well.

pub mod client;
mod disk;
mod serve;
mod sign;

pub use serve::{ServeSettings, run};
