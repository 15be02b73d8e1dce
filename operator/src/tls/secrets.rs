//! The Secrets in the operator's namespace: read, decided upon, written. Thin IO around [`super::authority`].
//!
//! | Secret | holds | who reads it |
//! | --- | --- | --- |
//! | `pitwall-ca` | `ca.crt`, `ca.key`, `next.crt`, `next.key`, `former.crt`, `bundle.crt` | the operator |
//! | `pitwall-operator-tls` | `tls.crt`, `tls.key` | the operator |
//! | `pitwall-store` | `tls.crt`, `tls.key`, `signing.key` (32 random bytes) | the operator, the store role |
//!
//! Every replica of the operator keeps them, whether it leads or not: a Secret is created or replaced only as it was
//! read (`resourceVersion`), and whoever comes second reads again and takes what the first one made.
//!
//! It needs `create` on Secrets, and `get` and `update` on these three by name; the store role `get` on its one.

use super::{
    CertificateError, PemPair,
    authority::{Authority, Ca, CaStep, LeafStep, plan_ca, plan_leaf},
};
use crate::store::SigningKey;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, time::sleep};

/// The CA's Secret.
pub const CA_SECRET: &str = "pitwall-ca";
/// The Secret of the certificate that channel and webhook serve.
pub const OPERATOR_SECRET: &str = "pitwall-operator-tls";
/// The built-in store's Secret.
pub const STORE_SECRET: &str = "pitwall-store";

/// How often the store role looks whether its Secret changed.
const STORE_INTERVAL: Duration = Duration::from_secs(30);
/// How often the store role looks for its Secret until it is there.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// How often a write is tried again because another replica was faster.
const MAX_RACES: u32 = 8;

/// A Secret that can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The API server says no, or nothing.
    #[error("{verb} the Secret {name}: {source}; check the operator's Role")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// On which.
        name: &'static str,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// A certificate can't be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Somebody changes a Secret all the time.
    #[error(
        "the Secret {0} was changed by others {MAX_RACES} times in a row; is a second Pitwall installed here?"
    )]
    Contended(&'static str),
    /// No randomness.
    #[error("the machine has no random bytes")]
    NoRandom,
}

type Data = BTreeMap<String, Vec<u8>>;

/// What to do with a Secret, and what it then means.
#[derive(Debug)]
enum Decision<T> {
    Keep(T),
    Write(Data, T),
}

/// What the store role serves and obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSecrets {
    /// Its certificate.
    pub leaf: PemPair,
    /// What URLs are signed with.
    pub signing_key: SigningKey,
}

/// What the operator serves, trusts and signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorSecrets {
    /// Every CA to trust now, PEM: for sidecars, the webhook's caBundle and the built-in store's client. A new CA is
    /// in it weeks before it is used.
    pub ca: String,
    /// What the channel and the webhook serve.
    pub leaf: PemPair,
    /// What the built-in store's URLs are signed with.
    pub signing_key: SigningKey,
}

/// The Secrets of Pitwall's namespace.
#[derive(Clone, Debug)]
pub struct Secrets {
    api: Api<Secret>,
    operator_names: Vec<String>,
    store_names: Vec<String>,
}

impl Secrets {
    /// Of Pitwall's namespace, which its Services are in too.
    pub fn new(client: Client, namespace: &str) -> Self {
        let names = |services: &[&str]| {
            let names = services.iter().map(|service| format!("{service}.{namespace}.svc"));
            names.flat_map(|name| [format!("{name}.cluster.local"), name]).collect()
        };
        Self {
            api: Api::namespaced(client, namespace),
            operator_names: names(&["pitwall-channel", "pitwall-webhook"]),
            store_names: names(&["pitwall-store"]),
        }
    }

    /// Makes what is missing or due, once.
    pub async fn ensure(&self, now: Timestamp) -> Result<OperatorSecrets, SecretsError> {
        let authority = self.settle(CA_SECRET, |data| decide_ca(now, data)).await?;
        let ca = &authority.current;
        let operator =
            self.settle(OPERATOR_SECRET, |data| decide_leaf(now, ca, &self.operator_names, data)).await?;
        let store = self.settle(STORE_SECRET, |data| decide_store(now, ca, &self.store_names, data)).await?;
        Ok(OperatorSecrets { ca: authority.bundle(), leaf: operator, signing_key: store.signing_key })
    }

    /// Reads, decides and writes, again when another replica wrote meanwhile.
    async fn settle<T>(
        &self,
        name: &'static str,
        decide: impl Fn(Option<&Data>) -> Result<Decision<T>, SecretsError>,
    ) -> Result<T, SecretsError> {
        let failed = |verb, source| SecretsError::Api { verb, name, source: Box::new(source) };
        for _ in 0..MAX_RACES {
            let present = self.api.get_opt(name).await.map_err(|error| failed("reading", error))?;
            let (data, meaning) = match decide(present.as_ref().map(data_of).as_ref())? {
                Decision::Keep(meaning) => return Ok(meaning),
                Decision::Write(data, meaning) => (data, meaning),
            };
            let post = PostParams::default();
            let written = match present {
                None => {
                    self.api.create(&post, &new_secret(name, data)).await.map_err(|error| ("creating", error))
                }
                // With its resourceVersion: what somebody else wrote meanwhile isn't overwritten.
                Some(present) => {
                    let changed = Secret { data: Some(encoded(data)), ..present };
                    self.api.replace(name, &post, &changed).await.map_err(|error| ("replacing", error))
                }
            };
            match written {
                Ok(_) => {
                    tracing::info!(secret = name, "wrote certificates");
                    return Ok(meaning);
                }
                // Created, changed or deleted by somebody else since it was read.
                Err((_, kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                    sleep(spread(Duration::from_millis(50))).await;
                }
                Err((verb, error)) => return Err(failed(verb, error)),
            }
        }
        Err(SecretsError::Contended(name))
    }

    /// Waits until the operator has made the store's Secret.
    pub async fn await_store(&self) -> StoreSecrets {
        let mut told = String::new();
        loop {
            let why = match self.store().await {
                Ok(secrets) => return secrets,
                Err(why) => why,
            };
            if why != told {
                tracing::info!(why, "waiting for Secret {STORE_SECRET}, which the operator makes");
                told = why;
            }
            sleep(STORE_WAIT).await;
        }
    }

    /// Sends the store's Secret on whenever it changes, for as long as it is polled.
    pub async fn follow_store(&self, sender: watch::Sender<StoreSecrets>) {
        loop {
            sleep(spread(STORE_INTERVAL)).await;
            match self.store().await {
                Ok(secrets) => {
                    sender.send_if_modified(|present| {
                        let changed = *present != secrets;
                        *present = secrets;
                        changed
                    });
                }
                Err(why) => tracing::warn!(why, "reading Secret {STORE_SECRET}; what it held stays in use"),
            }
        }
    }

    async fn store(&self) -> Result<StoreSecrets, String> {
        let secret = self.api.get_opt(STORE_SECRET).await.map_err(|error| error.to_string())?;
        let data = data_of(&secret.ok_or("it isn't there")?);
        let key = data.get("signing.key").and_then(|bytes| SigningKey::from_bytes(bytes));
        match (pair(&data, "tls"), key) {
            (Some(leaf), Some(signing_key)) => Ok(StoreSecrets { leaf, signing_key }),
            _ => Err("it isn't complete".to_owned()),
        }
    }
}

fn decide_ca(now: Timestamp, data: Option<&Data>) -> Result<Decision<Authority>, SecretsError> {
    let present = data.map(read_authority).transpose().unwrap_or_else(|error| {
        tracing::error!(%error, "the Secret {CA_SECRET} can't be used; making a new CA");
        None
    });
    let step = plan_ca(now, present.as_ref());
    if step != CaStep::Keep {
        tracing::info!(?step, "the CA");
    }
    let authority = Authority::step(present, step, now)?
        .ok_or_else(|| CertificateError::Unreadable("there is no CA".to_owned()))?;
    let due = authority_data(&authority);
    Ok(match data {
        Some(data) if *data == due => Decision::Keep(authority),
        _ => Decision::Write(due, authority),
    })
}

fn read_authority(data: &Data) -> Result<Authority, CertificateError> {
    let missing = || CertificateError::Unreadable("ca.crt or ca.key is missing".to_owned());
    let current = Ca::read(pair(data, "ca").ok_or_else(missing)?)?;
    // A next one that can't be read is made anew when it is due.
    let next = pair(data, "next").and_then(|pem| Ca::read(pem).ok());
    let former = text(data, "former.crt").unwrap_or_default();
    let former = former.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect();
    Ok(Authority { current, next, former })
}

fn authority_data(authority: &Authority) -> Data {
    let mut data = Data::new();
    insert_pair(&mut data, "ca", &authority.current.pem);
    if let Some(next) = &authority.next {
        insert_pair(&mut data, "next", &next.pem);
    }
    if !authority.former.is_empty() {
        data.insert("former.crt".to_owned(), authority.former.concat().into_bytes());
    }
    data.insert("bundle.crt".to_owned(), authority.bundle().into_bytes());
    data
}

fn decide_leaf(
    now: Timestamp,
    ca: &Ca,
    names: &[String],
    data: Option<&Data>,
) -> Result<Decision<PemPair>, SecretsError> {
    let present = data.and_then(|data| pair(data, "tls"));
    match (plan_leaf(now, ca, present.as_ref(), names), present) {
        (LeafStep::Keep, Some(present)) => Ok(Decision::Keep(present)),
        (step, _) => {
            tracing::info!(?step, ?names, "a certificate");
            let leaf = ca.issue(names, now)?;
            let mut data = Data::new();
            insert_pair(&mut data, "tls", &leaf);
            Ok(Decision::Write(data, leaf))
        }
    }
}

fn decide_store(
    now: Timestamp,
    ca: &Ca,
    names: &[String],
    data: Option<&Data>,
) -> Result<Decision<StoreSecrets>, SecretsError> {
    let present = data.and_then(|data| SigningKey::from_bytes(data.get("signing.key")?));
    let leaf = decide_leaf(now, ca, names, data)?;
    match (leaf, present) {
        (Decision::Keep(leaf), Some(signing_key)) => Ok(Decision::Keep(StoreSecrets { leaf, signing_key })),
        (Decision::Keep(leaf) | Decision::Write(_, leaf), present) => {
            let signing_key = present.map_or_else(new_key, Ok)?;
            let mut data = Data::new();
            insert_pair(&mut data, "tls", &leaf);
            data.insert("signing.key".to_owned(), signing_key.as_bytes().to_vec());
            Ok(Decision::Write(data, StoreSecrets { leaf, signing_key }))
        }
    }
}

fn new_key() -> Result<SigningKey, SecretsError> {
    let mut bytes = [0; 32];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| SecretsError::NoRandom)?;
    Ok(SigningKey::from_bytes(&bytes).expect("a key has 32 bytes"))
}

fn new_secret(name: &str, data: Data) -> Secret {
    let labels =
        [("app.kubernetes.io/name", "pitwall"), ("app.kubernetes.io/managed-by", "pitwall-operator")];
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            ..ObjectMeta::default()
        },
        data: Some(encoded(data)),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

fn data_of(secret: &Secret) -> Data {
    secret.data.iter().flatten().map(|(name, ByteString(bytes))| (name.clone(), bytes.clone())).collect()
}

fn encoded(data: Data) -> BTreeMap<String, ByteString> {
    data.into_iter().map(|(name, bytes)| (name, ByteString(bytes))).collect()
}

fn text(data: &Data, name: &str) -> Option<String> {
    data.get(name).and_then(|bytes| String::from_utf8(bytes.clone()).ok())
}

fn pair(data: &Data, name: &str) -> Option<PemPair> {
    Some(PemPair { chain: text(data, &format!("{name}.crt"))?, key: text(data, &format!("{name}.key"))? })
}

fn insert_pair(data: &mut Data, name: &str, pem: &PemPair) {
    data.insert(format!("{name}.crt"), pem.chain.clone().into_bytes());
    data.insert(format!("{name}.key"), pem.key.clone().into_bytes());
}

/// From three quarters of it to all of it, so that replicas don't act in step.
fn spread(interval: Duration) -> Duration {
    interval.mul_f64(0.75 + fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests;
