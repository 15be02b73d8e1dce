//! The operator's own CA and the certificates that it signs: when each is due, and making it. Time is an argument.
//!
//! | | lives | is made anew |
//! | --- | --- | --- |
//! | leaf | 90 days | at two thirds of its life, when its names change, when another CA signs |
//! | CA | 10 years | a year before its end, in two phases |
//!
//! Rotating the CA: first the next one is *announced*, that is, it joins the bundle that sidecars and the API server
//! are given; [`ANNOUNCED`] later it is *promoted*: it signs, and the former one stays in the bundle until it ends.
//! So a sidecar that was connected once in that time is never cut off.

use super::{CertificateError, PemPair};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How long a CA lives.
pub const CA_LIFE: Duration = Duration::from_hours(24 * 3650);
/// How long a leaf lives.
pub const LEAF_LIFE: Duration = Duration::from_hours(24 * 90);
/// How long before its end a CA's successor is announced.
pub const CA_RESERVE: Duration = Duration::from_hours(24 * 365);
/// How long a new CA is in the bundle before it signs.
pub const ANNOUNCED: Duration = Duration::from_hours(24 * 30);
/// Certificates begin this much before now, for clocks that are behind.
const SKEW: Duration = Duration::from_hours(1);

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its first moment.
    pub begin: Timestamp,
    /// Its last.
    pub end: Timestamp,
}

impl Life {
    /// The life of the first certificate in a PEM text.
    pub fn of(pem: &str) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|source| CertificateError::Pem { what: "a certificate", source })?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        let validity = certificate.validity();
        let moment = |second| {
            Timestamp::from_second(second).map_err(|error| CertificateError::Unreadable(error.to_string()))
        };
        Ok(Self {
            begin: moment(validity.not_before.timestamp())?,
            end: moment(validity.not_after.timestamp())?,
        })
    }

    /// When two thirds of it are over.
    fn aging(&self) -> Timestamp {
        let seconds = (self.end.as_second() - self.begin.as_second()).max(0);
        let third = Duration::from_secs(seconds.unsigned_abs() / 3);
        self.end.checked_sub(third).unwrap_or(self.end)
    }
}

/// A CA with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// Certificate and key.
    pub pem: PemPair,
    /// When it is valid.
    pub life: Life,
}

impl Ca {
    /// Reads a CA; fails also when the key isn't its certificate's.
    pub fn read(pem: PemPair) -> Result<Self, CertificateError> {
        certified(&pem)?;
        Ok(Self { life: Life::of(&pem.chain)?, pem })
    }

    fn create(now: Timestamp) -> Result<Self, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        // A name of its own tells clients which of two CAs in a bundle signed.
        let id: String =
            params.key_identifier(&key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        name.push(DnType::CommonName, format!("Pitwall CA {id}"));
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = SystemTime::from(now - SKEW).into();
        params.not_after = SystemTime::from(now + CA_LIFE).into();
        let chain = params.self_signed(&key)?.pem();
        Self::read(PemPair { chain, key: key.serialize_pem() })
    }

    /// A leaf for these DNS names or IP addresses.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<PemPair, CertificateError> {
        let issuer = Issuer::from_ca_cert_pem(&self.pem.chain, KeyPair::from_pem(&self.pem.key)?)?;
        let mut params = CertificateParams::new(names)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "pitwall");
        params.distinguished_name = name;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = SystemTime::from((now - SKEW).max(self.life.begin)).into();
        params.not_after = SystemTime::from((now + LEAF_LIFE).min(self.life.end)).into();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(PemPair { chain: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
    }

    /// Whether a client that trusts this CA takes the certificate for each of the names now.
    fn vouches_for(
        &self,
        leaf: &CertificateDer<'_>,
        names: &[String],
        now: Timestamp,
    ) -> Result<(), rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.pem.chain.as_bytes())
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        roots.add(root)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().max(0).unsigned_abs()));
        for name in names {
            let name = ServerName::try_from(name.as_str())
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            verifier.verify_server_cert(leaf, &[], &name, &[], now)?;
        }
        Ok(())
    }
}

/// The CA that signs, the one that will, and all that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The one that signs.
    pub current: Ca,
    /// The one that is announced.
    pub next: Option<Ca>,
    /// Former ones (PEM, each one certificate) that may still have valid leaves.
    pub former: Vec<String>,
}

/// What is due for the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaStep {
    /// Nothing.
    Keep,
    /// There is none, or none that can be read: make one, and use it at once.
    Create,
    /// Make the next one and let everybody know it.
    Announce,
    /// Use the next one.
    Promote,
}

/// What is due for the CA now.
pub fn plan_ca(now: Timestamp, authority: Option<&Authority>) -> CaStep {
    let Some(authority) = authority else { return CaStep::Create };
    let ended = now >= authority.current.life.end;
    match &authority.next {
        Some(next) if ended || now >= next.life.begin + SKEW + ANNOUNCED => CaStep::Promote,
        None if ended => CaStep::Create,
        None if now >= authority.current.life.end - CA_RESERVE => CaStep::Announce,
        Some(_) | None => CaStep::Keep,
    }
}

impl Authority {
    /// Takes the step. `None` stays when there is nothing to do.
    pub fn step(
        before: Option<Self>,
        step: CaStep,
        now: Timestamp,
    ) -> Result<Option<Self>, CertificateError> {
        let mut after = match (step, before) {
            (CaStep::Keep, before) | (CaStep::Promote, before @ Some(Self { next: None, .. })) => {
                return Ok(before);
            }
            (CaStep::Create, _) | (_, None) => {
                Self { current: Ca::create(now)?, next: None, former: Vec::new() }
            }
            (CaStep::Announce, Some(before)) => Self { next: Some(Ca::create(now)?), ..before },
            (CaStep::Promote, Some(Self { current, next: Some(next), mut former })) => {
                former.push(current.pem.chain);
                Self { current: next, next: None, former }
            }
        };
        after.former.retain(|pem| Life::of(pem).is_ok_and(|life| now < life.end));
        Ok(Some(after))
    }

    /// Every certificate to trust, PEM, the current one first.
    pub fn bundle(&self) -> String {
        let next = self.next.iter().map(|next| next.pem.chain.as_str());
        let all = std::iter::once(self.current.pem.chain.as_str()).chain(next);
        all.chain(self.former.iter().map(String::as_str)).collect()
    }
}

/// What is due for a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafStep {
    /// Nothing.
    Keep,
    /// A new one, because of this.
    Issue(Due),
}

/// Why a leaf is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// There is none.
    Missing,
    /// It can't be read or served.
    Unreadable,
    /// Two thirds of its life are over.
    Aging,
    /// A client wouldn't take it: another name, another CA, not valid yet.
    Refused(String),
}

/// What is due for the leaf that serves `names`.
pub fn plan_leaf(now: Timestamp, ca: &Ca, leaf: Option<&PemPair>, names: &[String]) -> LeafStep {
    let Some(leaf) = leaf else { return LeafStep::Issue(Due::Missing) };
    let (Ok(certified), Ok(life)) = (certified(leaf), Life::of(&leaf.chain)) else {
        return LeafStep::Issue(Due::Unreadable);
    };
    // A leaf that was cut to its CA's end can't be renewed to live longer.
    if now >= life.aging() && life.end < ca.life.end {
        return LeafStep::Issue(Due::Aging);
    }
    match certified.cert.first().map(|leaf| ca.vouches_for(leaf, names, now)) {
        Some(Ok(())) => LeafStep::Keep,
        Some(Err(error)) => LeafStep::Issue(Due::Refused(error.to_string())),
        None => LeafStep::Issue(Due::Unreadable),
    }
}

/// The pair in the form that rustls serves; fails when key and certificate don't belong together.
pub(super) fn certified(pem: &PemPair) -> Result<rustls::sign::CertifiedKey, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(pem.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| CertificateError::Pem { what: "a certificate chain", source })?;
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes())
        .map_err(|source| CertificateError::Pem { what: "a private key", source })?;
    Ok(rustls::sign::CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn days(days: u32) -> Duration {
        Duration::from_hours(24) * days
    }

    fn authority() -> Authority {
        Authority::step(None, CaStep::Create, start()).unwrap().unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_ca_is_announced_a_year_before_its_end_and_promoted_a_month_later() {
        let young = authority();
        let announced_at = start() + days(3650 - 365);
        let announced =
            Authority::step(Some(young.clone()), CaStep::Announce, announced_at).unwrap().unwrap();
        for (what, after, authority, step) in [
            ("none", 0, None, CaStep::Create),
            ("new", 0, Some(&young), CaStep::Keep),
            ("nine years old less a day", 3650 - 366, Some(&young), CaStep::Keep),
            ("nine years old", 3650 - 365, Some(&young), CaStep::Announce),
            ("ended unseen", 3651, Some(&young), CaStep::Create),
            ("just announced", 3650 - 365, Some(&announced), CaStep::Keep),
            ("announced for a month less a day", 3650 - 365 + 29, Some(&announced), CaStep::Keep),
            ("announced for a month", 3650 - 365 + 30, Some(&announced), CaStep::Promote),
            ("ended meanwhile", 3650, Some(&announced), CaStep::Promote),
        ] {
            assert_eq!(plan_ca(start() + days(after), authority), step, "{what}");
        }
    }

    #[test]
    fn whoever_knows_the_bundle_is_never_cut_off_by_a_rotation() {
        let mut authority = authority();
        let served = names(&["pitwall.pitwall.svc"]);
        let mut leaf = authority.current.issue(&served, start()).unwrap();
        // What a sidecar knows that dials once in ANNOUNCED.
        let mut known = authority.bundle();
        for day in 0..8000 {
            let now = start() + days(day);
            if day % 29 == 0 {
                known = authority.bundle();
            }
            authority = Authority::step(Some(authority.clone()), plan_ca(now, Some(&authority)), now)
                .unwrap()
                .unwrap();
            if plan_leaf(now, &authority.current, Some(&leaf), &served) != LeafStep::Keep {
                leaf = authority.current.issue(&served, now).unwrap();
            }
            // Verifying every day of 22 years takes long in a debug build.
            if day % 10 == 0 || (3280..3320).contains(&day) {
                let der = CertificateDer::from_pem_slice(leaf.chain.as_bytes()).unwrap();
                let trusted = CertificateDer::pem_slice_iter(known.as_bytes()).map(Result::unwrap);
                let vouched = trusted.into_iter().any(|root| {
                    let pem = PemPair { chain: pem_of(&root), key: String::new() };
                    let ca = Ca { life: Life::of(&pem.chain).unwrap(), pem };
                    ca.vouches_for(&der, &served, now).is_ok()
                });
                assert!(vouched, "day {day}");
            }
        }
    }

    fn pem_of(der: &CertificateDer<'_>) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn former_cas_leave_the_bundle_when_they_end() {
        let first = authority();
        let announced = Authority::step(Some(first.clone()), CaStep::Announce, start() + days(3300)).unwrap();
        let promoted = Authority::step(announced, CaStep::Promote, start() + days(3330)).unwrap().unwrap();
        assert_eq!(promoted.former, [first.current.pem.chain]);
        let later = Authority::step(Some(promoted), CaStep::Announce, start() + days(6900)).unwrap().unwrap();
        assert_eq!(later.former, Vec::<String>::new());
        assert_eq!(later.bundle().matches("BEGIN").count(), 2);
    }

    #[test]
    fn a_leaf_is_renewed_in_time_and_whenever_a_client_would_refuse_it() {
        let ca = authority().current;
        let other = authority().current;
        let served = names(&["pitwall.pitwall.svc", "pitwall-webhook.pitwall.svc"]);
        let leaf = ca.issue(&served, start()).unwrap();
        let foreign = other.issue(&served, start()).unwrap();
        let mixed = PemPair { chain: leaf.chain.clone(), key: foreign.key.clone() };
        let garbage = PemPair { chain: "x".to_owned(), key: leaf.key.clone() };
        let more = names(&["pitwall.pitwall.svc", "other.pitwall.svc"]);
        for (what, after, leaf, names, expected) in [
            ("none", 0, None, &served[..], "Missing"),
            ("new", 0, Some(&leaf), &served, "Keep"),
            ("fewer names wanted", 0, Some(&leaf), &served[..1], "Keep"),
            ("before two thirds", 59, Some(&leaf), &served, "Keep"),
            ("after two thirds", 60, Some(&leaf), &served, "Aging"),
            ("another name wanted", 0, Some(&leaf), &more, "Refused"),
            ("another CA's", 0, Some(&foreign), &served, "Refused"),
            ("another's key", 0, Some(&mixed), &served, "Unreadable"),
            ("no PEM", 0, Some(&garbage), &served, "Unreadable"),
        ] {
            let step = plan_leaf(start() + days(after), &ca, leaf, names);
            let seen = match &step {
                LeafStep::Keep => "Keep",
                LeafStep::Issue(Due::Missing) => "Missing",
                LeafStep::Issue(Due::Unreadable) => "Unreadable",
                LeafStep::Issue(Due::Aging) => "Aging",
                LeafStep::Issue(Due::Refused(_)) => "Refused",
            };
            assert_eq!(seen, expected, "{what}: {step:?}");
        }
    }

    #[test]
    fn a_leaf_never_outlives_its_ca() {
        let ca = authority().current;
        let now = start() + days(3640);
        let leaf = ca.issue(&names(&["a"]), now).unwrap();
        assert_eq!(Life::of(&leaf.chain).unwrap().end, ca.life.end);
        assert_eq!(plan_leaf(now + days(9), &ca, Some(&leaf), &names(&["a"])), LeafStep::Keep);
    }

    #[test]
    fn a_ca_whose_key_is_another_ones_is_refused() {
        let (one, two) = (authority().current, authority().current);
        assert!(Ca::read(PemPair { chain: one.pem.chain, key: two.pem.key }).is_err());
    }

    #[test]
    fn ip_addresses_are_names_too() {
        let ca = authority().current;
        let served = names(&["127.0.0.1", "localhost"]);
        let leaf = ca.issue(&served, start()).unwrap();
        assert_eq!(plan_leaf(start(), &ca, Some(&leaf), &served), LeafStep::Keep);
    }
}
