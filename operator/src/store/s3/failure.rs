//! What an S3 endpoint's answers mean.

use super::super::{StoreError, StoreErrorKind};
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};

/// The failure of one call as a [`StoreError`].
pub(super) fn failure<E>(place: &str, tried: String, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (kind, seen) = match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().unwrap_or_default();
            let message = answer.err().message().unwrap_or_default();
            (kind_of_answer(code, status), describe(code, message, status))
        }
        SdkError::TimeoutError(_) => (StoreErrorKind::Unreachable, "no answer in time".to_owned()),
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            (kind_of_answer("", status), format!("an answer of status {status} that isn't S3's"))
        }
        other => {
            let seen = chain(other);
            // The SDK hands out a credential that can't be had as a failed dispatch.
            let kind = if seen.contains("credential") {
                StoreErrorKind::Refused
            } else {
                StoreErrorKind::Unreachable
            };
            (kind, seen)
        }
    };
    StoreError::new(kind, place, tried, seen)
}

/// By the error's code where the store names one, else by the status (answers to HEAD have no body).
fn kind_of_answer(code: &str, status: u16) -> StoreErrorKind {
    match code {
        "NoSuchBucket" => StoreErrorKind::NoSuchBucket,
        "NoSuchKey" | "NoSuchUpload" | "NotFound" => StoreErrorKind::NotFound,
        "AccessDenied"
        | "AllAccessDisabled"
        | "AuthorizationHeaderMalformed"
        | "ExpiredToken"
        | "InvalidAccessKeyId"
        | "InvalidToken"
        | "KMS.AccessDeniedException"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch" => StoreErrorKind::Refused,
        "EntityTooLarge" => StoreErrorKind::TooLarge,
        "EntityTooSmall" | "InvalidPart" | "InvalidPartOrder" => StoreErrorKind::Mismatch,
        "InsufficientStorage" | "QuotaExceeded" | "StorageFull" | "XMinioStorageFull" => StoreErrorKind::Full,
        "InternalError" | "RequestTimeout" | "ServiceUnavailable" | "SlowDown" => StoreErrorKind::Unreachable,
        _ => match status {
            401 | 403 => StoreErrorKind::Refused,
            404 => StoreErrorKind::NotFound,
            413 => StoreErrorKind::TooLarge,
            507 => StoreErrorKind::Full,
            429 | 500..=599 => StoreErrorKind::Unreachable,
            _ => StoreErrorKind::Other,
        },
    }
}

fn describe(code: &str, message: &str, status: u16) -> String {
    let mut seen = format!("status {status}");
    if !code.is_empty() {
        seen = format!("{code} ({seen})");
    }
    if !message.is_empty() && message != code {
        seen = format!("{seen}: {}", message.chars().take(300).collect::<String>());
    }
    seen
}

/// The error's causes in one line, without the SDK's debug dump of itself.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    if causes.is_empty() {
        causes.push(DisplayErrorContext(error).to_string());
    }
    causes.join(": ").chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_code_then_by_status() {
        for (code, status, kind) in [
            ("NoSuchBucket", 404, StoreErrorKind::NoSuchBucket),
            ("NoSuchUpload", 404, StoreErrorKind::NotFound),
            ("NotFound", 404, StoreErrorKind::NotFound),
            ("", 404, StoreErrorKind::NotFound),
            ("AccessDenied", 403, StoreErrorKind::Refused),
            ("SignatureDoesNotMatch", 403, StoreErrorKind::Refused),
            ("", 403, StoreErrorKind::Refused),
            ("EntityTooSmall", 400, StoreErrorKind::Mismatch),
            ("XMinioStorageFull", 507, StoreErrorKind::Full),
            ("", 507, StoreErrorKind::Full),
            ("SlowDown", 503, StoreErrorKind::Unreachable),
            ("", 502, StoreErrorKind::Unreachable),
            ("MalformedXML", 400, StoreErrorKind::Other),
        ] {
            assert_eq!(kind_of_answer(code, status), kind, "{code} {status}");
        }
    }

    #[test]
    fn a_refusal_is_told_with_what_to_do() {
        let error = StoreError::new(
            kind_of_answer("NoSuchBucket", 404),
            "s3://pitwall at https://s3.example",
            "beginning the upload of a/b",
            describe("NoSuchBucket", "The specified bucket does not exist", 404),
        );
        assert_eq!(
            error.to_string(),
            "beginning the upload of a/b at s3://pitwall at https://s3.example: NoSuchBucket (status 404): \
             The specified bucket does not exist; create the bucket, or name another in the chart's values"
        );
    }
}
