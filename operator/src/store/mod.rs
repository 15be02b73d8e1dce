//! Where artifacts go: S3, or the built-in store, behind one interface.
//!
//! The operator alone talks to a store's control side. It begins an upload and signs URLs for its parts; the
//! sidecar PUTs to those and reports the `ETags`; the operator completes the upload, or aborts it. Memory is
//! constant whatever an artifact's size, and what a dead session left is found again by its folder.

pub mod builtin;
mod error;
mod keys;
mod parts;
mod s3;
mod settings;

pub use error::{StoreError, StoreErrorKind};
pub use keys::{Folder, Key, KeyError, Prefix};
pub use settings::Settings;

use builtin::client::BuiltinStore;
use jiff::Timestamp;
use pitwall_protocol::Part;
use s3::S3Store;
use serde::{Deserialize, Serialize};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::io::AsyncRead;

/// Bytes of every part but the last: S3 takes none under 5 MiB.
pub const PART_SIZE: u64 = 8 << 20;

/// How an object is described to whoever downloads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// Its Content-Type.
    pub content_type: String,
    /// Its Content-Encoding.
    pub content_encoding: Option<String>,
    /// The name that a browser saves it as.
    pub file_name: String,
}

/// The store's name for an upload that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadId(String);

impl UploadId {
    /// Reads an id that a sidecar handed back. Bounded, and free of what could leave a URL's query.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte);
        if text.is_empty() || text.len() > 1024 || !text.bytes().all(plain) {
            let seen = "what the sidecar handed back is no upload id";
            return Err(StoreError::new(StoreErrorKind::Mismatch, "the store", "reading an upload id", seen));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where an artifact can be fetched for a short while.
#[derive(Clone, PartialEq, Eq)]
pub struct Download {
    /// An https URL, or a path with its query where `service` is set.
    pub url: String,
    /// Namespace, name and port of the Service that the path leads to.
    pub service: Option<(String, String, u16)>,
    /// The private CA of the URL's host, in PEM.
    pub ca: Option<String>,
}

/// An object's bytes as they come.
pub type Body = Pin<Box<dyn AsyncRead + Send>>;

/// A store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Kind>);

enum Kind {
    S3(S3Store),
    Builtin(BuiltinStore),
}

macro_rules! delegate {
    ($self:ident, $store:ident => $call:expr) => {
        match &*$self.0 {
            Kind::S3($store) => $call,
            Kind::Builtin($store) => $call,
        }
    };
}

impl Store {
    /// The store that the settings name. Nothing is asked of it yet.
    pub async fn connect(settings: &Settings, signing_key: &[u8], ca: &str) -> anyhow::Result<Self> {
        let kind = match settings.kind {
            settings::Kind::S3 => Kind::S3(S3Store::connect(&settings.s3).await?),
            settings::Kind::Builtin => {
                Kind::Builtin(BuiltinStore::connect(&settings.builtin_url, signing_key, ca)?)
            }
        };
        Ok(Self(Arc::new(kind)))
    }

    /// The private CA that a sidecar must trust to upload, in PEM.
    pub fn ca(&self) -> Option<&str> {
        delegate!(self, store => store.ca())
    }

    /// Begins an upload.
    pub async fn begin(&self, key: &Key, media: &Media) -> Result<UploadId, StoreError> {
        delegate!(self, store => store.begin(key, media).await)
    }

    /// URLs for `count` parts from `first`, to be PUT to within `lifetime`.
    pub async fn sign_parts(
        &self,
        key: &Key,
        upload: &UploadId,
        first: u32,
        count: u32,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        delegate!(self, store => store.sign_parts(key, upload, first, count, lifetime, now).await)
    }

    /// Makes an object of an upload's parts, if they are as claimed and `max` bytes at most: its length. Done
    /// already is well done.
    pub async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        max: u64,
    ) -> Result<u64, StoreError> {
        delegate!(self, store => store.complete(key, upload, parts, max).await)
    }

    /// Deletes every object in a folder and aborts its uploads.
    pub async fn delete_folder(&self, folder: &Folder) -> Result<(), StoreError> {
        delegate!(self, store => store.delete_folder(folder).await)
    }

    /// An object's bytes.
    pub async fn open(&self, key: &Key) -> Result<Body, StoreError> {
        delegate!(self, store => store.open(key).await)
    }

    /// A URL that an object can be fetched from within `lifetime`.
    pub async fn sign_get(
        &self,
        key: &Key,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Download, StoreError> {
        delegate!(self, store => store.sign_get(key, lifetime, now).await)
    }

    /// Aborts uploads that were begun longer than `age` ago, under the prefix.
    pub async fn sweep(&self, prefix: &Prefix, age: Duration, now: Timestamp) -> Result<(), StoreError> {
        delegate!(self, store => store.sweep(prefix, age, now).await)
    }
}
