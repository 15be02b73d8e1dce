//! A number of pods, or a share of them: `3`, `25%`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de::Error as _};
use std::{borrow::Cow, fmt, str::FromStr};

/// So many pods, or this share of those that there are, as Kubernetes writes it: an integer, or `25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// From 1 to 32.
    Count(u8),
    /// From 1 to 100.
    Percent(u8),
}

impl Share {
    /// The most pods of a request.
    pub const MOST: u8 = 32;

    /// How many of so many pods: at least one, and a share is rounded up.
    pub fn of(self, pods: usize) -> usize {
        match self {
            Self::Count(count) => count.into(),
            Self::Percent(percent) => (pods * usize::from(percent)).div_ceil(100),
        }
        .clamp(1, Self::MOST.into())
    }
}

/// A text that is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a number from 1 to 32, or a share from 1% to 100%")]
pub struct ParseShareError;

impl FromStr for Share {
    type Err = ParseShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |digits: &str| {
            let canonical = !digits.starts_with(['0', '+']);
            digits.parse::<u8>().ok().filter(|number| canonical && *number > 0).ok_or(ParseShareError)
        };
        let (share, most) = match text.strip_suffix('%') {
            Some(digits) => (Self::Percent(plain(digits)?), 100),
            None => (Self::Count(plain(text)?), Self::MOST),
        };
        let (Self::Percent(number) | Self::Count(number)) = share;
        if number <= most { Ok(share) } else { Err(ParseShareError) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u8(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        let text = match Either::deserialize(deserializer)? {
            Either::Number(number) => number.to_string(),
            Either::Text(text) => text,
        };
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Each bound is of its own type: the API server applies it to nothing else.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            // kube would say that it is, and nothing could be read as a share.
            "nullable": false,
            "minimum": 1,
            "maximum": Self::MOST,
            "maxLength": 4,
            "pattern": "^([1-9][0-9]?|100)%$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_written_as_kubernetes_has_them() {
        for (json, share) in [
            ("1", Some(Share::Count(1))),
            ("32", Some(Share::Count(32))),
            ("\"25%\"", Some(Share::Percent(25))),
            ("\"100%\"", Some(Share::Percent(100))),
            ("33", None),
            ("0", None),
            ("-1", None),
            ("\"0%\"", None),
            ("\"101%\"", None),
            ("\"007%\"", None),
            ("\"+5%\"", None),
            ("\"%\"", None),
            ("\"x\"", None),
            ("2.5", None),
        ] {
            let read = serde_json::from_str::<Share>(json).ok();
            assert_eq!(read, share, "{json}");
            if let Some(share) = share {
                assert_eq!(serde_json::to_string(&share).unwrap(), json);
            }
        }
    }

    #[test]
    fn a_share_is_rounded_up_and_at_least_one() {
        for (share, pods, wanted) in [
            (Share::Count(3), 2, 3),
            (Share::Percent(25), 4, 1),
            (Share::Percent(25), 5, 2),
            (Share::Percent(1), 3, 1),
            (Share::Percent(100), 3, 3),
            (Share::Percent(50), 0, 1),
            (Share::Percent(100), 500, 32),
        ] {
            assert_eq!(share.of(pods), wanted, "{share} of {pods}");
        }
    }
}
