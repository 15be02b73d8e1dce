//! The operator's own certificates, and TLS listeners that take renewed ones while they run.
//!
//! [`authority`] decides, purely, what is kept, renewed or made; [`secrets`] stores it in the cluster;
//! [`serve`] is the listener that the channel, the webhook and the store share.

pub mod authority;
pub mod secrets;
pub mod serve;

pub use authority::{Authority, Leaf};
pub use secrets::Secrets;
pub use serve::{Incoming, ServingCertificate, listen, serve_router};
