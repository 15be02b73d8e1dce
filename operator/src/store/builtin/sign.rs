//! The URLs of the built-in store: who holds one may do what it says until it expires, and nothing else. Pure.
//!
//! The signature is the HMAC-SHA256, under the key that operator and store share, of
//! ```text
//! METHOD \n PATH \n QUERY
//! ```
//! where QUERY has every parameter but the signature, sorted by name and escaped in one way only. The expiry
//! (`expires`, seconds since 1970) is one of them. The host is not signed, so that the same URL works at the
//! Service and through the API server's proxy, which strips its own part of the path. HEAD counts as GET.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use std::{collections::BTreeMap, time::Duration};

/// What isn't escaped, the same as in S3's signatures.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const EXPIRES: &str = "expires";
const SIGNATURE: &str = "signature";
/// The longest query that is looked at, in bytes.
const MAX_QUERY: usize = 4096;

/// The key that operator and store share.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// The key of these bytes, if there are 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn mac(&self, method: &str, path: &str, query: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for piece in [if method == "HEAD" { "GET" } else { method }, "\n", path, "\n", query] {
            mac.update(piece.as_bytes());
        }
        mac
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

/// Why a URL isn't obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the URL has no query that this store could have signed")]
    Malformed,
    #[error("the URL's signature is wrong")]
    WrongSignature,
    #[error("the URL has expired")]
    Expired,
}

/// The parameters of a URL whose signature was found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Path and query of a URL that allows one thing until `ttl` from `now`, rounded up to a second.
pub(super) fn sign(
    key: &SigningKey,
    method: &str,
    path: &str,
    query: &[(&str, &str)],
    ttl: Duration,
    now: Timestamp,
) -> String {
    let expires = (now.as_second() + 1).saturating_add_unsigned(ttl.as_secs()).to_string();
    let parameters =
        query.iter().copied().chain([(EXPIRES, expires.as_str())]).map(|(k, v)| (k.to_owned(), v.to_owned()));
    let query = canonical(&parameters.collect());
    let signature = URL_SAFE_NO_PAD.encode(key.mac(method, path, &query).finalize().into_bytes());
    format!("{path}?{query}&{SIGNATURE}={signature}")
}

/// The parameters of a request, if the key signed exactly this and it hasn't expired. `path` and `query` are as they
/// came over the wire.
pub(super) fn verify(
    key: &SigningKey,
    method: &str,
    path: &str,
    query: Option<&str>,
    now: Timestamp,
) -> Result<Query, Refusal> {
    let mut parameters = parse(query.unwrap_or_default()).ok_or(Refusal::Malformed)?;
    let signature = parameters.remove(SIGNATURE).ok_or(Refusal::Malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::WrongSignature)?;
    key.mac(method, path, &canonical(&parameters))
        .verify_slice(&signature) // in constant time
        .map_err(|_| Refusal::WrongSignature)?;
    let expires: i64 =
        parameters.remove(EXPIRES).and_then(|text| text.parse().ok()).ok_or(Refusal::Malformed)?;
    if now.as_second() >= expires {
        return Err(Refusal::Expired);
    }
    Ok(Query(parameters))
}

/// One text for one set of parameters, however a proxy escaped or ordered them.
fn canonical(parameters: &BTreeMap<String, String>) -> String {
    let escape = |text| utf8_percent_encode(text, ESCAPED);
    let pairs: Vec<_> = parameters.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v))).collect();
    pairs.join("&")
}

/// `None` for what can be read in two ways: a parameter twice, no UTF-8, no `=`.
fn parse(query: &str) -> Option<BTreeMap<String, String>> {
    if query.len() > MAX_QUERY {
        return None;
    }
    let decode = |text| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    let mut parameters = BTreeMap::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=')?;
        if parameters.insert(decode(name)?, decode(value)?).is_some() {
            return None;
        }
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/objects/shop/checkout/slow-2b9e/pod-1.cpuprofile";

    fn key() -> SigningKey {
        SigningKey([7; 32])
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn signed() -> String {
        let query = [("upload", "u1"), ("op", "part"), ("max", "5242880")];
        let url = sign(&key(), "PUT", PATH, &query, Duration::from_mins(1), at(1000));
        url.strip_prefix(PATH).unwrap().strip_prefix('?').unwrap().to_owned()
    }

    #[test]
    fn a_url_allows_what_it_says() {
        let query = verify(&key(), "PUT", PATH, Some(&signed()), at(1000)).unwrap();
        assert_eq!(query.get("op"), Some("part"));
        assert_eq!(query.get("max"), Some("5242880"));
        assert_eq!(query.get("expires"), None);
    }

    #[test]
    fn a_url_allows_nothing_else() {
        let good = signed();
        let signature = good.split("signature=").nth(1).unwrap();
        let other_end = if signature.ends_with('A') { "Q" } else { "A" };
        let longer = format!("{good}&extra=1");
        let without = good.split("&signature=").next().unwrap();
        let later = good.replace("expires=1061", "expires=9061");
        let bigger = good.replace("max=5242880", "max=9999999");
        let twice = format!("max=9999999&{good}");
        let flipped = format!("{}{other_end}", &good[..good.len() - 1]);
        let cut = &good[..good.len() - 4];
        let empty = format!("{without}&signature=");
        let huge = format!("{good}&a={}", "a".repeat(MAX_QUERY));
        for (what, key, method, path, query, refusal) in [
            ("another method", key(), "GET", PATH, good.as_str(), Refusal::WrongSignature),
            (
                "another path",
                key(),
                "PUT",
                "/objects/shop/checkout/slow-2b9e/pod-2.cpuprofile",
                &good,
                Refusal::WrongSignature,
            ),
            (
                "the path escaped",
                key(),
                "PUT",
                "/objects/shop%2Fcheckout/slow-2b9e/pod-1.cpuprofile",
                &good,
                Refusal::WrongSignature,
            ),
            ("another key", SigningKey([8; 32]), "PUT", PATH, &good, Refusal::WrongSignature),
            ("a parameter more", key(), "PUT", PATH, &longer, Refusal::WrongSignature),
            ("a later expiry", key(), "PUT", PATH, &later, Refusal::WrongSignature),
            ("another limit", key(), "PUT", PATH, &bigger, Refusal::WrongSignature),
            ("another signature", key(), "PUT", PATH, &flipped, Refusal::WrongSignature),
            ("a cut signature", key(), "PUT", PATH, cut, Refusal::WrongSignature),
            ("an empty signature", key(), "PUT", PATH, &empty, Refusal::WrongSignature),
            ("no signature", key(), "PUT", PATH, without, Refusal::Malformed),
            ("a parameter twice", key(), "PUT", PATH, &twice, Refusal::Malformed),
            ("no query", key(), "PUT", PATH, "", Refusal::Malformed),
            ("no UTF-8", key(), "PUT", PATH, "a=%ff&signature=x", Refusal::Malformed),
            ("too long a query", key(), "PUT", PATH, &huge, Refusal::Malformed),
        ] {
            assert_eq!(verify(&key, method, path, Some(query), at(1000)), Err(refusal), "{what}: {query}");
        }
        assert_eq!(verify(&key(), "PUT", PATH, None, at(1000)), Err(Refusal::Malformed));
    }

    #[test]
    fn a_url_ends_when_its_time_is_over() {
        for (now, expected) in [(1000, true), (1060, true), (1061, false), (99_999, false)] {
            let result = verify(&key(), "PUT", PATH, Some(&signed()), at(now));
            assert_eq!(result.is_ok(), expected, "{now}");
            assert!(expected || result == Err(Refusal::Expired));
        }
    }

    #[test]
    fn proxies_may_reorder_and_escape_the_query() {
        let url = sign(&key(), "GET", PATH, &[("name", "a b;c")], Duration::from_mins(1), at(1000));
        let query = url.split_once('?').unwrap().1;
        let mut pairs: Vec<_> = query.split('&').collect();
        pairs.reverse();
        let reordered = pairs.join("&").replace("name=", "%6eame=");
        assert_eq!(
            verify(&key(), "GET", PATH, Some(&reordered), at(1000)).unwrap().get("name"),
            Some("a b;c")
        );
    }

    #[test]
    fn head_is_allowed_where_get_is_and_nowhere_else() {
        let url = sign(&key(), "GET", PATH, &[], Duration::from_mins(1), at(1000));
        let query = url.split_once('?').unwrap().1;
        assert!(verify(&key(), "HEAD", PATH, Some(query), at(1000)).is_ok());
        assert_eq!(verify(&key(), "HEAD", PATH, Some(&signed()), at(1000)), Err(Refusal::WrongSignature));
    }

    #[test]
    fn keys_stay_out_of_logs() {
        assert_eq!(format!("{:?}", key()), "SigningKey");
        assert!(SigningKey::from_bytes(&[0; 31]).is_none());
    }
}
