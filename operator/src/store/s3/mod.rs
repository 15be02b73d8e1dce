//! Any S3-compatible endpoint, through the AWS SDK.
//!
//! The operator holds the credential and does everything but carrying the bytes: sidecars PUT parts to presigned
//! URLs, people GET objects from them. Every upload is a multipart upload, so that an artifact that isn't whole is
//! never an object, and whatever is left over can be listed and aborted.
//!
//! # Caveats
//! - A presigned part URL can't bound the length of its body. [`S3Store::complete`] therefore asks the store for
//!   the parts' sizes before an object comes into being.
//! - A URL that was signed with temporary credentials ends with them. They are renewed when less than
//!   [`CREDENTIAL_RESERVE`] is left of them, so URLs are good for that long at least.
//! - `MinIO` lists unfinished uploads by whole key only; [`S3Store::abort`] by key and id works everywhere.

mod connect;
mod failure;

use super::{
    Body, Download, Folder, Key, Listing, Media, Prefix, StoreError, StoreErrorKind, UploadId, parts,
};
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    presigning::PresigningConfig,
    primitives::{ByteStream, DateTime},
    types::{CompletedMultipartUpload, CompletedPart, MultipartUpload, ServerSideEncryption},
};
use bytes::Bytes;
use jiff::Timestamp;
use pitwall_protocol::Part;
use std::time::{Duration, SystemTime};

/// How much life a temporary credential has left at least when it signs.
const CREDENTIAL_RESERVE: Duration = Duration::from_mins(20);
/// The longest life of a presigned URL.
const MAX_TTL: Duration = Duration::from_hours(7 * 24);
/// How many pages of a listing are read at most; a page has up to a thousand entries.
const MAX_PAGES: usize = 100;

/// A bucket.
#[derive(Debug)]
pub(super) struct S3Store {
    client: Client,
    bucket: String,
    kms_key_id: Option<String>,
    ca: Option<String>,
    place: String,
}

impl S3Store {
    pub(super) fn ca(&self) -> Option<String> {
        self.ca.clone()
    }

    fn error<E>(&self, tried: impl Into<String>, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        failure::failure(&self.place, tried.into(), error)
    }

    fn presigning(&self, ttl: Duration, now: Timestamp) -> Result<PresigningConfig, StoreError> {
        PresigningConfig::builder()
            .start_time(SystemTime::from(now))
            .expires_in(ttl.min(MAX_TTL))
            .build()
            .map_err(|error| {
                StoreError::new(StoreErrorKind::Other, &self.place, "signing a URL", error.to_string())
            })
    }

    pub(super) async fn begin(&self, key: &Key, media: &Media) -> Result<UploadId, StoreError> {
        let mut call = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .content_type(&media.content_type)
            .set_content_encoding(media.content_encoding.clone())
            .content_disposition(media.disposition());
        if let Some(id) = &self.kms_key_id {
            call = call.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(id);
        }
        let tried = || format!("beginning the upload of {key}");
        let begun = call.send().await.map_err(|error| self.error(tried(), &error))?;
        UploadId::parse(begun.upload_id.as_deref().unwrap_or_default()).map_err(|_| {
            StoreError::new(StoreErrorKind::Other, &self.place, tried(), "an answer without an upload id")
        })
    }

    pub(super) async fn sign_parts(
        &self,
        key: &Key,
        upload: &UploadId,
        numbers: std::ops::RangeInclusive<u32>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let presigning = self.presigning(ttl, now)?;
        let mut urls = Vec::new();
        for number in numbers {
            let call = self
                .client
                .upload_part()
                .bucket(&self.bucket)
                .key(key.as_str())
                .upload_id(upload.as_str())
                .part_number(i32::try_from(number).unwrap_or(i32::MAX));
            let signed = call
                .presigned(presigning.clone())
                .await
                .map_err(|error| self.error(format!("signing the URL of a part of {key}"), &error))?;
            urls.push(signed.uri().to_owned());
        }
        Ok(urls)
    }

    pub(super) async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        claimed: &[Part],
        max_bytes: u64,
    ) -> Result<u64, StoreError> {
        let stored = match self.stored_parts(key, upload).await {
            // Completed earlier, by a call whose answer was lost: then the object is there.
            Err(error) if error.is_not_found() => return self.completed(key, claimed, error).await,
            stored => stored?,
        };
        let tried = || format!("completing the upload of {key}");
        let total = match parts::check(claimed, &stored, max_bytes) {
            Ok(total) => total,
            Err(problem) => {
                // It never becomes an object; the sweep has it if this fails.
                let _ = self.abort(key, upload).await;
                return Err(StoreError::new(problem.kind(), &self.place, tried(), problem.to_string()));
            }
        };
        let list = claimed.iter().map(|part| {
            CompletedPart::builder()
                .part_number(i32::try_from(part.number).unwrap_or(i32::MAX))
                .e_tag(&part.etag)
                .build()
        });
        let done = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(upload.as_str())
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(list.collect())).build())
            .send()
            .await
            .map_err(|error| self.error(tried(), &error));
        match done {
            Ok(_) => Ok(total),
            // Another call was faster, or a retry within the SDK met what its first try had done.
            Err(error) if error.is_not_found() => self.completed(key, claimed, error).await,
            Err(error) => Err(error),
        }
    }

    /// The object's length if it is the one that these parts make; otherwise the error that led here.
    async fn completed(&self, key: &Key, claimed: &[Part], missing: StoreError) -> Result<u64, StoreError> {
        let claimed: u64 = claimed.iter().map(|part| part.bytes).sum();
        let head = self.client.head_object().bucket(&self.bucket).key(key.as_str()).send().await;
        let stored = match head {
            Ok(head) => head.content_length.and_then(|bytes| u64::try_from(bytes).ok()),
            Err(error) => {
                let error = self.error(format!("looking whether {key} is complete"), &error);
                return Err(if error.is_not_found() { missing } else { error });
            }
        };
        if stored == Some(claimed) && claimed > 0 { Ok(claimed) } else { Err(missing) }
    }

    async fn stored_parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<parts::StoredPart>, StoreError> {
        let mut stored = Vec::new();
        let mut marker = None;
        for _ in 0..MAX_PAGES {
            let page = self
                .client
                .list_parts()
                .bucket(&self.bucket)
                .key(key.as_str())
                .upload_id(upload.as_str())
                .set_part_number_marker(marker.take())
                .send()
                .await
                .map_err(|error| self.error(format!("listing the parts of {key}"), &error))?;
            stored.extend(page.parts().iter().map(|part| parts::StoredPart {
                number: part.part_number().and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
                etag: part.e_tag().unwrap_or_default().to_owned(),
                bytes: part.size().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
            }));
            marker.clone_from(&page.next_part_number_marker);
            if page.is_truncated() != Some(true) || marker.is_none() {
                break;
            }
        }
        Ok(stored)
    }

    pub(super) async fn abort(&self, key: &Key, upload: &UploadId) -> Result<(), StoreError> {
        let aborted = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(upload.as_str())
            .send()
            .await
            .map_err(|error| self.error(format!("aborting the upload of {key}"), &error));
        match aborted {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn abort_folder(&self, folder: &Folder) -> Result<u32, StoreError> {
        self.abort_uploads(&folder.as_start(), |_| true).await
    }

    pub(super) async fn sweep(
        &self,
        prefix: &Prefix,
        older_than: Duration,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let limit = DateTime::from(SystemTime::from(now - older_than));
        self.abort_uploads(&prefix.as_start(), |upload| {
            upload.initiated().is_some_and(|initiated| initiated < &limit)
        })
        .await
    }

    async fn abort_uploads(
        &self,
        start: &str,
        chosen: impl Fn(&MultipartUpload) -> bool,
    ) -> Result<u32, StoreError> {
        let mut aborted = 0;
        for (key, upload) in self.uploads(start, chosen).await? {
            // Under a prefix that others share, only what has a key of our shape is ours.
            if let Ok(key) = Key::parse(&key) {
                self.abort(&key, &upload).await?;
                aborted += 1;
            }
        }
        Ok(aborted)
    }

    async fn uploads(
        &self,
        start: &str,
        chosen: impl Fn(&MultipartUpload) -> bool,
    ) -> Result<Vec<(String, UploadId)>, StoreError> {
        let mut found = Vec::new();
        let mut marker = (None, None);
        for _ in 0..MAX_PAGES {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&self.bucket)
                .prefix(start)
                .set_key_marker(marker.0)
                .set_upload_id_marker(marker.1)
                .send()
                .await
                .map_err(|error| {
                    self.error(format!("listing the unfinished uploads under {start}"), &error)
                })?;
            for upload in page.uploads().iter().filter(|upload| chosen(upload)) {
                if let (Some(key), Some(id)) = (upload.key(), upload.upload_id())
                    && key.starts_with(start)
                {
                    found.push((key.to_owned(), UploadId::parse(id)?));
                }
            }
            marker = (page.next_key_marker.clone(), page.next_upload_id_marker.clone());
            if page.is_truncated() != Some(true) || marker.0.is_none() {
                break;
            }
        }
        Ok(found)
    }

    async fn objects(&self, folder: &Folder) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(folder.as_start())
                .set_continuation_token(token.take())
                .send()
                .await
                .map_err(|error| self.error(format!("listing {folder}"), &error))?;
            found.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            token.clone_from(&page.next_continuation_token);
            if page.is_truncated() != Some(true) || token.is_none() {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn list(&self, folder: &Folder) -> Result<Listing, StoreError> {
        Ok(Listing {
            objects: self.objects(folder).await?,
            uploads: self
                .uploads(&folder.as_start(), |_| true)
                .await?
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
        })
    }

    /// One by one: deleting many at once needs a checksum that not every S3 takes, and folders are small.
    pub(super) async fn delete_folder(&self, folder: &Folder) -> Result<(), StoreError> {
        self.abort_folder(folder).await?;
        for key in self.objects(folder).await? {
            self.client
                .delete_object()
                .bucket(&self.bucket)
                .key(&key)
                .send()
                .await
                .map_err(|error| self.error(format!("deleting {key}"), &error))?;
        }
        Ok(())
    }

    pub(super) async fn open(&self, key: &Key) -> Result<Body, StoreError> {
        let object = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .send()
            .await
            .map_err(|error| self.error(format!("reading {key}"), &error))?;
        Ok(Box::pin(object.body.into_async_read()))
    }

    pub(super) async fn put_small(&self, key: &Key, bytes: Bytes, media: &Media) -> Result<(), StoreError> {
        let mut call = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .content_type(&media.content_type)
            .set_content_encoding(media.content_encoding.clone())
            .content_disposition(media.disposition())
            .body(ByteStream::from(bytes));
        if let Some(id) = &self.kms_key_id {
            call = call.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(id);
        }
        call.send().await.map_err(|error| self.error(format!("writing {key}"), &error))?;
        Ok(())
    }

    pub(super) async fn sign_get(
        &self,
        key: &Key,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Download, StoreError> {
        let signed = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .presigned(self.presigning(ttl, now)?)
            .await
            .map_err(|error| self.error(format!("signing the URL of {key}"), &error))?;
        Ok(Download { url: signed.uri().to_owned(), service: None, ca: self.ca.clone() })
    }
}
