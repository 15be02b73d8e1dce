//! Certificates and the store's key in Secrets of Pitwall's namespace. Thin IO.
//!
//! `pitwall-ca` (the authority; read by the operator alone), `pitwall-operator-tls` (the leaf of channel and
//! webhook) and `pitwall-store` (the store's leaf and its signing key; the store's role reads just this one).

use super::{
    authority::{Authority, AuthorityError, Leaf, Renewal},
    serve::ServingCertificate,
};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use std::{collections::BTreeMap, time::Duration};

/// The authority's Secret.
pub const CA_SECRET: &str = "pitwall-ca";
/// The operator's leaf.
pub const OPERATOR_SECRET: &str = "pitwall-operator-tls";
/// The store's leaf and signing key.
pub const STORE_SECRET: &str = "pitwall-store";
/// The signing key's place in [`STORE_SECRET`].
pub const SIGNING_KEY: &str = "signing.key";
/// Bytes of a signing key.
const SIGNING_KEY_BYTES: usize = 32;
/// How often another replica's write is read again.
const TRIES: u32 = 5;
/// How long the store's role pauses between looks for its Secret.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Secrets that can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server.
    #[error("Secret {name}: {source}")]
    Api {
        /// Which one.
        name: &'static str,
        /// What it said.
        source: kube::Error,
    },
    /// Its content.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Other replicas write it all the time.
    #[error("Secret {0} changed at each of {TRIES} tries to write it")]
    Contended(&'static str),
}

/// The Secrets of one namespace.
#[derive(Clone)]
pub struct Secrets {
    api: Api<Secret>,
    namespace: String,
}

/// What the operator serves and signs with.
pub struct OperatorSecrets {
    /// The CA bundle, in PEM.
    pub ca: String,
    /// The leaf of channel and webhook.
    pub leaf: Leaf,
    /// The key that the store's URLs are signed with.
    pub signing_key: Vec<u8>,
}

/// What the store's role serves and checks with.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSecrets {
    /// Its leaf.
    pub leaf: Leaf,
    /// The key that URLs are signed with.
    pub signing_key: Vec<u8>,
}

impl Secrets {
    /// Of Pitwall's namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned() }
    }

    /// Reads what the operator needs, making and renewing it where it must be.
    pub async fn ensure(&self, now: Timestamp) -> Result<OperatorSecrets, SecretError> {
        let ca = self
            .update(CA_SECRET, |data| {
                let stored = pair(data).map(|Leaf { certificate, key }| Authority { certificate, key });
                if stored.is_some_and(|authority| authority.is_usable(now)) {
                    Ok(None)
                } else {
                    let Authority { certificate, key } = Authority::make(now)?;
                    Ok(Some(with_pair(data, &Leaf { certificate, key })))
                }
            })
            .await?;
        let authority = pair(&ca).map(|Leaf { certificate, key }| Authority { certificate, key });
        let authority = authority.ok_or_else(|| AuthorityError::Read(format!("{CA_SECRET} is empty")))?;
        let operator =
            self.leaf(OPERATOR_SECRET, &authority, &["pitwall-channel", "pitwall-webhook"], now).await?;
        let store = self.leaf(STORE_SECRET, &authority, &["pitwall-store"], now).await?;
        Ok(OperatorSecrets {
            ca: authority.certificate,
            leaf: pair(&operator)
                .ok_or_else(|| AuthorityError::Read(format!("{OPERATOR_SECRET} is empty")))?,
            signing_key: store.get(SIGNING_KEY).cloned().unwrap_or_default(),
        })
    }

    async fn leaf(
        &self,
        name: &'static str,
        authority: &Authority,
        services: &[&str],
        now: Timestamp,
    ) -> Result<Data, SecretError> {
        let names: Vec<_> = services
            .iter()
            .flat_map(|service| {
                let short = format!("{service}.{}.svc", self.namespace);
                [format!("{short}.cluster.local"), short]
            })
            .collect();
        self.update(name, |data| {
            let mut next = None;
            if authority.judge(pair(data).as_ref(), &names, now) == Renewal::Renew {
                next = Some(with_pair(data, &authority.issue(&names, now)?));
            }
            let keyed = data.get(SIGNING_KEY).is_some_and(|key| key.len() == SIGNING_KEY_BYTES);
            if name == STORE_SECRET && !keyed {
                let data = next.get_or_insert_with(|| data.clone());
                let mut key = [0_u8; SIGNING_KEY_BYTES];
                rustls::crypto::ring::default_provider()
                    .secure_random
                    .fill(&mut key)
                    .map_err(|_| AuthorityError::Read("the system has no randomness".to_owned()))?;
                data.insert(SIGNING_KEY.to_owned(), key.to_vec());
            }
            Ok(next)
        })
        .await
    }

    /// Reads a Secret, and writes what `change` makes of it. Two replicas that do so at once end with one content.
    async fn update(
        &self,
        name: &'static str,
        change: impl Fn(&Data) -> Result<Option<Data>, AuthorityError>,
    ) -> Result<Data, SecretError> {
        let failed = |source| SecretError::Api { name, source };
        for _ in 0..TRIES {
            let current = self.api.get_opt(name).await.map_err(failed)?;
            let data = current.as_ref().map(read).unwrap_or_default();
            let Some(next) = change(&data)? else { return Ok(data) };
            let mut secret = current.clone().unwrap_or_default();
            secret.metadata.name = Some(name.to_owned());
            secret.data =
                Some(next.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect());
            let params = PostParams::default();
            let written = if current.is_some() {
                self.api.replace(name, &params, &secret).await
            } else {
                secret.metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
                self.api.create(&params, &secret).await
            };
            match written {
                Ok(_) => return Ok(next),
                Err(kube::Error::Api(response)) if response.code == 409 => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(SecretError::Contended(name))
    }

    /// What the store's role needs, once the operator has made it.
    pub async fn store(&self) -> Result<Option<StoreSecrets>, SecretError> {
        let secret = self.api.get_opt(STORE_SECRET).await;
        let secret = secret.map_err(|source| SecretError::Api { name: STORE_SECRET, source })?;
        let Some(data) = secret.as_ref().map(read) else { return Ok(None) };
        let key = data.get(SIGNING_KEY).filter(|key| key.len() == SIGNING_KEY_BYTES);
        Ok(pair(&data).zip(key.cloned()).map(|(leaf, signing_key)| StoreSecrets { leaf, signing_key }))
    }

    /// Waits until the operator has made the store's Secret.
    pub async fn await_store(&self) -> StoreSecrets {
        loop {
            match self.store().await {
                Ok(Some(secrets)) => return secrets,
                Ok(None) => tracing::info!("waiting for Secret {STORE_SECRET}, which the operator makes"),
                Err(error) => tracing::warn!(%error, "waiting for Secret {STORE_SECRET}"),
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    /// Keeps a listener's certificate in step with its Secret, for as long as it is polled.
    pub async fn follow_store(&self, serving: ServingCertificate) {
        loop {
            tokio::time::sleep(Duration::from_secs(300)).await;
            match self.store().await {
                Ok(Some(secrets)) => {
                    if let Err(error) = serving.replace(&secrets.leaf) {
                        tracing::warn!(%error, "the renewed certificate can't be served");
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "could not look for a renewed certificate"),
            }
        }
    }
}

type Data = BTreeMap<String, Vec<u8>>;

fn read(secret: &Secret) -> Data {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn pair(data: &Data) -> Option<Leaf> {
    let text = |name: &str| String::from_utf8(data.get(name)?.clone()).ok();
    Some(Leaf { certificate: text("tls.crt")?, key: text("tls.key")? })
}

fn with_pair(data: &Data, leaf: &Leaf) -> Data {
    let mut data = data.clone();
    data.insert("tls.crt".to_owned(), leaf.certificate.clone().into_bytes());
    data.insert("tls.key".to_owned(), leaf.key.clone().into_bytes());
    data
}
