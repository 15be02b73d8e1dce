//! A certificate authority of ten years and leaves of ninety days. Pure: `now` is an argument, and what is
//! stored comes in and goes out as PEM.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use std::net::IpAddr;
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

/// How long the authority is good for.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);
/// How long a leaf is good for.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(24 * 90);
/// Clocks differ: certificates begin a little before they are made.
const BACKDATE: SignedDuration = SignedDuration::from_hours(1);

/// A certificate that can't be made or read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// rcgen refused.
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What is stored is no certificate.
    #[error("reading a stored certificate: {0}")]
    Read(String),
}

/// The authority: a self-signed certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// A serving certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// What to do with a stored leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It is good for a while yet.
    Keep,
    /// It is missing, old, of other names, or of another authority.
    Renew,
}

impl Authority {
    /// A new authority.
    pub fn make(now: Timestamp) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "pitwall");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = validity(now, AUTHORITY_LIFE)?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key: key.serialize_pem() })
    }

    /// A leaf for these DNS names or addresses.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<Leaf, AuthorityError> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("pitwall", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(now, LEAF_LIFE)?;
        Ok(Leaf { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
    }

    /// Whether the leaf is still the one to serve: of this authority, for these names, and within the first two
    /// thirds of its life.
    pub fn judge(&self, leaf: Option<&Leaf>, names: &[String], now: Timestamp) -> Renewal {
        let judged = leaf.is_some_and(|leaf| self.is_good(leaf, names, now).unwrap_or(false));
        if judged { Renewal::Keep } else { Renewal::Renew }
    }

    fn is_good(&self, leaf: &Leaf, names: &[String], now: Timestamp) -> Result<bool, AuthorityError> {
        let read = |error: &dyn std::fmt::Display| AuthorityError::Read(error.to_string());
        let (_, leaf_pem) = parse_x509_pem(leaf.certificate.as_bytes()).map_err(|error| read(&error))?;
        let (_, ca_pem) = parse_x509_pem(self.certificate.as_bytes()).map_err(|error| read(&error))?;
        let leaf = leaf_pem.parse_x509().map_err(|error| read(&error))?;
        let authority = ca_pem.parse_x509().map_err(|error| read(&error))?;
        let signed = leaf.verify_signature(Some(authority.public_key())).is_ok();
        let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        let renew_at = from + (to - from) * 2 / 3;
        let fits = leaf.subject_alternative_name().ok().flatten().is_some_and(|extension| {
            names.iter().all(|name| {
                extension.value.general_names.iter().any(|general| match general {
                    GeneralName::DNSName(dns) => dns == name,
                    GeneralName::IPAddress(octets) => name.parse().is_ok_and(|address| match address {
                        IpAddr::V4(v4) => v4.octets() == **octets,
                        IpAddr::V6(v6) => v6.octets() == **octets,
                    }),
                    _ => false,
                })
            })
        });
        Ok(signed && fits && (from..renew_at).contains(&now.as_second()))
    }

    /// Whether the authority can be used at `now`: it parses, and its last tenth has not begun.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        let Ok((_, pem)) = parse_x509_pem(self.certificate.as_bytes()) else { return false };
        let Ok(certificate) = pem.parse_x509() else { return false };
        let (from, to) =
            (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
        KeyPair::from_pem(&self.key).is_ok() && (from..from + (to - from) * 9 / 10).contains(&now.as_second())
    }
}

fn validity(
    now: Timestamp,
    life: SignedDuration,
) -> Result<(time::OffsetDateTime, time::OffsetDateTime), AuthorityError> {
    let at = |time: Timestamp| {
        time::OffsetDateTime::from_unix_timestamp(time.as_second())
            .map_err(|error| AuthorityError::Read(error.to_string()))
    };
    Ok((at(now - BACKDATE)?, at(now + life)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["pitwall-channel.pitwall-system.svc".into(), "127.0.0.1".into()]
    }

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
    }

    #[test]
    fn a_leaf_is_kept_for_two_thirds_of_its_life() {
        let authority = Authority::make(day(0)).unwrap();
        let leaf = authority.issue(&names(), day(0)).unwrap();
        for (now, wanted) in
            [(0, Renewal::Keep), (59, Renewal::Keep), (61, Renewal::Renew), (-2, Renewal::Renew)]
        {
            assert_eq!(authority.judge(Some(&leaf), &names(), day(now)), wanted, "day {now}");
        }
    }

    #[test]
    fn what_is_not_ours_is_made_anew() {
        let authority = Authority::make(day(0)).unwrap();
        let leaf = authority.issue(&names(), day(0)).unwrap();
        let other = Authority::make(day(0)).unwrap();
        let more = vec!["other.svc".to_owned()];
        let garbage = Leaf { certificate: "x".into(), key: "y".into() };
        assert_eq!(authority.judge(None, &names(), day(1)), Renewal::Renew);
        assert_eq!(authority.judge(Some(&leaf), &more, day(1)), Renewal::Renew);
        assert_eq!(other.judge(Some(&leaf), &names(), day(1)), Renewal::Renew);
        assert_eq!(authority.judge(Some(&garbage), &names(), day(1)), Renewal::Renew);
    }

    #[test]
    fn an_authority_is_used_for_nine_tenths_of_its_life() {
        let authority = Authority::make(day(0)).unwrap();
        assert!(authority.is_usable(day(3000)));
        assert!(!authority.is_usable(day(3300)));
    }
}
