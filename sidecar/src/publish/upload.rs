//! Which part goes where and when, over retries and new grants. Pure.

use super::spool::Spooled;
use crate::attach::ladder::failure;
use pitwall_protocol::{Failure, FailureReason, Part, UploadGrant, Uploaded};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often one part is tried within one grant: some five minutes on average, if the request's deadline is
/// that far.
const MOST_TRIES: u32 = 30;
/// How often an upload is begun anew.
const MOST_UPLOADS: u32 = 4;
/// The pause after the first failure; it doubles, and its length is drawn between nothing and this.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// URLs this close to their end aren't used any more.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5);
/// S3's highest part number.
const MOST_PARTS: u64 = 10_000;

/// One part to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Put {
    /// Its number, from 1.
    pub number: u32,
    /// Where to.
    pub url: String,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

impl std::fmt::Debug for Put {
    /// Signed URLs are credentials: they stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Put")
            .field("number", &self.number)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Why the store didn't take a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutError {
    /// The URL isn't good (any more), or its upload is gone: 403 or 404. A new grant may help.
    Grant(String),
    /// The store refused for good.
    Refused(String),
    /// The store has no room.
    Full(String),
    /// The network, or a store that is ill: try again.
    Transient(String),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send a part.
    Put(Put),
    /// Ask for URLs.
    NeedParts {
        /// The upload that goes on; empty for a new one.
        upload_id: String,
        /// The first part without a URL.
        first_part: u32,
    },
    /// Nothing, until something happens or the pause is over.
    Wait,
    /// Every part is at the store.
    Stored(Uploaded),
    /// It can't be done.
    Failed(Failure),
}

/// One artifact on its way to the store.
#[derive(Clone, Debug)]
pub struct Upload {
    spooled: Spooled,
    grant: Option<Grant>,
    parts: Vec<Part>,
    in_flight: Option<u32>,
    asked: bool,
    tries: u32,
    uploads: u32,
    pause_until: Option<Instant>,
    last_error: Option<PutError>,
}

#[derive(Clone)]
struct Grant {
    upload_id: String,
    part_size: u64,
    urls: BTreeMap<u32, String>,
    expires: Instant,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant")
            .field("part_size", &self.part_size)
            .field("urls", &self.urls.len())
            .finish_non_exhaustive()
    }
}

impl Upload {
    /// An upload that has no grant yet.
    pub fn new(spooled: Spooled) -> Self {
        Self {
            spooled,
            grant: None,
            parts: vec![],
            in_flight: None,
            asked: false,
            tries: 0,
            uploads: 0,
            pause_until: None,
            last_error: None,
        }
    }

    /// The file.
    pub fn spooled(&self) -> &Spooled {
        &self.spooled
    }

    /// Bytes that the store has taken.
    pub fn sent_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// When the present pause between two tries is over.
    pub fn pause_until(&self) -> Option<Instant> {
        self.pause_until
    }

    /// Takes in a grant: more URLs for the present upload, or a new upload, which begins at the first part.
    /// Says whether a part is on its way to an upload that counts no more, and is to be dropped.
    #[must_use]
    pub fn grant(&mut self, grant: UploadGrant, now: Instant) -> bool {
        self.asked = false;
        let expires = now + Duration::from_millis(grant.expires_in_ms);
        let urls = (grant.first_part..).zip(grant.urls);
        match &mut self.grant {
            Some(present) if present.upload_id == grant.upload_id && present.part_size == grant.part_size => {
                present.urls.extend(urls);
                // The older URLs may end sooner; a 403 says so then.
                present.expires = expires;
                false
            }
            _ => {
                self.parts.clear();
                self.tries = 0;
                self.uploads += 1;
                self.grant = Some(Grant {
                    upload_id: grant.upload_id,
                    part_size: grant.part_size,
                    urls: urls.collect(),
                    expires,
                });
                self.in_flight.take().is_some()
            }
        }
    }

    /// The connection to the operator is new: what was asked on the old one may be lost.
    pub fn ask_again(&mut self) {
        self.asked = false;
    }

    /// What is to be done now. A [`Step::Put`] counts as on its way from then on.
    pub fn step(&mut self, now: Instant) -> Step {
        if self.in_flight.is_some() {
            return Step::Wait;
        }
        if let Some(until) = self.pause_until {
            if now < until {
                return Step::Wait;
            }
            self.pause_until = None;
        }
        if self.grant.as_ref().is_some_and(|grant| now + EXPIRY_MARGIN >= grant.expires) {
            self.grant = None;
        }
        let Some(grant) = &self.grant else {
            if self.uploads >= MOST_UPLOADS {
                return Step::Failed(self.exhausted());
            }
            return self.ask(String::new(), 1);
        };
        if grant.part_size == 0 || self.spooled.bytes.div_ceil(grant.part_size) > MOST_PARTS {
            return Step::Failed(failure(
                FailureReason::UploadFailed,
                format!(
                    "{} bytes in parts of {} bytes aren't an upload that a store takes; the operator's grant is wrong",
                    self.spooled.bytes, grant.part_size
                ),
            ));
        }
        let number = u32::try_from(self.parts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let offset = u64::from(number - 1) * grant.part_size;
        if offset >= self.spooled.bytes {
            return Step::Stored(Uploaded {
                upload_id: grant.upload_id.clone(),
                parts: self.parts.clone(),
                bytes: self.spooled.bytes,
                uncompressed_bytes: self.spooled.uncompressed_bytes,
                sha256: self.spooled.sha256.clone(),
            });
        }
        let Some(url) = grant.urls.get(&number).cloned() else {
            let upload_id = grant.upload_id.clone();
            return self.ask(upload_id, number);
        };
        self.in_flight = Some(number);
        Step::Put(Put { number, url, offset, length: grant.part_size.min(self.spooled.bytes - offset) })
    }

    fn ask(&mut self, upload_id: String, first_part: u32) -> Step {
        if self.asked {
            return Step::Wait;
        }
        self.asked = true;
        Step::NeedParts { upload_id, first_part }
    }

    /// Takes in what became of the part that was on its way. `jitter` is drawn from 0 to 1.
    pub fn put_done(&mut self, result: Result<Part, PutError>, now: Instant, jitter: f64) {
        let Some(number) = self.in_flight.take() else { return };
        match result {
            Ok(part) => {
                debug_assert_eq!((part.number, number as usize), (number, self.parts.len() + 1));
                self.parts.push(part);
                self.tries = 0;
                self.last_error = None;
            }
            Err(error) => {
                self.tries += 1;
                let pause = FIRST_PAUSE.saturating_mul(1 << self.tries.min(10)).min(LONGEST_PAUSE);
                self.pause_until = Some(now + pause.mul_f64(jitter.clamp(0.0, 1.0)));
                match &error {
                    PutError::Grant(_) => self.grant = None,
                    PutError::Refused(_) | PutError::Full(_) => {
                        self.grant = None;
                        self.uploads = MOST_UPLOADS;
                    }
                    PutError::Transient(_) if self.tries >= MOST_TRIES => {
                        self.grant = None;
                        self.uploads = MOST_UPLOADS;
                    }
                    PutError::Transient(_) => {}
                }
                self.last_error = Some(error);
                if self.uploads >= MOST_UPLOADS && self.grant.is_none() {
                    self.pause_until = None;
                }
            }
        }
    }

    /// What went wrong last, if it hasn't gone well since.
    pub fn trouble(&self) -> Option<&str> {
        self.last_error.as_ref().map(|error| match error {
            PutError::Grant(text)
            | PutError::Refused(text)
            | PutError::Full(text)
            | PutError::Transient(text) => text.as_str(),
        })
    }

    fn exhausted(&self) -> Failure {
        let (what, seen) = match &self.last_error {
            Some(PutError::Grant(text)) => ("refused every URL that the operator signed", text.as_str()),
            Some(PutError::Refused(text)) => ("refused the upload", text.as_str()),
            Some(PutError::Full(text)) => {
                return failure(
                    FailureReason::StoreFull,
                    format!("uploaded {} bytes, and the store has no room: {text}", self.spooled.bytes),
                );
            }
            Some(PutError::Transient(text)) => ("couldn't be reached", text.as_str()),
            None => ("took no part before the operator's URLs ended", "no error"),
        };
        failure(
            FailureReason::UploadFailed,
            format!(
                "uploaded {} bytes, and the store {what}: {seen}. Look at the store's address, credentials, \
                 bucket and free space in the operator's configuration",
                self.spooled.bytes
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spooled(bytes: u64) -> Spooled {
        Spooled { file: "f".into(), bytes, uncompressed_bytes: bytes * 7, sha256: "aa".into() }
    }

    fn grant(id: &str, part_size: u64, first_part: u32, urls: usize) -> UploadGrant {
        UploadGrant {
            upload_id: id.into(),
            part_size,
            first_part,
            urls: (0..urls).map(|at| format!("https://store/{id}/{}", at + first_part as usize)).collect(),
            expires_in_ms: 60_000,
            artifact: String::new(),
        }
    }

    fn part(number: u32, bytes: u64) -> Part {
        Part { number, etag: format!("\"{number}\""), bytes }
    }

    #[expect(clippy::disallowed_methods, reason = "a test's first instant")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Takes in a grant while nothing is on its way.
    fn granted(upload: &mut Upload, grant: UploadGrant, now: Instant) {
        assert!(!upload.grant(grant, now));
    }

    fn put(upload: &mut Upload, now: Instant) -> Put {
        match upload.step(now) {
            Step::Put(put) => put,
            other => panic!("{other:?}"),
        }
    }

    fn transient() -> Result<Part, PutError> {
        Err(PutError::Transient("503".into()))
    }

    #[test]
    fn parts_cover_the_file_once_and_in_order() {
        let now = start();
        for (bytes, part_size, expected) in
            [(1, 10, vec![1]), (10, 10, vec![10]), (25, 10, vec![10, 10, 5]), (30, 10, vec![10, 10, 10])]
        {
            let mut upload = Upload::new(spooled(bytes));
            granted(&mut upload, grant("u", part_size, 1, 5), now);
            let mut lengths = vec![];
            let stored = loop {
                match upload.step(now) {
                    Step::Put(put) => {
                        assert_eq!(put.offset, lengths.iter().sum::<u64>());
                        assert_eq!(upload.step(now), Step::Wait, "one part at a time");
                        lengths.push(put.length);
                        upload.put_done(Ok(part(put.number, put.length)), now, 1.0);
                    }
                    Step::Stored(stored) => break stored,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(lengths, expected);
            assert_eq!(
                (stored.upload_id.as_str(), stored.bytes, stored.parts.len()),
                ("u", bytes, expected.len())
            );
            assert_eq!(upload.sent_bytes(), bytes);
        }
    }

    #[test]
    fn more_urls_are_asked_for_once_and_again_after_a_reconnect() {
        let now = start();
        let mut upload = Upload::new(spooled(25));
        granted(&mut upload, grant("u", 10, 1, 1), now);
        let first = put(&mut upload, now);
        upload.put_done(Ok(part(1, first.length)), now, 1.0);
        let asked = Step::NeedParts { upload_id: "u".into(), first_part: 2 };
        assert_eq!(upload.step(now), asked);
        assert_eq!(upload.step(now), Step::Wait);
        upload.ask_again();
        assert_eq!(upload.step(now), asked);
        granted(&mut upload, grant("u", 10, 2, 2), now);
        assert_eq!(put(&mut upload, now).number, 2);
    }

    #[test]
    fn an_expired_grant_begins_a_new_upload_at_the_first_part() {
        let now = start();
        let mut upload = Upload::new(spooled(25));
        granted(&mut upload, grant("u", 10, 1, 3), now);
        put(&mut upload, now);
        upload.put_done(Ok(part(1, 10)), now, 1.0);
        let later = now + Duration::from_secs(58);
        assert_eq!(upload.step(later), Step::NeedParts { upload_id: String::new(), first_part: 1 });
        granted(&mut upload, grant("v", 10, 1, 3), later);
        assert_eq!(upload.sent_bytes(), 0);
        assert_eq!(put(&mut upload, later).url, "https://store/v/1");
    }

    #[test]
    fn a_part_of_a_replaced_upload_counts_for_nothing() {
        let now = start();
        let mut upload = Upload::new(spooled(25));
        granted(&mut upload, grant("u", 10, 1, 3), now);
        put(&mut upload, now);
        upload.put_done(Ok(part(1, 10)), now, 1.0);
        put(&mut upload, now);
        assert!(!upload.grant(grant("u", 10, 3, 1), now), "more URLs leave it on its way");
        assert!(upload.grant(grant("v", 10, 1, 3), now), "the part that is on its way is to be dropped");
        assert_eq!((upload.sent_bytes(), put(&mut upload, now).number), (0, 1));
    }

    #[test]
    fn a_passing_error_is_tried_again_after_a_growing_pause_and_not_for_ever() {
        let mut now = start();
        let mut upload = Upload::new(spooled(5));
        granted(&mut upload, UploadGrant { expires_in_ms: 3_600_000, ..grant("u", 10, 1, 1) }, now);
        let mut pauses = vec![];
        let failure = loop {
            match upload.step(now) {
                Step::Put(_) => upload.put_done(transient(), now, 1.0),
                Step::Wait => {
                    let until = upload.pause_until().unwrap();
                    pauses.push(until - now);
                    now = until;
                }
                Step::Failed(failure) => break failure,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(pauses.len(), MOST_TRIES as usize - 1);
        let first: Vec<_> = pauses.iter().take(6).map(Duration::as_secs).collect();
        assert_eq!(first, [1, 2, 4, 8, 16, 20]);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert_eq!(failure.reason, FailureReason::UploadFailed);
        assert!(failure.message.contains("503"));
    }

    #[test]
    fn refused_urls_get_a_few_new_uploads_and_a_refusal_for_good_gets_none() {
        let now = start();
        let mut upload = Upload::new(spooled(5));
        let mut uploads = 0;
        let failure = loop {
            match upload.step(now) {
                Step::Put(_) => upload.put_done(Err(PutError::Grant("AccessDenied".into())), now, 0.0),
                Step::NeedParts { upload_id, first_part } => {
                    assert_eq!((upload_id.as_str(), first_part), ("", 1));
                    uploads += 1;
                    granted(&mut upload, grant(&format!("u{uploads}"), 10, 1, 1), now);
                }
                Step::Failed(failure) => break failure,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(uploads, MOST_UPLOADS);
        assert!(failure.message.contains("AccessDenied"));

        let mut upload = Upload::new(spooled(5));
        granted(&mut upload, grant("u", 10, 1, 1), now);
        put(&mut upload, now);
        upload.put_done(Err(PutError::Refused("EntityTooLarge".into())), now, 1.0);
        assert!(
            matches!(upload.step(now), Step::Failed(failure) if failure.message.contains("EntityTooLarge"))
        );
    }

    #[test]
    fn a_senseless_grant_is_refused() {
        let now = start();
        for part_size in [0, 1] {
            let mut upload = Upload::new(spooled(20_000));
            granted(&mut upload, grant("u", part_size, 1, 1), now);
            assert!(matches!(upload.step(now), Step::Failed(_)), "{part_size}");
        }
    }
}
