//! Accepting sidecars: who they are, who is connected, and the sessions in flight.
//!
//! [`registry`] is a synchronous index that the accept loop feeds and the reconciler reads; [`identity`]
//! proves a token offline; [`accept`] is the only IO.

pub mod accept;
pub mod identity;
pub mod pods;
pub mod registry;

pub use accept::{Acceptor, run};
pub use registry::{PodUid, Registry, SessionKey};
