//! Signatures of the built-in store's URLs. Pure.
//!
//! A URL is `/KEY?op=...&...&expires=UNIX&signature=HEX`, the signature being HMAC-SHA256 over the method, the path
//! and the query's pairs before it, each on a line of its own.

use crate::store::keys::hex;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// The query's last pair.
const SIGNATURE: &str = "&signature=";

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignatureError {
    #[error("the URL isn't signed")]
    Missing,
    #[error("the URL's signature doesn't agree with it")]
    Wrong,
    #[error("the URL has expired")]
    Expired,
}

/// The key that the operator and the store share.
#[derive(Clone)]
pub(super) struct SigningKey(Vec<u8>);

impl SigningKey {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    fn mac(&self, method: &str, path: &str, query: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for line in [method, path, query] {
            mac.update(line.as_bytes());
            mac.update(b"\n");
        }
        mac
    }

    /// Path and query of a signed URL. `pairs` must be free of `&`, `=` and line ends.
    pub(super) fn sign(
        &self,
        method: &str,
        path: &str,
        pairs: &[(&str, String)],
        expires: Timestamp,
    ) -> String {
        let mut query: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        query.push(format!("expires={}", expires.as_second()));
        let query = query.join("&");
        let signature = hex(&self.mac(method, path, &query).finalize().into_bytes());
        format!("{path}?{query}{SIGNATURE}{signature}")
    }

    /// Checks a URL's signature and time, in constant time.
    pub(super) fn check(
        &self,
        method: &str,
        path: &str,
        query: &str,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let (signed, signature) = query.rsplit_once(SIGNATURE).ok_or(SignatureError::Missing)?;
        let signature = unhex(signature).ok_or(SignatureError::Wrong)?;
        self.mac(method, path, signed).verify_slice(&signature).map_err(|_| SignatureError::Wrong)?;
        let expires = signed.rsplit_once("expires=").and_then(|(_, text)| text.parse::<i64>().ok());
        match expires {
            Some(expires) if now.as_second() < expires => Ok(()),
            Some(_) => Err(SignatureError::Expired),
            None => Err(SignatureError::Missing),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_signed_url_is_good_for_what_it_says_and_nothing_else() {
        let key = SigningKey::new(b"secret");
        let url = key.sign("PUT", "/shop/a", &[("op", "part".into()), ("part", "1".into())], at(100));
        let (path, query) = url.split_once('?').unwrap();
        assert_eq!(key.check("PUT", path, query, at(99)), Ok(()));
        for (method, path, query, now, wanted) in [
            ("PUT", path.to_owned(), query.to_owned(), 100, SignatureError::Expired),
            ("GET", path.to_owned(), query.to_owned(), 99, SignatureError::Wrong),
            ("PUT", "/shop/b".to_owned(), query.to_owned(), 99, SignatureError::Wrong),
            ("PUT", path.to_owned(), query.replace("part=1", "part=2"), 99, SignatureError::Wrong),
            ("PUT", path.to_owned(), query.replace("expires=100", "expires=900"), 99, SignatureError::Wrong),
            ("PUT", path.to_owned(), format!("{query}0"), 99, SignatureError::Wrong),
            ("PUT", path.to_owned(), format!("{query}&part=2"), 99, SignatureError::Wrong),
            ("PUT", path.to_owned(), "op=part".to_owned(), 99, SignatureError::Missing),
            ("PUT", path.to_owned(), String::new(), 99, SignatureError::Missing),
        ] {
            assert_eq!(key.check(method, &path, &query, at(now)), Err(wanted), "{method} {path} {query}");
        }
        assert!(SigningKey::new(b"other").check("PUT", path, query, at(99)).is_err());
    }
}
