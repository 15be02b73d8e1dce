//! Which store, and how it is reached.

use super::{KeyError, Prefix, builtin::client::AddressError};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Settings that make no store.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// S3 without a bucket.
    #[error("--s3-bucket is needed with --store s3")]
    NoBucket,
    /// An endpoint that is no URL.
    #[error("--s3-endpoint is {0:?}; it is a URL, such as https://s3.example:9000")]
    Endpoint(String),
    /// The CA's file can't be read.
    #[error("--s3-ca-file: reading {path}: {source}")]
    CaFile {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A CA that no client can trust.
    #[error("the store's CA: {0}")]
    Ca(String),
    /// An address that the built-in store can't have.
    #[error("--builtin-url: {0}")]
    Address(#[from] AddressError),
}

/// Which store, and how it is reached.
#[derive(Clone, Debug, Args)]
#[group(id = "store-settings")]
pub struct Settings {
    /// Where artifacts go.
    #[arg(long = "store", value_enum, default_value = "builtin")]
    pub kind: Kind,
    /// The built-in store's address, such as <https://pitwall-store.pitwall-system.svc:8443>.
    #[arg(long, default_value = "")]
    pub builtin_url: String,
    /// S3.
    #[command(flatten)]
    pub s3: S3,
}

/// The kinds of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The one that comes with Pitwall.
    Builtin,
    /// Any that speaks S3.
    S3,
}

/// How S3 is reached. Credentials come from the environment or from the pod's web identity.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "s3-settings")]
pub struct S3 {
    /// The bucket, which must exist.
    #[arg(long = "s3-bucket", default_value = "")]
    pub bucket: String,
    /// What stands before every key, for a bucket that is shared.
    #[arg(long = "s3-prefix", default_value = "")]
    pub prefix: String,
    /// The endpoint, where it isn't AWS.
    #[arg(long = "s3-endpoint")]
    pub endpoint: Option<String>,
    /// The region.
    #[arg(long = "s3-region", env = "AWS_REGION", default_value = "us-east-1")]
    pub region: String,
    /// Put the bucket into the path instead of the host name.
    #[arg(long = "s3-path-style")]
    pub path_style: bool,
    /// A PEM file with the endpoint's private CA.
    #[arg(long = "s3-ca-file")]
    pub ca_file: Option<PathBuf>,
    /// Encrypt objects with this KMS key.
    #[arg(long = "s3-kms-key-id")]
    pub kms_key_id: Option<String>,
}

impl Settings {
    /// What stands before every key.
    pub fn prefix(&self) -> Result<Prefix, KeyError> {
        match self.kind {
            Kind::S3 => Prefix::parse(&self.s3.prefix),
            Kind::Builtin => Ok(Prefix::default()),
        }
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::S3 => write!(f, "s3 bucket {}", self.s3.bucket),
            Kind::Builtin => write!(f, "built-in at {}", self.builtin_url),
        }
    }
}
