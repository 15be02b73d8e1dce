//! A store that speaks S3.

use super::{
    Body, Download, Folder, Key, Media, Prefix, StoreError, StoreErrorKind, UploadId,
    parts::{self, StoredPart},
    settings,
};
use anyhow::Context as _;
use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{RequestChecksumCalculation, ResponseChecksumValidation},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    presigning::PresigningConfig,
    primitives::DateTimeFormat,
    types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption},
};
use aws_smithy_http_client::{Builder, tls};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use pitwall_protocol::Part;
use std::time::{Duration, SystemTime};

/// Pages of a listing that one call reads: 1,000 entries each.
const MAX_PAGES: usize = 20;
/// The longest life of a presigned URL.
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) struct S3Store {
    client: Client,
    bucket: String,
    place: String,
    ca: Option<String>,
    kms_key_id: Option<String>,
}

impl S3Store {
    pub(super) async fn connect(settings: &settings::S3) -> anyhow::Result<Self> {
        anyhow::ensure!(!settings.bucket.is_empty(), "--s3-bucket is needed with --store s3");
        let ca = match &settings.ca_file {
            Some(file) => {
                let read = tokio::fs::read_to_string(file).await;
                Some(read.with_context(|| format!("reading the S3 endpoint's CA at {}", file.display()))?)
            }
            None => None,
        };
        // The image has no files to read public roots from: they are compiled in.
        let mut trust = tls::TrustStore::empty();
        for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            trust.add_pem_certificate(pem(root));
        }
        if let Some(ca) = &ca {
            trust.add_pem_certificate(ca.clone().into_bytes());
        }
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .tls_context(tls::TlsContext::builder().with_trust_store(trust).build()?)
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .read_timeout(Duration::from_secs(20))
            .operation_attempt_timeout(Duration::from_secs(20))
            .operation_timeout(Duration::from_secs(45))
            .build();
        let shared = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(settings.region.clone()))
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .load()
            .await;
        let mut config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(settings.path_style)
            // Others that speak S3 don't know the newer checksums, and the sidecar sends none.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        let endpoint = settings.endpoint.as_deref().unwrap_or("AWS S3");
        Ok(Self {
            client: Client::from_conf(config.build()),
            bucket: settings.bucket.clone(),
            place: format!("{endpoint}, bucket {}", settings.bucket),
            ca,
            kms_key_id: settings.kms_key_id.clone(),
        })
    }

    pub(super) fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    pub(super) async fn begin(&self, key: &Key, media: &Media) -> Result<UploadId, StoreError> {
        let tried = || format!("beginning the upload of {key}");
        let mut call = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .content_type(&media.content_type)
            .set_content_encoding(media.content_encoding.clone())
            .content_disposition(format!("attachment; filename=\"{}\"", media.file_name));
        if let Some(id) = &self.kms_key_id {
            call = call.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(id);
        }
        let answer = call.send().await.map_err(|error| self.error(tried(), &error))?;
        match answer.upload_id {
            Some(id) => Ok(UploadId(id)),
            None => Err(StoreError::new(
                StoreErrorKind::Other,
                &self.place,
                tried(),
                "no upload id in the answer",
            )),
        }
    }

    pub(super) async fn sign_parts(
        &self,
        key: &Key,
        upload: &UploadId,
        first: u32,
        count: u32,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let mut urls = Vec::new();
        for number in first..first.saturating_add(count) {
            let tried = || format!("signing part {number} of {key}");
            let signed = self
                .client
                .upload_part()
                .bucket(&self.bucket)
                .key(key.as_str())
                .upload_id(upload.as_str())
                .part_number(i32::try_from(number).unwrap_or(i32::MAX))
                .presigned(self.presigning(lifetime, now)?)
                .await
                .map_err(|error| self.error(tried(), &error))?;
            urls.push(signed.uri().to_owned());
        }
        Ok(urls)
    }

    fn presigning(&self, lifetime: Duration, now: Timestamp) -> Result<PresigningConfig, StoreError> {
        PresigningConfig::builder()
            .start_time(SystemTime::from(now))
            .expires_in(lifetime.min(MAX_LIFETIME))
            .build()
            .map_err(|error| {
                StoreError::new(StoreErrorKind::Other, &self.place, "signing a URL", error.to_string())
            })
    }

    pub(super) async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        claimed: &[Part],
        max: u64,
    ) -> Result<u64, StoreError> {
        let stored = match self.list_parts(key, upload).await {
            Ok(stored) => stored,
            // Completed already, by an operator that ended before it could say so.
            Err(error) if error.is_not_found() => return self.length(key).await.map_err(|_| error),
            Err(error) => return Err(error),
        };
        let tried = || format!("completing the upload of {key}");
        let total = match parts::check(claimed, &stored, max) {
            Ok(total) => total,
            Err(discrepancy) => {
                self.abort(key.as_str(), upload.as_str()).await?;
                let kind = match discrepancy {
                    parts::Discrepancy::TooLarge { .. } => StoreErrorKind::TooLarge,
                    _ => StoreErrorKind::Mismatch,
                };
                return Err(StoreError::new(kind, &self.place, tried(), discrepancy.to_string()));
            }
        };
        let parts = claimed.iter().map(|part| {
            let number = i32::try_from(part.number).unwrap_or(i32::MAX);
            CompletedPart::builder().part_number(number).e_tag(&part.etag).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(upload.as_str())
            .multipart_upload(parts)
            .send()
            .await
            .map_err(|error| self.error(tried(), &error))?;
        Ok(total)
    }

    async fn list_parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<StoredPart>, StoreError> {
        let tried = || format!("listing the parts of {key}");
        let mut stored = Vec::new();
        let mut marker = None;
        for _ in 0..MAX_PAGES {
            let page = self
                .client
                .list_parts()
                .bucket(&self.bucket)
                .key(key.as_str())
                .upload_id(upload.as_str())
                .set_part_number_marker(marker)
                .send()
                .await
                .map_err(|error| self.error(tried(), &error))?;
            stored.extend(page.parts().iter().filter_map(|part| {
                Some(StoredPart {
                    number: u32::try_from(part.part_number()?).ok()?,
                    etag: part.e_tag()?.to_owned(),
                    bytes: u64::try_from(part.size()?).ok()?,
                })
            }));
            if !page.is_truncated().unwrap_or(false) {
                break;
            }
            marker = page.next_part_number_marker;
        }
        Ok(stored)
    }

    async fn length(&self, key: &Key) -> Result<u64, StoreError> {
        let tried = || format!("looking at {key}");
        let call = self.client.head_object().bucket(&self.bucket).key(key.as_str());
        let head = call.send().await.map_err(|error| self.error(tried(), &error))?;
        Ok(head.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
    }

    async fn abort(&self, key: &str, upload: &str) -> Result<(), StoreError> {
        let call = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        match call.send().await.map_err(|error| self.error(format!("aborting the upload of {key}"), &error)) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Unfinished uploads whose key begins so, and when they began.
    async fn uploads(&self, start: &str) -> Result<Vec<(String, String, Option<Timestamp>)>, StoreError> {
        let mut found = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        for _ in 0..MAX_PAGES {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&self.bucket)
                .prefix(start)
                .set_key_marker(key_marker)
                .set_upload_id_marker(id_marker)
                .send()
                .await
                .map_err(|error| self.error(format!("listing the uploads under {start}"), &error))?;
            for upload in page.uploads() {
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
                // Some that speak S3 take the prefix loosely.
                if key.starts_with(start) {
                    let begun = upload.initiated().and_then(|time| time.fmt(DateTimeFormat::DateTime).ok());
                    found.push((key.to_owned(), id.to_owned(), begun.and_then(|text| text.parse().ok())));
                }
            }
            if !page.is_truncated().unwrap_or(false) {
                break;
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
        Ok(found)
    }

    pub(super) async fn delete_folder(&self, folder: &Folder) -> Result<(), StoreError> {
        for (key, upload, _) in self.uploads(&folder.as_start()).await? {
            self.abort(&key, &upload).await?;
        }
        for _ in 0..MAX_PAGES {
            let call = self.client.list_objects_v2().bucket(&self.bucket).prefix(folder.as_start());
            let page = call.send().await.map_err(|error| self.error(format!("listing {folder}"), &error))?;
            if page.contents().is_empty() {
                break;
            }
            for key in page.contents().iter().filter_map(|object| object.key()) {
                let call = self.client.delete_object().bucket(&self.bucket).key(key);
                call.send().await.map_err(|error| self.error(format!("deleting {key}"), &error))?;
            }
        }
        Ok(())
    }

    pub(super) async fn open(&self, key: &Key) -> Result<Body, StoreError> {
        let call = self.client.get_object().bucket(&self.bucket).key(key.as_str());
        let object = call.send().await.map_err(|error| self.error(format!("fetching {key}"), &error))?;
        Ok(Box::pin(object.body.into_async_read()))
    }

    pub(super) async fn sign_get(
        &self,
        key: &Key,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Download, StoreError> {
        let signed = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .presigned(self.presigning(lifetime, now)?)
            .await
            .map_err(|error| self.error(format!("signing a URL for {key}"), &error))?;
        Ok(Download { url: signed.uri().to_owned(), service: None, ca: self.ca.clone() })
    }

    pub(super) async fn sweep(
        &self,
        prefix: &Prefix,
        age: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for (key, upload, begun) in self.uploads(&prefix.as_start()).await? {
            let old =
                begun.is_some_and(|begun| now.duration_since(begun).unsigned_abs() > age && begun < now);
            if old {
                tracing::info!(key, "aborting an upload that nobody finished");
                self.abort(&key, &upload).await?;
            }
        }
        Ok(())
    }

    fn error<E>(&self, tried: String, error: &SdkError<E>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let kind = match (error.code(), status) {
            (Some("NoSuchBucket"), _) => StoreErrorKind::NoSuchBucket,
            (Some("NoSuchKey" | "NoSuchUpload" | "NotFound"), _) => StoreErrorKind::NotFound,
            (Some("EntityTooLarge"), _) => StoreErrorKind::TooLarge,
            (Some("QuotaExceeded" | "XMinioStorageFull"), _) | (_, Some(507)) => StoreErrorKind::Full,
            (_, Some(401 | 403)) => StoreErrorKind::Refused,
            (_, Some(404)) => StoreErrorKind::NotFound,
            (_, Some(429 | 500..=599) | None) => StoreErrorKind::Unreachable,
            _ => StoreErrorKind::Other,
        };
        let seen = match (error.code(), status) {
            (Some(code), Some(status)) => format!("{status} {code} {}", error.message().unwrap_or_default()),
            _ => DisplayErrorContext(error).to_string().chars().take(300).collect(),
        };
        StoreError::new(kind, &self.place, tried, seen)
    }
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")).into_bytes()
}
