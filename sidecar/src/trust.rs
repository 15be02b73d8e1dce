//! Which certificates are believed: the operator's CA on the channel; the public roots and the store's private
//! CA on uploads.

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::{Arc, Mutex, PoisonError};

/// Adds every certificate of a PEM text; says how many there were.
fn add_pem(roots: &mut RootCertStore, pem: &str) -> usize {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .filter(|certificate| match certificate {
            Ok(certificate) => match roots.add(certificate.clone()) {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%error, "a certificate of the CA bundle is left out");
                    false
                }
            },
            Err(error) => {
                tracing::warn!(%error, "a part of the CA bundle can't be read");
                false
            }
        })
        .count()
}

fn client(roots: RootCertStore) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // One connection at a time: a ticket cache is memory for nothing.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// A TLS client that believes the CAs in these PEM texts and nobody else.
pub fn private(pems: &[&str]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let found: usize = pems.iter().map(|pem| add_pem(&mut roots, pem)).sum();
    if found == 0 {
        return Err("the CA bundle (PITWALL_CA) holds no certificate".to_owned());
    }
    Ok(client(roots))
}

/// What the store's certificate must descend from: the public roots, or a private CA that the operator names.
#[derive(Debug, Default)]
pub struct StoreTrust {
    private_ca: Mutex<Option<String>>,
}

impl StoreTrust {
    /// Takes in what the operator said.
    pub fn set_private_ca(&self, pem: Option<String>) {
        *self.private_ca.lock().unwrap_or_else(PoisonError::into_inner) = pem;
    }

    /// A TLS client for one upload. Made anew each time: the roots take memory that an idle sidecar shouldn't
    /// hold.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = self.private_ca.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            add_pem(&mut roots, pem);
        }
        client(roots)
    }
}
