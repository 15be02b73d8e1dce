//! What a store's refusal means, so that the reconciler can act on it and a person can.

/// What went wrong, as far as it changes what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The credential or the signature isn't accepted, or doesn't allow this.
    Refused,
    /// The bucket isn't there.
    NoSuchBucket,
    /// No space or quota left.
    Full,
    /// No answer in time, or one that says to come back later. Retried within bounds already.
    Unreachable,
    /// No such object or upload.
    NotFound,
    /// More bytes than were allowed.
    TooLarge,
    /// The parts at the store aren't those that were claimed.
    Mismatch,
    /// Anything else; the message says what was seen.
    Other,
}

impl StoreErrorKind {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable)
    }

    /// What a person can do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Refused => "check the store's credentials and that they allow this",
            Self::NoSuchBucket => "create the bucket, or name another in the chart's values",
            Self::Full => {
                "make space: lower ttlAfterFinished, delete old requests, or grow the volume or quota"
            }
            Self::Unreachable => "check that the store runs and that the network lets Pitwall reach it",
            Self::NotFound => "it was deleted, or never stored",
            Self::TooLarge => "record for a shorter time or at a longer sampling interval",
            Self::Mismatch => "the artifact was not stored; make a new request",
            Self::Other => "see the operator's log and the store's own",
        }
    }
}

/// A call to the store that failed: where, what was tried, what the store answered, what to do.
///
/// The message holds no signed URL and no credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tried} at {place}: {seen}; {}", .kind.advice())]
pub struct StoreError {
    /// What it means.
    pub kind: StoreErrorKind,
    /// Endpoint and bucket.
    pub place: String,
    /// The attempted step and its object.
    pub tried: String,
    /// The store's answer.
    pub seen: String,
}

impl StoreError {
    pub(super) fn new(
        kind: StoreErrorKind,
        place: &str,
        tried: impl Into<String>,
        seen: impl Into<String>,
    ) -> Self {
        Self { kind, place: place.to_owned(), tried: tried.into(), seen: seen.into() }
    }

    /// Whether the thing that was asked for isn't there.
    pub fn is_not_found(&self) -> bool {
        self.kind == StoreErrorKind::NotFound
    }
}
