//! The key that a download's URL is sealed to.
//!
//! RFC 9180 HPKE in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, `ChaCha20Poly1305`; info
//! [`SealedUrl::INFO`], additional data the `ArtifactDownload`'s uid. The private key never leaves this
//! process, so that the URL in status is of no use to whoever else may read it.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hpke::{
    Deserializable as _, Kem as _, OpModeR, Serializable as _, aead::ChaCha20Poly1305, kdf::HkdfSha256,
};
use pitwall_crds::SealedUrl;

type Kem = hpke::kem::X25519HkdfSha256;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key pair for one download.
pub(super) struct DownloadKey {
    private: <Kem as hpke::Kem>::PrivateKey,
    public: <Kem as hpke::Kem>::PublicKey,
}

/// Why a sealed URL didn't open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    #[error("the sealed URL is no base64")]
    Base64,
    #[error("the sealed URL's encapsulated key is no X25519 key")]
    EncapsulatedKey,
    #[error("the sealed URL doesn't open: it was made for another key or another ArtifactDownload")]
    Sealed,
    #[error("the sealed URL is no text")]
    Text,
}

impl DownloadKey {
    pub(super) fn generate() -> Self {
        let (private, public) = Kem::gen_keypair();
        Self { private, public }
    }

    /// For `spec.publicKey`.
    pub(super) fn public_base64(&self) -> String {
        BASE64.encode(self.public.to_bytes())
    }

    /// Opens what was sealed for the `ArtifactDownload` of this uid.
    pub(super) fn open(&self, sealed: &SealedUrl, uid: &str) -> Result<String, OpenError> {
        let encapsulated = BASE64.decode(&sealed.encapsulated_key).map_err(|_| OpenError::Base64)?;
        let ciphertext = BASE64.decode(&sealed.ciphertext).map_err(|_| OpenError::Base64)?;
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(&encapsulated)
            .map_err(|_| OpenError::EncapsulatedKey)?;
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &self.private,
            &encapsulated,
            SealedUrl::INFO,
            &ciphertext,
            uid.as_bytes(),
        )
        .map_err(|_| OpenError::Sealed)?;
        String::from_utf8(opened).map_err(|_| OpenError::Text)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hpke::OpModeS;

    /// Seals as the operator does.
    pub(crate) fn seal(public_base64: &str, url: &str, uid: &str) -> SealedUrl {
        let public = BASE64.decode(public_base64).unwrap();
        let public = <Kem as hpke::Kem>::PublicKey::from_bytes(&public).unwrap();
        let (encapsulated, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeS::Base,
            &public,
            SealedUrl::INFO,
            url.as_bytes(),
            uid.as_bytes(),
        )
        .unwrap();
        SealedUrl {
            encapsulated_key: BASE64.encode(encapsulated.to_bytes()),
            ciphertext: BASE64.encode(ciphertext),
        }
    }

    #[test]
    fn only_the_right_key_and_uid_open_a_url() {
        let (key, other) = (DownloadKey::generate(), DownloadKey::generate());
        assert_eq!(key.public_base64().len(), 44);
        let url = "https://store/x?sig=1";
        let sealed = seal(&key.public_base64(), url, "uid-1");
        assert_eq!(key.open(&sealed, "uid-1").as_deref(), Ok(url));
        assert_eq!(key.open(&sealed, "uid-2"), Err(OpenError::Sealed));
        assert_eq!(other.open(&sealed, "uid-1"), Err(OpenError::Sealed));
        let with = |encapsulated: &str, ciphertext: &str| SealedUrl {
            encapsulated_key: encapsulated.to_owned(),
            ciphertext: ciphertext.to_owned(),
        };
        for (sealed, error) in [
            (with("%", &sealed.ciphertext), OpenError::Base64),
            (with(&sealed.encapsulated_key, "%"), OpenError::Base64),
            (with("AAAA", &sealed.ciphertext), OpenError::EncapsulatedKey),
            (with(&sealed.encapsulated_key, ""), OpenError::Sealed),
        ] {
            assert_eq!(key.open(&sealed, "uid-1"), Err(error));
        }
    }
}
