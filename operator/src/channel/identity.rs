//! Who dials: a projected service-account token, verified offline against the cluster's published keys.
//!
//! The keys come from `/openid/v1/jwks`. An unknown key id refetches them, at most every [`REFETCH`], so that
//! ten thousand sidecars with bad tokens cost the API server nothing.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use pitwall_protocol::{AUDIENCE, PodRef};
use serde::Deserialize;
use std::{sync::Mutex, time::Duration};

/// How often unknown key ids may refetch the keys.
const REFETCH: Duration = Duration::from_secs(10);
/// How far the clocks of the API server and the operator may differ.
const LEEWAY_SECONDS: i64 = 30;
/// The longest token that is looked at, in bytes; a bound token has about 1,200.
const MAX_TOKEN: usize = 16 * 1024;

/// Why a token was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No `Authorization: Bearer` header.
    #[error("no bearer token was sent")]
    Missing,
    /// The key that signed it isn't among the cluster's.
    #[error("the token's key id {0:?} isn't among the cluster's published keys")]
    UnknownKey(String),
    /// Signature, form, audience or algorithm.
    #[error("the token was refused: {0}")]
    Invalid(String),
    /// Outside its time.
    #[error("the token is good from {not_before} to {expires} (unix seconds), and it is {now}")]
    OutsideItsTime {
        /// `nbf`
        not_before: i64,
        /// `exp`
        expires: i64,
        /// The operator's clock.
        now: i64,
    },
    /// A token that isn't bound to a pod.
    #[error("the token is bound to no pod; the sidecar's is a projected one of audience {AUDIENCE}")]
    NotBoundToPod,
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
    #[serde(default)]
    nbf: i64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<KubernetesClaims>,
}

#[derive(Deserialize)]
struct KubernetesClaims {
    namespace: String,
    pod: Option<BoundObject>,
}

#[derive(Deserialize)]
struct BoundObject {
    name: String,
    uid: String,
}

/// Proves `token` with `keys` at `now`, and yields the pod that it is bound to.
///
/// Whether that pod is alive is for the caller to see in its cache.
pub fn verify(token: &str, keys: &JwkSet, now: Timestamp) -> Result<PodRef, IdentityError> {
    if token.len() > MAX_TOKEN {
        return Err(IdentityError::Invalid(format!("it has {} bytes", token.len())));
    }
    let invalid = |error: jsonwebtoken::errors::Error| IdentityError::Invalid(error.to_string());
    let header = jsonwebtoken::decode_header(token).map_err(invalid)?;
    let key_id = header.kid.unwrap_or_default();
    let key =
        keys.find(&key_id).ok_or_else(|| IdentityError::UnknownKey(key_id.chars().take(80).collect()))?;
    // The header is the sender's word: only the signatures that API servers make are considered.
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::ES384) {
        return Err(IdentityError::Invalid(format!("its algorithm is {:?}", header.alg)));
    }
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["aud", "exp"]);
    // Time is checked below against `now`, which is an argument.
    validation.validate_exp = false;
    let decoding = DecodingKey::from_jwk(key).map_err(invalid)?;
    let claims = jsonwebtoken::decode::<Claims>(token, &decoding, &validation).map_err(invalid)?.claims;

    let now = now.as_second();
    if now > claims.exp + LEEWAY_SECONDS || now < claims.nbf - LEEWAY_SECONDS {
        return Err(IdentityError::OutsideItsTime { not_before: claims.nbf, expires: claims.exp, now });
    }
    match claims.kubernetes {
        Some(KubernetesClaims { namespace, pod: Some(pod) }) => {
            Ok(PodRef { namespace, name: pod.name, uid: pod.uid })
        }
        _ => Err(IdentityError::NotBoundToPod),
    }
}

/// The cluster's keys, fetched when they are needed.
pub struct Keys {
    client: kube::Client,
    state: tokio::sync::Mutex<State>,
    // Read without waiting for a fetch that another connection makes.
    current: Mutex<JwkSet>,
}

#[derive(Default)]
struct State {
    fetched: Option<Timestamp>,
}

impl Keys {
    /// No keys yet; the first token fetches them.
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            state: tokio::sync::Mutex::default(),
            current: Mutex::new(JwkSet { keys: Vec::new() }),
        }
    }

    /// Proves a token, fetching the keys once when its key is unknown.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<PodRef, IdentityError> {
        let attempt = || {
            let keys = self.current.lock().expect("no panic happens while the keys are held");
            verify(token, &keys, now)
        };
        match attempt() {
            Err(IdentityError::UnknownKey(_)) => {
                self.refetch(now).await;
                attempt()
            }
            outcome => outcome,
        }
    }

    async fn refetch(&self, now: Timestamp) {
        let mut state = self.state.lock().await;
        let due = state.fetched.is_none_or(|fetched| {
            now.duration_since(fetched) >= jiff::SignedDuration::try_from(REFETCH).unwrap_or_default()
        });
        if !due {
            return;
        }
        state.fetched = Some(now);
        let request = http::Request::get("/openid/v1/jwks")
            .body(Vec::new())
            .expect("a constant request is well formed");
        match self.client.request::<JwkSet>(request).await {
            Ok(keys) => *self.current.lock().expect("no panic happens while the keys are held") = keys,
            Err(error) => {
                tracing::warn!(%error, "could not read the cluster's token keys at /openid/v1/jwks");
            }
        }
    }
}

#[cfg(test)]
mod tests;
