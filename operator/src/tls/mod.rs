//! The operator's own certificates, and TLS listeners that take new ones while running.
//!
//! - [`authority`] decides when a certificate is made anew, and makes it. Pure but for the keys' randomness.
//! - [`secrets`] keeps CA, certificates and the store's signing key in Secrets, safely with several replicas.
//! - [`serve`] accepts TLS connections for the webhook, the channel and the built-in store alike.
//

pub mod authority;
#[cfg(test)]
#[path = "../../tests/https/mod.rs"]
pub(crate) mod https;
pub mod secrets;
pub mod serve;

pub use secrets::{OperatorSecrets, Secrets, SecretsError, StoreSecrets};
pub use serve::{Incoming, ServingCertificate, listen, serve_router};

/// A certificate chain and its private key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct PemPair {
    /// The certificate, then any intermediate ones.
    pub chain: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for PemPair {
    /// Private keys stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PemPair")
    }
}

/// A certificate or key that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM, or not what is due in it.
    #[error("{what} isn't valid PEM: {source}")]
    Pem {
        /// What was read.
        what: &'static str,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate that can't be read.
    #[error("a certificate can't be read: {0}")]
    Unreadable(String),
    /// Key and certificate don't fit, or rustls doesn't take them.
    #[error("the certificate can't be served: {0}")]
    Rustls(#[from] rustls::Error),
    /// A certificate that can't be made.
    #[error("a certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
}
