//! Whether the parts at the store are those that a sidecar claims. Pure.

use super::StoreErrorKind;
use pitwall_protocol::Part;

/// The most parts of one upload, as S3 has it.
pub(super) const MAX_PARTS: usize = 10_000;

/// The numbers of `count` parts from `first`, as far as there are such parts.
pub(super) fn numbers(first: u32, count: u32) -> std::ops::RangeInclusive<u32> {
    let last = u32::try_from(MAX_PARTS).unwrap_or(u32::MAX);
    first.max(1)..=first.saturating_add(count).saturating_sub(1).min(last)
}

/// A part as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredPart {
    pub(super) number: u32,
    pub(super) etag: String,
    pub(super) bytes: u64,
}

/// Why an upload can't be completed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Discrepancy {
    #[error("there are no bytes in it")]
    Empty,
    #[error("it has {0} parts; at most {MAX_PARTS} are possible")]
    TooMany(usize),
    #[error("part {0} stands where part {1} is due")]
    Order(u32, u32),
    #[error("part {0} isn't there")]
    Missing(u32),
    #[error("part {number} has {stored} bytes, not {claimed}")]
    Bytes { number: u32, stored: u64, claimed: u64 },
    #[error("part {0} has another ETag than claimed")]
    Etag(u32),
    #[error("its parts have {total} bytes together; at most {max} are allowed")]
    TooLarge { total: u64, max: u64 },
}

impl Discrepancy {
    /// What it means for the upload.
    pub(super) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::TooLarge { .. } | Self::TooMany(_) => StoreErrorKind::TooLarge,
            _ => StoreErrorKind::Mismatch,
        }
    }
}

/// An `ETag` without the quotes that some stores and clients put around it.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// The bytes of all parts together, if each is stored as claimed and no more than `max` were stored.
///
/// What is stored beyond the claimed parts doesn't count: it isn't in the object.
pub(super) fn check(claimed: &[Part], stored: &[StoredPart], max: u64) -> Result<u64, Discrepancy> {
    if claimed.len() > MAX_PARTS {
        return Err(Discrepancy::TooMany(claimed.len()));
    }
    let mut total = 0_u64;
    for (due, part) in (1_u32..).zip(claimed) {
        if part.number != due {
            return Err(Discrepancy::Order(part.number, due));
        }
        let candidates = || stored.iter().filter(|stored| stored.number == part.number);
        // The built-in store may see two files of one number for a moment.
        let same = candidates().find(|stored| bare(&stored.etag) == bare(&part.etag));
        let Some(found) = same else {
            return Err(match candidates().next() {
                Some(_) => Discrepancy::Etag(part.number),
                None => Discrepancy::Missing(part.number),
            });
        };
        if found.bytes != part.bytes {
            return Err(Discrepancy::Bytes { number: part.number, stored: found.bytes, claimed: part.bytes });
        }
        total = total.saturating_add(found.bytes);
    }
    match total {
        0 => Err(Discrepancy::Empty),
        _ if total > max => Err(Discrepancy::TooLarge { total, max }),
        _ => Ok(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(number: u32, etag: &str, bytes: u64) -> Part {
        Part { number, etag: etag.to_owned(), bytes }
    }

    fn stored(number: u32, etag: &str, bytes: u64) -> StoredPart {
        StoredPart { number, etag: etag.to_owned(), bytes }
    }

    #[test]
    fn only_parts_that_are_stored_as_claimed_make_an_object() {
        let store = [stored(1, "\"a\"", 5), stored(2, "b", 3), stored(3, "c", 9)];
        for (claimed, max, expected) in [
            (vec![claim(1, "a", 5), claim(2, "\"b\"", 3)], 8, Ok(8)),
            (vec![claim(1, "a", 5), claim(2, "b", 3)], 7, Err(Discrepancy::TooLarge { total: 8, max: 7 })),
            (vec![], 8, Err(Discrepancy::Empty)),
            (vec![claim(2, "b", 3)], 8, Err(Discrepancy::Order(2, 1))),
            (vec![claim(1, "a", 5), claim(1, "a", 5)], 99, Err(Discrepancy::Order(1, 2))),
            (vec![claim(1, "x", 5)], 8, Err(Discrepancy::Etag(1))),
            (vec![claim(1, "a", 4)], 8, Err(Discrepancy::Bytes { number: 1, stored: 5, claimed: 4 })),
            (
                vec![claim(1, "a", 5), claim(2, "b", 3), claim(3, "c", 9), claim(4, "d", 1)],
                99,
                Err(Discrepancy::Missing(4)),
            ),
        ] {
            assert_eq!(check(&claimed, &store, max), expected, "{claimed:?}");
        }
    }

    #[test]
    fn only_parts_that_can_exist_are_signed() {
        for (first, count, expected) in [
            (1, 2, vec![1, 2]),
            (0, 2, vec![1]),
            (9_999, 9, vec![9_999, 10_000]),
            (10_001, 1, vec![]),
            (3, 0, vec![]),
        ] {
            assert_eq!(numbers(first, count).collect::<Vec<_>>(), expected, "{first} {count}");
        }
    }

    #[test]
    fn an_object_of_no_bytes_is_refused() {
        assert_eq!(check(&[claim(1, "a", 0)], &[stored(1, "a", 0)], 9), Err(Discrepancy::Empty));
    }

    #[test]
    fn more_parts_than_s3_takes_are_refused() {
        let claimed: Vec<_> = (1..=10_001).map(|number| claim(number, "a", 1)).collect();
        assert_eq!(check(&claimed, &[], u64::MAX), Err(Discrepancy::TooMany(10_001)));
    }
}
