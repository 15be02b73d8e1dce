use std::io;

/// Why a profile can't be read. Offsets count bytes of the profile itself, after decompression.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed, or its compression is damaged.
    #[error("the profile can't be read beyond byte {offset}: {source}")]
    Io {
        /// The bytes that were read before.
        offset: u64,
        /// What was seen.
        source: io::Error,
    },
    /// The profile ends too early.
    #[error("the profile is cut off: it ends at byte {offset}, within a value")]
    CutOff {
        /// The bytes that there are.
        offset: u64,
    },
    /// It isn't JSON.
    #[error("the profile is not JSON: at byte {offset}, {problem}")]
    Json {
        /// Where.
        offset: u64,
        /// What was seen there.
        problem: &'static str,
    },
    /// It is JSON, but of another shape than a profile's.
    #[error("this is not a profile as V8 writes it: at byte {offset}, {problem}")]
    Shape {
        /// Where.
        offset: u64,
        /// What was seen there.
        problem: &'static str,
    },
    /// Its parts contradict each other.
    #[error("the profile contradicts itself: {problem} (in the part that begins at byte {offset})")]
    Inconsistent {
        /// Where the part begins.
        offset: u64,
        /// What was seen.
        problem: String,
    },
    /// It has more of something than the limits allow.
    #[error("the profile is too large: more than {limit} {of}, at byte {offset}")]
    TooLarge {
        /// Where the limit was passed.
        offset: u64,
        /// What there is too much of.
        of: &'static str,
        /// The limit.
        limit: u64,
    },
}
