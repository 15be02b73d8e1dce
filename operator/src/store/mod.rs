//! Where artifacts go: S3, or the built-in store on a volume, behind one interface.
//!
//! The operator alone talks to the store's control side. A sidecar gets signed URLs for parts of one upload, a
//! person gets one for one object; both carry the bytes themselves. Memory is constant whatever an artifact's size.
//!
//! ```text
//! begin ──► sign_parts ──► (the sidecar PUTs the parts) ──► complete ──► open, sign_get
//!   └────────────┴──────────────────────┴──► abort, abort_folder, sweep
//! ```
//! # Guarantees
//! - An object comes into being by [`Store::complete`] only (or [`Store::put_small`]), and only if every part is
//!   stored as claimed and there are between one and the allowed number of bytes. What never completes is no object,
//!   and [`Store::sweep`], [`Store::abort_folder`] and [`Store::delete_folder`] remove it.
//! - Everything but [`Store::begin`] is idempotent: a call whose answer was lost may be made again.
//! - Every call ends: timeouts and at most three tries are within. So the caller retries at its own pace, or not.
//!
//! # Errors
//! [`StoreError`], whose kind says what to do and whose message says it to a person.

pub mod builtin;
mod error;
mod keys;
mod media;
mod parts;
mod s3;
mod settings;

pub use builtin::SigningKey;
pub use error::{StoreError, StoreErrorKind};
pub use keys::{Folder, Key, KeyError, Prefix};
pub use media::Media;
pub use settings::{Kind, S3, Settings, SettingsError};

use builtin::client::BuiltinStore;
use bytes::Bytes;
use jiff::Timestamp;
use pitwall_protocol::Part;
use s3::S3Store;
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::io::AsyncRead;

/// Bytes of every part but the last: S3 takes none under 5 MiB.
pub const PART_SIZE: u64 = 8 << 20;
/// The most bytes of an object that is written in one piece.
pub const MAX_SMALL: usize = 1 << 20;

/// The store's name for an upload that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(String);

impl UploadId {
    /// Reads an id that a sidecar or a store handed out. Bounded, and free of what could leave a URL's query.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte);
        if text.is_empty() || text.len() > 1024 || !text.bytes().all(plain) {
            let seen = "what was handed back is no upload id";
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
    /// Namespace, name and port of the Service that the path leads to, in the cluster or through the API server's
    /// proxy: `/api/v1/namespaces/{namespace}/services/https:{name}:{port}/proxy{path}`.
    pub service: Option<(String, String, u16)>,
    /// The private CA of the URL's host, in PEM, trusted beside the public roots.
    pub ca: Option<String>,
}

impl std::fmt::Debug for Download {
    /// Signed URLs are credentials: they stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("service", &self.service).finish_non_exhaustive()
    }
}

/// An object's bytes as they come, compressed as they are stored. Ends with an error when the store stalls.
pub type Body = Pin<Box<dyn AsyncRead + Send>>;

/// What lies in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Listing {
    /// The keys of objects.
    pub objects: Vec<String>,
    /// The keys of uploads that are neither completed nor aborted.
    pub uploads: Vec<String>,
}

/// The store that was chosen at installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<Chosen>);

#[derive(Debug)]
enum Chosen {
    S3(S3Store),
    Builtin(BuiltinStore),
}

macro_rules! delegate {
    ($self:ident, $store:ident => $call:expr) => {
        match &*$self.0 {
            Chosen::S3($store) => $call,
            Chosen::Builtin($store) => $call,
        }
    };
}

impl Store {
    /// The store that the settings name. Nothing is asked of it yet. Key and CA bundle (PEM) are the built-in
    /// store's, which [`Store::renew`] replaces.
    pub async fn connect(settings: &Settings, key: &SigningKey, ca: &str) -> Result<Self, SettingsError> {
        let chosen = match settings.kind {
            Kind::S3 => Chosen::S3(S3Store::connect(&settings.s3).await?),
            Kind::Builtin => Chosen::Builtin(BuiltinStore::connect(&settings.builtin_url, key.clone(), ca)?),
        };
        Ok(Self(Arc::new(chosen)))
    }

    /// Takes a signing key and a CA bundle that were made anew. S3 has neither.
    pub fn renew(&self, key: &SigningKey, ca: &str) -> Result<(), SettingsError> {
        match &*self.0 {
            Chosen::S3(_) => Ok(()),
            Chosen::Builtin(store) => store.renew(key.clone(), ca),
        }
    }

    /// The private CA (PEM) that a sidecar must trust to upload, beside the public roots. The built-in store's may
    /// change while running: ask again for each sidecar.
    pub fn ca(&self) -> Option<String> {
        delegate!(self, store => store.ca())
    }

    /// Begins an upload. Not idempotent: an upload whose id was lost is left to `abort_folder` or `sweep`.
    pub async fn begin(&self, key: &Key, media: &Media) -> Result<UploadId, StoreError> {
        delegate!(self, store => store.begin(key, media).await)
    }

    /// One PUT URL for each of `count` parts from number `first` (counting from 1), good for `ttl` from `now`. A part
    /// may have [`PART_SIZE`] bytes; the built-in store refuses a longer one, S3 only at completion.
    pub async fn sign_parts(
        &self,
        key: &Key,
        upload: &UploadId,
        first: u32,
        count: u32,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let numbers = parts::numbers(first, count);
        match &*self.0 {
            Chosen::S3(store) => store.sign_parts(key, upload, numbers, ttl, now).await,
            Chosen::Builtin(store) => Ok(store.sign_parts(key, upload, numbers, ttl, now)),
        }
    }

    /// Makes the object from its parts and returns its length. Refuses with `Mismatch` when what is stored isn't
    /// what is claimed (or nothing) and with `TooLarge` above `max` bytes, and throws the upload away then;
    /// `NotFound` when there is no such upload. An upload that is completed already is fine.
    pub async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        max: u64,
    ) -> Result<u64, StoreError> {
        delegate!(self, store => store.complete(key, upload, parts, max).await)
    }

    /// Throws one unfinished upload away. Fine if it isn't there.
    pub async fn abort(&self, key: &Key, upload: &UploadId) -> Result<(), StoreError> {
        delegate!(self, store => store.abort(key, upload).await)
    }

    /// Throws every unfinished upload of a request away and says how many there were.
    pub async fn abort_folder(&self, folder: &Folder) -> Result<u32, StoreError> {
        delegate!(self, store => store.abort_folder(folder).await)
    }

    /// Deletes everything of a request, unfinished uploads too.
    pub async fn delete_folder(&self, folder: &Folder) -> Result<(), StoreError> {
        delegate!(self, store => store.delete_folder(folder).await)
    }

    /// What lies in a request's folder.
    pub async fn list(&self, folder: &Folder) -> Result<Listing, StoreError> {
        delegate!(self, store => store.list(folder).await)
    }

    /// Reads an object.
    pub async fn open(&self, key: &Key) -> Result<Body, StoreError> {
        delegate!(self, store => store.open(key).await)
    }

    /// Writes an object of at most [`MAX_SMALL`] bytes, or replaces it.
    pub async fn put_small(&self, key: &Key, bytes: Bytes, media: &Media) -> Result<(), StoreError> {
        if bytes.len() > MAX_SMALL {
            let seen = format!("{} bytes; at most {MAX_SMALL} go in one piece", bytes.len());
            let tried = format!("writing {key}");
            return Err(StoreError::new(StoreErrorKind::TooLarge, "the store", tried, seen));
        }
        delegate!(self, store => store.put_small(key, bytes, media).await)
    }

    /// A URL that an object can be fetched from for `ttl` from `now`.
    pub async fn sign_get(&self, key: &Key, ttl: Duration, now: Timestamp) -> Result<Download, StoreError> {
        match &*self.0 {
            Chosen::S3(store) => store.sign_get(key, ttl, now).await,
            Chosen::Builtin(store) => Ok(store.sign_get(key, ttl, now)),
        }
    }

    /// Aborts the unfinished uploads under the prefix that began before `now - age`, and says how many. Give it the
    /// longest `activeDeadline` and a margin. Does a bounded part of the work; call it again later.
    pub async fn sweep(&self, prefix: &Prefix, age: Duration, now: Timestamp) -> Result<u32, StoreError> {
        match &*self.0 {
            Chosen::S3(store) => store.sweep(prefix, age, now).await,
            Chosen::Builtin(store) => store.sweep(age).await,
        }
    }
}
