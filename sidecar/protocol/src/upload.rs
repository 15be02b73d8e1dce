//! The parts of an artifact and the URLs that they go to.

use serde::{Deserialize, Serialize};

/// Leave to upload consecutive parts of one artifact.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadGrant {
    /// The store's name for this multipart upload; the sidecar hands it back in [`Uploaded`].
    pub upload_id: String,
    /// Bytes of every part but the last. The store may refuse a shorter one at completion.
    pub part_size: u64,
    /// The number of the part that the first URL is for; parts count from 1.
    pub first_part: u32,
    /// One signed PUT URL a part.
    pub urls: Vec<String>,
    /// How long the URLs are good for, in milliseconds from now.
    pub expires_in_ms: u64,
    /// Which of the session's artifacts; empty: the first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact: String,
}

impl std::fmt::Debug for UploadGrant {
    /// Signed URLs are credentials: they stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadGrant")
            .field("part_size", &self.part_size)
            .field("first_part", &self.first_part)
            .field("urls", &self.urls.len())
            .finish_non_exhaustive()
    }
}

/// One part that the store took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The part's number, from 1.
    pub number: u32,
    /// The `ETag` header of the store's answer, quotes included if it had any.
    pub etag: String,
    /// The part's length in bytes.
    pub bytes: u64,
}

/// An artifact of a session that has more than one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedArtifact {
    /// Its name, unique in the session: `worker-3` of the worker thread with the `threadId` 3. See
    /// [`is_artifact_name`].
    pub name: String,
    /// What was stored.
    pub uploaded: Uploaded,
}

/// Whether this can be an artifact's name: 1 to 24 of `a-z`, `0-9` and `-`. It becomes part of a key.
pub fn is_artifact_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=24).contains(&name.len()) && name.bytes().all(is_plain)
}

/// An artifact whose parts are all at the store; the operator completes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uploaded {
    /// From the [`UploadGrant`]. The operator uses it only with the key that it made itself.
    pub upload_id: String,
    /// Every part, in order.
    pub parts: Vec<Part>,
    /// Bytes as stored, that is, compressed.
    pub bytes: u64,
    /// Bytes before compression.
    pub uncompressed_bytes: u64,
    /// Lower-case hex SHA-256 of the bytes as stored. The operator checks it against the store's copy.
    pub sha256: String,
}
