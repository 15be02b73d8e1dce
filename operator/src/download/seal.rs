//! Sealing a URL to a public key: RFC 9180, as `pitwall_crds::SealedUrl` says.

use base64::{Engine, engine::general_purpose::STANDARD};
use hpke::{
    Deserializable, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::X25519HkdfSha256,
    single_shot_seal,
};
use pitwall_crds::SealedUrl;

/// A key that nothing can be sealed to.
#[derive(Debug, thiserror::Error)]
#[error("spec.publicKey is no X25519 public key: {0}")]
pub(super) struct SealError(String);

/// Seals `url` so that only the holder of the key's private half reads it.
pub(super) fn seal(public_key: &str, uid: &str, url: &str) -> Result<SealedUrl, SealError> {
    let wrong = |error: &dyn std::fmt::Display| SealError(error.to_string());
    let bytes = STANDARD.decode(public_key).map_err(|error| wrong(&error))?;
    let key =
        <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(&bytes).map_err(|error| wrong(&error))?;
    let (encapsulated, ciphertext) = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &key,
        SealedUrl::INFO,
        url.as_bytes(),
        uid.as_bytes(),
    )
    .map_err(|error| wrong(&error))?;
    Ok(SealedUrl {
        encapsulated_key: STANDARD.encode(encapsulated.to_bytes()),
        ciphertext: STANDARD.encode(ciphertext),
    })
}
