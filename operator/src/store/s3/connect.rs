//! The S3 client: roots of trust, credentials, timeouts.

use super::{CREDENTIAL_RESERVE, S3Store};
use crate::store::settings::{S3, SettingsError};
use aws_config::{BehaviorVersion, Region, SdkConfig, identity::IdentityCache};
use aws_sdk_s3::{
    Client,
    config::{
        RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::time::Duration;

impl S3Store {
    /// Makes the client. Nothing is sent yet. Credentials come from the environment, as the AWS SDK looks for them:
    /// static keys (`AWS_ACCESS_KEY_ID`), a web identity (IRSA), EKS Pod Identity, or the instance.
    pub(in crate::store) async fn connect(settings: &S3) -> Result<Self, SettingsError> {
        if settings.bucket.is_empty() {
            return Err(SettingsError::NoBucket);
        }
        // Charts pass what isn't set as an empty value.
        let endpoint = settings.endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| url::Url::parse(endpoint).is_err()) {
            return Err(SettingsError::Endpoint(endpoint.clone()));
        }
        let place =
            format!("s3://{} ({})", settings.bucket, endpoint.as_deref().unwrap_or("Amazon's endpoint"));
        let ca = match settings.ca_file.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            None => None,
            Some(path) => Some(
                tokio::fs::read_to_string(path)
                    .await
                    .map_err(|source| SettingsError::CaFile { path: path.clone(), source })?,
            ),
        };
        let http = http_client(ca.as_deref()).map_err(SettingsError::Ca)?;
        let shared = shared_config(&settings.region, http).await;
        let mut config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(settings.path_style)
            // Not every S3 knows the newer checksums; TLS and the artifact's own sha256 cover the way.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        config.set_endpoint_url(endpoint);
        Ok(Self {
            client: Client::from_conf(config.build()),
            bucket: settings.bucket.clone(),
            kms_key_id: settings.kms_key_id.clone().filter(|id| !id.is_empty()),
            ca,
            place,
        })
    }
}

/// What the S3 client and the one that fetches credentials share.
async fn shared_config(region: &str, http: SharedHttpClient) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(30))
        .operation_attempt_timeout(Duration::from_mins(1))
        .operation_timeout(Duration::from_mins(2))
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(region.to_owned()))
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().build())
        .identity_cache(IdentityCache::lazy().buffer_time(CREDENTIAL_RESERVE).build())
        .load()
        .await
}

/// A client that trusts the public roots, which are compiled in (the images have no files), and `ca`.
fn http_client(ca: Option<&str>) -> Result<SharedHttpClient, String> {
    let mut trust = TrustStore::empty();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        trust.add_pem_certificate(pem(root));
    }
    if let Some(ca) = ca {
        // The client takes what isn't a certificate as a panic at the first call, so look now.
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(ca.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("it isn't PEM: {error}"))?;
        if certificates.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.clone()).map_err(|error| error.to_string())?;
            trust.add_pem_certificate(pem(&certificate));
        }
    }
    let context = TlsContext::builder().with_trust_store(trust).build().map_err(|error| error.to_string())?;
    Ok(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https())
}

/// The client takes certificates as PEM only.
fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
